//! Small languages: selectors, templates, and text that is shown or copied into a shell.

use std::collections::BTreeMap;

use super::{PLANTED, boundary, choice, middle};
use crate::failure::clean;
use crate::foreign::{guarded, is_invisible, json, shown};
use crate::selector::Selector;
use crate::template::{Template, escape};
use crate::wording::command;

/// A selector that is written down again is the same one.
pub(super) fn selector(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Selector::parse(text) {
        Ok(selector) => {
            let written = selector.to_string();
            let again = Selector::parse(&written);
            assert_eq!(again.as_ref(), Ok(&selector), "{written:?}");
            let labels = |value: &str| -> BTreeMap<String, String> {
                selector.keys().map(|key| (key.to_owned(), value.to_owned())).collect()
            };
            for value in ["", "prod", "7", "9223372036854775807"] {
                selector.matches(&labels(value));
            }
            selector.matches(&BTreeMap::new());
            true
        }
        Err(error) => {
            // The inventory underlines this part of the text.
            assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
            false
        }
    }
}

/// A template has every text that is not a variable, and what is escaped is the text itself.
pub(super) fn template(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let escaped = Template::parse(&escape(text), &[]).expect("what is escaped has no variable");
    assert_eq!(escaped.expand(|_| "x"), text);
    match Template::parse(text, &["cluster", "profile", "holder"]) {
        Ok(template) => {
            // The value of a variable is text, whatever it looks like.
            let length = |value: &'static str| template.expand(|_| value).len();
            let variables = length("x") - length("");
            assert_eq!(length("{profile}"), length("") + variables * "{profile}".len());
            true
        }
        Err(error) => {
            assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
            assert!(!error.kind.to_string().is_empty());
            false
        }
    }
}

/// Text of others: nothing of it is obeyed, hidden or repeated that must not be, and JSON is exact.
pub(super) fn foreign(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    assert!(!shown(&text).contains(is_invisible));
    let guarded_text = guarded(&text);
    assert!(
        !without_colors(&guarded_text).contains(|c| is_invisible(c) && !matches!(c, '\n' | '\t')),
        "{guarded_text:?}"
    );
    assert_eq!(guarded(&guarded_text), guarded_text, "what passed passes again");
    let value = serde_json::json!({ &*text: [&*text] });
    let written = json(&value).expect("text can be written");
    assert!(!written.contains(|c| is_invisible(c) && c != '\n'), "{written:?}");
    // serde_json keeps names for itself, under which it reads something else into a value.
    if !text.contains("$serde_json::private") {
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).ok(), Some(value));
    }

    let words: Vec<&str> = text.split('\n').collect();
    let line = command(&words);
    assert!(!line.contains(is_invisible), "{line:?}");
    if !words.iter().any(|word| word.contains(is_invisible)) {
        let read = shlex::split(&line).unwrap_or_default();
        assert!(read.iter().eq(&words), "{line:?} is {read:?}");
    }

    let at = boundary(&text, choice(data) % (text.len() + 1));
    for planted in [format!("{}{PLANTED}{}", &text[..at], &text[at..]), format!("{} {PLANTED} x", &text[..at])] {
        let cleaned = clean(&planted);
        assert!(!cleaned.contains(is_invisible) && cleaned.chars().count() <= 601, "{cleaned:?}");
        assert!(!cleaned.contains(middle(PLANTED)), "{cleaned}");
    }
    !text.contains(is_invisible)
}

/// Returns text without what chooses a colour or weight, and does not hide.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(after.len());
        let hides = after[..end].split(';').any(|parameter| parameter.trim_start_matches('0') == "8");
        rest = match after[end..].strip_prefix('m') {
            Some(next) if !hides => next,
            _ => {
                plain.push('\u{1b}');
                after
            }
        };
    }
    plain + rest
}
