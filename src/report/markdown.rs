//! Reports as Markdown, for a comment on a pull request: GitHub and GitLab show it (CommonMark with tables).
//!
//! Text of others stands in code spans or fenced blocks, where it can neither mention somebody nor be read as Markdown.
//! Pure: no I/O, no clock.

use std::fmt::Write;

use quick_xml::escape::escape;

use super::changes::{ChangeSaid, ClusterSaid, GENERATIONS};
use super::group::{Group, grouped};
use super::risk::{RiskLine, risk_lines};
use super::text::{TextOptions, sign, text};
use super::{Body, Changes, GrantStatus, Report, State, Status, Verification, summary_line};
use crate::foreign::shown;
use crate::names::ClusterName;
use crate::wording::count;

/// What GitHub takes in one comment is 65,536 characters, of which a bot may need some itself.
const MOST: usize = 65_000;
/// What a report begins with, so that it is known again.
const MARK: &str = "<!-- kubemint report -->";
/// Names of clusters in a heading.
const NAMED: usize = 20;

/// Returns whether a file is a report in Markdown that kubemint wrote.
pub(crate) fn is_markdown(content: &[u8]) -> bool {
    content.starts_with(MARK.as_bytes())
}

/// Renders a report, with at most 65,000 characters.
pub(super) fn markdown(report: &Report, options: TextOptions) -> String {
    let command = report.head.command.as_str();
    let (title, table, sections) = match &report.body {
        Body::Changes(changes) => {
            let sections = [risk_section(changes)].into_iter().flatten().chain(change_sections(changes));
            (summary_line(report.head.command, &changes.summary), change_table(changes), sections.collect())
        }
        Body::Status(status) => (status_title(status), String::new(), status_sections(status)),
        Body::Verification(verification) => (
            format!("{} verified", count(verification.summary.clusters, "cluster")),
            verify_table(verification),
            vec![folded("what was found", &fenced("", &plain(&text(report, options))))],
        ),
    };
    let mut out = format!("{MARK}\n### kubemint {command}: {title}\n\n");
    let _ = writeln!(
        out,
        "inventory {}, holder {}\n",
        code(report.head.inventory.as_str()),
        code(report.head.holder.as_str())
    );
    if let Some(missing) = report.head.missing(code) {
        let _ = writeln!(out, "{missing}\n");
    }
    out.push_str(&table);
    if let Body::Changes(changes) = &report.body {
        out.push_str(&wave_table(changes));
    }
    joined(out, &sections)
}

/// Puts sections below each other, and says how many were left out if not all fit.
fn joined(mut out: String, sections: &[String]) -> String {
    /// For the sentence that says what was cut.
    const RESERVED: usize = 200;
    let mut length = out.chars().count();
    for (position, section) in sections.iter().enumerate() {
        let more = section.chars().count();
        if length + more + RESERVED > MOST {
            let left = sections.len() - position;
            let _ = writeln!(
                out,
                "\n**{} cut here**, because a comment holds no more; `-o json` has all.",
                count(left, "section")
            );
            return out;
        }
        length += more;
        out.push_str(section);
    }
    out
}

fn change_table(changes: &Changes) -> String {
    let summary = &changes.summary;
    let rows = [
        ("to change", summary.pending),
        ("changed", summary.changed),
        ("up to date", summary.unchanged),
        ("blocked", summary.blocked),
        ("failed", summary.failed),
        ("not started", summary.not_started),
    ];
    table(["state", "clusters"], rows.iter().filter(|(_, number)| *number > 0))
}

/// Shows the waves; nothing if there are none.
fn wave_table(changes: &Changes) -> String {
    if changes.waves.is_empty() {
        return String::new();
    }
    let mut out = "| wave | clusters |\n|---|---|\n".to_owned();
    for wave in &changes.waves {
        let _ = writeln!(out, "| {} | {} |", code(wave.name.as_str()), code(&wave.said()));
    }
    out.push('\n');
    out
}

fn verify_table(verification: &Verification) -> String {
    let summary = &verification.summary;
    let rows = [
        ("fine", summary.fine),
        ("with more than intended", summary.excess),
        ("with findings", summary.findings),
        ("failed", summary.failed),
        ("not started", summary.not_started),
    ];
    table(["state", "clusters"], rows.iter().filter(|(_, number)| *number > 0))
}

fn table<'a>([left, right]: [&str; 2], rows: impl Iterator<Item = &'a (&'static str, usize)>) -> String {
    let mut out = format!("| {left} | {right} |\n|---|---:|\n");
    for (name, number) in rows {
        let _ = writeln!(out, "| {name} | {number} |");
    }
    out.push('\n');
    out
}

fn change_sections(changes: &Changes) -> Vec<String> {
    let mut groups = grouped(changes.clusters.iter().map(|cluster| (&cluster.name, cluster.said())));
    // What needs somebody comes first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.said.state));
    let said = groups.iter().filter(|group| !group.said.is_nothing());
    said.map(|Group { said, clusters }| folded(&heading(clusters, said.state), &fenced("diff", &diff(said)))).collect()
}

