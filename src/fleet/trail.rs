//! The file of the audit trail, which follows a run event by event.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::error::Error;
use crate::event::{End, Event};
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::output::Phase;
use crate::store::{Appender, StoreError};
use crate::trail::{TrailHead, is_trail, line};

/// A file that each event is written to as it comes.
#[derive(Debug, Clone)]
pub(crate) struct Trail(Arc<Mutex<TrailFile>>);

#[derive(Debug)]
struct TrailFile {
    head: TrailHead,
    file: Appender,
    name: String,
    /// Why the first line that is missing could not be written. The run goes on: credentials must not wait for it.
    failure: Option<Error>,
}

impl Trail {
    /// Opens the file that is named `name` and stands at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is something else.
    pub(crate) fn open(name: &Path, path: &Path, head: TrailHead) -> Result<Self, Error> {
        let name = name.display().to_string();
        let file = Appender::open(path, is_trail).map_err(|error| unwritten(&name, &error, ExitCode::Usage))?;
        Ok(Self(Arc::new(Mutex::new(TrailFile { head, file, name, failure: None }))))
    }

    /// Adds an event, if it is one of those that the trail has.
    pub(super) fn add(&self, phase: Phase, time: Timestamp, event: &Event) {
        // Planning writes nothing. What it says of clusters that go no further is not said again.
        let is_told = match (phase, event) {
            (Phase::Planning, Event::Finished { end: End::Failed(_) | End::Blocked, .. }) => true,
            (Phase::Planning | Phase::Verifying, _) => false,
            (Phase::Applying | Phase::Refreshing, _) => true,
        };
        if !is_told {
            return;
        }
        let mut trail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match line(&trail.head, time, event) {
            Ok(None) => return,
            Ok(Some(line)) => {
                let name = trail.name.clone();
                trail.file.add(&line).map_err(|error| unwritten(&name, &error, ExitCode::Partial))
            }
            Err(error) => Err(Error::new(ExitCode::Internal, "cannot write an event").because(error.to_string())),
        };
        if let Err(error) = written {
            trail.failure.get_or_insert(error);
        }
    }

    /// Ends the trail.
    ///
    /// # Errors
    ///
    /// If an event is missing in it.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure.take().map_or(Ok(()), Err)
    }
}

fn unwritten(name: &str, error: &StoreError, code: ExitCode) -> Error {
    let failure = describe(error);
    let error = Error::new(code, format!("cannot write the events to `{name}`")).because(failure.cause);
    Error { hint: failure.hint, ..error }
}
