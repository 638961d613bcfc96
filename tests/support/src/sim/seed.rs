//! What every cluster has from the start: namespaces, default roles and their bindings.

use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

use super::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, NAMESPACES, RBAC_GROUP};
use super::store::Store;
use crate::identity::derived_uid;

/// The rules of the default roles, as Kubernetes 1.37 has them.
const DEFAULT_ROLES: &str = include_str!("default_roles.json");

/// The default bindings: role and groups.
const DEFAULT_BINDINGS: [(&str, &[&str]); 5] = [
    ("cluster-admin", &["system:masters"]),
    ("system:basic-user", &["system:authenticated"]),
    ("system:discovery", &["system:authenticated"]),
    ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
];

/// The time at which all clusters were made; a fixed one keeps listings stable.
const CREATED: &str = "2026-11-23T10:00:00Z";

/// Objects that several clusters share.
type Objects = Vec<Arc<Value>>;

/// The roles and bindings, one copy for all clusters.
static SHARED: LazyLock<(Objects, Objects)> = LazyLock::new(|| {
    let roles: Value = serde_json::from_str(DEFAULT_ROLES).expect("the default roles are JSON");
    let roles = roles.as_object().into_iter().flatten();
    (
        roles.map(|(name, rules)| cluster_role(name, rules)).map(Arc::new).collect(),
        DEFAULT_BINDINGS.iter().map(|(role, groups)| cluster_role_binding(role, groups)).map(Arc::new).collect(),
    )
});

/// Returns the objects of a new cluster. The UIDs of its namespaces depend on its name only.
pub(crate) fn seeded_store(cluster: &str) -> Store {
    let mut store = Store::new();
    let (roles, bindings) = &*SHARED;
    for role in roles {
        store.insert(&CLUSTER_ROLES, Arc::clone(role));
    }
    for binding in bindings {
        store.insert(&CLUSTER_ROLE_BINDINGS, Arc::clone(binding));
    }
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let namespace = json!({
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "uid": derived_uid(&format!("{cluster}/namespaces/{name}")),
                "creationTimestamp": CREATED,
                "labels": { "kubernetes.io/metadata.name": name },
            },
            "spec": { "finalizers": ["kubernetes"] },
            "status": { "phase": "Active" },
        });
        store.put(&NAMESPACES, namespace);
    }
    store
}

fn cluster_role(name: &str, rules: &Value) -> Value {
    json!({
        "kind": "ClusterRole",
        "apiVersion": format!("{RBAC_GROUP}/v1"),
        "metadata": metadata("clusterroles", name),
        "rules": rules,
    })
}

fn cluster_role_binding(role: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> =
        groups.iter().map(|group| json!({ "kind": "Group", "apiGroup": RBAC_GROUP, "name": group })).collect();
    json!({
        "kind": "ClusterRoleBinding",
        "apiVersion": format!("{RBAC_GROUP}/v1"),
        "metadata": metadata("clusterrolebindings", role),
        "subjects": subjects,
        "roleRef": { "apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role },
    })
}

fn metadata(plural: &str, name: &str) -> Value {
    json!({
        "name": name,
        "uid": derived_uid(&format!("{plural}/{name}")),
        "resourceVersion": "1",
        "creationTimestamp": CREATED,
        "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
        "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
    })
}
