//! Waves: one after the other, within their budgets, and nothing after a wave that is over its own.

use kubemint_testkit::sim::{Fault, Fleet};
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

const READER: &str = "[profiles.reader]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }]\n\
     [[grants]]\nprofile = 'reader'\nselector = ''\n[[outputs]]\npath = 'out/{cluster}.kubeconfig'\n";

/// Returns a machine with waves; a cluster's tier is the part of its name before the first `-`.
fn machine(fleet: &Fleet, name: &str, waves: &str) -> Machine {
    let machine = Machine::of(fleet, name, &format!("{waves}{READER}"));
    let mut text = machine.read("clusters.toml");
    for cluster in fleet.clusters() {
        let tier = cluster.name.split('-').next().unwrap();
        let head = format!("name = \"{}\"\nlabels = {{ env = \"test\"", cluster.name);
        assert!(text.contains(&head), "{text}");
        text = text.replace(&head, &format!("{head}, tier = \"{tier}\""));
    }
    machine.write("clusters.toml", &text);
    machine
}

fn wave(name: &str, rules: &str) -> String {
    format!("[[rollout]]\nname = '{name}'\nselector = 'tier={name}'\n{rules}\n")
}

/// Makes a cluster fail as soon as it is changed: no ServiceAccount can be created.
fn break_writes(fleet: &Fleet, cluster: &str) {
    fleet.cluster(cluster).set_fault(Some(Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "/serviceaccounts/reader/token".into(),
        code: 500,
        body: None,
        times: None,
    }));
}

/// Returns the state of each cluster, with the reason why it was not started.
fn states(report: &Value) -> Vec<String> {
    let clusters = report["clusters"].as_array().unwrap().iter();
    let state = |cluster: &Value| {
        let why = cluster["not-started"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{} {}{why}", cluster["name"].as_str().unwrap(), cluster["state"].as_str().unwrap())
    };
    clusters.map(state).collect()
}

fn began(report: &Value, cluster: &str) -> jiff::Timestamp {
    let clusters = report["clusters"].as_array().unwrap();
    let cluster = clusters.iter().find(|one| one["name"] == cluster).unwrap();
    cluster["began"].as_str().unwrap().parse().unwrap()
}

#[test]
fn waves_go_one_after_the_other() {
    // The order of the inventory is not the order of the waves.
    let fleet = simulated(["prod-1", "other", "canary-1", "prod-2"]);
    let waves = wave("canary", "pause = '2s'\nverify = true") + &wave("prod", "concurrency = 1");
    let machine = machine(&fleet, "order", &waves);
    let plan = machine.kubemint(&["plan"]).exits(0).stdout;
    let table = "WAVE    CLUSTERS\ncanary  canary-1        1 cluster, at most 0 may fail, then a pause of 2s, then its \
                 credentials are used once more\nprod    prod-1, prod-2  2 clusters, 1 at a time, at most 0 may fail\n\
                 rest    other           1 cluster\n\n4 clusters: 4 to change\n";
    assert!(plan.ends_with(table), "{plan}");
    let run = machine.kubemint(&["apply", "--yes", "--no-progress", "-o", "json"]).exits(0);
    assert!(run.stderr.contains("wave `canary` is done, a pause of 2s follows"), "{}", run.stderr);
    assert!(run.stderr.contains("applying wave `prod`: 2/2, 2 changed"), "{}", run.stderr);
    let report = run.report();
    let order = ["canary-1", "prod-1", "prod-2", "other"].map(|cluster| began(&report, cluster));
    assert!(order.is_sorted(), "{order:?}");
    assert!(order[1].duration_since(order[0]) >= jiff::SignedDuration::from_secs(2), "{order:?}");
    assert_eq!(report["clusters"][0]["wave"], "prod");
    let names: Vec<&Value> = report["waves"].as_array().unwrap().iter().map(|wave| &wave["name"]).collect();
    assert_eq!(names, ["canary", "prod", "rest"]);
    // Where nothing is left to do, nobody waits.
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(!again.stderr.contains("pause"), "{}", again.stderr);
}

#[test]
fn a_wave_over_its_budget_ends_the_rollout_while_it_runs() {
    let fleet = simulated(["canary-1", "canary-2", "canary-3", "prod-1", "other"]);
    let waves = wave("canary", "concurrency = 1") + &wave("prod", "");
    let machine = machine(&fleet, "budget", &waves);
    break_writes(&fleet, "canary-1");
    let run = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6);
    assert_eq!(
        states(&run.report()),
        [
            "canary-1 failed",
            "canary-2 not-started (budget)",
            "canary-3 not-started (budget)",
            "prod-1 not-started (wave)",
            "other not-started (wave)"
        ]
    );
    let said = "not started, because more clusters of its wave failed than may";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(run.stderr.contains("not started, because an earlier wave ended the rollout"), "{}", run.stderr);
    // With a larger budget it goes on, and one that is sick keeps nobody else waiting.
    let run = machine.kubemint(&["apply", "--yes", "--max-failures", "34%", "-o", "json"]).exits(6);
    let states = states(&run.report());
    assert_eq!(states[0], "canary-1 failed");
    assert!(states[1..].iter().all(|state| state.ends_with(" changed")), "{states:?}");
}

