//! Ends generations: retires superseded ones, revokes living ones, and lifts a suspension again.
//!
//! The order makes a revocation safe: first the index says that issuing is suspended, with a fence that stops a claim
//! in flight; then the anchors are deleted, and then their lines in the index. After a kill at any point, the next
//! revocation continues with the rest. The index does not decide what lives: anchors are searched for, and each counts
//! as gone only when the API server says so.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::anchor::{self, AnchorOwner, Listed};
use super::api::{Api, Request};
use super::deletion::{self, Fate, Version};
use super::index::{check_stored, edit_index, read_account, read_index};
use super::issue::own_time;
use crate::credential::{AnchorHints, Index, Spent, Suspended};
use crate::failure::{ApiFailure, StepFailure};
use crate::names::{AnchorOf, FIELD_MANAGER, Holder, INDEX_ANNOTATION, InventoryName, ProfileName};
use crate::object::ObjectRef;
use crate::observed::{Anchors, ObservedObject, Search};
use crate::plan::{Note, NoteKind, doubts};
use crate::step::{Recreate, Resume, Retire, Revoke, Victims};

/// The anchors of the namespaces of one cluster, each listed once.
#[derive(Debug, Default)]
pub(crate) struct ListedAnchors(BTreeMap<Option<String>, Result<Vec<Listed>, ApiFailure>>);

impl ListedAnchors {
    /// Finds the anchors of a ServiceAccount.
    ///
    /// # Errors
    ///
    /// If there is no response.
    pub(crate) async fn find(
        &mut self,
        api: &Api,
        account: &ObjectRef,
        account_uid: &str,
        (inventory, profile): (&InventoryName, &ProfileName),
        hints: &AnchorHints,
    ) -> Result<Anchors, ApiFailure> {
        let listed = match self.0.entry(account.namespace.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let listed = anchor::list_anchors(api, entry.key().as_deref()).await;
                entry.insert(listed)
            }
        };
        let owner = AnchorOwner { account, account_uid, inventory, profile };
        anchor::find(api, owner, hints, listed.as_deref()).await
    }
}

/// Deletes the anchors of generations that are not needed any more, then their lines in the index. `now` is the API
/// server's own time, if it is known.
///
/// # Errors
///
/// If the generation that supersedes them is not recorded any more, or something cannot be deleted.
pub(crate) async fn retire(api: &Api, step: &Retire, now: Option<Timestamp>) -> Result<Vec<Note>, StepFailure> {
    let (account, inventory) = (&step.service_account, &step.inventory);
    let (observed, _, index) = read_index(api, account, inventory).await?;
    let keeps = index.holder(&step.holder).and_then(|chain| chain.generation(step.keep));
    let Some(keeps) = keeps.filter(|keeps| keeps.is_recorded()) else {
        let cause = format!("generation {} is not in the index any more: nothing older was deleted", step.keep);
        return Err(StepFailure::overtaken(cause).hint("run it again to see what another run did"));
    };
    let owner = AnchorOwner { account, account_uid: &observed.uid, inventory, profile: &step.profile };
    let now = match (now, &keeps.anchor_uid) {
        (None, Some(uid)) if step.asks_for_time => {
            let anchor = owner.anchor(&step.holder, AnchorOf::Generation(step.keep));
            Some(own_time(api, account, (&anchor.name, uid)).await?)
        }
        (now, _) => now,
    };
    let (ripe, green): (Vec<Spent>, Vec<Spent>) =
        step.generations.iter().partition(|spent| now.is_none_or(|now| spent.since <= now));
    let mut gone = vec![];
    let mut first_failure = None;
    for Spent { n, .. } in ripe {
        let known = index.holder(&step.holder).and_then(|chain| chain.generation(n));
        let was_published = known.is_some_and(crate::credential::Generation::is_recorded);
        match retire_one(api, owner, &step.holder, n, was_published).await {
            Ok(()) => gone.push(n),
            // It stays in the index, and the others are deleted all the same.
            Err(failure) => first_failure = first_failure.or(Some(failure)),
        }
    }
    if !gone.is_empty() {
        edit_index(api, account, inventory, |_, _, index| {
            let forgotten = index.clone().without(&step.holder, &gone);
            Ok((forgotten != index).then_some(forgotten))
        })
        .await?;
    }
    first_failure.map_or(Ok(()), Err)?;
    let numbers: Vec<String> = green.iter().map(|spent| spent.n.to_string()).collect();
    Ok((!numbers.is_empty())
        .then(|| {
            let message = format!(
                "older tokens of `{}` (generation {}) are ended later: by the API server's own clock their time has not \
                 come; set the clock of this machine, or of what answers for the cluster, right",
                step.profile,
                numbers.join(", ")
            );
            Note::new(NoteKind::ClockSkew, message)
        })
        .into_iter()
        .collect())
}

