//! What an object must look like: names, labels, rules, subjects, and what may not change.
//!
//! Pure. Also fills in the defaults that Kubernetes fills in.

use serde_json::{Map, Value, json};

use super::failure::{Cause, Failure};
use super::resource::{NAMESPACES, RBAC_GROUP, ResourceType, SECRETS};
use super::store::text;

/// Fields of `metadata` that a request may carry.
const METADATA_FIELDS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
];

/// The length of a label, of its value and of a DNS label.
const MAX_LABEL_BYTES: usize = 63;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Returns the paths of fields that the type does not have.
pub(crate) fn unknown_fields(resource: &ResourceType, object: &Value) -> Vec<String> {
    let unknown = |value: &Value, known: &[&str], prefix: &str| -> Vec<String> {
        let fields = value.as_object().into_iter().flat_map(Map::keys);
        fields.filter(|field| !known.contains(&field.as_str())).map(|field| format!("{prefix}{field}")).collect()
    };
    let mut top = vec!["apiVersion", "kind", "metadata"];
    top.extend(resource.fields);
    let mut found = unknown(object, &top, "");
    found.extend(unknown(&object["metadata"], &METADATA_FIELDS, "metadata."));
    let items = |field: &str| object[field].as_array().cloned().unwrap_or_default();
    let rule_fields = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
    for (index, rule) in items("rules").iter().enumerate() {
        found.extend(unknown(rule, &rule_fields, &format!("rules[{index}].")));
    }
    let subject_fields = ["kind", "apiGroup", "name", "namespace"];
    for (index, subject) in items("subjects").iter().enumerate() {
        found.extend(unknown(subject, &subject_fields, &format!("subjects[{index}].")));
    }
    found
}

/// Removes the fields that the type does not have.
pub(crate) fn drop_unknown_fields(resource: &ResourceType, object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|field, _| {
            ["apiVersion", "kind", "metadata"].contains(&field.as_str()) || resource.fields.contains(&field.as_str())
        });
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| METADATA_FIELDS.contains(&field.as_str()));
    }
}

/// Fills in what Kubernetes fills in.
pub(crate) fn set_defaults(resource: &ResourceType, object: &mut Value) {
    if *resource == SECRETS {
        set_secret_defaults(object);
    }
    if resource.is_binding() {
        set_binding_defaults(object);
    }
    if *resource == NAMESPACES {
        object["spec"] = json!({ "finalizers": ["kubernetes"] });
        if object["status"]["phase"].is_null() {
            object["status"] = json!({ "phase": "Active" });
        }
    }
}

/// Brings an object into the form that is stored, which does not tell empty from absent.
pub(crate) fn store_form(resource: &ResourceType, object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !is_empty(value));
    }
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    fields.retain(|_, value| !is_empty(value));
    if resource.is_role() {
        fields.entry("rules").or_insert(Value::Null);
    }
}

fn set_secret_defaults(object: &mut Value) {
    use base64::Engine;
    let strings = object["stringData"].as_object().cloned().unwrap_or_default();
    for (key, value) in strings {
        let bytes = value.as_str().unwrap_or_default();
        object["data"][key] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
    }
    if object["type"].as_str().unwrap_or_default().is_empty() {
        object["type"] = "Opaque".into();
    }
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("stringData");
    }
}

fn set_binding_defaults(object: &mut Value) {
    if object["roleRef"].is_object() && is_empty(&object["roleRef"]["apiGroup"]) {
        object["roleRef"]["apiGroup"] = RBAC_GROUP.into();
    }
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        let is_account = subject["kind"] == "ServiceAccount";
        let Some(fields) = subject.as_object_mut() else {
            continue;
        };
        if is_account {
            // The core group is the empty one, which is left out.
            if fields.get("apiGroup").is_some_and(is_empty) {
                fields.shift_remove("apiGroup");
            }
        } else {
            fields.entry("apiGroup").or_insert_with(|| RBAC_GROUP.into());
        }
    }
}

/// Checks an object; `before` is the one that it replaces.
pub(crate) fn check(resource: &ResourceType, before: Option<&Value>, object: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    check_name(resource, text(object, "name"), &mut causes);
    check_labels(object, &mut causes);
    check_annotations(object, &mut causes);
    if let Some(before) = before {
        if text(before, "uid") != text(object, "uid") {
            let uid = &object["metadata"]["uid"];
            causes.push(Cause::invalid("metadata.uid", uid, "field is immutable"));
        }
        check_immutable_fields(resource, before, object, &mut causes);
    }
    if resource.is_role() {
        check_rules(object, &mut causes);
    }
    if resource.is_binding() {
        check_binding(resource, object, &mut causes);
    }
    if causes.is_empty() {
        return Ok(());
    }
    let name = text(object, "name");
    Err(Failure::invalid(resource.kind, resource.group, name, &causes))
}

