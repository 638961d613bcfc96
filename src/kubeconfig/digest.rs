//! Digests of entries, because a fleet's files have too many entries to keep or compare whole.
//!
//! Pure: no I/O, no clock.

use ring::digest;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A digest of a value. Only equal values have the same one; the order of keys does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Digests a value.
    pub(super) fn of(value: &Value) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        feed(&mut context, value);
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// Feeds a value into a digest: its type, its length, and what it says, so that no two values feed the same bytes.
fn feed(context: &mut digest::Context, value: &Value) {
    let mut head = |of_type: u8, length: usize| {
        context.update(&[of_type]);
        context.update(&length.to_le_bytes());
    };
    match value {
        Value::Null => head(b'n', 0),
        Value::Bool(value) => head(b'b', usize::from(*value)),
        Value::Number(number) => {
            let text = number.to_string();
            head(b'd', text.len());
            context.update(text.as_bytes());
        }
        Value::String(text) => {
            head(b's', text.len());
            context.update(text.as_bytes());
        }
        Value::Array(values) => {
            head(b'a', values.len());
            for value in values {
                feed(context, value);
            }
        }
        Value::Object(map) => {
            head(b'o', map.len());
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in fields {
                context.update(&key.len().to_le_bytes());
                context.update(key.as_bytes());
                feed(context, value);
            }
        }
    }
}

/// A list entry of which only the name and the digest are kept while the list is still being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DigestedEntry {
    pub(super) name: Option<String>,
    pub(super) digest: Digest,
}

impl DigestedEntry {
    pub(super) fn of(entry: &Value) -> Self {
        Self { name: entry["name"].as_str().map(str::to_owned), digest: Digest::of(entry) }
    }
}

impl<'de> Deserialize<'de> for DigestedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|entry| Self::of(&entry))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_count_and_everything_else_does() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(
            Digest::of(&parse(r#"{"a":1,"b":{"c":2,"d":3}}"#)),
            Digest::of(&parse(r#"{"b":{"d":3,"c":2},"a":1}"#))
        );
        let different = [
            json!(null),
            json!(false),
            json!(true),
            json!(0),
            json!(1),
            json!(1.0),
            json!(""),
            json!("1"),
            json!("null"),
            json!("a"),
            json!([]),
            json!([[]]),
            json!([[], []]),
            json!(["a", "b"]),
            json!(["b", "a"]),
            json!(["ab"]),
            json!(["a", ["b"]]),
            json!({}),
            json!({"a": "1"}),
            json!({"a": 1}),
            json!({"a": null}),
            json!({"a": {}}),
            json!({"a": {"b": 1}}),
            json!({"a": {}, "b": 1}),
            json!({"a": "b", "b": 1}),
            json!({"ab": "", "b": 1}),
        ];
        let digests: std::collections::BTreeSet<Digest> = different.iter().map(Digest::of).collect();
        assert_eq!(digests.len(), different.len());
    }
}
