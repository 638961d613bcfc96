//! The forms in which an object is shown: whole, metadata only, or as rows for kubectl.
//!
//! Pure: the time is an argument.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resource::ResourceType;
use super::store::text;

/// The order in which Kubernetes writes metadata.
const METADATA_ORDER: [&str; 13] = [
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
];

/// What the `Accept` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Metadata,
    Table,
}

/// What belongs to a list beside its items.
#[derive(Debug)]
pub(crate) struct ListMetadata {
    pub(crate) revision: u64,
    /// The token for the next page, and how many items are left, where that is known.
    pub(crate) rest: Option<(String, Option<usize>)>,
}

impl Form {
    /// Reads an `Accept` header; the first form that is known counts.
    pub(crate) fn accepted(accept: &str) -> Self {
        for media_type in accept.split(',') {
            let parameters: Vec<&str> = media_type.split(';').map(str::trim).collect();
            let is_json = parameters.first() == Some(&"application/json");
            let value = |key: &str| parameters.iter().find_map(|parameter| parameter.strip_prefix(key));
            match (value("as="), value("v=")) {
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) if is_json => {
                    return Self::Metadata;
                }
                (Some("Table"), Some("v1")) if is_json => return Self::Table,
                (None, _) if is_json || parameters.first() == Some(&"*/*") => return Self::Whole,
                _ => {}
            }
        }
        Self::Whole
    }
}

/// Shows one object.
pub(crate) fn object(resource: &ResourceType, object: &Value, form: Form, now: Timestamp) -> Value {
    match form {
        Form::Whole => object.clone(),
        Form::Metadata => partial(object),
        Form::Table => {
            let revision = json!({ "resourceVersion": text(object, "resourceVersion") });
            table(resource, &[object], &revision, now)
        }
    }
}

/// Shows a list.
pub(crate) fn list(
    resource: &ResourceType,
    objects: &[&Value],
    metadata: &ListMetadata,
    form: Form,
    now: Timestamp,
) -> Value {
    let mut shown = json!({ "resourceVersion": metadata.revision.to_string() });
    if let Some((token, remaining)) = &metadata.rest {
        shown["continue"] = token.as_str().into();
        if let Some(remaining) = remaining {
            shown["remainingItemCount"] = (*remaining).into();
        }
    }
    match form {
        Form::Whole => {
            let items: Vec<Value> = objects.iter().map(|object| without_type(object)).collect();
            json!({
                "kind": format!("{}List", resource.kind),
                "apiVersion": resource.api_version(),
                "metadata": shown,
                "items": items,
            })
        }
        Form::Metadata => {
            // An API server fills a slice that is nil where there is nothing.
            let items: Option<Vec<Value>> =
                (!objects.is_empty()).then(|| objects.iter().map(|object| partial(object)).collect());
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": shown,
                "items": items,
            })
        }
        Form::Table => table(resource, objects, &shown, now),
    }
}

/// Brings an object into the order in which Kubernetes writes it.
pub(crate) fn in_order(resource: &ResourceType, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let mut ordered = Map::new();
    ordered.insert("kind".to_owned(), resource.kind.into());
    ordered.insert("apiVersion".to_owned(), resource.api_version().into());
    let mut metadata = match fields.shift_remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    let mut ordered_metadata = Map::new();
    for field in METADATA_ORDER {
        if let Some(value) = metadata.shift_remove(field) {
            ordered_metadata.insert(field.to_owned(), value);
        }
    }
    ordered_metadata.append(&mut metadata);
    ordered.insert("metadata".to_owned(), ordered_metadata.into());
    for (field, value) in std::mem::take(fields) {
        ordered.entry(field).or_insert(value);
    }
    *fields = ordered;
}

/// The items of a list do not repeat their type.
fn without_type(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(field, _)| !["kind", "apiVersion"].contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn table(resource: &ResourceType, objects: &[&Value], metadata: &Value, now: Timestamp) -> Value {
    let columns: &[&str] = match resource.plural {
        "namespaces" => &["Name", "Status", "Age"],
        "secrets" => &["Name", "Type", "Data", "Age"],
        "clusterroles" | "roles" => &["Name", "Created At"],
        "clusterrolebindings" | "rolebindings" => &["Name", "Role", "Age"],
        _ => &["Name", "Age"],
    };
    let definitions: Vec<Value> = columns
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "type": "string",
                "format": if *name == "Name" { "name" } else { "" },
                "description": "",
                "priority": 0,
            })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|name| cell(object, name, now)).collect();
            json!({ "cells": cells, "object": partial(object) })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn cell(object: &Value, column: &str, now: Timestamp) -> Value {
    match column {
        "Name" => object["metadata"]["name"].clone(),
        "Status" => object["status"]["phase"].clone(),
        "Type" => object["type"].clone(),
        "Data" => object["data"].as_object().map_or(0, Map::len).into(),
        "Created At" => object["metadata"]["creationTimestamp"].clone(),
        "Role" => {
            let part = |key: &str| object["roleRef"][key].as_str().unwrap_or_default();
            format!("{}/{}", part("kind"), part("name")).into()
        }
        _ => age(text(object, "creationTimestamp"), now).into(),
    }
}

/// Returns an age roughly as kubectl words it.
fn age(created: &str, now: Timestamp) -> String {
    let Ok(created) = created.parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    match now.duration_since(created).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
