//! Field sets: which fields of an object somebody set, at the granularity that Kubernetes uses for
//! the types that the simulation stores.
//!
//! Pure. A path is a list of elements in the notation of `FieldsV1`: `f:NAME` for a field,
//! `k:{"uid":"..."}` for an item of a keyed list, `v:"..."` for an item of a set. Rules, subjects,
//! roleRef and the like are atomic: one path each. This is not a general structured merge.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A path to a field.
pub(crate) type FieldPath = Vec<String>;

/// A set of fields.
pub(crate) type FieldSet = BTreeSet<FieldPath>;

/// Fields of the metadata that somebody can own.
const OWNED_METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// How the value of a field is divided among managers.
enum Granularity {
    /// One owner for the whole value.
    Atomic,
    /// One owner per key.
    Map,
    /// One owner per item, told apart by this field of the item.
    KeyedList(&'static str),
    /// One owner per item.
    Set,
}

/// Whether the maps and lists themselves are part of a field set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containers {
    /// As in the sets of updates.
    Included,
    /// As in the sets of applies.
    LeftOut,
}

/// Returns the fields that `object` sets.
pub(crate) fn field_set(object: &Value, containers: Containers) -> FieldSet {
    let mut set = FieldSet::new();
    for field in OWNED_METADATA {
        if let Some(value) = object["metadata"].get(field) {
            let path = vec!["f:metadata".to_owned(), format!("f:{field}")];
            collect(&mut set, path, value, containers);
        }
    }
    let fields = object.as_object().into_iter().flatten();
    for (field, value) in fields {
        // The status belongs to nobody here, nor does a namespace's spec.
        let untracked = ["apiVersion", "kind", "metadata", "status", "spec", "stringData"];
        if untracked.contains(&field.as_str()) {
            continue;
        }
        collect(&mut set, vec![format!("f:{field}")], value, containers);
    }
    set
}

/// Returns whether `path` is a map or list whose items have owners of their own.
pub(crate) fn is_container(path: &[String]) -> bool {
    !matches!(granularity(path), Granularity::Atomic)
}

/// Returns the value at `path`.
pub(crate) fn value_at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, element| step(value, element)).filter(|value| !value.is_null())
}

/// Sets the value at `path`, with the containers that it needs.
pub(crate) fn set_at(object: &mut Value, path: &[String], value: &Value) {
    let Some((element, rest)) = path.split_first() else {
        *object = value.clone();
        return;
    };
    if let Some(name) = element.strip_prefix("f:") {
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        set_at(&mut object[name], rest, value);
        return;
    }
    if !object.is_array() {
        *object = Value::Array(Vec::new());
    }
    let items = object.as_array_mut().expect("it is an array now");
    match items.iter().position(|item| is_item(item, element)) {
        Some(index) => set_at(&mut items[index], rest, value),
        None => items.push(value.clone()),
    }
}

/// Removes the value at `path`, and containers that are empty then.
pub(crate) fn remove_at(object: &mut Value, path: &[String]) {
    let Some((element, rest)) = path.split_first() else {
        return;
    };
    let Some(name) = element.strip_prefix("f:") else {
        if let Some(items) = object.as_array_mut() {
            items.retain(|item| !is_item(item, element));
        }
        return;
    };
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let Some(child) = fields.get_mut(name) else {
        return;
    };
    if !rest.is_empty() {
        remove_at(child, rest);
        let is_empty = child.as_object().is_some_and(Map::is_empty) || child.as_array().is_some_and(Vec::is_empty);
        if !is_empty {
            return;
        }
    }
    fields.shift_remove(name);
}

/// Returns a path as messages show it, for example `.metadata.labels.app`.
pub(crate) fn display(path: &[String]) -> String {
    path.iter()
        .map(|element| match element.split_once(':') {
            Some(("f", name)) => format!(".{name}"),
            Some(("k", key)) => {
                let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let pairs: Vec<String> = key.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("[{}]", pairs.join(","))
            }
            Some(("v", value)) => format!("[={value}]"),
            _ => element.clone(),
        })
        .collect()
}

/// Returns the set in the notation of `managedFields[].fieldsV1`.
pub(crate) fn to_fields_v1(set: &FieldSet) -> Value {
    let mut root = Value::Object(Map::new());
    for path in set {
        let mut node = &mut root;
        for element in path {
            if !node[element].is_object() {
                node[element] = Value::Object(Map::new());
            }
            node = &mut node[element];
        }
        // A container that is itself in the set is marked when it also has children; the order of
        // the set puts containers before their children.
        let has_children = set.range(path.clone()..).nth(1).is_some_and(|next| next.starts_with(path));
        if has_children {
            node["."] = Value::Object(Map::new());
        }
    }
    root
}

