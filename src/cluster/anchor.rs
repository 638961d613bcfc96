//! Deleting anchors, which kills the tokens that are bound to them.

use serde_json::{Value, json};

use super::api::{Api, Request};
use crate::failure::StepFailure;
use crate::names::{HOLDER_LABEL, Holder, InventoryName, PROFILE_LABEL, ProfileName};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};

/// Whose anchors may be deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnchorOwner<'a> {
    /// The uid of the ServiceAccount.
    pub(super) account_uid: &'a str,
    /// The inventory.
    pub(super) inventory: &'a InventoryName,
    /// The profile.
    pub(super) profile: &'a ProfileName,
    /// The holder.
    pub(super) holder: &'a Holder,
}

/// Deletes an anchor, if it really is one of this chain's; one that is gone already is as wanted.
///
/// The index is an annotation that others may be able to write, so nothing is deleted on its word:
/// the caller computes the name, and the object must carry our marks. `recorded_uid` is what the index
/// knows as the anchor's uid; what is neither marked, nor owned by the ServiceAccount, nor known by its
/// uid is somebody else's Secret, which no token of ours is bound to.
///
/// # Errors
///
/// If it cannot be read or deleted, or is an anchor that lost its marks: then its tokens live on.
pub(super) async fn delete_ours(
    api: &Api,
    anchor: &ObjectRef,
    owner: AnchorOwner<'_>,
    recorded_uid: Option<&str>,
) -> Result<(), StepFailure> {
    let existing = match api.send(&Request::get(anchor.path()).metadata_only()).await {
        Ok(answer) => answer.value,
        Err(failure) if failure.is_not_found() => return Ok(()),
        Err(failure) => return Err(failure.into()),
    };
    let observed = ObservedObject::from_json(&existing);
    let has = |label: &str, value: &str| observed.labels.get(label).is_some_and(|actual| actual == value);
    let is_marked = observed.ownership(owner.inventory) == Ownership::Ours
        && has(PROFILE_LABEL, owner.profile.as_str())
        && has(HOLDER_LABEL, owner.holder.as_str());
    if is_marked {
        return delete(api, anchor, &observed.uid).await;
    }
    if !is_owned_by(&existing, owner.account_uid) && recorded_uid != Some(observed.uid.as_str()) {
        return Ok(());
    }
    let (namespace, name) = (anchor.namespace.as_deref().unwrap_or_default(), &anchor.name);
    Err(StepFailure::new(format!("{anchor} is an anchor whose labels were changed, so it is not deleted"))
        .hint(format!("its tokens live on; `kubectl delete secret -n {namespace} {name}` revokes them")))
}

/// Whether an object belongs to the ServiceAccount with this uid.
pub(super) fn is_owned_by(object: &Value, account_uid: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|reference| reference["uid"] == account_uid)
}

/// Deletes the anchor with this uid; one that is gone already is as wanted.
///
/// # Errors
///
/// If it cannot be deleted, or another object took its place.
pub(super) async fn delete(api: &Api, anchor: &ObjectRef, uid: &str) -> Result<(), StepFailure> {
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid } });
    match api.send(&Request::delete(anchor.path(), options)).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}
