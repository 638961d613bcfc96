//! Parts whose instructions are counted: see `crate::instructions`.

use std::path::Path;

use jiff::Timestamp;

use super::combine::{CombineOptions, Input, OnCollision, combine};
use super::edit::{Unranked, edit};
use super::{Document, FileOrder, Incoming, merge};
use crate::fuzz::incoming_of;
use crate::instructions::size;

fn incoming() -> Vec<Incoming> {
    (0..size()).map(|number| incoming_of(&format!("c{number:05}"))).collect()
}

/// The credentials of a fleet come into an empty file.
#[test]
#[ignore = "`instructions` runs it"]
fn credentials_are_merged_into_a_file() {
    let incoming = incoming();
    let order = FileOrder::new(incoming.iter().map(|incoming| &incoming.names));
    let merged = merge(None, &incoming.iter().collect::<Vec<_>>(), &order, 0, None).unwrap();
    assert!(merged.refused.is_empty() && merged.content.len() > size() * 500);
}

/// One file for each cluster becomes one file.
#[test]
#[ignore = "`instructions` runs it"]
fn files_are_combined() {
    let first = incoming_of("FIRST");
    let text = merge(None, &[&first], &FileOrder::new([&first.names]), 0, None).unwrap().content;
    let text = String::from_utf8(text).unwrap();
    let input = |number: usize| {
        let name = format!("c{number:05}");
        Input::parse(&name, &Path::new("/in").join(&name), text.replace("FIRST", &name).as_bytes()).unwrap()
    };
    let inputs: Vec<Input> = (0..size()).map(input).collect();
    let combined = combine(&inputs, None, &CombineOptions::new(OnCollision::Error), Timestamp::UNIX_EPOCH, &|_| None);
    let file = edit(b"", &combined.edits, &Unranked).unwrap();
    let document = Document::parse(std::str::from_utf8(&file).unwrap()).unwrap();
    assert_eq!(document.context_names().count(), size());
}
