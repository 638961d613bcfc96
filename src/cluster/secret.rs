//! Secrets that credentials are delivered to: reading, trying, writing and removing them in a hub.
//!
//! Each is named by the inventory, so none is ever listed for a delivery: `get`, `create`, `patch` and `delete` on the
//! named Secrets of one namespace are enough. A change is a JSON merge patch of the version that was read, because an
//! apply could not remove a key that a create made (its field manager's entry is of operation `Update`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, Request};
use super::deletion::{self, Version};
use super::observe::{Items, list};
use super::registration;
use crate::credential::{Credential, Reissue};
use crate::delivery::{HeldSecret, Registration, Rotation, SecretChange, SecretContent, SecretForm, SecretPlace};
use crate::failure::{ApiFailure, FailureKind, StepFailure};
use crate::kubeconfig::{Endpoint, Mark};
use crate::names::{
    DELIVERY_ANNOTATION, FIELD_MANAGER, HOLDER_LABEL, INVENTORY_LABEL, InventoryName, MANAGED_BY, MANAGED_BY_LABEL,
};
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

/// A Secret as it was read, and the object by which its consumer finds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretRead {
    /// The Secret, if there is one.
    pub secret: Option<Value>,
    /// The object, if the inventory wants one and there is one.
    pub registration: Option<Value>,
}

/// Reads a Secret, and the object by which its consumer finds it.
///
/// # Errors
///
/// If the API server does not respond, or refuses.
pub(crate) async fn read_whole(
    api: &Api,
    place: &SecretPlace,
    registration: Option<&Registration>,
) -> Result<SecretRead, StepFailure> {
    let secret = read(api, place).await.map_err(|failure| unread(place, failure))?;
    let registration = match registration {
        Some(wanted) => registration::read(api, wanted).await.map_err(|failure| {
            let cause = format!("{} cannot be read: {failure}", wanted.object);
            StepFailure { cause, ..StepFailure::from(failure) }
        })?,
        None => None,
    };
    Ok(SecretRead { secret, registration })
}

/// Returns uid and version of a Secret, if there is one.
///
/// # Errors
///
/// If the API server does not respond, or refuses.
pub(crate) async fn version_now(api: &Api, place: &SecretPlace) -> Result<Option<(String, String)>, StepFailure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = read_as(api, place, Request::metadata_only).await.map_err(|failure| unread(place, failure))?;
    Ok(found.map(|secret| (text(&secret["metadata"]["uid"]), text(&secret["metadata"]["resourceVersion"]))))
}

fn unread(place: &SecretPlace, failure: ApiFailure) -> StepFailure {
    let cause = format!("`{place}` cannot be read: {failure}");
    StepFailure { cause, ..StepFailure::from(failure) }
}

/// Reads a Secret; returns nothing if there is none.
///
/// # Errors
///
/// If the API server does not respond, or refuses.
async fn read(api: &Api, place: &SecretPlace) -> Result<Option<Value>, ApiFailure> {
    read_as(api, place, |request| request).await
}

