//! Plans the clusters of a run: connect, observe, plan, probe.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::kept::{Connected, KeptConnections};
use super::stopwatch::Stopwatch;
use super::{Cancellation, Clock, Ended, Events, Hubs, Slot, each_cluster};
use crate::cluster::observe::{ByName, identify, legacy_tokens, look_for_assumed, observe};
use crate::cluster::probe::{Probed, probe, read_role};
use crate::cluster::secret::IncomingSecret;
use crate::cluster::verify::distrust;
use crate::cluster::{
    AdminEntry, AdminSources, Api, Insecure, Limits, connect_admin, connect_consumer, connect_with, consumer_endpoint,
};
use crate::common::Common;
use crate::credential::{Credential, Distrust};
use crate::delivery::{Before, Destination, Format, Place};
use crate::desired::{DesiredObject, service_account_user};
use crate::event::{End, Event};
use crate::failure::{ApiFailure, StepFailure};
use crate::inventory::policy::{Lifted, Policy, PolicyRule};
use crate::inventory::{Cluster, Grant, Inventory, VerifyVia};
use crate::kubeconfig::Endpoint;
use crate::names::ClusterName;
use crate::observed::ObservedCluster;
use crate::outcome::{NotStarted, Planned};
use crate::plan::{
    Assessed, Blocker, BlockerKind, ClusterPlan, Extent, GrantInput, Note, NoteKind, PlanInput, PlanOptions, Risks,
    judge_probes, judge_roles, judged_roles, plan_cluster, shows_absent,
};
use crate::step::Remove;

/// One cluster to plan.
#[derive(Debug)]
pub(crate) struct PlanTask {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The selected grants on it.
    pub grants: Vec<GrantInput>,
    /// The steps that remove entries of it that nothing explains.
    pub leaving: Vec<Arc<Remove>>,
    /// The time, by the cluster's clock, that is taken for now; nothing for the time as it is.
    pub as_of: Option<Timestamp>,
}

/// What all clusters of a planning run share.
#[derive(Debug)]
pub(crate) struct PlanContext {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The admin credentials.
    pub admin: Arc<AdminSources>,
    /// What the user allows.
    pub options: PlanOptions,
    /// Whether the credentials in the outputs are used, to see whether they still work.
    pub trial: Trial,
    /// Whether writes are tried without effect.
    pub probing: Probing,
    /// Whether tokens that never expire are looked for.
    pub legacy: Legacy,
    /// Tells the time.
    pub clock: Clock,
    /// Where connections go that the steps of a plan can be carried out over.
    pub kept: KeptConnections,
    /// The clusters whose Secrets are outputs.
    pub hubs: Arc<Hubs>,
    /// What plans have in common.
    pub common: CommonParts,
}

/// What the plans of different clusters have in common.
#[derive(Debug, Default)]
pub(crate) struct CommonParts(Mutex<(Common<DesiredObject>, Common<Risks>)>);

impl CommonParts {
    /// Keeps what a plan has in common with others once.
    pub(super) fn share(&self, plan: &mut ClusterPlan) {
        // Sets are usable even after a panic.
        let (objects, risks) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.share(objects, risks);
    }
}

/// Whether writes are tried without effect, to find refusals before the first real write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probing {
    /// They are.
    Try,
    /// They are not: nothing will be written.
    Skip,
}

/// Whether tokens that never expire are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Legacy {
    /// They are.
    Find,
    /// They are not: it needs the right to list Secrets.
    Leave,
}

/// Whether the credentials in the outputs are used to see whether they work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// They are.
    Use,
    /// They are judged by their claims only.
    Skip,
}

/// Plans clusters.
pub(crate) async fn plan_clusters(
    context: Arc<PlanContext>,
    tasks: Vec<PlanTask>,
    cancellation: &Cancellation,
    events: &Events,
) -> HashMap<ClusterName, Planned> {
    let concurrency = context.inventory.run.concurrency;
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), task)).collect();
    let work = |task, slot| plan_one(Arc::clone(&context), task, slot, events.clone());
    let ends = each_cluster(tasks, concurrency, cancellation, work);
    ends.map(|(cluster, end)| (cluster, planned(end))).collect().await
}

/// Returns the result of planning a cluster.
pub(super) fn planned(end: Ended<Planned>) -> Planned {
    match end {
        Ended::Done(planned) => planned,
        Ended::NotStarted(why) => Planned::NotStarted(why),
        Ended::Stopped => Planned::NotStarted(NotStarted::Interrupted),
        Ended::Panicked => Planned::failed("plan", StepFailure::panicked()),
    }
}

