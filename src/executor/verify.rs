//! Verifies clusters: reads the bindings as the admin, and checks everything else with the issued credentials.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;

use super::observe::{access, unreadable};
use super::{Cancellation, Clock, Ended, Events, Slot, each_cluster};
use crate::access::{
    AccessNote, AccessNoteKind, AccessReview, Account, Answer, Policy, Question, Questions, RulesReview,
};
use crate::cluster::rbac::read_policy;
use crate::cluster::verify::{is_of_nobody, who_am_i};
use crate::cluster::{
    AdminEntry, AdminSources, Api, Insecure, Limits, connect_admin, connect_consumer, connect_with, consumer_endpoint,
    review,
};
use crate::common::Common;
use crate::credential::{CredentialFacts, StoredCredential};
use crate::delivery::{ContextPlace, Format, Held, Place};
use crate::desired::service_account;
use crate::event::{End, Event};
use crate::failure::{ApiFailure, FailureKind, StepFailure, clean};
use crate::field_diff::FieldDiff;
use crate::inventory::{AdminAccess, Cluster, Grant, Intended, Inventory, KubeconfigSource, VerifyVia, intended};
use crate::kubeconfig::{Endpoint, Mark};
use crate::names::ClusterName;
use crate::object::ObjectRef;
use crate::verified::{CredentialState, Verified, VerifiedCredential, VerifiedGrant};
use crate::wording::duration;

/// One cluster to verify.
#[derive(Debug)]
pub(crate) struct VerifyTask {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The selected grants on it; there is at least one.
    pub grants: Vec<VerifyGrant>,
}

/// One grant, and the contents of its outputs.
#[derive(Debug)]
pub(crate) struct VerifyGrant {
    /// The grant.
    pub grant: Arc<Grant>,
    /// Its outputs.
    pub places: Vec<UsedPlace>,
}

/// A place that a grant's credential goes to, with what its consumers find there.
#[derive(Debug)]
pub(crate) struct UsedPlace {
    /// What names it.
    pub place: Place,
    /// In which form the credential is written there.
    pub format: Format,
    /// The grant and holder that it belongs to.
    pub mark: Mark,
    /// What it holds, or why it has neither a credential of this grant nor an exec plugin.
    pub held: Result<Held, StepFailure>,
}

impl UsedPlace {
    fn file(&self) -> String {
        self.place.to_string()
    }

    /// Returns the credential that it holds, with what is known about it; nothing for an exec plugin.
    fn credential(&self) -> Option<(&Held, &StoredCredential, &CredentialFacts)> {
        let held = self.held.as_ref().ok().filter(|_| self.format.holds_credential())?;
        Some((held, held.stored()?, held.facts()?))
    }

    /// Returns why nothing is known of it: its hub did not say.
    fn unread(&self) -> Option<&StepFailure> {
        let failure = self.held.as_ref().err()?;
        (self.place.file().is_none() && failure.kind != FailureKind::Other).then_some(failure)
    }

    fn has_plugin(&self) -> bool {
        !self.format.holds_credential()
    }

    /// Returns the fields that differ from what kubemint writes for this endpoint.
    fn differences(&self, endpoint: &Endpoint) -> Vec<FieldDiff> {
        let Ok(held) = &self.held else { return vec![] };
        // The uid is not compared: using the credential shows whether it is the same cluster.
        let endpoint = &Endpoint { cluster_uid: held.cluster_uid().map(str::to_owned), ..endpoint.clone() };
        held.differences(&self.format.wanted(&self.mark, endpoint, held.credential().as_ref()))
    }
}

/// What all clusters of a run share.
#[derive(Debug)]
pub(crate) struct VerifyContext {
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The admin credentials.
    pub admin: Arc<AdminSources>,
    /// The output files, as their consumers read them.
    pub issued: AdminSources,
    /// Tells the time.
    pub clock: Clock,
}

/// The most namespaces of one grant whose rules are asked for, because each is a round trip.
const MOST_NAMESPACES: usize = 50;

/// If the API server and the bindings disagree, it is asked again after these waits: its caches lag behind recent
/// writes, and another API server's behind those of the one that was written to.
const CACHES_LAG: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

/// Returns how the context of an output is used: as kubectl would use it. Nothing for a Secret, which no kubectl reads.
pub(crate) fn issued_access(place: &Place) -> Option<AdminAccess> {
    let Place::Context(ContextPlace { file, context }) = place.clone() else { return None };
    Some(AdminAccess::context(KubeconfigSource::Path(file), &context))
}