/// Reads a Secret, or a part of it; returns nothing if there is none.
async fn read_as(
    api: &Api,
    place: &SecretPlace,
    part: impl FnOnce(Request) -> Request,
) -> Result<Option<Value>, ApiFailure> {
    let object = place.object();
    match api.object(&part(Request::get(object.path())), &object).await {
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
    try_secret(api, incoming).await?;
    let IncomingSecret { form, mark, endpoint, .. } = incoming;
    let Some(registration) = &form.registration else { return Ok(()) };
    registration::try_registration(api, registration, (mark, endpoint), form.creates_namespace).await
}

async fn try_secret(api: &Api, incoming: &IncomingSecret) -> Result<(), StepFailure> {
    let IncomingSecret { place, form, mark, endpoint, credential, held, .. } = incoming;
    let content = SecretContent::render(form, mark, endpoint, credential.as_ref()).for_trial();
    check_size(place, &content)?;
    let held = held.as_deref();
    let replaced = held.filter(|held| is_replaced(incoming, held));
    if let Some(held) = replaced {
        let deleted = api.send(&deletion::request(&place.object(), version(held)).dry_run()).await;
        if let Err(failure) = deleted
            && !failure.is_stale()
            && !failure.is_not_found()
        {
            return Err(refused(place, failure));
        }
    }
    // What is replaced is in the way of a create, which is noticed last: policies, webhooks and quotas are asked before.
    let request = write_request(place, &content, held.filter(|_| replaced.is_none()));
    let failure = match api.send(&request.dry_run()).await {
        Ok(answer) => {
            let stored = HeldSecret::of(&answer.value, form, mark);
            return check(place, &stored, &content).map_err(|not_delivered| not_delivered.failure);
        }
        Err(failure) => failure,
    };
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
    let IncomingSecret { form, mark, endpoint, held, .. } = incoming;
    let wanted = form.registration.as_ref();
    let former = held.as_ref().and_then(|held| held.noted_registration());
    // What the Secret notes of an object is needed as long as that is there.
    if let Some(former) = former.filter(|former| !wanted.is_some_and(|wanted| wanted.is_like(former))) {
        registration::unregister(api, former, &mark.inventory).await.map_err(safe)?;
    }
    deliver_secret(api, incoming).await?;
    let Some(registration) = wanted else { return Ok(()) };
    let registered = registration::register(api, registration, (mark, endpoint)).await;
    registered.map_err(|failure| NotDelivered { failure, may_be_there: true })
}

async fn deliver_secret(api: &Api, incoming: &IncomingSecret) -> Result<(), NotDelivered> {
    let IncomingSecret { place, form, mark, endpoint, credential, .. } = incoming;
    let content = SecretContent::render(form, mark, endpoint, credential.as_ref());
    check_size(place, &content).map_err(safe)?;
    let mut held = incoming.held.clone();
    let mut is_namespace_there = !form.creates_namespace;
    // What was read for the plan may be long ago: it is enough to write on, because that names the version, and not to say
    // that all is well.
    let mut is_fresh = false;
    for _ in 0..MOST_TRIES {
        if let Some(read) = held.as_deref() {
            judge(incoming, read).map_err(safe)?;
            if read.own_differences(&content).is_empty() {
                if is_fresh {
                    return Ok(());
                }
                held = read_again(api, incoming).await?;
                is_fresh = true;
                continue;
            }
        }
        let failure = match write(api, incoming, held.as_deref(), &content).await {
            Ok(stored) => return check(place, &HeldSecret::of(&stored, form, mark), &content),
            Err(Unwritten::Lost(failure)) => return Err(NotDelivered { failure, may_be_there: true }),
            Err(Unwritten::Refused(failure)) => failure,
        };
        if is_without_namespace(&failure, held.as_deref()) {
            if is_namespace_there {
                return Err(safe(no_namespace(place)));
            }
            create_namespace(api, &place.namespace, Effect::Real).await.map_err(safe)?;
            is_namespace_there = true;
            continue;
        }
        // Somebody else wrote it since it was read, or an earlier try of ours did and its response was lost: a refusal
        // may be the answer to a repetition.
        held = read_again(api, incoming).await?;
        is_fresh = true;
        if failure.is_stale() || failure.is_already_exists() || failure.is_not_found() {
            continue;
        }
        return settle(incoming, held.as_deref(), &content, refused(place, failure));
    }
    let command = place.object().kubectl("get", &["-o", "yaml", "--show-managed-fields"]);
    let failure = StepFailure::new(format!("`{place}`: somebody else keeps changing it"));
    settle(incoming, held.as_deref(), &content, failure.hint(format!("see who does: `{command}`")))
}

/// Says what came of a delivery whose last write failed, by what is there.
fn settle(
    incoming: &IncomingSecret,
    now: Option<&HeldSecret>,
    content: &SecretContent,
    failure: StepFailure,
) -> Result<(), NotDelivered> {
    if now.is_some_and(|now| now.own_differences(content).is_empty()) {
        return Ok(());
    }
    let token = incoming.credential.as_ref().map(|credential| &credential.token);
    let there = now.and_then(|now| now.credential.as_ref()).zip(token);
    let may_be_there = there.is_some_and(|((stored, _), token)| stored.token.is_same_as(token));
    Err(NotDelivered { failure, may_be_there })
}

/// Reads a Secret again that a credential goes to; a write before that may have had its effect.
async fn read_again(api: &Api, incoming: &IncomingSecret) -> Result<Option<Arc<HeldSecret>>, NotDelivered> {
    let place = &incoming.place;
    let now = read(api, place).await;
    let now = now.map_err(|failure| NotDelivered { failure: refused(place, failure), may_be_there: true })?;
    Ok(now.map(|object| Arc::new(HeldSecret::of(&object, &incoming.form, &incoming.mark))))
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
        if let Some(registration) = held.noted_registration() {
            registration::unregister(api, registration, &mark.inventory).await?;
        }
        match deletion::delete(api, &object, version(&held)).await {
            Ok(fate) => return fate.gone(&object),
            Err(failure) if failure.is_stale() => {}
            Err(failure) => return Err(refused(place, failure)),
        }
    }
    Err(StepFailure::new(format!("`{place}`: somebody else keeps changing it")))
}

