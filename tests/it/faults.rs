//! Sick clusters, interruptions and kills, on the simulated fleet.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kubemint_testkit::sim::{Fault, Fleet, FleetOptions, SimCluster, Webhook};
use serde_json::{Value, json};

use crate::support::{Machine, can_i, simulated};

const PROFILE: &str = r#"
[profiles.reader]
cluster-roles = ["view"]
[[profiles.reader.cluster-rules]]
api-groups = [""]
resources = ["pods"]
verbs = ["get", "list"]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{cluster}.kubeconfig"
[[outputs]]
path = "all.kubeconfig"
"#;

fn machine(fleet: &Fleet, name: &str) -> Machine {
    let machine = Machine::of(fleet, name, PROFILE);
    machine.impatient();
    machine
}

/// Every kind of fault at once: each is named, and the healthy clusters are done.
#[test]
fn sick_clusters_are_named_and_change_nothing_for_the_others() {
    let names = ["ok-1", "refuse", "hang", "garbage", "html", "reset", "tls", "e500", "e429", "ok-2"];
    let fleet = simulated(names);
    let sick: [(&str, Fault); 8] = [
        ("refuse", Fault::Refuse),
        ("hang", Fault::Hang),
        ("garbage", Fault::Garbage),
        ("html", Fault::Html502),
        ("reset", Fault::ResetMidResponse),
        ("tls", Fault::WrongCertificate),
        ("e500", Fault::Status { code: 500, retry_after: None, times: None }),
        ("e429", Fault::Status { code: 429, retry_after: Some(60), times: None }),
    ];
    let sick_names = sick.clone().map(|(name, _)| name);
    for (name, fault) in sick {
        fleet.cluster(name).set_fault(Some(fault));
    }
    let machine = machine(&fleet, "sick");
    let start = Instant::now();
    let run = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6);
    assert!(start.elapsed() < Duration::from_secs(15), "no cluster hangs the run: {:?}", start.elapsed());
    let report = run.report();
    let cause = |name: &str| {
        let clusters = report["clusters"].as_array().unwrap();
        let cluster = clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
        assert_eq!(cluster["state"], "failed", "{cluster:#}");
        cluster["error"]["cause"].as_str().unwrap().to_owned()
    };
    assert!(cause("refuse").contains("connection refused"), "{}", cause("refuse"));
    assert!(cause("tls").contains("signed by an unknown authority"), "{}", cause("tls"));
    assert!(cause("garbage").contains("not JSON"), "{}", cause("garbage"));
    for name in ["hang", "html", "reset", "e500", "e429"] {
        assert!(!cause(name).is_empty());
    }
    assert_eq!(report["summary"]["changed"], 2);
    assert!(run.stderr.contains("error: 8 failed of 10 clusters"), "{}", run.stderr);
    for name in ["ok-1", "ok-2"] {
        let token = machine.token(&format!("out/{name}.kubeconfig"));
        let position = names.iter().position(|known| *known == name).unwrap();
        assert!(can_i(&machine.admin(position), &token, "list", "pods", "default"));
    }

    // Cured, the same command does the rest and leaves what was done alone.
    let before = machine.read("out/ok-1.kubeconfig");
    for name in sick_names {
        fleet.cluster(name).set_fault(None);
    }
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!((&report["summary"]["changed"], &report["summary"]["unchanged"]), (&8.into(), &2.into()));
    assert_eq!(machine.read("out/ok-1.kubeconfig"), before);
    let all: Value = serde_saphyr::from_str(&machine.read("all.kubeconfig")).unwrap();
    let contexts: Vec<String> =
        all["contexts"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(contexts, names.map(|name| format!("reader@{name}")), "in the order of the inventory");
}

/// A failed cluster keeps its last good entry in a combined file.
#[test]
fn a_cluster_that_fails_keeps_its_last_good_entry() {
    let fleet = simulated(["a", "b"]);
    let machine = machine(&fleet, "keep");
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.files();
    fleet.cluster("b").set_fault(Some(Fault::Hang));
    let text =
        machine.read("clusters.toml").replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"2h\" }\n");
    machine.write("clusters.toml", &text);
    machine.expect(6, &["apply", "--yes"]);
    let after = machine.files();
    assert_eq!(after[&machine.path("out/b.kubeconfig")], before[&machine.path("out/b.kubeconfig")]);
    let all: Value = serde_saphyr::from_str(&machine.read("all.kubeconfig")).unwrap();
    let generations: Vec<u64> = (0..2)
        .map(|user| all["users"][user]["user"]["extensions"][0]["extension"]["generation"].as_u64().unwrap())
        .collect();
    assert_eq!(generations, [2, 1]);
}

