//! What `status` says: one row for each grant, the most urgent first.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::SCHEMA_VERSION;
use crate::failure::FailureKind;
use crate::foreign::shown;
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};
use crate::plan::CredentialState;
use crate::wording::{compact, count};

/// How the credentials of a fleet stand.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// The version of this model.
    pub schema_version: u32,
    /// The version of kubemint.
    pub kubemint: &'static str,
    /// Always `status`.
    pub command: &'static str,
    /// When the run began.
    pub started: Timestamp,
    /// The inventory.
    pub inventory: InventoryName,
    /// Who keeps the chain of generations.
    pub holder: Holder,
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
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantStatus {
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile.
    pub profile: ProfileName,
    /// The state.
    pub state: CredentialState,
    /// What the state does not say.
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
    /// What an apply would do about that.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drifted {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// Nobody looked, or nobody could.
    Unknown,
}

/// What one output holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputStatus {
    /// The file.
    pub path: String,
    /// What it holds.
    pub holds: Holds,
    /// The generation that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// The newest generation that was published.
    Newest,
    /// Another generation.
    Another,
    /// Another holder's credential.
    AnotherHolders,
    /// Entries that are not as kubemint writes them.
    Altered,
    /// No credential of the grant.
    Nothing,
    /// The entries of an exec plugin.
    Plugin,
    /// Something that is not kubemint's.
    Foreign,
}

/// A token that never expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LegacyTokenStatus {
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
    /// The day on which it was last used; absent where the API server has noted none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Since when it is refused, because it was not used for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_since: Option<String>,
}

impl StatusReport {
    /// Puts a report together, the most urgent grants first.
    pub fn new(
        started: Timestamp,
        (inventory, holder): (InventoryName, Holder),
        offline: bool,
        mut grants: Vec<GrantStatus>,
        legacy_tokens: Option<Vec<LegacyTokenStatus>>,
        notes: Vec<String>,
    ) -> Self {
        // The order of the inventory among those that are equally urgent.
        grants.sort_by_key(|grant| {
            let is_worse = grant.drift != Drifted::Yes || !grant.state.is_fine();
            (grant.state.is_fine() && is_worse, grant.state, grant.expires.unwrap_or(Timestamp::MAX))
        });
        Self {
            schema_version: SCHEMA_VERSION,
            kubemint: env!("CARGO_PKG_VERSION"),
            command: "status",
            started,
            inventory,
            holder,
            offline,
            grants,
            legacy_tokens,
            notes,
        }
    }

    /// Whether something has to be done: a credential that is not current everywhere, or drift.
    pub fn has_findings(&self) -> bool {
        self.grants.iter().any(|grant| !grant.state.is_fine() || grant.drift == Drifted::Yes)
    }
}

impl GrantStatus {
    /// Returns what there is to say beside the columns.
    fn remarks(&self) -> String {
        let mut remarks: Vec<String> = self.detail.iter().chain(&self.error).cloned().collect();
        if let (Some(actual), Some(requested)) = (self.clamped_seconds, self.requested_seconds) {
            let show = |seconds| compact(Duration::from_secs(seconds));
            remarks.push(format!("clamped from {} to {}", show(requested), show(actual)));
        }
        let others = self.other_holders.iter().map(|(holder, living)| format!("`{holder}` has {living} more"));
        remarks.extend(others);
        remarks.join("; ")
    }

    fn holding(&self) -> String {
        let newest = self.outputs.iter().filter(|output| matches!(output.holds, Holds::Newest | Holds::Plugin)).count();
        let mut text = format!("{newest}/{}", self.outputs.len());
        let mut others: Vec<u64> = self
            .outputs
            .iter()
            .filter(|output| output.holds == Holds::Another)
            .filter_map(|output| output.generation)
            .collect();
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            text.push_str(&format!(" (older: {})", others.join(", ")));
        }
        text
    }
}

/// How much a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// What fits on a terminal.
    Usual,
    /// Everything.
    Wide,
}

