//! Which edits bring issued credentials into one file.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};

use super::edit::{Edit, EditError, List, Ranking, edit};
use super::{Document, DocumentError, Endpoint, EntryNames, EntryState, Mark, OurEntries};
use crate::credential::Credential;

/// A credential on its way into a file.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The names of its entries.
    pub names: EntryNames,
    /// Whose access it is.
    pub mark: Mark,
    /// How consumers reach the cluster.
    pub endpoint: Endpoint,
    /// The credential.
    pub credential: Credential,
}

/// Why a file does not take credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The file cannot be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// An entry of the same name belongs to somebody else.
    #[error("{list} `{name}` is not kubemint's")]
    Foreign {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
    },
}

/// The order in which entries of ours stand in one file: that of the inventory.
#[derive(Debug, Clone, Default)]
pub struct FileOrder {
    ranks: HashMap<(List, String), usize>,
}

impl FileOrder {
    /// Ranks the entries of a file in the given order.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a EntryNames>) -> Self {
        let mut ranks = HashMap::new();
        for (rank, names) in entries.into_iter().enumerate() {
            ranks.insert((List::Clusters, names.cluster.clone()), rank);
            ranks.insert((List::Users, names.user.clone()), rank);
            ranks.insert((List::Contexts, names.context.clone()), rank);
        }
        Self { ranks }
    }
}

impl Ranking for FileOrder {
    fn rank(&self, list: List, name: &str) -> Option<usize> {
        self.ranks.get(&(list, name.to_owned())).copied()
    }
}

/// What came of a merge: the new content, and which credentials it did not take.
#[derive(Debug)]
pub struct Merged {
    /// The new content.
    pub content: Vec<u8>,
    /// Positions of incoming credentials that were refused, with the reason.
    pub refused: Vec<(usize, MergeError)>,
}

/// Brings credentials into a file.
///
/// An entry that holds a newer generation of the same grant is left as it is: another run was
/// faster. `current` names the context that becomes current; without it, the only context of a file
/// that has no current one does.
///
/// # Errors
///
/// If the file as a whole cannot be read or edited.
pub fn merge(
    before: Option<&[u8]>,
    incoming: &[Incoming],
    order: &FileOrder,
    current: Option<&str>,
) -> Result<Merged, MergeError> {
    let bytes = before.unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| MergeError::NotText)?;
    let document = Document::parse(text)?;
    let mut edits = vec![];
    let mut refused = vec![];
    let mut contexts: BTreeSet<&str> = document.context_names().collect();
    for (position, incoming) in incoming.iter().enumerate() {
        let entries = OurEntries::render(&incoming.names, &incoming.mark, &incoming.endpoint, &incoming.credential);
        match document.state(&incoming.names, &incoming.mark) {
            EntryState::Foreign { list, name } => {
                refused.push((position, MergeError::Foreign { list, name }));
                continue;
            }
            EntryState::Ours(held) => {
                let held_generation = held.credential.as_ref().map_or(0, |(stored, _)| stored.generation);
                if held_generation > incoming.credential.facts.generation || held.is_exactly(&entries) {
                    continue;
                }
            }
            EntryState::Absent => {}
        }
        contexts.insert(&incoming.names.context);
        edits.extend(entries.into_edits());
    }
    let only =
        if contexts.len() == 1 && document.current_context().is_none() { contexts.first().copied() } else { None };
    if let Some(current) = current.filter(|name| contexts.contains(name)).or(only)
        && document.current_context() != Some(current)
    {
        edits.push(Edit::CurrentContext(current.to_owned()));
    }
    let content = if edits.is_empty() { bytes.to_vec() } else { edit(bytes, &edits, order)? };
    Ok(Merged { content, refused })
}
