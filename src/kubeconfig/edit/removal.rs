//! The bytes that are removed with an entry: its lines, and the comments that belong to it.
//!
//! Comments right below an entry that are indented deeper than its dash are removed with it. Comments above it stay,
//! because they may be about the next entry. Pure: no I/O.

use std::collections::HashSet;

use super::index::{Index, Item, Kind, Root};
use super::render::line_start;
use super::splice::{Splice, owned_end, refuse_outside_aliases, refuse_unsafe};
use super::{EditError, List, refused};

/// Returns the splices that remove entries by list and name; a missing entry is no error.
pub(super) fn removals(text: &str, index: &Index, names: &HashSet<(List, &str)>) -> Result<Vec<Splice>, EditError> {
    refuse_unsafe(index)?;
    let mut splices = vec![];
    for list in List::ALL {
        let Some(root) = index.roots.iter().find(|root| root.key == list.key()) else { continue };
        let goes = |item: &Item| item.name.as_deref().is_some_and(|name| names.contains(&(list, name)));
        if !root.items.iter().any(goes) {
            continue;
        }
        for item in root.items.iter().filter(|item| goes(item)) {
            refuse_outside_aliases(index, item)?;
        }
        if root.kind == Kind::FlowSequence {
            remove_from_flow(text, root, goes, &mut splices)?;
        } else {
            remove_from_block(text, root, goes, &mut splices);
        }
    }
    Ok(splices)
}

fn remove_from_block(text: &str, root: &Root, goes: impl Fn(&Item) -> bool, splices: &mut Vec<Splice>) {
    for item in root.items.iter().filter(|item| goes(item)) {
        splices.push(Splice::new(line_start(text, item.dash), owned_end(text, item), String::new()));
    }
    if root.items.iter().all(goes) {
        splices.push(Splice::new(root.colon_end, root.colon_end, " []".to_owned()));
    }
}

fn remove_from_flow(
    text: &str,
    root: &Root,
    goes: impl Fn(&Item) -> bool,
    splices: &mut Vec<Splice>,
) -> Result<(), EditError> {
    let mut remove = |start: usize, end: usize, between: &str| {
        if between.contains('#') {
            return Err(refused(format!("a comment stands between the entries of `{}`", root.key)));
        }
        splices.push(Splice::new(start, end, String::new()));
        Ok(())
    };
    // Entries at the start are removed with the comma after them, all others with the comma before them.
    let first_kept = root.items.iter().position(|item| !goes(item));
    let leading = first_kept.unwrap_or(root.items.len());
    if let (Some(first), Some(last)) = (root.items.first(), leading.checked_sub(1).map(|at| &root.items[at])) {
        let end = match first_kept {
            Some(kept) => root.items[kept].dash,
            None => end_of_list(text, last.end),
        };
        remove(first.dash, end, &text[last.end..end])?;
    }
    for pair in root.items[leading..].windows(2).filter(|pair| goes(&pair[1])) {
        remove(pair[0].end, pair[1].end, &text[pair[0].end..pair[1].dash])?;
    }
    Ok(())
}

/// Returns the end of a flow list's last entry, including the final comma that YAML allows.
fn end_of_list(text: &str, end: usize) -> usize {
    let rest = &text[end..];
    let blank = rest.len() - rest.trim_start().len();
    if rest[blank..].starts_with(',') { end + blank + 1 } else { end }
}
