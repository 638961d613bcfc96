//! Events at ServiceAccounts, for those who look in the cluster and not at the report.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use kubemint_testkit::control_plane::kubectl;
use kubemint_testkit::sim::{Fault, Fleet, FleetOptions};
use kubemint_testkit::{Admin, TestCluster, User, kubeconfig_yaml};
use serde_json::{Value, json};

use crate::life::profile;
use crate::support::{Machine, simulated};

fn events(admin: &Admin) -> Vec<Value> {
    events_in(admin, "warned")
}

fn events_in(admin: &Admin, namespace: &str) -> Vec<Value> {
    let list = admin.get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Writes an inventory that wants Events, and whose credentials cannot be proven.
fn unprovable(machine: &Machine) -> String {
    machine.inventory("warned", &profile("10m"));
    let text = machine.read("clusters.toml").replacen("[defaults]\n", "[defaults]\nevents = true\n", 1);
    let labels = "labels = { env = \"test\" }\n";
    machine
        .write("clusters.toml", &text.replace(labels, &format!("{labels}consumer.server = \"https://127.0.0.1:1\"\n")));
    text
}

/// A credential that cannot be minted and one that is revoked are said there, and the same is said once.
fn what_goes_wrong_is_said_in_the_cluster(cluster: &TestCluster) -> Machine {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    let usable = unprovable(&machine);
    machine.expect(7, &["apply", "--yes"]);
    let account = admin.get("/api/v1/namespaces/warned/serviceaccounts/reader").unwrap();
    let [event] = events(&admin).try_into().unwrap();
    assert_eq!((&event["type"], &event["reason"]), (&"Warning".into(), &"CredentialNotRenewed".into()), "{event:#}");
    assert_eq!(event["regarding"]["uid"], account["metadata"]["uid"]);
    assert_eq!(event["reportingController"], "kubemint.dev/kubemint");
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("the credential of profile `reader` was not minted: "), "{note}");

    machine.expect(7, &["apply", "--yes"]);
    machine.expect(7, &["refresh"]);
    let said: Vec<Value> = events(&admin);
    let hours: BTreeSet<&str> = said.iter().map(|event| &event["eventTime"].as_str().unwrap()[..13]).collect();
    assert_eq!(said.len(), hours.len(), "once an hour: {said:#?}");

    machine.write("clusters.toml", &usable);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(events(&admin).len(), said.len(), "nothing is wrong any more");
    machine.expect(0, &["revoke", "--yes"]);
    let revoked = events(&admin).into_iter().find(|event| event["reason"] == "CredentialRevoked").unwrap();
    assert!(revoked["note"].as_str().unwrap().contains("credentials of profile `reader` were revoked"), "{revoked:#}");
    machine
}

#[test]
fn what_goes_wrong_is_said_in_a_simulated_cluster() {
    let fleet = simulated(["a"]);
    let machine = what_goes_wrong_is_said_in_the_cluster(fleet.test_clusters()[0]);
    drop(machine);
}

#[test]
fn what_goes_wrong_is_said_in_a_real_cluster() {
    if let Some(cluster) = crate::real::shared(0) {
        let machine = what_goes_wrong_is_said_in_the_cluster(&cluster);
        let admin = machine.path("admin.yaml");
        let words = ["--context", &cluster.name, "describe", "serviceaccount", "reader", "--namespace", "warned"];
        let described = kubectl(&admin, words).unwrap();
        assert!(described.stdout.contains("CredentialNotRenewed"), "{} {}", described.stdout, described.stderr);
        let by = "reportingComponent=kubemint.dev/kubemint";
        let words = ["--context", &cluster.name, "get", "events", "--namespace", "warned", "--field-selector", by];
        let listed = kubectl(&admin, words).unwrap();
        assert!(listed.stdout.contains("serviceaccount/reader"), "{} {}", listed.stdout, listed.stderr);
    }
}

