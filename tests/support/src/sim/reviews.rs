//! The reviews by which a caller learns who they are and what they may do.
//!
//! Pure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::rbac::{Caller, GrantedRule, authorize, rules_for};
use super::request::{Attributes, ResourceAttributes};
use super::store::Store;
use super::validate::is_empty;

/// Answers a SelfSubjectReview.
pub(crate) fn self_subject_review(caller: &Caller, now: Timestamp) -> Value {
    let mut user = json!({ "username": caller.name });
    if !caller.uid.is_empty() {
        user["uid"] = caller.uid.as_str().into();
    }
    user["groups"] = json!(caller.groups);
    if let Some(id) = &caller.credential_id {
        user["extra"] = json!({ "authentication.kubernetes.io/credential-id": [id] });
    }
    json!({
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "creationTimestamp": now.to_string() },
        "status": { "userInfo": user },
    })
}

/// Answers a SelfSubjectAccessReview.
pub(crate) fn self_subject_access_review(store: &Store, caller: &Caller, body: &Value) -> Value {
    let mut spec = body["spec"].clone();
    for attributes in spec.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(attributes) = attributes.as_object_mut() {
            attributes.retain(|_, value| !is_empty(value));
        }
    }
    let field = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let attributes = if spec["nonResourceAttributes"].is_object() {
        Attributes::Path {
            verb: field(&spec["nonResourceAttributes"], "verb"),
            path: field(&spec["nonResourceAttributes"], "path"),
        }
    } else {
        let wanted = &spec["resourceAttributes"];
        Attributes::Resource(ResourceAttributes {
            verb: field(wanted, "verb"),
            group: field(wanted, "group"),
            version: field(wanted, "version"),
            resource: field(wanted, "resource"),
            subresource: field(wanted, "subresource"),
            namespace: field(wanted, "namespace"),
            name: field(wanted, "name"),
        })
    };
    let status = match authorize(store, caller, &attributes) {
        Some(reason) if reason.is_empty() => json!({ "allowed": true }),
        Some(reason) => json!({ "allowed": true, "reason": reason }),
        None => json!({ "allowed": false }),
    };
    json!({
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": spec,
        "status": status,
    })
}

/// Answers a SelfSubjectRulesReview.
pub(crate) fn self_subject_rules_review(store: &Store, caller: &Caller, body: &Value) -> Result<Value, Failure> {
    let namespace = body["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Failure::bad_request("no namespace on request"));
    }
    let mut granted = rules_for(store, caller, namespace);
    granted.dedup_by(|a, b| a.rule == b.rule);
    let resource_rules: Vec<Value> = granted.iter().filter_map(resource_rule).collect();
    let other_rules: Vec<Value> = granted.iter().filter_map(non_resource_rule).collect();
    // Kubernetes does not echo the namespace.
    Ok(json!({
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": {
            "resourceRules": resource_rules,
            "nonResourceRules": other_rules,
            "incomplete": false,
        },
    }))
}

fn resource_rule(granted: &GrantedRule) -> Option<Value> {
    let rule = &granted.rule;
    if rule.resources.is_empty() {
        return None;
    }
    let mut shown = json!({
        "verbs": rule.verbs,
        "apiGroups": rule.api_groups,
        "resources": rule.resources,
    });
    if !rule.resource_names.is_empty() {
        shown["resourceNames"] = json!(rule.resource_names);
    }
    Some(shown)
}

fn non_resource_rule(granted: &GrantedRule) -> Option<Value> {
    let rule = &granted.rule;
    let urls = &rule.non_resource_urls;
    (!urls.is_empty()).then(|| json!({ "verbs": rule.verbs, "nonResourceURLs": urls }))
}