/// If the verification fails, nothing is published, the old credential stays, and the new token is ended.
#[test]
fn what_cannot_be_proven_is_not_published() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "proof");
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read("out/a.kubeconfig");
    let text =
        machine.read("clusters.toml").replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"2h\" }\n");
    machine.write("clusters.toml", &text);
    fleet.cluster("a").set_fault(Some(Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "selfsubjectreviews".into(),
        code: 403,
        body: None,
        times: None,
    }));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    assert!(report["clusters"][0]["error"]["doing"].as_str().unwrap().contains("verify the token"), "{report:#}");
    assert_eq!(machine.read("out/a.kubeconfig"), before);
    fleet.cluster("a").set_fault(None);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(machine.facts("out/a.kubeconfig")["generation"], 3, "a number is never reused");
}

/// A webhook that does not support dry run leaves a write unchecked, and the plan says so.
#[test]
fn what_a_webhook_keeps_from_being_tried_is_a_note() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "nodry");
    let message = "admission webhook \"x\" does not support dry run";
    fleet.cluster("a").set_fault(Some(Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "clusterroles?fieldManager=kubemint&fieldValidation=Strict&dryRun=All".into(),
        code: 400,
        body: Some(format!("{{\"kind\":\"Status\",\"code\":400,\"reason\":\"BadRequest\",\"message\":{message:?}}}")),
        times: None,
    }));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let notes = report["clusters"][0]["notes"].to_string();
    assert!(notes.contains("a webhook does not support dry run"), "{notes}");
}

/// The credential is proven at the endpoint that its consumer gets, with that endpoint's CA.
#[test]
fn the_consumer_endpoint_is_what_is_written_and_proven() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "consumer");
    let public = machine.clusters[0].server.replace("127.0.0.1", "localhost");
    let text = machine.read("clusters.toml");
    let with = |consumer: &str| text.replace("labels = {", &format!("consumer = {{ {consumer} }}\nlabels = {{"));
    // Where nobody listens, the proof fails, and nothing is published.
    machine.write("clusters.toml", &with("server = \"https://localhost:1\""));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    assert!(report["clusters"][0]["error"]["cause"].as_str().unwrap().contains("<https://localhost:1>"), "{report:#}");
    assert!(!machine.path("out/a.kubeconfig").exists());

    machine.write("clusters.toml", &with(&format!("server = \"{public}\", tls-server-name = \"a.sim.test\"")));
    machine.expect(0, &["apply", "--yes"]);
    let issued: Value = serde_saphyr::from_str(&machine.read("out/a.kubeconfig")).unwrap();
    let cluster = &issued["clusters"][0]["cluster"];
    assert_eq!((&cluster["server"], &cluster["tls-server-name"]), (&public.into(), &"a.sim.test".into()));

    // Where the consumer's endpoint cannot be reached from here, the admin's may be used.
    let text = machine.read("clusters.toml").replace("tls-server-name = \"a.sim.test\"", "verify = \"admin\"");
    let unreachable = "https://localhost:1";
    machine.write(
        "clusters.toml",
        &text.replace(&machine.clusters[0].server.replace("127.0.0.1", "localhost"), unreachable),
    );
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert!(report["clusters"][0]["notes"].to_string().contains("proven at the admin endpoint"), "{report:#}");
    let issued: Value = serde_saphyr::from_str(&machine.read("out/a.kubeconfig")).unwrap();
    assert_eq!(
        issued["clusters"][0]["cluster"]["server"], unreachable,
        "a changed endpoint is written without minting"
    );
}

/// If a webhook changes an object back, the cluster fails, and the message names the field and the manager.
#[test]
fn what_a_webhook_changes_back_is_named() {
    let fleet = simulated(["a"]);
    fleet.cluster("a").set_webhook(Some(Webhook { drop_verb: Some("list".into()), ..Webhook::default() }));
    let machine = machine(&fleet, "webhook");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    let cause = report["clusters"][0]["error"]["cause"].as_str().unwrap();
    assert!(cause.contains("field `rules` of ClusterRole `kubemint:webhook:reader`"), "{cause}");
    assert!(!machine.path("out/a.kubeconfig").exists());
}

