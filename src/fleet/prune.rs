//! Pruning: the limits that keep it from running away.
//!
//! An inventory that lost a part of itself looks like one from which grants were removed on purpose. So the whole run stops
//! before its first write where more would be pruned than a share of what is there.

use std::collections::BTreeSet;

use super::outputs::{Leavings, Reading, Wanted};
use super::{Fleet, FleetRun};
use crate::error::Error;
use crate::event::{End, Event};
use crate::exit_code::ExitCode;
use crate::foreign::shown;
use crate::inventory::{Budget, GrantKey, Inventory};
use crate::names::ClusterName;
use crate::output::{Phase, Printer};
use crate::plan::{Blocker, BlockerKind};
use crate::wording::{count, list};

/// How many grants may be pruned, if nothing else is said.
pub(crate) const MAX_PRUNE: Budget = Budget::Percent(10);

/// Clusters that a message names.
const NAMED: usize = 5;

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
    if !inventory.undiscovered.is_empty() {
        // What is not known may not be gone.
        let message = format!("nothing is pruned, because {}", incomplete(inventory));
        printer.problem(&format!("warning: {message}\n"));
        let mut nothing = Leavings::default();
        nothing.unsearched.push(message);
        return Ok(nothing);
    }
    let leavings = reading.clone().leavings(Wanted::Unexplained).await?;
    for warning in &leavings.unsearched {
        printer.problem(&format!("warning: {}\n", shown(warning)));
    }
    let gone = gone_clusters(&leavings, inventory);
    if !gone.is_empty() {
        let gone = list(gone.iter().map(|cluster| cluster.as_str()), NAMED);
        printer.problem(&format!(
            "warning: outputs have entries of clusters that are not in the inventory: {}; `kubemint retire --forget \
             --cluster NAME` removes those of a cluster that is gone for good, `--gone` those of all\n",
            shown(&gone)
        ));
    }
    Ok(leavings)
}

/// Returns the clusters that contexts in the outputs name, and the inventory does not.
pub(super) fn gone_clusters<'a>(leavings: &'a Leavings, inventory: &Inventory) -> BTreeSet<&'a ClusterName> {
    let known: BTreeSet<&ClusterName> = inventory.clusters.iter().map(|cluster| &cluster.name).collect();
    leavings.clusters.iter().filter(|cluster| !known.contains(cluster)).collect()
}

impl Fleet {
    /// Blocks the clusters where something would be pruned, if that is more than may be, or if they are others than those
    /// that the outputs know.
    pub(super) fn limit_prune(&self, run: &mut FleetRun) {
        for (assessed, _) in run.planned_mut() {
            let plan = &mut assessed.plan;
            plan.note(self.leavings.notes(&plan.cluster));
            let mistaken = self.leavings.mistaken(&plan.cluster, &plan.cluster_uid);
            if let Some(mistaken) = mistaken.filter(|_| !plan.prunes.is_empty()) {
                plan.block(mistaken);
            }
        }
        let Some(blocker) = self.too_much(run) else { return };
        let mut late = vec![];
        for (assessed, _) in run.planned_mut().filter(|(assessed, _)| !assessed.plan.prunes.is_empty()) {
            assessed.plan.block(blocker.clone());
            late.push(assessed.plan.cluster.clone());
        }
        // Planning itself found nothing that blocks them, so the trail does not know yet.
        let Some(trail) = &self.follower.trail else { return };
        for cluster in late {
            trail.add(Phase::Planning, self.clock.now(), &Event::Finished { cluster, end: End::Blocked });
        }
    }

    /// Says why a run would prune too much, if it would.
    fn too_much(&self, run: &FleetRun) -> Option<Blocker> {
        let plans = run.clusters.iter().filter_map(super::ClusterRun::plan);
        let pruned: BTreeSet<GrantKey> = plans
            .flat_map(|plan| {
                plan.prunes.iter().map(|profile| GrantKey { cluster: plan.cluster.clone(), profile: profile.clone() })
            })
            .collect();
        if pruned.is_empty() {
            return None;
        }
        let blocker =
            |message, hint| Some(Blocker { kind: BlockerKind::PruneCeiling, profile: None, message, hint: Some(hint) });
        // The whole inventory counts, so that a run on a part of it is judged alike.
        let vanished = pruned.iter().filter(|grant| self.inventory.grant(grant).is_none()).count();
        let all = vanished + self.inventory.grants.len();
        let most = self.max_prune;
        if pruned.len() > most.of(all) {
            let message = format!(
                "`--prune` would remove objects or entries of {} of {}, and `--max-prune` is {most}: nothing is done \
                 anywhere",
                pruned.len(),
                count(all, "grant"),
            );
            let hint = format!(
                "look at `kubemint plan --prune`, see whether the inventory is whole, and plan with `--max-prune {}` if it is",
                pruned.len()
            );
            return blocker(message, hint);
        }
        // A number is one of grants, so it says nothing about clusters.
        let most = if matches!(most, Budget::Percent(_)) { most } else { MAX_PRUNE };
        let gone = gone_clusters(&self.leavings, &self.inventory);
        let all = gone.len() + self.inventory.clusters.len();
        if gone.len() > most.of(all) {
            let message = format!(
                "the outputs know {} of {all} that the inventory does not have ({}), and at most {most} may be gone where \
                 something is pruned: nothing is done anywhere",
                count(gone.len(), "cluster"),
                list(gone.iter().map(|cluster| cluster.as_str()), NAMED),
            );
            let hint = "see whether the inventory is whole; `kubemint retire --forget --cluster NAME` removes the entries \
                        of a cluster that is gone for good, and `--max-prune P%` allows a larger share";
            return blocker(message, hint.to_owned());
        }
        None
    }
}

/// Says whose clusters are not all known.
pub(super) fn incomplete(inventory: &Inventory) -> String {
    let sources = inventory.undiscovered_sources();
    let sources = list(sources.iter().map(String::as_str), NAMED);
    format!("not all clusters of discovery {sources} are known")
}
