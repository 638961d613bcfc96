//! Reading and writing the index, which several machines write at the same time.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, Request};
use crate::credential::Index;
use crate::failure::StepFailure;
use crate::names::{INDEX_ANNOTATION, INDEX_FIELD_MANAGER, InventoryName};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};

/// The index is read and written again this often when somebody else wrote it in between: holders
/// share it, and a generation that is published and not recorded would look abandoned.
const INDEX_TRIES: usize = 12;
/// The first wait between two tries; it doubles up to [`LONGEST_INDEX_WAIT`], with jitter, so that
/// those who collide do not collide again.
const FIRST_INDEX_WAIT: Duration = Duration::from_millis(20);
const LONGEST_INDEX_WAIT: Duration = Duration::from_millis(500);

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
    let answer = api.send(&Request::get(account.path())).await?;
    let observed = ObservedObject::from_json(&answer.value);
    if observed.deleting || observed.ownership(inventory) != Ownership::Ours {
        return Err(StepFailure::new(format!("{account} is no longer ours, or is being deleted")));
    }
    let index = match observed.annotations.get(INDEX_ANNOTATION) {
        Some(annotation) => Index::parse(annotation)
            .map_err(|error| StepFailure::new(format!("the index of {account} is unusable: {error}")))?,
        None => Index::lost(),
    };
    Ok((observed, answer.date, index))
}

/// Reads the index, changes it and writes it back, again if somebody else wrote in between.
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
        match api.send(&index_request(account, &observed, &changed)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_stale() => match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.into()),
            },
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Gives a ServiceAccount that was taken over from somebody else the index that our own are made with.
///
/// # Errors
///
/// If it cannot be written.
pub async fn begin_index(api: &Api, account: &ObjectRef, inventory: &InventoryName) -> Result<(), StepFailure> {
    edit_index(api, account, inventory, |_, _, index| Ok((index == Index::lost()).then(Index::default))).await
}

fn index_request(account: &ObjectRef, observed: &ObservedObject, index: &Index) -> Request {
    let manifest: Value = json!({
        "apiVersion": account.kind.api_version(), "kind": account.kind.as_str(),
        "metadata": {
            "name": account.name, "namespace": account.namespace,
            "uid": observed.uid, "resourceVersion": observed.resource_version,
            "annotations": { INDEX_ANNOTATION: index.to_annotation() },
        },
    });
    Request::apply(account.path(), manifest).query("fieldManager", INDEX_FIELD_MANAGER).query("force", "true")
}
