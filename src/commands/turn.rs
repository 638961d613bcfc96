//! Whose turn it is: one of several watchers works, and the others wait for it to go.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::environment::wall_clock;
use crate::cluster::lease::{Held, Lease};
use crate::cluster::{AdminEnvironment, AdminSources, Api, Insecure, Limits, connect_admin};
use crate::inventory::AdminAccess;

/// How often the Lease is renewed or looked at.
const EACH: Duration = Duration::from_secs(5);
/// How long one look may take. It is well below the time for which a Lease is kept.
const REQUEST: Duration = Duration::from_secs(4);
/// After this time without an answer it is not known any more who has the Lease.
const KNOWN_FOR: Duration = Duration::from_secs(15);

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody was asked yet.
    Unasked,
    /// This watcher's.
    Mine,
    /// That of the watcher with this name, which may be empty.
    Of(String),
    /// That cannot be found out, and why. Credentials have to be renewed all the same.
    Unknown(String),
}

impl Turn {
    /// Whether this watcher works.
    pub(super) fn is_to_work(&self) -> bool {
        matches!(self, Self::Mine | Self::Unknown(_))
    }
}

/// Where a Lease is.
pub(super) struct Place {
    pub(super) access: AdminAccess,
    pub(super) insecure: Insecure,
    pub(super) environment: AdminEnvironment,
}

impl Place {
    async fn connect(&self) -> Result<Api, String> {
        let sources = AdminSources::load([&self.access], &self.environment, REQUEST);
        let entry =
            sources.resolve(&self.access, self.insecure, wall_clock).await.map_err(|error| error.to_string())?;
        connect_admin(&entry, sources.network(), Limits::new(REQUEST, REQUEST)).map_err(|error| error.to_string())
    }
}

/// Keeps or awaits the Lease, and says whose turn it is, until it is stopped; then the Lease is given back.
pub(super) async fn take_turns(mut lease: Lease, place: Place, turn: Sender<Turn>, stop: CancellationToken) {
    let mut api: Option<Api> = None;
    let mut known: Option<Instant> = None;
    while !stop.is_cancelled() {
        // A token of a pod lives for an hour, so after a failure everything is read again.
        let asked = match api.take() {
            Some(api) => Ok(api.go_on(Limits::new(REQUEST, REQUEST))),
            None => place.connect().await,
        };
        let asked = match asked {
            Ok(connected) => {
                let held = lease.ask(&connected, wall_clock()).await.map_err(|failure| failure.to_string());
                api = held.is_ok().then_some(connected);
                held
            }
            Err(why) => Err(why),
        };
        let now = match asked {
            Ok(held) => {
                known = Some(Instant::now());
                Some(match held {
                    Held::Here => Turn::Mine,
                    Held::Elsewhere(holder) => Turn::Of(holder),
                })
            }
            Err(why) if known.is_none_or(|at| at.elapsed() >= KNOWN_FOR) => Some(Turn::Unknown(why)),
            Err(why) => {
                tracing::debug!(why, "the Lease cannot be looked at");
                None
            }
        };
        if let Some(now) = now {
            turn.send_if_modified(|before| {
                let is_other = *before != now;
                *before = now;
                is_other
            });
        }
        // A connection that failed may only have been too old.
        let wait = if api.is_none() && known.is_some_and(|at| at.elapsed() < EACH * 2) { EACH / 5 } else { EACH };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
    let is_mine = *turn.borrow() == Turn::Mine;
    if let Some(api) = api.filter(|_| is_mine)
        && let Err(failure) = lease.release(&api.go_on(Limits::new(REQUEST, REQUEST))).await
    {
        tracing::debug!(%failure, "the Lease was not given back");
    }
}
