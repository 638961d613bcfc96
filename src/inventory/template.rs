//! Templates of paths and names: `out/{cluster}/{profile}.kubeconfig`.
//!
//! `{{` and `}}` are literal braces. Pure: no I/O, no clock.

use std::fmt::Write;

/// What a variable stands for, for one grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) inventory: &'a str,
    pub(crate) holder: &'a str,
}

/// The variables by name.
pub(super) const VARIABLES: [&str; 4] = ["cluster", "profile", "inventory", "holder"];

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Cluster,
    Profile,
    Inventory,
    Holder,
}

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// The byte offset of the offending part.
    pub(super) offset: usize,
    /// Its length in bytes.
    pub(super) length: usize,
    /// What is wrong.
    pub(super) kind: TemplateErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplateErrorKind {
    /// A variable of an unknown name.
    UnknownVariable(String),
    /// A brace without its counterpart.
    LoneBrace(char),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
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
            let part = match &rest[1..end] {
                "cluster" => Part::Cluster,
                "profile" => Part::Profile,
                "inventory" => Part::Inventory,
                "holder" => Part::Holder,
                name => {
                    let kind = TemplateErrorKind::UnknownVariable(name.to_owned());
                    return Err(TemplateError { offset, length: end + 1, kind });
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(part);
            offset += end + 1;
        }
        literal.push_str(&text[offset..]);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    pub(crate) fn expand(&self, values: Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let _ = text.write_str(match part {
                Part::Text(text) => text,
                Part::Cluster => values.cluster,
                Part::Profile => values.profile,
                Part::Inventory => values.inventory,
                Part::Holder => values.holder,
            });
        }
        text
    }
}

/// Returns a template that expands to the text itself.
pub(super) fn escape(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_and_doubled_braces_are_braces() {
        let check = |text: &str, expect: Result<&str, (usize, usize)>| {
            let values = Values { cluster: "c", profile: "p", inventory: "i", holder: "h" };
            let expanded = Template::parse(text).map(|template| template.expand(values));
            let expanded = expanded.as_deref().map_err(|error| (error.offset, error.length));
            assert_eq!(expanded, expect, "{text}");
        };
        check("", Ok(""));
        check("out/{cluster}/{profile}.{inventory}-{holder}", Ok("out/c/p.i-h"));
        check("{{cluster}}", Ok("{cluster}"));
        check("a{{{cluster}}}b", Ok("a{c}b"));
        check("ä{clustr}", Err((2, 8)));
        check("{}", Err((0, 2)));
        check("a{cluster", Err((1, 1)));
        check("a}", Err((1, 1)));
        check(&escape("{x}"), Ok("{x}"));
    }
}