/// Verifies clusters.
pub(crate) async fn verify_clusters(
    context: Arc<VerifyContext>,
    tasks: Vec<VerifyTask>,
    cancellation: &Cancellation,
    events: &Events,
) -> HashMap<ClusterName, Verified> {
    let concurrency = context.inventory.run.concurrency;
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), task)).collect();
    let work = |task, slot| verify_one(Arc::clone(&context), task, slot, events.clone());
    let verified = |end| match end {
        Ended::Done(verified) => verified,
        Ended::NotStarted(_) | Ended::Stopped => Verified::NotStarted,
        Ended::Panicked => failed("verify", StepFailure::panicked()),
    };
    let mut common = Common::default();
    let ends = each_cluster(tasks, concurrency, cancellation, work).map(|(cluster, end)| {
        let mut verified = verified(end);
        verified.grants_mut().for_each(|grant| common.share(&mut grant.access));
        (cluster, verified)
    });
    ends.collect().await
}

fn failed(doing: &'static str, failure: StepFailure) -> Verified {
    Verified::Failed { doing, failure, grants: vec![] }
}

async fn verify_one(context: Arc<VerifyContext>, task: VerifyTask, mut slot: Slot, events: Events) -> Verified {
    let cluster = task.cluster.name.clone();
    events.send(Event::Started(cluster.clone()));
    tracing::info!(%cluster, "verifying");
    let limit = context.inventory.run.cluster_timeout;
    // An exec plugin has its own limit, and waiting for its turn does not count against the cluster.
    let verified = match slot.lend_if_slow(Box::pin(access(&context.admin, &task.cluster, context.clock))).await {
        Ok((admin, _)) => {
            let verified = tokio::time::timeout(limit, verify_within(&context, &task, &admin, &mut slot)).await;
            verified.unwrap_or_else(|_| failed("verify the access", StepFailure::late(limit)))
        }
        Err(failure) => failed("find the admin access", failure),
    };
    let is_fine = |grant: &VerifiedGrant| {
        let works = grant.credentials.iter().all(|credential| credential.state == CredentialState::Works);
        works
            && grant.missing.is_empty()
            && grant.altered.is_empty()
            && !grant.access.has_denied()
            && !grant.access.has_excess()
    };
    let end = match &verified {
        Verified::Done(grants) if grants.iter().all(is_fine) => End::Unchanged,
        Verified::Done(_) => End::Changed,
        Verified::Failed { failure, .. } => End::Failed(failure.cause.clone()),
        Verified::NotStarted => End::NotStarted,
    };
    events.send(Event::Finished { cluster, end });
    drop(slot);
    verified
}

async fn verify_within(context: &VerifyContext, task: &VerifyTask, admin: &AdminEntry, slot: &mut Slot) -> Verified {
    let run = &context.inventory.run;
    let limits = Limits::new(run.request_timeout, run.cluster_timeout);
    let api = match connect_admin(admin, context.admin.network(), limits) {
        Ok(api) => api,
        Err(error) => return failed("connect", StepFailure::of_access(error.to_string())),
    };
    let grants = || task.grants.iter().map(|grant| &*grant.grant);
    let accounts: BTreeSet<Account> = grants().map(Account::of).collect();
    let meant: Vec<Intended> = grants().flat_map(|grant| intended(&grant.profile)).collect();
    // The slot is lent if that takes long, so that clusters that never respond do not hold up the others.
    let policy = match slot.lend_if_slow(read_policy(&api, &accounts, &meant)).await {
        Ok(policy) => policy,
        Err(failure) => return failed("read the roles and bindings", unreadable(failure, admin)),
    };
    let one = OneCluster { context, admin, api: &api, policy: policy.as_ref(), limits };
    let mut verified = vec![];
    let mut first_failure = None;
    for task in &task.grants {
        let (grant, failure) = one.grant(task).await;
        let unreachable = grant.credentials.iter().find_map(|credential| match &credential.state {
            CredentialState::Unreachable(failure) => Some(("use the issued credential", failure.clone())),
            _ => None,
        });
        first_failure = first_failure.or(failure).or(unreachable);
        verified.push(grant);
    }
    match first_failure {
        Some((doing, failure)) => Verified::Failed { doing, failure, grants: verified },
        None => Verified::Done(verified),
    }
}

type Failure = Option<(&'static str, StepFailure)>;

/// A credential, which is used once, and the files that hold it and reach the cluster in the same way.
struct Used<'a> {
    place: &'a UsedPlace,
    held: &'a Held,
    stored: &'a StoredCredential,
    facts: &'a CredentialFacts,
    files: Vec<String>,
}

struct OneCluster<'a> {
    context: &'a VerifyContext,
    admin: &'a AdminEntry,
    api: &'a Api,
    policy: Option<&'a Policy>,
    limits: Limits,
}

