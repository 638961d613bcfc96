//! Text that is not ours: what servers, kubeconfigs and file names say.
//!
//! A line of a report is shown by [`shown`], which leaves nothing in it that a terminal obeys or that hides, nor the
//! end of a line: nobody adds a line to a report. What prints lets through [`guarded`] text only. JSON says exactly
//! what was read, in characters that a terminal shows ([`json`]). Pure: no I/O.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use unicode_properties::UnicodeGeneralCategory;

/// Whether a terminal obeys a character, or does not show it where it stands: controls, separators of lines, what
/// changes the direction or joins (Unicode's category Cf), variation selectors, and letters that look like nothing.
pub(crate) fn is_invisible(c: char) -> bool {
    use unicode_properties::GeneralCategory as Category;
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        c.general_category(),
        Category::Control | Category::Format | Category::LineSeparator | Category::ParagraphSeparator
    ) || matches!(c, '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns text as it is shown to people: what is invisible stands there in escapes, `\u{1b}`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Returns text without anything that looks like a JSON Web Token, whatever stands around it.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    /// Two parts of base64, of which the first begins with `{"`, and perhaps a signature. Names may look like that if
    /// they are short.
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}(\.[A-Za-z0-9_-]*)?").expect("a literal")
    });
    if !text.contains("eyJ") {
        return Cow::Borrowed(text);
    }
    TOKEN.replace_all(text, "[REDACTED]")
}

/// Returns text of several lines, perhaps with colours, without anything else that a terminal obeys or that hides.
pub(crate) fn guarded(text: &str) -> Cow<'_, str> {
    let is_suspicious = |c| is_invisible(c) && c != '\n';
    if !text.contains(is_suspicious) {
        return Cow::Borrowed(text);
    }
    let mut guarded = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (head, tail) = rest.split_at(color(rest).unwrap_or(c.len_utf8()));
        rest = tail;
        match head {
            "\n" | "\t" => guarded.push_str(head),
            head if head.len() > c.len_utf8() => guarded.push_str(head),
            _ if is_invisible(c) => guarded.extend(c.escape_unicode()),
            head => guarded.push_str(head),
        }
    }
    Cow::Owned(guarded)
}

/// Returns the length of the sequence that a text begins with, if it only chooses a colour or weight.
fn color(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    // 8 hides what follows, and a terminal reads 08 as 8.
    let hides = parameters[..end].split(';').any(|parameter| parameter.trim_start_matches('0') == "8");
    (parameters[end..].starts_with('m') && !hides).then_some("\u{1b}[".len() + end + 1)
}

/// Returns a value as a JSON document for people and programs: exact, and in characters that a terminal shows.
///
/// # Errors
///
/// If the value cannot be written as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    Ok(escaped_in_json(&serde_json::to_string_pretty(value)?).into_owned())
}

/// Returns a value as JSON in one line, in characters that a terminal shows.
///
/// # Errors
///
/// If the value cannot be written as JSON.
pub(crate) fn json_line(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    Ok(escaped_in_json(&serde_json::to_string(value)?).into_owned())
}

/// Returns JSON text in characters that a terminal shows; it means the same.
pub(crate) fn escaped_in_json(text: &str) -> Cow<'_, str> {
    let is_hidden = |c| is_invisible(c) && c != '\n';
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut json = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_hidden(c) {
            // Only strings hold such characters, and in strings this is the same.
            for unit in c.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            json.push(c);
        }
    }
    Cow::Owned(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_shown_as_escapes() {
        assert_eq!(shown("prod-eu (Ä)"), "prod-eu (Ä)");
        assert_eq!(shown("a\u{1b}]52;c;x\u{7}b"), "a\\u{1b}]52;c;x\\u{7}b");
        assert_eq!(shown("x\n2 clusters: 2 changed\r"), "x\\u{a}2 clusters: 2 changed\\u{d}");
        for hidden in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{2028}', '\u{e0041}', '\u{9b}'] {
            assert!(!shown(&format!("a{hidden}b")).contains(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn a_token_is_not_repeated_wherever_it_stands() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl-_c2ln";
        for (text, shown) in [
            (format!("x={token}&y"), "x=[REDACTED]&y"),
            (format!("\"{token}\",\n{token}"), "\"[REDACTED]\",\n[REDACTED]"),
            (token[..60].to_owned(), "[REDACTED]"),
            ("eyJ.a.b".to_owned(), "eyJ.a.b"),
            ("nothing".to_owned(), "nothing"),
        ] {
            assert_eq!(redacted(&text), shown, "{text}");
        }
    }

    #[test]
    fn colours_and_lines_pass_and_nothing_else() {
        assert_eq!(
            guarded("\u{1b}[1m\u{1b}[38;5;9mred\u{1b}[0m\nnext\tx"),
            "\u{1b}[1m\u{1b}[38;5;9mred\u{1b}[0m\nnext\tx"
        );
        assert_eq!(
            guarded("a\u{1b}[2Jb\u{1b}]8;;x\u{7}c\u{202e}d\r"),
            "a\\u{1b}[2Jb\\u{1b}]8;;x\\u{7}c\\u{202e}d\\u{d}"
        );
        assert_eq!(guarded("\u{1b}[8mhidden"), "\\u{1b}[8mhidden");
        assert_eq!(guarded("\u{1b}[0;008mhidden"), "\\u{1b}[0;008mhidden");
        assert_eq!(guarded("\u{1b}[1"), "\\u{1b}[1");
    }

    #[test]
    fn json_is_exact_and_hides_nothing() {
        let value = serde_json::json!({"a\u{202e}b": ["x\u{e0041}\n", "\u{9b}", "Ä"]});
        let text = json(&value).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(!text.contains(|c| is_invisible(c) && c != '\n'), "{text}");
        assert!(text.contains("\\u202e") && text.contains("\\udb40\\udc41"), "{text}");
    }
}
