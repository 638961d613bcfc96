//! Plans the revocations of a run: connect, read only what is needed, plan.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;

use super::observe::{CommonParts, access, by_the_cluster, planned};
use super::{Cancellation, Clock, Events, Slot, each_cluster};
use crate::cluster::observe::{ByName, identify, observe, observe_accounts, role_rules};
use crate::cluster::revoke::ListedAnchors;
use crate::cluster::{AdminEntry, AdminSources, Api, Limits, connect_admin};
use crate::credential::AnchorHints;
use crate::desired::service_account;
use crate::event::{End, Event};
use crate::failure::{ApiFailure, StepFailure};
use crate::inventory::{Cluster, Grant, Inventory};
use crate::kubeconfig::Endpoint;
use crate::names::ClusterName;
use crate::object::ObjectRef;
use crate::observed::{Anchors, ObservedCluster, Ownership, Search};
use crate::outcome::Planned;
use crate::plan::{
    Assessed, Assessment, Evidence, RevokeDepth, RevokeGrant, RevokeInput, RevokeOptions, RevokeTarget, existing_roles,
    plan_revocation, vanished_accounts,
};
use crate::rbac::Rule;
use crate::step::Remove;

/// One cluster whose grants are revoked.
#[derive(Debug)]
pub(crate) struct RevokeTask {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The selected grants on it; there may be none left.
    pub grants: Vec<RevokeGrant>,
    /// The steps that remove entries of it.
    pub leaving: Vec<Arc<Remove>>,
}

/// What all clusters of a revocation share.
#[derive(Debug)]
pub(crate) struct RevokeContext {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The admin credentials.
    pub admin: Arc<AdminSources>,
    /// What the user wants.
    pub options: RevokeOptions,
    /// Tells the time.
    pub clock: Clock,
    /// What plans have in common.
    pub common: CommonParts,
}

/// Plans the revocation on every cluster.
pub(crate) async fn plan_revocations(
    context: Arc<RevokeContext>,
    tasks: Vec<RevokeTask>,
    cancellation: &Cancellation,
    events: &Events,
) -> HashMap<ClusterName, Planned> {
    let concurrency = context.inventory.run.concurrency;
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), task)).collect();
    let work = |task, slot| plan_one(Arc::clone(&context), task, slot, events.clone());
    let ends = each_cluster(tasks, concurrency, cancellation, work);
    ends.map(|(cluster, end)| (cluster, planned(end))).collect().await
}

async fn plan_one(context: Arc<RevokeContext>, task: RevokeTask, mut slot: Slot, events: Events) -> Planned {
    events.send(Event::Started(task.cluster.name.clone()));
    let limit = context.inventory.run.cluster_timeout;
    // The slot is lent while reading, so that a cluster that does not respond does not delay the others.
    let planned = match slot.lend_if_slow(Box::pin(access(&context.admin, &task.cluster, context.clock))).await {
        Ok((admin, endpoint)) => {
            let planning = tokio::time::timeout(limit, Box::pin(plan_within(&context, &task, &admin, endpoint)));
            let planned = slot.lend_if_slow(planning).await;
            let late = || StepFailure::late(limit);
            planned.unwrap_or_else(|_| Planned::failed("read the ServiceAccounts", late()))
        }
        Err(failure) => Planned::failed("find the admin access", failure),
    };
    let end = match &planned {
        Planned::Plan(it) if it.plan.steps.is_empty() && !it.plan.blockers.is_empty() => End::Blocked,
        Planned::Plan(it) if it.plan.steps.is_empty() => End::Unchanged,
        Planned::Plan(_) => End::Changed,
        Planned::Failed { failure, .. } => End::Failed(failure.cause.clone()),
        Planned::NotStarted(_) => End::NotStarted,
    };
    events.send(Event::Finished { cluster: task.cluster.name.clone(), end });
    drop(slot);
    planned
}

