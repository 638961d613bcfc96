//! What the work on a cluster has done so far: kept beside the work, because that may end at any step.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Ended;
use crate::failure::StepFailure;
use crate::inventory::GrantKey;
use crate::object::ObjectRef;
use crate::outcome::{Applied, Carried, Published, StepFailed};
use crate::plan::Note;
use crate::step::StepId;

/// What a task has done so far. It survives if the task is dropped half-way.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The steps that were done.
    pub(super) done: Vec<StepId>,
    pub(super) published: Vec<Published>,
    pub(super) notes: Vec<Note>,
    /// The grants whose renewal was left to another run.
    pub(super) overtaken: Vec<GrantKey>,
    /// The anchors that are being deleted and that a finalizer holds.
    pub(super) held: Vec<HeldAnchor>,
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) doing: String,
}

/// An anchor of a ServiceAccount that is being deleted and that a finalizer holds.
#[derive(Debug, Clone)]
pub(super) struct HeldAnchor {
    pub(super) service_account: ObjectRef,
    pub(super) anchor: ObjectRef,
    pub(super) uid: String,
}

/// Shared, so that it can be read after the task that writes it is gone.
pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    // The ledger is plain data, so it is usable even after a panic.
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the result of carrying out a plan.
pub(super) fn carried(ledger: Option<&Mutex<Ledger>>, end: Ended<Result<(), StepFailure>>) -> Carried {
    let mut ledger = ledger.map(|ledger| std::mem::take(&mut *lock(ledger))).unwrap_or_default();
    // What came of each cluster is kept until the end of a run.
    ledger.done.shrink_to_fit();
    ledger.published.shrink_to_fit();
    let failure = match end {
        Ended::NotStarted(why) => return Carried::NotStarted(why),
        Ended::Done(Ok(())) => None,
        Ended::Done(Err(failure)) => Some(failure),
        Ended::Stopped => Some(StepFailure::new("interrupted")),
        Ended::Panicked => Some(StepFailure::panicked()),
    };
    Carried::Out(Box::new(Applied {
        failure: failure.map(|failure| StepFailed {
            number: ledger.number,
            of: ledger.of,
            doing: ledger.doing,
            failure,
        }),
        done: ledger.done,
        published: ledger.published,
        notes: ledger.notes,
        overtaken: ledger.overtaken,
    }))
}
