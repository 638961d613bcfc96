//! What a run does to the access of profiles, as text: a line for what is the same in many clusters.

use std::fmt::Write;

use super::changes::all_of_it;
use super::fold::{GROUPS, fold};
use super::{RED, TextOptions, YELLOW, listed, paint};
use crate::foreign::shown;
use crate::report::group::Group;
use crate::report::risk::{RiskLine, missing_rights, risk_lines};
use crate::report::{Changes, Command};
use crate::risk::RiskClass;
use crate::wording::count;

/// How many rights one line names.
const RIGHTS: usize = 6;

/// Renders the lines, and a blank one after them; nothing if nobody's access changes.
pub(super) fn text(command: Command, changes: &Changes, options: TextOptions<'_>) -> String {
    let lines = risk_lines(changes, options.most(RIGHTS));
    let (shown_lines, folded) = fold(&lines, options.most(GROUPS));
    let mut out = String::new();
    for RiskLine { class, what, escalating, clusters } in shown_lines {
        let style = if *class == RiskClass::Creates { YELLOW } else { RED };
        let _ =
            write!(out, "{} {}: {}", paint(style, &format!("{class}:")), shown(what), count(clusters.len(), "cluster"));
        if let Some(classes) = escalating {
            let _ = write!(out, " {}", paint(RED, &format!("(escalating: {classes})")));
        }
        out.push('\n');
    }
    if !folded.is_empty() {
        let _ = writeln!(out, "… and {} of access; {}", count(folded.len(), "more change"), all_of_it(command));
    }
    out.push_str(&missing(command, changes, options));
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Renders which rights admins lack: the rights once, and the clusters.
fn missing(command: Command, changes: &Changes, options: TextOptions<'_>) -> String {
    let groups = missing_rights(changes);
    let (shown_groups, folded) = fold(&groups, options.most(GROUPS));
    let mut out = String::new();
    for Group { said, clusters } in shown_groups {
        let names: Vec<&str> = clusters.iter().map(|cluster| cluster.as_str()).collect();
        let clusters = format!("{}: {}", count(names.len(), "cluster"), listed(&names));
        let (user, rights) = (said.user_in_words(), said.rights_in_words());
        let _ = writeln!(
            out,
            "{} {} may not grant {}: {clusters}",
            paint(YELLOW, "lacks rights:"),
            shown(&user),
            shown(&rights)
        );
    }
    if !folded.is_empty() {
        let _ = writeln!(out, "… and {} of missing rights; {}", count(folded.len(), "more group"), all_of_it(command));
    }
    out
}
