//! What changes in clusters, or changed.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

mod build;

pub(super) use build::GENERATIONS;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Common;
use crate::credential::MintReason;
use crate::failure::FailureKind;
use crate::field_diff::FieldDiff;
use crate::names::{ClusterName, ProfileName, WaveName};
use crate::object::{Kind, ObjectRef};
use crate::outcome::{NotStarted, Span};
use crate::plan::{Blocker, MissingRights, Note};
use crate::report::waves::WaveReport;
use crate::risk::Risk;
use crate::step::{Action, StepId};
use crate::wording::count;

/// What changes, or changed: the body of the reports of `plan`, `apply`, `refresh`, `revoke` and
/// `retire`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Changes {
    /// The clusters counted by state.
    pub summary: Summary,
    /// The credentials counted by their result; only in reports of `refresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialSummary>,
    /// The waves of the rollout, in their order; absent if the inventory has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<WaveReport>,
    /// The clusters, in the order of the inventory.
    pub clusters: Vec<ClusterReport>,
}

impl Changes {
    /// Counts the states of the clusters.
    pub(crate) fn new(clusters: Vec<ClusterReport>) -> Self {
        let mut summary = Summary { clusters: clusters.len(), ..Summary::default() };
        for cluster in &clusters {
            let counter = match cluster.state {
                State::Unchanged => &mut summary.unchanged,
                State::Pending => &mut summary.pending,
                State::Changed => &mut summary.changed,
                State::Blocked => &mut summary.blocked,
                State::Failed => &mut summary.failed,
                State::NotStarted => &mut summary.not_started,
            };
            *counter += 1;
        }
        Self { summary, credentials: None, waves: vec![], clusters }
    }
}

/// The clusters counted by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Summary {
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

/// The credentials of a refresh, counted by their result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CredentialSummary {
    /// They were current already, or another run renews them.
    pub current: usize,
    /// This run renewed them.
    pub renewed: usize,
    /// They are due; only with `--check`.
    pub due: usize,
    /// They could not be renewed, or their state is unknown.
    pub failed: usize,
    /// A revocation suspended them.
    pub suspended: usize,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
}

impl CredentialSummary {
    /// Adds those of another cluster, or of another part of the fleet.
    pub(crate) fn and(self, other: Self) -> Self {
        let next_due = [self.next_due, other.next_due].into_iter().flatten().min();
        Self {
            current: self.current + other.current,
            renewed: self.renewed + other.renewed,
            due: self.due + other.due,
            failed: self.failed + other.failed,
            suspended: self.suspended + other.suspended,
            next_due,
        }
    }
}

/// One cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterReport {
    /// Its name.
    pub name: ClusterName,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The wave that it is in; absent if the inventory has no waves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<WaveName>,
    /// When it was last worked on.
    #[serde(flatten)]
    pub span: Span,
    /// The uid of its namespace kube-system, which identifies it; absent if it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    /// The profiles on it that the run was about.
    pub profiles: Vec<ProfileName>,
    /// Its state.
    pub state: State,
    /// What would change, or changed.
    pub changes: Vec<Arc<Change>>,
    /// The credentials of its grants that are known.
    pub credentials: Vec<CredentialReport>,
    /// What stops it.
    pub blockers: Vec<Blocker>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// Rights that the admin lacks and would have to hold before it may grant them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_rights: Vec<MissingRights>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// Why it was not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_started: Option<NotStarted>,
}

impl ClusterReport {
    /// Takes what other clusters have too from `common`.
    #[must_use]
    pub(crate) fn sharing(mut self, common: &mut Common<Change>) -> Self {
        // What goes to files or Secrets is each cluster's own.
        let may_be_common = |change: &&mut Arc<Change>| change.files.is_empty() && change.secrets.is_empty();
        self.changes.iter_mut().filter(may_be_common).for_each(|change| common.share(change));
        self
    }

    /// Keeps what is said beside what changes, so that the next report does not say it again; nothing if there is nothing.
    pub(crate) fn into_remarks(self) -> Option<Self> {
        let Self { blockers, notes, error, not_started, .. } = &self;
        let is_any = !blockers.is_empty() || !notes.is_empty() || error.is_some() || not_started.is_some();
        is_any.then(|| Self { changes: vec![], credentials: vec![], missing_rights: vec![], ..self })
    }
}

/// The state of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
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

impl State {
    /// Returns the state as tables show it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "up to date",
            Self::Pending => "to change",
            Self::Changed => "changed",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::NotStarted => "not started",
        }
    }
}

/// What is done to one object or credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Change {
    /// Identifies it among the changes of its cluster.
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
    /// Why a credential is minted, or entries are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
    /// The field managers whose values are replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrules: Vec<String>,
    /// The previous owner of the object, if it is adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<String>,
    /// The files that a credential goes to, or that entries are removed from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The Secrets that a credential goes to, or that are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What it does to the access of somebody; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Arc<Risk>>,
    /// Whether it was done; absent in a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<bool>,
}

