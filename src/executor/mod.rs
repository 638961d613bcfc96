//! Runs work on many clusters at once: bounded, cancellable, each cluster on its own.
//!
//! [`each_cluster`] is the driver. In it, [`apply`] runs the steps of plans, and [`renew`] plans each cluster and runs
//! its steps at once; [`publish`] collects the minted credentials into files, [`Hubs`] writes those that go into Secrets. Steps go in, outcomes and events come
//! out. Nothing here prints, and a failure of one cluster does not affect another.

pub(crate) mod apply;
mod hubs;
mod kept;
mod ledger;
mod limit;
pub(crate) mod observe;
mod one_thread;
mod pool;
pub(crate) mod prove;
pub(crate) mod publish;
pub(crate) mod renew;
pub(crate) mod revoke;
mod stopwatch;
pub(crate) mod verify;
mod warnings;

pub(crate) use hubs::Hubs;
pub(crate) use kept::KeptConnections;
pub(crate) use limit::Pace;
pub(crate) use pool::{Bound, Cancellation, Ended, Slot, each_cluster};

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, StepEnded};
use crate::names::ClusterName;

/// Tells the time during a run, because a run over ten thousand clusters takes minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Timestamp,
    since: Instant,
}

impl Clock {
    /// Starts at the time at which the run began.
    pub(crate) fn start(began: Timestamp) -> Self {
        Self { began, since: Instant::now() }
    }

    /// Returns when the run began.
    pub(crate) fn began(&self) -> Timestamp {
        self.began
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.began.checked_add(elapsed).unwrap_or(self.began)
    }
}

/// Where events go. A run goes on even if its display is gone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: UnboundedSender<Event>,
    wanted: WantedEvents,
}

/// Which events somebody wants besides that the work on a cluster began and ended. Each event wakes who follows the run,
/// so nobody is told what nobody wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WantedEvents {
    /// What is being done.
    pub steps: bool,
    /// How steps ended.
    pub ends: bool,
}

impl Events {
    /// Sends events to a channel.
    pub(crate) fn new(sender: UnboundedSender<Event>, wanted: WantedEvents) -> Self {
        Self { sender, wanted }
    }

    /// Sends an event.
    pub(crate) fn send(&self, event: Event) {
        // Without a receiver, nothing can be done.
        drop(self.sender.send(event));
    }

    /// Tells what is being done, if somebody wants to know.
    pub(crate) fn step(&self, cluster: &ClusterName, step: &str) {
        if self.wanted.steps {
            self.send(Event::Step { cluster: cluster.clone(), step: step.to_owned() });
        }
    }

    /// Tells how a step ended, if somebody wants to know.
    pub(crate) fn step_ended(&self, ended: impl FnOnce() -> StepEnded) {
        if self.wanted.ends {
            self.send(Event::StepEnded(Box::new(ended())));
        }
    }
}
