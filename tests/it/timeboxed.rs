//! Grants that hold for a time: nothing before it, no token that outlives it, nothing left after it.

use jiff::{SignedDuration, Timestamp};
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, eventually};
use crate::support::{Machine, can_i, changes};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_period {
    ($run:ident) => {
        $run!(
            no_token_outlives_its_grant,
            what_has_ended_is_removed_by_a_refresh,
            a_grant_outside_its_time_stops_no_other,
            the_watcher_ends_a_grant,
        );
    };
}
pub(crate) use every_period;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A grant with other keys, beside one that always holds.
fn inventory(keys: &str) -> String {
    let profile = |name: &str| {
        format!(
            "[profiles.{name}]\ntoken = {{ ttl = '1h' }}\n\
             cluster-rules = [{{ api-groups = [''], resources = ['pods'], verbs = ['get'] }}]\n"
        )
    };
    format!(
        "{}{}[[grants]]\nprofile = 'always'\nselector = ''\n[[grants]]\nprofile = 'boxed'\nselector = ''\n{keys}\n\
         [[outputs]]\npath = 'out/{{profile}}.kubeconfig'\n[[outputs]]\npath = 'both.kubeconfig'\n",
        profile("always"),
        profile("boxed")
    )
}

#[expect(clippy::disallowed_methods, reason = "the grants of these tests begin and end around now")]
fn later(seconds: i64) -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn expiry(machine: &Machine) -> Timestamp {
    machine.facts("out/boxed.kubeconfig")["expires"].as_str().unwrap().parse().unwrap()
}

fn grant<'a>(status: &'a Value, profile: &str) -> &'a Value {
    let grants = status["grants"].as_array().unwrap();
    grants.iter().find(|grant| grant["profile"] == profile).unwrap_or_else(|| panic!("{status:#}"))
}

pub(crate) fn no_token_outlives_its_grant(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let ends = later(20 * 60);
    machine.inventory("outlive-not", &inventory(&format!("expires = {ends}")));
    machine.expect(0, &["apply", "--yes"]);
    assert!(expiry(&machine) <= ends, "{} after {ends}", expiry(&machine));
    assert!(ends.duration_since(expiry(&machine)) < SignedDuration::from_secs(30), "it lasts as long as it may");
    // It lasts until the end, so it is not renewed before, however little is left.
    let report = machine.kubemint(&["refresh", "--next-run", "1h", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["mint always"], "{report:#}");
    let status = machine.kubemint(&["status", "-o", "json"]).exits(0).report();
    assert_eq!(grant(&status, "boxed")["grant-expires"], json!(ends.to_string()));
    // An end that is moved forward is too late for the token that lives.
    let sooner = later(12 * 60);
    machine.inventory("outlive-not", &inventory(&format!("expires = '{sooner}'")));
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["reason"], "policy changed", "{report:#}");
    assert!(expiry(&machine) <= sooner, "{} after {sooner}", expiry(&machine));
    // No token lives for less than ten minutes, so nothing is minted any more; what lives stays until the end.
    machine.inventory("outlive-not", &inventory(&format!("expires = '{}'", later(5 * 60))));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert!(report["clusters"][0]["notes"].to_string().contains("nothing is minted for `boxed`"), "{report:#}");
}

pub(crate) fn what_has_ended_is_removed_by_a_refresh(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ended", &inventory(""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token("out/boxed.kubeconfig");
    assert!(can_i(&admin, &token, "get", "pods", ""));
    machine.inventory("ended", &inventory(&format!("expires = '{}'", later(-1))));
    // An apply does nothing about it, and says so.
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), Vec::<String>::new());
    let note = &report["clusters"][0]["notes"][0];
    assert_eq!(note["kind"], "outside-period");
    assert!(note["message"].as_str().unwrap().contains("`kubemint refresh` removes what is left of it"));
    let status = machine.kubemint(&["status", "--check", "-o", "json"]).exits(4).report();
    assert_eq!(grant(&status, "boxed")["state"], "ended");
    // A refresh ends it, wherever it is, and leaves the other.
    machine.expect(4, &["refresh", "--check"]);
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["state"], "changed");
    assert!(crate::scenarios::is_refused_soon(&admin, &token));
    for gone in [
        format!("{RBAC}/clusterroles/kubemint:ended:boxed"),
        format!("{RBAC}/clusterrolebindings/kubemint:ended:boxed"),
        "/api/v1/namespaces/ended/serviceaccounts/boxed".to_owned(),
    ] {
        assert!(admin.get(&gone).is_err(), "{gone}");
    }
    assert_eq!(anchors(&admin, "ended").len(), 1);
    let both = machine.read("both.kubeconfig");
    assert!(both.contains("always@") && !both.contains("boxed@"), "{both}");
    assert!(can_i(&admin, &machine.token("out/always.kubeconfig"), "get", "pods", ""));
    // Then nothing is left to do.
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["state"], "unchanged", "{report:#}");
    machine.expect(0, &["status", "--check"]);
    machine.expect(0, &["verify"]);
    let run = machine.kubemint(&["credential", "--cluster", &cluster.name, "--profile", "boxed"]).exits(7);
    assert!(run.stderr.contains("the grant of `boxed` ended at"), "{}", run.stderr);
}

pub(crate) fn a_grant_outside_its_time_stops_no_other(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let starts = later(3600);
    machine.inventory("inert", &inventory(&format!("starts = '{starts}'\nexpires = '{}'", later(7200))));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert!(changes(&report, 0).iter().all(|change| !change.contains("boxed")), "{report:#}");
    let message = format!("the grant of `boxed` begins at {starts}");
    assert!(report["clusters"][0]["notes"].to_string().contains(&message), "{report:#}");
    assert!(machine.path("out/always.kubeconfig").exists() && !machine.path("out/boxed.kubeconfig").exists());
    machine.expect(0, &["refresh"]);
    machine.expect(0, &["verify"]);
    let status = machine.kubemint(&["status", "--check", "-o", "json"]).exits(0).report();
    assert_eq!(grant(&status, "boxed")["state"], "not-begun");
}

pub(crate) fn the_watcher_ends_a_grant(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("watched", &inventory(""));
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("watched", &inventory(&format!("expires = '{}'", later(8))));
    let admin = machine.admin(0);
    let account = "/api/v1/namespaces/watched/serviceaccounts/boxed";
    let mut command = machine.command(&["refresh", "--watch"]);
    let mut watcher = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    assert!(admin.get(account).is_ok(), "it has not ended yet");
    eventually("the watcher ended the grant", || admin.get(account).is_err());
    eventually("its entry is gone", || !machine.read("both.kubeconfig").contains("boxed@"));
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    assert!(machine.read("both.kubeconfig").contains("always@"));
}
