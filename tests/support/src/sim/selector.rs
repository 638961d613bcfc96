//! Label selectors, with the grammar of Kubernetes.
//!
//! Pure.

use serde_json::Value;

use super::failure::Failure;

/// A conjunction of requirements on labels.
#[derive(Debug, Default)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Parses `a=b,c in (d,e),!f`; the empty text selects everything.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Requirement::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns whether `object`'s labels satisfy all requirements.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| requirement.matches(labels[&requirement.key].as_str()))
    }
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, Failure> {
        let requirement = |key: &str, operator| {
            let key = key.trim();
            if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "=!(),".contains(c)) {
                return Err(Failure::bad_request(format!("unable to parse requirement: `{text}`")));
            }
            Ok(Self { key: key.to_owned(), operator })
        };
        if let Some(key) = text.strip_prefix('!') {
            return requirement(key, Operator::DoesNotExist);
        }
        if let Some((key, value)) = text.split_once("!=") {
            return requirement(key, Operator::NotIn(vec![value.trim().to_owned()]));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return requirement(key, Operator::In(vec![value.trim().to_owned()]));
        }
        let Some((head, values)) = text.split_once('(') else {
            return requirement(text, Operator::Exists);
        };
        let values = values.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim();
        if let Some(key) = head.strip_suffix(" notin") {
            requirement(key, Operator::NotIn(values))
        } else if let Some(key) = head.strip_suffix(" in") {
            requirement(key, Operator::In(values))
        } else {
            Err(Failure::bad_request(format!("unable to parse requirement: `{text}`")))
        }
    }

    fn matches(&self, label: Option<&str>) -> bool {
        match &self.operator {
            Operator::In(values) => label.is_some_and(|label| values.iter().any(|v| v == label)),
            Operator::NotIn(values) => label.is_none_or(|label| values.iter().all(|v| v != label)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_follow_the_grammar_of_kubernetes() {
        let object = json!({ "metadata": { "labels": { "env": "prod", "region": "eu" } } });
        for (selector, expected) in [
            ("", true),
            ("env=prod", true),
            ("env==prod,region=eu", true),
            ("env=prod,region=us", false),
            ("env!=prod", false),
            ("tier!=gold", true),
            ("env in (prod, test),region", true),
            ("env notin (prod,test)", false),
            ("tier notin (gold)", true),
            ("tier", false),
            ("!tier", true),
            ("!env", false),
        ] {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&object), expected, "{selector}");
        }
        assert!(Selector::parse("a b").is_err());
        assert!(Selector::parse("=b").is_err());
    }
}
