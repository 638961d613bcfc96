//! Runs the steps of plans: the same plan values that were shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::hubs::Hubs;
use super::kept::{Connected, KeptConnections};
use super::ledger::{HeldAnchor, SharedLedger, carried, lock};
use super::limit::{collect_within, part_of};
use super::observe::access;
use super::publish::{FileChange, NotWritten, Publisher, TargetFiles, removals};
use super::stopwatch::Stopwatch;
use super::warnings::Warnings;
use super::{Cancellation, Clock, Events, Pace, Slot, each_cluster};
use crate::cluster::secret::{IncomingSecret, NotDelivered};
use crate::cluster::{
    AdminEntry, AdminSources, Api, Limits, connect_admin, connect_consumer, connect_with, index, issue, revoke, verify,
    write,
};
use crate::credential::{Claims, Credential, Generation, MintReason};
use crate::delivery::{
    Before, ContextPlace, Delivery, Destination, Format, HeldSecret, Place, SecretPlace, Source, TokenPlace,
};
use crate::event::{End, Event, Issued, StepEnded, StepOutcome};
use crate::failure::{FailureKind, StepFailure};
use crate::inventory::{Cluster, Inventory, VerifyVia};
use crate::kubeconfig::Incoming;
use crate::names::ClusterName;
use crate::object::Kind;
use crate::outcome::{Carried, Published};
use crate::plan::{Assessed, ClusterPlan, Note, NoteKind, OnFailure};
use crate::secret::SecretToken;
use crate::step::{Mint, Plugin, Publish, Remove, Revoke, Step, Update};

/// One cluster to apply.
#[derive(Debug)]
pub(crate) struct ApplyTask {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Its plan, and how things stand: what was shown is what is written.
    pub assessed: Arc<Assessed>,
    /// The outputs that it names.
    pub outputs: NamedOutputs,
}

impl ApplyTask {
    fn plan(&self) -> &ClusterPlan {
        &self.assessed.plan
    }
}

/// What the steps of a plan need of the outputs: the files that they write, and the credentials at the places that they
/// name. A plan itself holds neither.
#[derive(Debug, Default)]
pub(crate) struct NamedOutputs {
    /// The files.
    pub files: TargetFiles,
    /// The Secrets, as they were read; nothing where there was none.
    pub secrets: BTreeMap<SecretPlace, Option<Arc<HeldSecret>>>,
    /// The credentials, as the places held them when they were read.
    pub credentials: BTreeMap<Arc<Place>, Credential>,
}

impl NamedOutputs {
    /// Returns the credential that a source names, if the place holds it.
    fn credential(&self, source: &Source) -> Option<Credential> {
        let held = self.credentials.get(&source.place)?;
        let is_it =
            held.facts.generation == source.facts.generation && held.facts.anchor_uid == source.facts.anchor_uid;
        is_it.then(|| Credential { facts: source.facts.clone(), token: held.token.clone() })
    }
}

/// What all clusters of an apply share.
#[derive(Debug)]
pub(crate) struct ApplyContext {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The admin credentials.
    pub admin: Arc<AdminSources>,
    /// Identifies this run in the index and on anchors.
    pub run: String,
    /// Tells the time.
    pub clock: Clock,
    /// The connections that clusters were planned over.
    pub kept: KeptConnections,
    /// The clusters whose Secrets hold credentials of others.
    pub hubs: Arc<Hubs>,
}

/// Applies clusters.
pub(crate) async fn apply_clusters(
    context: Arc<ApplyContext>,
    tasks: Vec<ApplyTask>,
    pace: Pace,
    publisher: Publisher,
    cancellation: &Cancellation,
    events: &Events,
) -> HashMap<ClusterName, Carried> {
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), (task, Arc::default())));
    let tasks: Vec<(ClusterName, (ApplyTask, SharedLedger))> = tasks.collect();
    let of = |(cluster, (_, ledger)): &(ClusterName, (_, SharedLedger))| (cluster.clone(), Arc::clone(ledger));
    let ledger: HashMap<ClusterName, SharedLedger> = tasks.iter().map(of).collect();
    let work = |(task, ledger): (ApplyTask, SharedLedger), slot| {
        let connected = context.kept.take(&task.cluster.name);
        apply_task(Arc::clone(&context), (task, connected), publisher.clone(), ledger, slot, events.clone())
    };
    let part = part_of(cancellation);
    let ends = each_cluster(tasks, pace.bound(), &part, work);
    let carried = ends.map(|(cluster, end)| {
        let carried = carried(ledger.get(&cluster).map(|ledger| &**ledger), end);
        (cluster, carried)
    });
    collect_within(carried, pace.most_failures, &part, cancellation).await
}