impl OneCluster<'_> {
    async fn grant(&self, task: &VerifyGrant) -> (VerifiedGrant, Failure) {
        let grant = &task.grant;
        let account = Account::of(grant);
        let meant = intended(&grant.profile);
        let (credentials, working) = self.credentials(grant, &account, task).await;
        let questions = Questions::new(&account, &meant, self.policy);
        let mut waits = CACHES_LAG.into_iter();
        let (mut access, failure) = loop {
            let mut told = Told::default();
            let failure = match &working {
                Some(api) => told.ask(api, &questions, &namespaces(grant)).await.err(),
                None => None,
            };
            let mut access = AccessReview::new(&account, &meant, self.policy, &told.answers, &told.reviews);
            access.notes.append(&mut told.notes);
            match waits.next() {
                Some(wait) if self.policy.is_some() && access.is_disputed() => tokio::time::sleep(wait).await,
                _ => break (access, failure),
            }
        };
        if working.is_some() {
            access.capped(&questions);
        }
        if grant.cluster.consumer.verify == VerifyVia::Admin && !credentials.is_empty() {
            let message = "the credential was used at the admin endpoint, not at the consumer's";
            access.notes.push(AccessNote::new(AccessNoteKind::VerifiedAtAdmin, message));
        }
        if task.places.is_empty() {
            let message = "no output takes its credential, so there is none to use";
            access.notes.push(AccessNote::new(AccessNoteKind::NoOutput, message));
        }
        access.notes.sort();
        access.condense();
        let unread = task.places.iter().find_map(UsedPlace::unread);
        let missing = |place: &UsedPlace| {
            let failure = place.held.as_ref().err().filter(|_| place.unread().is_none());
            Some((place.file(), failure?.clone()))
        };
        let endpoint = consumer_endpoint(&grant.cluster, &self.admin.endpoint());
        let altered = |place: &UsedPlace| {
            let differences = place.differences(endpoint.as_ref().ok()?);
            (!differences.is_empty()).then(|| (place.file(), differences))
        };
        let verified = VerifiedGrant {
            grant: Arc::clone(&task.grant),
            credentials,
            missing: task.places.iter().filter_map(missing).collect(),
            altered: task.places.iter().filter_map(altered).collect(),
            access: Arc::new(access),
            is_excess_known: self.policy.is_some(),
        };
        let failure = failure.map(|failure| ("ask what the credential may do", failure.into()));
        (verified, failure.or(unread.map(|unread| ("read its Secrets", unread.clone()))))
    }

    /// Uses every distinct credential of a grant once; returns a connection with the newest that works.
    async fn credentials(
        &self,
        grant: &Grant,
        account: &Account,
        task: &VerifyGrant,
    ) -> (Vec<VerifiedCredential>, Option<Api>) {
        let mut distinct: Vec<Used<'_>> = vec![];
        for place in &task.places {
            let Some((held, stored, facts)) = place.credential() else { continue };
            let is_same =
                |used: &&mut Used<'_>| used.stored.token.is_same_as(&stored.token) && used.held.is_reached_like(held);
            match distinct.iter_mut().find(is_same) {
                Some(used) => used.files.push(place.file()),
                None => {
                    distinct.push(Used { place, held, stored, facts, files: vec![place.file()] });
                }
            }
        }
        distinct.sort_by_key(|used| std::cmp::Reverse(used.facts.generation));
        let mut working = None;
        let mut verified = vec![];
        for used in distinct {
            let state = match self.connect(grant, &used).await {
                Ok(api) => {
                    let state = self.state(&api, grant, account, Some(&used)).await;
                    if state == CredentialState::Works && working.is_none() {
                        working = Some(api);
                    }
                    state
                }
                Err(cause) => CredentialState::Unusable(cause),
            };
            verified.push(VerifiedCredential {
                token: Some((used.facts.generation, used.facts.expires)),
                files: used.files,
                state,
            });
        }
        for place in task.places.iter().filter(|place| place.held.is_ok() && place.has_plugin()) {
            // If the consumer endpoint cannot be reached from here, a plugin cannot be tried.
            if grant.cluster.consumer.verify == VerifyVia::Admin {
                continue;
            }
            let state = match self.connect_as_in_file(place).await {
                Ok(api) => {
                    let state = self.state(&api, grant, account, None).await;
                    if state == CredentialState::Works && working.is_none() {
                        working = Some(api);
                    }
                    state
                }
                Err(cause) => CredentialState::Unusable(cause),
            };
            verified.push(VerifiedCredential { token: None, files: vec![place.file()], state });
        }
        (verified, working)
    }

    /// Connects with only what the file holds.
    async fn connect(&self, grant: &Grant, used: &Used<'_>) -> Result<Api, String> {
        if grant.cluster.consumer.verify == VerifyVia::Admin {
            let connected = connect_with(self.admin, &used.stored.token, self.context.admin.network(), self.limits);
            return connected.map_err(|error| error.to_string());
        }
        if !matches!(used.place.place, Place::Context(_)) {
            // What differs from the inventory's endpoint is reported as altered.
            let endpoint =
                consumer_endpoint(&grant.cluster, &self.admin.endpoint()).map_err(|error| error.to_string())?;
            let token = &used.stored.token;
            let connected = connect_consumer(&endpoint, token, self.context.admin.network(), self.limits);
            return connected.map_err(|error| error.to_string());
        }
        self.connect_as_in_file(used.place).await
    }

    /// Connects as kubectl would with the context of a file; an exec plugin is run.
    async fn connect_as_in_file(&self, place: &UsedPlace) -> Result<Api, String> {
        let access = issued_access(&place.place).ok_or("only kubeconfigs are used as kubectl would")?;
        let clock = self.context.clock;
        let entry = self.context.issued.resolve(&access, Insecure::Refused, || clock.now()).await;
        let entry = entry.map_err(|error| error.to_string())?;
        let connected = connect_admin(&entry, self.context.issued.network(), self.limits);
        connected.map_err(|error| error.to_string())
    }

    async fn state(&self, api: &Api, grant: &Grant, account: &Account, used: Option<&Used<'_>>) -> CredentialState {
        match who_am_i(api).await {
            Ok(Some(username)) if username != account.username() => CredentialState::OtherIdentity(clean(&username)),
            Ok(_) => CredentialState::Works,
            // A refusal that names no user comes from a gateway, so nothing is known of the credential.
            Err(failure) if failure.code() == Some(401) || is_of_nobody(&failure) => match used {
                Some(used) => self.dead(grant, used, &failure).await,
                None => CredentialState::Dead { word: "refused", cause: failure.to_string() },
            },
            Err(failure @ ApiFailure::Tls { .. }) => CredentialState::Unusable(failure.to_string()),
            Err(failure) => CredentialState::Unreachable(failure.into()),
        }
    }

    /// Finds out why a credential is refused.
    async fn dead(&self, grant: &Grant, used: &Used<'_>, failure: &ApiFailure) -> CredentialState {
        let now: Timestamp = self.context.clock.now();
        let expires = used.stored.claims.expires;
        if expires <= now {
            let ago = Duration::try_from(now.duration_since(expires)).unwrap_or_default();
            return CredentialState::Dead { word: "expired", cause: format!("it expired {} ago", duration(ago)) };
        }
        let anchor = ObjectRef::anchor_of(&service_account(grant), &used.facts.anchor);
        let found = self.api.object(&crate::cluster::Request::get(anchor.path()).metadata_only(), &anchor).await;
        let cause = match found {
            Err(failure) if failure.is_not_found() => format!("it was revoked: its anchor {anchor} is gone"),
            Ok(answer) if answer.value["metadata"]["uid"] != used.facts.anchor_uid.as_str() => {
                format!("it was revoked: its anchor {anchor} is another one")
            }
            _ => return CredentialState::Dead { word: "refused", cause: failure.to_string() },
        };
        CredentialState::Dead { word: "revoked", cause }
    }
}

