//! Reads an edited file again and compares it with the expected content.
//!
//! It protects against errors in the parser and in splicing: a file that does not pass is not written. Pure: no I/O, no
//! clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Edit, EditError, List, refused};
use crate::at_once::{at_once, each_at_once};
use crate::kubeconfig::digest::{Digest, DigestedEntry};
use crate::kubeconfig::yaml_options_of_part;

/// Reads the content of a file before it is edited, for the comparison afterwards.
pub(super) fn read(text: &str) -> Result<Content, EditError> {
    Content::read(text).ok_or_else(|| refused("what it says cannot be read"))
}

/// Checks that `after` has the content that was `expected`, with the edits made, and nothing else. A large text is read in the
/// parts that `cuts` divides it into, on several processors.
pub(super) fn check(expected: Content, (after, cuts): (&str, &[usize]), edits: &[&Edit]) -> Result<(), EditError> {
    /// A thread for fewer edits is not worth its start.
    const FEWEST: usize = 256;
    /// The same for a shorter text, in bytes.
    const LARGE: usize = 1 << 20;
    let digest = || -> Vec<Digested<'_>> { edits.iter().map(|edit| digested(edit)).collect() };
    let cuts = far_apart(cuts);
    let read = || if after.len() < LARGE { Content::read(after) } else { Content::read_in_parts(after, &cuts) };
    let (digests, actual) = if edits.len() < FEWEST { (digest(), read()) } else { at_once(digest, read) };
    let expected = expected.with(digests);
    if actual.is_some_and(|actual| expected.difference(&actual).is_none()) {
        return Ok(());
    }
    // What the text says as a whole is what counts.
    let difference = match Content::read(after) {
        Some(actual) => expected.difference(&actual),
        None => Some("it cannot be read".to_owned()),
    };
    difference.map_or(Ok(()), |what| Err(EditError::Check(what)))
}

/// Leaves out cuts after which a part would be so small that its share of what the whole may have is not enough.
fn far_apart(cuts: &[usize]) -> Vec<usize> {
    const LEAST: usize = 64 * 1024;
    let mut kept: Vec<usize> = vec![];
    for cut in cuts {
        if cut.saturating_sub(*kept.last().unwrap_or(&0)) >= LEAST {
            kept.push(*cut);
        }
    }
    kept
}

/// Whether a text says the same in parts and as a whole, if it can be read in parts.
#[cfg(any(test, fuzzing))]
pub(super) fn says_the_same_in_parts(text: &str, cuts: &[usize]) -> bool {
    Content::read_in_parts(text, cuts).is_none_or(|parts| Content::read(text) == Some(parts))
}

/// The root of a file, or of a part of it; only the digests of its entries are kept.
#[derive(Deserialize)]
struct Root {
    #[serde(default, deserialize_with = "there")]
    clusters: Option<Entries>,
    #[serde(default, deserialize_with = "there")]
    users: Option<Entries>,
    #[serde(default, deserialize_with = "there")]
    contexts: Option<Entries>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What stands after the key of a list: its entries, or nothing.
#[derive(Deserialize)]
struct Entries(Option<Vec<DigestedEntry>>);

/// Reads the value of a key that is there, whether it has a value or not.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Entries>, D::Error> {
    Option::deserialize(deserializer).map(|entries| Some(Entries(entries)))
}

/// The content of a file, without the order of the entries.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    rest: Map<String, Value>,
    /// The entries under each name; more than one means that the file is damaged.
    named: BTreeMap<&'static str, BTreeMap<String, Vec<Digest>>>,
    unnamed: Vec<Digest>,
}

impl Content {
    fn read(text: &str) -> Option<Self> {
        Self::read_part(text, text.len())
    }

    /// Reads a part of a text of some length in bytes.
    fn read_part(part: &str, whole: usize) -> Option<Self> {
        let root: Root = serde_saphyr::from_str_with_options(part, yaml_options_of_part(part.len(), whole)).ok()?;
        let mut content = Self { rest: root.rest, ..Self::default() };
        for (list, entries) in
            [(List::Clusters, root.clusters), (List::Users, root.users), (List::Contexts, root.contexts)]
        {
            let Some(Entries(entries)) = entries else { continue };
            let named = content.named.entry(list.key()).or_default();
            for entry in entries.into_iter().flatten() {
                match entry.name {
                    Some(name) => named.entry(name).or_default().push(entry.digest),
                    None => content.unnamed.push(entry.digest),
                }
            }
        }
        content.unnamed.sort_unstable();
        Some(content)
    }

    /// Reads a text in parts. Returns nothing if some part cannot be read by itself, or if two have the same key.
    fn read_in_parts(text: &str, cuts: &[usize]) -> Option<Self> {
        let (first, last) = (std::iter::once(0), std::iter::once(text.len()));
        let ends = cuts.iter().copied().chain(last);
        let parts: Option<Vec<&str>> =
            first.chain(cuts.iter().copied()).zip(ends).map(|(start, end)| text.get(start..end)).collect();
        let parts = parts?;
        // Nothing of the whole is read after the end of its first document.
        let ends_document = |part: &&str| part.starts_with("...") || part.contains("\n...");
        if parts.iter().rev().skip(1).any(ends_document) {
            return None;
        }
        let mut whole = Self::default();
        for part in each_at_once(&parts, |part| Self::read_part(part, text.len())) {
            whole = whole.joined(part?)?;
        }
        Some(whole)
    }

