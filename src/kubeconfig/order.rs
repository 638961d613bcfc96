//! The order of our entries in one file.
//!
//! Pure: no I/O, no clock.

use super::EntryNames;
use super::edit::{List, Ranking};

/// The order in which entries of ours stand in one file: that of the inventory.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileOrder {
    /// Sorted by list and name.
    ranks: Box<[(List, Box<str>, usize)]>,
}

impl FileOrder {
    /// Ranks the entries of a file in the given order.
    pub(crate) fn new<'a>(entries: impl IntoIterator<Item = &'a EntryNames>) -> Self {
        let ranks = entries.into_iter().enumerate().flat_map(|(rank, names)| {
            let EntryNames { cluster, user, context, .. } = names;
            let named = [(List::Clusters, cluster), (List::Users, user), (List::Contexts, context)];
            named.map(|(list, name)| (list, name.as_str(), rank))
        });
        let mut ranks: Vec<(List, &str, usize)> = ranks.collect();
        ranks.sort_unstable();
        // An entry that several share stands where the last of them does.
        ranks.dedup_by(|later, earlier| {
            let is_same = (later.0, later.1) == (earlier.0, earlier.1);
            if is_same {
                earlier.2 = later.2;
            }
            is_same
        });
        Self { ranks: ranks.into_iter().map(|(list, name, rank)| (list, name.into(), rank)).collect() }
    }

    /// Returns how many entries of ours there are.
    pub(crate) fn entries(&self) -> usize {
        self.ranks.len()
    }

    /// Returns the names of all contexts.
    pub(super) fn contexts(&self) -> impl Iterator<Item = &str> {
        self.ranks.iter().filter(|(list, ..)| *list == List::Contexts).map(|(_, name, _)| &**name)
    }
}

impl Ranking for FileOrder {
    fn rank(&self, list: List, name: &str) -> Option<usize> {
        let found = self.ranks.binary_search_by(|(in_list, known, _)| (*in_list, &**known).cmp(&(list, name)));
        found.ok().map(|position| self.ranks[position].2)
    }
}
