//! Planning namespaces, ServiceAccounts and RBAC: which to create, correct, adopt or delete.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Blocker, BlockerKind, ClusterPlan, Drift, Note, NoteKind, PlanInput, Prune};
use crate::credential::{Index, Reissue};
use crate::desired::{Content, DesiredObject, desired_objects, needed_namespaces};
use crate::diff::{describe_rules, diff_object};
use crate::field_diff::FieldDiff;
use crate::inventory::MissingNamespace;
use crate::names::{AUTOUPDATE_ANNOTATION, FIELD_MANAGER, INDEX_ANNOTATION, INVENTORY_LABEL, MANAGED_BY};
use crate::object::{Kind, ObjectRef};
use crate::observed::{NamespaceState, ObservedObject, Ownership};
use crate::step::{Delete, Step, Update};

/// Returns the objects that the grants of a cluster want.
pub(super) fn wanted_objects(input: &PlanInput<'_>) -> BTreeMap<ObjectRef, DesiredObject> {
    let desired = input.grants.iter().flat_map(|grant| desired_objects(&input.inventory.name, &grant.grant));
    desired.map(|desired| (desired.object.clone(), desired)).collect()
}

/// Adds the steps for all objects to the plan; returns those that must come last.
pub(super) fn plan_objects(input: &PlanInput<'_>, plan: &mut ClusterPlan) -> Vec<Step> {
    let desired = wanted_objects(input);
    plan_namespaces(input, plan, &desired);
    for desired in desired.values() {
        match input.observed.objects.get(&desired.object) {
            None => plan.steps.push(Step::Create(Arc::new(desired.clone()))),
            Some(observed) => plan_existing(input, plan, desired, observed),
        }
    }
    plan_deletions(input, plan, &desired)
}

/// Returns what an apply would do about the objects; `empty` is a plan without steps.
pub(super) fn find_drift(input: &PlanInput<'_>, empty: ClusterPlan) -> Vec<Drift> {
    let mut plan = empty;
    let deletions = plan_objects(input, &mut plan);
    let profile = |step: &Step| match step {
        Step::Create(desired) => desired.profile.clone(),
        Step::Update(update) => update.desired.profile.clone(),
        Step::Delete(delete) => input.observed.objects.get(&delete.object)?.profile().map(Into::into),
        _ => None,
    };
    let steps = plan.steps.iter().chain(&deletions);
    let drift = steps.map(|step| Drift { profile: profile(step), what: step.to_string() });
    let blocked =
        plan.blockers.iter().map(|blocker| Drift { profile: None, what: format!("stop: {}", blocker.message) });
    drift.chain(blocked).collect()
}

/// Creates the namespaces that may be created and blocks on those that may not.
///
/// A namespace matters only if an object will be created in it.
fn plan_namespaces(input: &PlanInput<'_>, plan: &mut ClusterPlan, desired: &BTreeMap<ObjectRef, DesiredObject>) {
    let mut needed: BTreeMap<String, MissingNamespace> = BTreeMap::new();
    for grant in input.grants {
        for namespace in needed_namespaces(&grant.grant) {
            let missing = needed.entry(namespace.name).or_insert(namespace.missing);
            if namespace.missing == MissingNamespace::Create {
                *missing = MissingNamespace::Create;
            }
        }
    }
    for (name, missing) in needed {
        match (input.observed.namespaces.get(&name), missing) {
            (None | Some(NamespaceState::Active), _) => {}
            (Some(NamespaceState::Absent), MissingNamespace::Create) => {
                plan.steps.push(Step::Create(Arc::new(DesiredObject {
                    object: ObjectRef::cluster_scoped(Kind::Namespace, name),
                    inventory: input.inventory.name.clone(),
                    profile: None,
                    content: Content::Empty,
                })));
            }
            (Some(NamespaceState::Absent), MissingNamespace::Block) => {
                let wanting: BTreeSet<&str> = desired
                    .values()
                    .filter(|object| object.object.namespace.as_deref() == Some(&name))
                    .filter_map(|object| object.profile.as_ref().map(crate::names::ProfileName::as_str))
                    .collect();
                let profiles: Vec<String> = wanting.into_iter().map(|profile| format!("`{profile}`")).collect();
                plan.blockers.push(Blocker {
                    profile: None,
                    kind: BlockerKind::MissingNamespace,
                    message: format!("namespace `{name}` does not exist; {} needs it", profiles.join(", ")),
                    hint: Some(format!("create namespace `{name}`, or set `create-namespaces = true` for it")),
                });
            }
            (Some(NamespaceState::Terminating), _) => plan.blockers.push(Blocker {
                profile: None,
                kind: BlockerKind::BeingDeleted,
                message: format!("namespace `{name}` is being deleted"),
                hint: Some("wait until it is gone".to_owned()),
            }),
        }
    }
}

