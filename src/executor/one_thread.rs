//! One thread for work that takes much memory.
//!
//! The allocator keeps memory for each thread that has asked for some (glibc's arenas). If each write of a file with ten
//! thousand contexts came on another thread, every one of these threads would keep what a write takes.

use std::sync::mpsc;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The handle of the thread, which ends with it.
#[derive(Debug)]
pub(super) struct OneThread(mpsc::Sender<Job>);

impl OneThread {
    /// Takes one of the runtime's threads for work that blocks.
    pub(super) fn start() -> Self {
        let (sender, jobs) = mpsc::channel::<Job>();
        drop(tokio::task::spawn_blocking(move || {
            for job in jobs {
                job();
            }
        }));
        Self(sender)
    }

    /// Does some work after what was handed in before, and returns the result.
    ///
    /// # Panics
    ///
    /// The future panics if this work or some before it panicked.
    pub(super) fn run<T, F>(&self, work: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        // Whoever asked may be gone; the work is done all the same. If the thread is gone, so is the job, and its reply.
        drop(self.0.send(Box::new(move || drop(reply.send(work())))));
        async { result.await.expect("work on the thread does not panic") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_work_is_done_on_one_thread_in_its_order() {
        let thread = OneThread::start();
        let (sender, order) = mpsc::channel();
        let jobs: Vec<_> = (0..50)
            .map(|number| {
                let sender = sender.clone();
                thread.run(move || {
                    sender.send(number).unwrap();
                    std::thread::current().id()
                })
            })
            .collect();
        let threads: std::collections::HashSet<_> = futures::future::join_all(jobs).await.into_iter().collect();
        assert_eq!(threads.len(), 1);
        assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    #[should_panic(expected = "work on the thread does not panic")]
    async fn a_panic_reaches_who_waits() {
        OneThread::start().run(|| panic!("as if a write had")).await;
    }
}
