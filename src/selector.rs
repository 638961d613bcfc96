//! Kubernetes label selectors: `env=prod, region in (eu, us), !legacy`.
//!
//! The grammar and the meaning are those of `k8s.io/apimachinery/pkg/labels`: requirements are
//! joined by commas and all must hold; the empty selector matches everything; `!=` and `notin` also
//! match where the key is absent. Pure: no I/O, no clock. Start with [`Selector::parse`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The longest label value, and the longest name part of a label key.
const MAX_NAME: usize = 63;
/// The longest prefix of a label key: a DNS subdomain.
const MAX_PREFIX: usize = 253;

/// A parsed label selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Exists,
    Absent,
    Equals(String),
    NotEquals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

/// A selector that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SelectorError {
    /// The byte offset of the offending part.
    pub offset: usize,
    /// The length of the offending part in bytes; 0 at the end of the text.
    pub length: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    ///
    /// If the text does not follow the grammar, or a key or value is none that a label can have.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: lex(text), position: 0, end: text.len() };
        let mut requirements = vec![];
        while parser.peek().is_some() {
            requirements.push(parser.requirement()?);
            match parser.next() {
                None => break,
                Some(Token { kind: TokenKind::Comma, .. }) => match parser.peek().map(|token| token.kind) {
                    Some(TokenKind::Word | TokenKind::Not) => {}
                    _ => return Err(parser.unexpected("a label key after `,`")),
                },
                Some(_) => return Err(parser.unexpected_previous("`,` or the end")),
            }
        }
        Ok(Self { requirements })
    }

    /// Returns whether a set of labels meets every requirement.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.condition {
                Condition::Exists => value.is_some(),
                Condition::Absent => value.is_none(),
                Condition::Equals(wanted) => value == Some(wanted),
                Condition::NotEquals(unwanted) => value != Some(unwanted),
                Condition::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
                Condition::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
                Condition::Greater(bound) => number(value).is_some_and(|number| number > *bound),
                Condition::Less(bound) => number(value).is_some_and(|number| number < *bound),
            }
        })
    }

    /// Returns the keys that the selector looks at.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|requirement| requirement.key.as_str())
    }
}