fn plan_existing(input: &PlanInput<'_>, plan: &mut ClusterPlan, desired: &DesiredObject, observed: &ObservedObject) {
    let object = &desired.object;
    if observed.deleting {
        plan.blockers.push(Blocker {
            profile: None,
            kind: BlockerKind::BeingDeleted,
            message: format!("{object} is being deleted"),
            hint: Some("wait until it is gone".to_owned()),
        });
        return;
    }
    let adopts = match adoption(input, object, observed) {
        Ok(adopts) => adopts,
        Err(blocker) => return plan.blockers.push(blocker),
    };
    if is_left_alone(observed) {
        return plan.notes.push(left_alone(object));
    }
    if observed.aggregated && matches!(desired.content, Content::Rules(_)) {
        let message = format!("the rules of {object} are left alone: they are aggregated from other roles");
        return plan.notes.push(Note::new(NoteKind::LeftAlone, message));
    }
    if let (Content::Binding { role, .. }, Some(actual)) = (&desired.content, &observed.role)
        && role != actual
    {
        if let Some(owner) = adopts {
            plan.blockers.push(Blocker {
                profile: None,
                kind: BlockerKind::ForeignObject,
                message: format!("{object} of {owner} is bound to another role, which cannot be changed"),
                hint: Some("delete it, and run this again".to_owned()),
            });
            return;
        }
        // A roleRef cannot change (422), and this name is only ever used for this role.
        let removed = vec![format!("roleRef {actual}")];
        plan.steps.push(delete(object, observed, removed));
        return plan.steps.push(Step::Create(Arc::new(desired.clone())));
    }
    let changes = diff_object(desired, observed);
    if changes.is_empty() && adopts.is_none() {
        return;
    }
    plan.steps.push(Step::Update(Box::new(Update {
        desired: desired.clone(),
        uid: observed.uid.clone(),
        resource_version: observed.resource_version.clone(),
        overrules: overruled(&changes, observed),
        changes,
        adopts,
    })));
}

/// Returns whether somebody wants an object left as it is.
fn is_left_alone(observed: &ObservedObject) -> bool {
    observed.annotations.get(AUTOUPDATE_ANNOTATION).is_some_and(|value| value == "false")
}

fn left_alone(object: &ObjectRef) -> Note {
    let message = format!("{object} is left alone: its annotation `{AUTOUPDATE_ANNOTATION}` is \"false\"");
    Note::new(NoteKind::LeftAlone, message)
}

/// Returns the present owner of an object that may be taken over; nothing if the object is ours.
fn adoption(input: &PlanInput<'_>, object: &ObjectRef, observed: &ObservedObject) -> Result<Option<String>, Blocker> {
    let adoption = &input.options.adoption;
    let foreign = |message: String, hint: String| {
        Err(Blocker { profile: None, kind: BlockerKind::ForeignObject, message, hint: Some(hint) })
    };
    match observed.ownership(&input.inventory.name) {
        Ownership::Ours => Ok(None),
        Ownership::OtherInventory(other) if adoption.inventories.contains(&other) => {
            Ok(Some(format!("inventory `{other}`")))
        }
        Ownership::OtherInventory(other) => foreign(
            format!("{object} belongs to inventory `{other}`"),
            format!("choose another name, or take it over with `--adopt-from {other}`"),
        ),
        Ownership::Foreign(manager) if adoption.foreign => {
            Ok(Some(manager.map_or_else(|| "nobody known".to_owned(), |manager| format!("`{manager}`"))))
        }
        Ownership::Foreign(manager) => {
            let managed = match manager.as_deref() {
                None => "is not managed by kubemint".to_owned(),
                Some(MANAGED_BY) => format!("has no label `{INVENTORY_LABEL}`, so it is no inventory's"),
                Some(manager) => format!("is managed by `{manager}`, not by kubemint"),
            };
            foreign(
                format!("{object} exists and {managed}"),
                "choose another name in the profile, or take it over with `--adopt`".to_owned(),
            )
        }
    }
}

