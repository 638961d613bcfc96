//! Why a file is refused as a kubeconfig: location, field and reason, without any of its content.
//!
//! Pure: no I/O, no clock.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use serde_saphyr::{Error, Options};

use super::MOST_NODES;

/// The keys that may be shown. Other keys may be arbitrary text, or secrets in a file that is no kubeconfig.
const SHOWN: [&str; 43] = [
    "apiVersion",
    "kind",
    "preferences",
    "current-context",
    "clusters",
    "users",
    "contexts",
    "name",
    "cluster",
    "user",
    "context",
    "extensions",
    "extension",
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "insecure-skip-tls-verify",
    "tls-server-name",
    "proxy-url",
    "disable-compression",
    "token",
    "tokenFile",
    "exec",
    "auth-provider",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "username",
    "password",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
    "namespace",
    "command",
    "args",
    "env",
    "value",
    "installHint",
    "interactiveMode",
    "provideClusterInfo",
    "inventory",
];

/// Why a text cannot be read.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The field, the reason, and the line and column. It does not quote the text.
    pub(crate) text: String,
    /// The line, from 1.
    pub(crate) line: Option<usize>,
}

/// Returns why a text cannot be read as a `T`; `error` is the first reader's error.
pub(crate) fn refusal<T: DeserializeOwned>(text: &str, options: Options, error: &Error) -> Refusal {
    if matches!(error.without_snippet(), Error::Budget { .. }) {
        let text = format!("its values are too many or too deep; at most {MOST_NODES} keys and values are read");
        return Refusal { text, line: None };
    }
    let mut field = String::new();
    // The text is read once more, only because this reader knows in which field it fails.
    drop(serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize::<_, T>(deserializer).map(drop).map_err(|error| {
            field = shown(error.path());
            error.into_inner()
        })
    }));
    let reason = reason(error);
    let what = if field.is_empty() { reason.to_owned() } else { format!("`{field}`: {reason}") };
    match error.location() {
        Some(place) => Refusal {
            text: format!("{what}, at line {}, column {}", place.line(), place.column()),
            line: usize::try_from(place.line()).ok(),
        },
        None => Refusal { text: what, line: None },
    }
}

/// Returns a path up to the first key that may not be shown, as `users[3].user.token`; lists begin at 0, as in
/// `JSONPath`.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } if SHOWN.contains(&key.as_str()) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    text
}

const LIST: &str = "it must be a list";
const MAPPING: &str = "it must be a mapping";
const TEXT: &str = "it must be text";
const FLAG: &str = "it must be true or false";
const QUOTED: &str = "it must be in quotes: YAML takes it for something else than text";
const TWICE: &str = "a key is there twice";
const DANGLING: &str = "it refers to an anchor that is not there";
const TYPE: &str = "it is of another type than it must be";
const SYNTAX: &str = "it is not valid YAML";

/// Whether [`refusal`] may return a text, which then quotes nothing.
#[cfg(any(test, fuzzing))]
pub(crate) fn is_refusal(text: &str) -> bool {
    const REASONS: [&str; 9] = [LIST, MAPPING, TEXT, FLAG, QUOTED, TWICE, DANGLING, TYPE, SYNTAX];
    let what = text.split_once(", at line ").map_or(text, |(what, _)| what);
    let (field, reason) = match what.strip_prefix('`').and_then(|rest| rest.split_once("`: ")) {
        Some((field, reason)) => (field, reason),
        None => ("", what),
    };
    let mut keys = field.split(['.', '[', ']']).filter(|key| key.parse::<usize>().is_err() && !key.is_empty());
    REASONS.contains(&reason) && keys.all(|key| SHOWN.contains(&key))
}

/// The error of our own reader for a value that should be a boolean.
pub(crate) const NOT_A_BOOLEAN: &str = "not a boolean";

fn reason(error: &Error) -> &'static str {
    match error.without_snippet() {
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => wanted(expected),
        Error::Unexpected { expected, .. } => wanted(expected),
        Error::Message { msg, .. } if msg == NOT_A_BOOLEAN => FLAG,
        Error::InvalidBooleanStrict { .. } => FLAG,
        Error::NullIntoString { .. } | Error::TaggedScalarCannotDeserializeIntoString { .. } => TEXT,
        Error::QuotingRequired { .. } => QUOTED,
        Error::DuplicateMappingKey { .. } => TWICE,
        Error::UnknownAnchor { .. } => DANGLING,
        Error::InvalidScalar { .. } | Error::NonFiniteFloat { .. } => TYPE,
        Error::AliasError { error, .. } => reason(error),
        _ => SYNTAX,
    }
}

/// Names the expected type in the words of this project instead of Rust's.
fn wanted(expected: &str) -> &'static str {
    let says = |word: &str| expected.contains(word);
    if says("seq") {
        LIST
    } else if says("struct") || says("map") {
        MAPPING
    } else if says("string") || says("scalar") {
        TEXT
    } else if says("bool") {
        FLAG
    } else {
        TYPE
    }
}

#[cfg(test)]
mod tests {
    use crate::kubeconfig::Document;

    #[test]
    fn a_refusal_names_field_reason_and_place_and_quotes_nothing() {
        for (text, expected) in [
            ("users: {s3cret: s3cret}\n", "`users`: it must be a list, at line 1, column 8"),
            ("current-context: [s3cret]\n", "`current-context`: it must be text, at line 1, column 18"),
            ("clusters: *s3cret\n", "it refers to an anchor that is not there, at line 1, column 11"),
            ("users: []\nusers: []\n", "a key is there twice, at line 2, column 1"),
            ("users: [\n", "`users`: it is not valid YAML, at line 1, column 8"),
            ("kind: s3cret\n", "its `kind` is not `Config`"),
        ] {
            let error = Document::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("it is not a kubeconfig: {expected}"), "{text}");
        }
    }
}
