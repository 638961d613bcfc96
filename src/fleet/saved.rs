//! Saving what was planned, and planning again what was saved.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Fleet, FleetRun};
use crate::executor::Cancellation;
use crate::names::ClusterName;
use crate::outcome::Planned;
use crate::plan::{Blocker, BlockerKind};
use crate::saved::{SavedCluster, SavedPlan};

/// What happens to clusters that are not as they were when a plan was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replan {
    /// They are planned anew.
    Moved,
    /// They are left.
    Nothing,
}

impl Fleet {
    /// Saves what was planned.
    pub(crate) fn save(&self, run: &FleetRun, inventory_digest: String) -> SavedPlan {
        let clusters = run
            .clusters
            .iter()
            .map(|run| SavedCluster::new(&run.cluster, run.grants.iter().map(|grant| &**grant), &run.planned));
        let plan =
            SavedPlan::new(self.clock.began(), self.inventory.name.clone(), inventory_digest, self.holder().clone());
        SavedPlan { clusters: clusters.collect(), ..plan }
    }

    /// Plans again what was saved, as of the time when it was saved, and blocks the clusters where another plan is made
    /// now. With [`Replan::Moved`], these are planned as of now. Returns their names as well.
    pub(crate) async fn plan_saved(
        &mut self,
        saved: &SavedPlan,
        replan: Replan,
        cancellation: &Cancellation,
    ) -> (FleetRun, BTreeSet<ClusterName>) {
        self.remember_objects();
        self.as_of = saved.times().map(|(cluster, time)| (cluster.clone(), time)).collect();
        // What blocks clusters beside each other is a part of what was reviewed.
        let mut run = self.plan(cancellation).await;
        let by_name: HashMap<&ClusterName, &SavedCluster> =
            saved.clusters.iter().map(|saved| (&saved.name, saved)).collect();
        let mut moved = BTreeSet::new();
        for cluster in &mut run.clusters {
            let Planned::Plan(assessed) = &mut cluster.planned else { continue };
            let saved = by_name.get(&cluster.cluster.name);
            let blocker = saved.map_or_else(|| Some(unknown()), |saved| saved.moved(assessed));
            if let Some(blocker) = blocker {
                moved.insert(cluster.cluster.name.clone());
                let plan = &mut Arc::make_mut(assessed).plan;
                plan.blockers.push(blocker);
                plan.steps.clear();
            }
        }
        if replan == Replan::Moved && !moved.is_empty() {
            self.as_of.clear();
            self.plan_anew(&mut run, &moved, cancellation).await;
        }
        (run, moved)
    }
}

/// Says that a cluster is not in the saved plan: somebody removed it there.
fn unknown() -> Blocker {
    Blocker {
        kind: BlockerKind::NotInPlan,
        profile: None,
        message: "the saved plan does not name it".to_owned(),
        hint: Some("plan it anew with `--replan`".to_owned()),
    }
}
