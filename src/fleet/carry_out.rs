//! Carrying out what was planned.

use std::collections::HashMap;
use std::sync::Arc;

use super::outputs::Outputs;
use super::rollout::{Order, Part};
use super::{Fleet, FleetRun, Timeline};
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::executor::{Cancellation, Pace};
use crate::inventory::Cluster;
use crate::names::ClusterName;
use crate::outcome::{Carried, NotStarted};
use crate::output::Phase;
use crate::plan::Assessed;
use crate::store::Manner;

/// Returns what of a plan will run: all of it, if it has steps and nothing refuses it.
pub(super) fn task(outputs: &Outputs, cluster: &Arc<Cluster>, assessed: &Arc<Assessed>) -> Option<ApplyTask> {
    let plan = &assessed.plan;
    if plan.steps.is_empty() || !plan.refusals().is_empty() {
        return None;
    }
    let outputs = outputs.named_in(plan);
    Some(ApplyTask { cluster: Arc::clone(cluster), assessed: Arc::clone(assessed), outputs })
}

impl Fleet {
    /// Returns what carrying out plans needs.
    pub(super) fn apply_context(&self) -> Arc<ApplyContext> {
        Arc::new(ApplyContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            run: self.run.clone(),
            clock: self.clock,
            kept: self.kept.clone(),
            hubs: Arc::clone(&self.hubs),
        })
    }

    /// Carries out what was planned, wave by wave or all together. `agrees` asks before a wave that wants that.
    pub(crate) async fn carry_out(
        &self,
        run: &mut FleetRun,
        tasks: Vec<ApplyTask>,
        (manner, order): (Manner, Order),
        cancellation: &Cancellation,
        agrees: &impl AsyncFn(&str) -> bool,
    ) {
        let mut rollout = self.rollout(cancellation, agrees);
        let mut tasks = tasks;
        for part in self.parts(order) {
            let (of_part, others) = tasks.into_iter().partition(|task| part.clusters.contains(&task.cluster.name));
            let of_part: Vec<ApplyTask> = of_part;
            tasks = others;
            if of_part.is_empty() {
                continue;
            }
            match rollout.start(&part, of_part.len()).await {
                Ok(pace) => {
                    let (mut carried, timeline) = self.carry_out_part(of_part, pace, &part, manner, cancellation).await;
                    rollout.end(&part, tasks.is_empty(), carried.iter_mut()).await;
                    run.carried(carried);
                    run.timed(&timeline);
                }
                Err(why) => run.leave(of_part, why),
            }
        }
    }

    async fn carry_out_part(
        &self,
        tasks: Vec<ApplyTask>,
        pace: Pace,
        part: &Part,
        manner: Manner,
        cancellation: &Cancellation,
    ) -> (HashMap<ClusterName, Carried>, Timeline) {
        let apply_context = self.apply_context();
        let (publisher, writing) = publisher(manner);
        let (events, shown) = self.follower.events(Phase::Applying, part.name.as_ref(), tasks.len());
        let work = async move { apply_clusters(apply_context, tasks, pace, publisher, cancellation, &events).await };
        let (carried, (), timeline) = tokio::join!(work, writing, shown);
        (carried, timeline)
    }
}

impl Fleet {
    /// Returns what will run of what was planned, and lets go of what the outputs held: the tasks have what they need of that.
    pub(crate) fn last_tasks(&mut self, run: &mut FleetRun) -> Vec<ApplyTask> {
        let tasks = run.apply_tasks();
        self.outputs = Arc::default();
        run.clusters.iter_mut().for_each(|run| run.outputs = Arc::clone(&self.outputs));
        tasks
    }
}

impl FleetRun {
    /// Returns what will run of what was planned.
    pub(crate) fn apply_tasks(&self) -> Vec<ApplyTask> {
        self.clusters.iter().filter_map(|run| task(&run.outputs, &run.cluster, run.assessed()?)).collect()
    }

    /// Marks planned clusters as not carried out, because the user declined or an interruption came first.
    pub(crate) fn leave(&mut self, tasks: Vec<ApplyTask>, why: NotStarted) {
        self.carried(tasks.into_iter().map(|task| (task.cluster.name.clone(), Carried::NotStarted(why))).collect());
    }
}
