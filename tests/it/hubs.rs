//! Hubs that fail, are slow, or are asked too much, on the simulated fleet.

use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Method;
use jiff::SignedDuration;
use kubemint_testkit::Admin;
use kubemint_testkit::User;
use kubemint_testkit::sim::{Fault, Fleet, Webhook};
use serde_json::{Value, json};

use crate::delivering::{argocd_token, path};
use crate::life::{anchors, eventually, generations};
use crate::support::{Machine, can_i, simulated, undisturbed};

/// Clusters whose credentials go into Argo CD's Secrets in `hub`; those of `a` into a file as well.
fn machine(fleet: &Fleet, name: &str) -> Machine {
    let machine = Machine::of(
        fleet,
        name,
        "[profiles.reader]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]\n\
         [profiles.filed]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }]\n\
         [[grants]]\nprofile = 'reader'\nselector = ''\n[[grants]]\nprofile = 'filed'\nclusters = ['b']\n\
         [[outputs]]\nkind = 'argocd'\nadmin = { cluster = 'hub' }\nnamespace = 'argocd'\ncreate-namespaces = true\n\
         profiles = ['reader']\n\
         [[outputs]]\npath = 'out/{cluster}-{profile}.kubeconfig'\n",
    );
    machine.impatient();
    machine
}

fn of_cluster<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["clusters"].as_array().unwrap().iter().find(|cluster| cluster["name"] == name).unwrap()
}

/// The grants that deliver there are not minted, and nobody else waits.
#[test]
fn a_hub_that_is_down_stops_its_own_grants_only() {
    let _undisturbed = undisturbed();
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "down");
    fleet.cluster("hub").set_fault(Some(Fault::Refuse));
    let began = Instant::now();
    let run = machine.kubemint(&["apply", "--yes", "--cluster", "a", "-o", "json"]).exits(7);
    let report = run.report();
    let blocker = &of_cluster(&report, "a")["blockers"][0];
    assert_eq!((&blocker["kind"], &blocker["profile"]), (&"hub-unusable".into(), &"reader".into()), "{blocker:#}");
    let message = blocker["message"].as_str().unwrap();
    assert!(message.contains("hub") && message.ends_with("nothing was minted for it"), "{message}");
    assert!(!machine.path("out/a-reader.kubeconfig").exists(), "no file either");
    assert!(anchors(&machine.admin(1), "down").is_empty());
    assert!(machine.admin(1).get("/api/v1/namespaces/down/serviceaccounts/reader").is_ok(), "everything else goes on");

    // Once it was there, the others are renewed while it is down, and nothing of it is lost.
    fleet.cluster("hub").set_fault(None);
    machine.expect(0, &["apply", "--yes"]);
    let token = argocd_token(&machine.admin(0), "argocd", "cluster-b");
    let filed = machine.token("out/b-filed.kubeconfig");
    fleet.cluster("hub").set_fault(Some(Fault::Hang));
    let run = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(7);
    let report = run.report();
    let renewed: Vec<&str> = of_cluster(&report, "b")["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["profile"].as_str().unwrap())
        .collect();
    assert_eq!(renewed, ["filed"], "{report:#}");
    assert_ne!(machine.token("out/b-filed.kubeconfig"), filed);
    // What was renewed needs no second time.
    let one = machine.kubemint(&["refresh", "--force", "--cluster", "b"]).exits(7);
    assert!(one.stderr.contains("`kubemint refresh --force --profile reader --cluster b`"), "{}", one.stderr);
    let status = machine.kubemint(&["status"]).exits(6);
    assert!(status.stdout.contains("Secret argocd/cluster-hub in hub"), "{}", status.stdout);
    fleet.cluster("hub").set_fault(None);
    assert_eq!(argocd_token(&machine.admin(0), "argocd", "cluster-b"), token);
    assert!(can_i(&machine.admin(2), &token, "list", "pods", ""));
    machine.expect(0, &["apply", "--yes"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// What a hub refuses for one Secret is that grant's failure.
#[test]
fn a_refused_secret_fails_alone_and_before_it_is_minted() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "refused");
    let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"guard.example.com\" denied the request: no","reason":"Forbidden","code":403}"#;
    machine.expect(0, &["apply", "--yes", "--cluster", "hub", "--cluster", "b"]);
    fleet.cluster("hub").set_fault(Some(Fault::FailOn {
        method: Some(Method::POST),
        path_contains: "/namespaces/argocd/secrets".to_owned(),
        code: 403,
        body: Some(body.to_owned()),
        times: None,
    }));
    let run = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6);
    let report = run.report();
    assert_eq!(of_cluster(&report, "b")["state"], "unchanged");
    let blocker = &of_cluster(&report, "a")["blockers"][0];
    let message = blocker["message"].as_str().unwrap();
    assert!(message.starts_with("`Secret argocd/cluster-a in hub`: the API server refused (403)"), "{message}");
    assert!(blocker["hint"].as_str().unwrap().contains("guard.example.com"), "{blocker:#}");
    assert!(anchors(&machine.admin(1), "refused").is_empty(), "nothing was minted");
}

