//! JSON merge patch (RFC 7386), and JSON patch (RFC 6902) as far as tests use it.
//!
//! Pure. Strategic merge patches are treated as merge patches: for the types that the simulation
//! stores the two differ only in `ownerReferences` and a ServiceAccount's `secrets`.

use serde_json::{Map, Value};

use super::failure::Failure;

/// Merges `patch` into `target`.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (field, value) in patch {
        if value.is_null() {
            fields.shift_remove(field);
        } else {
            merge(fields.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Runs the operations `add`, `replace`, `remove` and `test`.
pub(crate) fn json_patch(target: &mut Value, operations: &Value) -> Result<(), Failure> {
    let wrong = |why: &str| Failure::bad_request(format!("invalid JSON patch: {why}"));
    let operations = operations.as_array().ok_or_else(|| wrong("not a list"))?;
    for operation in operations {
        let path = operation["path"].as_str().ok_or_else(|| wrong("no path"))?;
        let (parent, key) = path.rsplit_once('/').ok_or_else(|| wrong("no such path"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = operation["value"].clone();
        if operation["op"] == "test" {
            if target.pointer(path) != Some(&value) {
                return Err(wrong("test failed"));
            }
            continue;
        }
        let parent = target.pointer_mut(parent).ok_or_else(|| wrong("no such path"))?;
        match (parent, operation["op"].as_str()) {
            (Value::Object(fields), Some("add" | "replace")) => {
                fields.insert(key, value);
            }
            (Value::Object(fields), Some("remove")) => {
                fields.shift_remove(&key).ok_or_else(|| wrong("no such path"))?;
            }
            (Value::Array(items), Some("add")) if key == "-" => items.push(value),
            (Value::Array(items), Some(op)) => {
                let index: usize = key.parse().map_err(|_| wrong("not an index"))?;
                match op {
                    "add" if index <= items.len() => items.insert(index, value),
                    "replace" if index < items.len() => items[index] = value,
                    "remove" if index < items.len() => {
                        items.remove(index);
                    }
                    _ => return Err(wrong("no such item")),
                }
            }
            _ => return Err(wrong("unknown operation")),
        }
    }
    Ok(())
}
