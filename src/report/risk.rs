//! What a run does to the access of profiles, over the whole fleet.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::Changes;
use super::group::{Group, grouped};
use crate::names::{ClusterName, ProfileName};
use crate::plan::MissingRights;
use crate::rbac::Escalating;
use crate::risk::{Risk, RiskClass, sentence};

/// What steps of one class do to one profile, and in which clusters it is the same.
#[derive(Debug)]
pub(super) struct RiskLine<'a> {
    /// The class.
    pub(super) class: RiskClass,
    /// Who may do what, in words.
    pub(super) what: String,
    /// The classes of escalating rights, in words, if there are any.
    pub(super) escalating: Option<String>,
    /// The clusters.
    pub(super) clusters: Vec<&'a ClusterName>,
}

/// Returns what the changes do to the access of profiles, what is escalating first. At most `most` rights of each are
/// named.
pub(super) fn risk_lines<'a>(changes: &'a Changes, most: usize) -> Vec<RiskLine<'a>> {
    /// Whether nothing is escalating, the class, what is done, and what of it is escalating.
    type Said = (bool, RiskClass, String, BTreeSet<Escalating>);
    let said = changes.clusters.iter().flat_map(|cluster| {
        // A role and its binding are two steps that say the same, so they are put together.
        let mut steps: BTreeMap<(RiskClass, Option<&ProfileName>), Vec<&Risk>> = BTreeMap::new();
        for risk in cluster.changes.iter().filter_map(|change| change.risk.as_deref()) {
            steps.entry((risk.class, risk.profile.as_ref())).or_default().push(risk);
        }
        let line = move |((class, profile), risks): ((RiskClass, Option<&ProfileName>), Vec<&Risk>)| {
            let escalating: BTreeSet<Escalating> = risks.iter().flat_map(|risk| &risk.escalating).copied().collect();
            (&cluster.name, (escalating.is_empty(), class, sentence(class, profile, &risks, most), escalating))
        };
        steps.into_iter().map(line)
    });
    let mut groups = grouped(said);
    groups.sort_by(|one, other| one.said.cmp(&other.said));
    let line = |group: Group<'a, Said>| {
        let (_, class, what, escalating) = group.said;
        let names: Vec<&str> = escalating.into_iter().map(Escalating::as_str).collect();
        let escalating = (!names.is_empty()).then(|| names.join(", "));
        RiskLine { class, what, escalating, clusters: group.clusters }
    };
    groups.into_iter().map(line).collect()
}

/// Returns which rights the admins of clusters lack, what most clusters lack first.
pub(super) fn missing_rights(changes: &Changes) -> Vec<Group<'_, &MissingRights>> {
    let missing =
        changes.clusters.iter().flat_map(|cluster| cluster.missing_rights.iter().map(|it| (&cluster.name, it)));
    let mut groups = grouped(missing);
    groups.sort_by_key(|group| std::cmp::Reverse(group.clusters.len()));
    groups
}