/// A Secret with the labels of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whose credential it holds; nothing if its annotation is gone.
    pub mark: Option<Mark>,
}

/// Returns the Secrets that an inventory delivered credentials to: those of all namespaces, or of one.
///
/// # Errors
///
/// If the API server does not respond, or refuses a list.
pub(crate) async fn delivered(
    api: &Api,
    namespace: Option<&str>,
    inventory: &InventoryName,
) -> Result<Vec<Delivered>, ApiFailure> {
    // Anchors have the label of a holder.
    let selector = format!("{MANAGED_BY_LABEL}={MANAGED_BY},{INVENTORY_LABEL}={inventory},!{HOLDER_LABEL}");
    let mut found: BTreeMap<(String, String), Option<Mark>> = BTreeMap::new();
    list(api, &Kind::Secret.collection_path(namespace), &[("labelSelector", selector)], Items::Metadata, |item| {
        let metadata = &item["metadata"];
        let noted = metadata["annotations"][DELIVERY_ANNOTATION].as_str();
        let mark = noted.and_then(|noted| serde_json::from_str::<Mark>(noted).ok());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        if ObjectRef::delivered(&namespace, &name).is_possible() {
            // A list that starts again contains some objects twice.
            found.insert((namespace, name), mark.filter(|mark| mark.inventory == *inventory));
        }
    })
    .await?;
    Ok(found.into_iter().map(|((namespace, name), mark)| Delivered { namespace, name, mark }).collect())
}

