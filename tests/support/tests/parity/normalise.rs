//! Replaces what differs from run to run: UIDs, versions, times, tokens, ports.

use kubemint_testkit::Response;
use serde_json::{Map, Value, json};

/// Kinds whose managed fields say nothing: they are not stored.
const TRANSIENT_KINDS: [&str; 2] = ["TokenRequest", "SelfSubjectAccessReview"];

/// Lists that Kubernetes gives in random order, or ordered by time.
const IN_NO_ORDER: [&str; 4] = ["causes", "managedFields", "nonResourceRules", "resourceRules"];

/// Returns what is compared of an answer.
pub(crate) fn answer(response: &Response) -> Value {
    let warnings: Vec<&str> =
        response.headers.get_all("warning").iter().filter_map(|warning| warning.to_str().ok()).collect();
    let mut body = response.body.clone();
    if TRANSIENT_KINDS.iter().any(|kind| body["kind"] == *kind)
        && let Some(metadata) = body["metadata"].as_object_mut()
    {
        metadata.shift_remove("managedFields");
    }
    json!({ "code": response.code, "warnings": warnings, "body": value("", &body) })
}

fn value(key: &str, original: &Value) -> Value {
    match original {
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields.iter().map(|(key, field)| (text(key), value(key, field))).collect();
            fields.into()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| value(key, item)).collect();
            if IN_NO_ORDER.contains(&key) {
                items.sort_by_key(Value::to_string);
            }
            items.into()
        }
        Value::String(original) => match key {
            "resourceVersion" | "time" | "continue" | "serverAddress" => format!("<{key}>").into(),
            "token" => "<token>".into(),
            _ if key.ends_with("Timestamp") => "<time>".into(),
            _ => text(original).into(),
        },
        other => other.clone(),
    }
}

/// Replaces UIDs and the resource versions within messages.
fn text(original: &str) -> String {
    let mut text = String::new();
    let mut rest = original;
    while !rest.is_empty() {
        if let Some(after) = after_uid(rest) {
            text.push_str("<uid>");
            rest = after;
            continue;
        }
        let mut characters = rest.chars();
        text.extend(characters.next());
        rest = characters.as_str();
    }
    let text = text.replace("Key: /real/", "Key: /registry/");
    let Some((before, after)) = text.split_once("ResourceVersion in record (") else {
        return text;
    };
    let after = after.trim_start_matches(|character: char| character.is_ascii_digit());
    format!("{before}ResourceVersion in record (<version>{after}")
}

/// Returns what follows a UID at the start of `text`.
fn after_uid(text: &str) -> Option<&str> {
    let (uid, rest) = text.split_at_checked(36)?;
    let is_uid = uid.char_indices().all(|(index, character)| {
        if [8, 13, 18, 23].contains(&index) { character == '-' } else { character.is_ascii_hexdigit() }
    });
    is_uid.then_some(rest)
}
