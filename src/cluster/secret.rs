//! Secrets that credentials are delivered to: reading, trying, writing and removing them in a hub.
//!
//! Each is named by the inventory, so none is ever listed for a delivery: `get`, `create`, `patch` and `delete` on the
//! named Secrets of one namespace are enough. A change is a JSON merge patch of the version that was read, because an
//! apply could not remove a key that a create made (its field manager's entry is of operation `Update`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{Api, Request};
use super::deletion::{self, Version};
use super::observe::{Items, list};
use crate::credential::{Credential, Reissue};
use crate::delivery::{HeldSecret, Rotation, SecretChange, SecretContent, SecretForm, SecretPlace};
use crate::failure::{ApiFailure, FailureKind, StepFailure};
use crate::kubeconfig::{Endpoint, Mark};
use crate::names::{DELIVERY_ANNOTATION, FIELD_MANAGER, INVENTORY_LABEL, InventoryName, MANAGED_BY, MANAGED_BY_LABEL};
use crate::object::{Kind, ObjectRef};

/// A credential on its way into a Secret.
#[derive(Debug, Clone)]
pub(crate) struct IncomingSecret {
    /// What names the Secret.
    pub place: SecretPlace,
    /// Its form.
    pub form: SecretForm,
    /// The grant and the holder.
    pub mark: Mark,
    /// How consumers reach the cluster.
    pub endpoint: Endpoint,
    /// The credential; without one, nothing is written, only tried.
    pub credential: Option<Credential>,
    /// Whether another holder's living credential may be replaced.
    pub reissue: Reissue,
    /// Whether a Secret is taken over that is not ours, or replaced where it cannot be changed.
    pub adopts: bool,
    /// What was read; the Secret is read again where it is another one by now.
    pub held: Option<Arc<HeldSecret>>,
}

/// Why a credential was not written to a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotDelivered {
    /// The reason.
    pub failure: StepFailure,
    /// Whether the Secret may hold the credential nevertheless.
    pub may_be_there: bool,
}

/// How often a Secret is read again that somebody else is changing at the same time.
const MOST_TRIES: usize = 4;

/// The Kubernetes limit of a Secret's data (`core.MaxSecretSize`).
const LARGEST: usize = 1 << 20;

