//! How the credentials of a fleet stand, the most urgent first.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::FailureKind;
use crate::names::{ClusterName, ProfileName};
use crate::plan::CredentialState;

/// How the credentials of a fleet stand: the body of the report of `status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Status {
    /// Whether only the output files were looked at.
    pub offline: bool,
    /// The grants, the most urgent first.
    pub grants: Vec<GrantStatus>,
    /// Tokens that never expire, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_tokens: Option<Vec<LegacyTokenStatus>>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// How the credential of one grant stands.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GrantStatus {
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile.
    pub profile: ProfileName,
    /// The labels of the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The state.
    pub state: CredentialState,
    /// When the grant begins, if it has not always held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_starts: Option<Timestamp>,
    /// When the grant ends, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_expires: Option<Timestamp>,
    /// Details beyond the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The newest generation that was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The lifetime that was requested, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_seconds: Option<u64>,
    /// The lifetime that the API server gave instead, in seconds, if it is shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamped_seconds: Option<u64>,
    /// When it is due for renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Older generations that still live.
    pub superseded: Vec<u64>,
    /// Other holders with living generations, and how many.
    pub other_holders: Vec<(String, usize)>,
    /// Whether objects in the cluster differ from the inventory.
    pub drift: Drifted,
    /// What an apply would do about these objects.
    pub drifted: Vec<String>,
    /// What the outputs hold.
    pub outputs: Vec<OutputStatus>,
    /// The namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: String,
    /// Why the cluster could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What kind of failure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<FailureKind>,
}

/// Whether objects differ from the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Drifted {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// It was not or could not be checked.
    Unknown,
}

/// What one output holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OutputStatus {
    /// The file.
    pub path: String,
    /// What it holds.
    pub holds: Holds,
    /// The generation that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Holds {
    /// The newest generation that was published.
    Newest,
    /// Another generation.
    Another,
    /// Another holder's credential.
    AnotherHolders,
    /// Entries of ours that somebody altered.
    Altered,
    /// No credential of the grant.
    Nothing,
    /// The entries of an exec plugin.
    Plugin,
    /// Entries that are not kubemint's.
    Foreign,
}

/// A token that never expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LegacyTokenStatus {
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile whose ServiceAccount it is for.
    pub profile: ProfileName,
    /// The namespace of the Secret.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The day of its last use; absent if the API server has recorded none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Since when it is refused, because it was not used for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_since: Option<String>,
}

impl Status {
    /// Sorts the grants by urgency.
    pub(crate) fn new(
        offline: bool,
        mut grants: Vec<GrantStatus>,
        legacy_tokens: Option<Vec<LegacyTokenStatus>>,
        notes: Vec<String>,
    ) -> Self {
        // Equally urgent grants stay in the order of the inventory.
        grants.sort_by_key(|grant| {
            let is_worse = grant.drift != Drifted::Yes || !grant.state.is_fine();
            (grant.state.is_fine() && is_worse, grant.state, grant.expires.unwrap_or(Timestamp::MAX))
        });
        Self { offline, grants, legacy_tokens, notes }
    }

    /// Whether something has to be done: a credential is not current everywhere, or there is drift.
    pub(crate) fn has_findings(&self) -> bool {
        self.grants.iter().any(GrantStatus::needs_somebody)
    }
}

impl GrantStatus {
    /// Whether something has to be done about it.
    pub(crate) fn needs_somebody(&self) -> bool {
        let is_left = |output: &OutputStatus| !matches!(output.holds, Holds::Nothing | Holds::Foreign);
        let is_over = self.state == CredentialState::Ended && self.outputs.iter().any(is_left);
        is_over || !self.state.is_fine() || self.drift == Drifted::Yes
    }
}
