//! Ends generations: retires superseded ones, revokes living ones, and lifts a suspension again.
//!
//! The order of a revocation is what makes it hold: first the index says that issuing is suspended,
//! with a fence that a claim in flight runs into, then the anchors go, then their lines in the index.
//! Killed anywhere, the next run of the same finds the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::anchor::{self, AnchorOwner};
use super::api::{Api, Request};
use super::index::{edit_index, read_index};
use crate::credential::{HolderIndex, Index, Suspended};
use crate::failure::StepFailure;
use crate::names::{
    FIELD_MANAGER, Holder, INDEX_ANNOTATION, InventoryName, ProfileName, anchor_name, exec_anchor_name,
};
use crate::object::{Kind, ObjectRef};
use crate::observed::ObservedObject;
use crate::step::{Recreate, Resume, Retire, Revoke, Victims};

/// The generations of one holder, with the uids of their anchors where the index knows them.
type Chain = (Holder, BTreeMap<u64, Option<String>>);

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
    let chain = chain(&step.holder, index.holder(&step.holder), step.generations.iter().copied());
    delete_and_forget(api, account, &observed.uid, inventory, &step.profile, vec![chain], &[]).await
}

fn chain(holder: &Holder, known: Option<&HolderIndex>, numbers: impl Iterator<Item = u64>) -> Chain {
    let uid = |number| known.and_then(|chain| chain.generation(number)?.anchor_uid.clone());
    (holder.clone(), numbers.map(|number| (number, uid(number))).collect())
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
        found = Some((uid.to_owned(), victims(step, &index)));
        Ok(step.suspends.as_ref().map(|whose| index.suspend(whose)))
    })
    .await?;
    let (uid, chains) = found.ok_or_else(|| StepFailure::new("the index was not read"))?;
    let mut first_failure = None;
    let mut without_plugins = vec![];
    if !matches!(step.victims, Victims::Generations { .. }) {
        for (holder, _) in &chains {
            let anchor = anchor_at(account, exec_anchor_name(&account.name, &uid, inventory, holder));
            match anchor::delete_ours(api, &anchor, owner(&uid, inventory, &step.profile, holder), None).await {
                Ok(()) => without_plugins.push(holder.clone()),
                Err(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
    }
    // One anchor that cannot be deleted protects no other.
    let deleted = delete_and_forget(api, account, &uid, inventory, &step.profile, chains, &without_plugins).await;
    first_failure.or(deleted.err()).map_or(Ok(()), Err)
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
/// minted it. What others put on it, the numbers of its generations and the suspension go on.
///
/// # Errors
///
/// If it is no longer ours, cannot be deleted, or cannot be made again.
pub async fn recreate(api: &Api, step: &Recreate) -> Result<(), StepFailure> {
    let account = &step.account.object;
    let mut manifest = step.account.manifest();
    let existing = match api.send(&Request::get(account.path())).await {
        Ok(answer) => Some(answer.value),
        Err(failure) if failure.is_not_found() => None,
        Err(failure) => return Err(failure.into()),
    };
    let observed = existing.as_ref().map(ObservedObject::from_json).unwrap_or_default();
    if existing.is_some() && step.uid.as_ref() != Some(&observed.uid) {
        return Err(StepFailure::overtaken(format!("{account} was recreated meanwhile"))
            .hint("run it again if it was not another revocation"));
    }
    // An index that cannot be read is no reason to leave tokens alive; numbers then start again, below
    // a uid that no older token carries.
    let index = observed.annotations.get(INDEX_ANNOTATION).and_then(|text| Index::parse(text).ok());
    let index = match index {
        Some(index) if index.suspended => emptied(index),
        Some(index) => emptied(index).suspend(&step.suspends),
        None => step.index_if_lost(),
    };
    if let Some(existing) = &existing {
        carry_over(existing, &mut manifest);
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": { "uid": step.uid },
        });
        match api.send(&Request::delete(account.path(), options)).await {
            Ok(_) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    manifest["metadata"]["annotations"][INDEX_ANNOTATION] = json!(index.to_annotation());
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
            // The answer to an earlier try was lost, or an apply was faster: it has another uid either
            // way, and is suspended like the one before.
            edit_index(api, account, &step.account.inventory, |_, _, index| {
                let suspended = step.suspends == Suspended::Everybody && index.suspended;
                Ok((!suspended).then(|| index.suspend(&step.suspends)))
            })
            .await
        }
        // Without its namespace there is nothing to issue for, and nothing to suspend.
        Err(failure) if failure.is_not_found() && existing.is_none() => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// Takes over what others put on a ServiceAccount; the tokens in its `secrets` die with it.
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

/// Returns the index of the next account: nothing that was minted for this one lives.
fn emptied(mut index: Index) -> Index {
    index.incomplete = false;
    for chain in index.holders.values_mut() {
        chain.generations.clear();
        chain.exec = false;
    }
    index
}

/// Returns which generations of which holders a revocation is about, by the index as it is now.
fn victims(step: &Revoke, index: &Index) -> Vec<Chain> {
    // What an output holds is known even where the index has lost it.
    let all = |holder: &Holder, known: Option<&HolderIndex>| {
        let listed = known.into_iter().flat_map(|chain| chain.generations.iter().map(|generation| generation.n));
        let held = step.held.iter().copied().filter(|_| *holder == step.holder);
        chain(holder, known, listed.chain(held))
    };
    match &step.victims {
        Victims::Generations { holder, numbers } => {
            vec![chain(holder, index.holder(holder), numbers.iter().copied())]
        }
        Victims::Holder(holder) => vec![all(holder, index.holder(holder))],
        Victims::Everybody => {
            let mut holders: BTreeSet<Holder> = index.holders.keys().map(Holder::new).collect();
            holders.insert(step.holder.clone());
            holders.iter().map(|holder| all(holder, index.holder(holder))).collect()
        }
    }
}

/// Deletes anchors and then the lines of those that are deleted, with the word of plugins whose anchor is
/// gone already. What cannot be deleted keeps nothing else alive, and stays in the index.
async fn delete_and_forget(
    api: &Api,
    account: &ObjectRef,
    account_uid: &str,
    inventory: &InventoryName,
    profile: &ProfileName,
    chains: Vec<Chain>,
    without_plugins: &[Holder],
) -> Result<(), StepFailure> {
    let mut gone: Vec<(Holder, Vec<u64>)> = vec![];
    let mut first_failure = None;
    for (holder, numbers) in chains {
        let mut deleted = vec![];
        for (number, uid) in numbers {
            let anchor = anchor_at(account, anchor_name(&account.name, account_uid, inventory, &holder, number));
            let owner = owner(account_uid, inventory, profile, &holder);
            match anchor::delete_ours(api, &anchor, owner, uid.as_deref()).await {
                Ok(()) => deleted.push(number),
                Err(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
        gone.push((holder, deleted));
    }
    edit_index(api, account, inventory, |_, _, index| {
        let forgotten = gone.iter().fold(index.clone(), |index, (holder, numbers)| index.without(holder, numbers));
        let forgotten = without_plugins.iter().fold(forgotten, Index::without_exec_anchor);
        Ok((forgotten != index).then_some(forgotten))
    })
    .await?;
    first_failure.map_or(Ok(()), Err)
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
