//! The head of every report.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Changes, Status, Verification};
use crate::names::{ClusterName, Holder, InventoryName};

/// The version of the model.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Returns whether a file is a report in JSON that kubemint wrote.
pub(crate) fn is_json_report(content: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "schema_version")]
        _schema_version: u32,
        #[serde(rename = "kubemint")]
        _kubemint: String,
        #[serde(rename = "command")]
        _command: String,
    }
    serde_json::from_slice::<Known>(content).is_ok()
}

/// What a command found or did.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Report {
    /// The fields of every report.
    #[serde(flatten)]
    pub head: Head,
    /// The fields of this kind of report.
    #[serde(flatten)]
    pub body: Body,
}

/// The fields of every report.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Head {
    /// The version of this model. It changes if a field changes its meaning or goes away.
    #[schemars(range(min = 1, max = 1))]
    pub schema_version: u32,
    /// The version of kubemint.
    pub kubemint: String,
    /// The command.
    pub command: Command,
    /// When the run began.
    pub started: Timestamp,
    /// The run's identifier, as in indices and on anchors; absent if the command writes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The inventory.
    pub inventory: InventoryName,
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which part of the fleet it is about; absent if it is about all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardReport>,
    /// The sources of clusters that did not answer, or of which something was left out: clusters may be missing here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub undiscovered: BTreeSet<String>,
}

/// A part of a fleet that one of several runs was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ShardReport {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
    /// The digest of the inventory: parts of different inventories do not belong together.
    pub inventory_digest: String,
    /// The digest of what was chosen on the command line: parts of different choices do not belong together.
    pub selection_digest: String,
    /// What only the parts of one run have in common, as `KUBEMINT_JOB` says it: a Job's uid, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Where each of its clusters stands among all that were selected, from 0.
    pub positions: BTreeMap<ClusterName, usize>,
}

/// What a report is about.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Body {
    /// The body for `plan`, `apply`, `refresh`, `revoke` and `retire`.
    Changes(Changes),
    /// The body for `status`.
    Status(Status),
    /// The body for `verify`.
    Verification(Verification),
}

/// The command that made a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// `kubemint plan`
    Plan,
    /// `kubemint apply`
    Apply,
    /// `kubemint refresh`
    Refresh,
    /// `kubemint revoke`
    Revoke,
    /// `kubemint retire`
    Retire,
    /// `kubemint status`
    Status,
    /// `kubemint verify`
    Verify,
}

impl Command {
    /// Returns the command as it is typed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
            Self::Retire => "retire",
            Self::Status => "status",
            Self::Verify => "verify",
        }
    }
}

impl Head {
    /// Returns the head of a report of a run that began at `started`.
    pub(crate) fn new(command: Command, started: Timestamp, inventory: &InventoryName, holder: &Holder) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            kubemint: env!("CARGO_PKG_VERSION").to_owned(),
            command,
            started,
            run: None,
            inventory: inventory.clone(),
            holder: holder.clone(),
            shard: None,
            undiscovered: BTreeSet::new(),
        }
    }

    /// Returns the sentence that says which clusters may be missing in the report, if some may. `quoted` writes the name of a
    /// source.
    pub(crate) fn missing(&self, quoted: impl Fn(&str) -> String) -> Option<String> {
        /// How many sources are named.
        const NAMED: usize = 5;
        let (names, known) = (self.undiscovered.iter(), self.undiscovered.len());
        let mut names: Vec<String> = names.take(NAMED).map(|name| quoted(name)).collect();
        names.extend(known.checked_sub(NAMED).filter(|more| *more > 0).map(|more| format!("{more} more")));
        let names = names.join(", ");
        (known > 0).then(|| format!("not all clusters of discovery {names} are known, so some may be missing here"))
    }
}

impl Report {
    /// Puts a report together.
    pub(crate) fn new(head: Head, body: impl Into<Body>) -> Self {
        Self { head, body: body.into() }
    }
}

impl From<Changes> for Body {
    fn from(changes: Changes) -> Self {
        Self::Changes(changes)
    }
}

impl From<Status> for Body {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Verification> for Body {
    fn from(verification: Verification) -> Self {
        Self::Verification(verification)
    }
}