#[test]
fn a_shortened_life_is_said_in_the_cluster() {
    let mut options = FleetOptions::named(["a"]);
    options.max_token_expiration = Some(Duration::from_secs(3600));
    let fleet = Fleet::start(options).unwrap();
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    unprovable(&machine);
    let text = machine.read("clusters.toml").replace("consumer.server = \"https://127.0.0.1:1\"\n", "");
    machine.write("clusters.toml", &text.replace("ttl = \"1h\"", "ttl = \"24h\""));
    machine.expect(0, &["apply", "--yes"]);
    let [event] = events(&machine.admin(0)).try_into().unwrap();
    assert_eq!(event["reason"], "CredentialLifetimeShortened");
    let note = "the API server shortened the life of the credential of profile `reader` from 24h to 1h";
    assert_eq!(event["note"], note);
}

/// A living credential that does not get to its outputs is said to be undelivered, and one that ends with its ServiceAccount is
/// said at the new one.
#[test]
fn what_is_not_delivered_and_what_is_made_anew_is_said() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let admin = machine.admin(0);
    let usable = unprovable(&machine);
    let unusable = machine.read("clusters.toml");
    machine.write("clusters.toml", &usable);
    machine.expect(0, &["apply", "--yes"]);
    machine.write("clusters.toml", &unusable);
    machine.expect(7, &["refresh"]);
    let [event] = events(&admin).try_into().unwrap();
    assert_eq!(event["reason"], "CredentialExpires", "less than its hour is left");
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("the credential of profile `reader` was not delivered (it expires at "), "{note}");
    assert!(note.contains("Z): "), "{note}");

    machine.write("clusters.toml", &usable);
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    let account = admin.get("/api/v1/namespaces/warned/serviceaccounts/reader").unwrap();
    let [revoked] = <[Value; 1]>::try_from(
        events(&admin).into_iter().filter(|event| event["reason"] == "CredentialRevoked").collect::<Vec<_>>(),
    )
    .unwrap();
    assert_eq!(revoked["regarding"]["uid"], account["metadata"]["uid"]);
}

/// A credential that stays behind because something else failed before it is said as well.
#[test]
fn what_comes_after_a_failure_is_said() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let usable = unprovable(&machine);
    machine.write("clusters.toml", &usable);
    machine.expect(0, &["apply", "--yes"]);
    machine.write("clusters.toml", &usable.replace("verbs = [\"get\", \"list\"]", "verbs = [\"get\"]"));
    let cluster = fleet.cluster("a");
    cluster.set_clock_skew(SignedDuration::from_hours(2));
    // The dry run is allowed, and the update that follows is not.
    cluster.set_fault(Some(Fault::FailOn {
        method: Some(Method::PATCH),
        path_contains: "fieldValidation=Strict$".to_owned(),
        code: 403,
        body: None,
        times: None,
    }));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    assert!(report["clusters"][0]["error"]["doing"].as_str().unwrap().starts_with("update "), "{report:#}");
    let [event] = events(&machine.admin(0)).try_into().unwrap();
    assert_eq!(event["reason"], "CredentialExpired");
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("the credential of profile `reader` was not renewed (it has expired): "), "{note}");
}

/// Steps that take too long are said too, in the time that is kept for it. The other server refuses the new token, as one does
/// that has not heard of its ServiceAccount yet, so it is asked again and again.
#[test]
fn what_takes_too_long_is_said() {
    let fleet = simulated(["a", "b"]);
    let [a, b] = fleet.test_clusters().try_into().unwrap();
    let machine = Machine::new(&[a], User::Admin);
    unprovable(&machine);
    machine.impatient();
    machine.write("b.pem", &b.ca_pem);
    let elsewhere =
        format!("consumer = {{ server = \"{}\", certificate-authority = \"b.pem\", verify = \"endpoint\" }}", b.server);
    let text = machine.read("clusters.toml").replace("consumer.server = \"https://127.0.0.1:1\"", &elsewhere);
    machine.write("clusters.toml", &text);
    machine.expect(7, &["apply", "--yes"]);
    let [event] = events(&machine.admin(0)).try_into().unwrap();
    assert_eq!(event["reason"], "CredentialNotRenewed");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("was not minted: not done within 4"), "{note}");
}