/// Reads the notation of `managedFields[].fieldsV1`.
pub(crate) fn from_fields_v1(fields: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    read_fields(&mut set, &mut Vec::new(), fields);
    set
}

fn read_fields(set: &mut FieldSet, path: &mut FieldPath, fields: &Value) {
    let children = fields.as_object().filter(|children| !children.is_empty());
    let Some(children) = children else {
        if !path.is_empty() {
            set.insert(path.clone());
        }
        return;
    };
    for (element, child) in children {
        if element == "." {
            set.insert(path.clone());
            continue;
        }
        path.push(element.clone());
        read_fields(set, path, child);
        path.pop();
    }
}

fn granularity(path: &[String]) -> Granularity {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["f:metadata", "f:labels" | "f:annotations"] | ["f:data" | "f:aggregationRule"] => Granularity::Map,
        ["f:metadata", "f:ownerReferences"] => Granularity::KeyedList("uid"),
        ["f:secrets" | "f:imagePullSecrets"] => Granularity::KeyedList("name"),
        ["f:metadata", "f:finalizers"] => Granularity::Set,
        _ => Granularity::Atomic,
    }
}

fn collect(set: &mut FieldSet, path: FieldPath, value: &Value, containers: Containers) {
    // An apply owns what it names, even where it names nothing in particular.
    if containers == Containers::LeftOut && is_named_and_empty(value) {
        set.insert(path);
        return;
    }
    if value.is_null() {
        return;
    }
    let element: Box<dyn Fn(&Value) -> String> = match granularity(&path) {
        Granularity::Atomic => {
            set.insert(path);
            return;
        }
        Granularity::Map => {
            for key in value.as_object().into_iter().flat_map(Map::keys) {
                set.insert(child(&path, format!("f:{key}")));
            }
            if containers == Containers::Included && !is_named_and_empty(value) {
                set.insert(path);
            }
            return;
        }
        Granularity::KeyedList(key) => Box::new(move |item| format!("k:{}", serde_json::json!({ key: item[key] }))),
        Granularity::Set => Box::new(|item| format!("v:{item}")),
    };
    for item in value.as_array().into_iter().flatten() {
        set.insert(child(&path, element(item)));
    }
    if containers == Containers::Included && !is_named_and_empty(value) {
        set.insert(path);
    }
}

fn is_named_and_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn child(path: &[String], element: String) -> FieldPath {
    let mut path = path.to_vec();
    path.push(element);
    path
}

fn step<'a>(value: &'a Value, element: &str) -> Option<&'a Value> {
    match element.strip_prefix("f:") {
        Some(name) => value.get(name),
        None => value.as_array()?.iter().find(|item| is_item(item, element)),
    }
}

/// Returns whether the list item is the one that `element` names.
fn is_item(item: &Value, element: &str) -> bool {
    match element.split_once(':') {
        Some(("k", key)) => serde_json::from_str::<Map<String, Value>>(key)
            .is_ok_and(|key| key.iter().all(|(name, value)| item[name] == *value)),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| *item == value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "anchor",
                "labels": { "a": "1" },
                "ownerReferences": [{ "uid": "u1", "name": "x" }],
            },
            "type": "kubemint.dev/anchor",
        })
    }

    #[test]
    fn the_fields_of_an_update_name_their_containers() {
        let set = field_set(&object(), Containers::Included);
        let fields = to_fields_v1(&set);
        assert_eq!(
            fields,
            json!({
                "f:metadata": {
                    "f:labels": { ".": {}, "f:a": {} },
                    "f:ownerReferences": { ".": {}, "k:{\"uid\":\"u1\"}": {} },
                },
                "f:type": {},
            })
        );
        assert_eq!(from_fields_v1(&fields), set);
    }

    #[test]
    fn the_fields_of_an_apply_are_leaves() {
        let fields = to_fields_v1(&field_set(&object(), Containers::LeftOut));
        assert_eq!(fields["f:metadata"]["f:labels"], json!({ "f:a": {} }));
    }

    #[test]
    fn values_are_set_and_removed_with_their_containers() {
        let mut object = object();
        let owner = vec!["f:metadata".to_owned(), "f:ownerReferences".to_owned(), "k:{\"uid\":\"u1\"}".to_owned()];
        assert_eq!(display(&owner), ".metadata.ownerReferences[uid=\"u1\"]");
        let value = value_at(&object, &owner).unwrap().clone();
        assert_eq!(value["name"], "x");
        remove_at(&mut object, &owner);
        assert_eq!(object["metadata"].get("ownerReferences"), None);
        set_at(&mut object, &owner, &value);
        assert_eq!(object["metadata"]["ownerReferences"], json!([value]));
    }
}
