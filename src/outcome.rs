//! What came of a run, cluster by cluster: a failure is a value here and nothing else.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::CredentialFacts;
use crate::event::Superseded;
use crate::failure::StepFailure;
use crate::inventory::GrantKey;
use crate::plan::{Assessed, Note};
use crate::step::StepId;

/// What came of planning one cluster.
#[derive(Debug)]
pub(crate) enum Planned {
    /// A plan, which may be blocked.
    Plan(Arc<Assessed>),
    /// The cluster could not be read.
    Failed {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        failure: Box<StepFailure>,
    },
    /// It was not started.
    NotStarted(NotStarted),
}

impl Planned {
    /// Says that a cluster could not be planned.
    pub(crate) fn failed(doing: &'static str, failure: StepFailure) -> Self {
        Self::Failed { doing, failure: Box::new(failure) }
    }
}

/// When the work on a cluster began and ended; nothing of what did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Span {
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// Why a cluster was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NotStarted {
    /// The run was interrupted.
    Interrupted,
    /// The user declined.
    Declined,
    /// More clusters of its wave failed than may.
    Budget,
    /// An earlier wave ended the rollout.
    Wave,
    /// More would be pruned than may be, anywhere.
    PruneCeiling,
}

impl NotStarted {
    /// Returns the reason as reports show it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "the run was interrupted",
            Self::Declined => "you declined",
            Self::Budget => "more clusters of its wave failed than may",
            Self::Wave => "an earlier wave ended the rollout",
            Self::PruneCeiling => "more would be pruned than `--max-prune` allows",
        }
    }
}

/// A credential that this run put into the outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// The grant.
    pub grant: GrantKey,
    /// What is known about it.
    pub facts: CredentialFacts,
    /// Whether this run minted it.
    pub minted: bool,
    /// Its identifier in the audit logs of API servers.
    pub jti: Option<String>,
    /// What it supersedes, if this run minted it.
    pub superseded: Vec<Superseded>,
}

/// What came of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The steps that were done, in their order.
    pub done: Vec<StepId>,
    /// The credentials that are now in the outputs.
    pub published: Vec<Published>,
    /// What came up on the way.
    pub notes: Vec<Note>,
    /// The grants whose renewal was left to another run.
    pub overtaken: Vec<GrantKey>,
    /// The step that failed, if one did.
    pub failure: Option<StepFailed>,
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It was carried out, as far as this tells.
    Out(Box<Applied>),
    /// It was not begun.
    NotStarted(NotStarted),
}

impl Applied {
    /// Returns what came of a cluster on which there was nothing to do.
    pub(crate) fn nothing() -> Self {
        Self { done: vec![], published: vec![], notes: vec![], overtaken: vec![], failure: None }
    }
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepFailed {
    /// Its number, from 1; 0 before the first.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What was being done.
    pub doing: String,
    /// Why it failed.
    pub failure: StepFailure,
}
