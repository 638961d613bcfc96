//! Writes entries in the style of their neighbours, and finds positions in the text.
//!
//! Pure: no I/O, no clock.

use serde_json::{Map, Value};

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
    pub(super) fn item(&self, entry: &Value) -> String {
        let mut out = format!("-{}", " ".repeat(self.gap.saturating_sub(1)));
        self.mapping(&mut out, &ordered(entry, self.name_first), self.dash + self.gap);
        out
    }

    fn mapping(&self, out: &mut String, map: &Map<String, Value>, column: usize) {
        for (position, (key, value)) in map.iter().enumerate() {
            if position > 0 {
                self.new_line(out, column);
            }
            out.push_str(&scalar(&Value::String(key.clone())));
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

/// Returns an entry with `name` first or last, or in its own order.
pub(super) fn ordered(entry: &Value, name_first: Option<bool>) -> Map<String, Value> {
    let map = entry.as_object().cloned().unwrap_or_default();
    let Some(name_first) = name_first else {
        return map;
    };
    let (mut names, others): (Map<_, _>, Map<_, _>) = map.into_iter().partition(|(key, _)| key == "name");
    if name_first {
        names.extend(others);
        names
    } else {
        others.into_iter().chain(names).collect()
    }
}

/// Writes a scalar: plain if every YAML reader takes it for text, otherwise as JSON.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        value => json_for_yaml(value),
    }
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
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_./@+=%:".contains(&byte))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
