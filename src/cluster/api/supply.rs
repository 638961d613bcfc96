//! The memory that all bodies share while they are being read.
//!
//! A body takes memory in steps as it grows. If many bodies held some and waited for more, none would ever end. So one
//! waiting body at a time gets the *turn*, with which it may grow to its end; then the next. A body that holds memory
//! and arrives slowly fails as soon as others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The size of one step, in bytes.
pub(super) const STEP: usize = 512 * 1024;
/// How long a body may take for one step while others wait: 100 KiB/s.
pub(super) const STEP_TIME: Duration = Duration::from_secs(5);
/// How often a slow body checks whether others wait.
const LOOK: Duration = Duration::from_millis(250);

/// The memory for all bodies together: `steps`, and once more the largest body, which has the turn.
#[derive(Debug)]
pub(super) struct Supply {
    steps: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The part of the supply that one body has. Dropping it returns the part.
#[derive(Debug)]
pub(super) struct Share {
    supply: Arc<Supply>,
    steps: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
    /// The deadline for the next step, if others wait.
    until: Instant,
}

/// A body arrives slowly, and others wait for the memory that it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Supply {
    pub(super) fn new(steps: usize) -> Arc<Self> {
        let one = |permits| Arc::new(Semaphore::new(permits));
        Arc::new(Self { steps: one(steps), turn: one(1), waiting: AtomicUsize::new(0) })
    }

    /// Returns a share that is empty.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { supply: Arc::clone(self), steps: None, turn: None, until: Instant::now() + STEP_TIME }
    }
}

impl Share {
    /// Takes a step, and waits for it if there is none left.
    pub(super) async fn grow(&mut self) {
        if self.turn.is_none() {
            match Arc::clone(&self.supply.steps).try_acquire_owned() {
                Ok(step) => self.add(step),
                Err(_) => self.wait().await,
            }
        }
        self.until = Instant::now() + STEP_TIME;
    }

    async fn wait(&mut self) {
        let supply = Arc::clone(&self.supply);
        let _waiting = Waiting::begin(&supply);
        let steps = Arc::clone(&self.supply.steps);
        let turn = Arc::clone(&self.supply.turn);
        // Neither semaphore is ever closed.
        tokio::select! {
            biased;
            Ok(step) = steps.acquire_owned() => self.add(step),
            Ok(turn) = turn.acquire_owned() => self.turn = Some(turn),
        }
    }

    fn add(&mut self, step: OwnedSemaphorePermit) {
        match &mut self.steps {
            Some(steps) => steps.merge(step),
            None => self.steps = Some(step),
        }
    }

    /// Waits for the next part of the body.
    ///
    /// # Errors
    ///
    /// If it holds memory that others wait for, and takes too long for one step.
    pub(super) async fn arrival<T>(&self, part: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut part = std::pin::pin!(part);
        loop {
            let now = Instant::now();
            if now >= self.until && self.is_wanted() {
                return Err(TooSlow);
            }
            if let Ok(part) = tokio::time::timeout_at(self.until.max(now + LOOK), &mut part).await {
                return Ok(part);
            }
        }
    }

    fn is_wanted(&self) -> bool {
        (self.steps.is_some() || self.turn.is_some()) && self.supply.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts a waiting body, and stops counting it when it is dropped, even before its wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(supply: &'a Supply) -> Self {
        supply.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&supply.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bodies_that_all_wait_for_more_end_one_after_another() {
        let supply = Supply::new(8);
        // Each of 8 takes one step and wants three more.
        let mut bodies = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut share = supply.share();
            bodies.spawn(async move {
                for _ in 0..4 {
                    share.grow().await;
                    tokio::task::yield_now().await;
                }
            });
        }
        tokio::time::timeout(Duration::from_secs(60), bodies.join_all()).await.expect("one of them always goes on");
        assert_eq!((supply.steps.available_permits(), supply.turn.available_permits()), (8, 1), "all is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_gives_up_its_memory_when_others_wait() {
        let supply = Supply::new(1);
        let (mut slow, mut turn) = (supply.share(), supply.share());
        slow.grow().await;
        turn.grow().await;
        assert!(turn.turn.is_some(), "the second has the turn");
        let never = std::future::pending::<()>();
        let alone = tokio::time::timeout(STEP_TIME * 4, slow.arrival(never)).await;
        assert!(alone.is_err(), "nobody waits, so it may be as slow as it likes");
        let mut third = supply.share();
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(async move { third.grow().await });
        tokio::task::yield_now().await;
        // Parts of the body arrive all the time, but too slowly to fill a step.
        let mut parts = 0;
        while slow.arrival(tokio::time::sleep(Duration::from_millis(100))).await.is_ok() {
            parts += 1;
            assert!(parts < 1000, "it is never refused");
        }
        drop(slow);
        waiting.join_all().await;
        assert_eq!(supply.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_is_not_counted_any_more() {
        let supply = Supply::new(0);
        let (mut first, mut second) = (supply.share(), supply.share());
        first.grow().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), second.grow()).await.is_err());
        assert_eq!(supply.waiting.load(Ordering::Relaxed), 0);
    }
}
