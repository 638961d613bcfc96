//! Reads what a plan needs from one cluster, one request after another.
//!
//! A cluster in the desired state costs one read of kube-system, five lists by our label, and one metadata read for
//! each credential. An object of ours that the lists lack is looked for by name, because somebody else's object may
//! have that name; where it will be created, trying that tells the same (see [`ByName`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::api::{Api, Request};
use crate::desired::{desired_objects, needed_namespaces, service_account};
use crate::failure::ApiFailure;
use crate::inventory::{Grant, Inventory, MissingNamespace};
use crate::names::{
    Holder, INVENTORY_LABEL, InventoryName, MANAGED_BY, MANAGED_BY_LABEL, anchor_name, exec_anchor_name,
};
use crate::object::{Kind, ObjectRef};
use crate::observed::{NamespaceState, ObservedCluster, ObservedObject};
use crate::plan::LegacyToken;
use crate::rbac::Rule;

/// Objects on one page of a list: kubectl's own choice.
const PAGE: usize = 500;
/// A page that is too large is requested again with this many times fewer objects.
const SMALLER: usize = 8;
/// The most pages of a list: more than any cluster's objects need, and an end for a server that never ends a list.
const MOST_PAGES: usize = 400;
/// How often a list is started again because its snapshot expired (410).
const STARTS: usize = 3;

/// Which cluster responds, and how its clock differs.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The uid of the namespace kube-system.
    pub uid: String,
    /// How many seconds the response's `Date` is ahead of this machine's clock.
    pub date_ahead: i64,
    /// The response's `Date`.
    pub date: Option<Timestamp>,
}

/// Whether objects of ours that the lists lack are looked for by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByName {
    /// They are.
    Look,
    /// They are taken to be absent. Whether they are is told by trying to create them, without effect; if that fails,
    /// [`look_for_assumed`] has to follow.
    Assume,
}

