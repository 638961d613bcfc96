//! A bounded pool of tasks, one per cluster.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::names::ClusterName;
use crate::outcome::NotStarted;

/// How a run is interrupted, in two stages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancellation {
    /// No new cluster starts; those that run finish.
    pub no_new: CancellationToken,
    /// Everything stops now.
    pub stop: CancellationToken,
}

/// How the work on one cluster ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended<T> {
    /// The work ended by itself.
    Done(T),
    /// It was not started.
    NotStarted(NotStarted),
    /// It was stopped half-way.
    Stopped,
    /// It panicked; the others went on.
    Panicked,
}

/// A slot in the pool, which may be lent out during a long wait.
#[derive(Debug)]
pub(crate) struct Slot {
    semaphore: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

/// How many clusters are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// At the same time.
    working: usize,
    /// With those that wait and have lent out their slots.
    in_flight: usize,
}

impl Bound {
    /// So many, whether they work or wait.
    pub(crate) fn strict(number: usize) -> Self {
        Self { working: number.max(1), in_flight: number.max(1) }
    }

    /// Returns how many connections may be open at the same time.
    pub(crate) fn in_flight(self) -> usize {
        self.in_flight
    }
}

impl From<usize> for Bound {
    /// So many work at the same time; those that wait let others work.
    fn from(number: usize) -> Self {
        /// How many items are in flight for each that works.
        const IN_FLIGHT_FACTOR: usize = 8;
        Self { working: number.max(1), in_flight: number.max(1) * IN_FLIGHT_FACTOR }
    }
}

/// How long work may take before its slot is lent out. A cluster that responds is done by then, also far away; one that
/// does not keeps a slot from others for no longer.
const SLOW: Duration = Duration::from_millis(100);

impl Slot {
    /// Does some work that is mostly waiting. If it takes long, other items work meanwhile. Those that respond soon are no
    /// more than may work at the same time, each with its connection and what it read. The future of large work should be
    /// boxed, because this one has room for it twice.
    pub(crate) async fn lend_if_slow<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        match tokio::time::timeout(SLOW, &mut work).await {
            Ok(result) => result,
            Err(_) => self.lend(work).await,
        }
    }

    /// Waits for something that needs no work here, and lets another item work meanwhile.
    pub(crate) async fn lend<T>(&mut self, wait: impl Future<Output = T>) -> T {
        drop(self.permit.take());
        let result = wait.await;
        // The semaphore is never closed. If it were, work would go on without a bound rather than stop.
        self.permit = Arc::clone(&self.semaphore).acquire_owned().await.ok();
        result
    }
}

/// Runs `work` on every cluster, within a bound, and returns the results in the order in which they come.
///
/// A cluster starts only while the caller polls the stream, so the caller decides whether more start. A panic ends only
/// its own cluster. After `cancellation.no_new` no further cluster starts; after `cancellation.stop` the running ones
/// are dropped where they wait.
pub(crate) fn each_cluster<'a, I, T, F, W, B>(
    tasks: Vec<(ClusterName, I)>,
    bound: B,
    cancellation: &'a Cancellation,
    work: W,
) -> impl Stream<Item = (ClusterName, Ended<T>)> + use<'a, I, T, F, W, B>
where
    I: 'a,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: FnMut(I, Slot) -> F + 'a,
    B: Into<Bound>,
{
    let Bound { working, in_flight } = bound.into();
    let driver = Driver {
        waiting: tasks.into_iter().map(|(cluster, item)| (cluster, Box::new(item))).collect(),
        semaphore: Arc::new(Semaphore::new(working)),
        in_flight,
        running: JoinSet::new(),
        names: HashMap::new(),
        cancellation,
        work,
    };
    futures::stream::unfold(driver, |mut driver| async move { Some((driver.next().await?, driver)) })
}

