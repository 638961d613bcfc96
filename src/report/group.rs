//! Clusters about which the same is said, so that a renderer says it once.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;

use crate::names::ClusterName;

/// Clusters about which the same is said.
#[derive(Debug)]
pub(super) struct Group<'a, T> {
    /// What is said.
    pub(super) said: T,
    /// The clusters, in the order of the inventory.
    pub(super) clusters: Vec<&'a ClusterName>,
}

/// Groups clusters by what is said about each, in the order of the first of each group.
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
