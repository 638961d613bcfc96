//! A verification as text: a table, then what is not as intended, the same on many clusters once.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table};

use super::{BindingReport, GrantReport, RightGroup, VerifiedClusterReport, VerifyReport, VerifyState, VerifySummary};
use crate::foreign::shown;
use crate::report::Failures;
use crate::wording::{count, duration};

const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Clusters that a heading names before the rest is counted.
const NAMED: usize = 8;
/// Resources that a line names before the rest is counted.
const LISTED: usize = 8;

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Renders a report.
pub fn verify_text(report: &VerifyReport) -> String {
    let mut out = table(report);
    for (body, clusters) in grouped(report, &body) {
        if !body.is_empty() {
            let _ = write!(out, "\n{}\n{body}", heading(&clusters));
        }
    }
    for (body, clusters) in grouped(report, &baseline) {
        if !body.is_empty() {
            let title = paint(DIM, "what every ServiceAccount may do anyway");
            let _ = write!(out, "\n{title} ({})\n{body}", heading(&clusters));
        }
    }
    let _ = writeln!(out, "\n{}", summary_line(&report.summary));
    out
}

/// Groups clusters by what is said about them, in the order of the first of each group.
fn grouped<'a>(
    report: &'a VerifyReport,
    describe: &dyn Fn(&VerifiedClusterReport) -> String,
) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = vec![];
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    for cluster in &report.clusters {
        let body = describe(cluster);
        let position = *positions.entry(body.clone()).or_insert_with(|| {
            groups.push((body, vec![]));
            groups.len() - 1
        });
        groups[position].1.push(cluster.name.as_str());
    }
    groups
}

fn heading(names: &[&str]) -> String {
    if let [name] = names {
        return paint(BOLD, &shown(name));
    }
    let mut listed = names.iter().take(NAMED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        let _ = write!(listed, " and {} more", names.len() - NAMED);
    }
    format!("{}: {listed}", paint(BOLD, &count(names.len(), "cluster")))
}

