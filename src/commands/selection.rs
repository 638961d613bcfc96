//! Which grants a run is about.

use std::collections::BTreeMap;

use crate::cli::SelectionArgs;
use crate::error::Error;
use crate::inventory::{Cluster, Inventory};
use crate::names::ClusterName;
use crate::selector::Selector;

/// Which clusters a run visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visits {
    /// Those with a selected grant.
    Granted,
    /// All that are selected, also those whose last grant left the inventory.
    All,
}

/// Returns the selected grants by cluster, in the order of the inventory.
///
/// # Errors
///
/// If a name is unknown, the selector is malformed, or nothing is selected.
pub(super) fn select(
    inventory: &Inventory,
    args: &SelectionArgs,
    visits: Visits,
) -> Result<Vec<(ClusterName, Vec<usize>)>, Error> {
    for name in &args.cluster {
        known("cluster", name, inventory.clusters.iter().map(|cluster| cluster.name.as_str()))?;
    }
    for name in &args.profile {
        known("profile", name, inventory.profiles.keys().map(crate::names::ProfileName::as_str))?;
    }
    let selector = match &args.selector {
        Some(text) => Some(
            Selector::parse(text)
                .map_err(|error| Error::usage(format!("invalid selector `{text}`")).because(error.to_string()))?,
        ),
        None => None,
    };
    let is_meant = |cluster: &Cluster| {
        selector.as_ref().is_none_or(|selector| selector.matches(&cluster.labels))
            && (args.cluster.is_empty() || args.cluster.iter().any(|name| name == cluster.name.as_str()))
    };
    let mut selected: Vec<(ClusterName, Vec<usize>)> = vec![];
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, grant) in inventory.grants.iter().enumerate() {
        let (cluster, profile) = (&grant.cluster, &grant.profile);
        let is_selected = is_meant(cluster)
            && (args.profile.is_empty() || args.profile.iter().any(|name| name == profile.name.as_str()));
        if !is_selected {
            continue;
        }
        let position = *positions.entry(cluster.name.as_str()).or_insert_with(|| {
            selected.push((cluster.name.clone(), vec![]));
            selected.len() - 1
        });
        selected[position].1.push(index);
    }
    if visits == Visits::All {
        let bare = inventory.clusters.iter().filter(|cluster| is_meant(cluster));
        let bare = bare.filter(|cluster| !positions.contains_key(cluster.name.as_str()));
        selected.extend(bare.map(|cluster| (cluster.name.clone(), vec![])));
    }
    if selected.is_empty() {
        return Err(Error::usage("no grant is selected")
            .hint("loosen `--selector`, `--cluster` and `--profile`, or add `[[grants]]` to the inventory"));
    }
    Ok(selected)
}

fn known<'a>(kind: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), Error> {
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let error = Error::usage(format!("the inventory has no {kind} `{name}`"));
    let nearest = names
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|(left, _), (right, _)| left.total_cmp(right));
    Err(match nearest {
        Some((likeness, nearest)) if likeness > 0.7 => error.hint(format!("did you mean {kind} `{nearest}`?")),
        _ => error,
    })
}