/// Says over the whole fleet who may do more, or less; nothing if nobody.
fn risk_section(changes: &Changes) -> Option<String> {
    /// As many as a reviewer reads.
    const SHOWN: usize = 40;
    let lines = risk_lines(changes, NAMED);
    let item = |line: &RiskLine<'_>| {
        let escalating = line.escalating.as_ref().map(|classes| format!(" **escalating**: {}", code(classes)));
        format!(
            "- **{}** {}: {}{}\n",
            line.class,
            code(&line.what),
            count(line.clusters.len(), "cluster"),
            escalating.unwrap_or_default()
        )
    };
    let mut out: String = lines.iter().take(SHOWN).map(item).collect();
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(out, "- and {more} more");
    }
    (!lines.is_empty()).then(|| out + "\n")
}

/// Names the clusters of a section, as HTML: in a summary, Markdown is not read.
fn heading(clusters: &[&ClusterName], state: State) -> String {
    let names: Vec<String> =
        clusters.iter().take(NAMED).map(|name| format!("<code>{}</code>", escape(shown(name.as_str())))).collect();
    let more = clusters.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let state = match state {
        State::Blocked => " blocked",
        State::Failed => " failed",
        State::NotStarted => " not started",
        State::Unchanged | State::Pending | State::Changed => "",
    };
    format!("<b>{}{state}</b>: {}{more}", count(clusters.len(), "cluster"), names.join(", "))
}

/// Says what is said of a cluster as the lines of a diff, which are coloured by their first character.
fn diff(said: &ClusterSaid<'_>) -> String {
    let mut out = String::new();
    for change in &said.changes {
        write_change(&mut out, change);
    }
    let mut line = |first: char, text: &str| {
        let _ = writeln!(out, "{first} {}", shown(text));
    };
    for blocker in said.blockers {
        line('!', &format!("blocked: {}", blocker.message));
        blocker.hint.iter().for_each(|hint| line(' ', &format!("  hint: {hint}")));
    }
    if let Some(error) = said.error {
        line('!', &format!("failed: {}: {}", error.place(), error.cause));
        error.hint.iter().for_each(|hint| line(' ', &format!("  hint: {hint}")));
    }
    for note in said.notes {
        line('#', &format!("note: {}", note.message));
    }
    out
}

fn write_change(out: &mut String, change: &ChangeSaid<'_>) {
    let mut line = |first: &str, text: &str| {
        let _ = writeln!(out, "{first} {}", shown(text));
    };
    line(sign(change.action).0, &format!("{} {}{}", change.action.verb(), change.subject, change.details()));
    for field in change.fields {
        let name = if field.field.is_empty() || field.field == GENERATIONS {
            String::new()
        } else {
            format!("{}: ", field.field)
        };
        field.removed.iter().for_each(|removed| line("-", &format!("    {name}{removed}")));
        field.added.iter().for_each(|added| line("+", &format!("    {name}{added}")));
    }
    change.overrules.iter().for_each(|manager| line(" ", &format!("    overrules field manager `{manager}`")));
    change.adopted_from.iter().for_each(|from| line(" ", &format!("    taken over from {from}")));
}

fn status_title(status: &Status) -> String {
    let fine = status.grants.iter().filter(|grant| grant.state.is_fine()).count();
    format!("{}, {fine} fine", count(status.grants.len(), "grant"))
}

/// Returns the grants that need somebody, and the notes.
fn status_sections(status: &Status) -> Vec<String> {
    let row = |grant: &GrantStatus| {
        let (cluster, profile) = (code(grant.cluster.as_str()), code(grant.profile.as_str()));
        let expires = grant.expires.map_or_else(|| "-".to_owned(), |expires| expires.to_string());
        let remark = grant.detail.as_deref().or(grant.error.as_deref()).map(code).unwrap_or_default();
        format!("| {cluster} | {profile} | {} | {expires} | {remark} |\n", grant.state.as_str())
    };
    let needy: Vec<&GrantStatus> = status.grants.iter().filter(|grant| !grant.state.is_fine()).collect();
    // A table that is cut in the middle stays one, so each row is a section.
    let head = (!needy.is_empty())
        .then(|| "| cluster | profile | state | expires | remark |\n|---|---|---|---|---|\n".to_owned());
    let notes = status.notes.iter().map(|note| format!("\n- {}\n", code(note)));
    head.into_iter().chain(needy.into_iter().map(row)).chain(notes).collect()
}

/// Folds something below a summary, which is HTML.
fn folded(summary: &str, content: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{content}\n</details>\n\n")
}

/// Fences text with more backquotes than it has in a row.
fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// Shows a line of others as code. In a table, a `|` ends the cell even there.
fn code(text: &str) -> String {
    let text = shown(text);
    let text = text.trim().replace('|', "\\|");
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space between keeps a backquote of the text apart from those around it.
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Leaves the colours out.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
