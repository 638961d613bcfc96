//! Field management: who owns which field, and server-side apply.
//!
//! Pure: the time is an argument. An apply takes what it names, keeps what others named, removes
//! what its manager named before and nobody else does, and conflicts where another manager set
//! another value. An update takes whatever it changes.

use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::fields::{
    Containers, FieldPath, FieldSet, display, field_set, from_fields_v1, is_container, remove_at, set_at, to_fields_v1,
    value_at,
};

/// Somebody who writes to an object, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) api_version: &'a str,
    /// RFC 3339, in seconds.
    pub(crate) time: &'a str,
}

/// Whether an apply may take fields over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflicts {
    Refuse,
    TakeOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Apply,
    Update,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    operation: Operation,
    /// Empty where an apply has changed the ownership and nothing else.
    time: String,
    manager: String,
    api_version: String,
    fields: FieldSet,
}

/// Returns `live` with `configuration` applied to it, managed fields included.
///
/// Where nothing changes, the result equals `live`; where more than the ownership does,
/// [`stamp_apply`] notes the time, once the defaults are filled in.
pub(crate) fn apply(
    live: &Value,
    configuration: &Value,
    writer: Writer<'_>,
    conflicts: Conflicts,
) -> Result<Value, Failure> {
    let applied = field_set(configuration, Containers::LeftOut);
    let mut entries = read_entries(live);
    let is_own = |entry: &Entry| entry.operation == Operation::Apply && entry.manager == writer.manager;
    let differs = |path: &FieldPath| !is_container(path) && value_at(live, path) != value_at(configuration, path);

    let conflicting: Vec<(Entry, FieldPath)> = entries
        .iter()
        .filter(|entry| !is_own(entry))
        .flat_map(|entry| {
            let paths = entry.fields.intersection(&applied);
            paths.map(|path| (entry.clone(), path.clone()))
        })
        .filter(|(_, path)| differs(path))
        .collect();
    if !conflicting.is_empty() && conflicts == Conflicts::Refuse {
        return Err(conflict(&conflicting));
    }

    let mut result = live.clone();
    for path in applied.iter().filter(|path| !is_container(path)) {
        // A field that is set to null is owned as well.
        let value = value_at(configuration, path).unwrap_or(&Value::Null);
        set_at(&mut result, path, value);
    }
    let before: FieldSet =
        entries.iter().filter(|entry| is_own(entry)).flat_map(|entry| entry.fields.clone()).collect();
    for path in before.difference(&applied) {
        let is_shared = entries.iter().any(|entry| !is_own(entry) && entry.fields.contains(path));
        if !is_shared {
            remove_at(&mut result, path);
        }
    }

    for entry in entries.iter_mut().filter(|entry| !is_own(entry)) {
        entry.fields.retain(|path| !(applied.contains(path) && differs(path)));
    }
    match entries.iter_mut().find(|entry| is_own(entry)) {
        Some(entry) => entry.fields = applied,
        None => entries.push(Entry {
            operation: Operation::Apply,
            time: String::new(),
            manager: writer.manager.to_owned(),
            api_version: writer.api_version.to_owned(),
            fields: applied,
        }),
    }
    write_entries(&mut result, entries);
    Ok(result)
}

/// Notes the time of an apply that changed more than the ownership.
pub(crate) fn stamp_apply(object: &mut Value, writer: Writer<'_>) {
    let mut entries = read_entries(object);
    for entry in &mut entries {
        if entry.operation == Operation::Apply && entry.manager == writer.manager {
            writer.time.clone_into(&mut entry.time);
        }
    }
    write_entries(object, entries);
}

/// Records what `writer` changed from `before` to `after`, in `after`.
pub(crate) fn record_update(before: &Value, after: &mut Value, writer: Writer<'_>) {
    let old = field_set(before, Containers::Included);
    let new = field_set(after, Containers::Included);
    let is_leaf_changed = |path: &&FieldPath| {
        // A container that existed before is not changed by what happens within it.
        let is_container = new.range((*path).clone()..).nth(1).is_some_and(|next| next.starts_with(path.as_slice()));
        !old.contains(*path) || (!is_container && value_at(before, path) != value_at(after, path))
    };
    let changed: FieldSet = new.iter().filter(is_leaf_changed).cloned().collect();
    let mut entries = read_entries(before);
    for entry in &mut entries {
        entry.fields.retain(|path| new.contains(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        let own = entries.iter_mut().find(|entry| {
            entry.operation == Operation::Update
                && entry.manager == writer.manager
                && entry.api_version == writer.api_version
        });
        match own {
            Some(entry) => {
                entry.fields.extend(changed);
                writer.time.clone_into(&mut entry.time);
            }
            None => entries.push(Entry {
                operation: Operation::Update,
                time: writer.time.to_owned(),
                manager: writer.manager.to_owned(),
                api_version: writer.api_version.to_owned(),
                fields: changed,
            }),
        }
    }
    write_entries(after, entries);
}

fn read_entries(object: &Value) -> Vec<Entry> {
    let entries = object["metadata"]["managedFields"].as_array();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| Entry {
            operation: match entry["operation"].as_str() {
                Some("Apply") => Operation::Apply,
                _ => Operation::Update,
            },
            time: text(entry, "time"),
            manager: text(entry, "manager"),
            api_version: text(entry, "apiVersion"),
            fields: from_fields_v1(&entry["fieldsV1"]),
        })
        .collect()
}

/// Writes the entries in the order of Kubernetes; managers that own nothing are not mentioned.
fn write_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| (a.operation, &a.time, &a.manager).cmp(&(b.operation, &b.time, &b.manager)));
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if entries.is_empty() {
        metadata.shift_remove("managedFields");
        return;
    }
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut shown = json!({
                "manager": entry.manager,
                "operation": match entry.operation {
                    Operation::Apply => "Apply",
                    Operation::Update => "Update",
                },
                "apiVersion": entry.api_version,
            });
            if !entry.time.is_empty() {
                shown["time"] = entry.time.as_str().into();
            }
            shown["fieldsType"] = "FieldsV1".into();
            shown["fieldsV1"] = to_fields_v1(&entry.fields);
            shown
        })
        .collect();
    metadata.insert("managedFields".to_owned(), entries.into());
}

fn conflict(conflicting: &[(Entry, FieldPath)]) -> Failure {
    let manager = |entry: &Entry| match entry.operation {
        Operation::Apply => format!("{:?}", entry.manager),
        Operation::Update => format!("{:?} using {}", entry.manager, entry.api_version),
    };
    let causes: Vec<Cause> = conflicting
        .iter()
        .map(|(entry, path)| Cause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {}", manager(entry)),
            field: display(path),
        })
        .collect();
    let message = if let [(entry, path)] = conflicting {
        let (manager, path) = (manager(entry), display(path));
        format!("Apply failed with 1 conflict: conflict with {manager}: {path}")
    } else {
        let mut managers: Vec<String> = conflicting.iter().map(|(entry, _)| manager(entry)).collect();
        managers.sort();
        managers.dedup();
        let mut lines = Vec::new();
        for name in managers {
            lines.push(format!("conflicts with {name}:"));
            let paths = conflicting.iter().filter(|(entry, _)| manager(entry) == name);
            lines.extend(paths.map(|(_, path)| format!("- {}", display(path))));
        }
        format!("Apply failed with {} conflicts: {}", conflicting.len(), lines.join("\n"))
    };
    Failure::apply_conflict(message, &causes)
}
