//! The hubs of a run: clusters whose Secrets hold credentials of others.
//!
//! Each hub has one connection, over which one request goes after another, whatever cluster it is for. A hub that does not
//! respond is asked no more in the same run, so that a thousand clusters do not wait for it one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::Clock;
use crate::cluster::secret::{self, Delivered, IncomingSecret, NotDelivered, SecretRead};
use crate::cluster::{AdminSources, Api, Insecure, Limits, Request, connect_admin};
use crate::delivery::{HeldSecret, HubName, SecretPlace, SecretTarget};
use crate::failure::{ApiFailure, FailureKind, StepFailure};
use crate::inventory::{Hub, Inventory};
use crate::kubeconfig::Mark;
use crate::names::InventoryName;

/// The hubs of a run.
#[derive(Debug)]
pub(crate) struct Hubs {
    by_name: HashMap<HubName, (Hub, Mutex<State>)>,
    admin: Arc<AdminSources>,
    request_timeout: Duration,
    work_timeout: Duration,
    concurrency: usize,
    clock: Clock,
}

/// What is known of a hub.
enum State {
    /// Nobody needed it yet, or what was sent to it last was dropped half-way.
    Unconnected,
    /// It responded; the connection was made then.
    Connected(Api, Instant),
    /// It did not respond, or cannot be used; since then.
    Down(StepFailure, Instant),
}

/// What an exec plugin gave for a connection is asked for again after so long; some tokens last for minutes only.
const TRUSTED_FOR: Duration = Duration::from_secs(5 * 60);

/// A hub that did not respond is tried again after so long: it may have been restarted.
const DOWN_FOR: Duration = Duration::from_secs(15);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unconnected => "Unconnected",
            Self::Connected(..) => "Connected",
            Self::Down(..) => "Down",
        })
    }
}

/// Does some work over the connection of a hub.
macro_rules! over {
    ($hubs:expr, $hub:expr, $api:ident => $work:expr) => {{
        let mut lease = $hubs.lease($hub).await?;
        let result = loop {
            let $api = &lease.api;
            let result = $work;
            if !lease.begins_anew(&result).await? {
                break result;
            }
        };
        lease.end(&result).await;
        result
    }};
}

impl Hubs {
    /// Knows the hubs of an inventory; none is contacted yet. `admin` must have been loaded with their accesses.
    pub(crate) fn new(inventory: &Inventory, admin: Arc<AdminSources>, clock: Clock) -> Self {
        let hub = |hub: &Hub| (hub.name.clone(), (hub.clone(), Mutex::new(State::Unconnected)));
        Self {
            by_name: inventory.hubs.iter().map(hub).collect(),
            admin,
            request_timeout: inventory.run.request_timeout,
            work_timeout: inventory.run.cluster_timeout,
            concurrency: inventory.run.concurrency,
            clock,
        }
    }

    /// Reads some Secrets by name, hub by hub at the same time and one after another in each. Each is handed out as it comes.
    pub(crate) async fn read<'t>(
        &self,
        targets: &[&'t SecretTarget],
        mut take: impl FnMut(&'t SecretTarget, Result<SecretRead, StepFailure>),
    ) {
        let mut by_hub: HashMap<&HubName, Vec<&'t SecretTarget>> = HashMap::new();
        for target in targets {
            by_hub.entry(&target.place.hub).or_default().push(target);
        }
        let reads = by_hub.into_values().map(|targets| {
            futures::stream::iter(targets).then(|target| async move { (target, self.read_one(target).await) })
        });
        let mut reads = futures::stream::iter(reads).map(Box::pin).flatten_unordered(Some(self.concurrency));
        while let Some((target, read)) = reads.next().await {
            take(target, read);
        }
    }

    async fn read_one(&self, target: &SecretTarget) -> Result<SecretRead, StepFailure> {
        let SecretTarget { place, form, .. } = target;
        over!(self, &place.hub, api => secret::read_whole(api, place, form.registration.as_ref()).await)
    }

    /// Whether a Secret is not any more what was read of it: somebody wrote, made or deleted it since.
    ///
    /// # Errors
    ///
    /// If the hub does not respond, or refuses.
    pub(crate) async fn has_changed(
        &self,
        place: &SecretPlace,
        read: Option<&HeldSecret>,
    ) -> Result<bool, StepFailure> {
        let now = over!(self, &place.hub, api => secret::version_now(api, place).await)?;
        let before = read.map(|held| (held.uid.clone(), held.resource_version.clone()));
        Ok(now != before)
    }

    /// Tries without effect whether a hub takes a Secret.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub(crate) async fn try_delivery(&self, incoming: &IncomingSecret) -> Result<(), StepFailure> {
        over!(self, &incoming.place.hub, api => secret::try_delivery(api, incoming).await)
    }

