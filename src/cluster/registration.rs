//! The objects by which consumers find Secrets: reading, trying, writing and removing them in a hub.
//!
//! Each is named by the inventory, or by what kubemint noted at the Secret, so none is ever listed. A change is a JSON merge
//! patch of the version that was read.

use serde_json::Value;

use super::api::{Api, Request};
use super::deletion::{self, Version};
use crate::delivery::{Departure, Registration, RegistrationChange};
use crate::failure::{ApiFailure, StepFailure};
use crate::kubeconfig::{Endpoint, Mark};
use crate::names::{FIELD_MANAGER, InventoryName};
use crate::object::ObjectRef;

/// How often an object is read again that somebody else is changing at the same time.
const MOST_TRIES: usize = 4;

/// Reads the object; returns nothing if there is none.
///
/// # Errors
///
/// If the API server does not respond, or refuses.
pub(crate) async fn read(api: &Api, registration: &Registration) -> Result<Option<Value>, ApiFailure> {
    let object = &registration.object;
    match api.object(&Request::get(object.path()), object).await {
        Ok(answer) => Ok(Some(answer.value)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Tries without effect whether the API server lets the object name its Secret.
///
/// # Errors
///
/// If it does not.
pub(super) async fn try_registration(
    api: &Api,
    registration: &Registration,
    (mark, endpoint): (&Mark, &Endpoint),
    is_namespace_to_come: bool,
) -> Result<(), StepFailure> {
    let object = &registration.object;
    let found = read(api, registration).await.map_err(|failure| refused(object, failure))?;
    registration.check(found.as_ref(), &mark.inventory)?;
    let Some(request) = registration.change(found.as_ref(), mark, endpoint).map(|change| request(object, change))
    else {
        return Ok(());
    };
    match api.send(&request.dry_run()).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() && is_namespace_to_come => Ok(()),
        // Somebody changed or created it meanwhile: the write reads it again.
        Err(failure) if failure.is_stale() || failure.is_already_exists() => Ok(()),
        Err(failure) => Err(refused(object, failure)),
    }
}

/// Makes the object name its Secret. One that does already is not written.
///
/// # Errors
///
/// If the API server refuses, or the object names something else by now.
pub(super) async fn register(
    api: &Api,
    registration: &Registration,
    (mark, endpoint): (&Mark, &Endpoint),
) -> Result<(), StepFailure> {
    let object = &registration.object;
    for _ in 0..MOST_TRIES {
        let found = read(api, registration).await.map_err(|failure| refused(object, failure))?;
        registration.check(found.as_ref(), &mark.inventory)?;
        let Some(change) = registration.change(found.as_ref(), mark, endpoint) else { return Ok(()) };
        match api.send(&request(object, change)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_stale() || failure.is_already_exists() => {}
            Err(failure) => {
                // The answer to an earlier try of the same write may have been lost.
                let now = read(api, registration).await.map_err(|failure| refused(object, failure))?;
                let is_there = now.is_some() && registration.change(now.as_ref(), mark, endpoint).is_none();
                return if is_there { Ok(()) } else { Err(refused(object, failure)) };
            }
        }
    }
    Err(contested(object))
}

/// Takes the object away again, or what it says of the Secret. One that names something else by now is left.
///
/// # Errors
///
/// If the API server refuses, or something holds it.
pub(super) async fn unregister(
    api: &Api,
    registration: &Registration,
    inventory: &InventoryName,
) -> Result<(), StepFailure> {
    let object = &registration.object;
    for _ in 0..MOST_TRIES {
        let found = read(api, registration).await.map_err(|failure| refused(object, failure))?;
        let change = found.as_ref().and_then(|found| Some((found, registration.departure(found, inventory)?)));
        let failure = match change {
            None => return Ok(()),
            Some((found, Departure::Delete)) => {
                let metadata = &found["metadata"];
                let uid = metadata["uid"].as_str().unwrap_or_default();
                let version = Version { uid, resource_version: metadata["resourceVersion"].as_str() };
                match deletion::delete(api, object, version).await {
                    Ok(fate) => return fate.gone(object),
                    Err(failure) => failure,
                }
            }
            Some((_, Departure::Change(change))) => match api.send(&request(object, change)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_not_found() => return Ok(()),
                Err(failure) => failure,
            },
        };
        if !failure.is_stale() {
            return Err(refused(object, failure));
        }
    }
    Err(contested(object))
}

/// Returns the request that makes a change.
fn request(object: &ObjectRef, change: RegistrationChange) -> Request {
    let request = match change {
        RegistrationChange::Create(manifest) => Request::post(object.collection_path(), manifest),
        RegistrationChange::Patch(patch) => Request::merge_patch(object.path(), patch),
        RegistrationChange::PatchStatus(patch) => Request::merge_patch(format!("{}/status", object.path()), patch),
    };
    request.query("fieldManager", FIELD_MANAGER)
}

fn refused(object: &ObjectRef, failure: ApiFailure) -> StepFailure {
    let is_unknown = failure.is_not_found();
    let cause = format!("{object}: {failure}");
    let failed = StepFailure { cause, ..StepFailure::from(failure) };
    if is_unknown {
        return failed
            .hint(format!("see whether the hub has its CustomResourceDefinition, of {}", object.kind.api_version()));
    }
    failed
}

fn contested(object: &ObjectRef) -> StepFailure {
    let command = object.kubectl("get", &["-o", "yaml", "--show-managed-fields"]);
    StepFailure::new(format!("{object}: somebody else keeps changing it")).hint(format!("see who does: `{command}`"))
}
