//! A bounded pool of tasks, one per cluster.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The two stages in which a run is interrupted.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    /// No new cluster starts; those that run finish.
    pub no_new: CancellationToken,
    /// Everything stops now.
    pub stop: CancellationToken,
}

/// How the work on one item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended<T> {
    /// It came to an end.
    Done(T),
    /// It was not started.
    NotStarted,
    /// It was stopped half-way.
    Stopped,
    /// It panicked; the others went on.
    Panicked,
}

/// A place in the pool, which may be lent out during a long wait.
#[derive(Debug)]
pub struct Slot {
    semaphore: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    /// Held until the item ends: who waits keeps a connection, so there is a bound to that too.
    _in_flight: Option<OwnedSemaphorePermit>,
}

/// Items that are in flight, as a multiple of those that work: the others wait in lent-out slots.
const IN_FLIGHT_FACTOR: usize = 8;

impl Slot {
    /// Waits for something that needs no work, and lets another item work meanwhile.
    pub async fn lend<T>(&mut self, wait: impl Future<Output = T>) -> T {
        drop(self.permit.take());
        let result = wait.await;
        // The semaphore is never closed; without a permit work would go on unbounded, not stop.
        self.permit = Arc::clone(&self.semaphore).acquire_owned().await.ok();
        result
    }
}

/// Runs `work` on every item, at most `limit` at a time, and returns the ends in the order of the items.
///
/// A panic ends its own item only. After `cancellation.no_new` no further item starts; after
/// `cancellation.stop` the running ones are dropped where they wait.
pub async fn run_bounded<I, T, F>(
    items: Vec<I>,
    limit: usize,
    cancellation: &Cancellation,
    mut work: impl FnMut(I, Slot) -> F,
) -> Vec<Ended<T>>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let semaphore = Arc::new(Semaphore::new(limit.max(1)));
    let in_flight = Arc::new(Semaphore::new(limit.max(1) * IN_FLIGHT_FACTOR));
    let permits = || async {
        let in_flight = Arc::clone(&in_flight).acquire_owned().await.ok();
        (in_flight, Arc::clone(&semaphore).acquire_owned().await.ok())
    };
    let mut ends: Vec<Ended<T>> = items.iter().map(|_| Ended::NotStarted).collect();
    let mut tasks: JoinSet<(usize, Ended<T>)> = JoinSet::new();
    let mut positions = std::collections::HashMap::new();
    let mut waiting = items.into_iter().enumerate();
    let mut next = waiting.next();
    let collect = |ends: &mut Vec<Ended<T>>,
                   positions: &std::collections::HashMap<tokio::task::Id, usize>,
                   joined: Result<(tokio::task::Id, (usize, Ended<T>)), tokio::task::JoinError>| {
        match joined {
            Ok((_, (position, end))) => ends[position] = end,
            Err(error) => {
                if let Some(position) = positions.get(&error.id()) {
                    ends[*position] = Ended::Panicked;
                }
            }
        }
    };
    while let Some((position, item)) = next.take() {
        let (in_flight, permit) = tokio::select! {
            biased;
            () = cancellation.no_new.cancelled() => break,
            permits = permits() => permits,
            // What has ended is collected on the way, so that results do not wait in their tasks.
            Some(joined) = tasks.join_next_with_id() => {
                collect(&mut ends, &positions, joined);
                next = Some((position, item));
                continue;
            }
        };
        let slot = Slot { semaphore: Arc::clone(&semaphore), permit, _in_flight: in_flight };
        let future = work(item, slot);
        let stop = cancellation.stop.clone();
        let handle = tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => (position, Ended::Stopped),
                result = future => (position, Ended::Done(result)),
            }
        });
        positions.insert(handle.id(), position);
        next = waiting.next();
    }
    while let Some(joined) = tasks.join_next_with_id().await {
        collect(&mut ends, &positions, joined);
    }
    ends
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_never_exceeded_and_results_keep_their_order() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let ends = run_bounded((0..50_u64).collect(), 7, &Cancellation::default(), |item, slot| async move {
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
        let ends = run_bounded(vec![1, 2, 3], 2, &Cancellation::default(), |item, slot| async move {
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
        let ends = run_bounded((0..10).collect(), 2, &cancellation, |item: u64, slot| {
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
        let ends = run_bounded((0..4).collect(), 2, &cancellation, |item: u64, slot| {
            let no_new = no_new.clone();
            async move {
                no_new.cancel();
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(slot);
                item
            }
        })
        .await;
        assert_eq!(ends, [Ended::Done(0), Ended::Done(1), Ended::NotStarted, Ended::NotStarted]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_lends_its_slot() {
        let (sender, receiver) = tokio::sync::watch::channel(0_u64);
        let sender = Arc::new(sender);
        // Each of the first two waits for a third, which can only run in a slot that was lent.
        let ends = run_bounded(vec![0_u64, 1, 2], 2, &Cancellation::default(), |item, mut slot| {
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
}