/// Refuses what must not be overwritten.
fn judge(incoming: &IncomingSecret, held: &HeldSecret) -> Result<(), StepFailure> {
    let place = &incoming.place;
    if held.is_being_deleted {
        let failure = StepFailure::new(format!("`{place}`: it is being deleted"));
        return Err(failure.hint(format!("see what holds it: `{}`", place.object().kubectl("get", &["-o", "yaml"]))));
    }
    let is_planned = |read: &Arc<HeldSecret>| {
        read.uid == held.uid && read.resource_version == held.resource_version && read.owner.is_none()
    };
    // Consent is for what was shown.
    let may_be_written = held.is_ours() || (incoming.adopts && incoming.held.as_ref().is_some_and(is_planned));
    if !may_be_written {
        return Err(StepFailure::new(format!(
            "`{place}`: it appeared or changed after the plan was made, and is not kubemint's"
        ))
        .hint("run the plan again to see what it is"));
    }
    if let Some(finalizer) = held.finalizers.first().filter(|_| is_replaced(incoming, held)) {
        let cause = format!("`{place}`: it has to be made anew, and finalizer `{finalizer}` would hold the one before");
        return Err(StepFailure::new(cause));
    }
    if held.is_fixed(&incoming.form) && !incoming.adopts {
        return Err(StepFailure::new(format!("`{place}`: it cannot be changed any more, only replaced"))
            .hint("run the plan again to see why"));
    }
    let was_of = incoming.held.as_ref().and_then(|read| read.other_grant(&incoming.mark));
    if let Some(other) = held.other_grant(&incoming.mark).filter(|other| Some(*other) != was_of) {
        let Mark { cluster, profile, .. } = other;
        return Err(StepFailure::new(format!(
            "`{place}`: the credential of `{profile}` on cluster `{cluster}` was written there after the plan was made"
        ))
        .hint("see whether two hubs of the inventory are one API server, and give each Secret a name of its own"));
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

/// Why a Secret was not written.
enum Unwritten {
    Refused(ApiFailure),
    /// The one before was deleted, and neither the new one nor the one before could be created.
    Lost(StepFailure),
}

impl From<ApiFailure> for Unwritten {
    fn from(failure: ApiFailure) -> Self {
        Self::Refused(failure)
    }
}

/// Writes the content, and returns what the API server stored.
async fn write(
    api: &Api,
    incoming: &IncomingSecret,
    held: Option<&HeldSecret>,
    content: &SecretContent,
) -> Result<Value, Unwritten> {
    let (place, object) = (&incoming.place, incoming.place.object());
    match held.filter(|held| is_replaced(incoming, held)) {
        Some(held) => replace(api, place, held, content).await,
        None => Ok(api.object(&write_request(place, content, held), &object).await?.value),
    }
}

/// The waits for a quota to be counted again after a deletion: the controller does that by itself, and soon
/// (kube-controller-manager, `pkg/controller/resourcequota`).
const RECOUNTS: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Deletes a Secret and makes it anew, with what others have put into it. If the new one is refused, the one before comes
/// back.
async fn replace(
    api: &Api,
    place: &SecretPlace,
    held: &HeldSecret,
    content: &SecretContent,
) -> Result<Value, Unwritten> {
    let object = place.object();
    let Some(before) = read(api, place).await? else {
        return Ok(api.object(&write_request(place, content, None), &object).await?.value);
    };
    let create =
        |manifest: Value| Request::post(object.collection_path(), manifest).query("fieldManager", FIELD_MANAGER);
    let anew = create(content.anew(&before, held));
    match api.send(&deletion::request(&object, version(held))).await {
        Err(failure) if !failure.is_not_found() => return Err(failure.into()),
        Ok(_) | Err(_) => {}
    }
    let mut waits = RECOUNTS.into_iter();
    let failure = loop {
        match api.object(&anew, &object).await {
            Ok(answer) => return Ok(answer.value),
            Err(failure) => match waits.next().filter(|_| failure.is_over_quota()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break failure,
            },
        }
    };
    // Somebody else made one, or the answer to ours was lost: it is looked into.
    if failure.is_already_exists() {
        return Err(failure.into());
    }
    match api.object(&create(SecretContent::back(&before)), &object).await {
        Ok(_) => Err(failure.into()),
        Err(again) if again.is_already_exists() => Err(failure.into()),
        Err(again) => Err(Unwritten::Lost(
            StepFailure {
                kind: failure.kind(),
                ..StepFailure::new(format!(
                    "`{place}`: it was deleted to be made anew, the new one was refused ({failure}), and so was the one \
                     before ({again}): its consumer has no credential"
                ))
            }
            .hint("see what refuses it, and run the same command again: it delivers a new one"),
        )),
    }
}

fn write_request(place: &SecretPlace, content: &SecretContent, held: Option<&HeldSecret>) -> Request {
    let object = place.object();
    let request = match content.change(place, held) {
        SecretChange::Create(manifest) => Request::post(object.collection_path(), manifest),
        SecretChange::Patch(patch) => Request::merge_patch(object.path(), patch),
    };
    request.query("fieldManager", FIELD_MANAGER).query("fieldValidation", "Strict")
}

/// Whether a Secret is deleted and made anew, rather than changed: where Kubernetes does not let it be changed, and where its
/// consumer notices only that.
fn is_replaced(incoming: &IncomingSecret, held: &HeldSecret) -> bool {
    held.is_fixed(&incoming.form) || incoming.form.rotation == Rotation::Recreate
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
        // The inventory and the hub do not fit together: whoever runs this has to decide.
        kind: FailureKind::Blocked,
        ..StepFailure::new(format!("`{place}`: namespace `{}` does not exist", place.namespace))
    }
    .hint(format!(
        "check `namespace` in that `[[outputs]]`; if it is right, run `{command}` with a kubeconfig of the hub `{}`, or set \
         `create-namespaces = true` there",
        place.hub
    ))
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
    let Some(difference) = stored.own_differences(content).into_iter().next() else { return Ok(()) };
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
