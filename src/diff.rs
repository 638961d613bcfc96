//! Field-level differences between an object as it is and as it should be.
//!
//! RBAC rules are compared by what they allow, as the API server's escalation check does
//! (`pkg/registry/rbac/validation/policy_compact.go` and `k8s.io/component-helpers/auth/rbac/validation`,
//! `Covers`): order, splitting and duplicates do not count. Pure: no I/O, no clock.

use std::collections::BTreeSet;

use crate::desired::{Content, DesiredObject};
use crate::field_diff::FieldDiff;
use crate::observed::ObservedObject;
use crate::rbac::{Right, Rule, summarise, uncovered};

/// Returns the fields of ours that differ; empty if the object is right.
///
/// Only fields that kubemint owns are compared: other labels, annotations and fields are not ours.
pub(crate) fn diff_object(desired: &DesiredObject, observed: &ObservedObject) -> Vec<FieldDiff> {
    let mut diffs: Vec<FieldDiff> = desired
        .labels()
        .into_iter()
        .filter(|(key, value)| observed.labels.get(*key).map(String::as_str) != Some(value))
        .map(|(key, value)| FieldDiff {
            field: format!("metadata.labels.{key}"),
            removed: observed.labels.get(key).cloned().into_iter().collect(),
            added: vec![value.to_owned()],
        })
        .collect();
    match &desired.content {
        Content::Empty => {}
        Content::Rules(rules) => diffs.extend(diff_rules(&observed.rules, rules)),
        Content::Binding { subject, .. } => {
            let wanted = BTreeSet::from([subject]);
            let actual: BTreeSet<_> = observed.subjects.iter().collect();
            if wanted != actual {
                diffs.push(FieldDiff {
                    field: "subjects".to_owned(),
                    removed: actual.difference(&wanted).map(ToString::to_string).collect(),
                    added: wanted.difference(&actual).map(ToString::to_string).collect(),
                });
            }
        }
    }
    diffs
}

/// Returns the difference of two rule lists by what they allow, or nothing if they allow the same.
pub(crate) fn diff_rules(observed: &[Rule], desired: &[Rule]) -> Option<FieldDiff> {
    let removed = uncovered(observed, desired);
    let added = uncovered(desired, observed);
    (!removed.is_empty() || !added.is_empty()).then(|| FieldDiff {
        field: "rules".to_owned(),
        removed: lines(&removed),
        added: lines(&added),
    })
}

/// Returns what rules allow, as the lines of a diff.
pub(crate) fn describe_rules(rules: &[Rule]) -> Vec<String> {
    lines(&rules.iter().flat_map(Rule::rights).collect())
}

fn lines(rights: &BTreeSet<Right<&str>>) -> Vec<String> {
    summarise(rights).iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect();
        Rule {
            api_groups: owned(groups),
            resources: owned(resources),
            verbs: owned(verbs),
            resource_names: owned(names),
            non_resource_urls: vec![],
        }
    }

    fn check(observed: &[Rule], desired: &[Rule], expected: Option<(&[&str], &[&str])>) {
        let diff = diff_rules(observed, desired);
        let actual = diff.map(|diff| (diff.removed, diff.added));
        let expected = expected.map(|(removed, added)| {
            let owned = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
            (owned(removed), owned(added))
        });
        assert_eq!(actual, expected);
    }

    #[test]
    fn order_splitting_and_duplicates_do_not_count() {
        let joined = rule(&[""], &["pods", "services"], &["get", "list"], &[]);
        let split = [
            rule(&[""], &["services"], &["list", "get", "get"], &[]),
            rule(&[""], &["pods"], &["list"], &[]),
            rule(&[""], &["pods"], &["get"], &[]),
        ];
        check(&split, &[joined], None);
    }

    #[test]
    fn wildcards_cover_what_they_contain() {
        let all = rule(&["*"], &["*"], &["*"], &[]);
        check(&[all.clone(), rule(&[""], &["pods"], &["get"], &[])], &[all], None);
        let any_scale = rule(&["apps"], &["*/scale"], &["get"], &[]);
        check(&[any_scale.clone(), rule(&["apps"], &["deployments/scale"], &["get"], &[])], &[any_scale], None);
    }

    #[test]
    fn what_differs_is_named() {
        check(
            &[rule(&[""], &["secrets"], &["get"], &["a"])],
            &[rule(&["apps"], &["deployments"], &["get", "list"], &[])],
            Some((&["get on secrets named \"a\""], &["get, list on deployments.apps"])),
        );
        // A rule that is limited to names does not cover one that is not.
        check(
            &[rule(&[""], &["pods"], &["get"], &["a"])],
            &[rule(&[""], &["pods"], &["get"], &[])],
            Some((&[], &["get on pods"])),
        );
    }
}
