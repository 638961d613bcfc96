//! Compares the API server's own list of rules with the bindings.
//!
//! They may differ, because other authorizers, such as a webhook, allow and deny without any binding. Pure: no I/O, no
//! clock.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::Granted;
use super::{AccessNote, AccessNoteKind};
use crate::rbac::{Right, Rule, Scope, summarise};

/// The result of a SelfSubjectRulesReview in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RulesReview {
    /// The rules, including those for the whole cluster.
    pub rules: Vec<Rule>,
    /// Whether an authorizer could not list its rules.
    pub incomplete: bool,
    /// Why.
    pub cause: Option<String>,
}

/// How many rights a note lists; the rest is only counted.
const LISTED: usize = 6;

/// Lists rights in a sentence.
pub(super) fn listed(rights: &BTreeSet<Right>) -> String {
    let groups = summarise(rights);
    let mut shown: Vec<String> = groups.iter().take(LISTED).map(ToString::to_string).collect();
    if groups.len() > LISTED {
        shown.push(format!("and on {} more", groups.len() - LISTED));
    }
    shown.join("; ")
}

fn namespaces(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("namespace{} {}{more}", if names.len() == 1 { "" } else { "s" }, shown.join(", "))
}

/// Returns notes about differences between the server's list and the bindings.
///
/// `known` are the rules that are expected even if the bindings cannot be read.
pub(super) fn crosscheck(
    granted: Option<&[Granted<'_>]>,
    known: &dyn Fn(&Scope, &Right) -> bool,
    reviews: &BTreeMap<String, RulesReview>,
) -> Vec<AccessNote> {
    let mut incomplete: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut more: BTreeMap<BTreeSet<Right>, Vec<&str>> = BTreeMap::new();
    let mut fewer: BTreeMap<BTreeSet<Right>, Vec<&str>> = BTreeMap::new();
    let is_readable = granted.is_some_and(|granted| granted.iter().all(|granted| granted.rules.is_some()));
    for (namespace, review) in reviews {
        let scope = Scope::Namespace(namespace.clone());
        if review.incomplete {
            incomplete.entry(review.cause.as_deref().unwrap_or_default()).or_default().push(namespace);
        }
        // Unlike the authorizer, the review also lists URLs from roles that are bound in the namespace.
        let here = || granted.into_iter().flatten().filter(|granted| granted.scope.reaches(&scope));
        let local = || here().filter_map(|granted| granted.rules).flatten();
        let mut surplus = Right::all_of(&review.rules);
        surplus.retain(|right| !local().any(|rule| rule.allows(right)) && (is_readable || !known(&scope, right)));
        if !surplus.is_empty() {
            more.entry(surplus).or_default().push(namespace);
        }
        if !review.incomplete {
            let mut lacking = Right::all_of(local());
            lacking.retain(|right| !review.rules.iter().any(|rule| rule.allows(right)));
            if !lacking.is_empty() {
                fewer.entry(lacking).or_default().push(namespace);
            }
        }
    }
    let mut notes = vec![];
    for (cause, names) in incomplete {
        let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
        let message = format!(
            "the API server's list of rules is incomplete in {}{cause}: whether another authorizer allows more is unknown",
            namespaces(&names)
        );
        notes.push(AccessNote::new(AccessNoteKind::Incomplete, message));
    }
    for (rights, names) in more {
        let origin = if is_readable { "no role or binding grants" } else { "the profile does not ask for" };
        let message = format!("the API server allows what {origin}, in {}: {}", namespaces(&names), listed(&rights));
        notes.push(AccessNote::new(AccessNoteKind::GrantedElsewhere, message));
    }
    for (rights, names) in fewer {
        let message = format!(
            "the API server does not list what roles and bindings grant, in {}: {}",
            namespaces(&names),
            listed(&rights)
        );
        notes.push(AccessNote::new(AccessNoteKind::Disagreement, message));
    }
    notes
}
