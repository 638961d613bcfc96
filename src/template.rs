//! Templates of paths and names: `out/{cluster}/{profile}.kubeconfig`.
//!
//! `{{` and `}}` are literal braces. Pure: no I/O, no clock.

use std::fmt;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it is.
    Text(String),
    /// The name of a variable.
    Variable(String),
}

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// The byte offset of the offending part.
    pub(crate) offset: usize,
    /// Its length in bytes.
    pub(crate) length: usize,
    /// What is wrong.
    pub(crate) kind: TemplateErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateErrorKind {
    /// A variable of an unknown name.
    UnknownVariable(String),
    /// A brace without its counterpart.
    LoneBrace(char),
}

impl Template {
    /// Parses a template that may have some variables.
    pub(crate) fn parse(text: &str, variables: &[&str]) -> Result<Self, TemplateError> {
        Self::parse_with(text, |name| variables.contains(&name))
    }

    /// Parses a template that may have the variables that a function knows.
    pub(crate) fn parse_with(text: &str, is_known: impl Fn(&str) -> bool) -> Result<Self, TemplateError> {
        let mut parts = vec![];
        let mut literal = String::new();
        let mut offset = 0;
        while let Some(brace) = text[offset..].find(['{', '}']) {
            literal.push_str(&text[offset..offset + brace]);
            offset += brace;
            let rest = &text[offset..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                offset += 2;
                continue;
            }
            let end = rest.find('}').filter(|_| rest.starts_with('{'));
            let Some(end) = end else {
                let kind = TemplateErrorKind::LoneBrace(if rest.starts_with('{') { '{' } else { '}' });
                return Err(TemplateError { offset, length: 1, kind });
            };
            let name = &rest[1..end];
            if !is_known(name) {
                let kind = TemplateErrorKind::UnknownVariable(name.to_owned());
                return Err(TemplateError { offset, length: end + 1, kind });
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.to_owned()));
            offset += end + 1;
        }
        literal.push_str(&text[offset..]);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// Puts the values of the variables in.
    pub(crate) fn expand<'v>(&self, value: impl Fn(&str) -> &'v str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Variable(name) => value(name),
            });
        }
        text
    }

    /// Returns its parts, in their order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns a glob pattern of what it can expand to.
    pub(crate) fn pattern(&self) -> String {
        let mut pattern = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => pattern.push_str(&glob::Pattern::escape(text)),
                // Two stars in a row mean something else. A star of a text is escaped.
                Part::Variable(_) if pattern.ends_with('*') => {}
                Part::Variable(_) => pattern.push('*'),
            }
        }
        pattern
    }
}

impl fmt::Display for TemplateErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable(name) => write!(f, "unknown variable `{{{name}}}`"),
            Self::LoneBrace(brace) => write!(f, "`{brace}` has no counterpart"),
        }
    }
}

/// Returns a template that expands to the text itself.
pub(crate) fn escape(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_and_doubled_braces_are_braces() {
        let check = |text: &str, expect: Result<&str, (usize, usize)>| {
            let parsed = Template::parse(text, &["cluster", "profile"]);
            let expanded = parsed.map(|template| template.expand(|name| if name == "cluster" { "c" } else { "p" }));
            let expanded = expanded.as_deref().map_err(|error| (error.offset, error.length));
            assert_eq!(expanded, expect, "{text}");
        };
        check("", Ok(""));
        check("out/{cluster}/{profile}.x", Ok("out/c/p.x"));
        check("{{cluster}}", Ok("{cluster}"));
        check("a{{{cluster}}}b", Ok("a{c}b"));
        check("ä{clustr}", Err((2, 8)));
        check("{}", Err((0, 2)));
        check("a{cluster", Err((1, 1)));
        check("a}", Err((1, 1)));
        check(&escape("{x}"), Ok("{x}"));
    }

    #[test]
    fn a_pattern_matches_what_a_template_can_give() {
        for (text, expected) in [
            ("out/{cluster}/{profile}.x", "out/*/*.x"),
            ("out/{cluster}{profile}.x", "out/*.x"),
            ("a*[b]/{cluster}", "a[*][[]b[]]/*"),
        ] {
            let pattern = Template::parse(text, &["cluster", "profile"]).unwrap().pattern();
            assert_eq!(pattern, expected);
            glob::Pattern::new(&pattern).unwrap();
        }
    }
}
