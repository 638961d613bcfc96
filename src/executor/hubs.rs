//! The hubs of a run: clusters whose Secrets hold credentials of others.
//!
//! Each hub has one connection, over which one request goes after another, whatever cluster it is for. A hub that does not
//! respond is asked no more in the same run, so that a thousand clusters do not wait for it one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Mutex;

use super::Clock;
use crate::cluster::secret::{self, IncomingSecret, NotDelivered};
use crate::cluster::{AdminSources, Api, Insecure, Limits, connect_admin};
use crate::delivery::{HubName, SecretPlace};
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
    Connected(Api),
    /// It did not respond, or cannot be used.
    Down(StepFailure),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unconnected => "Unconnected",
            Self::Connected(_) => "Connected",
            Self::Down(_) => "Down",
        })
    }
}

/// What reading a Secret gave.
pub(crate) type ReadSecret = Result<Option<serde_json::Value>, StepFailure>;

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
    pub(crate) async fn read(&self, places: &[SecretPlace], mut take: impl FnMut(&SecretPlace, ReadSecret)) {
        let mut by_hub: HashMap<&HubName, Vec<&SecretPlace>> = HashMap::new();
        for place in places {
            by_hub.entry(&place.hub).or_default().push(place);
        }
        let reads = by_hub.into_values().map(|places| {
            futures::stream::iter(places).then(|place| async move {
                let read = self.on(&place.hub, async |api| {
                    let read = secret::read(api, place).await;
                    read.map_err(|failure| unread(place, failure))
                });
                (place, read.await)
            })
        });
        let mut reads = futures::stream::iter(reads).map(Box::pin).flatten_unordered(Some(self.concurrency));
        while let Some((place, read)) = reads.next().await {
            take(place, read);
        }
    }

    /// Tries without effect whether a hub takes a Secret.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub(crate) async fn try_delivery(&self, incoming: &IncomingSecret) -> Result<(), StepFailure> {
        self.on(&incoming.place.hub, async |api| secret::try_delivery(api, incoming).await).await
    }

    /// Writes a credential to a Secret.
    ///
    /// # Errors
    ///
    /// If the hub does not take it.
    pub(crate) async fn deliver(&self, incoming: &IncomingSecret) -> Result<(), NotDelivered> {
        let mut may_be_there = false;
        let delivered = self.on(&incoming.place.hub, async |api| {
            secret::deliver(api, incoming).await.map_err(|not_delivered| {
                may_be_there = not_delivered.may_be_there;
                not_delivered.failure
            })
        });
        let delivered = delivered.await;
        delivered.map_err(|failure| NotDelivered { failure, may_be_there })
    }

    /// Removes the Secret of a grant, if it still is that grant's.
    ///
    /// # Errors
    ///
    /// If the hub refuses.
    pub(crate) async fn remove(&self, place: &SecretPlace, mark: &Mark) -> Result<(), StepFailure> {
        self.on(&place.hub, async |api| secret::remove(api, place, mark).await).await
    }

    /// Lists the Secrets that an inventory delivered to a namespace, each with whose it is.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(crate) async fn delivered(
        &self,
        hub: &HubName,
        namespace: &str,
        inventory: &InventoryName,
    ) -> Result<Vec<(SecretPlace, Mark)>, StepFailure> {
        let found = self.on(hub, async |api| {
            let found = secret::delivered(api, namespace, inventory).await;
            found.map_err(|failure| {
                let cause = format!("the Secrets in namespace `{namespace}` of `{hub}` cannot be listed: {failure}");
                StepFailure { kind: failure.kind(), ..StepFailure::new(cause) }
            })
        });
        let place = |name| SecretPlace { hub: hub.clone(), namespace: namespace.to_owned(), name };
        Ok(found.await?.into_iter().map(|(name, mark)| (place(name), mark)).collect())
    }

    /// Works on a hub over its one connection.
    async fn on<T>(
        &self,
        name: &HubName,
        work: impl AsyncFnOnce(&Api) -> Result<T, StepFailure>,
    ) -> Result<T, StepFailure> {
        let unknown = || StepFailure::new(format!("there is no hub `{name}`; this is a bug in kubemint"));
        let (hub, state) = self.by_name.get(name).ok_or_else(unknown)?;
        let mut state = state.lock().await;
        // If this is dropped half-way, the connection goes with it.
        let api = match std::mem::replace(&mut *state, State::Unconnected) {
            State::Connected(api) => Ok(api.go_on(self.limits())),
            State::Unconnected => self.connect(hub).await,
            State::Down(failure) => Err(failure),
        };
        let api = match api {
            Ok(api) => api,
            Err(failure) => {
                *state = State::Down(failure.clone());
                return Err(failure);
            }
        };
        let result = work(&api).await;
        *state = match &result {
            Err(failure) if is_down(failure.kind) => State::Down(StepFailure {
                cause: format!("`{name}` did not respond to an earlier request of this run: {}", failure.cause),
                ..failure.clone()
            }),
            Ok(_) | Err(_) => State::Connected(api),
        };
        result
    }

    async fn connect(&self, hub: &Hub) -> Result<Api, StepFailure> {
        tracing::info!(hub = %hub.name, "connecting to a hub");
        let insecure = if hub.allow_insecure { Insecure::Allowed } else { Insecure::Refused };
        let admin = self.admin.resolve(&hub.access, insecure, || self.clock.now()).await;
        let unusable = |cause: String, hint| StepFailure {
            hint,
            ..StepFailure::of_access(format!("`{}` cannot be used: {cause}", hub.name))
        };
        let admin = admin.map_err(|error| {
            let failure = StepFailure::from(error);
            unusable(failure.cause, failure.hint)
        })?;
        connect_admin(&admin, self.admin.network(), self.limits()).map_err(|error| unusable(error.to_string(), None))
    }

    /// A hub has half the time of a cluster, so that those who wait for it learn that it does not respond.
    fn limits(&self) -> Limits {
        Limits::new(self.request_timeout, self.work_timeout / 2)
    }
}

/// Whether a failure means that the next request would fail alike, and perhaps as slowly.
fn is_down(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::Timeout | FailureKind::Certificate)
}

fn unread(place: &SecretPlace, failure: ApiFailure) -> StepFailure {
    let cause = format!("`{place}` cannot be read: {failure}");
    let failed = StepFailure::from(failure);
    StepFailure { cause, ..failed }
}
