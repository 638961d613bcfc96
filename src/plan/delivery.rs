//! What has to be written to the outputs of a grant, for each file and each field.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Blocker, BlockerKind, GrantInput, Note, NoteKind, PlanInput};
use crate::credential::{AnchorState, Credential, CredentialFacts, Generation};
use crate::delivery::{Before, Delivery, Destination, Found, Held, Others, Place, ReadPlace, Source, Wanted};
use crate::inventory::Grant;
use crate::kubeconfig::Mark;
use crate::wording::command;

pub(super) fn mark(input: &PlanInput<'_>, grant: &Grant) -> Mark {
    Mark::of(&input.inventory.name, &input.options.holder, &grant.key())
}

/// A living credential, and the outputs that lack it or differ in another field.
pub(super) struct HandingOn {
    /// The places that hold it, each different token once; there is at least one.
    pub(super) from: Vec<Source>,
    pub(super) delivery: Delivery,
}

/// Finds the outputs that lack the living credential that the places `from` hold; `claim` is its generation in the
/// index.
pub(super) fn handing_on(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    from: &[Place],
    claim: Option<&Generation>,
) -> Option<HandingOn> {
    let mut candidates: Vec<(Place, Credential)> = vec![];
    for place in from {
        let read = grant_input.holding().find(|read| read.place == *place);
        let Some(mut credential) = read.and_then(ReadPlace::credential) else { continue };
        // A token file does not contain the requested lifetime.
        if let Some(claim) = claim {
            credential.facts.requested_seconds = claim.requested_seconds;
        }
        if !candidates.iter().any(|(_, known)| known.token.is_same_as(&credential.token)) {
            candidates.push((place.clone(), credential));
        }
    }
    let (_, first) = candidates.first()?;
    let delivery = deliver(input, grant_input, grant_input.holding(), |read, mark| {
        let wanted = read.format.wanted(mark, input.endpoint, Some(first));
        let is_there = read.held().is_some_and(|held| held.holds(&first.token));
        (wanted, is_there)
    });
    let source = |(place, credential): (Place, Credential)| Source { place, facts: credential.facts };
    Some(HandingOn { from: candidates.into_iter().map(source).collect(), delivery })
}

/// Finds the outputs that lack the entries of an exec plugin.
pub(super) fn plugins(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let with_plugins = grant_input.outputs.iter().filter(|read| !read.format.holds_credential());
    deliver(input, grant_input, with_plugins, |read, mark| (read.format.wanted(mark, input.endpoint, None), true))
}

/// Treats an entry that lost its mark as ours, if adoption is allowed and it holds a living generation of ours.
pub(super) fn take_back<'a>(
    input: &PlanInput<'_>,
    grant_input: &'a GrantInput,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Cow<'a, GrantInput> {
    let is_living = |read: &ReadPlace| living(input, grant_input, read, account_uid, anchors).is_some();
    if !input.options.adoption.foreign || !grant_input.outputs.iter().any(is_living) {
        return Cow::Borrowed(grant_input);
    }
    let take_back = |read: &ReadPlace| match living(input, grant_input, read, account_uid, anchors) {
        Some(held) => ReadPlace { found: Found::TakenBack(held.clone()), ..read.clone() },
        None => read.clone(),
    };
    Cow::Owned(GrantInput { outputs: grant_input.outputs.iter().map(take_back).collect(), ..grant_input.clone() })
}

/// Returns the content of a place that lost its mark, if it holds a living generation of ours.
fn living<'a>(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    read: &'a ReadPlace,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Option<&'a Held> {
    let Found::Others(Others { unmarked: Some(held), .. }) = &read.found else { return None };
    let mark = mark(input, &grant_input.grant);
    let wanted = read.format.wanted(&mark, input.endpoint, None);
    let is_anchored = |facts: &CredentialFacts| {
        anchors.get(&facts.generation) == Some(&AnchorState::Present(facts.anchor_uid.clone()))
    };
    let lives = !read.format.holds_credential() || held.facts().is_some_and(is_anchored);
    (lives && held.gives_ours(&read.format, &wanted, account_uid?)).then_some(held)
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
    let blocker = |read: &ReadPlace| {
        let Found::Others(Others { what, owner, hint, .. }) = &read.found else { return None };
        let (owner, hint) = match living(input, grant_input, read, account_uid, anchors) {
            Some(_) => (
                "has lost kubemint's mark; what it gives is a living credential of this inventory",
                format!("take it back with `{}`", command(&adopt)),
            ),
            None => (owner.as_str(), (*hint).to_owned()),
        };
        Some(Blocker {
            profile: Some(profile.clone()),
            kind: BlockerKind::ForeignEntry,
            message: format!("`{}`: {what} exists and {owner}", read.place.file.display()),
            hint: Some(hint),
        })
    };
    grant_input.outputs.iter().filter_map(blocker).collect()
}

/// Returns where a credential that is not minted yet goes, and which other fields change there.
pub(super) fn minted(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let mut delivery = deliver(input, grant_input, grant_input.holding(), |read, mark| {
        (read.format.wanted(mark, input.endpoint, None), false)
    });
    delivery.changes.retain(|change| !matches!(change.field.as_str(), "user.token" | "user.extensions"));
    delivery
}

/// Notes that outputs were written for another API server, judged by the uid of its namespace kube-system: their
/// credentials are not for this one.
pub(super) fn another_server(input: &PlanInput<'_>, grant_input: &GrantInput) -> Option<Note> {
    let now = input.endpoint.cluster_uid.as_deref()?;
    let is_another = |read: &&ReadPlace| read.held().and_then(Held::cluster_uid).is_some_and(|before| before != now);
    let read = grant_input.outputs.iter().find(is_another)?;
    let before = read.held().and_then(Held::cluster_uid)?;
    let message = format!(
        "another API server answers than the one that `{}` was written for: the uid of namespace `kube-system` was \
         `{before}` and is `{now}`; see whether `admin` names the right context",
        read.place.file.display()
    );
    Some(Note::new(NoteKind::AnotherServer, message))
}

/// Returns what has to be done at each of some places until it holds what is wanted, and which fields differ in those
/// that hold something of ours.
fn deliver<'a>(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    places: impl Iterator<Item = &'a ReadPlace>,
    wanted: impl Fn(&ReadPlace, &Mark) -> (Wanted, bool),
) -> Delivery {
    let mut delivery = Delivery::nowhere(mark(input, &grant_input.grant), input.options.reissue);
    for read in places {
        let (wanted, holds_token) = wanted(read, &delivery.mark);
        let differences = read.held().map(|held| held.differences(&wanted));
        let before = match (differences.as_ref().is_some_and(Vec::is_empty) && holds_token, &read.found) {
            (true, _) => Before::Whole,
            (false, Found::TakenBack(_)) => Before::Unmarked,
            (false, _) => Before::Lacking,
        };
        delivery.destinations.push(Destination { place: read.place.clone(), format: read.format.clone(), before });
        // Where nothing of ours is, everything is new, which the file itself says.
        let is_new = !read.held().is_some_and(Held::says_something);
        delivery.changes.extend(differences.into_iter().flatten().filter(|_| before != Before::Whole && !is_new));
    }
    delivery.changes.sort();
    delivery.changes.dedup();
    delivery
}
