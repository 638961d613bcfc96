//! Reads TOML into typed tables and collects every problem on the way.
//!
//! serde stops at the first error, so this is a small reader of its own: unknown keys, wrong types and missing keys
//! each become a [`Problem`], and the rest is read nevertheless. The [`tables!`](super::file) macro declares a table
//! once; struct, reader and JSON Schema come from that declaration, so they always agree. Pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::problem::{At, FileId, Location, Problem, Problems, SHOWN, quote};
use super::wave::Budget;
use crate::wording::list;

/// A type that TOML values are read into.
pub(crate) trait Read: Sized {
    /// Describes the type, such as `a string`.
    fn wanted() -> String;
    /// Returns the JSON Schema of the type; tables put theirs into `definitions`.
    fn schema(definitions: &mut Map<String, Value>) -> Value;
    /// Reads a value, or reports why it cannot be read.
    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// The subject of a message about a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// The value of a key.
    Key(&'a str),
    /// An element of the list that is the value of a key.
    Element(&'a str),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Element(key) => write!(f, "each element of `{key}`"),
        }
    }
}

/// Reads one file.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// The file.
    pub(crate) file: FileId,
    /// Where problems go.
    pub(crate) problems: &'a mut Problems,
    /// Whether the first table may lack keys, because it is the top level of an included file.
    pub(crate) partial: bool,
    /// Whether a value had the wrong type, so that its meaning is unknown.
    pub(crate) misread: bool,
}

/// Whether a key is required, and its value if it is absent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    /// The key must be there.
    Required,
    /// The key may be absent.
    Optional,
    /// The value, as JSON, if the key is absent.
    Default(&'static str),
}

/// One key of a table, for the schema.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) presence: Presence,
    pub(crate) schema: fn(&mut Map<String, Value>) -> Value,
    /// A JSON object with further constraints, or empty.
    pub(crate) constraints: &'static str,
}

impl Reader<'_> {
    pub(crate) fn location<T>(&self, spanned: &Spanned<T>) -> Location {
        Location::new(self.file, spanned.span())
    }

    pub(crate) fn field<T: Read>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<T>> {
        let location = self.location(value);
        let value = T::read(value.get_ref(), location, Subject::Key(key), self)?;
        Some(At { value, location })
    }

    /// Reports an unknown key, and returns the known key that was probably meant.
    fn unknown_key(
        &mut self,
        title: &str,
        key: &str,
        location: Location,
        known: &[&'static str],
    ) -> Option<&'static str> {
        let nearest = self.problems.nearest(key, known.iter().copied());
        let mut problem = Problem::error(location, format!("unknown key {} in {title}", quote(key)));
        problem.hint = Some(match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known keys: {}", list(known.iter().copied(), SHOWN)),
        });
        self.problems.push(problem);
        nearest
    }

    fn missing_key(&mut self, title: &str, key: &str, location: Location) {
        self.problems.push(Problem::error(location, format!("{title} lacks the key `{key}`")));
    }

    fn wrong_type<T: Read>(&mut self, value: &DeValue<'_>, location: Location, subject: Subject<'_>) -> Problem {
        self.misread = true;
        Problem::error(location, format!("{subject} must be {}, not {}", T::wanted(), found(value)))
    }

    pub(crate) fn refuse<T: Read>(&mut self, value: &DeValue<'_>, location: Location, subject: Subject<'_>) {
        let problem = self.wrong_type::<T>(value, location, subject);
        self.problems.push(problem);
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Read for String {
    fn wanted() -> String {
        "a string".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string" })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = value.as_str();
        if text.is_none() {
            reader.refuse::<Self>(value, location, subject);
        }
        text.map(str::to_owned)
    }
}

impl Read for bool {
    fn wanted() -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "boolean" })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let flag = value.as_bool();
        if flag.is_none() {
            reader.refuse::<Self>(value, location, subject);
        }
        flag
    }
}

