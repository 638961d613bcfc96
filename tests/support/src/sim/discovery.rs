//! Discovery and version: what kubectl and client libraries ask first.
//!
//! Pure. Only the unaggregated form: clients that ask for the aggregated one fall back to it.

use serde_json::{Value, json};

use super::resource::{RESOURCE_TYPES, ResourceType, Scope};

/// The groups beside the core one; all have the version `v1` only.
const GROUPS: [&str; 5] =
    ["apps", "authentication.k8s.io", "authorization.k8s.io", "batch", "rbac.authorization.k8s.io"];

/// Returns the answer to a discovery path, `None` where there is nothing.
pub(crate) fn discover(path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match segments.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["api", "v1"] => Some(resources("")),
        ["apis"] => Some(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": GROUPS.map(group),
        })),
        ["apis", name] if GROUPS.contains(name) => {
            let mut group = group(name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["apis", name, "v1"] if GROUPS.contains(name) => Some(resources(name)),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "gitVersion": "v1.37.2-sim",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn group(name: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(group: &str) -> Value {
    let mut listed: Vec<Value> =
        RESOURCE_TYPES.into_iter().filter(|resource| resource.group == group).map(describe).collect();
    let creatable = |name: &str, singular: &str, kind: &str| {
        json!({
            "name": name,
            "singularName": singular,
            "namespaced": false,
            "kind": kind,
            "verbs": ["create"],
        })
    };
    match group {
        "" => listed.push(json!({
            "name": "serviceaccounts/token",
            "singularName": "",
            "namespaced": true,
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
            "verbs": ["create"],
        })),
        "authentication.k8s.io" => {
            listed.push(creatable("selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview"));
        }
        "authorization.k8s.io" => {
            listed.push(creatable("selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview"));
            listed.push(creatable("selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview"));
        }
        _ => {}
    }
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": listed,
    })
}

fn describe(resource: &ResourceType) -> Value {
    let mut described = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.scope == Scope::Namespaced,
        "kind": resource.kind,
        "verbs": ["create", "delete", "get", "list", "patch", "update"],
    });
    if !resource.short_names.is_empty() {
        described["shortNames"] = json!(resource.short_names);
    }
    described
}