/// Returns the time by a cluster's clock; a difference that leads out of the calendar is ignored.
pub(super) fn by_the_cluster(now: Timestamp, ahead: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(ahead)).unwrap_or(now)
}

/// Finds the admin access of a cluster, and the endpoint that its consumers are given.
pub(super) async fn access(
    admin: &AdminSources,
    cluster: &Cluster,
    clock: Clock,
) -> Result<(AdminEntry, Endpoint), StepFailure> {
    let found = admin.resolve(&cluster.admin, Insecure::of(cluster), || clock.now()).await.and_then(|admin| {
        let endpoint = consumer_endpoint(cluster, &admin.endpoint())?;
        Ok((admin, endpoint))
    });
    found.map_err(StepFailure::from)
}

/// Describes why a cluster could not be read. If the admin access may be the reason, it adds how to try that by hand.
pub(super) fn unreadable(failure: ApiFailure, admin: &AdminEntry) -> StepFailure {
    let may_be_the_access = failure.code().is_none_or(|code| code == 401);
    let failure = StepFailure::from(failure);
    match &admin.try_command {
        Some(command) if may_be_the_access && failure.hint.is_none() => {
            failure.hint(format!("check the admin access with `{command}`"))
        }
        _ => failure,
    }
}

async fn plan_one(context: Arc<PlanContext>, task: PlanTask, mut slot: Slot, events: Events) -> Planned {
    let cluster = task.cluster.name.clone();
    events.send(Event::Started(cluster.clone()));
    let (planned, connected) = plan_task(&context, task, &mut slot).await;
    let end = end_of(&planned);
    if let (End::Changed, Some(connected)) = (&end, connected) {
        context.kept.keep(&cluster, connected);
    }
    events.send(Event::Finished { cluster, end });
    drop(slot);
    planned
}

/// Returns how the planning of a cluster ended.
pub(super) fn end_of(planned: &Planned) -> End {
    match planned {
        Planned::Plan(it) if !it.plan.blockers.is_empty() => End::Blocked,
        Planned::Plan(it) if it.plan.steps.is_empty() => End::Unchanged,
        Planned::Plan(_) => End::Changed,
        Planned::Failed { failure, .. } => End::Failed(failure.cause.clone()),
        Planned::NotStarted(_) => End::NotStarted,
    }
}

/// Plans one cluster, and returns the connection if that succeeds. Its slot is lent out if that takes long, so that clusters
/// that do not respond do not hold up the others.
pub(super) async fn plan_task(context: &PlanContext, task: PlanTask, slot: &mut Slot) -> (Planned, Option<Connected>) {
    tracing::info!(cluster = %task.cluster.name, "planning");
    let limit = context.inventory.run.cluster_timeout;
    // An exec plugin has its own limit, and waiting for its turn does not count against the cluster.
    let planning = Box::pin(async {
        match access(&context.admin, &task.cluster, context.clock).await {
            Ok(access) => {
                let watch = Stopwatch::default();
                let planned = watch.within(limit, Box::pin(plan_within(context, task, access, &watch))).await;
                let late = || Planned::failed("read the current access objects", StepFailure::late(limit));
                planned.unwrap_or_else(|_| (late(), None))
            }
            Err(failure) => (Planned::failed("find the admin access", failure), None),
        }
    });
    // Planning is mostly waiting. The time until a slot is free again does not count against the deadline.
    slot.lend_if_slow(planning).await
}

/// Uses the credentials that a plan would keep, as their consumers do. The results go into the grants; a credential
/// that could not be tried becomes a note.
async fn try_credentials(
    context: &PlanContext,
    assessed: &Assessed,
    grants: &mut [GrantInput],
    (admin, endpoint): (&AdminEntry, &Endpoint),
    limits: Limits,
) -> Vec<Note> {
    let mut notes = vec![];
    for grant in grants {
        let Some(credential) = assessed.credential_to_try(grant) else { continue };
        let tried = try_credential(context, &grant.grant, &credential, (admin, endpoint), limits).await;
        match tried {
            Ok(distrust) => grant.distrust = distrust,
            Err(cause) => {
                let profile = &grant.grant.profile.name;
                let message = format!("the credential of `{profile}` could not be tried: {cause}");
                notes.push(Note::new(NoteKind::NotTried, message));
            }
        }
    }
    notes
}

