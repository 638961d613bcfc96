//! Well-formed JSON that says something impossible.

use serde_json::{Value, json};

use super::answer::{each_object, rewrite};
use super::mode::Hostility;
use super::words::change_index;
use crate::identity::random_uid;
use crate::sim::request::Reply;

/// Changes the shape of an object or a list.
pub(super) fn distort(mode: &Hostility, reply: Reply) -> Reply {
    rewrite(reply, |value| {
        let is_list = value.get("items").is_some();
        match mode {
            Hostility::Numbers => {
                each_object(value, absurd_numbers);
                if is_list {
                    value["metadata"]["remainingItemCount"] = (-1).into();
                    value["metadata"]["resourceVersion"] = "-99999999999999999999999".into();
                }
            }
            Hostility::WrongTypes => {
                each_object(value, |object| wrong_types(&mut object["metadata"]));
                if is_list {
                    wrong_types(&mut value["metadata"]);
                }
            }
            Hostility::NullItems => {
                each_object(value, null_lists);
                if is_list {
                    value["items"] = Value::Null;
                    value["metadata"] = Value::Null;
                }
            }
            Hostility::NullObjects => {
                if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
                    items.extend([Value::Null, json!(7), json!("x"), json!([]), json!({})]);
                }
            }
            Hostility::OtherKind => {
                let kind = if is_list { "PodList" } else { "Pod" };
                value["kind"] = kind.into();
                value["apiVersion"] = "v1".into();
            }
            Hostility::OtherName => each_object(value, |object| object["metadata"]["name"] = "somebody-else".into()),
            _ => each_object(value, |object| object["metadata"]["uid"] = random_uid().into()),
        }
    })
}

fn absurd_numbers(object: &mut Value) {
    let metadata = &mut object["metadata"];
    metadata["resourceVersion"] = "1e999".into();
    metadata["generation"] = json!(-1.5);
    metadata["deletionGracePeriodSeconds"] = json!(1e308);
    metadata["uid"] = json!(u64::MAX);
    change_index(object, |index| {
        for chain in index["holders"].as_object_mut().into_iter().flat_map(|holders| holders.values_mut()) {
            chain["next"] = (1_u64 << 53).into();
            for generation in chain["generations"].as_array_mut().into_iter().flatten() {
                generation["n"] = json!(-1);
                generation["requested-seconds"] = json!(1e300);
            }
        }
    });
}

/// Gives every field another type: what was text becomes a number, a map a list, and so on.
fn wrong_types(metadata: &mut Value) {
    for field in metadata.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        *field = match field {
            Value::String(_) => json!(17),
            Value::Object(_) => json!([["x"]]),
            Value::Array(_) => json!({ "x": {} }),
            Value::Number(_) => json!("x"),
            Value::Bool(_) | Value::Null => json!([true]),
        };
    }
}

/// Turns every list of an object into `null`.
fn null_lists(object: &mut Value) {
    for field in ["rules", "subjects", "secrets", "imagePullSecrets"] {
        if let Some(list) = object.get_mut(field) {
            *list = Value::Null;
        }
    }
    for field in ["managedFields", "finalizers", "ownerReferences", "labels", "annotations"] {
        if let Some(list) = object["metadata"].get_mut(field) {
            *list = Value::Null;
        }
    }
}