/// A credential in the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CredentialReport {
    /// The profile.
    pub profile: ProfileName,
    /// The generation.
    pub generation: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// When it is due for renewal, if that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Whether this run minted it.
    pub minted: bool,
}

/// Why a cluster failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ErrorReport {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What is shown of a cluster besides its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClusterSaid<'a> {
    pub(super) state: State,
    pub(super) changes: Vec<ChangeSaid<'a>>,
    pub(super) blockers: &'a [Blocker],
    pub(super) error: Option<&'a ErrorReport>,
    pub(super) notes: &'a [Note],
}

/// What is shown of a change. Files and Secrets are only counted, because each cluster may have its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangeSaid<'a> {
    pub(super) action: Action,
    /// The object or credential that it changes.
    pub(super) subject: String,
    pub(super) generation: Option<u64>,
    pub(super) reason: Option<&'a str>,
    pub(super) files: usize,
    pub(super) secrets: usize,
    pub(super) fields: &'a [FieldDiff],
    pub(super) overrules: &'a [String],
    pub(super) adopted_from: Option<&'a str>,
    pub(super) done: Option<bool>,
}

impl ChangeSaid<'_> {
    /// Returns the details that stand in brackets after a change; nothing if there are none.
    pub(super) fn details(&self) -> String {
        let generation = self.generation.map(|generation| format!("generation {generation}"));
        let files = (self.files > 0).then(|| count(self.files, "file"));
        let secrets = (self.secrets > 0).then(|| count(self.secrets, "Secret"));
        let details = [generation, self.reason.map(str::to_owned), files, secrets];
        let details: Vec<String> = details.into_iter().flatten().collect();
        if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) }
    }
}

impl ClusterSaid<'_> {
    /// Whether there is nothing to show.
    pub(super) fn is_nothing(&self) -> bool {
        let says_something =
            !self.changes.is_empty() || !self.blockers.is_empty() || !self.notes.is_empty() || self.error.is_some();
        !says_something && matches!(self.state, State::Unchanged | State::NotStarted)
    }
}

impl ClusterReport {
    /// Returns what is shown of it.
    pub(super) fn said(&self) -> ClusterSaid<'_> {
        let Self { state, changes, blockers, error, notes, .. } = self;
        let changes = changes.iter().map(|change| change.said()).collect();
        ClusterSaid { state: *state, changes, blockers, error: error.as_ref(), notes }
    }

    /// Returns why it failed or was not done; nothing if it was.
    pub(super) fn why_not(&self) -> Option<String> {
        match (self.state, &self.error, self.blockers.as_slice()) {
            (State::Unchanged | State::Pending | State::Changed, ..) => None,
            (_, Some(error), _) => Some(format!("{}: {}", error.place(), error.cause)),
            (_, None, []) => Some(match self.not_started {
                Some(why) => format!("not started, because {}", why.as_str()),
                None => "not started".to_owned(),
            }),
            (_, None, [blocker]) => Some(format!("blocked: {}", blocker.message)),
            (_, None, [blocker, others @ ..]) => {
                Some(format!("blocked: {} (and {} more)", blocker.message, others.len()))
            }
        }
    }

    /// Returns the hint for the same reason that `why_not` gives: another reason's hint would mislead.
    pub(super) fn hint(&self) -> Option<&str> {
        match &self.error {
            Some(error) => error.hint.as_deref(),
            None => self.blockers.first()?.hint.as_deref(),
        }
    }
}

impl ErrorReport {
    /// Returns what was being done, with the number of the step.
    pub(super) fn place(&self) -> String {
        if self.step == 0 {
            self.doing.clone()
        } else {
            format!("step {} of {}, {}", self.step, self.steps, self.doing)
        }
    }
}

impl Change {
    fn said(&self) -> ChangeSaid<'_> {
        ChangeSaid {
            action: self.action,
            subject: self.subject(),
            generation: self.generation,
            reason: self.reason.as_deref(),
            files: self.files.len(),
            secrets: self.secrets.len(),
            fields: &self.fields,
            overrules: &self.overrules,
            adopted_from: self.adopted_from.as_deref(),
            done: self.done,
        }
    }

    fn subject(&self) -> String {
        let object = match (self.kind, &self.name) {
            (Some(kind), Some(name)) => Some(ObjectRef { kind, namespace: self.namespace.clone(), name: name.clone() }),
            _ => None,
        };
        self.action.subject(object.as_ref(), self.profile.as_deref().unwrap_or_default())
    }
}

impl MintReason {
    /// Returns the reason as reports show it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Due => "due",
            Self::PolicyChanged => "policy changed",
            Self::Reissue => "reissue",
            Self::Lost => "lost",
            Self::AccountRecreated => "ServiceAccount recreated",
            Self::Refused => "no longer accepted",
            Self::WrongSubject => "wrong subject",
            Self::Forced => "forced",
        }
    }
}