/// Reads a Secret; returns nothing if there is none.
///
/// # Errors
///
/// If the API server does not respond, or refuses.
pub(crate) async fn read(api: &Api, place: &SecretPlace) -> Result<Option<Value>, ApiFailure> {
    let object = place.object();
    match api.object(&Request::get(object.path()), &object).await {
        Ok(answer) => Ok(Some(answer.value)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Tries without effect whether the API server takes a Secret of this form.
///
/// # Errors
///
/// If it does not, or the Secret would be too large.
pub(crate) async fn try_delivery(api: &Api, incoming: &IncomingSecret) -> Result<(), StepFailure> {
    let IncomingSecret { place, form, mark, endpoint, credential, held, .. } = incoming;
    let content = SecretContent::render(form, mark, endpoint, credential.as_ref()).for_trial();
    check_size(place, &content)?;
    let held = held.as_deref();
    let replaced = held.filter(|held| is_replaced(incoming, held));
    if let Some(held) = replaced {
        let deleted = api.send(&deletion::request(&place.object(), version(held)).dry_run()).await;
        deleted.map(drop).or_else(|failure| if failure.is_stale() { Ok(()) } else { Err(refused(place, failure)) })?;
    }
    let request = match replaced {
        // The one before stands in the way of a trial under its own name.
        Some(_) => trial_request(place, &content),
        None => write_request(place, &content, held),
    };
    let Err(failure) = api.send(&request.dry_run()).await else { return Ok(()) };
    if is_without_namespace(&failure, held) {
        if !form.creates_namespace {
            return Err(no_namespace(place));
        }
        return create_namespace(api, &place.namespace, Effect::Tried).await;
    }
    // Somebody changed or created it meanwhile: the write reads it again. What is replaced makes room for what replaces it.
    if failure.is_stale() || failure.is_already_exists() || (replaced.is_some() && failure.is_over_quota()) {
        return Ok(());
    }
    Err(refused(place, failure))
}

/// Writes a credential to a Secret. What is there already is not written again.
///
/// # Errors
///
/// If the API server refuses, the Secret is not ours or holds something newer, or what was stored differs.
pub(crate) async fn deliver(api: &Api, incoming: &IncomingSecret) -> Result<(), NotDelivered> {
    let IncomingSecret { place, form, mark, endpoint, credential, .. } = incoming;
    let content = SecretContent::render(form, mark, endpoint, credential.as_ref());
    check_size(place, &content).map_err(safe)?;
    let mut held = incoming.held.clone();
    let mut is_namespace_there = !form.creates_namespace;
    for _ in 0..MOST_TRIES {
        if let Some(held) = held.as_deref() {
            judge(incoming, held).map_err(safe)?;
            if held.differences(&content).is_empty() && !held.is_being_deleted {
                return Ok(());
            }
        }
        match write(api, incoming, held.as_deref(), &content).await {
            Ok(stored) => return check(place, &HeldSecret::of(&stored, form, mark), &content),
            Err(failure) if is_without_namespace(&failure, held.as_deref()) && !is_namespace_there => {
                create_namespace(api, &place.namespace, Effect::Real).await.map_err(safe)?;
                is_namespace_there = true;
                continue;
            }
            Err(failure) if is_without_namespace(&failure, held.as_deref()) => return Err(safe(no_namespace(place))),
            // Somebody else wrote it since it was read, or an earlier try of ours did and its response was lost.
            Err(failure) if failure.is_stale() || failure.is_already_exists() || failure.is_not_found() => {}
            Err(failure) => {
                let is_refused = failure.code().is_some_and(|code| (400..500).contains(&code));
                return Err(NotDelivered { may_be_there: !is_refused, failure: refused(place, failure) });
            }
        }
        let now = read(api, place)
            .await
            .map_err(|failure| NotDelivered { failure: refused(place, failure), may_be_there: true })?;
        held = now.map(|object| Arc::new(HeldSecret::of(&object, form, mark)));
    }
    Err(safe(
        StepFailure::new(format!("`{place}`: somebody else keeps changing it")).hint(format!(
            "see who does: `{}`",
            place.object().kubectl("get", &["-o", "yaml", "--show-managed-fields"])
        )),
    ))
}

/// Removes the Secret of a grant. One that is not this grant's is left.
///
/// # Errors
///
/// If the API server refuses, or something holds it.
pub(crate) async fn remove(api: &Api, place: &SecretPlace, mark: &Mark) -> Result<(), StepFailure> {
    let object = place.object();
    for _ in 0..MOST_TRIES {
        let found = read(api, place).await.map_err(|failure| refused(place, failure))?;
        let held = found.map(|found| HeldSecret::noted_at(&found, mark));
        let Some(held) = held.filter(|held| held.is_of(mark)) else { return Ok(()) };
        match deletion::delete(api, &object, version(&held)).await {
            Ok(fate) => return fate.gone(&object),
            Err(failure) if failure.is_stale() => {}
            Err(failure) => return Err(refused(place, failure)),
        }
    }
    Err(StepFailure::new(format!("`{place}`: somebody else keeps changing it")))
}

/// Returns the names of the Secrets of a namespace that an inventory delivered credentials to, each with whose that is.
///
/// # Errors
///
/// If the API server does not respond, or refuses a list.
pub(crate) async fn delivered(
    api: &Api,
    namespace: &str,
    inventory: &InventoryName,
) -> Result<Vec<(String, Mark)>, ApiFailure> {
    let selector = format!("{MANAGED_BY_LABEL}={MANAGED_BY},{INVENTORY_LABEL}={inventory}");
    let mut found = vec![];
    list(
        api,
        &Kind::Secret.collection_path(Some(namespace)),
        &[("labelSelector", selector)],
        Items::Metadata,
        |item| {
            let metadata = &item["metadata"];
            let noted = metadata["annotations"][DELIVERY_ANNOTATION].as_str();
            let mark = noted.and_then(|noted| serde_json::from_str::<Mark>(noted).ok());
            let name = metadata["name"].as_str().unwrap_or_default();
            if let Some(mark) = mark.filter(|mark| mark.inventory == *inventory)
                && ObjectRef::delivered(namespace, name).is_possible()
            {
                found.push((name.to_owned(), mark));
            }
        },
    )
    .await?;
    found.sort_by(|(first, _), (second, _)| first.cmp(second));
    found.dedup_by(|(first, _), (second, _)| first == second);
    Ok(found)
}

/// Refuses what must not be overwritten.
fn judge(incoming: &IncomingSecret, held: &HeldSecret) -> Result<(), StepFailure> {
    let place = &incoming.place;
    if held.is_being_deleted {
        let failure = StepFailure::new(format!("`{place}`: it is being deleted"));
        return Err(failure.hint(format!("see what holds it: `{}`", place.object().kubectl("get", &["-o", "yaml"]))));
    }
    if !held.is_ours() && !incoming.adopts {
        return Err(StepFailure::new(format!("`{place}`: it appeared after the plan was made, and is not kubemint's"))
            .hint("run the plan again to see what it is"));
    }
    if (held.is_immutable || held.secret_type != incoming.form.secret_type) && !incoming.adopts {
        return Err(StepFailure::new(format!("`{place}`: it cannot be changed any more, only replaced"))
            .hint("run the plan again to see why"));
    }
    let Some(credential) = &incoming.credential else { return Ok(()) };
    if let Some(other) = held.other_holder.as_ref().filter(|other| other.may_live(credential.facts.issued))
        && incoming.reissue == Reissue::Refused
    {
        let cause = format!("`{place}`: holder `{}` has written a credential of its own there meanwhile", other.holder);
        return Err(StepFailure::new(cause));
    }
    let newer = held.credential.as_ref().map(|(stored, _)| stored.generation);
    match newer.filter(|newer| *newer > credential.facts.generation) {
        Some(newer) => {
            Err(StepFailure::overtaken(format!("`{place}`: another run has written generation {newer} already")))
        }
        None => Ok(()),
    }
}

/// Writes the content, and returns what the API server stored.
async fn write(
    api: &Api,
    incoming: &IncomingSecret,
    held: Option<&HeldSecret>,
    content: &SecretContent,
) -> Result<Value, ApiFailure> {
    let (place, object) = (&incoming.place, incoming.place.object());
    let mut before = held;
    if let Some(held) = held.filter(|held| is_replaced(incoming, held)) {
        match api.send(&deletion::request(&object, version(held))).await {
            Err(failure) if !failure.is_not_found() => return Err(failure),
            Ok(_) | Err(_) => before = None,
        }
    }
    Ok(api.object(&write_request(place, content, before), &object).await?.value)
}

fn write_request(place: &SecretPlace, content: &SecretContent, held: Option<&HeldSecret>) -> Request {
    let object = place.object();
    let request = match content.change(place, held) {
        SecretChange::Create(manifest) => Request::post(object.collection_path(), manifest),
        SecretChange::Patch(patch) => Request::merge_patch(object.path(), patch),
    };
    request.query("fieldManager", FIELD_MANAGER).query("fieldValidation", "Strict")
}

/// Returns the request that tries to create such a Secret under a name that is not taken.
fn trial_request(place: &SecretPlace, content: &SecretContent) -> Request {
    let (SecretChange::Create(mut manifest) | SecretChange::Patch(mut manifest)) = content.change(place, None);
    if let Some(metadata) = manifest["metadata"].as_object_mut() {
        metadata.shift_remove("name");
        metadata.insert("generateName".to_owned(), "kubemint-trial-".into());
    }
    Request::post(place.object().collection_path(), manifest).query("fieldManager", FIELD_MANAGER)
}

/// Whether a Secret is deleted and made anew, rather than changed: where Kubernetes does not let it be changed, and where its
/// consumer notices only that.
fn is_replaced(incoming: &IncomingSecret, held: &HeldSecret) -> bool {
    let cannot_change = held.is_immutable || held.secret_type != incoming.form.secret_type;
    cannot_change || incoming.form.rotation == Rotation::Recreate
}

fn version(held: &HeldSecret) -> Version<'_> {
    Version { uid: &held.uid, resource_version: Some(&held.resource_version) }
}

/// Whether a namespace is created, or it is only tried whether it could be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Real,
    Tried,
}

async fn create_namespace(api: &Api, name: &str, effect: Effect) -> Result<(), StepFailure> {
    let object = ObjectRef::cluster_scoped(Kind::Namespace, name);
    let manifest = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let request = Request::post(object.collection_path(), manifest).query("fieldManager", FIELD_MANAGER);
    let request = if effect == Effect::Tried { request.dry_run() } else { request };
    match api.send(&request).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_already_exists() => Ok(()),
        Err(failure) => Err(StepFailure {
            kind: failure.kind(),
            ..StepFailure::new(format!("{object} does not exist and cannot be created: {failure}"))
        }),
    }
}

