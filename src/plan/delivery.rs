//! What is written to the outputs of a grant, file by file and field by field.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Blocker, BlockerKind, GrantInput, Note, NoteKind, OutputSlot, PlanInput};
use crate::credential::{AnchorState, Credential, Generation};
use crate::inventory::Grant;
use crate::kubeconfig::{EntryState, Held, Mark, OurEntries, RENAME, UserForm, foreign_owner};
use crate::step::Delivery;
use crate::wording::command;

pub(super) fn mark(input: &PlanInput<'_>, grant: &Grant) -> Mark {
    Mark::of(&input.inventory.name, &input.options.holder, grant)
}

/// A living credential, and the outputs that lack it or say something else.
pub(super) struct HandingOn {
    /// The credential, as the outputs hold it, each different one once; there is at least one.
    pub(super) candidates: Vec<Credential>,
    pub(super) delivery: Delivery,
}

/// Finds out which outputs lack a living credential that those at `from` hold; `claim` is what the index knows of it.
pub(super) fn handing_on(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    from: &[usize],
    claim: Option<&Generation>,
) -> Option<HandingOn> {
    let slots: Vec<&OutputSlot> = grant_input.holding().collect();
    let held_at = |position: &usize| slots.get(*position).and_then(|slot| slot.held());
    let mut candidates: Vec<Credential> = vec![];
    for mut credential in from.iter().filter_map(|position| held_at(position)?.publishable()) {
        // A token file does not tell what was asked for.
        if let Some(claim) = claim {
            credential.facts.requested_seconds = claim.requested_seconds;
        }
        if !candidates.iter().any(|known| known.token.is_same_as(&credential.token)) {
            candidates.push(credential);
        }
    }
    let first = candidates.first()?;
    let grant = &grant_input.grant;
    let delivery = deliver(slots.into_iter(), |slot| {
        let wanted = OurEntries::render(&slot.names, &mark(input, grant), input.endpoint, Some(first));
        let is_there = slot.held().is_some_and(|held| held.holds(&first.token));
        (wanted, is_there)
    });
    Some(HandingOn { candidates, delivery })
}

/// Finds out which outputs lack the entries of an exec plugin.
pub(super) fn plugins(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let mark = mark(input, &grant_input.grant);
    let slots = grant_input.outputs.iter().filter(|slot| matches!(slot.names.form, UserForm::Exec(_)));
    deliver(slots, |slot| (OurEntries::render(&slot.names, &mark, input.endpoint, None), true))
}

/// Takes entries for ours that lost their mark and give a living generation of ours, if that is allowed.
pub(super) fn take_back<'a>(
    input: &PlanInput<'_>,
    grant_input: &'a GrantInput,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Cow<'a, GrantInput> {
    let mut taken = Cow::Borrowed(grant_input);
    for (position, slot) in grant_input.outputs.iter().enumerate() {
        if let Some(held) = living(input, grant_input, slot, account_uid, anchors)
            && input.options.adoption.foreign
        {
            let slot = &mut taken.to_mut().outputs[position];
            slot.state = EntryState::Ours(Box::new(held.clone()));
            slot.is_taken_back = true;
        }
    }
    taken
}

/// Returns what lost its mark in a place and gives a living generation of ours.
fn living<'a>(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    slot: &'a OutputSlot,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Option<&'a Held> {
    let EntryState::Foreign { unmarked: Some(held), .. } = &slot.state else { return None };
    let mark = mark(input, &grant_input.grant);
    let wanted = OurEntries::render(&slot.names, &mark, input.endpoint, None);
    let lives = matches!(slot.names.form, UserForm::Exec(_))
        || held.credential.as_ref().is_some_and(|(stored, facts)| {
            anchors.get(&stored.generation) == Some(&AnchorState::Present(facts.anchor_uid.clone()))
        });
    (lives && held.gives_ours(&slot.names, &wanted, account_uid?)).then_some(held)
}

/// Returns a blocker for each entry of somebody else that would be overwritten.
pub(super) fn foreign_entries(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Vec<Blocker> {
    let profile = &grant_input.grant.profile.name;
    let cluster = input.cluster.as_str();
    let adopt = ["kubemint", "apply", "--adopt", "--cluster", cluster, "--profile", profile.as_str()];
    let blocker = |slot: &OutputSlot| {
        let EntryState::Foreign { list, name, inventory, .. } = &slot.state else { return None };
        let owner = foreign_owner(inventory.as_deref());
        let (owner, hint) = match living(input, grant_input, slot, account_uid, anchors) {
            Some(_) => (
                "has lost kubemint's mark; what it gives is a living credential of this inventory".to_owned(),
                format!("take it back with `{}`", command(&adopt)),
            ),
            None => (owner, RENAME.to_owned()),
        };
        Some(Blocker {
            profile: Some(profile.clone()),
            kind: BlockerKind::ForeignEntry,
            message: format!("`{}`: {list} `{name}` exists and {owner}", slot.path.display()),
            hint: Some(hint),
        })
    };
    grant_input.outputs.iter().filter_map(blocker).collect()
}

/// Tells where a credential goes that is not minted yet, and what changes there beside it.
pub(super) fn minted(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let mark = mark(input, &grant_input.grant);
    let mut delivery =
        deliver(grant_input.holding(), |slot| (OurEntries::render(&slot.names, &mark, input.endpoint, None), false));
    delivery.changes.retain(|change| !matches!(change.field.as_str(), "user.token" | "user.extensions"));
    delivery
}

/// Says that outputs were written for another API server, by the uid of its namespace kube-system: what they hold is not
/// for this one.
pub(super) fn another_server(input: &PlanInput<'_>, grant_input: &GrantInput) -> Option<Note> {
    let now = input.endpoint.cluster_uid.as_deref()?;
    let is_another = |slot: &&OutputSlot| slot.held().and_then(Held::cluster_uid).is_some_and(|before| before != now);
    let slot = grant_input.outputs.iter().find(is_another)?;
    let before = slot.held().and_then(Held::cluster_uid)?;
    let message = format!(
        "another API server answers than the one that `{}` was written for: the uid of namespace `kube-system` was \
         `{before}` and is `{now}`; see whether `admin` names the right context",
        slot.path.display()
    );
    Some(Note::new(NoteKind::AnotherServer, message))
}

/// Collects the outputs that do not hold what is wanted, and what differs in those that hold something.
fn deliver<'a>(
    slots: impl Iterator<Item = &'a OutputSlot>,
    wanted: impl Fn(&OutputSlot) -> (OurEntries, bool),
) -> Delivery {
    let mut delivery = Delivery::default();
    for slot in slots {
        let (wanted, holds_token) = wanted(slot);
        let differences = slot.held().map(|held| held.differences(&wanted));
        if differences.as_ref().is_some_and(Vec::is_empty) && holds_token {
            continue;
        }
        delivery.files.push(slot.path.clone());
        if slot.is_taken_back {
            delivery.takes_back.push(slot.path.clone());
        }
        // Where nothing of ours is, everything is new, which the file itself says.
        let is_new = slot.held().is_none_or(|held| !held.has_entries());
        delivery.changes.extend(differences.into_iter().flatten().filter(|_| !is_new));
    }
    delivery.changes.sort();
    delivery.changes.dedup();
    delivery
}
