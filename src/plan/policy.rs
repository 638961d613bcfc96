//! What the policy refuses on one cluster: what only the time or the cluster tells.
//!
//! Pure: no I/O, `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Blocker, BlockerKind, ClusterPlan, Extent, Note, NoteKind, PlanInput};
use crate::inventory::policy::{Exception, Lifted, Policy, PolicyRule};
use crate::inventory::{Grant, Intended, IntendedSource, intended};
use crate::names::{ClusterName, ProfileName};
use crate::object::{ObjectRef, RoleRef};
use crate::rbac::{Escalating, RightGroup, Rule};

/// Rights that a message names; the rest is counted.
const NAMED: usize = 5;

/// What is known about an existing role after it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleRead {
    /// It has these rules.
    Rules(Vec<Rule>),
    /// It does not exist.
    Absent,
    /// The admin may not read it.
    Unreadable,
}

/// Adds what the selected profiles have only by exceptions that have ended. A run that changes credentials only has a
/// note instead: it gives nobody more access, and must not let what works expire.
pub(super) fn judge(input: &PlanInput<'_>, plan: &mut ClusterPlan) {
    let policy = &input.inventory.policy;
    let selected: BTreeSet<&ProfileName> = input.grants.iter().map(|grant| &grant.grant.profile.name).collect();
    for waived in policy.waived.iter().filter(|waived| selected.contains(&waived.profile)) {
        let ended = match policy.lifted(waived.rule, &waived.profile, input.cluster, input.now) {
            Lifted::Yes => continue,
            Lifted::Ended(exception) => ended(exception),
            Lifted::No => String::new(),
        };
        let message = format!("{}{ended}", waived.message);
        match plan.extent {
            Extent::Access => plan.blockers.push(refusal(message, waived.rule, &waived.profile)),
            Extent::Credentials => plan.notes.push(Note::new(NoteKind::Policy, message)),
        }
    }
}

/// Returns the existing roles that the policy has to judge, whether they are bound already or not; none for a run that
/// changes credentials only.
pub(crate) fn judged_roles(plan: &ClusterPlan, policy: &Policy, grants: &[Arc<Grant>]) -> BTreeSet<ObjectRef> {
    if policy.denied.is_empty() || plan.extent == Extent::Credentials {
        return BTreeSet::new();
    }
    grants.iter().flat_map(|grant| bound(grant)).map(|(_, _, address)| address).collect()
}

/// Returns the existing roles that a grant binds, with their addresses.
fn bound(grant: &Grant) -> Vec<(ProfileName, RoleRef, ObjectRef)> {
    let roles = intended(&grant.profile).into_iter().filter_map(|Intended { scope, source }| match source {
        // What `cluster-admin` allows is known without asking, so the inventory itself was refused or excepted.
        IntendedSource::Role(role) if !role.is_everything() => {
            let address = role.object(scope.namespace());
            Some((grant.profile.name.clone(), role, address))
        }
        IntendedSource::Role(_) | IntendedSource::Profile(_) => None,
    });
    roles.collect()
}

/// Adds what the policy refuses of the existing roles that grants bind, now that they were read, and which of their rights
/// are escalating.
pub(crate) fn judge_roles(
    plan: &mut ClusterPlan,
    roles: &BTreeMap<ObjectRef, RoleRead>,
    policy: &Policy,
    grants: &[Arc<Grant>],
    (cluster, now): (&ClusterName, Timestamp),
) {
    super::risk::add_rules_of_roles(plan, roles);
    let mut blockers = BTreeSet::new();
    let mut notes = BTreeSet::new();
    for (profile, role, address) in grants.iter().flat_map(|grant| bound(grant)) {
        match roles.get(&address).filter(|_| !policy.denied.is_empty()) {
            Some(RoleRead::Rules(rules)) => {
                for class in policy.denied.iter().copied() {
                    blockers.extend(of_role(policy, class, (&profile, &role, rules), cluster, now));
                }
            }
            Some(RoleRead::Unreadable) => {
                let message = format!("the admin may not read {role}: whether the policy refuses it is not known");
                notes.insert(Note::new(NoteKind::NotChecked, message));
            }
            Some(RoleRead::Absent) | None => {}
        }
    }
    plan.blockers.extend(blockers);
    plan.notes.extend(notes);
    for blocker in plan.blockers.iter_mut().filter(|blocker| blocker.kind == BlockerKind::MissingRole) {
        let Some(profile) = &blocker.profile else { continue };
        if let Lifted::Ended(exception) = policy.lifted(PolicyRule::DanglingRoles, profile, cluster, now) {
            blocker.message.push_str(&ended(exception));
        }
    }
}

fn of_role(
    policy: &Policy,
    class: Escalating,
    (profile, role, rules): (&ProfileName, &RoleRef, &[Rule]),
    cluster: &ClusterName,
    now: Timestamp,
) -> Option<Blocker> {
    let what: Vec<String> = match class {
        Escalating::Wildcard => rules.iter().filter_map(Rule::wildcard).collect(),
        _ => {
            let groups: BTreeSet<RightGroup> = rules.iter().flat_map(|rule| class.among(rule)).collect();
            groups.iter().map(ToString::to_string).collect()
        }
    };
    let rule = PolicyRule::Deny(class);
    let ended = match policy.lifted(rule, profile, cluster, now) {
        _ if what.is_empty() => return None,
        Lifted::Yes => return None,
        Lifted::Ended(exception) => ended(exception),
        Lifted::No => String::new(),
    };
    let more = what.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let what = what.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
    let place = policy.bound_at.get(&(profile.clone(), role.clone()));
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    let message = format!(
        "the policy's `{rule}` refuses {role}, which profile `{profile}` binds{place}: it allows {what}{more}{ended}"
    );
    Some(refusal(message, rule, profile))
}

fn ended(exception: &Exception) -> String {
    format!("; the exception from it (\"{}\") ended at {}", exception.reason, exception.until)
}

fn refusal(message: String, rule: PolicyRule, profile: &ProfileName) -> Blocker {
    Blocker {
        kind: BlockerKind::Policy,
        profile: Some(profile.clone()),
        message,
        hint: Some(format!("leave it out, or name `{rule}` in `[[policy.exceptions]]` of profile `{profile}`")),
    }
}
