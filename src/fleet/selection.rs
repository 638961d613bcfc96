//! Which grants a run is about.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::error::Error;
use crate::inventory::{Cluster, Grant, Inventory, Phase, REST};
use crate::names::{WaveName, short_hash};
use crate::report::ShardReport;
use crate::selector::Selector;
use crate::shard::Shard;

/// Which clusters a run visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visits {
    /// Those with a selected grant.
    Granted,
    /// All that are selected, even if no grant of theirs is left in the inventory.
    All,
}

/// What was chosen on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// A label selector.
    pub(crate) selector: Option<String>,
    /// Names of clusters; none means all.
    pub(crate) cluster: Vec<String>,
    /// Names of access profiles; none means all.
    pub(crate) profile: Vec<String>,
    /// Names of waves; none means all.
    pub(crate) wave: Vec<String>,
    /// The first wave; those before it are left out.
    pub(crate) from_wave: Option<String>,
    /// Clusters that are worked on at the same time, instead of the inventory's number.
    pub(crate) concurrency: Option<u16>,
    /// The part of the fleet; all of it if there is none.
    pub(crate) shard: Option<Shard>,
    /// What only the parts of one run have in common.
    pub(crate) job: Option<String>,
}

/// A cluster that a run is about, with the selected grants on it.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// The grants; none if no grant is left in the inventory.
    pub(crate) grants: Vec<Arc<Grant>>,
    /// Selected grants that have not begun, or have ended.
    pub(crate) outside: Vec<Arc<Grant>>,
    /// The wave that it is in; nothing if the inventory has no waves.
    pub(crate) wave: Option<WaveName>,
    /// Where it stands among all that were selected, whichever part they are in.
    pub(crate) position: usize,
}

/// Returns the selected grants by cluster, in the order of the inventory.
///
/// # Errors
///
/// If a name is unknown, the selector is malformed, or nothing is selected.
pub(crate) fn select(inventory: &Inventory, args: &Selection, visits: Visits) -> Result<Vec<Selected>, Error> {
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
    let is_wanted = |grant: &&Arc<Grant>| {
        args.profile.is_empty() || args.profile.iter().any(|name| name == grant.profile.name.as_str())
    };
    let clusters = inventory.clusters.iter().filter(|cluster| is_meant(cluster));
    let mut selected: Vec<Selected> = clusters
        .map(|cluster| Selected {
            cluster: Arc::clone(cluster),
            grants: inventory.grants_on(&cluster.name).iter().filter(is_wanted).cloned().collect(),
            outside: vec![],
            wave: inventory.wave_of(cluster),
            position: 0,
        })
        .collect();
    if let Some(waves) = waves(inventory, args)? {
        selected.retain(|selected| selected.wave.as_ref().is_some_and(|wave| waves.contains(wave)));
    }
    if visits == Visits::Granted {
        selected.retain(|selected| !selected.grants.is_empty());
    }
    if selected.is_empty() {
        return Err(Error::usage("no grant is selected")
            .hint("loosen `--selector`, `--cluster`, `--profile` and `--wave`, or add `[[grants]]` to the inventory"));
    }
    // It stays until the end of a run.
    selected.shrink_to_fit();
    for (position, selected) in selected.iter_mut().enumerate() {
        selected.position = position;
    }
    // A part may be empty: the others have what there is.
    if let Some(shard) = args.shard {
        selected.retain(|selected| shard.has(&selected.cluster.name));
    }
    Ok(selected)
}

/// Says which part of a fleet a report is about.
pub(crate) fn shard_report(args: &Selection, selected: &[Selected], inventory: &Inventory) -> Option<ShardReport> {
    let Shard { index, of } = args.shard?;
    let positions = selected.iter().map(|selected| (selected.cluster.name.clone(), selected.position)).collect();
    Some(ShardReport {
        index,
        of,
        inventory_digest: inventory.digest.clone(),
        selection_digest: args.digest(),
        job: args.job.clone(),
        positions,
    })
}

impl Selection {
    /// Identifies what was chosen, in whichever order; how it is worked on and in which part does not matter.
    fn digest(&self) -> String {
        let Self { selector, cluster, profile, wave, from_wave, concurrency: _, shard: _, job: _ } = self;
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            names
        };
        let chosen = serde_json::json!([selector, sorted(cluster), sorted(profile), sorted(wave), from_wave]);
        short_hash(&[&chosen.to_string()])
    }
}

impl Selected {
    /// Sets the grants aside that do not hold at a time.
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        let holds = |grant: &Arc<Grant>| grant.period.phase(now) == Phase::During;
        (self.grants, self.outside) = self.grants.into_iter().partition(holds);
        self
    }
}

/// Returns the waves that were chosen; nothing if none were.
fn waves(inventory: &Inventory, args: &Selection) -> Result<Option<HashSet<WaveName>>, Error> {
    let rest = WaveName::new(REST);
    let all = || inventory.waves.iter().map(|wave| &wave.name).chain([&rest]);
    for name in args.wave.iter().chain(&args.from_wave) {
        if inventory.waves.is_empty() {
            return Err(Error::usage("the inventory has no waves").hint("add `[[rollout]]` to it"));
        }
        known("wave", name, all().map(WaveName::as_str))?;
    }
    let is_chosen = |name: &&WaveName| args.wave.is_empty() || args.wave.iter().any(|wave| wave == name.as_str());
    Ok(match &args.from_wave {
        Some(first) => Some(all().skip_while(|name| name.as_str() != first).filter(is_chosen).cloned().collect()),
        None if args.wave.is_empty() => None,
        None => Some(all().filter(is_chosen).cloned().collect()),
    })
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
