//! Pieces of work at the same time: a file of ten thousand contexts keeps one processor busy for a second.
//!
//! Pure: no I/O, no clock.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does two things, on two threads if the system has one left.
pub(crate) fn at_once<A: Send, B>(one: impl Fn() -> A + Copy + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, one) {
        Ok(thread) => {
            let other = other();
            (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
        }
        Err(_) => (one(), other()),
    })
}

/// Does the same with several values, on as many threads as there are processors. Returns the results in the order of the values.
pub(crate) fn each_at_once<T: Sync, A: Send>(values: &[T], work: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(values.len());
    let next = AtomicUsize::new(0);
    let some = || {
        let taken = std::iter::from_fn(|| {
            let position = next.fetch_add(1, Ordering::Relaxed);
            values.get(position).map(|value| (position, work(value)))
        });
        taken.collect::<Vec<_>>()
    };
    let mut done = std::thread::scope(|scope| {
        // A thread that the system does not have left leaves its share to the others.
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, some).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = some();
        for thread in others {
            done.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_at_the_same_time() {
        let barrier = std::sync::Barrier::new(2);
        let one = || {
            barrier.wait();
            std::thread::current().id()
        };
        let (there, here) = at_once(one, || {
            barrier.wait();
            std::thread::current().id()
        });
        assert_ne!(there, here);
    }

    #[test]
    fn each_value_is_worked_on_and_some_at_the_same_time() {
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(2);
        let barrier = std::sync::Barrier::new(at_once);
        let work = |number: &usize| {
            if *number < at_once {
                barrier.wait();
            }
            number + 1
        };
        assert_eq!(each_at_once(&[0, 1, 2, 3, 4], work), [1, 2, 3, 4, 5]);
        assert_eq!(each_at_once(&[], work), Vec::<usize>::new());
    }

    #[test]
    #[should_panic(expected = "as if it had")]
    fn a_panic_on_another_thread_is_not_lost() {
        each_at_once(&[1, 2], |number| assert!(*number < 2, "as if it had"));
    }

    #[test]
    #[should_panic(expected = "as if it had")]
    fn a_panic_is_not_lost() {
        at_once(|| panic!("as if it had"), || ());
    }
}