    /// Writes a credential to a Secret.
    ///
    /// # Errors
    ///
    /// If the hub does not take it.
    pub(crate) async fn deliver(&self, incoming: &IncomingSecret) -> Result<(), NotDelivered> {
        let mut may_be_there = false;
        let delivered = self.deliver_over(incoming, &mut may_be_there).await;
        delivered.map_err(|failure| NotDelivered { failure, may_be_there })
    }

    async fn deliver_over(&self, incoming: &IncomingSecret, may_be_there: &mut bool) -> Result<(), StepFailure> {
        over!(self, &incoming.place.hub, api => Box::pin(secret::deliver(api, incoming)).await.map_err(|not_delivered| {
            *may_be_there = not_delivered.may_be_there;
            not_delivered.failure
        }))
    }

    /// Removes the Secret of a grant, if it still is that grant's.
    ///
    /// # Errors
    ///
    /// If the hub refuses.
    pub(crate) async fn remove(&self, place: &SecretPlace, mark: &Mark) -> Result<(), StepFailure> {
        over!(self, &place.hub, api => secret::remove(api, place, mark).await)
    }

    /// Lists the Secrets that an inventory delivered to a hub, in all namespaces; in `namespaces` only, if more may not be
    /// listed.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(crate) async fn delivered(
        &self,
        hub: &HubName,
        namespaces: &[&str],
        inventory: &InventoryName,
    ) -> Result<Vec<Delivered>, StepFailure> {
        over!(self, hub, api => delivered_in(api, hub, namespaces, inventory).await)
    }

    /// Waits for the connection of a hub, and makes one where there is none.
    async fn lease(&self, name: &HubName) -> Result<Lease<'_>, StepFailure> {
        let unknown = || StepFailure::new(format!("there is no hub `{name}`; this is a bug in kubemint"));
        let (hub, state) = self.by_name.get(name).ok_or_else(unknown)?;
        let mut state = state.lock().await;
        // If the lease is dropped half-way, the connection goes with it.
        let known = match std::mem::replace(&mut *state, State::Unconnected) {
            State::Connected(api, since) if since.elapsed() < TRUSTED_FOR => Some((api.go_on(self.limits()), since)),
            State::Down(failure, since) if since.elapsed() < DOWN_FOR => {
                *state = State::Down(failure.clone(), since);
                return Err(failure);
            }
            State::Unconnected | State::Down(..) | State::Connected(..) => None,
        };
        let is_fresh = known.is_none();
        let (api, since) = match known {
            Some(known) => known,
            None => match self.connect(hub).await {
                Ok(api) => (api, Instant::now()),
                Err(failure) => {
                    *state = State::Down(failure.clone(), Instant::now());
                    return Err(failure);
                }
            },
        };
        Ok(Lease { hubs: self, hub, state, api, since, is_fresh })
    }

    /// Returns the state of a hub after a request that got no answer. A webhook may have held up that one request.
    async fn after(name: &HubName, failure: &StepFailure, api: Api) -> State {
        let may_be_one =
            matches!(failure.kind, FailureKind::Timeout | FailureKind::ServerError | FailureKind::NotAnApiServer);
        if may_be_one && is_alive(&api).await {
            return State::Connected(api, Instant::now());
        }
        // Without what was asked for, which may be another cluster's, whose consumers are told this in an Event.
        let how = match failure.kind {
            FailureKind::Timeout => "nothing came in time",
            FailureKind::ServerError => "its API server failed",
            FailureKind::NotAnApiServer => "something else answered",
            _ => "it could not be reached",
        };
        let cause = format!("`{name}` did not respond to an earlier request of this run: {how}");
        State::Down(StepFailure { cause, ..failure.clone() }, Instant::now())
    }

    /// Checks that a hub responded when it was asked last.
    ///
    /// # Errors
    ///
    /// If it did not.
    pub(crate) async fn check(&self, name: &HubName) -> Result<(), StepFailure> {
        let Some((_, state)) = self.by_name.get(name) else { return Ok(()) };
        match &*state.lock().await {
            State::Down(failure, since) if since.elapsed() < DOWN_FOR => Err(failure.clone()),
            State::Down(..) | State::Unconnected | State::Connected(..) => Ok(()),
        }
    }

    async fn connect(&self, hub: &Hub) -> Result<Api, StepFailure> {
        if hub.is_unknown {
            let why = format!("the hub `{}` is not known: it is in no table, and no discovery finds it", hub.name);
            let hint =
                "see `kubemint discover`; if that cluster is gone for good, remove the `[[outputs]]` that name it";
            return Err(StepFailure::of_access(why).hint(hint));
        }
        tracing::info!(hub = %hub.name, "connecting to a hub");
        let insecure = if hub.allow_insecure { Insecure::Allowed } else { Insecure::Refused };
        let admin = self.admin.resolve(&hub.access, insecure, || self.clock.now()).await;
        let unusable = |cause: String, hint| StepFailure {
            hint: Some(match hint {
                Some(hint) => format!("see `admin` in the `[[outputs]]` that names it; {hint}"),
                None => "see `admin` in the `[[outputs]]` that names it".to_owned(),
            }),
            ..StepFailure::of_access(format!("the hub `{}` cannot be used: {cause}", hub.name))
        };
        let admin = admin.map_err(|error| {
            let failure = StepFailure::from(error);
            unusable(failure.cause, failure.hint)
        })?;
        connect_admin(&admin, self.admin.network(), self.limits()).map_err(|error| unusable(error.to_string(), None))
    }

    /// A request that was answered at once is repeated for half of what one may take, and no other: whoever waits for a hub
    /// that does not respond has to learn that soon.
    fn limits(&self) -> Limits {
        let all = self.request_timeout + self.request_timeout / 2;
        Limits::new(self.request_timeout, all.min(self.work_timeout))
    }
}

