//! The result model.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use jiff::Timestamp;
use serde::Serialize;

use crate::credential::MintReason;
use crate::diff::FieldDiff;
use crate::failure::FailureKind;
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};
use crate::object::Kind;
use crate::plan::{Blocker, Note};
use crate::step::StepId;

/// The version of the model.
pub const SCHEMA_VERSION: u32 = 1;

/// What a command found or did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this model.
    pub schema_version: u32,
    /// The version of kubemint.
    pub kubemint: &'static str,
    /// The command.
    pub command: Command,
    /// When the run began.
    pub started: Timestamp,
    /// The run's identifier, as it stands in indices and on anchors; absent where nothing is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The inventory.
    pub inventory: InventoryName,
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// The clusters counted by state.
    pub summary: Summary,
    /// The credentials counted by what came of them; of `refresh` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialSummary>,
    /// The clusters, in the order of the inventory.
    pub clusters: Vec<ClusterReport>,
}

/// The command that a report is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// `kubemint plan`
    Plan,
    /// `kubemint apply`
    Apply,
    /// `kubemint refresh`
    Refresh,
    /// `kubemint revoke`
    Revoke,
}

/// The clusters counted by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// All selected clusters.
    pub clusters: usize,
    /// Clusters that match the inventory.
    pub unchanged: usize,
    /// Clusters that a plan would change.
    pub pending: usize,
    /// Clusters that this run changed.
    pub changed: usize,
    /// Clusters that are blocked.
    pub blocked: usize,
    /// Clusters that failed.
    pub failed: usize,
    /// Clusters that were not started, because the run was interrupted or declined.
    pub not_started: usize,
}

/// The credentials of a refresh, counted by what came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialSummary {
    /// They were current already, or another run renews them.
    pub current: usize,
    /// This run renewed them.
    pub renewed: usize,
    /// They are due; of `--check` only.
    pub due: usize,
    /// They could not be renewed, or nothing is known about them.
    pub failed: usize,
    /// A revocation suspended them.
    pub suspended: usize,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
}

/// One cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterReport {
    /// Its name.
    pub name: ClusterName,
    /// How it is.
    pub state: State,
    /// What would change, or changed.
    pub changes: Vec<Change>,
    /// The credentials of its grants, as far as they are known.
    pub credentials: Vec<CredentialReport>,
    /// What stops it.
    pub blockers: Vec<Blocker>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

/// How a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It matches the inventory.
    Unchanged,
    /// A plan would change it.
    Pending,
    /// This run changed it.
    Changed,
    /// It is blocked, and nothing was written to it.
    Blocked,
    /// Something failed.
    Failed,
    /// It was not started.
    NotStarted,
}

/// What is done to one object or credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Names it among the changes of its cluster.
    pub id: StepId,
    /// What is done.
    pub action: Action,
    /// The kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The profile whose credential it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The generation that is minted or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why a credential is minted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
    /// The field managers whose values are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrules: Vec<String>,
    /// Whose the object was, if it is adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<String>,
    /// The files that a credential goes to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Whether it was done; absent in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An object is created.
    Create,
    /// An object is made right.
    Update,
    /// An object of somebody else's is taken over.
    Adopt,
    /// An object of ours is deleted.
    Delete,
    /// A credential is minted and written to the outputs.
    Mint,
    /// A living credential is written to outputs that lack it.
    Write,
    /// The standing anchor of exec plugins is created.
    Anchor,
    /// Entries of exec plugins, which hold no credential, are written.
    Link,
    /// Generations that nobody needs any more are deleted.
    Retire,
    /// Living generations are revoked.
    Revoke,
    /// A ServiceAccount is deleted and made anew.
    Recreate,
    /// A suspension is lifted.
    Resume,
}

/// A credential in the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialReport {
    /// The profile.
    pub profile: ProfileName,
    /// The generation.
    pub generation: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// When it is due for renewal, where that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Whether this run minted it.
    pub minted: bool,
}

/// Why a cluster failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorReport {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// The number of the step, from 1; 0 before the first.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// What was being done.
    pub doing: String,
    /// Why it failed.
    pub cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl MintReason {
    /// Returns the reason as reports show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Due => "due",
            Self::PolicyChanged => "policy changed",
            Self::Reissue => "reissue",
            Self::AccountRecreated => "ServiceAccount recreated",
            Self::Refused => "no longer accepted",
            Self::WrongSubject => "wrong subject",
            Self::Forced => "forced",
        }
    }
}
