//! Writes entries in the style of their neighbours, and finds positions in the text.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;

use serde_json::Value;

/// Skips blanks, line ends and comments.
pub(super) fn skip_blank(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    loop {
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'#') {
            return at;
        }
        while bytes.get(at).is_some_and(|byte| *byte != b'\n') {
            at += 1;
        }
    }
}

/// Skips blanks within a line.
pub(super) fn skip_spaces(text: &str, at: usize) -> usize {
    at + text.as_bytes()[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Returns the start of the line of a position.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns the start of the next line, or the position itself if a line just ended.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    if at > 0 && text.as_bytes()[at - 1] == b'\n' {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// Returns the column of a position, in bytes.
pub(super) fn column(text: &str, at: usize) -> usize {
    at - line_start(text, at)
}

/// The style of block entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style<'a> {
    /// The column of the dashes.
    pub(super) dash: usize,
    /// The distance from a dash to the first key.
    pub(super) gap: usize,
    /// The indentation of a key's mapping, relative to the key.
    pub(super) step: usize,
    /// Whether `name` comes first or last; nothing if no entry shows it.
    pub(super) name_first: Option<bool>,
    /// The line end.
    pub(super) line_end: &'a str,
}

impl Style<'_> {
    /// Writes an entry from its dash on, without a final line end.
    pub(super) fn item(&self, out: &mut String, entry: &Value) {
        out.push('-');
        out.extend(std::iter::repeat_n(' ', self.gap.saturating_sub(1)));
        self.mapping(out, ordered(entry, self.name_first), self.dash + self.gap);
    }

    fn mapping<'v>(&self, out: &mut String, fields: impl IntoIterator<Item = (&'v String, &'v Value)>, column: usize) {
        for (position, (key, value)) in fields.into_iter().enumerate() {
            if position > 0 {
                self.new_line(out, column);
            }
            out.push_str(&key_text(key));
            out.push(':');
            self.value(out, value, column);
        }
    }

    fn value(&self, out: &mut String, value: &Value, column: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.new_line(out, column + self.step);
                self.mapping(out, map, column + self.step);
            }
            // Like kubectl, this writes the dashes of a list right below the key.
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    self.new_line(out, column);
                    match item {
                        Value::Object(map) if !map.is_empty() => {
                            out.push_str("- ");
                            self.mapping(out, map, column + 2);
                        }
                        item => {
                            out.push_str("- ");
                            out.push_str(&scalar(item));
                        }
                    }
                }
            }
            value => {
                out.push(' ');
                out.push_str(&scalar(value));
            }
        }
    }

    fn new_line(&self, out: &mut String, column: usize) {
        out.push_str(self.line_end);
        out.extend(std::iter::repeat_n(' ', column));
    }
}

/// Returns the fields of an entry with `name` first or last, or in its own order.
pub(super) fn ordered(entry: &Value, name_first: Option<bool>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<(&String, &Value)> = entry.as_object().into_iter().flatten().collect();
    if let Some(name_first) = name_first {
        fields.sort_by_key(|(key, _)| (*key == "name") != name_first);
    }
    fields
}

/// Writes a scalar: plain if every YAML reader takes it for text, otherwise as JSON.
pub(super) fn scalar(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) if is_plain(text) => Cow::Borrowed(text),
        value => Cow::Owned(json_for_yaml(value)),
    }
}

/// Writes a key, as a scalar is written.
pub(super) fn key_text(key: &str) -> Cow<'_, str> {
    if is_plain(key) { Cow::Borrowed(key) } else { Cow::Owned(json_for_yaml(&Value::from(key))) }
}

/// Writes a value as JSON that YAML reads too. YAML allows fewer characters unescaped, and has more line ends.
pub(super) fn json_for_yaml(value: &Value) -> String {
    let is_refused =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let text = value.to_string();
    if !text.contains(is_refused) {
        return text;
    }
    // Only strings can hold such characters.
    let escaped = |c: char| if is_refused(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Whether both YAML 1.1 and YAML 1.2 read an unquoted text as a string.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let is_harmless = |byte| {
        matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
            || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@' | b'+' | b'=' | b'%' | b':')
    };
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(is_harmless)
        && !text.ends_with(':')
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}