/// Whether the answer to a create says that its namespace is missing: nothing else is not found by a create.
fn is_without_namespace(failure: &ApiFailure, held: Option<&HeldSecret>) -> bool {
    held.is_none() && failure.is_not_found()
}

fn no_namespace(place: &SecretPlace) -> StepFailure {
    let command = crate::wording::command(&["kubectl", "create", "namespace", &place.namespace]);
    StepFailure {
        kind: FailureKind::Refused,
        ..StepFailure::new(format!("`{place}`: namespace `{}` does not exist", place.namespace))
    }
    .hint(format!("create it there with `{command}`, or set `create-namespaces = true` in that `[[outputs]]`"))
}

fn check_size(place: &SecretPlace, content: &SecretContent) -> Result<(), StepFailure> {
    if content.size() <= LARGEST {
        return Ok(());
    }
    Err(StepFailure::new(format!("`{place}`: it would have more than 1 MiB, which no Secret may have"))
        .hint("see how large the CA certificates of that cluster are"))
}

/// Compares what was stored with what was sent: a webhook may have changed it.
fn check(place: &SecretPlace, stored: &HeldSecret, content: &SecretContent) -> Result<(), NotDelivered> {
    let Some(difference) = stored.differences(content).into_iter().next() else { return Ok(()) };
    let cause = format!(
        "`{place}`: something in that cluster, such as an admission webhook, changed `{}` back",
        difference.field
    );
    Err(NotDelivered { failure: StepFailure::new(cause), may_be_there: true })
}

fn safe(failure: StepFailure) -> NotDelivered {
    NotDelivered { failure, may_be_there: false }
}

fn refused(place: &SecretPlace, failure: ApiFailure) -> StepFailure {
    let cause = format!("`{place}`: {failure}");
    let failed = StepFailure::from(failure);
    StepFailure { cause, ..failed }
}
