//! What came of combining kubeconfigs, as text.

use super::listed_fields;
use crate::foreign::shown;
use crate::kubeconfig::combine::{Change, ChangeKind, Collision};
use crate::report::MergeReport;
use crate::wording::count;

/// Renders it: a line for each entry that is to be known, and one that counts.
pub(crate) fn merge_text(report: &MergeReport<'_>) -> String {
    // What is lost is said in any case.
    let is_shown = |change: &&Change| report.is_dry_run || !change.dropped.is_empty();
    let mut text: String = report.changes.iter().filter(is_shown).map(line).collect();
    text.push_str(&summary(report));
    text
}

/// Says which names collide, one on each line.
pub(crate) fn collision_lines(collisions: &[Collision]) -> Vec<String> {
    /// More would scroll the first ones away.
    const SHOWN: usize = 10;
    let line = |collision: &Collision| {
        let kind = collision.list.singular();
        let first = collision.first.as_ref().map_or_else(|| "the file itself".to_owned(), |first| format!("`{first}`"));
        format!("  {kind} `{}`: in {first} and in `{}`", collision.name, collision.second)
    };
    let mut lines: Vec<String> = collisions.iter().take(SHOWN).map(line).collect();
    if collisions.len() > SHOWN {
        lines.push(format!("  … and {} more", collisions.len() - SHOWN));
    }
    lines
}

fn line(change: &Change) -> String {
    let (sign, kind) = match change.kind {
        ChangeKind::Come => ('+', "comes"),
        ChangeKind::Change => ('~', "changes"),
        ChangeKind::Go => ('-', "goes"),
    };
    let list = change.list.singular();
    let from = change.from.as_ref().map(|from| format!(", from `{}`", shown(from))).unwrap_or_default();
    let is_replaced = change.kind == ChangeKind::Change;
    let changed = listed_fields("other", &change.changed).filter(|_| is_replaced);
    let details: Vec<String> = listed_fields("without", &change.dropped).into_iter().chain(changed).collect();
    let details = if details.is_empty() { String::new() } else { format!(": {}", details.join(", ")) };
    format!("{sign} {list} `{}` {kind}{from}{details}\n", shown(&change.name))
}

fn summary(report: &MergeReport<'_>) -> String {
    let changed = |kind| report.changes.iter().filter(|change| change.kind == kind).count();
    let (come, change, go) = (changed(ChangeKind::Come), changed(ChangeKind::Change), changed(ChangeKind::Go));
    let name = match &report.file {
        None => "standard output".to_owned(),
        Some(file) => format!("`{}`", shown(file)),
    };
    let files = count(report.inputs, "kubeconfig");
    if report.changes.is_empty() {
        return format!("{name} has everything of {files} already\n");
    }
    let would = if report.is_dry_run { "would come" } else { "came" };
    let entries = if come == 1 { "entry" } else { "entries" };
    let others = if report.is_dry_run { ("would change", "would go") } else { ("changed", "went") };
    format!(
        "{files} into {name}: {come} {entries} {would}, {change} {}, {go} {}, {} unchanged\n",
        others.0, others.1, report.unchanged
    )
}
