//! What happens during a run, as values that progress displays and the audit trail follow.
//!
//! Pure: no I/O, no clock. The executor sends these and never prints.

use serde::Serialize;

use crate::credential::CredentialFacts;
use crate::failure::StepFailure;
use crate::names::{ClusterName, ProfileName};
use crate::step::{Action, StepId};

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
    /// A step of a cluster ended.
    StepEnded(Box<StepEnded>),
    /// Work on a cluster ended.
    Finished {
        /// The cluster.
        cluster: ClusterName,
        /// How.
        end: End,
    },
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepEnded {
    /// The cluster.
    pub cluster: ClusterName,
    /// The step.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// The profile that it is for.
    pub profile: Option<ProfileName>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// The credential that it put into the outputs.
    pub issued: Option<Issued>,
    /// The generations that it ends.
    pub generations: Vec<u64>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    /// It was done.
    Done,
    /// Another run was faster.
    LeftToAnotherRun,
    /// It failed.
    Failed(StepFailure),
}

/// A credential that is in the outputs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    /// What is known about it.
    pub facts: CredentialFacts,
    /// Its identifier in the audit logs of API servers.
    pub jti: Option<String>,
    /// What it supersedes, if it was minted.
    pub superseded: Vec<Superseded>,
}

/// A generation that a newer one supersedes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Superseded {
    /// Its number.
    pub generation: u64,
    /// Its identifier in the audit logs of API servers, if the index tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
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
