//! A verification as text: a table, then everything that is not as intended; equal text of many clusters is shown once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;

use super::{DIM, RED, YELLOW, heading, listed, paint};
use crate::foreign::shown;
use crate::rbac::RightGroup;
use crate::report::group::{Group, grouped};
use crate::report::verify::{ClusterSaid, GrantSaid};
use crate::report::{BindingReport, FindingKind, GrantReport, Verification, VerifyState, VerifySummary};
use crate::wording::{count, duration};

/// Renders the report; remaining lifetimes are counted from `started`.
pub(super) fn text(report: &Verification, started: Timestamp) -> String {
    let mut out = table(report, started);
    let said = grouped(report.clusters.iter().map(|cluster| (&cluster.name, cluster.said())));
    for Group { said, clusters } in said.iter().filter(|group| !group.said.is_nothing()) {
        let _ = write!(out, "\n{}\n{}", heading(clusters), body(said));
    }
    let baselines = grouped(report.clusters.iter().map(|cluster| (&cluster.name, cluster.baseline())));
    for Group { said: rights, clusters } in baselines.iter().filter(|group| !group.said.is_empty()) {
        let title = paint(DIM, "what every ServiceAccount may do anyway");
        let _ = writeln!(out, "\n{title} ({})", heading(clusters));
        lines(&mut out, "  ", rights);
    }
    let _ = writeln!(out, "\n{}", summary_line(&report.summary));
    out
}

fn table(report: &Verification, started: Timestamp) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["CLUSTER", "PROFILE", "CREDENTIAL", "INTENDED", "BEYOND", "RESULT"]);
    for cluster in &report.clusters {
        if cluster.grants.is_empty() {
            table.add_row([&shown(cluster.name.as_str()), "-", "-", "-", "-", word(cluster.state)]);
        }
        for grant in &cluster.grants {
            let state = if cluster.state == VerifyState::Failed { VerifyState::Failed } else { grant.state };
            table.add_row([
                shown(cluster.name.as_str()).into_owned(),
                shown(grant.profile.as_str()).into_owned(),
                credential(grant, started),
                rights(grant),
                beyond(grant),
                word(state).to_owned(),
            ]);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn word(state: VerifyState) -> &'static str {
    match state {
        VerifyState::Fine => "fine",
        VerifyState::Excess => "excess",
        VerifyState::Findings => "findings",
        VerifyState::Failed => "failed",
        VerifyState::NotStarted => "not started",
    }
}

fn credential(grant: &GrantReport, started: Timestamp) -> String {
    let missing = grant.findings.iter().any(|finding| finding.kind == FindingKind::NoCredential);
    let mut words: Vec<String> = grant
        .credentials
        .iter()
        .map(|credential| {
            let (Some(generation), Some(expires)) = (credential.generation, credential.expires) else {
                return format!("exec plugin, {}", credential.state);
            };
            let left = Duration::try_from(expires.duration_since(started)).unwrap_or_default();
            // Above an hour, seconds are left out.
            let left = if left.as_secs() > 3600 { Duration::from_secs(left.as_secs() / 60 * 60) } else { left };
            let how = if credential.state == "works" {
                format!("{} left", duration(left))
            } else {
                credential.state.to_owned()
            };
            format!("generation {generation}, {how}")
        })
        .collect();
    if missing {
        words.push("missing".to_owned());
    }
    if words.is_empty() { "-".to_owned() } else { words.join("; ") }
}

fn rights(grant: &GrantReport) -> String {
    let all = grant.rights.allowed + grant.rights.denied + grant.rights.unknown;
    let unknown = if grant.rights.unknown > 0 { format!(", {} unknown", grant.rights.unknown) } else { String::new() };
    format!("{} of {all}{unknown}", grant.rights.allowed)
}

fn beyond(grant: &GrantReport) -> String {
    let added = grant.everyone.iter().filter(|everyone| everyone.default == Some(false)).count();
    match &grant.excess {
        None => "unknown".to_owned(),
        Some(excess) if excess.len() + added == 0 => "nothing".to_owned(),
        Some(excess) => count(excess.len() + added, "binding"),
    }
}

/// Describes what is not as intended, and the notes.
fn body(cluster: &ClusterSaid<'_>) -> String {
    let mut out = String::new();
    for grant in &cluster.grants {
        let (profile, account) = (shown(grant.profile.as_str()), shown(grant.service_account));
        let _ = writeln!(out, "  {profile}: ServiceAccount `{account}`");
        grant_body(&mut out, grant);
    }
    if let Some(error) = cluster.error {
        let _ = writeln!(out, "  {} {}: {}", paint(RED, "failed:"), error.doing, shown(&error.cause));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    out
}

fn grant_body(out: &mut String, grant: &GrantSaid<'_>) {
    for (position, finding) in grant.findings.iter().enumerate() {
        let _ = writeln!(out, "    {} {}", paint(RED, "finding:"), shown(&finding.message));
        let next = grant.findings.get(position + 1);
        // A hint that several findings in a row have is shown after the last of them.
        if let Some(hint) = finding.hint.as_ref().filter(|_| next.is_none_or(|next| next.hint != finding.hint)) {
            let _ = writeln!(out, "      hint: {}", shown(hint));
        }
    }
    let beyond = format!("      {} ", paint(YELLOW, "+"));
    for excess in grant.excess {
        let _ = writeln!(out, "    {} {}", paint(YELLOW, "beyond the profile:"), shown(&binding(excess)));
        lines(out, &beyond, &excess.rights);
    }
    for added in &grant.added {
        let title = paint(YELLOW, "every ServiceAccount may, beyond Kubernetes' defaults:");
        let _ = writeln!(out, "    {title} {}", shown(&binding(added)));
        lines(out, &beyond, &added.rights);
    }
    for note in grant.notes {
        let _ = writeln!(out, "    {} {}", paint(DIM, "note:"), shown(&note.message));
    }
}

fn binding(report: &BindingReport) -> String {
    let place = match &report.namespace {
        Some(namespace) => format!("in namespace `{namespace}`"),
        None => "in the whole cluster".to_owned(),
    };
    let group = report.group.as_ref().map(|group| format!(" to group `{group}`")).unwrap_or_default();
    format!("{} grants {} `{}`{group} {place}", report.binding, report.role_kind, report.role)
}

/// Lists rights, one line for each set of verbs.
fn lines(out: &mut String, before: &str, rights: &[RightGroup]) {
    let mut by_verbs: BTreeMap<&[String], Vec<String>> = BTreeMap::new();
    for group in rights {
        by_verbs.entry(&group.verbs).or_default().push(group.target());
    }
    for (verbs, targets) in by_verbs {
        let _ = writeln!(out, "{before}{} on {}", shown(&verbs.join(", ")), listed(&targets));
    }
}

/// Returns the summary line, as in `25 clusters: 24 fine, 1 with excess`.
fn summary_line(summary: &VerifySummary) -> String {
    let VerifySummary { clusters, fine, excess, findings, failed, not_started } = *summary;
    let parts = [
        (fine, "fine"),
        (excess, "with more than intended"),
        (findings, "with findings"),
        (failed, "failed"),
        (not_started, "not started"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    format!("{}: {}", count(clusters, "cluster"), parts.join(", "))
}