impl Read for u64 {
    fn wanted() -> String {
        "a positive integer".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = match value {
            DeValue::Integer(integer) => Self::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            match value {
                DeValue::Integer(integer) => {
                    reader.misread = true;
                    let message = format!("{subject} must be {}, not `{integer}`", Self::wanted());
                    reader.problems.push(Problem::error(location, message));
                }
                _ => reader.refuse::<Self>(value, location, subject),
            }
        }
        number
    }
}

impl Read for f64 {
    fn wanted() -> String {
        "a number".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "number" })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = match value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            reader.refuse::<Self>(value, location, subject);
        }
        number
    }
}

impl Read for Duration {
    fn wanted() -> String {
        "a duration such as `\"24h\"`".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string", "pattern": duration::PATTERN, "examples": ["24h", "1h30m", "30d", "90s"] })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let (message, number) = match value {
            DeValue::String(text) => match duration::parse(text) {
                Ok(duration) => return Some(duration),
                Err(reason) => {
                    reader.misread = true;
                    let number = text.parse::<u64>().is_ok().then(|| text.to_string());
                    (format!("{subject} is no duration: {reason}"), number)
                }
            },
            DeValue::Integer(integer) => {
                (reader.wrong_type::<Self>(value, location, subject).message, Some(integer.as_str().to_owned()))
            }
            _ => (reader.wrong_type::<Self>(value, location, subject).message, None),
        };
        let mut problem = Problem::error(location, message);
        if let Some(number) = number {
            problem = problem.hint(format!("say the unit: `\"{number}s\"`, `\"{number}m\"` or `\"{number}h\"`"));
        }
        reader.problems.push(problem);
        None
    }
}

/// Returns a time as it is typed. TOML has times of its own; both ways of writing one mean the same.
pub(super) fn text_of_time(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        _ => None,
    }
}

impl Read for Timestamp {
    fn wanted() -> String {
        "a time with its offset such as `\"2026-12-01T18:00:00Z\"`".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string", "format": "date-time", "examples": ["2026-12-01T18:00:00Z", "2026-12-01T19:00:00+01:00"] })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = text_of_time(value) else {
            reader.refuse::<Self>(value, location, subject);
            return None;
        };
        let time = text.parse().ok();
        if time.is_none() {
            reader.misread = true;
            let message = format!("{subject} must be {}, not {}", Self::wanted(), quote(&text));
            reader.problems.push(Problem::error(location, message));
        }
        time
    }
}

impl Read for Budget {
    fn wanted() -> String {
        "a number of clusters, or a share such as `\"2%\"`".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "oneOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^([0-9]+|([0-9]|[1-9][0-9]|100)%)$" },
        ] })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let budget = match value {
            DeValue::Integer(integer) if integer.radix() == 10 => Self::parse(integer.as_str()),
            DeValue::String(text) => Self::parse(text),
            _ => {
                reader.refuse::<Self>(value, location, subject);
                return None;
            }
        };
        let wrong = |reason: String| {
            reader.misread = true;
            reader.problems.push(Problem::error(location, format!("{subject} is not valid: {reason}")));
        };
        budget.map_err(wrong).ok()
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn wanted() -> String {
        let element = T::wanted();
        let element = element.strip_prefix("a ").unwrap_or(&element);
        format!("a list of {element}s")
    }

    fn schema(definitions: &mut Map<String, Value>) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let (Subject::Key(key) | Subject::Element(key)) = subject;
        if let DeValue::Array(array) = value {
            let mut list = Self::with_capacity(array.len());
            for element in array {
                let location = reader.location(element);
                let read = T::read(element.get_ref(), location, Subject::Element(key), reader);
                list.extend(read.map(|value| At { value, location }));
            }
            return Some(list);
        }
        let problem = reader.wrong_type::<Self>(value, location, subject);
        reader.problems.push(match value {
            DeValue::String(text) => problem.hint(format!("write `{key} = [\"{text}\"]`")),
            DeValue::Table(_) => problem.hint(format!("write `[[{key}]]`, with two brackets")),
            _ => problem,
        });
        None
    }
}

/// A table whose keys are names that the user chooses.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(pub(crate) Vec<(At<String>, At<T>)>);