/// Deletes the anchors of generations that are not needed any more, leaves their lines in the index, and returns how
/// many it deleted. It asks for the API server's own time with a token that is bound to one of them and thrown away.
///
/// # Errors
///
/// If the time is not known, or an anchor cannot be deleted.
pub(super) async fn free(
    api: &Api,
    owner: AnchorOwner<'_>,
    holder: &Holder,
    spent: &[Spent],
) -> Result<usize, StepFailure> {
    let mut freed = 0;
    let mut time = None;
    for Spent { n, since } in spent {
        let found = anchor::find_one(api, owner, holder, AnchorOf::Generation(*n)).await?;
        let Some(anchor) = found.filter(|anchor| anchor.is_certain) else { continue };
        let now = match time {
            Some(now) => now,
            None => own_time(api, owner.account, (&anchor.name, &anchor.uid)).await?,
        };
        time = Some(now);
        if *since <= now {
            anchor::delete_found(api, owner, &anchor).await?.gone(&owner.secret(anchor.name))?;
            freed += 1;
        }
    }
    Ok(freed)
}

async fn retire_one(
    api: &Api,
    owner: AnchorOwner<'_>,
    holder: &Holder,
    number: u64,
    was_published: bool,
) -> Result<(), StepFailure> {
    let Some(anchor) = anchor::find_one(api, owner, holder, AnchorOf::Generation(number)).await? else {
        return Ok(());
    };
    // Nobody holds the token of a claim that was never published. The Secret of its name may be somebody else's, and
    // the reason why its anchor could not be made.
    if !anchor.is_certain && !was_published {
        return Ok(());
    }
    anchor::delete_found(api, owner, &anchor).await?.gone(&owner.secret(anchor.name))
}

/// The result of a revocation. What is neither held nor a failure is gone.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// What the user should know.
    pub notes: Vec<Note>,
    /// The anchors, with their uids, that are being deleted and that a finalizer holds.
    pub held: Vec<(ObjectRef, String)>,
    /// What failed, the worst first.
    pub failures: Vec<StepFailure>,
}