/// The waiting and the running tasks.
struct Driver<'a, I, T, W> {
    /// Boxed, so that an item takes no room here once it has started.
    waiting: VecDeque<(ClusterName, Box<I>)>,
    semaphore: Arc<Semaphore>,
    /// The most items in flight. Those that wait count too, because each keeps a connection.
    in_flight: usize,
    running: JoinSet<Ended<T>>,
    names: HashMap<Id, ClusterName>,
    cancellation: &'a Cancellation,
    work: W,
}

impl<I, T, F, W> Driver<'_, I, T, W>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    W: FnMut(I, Slot) -> F,
{
    /// Starts tasks as slots become free, until one ends.
    async fn next(&mut self) -> Option<(ClusterName, Ended<T>)> {
        while !self.waiting.is_empty() && !self.cancellation.no_new.is_cancelled() {
            let semaphore = Arc::clone(&self.semaphore);
            // An item is in flight until its end is returned, and not only until it gives its slot back: the caller may
            // want to stop the run between the two.
            let may_start = self.running.len() < self.in_flight;
            tokio::select! {
                biased;
                () = self.cancellation.no_new.cancelled() => break,
                // An ended task is returned before its slot is filled, so that the caller can stop the run.
                Some(joined) = self.running.join_next_with_id() => return self.ended(joined),
                permit = semaphore.acquire_owned(), if may_start => self.start(permit.ok()),
            }
        }
        if let Some(joined) = self.running.join_next_with_id().await {
            return self.ended(joined);
        }
        let (name, _) = self.waiting.pop_front()?;
        Some((name, Ended::NotStarted(NotStarted::Interrupted)))
    }

