//! What came of verifying a cluster: a failure is a value here and nothing else.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::AccessReview;
use crate::failure::StepFailure;
use crate::field_diff::FieldDiff;
use crate::inventory::Grant;

/// What came of verifying one cluster.
#[derive(Debug, Clone)]
pub(crate) enum Verified {
    /// It was looked at.
    Done(Vec<VerifiedGrant>),
    /// It could not be looked at, or not wholly.
    Failed {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        failure: StepFailure,
        /// The grants that were looked at before.
        grants: Vec<VerifiedGrant>,
    },
    /// The run was interrupted.
    NotStarted,
}

impl Verified {
    /// Returns the grants that were looked at.
    pub(crate) fn grants_mut(&mut self) -> impl Iterator<Item = &mut VerifiedGrant> {
        let grants = match self {
            Self::Done(grants) | Self::Failed { grants, .. } => &mut grants[..],
            Self::NotStarted => &mut [],
        };
        grants.iter_mut()
    }
}

/// What came of verifying one grant.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedGrant {
    /// The grant.
    pub grant: Arc<Grant>,
    /// The distinct credentials in its outputs.
    pub credentials: Vec<VerifiedCredential>,
    /// The outputs that should hold one and do not: the file, and why.
    pub missing: Vec<(String, StepFailure)>,
    /// The outputs whose entries are not as kubemint writes them: the file, and what differs.
    pub altered: Vec<(String, Vec<FieldDiff>)>,
    /// What it may do, against what it should.
    pub access: Arc<AccessReview>,
    /// Whether the bindings could be read, so that excess is known.
    pub is_excess_known: bool,
}

/// What came of using one credential.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedCredential {
    /// Its generation and when it expires; nothing of what an exec plugin gives.
    pub token: Option<(u64, Timestamp)>,
    /// The files that hold it.
    pub files: Vec<String>,
    /// How it is.
    pub state: CredentialState,
}

/// How a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CredentialState {
    /// The API server takes it for whom it should be.
    Works,
    /// The API server refuses it.
    Dead {
        /// In one word or two, for tables.
        word: &'static str,
        /// Why.
        cause: String,
    },
    /// It is somebody else's.
    OtherIdentity(String),
    /// What stands beside it in the file cannot be used, the CA for example.
    Unusable(String),
    /// The endpoint in the file did not answer.
    Unreachable(StepFailure),
}