/// The answer to a write that is lost costs a look, and no token.
#[test]
fn a_lost_answer_of_a_hub_is_looked_into() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "reply");
    // There is time to repeat a request.
    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &text.replace("\"1s\"", "\"8s\"").replace("\"4s\"", "\"20s\""));
    machine.expect(0, &["apply", "--yes", "--cluster", "hub", "--cluster", "b"]);
    let lose = |method: Method| {
        let path_contains = "fieldValidation=Strict".to_owned();
        // The trial first, then the write.
        Some(Fault::LoseReply { method: Some(method), path_contains, times: Some(2) })
    };
    fleet.cluster("hub").set_fault(lose(Method::POST));
    machine.expect(0, &["apply", "--yes", "--cluster", "a"]);
    assert_eq!(generations(&machine.admin(1), "reply").len(), 1);
    fleet.cluster("hub").set_fault(lose(Method::PATCH));
    machine.expect(0, &["refresh", "--force", "--cluster", "a"]);
    let token = argocd_token(&machine.admin(0), "argocd", "cluster-a");
    assert_eq!(machine.token("out/a-reader.kubeconfig"), token);
    assert!(can_i(&machine.admin(1), &token, "list", "pods", ""));
    fleet.cluster("hub").set_fault(None);
    machine.expect(0, &["plan", "--check"]);
}

/// A hub costs one connection; a Secret that is up to date costs one request, one that is written three.
#[test]
fn a_hub_costs_one_connection_and_no_list() {
    const CLUSTERS: usize = 40;
    let names = std::iter::once("hub".to_owned()).chain((1..=CLUSTERS).map(|number| format!("c{number:02}")));
    let fleet = simulated(names);
    let machine = Machine::of(
        &fleet,
        "load",
        "[profiles.reader]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }]\n\
         [[grants]]\nprofile = 'reader'\nclusters = []\nselector = 'env=test'\n\
         [[outputs]]\nkind = 'argocd'\nadmin = { cluster = 'hub' }\nnamespace = 'argocd'\ncreate-namespaces = true\n\
         selector = 'env=test'\n",
    );
    // The hub is no target of its own, so that all its requests are for Secrets.
    let text = machine.read("clusters.toml").replacen("env = \"test\"", "env = \"hub\"", 1);
    machine.write("clusters.toml", &text);
    let hub = fleet.cluster("hub");
    let mut seen = vec![];
    for arguments in
        [&["apply", "--yes"][..], &["apply", "--yes"], &["status"], &["refresh"], &["refresh", "--force"], &["verify"]]
    {
        hub.reset_traffic();
        let before = hub.connections();
        machine.expect(0, arguments);
        let recorded = hub.recorded();
        assert!(
            recorded.iter().all(|request| !request.path.ends_with("/secrets") || request.method != Method::GET),
            "a list"
        );
        seen.push((arguments[0].to_owned(), hub.connections() - before, recorded.len()));
    }
    let names = |name: &str| name.to_owned();
    // The first Secret also creates the namespace: a trial and a create, and the Secret once more.
    let expected = [
        (names("apply"), 1, 3 * CLUSTERS + seen[0].2 - 3 * CLUSTERS),
        (names("apply"), 1, CLUSTERS),
        (names("status"), 1, CLUSTERS),
        (names("refresh"), 1, CLUSTERS),
        (names("refresh"), 1, 3 * CLUSTERS),
        (names("verify"), 1, CLUSTERS),
    ];
    assert_eq!(seen, expected);
    let more = seen[0].2 - 3 * CLUSTERS;
    println!("first apply: {} requests of {CLUSTERS} Secrets, {more} for the namespace", seen[0].2);
    assert!(more <= 2 * CLUSTERS, "each Secret tries to create the namespace at most once");
}

/// The token in a Secret works at any time.
#[track_caller]
fn works(hub: &Admin, cluster: &Admin, when: &str) {
    let token = argocd_token(hub, "argocd", "cluster-a");
    assert!(can_i(cluster, &token, "list", "pods", "default"), "a dead token {when}");
}

