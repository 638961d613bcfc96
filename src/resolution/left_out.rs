//! Discovered clusters that an inventory cannot have: whoever may write in a hub must not be able to stop all work with one
//! object that does not fit. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Parsed;
use crate::inventory::DiscoveryId;
use crate::inventory::problem::{Location, Problem, Sources};
use crate::names::ClusterName;
use crate::wording::list;

/// Discovered clusters without which the inventory is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The source that found them.
    pub source: DiscoveryId,
    /// Which they are, and what is wrong with them, as in `` `eu`: cluster `eu` has no label `env` (clusters.toml:9:8) ``.
    pub why: String,
    /// Their names.
    pub names: Vec<String>,
}

/// Takes the discovered clusters out of the files that some problems are about: those where a problem stands, and those that it
/// names. Returns them; none, if every problem is about what was typed.
pub(super) fn take_out<'a>(
    problems: impl IntoIterator<Item = &'a Problem>,
    files: &mut [Parsed],
    sources: &Sources,
) -> Vec<LeftOut> {
    let mut by_name: BTreeMap<ClusterName, (Location, DiscoveryId)> = BTreeMap::new();
    let mut starts: BTreeMap<Location, ClusterName> = BTreeMap::new();
    for (source, parsed) in files.iter().filter_map(|parsed| Some((parsed.discovered_by.clone()?, parsed))) {
        for table in parsed.content.clusters.iter().flat_map(|list| &list.value) {
            let Some(name) = &table.value.name else { continue };
            let name = ClusterName::new(&name.value);
            by_name.insert(name.clone(), (table.location, source.clone()));
            starts.insert(table.location, name);
        }
    }
    // A table begins with its header, and what stands in it comes before the next one.
    let at = |location: Location| {
        let (start, name) = starts.range(..=location).next_back()?;
        (start.file() == location.file()).then_some(name)
    };
    let mut taken: BTreeSet<Location> = BTreeSet::new();
    let mut left_out = vec![];
    for problem in problems {
        let places = problem.secondary.iter().map(|(location, _)| *location).chain([problem.location]);
        let names: BTreeSet<&ClusterName> = places.filter_map(at).chain(&problem.about).collect();
        let mut of_source: BTreeMap<&DiscoveryId, Vec<&str>> = BTreeMap::new();
        for (name, (location, source)) in names.into_iter().filter_map(|name| Some((name, by_name.get(name)?))) {
            taken.insert(*location);
            of_source.entry(source).or_default().push(name.as_str());
        }
        if of_source.is_empty() {
            continue;
        }
        let is_typed = !files.iter().any(|it| it.discovered_by.is_some() && it.file == problem.location.file());
        let place = if is_typed { format!(" ({})", sources.position(problem.location)) } else { String::new() };
        left_out.extend(of_source.into_iter().map(|(source, names)| LeftOut {
            source: source.clone(),
            why: format!("{}: {}{place}", list(names.iter().copied(), 5), problem.message),
            names: names.into_iter().map(str::to_owned).collect(),
        }));
    }
    for tables in files.iter_mut().filter(|parsed| parsed.discovered_by.is_some()) {
        if let Some(clusters) = &mut tables.content.clusters {
            clusters.value.retain(|table| !taken.contains(&table.location));
        }
    }
    left_out
}
