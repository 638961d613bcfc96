//! Carrying out what was planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::outputs::Outputs;
use super::{Fleet, FleetRun, events};
use crate::executor::Cancellation;
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::inventory::{Cluster, GrantKey};
use crate::outcome::{Carried, NotStarted};
use crate::output::Phase;
use crate::plan::ClusterPlan;
use crate::store::Manner;

/// Returns what of a plan will run: all of it, if it has steps and nothing refuses it.
pub(super) fn task(outputs: &Outputs, cluster: &Arc<Cluster>, plan: &ClusterPlan) -> Option<ApplyTask> {
    if plan.steps.is_empty() || !plan.refusals().is_empty() {
        return None;
    }
    // Several steps may be about one grant, and each place is written once.
    let concerned: BTreeSet<&GrantKey> = plan.steps.iter().filter_map(crate::step::Step::grant).collect();
    let slots = outputs.publication_slots(concerned.into_iter());
    Some(ApplyTask { cluster: Arc::clone(cluster), plan: plan.clone(), slots })
}

impl Fleet {
    /// Returns what will run of what was planned.
    pub(crate) fn apply_tasks(&self, run: &FleetRun) -> Vec<ApplyTask> {
        run.clusters.iter().filter_map(|run| task(&self.outputs, &run.cluster, run.plan()?)).collect()
    }

    /// Returns what carrying out plans needs.
    pub(super) fn apply_context(&self) -> Arc<ApplyContext> {
        Arc::new(ApplyContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            holder: self.holder().clone(),
            run: self.run.clone(),
            reissue: self.options.reissue,
            clock: self.clock,
        })
    }

    /// Carries out what was planned.
    pub(crate) async fn carry_out(
        &self,
        run: &mut FleetRun,
        tasks: Vec<ApplyTask>,
        manner: Manner,
        cancellation: &Cancellation,
    ) {
        let apply_context = self.apply_context();
        let (publisher, writing) = publisher(manner);
        let (events, shown) = events(self.progress, Phase::Applying, tasks.len());
        let work = async move { apply_clusters(apply_context, tasks, publisher, cancellation, &events).await };
        let (carried, (), ()) = tokio::join!(work, writing, shown);
        run.carried(carried);
    }
}

impl FleetRun {
    /// Leaves what was planned as it is, because the user declined or an interruption came first.
    pub(crate) fn leave(&mut self, tasks: Vec<ApplyTask>, why: NotStarted) {
        self.carried(tasks.into_iter().map(|task| (task.plan.cluster, Carried::NotStarted(why))).collect());
    }
}