/// A run is killed during each request to the hub: the credential in the Secret works at once, and the next run completes
/// the work.
#[test]
fn killed_at_every_request_to_the_hub_a_rotation_converges() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "killed");
    machine.expect(0, &["apply", "--yes"]);
    let (hub, cluster) = (fleet.cluster("hub"), fleet.cluster("a"));
    let admins = (machine.admin(0), machine.admin(1));
    let only = ["refresh", "--force", "--cluster", "a"];
    hub.reset_traffic();
    machine.expect(0, &only);
    let requests: Vec<String> =
        hub.recorded().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    let mut minutes = 0;
    for arrow in 0..requests.len() as u64 {
        hub.reset_traffic();
        hub.set_fault(Some(Fault::HangAfter(arrow)));
        let mut child = machine.command(&only).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the request arrives that is not answered", || hub.requests() > arrow);
        child.kill().unwrap();
        child.wait().unwrap();
        hub.set_fault(None);
        let place = &requests[usize::try_from(arrow).unwrap()];
        works(&admins.0, &admins.1, &format!("killed at {place}"));
        machine.expect(0, &["refresh", "--cluster", "a"]);
        works(&admins.0, &admins.1, &format!("after the run after the kill at {place}"));
        assert_eq!(
            machine.token("out/a-reader.kubeconfig"),
            argocd_token(&admins.0, "argocd", "cluster-a"),
            "killed at {place}"
        );
        minutes += 30;
        cluster.set_clock_skew(SignedDuration::from_mins(minutes));
        eventually(&format!("all is well after the kill at {place}"), || {
            machine.expect(0, &["refresh", "--cluster", "a"]);
            generations(&admins.1, "killed").len() == 1
        });
        assert_eq!(anchors(&admins.1, "killed").len(), 1);
    }
}

