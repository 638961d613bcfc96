//! The audit trail: what happened, event by event, joinable with Kubernetes' audit log.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use kubemint_testkit::TestCluster;
use kubemint_testkit::User;
use kubemint_testkit::sim::Fault;
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

const READER: &str = "[profiles.reader]\ntoken = { ttl = '1h' }\n\
     cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }]\n\
     [[grants]]\nprofile = 'reader'\nselector = ''\n[[outputs]]\npath = 'out/{cluster}.kubeconfig'\n";

fn trail(machine: &Machine) -> Vec<Value> {
    machine.read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Returns the lines about a kind of step of a cluster.
fn steps<'a>(trail: &'a [Value], cluster: &str, action: &str) -> Vec<&'a Value> {
    trail.iter().filter(|line| line["cluster"] == cluster && line["action"] == action).collect()
}

#[test]
fn a_credential_can_be_followed_from_its_birth_to_its_end() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::of(&fleet, "trail", READER);
    fleet.cluster("b").set_fault(Some(Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "/serviceaccounts/reader/token".into(),
        code: 403,
        body: None,
        times: None,
    }));
    let events = ["--events", "events.jsonl"];
    drop(machine.kubemint(&[&["apply", "--yes"], &events[..]].concat()).exits(6));
    let first = machine.token("out/a.kubeconfig");
    let mode = std::fs::metadata(machine.path("events.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = trail(&machine);
    let minted = steps(&lines, "a", "mint");
    assert_eq!(minted.len(), 1, "{lines:#?}");
    let minted = minted[0];
    assert_eq!(minted["jti"], claims(&first)["jti"]);
    assert_eq!(
        (&minted["event"], &minted["outcome"], &minted["profile"], &minted["generation"], &minted["command"]),
        (&json!("step-ended"), &json!("done"), &json!("reader"), &json!(1), &json!("apply"))
    );
    let time = |field: &str| minted[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("requested-expiry").duration_since(time("issued")), jiff::SignedDuration::from_hours(1));
    assert_eq!(time("expires").as_second(), claims(&first)["exp"].as_i64().unwrap());
    // Each step has the id that it has in the plan, in the order in which they were done.
    let report = machine.kubemint(&["plan", "--cluster", "b", "-o", "json"]).exits(0).report();
    assert_eq!(steps(&lines, "b", "create").len(), 4);
    let failed = steps(&lines, "b", "mint")[0];
    assert_eq!(failed["step"], report["clusters"][0]["changes"][0]["id"]);
    assert_eq!((&failed["outcome"], &failed["error-kind"]), (&json!("failed"), &json!("forbidden")));
    let ended: Vec<&Value> = lines.iter().filter(|line| line["event"] == "cluster-ended").collect();
    assert_eq!(ended.len(), 2, "{lines:#?}");

    // Later runs add to it.
    drop(machine.kubemint(&[&["refresh", "--force", "--cluster", "a"], &events[..]].concat()).exits(0));
    let renewed = trail(&machine);
    assert_eq!(renewed[..lines.len()], lines);
    let again = steps(&renewed[lines.len()..], "a", "mint");
    assert_eq!(again[0]["superseded"], json!([{"generation": 1, "jti": claims(&first)["jti"]}]));
    assert_ne!(again[0]["run"], minted["run"]);
    let number = renewed.len();
    drop(machine.kubemint(&[&["revoke", "--superseded", "--yes", "--cluster", "a"], &events[..]].concat()).exits(0));
    let revoked = trail(&machine);
    assert_eq!(steps(&revoked[number..], "a", "revoke")[0]["generations"], json!([1]));
    let text = machine.read("events.jsonl");
    for token in [first, machine.token("out/a.kubeconfig")] {
        assert!(!text.contains(token.rsplit('.').next().unwrap()));
    }
}

#[test]
fn a_trail_that_cannot_be_written_is_said() {
    let fleet = simulated(["a"]);
    let machine = Machine::of(&fleet, "untold", READER);
    let inventory = machine.read("clusters.toml");
    let run = machine.kubemint(&["apply", "--yes", "--events", "clusters.toml"]).exits(2);
    assert!(run.stderr.contains("cannot write the events to `clusters.toml`"), "{}", run.stderr);
    assert!(run.stderr.contains("it is something else"), "{}", run.stderr);
    assert_eq!(machine.read("clusters.toml"), inventory);
    // What is full is noticed at the first event. The credentials do not wait for it.
    std::os::unix::fs::symlink("/dev/full", machine.path("full.jsonl")).unwrap();
    let run = machine.kubemint(&["apply", "--yes", "--events", "full.jsonl"]).exits(2);
    assert!(run.stderr.contains("it is not a regular file"), "{}", run.stderr);
}

/// The credentials do not wait for the trail; the run ends with an error all the same, because lines are missing.
#[test]
fn a_trail_that_ends_half_way_is_said_and_stops_nothing() {
    let fleet = simulated((0..30).map(|number| format!("c{number:02}")));
    let machine = Machine::of(&fleet, "halfway", READER);
    // Of 512 or 1,024 bytes: every kubeconfig fits, and the events of 30 clusters do not.
    let run = machine.limited("ulimit -f 16", &["apply", "--yes", "--events", "events.jsonl"]).exits(6);
    assert!(run.stdout.contains("30 clusters: 30 changed"), "{}", run.stdout);
    assert!(run.stderr.contains("cannot write the events to `events.jsonl`"), "{}", run.stderr);
    assert!(run.stderr.contains("File too large"), "{}", run.stderr);
    let whole = machine.read("events.jsonl").lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert!(whole > 5 && whole < 30 * 8, "{whole}");
    machine.expect(0, &["plan", "--check"]);
    // A later run goes on in the same file.
    machine.expect(0, &["refresh", "--force", "--events", "events.jsonl"]);
    let broken =
        machine.read("events.jsonl").lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    assert!(broken <= 1, "{broken}");
}

/// The identifier of a token stands in the audit log of the API server: at its birth, and at each use.
pub(crate) fn the_trail_names_what_the_audit_log_names(cluster: &TestCluster, audit_log: impl Fn() -> String) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("joined", READER);
    drop(machine.kubemint(&["apply", "--yes", "--events", "events.jsonl"]).exits(0));
    let lines = trail(&machine);
    let jti = steps(&lines, &cluster.name, "mint")[0]["jti"].as_str().unwrap().to_owned();
    crate::life::eventually("the audit log has the token's identifier", || {
        let log = audit_log();
        let of_token: Vec<Value> = log
            .lines()
            .filter(|line| line.contains(&format!("JTI={jti}")))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let is_issued = |event: &Value| event["objectRef"]["subresource"] == "token";
        of_token.iter().any(is_issued) && !of_token.iter().all(is_issued)
    });
}