/// Returns the namespaces that a grant concerns, its own included.
fn namespaces(grant: &Grant) -> BTreeSet<String> {
    let named = grant.profile.namespaces.iter().flat_map(|access| access.names.iter().cloned());
    named.chain([grant.namespace.clone()]).collect()
}

/// What the API server told a credential about itself.
#[derive(Default)]
struct Told {
    answers: BTreeMap<Question, Answer>,
    reviews: BTreeMap<String, RulesReview>,
    notes: Vec<AccessNote>,
}

impl Told {
    async fn ask(&mut self, api: &Api, questions: &Questions, namespaces: &BTreeSet<String>) -> Result<(), ApiFailure> {
        for question in &questions.ask {
            match review::may(api, question).await {
                Ok(answer) => self.answers.insert(question.clone(), answer),
                Err(failure) => return self.unanswered(failure),
            };
        }
        for namespace in namespaces.iter().take(MOST_NAMESPACES) {
            match review::rules(api, namespace).await {
                Ok(rules) => self.reviews.insert(namespace.clone(), rules),
                Err(failure) => return self.unanswered(failure),
            };
        }
        if let Some(left_out) = namespaces.len().checked_sub(MOST_NAMESPACES).filter(|left_out| *left_out > 0) {
            let message = format!("the API server's list of rules was not asked for in {left_out} more namespaces");
            self.notes.push(AccessNote::new(AccessNoteKind::Capped, message));
        }
        Ok(())
    }

    /// A credential that may not ask about itself learns nothing; then only the bindings count.
    fn unanswered(&mut self, failure: ApiFailure) -> Result<(), ApiFailure> {
        if !failure.is_forbidden() {
            return Err(failure);
        }
        let message = "the credential may not ask what it may do; only roles and bindings were compared";
        self.notes.push(AccessNote::new(AccessNoteKind::NotAsked, message));
        Ok(())
    }
}