/// Carries out the plan of one cluster in a slot of the pool, over the connection that it was planned over, if that is
/// still there.
pub(super) async fn apply_task(
    context: Arc<ApplyContext>,
    (task, connected): (ApplyTask, Option<Connected>),
    publisher: Publisher,
    ledger: SharedLedger,
    slot: Slot,
    events: Events,
) -> Result<(), StepFailure> {
    let watch = Arc::default();
    let warnings = Warnings::of(&context.inventory, context.clock, &task.assessed);
    StepRunner { context, publisher, events, ledger, slot, admin: None, watch, warnings }.run(task, connected).await
}

/// The work on one cluster.
struct StepRunner {
    context: Arc<ApplyContext>,
    publisher: Publisher,
    events: Events,
    ledger: SharedLedger,
    slot: Slot,
    /// How the cluster was reached, once it was.
    admin: Option<AdminEntry>,
    /// How long the steps took, without what they waited for hubs.
    watch: Arc<Stopwatch>,
    /// What is said in the cluster too.
    warnings: Warnings,
}

impl StepRunner {
    async fn run(mut self, task: ApplyTask, connected: Option<Connected>) -> Result<(), StepFailure> {
        let cluster = task.plan().cluster.clone();
        self.events.send(Event::Started(cluster.clone()));
        let limit = self.context.inventory.run.cluster_timeout;
        lock(&self.ledger).of = task.plan().steps.len();
        self.doing(&cluster, "connect".to_owned());
        let result = match self.connect(&task.cluster, connected).await {
            Ok(api) => {
                let since = Instant::now();
                let watch = Arc::clone(&self.watch);
                let done = watch.within(limit, Box::pin(self.steps(&task, &api))).await;
                let done = done.unwrap_or_else(|_| Err(self.undone(&task, StepFailure::late(limit))));
                let refused = self.await_refusals(&task, since).await;
                if refused.is_err() {
                    self.warnings.forget_revocations();
                }
                if !self.warnings.is_empty() {
                    let not_said = self.slot.lend(self.warnings.write(api)).await;
                    lock(&self.ledger).notes.extend(not_said);
                }
                done.and(refused)
            }
            Err(failure) => Err(failure),
        };
        let end = match &result {
            Ok(()) => End::Changed,
            Err(failure) => End::Failed(failure.cause.clone()),
        };
        self.events.send(Event::Finished { cluster, end });
        result
    }

    /// Connects to a cluster, unless there is a connection.
    async fn connect(&mut self, cluster: &Cluster, connected: Option<Connected>) -> Result<Api, StepFailure> {
        if let Some(Connected { admin, api, .. }) = connected {
            self.admin = Some(admin);
            return Ok(api.go_on(self.limits()));
        }
        let access = Box::pin(access(&self.context.admin, cluster, self.context.clock));
        let (admin, _) = self.slot.lend_if_slow(access).await?;
        let api = connect_admin(&admin, self.context.admin.network(), self.limits());
        self.admin = Some(admin);
        api.map_err(|error| StepFailure::new(error.to_string()))
    }

