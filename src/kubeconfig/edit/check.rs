//! Reads an edited file again and compares it with the expected content.
//!
//! It protects against errors in the parser and in splicing: a file that does not pass is not written. Pure: no I/O, no
//! clock.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Edit, EditError, List, refused};
use crate::kubeconfig::at_once::at_once;
use crate::kubeconfig::digest::{Digest, DigestedEntry};
use crate::kubeconfig::yaml_options;

/// Reads the content of a file before it is edited, for the comparison afterwards.
pub(super) fn read(text: &str) -> Result<Content, EditError> {
    Content::read(text).ok_or_else(|| refused("what it says cannot be read"))
}

/// Checks that `after` has the content that was `expected`, with the edits made, and nothing else.
pub(super) fn check(expected: Content, after: &str, edits: &[&Edit]) -> Result<(), EditError> {
    /// A thread for fewer edits is not worth its start.
    const FEWEST: usize = 256;
    let failed = |what: &str| EditError::Check(what.to_owned());
    let digest = || -> Vec<Digested<'_>> { edits.iter().map(|edit| digested(edit)).collect() };
    let read = || Content::read(after);
    let (digests, actual) = if edits.len() < FEWEST { (digest(), read()) } else { at_once(digest, read) };
    let expected = expected.with(digests);
    let actual = actual.ok_or_else(|| failed("it cannot be read"))?;
    if expected.rest != actual.rest {
        return Err(failed("a root key differs"));
    }
    for list in List::ALL {
        if expected.named.get(list.key()) != actual.named.get(list.key()) {
            return Err(failed(&format!("the entries of `{}` differ", list.key())));
        }
    }
    if expected.unnamed != actual.unnamed {
        return Err(failed("entries without a name differ"));
    }
    Ok(())
}

/// The root of a file; only the digests of its entries are kept.
#[derive(Deserialize)]
struct Root {
    #[serde(default)]
    clusters: Option<Vec<DigestedEntry>>,
    #[serde(default)]
    users: Option<Vec<DigestedEntry>>,
    #[serde(default)]
    contexts: Option<Vec<DigestedEntry>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The content of a file, without the order of the entries.
#[derive(Default)]
pub(super) struct Content {
    rest: Map<String, Value>,
    /// The entries under each name; more than one means that the file is damaged.
    named: BTreeMap<&'static str, BTreeMap<String, Vec<Digest>>>,
    unnamed: Vec<Digest>,
}

impl Content {
    fn read(text: &str) -> Option<Self> {
        let root: Root = serde_saphyr::from_str_with_options(text, yaml_options(text.len())).ok()?;
        let mut content = Self { rest: root.rest, ..Self::default() };
        for (list, entries) in
            [(List::Clusters, root.clusters), (List::Users, root.users), (List::Contexts, root.contexts)]
        {
            let named = content.named.entry(list.key()).or_default();
            for entry in entries.into_iter().flatten() {
                match entry.name {
                    Some(name) => named.entry(name).or_default().push(entry.digest),
                    None => content.unnamed.push(entry.digest),
                }
            }
        }
        Some(content)
    }

    /// Returns the content after some edits; removals are made first.
    fn with(mut self, edits: Vec<Digested<'_>>) -> Self {
        let (removals, others): (Vec<_>, Vec<_>) =
            edits.into_iter().partition(|edit| matches!(edit, Digested::Remove(..)));
        for edit in removals.into_iter().chain(others) {
            match edit {
                Digested::Upsert(list, entry) => {
                    let named = self.named.entry(list.key()).or_default();
                    named.insert(entry.name.unwrap_or_default(), vec![entry.digest]);
                }
                Digested::Remove(list, name) => {
                    self.named.entry(list.key()).or_default().remove(name);
                }
                Digested::CurrentContext(name) => {
                    self.rest.insert("current-context".to_owned(), name.into());
                }
            }
        }
        self
    }
}

/// An edit, with the digest of what it writes.
enum Digested<'a> {
    Upsert(List, DigestedEntry),
    Remove(List, &'a str),
    CurrentContext(&'a str),
}

fn digested(edit: &Edit) -> Digested<'_> {
    match edit {
        Edit::Upsert { list, entry } => Digested::Upsert(*list, DigestedEntry::of(entry)),
        Edit::Remove { list, name } => Digested::Remove(*list, name),
        Edit::CurrentContext(name) => Digested::CurrentContext(name),
    }
}
