//! Removing entries: the rest keeps its bytes and its order, and nothing new appears.

use std::sync::atomic::{AtomicUsize, Ordering};

use kubemint::kubeconfig::edit::{Edit, EditError, List, Unranked, edit};

use super::generator::{Dice, File, Kind, file, name_of, position};
use super::{follow, on_many, text};

/// How many files entries are removed from.
const CASES: u32 = 1_500;

/// Chooses entries to remove, at least one if there is any.
fn chosen(file: &File, choices: &[u16]) -> Vec<(List, String)> {
    let mut dice = Dice::new(choices);
    let all: Vec<(List, String)> = List::ALL
        .into_iter()
        .flat_map(|list| file.entries[position(list)].iter().map(move |entry| (list, name_of(entry))))
        .collect();
    let mut chosen: Vec<_> = all.iter().filter(|_| dice.roll(3) == 0).cloned().collect();
    if chosen.is_empty() {
        chosen.extend(all.first().cloned());
    }
    chosen
}

/// Returns whether the bytes of `short` are in `long`, in the same order.
fn is_part(short: &str, long: &str) -> bool {
    let mut rest = long.bytes();
    short.bytes().all(|byte| rest.by_ref().any(|other| other == byte))
}

#[test]
fn nothing_but_the_removed_entries_goes() {
    let (refused, removed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_many(CASES, |choices, more| {
        let file = file(choices);
        let gone = chosen(&file, more);
        let edits: Vec<Edit> =
            gone.iter().map(|(list, name)| Edit::Remove { list: *list, name: name.clone() }).collect();
        let before = text(&file);
        let after = match edit(before.as_bytes(), &edits, &Unranked) {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            // A comment between the entries of a flow list would go with one of them.
            Err(EditError::Refused(_)) if file.open || file.comments => {
                refused.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => return Err(format!("{error}:\n{before}")),
        };
        removed.fetch_add(gone.len(), Ordering::Relaxed);
        let failed = |what: &str| Err(format!("{what}; removed {gone:?}; before:\n{before}\nafter:\n{after}"));
        let is_gone = |list: List, name: &str| gone.iter().any(|(other, known)| *other == list && known == name);
        let mut expected = file.clone();
        for list in List::ALL {
            expected.entries[position(list)].retain(|entry| !is_gone(list, &name_of(entry)));
        }
        if let Err(error) = follow::says(&after, &expected) {
            return failed(&error);
        }
        // Every other entry is there as it was, in its place.
        let mut rest = after.as_str();
        for piece in &file.pieces {
            let kept = match &piece.kind {
                Kind::Item(list, name) => !is_gone(*list, name),
                Kind::Root(_) | Kind::Context => true,
                Kind::Other | Kind::Empty => false,
            };
            if kept {
                let Some(at) = rest.find(piece.text.as_str()) else { return failed("an entry is not as it was") };
                rest = &rest[at + piece.text.len()..];
            }
        }
        // A list without entries gets brackets; nothing else may be new.
        if !is_part(&after.replace(" []", ""), &before) {
            return failed("something is new");
        }
        Ok(())
    });
    let (refused, removed) = (refused.into_inner(), removed.into_inner());
    assert!(removed > CASES as usize / 2 && refused < CASES as usize / 3, "{removed} removed, {refused} refused");
}
