//! What has to be written to the outputs of a grant, for each file and each field.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Blocker, BlockerKind, GrantInput, Note, NoteKind, PlanInput};
use crate::credential::{AnchorState, Credential, CredentialFacts, Generation};
use crate::delivery::{
    Before, Delivery, Destination, Format, Found, Held, HeldSecret, Others, Place, ReadPlace, Rotation, SecretContent,
    SecretForm, Source, Wanted,
};
use crate::field_diff::FieldDiff;
use crate::foreign::shown;
use crate::inventory::Grant;
use crate::kubeconfig::Mark;
use crate::names::{DELIVERY_ANNOTATION, ProfileName};
use crate::observed::Ownership;
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
    from: &[Arc<Place>],
    claim: Option<&Generation>,
) -> Option<HandingOn> {
    let mut candidates: Vec<(Arc<Place>, Credential)> = vec![];
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
    let source = |(place, credential): (Arc<Place>, Credential)| Source { place, facts: credential.facts };
    Some(HandingOn { from: candidates.into_iter().map(source).collect(), delivery })
}

/// Finds the outputs that lack the entries of an exec plugin.
pub(super) fn plugins(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let with_plugins = grant_input.outputs.iter().filter(|read| !read.format.holds_credential());
    deliver(input, grant_input, with_plugins, |read, mark| (read.format.wanted(mark, input.endpoint, None), true))
}

/// Treats what is at a place as ours where adoption is allowed: an entry that lost its mark and holds a living generation
/// of ours, and a Secret of somebody else's.
pub(super) fn take_back<'a>(
    input: &PlanInput<'_>,
    grant_input: &'a GrantInput,
    account_uid: Option<&str>,
    anchors: &BTreeMap<u64, AnchorState>,
) -> Cow<'a, GrantInput> {
    let taken = |read: &'a ReadPlace| {
        let Found::Others(Others { unmarked: Some(held), .. }) = &read.found else { return None };
        match held.secret() {
            Some(secret) => is_adopted(secret, input).then_some(held),
            None if input.options.adoption.foreign => living(input, grant_input, read, account_uid, anchors),
            None => None,
        }
    };
    if !grant_input.outputs.iter().any(|read| taken(read).is_some()) {
        return Cow::Borrowed(grant_input);
    }
    let take_back = |read: &'a ReadPlace| match taken(read) {
        Some(held) => ReadPlace { found: Found::TakenBack(held.clone()), ..read.clone() },
        None => read.clone(),
    };
    let outputs = grant_input.outputs.iter().map(take_back).collect();
    Cow::Owned(GrantInput { outputs: Arc::new(outputs), ..grant_input.clone() })
}

/// Whether a Secret that is not ours may be taken over. What another object owns, its controller would write again.
fn is_adopted(secret: &HeldSecret, input: &PlanInput<'_>) -> bool {
    let adoption = &input.options.adoption;
    let is_allowed = match &secret.ownership {
        Ownership::Ours => true,
        Ownership::Foreign(_) => adoption.foreign,
        Ownership::OtherInventory(other) => adoption.inventories.contains(other),
    };
    is_allowed && secret.owner.is_none()
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
        let Found::Others(Others { what, owner, hint, unmarked }) = &read.found else { return None };
        if let Some(secret) = unmarked.as_ref().and_then(Held::secret) {
            return Some(foreign_secret(input, profile, &read.place, (secret, owner, hint)));
        }
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
            message: format!("`{}`: {what} exists and {owner}", read.place),
            hint: Some(hint),
        })
    };
    grant_input.outputs.iter().filter_map(blocker).collect()
}

