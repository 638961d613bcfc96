//! What happens during a run, as values that progress displays follow.
//!
//! Pure: no I/O, no clock. The executor sends these and never prints.

use crate::names::ClusterName;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Work on a cluster began.
    Started(ClusterName),
    /// A step of a cluster began.
    Step {
        /// The cluster.
        cluster: ClusterName,
        /// What is done.
        step: String,
    },
    /// Work on a cluster ended.
    Finished {
        /// The cluster.
        cluster: ClusterName,
        /// How.
        end: End,
    },
}

/// How work on a cluster ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing was left to do.
    Unchanged,
    /// Something changed, or is going to.
    Changed,
    /// It is blocked.
    Blocked,
    /// It failed, in one line.
    Failed(String),
    /// It was not started, because the run was interrupted.
    NotStarted,
}
