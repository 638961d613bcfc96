//! Signals that must not end the process, from its first moment on.

use std::ffi::OsString;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Keeps signals from ending the process that mean something else here; it is the first thing that the
/// process does. The handlers stay for as long as the process lives.
///
/// SIGXFSZ comes when a file would grow beyond the limit of the process: the write fails as well, and that is
/// said, with the file. SIGHUP has a watcher read its inventory again, also one that is still starting.
pub(crate) fn hold_signals(arguments: &[OsString]) {
    let is_watcher = arguments.iter().any(|argument| argument == "--watch");
    let held = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        let _context = runtime.enter();
        if is_watcher {
            drop(signal(SignalKind::hangup())?);
        }
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
    });
    if let Err(error) = held {
        // The watcher tries it again, and says so; without a limit there is no other signal.
        tracing::debug!(%error, "signals cannot be handled yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the handlers, the signals end the process of the tests.
    #[test]
    fn a_watcher_that_is_starting_is_not_ended_by_signals() {
        hold_signals(&["kubemint".into(), "refresh".into(), "--watch".into()]);
        for held in [Signal::HUP, Signal::XFSZ] {
            rustix::process::kill_process(rustix::process::getpid(), held).unwrap();
        }
    }
}