/// Returns the blocker for a Secret of somebody else's.
fn foreign_secret(
    input: &PlanInput<'_>,
    profile: &ProfileName,
    place: &Place,
    (secret, owner, otherwise): (&HeldSecret, &str, &str),
) -> Blocker {
    let mut words = vec!["kubemint", "apply", "--cluster", input.cluster.as_str(), "--profile", profile.as_str()];
    let hint = match (&secret.owner, &secret.ownership) {
        (Some(owner), _) => {
            let owner = shown(owner);
            format!(
                "{owner} owns it and may write it again, so it is not taken over; set another `name` in that `[[outputs]]`"
            )
        }
        (None, Ownership::OtherInventory(other)) => {
            words.extend(["--adopt-from", other]);
            format!("take it over with `{}`, or {otherwise}", command(&words))
        }
        (None, Ownership::Foreign(_) | Ownership::Ours) => {
            words.push("--adopt");
            format!("take it over with `{}`, or {otherwise}", command(&words))
        }
    };
    let keys: Vec<String> = secret.keys().map(|key| format!("`{key}`")).collect();
    let keys = if keys.is_empty() { "no keys".to_owned() } else { format!("the keys {}", keys.join(", ")) };
    Blocker {
        profile: Some(profile.clone()),
        kind: BlockerKind::ForeignEntry,
        message: format!("`{place}`: the Secret exists, has {keys}, and {owner}"),
        hint: Some(hint),
    }
}

/// Returns a blocker for each Secret that is written and cannot be changed in place, unless it may be replaced.
pub(super) fn fixed_secrets(
    input: &PlanInput<'_>,
    grant_input: &GrantInput,
    is_written: impl Fn(&Place) -> bool,
) -> Vec<Blocker> {
    let (cluster, profile) = (input.cluster.as_str(), &grant_input.grant.profile.name);
    let adopt = ["kubemint", "apply", "--adopt", "--cluster", cluster, "--profile", profile.as_str()];
    let blocker = |read: &ReadPlace| {
        let (Some(secret), Format::Secret(form)) = (read.held().and_then(Held::secret), &*read.format) else {
            return None;
        };
        let (kind, why, hint) = if secret.is_being_deleted {
            (BlockerKind::BeingDeleted, "it is being deleted".to_owned(), "wait until it is gone".to_owned())
        } else if let Some(finalizer) = secret.finalizers.first().filter(|_| is_replaced(secret, form)) {
            let why = format!("it has to be made anew, and finalizer `{finalizer}` would hold the one before");
            (BlockerKind::BeingDeleted, why, "see what put the finalizer there, and take it away".to_owned())
        } else if input.options.adoption.foreign {
            return None;
        } else if secret.is_immutable {
            let hint = format!("delete it and make it anew with `{}`", command(&adopt));
            (BlockerKind::Refused, "it is immutable".to_owned(), hint)
        } else if secret.secret_type != form.secret_type {
            let why = format!("its type is `{}` and should be `{}`", secret.secret_type, form.secret_type);
            let hint = format!("Kubernetes changes no type; delete it and make it anew with `{}`", command(&adopt));
            (BlockerKind::Refused, why, hint)
        } else {
            return None;
        };
        let message = format!("`{}`: {why}", read.place);
        Some(Blocker { profile: Some(profile.clone()), kind, message, hint: Some(hint) })
    };
    grant_input.outputs.iter().filter(|read| is_written(&read.place)).filter_map(blocker).collect()
}

/// Says what has to be restarted to get a credential that is minted.
pub(super) fn restarts(grant_input: &GrantInput) -> Vec<Note> {
    let note = |read: &ReadPlace| {
        let Format::Secret(form) = &*read.format else { return None };
        if form.rotation != Rotation::Restart || read.held().is_none() {
            return None;
        }
        let what = form.workload.as_ref().map_or_else(|| "its consumer".to_owned(), |workload| format!("`{workload}`"));
        let message = format!(
            "restart {what} after this: it reads `{}` when it starts, and the token that it has now ends when it expires, \
             or when the overlap is over",
            read.place
        );
        Some(Note::new(NoteKind::RestartNeeded, message))
    };
    grant_input.outputs.iter().filter_map(note).collect()
}

