//! A limit on the clusters that fail, which stops a run while it runs.

use std::collections::HashMap;
use std::pin::pin;

use futures::{Stream, StreamExt};

use super::{Bound, Cancellation};
use crate::names::ClusterName;
use crate::outcome::{Carried, NotStarted, Planned};

/// How many clusters are worked on at the same time, and how many may fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many are worked on at the same time.
    pub concurrency: usize,
    /// How many may fail before no further one starts.
    pub most_failures: usize,
}

impl Pace {
    /// Returns how many clusters are worked on. Where failures count, one that waits may be one that fails: no other
    /// starts in its place.
    pub(super) fn bound(self) -> Bound {
        if self.most_failures == usize::MAX { self.concurrency.into() } else { Bound::strict(self.concurrency) }
    }
}

/// What came of a cluster, as far as the limit needs it.
pub(super) trait Came {
    /// Whether something failed while the cluster was changed.
    fn has_failed(&self) -> bool;
    /// The reason why it was not started, if it was not.
    fn not_started(&mut self) -> Option<&mut NotStarted>;
}

impl Came for Carried {
    fn has_failed(&self) -> bool {
        matches!(self, Self::Out(applied) if applied.failure.is_some())
    }

    fn not_started(&mut self) -> Option<&mut NotStarted> {
        match self {
            Self::NotStarted(why) => Some(why),
            Self::Out(_) => None,
        }
    }
}

impl Came for (Planned, Option<Carried>) {
    fn has_failed(&self) -> bool {
        self.1.as_ref().is_some_and(Came::has_failed)
    }

    fn not_started(&mut self) -> Option<&mut NotStarted> {
        match self {
            (Planned::NotStarted(why), _) | (_, Some(Carried::NotStarted(why))) => Some(why),
            _ => None,
        }
    }
}

/// Returns the interruption of a part of a run: it is interrupted with the whole run, and also for itself.
pub(super) fn part_of(whole: &Cancellation) -> Cancellation {
    Cancellation { no_new: whole.no_new.child_token(), stop: whole.stop.clone() }
}

/// Collects what comes of clusters. If more failed than may, `part` is interrupted, so that no further one starts.
pub(super) async fn collect_within<T: Came>(
    ends: impl Stream<Item = (ClusterName, T)>,
    most_failures: usize,
    part: &Cancellation,
    whole: &Cancellation,
) -> HashMap<ClusterName, T> {
    let mut collected = HashMap::new();
    let mut failed = 0;
    let mut ends = pin!(ends);
    while let Some((cluster, mut end)) = ends.next().await {
        failed += usize::from(end.has_failed());
        if failed > most_failures {
            part.no_new.cancel();
        }
        let is_by_limit = part.no_new.is_cancelled() && !whole.no_new.is_cancelled();
        if let Some(why) = end.not_started().filter(|_| is_by_limit) {
            *why = NotStarted::Budget;
        }
        collected.insert(cluster, end);
    }
    collected
}