/// The connection of a hub, which nobody else uses meanwhile.
struct Lease<'a> {
    hubs: &'a Hubs,
    hub: &'a Hub,
    state: MutexGuard<'a, State>,
    api: Api,
    since: Instant,
    /// Whether the connection was made for this.
    is_fresh: bool,
}

impl Lease<'_> {
    /// Whether some work is to be done again, over a new connection: what an exec plugin gave may have ended meanwhile, and
    /// nothing was done with it then.
    async fn begins_anew<T>(&mut self, result: &Result<T, StepFailure>) -> Result<bool, StepFailure> {
        let is_over = matches!(result, Err(failure) if failure.kind == FailureKind::Unauthorized);
        if self.is_fresh || !is_over {
            return Ok(false);
        }
        (self.api, self.since, self.is_fresh) = (self.hubs.connect(self.hub).await?, Instant::now(), true);
        Ok(true)
    }

    /// Gives the connection back.
    async fn end<T>(mut self, result: &Result<T, StepFailure>) {
        *self.state = match result {
            Err(failure) if is_down(failure.kind) => {
                Hubs::after(&self.hub.name, failure, self.api.go_on(self.hubs.limits())).await
            }
            Ok(_) | Err(_) => State::Connected(self.api, self.since),
        };
    }
}

/// Whether a failure means that the next request would fail alike, and perhaps as slowly.
fn is_down(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Unreachable
            | FailureKind::Timeout
            | FailureKind::Certificate
            | FailureKind::ServerError
            | FailureKind::NotAnApiServer
    )
}

async fn delivered_in(
    api: &Api,
    hub: &HubName,
    namespaces: &[&str],
    inventory: &InventoryName,
) -> Result<Vec<Delivered>, StepFailure> {
    match secret::delivered(api, None, inventory).await {
        Err(failure) if failure.is_forbidden() => {}
        all => return all.map_err(|failure| unlisted(&format!("the Secrets of `{hub}`"), &failure)),
    }
    let mut found = vec![];
    for namespace in namespaces {
        let more = secret::delivered(api, Some(namespace), inventory).await;
        let what = || format!("the Secrets in namespace `{namespace}` of `{hub}`");
        found.extend(more.map_err(|failure| unlisted(&what(), &failure))?);
    }
    Ok(found)
}

/// Whether an API server answers a question that needs no right and no webhook.
async fn is_alive(api: &Api) -> bool {
    match api.send(&Request::get("/version")).await {
        Ok(_) => true,
        // Who may not ask was answered by an API server all the same.
        Err(failure) => failure.code().is_some_and(|code| matches!(code, 401 | 403 | 404)),
    }
}

fn unlisted(what: &str, failure: &ApiFailure) -> StepFailure {
    StepFailure { kind: failure.kind(), ..StepFailure::new(format!("{what} cannot be listed: {failure}")) }
}
