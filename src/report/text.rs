//! Reports as text: identical changes on many clusters are shown once.
//!
//! Colours are written as ANSI sequences; the printer strips them where they are not wanted. Pure:
//! no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::build::GENERATIONS;
use super::model::{Action, Change, ClusterReport, Command, CredentialSummary, Report, State, Summary};
use crate::foreign::shown;
use crate::plan::Note;
use crate::wording::count;

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Names of clusters that are listed before the rest is counted.
const LISTED: usize = 8;

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Renders a report: groups of clusters with what changes in them, and a line that counts.
pub fn plan_text(report: &Report) -> String {
    let mut out = String::new();
    let mut groups: BTreeMap<(State, String), Vec<&ClusterReport>> = BTreeMap::new();
    for cluster in &report.clusters {
        groups.entry((cluster.state, body(cluster))).or_default().push(cluster);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // The order of the inventory, by the first cluster of each group.
    let position: BTreeMap<&str, usize> =
        report.clusters.iter().enumerate().map(|(at, cluster)| (cluster.name.as_str(), at)).collect();
    groups.sort_by_key(|((state, _), clusters)| (*state, position[clusters[0].name.as_str()]));
    for ((state, body), clusters) in groups {
        if body.is_empty() && matches!(state, State::Unchanged | State::NotStarted) {
            continue;
        }
        let _ = writeln!(out, "{}{}", heading(&clusters), state_suffix(state));
        out.push_str(&body);
        out.push('\n');
    }
    let _ = writeln!(out, "{}", summary_line(report));
    out
}

fn heading(clusters: &[&ClusterReport]) -> String {
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    if let [name] = names.as_slice() {
        return paint(BOLD, &shown(name));
    }
    let mut listed = names.iter().take(LISTED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        let _ = write!(listed, " and {} more", names.len() - LISTED);
    }
    format!("{}: {listed}", paint(BOLD, &count(names.len(), "cluster")))
}

fn state_suffix(state: State) -> String {
    match state {
        State::Blocked => format!(" {}", paint(YELLOW, "blocked")),
        State::Failed => format!(" {}", paint(RED, "failed")),
        State::NotStarted => format!(" {}", paint(YELLOW, "not started")),
        State::Unchanged | State::Pending | State::Changed => String::new(),
    }
}

fn body(cluster: &ClusterReport) -> String {
    let mut out = String::new();
    for change in &cluster.changes {
        write_change(&mut out, change);
    }
    for blocker in &cluster.blockers {
        let _ = writeln!(out, "  {} {}", paint(YELLOW, "blocked:"), shown(&blocker.message));
        if let Some(hint) = &blocker.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    if let Some(error) = &cluster.error {
        let _ = writeln!(out, "  {} {}: {}", paint(RED, "failed:"), shown(&place(error)), shown(&error.cause));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    for note in &cluster.notes {
        let _ = writeln!(out, "  {} {}", paint(DIM, "note:"), shown(&note.message));
    }
    out
}

fn place(error: &super::ErrorReport) -> String {
    if error.step == 0 {
        error.doing.clone()
    } else {
        format!("step {} of {}, {}", error.step, error.steps, error.doing)
    }
}

fn write_change(out: &mut String, change: &Change) {
    let (sign, style, verb) = match change.action {
        Action::Create => ("+", GREEN, "create"),
        Action::Update => ("~", YELLOW, "update"),
        Action::Adopt => ("!", YELLOW, "adopt"),
        Action::Delete => ("-", RED, "delete"),
        Action::Mint => ("*", GREEN, "mint"),
        Action::Write => ("*", YELLOW, "write"),
        Action::Anchor => ("+", GREEN, "create"),
        Action::Link => ("*", YELLOW, "write"),
        Action::Retire => ("-", YELLOW, "retire"),
        Action::Revoke => ("-", RED, "revoke"),
        Action::Recreate => ("!", RED, "recreate"),
        Action::Resume => ("+", GREEN, "resume"),
    };
    let _ = writeln!(out, "  {} {verb} {}{}", paint(style, sign), shown(&subject(change)), suffix(change));
    for field in &change.fields {
        let is_update =
            matches!(change.action, Action::Update | Action::Adopt | Action::Write | Action::Link | Action::Mint);
        let is_named = is_update && field.field != GENERATIONS;
        let name = if is_named { format!("{}: ", field.field) } else { String::new() };
        for line in &field.removed {
            let _ = writeln!(out, "      {}", paint(RED, &shown(&format!("- {name}{line}"))));
        }
        for line in &field.added {
            let _ = writeln!(out, "      {}", paint(GREEN, &shown(&format!("+ {name}{line}"))));
        }
    }
    if !change.overrules.is_empty() {
        let managers: Vec<String> = change.overrules.iter().map(|manager| format!("`{}`", shown(manager))).collect();
        let _ = writeln!(out, "      overrules field manager {}", managers.join(", "));
    }
    if let Some(from) = &change.adopted_from {
        let _ = writeln!(out, "      taken over from {}", shown(from));
    }
}

fn subject(change: &Change) -> String {
    match (change.kind, &change.namespace, &change.name) {
        (Some(kind), Some(namespace), Some(name)) => format!("{kind} `{namespace}/{name}`"),
        (Some(kind), None, Some(name)) => format!("{kind} `{name}`"),
        _ => {
            let profile = change.profile.as_deref().unwrap_or_default();
            match change.action {
                Action::Mint => format!("token for `{profile}`"),
                Action::Retire | Action::Revoke => format!("tokens of `{profile}`"),
                Action::Resume => format!("issuing for `{profile}`"),
                Action::Anchor => format!("anchor of exec plugins for `{profile}`"),
                Action::Link => format!("kubeconfig with an exec plugin for `{profile}`"),
                _ => format!("kubeconfig for `{profile}`"),
            }
        }
    }
}

fn suffix(change: &Change) -> String {
    let mut details = vec![];
    if let Some(generation) = change.generation {
        details.push(format!("generation {generation}"));
    }
    if let Some(reason) = change.reason {
        details.push(reason.to_owned());
    }
    if !change.files.is_empty() {
        details.push(count(change.files.len(), "file"));
    }
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let undone = if change.done == Some(false) { paint(RED, " not done") } else { String::new() };
    format!("{details}{undone}")
}

/// Returns the line that counts, as in `25 clusters: 20 to change, 5 up to date`.
pub fn summary_line(report: &Report) -> String {
    let Summary { clusters, unchanged, pending, changed, blocked, failed, not_started } = report.summary;
    if clusters == unchanged && clusters > 0 {
        let nothing = match report.command {
            Command::Plan => "nothing to do",
            Command::Apply | Command::Refresh => "nothing was left to do",
            Command::Revoke => "nothing was left to revoke",
        };
        let are = if clusters == 1 { "is" } else { "are" };
        return format!("{} {are} up to date, {nothing}", count(clusters, "cluster"));
    }
    let parts = [
        (pending, "to change"),
        (changed, "changed"),
        (unchanged, "up to date"),
        (blocked, "blocked"),
        (failed, "failed"),
        (not_started, "not started"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    format!("{}: {}", count(clusters, "cluster"), parts.join(", "))
}

/// Returns the notes of a report, each once with the clusters that it is about; not those of `seen`, which the reader
/// has before them.
pub fn notes_text(report: &Report, seen: &[ClusterReport]) -> String {
    let seen: BTreeSet<(&str, &Note)> =
        seen.iter().flat_map(|cluster| cluster.notes.iter().map(|note| (cluster.name.as_str(), note))).collect();
    let mut clusters_by_note: BTreeMap<&Note, Vec<&str>> = BTreeMap::new();
    for cluster in &report.clusters {
        for note in cluster.notes.iter().filter(|note| !seen.contains(&(cluster.name.as_str(), *note))) {
            clusters_by_note.entry(note).or_default().push(cluster.name.as_str());
        }
    }
    let mut out = String::new();
    for (note, clusters) in clusters_by_note {
        let listed = clusters.iter().take(LISTED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
        let more = clusters.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "{} {listed}{more}: {}", paint(DIM, "note:"), shown(&note.message));
    }
    out
}

/// Returns the line that a refresh ends with, as in `412 current, 38 renewed, 0 failed, next due in 3h12m`.
///
/// `now` is the machine's time.
pub fn refresh_line(credentials: &CredentialSummary, now: Timestamp) -> String {
    let CredentialSummary { current, renewed, due, failed, suspended, next_due } = *credentials;
    let mut parts = vec![format!("{current} current")];
    parts.push(format!("{renewed} renewed"));
    if due > 0 {
        parts.push(format!("{due} due"));
    }
    parts.push(format!("{failed} failed"));
    if suspended > 0 {
        parts.push(format!("{suspended} suspended"));
    }
    if let Some(next_due) = next_due {
        let wait = Duration::try_from(next_due.duration_since(now)).unwrap_or_default();
        parts.push(format!("next due in {}", crate::wording::compact(wait)));
    }
    parts.join(", ")
}

/// What to print as an error about the clusters that did not make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// What failed.
    pub message: String,
    /// One line for each cluster, with its hints below, and one about the others.
    pub lines: Vec<String>,
    /// The command that runs just the clusters for which that may help.
    pub hint: Option<String>,
}

/// Returns what to print about the clusters that did not make it; nothing if all did.
///
/// `arguments` are what the command was given beside the selection of clusters, so that it can be
/// repeated as it was meant: without the holder, it would act as another. What `seen` says of a cluster is not said
/// again: the reader has it before them.
pub fn failures(report: &Report, arguments: &[String], seen: &[ClusterReport]) -> Option<Failures> {
    /// Failed clusters that are listed; a report has them all.
    const MOST: usize = 20;
    let is_sick =
        |cluster: &&ClusterReport| matches!(cluster.state, State::Failed | State::Blocked | State::NotStarted);
    let sick: Vec<&ClusterReport> = report.clusters.iter().filter(is_sick).collect();
    if sick.is_empty() {
        return None;
    }
    let Summary { clusters, unchanged, changed, pending, failed, blocked, not_started } = report.summary;
    let kinds = [(failed, "failed"), (blocked, "blocked"), (not_started, "not started")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let message = format!("{} of {}", kinds.join(", "), count(clusters, "cluster"));
    let seen: BTreeMap<&str, &ClusterReport> = seen.iter().map(|cluster| (cluster.name.as_str(), cluster)).collect();
    let is_new = |cluster: &&&ClusterReport| {
        seen.get(cluster.name.as_str()).is_none_or(|seen| {
            (seen.state, &seen.error, &seen.blockers) != (cluster.state, &cluster.error, &cluster.blockers)
        })
    };
    let new: Vec<&ClusterReport> = sick.iter().filter(is_new).copied().collect();
    let width = new.iter().take(MOST).map(|cluster| shown(cluster.name.as_str()).chars().count()).max().unwrap_or(0);
    let mut lines = vec![];
    for cluster in new.iter().take(MOST) {
        lines.push(format!("  {:width$}  {}", shown(cluster.name.as_str()), shown(&reason(cluster))));
        lines.extend(hint(cluster).map(|hint| format!("  {:width$}    {}", "", shown(hint))));
    }
    if new.len() > MOST {
        lines.push(format!("  … and {} more; `-o json` lists them all", new.len() - MOST));
    }
    let fine = unchanged + changed;
    match report.command {
        Command::Apply | Command::Refresh if fine == 1 => lines.push("1 cluster is up to date".to_owned()),
        Command::Apply | Command::Refresh if fine > 1 => {
            lines.push(format!("{} are up to date", count(fine, "cluster")));
        }
        Command::Revoke if fine > 0 => lines.push(format!("{} done", count(fine, "cluster"))),
        Command::Plan if fine + pending > 0 => {
            lines.push(format!("{} could be planned", count(fine + pending, "cluster")));
        }
        Command::Apply | Command::Plan | Command::Refresh | Command::Revoke => {}
    }
    // What is blocked is blocked again until somebody does something about it.
    let again: Vec<&str> =
        sick.iter().filter(|cluster| cluster.state != State::Blocked).map(|cluster| cluster.name.as_str()).collect();
    let command = match report.command {
        Command::Plan => "plan",
        Command::Apply => "apply",
        Command::Refresh => "refresh",
        Command::Revoke => "revoke",
    };
    let hint = (!again.is_empty() && again.len() <= MOST)
        .then(|| format!("run `{}`", crate::wording::kubemint(command, arguments, &again)));
    Some(Failures { message, lines, hint })
}

/// Returns what to do about the reason that is shown: a hint about something else would be followed as if it were.
fn hint(cluster: &ClusterReport) -> Option<&str> {
    match &cluster.error {
        Some(error) => error.hint.as_deref(),
        None => cluster.blockers.first()?.hint.as_deref(),
    }
}

fn reason(cluster: &ClusterReport) -> String {
    if let Some(error) = &cluster.error {
        return format!("{}: {}", place(error), error.cause);
    }
    match cluster.blockers.as_slice() {
        [] => "not started".to_owned(),
        [blocker] => format!("blocked: {}", blocker.message),
        [blocker, others @ ..] => {
            format!("blocked: {} (and {} more)", blocker.message, others.len())
        }
    }
}