fn check_immutable_fields(resource: &ResourceType, before: &Value, object: &Value, causes: &mut Vec<Cause>) {
    if resource.is_binding() && before["roleRef"] != object["roleRef"] {
        let role_ref = &object["roleRef"];
        let shown = json!({
            "APIGroup": role_ref["apiGroup"],
            "Kind": role_ref["kind"],
            "Name": role_ref["name"],
        });
        causes.push(Cause::invalid("roleRef", &shown, "field is immutable"));
    }
    if *resource == SECRETS && before["type"] != object["type"] {
        causes.push(Cause::invalid("type", &object["type"], "field is immutable"));
    }
}

fn check_name(resource: &ResourceType, name: &str, causes: &mut Vec<Cause>) {
    let mut invalid = |why: &str| {
        causes.push(Cause::invalid("metadata.name", &name.into(), why));
    };
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if resource.group == RBAC_GROUP {
        // Roles and bindings may have any name that fits into a path.
        for character in ['/', '%'] {
            if name.contains(character) {
                invalid(&format!("may not contain '{character}'"));
            }
        }
    } else if *resource == NAMESPACES {
        if name.contains('.') {
            invalid("must not contain dots");
        } else if !is_label(name) {
            invalid(LABEL);
        }
    } else if !name.split('.').all(is_label) {
        invalid(SUBDOMAIN);
    }
}

fn check_labels(object: &Value, causes: &mut Vec<Cause>) {
    let labels = object["metadata"]["labels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        let name = key.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || !is_label_text(name) {
            let key = key.as_str().into();
            causes.push(Cause::invalid("metadata.labels", &key, LABEL_KEY));
        }
        let text = value.as_str().unwrap_or_default();
        if text.len() > MAX_LABEL_BYTES {
            let why = format!("must be no more than {MAX_LABEL_BYTES} bytes");
            causes.push(Cause::invalid("metadata.labels", value, &why));
        } else if !is_label_text(text) {
            causes.push(Cause::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
}

/// `TotalAnnotationSizeLimitB` of apimachinery.
const MOST_ANNOTATION_BYTES: usize = 256 * 1024;

fn check_annotations(object: &Value, causes: &mut Vec<Cause>) {
    let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
    let bytes: usize = annotations.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > MOST_ANNOTATION_BYTES {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MOST_ANNOTATION_BYTES} bytes"),
            field: "metadata.annotations".to_owned(),
        });
    }
}

fn check_rules(object: &Value, causes: &mut Vec<Cause>) {
    let rules = object["rules"].as_array();
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let mut require = |field: &str, why: &str| {
            causes.push(Cause::required(&format!("rules[{index}].{field}"), why));
        };
        if is_empty(&rule["nonResourceURLs"]) {
            if is_empty(&rule["apiGroups"]) {
                require("apiGroups", "resource rules must supply at least one api group");
            }
            if is_empty(&rule["resources"]) {
                require("resources", "resource rules must supply at least one resource");
            }
        }
    }
    // Kubernetes checks the verbs in a second pass.
    let rules = object["rules"].as_array();
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        if is_empty(&rule["verbs"]) {
            causes.push(Cause::required(&format!("rules[{index}].verbs"), ""));
        }
    }
}

fn check_binding(resource: &ResourceType, object: &Value, causes: &mut Vec<Cause>) {
    let subjects = object["subjects"].as_array();
    for (index, subject) in subjects.into_iter().flatten().enumerate() {
        let mut require = |field: &str| {
            causes.push(Cause::required(&format!("subjects[{index}].{field}"), ""));
        };
        if is_empty(&subject["name"]) {
            require("name");
        }
        let is_account = subject["kind"] == "ServiceAccount";
        if is_account && is_empty(&subject["namespace"]) && resource.plural == "clusterrolebindings" {
            require("namespace");
        }
    }
    let role_ref = &object["roleRef"];
    let kinds: &[&str] = match resource.plural {
        "rolebindings" => &["Role", "ClusterRole"],
        _ => &["ClusterRole"],
    };
    if !role_ref["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
        let supported: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {}: supported values: {}",
                json!(role_ref["kind"].as_str().unwrap_or_default()),
                supported.join(", ")
            ),
            field: "roleRef.kind".to_owned(),
        });
    }
    if is_empty(&role_ref["name"]) {
        causes.push(Cause::required("roleRef.name", ""));
    }
}

/// Returns whether JSON that leaves out empty values would leave this one out.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_LABEL_BYTES
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

fn is_label_text(text: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && is_end(text.bytes().next())
        && is_end(text.bytes().next_back())
}