/// Uses a credential as its consumers do. Returns why it does not work, or nothing if it does.
///
/// # Errors
///
/// If it could not be tried; the error says why.
pub(super) async fn try_credential(
    context: &PlanContext,
    grant: &Grant,
    credential: &Credential,
    (admin, endpoint): (&AdminEntry, &Endpoint),
    limits: Limits,
) -> Result<Option<Distrust>, String> {
    let network = context.admin.network();
    let api = match grant.cluster.consumer.verify {
        VerifyVia::Admin => connect_with(admin, &credential.token, network, limits),
        VerifyVia::Endpoint => connect_consumer(endpoint, &credential.token, network, limits),
    };
    match api {
        Ok(api) => distrust(&api, &service_account_user(grant)).await.map_err(|failure| failure.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Lists the Secrets with tokens that never expire, once for each namespace of ServiceAccounts.
async fn find_legacy_tokens(api: &Api, grants: &[Arc<Grant>], assessed: &mut Assessed) -> Result<(), ApiFailure> {
    let mut by_namespace: BTreeMap<&str, Vec<&Arc<Grant>>> = BTreeMap::new();
    for grant in grants {
        by_namespace.entry(grant.namespace.as_str()).or_default().push(grant);
    }
    for (namespace, grants) in by_namespace {
        match legacy_tokens(api, namespace, &grants).await {
            Ok(found) => assessed.assessment.legacy.extend(found),
            Err(failure) if failure.is_forbidden() => {
                let message = format!(
                    "the admin may not list Secrets in namespace `{namespace}`: whether there are tokens that never \
                     expire is not known"
                );
                assessed.plan.notes.push(Note::new(NoteKind::NotChecked, message));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

async fn plan_within(
    context: &PlanContext,
    task: PlanTask,
    (admin, endpoint): (AdminEntry, Endpoint),
    watch: &Stopwatch,
) -> (Planned, Option<Connected>) {
    let limits = Limits::new(context.inventory.run.request_timeout, context.inventory.run.cluster_timeout);
    let api = match connect_admin(&admin, context.admin.network(), limits) {
        Ok(api) => api,
        Err(error) => {
            let failure = StepFailure::of_access(error.to_string());
            return (Planned::failed("connect", failure), None);
        }
    };
    let since = Instant::now();
    match plan_over(context, task, (&admin, endpoint), (&api, limits), watch).await {
        // What was kept in memory for planning is not needed any more.
        Ok(assessed) => (Planned::Plan(assessed), Some(Connected { admin, since, api: api.go_on(limits) })),
        Err((doing, failure)) => (Planned::failed(doing, failure), None),
    }
}

/// Plans one cluster over a connection.
///
/// # Errors
///
/// If it cannot be read; says what was being done.
async fn plan_over(
    context: &PlanContext,
    mut task: PlanTask,
    (admin, mut endpoint): (&AdminEntry, Endpoint),
    (api, limits): (&Api, Limits),
    watch: &Stopwatch,
) -> Result<Arc<Assessed>, (&'static str, StepFailure)> {
    let inventory = &context.inventory;
    let grants: Vec<Arc<Grant>> = task.grants.iter().map(|grant| Arc::clone(&grant.grant)).collect();
    // Whatever is to be created is tried first, which shows whether it exists.
    let by_name = match (context.probing, context.options.extent) {
        (Probing::Try, Extent::Access) => ByName::Assume,
        _ => ByName::Look,
    };
    let unread = |failure| ("read the current access objects", unreadable(failure, admin));
    let identity = identify(api, || context.clock.now()).await.map_err(unread)?;
    let holder = &context.options.holder;
    let observed = observe(api, inventory, &grants, holder, (identity, by_name)).await;
    let mut observed = observed.map_err(unread)?;
    endpoint.cluster_uid = Some(observed.uid.clone());
    // The API server decides when a token has expired, so its clock counts.
    let now = task.as_of.unwrap_or_else(|| by_the_cluster(context.clock.now(), observed.clock_ahead));
    let reached = Reached { admin, endpoint: &endpoint, api, limits, grants: &grants };
    let (mut assessed, mut probed) = plan_and_try(context, &mut task, &reached, (&observed, now)).await?;
    let is_in_doubt = |probed: &Probed| !shows_absent(&observed.assumed_absent, &assessed.plan, &probed.results);
    if probed.as_ref().is_some_and(is_in_doubt) {
        look_for_assumed(api, inventory, &grants, holder, &mut observed).await.map_err(unread)?;
        (assessed, probed) = plan_and_try(context, &mut task, &reached, (&observed, now)).await?;
    }
    if let Some(Probed { results, roles }) = probed {
        let (cluster, policy) = (&task.cluster.name, &inventory.policy);
        judge_probes(&mut assessed.plan, &results, |profile| {
            let mut profiles = grants.iter().map(|grant| &grant.profile);
            profiles.any(|known| known.name == *profile && known.allow_missing_roles)
                || policy.lifted(PolicyRule::DanglingRoles, profile, cluster, now) == Lifted::Yes
        });
        judge_roles(&mut assessed.plan, &roles, policy, &grants, (cluster, now));
    }
    if context.probing == Probing::Try {
        watch.off(try_secrets(&context.hubs, &task.grants, &endpoint, &mut assessed.plan)).await;
    }
    context.common.share(&mut assessed.plan);
    Ok(Arc::new(assessed))
}

/// Tries without effect whether the hubs take the Secrets that a plan writes. Where one does not, the grant is blocked
/// before anything is minted for it.
async fn try_secrets(hubs: &Hubs, grants: &[GrantInput], endpoint: &Endpoint, plan: &mut ClusterPlan) {
    let mut refused: Vec<Blocker> = vec![];
    for (grant, delivery) in plan.steps.iter().filter_map(|step| Some((step.grant()?, step.delivery()?))) {
        let written = delivery.destinations.iter().filter(|destination| destination.before != Before::Whole);
        for Destination { place, format, before } in written {
            let (Place::Secret(secret), Format::Secret(form)) = (&**place, &**format) else { continue };
            let input = grants.iter().find(|input| input.grant.is(grant));
            let read = input.and_then(|input| input.outputs.iter().find(|read| read.place == *place));
            let incoming = IncomingSecret {
                place: secret.clone(),
                form: (**form).clone(),
                mark: delivery.mark.clone(),
                endpoint: endpoint.clone(),
                credential: None,
                reissue: delivery.reissue,
                adopts: *before == Before::Unmarked,
                held: read.and_then(|read| read.secret().cloned()),
            };
            if let Err(failure) = hubs.try_delivery(&incoming).await {
                refused.push(Blocker {
                    profile: Some(grant.profile.clone()),
                    kind: BlockerKind::HubUnusable,
                    message: format!("{}; nothing was minted for it", failure.cause),
                    hint: failure.hint,
                });
                break;
            }
        }
    }
    if !refused.is_empty() {
        plan.blockers.extend(refused);
        plan.drop_blocked_steps();
    }
}

/// A cluster that responds.
struct Reached<'a> {
    admin: &'a AdminEntry,
    endpoint: &'a Endpoint,
    api: &'a Api,
    limits: Limits,
    grants: &'a [Arc<Grant>],
}

/// Plans what was observed, uses the credentials that the plan would keep, and tries the changes, as far as the run wants
/// that.
async fn plan_and_try(
    context: &PlanContext,
    task: &mut PlanTask,
    Reached { admin, endpoint, api, limits, grants }: &Reached<'_>,
    (observed, now): (&ObservedCluster, Timestamp),
) -> Result<(Assessed, Option<Probed>), (&'static str, StepFailure)> {
    let inventory = &context.inventory;
    let plan_with = |grants: &[GrantInput]| {
        plan_cluster(&PlanInput {
            inventory,
            cluster: &task.cluster.name,
            grants,
            observed,
            leaving: &task.leaving,
            endpoint,
            is_insecure: admin.is_insecure(),
            options: &context.options,
            now,
        })
    };
    let mut assessed = plan_with(&task.grants);
    if context.trial == Trial::Use {
        let notes = try_credentials(context, &assessed, &mut task.grants, (admin, endpoint), *limits).await;
        if task.grants.iter().any(|grant| grant.distrust.is_some()) {
            assessed = plan_with(&task.grants);
        }
        assessed.plan.notes.extend(notes);
    }
    if context.legacy == Legacy::Find {
        let found = find_legacy_tokens(api, grants, &mut assessed).await;
        found.map_err(|failure| ("list the tokens that never expire", failure.into()))?;
    }
    if context.probing == Probing::Skip {
        return Ok((assessed, None));
    }
    let tried = try_changes(api, &assessed.plan, (observed, &inventory.policy, grants)).await;
    let probed = tried.map_err(|failure| ("try the changes without effect", failure.into()))?;
    Ok((assessed, Some(probed)))
}

/// Tries the changes without effect, and reads the roles that the policy has to judge.
async fn try_changes(
    api: &Api,
    plan: &ClusterPlan,
    (observed, policy, grants): (&ObservedCluster, &Policy, &[Arc<Grant>]),
) -> Result<Probed, ApiFailure> {
    let mut probed = probe(api, plan, observed).await?;
    for role in judged_roles(plan, policy, grants) {
        if let Entry::Vacant(entry) = probed.roles.entry(role) {
            let read = read_role(api, entry.key()).await?;
            entry.insert(read);
        }
    }
    Ok(probed)
}