/// A hub that stops answering half-way holds up nobody for long, and the next run completes the work.
#[test]
fn a_hub_that_fails_half_way_is_named_and_the_next_run_converges() {
    let _undisturbed = undisturbed();
    let names: Vec<String> = std::iter::once("hub".to_owned())
        .chain((1..=12).map(|number| format!("c{number:02}")))
        .chain(["b".to_owned()])
        .collect();
    let fleet = simulated(names);
    let machine = machine(&fleet, "half");
    machine.expect(0, &["apply", "--yes"]);
    let hub = fleet.cluster("hub");
    hub.reset_traffic();
    // After the reading, some writes.
    hub.set_fault(Some(Fault::HangAfter(14 + 6 + 5)));
    let began = Instant::now();
    let run = machine.kubemint(&["refresh", "--force"]);
    assert!(run.code == 6 || run.code == 7, "{}", run.stderr);
    assert!(run.stderr.contains("`hub` did not respond to an earlier request of this run"), "{}", run.stderr);
    assert!(!run.stderr.contains("not done within"), "what waits for the hub is not late: {}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    hub.set_fault(None);
    for name in ["c01", "c12"] {
        let token = argocd_token(&machine.admin(0), "argocd", &format!("cluster-{name}"));
        let number = machine.clusters.iter().position(|cluster| cluster.name == name).unwrap();
        assert!(can_i(&machine.admin(number), &token, "list", "pods", ""), "{name}");
    }
    machine.expect(0, &["refresh"]);
    machine.expect(0, &["plan", "--check"]);
}

/// Two machines renew the same Secret at once: one wins, and what stands there works.
#[test]
fn two_machines_renew_one_secret() {
    let fleet = simulated(["hub", "a", "b"]);
    let (first, second) = (machine(&fleet, "twice"), machine(&fleet, "twice"));
    // Only the Secret is shared.
    let text = first.read("clusters.toml");
    let shared = text.split("[[outputs]]\npath").next().unwrap();
    first.write("clusters.toml", shared);
    second.write("clusters.toml", shared);
    first.expect(0, &["apply", "--yes"]);
    let admins = (first.admin(0), first.admin(1));
    for round in 0..8 {
        let start = |machine: &Machine| {
            machine
                .command(&["refresh", "--force", "--cluster", "a"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let ends = [start(&first), start(&second)].map(|child| child.wait_with_output().unwrap());
        works(&admins.0, &admins.1, &format!("in round {round}"));
        let codes = ends.each_ref().map(|end| end.status.code());
        assert!(codes.contains(&Some(0)), "{codes:?}: {}", String::from_utf8_lossy(&ends[0].stderr));
    }
    let secret = admins.0.get(&path("argocd", "cluster-a")).unwrap();
    assert!(secret["metadata"]["annotations"]["kubemint.dev/delivery"].is_string());
    first.expect(0, &["refresh"]);
}

/// A kubeconfig Secret of Linkerd's, which is deleted and made anew at each renewal.
fn recreating(fleet: &Fleet, name: &str) -> Machine {
    let machine = Machine::of(
        fleet,
        name,
        "[profiles.reader]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]\n\
         [[grants]]\nprofile = 'reader'\nclusters = ['a']\n\
         [[outputs]]\nkind = 'linkerd'\nadmin = { cluster = 'hub' }\nnamespace = 'linkerd'\ncreate-namespaces = true\n",
    );
    machine.impatient();
    machine
}

/// Refuses creates that are no trials, so many times.
fn refuses_creates(times: u64) -> Fault {
    let path_contains = "/secrets?fieldManager=kubemint$".to_owned();
    Fault::FailOn { method: Some(Method::POST), path_contains, code: 403, body: None, times: Some(times) }
}

/// What is made anew keeps what others put into it, and comes back if the new one is refused.
#[test]
fn a_secret_that_is_made_anew_is_never_lost() {
    let fleet = simulated(["hub", "a"]);
    let machine = recreating(&fleet, "anew");
    machine.expect(0, &["apply", "--yes"]);
    let (admin, hub) = (machine.admin(0), fleet.cluster("hub"));
    let secret = || admin.get(&path("linkerd", "cluster-credentials-a")).unwrap();
    let more = json!({ "metadata": { "labels": { "team": "blue" } }, "data": { "extra": "eA==" } });
    admin.merge_patch(&path("linkerd", "cluster-credentials-a"), &more).unwrap();
    let before = secret();
    machine.expect(0, &["refresh", "--force"]);
    let after = secret();
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!((&after["metadata"]["labels"]["team"], &after["data"]["extra"]), (&json!("blue"), &json!("eA==")));
    assert_ne!(before["data"]["kubeconfig"], after["data"]["kubeconfig"]);

    // The trial passes, the create is refused once: the one before is there again.
    hub.set_fault(Some(refuses_creates(1)));
    machine.expect(7, &["refresh", "--force"]);
    hub.set_fault(None);
    assert_eq!(secret()["data"], after["data"], "the one before came back");
    machine.expect(0, &["refresh"]);

    // A finalizer would keep the one before, so nothing is begun.
    let held = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
    admin.merge_patch(&path("linkerd", "cluster-credentials-a"), &held).unwrap();
    let refused = machine.kubemint(&["refresh", "--force"]);
    assert!(refused.stderr.contains("finalizer `example.com/hold` would hold the one before"), "{}", refused.stderr);
    assert!(secret()["metadata"]["deletionTimestamp"].is_null());
}

/// A webhook that takes away what kubemint writes is noticed before anything is minted.
#[test]
fn what_a_webhook_takes_away_is_noticed_in_the_trial() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "strip");
    machine.expect(0, &["apply", "--yes"]);
    let token = argocd_token(&machine.admin(0), "argocd", "cluster-a");
    let remove_label = Some("argocd.argoproj.io/secret-type".to_owned());
    fleet.cluster("hub").set_webhook(Some(Webhook { remove_label, ..Webhook::default() }));
    let run = machine.kubemint(&["refresh", "--force", "--cluster", "a"]).exits(5);
    assert!(run.stderr.contains("changed `metadata.labels.argocd.argoproj.io/secret-type` back"), "{}", run.stderr);
    assert_eq!(generations(&machine.admin(1), "strip").len(), 1, "nothing was minted");
    assert_eq!(argocd_token(&machine.admin(0), "argocd", "cluster-a"), token);
}

/// A request that is repeated and then refused may have had its effect the first time.
#[test]
fn a_refusal_of_a_repeated_write_is_looked_into() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "again");
    machine.expect(0, &["apply", "--yes", "--cluster", "hub", "--cluster", "b"]);
    let (hub, admin) = (fleet.cluster("hub"), machine.admin(0));
    // Each create is stored and answered by nobody, so it is repeated until no time is left.
    hub.set_fault(Some(Fault::LoseReply {
        method: Some(Method::POST),
        path_contains: "fieldValidation=Strict$".to_owned(),
        times: None,
    }));
    machine.expect(0, &["apply", "--yes", "--cluster", "a"]);
    hub.set_fault(None);
    let token = argocd_token(&admin, "argocd", "cluster-a");
    assert!(can_i(&machine.admin(1), &token, "list", "pods", ""), "the token that is there lives");
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["plan", "--check"]);
}

