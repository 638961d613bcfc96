//! Ends generations: retires superseded ones, revokes living ones, and lifts a suspension again.
//!
//! The order of a revocation is what makes it hold: first the index says that issuing is suspended,
//! with a fence that a claim in flight runs into, then the anchors go, then their lines in the index.
//! Killed anywhere, the next run of the same finds the rest.

use serde_json::json;

use super::anchor::{self, AnchorOwner};
use super::api::{Api, Request};
use super::index::{edit_index, read_index};
use crate::credential::{HolderIndex, Index};
use crate::desired::DesiredObject;
use crate::failure::StepFailure;
use crate::names::{
    FIELD_MANAGER, Holder, INDEX_ANNOTATION, InventoryName, ProfileName, anchor_name, exec_anchor_name,
};
use crate::object::{Kind, ObjectRef};
use crate::step::{Recreate, Resume, Retire, Revoke, Victims};

/// The generations of one holder.
type Chain = (Holder, Vec<u64>);

/// Deletes the anchors of generations that nobody needs any more, then their lines in the index.
///
/// # Errors
///
/// If the generation that supersedes them is not recorded any more, or something cannot be deleted.
pub async fn retire(api: &Api, step: &Retire) -> Result<(), StepFailure> {
    let (account, inventory) = (&step.service_account, &step.inventory);
    let (observed, _, index) = read_index(api, account, inventory).await?;
    let keeps = index.holder(&step.holder).and_then(|chain| chain.generation(step.keep));
    if !keeps.is_some_and(crate::credential::Generation::is_recorded) {
        let cause = format!("generation {} is not in the index any more: nothing older was deleted", step.keep);
        return Err(StepFailure::overtaken(cause).hint("run it again to see what another run did"));
    }
    let chain = (step.holder.clone(), step.generations.clone());
    delete_anchors(api, account, &observed.uid, inventory, &step.profile, std::slice::from_ref(&chain)).await?;
    forget(api, account, inventory, &[chain]).await
}

/// Revokes generations: fence, anchors, index.
///
/// # Errors
///
/// If the index cannot be written or an anchor cannot be deleted; what was done until then stays done.
pub async fn revoke(api: &Api, step: &Revoke) -> Result<(), StepFailure> {
    let (account, inventory) = (&step.service_account, &step.inventory);
    let mut found = None;
    edit_index(api, account, inventory, |uid, _, index| {
        // What is claimed up to this write is seen here, and what comes later runs into the fence.
        found = Some((uid.to_owned(), victims(&step.victims, &index)));
        Ok(step.suspends.as_ref().map(|whose| index.suspend(whose)))
    })
    .await?;
    let (uid, chains) = found.ok_or_else(|| StepFailure::new("the index was not read"))?;
    delete_anchors(api, account, &uid, inventory, &step.profile, &chains).await?;
    if !matches!(step.victims, Victims::Generations { .. }) {
        for (holder, _) in &chains {
            let anchor = anchor_at(account, exec_anchor_name(&account.name, &uid, inventory, holder));
            anchor::delete_ours(api, &anchor, owner(&uid, inventory, &step.profile, holder)).await?;
        }
    }
    forget(api, account, inventory, &chains).await
}

/// Lifts a suspension.
///
/// # Errors
///
/// If the index cannot be written.
pub async fn resume(api: &Api, step: &Resume) -> Result<(), StepFailure> {
    edit_index(api, &step.service_account, &step.inventory, |_, _, index| {
        Ok(index.is_suspended(&step.holder).then(|| index.resume(&step.holder)))
    })
    .await
}