    /// Returns what two parts of a text say together; nothing if both have the same key.
    fn joined(mut self, part: Self) -> Option<Self> {
        let has_new_keys = part.rest.keys().all(|key| !self.rest.contains_key(key))
            && part.named.keys().all(|list| !self.named.contains_key(list));
        self.rest.extend(part.rest);
        self.named.extend(part.named);
        self.unnamed.extend(part.unnamed);
        self.unnamed.sort_unstable();
        has_new_keys.then_some(self)
    }

    /// Returns what differs in what a text says, if anything does. That a list has no entries may be said in several ways.
    fn difference(&self, actual: &Self) -> Option<String> {
        if self.rest != actual.rest {
            return Some("a root key differs".to_owned());
        }
        let none = BTreeMap::new();
        let differs =
            |list: &List| self.named.get(list.key()).unwrap_or(&none) != actual.named.get(list.key()).unwrap_or(&none);
        if let Some(list) = List::ALL.into_iter().find(differs) {
            return Some(format!("the entries of `{}` differ", list.key()));
        }
        (self.unnamed != actual.unnamed).then(|| "entries without a name differ".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeconfig::edit::index::index;

    fn in_parts(text: &str) -> Option<Content> {
        Content::read_in_parts(text, &index(text).unwrap().cuts(text))
    }

    #[test]
    fn a_text_says_the_same_in_parts_and_as_a_whole() {
        for text in [
            "apiVersion: v1\nclusters: []\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: []\n",
            "# mine\n\nusers:\n- name: a\n  user: {token: t}\nmine: {a: 1}\ncontexts: # none\nclusters: null\n",
            "clusters:\n- name: a\n  cluster:\n    x: |+\n      t\n\nusers:\n- name: b # the last one",
            "---\nkind: Config\nusers:\r\n- {name: a}\r\n- {name: b}\r\ncontexts: [{name: c}]\r\n...\n# end\n",
            "{users: [{name: a}], contexts: []}\n",
            "  kind: Config\n  users:\n  - name: a\n",
            "kind: Config\nusers: [{user: a}, {name: a}]\ncontexts: [{user: b}]\nclusters: [{user: c}]\n",
            "mine: &a {b: 1}\nusers:\n- name: a\n  user: *a\n",
        ] {
            let whole = Content::read(text);
            assert!(whole.is_some(), "{text}");
            assert_eq!(in_parts(text), whole, "{text}");
        }
        let text = "kind: Config\nclusters: []\n# mine\nusers: []\nmine: 1\ncontexts: []\n";
        let parts: Vec<&str> = index(text).unwrap().cuts(text).into_iter().map(|cut| &text[cut..]).collect();
        assert!(
            matches!(&parts[..], [clusters, users, contexts] if clusters.starts_with("clusters:")
            && users.starts_with("users:") && contexts.starts_with("contexts:")),
            "{parts:?}"
        );
    }

    /// Otherwise, each large file would be read twice.
    #[test]
    fn a_large_text_of_usual_entries_can_be_read_in_parts() {
        let entries = |list: &str, entry: &str| -> String {
            let entry = |number: usize| entry.replace('N', &format!("cluster-{number:05}"));
            format!("{list}:\n{}", (0..5_000).map(entry).collect::<String>())
        };
        let extensions = "    extensions:\n    - extension: {inventory: acme, cluster: N}\n      name: kubemint.dev\n";
        let text = [
            "apiVersion: v1\n",
            &entries("clusters", &format!("- cluster:\n{extensions}    server: https://N\n  name: N\n")),
            &entries("contexts", "- context:\n    cluster: N\n    user: N\n  name: N\n"),
            "current-context: \"\"\nkind: Config\n",
            &entries("users", &format!("- name: N\n  user:\n{extensions}    token: {}\n", "t".repeat(800))),
        ];
        let text = text.concat();
        let cuts = far_apart(&index(&text).unwrap().cuts(&text));
        assert_eq!(cuts.len(), 2, "the first key is read with the first list");
        assert!(text.len() > 1 << 20 && Content::read(&text) == Content::read_in_parts(&text, &cuts));
        assert!(Content::read_in_parts(&text, &cuts).is_some());
    }

    #[test]
    fn what_is_cut_within_something_else_is_not_read_in_parts() {
        for text in [
            "mine: \"\nusers: \"\n",
            "mine: '\nusers: '\n",
            "mine: [\nusers: ]\n",
            // Nor what only the whole forbids.
            "users: []\nusers: []\n",
            "users:\nusers: []\n",
            "mine: 1\nusers: []\nmine: 2\n",
            "kind: Config\n---\nusers: []\n",
            "kind: Config\n...\nusers: []\n",
            "...\nusers: []\n",
        ] {
            let cut = text.rfind("users:").unwrap();
            assert_eq!(Content::read_in_parts(text, &[cut]), None, "{text}");
        }
        // The whole has more values than are read, and no part alone.
        let list = |key: &str| format!("{key}:\n{}", "- {name: a}\n".repeat(20_000));
        let text = ["clusters", "contexts", "users"].map(list).concat();
        assert!(text.len() < 1 << 20 && Content::read(&list("users")).is_some() && Content::read(&text).is_none());
        assert_eq!(in_parts(&text), None);
        // A place that is none.
        for cuts in [[100, 2], [4, 2], [1, 9]] {
            assert_eq!(Content::read_in_parts("mine: ü\n", &cuts), None, "{cuts:?}");
        }
    }
}