/// Revokes generations: fence, anchors, index. A failure does not stop the rest.
pub(crate) async fn revoke(api: &Api, step: &Revoke) -> Revoked {
    let mut revoked = Revoked::default();
    let (account, inventory) = (&step.service_account, &step.inventory);
    let mut known = None;
    let fence = edit_index(api, account, inventory, |uid, _, index| {
        // This index has every claim up to the write; later claims run into the fence.
        known = Some((uid.to_owned(), Some(index.clone())));
        Ok(step.suspends.as_ref().map(|whose| index.suspend(whose)))
    })
    .await;
    if known.is_none() {
        // For example, it is no longer ours, or its index cannot be read. Its anchors are deleted all the same.
        match read_account(api, account).await {
            Ok(read) => known = Some((read.observed.uid, read.index.ok())),
            // Without its ServiceAccount, no token works.
            Err(failure) if failure.is_not_found() => return revoked,
            Err(failure) => {
                revoked.failures.push(failure.into());
                return revoked;
            }
        }
    }
    let (account_uid, index) = known.expect("it was read, one way or the other");
    let owner = AnchorOwner { account, account_uid: &account_uid, inventory, profile: &step.profile };
    let hints = AnchorHints::new(index.as_ref(), &step.holder, &step.held);
    let listed = anchor::list_anchors(api, account.namespace.as_deref()).await;
    let seen = match anchor::find(api, owner, &hints, listed.as_deref()).await {
        Ok(anchors) => {
            revoked.notes.extend(doubts(account, index.as_ref(), &anchors));
            let seen = delete_victims(api, step, owner, &anchors, &mut revoked).await;
            revoked.failures.extend(unfinished(step, account, index.as_ref(), &anchors));
            let nothing_lives = step.victims == Victims::Everybody
                && anchors.search == Search::Listed
                && revoked.failures.is_empty()
                && revoked.held.is_empty();
            Some((seen, nothing_lives))
        }
        Err(failure) => {
            let cause = format!("the anchors of {account} could not be looked for: {failure}");
            revoked
                .failures
                .push(StepFailure::new(cause).hint("pass `--hard`: without its ServiceAccount no token lives"));
            None
        }
    };
    match (fence, seen) {
        (Ok(()), Some((seen, nothing_lives))) => {
            if let Err(failure) = forget(api, step, &seen, nothing_lives).await {
                let cause = format!("the index could not be brought up to date: {}", failure.cause);
                revoked.failures.push(StepFailure { cause, ..failure });
            }
        }
        (Ok(()), None) => {}
        (Err(failure), _) => {
            let cause = format!("issuing could not be suspended, so a run may mint again: {}", failure.cause);
            let hint = "stop what runs `kubemint apply` and `kubemint refresh`, or pass `--hard`, which makes the \
                        ServiceAccount anew";
            revoked.failures.push(StepFailure { cause, ..failure }.hint(hint));
        }
    }
    revoked
}

/// Whether a revocation includes an anchor, or the generation of a line in the index.
fn is_victim(victims: &Victims, holder: &Holder, of: AnchorOf) -> bool {
    match victims {
        Victims::Generations { holder: one, numbers } => {
            one == holder && matches!(of, AnchorOf::Generation(n) if numbers.contains(&n))
        }
        Victims::Holder(one) => one == holder,
        Victims::Everybody => true,
    }
}

/// What a revocation has found of the anchors that it includes.
struct Seen {
    /// The anchors that were found and deleted.
    deleted: Vec<(Holder, AnchorOf)>,
    /// The anchors that still exist.
    left: Vec<(Holder, AnchorOf)>,
    /// Whether every other anchor is known not to exist; otherwise some were not asked for.
    is_all: bool,
}

impl Seen {
    fn is_gone(&self, holder: &Holder, of: AnchorOf) -> bool {
        let is_in = |list: &[(Holder, AnchorOf)]| list.iter().any(|(one, other)| one == holder && *other == of);
        !is_in(&self.left) && (self.is_all || is_in(&self.deleted))
    }
}

/// Deletes the anchors that the revocation includes. If one cannot be deleted, it goes on with the others.
async fn delete_victims(
    api: &Api,
    step: &Revoke,
    owner: AnchorOwner<'_>,
    anchors: &Anchors,
    revoked: &mut Revoked,
) -> Seen {
    let is_all = !matches!(anchors.search, Search::ByName { unasked: 1.. });
    let mut seen = Seen { deleted: vec![], left: vec![], is_all };
    for anchor in anchors.found.iter().filter(|anchor| is_victim(&step.victims, &anchor.holder, anchor.of)) {
        let secret = owner.secret(anchor.name.clone());
        let which = (anchor.holder.clone(), anchor.of);
        let deleted = match anchor::delete_found(api, owner, anchor).await {
            Ok(Fate::Held { .. }) if step.awaits => {
                revoked.held.push((secret, anchor.uid.clone()));
                seen.left.push(which);
                continue;
            }
            Ok(fate) => fate.gone(&secret),
            Err(failure) => Err(failure),
        };
        match deleted {
            Ok(()) => seen.deleted.push(which),
            Err(failure) => {
                revoked.failures.push(failure);
                seen.left.push(which);
            }
        }
    }
    seen
}