fn number(value: Option<&String>) -> Option<i64> {
    value?.parse().ok()
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, condition }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::Exists => f.write_str(key)?,
                Condition::Absent => write!(f, "!{key}")?,
                Condition::Equals(value) => write!(f, "{key}={value}")?,
                Condition::NotEquals(value) => write!(f, "{key}!={value}")?,
                Condition::In(values) => write!(f, "{key} in ({})", join(values))?,
                Condition::NotIn(values) => write!(f, "{key} notin ({})", join(values))?,
                Condition::Greater(bound) => write!(f, "{key}>{bound}")?,
                Condition::Less(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

fn join(values: &BTreeSet<String>) -> String {
    values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// Anything that is no symbol; `in` and `notin` are words too, they may be keys and values.
    Word,
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: TokenKind,
    text: &'a str,
    offset: usize,
}

fn lex(text: &str) -> Vec<Token<'_>> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let is_symbol = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let mut tokens = vec![];
    let mut offset = 0;
    while let Some(first) = text[offset..].chars().next() {
        if is_space(first) {
            offset += first.len_utf8();
            continue;
        }
        let rest = &text[offset..];
        let (kind, length) = match first {
            ',' => (TokenKind::Comma, 1),
            '(' => (TokenKind::Open, 1),
            ')' => (TokenKind::Close, 1),
            '>' => (TokenKind::Greater, 1),
            '<' => (TokenKind::Less, 1),
            '!' if rest.starts_with("!=") => (TokenKind::NotEquals, 2),
            '!' => (TokenKind::Not, 1),
            '=' if rest.starts_with("==") => (TokenKind::Equals, 2),
            '=' => (TokenKind::Equals, 1),
            _ => (TokenKind::Word, rest.find(|c| is_space(c) || is_symbol(c)).unwrap_or(rest.len())),
        };
        tokens.push(Token { kind, text: &rest[..length], offset });
        offset += length;
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.position).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn take(&mut self, kind: TokenKind) -> Option<Token<'a>> {
        let token = self.peek().filter(|token| token.kind == kind)?;
        self.position += 1;
        Some(token)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.take(TokenKind::Not).is_some();
        let Some(word) = self.take(TokenKind::Word) else {
            return Err(self.unexpected("a label key"));
        };
        check(word, validate_label_key)?;
        let key = word.text.to_owned();
        let operator = match self.peek() {
            _ if negated => {
                return Ok(Requirement { key, condition: Condition::Absent });
            }
            None | Some(Token { kind: TokenKind::Comma, .. }) => {
                return Ok(Requirement { key, condition: Condition::Exists });
            }
            Some(operator) => operator,
        };
        self.position += 1;
        let condition = match (operator.kind, operator.text) {
            (TokenKind::Equals, _) => Condition::Equals(self.value()?),
            (TokenKind::NotEquals, _) => Condition::NotEquals(self.value()?),
            (TokenKind::Greater, _) => Condition::Greater(self.integer()?),
            (TokenKind::Less, _) => Condition::Less(self.integer()?),
            (TokenKind::Word, "in") => Condition::In(self.values()?),
            (TokenKind::Word, "notin") => Condition::NotIn(self.values()?),
            _ => {
                return Err(self.unexpected_previous("`=`, `==`, `!=`, `in`, `notin`, `<` or `>` after the key"));
            }
        };
        Ok(Requirement { key, condition })
    }

    /// Reads one value; a missing one is the empty value, as in Kubernetes.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            None | Some(Token { kind: TokenKind::Comma, .. }) => Ok(String::new()),
            Some(word) if word.kind == TokenKind::Word => {
                self.position += 1;
                check(word, validate_label_value)?;
                Ok(word.text.to_owned())
            }
            Some(_) => Err(self.unexpected("a label value")),
        }
    }

    fn integer(&mut self) -> Result<i64, SelectorError> {
        let Some(word) = self.take(TokenKind::Word) else {
            return Err(self.unexpected("an integer"));
        };
        word.text.parse().map_err(|_| self.unexpected_previous("an integer"))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if self.take(TokenKind::Open).is_none() {
            return Err(self.unexpected("`(`"));
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.take(TokenKind::Word) {
                Some(word) => {
                    check(word, validate_label_value)?;
                    word.text
                }
                None => "",
            };
            values.insert(value.to_owned());
            match self.next().map(|token| token.kind) {
                Some(TokenKind::Comma) => {}
                Some(TokenKind::Close) => return Ok(values),
                _ => return Err(self.unexpected_previous("`,` or `)`")),
            }
        }
    }

    fn unexpected(&self, wanted: &str) -> SelectorError {
        self.unexpected_at(self.position, wanted)
    }

    fn unexpected_previous(&self, wanted: &str) -> SelectorError {
        self.unexpected_at(self.position - 1, wanted)
    }

    fn unexpected_at(&self, position: usize, wanted: &str) -> SelectorError {
        let (offset, length, found) = match self.tokens.get(position) {
            Some(token) => (token.offset, token.text.len(), format!("`{}`", token.text)),
            None => (self.end, 0, "the end".to_owned()),
        };
        SelectorError { offset, length, message: format!("expected {wanted}, found {found}") }
    }
}

fn check(word: Token<'_>, validate: fn(&str) -> Result<(), String>) -> Result<(), SelectorError> {
    validate(word.text).map_err(|message| SelectorError { offset: word.offset, length: word.text.len(), message })
}

/// Checks a label key: an optional DNS subdomain and `/`, then a name of up to 63 characters.
pub(crate) fn validate_label_key(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            let is_label = |label: &str| {
                let inner = label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
                inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
            };
            if prefix.len() > MAX_PREFIX || !prefix.split('.').all(is_label) {
                return Err(format!("the prefix of label key `{key}` is no DNS subdomain"));
            }
            name
        }
        None => key,
    };
    if name.is_empty() || !is_qualified(name) {
        return Err(format!(
            "label key `{key}` is not valid: its name has 1 to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit"
        ));
    }
    Ok(())
}

/// Checks a label value: empty, or up to 63 characters that begin and end with a letter or digit.
pub(crate) fn validate_label_value(value: &str) -> Result<(), String> {
    if !value.is_empty() && !is_qualified(value) {
        return Err(format!(
            "label value `{value}` is not valid: it has up to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit"
        ));
    }
    Ok(())
}