/// Asks a cluster which one it is. This is the first request, so it also shows whether the cluster responds at all.
///
/// # Errors
///
/// If it does not respond, or not as an API server.
pub(crate) async fn identify(api: &Api, now: impl Fn() -> Timestamp) -> Result<Identity, ApiFailure> {
    let system = ObjectRef::cluster_scoped(Kind::Namespace, "kube-system");
    let answer = api.object(&Request::get(system.path()).metadata_only(), &system).await?;
    Ok(Identity {
        uid: answer.value["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        date_ahead: answer.date.map_or(0, |date| date.duration_since(now()).as_secs()),
        date: answer.date,
    })
}

/// Reads what planning the given grants of one cluster needs.
///
/// # Errors
///
/// The first request that failed.
pub(crate) async fn observe(
    api: &Api,
    inventory: &Inventory,
    grants: &[Arc<Grant>],
    holder: &Holder,
    (identity, by_name): (Identity, ByName),
) -> Result<ObservedCluster, ApiFailure> {
    let identified = Instant::now();
    let mut observed = ObservedCluster {
        uid: identity.uid,
        clock_ahead: identity.date_ahead,
        lists_accounts: true,
        ..ObservedCluster::default()
    };
    for kind in Kind::RBAC.into_iter().chain([Kind::ServiceAccount]) {
        list_ours(api, kind, &inventory.name, &mut observed.objects).await?;
    }
    observed.calibrate(&inventory.name);
    for grant in grants {
        // A namespace does not matter if no object of ours is needed in it.
        let needed: BTreeMap<String, MissingNamespace> =
            needed_namespaces(grant).into_iter().map(|needed| (needed.name, needed.missing)).collect();
        for desired in desired_objects(&inventory.name, grant) {
            let object = desired.object;
            if observed.objects.contains_key(&object) {
                continue;
            }
            if let Some(namespace) = &object.namespace
                && let Some(missing) = needed.get(namespace)
                && !observed.namespaces.contains_key(namespace)
            {
                let state = match (by_name, missing) {
                    (ByName::Assume, MissingNamespace::Create) if is_new(namespace, &observed) => {
                        let address = ObjectRef::cluster_scoped(Kind::Namespace, namespace.as_str());
                        observed.assumed_absent.insert(address);
                        NamespaceState::Absent
                    }
                    _ => namespace_state(api, namespace).await?,
                };
                observed.namespaces.insert(namespace.clone(), state);
            }
            let namespace = object.namespace.as_ref().and_then(|namespace| observed.namespaces.get(namespace));
            match (namespace, by_name) {
                // Nothing is in a namespace that does not exist.
                (Some(NamespaceState::Absent), _) => {}
                (_, ByName::Look) => look_for(api, object, &mut observed).await?,
                (_, ByName::Assume) => drop(observed.assumed_absent.insert(object)),
            }
        }
        let account = service_account(grant);
        if let Some(object) = observed.objects.get(&account) {
            api.accounts.remember_listed(&account, object, (identity.date, identified));
        }
        observe_anchors(api, inventory, grant, holder, &mut observed).await?;
    }
    Ok(observed)
}

/// Whether a namespace is likely to be absent: nothing of ours is in it, and no cluster is made with it.
fn is_new(namespace: &str, observed: &ObservedCluster) -> bool {
    let is_kubernetes_own = namespace == "default" || namespace.starts_with("kube-");
    !is_kubernetes_own && !observed.objects.keys().any(|object| object.namespace.as_deref() == Some(namespace))
}

/// Looks by their names for the objects that were taken to be absent, and for what belongs to them.
///
/// # Errors
///
/// The first request that failed.
pub(crate) async fn look_for_assumed(
    api: &Api,
    inventory: &Inventory,
    grants: &[Arc<Grant>],
    holder: &Holder,
    observed: &mut ObservedCluster,
) -> Result<(), ApiFailure> {
    let assumed = std::mem::take(&mut observed.assumed_absent).into_iter();
    let (namespaces, mut objects): (BTreeSet<_>, BTreeSet<_>) =
        assumed.partition(|object| object.kind == Kind::Namespace);
    for namespace in namespaces {
        let state = namespace_state(api, &namespace.name).await?;
        if state != NamespaceState::Absent {
            let desired = grants.iter().flat_map(|grant| desired_objects(&inventory.name, grant));
            let missing = desired.map(|it| it.object).filter(|it| !observed.objects.contains_key(it));
            objects.extend(missing.filter(|it| it.namespace.as_ref() == Some(&namespace.name)));
        }
        observed.namespaces.insert(namespace.name, state);
    }
    for object in objects {
        look_for(api, object, observed).await?;
    }
    for grant in grants {
        observe_anchors(api, inventory, grant, holder, observed).await?;
    }
    Ok(())
}

async fn look_for(api: &Api, object: ObjectRef, observed: &mut ObservedCluster) -> Result<(), ApiFailure> {
    if let Some(value) = get(api, &Request::get(object.path()), &object).await? {
        let found = ObservedObject::from_json(&value);
        api.keep(found.weight())?;
        observed.objects.insert(object, found);
    }
    Ok(())
}

/// Reads the anchors of a grant's ServiceAccount that are not known yet.
async fn observe_anchors(
    api: &Api,
    inventory: &Inventory,
    grant: &Grant,
    holder: &Holder,
    observed: &mut ObservedCluster,
) -> Result<(), ApiFailure> {
    let account = service_account(grant);
    let Some(object) = observed.objects.get(&account) else { return Ok(()) };
    let mut names = generation_anchors(inventory, &account, object, holder);
    if inventory.has_minting_plugin(&grant.key()) {
        names.push(exec_anchor_name(&account.name, &object.uid, &inventory.name, holder));
    }
    names.retain(|name| !observed.anchors.contains_key(&ObjectRef::anchor_of(&account, name.as_str())));
    observed.anchors.extend(anchors(api, &account, names).await?);
    Ok(())
}

/// Reads only the ServiceAccounts of the given grants, and the cluster's time.
///
/// # Errors
///
/// The first request that failed.
pub(crate) async fn observe_accounts(
    api: &Api,
    inventory: &Inventory,
    grants: &[Arc<Grant>],
    now: Timestamp,
) -> Result<ObservedCluster, ApiFailure> {
    let mut observed = ObservedCluster::default();
    // One list also shows accounts that no grant needs any more; a caller who may not list reads only those of the
    // grants.
    match list_ours(api, Kind::ServiceAccount, &inventory.name, &mut observed.objects).await {
        Err(failure) if !failure.is_forbidden() => return Err(failure),
        listed => observed.lists_accounts = listed.is_ok(),
    }
    for grant in grants {
        let account = service_account(grant);
        match api.object(&Request::get(account.path()), &account).await {
            Ok(answer) => {
                observed.clock_ahead = answer.date.map_or(0, |date| date.duration_since(now).as_secs());
                // The single read is newer than the list.
                observed.objects.insert(account, ObservedObject::from_json(&answer.value));
            }
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(observed)
}

/// Reads the rules of a role that is not ours; nothing if it does not exist or may not be read.
///
/// # Errors
///
/// If there is no response.
pub(crate) async fn role_rules(api: &Api, role: &ObjectRef) -> Result<Option<Vec<Rule>>, ApiFailure> {
    match api.object(&Request::get(role.path()), role).await {
        Ok(answer) => Ok(Some(ObservedObject::from_json(&answer.value).rules)),
        Err(failure) if failure.is_not_found() || failure.is_forbidden() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Lists the Secrets with tokens that never expire, for the ServiceAccounts of some grants in one namespace. Only
/// metadata is requested.
///
/// # Errors
///
/// The first request that failed.
pub(crate) async fn legacy_tokens(
    api: &Api,
    namespace: &str,
    grants: &[&Arc<Grant>],
) -> Result<Vec<LegacyToken>, ApiFailure> {
    const TYPE: &str = "kubernetes.io/service-account-token";
    let selection = [("fieldSelector", format!("type={TYPE}"))];
    let mut found = vec![];
    list(api, &Kind::Secret.collection_path(Some(namespace)), &selection, Items::Metadata, |item| {
        let metadata = &item["metadata"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let account = metadata["annotations"]["kubernetes.io/service-account.name"].as_str();
        let Some(grant) = grants.iter().find(|grant| Some(grant.profile.service_account.as_str()) == account) else {
            return;
        };
        let name = metadata["name"].as_str().unwrap_or_default();
        found.push(LegacyToken {
            grant: grant.key(),
            secret: ObjectRef::namespaced(Kind::Secret, namespace, name),
            created: text(&metadata["creationTimestamp"]),
            last_used: text(&metadata["labels"]["kubernetes.io/legacy-token-last-used"]),
            invalid_since: text(&metadata["labels"]["kubernetes.io/legacy-token-invalid-since"]),
        });
    })
    .await?;
    Ok(found)
}

async fn get(api: &Api, request: &Request, object: &ObjectRef) -> Result<Option<Value>, ApiFailure> {
    match api.object(request, object).await {
        Ok(answer) => Ok(Some(answer.value)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn namespace_state(api: &Api, name: &str) -> Result<NamespaceState, ApiFailure> {
    let namespace = ObjectRef::cluster_scoped(Kind::Namespace, name);
    let namespace = get(api, &Request::get(namespace.path()).metadata_only(), &namespace).await?;
    Ok(match namespace {
        None => NamespaceState::Absent,
        Some(value) if value["metadata"]["deletionTimestamp"].is_string() => NamespaceState::Terminating,
        Some(_) => NamespaceState::Active,
    })
}

async fn list_ours(
    api: &Api,
    kind: Kind,
    inventory: &InventoryName,
    objects: &mut BTreeMap<ObjectRef, ObservedObject>,
) -> Result<(), ApiFailure> {
    let selector = format!("{MANAGED_BY_LABEL}={MANAGED_BY},{INVENTORY_LABEL}={inventory}");
    let mut kept = Ok(());
    pages(api, kind, Some(&selector), &mut |object, item| {
        let mut observed = ObservedObject::from_json(item);
        observed.shorten();
        kept = kept.clone().and_then(|()| api.keep(observed.weight() + object.name.len()));
        // Over the limit, nothing more is kept, but the list is read to its end, which is near.
        if kept.is_ok() {
            objects.insert(object, observed);
        }
    })
    .await?;
    kept
}

/// Hands out every object of a kind, page by page. If the list starts again, some come twice.
pub(super) async fn pages(
    api: &Api,
    kind: Kind,
    selector: Option<&str>,
    each: &mut (dyn FnMut(ObjectRef, &Value) + Send),
) -> Result<(), ApiFailure> {
    let selection: Vec<_> = selector.map(|selector| ("labelSelector", selector.to_owned())).into_iter().collect();
    let mut impossible = 0_usize;
    list(api, &kind.collection_path(None), &selection, Items::Whole, |item| {
        let metadata = &item["metadata"];
        let object = ObjectRef {
            kind,
            namespace: metadata["namespace"].as_str().map(str::to_owned),
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
        };
        if object.is_possible() {
            each(object, item);
        } else {
            impossible += 1;
        }
    })
    .await?;
    if impossible == 0 {
        return Ok(());
    }
    let cause = format!("the list of {} holds {impossible} names that no object can have", kind.resource());
    Err(ApiFailure::Unreadable { cause })
}

/// What is listed of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Items {
    /// All of it.
    Whole,
    /// Its metadata.
    Metadata,
}

/// Lists a collection page by page; an object may come twice if the list had to start again.
pub(super) async fn list(
    api: &Api,
    path: &str,
    selection: &[(&'static str, String)],
    items_wanted: Items,
    mut take: impl FnMut(&Value) + Send,
) -> Result<(), ApiFailure> {
    let (mut starts, mut pages, mut limit) = (0, 0, PAGE);
    api.begin_list();
    let mut page_token: Option<String> = None;
    loop {
        let mut request = Request::get(path).query("limit", limit.to_string());
        for (key, value) in selection {
            request = request.query(key, value.as_str());
        }
        if let Some(token) = &page_token {
            request = request.query("continue", token.as_str());
        }
        if items_wanted == Items::Metadata {
            request = request.metadata_list_only();
        }
        match api.page(&request, &mut take).await {
            Ok(next) => page_token = next,
            // Large objects of others must not make the list fail.
            Err(ApiFailure::TooLarge { .. }) if limit > 1 => {
                limit = (limit / SMALLER).max(1);
                continue;
            }
            Err(failure) if failure.code() == Some(410) && starts < STARTS => {
                starts += 1;
                page_token = None;
                continue;
            }
            Err(failure) => return Err(failure),
        }
        if page_token.is_none() {
            return Ok(());
        }
        pages += 1;
        if pages > MOST_PAGES {
            let cause = format!("the list {path} has more than {MOST_PAGES} pages");
            return Err(ApiFailure::Unreadable { cause });
        }
    }
}

/// Returns the names of the anchors of the generations that the index of a ServiceAccount lists for this holder.
fn generation_anchors(
    inventory: &Inventory,
    account: &ObjectRef,
    object: &ObservedObject,
    holder: &Holder,
) -> Vec<String> {
    // Also of an account that is not ours, or no longer: it may be adopted, and a living generation must not be taken for
    // a dead one then. An index that cannot be read is a blocker, which the plan reports.
    let index = object.index().ok();
    let chain = index.as_ref().and_then(|index| index.holder(holder));
    let generations = chain.map_or(&[][..], |chain| &chain.generations);
    // The names in the index could be edited by anybody, so they are computed.
    let inventory = object.minted_for(&inventory.name);
    let name = |n| anchor_name(&account.name, &object.uid, &inventory, holder, n);
    generations.iter().map(|generation| name(generation.n)).collect()
}

/// Reads the uids of anchors, where they exist.
async fn anchors(
    api: &Api,
    account: &ObjectRef,
    names: Vec<String>,
) -> Result<BTreeMap<ObjectRef, String>, ApiFailure> {
    let mut anchors = BTreeMap::new();
    for name in names {
        let anchor = ObjectRef::anchor_of(account, name);
        if let Some(value) = get(api, &Request::get(anchor.path()).metadata_only(), &anchor).await? {
            let uid = value["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            // An anchor that is being deleted and held by a finalizer counts as gone.
            if !value["metadata"]["deletionTimestamp"].is_string() {
                anchors.insert(anchor, uid);
            }
        }
    }
    Ok(anchors)
}