/// If the response is lost after a write, that is no conflict, and nothing is made twice.
#[test]
fn a_lost_reply_is_repeated_without_harm() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "lost");
    for (method, path) in [
        ("POST", "/clusterroles"),
        ("POST", "/serviceaccounts"),
        ("PATCH", "/serviceaccounts/"),
        ("POST", "/secrets"),
        ("POST", "/token"),
    ] {
        fleet.cluster("a").set_fault(Some(Fault::LoseReply {
            method: Some(method.parse().unwrap()),
            path_contains: path.into(),
            times: Some(1),
        }));
        let rest = machine.read("clusters.toml");
        // Another inventory each time, so that everything is written again.
        let name = format!("lost-{}-{}", method.to_lowercase(), path.trim_matches('/'));
        let from = rest.lines().find(|line| line.starts_with("name = ")).unwrap().to_owned();
        let text = rest.replacen(&from, &format!("name = \"{name}\""), 1);
        let namespace = text.lines().find(|line| line.starts_with("namespace = ")).unwrap().to_owned();
        let text = text.replacen(&namespace, &format!("namespace = \"{name}\""), 1);
        machine.write("clusters.toml", &text);
        for file in ["out/a.kubeconfig", "all.kubeconfig"] {
            if machine.path(file).exists() {
                std::fs::remove_file(machine.path(file)).unwrap();
            }
        }
        machine.expect(0, &["apply", "--yes"]);
        machine.expect(0, &["plan", "--check"]);
        let secrets = machine.admin(0).get(&format!("/api/v1/namespaces/{name}/secrets")).unwrap();
        assert_eq!(secrets["items"].as_array().unwrap().len(), 1, "{method} {path}: one anchor");
    }
}

/// The requests are right, in the right order, one after another over one connection.
#[test]
fn a_fleet_in_the_desired_state_costs_a_handful_of_reads() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "reads");
    machine.expect(0, &["apply", "--yes"]);
    let cluster: SimCluster = fleet.cluster("a");
    cluster.reset_traffic();
    machine.expect(0, &["apply", "--yes"]);
    let requests: Vec<String> = cluster
        .recorded()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path.split('?').next().unwrap()))
        .collect();
    let anchor = machine.facts("out/a.kubeconfig")["anchor"].as_str().unwrap().to_owned();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(
        requests,
        [
            "GET /api/v1/namespaces/kube-system".to_owned(),
            format!("GET {rbac}/clusterroles"),
            format!("GET {rbac}/roles"),
            format!("GET {rbac}/clusterrolebindings"),
            format!("GET {rbac}/rolebindings"),
            "GET /api/v1/serviceaccounts".to_owned(),
            format!("GET /api/v1/namespaces/reads/secrets/{anchor}"),
        ]
    );
    assert_eq!(cluster.connections(), 1);
}

/// If it is killed at any instant, each file is the old or the new one, and the next run converges.
#[test]
fn killed_at_any_instant_the_next_run_converges() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = machine(&fleet, "kill");
    // How long a whole run takes decides when the kills come.
    let start = Instant::now();
    machine.expect(0, &["plan"]);
    let whole = start.elapsed() * 4;
    for round in 0..24_u32 {
        // A new policy each round, so that there is something to mint.
        let text = machine.read("clusters.toml");
        let text: String =
            text.lines().filter(|line| !line.starts_with("token = ")).map(|line| format!("{line}\n")).collect();
        let text = text
            .replace("[profiles.reader]\n", &format!("[profiles.reader]\ntoken = {{ ttl = \"{}m\" }}\n", 60 + round));
        machine.write("clusters.toml", &text);
        let mut child =
            machine.command(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * round / 24);
        child.kill().unwrap();
        child.wait().unwrap();
        for (path, content) in machine.files() {
            let is_ours = path.extension().is_some_and(|extension| extension == "kubeconfig");
            if is_ours {
                let parsed: Result<Value, _> = serde_saphyr::from_slice(&content);
                assert!(parsed.is_ok_and(|value| value["kind"] == "Config"), "{path:?} is whole");
            }
        }
    }
    machine.expect(0, &["apply", "--yes"]);
    for (position, name) in ["a", "b", "c"].iter().enumerate() {
        let token = machine.token(&format!("out/{name}.kubeconfig"));
        assert!(can_i(&machine.admin(position), &token, "list", "pods", "default"));
    }
    machine.expect(0, &["plan", "--check"]);
    let leftovers: Vec<_> = machine
        .files()
        .into_keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "lock"))
        .collect();
    assert!(leftovers.is_empty(), "dead locks of ours were broken: {leftovers:?}");
}

