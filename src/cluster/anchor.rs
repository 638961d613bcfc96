//! Anchors: finding them, and deleting them, which invalidates the tokens that are bound to them.
//!
//! Whoever administers a namespace can edit the annotations and labels of its ServiceAccounts and Secrets. Nobody can
//! edit a Secret's type, or its name, which is computed from the account's uid. So anchors are listed by type where the
//! caller may list Secrets, and otherwise every name that can be computed is asked for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::api::{Api, Request};
use super::deletion::{self, Fate, Version};
use super::observe::{Items, list};
use crate::credential::AnchorHints;
use crate::failure::{ApiFailure, StepFailure};
use crate::names::{
    ANCHOR_TYPE, AnchorOf, HOLDER_LABEL, Holder, InventoryName, PROFILE_LABEL, ProfileName, anchor_name,
    anchor_of_name, exec_anchor_name,
};
use crate::object::{Kind, ObjectRef};
use crate::observed::{Anchor, Anchors, ObservedObject, Ownership, Search};

/// The ServiceAccount whose anchors are looked for, and what their names are computed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnchorOwner<'a> {
    /// The ServiceAccount.
    pub(super) account: &'a ObjectRef,
    /// Its uid.
    pub(super) account_uid: &'a str,
    /// The inventory.
    pub(super) inventory: &'a InventoryName,
    /// The profile.
    pub(super) profile: &'a ProfileName,
}

/// At most this many names are asked for one after another. At 20 ms each, that is a third of the usual
/// `cluster-timeout`; a user with more generations than this should have the right to list them.
const MOST_NAMES: usize = 1000;

impl AnchorOwner<'_> {
    /// Returns the address of an anchor.
    pub(super) fn anchor(&self, holder: &Holder, of: AnchorOf) -> ObjectRef {
        let account = self.account;
        let name = match of {
            AnchorOf::Generation(n) => anchor_name(&account.name, self.account_uid, self.inventory, holder, n),
            AnchorOf::Plugins => exec_anchor_name(&account.name, self.account_uid, self.inventory, holder),
        };
        self.secret(name)
    }

    /// Returns the address of a Secret beside the ServiceAccount.
    pub(super) fn secret(&self, name: String) -> ObjectRef {
        ObjectRef::anchor_of(self.account, name)
    }
}

/// An anchor from a list by type.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    name: String,
    uid: String,
    /// The uids of the objects in its ownerReferences.
    owners: Vec<String>,
}

/// Lists all anchors of a namespace, by their type.
///
/// # Errors
///
/// The first request that failed.
pub(super) async fn list_anchors(api: &Api, namespace: Option<&str>) -> Result<Vec<Listed>, ApiFailure> {
    let selection = [("fieldSelector", format!("type={ANCHOR_TYPE}"))];
    let mut listed = BTreeMap::new();
    let mut within = Ok(());
    list(api, &Kind::Secret.collection_path(namespace), &selection, Items::Metadata, |item| {
        let metadata = &item["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let anchor = Listed {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            owners: owners.map(|owner| text(&owner["uid"])).collect(),
        };
        let weight = anchor.name.len() + anchor.uid.len() + anchor.owners.iter().map(String::len).sum::<usize>();
        within = within.clone().and_then(|()| api.keep(weight + size_of::<Listed>()));
        if within.is_ok() {
            // A list that starts again contains some objects twice.
            listed.insert(anchor.name.clone(), anchor);
        }
    })
    .await?;
    within.map(|()| listed.into_values().collect())
}

/// Finds the anchors of a ServiceAccount. `listed` are those of its namespace, if they could be listed; otherwise each
/// name that can be computed is asked for.
///
/// # Errors
///
/// If a request gets no response.
pub(super) async fn find(
    api: &Api,
    owner: AnchorOwner<'_>,
    hints: &AnchorHints,
    listed: Result<&[Listed], &ApiFailure>,
) -> Result<Anchors, ApiFailure> {
    match listed {
        Ok(listed) => find_listed(api, owner, hints, listed).await,
        Err(_) => find_by_name(api, owner, hints).await,
    }
}

