//! Carrying out what was planned.

use std::sync::Arc;

use super::outputs::Outputs;
use super::{Fleet, FleetRun, events};
use crate::executor::Cancellation;
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::inventory::Cluster;
use crate::outcome::{Carried, NotStarted};
use crate::output::Phase;
use crate::plan::Assessed;
use crate::store::Manner;

/// Returns what of a plan will run: all of it, if it has steps and nothing refuses it.
pub(super) fn task(outputs: &Outputs, cluster: &Arc<Cluster>, assessed: &Assessed) -> Option<ApplyTask> {
    let Assessed { plan, assessment } = assessed;
    if plan.steps.is_empty() || !plan.refusals().is_empty() {
        return None;
    }
    Some(ApplyTask {
        cluster: Arc::clone(cluster),
        plan: plan.clone(),
        endpoint: assessment.endpoint.clone(),
        outputs: outputs.named_in(plan),
    })
}

impl Fleet {
    /// Returns what carrying out plans needs.
    pub(super) fn apply_context(&self) -> Arc<ApplyContext> {
        Arc::new(ApplyContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            run: self.run.clone(),
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
        let (events, shown) = events(self.progress, Phase::Applying, tasks.len(), self.clock);
        let work = async move { apply_clusters(apply_context, tasks, publisher, cancellation, &events).await };
        let (carried, (), timeline) = tokio::join!(work, writing, shown);
        run.carried(carried);
        run.timed(&timeline);
    }
}

impl FleetRun {
    /// Returns what will run of what was planned.
    pub(crate) fn apply_tasks(&self) -> Vec<ApplyTask> {
        self.clusters.iter().filter_map(|run| task(&run.outputs, &run.cluster, run.assessed()?)).collect()
    }

    /// Marks planned clusters as not carried out, because the user declined or an interruption came first.
    pub(crate) fn leave(&mut self, tasks: Vec<ApplyTask>, why: NotStarted) {
        self.carried(tasks.into_iter().map(|task| (task.plan.cluster, Carried::NotStarted(why))).collect());
    }
}
