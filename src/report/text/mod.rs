//! Reports as text for people: the order, the words around it and the colours. What is said of a cluster, and of which
//! clusters together, stands in the model (`said`, `group`).
//!
//! Colours are written as ANSI sequences; the printer strips them where they are not wanted. Pure:
//! no I/O, no clock.

mod changes;
mod fold;
mod kubeconfig;
mod merge;
mod risk;
mod status;
mod verify;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

pub(super) use self::changes::sign;
pub(crate) use self::changes::{notes_text, refresh_line, summary_line};
pub(crate) use self::kubeconfig::kubeconfig_text;
pub(crate) use self::merge::{collision_lines, merge_text};
use super::{Body, Report};
use crate::foreign::shown;
use crate::names::ClusterName;
use crate::wording::count;

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// How many names are listed; the rest is only counted.
const LISTED: usize = 8;

/// How a report is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextOptions<'a> {
    /// Whether tables have all columns; then all clusters are shown, too.
    pub is_wide: bool,
    /// Whether all clusters are shown, also of a large fleet.
    pub shows_all: bool,
    /// The label by whose values clusters are counted.
    pub group_by: Option<&'a str>,
    /// The machine's time, for the time that is left or has passed.
    pub now: Timestamp,
}

impl TextOptions<'_> {
    /// Returns what is too much to be shown of a large fleet: everything beyond a number, unless all is shown.
    fn most(&self, number: usize) -> usize {
        if self.is_wide || self.shows_all { usize::MAX } else { number }
    }
}

/// Renders a report.
pub(crate) fn text(report: &Report, options: TextOptions<'_>) -> String {
    let mut out = match &report.body {
        Body::Changes(changes) => changes::text(report.head.command, changes, options),
        Body::Status(status) => status::text(status, options),
        Body::Verification(verification) => verify::text(verification, report.head.started, options),
    };
    if let Some(missing) = report.head.missing(|name| format!("`{}`", shown(name))) {
        let _ = writeln!(out, "note: {missing}");
    }
    out
}

/// Returns an empty table. Cells are not wrapped, so that grep finds a row as one line.
fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Returns rows of text as a table.
pub(crate) fn rows<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = table();
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| shown(&cell).into_owned()));
    }
    trimmed(&table)
}

/// Returns the lines of a table.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim().to_owned() + "\n").collect()
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Lists the first names, and counts the others.
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut listed =
        names.iter().take(LISTED).map(|name| shown(name.as_ref()).into_owned()).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        let _ = write!(listed, " and {} more", names.len() - LISTED);
    }
    listed
}

/// Names the clusters that something is about.
fn heading(clusters: &[&ClusterName]) -> String {
    if let [name] = clusters {
        return paint(BOLD, &shown(name.as_str()));
    }
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.as_str()).collect();
    format!("{}: {}", paint(BOLD, &count(names.len(), "cluster")), listed(&names))
}

/// Names fields after a word about them; nothing if there are none.
fn listed_fields(what: &str, fields: &[String]) -> Option<String> {
    let fields: Vec<String> = fields.iter().map(|field| format!("`{}`", shown(field))).collect();
    (!fields.is_empty()).then(|| format!("{what} {}", fields.join(", ")))
}
