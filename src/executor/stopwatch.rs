//! A limit on work whose clock can stand still: what a cluster waits for a hub, or for a file that
//! others write, does not count against the cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Measures the time of some work, without the times when it was paused.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    time: Mutex<Time>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Time {
    /// How long it ran before the last pause.
    before: Duration,
    /// Since when it runs; nothing while it is paused, or before it began.
    since: Option<Instant>,
}

/// The limit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

/// As long as this exists, the clock stands still.
#[derive(Debug)]
struct Pause<'a>(&'a Stopwatch);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.time().since = Some(Instant::now());
        self.0.changed.notify_one();
    }
}

impl Stopwatch {
    /// Returns what came of some work, unless it took longer than a limit, pauses left out.
    ///
    /// # Errors
    ///
    /// If the limit was over; the work is dropped then.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Late> {
        self.time().since = Some(Instant::now());
        match select(std::pin::pin!(work), std::pin::pin!(self.reaches(limit))).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(((), _)) => Err(Late),
        }
    }

    /// Does some work that does not count.
    pub(crate) async fn off<T>(&self, work: impl Future<Output = T>) -> T {
        {
            let mut time = self.time();
            let ran = time.since.take().map(|since| since.elapsed()).unwrap_or_default();
            time.before += ran;
        }
        self.changed.notify_one();
        let _pause = Pause(self);
        work.await
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        // A time is usable even after a panic.
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the work has run for so long.
    async fn reaches(&self, limit: Duration) {
        loop {
            let end = {
                let time = self.time();
                time.since.map(|since| since + limit.saturating_sub(time.before))
            };
            match end {
                None => self.changed.notified().await,
                Some(end) => {
                    let paused = std::pin::pin!(self.changed.notified());
                    let reached = std::pin::pin!(tokio::time::sleep_until(end));
                    if let Either::Left(_) = select(reached, paused).await {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_off_the_clock_does_not_count() {
        let seconds = Duration::from_secs;
        let work = |watch: &'static Stopwatch, before: u64, off: u64, after: u64| async move {
            tokio::time::sleep(seconds(before)).await;
            watch.off(tokio::time::sleep(seconds(off))).await;
            tokio::time::sleep(seconds(after)).await;
        };
        let watch = || -> &'static Stopwatch { Box::leak(Box::default()) };
        for (before, off, after, expected) in [
            (3, 100, 4, Ok(())),
            (3, 100, 8, Err(Late)),
            (9, 0, 0, Ok(())),
            (11, 0, 0, Err(Late)),
            (0, 1000, 9, Ok(())),
        ] {
            let watch = watch();
            let done = watch.within(seconds(10), work(watch, before, off, after)).await;
            assert_eq!(done, expected, "{before} {off} {after}");
        }
    }
}