fn is_qualified(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|label| label.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// `Ok` is the canonical form; `Err` is the offset and the message.
    fn check_parse(text: &str, expect: Result<&str, (usize, &str)>) {
        let parsed = Selector::parse(text).map(|selector| selector.to_string());
        let parsed = parsed.as_deref().map_err(|error| (error.offset, error.message.as_str()));
        assert_eq!(parsed, expect, "{text:?}");
    }

    #[test]
    fn the_grammar_is_that_of_kubernetes() {
        check_parse("", Ok(""));
        check_parse("  ", Ok(""));
        check_parse("env=prod", Ok("env=prod"));
        check_parse("env == prod", Ok("env=prod"));
        check_parse("env!=prod", Ok("env!=prod"));
        check_parse("env", Ok("env"));
        check_parse("!env", Ok("!env"));
        check_parse("! env , a", Ok("!env,a"));
        check_parse("env=prod, region in (us, eu)", Ok("env=prod,region in (eu,us)"));
        check_parse("env notin (a,b),x", Ok("env notin (a,b),x"));
        check_parse("env in ()", Ok("env in ()"));
        check_parse("env in (,a)", Ok("env in (,a)"));
        check_parse("env in (a,)", Ok("env in (,a)"));
        check_parse("env=", Ok("env="));
        check_parse("env=,a=b", Ok("env=,a=b"));
        check_parse("in in (in, notin)", Ok("in in (in,notin)"));
        check_parse("notin", Ok("notin"));
        check_parse("example.com/tier=front", Ok("example.com/tier=front"));
        check_parse("zone>3,zone<9", Ok("zone>3,zone<9"));
        check_parse("env\t=\nprod", Ok("env=prod"));
    }

    #[test]
    fn what_kubernetes_refuses_is_refused_with_its_place() {
        check_parse(",", Err((0, "expected a label key, found `,`")));
        check_parse("a,", Err((2, "expected a label key after `,`, found the end")));
        check_parse("a,,b", Err((2, "expected a label key after `,`, found `,`")));
        check_parse("a b", Err((2, "expected `=`, `==`, `!=`, `in`, `notin`, `<` or `>` after the key, found `b`")));
        check_parse("a=b c", Err((4, "expected `,` or the end, found `c`")));
        check_parse("!a=b", Err((2, "expected `,` or the end, found `=`")));
        check_parse("a in b", Err((5, "expected `(`, found `b`")));
        check_parse("a in (b", Err((7, "expected `,` or `)`, found the end")));
        check_parse("a in (b c)", Err((8, "expected `,` or `)`, found `c`")));
        check_parse("a=!b", Err((2, "expected a label value, found `!`")));
        check_parse("a(b", Err((1, "expected `=`, `==`, `!=`, `in`, `notin`, `<` or `>` after the key, found `(`")));
        check_parse("a==(", Err((3, "expected a label value, found `(`")));
        check_parse("!", Err((1, "expected a label key, found the end")));
        check_parse("a>x", Err((2, "expected an integer, found `x`")));
        check_parse(
            "a/b/c",
            Err((
                0,
                "label key `a/b/c` is not valid: its name has 1 to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit",
            )),
        );
        check_parse("A/b", Err((0, "the prefix of label key `A/b` is no DNS subdomain")));
        check_parse(
            "ok,a=-b",
            Err((
                5,
                "label value `-b` is not valid: it has up to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit",
            )),
        );
        assert!(Selector::parse(&format!("a={}", "x".repeat(64))).is_err());
        assert!(Selector::parse(&format!("a={}", "x".repeat(63))).is_ok());
    }

    #[test]
    fn an_absent_key_meets_only_negative_requirements() {
        let check_match = |selector: &str, set: &str, expect: bool| {
            let selector = Selector::parse(selector).unwrap();
            assert_eq!(selector.matches(&labels(set)), expect, "{selector} on {set:?}");
        };
        check_match("", "", true);
        check_match("", "env=prod", true);
        check_match("env=prod", "env=prod", true);
        check_match("env=prod", "env=dev", false);
        check_match("env=prod", "", false);
        check_match("env!=prod", "", true);
        check_match("env!=prod", "env=prod", false);
        check_match("env notin (prod)", "", true);
        check_match("env notin (prod)", "env=prod", false);
        check_match("env in (prod,dev)", "env=dev", true);
        check_match("env in (prod,dev)", "", false);
        check_match("env", "env=", true);
        check_match("env", "", false);
        check_match("!env", "", true);
        check_match("!env", "env=", false);
        check_match("env=", "env=", true);
        check_match("env=", "", false);
        check_match("n>3", "n=4", true);
        check_match("n>3", "n=3", false);
        check_match("n<3", "n=x", false);
        check_match("n<3", "", false);
        check_match("env=prod,region in (eu)", "env=prod region=eu", true);
        check_match("env=prod,region in (eu)", "env=prod region=us", false);
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_stable(text in "[!(),=<> a-c/.in0-9-]{0,24}") {
            if let Ok(selector) = Selector::parse(&text) {
                let canonical = selector.to_string();
                let again = Selector::parse(&canonical).unwrap();
                prop_assert_eq!(&again, &selector);
                prop_assert_eq!(again.to_string(), canonical);
            }
        }

        #[test]
        fn parsing_never_panics_and_points_into_the_text(text in "\\PC{0,40}") {
            if let Err(error) = Selector::parse(&text) {
                prop_assert!(text.is_char_boundary(error.offset));
                prop_assert!(text.get(error.offset..error.offset + error.length).is_some());
            }
        }
    }
}
