//! Watchers that share a Lease: one works, and the others wait for it to go.

use std::time::{Duration, Instant};

use kubemint_testkit::sim::Fault;
use kubemint_testkit::{TestCluster, User};
use serde_json::json;

use crate::life::{eventually, profile};
use crate::support::{Machine, simulated, undisturbed};
use crate::watching::Watcher;

const WAITS: &str = "kubemint_waits_for_lease";
const LAST_RUN: &str = "kubemint_last_run_timestamp_seconds";

/// The watcher that is killed is followed by another when its Lease has ended; the one that is stopped gives it back.
pub(crate) fn of_several_watchers_one_works(cluster: &TestCluster) {
    let _undisturbed = undisturbed();
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("leasing", &profile("1s"));
    machine.impatient();
    machine.expect(0, &["apply", "--yes"]);
    let lease = ["--lease", "default/leasing", "--lease-cluster", &cluster.name];
    let admin = machine.admin(0);
    let spec = || admin.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/leasing").unwrap()["spec"].clone();
    let works = |watcher: &Watcher| watcher.metric(LAST_RUN) > Some(0.0);

    let first = Watcher::start(&machine, &lease);
    eventually("the first one works", || works(&first));
    first.await_metric(WAITS, 0.0);
    let holder = spec()["holderIdentity"].clone();
    let second = Watcher::start(&machine, &lease);
    second.await_metric(WAITS, 1.0);
    assert_eq!(second.get("/readyz").0, 200, "a rollout does not wait for it");
    assert_eq!(second.metric(LAST_RUN), Some(0.0));
    let said = format!("Lease default/leasing is held by {}: this watcher waits", holder.as_str().unwrap());
    eventually("it is said who holds the Lease", || second.said().contains(&said));
    // What is new in the inventory is taken up, and left to the one that works.
    machine.write("clusters.toml", &format!("{}# again\n", machine.read("clusters.toml")));
    eventually("the inventory is reloaded", || second.said().contains("the inventory was reloaded"));
    assert_eq!(second.metric(LAST_RUN), Some(0.0));

    // It dies with a credential that is due: nobody waits for the hour of its token.
    first.signal("-KILL");
    let killed = Instant::now();
    eventually("the second one works", || works(&second));
    assert!(killed.elapsed() > Duration::from_secs(5), "it did not wait for the end of the Lease");
    second.await_metric(WAITS, 0.0);
    assert_ne!(spec()["holderIdentity"], holder);
    assert_eq!(spec()["leaseTransitions"], 1);

    let third = Watcher::start(&machine, &lease);
    third.await_metric(WAITS, 1.0);
    assert_eq!(second.stop(), Some(0));
    assert_eq!(spec()["holderIdentity"], json!(""));
    eventually("the third one works", || works(&third));
    assert_eq!(third.stop(), Some(0));
    machine.expect(0, &["status", "--check"]);
}

#[test]
fn of_several_watchers_one_works_on_simulated_clusters() {
    let fleet = simulated(["a"]);
    of_several_watchers_one_works(fleet.test_clusters()[0]);
}

#[test]
fn of_several_watchers_one_works_on_real_servers() {
    if let Some(cluster) = crate::real::shared(0) {
        of_several_watchers_one_works(&cluster);
    }
}

/// Credentials have to be renewed whatever becomes of the Lease.
#[test]
fn a_lease_that_cannot_be_looked_at_stops_nobody() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::of(&fleet, "leaseless", &profile("1s"));
    machine.impatient();
    machine.expect(0, &["apply", "--yes"]);
    fleet.cluster("b").set_fault(Some(Fault::Refuse));
    let watcher = Watcher::start(&machine, &["--lease", "default/leasing", "--lease-cluster", "b"]);
    eventually("it works", || watcher.metric(LAST_RUN) > Some(0.0));
    let said = "warning: who holds Lease default/leasing is not known, so this watcher works: ";
    assert!(watcher.said().contains(said), "{}", watcher.said());
    fleet.cluster("b").set_fault(None);
    eventually("it gets the Lease", || watcher.said().contains("is held here: this watcher works"));
    assert_eq!(watcher.stop(), Some(0));

    let refused = machine.kubemint(&["refresh", "--watch", "--lease", "default/x", "--lease-cluster", "c"]).exits(2);
    assert!(refused.stderr.contains("unknown cluster `c`"), "{}", refused.stderr);
    let refused = machine.kubemint(&["refresh", "--watch", "--lease", "x"]).exits(2);
    assert!(refused.stderr.contains("it is no `NAMESPACE/NAME`"), "{}", refused.stderr);
}
