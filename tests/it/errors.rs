//! The messages that users read after a failure: what failed, why, and what to do, as snapshots.

use http::Method;
use kubemint_testkit::sim::{Fault, Fleet};
use kubemint_testkit::{Admin, User};
use serde_json::json;

use crate::support::{Machine, simulated};

const DEPLOYER: &str = "[profiles.deployer]\ncluster-roles = [\"edit\"]\n[[grants]]\nprofile = \"deployer\"\n\
     selector = \"env=test\"\n[[outputs]]\npath = \"out/{cluster}.kubeconfig\"\n";

fn machine(fleet: &Fleet, user: User) -> Machine {
    let machine = Machine::new(&fleet.test_clusters(), user);
    machine.inventory("acme", DEPLOYER);
    machine
}

/// Runs the program and returns both outputs, without what differs from run to run.
fn said(machine: &Machine, code: i32, arguments: &[&str]) -> String {
    let run = machine.kubemint(arguments).exits(code);
    let mut text =
        format!("{}---- stderr\n{}", run.stdout, run.stderr).replace(&machine.path("").display().to_string(), "/");
    for cluster in &machine.clusters {
        text = text.replace(&cluster.server, "https://10.20.0.1:6443");
    }
    text
}

fn fail_on(method: Method, path_contains: &str, code: u16, message: &str) -> Fault {
    Fault::FailOn {
        method: Some(method),
        path_contains: path_contains.to_owned(),
        code,
        body: Some(
            json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": message, "code": code})
                .to_string(),
        ),
        times: None,
    }
}

#[test]
fn an_invalid_inventory() {
    let machine = Machine::new(&[], User::Admin);
    machine.write(
        "clusters.toml",
        "version = 1\nname = \"acme\"\ndefaults.admin.kubeconfig = \"a.yaml\"\n[profiles.deployer]\ncluster-roles = [\"edit\"]\n\
         [[clusters]]\nname = \"prod-eu\"\n[[clusters]]\nname = \"prod-us\"\n[[grants]]\nprofile = \"deplyer\"\nclusters = [\"prod-eu\"]\n\
         [[grants]]\nprofile = \"deployer\"\nselector = \"\"\n[[outputs]]\npath = \"all.yaml\"\ncontext = \"{profile}\"\n",
    );
    insta::assert_snapshot!(said(&machine, 3, &["validate"]));
}

#[test]
fn a_cluster_that_does_not_answer() {
    let fleet = simulated(["prod-eu"]);
    let machine = machine(&fleet, User::Admin);
    fleet.cluster("prod-eu").set_fault(Some(Fault::Refuse));
    let text = machine.read("clusters.toml").replace("cluster-timeout = \"60s\"", "cluster-timeout = \"10s\"");
    machine.write("clusters.toml", &text);
    insta::assert_snapshot!(said(&machine, 7, &["plan"]));
}

#[test]
fn an_admin_credential_that_is_not_accepted() {
    let fleet = simulated(["prod-eu"]);
    let machine = machine(&fleet, User::Admin);
    let token = &machine.clusters[0].admin_token;
    machine.write("admin.yaml", &machine.read("admin.yaml").replace(token.as_str(), "another"));
    insta::assert_snapshot!(said(&machine, 7, &["plan"]));
}

#[test]
fn a_step_that_fails() {
    let fleet = simulated(["prod-eu"]);
    let machine = machine(&fleet, User::Admin);
    let refused = fail_on(Method::POST, "/serviceaccounts/deployer/token", 403, "tokens are not for you");
    fleet.cluster("prod-eu").set_fault(Some(refused));
    insta::assert_snapshot!(said(&machine, 7, &["apply", "--yes"]));
}

#[test]
fn an_object_of_somebody_else() {
    let fleet = simulated(["prod-eu"]);
    let machine = machine(&fleet, User::Admin);
    let admin = Admin::new(&machine.clusters[0]);
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": "acme"}})).unwrap();
    let account = json!({"metadata": {"name": "deployer", "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    admin.create("/api/v1/namespaces/acme/serviceaccounts", &account).unwrap();
    insta::assert_snapshot!(said(&machine, 5, &["plan"]));
}

#[test]
fn rights_that_the_admin_may_not_grant() {
    let fleet = simulated(["prod-eu"]);
    let machine = machine(&fleet, User::Admin);
    let message = "clusterrolebindings.rbac.authorization.k8s.io \"x\" is forbidden: user \"ci-bootstrap\" \
                   (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
                   {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}";
    fleet.cluster("prod-eu").set_fault(Some(fail_on(Method::POST, "/clusterrolebindings", 403, message)));
    insta::assert_snapshot!(said(&machine, 5, &["plan"]));
}

#[test]
fn some_clusters_of_many() {
    let fleet = simulated(["prod-eu", "prod-us", "edge-07", "dev"]);
    let machine = machine(&fleet, User::Admin);
    machine.expect(0, &["apply", "--yes"]);
    fleet.cluster("edge-07").set_fault(Some(Fault::WrongCertificate));
    let page = Fault::Status { code: 403, retry_after: None, times: None };
    fleet.cluster("prod-eu").set_fault(Some(page));
    // Progress tells of clusters in the order in which they answer.
    insta::assert_snapshot!(said(&machine, 6, &["apply", "--yes", "-q"]));
}