/// Returns why a revocation may be incomplete although it deleted what it found.
fn unfinished(step: &Revoke, account: &ObjectRef, index: Option<&Index>, anchors: &Anchors) -> Vec<StepFailure> {
    const HARD: &str = "pass `--hard`: without its ServiceAccount no token lives";
    if matches!(step.victims, Victims::Generations { .. }) {
        return vec![];
    }
    let mut failures = vec![];
    if step.victims == Victims::Everybody {
        failures.extend(anchors.strange.iter().map(|name| {
            let cause = format!(
                "Secret `{name}` keeps tokens of {account} alive that another inventory of kubemint made, so it is not \
                 deleted"
            );
            StepFailure::new(cause).hint(HARD)
        }));
    }
    let Search::ByName { unasked } = anchors.search else { return failures };
    let namespace = account.namespace.as_deref().unwrap_or_default();
    let hint = format!("let the admin list Secrets in namespace `{namespace}`, or {HARD}");
    let why = match index {
        None => format!("the annotation `{INDEX_ANNOTATION}` of {account} is unusable"),
        Some(index) if index.incomplete => {
            format!("{account} lost its annotation `{INDEX_ANNOTATION}` at some time")
        }
        Some(_) if unasked > 0 => format!("{unasked} names that anchors of {account} may have were not asked for"),
        Some(_) => return failures,
    };
    let cause = format!("{why}: what was found is revoked, and whether more tokens live is not known");
    failures.push(StepFailure::new(cause).hint(hint));
    failures
}

/// Removes the lines of deleted anchors from the index, and the mark for plugins if their anchor is gone.
async fn forget(api: &Api, step: &Revoke, seen: &Seen, nothing_lives: bool) -> Result<(), StepFailure> {
    edit_index(api, &step.service_account, &step.inventory, |_, _, index| {
        let mut forgotten = index.clone();
        for (name, chain) in &index.holders {
            let holder = Holder::new(name);
            let is_over = |of: AnchorOf| is_victim(&step.victims, &holder, of) && seen.is_gone(&holder, of);
            let numbers = chain.generations.iter().map(|generation| generation.n);
            let over: Vec<u64> = numbers.filter(|n| is_over(AnchorOf::Generation(*n))).collect();
            forgotten = forgotten.without(&holder, &over);
            if is_over(AnchorOf::Plugins) {
                forgotten = forgotten.without_exec_anchor(&holder);
            }
        }
        // Nothing lives, so nothing is missing from the index any more.
        forgotten.incomplete &= !nothing_lives;
        Ok((forgotten != index).then_some(forgotten))
    })
    .await
}

/// An API server accepts a token for one minute after the deletion of its anchor began, if a finalizer holds the anchor
/// (`pkg/serviceaccount/claims.go`, `Validate`); another 15 s are for differences of clocks.
pub(crate) const HELD_ANCHORS_LIVE: Duration = Duration::from_secs(75);
const HELD_ANCHOR_WAIT: Duration = Duration::from_secs(1);

/// Returns once an anchor that is being deleted is gone, or at the deadline.
///
/// # Errors
///
/// If it is still there when tokens that are bound to it are no longer accepted, or cannot be read.
pub(crate) async fn await_gone(api: &Api, anchor: &ObjectRef, uid: &str, deadline: Instant) -> Result<(), StepFailure> {
    let waits = ConstantBuilder::default().with_delay(HELD_ANCHOR_WAIT).without_max_times();
    let gone = || async {
        match deletion::fate(api, anchor, uid).await {
            Ok(fate) => fate.gone(anchor).map_err(|failure| (failure, true)),
            Err(failure) => Err((failure.into(), false)),
        }
    };
    let is_waited_for = |(_, is_there): &(StepFailure, bool)| *is_there && Instant::now() < deadline;
    gone.retry(waits).when(is_waited_for).await.map_err(|(failure, is_there)| {
        if is_there {
            let waited = "; that minute is over, so they should be refused by now";
            return StepFailure { cause: format!("{}{waited}", failure.cause), ..failure };
        }
        failure
    })
}