async fn plan_within(context: &RevokeContext, task: &RevokeTask, admin: &AdminEntry, endpoint: Endpoint) -> Planned {
    let limits = Limits::new(context.inventory.run.request_timeout, context.inventory.run.cluster_timeout);
    let api = match connect_admin(admin, context.admin.network(), limits) {
        Ok(api) => api,
        Err(error) => return Planned::failed("connect", StepFailure::of_access(error.to_string())),
    };
    match read(context, task, &api).await {
        Ok(Read { observed, roles, anchors }) => {
            let mut plan = plan_revocation(&RevokeInput {
                inventory: &context.inventory,
                cluster: &task.cluster.name,
                grants: &task.grants,
                now: by_the_cluster(context.clock.now(), observed.clock_ahead),
                observed: &observed,
                anchors: &anchors,
                leaving: &task.leaving,
                roles: &roles,
                options: &context.options,
            });
            context.common.share(&mut plan);
            let grants: Vec<Arc<Grant>> = task.grants.iter().map(|grant| Arc::clone(&grant.grant)).collect();
            let evidence = Arc::new(Evidence::of_revocation(&grants, &observed));
            let assessment =
                Assessment { endpoint, evidence, clock_ahead: observed.clock_ahead, ..Assessment::default() };
            Planned::Plan(Arc::new(Assessed { plan, assessment }))
        }
        Err(failure) => Planned::failed("read the ServiceAccounts", failure.into()),
    }
}

type Roles = BTreeMap<ObjectRef, Option<Vec<Rule>>>;

/// What was read of a cluster for planning its revocation.
struct Read {
    observed: ObservedCluster,
    roles: Roles,
    anchors: BTreeMap<ObjectRef, Anchors>,
}

async fn read(context: &RevokeContext, task: &RevokeTask, api: &Api) -> Result<Read, ApiFailure> {
    let (inventory, now) = (&context.inventory, context.clock.now());
    let grants: Vec<Arc<Grant>> = task.grants.iter().map(|grant| Arc::clone(&grant.grant)).collect();
    let mut roles = Roles::new();
    let observed = match context.options.depth {
        RevokeDepth::Access => {
            let identity = identify(api, || now).await?;
            observe(api, inventory, &grants, &context.options.holder, (identity, ByName::Look)).await?
        }
        // A revocation is urgent, so it sends no request that is not needed.
        RevokeDepth::Tokens | RevokeDepth::Account => {
            let mut observed = observe_accounts(api, inventory, &grants, now).await?;
            // Where outputs may be another cluster's, which one answers decides whether anything is revoked. Whoever may not ask
            // is told by the ServiceAccounts.
            if task.grants.iter().any(|revoked| !revoked.origins.is_empty()) {
                observed.uid = match identify(api, || now).await {
                    Ok(identity) => identity.uid,
                    Err(failure) if failure.is_forbidden() => String::new(),
                    Err(failure) => return Err(failure),
                };
            }
            observed
        }
    };
    let anchors = anchors(context, task, api, &observed).await;
    if context.options.depth == RevokeDepth::Tokens {
        for role in grants.iter().flat_map(|grant| existing_roles(grant)) {
            if let Entry::Vacant(entry) = roles.entry(role) {
                // This is only for a note, so without a response the revocation goes on.
                let rules = role_rules(api, entry.key()).await.unwrap_or_default();
                entry.insert(rules);
            }
        }
    }
    Ok(Read { observed, roles, anchors })
}

/// Looks for the anchors of every ServiceAccount of ours that the revocation includes.
async fn anchors(
    context: &RevokeContext,
    task: &RevokeTask,
    api: &Api,
    observed: &ObservedCluster,
) -> BTreeMap<ObjectRef, Anchors> {
    let (inventory, holder) = (&context.inventory, &context.options.holder);
    let mut accounts = vec![];
    for revoked in &task.grants {
        let grant = &revoked.grant;
        let mut held: Vec<u64> = revoked.held.iter().map(|source| source.facts.generation).collect();
        if let RevokeTarget::Generation(number) = context.options.target {
            held.push(number);
        }
        accounts.push((service_account(grant), grant.profile.name.clone(), held));
    }
    let vanished = vanished_accounts(inventory, &task.cluster.name, observed).into_iter();
    for account in vanished.filter(|account| context.options.vanished.revokes(&account.profile)) {
        accounts.push((account.object.clone(), account.profile, vec![]));
    }
    let mut anchors = BTreeMap::new();
    let mut listed = ListedAnchors::default();
    for (account, profile, held) in accounts {
        let Some(object) = observed.objects.get(&account) else { continue };
        if object.ownership(&inventory.name) != Ownership::Ours {
            continue;
        }
        let hints = AnchorHints::new(object.index().ok().as_ref(), holder, &held);
        let found = listed.find(api, &account, &object.uid, (&inventory.name, &profile), &hints).await;
        // If the anchors of one account could not be found, the others are revoked all the same, and this one is tried
        // again later.
        let unknown = Anchors { found: vec![], strange: vec![], search: Search::ByName { unasked: 1 } };
        anchors.insert(account, found.unwrap_or(unknown));
    }
    anchors
}
