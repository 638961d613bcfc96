//! Signals that must never end the process.

use std::ffi::OsString;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Installs handlers for signals that mean something else here, so that they do not end the process. It is the first
/// thing that the process does, and the handlers stay until it ends.
///
/// SIGXFSZ comes when a file would exceed the process's size limit; the write then fails too, and that error names the
/// file. SIGHUP makes a watcher read its inventory again, even one that is still starting.
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
        // The watcher tries this again and reports the error. SIGXFSZ comes only if there is a limit.
        tracing::debug!(%error, "signals cannot be handled yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the handlers, the signals would end the process that runs the tests.
    #[test]
    fn a_watcher_that_is_starting_is_not_ended_by_signals() {
        hold_signals(&["kubemint".into(), "refresh".into(), "--watch".into()]);
        for held in [Signal::HUP, Signal::XFSZ] {
            rustix::process::kill_process(rustix::process::getpid(), held).unwrap();
        }
    }
}
