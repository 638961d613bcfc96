//! The order of our entries in one file.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};

use super::EntryNames;
use super::edit::{List, Ranking};

/// The order in which entries of ours stand in one file: that of the inventory.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileOrder {
    ranks: HashMap<(List, String), usize>,
    /// The names of all contexts.
    pub(super) contexts: BTreeSet<String>,
}

impl FileOrder {
    /// Ranks the entries of a file in the given order.
    pub(crate) fn new<'a>(entries: impl IntoIterator<Item = &'a EntryNames>) -> Self {
        let mut ranks = HashMap::new();
        let mut contexts = BTreeSet::new();
        for (rank, names) in entries.into_iter().enumerate() {
            contexts.insert(names.context.clone());
            ranks.insert((List::Clusters, names.cluster.clone()), rank);
            ranks.insert((List::Users, names.user.clone()), rank);
            ranks.insert((List::Contexts, names.context.clone()), rank);
        }
        Self { ranks, contexts }
    }
}

impl Ranking for FileOrder {
    fn rank(&self, list: List, name: &str) -> Option<usize> {
        self.ranks.get(&(list, name.to_owned())).copied()
    }
}