/// What could not even be planned was known before: it is no sign that the change does harm.
#[test]
fn who_cannot_be_reached_does_not_end_a_rollout() {
    let fleet = simulated(["canary-1", "canary-2", "prod-1"]);
    let machine = machine(&fleet, "known", &(wave("canary", "") + &wave("prod", "")));
    fleet.cluster("canary-1").set_fault(Some(Fault::Refuse));
    let run = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6);
    assert_eq!(states(&run.report()), ["canary-1 failed", "canary-2 changed", "prod-1 changed"]);
}

/// A credential that worked when it was proven, and does not work after the pause, ends the rollout too.
#[test]
fn what_does_not_work_after_the_pause_ends_the_rollout() {
    let fleet = simulated(["canary-1", "prod-1"]);
    let machine = machine(&fleet, "bake", &(wave("canary", "pause = '3s'\nverify = true") + &wave("prod", "")));
    let mut command = machine.command(&["apply", "--yes", "--no-progress", "-o", "json"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // During the pause, somebody deletes what keeps the token alive.
    crate::life::eventually("the canary has its kubeconfig", || machine.path("out/canary-1.kubeconfig").exists());
    let admin = machine.admin(0);
    for anchor in crate::life::anchors(&admin, "bake") {
        admin.delete(&format!("/api/v1/namespaces/bake/secrets/{anchor}")).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(states(&report), ["canary-1 failed", "prod-1 not-started (wave)"]);
    let error = &report["clusters"][0]["error"];
    assert_eq!(error["doing"], "use the new credential once more after the pause");
    assert_eq!(error["cause"], "the credential of `reader` does not work any more: the API server does not accept it");
}

#[test]
fn waves_can_be_chosen_and_have_to_be_agreed_to() {
    let fleet = simulated(["canary-1", "staging-1", "prod-1", "other"]);
    let waves = wave("canary", "") + &wave("staging", "") + &wave("prod", "confirm = true");
    let machine = machine(&fleet, "chosen", &waves);
    let names = |arguments: &[&str]| -> Vec<String> {
        let report = machine.kubemint(&[arguments, &["-o", "json"]].concat()).exits(0).report();
        let clusters = report["clusters"].as_array().unwrap().iter();
        clusters.map(|cluster| cluster["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["plan", "--wave", "canary", "--wave", "rest"]), ["canary-1", "other"]);
    assert_eq!(names(&["plan", "--from-wave", "staging"]), ["staging-1", "prod-1", "other"]);
    let run = machine.kubemint(&["plan", "--wave", "cannary"]).exits(2);
    assert!(run.stderr.contains("did you mean wave `canary`?"), "{}", run.stderr);
    // A saved plan was reviewed, but nobody said that production may start now.
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    let run = machine.kubemint(&["apply", "reviewed.plan", "--wave", "canary", "-o", "json"]).exits(0);
    assert_eq!(states(&run.report()), ["canary-1 changed"]);
    let run = machine.kubemint(&["apply", "reviewed.plan", "-o", "json"]).exits(6);
    assert!(
        run.stderr.contains("Go on with wave `prod`, 1 cluster? nobody can be asked here: pass `--yes` to go on"),
        "{}",
        run.stderr
    );
    assert_eq!(
        states(&run.report()),
        ["canary-1 unchanged", "staging-1 changed", "prod-1 not-started (declined)", "other not-started (declined)"]
    );
    let run = machine.kubemint(&["apply", "reviewed.plan", "--yes", "-o", "json"]).exits(0);
    assert_eq!(states(&run.report())[2..], ["prod-1 changed", "other changed"]);
}

/// Removing access goes in waves too, a renewal of credentials does not wait for any.
#[test]
fn credentials_do_not_wait_for_waves_and_access_does() {
    let fleet = simulated(["canary-1", "prod-1"]);
    let machine = machine(&fleet, "kinds", &(wave("canary", "") + &wave("prod", "confirm = true")));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["refresh", "--force"]);
    let text = machine.read("clusters.toml").replace("verbs = ['get']", "verbs = ['get', 'list']");
    machine.write("clusters.toml", &text);
    let run = machine.kubemint(&["refresh", "--with-access", "-o", "json"]).exits(6);
    assert_eq!(states(&run.report()), ["canary-1 changed", "prod-1 not-started (declined)"]);
    let run = machine.kubemint(&["refresh", "--with-access", "--yes", "-o", "json"]).exits(0);
    assert_eq!(states(&run.report()), ["canary-1 unchanged", "prod-1 changed"]);
    fleet.cluster("canary-1").set_fault(Some(Fault::FailOn {
        method: Some(http::Method::DELETE),
        path_contains: "/clusterroles/".into(),
        code: 500,
        body: None,
        times: None,
    }));
    let run = machine.kubemint(&["revoke", "--access", "--yes", "-o", "json"]).exits(6);
    assert_eq!(states(&run.report()), ["canary-1 failed", "prod-1 not-started (wave)"]);
    assert!(machine.path("out/prod-1.kubeconfig").exists());
    let report = machine.kubemint(&["revoke", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(report["waves"], json!(null), "what is wrong ends everywhere at once");
}

/// A rollout that is killed again and again converges: every file is whole at each instant, and in the end each cluster
/// has one account and one credential that works, whatever was half done.
///
/// `KUBEMINT_KILLS` says how often, on how many clusters, as in `200x200`.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment says how long it may take")]
fn killed_at_any_instant_a_rollout_converges() {
    let wanted = std::env::var("KUBEMINT_KILLS").unwrap_or_else(|_| "12x12".to_owned());
    let (kills, clusters) = wanted.split_once('x').unwrap();
    let (kills, clusters): (u32, usize) = (kills.parse().unwrap(), clusters.parse().unwrap());
    let name = |number: usize| {
        let tier = ["prod", "prod", "prod", "staging", "canary"][number % 5];
        format!("{tier}-{number:03}")
    };
    let fleet = simulated((0..clusters).map(name));
    let waves =
        wave("canary", "verify = true") + &wave("staging", "pause = '1s'") + &wave("prod", "max-failures = '2%'");
    let machine = machine(&fleet, "killed", &waves);
    let text = machine.read("clusters.toml");
    let with_all = format!("{text}[[outputs]]\npath = 'all.kubeconfig'\n");
    machine.write("clusters.toml", &with_all);
    let start = std::time::Instant::now();
    machine.expect(0, &["apply", "--yes", "--events", "events.jsonl"]);
    let whole = start.elapsed();
    // Any sequence does, as long as the instants are spread over the run.
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut ended = 0;
    for round in 0..kills {
        // A new policy each time, so that there is something to do everywhere.
        let policy = format!("[profiles.reader]\ntoken = {{ ttl = '{}m' }}\n", 60 + round);
        machine.write("clusters.toml", &with_all.replace("[profiles.reader]\n", &policy));
        let mut command = machine.command(&["apply", "--yes", "--events", "events.jsonl"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(whole.mul_f64(f64::from(u32::try_from(random >> 40).unwrap() & 0xFFFF) / 65_536.0));
        ended += u32::from(child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        for (path, content) in machine.files() {
            if path.extension().is_some_and(|extension| extension == "kubeconfig") {
                let parsed: Result<Value, _> = serde_saphyr::from_slice(&content);
                assert!(parsed.is_ok_and(|value| value["kind"] == "Config"), "{path:?} is whole");
            }
        }
    }
    println!("{kills} kills of a run of {whole:?} on {clusters} clusters; {ended} had ended before");
    assert!(ended < kills, "no run was killed");
    machine.expect(0, &["apply", "--yes", "--events", "events.jsonl"]);
    // Half an hour later, every overlap is over, and claims of runs that were killed are orphans.
    for cluster in fleet.clusters() {
        cluster.set_clock_skew(jiff::SignedDuration::from_mins(30));
    }
    machine.expect(0, &["apply", "--yes", "--events", "events.jsonl"]);
    machine.expect(0, &["plan", "--check"]);
    let all = machine.read("all.kubeconfig");
    for (position, cluster) in fleet.clusters().iter().enumerate() {
        let admin = machine.admin(position);
        let token = machine.token(&format!("out/{}.kubeconfig", cluster.name));
        assert!(crate::support::can_i(&admin, &token, "get", "pods", ""), "{}", cluster.name);
        assert_eq!(all.matches(&token).count(), 1, "the combined file holds the same of {}", cluster.name);
        let accounts = admin.get("/api/v1/serviceaccounts?labelSelector=kubemint.dev%2Finventory%3Dkilled").unwrap();
        assert_eq!(accounts["items"].as_array().unwrap().len(), 1, "{}", cluster.name);
        // One generation is left, and it is the one that the outputs hold.
        let index = crate::life::index(&admin, "killed");
        let generations = index["holders"]["default"]["generations"].as_array().unwrap();
        let numbers: Vec<Option<u64>> = generations.iter().map(|generation| generation["n"].as_u64()).collect();
        let held = machine.facts(&format!("out/{}.kubeconfig", cluster.name))["generation"].as_u64();
        assert_eq!(numbers, [held], "{}: {index:#}", cluster.name);
        assert_eq!(crate::life::anchors(&admin, "killed").len(), 1, "{}", cluster.name);
    }
    // Each line of the trail is whole, but for the one that a kill may have torn.
    let torn = machine.read("events.jsonl").lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert!(torn <= usize::try_from(kills).unwrap(), "{torn} torn lines");
}

/// On two clusters: the plan says what it does to access, a wave whose credential does not work stops the rollout while it
/// runs, and the next run goes on from there.
pub(crate) fn a_wave_that_fails_stops_the_next_one([canary, prod]: [&TestCluster; 2]) {
    let machine = Machine::new(&[canary, prod], User::Admin);
    let waves = "[[rollout]]\nname = 'canary'\nselector = 'tier=canary'\nverify = true\n\
                 [[rollout]]\nname = 'prod'\nselector = 'tier=prod'\npause = '1s'\n";
    let profile = |rules: &str| {
        format!(
            "[profiles.reader]\ncluster-roles = ['edit']\ncluster-rules = [{rules}]\n[[grants]]\nprofile = 'reader'\n\
             selector = ''\n[[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
        )
    };
    let write = |rest: &str, consumer: &str| {
        machine.inventory("two-waves", &format!("{waves}{rest}"));
        let text = machine.read("clusters.toml");
        let label = |cluster: &TestCluster, tier: &str, text: String, more: &str| {
            let plain = format!("name = \"{}\"\nlabels = {{ env = \"test\" }}\n", cluster.name);
            assert!(text.contains(&plain), "{text}");
            text.replace(&plain, &format!("name = \"{}\"\nlabels = {{ tier = \"{tier}\" }}\n{more}", cluster.name))
        };
        let text = label(canary, "canary", text, consumer);
        machine.write("clusters.toml", &label(prod, "prod", text, ""));
    };
    let pods = "{ api-groups = [''], resources = ['pods'], verbs = ['get'] }";
    write(&profile(pods), "consumer = { server = 'https://127.0.0.1:1' }\n");
    let plan = machine.kubemint(&["plan"]).exits(0).stdout;
    let risk = "creates: profile `reader` may get pods; do what is in ClusterRole `edit`";
    let classes = "(escalating: secrets-read, impersonation, token-minting, pod-exec)";
    assert!(plan.contains(risk) && plan.contains(classes), "{plan}");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6).report();
    let [first, second] = [&canary.name, &prod.name];
    assert_eq!(states(&report), [format!("{first} failed"), format!("{second} not-started (wave)")]);
    assert!(machine.admin(1).get("/api/v1/namespaces/two-waves").is_err(), "nothing was written to the next wave");
    write(&profile(pods), "");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(states(&report), [format!("{first} changed"), format!("{second} changed")]);
    machine.expect(0, &["verify"]);
    // Narrower and wider at once, and what the policy has against it.
    let config_maps = "{ api-groups = [''], resources = ['configmaps'], verbs = ['get', 'delete'] }";
    write(&profile(config_maps), "");
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let risk = &report["clusters"][1]["changes"][0]["risk"];
    assert_eq!((&risk["class"], &risk["profile"]), (&"replaces".into(), &"reader".into()), "{report:#}");
    machine.expect(5, &["apply", "--yes", "--deny", "replaces"]);
    write(&format!("[policy]\ndeny = ['pod-exec']\n{}", profile(config_maps)), "");
    let refused = machine.kubemint(&["plan"]).exits(5).stdout;
    assert!(
        refused.contains("the policy's `pod-exec` refuses ClusterRole `edit`, which profile `reader` binds"),
        "{refused}"
    );
}

#[test]
fn a_wave_that_fails_stops_the_next_one_on_simulated_clusters() {
    let fleet = simulated(["one", "two"]);
    let clusters = fleet.test_clusters();
    a_wave_that_fails_stops_the_next_one([clusters[0], clusters[1]]);
}
