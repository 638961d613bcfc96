//! What keeps the text of a large fleet short: counts by a label, and lists that end before they scroll away.

use std::collections::BTreeMap;

use super::{table, trimmed};
use crate::foreign::shown;

/// How many rows of a table fit a screen or two.
pub(super) const ROWS: usize = 50;
/// How many groups of clusters, each with several lines.
pub(super) const GROUPS: usize = 20;

/// Splits a list into what is shown and what is only counted.
pub(super) fn fold<T>(list: &[T], most: usize) -> (&[T], &[T]) {
    list.split_at(list.len().min(most))
}

/// Counts things by the value of a label and by their state, as a table; nothing without a label.
pub(super) fn by_label<'a>(
    label: Option<&str>,
    things: &str,
    states: impl Iterator<Item = (&'a BTreeMap<String, String>, &'static str)>,
) -> String {
    let Some(label) = label else { return String::new() };
    // The states come in the order in which the report first has them.
    let mut columns: Vec<&'static str> = vec![];
    let mut counts: BTreeMap<Option<&str>, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for (labels, state) in states {
        if !columns.contains(&state) {
            columns.push(state);
        }
        let value = labels.get(label).map(String::as_str);
        *counts.entry(value).or_default().entry(state).or_default() += 1;
    }
    let mut table = table();
    let heads = columns.iter().map(|state| state.to_uppercase());
    table.set_header([shown(label).to_uppercase(), things.to_owned()].into_iter().chain(heads));
    for (value, of_value) in &counts {
        let value = value.map_or_else(|| "(no such label)".to_owned(), |value| shown(value).into_owned());
        let all: usize = of_value.values().sum();
        let cells = columns.iter().map(|state| of_value.get(state).map_or_else(|| "-".to_owned(), usize::to_string));
        table.add_row([value, all.to_string()].into_iter().chain(cells));
    }
    trimmed(&table) + "\n"
}