/// Lifts a suspension.
///
/// # Errors
///
/// If the index cannot be written.
pub(crate) async fn resume(api: &Api, step: &Resume) -> Result<(), StepFailure> {
    edit_index(api, &step.service_account, &step.inventory, |_, _, index| {
        Ok(index.is_suspended(&step.holder).then(|| index.resume(&step.holder)))
    })
    .await
}

/// Deletes a ServiceAccount and makes it anew with another uid, which ends every token for it, whoever minted it. The
/// new one keeps what others added to it, the numbers of its generations, and the suspension.
///
/// # Errors
///
/// If it is no longer ours, cannot be deleted, or cannot be made again.
pub(crate) async fn recreate(api: &Api, step: &Recreate) -> Result<Vec<Note>, StepFailure> {
    let account = &step.account.object;
    let existing = match api.object(&Request::get(account.path()), account).await {
        Ok(answer) => Some(answer.value),
        Err(failure) if failure.is_not_found() => None,
        Err(failure) => return Err(failure.into()),
    };
    let observed = existing.as_ref().map(ObservedObject::from_json).unwrap_or_default();
    if existing.is_some() && step.uid.as_ref() != Some(&observed.uid) {
        return Err(StepFailure::overtaken(format!("{account} was recreated meanwhile"))
            .hint("run it again if it was not another revocation"));
    }
    // If the index cannot be read, the account is recreated all the same. Numbers then start again, which is safe
    // because no older token carries the new uid.
    let index = match observed.index().ok().filter(|_| observed.has_index()) {
        Some(index) if index.suspended => emptied(index),
        Some(index) => emptied(index).suspend(&step.suspends),
        None => step.index_if_lost(),
    };
    let bare = step.account.manifest_with_index(&index);
    let mut whole = bare.clone();
    if let Some(existing) = &existing {
        carry_over(existing, &mut whole);
        let version = Version { uid: &observed.uid, resource_version: None };
        deletion::delete(api, account, version).await?.gone(account)?;
    }
    match create(api, account, &index, whole.clone()).await {
        // The API server may refuse what others added to it, for example because it is too large.
        Err(Uncreated::Refused(failure)) if whole != bare => match create(api, account, &index, bare).await {
            Ok(()) => {
                let message = format!("{account} was made anew without what others had put on it: {failure}");
                Ok(vec![Note::new(NoteKind::NotKept, message)])
            }
            Err(_) => Err(failure.into()),
        },
        Ok(()) => Ok(vec![]),
        // An earlier try succeeded and its response was lost, or an apply was faster. Either way the uid is new, and
        // the account has to be suspended.
        Err(Uncreated::Exists) => edit_index(api, account, &step.account.inventory, |_, _, index| {
            let suspended = step.suspends == Suspended::Everybody && index.suspended;
            Ok((!suspended).then(|| index.suspend(&step.suspends)))
        })
        .await
        .map(|()| vec![]),
        // Without its namespace, nothing can be issued, so nothing has to be suspended.
        Err(Uncreated::NoNamespace) if existing.is_none() => Ok(vec![]),
        Err(Uncreated::NoNamespace) => Err(StepFailure::new(format!("the namespace of {account} is gone"))),
        Err(Uncreated::Refused(failure)) => Err(failure.into()),
        Err(Uncreated::Failed(failure)) => Err(failure),
    }
}

/// Why a ServiceAccount was not made.
enum Uncreated {
    /// It exists.
    Exists,
    /// Its namespace does not exist.
    NoNamespace,
    /// The API server refuses its content.
    Refused(ApiFailure),
    /// Something else.
    Failed(StepFailure),
}

async fn create(api: &Api, account: &ObjectRef, index: &Index, manifest: Value) -> Result<(), Uncreated> {
    let request = Request::post(account.collection_path(), manifest)
        .query("fieldManager", FIELD_MANAGER)
        .query("fieldValidation", "Strict");
    match api.object(&request, account).await {
        Ok(answer) => check_stored(account, None, index, &answer.value).map_err(Uncreated::Failed),
        Err(failure) if failure.is_already_exists() => Err(Uncreated::Exists),
        Err(failure) if failure.is_not_found() => Err(Uncreated::NoNamespace),
        Err(failure) if failure.code().is_some_and(|code| code < 500) => Err(Uncreated::Refused(failure)),
        Err(failure) => Err(Uncreated::Failed(failure.into())),
    }
}

