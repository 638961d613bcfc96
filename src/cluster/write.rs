//! Executes the steps that write objects, and checks what the API server made of them.

use serde_json::Value;

use super::api::{Api, Request};
use super::deletion::{self, Version};
use crate::desired::{Content, DesiredObject};
use crate::diff::diff_object;
use crate::failure::{ApiFailure, StepFailure};
use crate::names::{FIELD_MANAGER, InventoryName};
use crate::object::Kind;
use crate::observed::{ObservedObject, Ownership};
use crate::step::{Delete, Update};

/// Returns the request that creates an object.
///
/// It is a create and no apply: an apply would merge into an object that somebody else made after the plan, a create
/// gets `AlreadyExists`.
pub(super) fn create_request(desired: &DesiredObject) -> Request {
    Request::post(desired.object.collection_path(), desired.initial_manifest())
        .query("fieldManager", FIELD_MANAGER)
        .query("fieldValidation", "Strict")
}

/// Returns the request that corrects an object: a forced server-side apply that succeeds only for the object and the
/// version that the plan saw.
pub(super) fn update_request(update: &Update) -> Request {
    let manifest = update.desired.manifest_of(&update.uid, &update.resource_version);
    Request::apply(update.desired.object.path(), manifest)
        .query("fieldManager", FIELD_MANAGER)
        .query("force", "true")
        .query("fieldValidation", "Strict")
}

/// Returns the request that deletes the object that the plan saw, and no later one of its name.
pub(super) fn delete_request(delete: &Delete) -> Request {
    deletion::request(&delete.object, version(delete))
}

fn version(delete: &Delete) -> Version<'_> {
    Version { uid: &delete.uid, resource_version: delete.resource_version.as_deref() }
}

/// Creates an object.
///
/// # Errors
///
/// If the API server refuses, if somebody else created it meanwhile, or if what it stored differs.
pub(crate) async fn create(api: &Api, desired: &DesiredObject) -> Result<(), StepFailure> {
    match api.object(&create_request(desired), &desired.object).await {
        Ok(answer) => {
            if desired.object.kind == Kind::ServiceAccount {
                api.accounts.remember(&desired.object, &answer);
            }
            check(desired, &answer.value)
        }
        Err(failure) if failure.is_already_exists() => {
            // The response to an earlier try may have been lost, or another run was faster.
            let existing = api.object(&Request::get(desired.object.path()), &desired.object).await?.value;
            if desired.object.kind == Kind::Namespace {
                return Ok(());
            }
            let observed = ObservedObject::from_json(&existing);
            if is_as_wanted(desired, &observed, &desired.inventory) {
                return Ok(());
            }
            Err(StepFailure::new(format!("{} appeared after the plan was made", desired.object))
                .hint("run the plan again to see what it is"))
        }
        Err(failure) => Err(failure.into()),
    }
}

fn is_as_wanted(desired: &DesiredObject, observed: &ObservedObject, inventory: &InventoryName) -> bool {
    let role_matches = match &desired.content {
        Content::Binding { role, .. } => observed.role.as_ref() == Some(role),
        Content::Empty | Content::Rules(_) => true,
    };
    observed.ownership(inventory) == Ownership::Ours && role_matches && diff_object(desired, observed).is_empty()
}

/// Corrects an existing object.
///
/// # Errors
///
/// If the API server refuses, if the object changed since the plan, or if what was stored differs.
pub(crate) async fn update(api: &Api, update: &Update) -> Result<(), StepFailure> {
    match api.object(&update_request(update), &update.desired.object).await {
        Ok(answer) => check(&update.desired, &answer.value),
        Err(failure) if failure.is_stale() => {
            // The response to an earlier try may have been lost; the object is then right already.
            let object = &update.desired.object;
            let existing = api.object(&Request::get(object.path()), object).await?.value;
            if is_as_wanted(&update.desired, &ObservedObject::from_json(&existing), &update.desired.inventory) {
                return Ok(());
            }
            Err(StepFailure::new(format!("{} changed after the plan was made", update.desired.object))
                .hint("run the plan again to see how"))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Deletes an object. An object that does not exist is no error.
///
/// # Errors
///
/// If the API server refuses, another object has its name, or it is not gone.
pub(crate) async fn delete(api: &Api, delete: &Delete) -> Result<(), StepFailure> {
    match deletion::delete(api, &delete.object, version(delete)).await {
        Ok(fate) => fate.gone(&delete.object),
        Err(failure) if failure.is_stale() => {
            Err(StepFailure::new(format!("{} changed after the plan was made", delete.object))
                .hint("run the plan again to see how"))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Compares the stored object with the requested one: a webhook may have changed it.
fn check(desired: &DesiredObject, stored: &Value) -> Result<(), StepFailure> {
    let observed = ObservedObject::from_json(stored);
    let Some(difference) = diff_object(desired, &observed).into_iter().next() else {
        return Ok(());
    };
    let field = format!(".{}", difference.field);
    let managers: Vec<String> =
        observed.other_managers(&field, FIELD_MANAGER).map(|manager| format!("`{manager}`")).collect();
    let by = if managers.is_empty() {
        "something in the cluster, such as an admission webhook,".to_owned()
    } else {
        managers.join(", ")
    };
    Err(StepFailure::new(format!("{by} changed field `{}` of {} back", difference.field, desired.object)))
}

impl From<ApiFailure> for StepFailure {
    fn from(failure: ApiFailure) -> Self {
        let hint = failure.gate().map(|gate| gate.hint());
        Self { kind: failure.kind(), hint, ..Self::new(failure.to_string()) }
    }
}