/// Says what a plan replaces in Secrets that it takes over: their keys, and where their consumers would be led.
pub(super) fn taken_over(input: &PlanInput<'_>, grant_input: &GrantInput) -> Vec<Note> {
    let note = |read: &ReadPlace| {
        let (Found::TakenBack(held), Format::Secret(form)) = (&read.found, &*read.format) else { return None };
        let secret = held.secret()?;
        let (replaced, others): (Vec<&str>, Vec<&str>) = secret.keys().partition(|key| form.data.contains_key(*key));
        let list = |keys: Vec<&str>| {
            let keys: Vec<String> = keys.into_iter().map(|key| format!("`{key}`")).collect();
            if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
        };
        let mut message = format!(
            "`{}` is taken over: it replaces the keys {}, and leaves {}",
            read.place,
            list(replaced),
            list(others)
        );
        if let (Some(key), Some(before)) = (&form.identity, secret.identity()) {
            let now = input.endpoint.server.trim_end_matches('/');
            let is_same = before.trim_end_matches('/') == now;
            message.push_str(&if is_same {
                format!("; its `{key}` stays <{now}>")
            } else {
                format!("; its `{key}` was <{before}> and will be <{now}>, another cluster to its consumer")
            });
        }
        Some(Note::new(NoteKind::TakenOver, message))
    };
    grant_input.outputs.iter().filter_map(note).collect()
}

/// Returns where a credential that is not minted yet goes, and which other fields change there.
pub(super) fn minted(input: &PlanInput<'_>, grant_input: &GrantInput) -> Delivery {
    let mut delivery = deliver(input, grant_input, grant_input.holding(), |read, mark| {
        (read.format.wanted(mark, input.endpoint, None), false)
    });
    delivery.changes.retain(|change| !matches!(change.field.as_str(), "user.token" | "user.extensions"));
    delivery.changes.shrink_to_fit();
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
        read.place
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
        let is_whole = differences.as_ref().is_some_and(Vec::is_empty) && holds_token;
        let before = match &read.found {
            _ if is_whole => Before::Whole,
            Found::TakenBack(_) => Before::Unmarked,
            Found::Ours(held) if is_fixed(held, &read.format) => Before::Unmarked,
            Found::Ours(_) | Found::Nothing | Found::Others(_) => Before::Lacking,
        };
        delivery.destinations.push(Destination { place: read.place.clone(), format: read.format.clone(), before });
        let changes = match (&*read.format, &wanted) {
            _ if before == Before::Whole => vec![],
            (Format::Secret(_), Wanted::Secret(content)) => secret_changes(read, content, differences),
            // Where nothing of ours is, everything is new, which the file itself says.
            _ if !read.held().is_some_and(Held::says_something) => vec![],
            _ => differences.unwrap_or_default(),
        };
        delivery.changes.extend(changes);
    }
    delivery.changes.sort();
    delivery.changes.dedup();
    delivery.destinations.shrink_to_fit();
    delivery
}

/// Whether a Secret of ours cannot be changed, only replaced; without consent to that, it blocks its grant.
fn is_fixed(held: &Held, format: &Format) -> bool {
    match (held.secret(), format) {
        (Some(secret), Format::Secret(form)) => secret.is_fixed(form),
        _ => false,
    }
}

/// Whether a Secret is deleted and made anew when it is written.
fn is_replaced(secret: &HeldSecret, form: &SecretForm) -> bool {
    secret.is_fixed(form) || form.rotation == Rotation::Recreate
}

/// Returns what changes in a Secret, by its name: it is created, or these are the fields, those included that the token is in.
fn secret_changes(read: &ReadPlace, content: &SecretContent, differences: Option<Vec<FieldDiff>>) -> Vec<FieldDiff> {
    let Some(differences) = differences else {
        let keys: Vec<String> = content.keys().map(|key| format!("`{key}`")).collect();
        let registered = content.registered().map(|object| format!(", and named by {object}")).unwrap_or_default();
        let added = vec![format!("created with {}{registered}", keys.join(", "))];
        return vec![FieldDiff { field: read.place.to_string(), removed: vec![], added }];
    };
    let held = read.held().and_then(Held::secret).map(AsRef::as_ref);
    let named = |change: FieldDiff| FieldDiff { field: format!("{}, {}", read.place, change.field), ..change };
    let is_noise = |change: &FieldDiff| change.field.ends_with(DELIVERY_ANNOTATION);
    let changes: Vec<FieldDiff> = differences.into_iter().chain(content.to_come(held)).collect();
    let only_noise = changes.iter().all(is_noise);
    changes.into_iter().filter(|change| only_noise || !is_noise(change)).map(named).collect()
}