    async fn steps(&mut self, task: &ApplyTask, api: &Api) -> Result<(), StepFailure> {
        let mut failed: Vec<FailedStep<'_>> = vec![];
        for (number, step) in (1..).zip(&task.plan().steps) {
            // An output keeps what it holds as long as something that this gives access to may be left.
            if matches!(step, Step::Remove(_)) && !failed.is_empty() {
                continue;
            }
            // A ServiceAccount is deleted only after the credential of its successor is published.
            if matches!(step, Step::Delete(_)) && !failed.is_empty() && task.plan().on_failure == OnFailure::Stop {
                continue;
            }
            lock(&self.ledger).number = number;
            self.doing(&task.plan().cluster, step.to_string());
            let result = self.step(api, task, step).await;
            self.ended(&task.plan().cluster, step, &result);
            self.keep_warning(step, &result);
            match result {
                Ok(Done::Yes) => {
                    lock(&self.ledger).done.push(step.id());
                    self.settle(step, &mut failed);
                }
                Ok(Done::ByAnotherRun) => {}
                // Later steps refer to objects; the credential of one grant is nothing to another.
                Err(failure) if task.plan().on_failure == OnFailure::Stop && !step.is_about_credentials() => {
                    return Err(self.undone(task, failure));
                }
                Err(failure) => {
                    failed.push(FailedStep { step, number, doing: lock(&self.ledger).doing.clone(), failure });
                }
            }
        }
        let others = failed.len().saturating_sub(1);
        let Some(FailedStep { number, doing, mut failure, .. }) = failed.into_iter().next() else { return Ok(()) };
        let mut ledger = lock(&self.ledger);
        (ledger.number, ledger.doing) = (number, doing);
        if others > 0 {
            failure.cause.push_str(&format!(" (and {} failed)", crate::wording::count(others, "more step")));
        }
        Err(failure)
    }

    /// Tells how a step ended.
    fn ended(&self, cluster: &ClusterName, step: &Step, result: &Result<Done, StepFailure>) {
        self.events.step_ended(|| {
            let is_of_step = |published: &&Published| step.grant() == Some(&published.grant);
            let issued = lock(&self.ledger).published.iter().find(is_of_step).map(|published| Issued {
                facts: published.facts.clone(),
                jti: published.jti.clone(),
                superseded: published.superseded.clone(),
            });
            StepEnded {
                cluster: cluster.clone(),
                id: step.id(),
                action: step.action(),
                profile: step.profile().cloned(),
                outcome: match result {
                    Ok(Done::Yes) => StepOutcome::Done,
                    Ok(Done::ByAnotherRun) => StepOutcome::LeftToAnotherRun,
                    Err(failure) => StepOutcome::Failed(failure.clone()),
                },
                issued,
                generations: step.ends(),
            }
        });
    }

    /// Keeps what is to be said of the present step and those after it, none of which is done because of a failure.
    fn undone(&mut self, task: &ApplyTask, failure: StepFailure) -> StepFailure {
        let ledger = lock(&self.ledger);
        let undone = task.plan().steps.iter().skip(ledger.number.saturating_sub(1));
        undone.for_each(|step| self.warnings.of_failure(step, &failure, &ledger.published));
        failure
    }

    /// Keeps what is to be said of a step in the cluster.
    fn keep_warning(&mut self, step: &Step, result: &Result<Done, StepFailure>) {
        match result {
            Ok(Done::Yes) => self.warnings.of_success(step, &lock(&self.ledger).published),
            Ok(Done::ByAnotherRun) => {}
            Err(failure) => self.warnings.of_failure(step, failure, &lock(&self.ledger).published),
        }
    }

    /// Drops the failures in revoking tokens of a ServiceAccount that is gone now: none of its tokens works.
    fn settle(&self, step: &Step, failed: &mut Vec<FailedStep<'_>>) {
        let gone = match step {
            Step::Recreate(recreate) => &recreate.account.object,
            Step::Delete(delete) => &delete.object,
            _ => return,
        };
        let is_settled = |step: &Step| matches!(step, Step::Revoke(revoke) if revoke.service_account == *gone);
        let mut ledger = lock(&self.ledger);
        failed.retain(|failed| {
            let is_settled = is_settled(failed.step);
            if is_settled {
                ledger.done.push(failed.step.id());
            }
            !is_settled
        });
        ledger.held.retain(|held| held.service_account != *gone);
    }

