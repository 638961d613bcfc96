//! Groups clusters with equal content, so that a renderer shows it once.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;

use crate::names::ClusterName;

/// Clusters with equal content.
#[derive(Debug)]
pub(super) struct Group<'a, T> {
    /// The content.
    pub(super) said: T,
    /// The clusters, in the order of the inventory.
    pub(super) clusters: Vec<&'a ClusterName>,
}

/// Groups clusters by their content, in the order of the first cluster of each group.
pub(super) fn grouped<'a, T: Ord + Clone>(said: impl IntoIterator<Item = (&'a ClusterName, T)>) -> Vec<Group<'a, T>> {
    let mut groups: Vec<Group<'a, T>> = vec![];
    let mut known: BTreeMap<T, usize> = BTreeMap::new();
    for (cluster, said) in said {
        let at = *known.entry(said).or_insert_with_key(|said| {
            groups.push(Group { said: said.clone(), clusters: vec![] });
            groups.len() - 1
        });
        groups[at].clusters.push(cluster);
    }
    groups
}
