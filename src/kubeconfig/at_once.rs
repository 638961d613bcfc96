//! Two pieces of work at the same time: a file of ten thousand contexts keeps one processor busy for a second.
//!
//! Pure: no I/O, no clock.

/// Does two things, on two threads if the system has one left.
pub(super) fn at_once<A: Send, B>(one: impl Fn() -> A + Copy + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, one) {
        Ok(thread) => {
            let other = other();
            (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
        }
        Err(_) => (one(), other()),
    })
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
    #[should_panic(expected = "as if it had")]
    fn a_panic_is_not_lost() {
        at_once(|| panic!("as if it had"), || ());
    }
}