/// Carries over what others added to a ServiceAccount, except `secrets`, whose tokens end with it.
fn carry_over(existing: &Value, manifest: &mut Value) {
    for map in ["labels", "annotations"] {
        for (key, value) in existing["metadata"][map].as_object().into_iter().flatten() {
            let known = &mut manifest["metadata"][map][key.as_str()];
            if known.is_null() {
                *known = value.clone();
            }
        }
    }
    for field in ["imagePullSecrets", "automountServiceAccountToken"] {
        if !existing[field].is_null() {
            manifest[field] = existing[field].clone();
        }
    }
}

/// Returns the index for the recreated account, without the generations of the old one.
fn emptied(mut index: Index) -> Index {
    index.incomplete = false;
    for chain in index.holders.values_mut() {
        chain.generations.clear();
        chain.exec = false;
    }
    index
}

#[cfg(test)]
mod tests {
    use http::{Method, Response};
    use kube::client::Body;
    use serde_json::json;
    use tower_test::mock;

    use super::*;
    use crate::cluster::Limits;
    use crate::cluster::transport::Client;
    use crate::desired::{Content, DesiredObject};
    use crate::names::{INVENTORY_LABEL, MANAGED_BY, MANAGED_BY_LABEL};
    use crate::object::Kind;

    /// Responds to requests in their order, and checks each.
    async fn serve(
        answers: Vec<(Method, &str, u16, Value)>,
        mut server: mock::Handle<http::Request<Body>, Response<Body>>,
    ) {
        for (method, uri, code, body) in answers {
            let (request, reply) = server.next_request().await.expect("another request");
            assert_eq!((request.method(), request.uri().to_string().as_str()), (&method, uri));
            let body = Body::from(body.to_string().into_bytes());
            reply.send_response(Response::builder().status(code).body(body).unwrap());
        }
    }

    fn mocked() -> (Api, mock::Handle<http::Request<Body>, Response<Body>>) {
        let (service, server) = mock::pair::<http::Request<Body>, Response<Body>>();
        let limits = Limits::new(Duration::from_secs(10), Duration::from_secs(60));
        (Api::new(Client::new(service), "https://api", limits), server)
    }

