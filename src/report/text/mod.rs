//! Reports as text for people: the order, the words around it and the colours. What is said of a cluster, and of which
//! clusters together, stands in the model (`said`, `group`).
//!
//! Colours are written as ANSI sequences; the printer strips them where they are not wanted. Pure:
//! no I/O, no clock.

mod changes;
mod kubeconfig;
mod merge;
mod status;
mod verify;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
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
pub(crate) struct TextOptions {
    /// Whether tables have all columns.
    pub is_wide: bool,
    /// The machine's time, for the time that is left or has passed.
    pub now: Timestamp,
}

/// Renders a report.
pub(crate) fn text(report: &Report, options: TextOptions) -> String {
    match &report.body {
        Body::Changes(changes) => changes::text(report.head.command, changes),
        Body::Status(status) => status::text(status, options),
        Body::Verification(verification) => verify::text(verification, report.head.started),
    }
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
