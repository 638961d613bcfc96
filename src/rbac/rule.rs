//! One RBAC rule, and what it allows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Right;

/// One RBAC rule, with the field names of `rbac.authorization.k8s.io/v1 PolicyRule`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Rule {
    /// The API groups; `""` is the core group.
    pub api_groups: Vec<String>,
    /// The resources, subresources as `resource/subresource`.
    pub resources: Vec<String>,
    /// The verbs.
    pub verbs: Vec<String>,
    /// The object names; empty means all.
    pub resource_names: Vec<String>,
    /// The URLs that are no resources; only in cluster-wide rules.
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Returns the single rights of the rule.
    pub(crate) fn rights(&self) -> impl Iterator<Item = Right<&str>> {
        let names: Vec<Option<&str>> = match self.resource_names.as_slice() {
            [] => vec![None],
            names => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        let resources = self.verbs.iter().flat_map(move |verb| {
            let names = names.clone();
            self.api_groups.iter().flat_map(move |group| {
                let names = names.clone();
                self.resources.iter().flat_map(move |resource| {
                    names.clone().into_iter().map(move |name| Right::<&str>::Resource { group, resource, name, verb })
                })
            })
        });
        let urls = self
            .verbs
            .iter()
            .flat_map(|verb| self.non_resource_urls.iter().map(move |url| Right::<&str>::Url { url, verb }));
        resources.chain(urls)
    }

    /// Returns the rule that allows one right.
    pub(crate) fn of_right(right: &Right<&str>) -> Self {
        let one = |text: &str| vec![text.to_owned()];
        match *right {
            Right::Resource { group, resource, name, verb } => Self {
                api_groups: one(group),
                resources: one(resource),
                verbs: one(verb),
                resource_names: name.map(one).unwrap_or_default(),
                non_resource_urls: vec![],
            },
            Right::Url { url, verb } => Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() },
        }
    }

    /// Returns whether the rule allows a right, as the API server's escalation check decides it
    /// (`k8s.io/component-helpers/auth/rbac/validation`, `Covers`).
    pub(crate) fn allows<S: AsRef<str>>(&self, right: &Right<S>) -> bool {
        let verb_matches = |verb: &S| has(&self.verbs, "*") || has(&self.verbs, verb.as_ref());
        match right {
            Right::Resource { group, resource, name, verb } => {
                let resource = resource.as_ref();
                let resource_matches = has(&self.resources, "*")
                    || has(&self.resources, resource)
                    || resource.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")));
                let name_matches = match name {
                    None => self.resource_names.is_empty(),
                    Some(name) => self.resource_names.is_empty() || has(&self.resource_names, name.as_ref()),
                };
                verb_matches(verb)
                    && (has(&self.api_groups, "*") || has(&self.api_groups, group.as_ref()))
                    && resource_matches
                    && name_matches
            }
            Right::Url { url, verb } => {
                let url = url.as_ref();
                let url_matches = |pattern: &String| {
                    pattern == "*"
                        || pattern == url
                        || (pattern.ends_with('*') && url.starts_with(pattern.trim_end_matches('*')))
                };
                verb_matches(verb) && self.non_resource_urls.iter().any(url_matches)
            }
        }
    }
}

/// Returns what `rules` allow and `by` does not.
pub(crate) fn uncovered<'a>(rules: &'a [Rule], by: &[Rule]) -> BTreeSet<Right<&'a str>> {
    rules.iter().flat_map(Rule::rights).filter(|right| !by.iter().any(|rule| rule.allows(right))).collect()
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry == value)
}