/// Renders the report as a table; `now` is the machine's time.
pub fn status_text(report: &StatusReport, width: Width, now: Timestamp) -> String {
    let mut table = table();
    let mut header = vec!["CLUSTER", "PROFILE", "STATE", "GEN", "EXPIRES", "RENEWAL", "OLDER", "DRIFT", "OUTPUTS"];
    if width == Width::Wide {
        header.extend(["ISSUED", "SERVICEACCOUNT", "FILES"]);
    }
    header.push("REMARKS");
    table.set_header(header);
    for grant in &report.grants {
        let superseded: Vec<String> = grant.superseded.iter().map(ToString::to_string).collect();
        let drift = match grant.drift {
            Drifted::Yes => format!("yes ({})", grant.drifted.len()),
            Drifted::No => "no".to_owned(),
            Drifted::Unknown => "unknown".to_owned(),
        };
        let mut row = vec![
            shown(grant.cluster.as_str()).into_owned(),
            shown(grant.profile.as_str()).into_owned(),
            grant.state.as_str().to_owned(),
            or_dash(grant.generation.map(|generation| generation.to_string())),
            or_dash(grant.expires.map(|expires| when(expires, now))),
            or_dash(grant.due.map(|due| when(due, now))),
            or_dash(Some(superseded.join(", ")).filter(|text| !text.is_empty())),
            drift,
            grant.holding(),
        ];
        if width == Width::Wide {
            let paths: Vec<&str> = grant.outputs.iter().map(|output| output.path.as_str()).collect();
            row.extend([
                or_dash(grant.issued.map(|issued| issued.to_string())),
                shown(&format!("{}/{}", grant.namespace, grant.service_account)).into_owned(),
                paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join("\n"),
            ]);
        }
        row.push(shown(&grant.remarks()).into_owned());
        table.add_row(row);
    }
    let mut out = format!("{}\n", trimmed(&table));
    if let Some(tokens) = &report.legacy_tokens {
        legacy_text(&mut out, tokens);
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {}", shown(note));
    }
    let _ = writeln!(out, "{}", summary(report));
    out
}

fn table() -> Table {
    let mut table = Table::new();
    // Cells are not wrapped: a row is a line for grep.
    table.load_style(presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

fn legacy_text(out: &mut String, tokens: &[LegacyTokenStatus]) {
    if tokens.is_empty() {
        out.push_str("\nno tokens that never expire\n");
        return;
    }
    let mut table = table();
    table.set_header(["CLUSTER", "PROFILE", "SECRET THAT NEVER EXPIRES", "CREATED", "LAST USED", "STATE"]);
    for token in tokens {
        let state = match &token.invalid_since {
            Some(since) => format!("refused since {}", shown(since)),
            None => "accepted".to_owned(),
        };
        table.add_row([
            shown(token.cluster.as_str()).into_owned(),
            shown(token.profile.as_str()).into_owned(),
            shown(&format!("{}/{}", token.namespace, token.secret)).into_owned(),
            or_dash(token.created.as_deref().map(|created| shown(created).into_owned())),
            token.last_used.as_deref().map_or("never noted".into(), shown).into_owned(),
            state,
        ]);
    }
    let _ = writeln!(out, "\n{}", trimmed(&table));
    out.push_str(
        "hint: give whoever uses them a kubeconfig of kubemint, wait until LAST USED stays, and delete each with \
         `kubectl delete secret -n NAMESPACE SECRET`\n",
    );
}

fn summary(report: &StatusReport) -> String {
    let mut parts: Vec<String> = vec![];
    for state in CredentialState::ALL {
        let number = report.grants.iter().filter(|grant| grant.state == state).count();
        if number > 0 {
            parts.push(format!("{number} {}", state.as_str()));
        }
    }
    let drifted = report.grants.iter().filter(|grant| grant.drift == Drifted::Yes).count();
    if drifted > 0 {
        parts.push(format!("{drifted} drifted"));
    }
    format!("{}: {}", count(report.grants.len(), "grant"), parts.join(", "))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Returns a time as seen from `now`: `in 3h12m`, `4m ago`.
fn when(time: Timestamp, now: Timestamp) -> String {
    let ahead = time.duration_since(now);
    let length = compact(Duration::try_from(ahead.abs()).unwrap_or_default());
    if ahead.is_negative() { format!("{length} ago") } else { format!("in {length}") }
}