    async fn step(&mut self, api: &Api, task: &ApplyTask, step: &Step) -> Result<Done, StepFailure> {
        let result = match step {
            Step::Create(desired) => write::create(api, desired).await,
            Step::Update(update) => self.update(api, update).await,
            Step::Delete(delete) => write::delete(api, delete).await,
            Step::Mint(mint) => match Box::pin(self.mint(api, task, mint)).await {
                Err(failure) if failure.is_overtaken && renews(mint) => {
                    lock(&self.ledger).overtaken.push(mint.grant.clone());
                    return Ok(self.left_to_another_run(step, &failure));
                }
                result => result,
            },
            Step::Publish(publish) => match self.hand_on(api, task, publish).await {
                Err(failure) if failure.is_overtaken => return Ok(self.left_to_another_run(step, &failure)),
                result => result,
            },
            Step::Retire(retire) => match revoke::retire(api, retire, None).await {
                Err(failure) if failure.is_overtaken => return Ok(self.left_to_another_run(step, &failure)),
                result => result.map(|notes| lock(&self.ledger).notes.extend(notes)),
            },
            Step::ExecAnchor(step) => issue::create_exec_anchor(api, step).await,
            Step::Plugin(plugin) => self.link(api, task, plugin).await,
            Step::Revoke(step) => self.revoke(api, step).await,
            Step::Recreate(recreate) => {
                revoke::recreate(api, recreate).await.map(|notes| lock(&self.ledger).notes.extend(notes))
            }
            Step::Resume(resume) => revoke::resume(api, resume).await,
            Step::Remove(remove) => self.remove(task, remove).await,
        };
        result.map(|()| Done::Yes)
    }

    async fn revoke(&self, api: &Api, step: &Revoke) -> Result<(), StepFailure> {
        let revoked = revoke::revoke(api, step).await;
        let mut ledger = lock(&self.ledger);
        ledger.notes.extend(revoked.notes);
        let held = |(anchor, uid)| HeldAnchor { service_account: step.service_account.clone(), anchor, uid };
        ledger.held.extend(revoked.held.into_iter().map(held));
        let others = revoked.failures.len().saturating_sub(1);
        let Some(mut first) = revoked.failures.into_iter().next() else { return Ok(()) };
        if others > 0 {
            first.cause.push_str(&format!(" (and {})", crate::wording::count(others, "more failure")));
        }
        Err(first)
    }

    async fn update(&self, api: &Api, update: &Update) -> Result<(), StepFailure> {
        write::update(api, update).await?;
        let object = &update.desired.object;
        if update.adopts.is_some() && object.kind == Kind::ServiceAccount {
            index::begin_index(api, object, &update.desired.inventory).await?;
        }
        Ok(())
    }

