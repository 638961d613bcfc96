//! Reading and writing the index, which several machines write at the same time.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::api::{Api, Request};
use crate::credential::{Index, IndexError};
use crate::failure::{ApiFailure, StepFailure};
use crate::names::{INDEX_ANNOTATION, INDEX_FIELD_MANAGER, InventoryName};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};

/// How often the index is read and written again when another run wrote it in between. Holders share it, and a
/// generation that is published but not recorded would look abandoned.
const INDEX_TRIES: usize = 12;
/// The first wait between two tries; it doubles up to [`LONGEST_INDEX_WAIT`], with jitter, so that runs that collide do
/// not collide again.
const FIRST_INDEX_WAIT: Duration = Duration::from_millis(20);
const LONGEST_INDEX_WAIT: Duration = Duration::from_millis(500);

/// A ServiceAccount as it was read.
pub(super) struct Account {
    /// The object.
    pub(super) observed: ObservedObject,
    /// The cluster's time.
    pub(super) date: Option<Timestamp>,
    /// Its index.
    pub(super) index: Result<Index, IndexError>,
}

/// Reads a ServiceAccount, whether it is ours or not.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub(super) async fn read_account(api: &Api, account: &ObjectRef) -> Result<Account, ApiFailure> {
    let answer = api.object(&Request::get(account.path()), account).await?;
    api.accounts.remember(account, &answer);
    let observed = ObservedObject::from_json(&answer.value);
    let index = observed.index();
    Ok(Account { observed, date: answer.date, index })
}

/// Reads a ServiceAccount of ours, the cluster's time, and the index.
///
/// # Errors
///
/// If the ServiceAccount cannot be read, is no longer ours, or has an index that cannot be read.
pub(super) async fn read_index(
    api: &Api,
    account: &ObjectRef,
    inventory: &InventoryName,
) -> Result<(ObservedObject, Option<Timestamp>, Index), StepFailure> {
    let Account { observed, date, index } = read_account(api, account).await?;
    let index = usable(account, inventory, &observed, index)?;
    Ok((observed, date, index))
}

/// Returns the index of a ServiceAccount, if it is ours and the index can be read.
fn usable(
    account: &ObjectRef,
    inventory: &InventoryName,
    observed: &ObservedObject,
    index: Result<Index, IndexError>,
) -> Result<Index, StepFailure> {
    if observed.deleting || observed.ownership(inventory) != Ownership::Ours {
        return Err(StepFailure::new(format!("{account} is no longer ours, or is being deleted")));
    }
    index.map_err(|error| StepFailure::new(format!("the index of {account} is unusable: {error}")))
}

/// Changes the index of a ServiceAccount that this connection has just seen, without reading it again. Returns whether
/// that is done: if not, because it changed meanwhile or nothing is to be written, what is there now has to be read.
async fn edit_seen(
    api: &Api,
    account: &ObjectRef,
    inventory: &InventoryName,
    change: &mut impl FnMut(&str, Option<Timestamp>, Index) -> Result<Option<Index>, StepFailure>,
) -> Result<bool, StepFailure> {
    let Some((observed, date)) = api.accounts.take(account) else { return Ok(false) };
    let index = observed.index();
    let Ok(index) = usable(account, inventory, &observed, index) else { return Ok(false) };
    let Ok(Some(changed)) = change(&observed.uid, date, index) else { return Ok(false) };
    match api.object(&index_request(account, &observed, &changed), account).await {
        Ok(answer) => {
            api.accounts.remember(account, &answer);
            check_stored(account, Some(&observed.uid), &changed, &answer.value).map(|()| true)
        }
        Err(failure) if failure.is_stale() => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Reads the index, unless this connection has just seen it, changes it and writes it back; repeats this if another run
/// wrote in between.
///
/// `change` gets the uid of the ServiceAccount, the cluster's time and the index; if it returns
/// `None`, nothing is written. The write names uid and resourceVersion: without them an apply would recreate a
/// deleted ServiceAccount, without marks.
pub(super) async fn edit_index(
    api: &Api,
    account: &ObjectRef,
    inventory: &InventoryName,
    mut change: impl FnMut(&str, Option<Timestamp>, Index) -> Result<Option<Index>, StepFailure>,
) -> Result<(), StepFailure> {
    if edit_seen(api, account, inventory, &mut change).await? {
        return Ok(());
    }
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(FIRST_INDEX_WAIT)
        .with_max_delay(LONGEST_INDEX_WAIT)
        .with_max_times(INDEX_TRIES)
        .with_jitter()
        .build();
    loop {
        let (observed, date, index) = read_index(api, account, inventory).await?;
        let Some(changed) = change(&observed.uid, date, index)? else {
            return Ok(());
        };
        match api.object(&index_request(account, &observed, &changed), account).await {
            Ok(answer) => {
                api.accounts.remember(account, &answer);
                return check_stored(account, Some(&observed.uid), &changed, &answer.value);
            }
            Err(failure) if failure.is_stale() => match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.into()),
            },
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Checks that the API server stored the index, in the ServiceAccount with this uid.
pub(super) fn check_stored(
    account: &ObjectRef,
    uid: Option<&str>,
    written: &Index,
    answer: &Value,
) -> Result<(), StepFailure> {
    let stored = ObservedObject::from_json(answer);
    let is_the_same = uid.is_none_or(|uid| stored.uid == uid);
    if is_the_same && stored.has_index() && stored.index().as_ref() == Ok(written) {
        return Ok(());
    }
    Err(StepFailure::new(format!(
        "the API server accepted a change of annotation `{INDEX_ANNOTATION}` of {account}, and stored something else"
    ))
    .hint("see which admission webhook changes ServiceAccounts, and exempt this one from it"))
}

/// Gives an adopted ServiceAccount the empty index that our own ones are made with.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) async fn begin_index(api: &Api, account: &ObjectRef, inventory: &InventoryName) -> Result<(), StepFailure> {
    edit_index(api, account, inventory, |_, _, index| Ok((index == Index::lost()).then(Index::default))).await
}

fn index_request(account: &ObjectRef, observed: &ObservedObject, index: &Index) -> Request {
    let metadata = ObjectMeta {
        name: Some(account.name.clone()),
        namespace: account.namespace.clone(),
        uid: Some(observed.uid.clone()),
        resource_version: Some(observed.resource_version.clone()),
        annotations: Some([(INDEX_ANNOTATION.to_owned(), index.to_annotation())].into()),
        ..ObjectMeta::default()
    };
    let manifest = ServiceAccount { metadata, ..ServiceAccount::default() };
    Request::apply(account.path(), manifest).query("fieldManager", INDEX_FIELD_MANAGER).query("force", "true")
}