impl<T: Read> Read for Named<T> {
    fn wanted() -> String {
        "a table".to_owned()
    }

    fn schema(definitions: &mut Map<String, Value>) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(definitions) })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            let problem = reader.wrong_type::<Self>(value, location, subject);
            let (Subject::Key(key) | Subject::Element(key)) = subject;
            reader.problems.push(match value {
                DeValue::Array(_) if T::wanted() == Self::wanted() => problem.hint(format!("write `[{key}.NAME]`")),
                DeValue::Array(_) => problem.hint(format!("write `{key} = {{ NAME = \"…\" }}`")),
                _ => problem,
            });
            return None;
        };
        let mut entries = vec![];
        for (key, value) in table {
            let name = At { value: key.get_ref().to_string(), location: reader.location(key) };
            if let Some(value) = reader.field(&name.value, value) {
                entries.push((name, value));
            }
        }
        Some(Self(entries))
    }
}

/// Reads a table with fixed keys: the part of the macro that does not depend on types.
pub(crate) fn read_table<T: Default>(
    table: &DeTable<'_>,
    location: Location,
    title: &str,
    keys: &[Key],
    reader: &mut Reader<'_>,
    mut assign: impl FnMut(&mut T, &str, &Spanned<DeValue<'_>>, &mut Reader<'_>) -> bool,
) -> T {
    let mut read = T::default();
    let partial = std::mem::take(&mut reader.partial);
    let is_required = |key: &&Key| matches!(key.presence, Presence::Required);
    let mut missing: Vec<&str> = keys.iter().filter(is_required).map(|key| key.name).collect();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if assign(&mut read, name, value, reader) {
            missing.retain(|known| *known != name);
            continue;
        }
        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let meant = reader.unknown_key(title, name, reader.location(key), &known);
        if let Some(meant) = meant.filter(|meant| !table.contains_key(*meant)) {
            // The value is read as if its key were spelled right, so that its absence causes no further problems.
            missing.retain(|known| *known != meant);
            assign(&mut read, meant, value, reader);
        }
    }
    for key in missing.into_iter().filter(|_| !partial) {
        reader.missing_key(title, key, location);
    }
    read
}

