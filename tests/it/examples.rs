//! The example inventories are planned and applied unchanged, on test clusters.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kubemint::inventory::{AdminAccess, Inventory, KubeconfigSource, SourceFile};
use kubemint::resolution::{Setting, resolve};
use kubemint_testkit::sim::Fleet;
use kubemint_testkit::{Admin, TestCluster, User, kubeconfig_yaml};
use serde_json::json;

use crate::support::{Machine, can_i, simulated};

/// Sets up a machine on which an example's admin kubeconfigs and CA files exist and are those of a fleet.
fn machine(example: &str) -> (Fleet, Machine, Inventory) {
    let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(example)).unwrap();
    let machine = Machine::new(&[], User::Admin);
    machine.write("clusters.toml", &text);
    let environment = Setting { home: Some(machine.path("")), ..Setting::default() };
    let resolution = resolve(SourceFile::new(machine.path("clusters.toml"), text), vec![], environment);
    assert!(resolution.problems.is_empty(), "{:?}", resolution.problems);
    let inventory = resolution.inventory.unwrap();
    let names: Vec<&str> = inventory.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let fleet = simulated(names);
    let mut files: BTreeMap<PathBuf, Vec<TestCluster>> = BTreeMap::new();
    for cluster in &inventory.clusters {
        let real: TestCluster = (*fleet.cluster(cluster.name.as_str())).clone();
        if let Some(path) = &cluster.consumer.certificate_authority {
            machine.write(path.strip_prefix(machine.path("")).unwrap().to_str().unwrap(), &real.ca_pem);
        }
        let AdminAccess::Kubeconfig { source: KubeconfigSource::Path(path), context, .. } = &cluster.admin else {
            // These have no grants.
            continue;
        };
        let named = TestCluster { name: context.clone(), ..real };
        files.entry(path.clone()).or_default().push(named);
    }
    for (path, clusters) in files {
        let yaml = kubeconfig_yaml(&clusters.iter().collect::<Vec<_>>(), User::Admin);
        machine.write(path.strip_prefix(machine.path("")).unwrap().to_str().unwrap(), &yaml);
    }
    (fleet, machine, inventory)
}

/// Applies an example twice; returns the fleet and the machine.
fn apply(example: &str) -> (Fleet, Machine) {
    let (fleet, machine, inventory) = machine(example);
    machine.expect(0, &["validate"]);
    machine.expect(4, &["plan", "--check"]);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(report["summary"]["changed"], inventory.clusters.len());
    machine.expect(0, &["plan", "--check"]);
    (fleet, machine)
}

#[test]
fn the_minimal_example_works() {
    let (fleet, machine) = apply("examples/inventories/minimal.toml");
    let token = machine.token("out/one-viewer.kubeconfig");
    assert!(can_i(&Admin::new(&fleet.cluster("one")), &token, "list", "pods", "default"));
}

#[test]
fn the_calico_example_works() {
    let (fleet, machine) = apply("examples/inventories/calico-federation.toml");
    for name in ["east", "west"] {
        let token = machine.token(&format!("out/{name}.kubeconfig"));
        let admin = Admin::new(&fleet.cluster(name));
        assert!(can_i(&admin, &token, "watch", "endpoints", ""));
        assert!(!can_i(&admin, &token, "get", "secrets", ""));
    }
}

#[test]
fn the_team_example_works() {
    let (fleet, machine) = apply("examples/inventories/team-per-namespace.toml");
    let combined: serde_json::Value = serde_saphyr::from_str(&machine.read("out/team-billing.kubeconfig")).unwrap();
    let users = combined["users"].as_array().unwrap();
    assert_eq!(users.len(), 3, "one for each cluster");
    let token = users[0]["user"]["token"].as_str().unwrap();
    let admin = Admin::new(&fleet.cluster("prod-eu"));
    assert!(can_i(&admin, token, "create", "configmaps", "billing"));
    assert!(can_i(&admin, token, "get", "pods", "shop-jobs"));
    assert!(!can_i(&admin, token, "create", "configmaps", "shop"));
}

#[test]
fn the_documented_example_is_planned() {
    let (fleet, machine, _) = machine("clusters.toml.example");
    machine.expect(0, &["validate"]);
    // It has namespaces and a role that must exist.
    for name in ["apps", "jobs"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let admin = Admin::new(&fleet.cluster("dev"));
        admin.create("/api/v1/namespaces", &namespace).unwrap();
        let role = json!({"metadata": {"name": "queue-operator"}, "rules": []});
        admin.create(&format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/roles"), &role).unwrap();
    }
    // And namespaces of hubs, which their controllers have.
    for name in ["argocd", "fleet", "linkerd"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        Admin::new(&fleet.cluster("prod-eu")).create("/api/v1/namespaces", &namespace).unwrap();
    }
    // And what its ClusterProfile is registered in.
    crate::registering::profile_objects(&Admin::new(&fleet.cluster("prod-eu")), "inventory", &["prod-eu", "dev"]);
    let report = machine.kubemint(&["plan", "-o", "json", "--check"]).exits(4).report();
    assert_eq!(report["summary"]["pending"], 2, "{report:#}");
}