    fn start(&mut self, permit: Option<OwnedSemaphorePermit>) {
        let Some((name, item)) = self.waiting.pop_front() else { return };
        let slot = Slot { semaphore: Arc::clone(&self.semaphore), permit };
        // A future that moves another one into itself has room for it twice.
        let work = Box::pin((self.work)(*item, slot));
        let stop = self.cancellation.stop.clone();
        let handle = self.running.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Ended::Stopped,
                result = work => Ended::Done(result),
            }
        });
        self.names.insert(handle.id(), name);
    }

    fn ended(&mut self, joined: Result<(Id, Ended<T>), JoinError>) -> Option<(ClusterName, Ended<T>)> {
        let (id, end) = match joined {
            Ok((id, end)) => (id, end),
            Err(error) => (error.id(), Ended::Panicked),
        };
        Some((self.names.remove(&id)?, end))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::StreamExt;

    use super::*;

    /// Runs work on numbers, and returns the ends in their order.
    async fn ends<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        items: impl IntoIterator<Item = u64>,
        limit: usize,
        cancellation: &Cancellation,
        work: impl FnMut(u64, Slot) -> F,
    ) -> Vec<Ended<T>> {
        let tasks = items.into_iter().map(|item| (format!("{item:03}").as_str().into(), item)).collect();
        let mut ends: Vec<(ClusterName, Ended<T>)> = each_cluster(tasks, limit, cancellation, work).collect().await;
        ends.sort_by(|(one, _), (other, _)| one.cmp(other));
        ends.into_iter().map(|(_, end)| end).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_never_exceeded_and_each_ends_under_its_name() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let ends = ends(0..50, 7, &Cancellation::default(), |item, slot| async move {
            let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(running <= 7);
            tokio::time::sleep(Duration::from_millis(50 - item)).await;
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
            item
        })
        .await;
        assert_eq!(ends, (0..50).map(Ended::Done).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_its_own_item_only() {
        let ends = ends([1, 2, 3], 2, &Cancellation::default(), |item, slot| async move {
            assert_ne!(item, 2, "this one panics");
            drop(slot);
            item
        })
        .await;
        assert_eq!(ends, [Ended::Done(1), Ended::Panicked, Ended::Done(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_does_not_stop_the_others() {
        let cancellation = Cancellation::default();
        let stop = cancellation.stop.clone();
        let ends = ends(0..10, 2, &cancellation, |item: u64, slot| {
            let stop = stop.clone();
            async move {
                if item == 0 {
                    std::future::pending::<()>().await;
                }
                if item == 9 {
                    stop.cancel();
                }
                drop(slot);
                item
            }
        })
        .await;
        assert_eq!(ends[0], Ended::Stopped);
        assert_eq!(ends[1..], (1..10).map(Ended::Done).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_first_interruption_nothing_starts_and_what_runs_finishes() {
        let cancellation = Cancellation::default();
        let no_new = cancellation.no_new.clone();
        let ends = ends(0..4, 2, &cancellation, |item: u64, slot| {
            let no_new = no_new.clone();
            async move {
                no_new.cancel();
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(slot);
                item
            }
        })
        .await;
        assert_eq!(
            ends,
            [
                Ended::Done(0),
                Ended::Done(1),
                Ended::NotStarted(NotStarted::Interrupted),
                Ended::NotStarted(NotStarted::Interrupted)
            ]
        );
    }

    /// If the caller stops polling, nothing more starts; a limit on failures could rely on that.
    #[tokio::test(start_paused = true)]
    async fn ends_come_as_they_end_and_what_nobody_asks_for_does_not_start() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let tasks = [("slow", 3), ("fast", 1), ("later", 1)].map(|(name, wait)| (name.into(), wait)).into();
        let cancellation = Cancellation::default();
        let mut stream = std::pin::pin!(each_cluster(tasks, 2, &cancellation, |seconds: u64, slot| async move {
            STARTED.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            drop(slot);
        }));
        assert_eq!(stream.next().await, Some(("fast".into(), Ended::Done(()))));
        assert_eq!(STARTED.load(Ordering::SeqCst), 2);
        cancellation.no_new.cancel();
        assert_eq!(stream.next().await, Some(("slow".into(), Ended::Done(()))));
        let left = Ended::NotStarted(NotStarted::Interrupted);
        assert_eq!(stream.next().await, Some(("later".into(), left)));
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_lends_its_slot() {
        let (sender, receiver) = tokio::sync::watch::channel(0_u64);
        let sender = Arc::new(sender);
        // Each of the first two waits for the third, which can run only in a slot that was lent.
        let ends = ends([0, 1, 2], 2, &Cancellation::default(), |item, mut slot| {
            let (sender, mut receiver) = (Arc::clone(&sender), receiver.clone());
            async move {
                if item == 2 {
                    sender.send_replace(1);
                } else {
                    slot.lend(async { receiver.wait_for(|value| *value == 1).await.map(drop) }).await.unwrap();
                }
                item
            }
        })
        .await;
        assert_eq!(ends, [Ended::Done(0), Ended::Done(1), Ended::Done(2)]);
    }

    /// Under a strict bound, the caller knows of each end before another starts, even if a slot came back earlier.
    #[tokio::test(start_paused = true)]
    async fn after_an_end_the_caller_decides_whether_another_starts() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let cancellation = Cancellation::default();
        let tasks = ["a", "b"].map(|name| (name.into(), ())).into();
        let mut ends = std::pin::pin!(each_cluster(tasks, Bound::strict(1), &cancellation, |(), slot| async move {
            STARTED.fetch_add(1, Ordering::SeqCst);
            drop(slot);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }));
        assert_eq!(ends.next().await, Some(("a".into(), Ended::Done(()))));
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);
        cancellation.no_new.cancel();
        assert_eq!(ends.next().await, Some(("b".into(), Ended::NotStarted(NotStarted::Interrupted))));
    }

    /// Under a strict bound, nothing more starts while one waits.
    #[tokio::test(start_paused = true)]
    async fn a_strict_bound_lends_nothing() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let cancellation = Cancellation::default();
        let tasks = ["a", "b", "c"].map(|name| (name.into(), ())).into();
        let ends = each_cluster(tasks, Bound::strict(1), &cancellation, |(), mut slot: Slot| async move {
            assert_eq!(RUNNING.fetch_add(1, Ordering::SeqCst), 0);
            slot.lend(tokio::time::sleep(Duration::from_secs(1))).await;
            RUNNING.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(ends.collect::<Vec<_>>().await.len(), 3);
    }
}