    fn account(uid: &str, index: &Index) -> Value {
        json!({"kind": "ServiceAccount", "metadata": {
            "name": "reader", "namespace": "ci", "uid": uid, "resourceVersion": "7",
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, INVENTORY_LABEL: "acme"},
            "annotations": {INDEX_ANNOTATION: index.to_annotation(), "example.com/filler": "x"},
        }})
    }

    fn status(code: u16, reason: &str) -> Value {
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
    }

    const ACCOUNT: &str = "/api/v1/namespaces/ci/serviceaccounts/reader";
    const CREATE: &str = "/api/v1/namespaces/ci/serviceaccounts?fieldManager=kubemint&fieldValidation=Strict";

    /// The API server may refuse what others added to the old ServiceAccount; making the account with its suspension
    /// matters more.
    #[tokio::test]
    async fn an_account_is_made_anew_without_what_is_not_taken_again() {
        let (api, server) = mocked();
        let step = Recreate {
            profile: "reader".into(),
            account: DesiredObject {
                object: ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader"),
                inventory: "acme".into(),
                profile: Some("reader".into()),
                content: Content::Empty,
            },
            uid: Some("old".to_owned()),
            suspends: Suspended::Everybody,
            awaits: false,
        };
        let suspended = Index::default().suspend(&Suspended::Everybody);
        let answers = vec![
            (Method::GET, ACCOUNT, 200, account("old", &Index::default())),
            (Method::DELETE, ACCOUNT, 200, json!({"kind": "Status", "status": "Success"})),
            (Method::GET, ACCOUNT, 404, status(404, "NotFound")),
            (Method::POST, CREATE, 422, status(422, "Invalid")),
            (Method::POST, CREATE, 201, account("new", &suspended)),
        ];
        let (result, ()) = tokio::join!(recreate(&api, &step), serve(answers, server));
        let notes = result.unwrap();
        assert_eq!(notes.iter().map(|note| note.kind).collect::<Vec<_>>(), [NoteKind::NotKept]);
    }

    fn everybody() -> Revoke {
        Revoke {
            profile: "reader".into(),
            inventory: "acme".into(),
            service_account: ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader"),
            holder: "default".into(),
            victims: Victims::Everybody,
            held: vec![],
            suspends: Some(Suspended::Everybody),
            shown: vec![],
            awaits: false,
            awaited: vec![],
        }
    }

    /// A server or a gateway says "Success" and does nothing.
    #[tokio::test]
    async fn an_anchor_is_gone_when_it_is_seen_to_be_gone() {
        let (api, server) = mocked();
        let step = everybody();
        let index = Index::default().suspend(&Suspended::Everybody);
        let owner = AnchorOwner {
            account: &step.service_account,
            account_uid: "u",
            inventory: &step.inventory,
            profile: &step.profile,
        };
        let anchor = owner.anchor(&"default".into(), AnchorOf::Generation(1));
        let secret = json!({"kind": "PartialObjectMetadata", "metadata":
            {"name": anchor.name, "namespace": "ci", "uid": "s"}});
        let list = json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": [secret]});
        let anchors = "/api/v1/namespaces/ci/secrets?limit=500&fieldSelector=type%3Dkubemint.dev%2Fanchor";
        let patch = "/api/v1/namespaces/ci/serviceaccounts/reader?fieldManager=kubemint-credentials&force=true";
        let path = anchor.path();
        let exec = owner.anchor(&"default".into(), AnchorOf::Plugins).path();
        let answers = vec![
            (Method::GET, ACCOUNT, 200, account("u", &Index::default())),
            (Method::PATCH, patch, 200, account("u", &index)),
            (Method::GET, anchors, 200, list),
            (Method::GET, &exec, 404, status(404, "NotFound")),
            (Method::DELETE, &path, 200, json!({"kind": "Status", "status": "Success"})),
            (Method::GET, &path, 200, secret.clone()),
            (Method::GET, ACCOUNT, 200, account("u", &index)),
        ];
        let (revoked, ()) = tokio::join!(revoke(&api, &step), serve(answers, server));
        assert_eq!(revoked.failures.len(), 1, "{revoked:?}");
        assert!(revoked.failures[0].cause.contains("which still exists"), "{revoked:?}");
    }

    /// A patch that is answered with 200 but stores something else has not suspended anything.
    #[tokio::test]
    async fn a_fence_that_is_not_stored_is_a_failure() {
        let (api, server) = mocked();
        let step = everybody();
        let anchors = "/api/v1/namespaces/ci/secrets?limit=500&fieldSelector=type%3Dkubemint.dev%2Fanchor";
        let patch = "/api/v1/namespaces/ci/serviceaccounts/reader?fieldManager=kubemint-credentials&force=true";
        let list = json!({"kind": "PartialObjectMetadataList", "metadata": {}, "items": null});
        let owner = AnchorOwner {
            account: &step.service_account,
            account_uid: "u",
            inventory: &step.inventory,
            profile: &step.profile,
        };
        let exec = owner.anchor(&"default".into(), AnchorOf::Plugins).path();
        let answers = vec![
            (Method::GET, ACCOUNT, 200, account("u", &Index::default())),
            (Method::PATCH, patch, 200, account("u", &Index::default())),
            (Method::GET, anchors, 200, list),
            (Method::GET, &exec, 404, status(404, "NotFound")),
        ];
        let (revoked, ()) = tokio::join!(revoke(&api, &step), serve(answers, server));
        assert_eq!(revoked.failures.len(), 1, "{revoked:?}");
        assert!(revoked.failures[0].cause.contains("issuing could not be suspended"), "{revoked:?}");
    }
}