fn overruled(changes: &[FieldDiff], observed: &ObservedObject) -> Vec<String> {
    let managers: BTreeSet<String> = changes
        .iter()
        .flat_map(|change| {
            let field = format!(".{}", change.field);
            observed.other_managers(&field, FIELD_MANAGER).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    managers.into_iter().collect()
}

fn belong(objects: usize) -> String {
    if objects == 1 { "1 object belongs".to_owned() } else { format!("{objects} objects belong") }
}

/// Plans the deletion of objects that no live grant needs any more; returns the steps that must come last.
fn plan_deletions(
    input: &PlanInput<'_>,
    plan: &mut ClusterPlan,
    desired: &BTreeMap<ObjectRef, DesiredObject>,
) -> Vec<Step> {
    let live: BTreeSet<&str> =
        input.inventory.grants_on(input.cluster).iter().map(|grant| grant.profile.name.as_str()).collect();
    let selected: BTreeSet<&str> = input.grants.iter().map(|grant| grant.grant.profile.name.as_str()).collect();
    let mut vanished: Vec<&ObjectRef> = vec![];
    let (mut soon, mut last) = (vec![], vec![]);
    for (object, observed) in &input.observed.objects {
        let ours = observed.ownership(&input.inventory.name) == Ownership::Ours;
        if !ours || desired.contains_key(object) {
            continue;
        }
        let profile = observed.profile().unwrap_or_default();
        let has_vanished = !live.contains(profile);
        if observed.deleting {
            plan.blockers.push(Blocker {
                profile: None,
                kind: BlockerKind::BeingDeleted,
                message: format!("{object} is being deleted, and still allows what it allowed"),
                hint: Some("see which finalizer holds it".to_owned()),
            });
        } else if has_vanished && input.options.prune == Prune::Keep {
            vanished.push(object);
        } else if has_vanished && is_left_alone(observed) {
            plan.notes.push(left_alone(object));
        } else if has_vanished || selected.contains(profile) {
            let mut removed = describe(observed);
            if has_vanished {
                plan.prunes.insert(observed.profile_name());
                // Ending its tokens is what is wanted, so they are named.
                removed.extend(tokens_of(observed, object, input.now));
            } else {
                plan.blockers.extend(living_credentials(input, object, observed));
            }
            let step = delete(object, observed, removed);
            if object.kind == Kind::ServiceAccount { last.push(step) } else { soon.push(step) }
        }
    }
    // Bindings sort after roles and must go first: a role without a binding grants nothing.
    soon.reverse();
    plan.steps.extend(soon);
    plan.prunes.extend(input.leaving.iter().map(|leaving| leaving.grant.profile.clone()));
    // Entries go last, so that none is missing of what still works.
    last.extend(input.leaving.iter().cloned().map(Step::Remove));
    plan.notes.extend(vanished_note(&vanished));
    last
}

/// Says that objects of vanished grants are left.
fn vanished_note(vanished: &[&ObjectRef]) -> Option<Note> {
    if vanished.is_empty() {
        return None;
    }
    let mut message = format!("{} to grants that are no longer in the inventory", belong(vanished.len()));
    let mut accounts = vanished.iter().filter(|object| object.kind == Kind::ServiceAccount);
    if let Some(account) = accounts.next() {
        let others = accounts.count();
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        message.push_str(&format!("; {account}{more} may have living tokens"));
    }
    message.push_str("; `kubemint apply --prune` removes them");
    Some(Note::new(NoteKind::VanishedGrants, message))
}

/// Describes the tokens that end with a ServiceAccount.
fn tokens_of(observed: &ObservedObject, object: &ObjectRef, now: Timestamp) -> Vec<String> {
    if object.kind != Kind::ServiceAccount {
        return vec![];
    }
    match observed.index() {
        Ok(index) => living(&index, now),
        Err(error) => vec![format!("unknown tokens, because its annotation `{INDEX_ANNOTATION}` is unusable: {error}")],
    }
}

fn delete(object: &ObjectRef, observed: &ObservedObject, removed: Vec<String>) -> Step {
    Step::Delete(Box::new(Delete {
        object: object.clone(),
        uid: observed.uid.clone(),
        resource_version: Some(observed.resource_version.clone()),
        removed,
    }))
}

/// Returns a blocker if deleting a ServiceAccount would invalidate credentials that may be in use.
fn living_credentials(input: &PlanInput<'_>, object: &ObjectRef, observed: &ObservedObject) -> Option<Blocker> {
    if input.options.reissue == Reissue::Allowed {
        return None;
    }
    let living = tokens_of(observed, object, input.now);
    (!living.is_empty()).then(|| Blocker {
        profile: observed.profile().map(Into::into),
        kind: BlockerKind::CredentialHeldElsewhere,
        message: format!("{object} left the profile and may have living credentials: {}", living.join(", ")),
        hint: Some("pass `--reissue` to delete it all the same, or wait until they have expired".to_owned()),
    })
}

/// Describes the credentials in an index that may be in use.
fn living(index: &Index, now: Timestamp) -> Vec<String> {
    let mut living = vec![];
    for (holder, chain) in &index.holders {
        for generation in chain.generations.iter().filter(|generation| generation.may_live(now)) {
            living.push(match generation.expires {
                Some(expires) => format!("generation {} of holder `{holder}` until {expires}", generation.n),
                None => format!("generation {} of holder `{holder}`, which a run claimed", generation.n),
            });
        }
        if chain.exec {
            living.push(format!("those of the exec plugins of holder `{holder}`"));
        }
    }
    if index.incomplete {
        living.push("unknown ones, because the index was lost at some time".to_owned());
    }
    living
}

pub(super) fn describe(observed: &ObservedObject) -> Vec<String> {
    match &observed.role {
        Some(role) => {
            let subjects = observed.subjects.iter().map(|subject| format!("{role} for {subject}"));
            subjects.collect()
        }
        None => describe_rules(&observed.rules),
    }
}