/// Who asks for nothing gets no request, and who may not write Events has the run that there would be without.
#[test]
fn events_change_nothing_else() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let text = unprovable(&machine);
    let consumer = "consumer.server = \"https://127.0.0.1:1\"\n";
    machine.write("clusters.toml", &machine.read("clusters.toml").replace("events = true\n", ""));
    machine.expect(7, &["apply", "--yes"]);
    let asked = fleet.cluster("a").recorded();
    assert!(asked.iter().all(|request| !request.path.contains("/events")), "{asked:#?}");

    let refused = Fault::FailOn {
        method: Some(Method::POST),
        path_contains: "/events".to_owned(),
        code: 403,
        body: None,
        times: None,
    };
    fleet.cluster("a").set_fault(Some(refused));
    let labels = "labels = { env = \"test\" }\n";
    machine.write("clusters.toml", &text.replace(labels, &format!("{labels}{consumer}")));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    let notes = report["clusters"][0]["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["kind"] == "no-event"), "{notes:#?}");
    machine.write("clusters.toml", &text);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["revoke", "--yes"]);
}

/// Lets the user `reader` do in a namespace what a renewal needs, but for minting, and read in the whole cluster what it reads.
fn let_renew_without_minting(admin: &Admin, namespace: &str) {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": User::Reader.name()}]);
    let create = |scope: &str, kind: &str, rules: Value| {
        let (role, binding) = (format!("{RBAC}{scope}/{kind}s"), format!("{RBAC}{scope}/{kind}bindings"));
        let named = json!({"name": namespace});
        admin.create(&role, &json!({"metadata": named, "rules": rules})).unwrap();
        let kind = if kind == "role" { "Role" } else { "ClusterRole" };
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": namespace});
        admin.create(&binding, &json!({"metadata": named, "roleRef": role, "subjects": subjects})).unwrap();
    };
    let read = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": ["get", "list"]},
    ]);
    create("", "clusterrole", read);
    let renew = json!([
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]},
    ]);
    create(&format!("/namespaces/{namespace}"), "role", renew);
}

/// What blocks a renewal before its first step is said too; without the right to say it, the run is the same.
fn what_blocks_a_renewal_is_said_in_the_cluster(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    machine.inventory("blocked", &profile("10m"));
    machine.expect(0, &["apply", "--yes"]);
    let_renew_without_minting(&admin, "blocked");
    machine.write("admin.yaml", &kubeconfig_yaml(&[cluster], User::Reader));
    let refresh = || {
        let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(5).report();
        let cluster = report["clusters"][0].clone();
        let is_about_events = |note: &Value| note["kind"] == "no-event";
        let (silent, notes): (Vec<Value>, Vec<Value>) =
            cluster["notes"].as_array().unwrap().iter().cloned().partition(is_about_events);
        (cluster["blockers"].clone(), notes, silent)
    };
    let (blockers, notes, silent) = refresh();
    assert_eq!((&blockers[0]["kind"], silent.len()), (&"missing-right".into(), 0), "{blockers:#}");

    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &text.replacen("[defaults]\n", "[defaults]\nevents = true\n", 1));
    let (same_blockers, same_notes, silent) = refresh();
    assert_eq!((&same_blockers, &same_notes), (&blockers, &notes));
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert!(events_in(&admin, "blocked").is_empty());

    let role = json!({"rules": [
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]});
    admin.merge_patch("/apis/rbac.authorization.k8s.io/v1/namespaces/blocked/roles/blocked", &role).unwrap();
    assert!(refresh().2.is_empty());
    // The token lives for an hour, so less than that is left.
    let [event] = events_in(&admin, "blocked").try_into().unwrap();
    assert_eq!((&event["reason"], &event["regarding"]["name"]), (&"CredentialExpires".into(), &"reader".into()));
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("the credential of profile `reader` was not renewed (it expires at "), "{note}");
    assert!(note.contains("Z): the admin may not create `serviceaccounts/token`"), "{note}");
}

#[test]
fn what_blocks_a_renewal_is_said_in_a_simulated_cluster() {
    let fleet = simulated(["a"]);
    what_blocks_a_renewal_is_said_in_the_cluster(fleet.test_clusters()[0]);
}

#[test]
fn what_blocks_a_renewal_is_said_in_a_real_cluster() {
    if let Some(cluster) = crate::real::shared(0) {
        what_blocks_a_renewal_is_said_in_the_cluster(&cluster);
    }
}
