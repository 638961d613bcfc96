//! Access in words: ``delete pods in namespace `apps` ``.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::{Access, Risk, RiskClass};
use crate::names::ProfileName;
use crate::object::RoleRef;
use crate::rbac::RightGroup;
use crate::wording::list;

/// Namespaces that are named; the rest is counted.
const NAMESPACES: usize = 5;

/// Says what steps of one class do to a profile's access: ``profile `deployer` may now delete pods``. Of gains and of
/// losses at most `most` things are named.
pub(crate) fn sentence(class: RiskClass, profile: Option<&ProfileName>, risks: &[&Risk], most: usize) -> String {
    let gains = in_words(risks.iter().flat_map(|risk| &risk.gains), most);
    let losses = in_words(risks.iter().flat_map(|risk| &risk.losses), most);
    let who = profile.map_or_else(|| "what no profile has".to_owned(), |profile| format!("profile `{profile}`"));
    let may = if class == RiskClass::Creates { "may" } else { "may now" };
    match (gains.is_empty(), losses.is_empty()) {
        (false, true) => format!("{who} {may} {gains}"),
        (false, false) => format!("{who} {may} {gains}, and no longer {losses}"),
        (true, _) => format!("{who} may no longer {losses}"),
    }
}

/// Says what may be done, at most `most` things of it; the rest is counted. What is the same in several namespaces, or
/// said twice, is said once.
fn in_words<'a>(accesses: impl IntoIterator<Item = &'a Access>, most: usize) -> String {
    let mut named = things(accesses);
    let more = named.len().saturating_sub(most);
    named.truncate(most);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}

fn things<'a>(accesses: impl IntoIterator<Item = &'a Access>) -> Vec<String> {
    type What<'a> = (Option<&'a str>, Option<&'a RoleRef>, Option<&'a RightGroup>);
    type Where<'a> = (Option<&'a str>, BTreeSet<Option<&'a str>>);
    let mut scopes: BTreeMap<What<'a>, BTreeSet<Option<&str>>> = BTreeMap::new();
    for access in accesses {
        let (subject, role) = (access.subject.as_deref(), access.role.as_ref());
        let namespace = access.namespace.as_deref();
        if access.rights.is_empty() {
            scopes.entry((subject, role, None)).or_default().insert(namespace);
        }
        for group in &access.rights {
            scopes.entry((subject, role, Some(group))).or_default().insert(namespace);
        }
    }
    // The same verbs on several resources are said together.
    let mut phrases: Vec<(Where<'_>, String, Vec<String>)> = vec![];
    for ((subject, role, group), namespaces) in scopes {
        let (verbs, target) = match (role, group) {
            (Some(role), _) => ("do what is in".to_owned(), role.to_string()),
            (None, Some(group)) => (group.verbs.join(", "), group.target()),
            (None, None) => ("do anything".to_owned(), String::new()),
        };
        let place = (subject, namespaces);
        match phrases.iter_mut().find(|(known, of, _)| *known == place && *of == verbs) {
            Some((_, _, targets)) => targets.push(target),
            None => phrases.push((place, verbs, vec![target])),
        }
    }
    phrases
        .into_iter()
        .map(|((subject, namespaces), verbs, targets)| phrase(subject, &namespaces, &verbs, &targets))
        .collect()
}

fn phrase(subject: Option<&str>, namespaces: &BTreeSet<Option<&str>>, verbs: &str, targets: &[String]) -> String {
    let mut text = format!("{verbs} {}", targets.join(", ")).trim_end().to_owned();
    let named: Vec<&str> = namespaces.iter().copied().flatten().collect();
    if !named.is_empty() {
        let noun = if named.len() == 1 { "namespace" } else { "namespaces" };
        text.push_str(&format!(" in {noun} {}", list(named.iter().copied(), NAMESPACES)));
        if namespaces.contains(&None) {
            text.push_str(" and in the whole cluster");
        }
    }
    if let Some(subject) = subject {
        text.push_str(&format!(" (as {subject})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    fn group(verbs: &[&str], resource: &str) -> RightGroup {
        RightGroup {
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            api_group: Some(String::new()),
            resource: Some(resource.to_owned()),
            resource_name: None,
            url: None,
        }
    }

    #[test]
    fn what_is_the_same_is_said_once() {
        let access = |namespace: Option<&str>, rights: Vec<RightGroup>| Access {
            namespace: namespace.map(str::to_owned),
            role: None,
            subject: None,
            rights,
        };
        let view = RoleRef { kind: Kind::ClusterRole, name: "view".to_owned() };
        let accesses = [
            access(Some("apps"), vec![group(&["delete"], "pods")]),
            access(Some("jobs"), vec![group(&["delete"], "pods")]),
            access(Some("jobs"), vec![group(&["delete"], "pods")]),
            access(None, vec![group(&["get", "list"], "pods"), group(&["get", "list"], "services")]),
            Access { role: Some(view), ..access(None, vec![]) },
            Access::all_of("ServiceAccount kubemint/old".to_owned()),
        ];
        assert_eq!(
            in_words(&accesses, 9),
            "delete pods in namespaces `apps`, `jobs`; get, list pods, services; do what is in ClusterRole `view`; do \
             anything (as ServiceAccount kubemint/old)"
        );
        assert_eq!(in_words(&accesses, 1), "delete pods in namespaces `apps`, `jobs`; and 3 more");
    }
}
