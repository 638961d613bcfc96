//! Events at ServiceAccounts, for those who look in the cluster and not at the report.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use kubemint_testkit::control_plane::kubectl;
use kubemint_testkit::sim::{Fault, Fleet, FleetOptions};
use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::Value;

use crate::life::profile;
use crate::support::{Machine, simulated};

fn events(admin: &Admin) -> Vec<Value> {
    let list = admin.get("/apis/events.k8s.io/v1/namespaces/warned/events").unwrap();
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
    assert!(note.starts_with("the credential of profile `reader` was not renewed: "), "{note}");

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

/// Who asks for nothing gets no request, and who may not write Events has the run that there would be without.
#[test]
fn events_change_nothing_else() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let text = unprovable(&machine);
    let consumer = "consumer.server = \"https://127.0.0.1:1\"\n";
    machine.write("clusters.toml", &machine.read("clusters.toml").replace("events = true\n", ""));
    machine.expect(7, &["apply", "--yes"]);
    assert!(events(&machine.admin(0)).is_empty());

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
