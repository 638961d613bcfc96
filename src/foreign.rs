//! Text that is not ours: what servers, kubeconfigs and file names say.
//!
//! It is shown by [`shown`] only, which leaves nothing in it that a terminal obeys or that hides. Pure: no I/O.

use std::borrow::Cow;

use unicode_properties::UnicodeGeneralCategory;

/// Whether a terminal obeys a character, or does not show it where it stands: controls, separators of lines, what
/// changes the direction or joins (Unicode's category Cf), variation selectors, and letters that look like nothing.
pub fn is_invisible(c: char) -> bool {
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
pub fn shown(text: &str) -> Cow<'_, str> {
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
}
