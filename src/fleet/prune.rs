//! Pruning: the limits that keep it from running away.
//!
//! An inventory that lost a part of itself looks like one from which grants were removed on purpose. So the whole run stops
//! before its first write where more would be pruned than a share of what is there.

use std::collections::BTreeSet;

use super::outputs::{Leavings, Reading, Wanted};
use super::{Fleet, FleetRun};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::foreign::shown;
use crate::inventory::Budget;
use crate::names::ClusterName;
use crate::output::Printer;
use crate::plan::{Blocker, BlockerKind};
use crate::wording::{count, list};

/// How many grants may be pruned, if nothing else is said.
pub(crate) const MAX_PRUNE: Budget = Budget::Percent(10);

/// Finds the entries that nothing explains.
///
/// # Errors
///
/// If the inventory grants nothing at all: then nothing explains anything.
pub(super) async fn leavings(reading: &Reading, printer: Printer) -> Result<Leavings, Error> {
    let inventory = &reading.inventory;
    if inventory.clusters.iter().all(|cluster| inventory.grants_on(&cluster.name).is_empty()) {
        return Err(Error::new(
            ExitCode::Blocked,
            "the inventory grants nothing, so `--prune` would remove everything",
        )
        .hint("see whether it is whole; `kubemint retire --cluster NAME` removes what is on a cluster"));
    }
    let leavings = reading.clone().leavings(Wanted::Unexplained).await?;
    for warning in &leavings.warnings {
        printer.problem(&format!("warning: {}\n", shown(warning)));
    }
    Ok(leavings)
}

impl Fleet {
    /// Blocks the clusters where something would be pruned, if that is more than may be.
    pub(super) fn limit_prune(&self, run: &mut FleetRun) {
        let Some(blocker) = self.too_much(run) else { return };
        for (assessed, _) in run.planned_mut().filter(|(assessed, _)| !assessed.plan.prunes.is_empty()) {
            assessed.plan.blockers.push(blocker.clone());
        }
    }

    /// Says why a run would prune too much, if it would.
    fn too_much(&self, run: &FleetRun) -> Option<Blocker> {
        let plans = || run.clusters.iter().filter_map(|run| Some((run, run.plan()?)));
        let pruned: usize = plans().map(|(_, plan)| plan.prunes.len()).sum();
        if pruned == 0 {
            return None;
        }
        // Clusters that could not be read count for nothing.
        let kept: usize = plans().map(|(run, _)| run.grants.len() + run.outside.len()).sum();
        let blocker =
            |message, hint| Some(Blocker { kind: BlockerKind::PruneCeiling, profile: None, message, hint: Some(hint) });
        if pruned > self.max_prune.of(pruned + kept) {
            let message = format!(
                "`--prune` would remove {pruned} of {}, and `--max-prune` is {}: nothing is done anywhere",
                count(pruned + kept, "grant"),
                self.max_prune
            );
            let hint = format!(
                "look at `kubemint plan --prune`, see whether the inventory is whole, and pass `--max-prune {pruned}` if it is"
            );
            return blocker(message, hint);
        }
        let gone = self.gone_clusters();
        let all = gone.len() + self.inventory.clusters.len();
        if gone.len() > self.max_prune.of(all) {
            let message = format!(
                "the outputs know {} that {} not in the inventory ({}), and `--max-prune` is {}: nothing is done anywhere",
                count(gone.len(), "cluster"),
                if gone.len() == 1 { "is" } else { "are" },
                list(gone.iter().map(|cluster| cluster.as_str()), 5),
                self.max_prune
            );
            let hint = "see whether the inventory is whole; `kubemint retire --forget --cluster NAME` removes the entries \
                        of a cluster that is gone for good";
            return blocker(message, hint.to_owned());
        }
        None
    }

    /// Returns the clusters that entries in the outputs name, and the inventory does not.
    fn gone_clusters(&self) -> BTreeSet<&ClusterName> {
        let known: BTreeSet<&ClusterName> = self.inventory.clusters.iter().map(|cluster| &cluster.name).collect();
        self.leavings.clusters.iter().filter(|cluster| !known.contains(cluster)).collect()
    }
}
