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
    pub(super) fn of(mut value: Value) -> Self {
        value.sort_all_objects();
        let digest = digest::digest(&digest::SHA256, value.to_string().as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// A list entry of which only the name and the digest are kept while the list is still being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DigestedEntry {
    pub(super) name: Option<String>,
    pub(super) digest: Digest,
}

impl DigestedEntry {
    pub(super) fn of(entry: Value) -> Self {
        Self { name: entry["name"].as_str().map(str::to_owned), digest: Digest::of(entry) }
    }
}

impl<'de> Deserialize<'de> for DigestedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
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
            Digest::of(parse(r#"{"a":1,"b":{"c":2,"d":3}}"#)),
            Digest::of(parse(r#"{"b":{"d":3,"c":2},"a":1}"#))
        );
        assert_ne!(Digest::of(json!({"a": "1"})), Digest::of(json!({"a": 1})));
        assert_ne!(Digest::of(json!(["a", "b"])), Digest::of(json!(["b", "a"])));
    }
}