/// Two names for one hub are found out, and neither grant takes the Secret of the other.
#[test]
fn two_names_of_one_hub_do_not_take_turns() {
    let fleet = simulated(["hub", "a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.write("other.yaml", &machine.read("admin.yaml"));
    let profile = |name: &str| {
        format!(
            "[profiles.{name}]\ncluster-rules = [{{ api-groups = [''], resources = ['pods'], verbs = ['get'] }}]\n\
             [[grants]]\nprofile = '{name}'\nclusters = ['a']\n"
        )
    };
    let output = |kind: &str, profile: &str, admin: &str| {
        format!(
            "[[outputs]]\nkind = '{kind}'\nadmin = {{ {admin} }}\nnamespace = 'ns'\ncreate-namespaces = true\n\
             name = 'x-{{cluster}}'\nprofiles = ['{profile}']\n"
        )
    };
    let text = [
        profile("p"),
        profile("q"),
        output("flux", "p", "cluster = 'hub'"),
        output("kueue", "q", "kubeconfig = 'other.yaml', context = 'hub'"),
    ];
    machine.inventory("names", &text.concat());
    let run = machine.kubemint(&["apply", "--yes"]);
    assert_ne!(run.code, 0, "{}", run.stdout);
    let again = machine.kubemint(&["apply", "--yes"]);
    assert!(again.stderr.contains("two hubs of the inventory are one API server"), "{}", again.stderr);
    let secret = machine.admin(0).get(&path("ns", "x-a")).unwrap();
    assert_eq!(secret["data"].as_object().unwrap().len(), 1, "{:?}", secret["data"].as_object().unwrap().keys());
}

/// A credential that a file on another machine may hold is not superseded because the output became a Secret.
#[test]
fn what_a_file_may_hold_elsewhere_still_needs_consent() {
    let fleet = simulated(["hub", "a", "b"]);
    let machine = machine(&fleet, "moved");
    let text = machine.read("clusters.toml");
    let (head, secret) = text.split_once("[[outputs]]\nkind").unwrap();
    machine.write("clusters.toml", &format!("{head}[[outputs]]\npath = 'out/{{cluster}}-{{profile}}.kubeconfig'\n"));
    machine.expect(0, &["apply", "--yes"]);
    let secret = format!("{head}[[outputs]]\nkind{}", secret.split("[[outputs]]").next().unwrap());
    machine.write("clusters.toml", &secret);
    let run = machine.kubemint(&["apply", "--yes", "--cluster", "a"]).exits(5);
    assert!(run.stderr.contains("pass `--reissue`"), "{}", run.stderr);
}

/// A hub that is overloaded is not asked for each Secret, and a revocation does not wait for it.
#[test]
fn an_overloaded_hub_holds_up_nobody() {
    let _undisturbed = undisturbed();
    let names = std::iter::once("hub".to_owned()).chain((1..=12).map(|number| format!("c{number:02}")));
    let fleet = simulated(names.chain(["b".to_owned()]));
    let machine = machine(&fleet, "busy");
    machine.expect(0, &["apply", "--yes"]);
    fleet.cluster("hub").set_fault(Some(Fault::Status { code: 503, retry_after: None, times: None }));
    let began = Instant::now();
    drop(machine.kubemint(&["revoke", "--yes", "--profile", "reader", "--cluster", "c01"]).exits(0));
    drop(machine.kubemint(&["refresh", "--force", "--profile", "reader"]).exits(7));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    fleet.cluster("hub").set_fault(None);
    machine.expect(0, &["apply", "--yes"]);
}

/// Kubernetes takes no Secret with more data, which is known before anything is minted.
#[test]
fn a_secret_over_one_mebibyte_is_refused_before_it_is_minted() {
    let fleet = simulated(["hub", "a"]);
    let with = |length: usize| {
        format!(
            "[profiles.reader]\ncluster-roles = ['view']\n[[grants]]\nprofile = 'reader'\nclusters = ['a']\n\
             [[outputs]]\nkind = 'secret'\nadmin = {{ cluster = 'hub' }}\nnamespace = 'default'\nname = 'large'\n\
             data = {{ token = '{{token}}', note = '{}' }}\n",
            "x".repeat(length)
        )
    };
    let machine = Machine::of(&fleet, "large", &with(1 << 20));
    let refused = machine.kubemint(&["apply", "--yes"]).exits(7);
    assert!(
        refused.stderr.contains("`Secret default/large in hub`: it would have more than 1 MiB"),
        "{}",
        refused.stderr
    );
    assert!(anchors(&machine.admin(1), "large").is_empty());
    machine.inventory("large", &with((1 << 20) - 4096));
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(generations(&machine.admin(1), "large").len(), 1);
}
