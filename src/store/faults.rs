//! Lets a test make a system call fail, or the process die before it. Outside of tests it does nothing.

#[cfg(test)]
pub(super) use testing::before;

/// Is called before each system call that writes or that looks where to write.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in the tests it fails")]
#[inline]
pub(super) fn before() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) mod testing {
    use std::cell::Cell;
    use std::io;

    /// What happens to a system call, and how many calls are let through before it.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::store) enum Fault {
        /// One call fails.
        Once(usize),
        /// Every call from then on fails: the disk is full and stays so.
        Always(usize),
        /// The process is killed.
        Kill(usize),
    }

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Sets what happens in this thread; returns what has not happened yet.
    pub(in crate::store) fn set(fault: Option<Fault>) -> Option<Fault> {
        FAULT.replace(fault)
    }

    pub(in crate::store) fn before() -> io::Result<()> {
        let full = || Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        let (next, result) = match FAULT.get() {
            None => return Ok(()),
            Some(Fault::Once(0)) => (None, full()),
            Some(Fault::Always(0)) => (Some(Fault::Always(0)), full()),
            Some(Fault::Kill(0)) => {
                let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                unreachable!("{killed:?}");
            }
            Some(Fault::Once(calls)) => (Some(Fault::Once(calls - 1)), Ok(())),
            Some(Fault::Always(calls)) => (Some(Fault::Always(calls - 1)), Ok(())),
            Some(Fault::Kill(calls)) => (Some(Fault::Kill(calls - 1)), Ok(())),
        };
        FAULT.set(next);
        result
    }
}