/// The first interruption lets running clusters finish, publication included; the code is 130.
#[test]
fn an_interruption_lets_running_clusters_finish() {
    let fleet = Fleet::start(FleetOptions::numbered("c", 12)).unwrap();
    let machine = machine(&fleet, "interrupt");
    for cluster in fleet.clusters() {
        cluster.set_latency(Duration::from_millis(20));
    }
    let mut command = machine.command(&["apply", "--yes", "-o", "json", "--concurrency", "2"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !machine.path("all.kubeconfig").exists() {
        assert!(Instant::now() < deadline, "nothing was ever published");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (summary, interrupted) = (&report["summary"], json!("interrupted"));
    let (changed, not_started) = (summary["changed"].as_u64().unwrap(), summary["not-started"].as_u64().unwrap());
    assert!(changed >= 1 && not_started >= 1 && changed + not_started == 12, "{summary}");
    for cluster in report["clusters"].as_array().unwrap() {
        let name = cluster["name"].as_str().unwrap();
        let written = machine.path(&format!("out/{name}.kubeconfig")).exists();
        assert_eq!(written, cluster["state"] == "changed", "the report is true for {name}");
        let is_started = cluster["state"] != "not-started";
        assert_eq!(cluster.get("not-started"), (!is_started).then_some(&interrupted), "{name}");
    }
    machine.expect(0, &["apply", "--yes"]);
}

/// Two names for one API server would fight over the same objects.
#[test]
fn the_same_api_server_under_two_names_is_blocked() {
    let fleet = simulated(["a", "b"]);
    let machine = machine(&fleet, "same");
    let admin = machine.read("admin.yaml");
    let (a, b) = (&machine.clusters[0], &machine.clusters[1]);
    // The second context reaches the first cluster.
    let same = admin.replace(&b.server, &a.server).replace(&base64(&b.ca_pem), &base64(&a.ca_pem));
    let same = same.replace(&b.admin_token, &a.admin_token);
    machine.write("admin.yaml", &same);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let message = report["clusters"][0]["blockers"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("it is the same API server as `b`"), "{message}");
    assert_eq!(report["clusters"][1]["blockers"][0]["kind"], "same-cluster");
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Each failure has a kind, in JSON and in the metrics.
#[test]
fn a_failure_has_a_kind() {
    let fleet = simulated(["a"]);
    let machine = machine(&fleet, "kinds");
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.read("admin.yaml");
    let check = |kind: &str| {
        let report = machine.kubemint(&["refresh", "-o", "json", "--metrics-file", "metrics.prom"]).exits(7).report();
        assert_eq!(report["clusters"][0]["error"]["kind"], kind, "{report:#}");
        let counted = format!("kubemint_failures_total{{reason=\"{kind}\"}} 1");
        assert!(machine.read("metrics.prom").contains(&counted), "{}", machine.read("metrics.prom"));
        let status = machine.kubemint(&["status", "-o", "json"]).exits(7).report();
        assert_eq!(status["grants"][0]["error-kind"], kind, "{status:#}");
    };
    let cluster = fleet.cluster("a");
    let status = |code| Fault::Status { code, retry_after: None, times: None };
    for (fault, kind) in [
        (Fault::Refuse, "unreachable"),
        (Fault::WrongCertificate, "certificate"),
        (status(401), "unauthorized"),
        (status(403), "forbidden"),
        (status(500), "server-error"),
        (Fault::Html502, "server-error"),
        (Fault::Garbage, "not-an-api-server"),
    ] {
        cluster.set_fault(Some(fault));
        check(kind);
    }
    cluster.set_fault(None);
    let token = format!("token: {}", cluster.admin_token);
    assert!(admin.contains(&token));
    let plugin = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false, interactiveMode: Never}";
    machine.write("admin.yaml", &admin.replace(&token, plugin));
    check("admin-plugin");
    machine.write("admin.yaml", &admin.replace("current-context", "no-context").replace("name: a\n", "name: b\n"));
    check("admin-access");
    std::fs::remove_file(machine.path("admin.yaml")).unwrap();
    check("admin-access");
}
