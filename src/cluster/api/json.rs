//! Reading a server's JSON with bounds: a response costs memory in proportion to its size, whatever it holds.
//!
//! A JSON value of one byte takes 72 in memory, so the number of values is limited too. Lists are handed out item
//! by item, and never held.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The most values in one object: a role with 20,000 rules has 200,000.
const MOST_VALUES: usize = 250_000;

/// Reads one object.
///
/// # Errors
///
/// If it is not JSON, or has too many values. The error quotes nothing.
pub(in crate::cluster) fn object(bytes: &[u8]) -> Result<Value, &'static str> {
    let left = Cell::new(MOST_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Bounded(&left).deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    // The parser's error would quote the response.
    value.map_err(|_| if left.get() == 0 { "it has too many values" } else { "it is not JSON" })
}

/// A page of a list, without its items.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Everything but the items.
    pub(super) rest: Map<String, Value>,
    /// What its field `items` is.
    pub(super) items_are: ItemsAre,
    /// How many items it had.
    pub(super) items: usize,
}

/// What the field `items` of a page is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ItemsAre {
    /// Not there, or something that holds no items.
    #[default]
    Nothing,
    /// `null`.
    Null,
    /// A list.
    List,
}

/// Reads a page of a list and hands out its items one after another.
///
/// # Errors
///
/// If it is not JSON, or has its items twice, or an item has too many values. The error quotes nothing.
pub(super) fn page(bytes: &[u8], take: &mut dyn FnMut(&Value)) -> Result<Page, &'static str> {
    let left = Cell::new(MOST_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let page = deserializer.deserialize_map(Items { left: &left, take });
    let page = page.and_then(|page| deserializer.end().map(|()| page));
    page.map_err(|_| if left.get() == 0 { "it has too many values" } else { "it is not JSON" })
}

struct Items<'a> {
    left: &'a Cell<usize>,
    take: &'a mut dyn FnMut(&Value),
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        let mut items_seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != "items" {
                page.rest.insert(key, map.next_value_seed(Bounded(self.left))?);
                continue;
            }
            if items_seen {
                // JSON readers differ in which of two equal keys counts.
                return Err(A::Error::duplicate_field("items"));
            }
            items_seen = true;
            (page.items_are, page.items) = map.next_value_seed(Each { left: self.left, take: self.take })?;
        }
        Ok(page)
    }
}

/// The items of a list: what they are, and how many.
struct Each<'a> {
    left: &'a Cell<usize>,
    take: &'a mut dyn FnMut(&Value),
}

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = (ItemsAre, usize);

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = (ItemsAre, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut count = 0;
        loop {
            self.left.set(MOST_VALUES);
            let Some(item) = items.next_element_seed(Bounded(self.left))? else { return Ok((ItemsAre::List, count)) };
            count += 1;
            (self.take)(&item);
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok((ItemsAre::Null, 0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok((ItemsAre::Nothing, 0))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok((ItemsAre::Nothing, 0))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok((ItemsAre::Nothing, 0))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok((ItemsAre::Nothing, 0))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok((ItemsAre::Nothing, 0))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok((ItemsAre::Nothing, 0))
    }
}

/// Reads a value, and subtracts its values from the number that is left.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

impl Bounded<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        match self.0.get() {
            0 => Err(E::custom("too many values")),
            left => {
                self.0.set(left - 1);
                Ok(())
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = vec![];
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            fields.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_read_as_it_is() {
        let value = json!({"a": [1, -2, 1.5, "x", null, true, {"b": {}}]});
        assert_eq!(object(value.to_string().as_bytes()), Ok(value));
        assert_eq!(object(b"{} x"), Err("it is not JSON"));
        assert_eq!(object(b""), Err("it is not JSON"));
    }

    #[test]
    fn an_object_of_too_many_values_is_refused() {
        let many = format!("[{}1]", "1,".repeat(MOST_VALUES));
        assert_eq!(object(many.as_bytes()), Err("it has too many values"));
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(object(deep.as_bytes()), Err("it is not JSON"), "the parser has a limit of its own");
    }

    #[test]
    fn a_page_is_handed_out_item_by_item() {
        let read = |text: &str| {
            let mut items = vec![];
            let page = page(text.as_bytes(), &mut |item| items.push(item["n"].as_u64()))?;
            Ok::<_, &str>((page.rest.get("kind").cloned(), page.items_are, items))
        };
        let list = r#"{"kind": "XList", "items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "x"}}"#;
        assert_eq!(read(list), Ok((Some("XList".into()), ItemsAre::List, vec![Some(1), Some(2)])));
        assert_eq!(read("{\"items\": null}"), Ok((None, ItemsAre::Null, vec![])));
        for none in ["7", "-7", "1.5", "true", "\"x\"", "{\"a\": 1}"] {
            assert_eq!(read(&format!("{{\"items\": {none}}}")), Ok((None, ItemsAre::Nothing, vec![])), "{none}");
        }
        assert_eq!(read("[]"), Err("it is not JSON"));
        assert_eq!(read(r#"{"items": [{"n": 1}], "items": null}"#), Err("it is not JSON"), "its items stand twice");
        // Each item has its own limit.
        let item = format!("{{\"n\": 1, \"x\": [{}1]}}", "1,".repeat(MOST_VALUES / 2));
        let three = format!("{{\"items\": [{item}, {item}, {item}]}}");
        assert_eq!(read(&three).map(|(_, _, items)| items.len()), Ok(3));
    }
}