async fn find_listed(
    api: &Api,
    owner: AnchorOwner<'_>,
    hints: &AnchorHints,
    listed: &[Listed],
) -> Result<Anchors, ApiFailure> {
    let mut anchors = Anchors { found: vec![], strange: vec![], search: Search::Listed };
    for Listed { name, uid, owners } in listed {
        match anchor_of_name(name, &owner.account.name, owner.account_uid, owner.inventory) {
            Some((holder, of)) => {
                let (name, uid) = (name.clone(), uid.clone());
                anchors.found.push(Anchor { name, uid, holder, of, is_certain: true });
            }
            None if owners.iter().any(|uid| uid == owner.account_uid) => anchors.strange.push(name.clone()),
            None => {}
        }
    }
    // Somebody may have made a Secret of another type under an anchor's name before the anchor: then tokens are bound
    // to that one, and no list shows it. So the names that the index mentions are asked for too.
    let named = hints.named.iter().copied().map(AnchorOf::Generation);
    for of in std::iter::once(AnchorOf::Plugins).chain(named).take(MOST_NAMES) {
        for holder in hints.own_first() {
            let is_known = anchors.found.iter().any(|anchor| anchor.of == of && anchor.holder == *holder);
            if !is_known {
                anchors.found.extend(find_one(api, owner, holder, of).await?);
            }
        }
    }
    anchors.found.sort_by(|one, other| (&one.holder, one.of).cmp(&(&other.holder, other.of)));
    Ok(anchors)
}

async fn find_by_name(api: &Api, owner: AnchorOwner<'_>, hints: &AnchorHints) -> Result<Anchors, ApiFailure> {
    let named = hints.named.iter().rev().copied();
    let unnamed = (1..=hints.highest).rev().filter(|n| !hints.named.contains(n));
    let numbers = named.chain(unnamed).map(AnchorOf::Generation);
    let all: Vec<AnchorOf> = std::iter::once(AnchorOf::Plugins).chain(numbers).take(MOST_NAMES + 1).collect();
    // The caller's own holder comes first, so that a thousand invented holders in the index cannot push its anchors out
    // of the limit.
    let wanted: Vec<(&Holder, AnchorOf)> =
        hints.own_first().flat_map(|holder| all.iter().map(move |of| (holder, *of))).take(MOST_NAMES + 1).collect();
    let mut found = vec![];
    for (holder, of) in wanted.iter().take(MOST_NAMES) {
        found.extend(find_one(api, owner, holder, *of).await?);
    }
    let numbers = hints.highest.max(hints.named.len() as u64).saturating_add(1);
    let all = numbers.saturating_mul(hints.holders.len() as u64);
    let unasked = if wanted.len() > MOST_NAMES { all.saturating_sub(MOST_NAMES as u64).max(1) } else { 0 };
    Ok(Anchors { found, strange: vec![], search: Search::ByName { unasked } })
}

/// Looks for one anchor by its name.
///
/// # Errors
///
/// If there is no response.
pub(super) async fn find_one(
    api: &Api,
    owner: AnchorOwner<'_>,
    holder: &Holder,
    of: AnchorOf,
) -> Result<Option<Anchor>, ApiFailure> {
    let anchor = owner.anchor(holder, of);
    let existing = match api.object(&Request::get(anchor.path()).metadata_only(), &anchor).await {
        Ok(answer) => answer.value,
        Err(failure) if failure.is_not_found() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let observed = ObservedObject::from_json(&existing);
    let has = |label: &str, value: &str| observed.labels.get(label).is_some_and(|actual| actual == value);
    let is_certain = observed.ownership(owner.inventory) == Ownership::Ours
        && has(PROFILE_LABEL, owner.profile.as_str())
        && has(HOLDER_LABEL, holder.as_str());
    Ok(Some(Anchor { name: anchor.name, uid: observed.uid, holder: holder.clone(), of, is_certain }))
}

/// Deletes an anchor that was found, and returns whether it is gone.
///
/// # Errors
///
/// If it cannot be deleted, or may be somebody else's Secret; its tokens then still work.
pub(super) async fn delete_found(api: &Api, owner: AnchorOwner<'_>, anchor: &Anchor) -> Result<Fate, StepFailure> {
    let secret = owner.secret(anchor.name.clone());
    if !anchor.is_certain {
        return Err(StepFailure::new(format!("{secret} is an anchor whose labels were changed, so it is not deleted"))
            .hint(format!("its tokens live on; `{}` revokes them", secret.kubectl("delete", &[]))));
    }
    let version = Version { uid: &anchor.uid, resource_version: None };
    let failed = |failure: ApiFailure| StepFailure::new(format!("{secret} could not be deleted: {failure}"));
    deletion::delete(api, &secret, version).await.map_err(failed)
}

/// Whether an object belongs to the ServiceAccount with this uid.
pub(super) fn is_owned_by(object: &Value, account_uid: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|reference| reference["uid"] == account_uid)
}

/// Deletes the anchor with this uid, and returns when it is gone.
///
/// # Errors
///
/// If it cannot be deleted, or another object took its place.
pub(super) async fn delete(api: &Api, anchor: &ObjectRef, uid: &str) -> Result<(), StepFailure> {
    deletion::delete(api, anchor, Version { uid, resource_version: None }).await?.gone(anchor)
}
