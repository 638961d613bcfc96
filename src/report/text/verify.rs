//! A verification as text: a table, then everything that is not as intended; equal text of many clusters is shown once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::fold::{GROUPS, ROWS, by_label, fold};
use super::{DIM, RED, TextOptions, YELLOW, heading, listed, paint, table, trimmed};
use crate::foreign::shown;
use crate::rbac::RightGroup;
use crate::report::group::{Group, grouped};
use crate::report::verify::{ClusterSaid, GrantSaid};
use crate::report::{
    BindingReport, FindingKind, GrantReport, Verification, VerifiedClusterReport, VerifyState, VerifySummary,
};
use crate::wording::{count, duration};

/// One row of the table: a grant, or a cluster of which nothing more is known.
struct Row<'a> {
    cluster: &'a VerifiedClusterReport,
    grant: Option<&'a GrantReport>,
    state: VerifyState,
}

/// Renders the report; remaining lifetimes are counted from `started`. Of a large fleet, the table has what is not fine.
pub(super) fn text(report: &Verification, started: Timestamp, options: TextOptions<'_>) -> String {
    let rows: Vec<Row<'_>> = report.clusters.iter().flat_map(rows).collect();
    let states = rows.iter().map(|row| (&row.cluster.labels, word(row.state)));
    let mut out = by_label(options.group_by, "GRANTS", states);
    let is_folded = rows.len() > options.most(ROWS);
    if is_folded {
        let _ = writeln!(out, "{}\n", summary_line(&report.summary));
    }
    let needy: Vec<&Row<'_>> = rows.iter().filter(|row| !is_folded || row.state != VerifyState::Fine).collect();
    let (listed, folded) = fold(&needy, options.most(ROWS));
    if !listed.is_empty() {
        out.push_str(&grants_table(listed, started));
    }
    if !folded.is_empty() {
        let _ = writeln!(out, "… and {} that are not fine", count(folded.len(), "more grant"));
    }
    let said = grouped(report.clusters.iter().map(|cluster| (&cluster.name, cluster.said())));
    let said: Vec<_> = said.into_iter().filter(|group| !group.said.is_nothing()).collect();
    let (listed, folded) = fold(&said, options.most(GROUPS));
    for Group { said, clusters } in listed {
        let _ = write!(out, "\n{}\n{}", heading(clusters), body(said));
    }
    if !folded.is_empty() {
        let clusters: usize = folded.iter().map(|group| group.clusters.len()).sum();
        let (groups, clusters) = (count(folded.len(), "more group"), count(clusters, "cluster"));
        let _ = writeln!(out, "\n… and {groups} of findings, on {clusters}");
    }
    let baselines = grouped(report.clusters.iter().map(|cluster| (&cluster.name, cluster.baseline())));
    let baselines: Vec<_> = baselines.into_iter().filter(|group| !group.said.is_empty()).collect();
    for Group { said: rights, clusters } in fold(&baselines, options.most(GROUPS)).0 {
        let title = paint(DIM, "what every ServiceAccount may do anyway");
        let _ = writeln!(out, "\n{title} ({})", heading(clusters));
        lines(&mut out, "  ", rights);
    }
    if is_folded {
        out.push_str("\nhint: `--all` shows every grant\n");
    } else {
        let _ = writeln!(out, "\n{}", summary_line(&report.summary));
    }
    out
}

fn rows(cluster: &VerifiedClusterReport) -> Vec<Row<'_>> {
    let row = |grant: &'_ GrantReport| if cluster.state == VerifyState::Failed { cluster.state } else { grant.state };
    let mut rows: Vec<Row<'_>> =
        cluster.grants.iter().map(|grant| Row { cluster, grant: Some(grant), state: row(grant) }).collect();
    if rows.is_empty() {
        rows.push(Row { cluster, grant: None, state: cluster.state });
    }
    rows
}

fn grants_table(rows: &[&Row<'_>], started: Timestamp) -> String {
    let mut table = table();
    table.set_header(["CLUSTER", "PROFILE", "CREDENTIAL", "INTENDED", "BEYOND", "RESULT"]);
    for Row { cluster, grant, state } in rows {
        let name = shown(cluster.name.as_str());
        match grant {
            None => table.add_row([&name, "-", "-", "-", "-", word(*state)]),
            Some(grant) => table.add_row([
                name.into_owned(),
                shown(grant.profile.as_str()).into_owned(),
                credential(grant, started),
                rights(grant),
                beyond(grant),
                word(*state).to_owned(),
            ]),
        };
    }
    trimmed(&table)
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
                credential.state.to_string()
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