    /// Waits until API servers really refuse the revoked tokens. It runs after all revocations, and does not count as
    /// work on the cluster. The tokens that are known here are tried; because there may be others, it also waits for
    /// the caches.
    async fn await_refusals(&mut self, task: &ApplyTask, since: Instant) -> Result<(), StepFailure> {
        let mut first_failure = self.await_anchors(task).await.err();
        let ended = Instant::now();
        let mut awaits = false;
        for step in &task.plan().steps {
            if !lock(&self.ledger).done.contains(&step.id()) {
                continue;
            }
            awaits |= matches!(step, Step::Recreate(step) if step.awaits);
            let Step::Revoke(step) = step else { continue };
            awaits |= step.awaits;
            for source in &step.awaited {
                let Some(Credential { token, .. }) = task.outputs.credential(source) else {
                    let place = &source.place;
                    let cause =
                        format!("the token in `{place}`, which should be refused by now, is not known any more");
                    first_failure = first_failure.or(Some(StepFailure::new(cause)));
                    continue;
                };
                self.doing(&task.plan().cluster, format!("wait until the token of `{}` is refused", step.profile));
                let refused = match self.connect_as(task, &token) {
                    Ok(api) => self.slot.lend(verify::await_refusal(&api)).await,
                    Err(failure) => Err(failure),
                };
                match refused {
                    Ok(()) => {
                        let took = crate::wording::duration(since.elapsed());
                        let message =
                            format!("the token of `{}` is refused, {took} after the revocation began", step.profile);
                        lock(&self.ledger).notes.push(Note::new(NoteKind::Refused, message));
                    }
                    Err(failure) => first_failure = first_failure.or(Some(failure)),
                }
            }
        }
        if awaits {
            self.doing(&task.plan().cluster, "wait until API servers have forgotten what they accepted".to_owned());
            self.slot.lend(tokio::time::sleep_until(ended + CACHES_FORGET)).await;
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Waits until the anchors are gone that a finalizer still holds: until then their tokens may be accepted.
    async fn await_anchors(&mut self, task: &ApplyTask) -> Result<(), StepFailure> {
        let held = std::mem::take(&mut lock(&self.ledger).held);
        let Some(admin) = self.admin.as_ref().filter(|_| !held.is_empty()) else { return Ok(()) };
        let api = connect_admin(admin, self.context.admin.network(), self.limits());
        let api = api.map_err(|error| StepFailure::new(error.to_string()))?;
        let mut first_failure = None;
        let deadline = Instant::now() + revoke::HELD_ANCHORS_LIVE;
        for HeldAnchor { anchor, uid, .. } in held {
            self.doing(&task.plan().cluster, format!("wait until {anchor} is gone"));
            let gone = self.slot.lend(revoke::await_gone(&api, &anchor, &uid, deadline)).await;
            first_failure = first_failure.or(gone.err());
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn doing(&self, cluster: &ClusterName, step: String) {
        tracing::info!(%cluster, step, "applying");
        self.events.step(cluster, &step);
        lock(&self.ledger).doing = step;
    }

    /// Claim → anchor → token → proof → outputs → record. The outputs are the commit point.
    async fn mint(&mut self, api: &Api, task: &ApplyTask, mint: &Mint) -> Result<(), StepFailure> {
        let cluster = &task.plan().cluster;
        let say = |run: &Self, what: &str| run.doing(cluster, format!("{what} for `{}`", mint.grant.profile));
        // A token that could not be delivered is not minted.
        for hub in mint.delivery.hubs() {
            self.watch.off(self.context.hubs.check(hub)).await?;
        }
        if mint.reason == MintReason::Lost {
            self.check_lost(task, mint).await?;
        }
        say(self, "claim a generation");
        let claimed = issue::claim(api, mint, &self.context.run, self.context.clock.now()).await?;
        say(self, "create the anchor");
        let anchor_uid = issue::create_anchor(api, mint, &claimed).await?;
        let result = self.mint_anchored(api, task, mint, &claimed, &anchor_uid).await;
        let generation = match result {
            Ok(generation) => generation,
            Err(NotPublished::Safe(failure)) => {
                // Nobody holds the token, so its anchor must not outlive it. If the deletion fails too, a later run
                // finds the orphan, and the first failure is the one to report.
                if let Err(error) = issue::abandon(api, mint, &claimed, &anchor_uid).await {
                    tracing::warn!(%cluster, cause = error.cause, "an anchor was left behind");
                }
                return Err(failure);
            }
            Err(NotPublished::Perhaps(failure)) => return Err(failure),
        };
        say(self, "record the generation");
        issue::record(api, &mint.service_account, &mint.inventory, &mint.holder, &generation).await?;
        // The new credential is published, so the step succeeds even if an older one could not be ended.
        let cleared = issue::clear_spent(api, mint, &generation).await;
        if let Err(failure) = cleared.map(|notes| lock(&self.ledger).notes.extend(notes)) {
            let message =
                format!("older tokens of `{}` could not be ended: {}", mint.grant.profile, failure.with_hint());
            lock(&self.ledger).notes.push(Note::new(NoteKind::NotRetired, message));
        }
        Ok(())
    }

    /// Checks that Secrets which lost a credential did not get one since they were read. They are read before the cluster is,
    /// and another run may have written and recorded a new one in between.
    async fn check_lost(&mut self, task: &ApplyTask, mint: &Mint) -> Result<(), StepFailure> {
        for (place, read) in mint.delivery.secrets().filter_map(|place| task.outputs.secrets.get_key_value(place)) {
            if self.watch.off(Box::pin(self.context.hubs.has_changed(place, read.as_deref()))).await? {
                return Err(StepFailure::overtaken(format!("`{place}` was written since it was read")));
            }
        }
        Ok(())
    }

    async fn mint_anchored(
        &mut self,
        api: &Api,
        task: &ApplyTask,
        mint: &Mint,
        claimed: &issue::Claimed,
        anchor_uid: &str,
    ) -> Result<Generation, NotPublished> {
        let cluster = &task.plan().cluster;
        self.doing(cluster, format!("request token for `{}`", mint.grant.profile));
        let now = self.context.clock.now();
        let issued = issue::request_token(api, mint, claimed, anchor_uid, now).await;
        let (credential, date_ahead) = issued.map_err(NotPublished::Safe)?;
        self.verify(task, mint.grant.profile.as_str(), &credential.token).await.map_err(NotPublished::Safe)?;
        issue::confirm_claim(api, mint, claimed).await.map_err(NotPublished::Safe)?;
        self.doing(cluster, format!("write the outputs of `{}`", mint.grant.profile));
        match self.publish(task, &mint.delivery, Some(&credential)).await {
            Ok(()) => {}
            Err(NotWritten { failure, written: 0 }) => return Err(NotPublished::Safe(failure)),
            // As long as some output holds the older one, the new one does not count as published.
            Err(NotWritten { failure, .. }) => return Err(NotPublished::Perhaps(failure)),
        }
        let published = Published {
            grant: mint.grant.clone(),
            facts: credential.facts.clone(),
            minted: true,
            jti: jti(&credential),
            superseded: claimed.superseded.clone(),
        };
        lock(&self.ledger).published.push(published);
        let in_secrets = mint.delivery.is_seen_everywhere();
        Ok(Generation { date_ahead, in_secrets, ..claimed.generation.clone().recorded(&credential) })
    }

    /// Writes the entries of exec plugins. First it proves a token like theirs, as for a token that is kept in a file,
    /// and then throws it away.
    async fn link(&mut self, api: &Api, task: &ApplyTask, plugin: &Plugin) -> Result<(), StepFailure> {
        /// The shortest lifetime that an API server grants.
        const SECONDS: u64 = 600;
        if let Some(tried) = &plugin.tried {
            let profile = &plugin.grant.profile;
            self.doing(&task.plan().cluster, format!("request a token like those of the exec plugin for `{profile}`"));
            let wanted = issue::ExecToken {
                service_account: &plugin.service_account,
                inventory: &tried.inventory,
                profile,
                holder: &tried.holder,
                seconds: SECONDS,
                audiences: &tried.audiences,
                if_missing: "run it again, and see what deletes Secrets there",
                now: self.context.clock.now(),
            };
            let (token, _) = issue::request_exec_token(api, &wanted).await?;
            self.verify(task, profile.as_str(), &token).await?;
        }
        self.doing(&task.plan().cluster, format!("write the outputs of `{}`", plugin.grant.profile));
        self.publish(task, &plugin.delivery, None).await.map_err(|not_written| not_written.failure)
    }

    /// Proves a token at the consumer endpoint, or where the inventory says instead.
    async fn verify(&self, task: &ApplyTask, profile: &str, token: &SecretToken) -> Result<(), StepFailure> {
        self.doing(&task.plan().cluster, format!("verify the token for `{profile}`"));
        let verified = verify::verify(&self.connect_as(task, token)?, token).await;
        verified.map_err(|failure| match (failure.kind, &failure.hint) {
            (FailureKind::Certificate, None) => failure.hint(
                "set `consumer.certificate-authority` to the CA that signed the certificate of the consumer's endpoint",
            ),
            (FailureKind::Unreachable | FailureKind::Timeout, None) => failure.hint(
                "set `consumer.server` to what consumers reach, or `consumer.verify = \"admin\"` if it cannot be reached \
                 from here",
            ),
            // An API server may need some seconds to know a new token; they have passed by now.
            (FailureKind::Unauthorized | FailureKind::NotAnApiServer, None) => failure.hint(
                "see whether an authenticating proxy answers there, which does not know ServiceAccount tokens; set \
                 `consumer.server` to the API server's own address, and `consumer.certificate-authority` to its CA",
            ),
            _ => failure,
        })
    }

    /// Connects with a token and nothing else, to the endpoint at which the inventory wants tokens proven.
    fn connect_as(&self, task: &ApplyTask, token: &SecretToken) -> Result<Api, StepFailure> {
        let network = self.context.admin.network();
        let api = match (task.cluster.consumer.verify, &self.admin) {
            (VerifyVia::Admin, Some(admin)) => connect_with(admin, token, network, self.limits()),
            _ => connect_consumer(&task.assessed.assessment.endpoint, token, network, self.limits()),
        };
        api.map_err(|error| StepFailure::new(error.to_string()))
    }

    /// Notes that another run does what this one was about to do. The current credential still works meanwhile.
    fn left_to_another_run(&self, step: &Step, failure: &StepFailure) -> Done {
        let message = format!("another run was faster to {step}: {}", failure.cause);
        lock(&self.ledger).notes.push(Note::new(NoteKind::Overtaken, message));
        Done::ByAnotherRun
    }

    fn limits(&self) -> Limits {
        let run = &self.context.inventory.run;
        Limits::new(run.request_timeout, run.cluster_timeout)
    }

    /// Hands a living credential on. It is proven first, like a new one: the endpoint may have changed, and the token
    /// may have been damaged where it was kept.
    async fn hand_on(&mut self, api: &Api, task: &ApplyTask, step: &Publish) -> Result<(), StepFailure> {
        let mut proven = Err(StepFailure::new("no output holds the credential any more"));
        for credential in step.from.iter().filter_map(|source| task.outputs.credential(source)) {
            proven = self.verify(task, step.grant.profile.as_str(), &credential.token).await.map(|()| credential);
            if proven.is_ok() {
                break;
            }
        }
        let credential = proven?;
        self.doing(&task.plan().cluster, format!("write the outputs of `{}`", step.grant.profile));
        self.publish(task, &step.delivery, Some(&credential)).await.map_err(|not_written| not_written.failure)?;
        lock(&self.ledger).published.push(Published {
            grant: step.grant.clone(),
            facts: credential.facts.clone(),
            minted: false,
            jti: jti(&credential),
            superseded: vec![],
        });
        if let Some((account, claim)) = &step.record {
            let in_secrets = step.delivery.is_seen_everywhere();
            let generation = Generation { in_secrets, ..claim.clone().recorded(&credential) };
            issue::record(api, account, &step.delivery.mark.inventory, &step.delivery.mark.holder, &generation).await?;
        }
        Ok(())
    }

    /// Removes what outputs hold of a grant.
    async fn remove(&mut self, task: &ApplyTask, step: &Remove) -> Result<(), StepFailure> {
        let removed = remove(step, &task.outputs.files, &self.publisher, &self.context.hubs);
        self.slot.lend(self.watch.off(removed)).await
    }

    /// Writes a credential to the outputs that hold one, or the entries of exec plugins, which hold none. Secrets come first:
    /// a hub refuses more often than a disk, and as long as nothing is written, nothing has to be kept.
    async fn publish(
        &mut self,
        task: &ApplyTask,
        delivery: &Delivery,
        credential: Option<&Credential>,
    ) -> Result<(), NotWritten> {
        let unknown = |cause| NotWritten { failure: StepFailure::new(cause), written: 0 };
        let (mut files, mut secrets) = (vec![], vec![]);
        for Destination { place, format, before } in &delivery.destinations {
            if format.holds_credential() != credential.is_some() {
                return Err(unknown(format!("the plan brings `{place}` what its form does not take; {BUG}")));
            }
            let adopts = *before == Before::Unmarked;
            match (&**place, &**format) {
                (Place::Context(ContextPlace { file, .. }), Format::Kubeconfig(names)) => {
                    let target = task.outputs.files.get(file);
                    let target = target.ok_or_else(|| unknown(format!("the plan writes to `{place}`, {NO_OUTPUT}")))?;
                    let incoming = Incoming {
                        names: names.clone(),
                        mark: delivery.mark.clone(),
                        endpoint: task.assessed.assessment.endpoint.clone(),
                        credential: credential.cloned(),
                        reissue: delivery.reissue,
                        adopts,
                    };
                    files.push((Arc::clone(target), FileChange::Write(Box::new(incoming))));
                }
                (Place::Secret(secret), Format::Secret(form)) => {
                    let held = task.outputs.secrets.get(secret);
                    let held = held.ok_or_else(|| unknown(format!("the plan writes to `{place}`, {NO_OUTPUT}")))?;
                    secrets.push(IncomingSecret {
                        place: secret.clone(),
                        form: (**form).clone(),
                        mark: delivery.mark.clone(),
                        endpoint: task.assessed.assessment.endpoint.clone(),
                        credential: credential.cloned(),
                        reissue: delivery.reissue,
                        adopts,
                        held: held.clone(),
                    });
                }
                (Place::TokenFile(TokenPlace { token_file }), Format::TokenFile) => {
                    let target = task.outputs.files.get(token_file);
                    let target = target.ok_or_else(|| unknown(format!("the plan writes to `{place}`, {NO_OUTPUT}")))?;
                    let credential = credential.cloned().ok_or_else(|| unknown(format!("no token; {BUG}")))?;
                    files.push((Arc::clone(target), FileChange::Token(Box::new(credential))));
                }
                (Place::Context(_) | Place::Secret(_) | Place::TokenFile(_), _) => {
                    return Err(unknown(format!("the plan brings `{place}` what its form does not take; {BUG}")));
                }
            }
        }
        let (hubs, publisher, watch) = (&self.context.hubs, &self.publisher, &self.watch);
        let written = async {
            for (written, secret) in secrets.iter().enumerate() {
                watch.off(Box::pin(hubs.deliver(secret))).await.map_err(|NotDelivered { failure, may_be_there }| {
                    NotWritten { failure, written: written + usize::from(may_be_there) }
                })?;
            }
            // Others may write the same file, and its lock has a limit of its own.
            watch
                .off(publisher.publish(files))
                .await
                .map_err(|not_written| NotWritten { written: not_written.written + secrets.len(), ..not_written })
        };
        self.slot.lend(written).await
    }
}

const BUG: &str = "this is a bug in kubemint";
const NO_OUTPUT: &str = "which is no output of this run";

/// Removes what outputs hold of a grant: its Secrets, and its entries in files.
///
/// # Errors
///
/// The first failure; the others are removed nevertheless.
pub(crate) async fn remove(
    step: &Remove,
    files: &TargetFiles,
    publisher: &Publisher,
    hubs: &Hubs,
) -> Result<(), StepFailure> {
    let mut first_failure = None;
    for place in step.secrets() {
        // Few have Secrets, and work on another cluster takes much room.
        let removed = Box::pin(hubs.remove(place, &step.mark())).await;
        first_failure = first_failure.or(removed.err());
    }
    let removed = publisher.publish(removals(step, files)).await;
    first_failure.or(removed.err().map(|not_written| not_written.failure)).map_or(Ok(()), Err)
}

/// Returns the identifier of a token in the audit logs of API servers.
fn jti(credential: &Credential) -> Option<String> {
    Claims::of(&credential.token).ok().and_then(|claims| claims.jti)
}

/// A failed step, after which the other steps were run.
struct FailedStep<'a> {
    step: &'a Step,
    number: usize,
    doing: String,
    failure: StepFailure,
}

/// Whether a step was done, and by whom.
enum Done {
    Yes,
    ByAnotherRun,
}

/// API servers remember an accepted token for ten seconds (`--authentication-token-webhook-cache-ttl` is
/// another cache; this one is `tokencache` in apiserver's `pkg/authentication`), and clocks tick.
const CACHES_FORGET: Duration = Duration::from_secs(12);

/// Whether a mint may be left to another run: it replaces a credential that still works, or one that another run may just have
/// written again.
fn renews(mint: &Mint) -> bool {
    matches!(mint.reason, MintReason::Due | MintReason::Forced | MintReason::Lost)
}

/// Why a generation was not published.
enum NotPublished {
    /// No output holds its token.
    Safe(StepFailure),
    /// An output may hold it.
    Perhaps(StepFailure),
}

/// The time after which an unpublished claim is an orphan: no run is likely to work on it still. One that does, because it waits
/// for files or hubs outside the cluster's time, finds its claim gone when it records it, and fails.
pub(crate) fn orphan_after(cluster_timeout: Duration) -> Duration {
    /// For differences of clocks, and for the last write after the deadline.
    const MARGIN: Duration = Duration::from_secs(5 * 60);
    cluster_timeout.saturating_add(MARGIN)
}