fn table(report: &VerifyReport) -> String {
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
                credential(grant, report),
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

fn credential(grant: &GrantReport, report: &VerifyReport) -> String {
    let missing = grant.findings.iter().any(|finding| finding.kind == super::FindingKind::NoCredential);
    let mut words: Vec<String> = grant
        .credentials
        .iter()
        .map(|credential| {
            let (Some(generation), Some(expires)) = (credential.generation, credential.expires) else {
                return format!("exec plugin, {}", credential.state);
            };
            let left = Duration::try_from(expires.duration_since(report.started)).unwrap_or_default();
            // Minutes say enough of hours.
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

/// Says what is not as intended, and what is good to know.
fn body(cluster: &VerifiedClusterReport) -> String {
    let mut out = String::new();
    for grant in &cluster.grants {
        let said = grant_body(grant);
        if !said.is_empty() {
            let _ = write!(
                out,
                "  {}: ServiceAccount `{}`\n{said}",
                shown(grant.profile.as_str()),
                shown(&grant.service_account)
            );
        }
    }
    if let Some(error) = &cluster.error {
        let _ = writeln!(out, "  {} {}: {}", paint(RED, "failed:"), error.doing, shown(&error.cause));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    out
}

fn grant_body(grant: &GrantReport) -> String {
    let mut out = String::new();
    for (position, finding) in grant.findings.iter().enumerate() {
        let _ = writeln!(out, "    {} {}", paint(RED, "finding:"), shown(&finding.message));
        let next = grant.findings.get(position + 1);
        // One hint after several findings that have it.
        if let Some(hint) = finding.hint.as_ref().filter(|_| next.is_none_or(|next| next.hint != finding.hint)) {
            let _ = writeln!(out, "      hint: {}", shown(hint));
        }
    }
    let beyond = format!("      {} ", paint(YELLOW, "+"));
    for excess in grant.excess.iter().flatten() {
        let _ = writeln!(out, "    {} {}", paint(YELLOW, "beyond the profile:"), shown(&binding(excess)));
        lines(&mut out, &beyond, &excess.rights);
    }
    for added in grant.everyone.iter().filter(|everyone| everyone.default == Some(false)) {
        let title = paint(YELLOW, "every ServiceAccount may, beyond Kubernetes' defaults:");
        let _ = writeln!(out, "    {title} {}", shown(&binding(added)));
        lines(&mut out, &beyond, &added.rights);
    }
    for note in &grant.notes {
        let _ = writeln!(out, "    {} {}", paint(DIM, "note:"), shown(&note.message));
    }
    out
}

fn binding(report: &BindingReport) -> String {
    let place = match &report.namespace {
        Some(namespace) => format!("in namespace `{namespace}`"),
        None => "in the whole cluster".to_owned(),
    };
    let group = report.group.as_ref().map(|group| format!(" to group `{group}`")).unwrap_or_default();
    format!("{} grants {} `{}`{group} {place}", report.binding, report.role_kind, report.role)
}

/// Lists rights, those with the same verbs in one line.
fn lines(out: &mut String, before: &str, rights: &[RightGroup]) {
    let mut by_verbs: BTreeMap<&[String], Vec<String>> = BTreeMap::new();
    for group in rights {
        by_verbs.entry(&group.verbs).or_default().push(group.target());
    }
    for (verbs, targets) in by_verbs {
        let mut listed = targets.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        if targets.len() > LISTED {
            let _ = write!(listed, " and {} more", targets.len() - LISTED);
        }
        let _ = writeln!(out, "{before}{} on {}", shown(&verbs.join(", ")), shown(&listed));
    }
}

fn baseline(cluster: &VerifiedClusterReport) -> String {
    let Some(grant) = cluster.grants.first() else { return String::new() };
    let defaults: Vec<&BindingReport> =
        grant.everyone.iter().filter(|everyone| everyone.default == Some(true)).collect();
    let mut rights: Vec<RightGroup> = defaults.iter().flat_map(|everyone| everyone.rights.clone()).collect();
    rights.sort();
    rights.dedup();
    let mut out = String::new();
    lines(&mut out, "  ", &rights);
    out
}

/// Returns the line that counts, as in `25 clusters: 24 fine, 1 with excess`.
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

/// Returns what to print about the clusters that could not be looked at; nothing if all could.
///
/// `arguments` are what the command was given beside the selection of clusters. If the reader has the report before
/// them, `is_seen`, its reasons are not said again.
pub fn verify_failures(report: &VerifyReport, arguments: &[String], is_seen: bool) -> Option<Failures> {
    /// Failed clusters that are listed; a report has them all.
    const MOST: usize = 20;
    let is_sick = |cluster: &&VerifiedClusterReport| cluster.state >= VerifyState::Failed;
    let sick: Vec<&VerifiedClusterReport> = report.clusters.iter().filter(is_sick).collect();
    if sick.is_empty() {
        return None;
    }
    let VerifySummary { clusters, failed, not_started, .. } = report.summary;
    let kinds = [(failed, "failed"), (not_started, "not started")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let width = sick.iter().take(MOST).map(|cluster| shown(cluster.name.as_str()).chars().count()).max().unwrap_or(0);
    let mut lines = vec![];
    for cluster in sick.iter().take(MOST).filter(|cluster| !is_seen || cluster.error.is_none()) {
        let name = shown(cluster.name.as_str());
        match &cluster.error {
            Some(error) => {
                lines.push(format!("  {name:width$}  {}: {}", error.doing, shown(&error.cause)));
                lines.extend(error.hint.iter().map(|hint| format!("  {:width$}    {}", "", shown(hint))));
            }
            None => lines.push(format!("  {name:width$}  not started")),
        }
    }
    if sick.len() > MOST && !is_seen {
        lines.push(format!("  … and {} more; `-o json` lists them all", sick.len() - MOST));
    }
    let looked_at = clusters - sick.len();
    if looked_at > 0 {
        lines.push(format!("{} could be verified", count(looked_at, "cluster")));
    }
    let names: Vec<&str> = sick.iter().map(|cluster| cluster.name.as_str()).collect();
    let hint = (sick.len() <= MOST).then(|| format!("run `{}`", crate::wording::kubemint("verify", arguments, &names)));
    Some(Failures { message: format!("{} of {}", kinds.join(", "), count(clusters, "cluster")), lines, hint })
}
