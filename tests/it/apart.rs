//! One cluster must not hurt another: clusters that hang, copy an identity or have a wrong clock change nothing for the
//! others. `hostile` tests the use of memory.

use std::time::{Duration, Instant};

use kubemint_testkit::sim::{Fault, Hostility};
use serde_json::{Value, json};

use crate::life::{generations, profile};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, simulated, undisturbed};

fn cluster<'a>(report: &'a Value, name: &str) -> &'a Value {
    let clusters = report["clusters"].as_array().unwrap();
    clusters.iter().find(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("{report:#}"))
}

/// Most of a fleet accepts connections and never responds. At the default settings, the clusters that do respond are
/// written soon, although they come last in the inventory: long before the first of the others is given up.
#[test]
fn those_that_hang_keep_nobody_waiting() {
    const SICK: usize = 130;
    const IN_TIME: Duration = Duration::from_secs(10);
    let _undisturbed = undisturbed();
    let mut names: Vec<String> = (0..SICK).map(|number| format!("a-sick-{number:03}")).collect();
    names.extend(["z-1".to_owned(), "z-2".to_owned()]);
    let fleet = simulated(names);
    let machine = Machine::of(&fleet, "hang", &profile("15m"));
    // Nothing is said about concurrency and timeouts, but for an end to the test.
    let text = machine.read("clusters.toml");
    let text = text.replace("request-timeout = \"10s\"\ncluster-timeout = \"60s\"\n", "cluster-timeout = \"20s\"\n");
    machine.write("clusters.toml", &text);
    machine.expect(0, &["apply", "--yes"]);
    let outputs = ["z-1", "z-2"].map(|name| format!("out/{name}.kubeconfig"));
    let before = outputs.each_ref().map(|output| machine.token(output));
    for sick in &fleet.clusters()[..SICK] {
        sick.set_fault(Some(Fault::Hang));
    }
    let start = Instant::now();
    let mut child = machine.command(&["refresh", "--force"]).spawn().unwrap();
    let written = || (0..2).all(|position| machine.token(&outputs[position]) != before[position]);
    while !written() {
        assert!(start.elapsed() < IN_TIME, "the healthy ones were not written within {IN_TIME:?}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(6), "the others are reported");

    // An apply shows the whole plan first, and says meanwhile whom it waits for.
    machine.write("clusters.toml", &text.replace("verbs = [\"get\", \"list\"]", "verbs = [\"get\"]"));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6);
    assert!(
        report.stderr.contains("waiting for 130 clusters that have not answered yet: a-sick-000"),
        "{}",
        report.stderr
    );
    for name in ["z-1", "z-2"] {
        assert_eq!(cluster(&report.report(), name)["state"], "changed");
    }
}

/// A cluster that has the identity of another, because it is compromised or a copy of its etcd, stops neither a renewal
/// nor an apply of the other.
#[test]
fn who_copies_an_identity_is_blocked_and_named() {
    let fleet = simulated(["known", "newcomer"]);
    let machine = Machine::of(&fleet, "copied", &profile("15m"));
    machine.expect(0, &["apply", "--yes", "--cluster", "known"]);
    let uid = machine.admin(0).get("/api/v1/namespaces/kube-system").unwrap()["metadata"]["uid"].clone();
    let copies = Hostility::OtherClusterUid(uid.as_str().unwrap().to_owned());
    fleet.cluster("newcomer").set_fault(Some(Fault::Hostile(copies.clone())));
    for command in [&["refresh", "--force", "-o", "json"][..], &["apply", "--yes", "-o", "json"]] {
        let report = machine.kubemint(command).exits(6).report();
        assert!(["changed", "unchanged"].contains(&cluster(&report, "known")["state"].as_str().unwrap()), "{report:#}");
        assert_ne!(cluster(&report, "newcomer")["state"], "changed");
    }
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(6).report();
    let blocker = &cluster(&report, "newcomer")["blockers"][0];
    assert_eq!(blocker["kind"], "same-cluster");
    assert!(blocker["message"].as_str().unwrap().contains("`known`"), "{blocker:#}");
    assert_eq!(cluster(&report, "known")["notes"][0]["kind"], "copied-identity", "{report:#}");

    // Both were in use before: their ServiceAccounts have uids of their own, so they are two, and both go on.
    fleet.cluster("newcomer").set_fault(None);
    machine.expect(0, &["apply", "--yes"]);
    fleet.cluster("newcomer").set_fault(Some(Fault::Hostile(copies)));
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(0).report();
    assert_eq!(report["credentials"]["renewed"], 2, "{report:#}");
    assert!(report.to_string().contains("copied-identity"), "{report:#}");
}

/// The clock of a gateway before the API server is 12 minutes ahead: no working token ends because of that, and after
/// one renewal kubemint knows it.
#[test]
fn a_clock_that_is_ahead_kills_nothing_and_is_learned() {
    let fleet = simulated(["front"]);
    let rest = profile("4m").replace("ttl = \"1h\"", "ttl = \"10m\"");
    let machine = Machine::of(&fleet, "clock", &rest);
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let consumer = machine.token("out/front.kubeconfig");
    fleet.cluster("front").set_fault(Some(Fault::Hostile(Hostility::ClockAhead(12 * 60))));
    let mut minted = 0;
    for round in 0..4 {
        let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
        minted += report["credentials"]["renewed"].as_u64().unwrap();
        assert!(can_i(&admin, &consumer, "list", "pods", "default"), "round {round}: what a consumer has works");
        let notes = report["clusters"][0]["notes"].to_string();
        assert!(notes.contains("clock"), "round {round}: {notes}");
    }
    assert!(minted <= 1, "{minted} were minted");
    assert_eq!(generations(&admin, "clock"), [1, 2], "neither was deleted");
    // The clock is set right: what was learned does no harm.
    fleet.cluster("front").set_fault(None);
    let idle = machine.kubemint(&["refresh"]).exits(0);
    assert!(idle.stdout.starts_with("1 current, 0 renewed"), "{}", idle.stdout);
    machine.expect(0, &["revoke", "--yes"]);
    assert!(is_refused_soon(&admin, &consumer));
}

/// If a response says "Success" and nothing was done, no command reports success.
#[test]
fn a_write_is_believed_when_its_effect_is_seen() {
    let fleet = simulated(["liar"]);
    let machine = Machine::of(&fleet, "effect", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token("out/liar.kubeconfig");
    for lie in [Hostility::OkFailure, Hostility::OkNothing, Hostility::OkLieDelete, Hostility::DeleteWithoutEnd] {
        fleet.cluster("liar").set_fault(Some(Fault::Hostile(lie.clone())));
        let run = machine.kubemint(&["revoke", "--yes"]);
        assert_eq!(run.code, 7, "{}: {}{}", lie.name(), run.stdout, run.stderr);
        fleet.cluster("liar").set_fault(None);
    }
    machine.expect(0, &["revoke", "--yes"]);
    assert!(is_refused_soon(&admin, &token));
    let index: Value = json!(crate::life::index(&admin, "effect"));
    assert_eq!(index["holders"]["default"]["suspended"], true);
}

/// A cluster that responds at first and hangs later does not keep a slot of the pool either.
#[test]
fn those_that_hang_later_keep_nobody_waiting() {
    let _undisturbed = undisturbed();
    let mut names: Vec<String> = (0..70).map(|number| format!("a-sick-{number:03}")).collect();
    names.push("z".to_owned());
    let fleet = simulated(names);
    let machine = Machine::of(&fleet, "later", &profile("15m"));
    let text = machine.read("clusters.toml").replace("cluster-timeout = \"60s\"", "cluster-timeout = \"15s\"");
    machine.write("clusters.toml", &text);
    machine.expect(0, &["apply", "--yes"]);
    for sick in &fleet.clusters()[..70] {
        sick.set_fault(Some(Fault::HangAfter(1)));
    }
    let before = machine.token("out/z.kubeconfig");
    let start = Instant::now();
    let mut child = machine.command(&["refresh", "--force"]).spawn().unwrap();
    while machine.token("out/z.kubeconfig") == before {
        assert!(start.elapsed() < Duration::from_secs(9), "the healthy one was not written in time");
    }
    assert_eq!(child.wait().unwrap().code(), Some(6));
}
