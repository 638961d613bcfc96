//! Changes as text: identical changes on many clusters are shown once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;

use super::fold::{GROUPS, by_label, fold};
use super::risk;
use super::{DIM, GREEN, RED, TextOptions, YELLOW, heading, listed, paint, table, trimmed};
use crate::foreign::shown;
use crate::names::ClusterName;
use crate::plan::Note;
use crate::report::changes::{ChangeSaid, ClusterSaid, GENERATIONS};
use crate::report::group::{Group, grouped};
use crate::report::{Changes, ClusterReport, Command, CredentialSummary, State, Summary};
use crate::step::Action;
use crate::wording::count;

/// Renders the changes: groups of clusters with their changes, and a summary line.
pub(super) fn text(command: Command, changes: &Changes, options: TextOptions<'_>) -> String {
    let states = changes.clusters.iter().map(|cluster| (&cluster.labels, cluster.state.as_str()));
    let mut out = by_label(options.group_by, "CLUSTERS", states);
    let mut groups = grouped(changes.clusters.iter().map(|cluster| (&cluster.name, cluster.said())));
    groups.retain(|group| !group.said.is_nothing());
    groups.sort_by_key(|group| group.said.state);
    // Of each state, so that no number of changes hides what failed.
    for of_state in groups.chunk_by(|one, other| one.said.state == other.said.state) {
        let (shown, folded) = fold(of_state, options.most(GROUPS));
        for Group { said, clusters } in shown {
            let _ = writeln!(out, "{}{}", heading(clusters), state_suffix(said.state));
            out.push_str(&body(said));
            out.push('\n');
        }
        let clusters: usize = folded.iter().map(|group| group.clusters.len()).sum();
        if let Some(first) = folded.first() {
            let (groups, clusters) = (count(folded.len(), "more group"), count(clusters, "cluster"));
            let suffix = state_suffix(first.said.state);
            let _ = writeln!(out, "… and {groups} of changes, on {clusters}{suffix}; {}\n", all_of_it(command));
        }
    }
    out.push_str(&risk::text(command, changes, options));
    if !changes.waves.is_empty() {
        out.push_str(&waves(changes));
    }
    let _ = writeln!(out, "{}", summary_line(command, &changes.summary));
    out
}

fn state_suffix(state: State) -> String {
    match state {
        State::Blocked => format!(" {}", paint(YELLOW, "blocked")),
        State::Failed => format!(" {}", paint(RED, "failed")),
        State::NotStarted => format!(" {}", paint(YELLOW, "not started")),
        State::Unchanged | State::Pending | State::Changed => String::new(),
    }
}

/// Shows the waves, with who is in them.
fn waves(changes: &Changes) -> String {
    let mut table = table();
    table.set_header(["WAVE", "CLUSTERS", ""]);
    for wave in &changes.waves {
        let names: Vec<&str> = changes.names_in(&wave.name).into_iter().map(ClusterName::as_str).collect();
        table.add_row([shown(wave.name.as_str()).into_owned(), listed(&names), shown(&wave.said()).into_owned()]);
    }
    trimmed(&table) + "\n"
}

/// Says how to see everything.
pub(super) fn all_of_it(command: Command) -> &'static str {
    match command {
        Command::Plan | Command::Status | Command::Verify => "`--all` shows them",
        Command::Apply | Command::Refresh | Command::Revoke | Command::Retire => "`-o wide` shows them",
    }
}

fn body(cluster: &ClusterSaid<'_>) -> String {
    let mut out = String::new();
    for change in &cluster.changes {
        write_change(&mut out, change);
    }
    for blocker in cluster.blockers {
        let _ = writeln!(out, "  {} {}", paint(YELLOW, "blocked:"), shown(&blocker.message));
        if let Some(hint) = &blocker.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    if let Some(error) = cluster.error {
        let _ = writeln!(out, "  {} {}: {}", paint(RED, "failed:"), shown(&error.place()), shown(&error.cause));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "    hint: {}", shown(hint));
        }
    }
    for note in cluster.notes {
        let _ = writeln!(out, "  {} {}", paint(DIM, "note:"), shown(&note.message));
    }
    out
}

/// Returns the sign before a change, and its colour.
pub(in crate::report) fn sign(action: Action) -> (&'static str, Style) {
    match action {
        Action::Create | Action::Anchor | Action::Resume => ("+", GREEN),
        Action::Update => ("~", YELLOW),
        Action::Adopt => ("!", YELLOW),
        Action::Delete | Action::Revoke => ("-", RED),
        Action::Retire | Action::Remove => ("-", YELLOW),
        Action::Mint => ("*", GREEN),
        Action::Write | Action::Link => ("*", YELLOW),
        Action::Recreate => ("!", RED),
    }
}

fn write_change(out: &mut String, change: &ChangeSaid<'_>) {
    let (sign, style) = sign(change.action);
    let (sign, verb) = (paint(style, sign), change.action.verb());
    let _ = writeln!(out, "  {sign} {verb} {}{}", shown(&change.subject), suffix(change));
    for field in change.fields {
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
    if let Some(from) = change.adopted_from {
        let _ = writeln!(out, "      taken over from {}", shown(from));
    }
}

fn suffix(change: &ChangeSaid<'_>) -> String {
    let undone = if change.done == Some(false) { paint(RED, " not done") } else { String::new() };
    format!("{}{undone}", change.details())
}

/// Returns the summary line, as in `25 clusters: 20 to change, 5 up to date`.
pub(crate) fn summary_line(command: Command, summary: &Summary) -> String {
    let Summary { clusters, unchanged, pending, changed, blocked, failed, not_started } = *summary;
    if clusters == unchanged && clusters > 0 {
        let nothing = match command {
            Command::Apply | Command::Refresh => "nothing was left to do",
            Command::Revoke => "nothing was left to revoke",
            Command::Retire => "nothing was left to remove",
            Command::Plan | Command::Status | Command::Verify => "nothing to do",
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

/// Returns the notes about clusters, each once, with its clusters. Notes that are also in `seen`, which the reader has
/// seen, are left out.
pub(crate) fn notes_text(clusters: &[ClusterReport], seen: &[ClusterReport]) -> String {
    let seen: BTreeSet<(&str, &Note)> = named_notes(seen).collect();
    let mut clusters_by_note: BTreeMap<&Note, Vec<&str>> = BTreeMap::new();
    for (cluster, note) in named_notes(clusters).filter(|it| !seen.contains(it)) {
        clusters_by_note.entry(note).or_default().push(cluster);
    }
    let mut out = String::new();
    for (note, clusters) in clusters_by_note {
        let _ = writeln!(out, "{} {}: {}", paint(DIM, "note:"), listed(&clusters), shown(&note.message));
    }
    out
}

fn named_notes(clusters: &[ClusterReport]) -> impl Iterator<Item = (&str, &Note)> {
    clusters.iter().flat_map(|cluster| cluster.notes.iter().map(|note| (cluster.name.as_str(), note)))
}

/// Returns the line that a refresh ends with, as in `412 current, 38 renewed, 0 failed, next due in 3h12m`.
///
/// `now` is the machine's time.
pub(crate) fn refresh_line(credentials: &CredentialSummary, now: Timestamp) -> String {
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