/// Deletes a ServiceAccount and makes it anew with another uid: every token for it dies, whoever
/// minted it. The numbers of its generations and the suspension go on.
///
/// # Errors
///
/// If it is no longer ours, cannot be deleted, or cannot be made again.
pub async fn recreate(api: &Api, step: &Recreate) -> Result<(), StepFailure> {
    let account = &step.account.object;
    let answer = api.send(&Request::get(account.path())).await?;
    let observed = crate::observed::ObservedObject::from_json(&answer.value);
    if observed.uid != step.uid {
        return Err(StepFailure::overtaken(format!("{account} was recreated meanwhile"))
            .hint("run it again if it was not another revocation"));
    }
    // An index that cannot be read is no reason to leave tokens alive; numbers then start again, below
    // a uid that no older token carries.
    let index = observed.annotations.get(INDEX_ANNOTATION).and_then(|text| Index::parse(text).ok());
    let index = index.map_or_else(|| step.index_if_lost(), emptied);
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": { "uid": step.uid },
    });
    match api.send(&Request::delete(account.path(), options)).await {
        Ok(_) => {}
        Err(failure) if failure.is_not_found() => {}
        Err(failure) => return Err(failure.into()),
    }
    create_with_index(api, &step.account, &index).await
}

async fn create_with_index(api: &Api, desired: &DesiredObject, index: &Index) -> Result<(), StepFailure> {
    let account = &desired.object;
    let mut manifest = desired.manifest();
    manifest["metadata"]["annotations"] = json!({ INDEX_ANNOTATION: index.to_annotation() });
    let request = Request::post(account.collection_path(), manifest)
        .query("fieldManager", FIELD_MANAGER)
        .query("fieldValidation", "Strict");
    match api.send(&request).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_already_exists() => {
            let existing = api.send(&Request::get(account.path())).await?.value;
            if existing["metadata"]["deletionTimestamp"].is_string() {
                return Err(StepFailure::new(format!("{account} still exists: a finalizer holds it"))
                    .hint("see what that finalizer waits for; until then its tokens may still work"));
            }
            // The answer to an earlier try was lost, or an apply was faster: it has another uid either way.
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}

fn emptied(mut index: Index) -> Index {
    for chain in index.holders.values_mut() {
        chain.generations.clear();
    }
    index
}

/// Returns which generations of which holders a revocation is about, by the index as it is now.
fn victims(victims: &Victims, index: &Index) -> Vec<Chain> {
    let all = |chain: &HolderIndex| chain.generations.iter().map(|generation| generation.n).collect();
    match victims {
        Victims::Generations { holder, numbers } => vec![(holder.clone(), numbers.clone())],
        Victims::Holder(holder) => vec![(holder.clone(), index.holder(holder).map(all).unwrap_or_default())],
        Victims::Everybody => index.holders.iter().map(|(holder, chain)| (Holder::new(holder), all(chain))).collect(),
    }
}

async fn delete_anchors(
    api: &Api,
    account: &ObjectRef,
    account_uid: &str,
    inventory: &InventoryName,
    profile: &ProfileName,
    chains: &[Chain],
) -> Result<(), StepFailure> {
    for (holder, numbers) in chains {
        for number in numbers {
            let anchor = anchor_at(account, anchor_name(&account.name, account_uid, inventory, holder, *number));
            anchor::delete_ours(api, &anchor, owner(account_uid, inventory, profile, holder)).await?;
        }
    }
    Ok(())
}

async fn forget(
    api: &Api,
    account: &ObjectRef,
    inventory: &InventoryName,
    chains: &[Chain],
) -> Result<(), StepFailure> {
    edit_index(api, account, inventory, |_, _, index| {
        let forgotten = chains.iter().fold(index.clone(), |index, (holder, numbers)| index.without(holder, numbers));
        Ok((forgotten != index).then_some(forgotten))
    })
    .await
}

fn anchor_at(account: &ObjectRef, name: String) -> ObjectRef {
    ObjectRef { kind: Kind::Secret, namespace: account.namespace.clone(), name }
}

fn owner<'a>(
    account_uid: &'a str,
    inventory: &'a InventoryName,
    profile: &'a ProfileName,
    holder: &'a Holder,
) -> AnchorOwner<'a> {
    AnchorOwner { account_uid, inventory, profile, holder }
}