/// Returns the JSON Schema of a table with fixed keys, as a reference into `definitions`.
pub(crate) fn table_schema(name: &str, doc: &str, keys: &[Key], definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(name) {
        // Inserted first, so that definitions are in the order of their first use.
        definitions.insert(name.to_owned(), Value::Null);
        let properties = keys.iter().map(|key| (key.name.to_owned(), key_schema(key, definitions)));
        let properties: Map<String, Value> = properties.collect();
        let mut schema = json!({
            "type": "object", "description": paragraph(doc), "additionalProperties": false, "properties": properties,
        });
        let is_required = |key: &&Key| matches!(key.presence, Presence::Required);
        let required: Vec<&str> = keys.iter().filter(is_required).map(|key| key.name).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        definitions[name] = schema;
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn key_schema(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    let description = paragraph(key.doc);
    let title = description.split_once(". ").map_or(description.as_str(), |(first, _)| first);
    let mut schema = json!({ "title": title.trim_end_matches('.'), "description": description });
    let fields = schema.as_object_mut().expect("made above");
    if let Value::Object(typed) = (key.schema)(definitions) {
        fields.extend(typed);
    }
    if let Presence::Default(default) = key.presence {
        let default = serde_json::from_str(default).expect("defaults are written as JSON");
        fields.insert("default".to_owned(), default);
    }
    if !key.constraints.is_empty() {
        let constraints: Map<String, Value> =
            serde_json::from_str(key.constraints).expect("constraints are written as JSON");
        fields.extend(constraints);
    }
    schema
}

/// Joins the lines of a doc comment.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Declares the tables of the file format: struct, reader and schema together.
///
/// `key field: Type [presence] {constraints}`; every field is an `Option<At<Type>>`.
macro_rules! tables {
    ($(
        $(#[doc = $table_doc:literal])*
        $table:ident ($title:literal) {
            $(
                $(#[doc = $doc:literal])*
                $key:literal $field:ident: $type:ty [$($presence:tt)*] $({$constraints:literal})?;
            )*
        }
    )*) => {$(
        $(#[doc = $table_doc])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $table {
            $(
                $(#[doc = $doc])*
                pub(crate) $field: Option<$crate::inventory::problem::At<$type>>,
            )*
        }

        impl $table {
            const KEYS: &'static [$crate::inventory::read::Key] = &[$(
                $crate::inventory::read::Key {
                    name: $key,
                    doc: concat!($($doc, "\n"),*),
                    presence: presence!($($presence)*),
                    schema: <$type as $crate::inventory::read::Read>::schema,
                    constraints: concat!($($constraints)?),
                },
            )*];

            pub(crate) fn read_table(
                table: &toml::de::DeTable<'_>,
                location: $crate::inventory::problem::Location,
                reader: &mut $crate::inventory::read::Reader<'_>,
            ) -> Self {
                let assign = |read: &mut Self,
                              key: &str,
                              value: &toml::Spanned<toml::de::DeValue<'_>>,
                              reader: &mut $crate::inventory::read::Reader<'_>| {
                    match key {
                        $($key => read.$field = reader.field($key, value),)*
                        _ => return false,
                    }
                    true
                };
                $crate::inventory::read::read_table(table, location, $title, Self::KEYS, reader, assign)
            }
        }

        impl $crate::inventory::read::Read for $table {
            fn wanted() -> String {
                "a table".to_owned()
            }

            fn schema(definitions: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                let doc = concat!($($table_doc, "\n"),*);
                $crate::inventory::read::table_schema(stringify!($table), doc, Self::KEYS, definitions)
            }

            fn read(
                value: &toml::de::DeValue<'_>,
                location: $crate::inventory::problem::Location,
                subject: $crate::inventory::read::Subject<'_>,
                reader: &mut $crate::inventory::read::Reader<'_>,
            ) -> Option<Self> {
                if let toml::de::DeValue::Table(table) = value {
                    return Some(Self::read_table(table, location, reader));
                }
                reader.refuse::<Self>(value, location, subject);
                None
            }
        }
    )*};
}

macro_rules! presence {
    (required) => {
        $crate::inventory::read::Presence::Required
    };
    (optional) => {
        $crate::inventory::read::Presence::Optional
    };
    (default $value:literal) => {
        $crate::inventory::read::Presence::Default($value)
    };
}

/// Declares how the variants of an enum are spelled in the file.
macro_rules! choice {
    ($type:ty { $($text:literal => $variant:expr,)* }) => {
        impl $crate::inventory::read::Read for $type {
            fn wanted() -> String {
                [$(concat!("`", $text, "`")),*].join(" or ")
            }

            fn schema(_: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                serde_json::json!({ "enum": [$($text),*] })
            }

            fn read(
                value: &toml::de::DeValue<'_>,
                location: $crate::inventory::problem::Location,
                subject: $crate::inventory::read::Subject<'_>,
                reader: &mut $crate::inventory::read::Reader<'_>,
            ) -> Option<Self> {
                match value.as_str() {
                    $(Some($text) => Some($variant),)*
                    Some(text) => {
                        reader.unknown_choice(subject, text, &Self::wanted(), location, &[$($text),*]);
                        None
                    }
                    None => {
                        reader.refuse::<Self>(value, location, subject);
                        None
                    }
                }
            }
        }
    };
}

pub(crate) use {choice, presence, tables};

impl Reader<'_> {
    pub(crate) fn unknown_choice(
        &mut self,
        subject: Subject<'_>,
        text: &str,
        wanted: &str,
        location: Location,
        known: &[&'static str],
    ) {
        self.misread = true;
        let mut problem = Problem::error(location, format!("{subject} must be {wanted}, not {}", quote(text)));
        let nearest = self.problems.nearest(text, known.iter().copied());
        problem.hint = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
        self.problems.push(problem);
    }
}
