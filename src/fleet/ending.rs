//! Grants that have ended: their access, credentials and entries are removed.

use std::collections::HashMap;
use std::sync::Arc;

use super::rollout::Order;
use super::{ClusterRun, Fleet, FleetRun, Selected};
use crate::executor::Cancellation;
use crate::executor::revoke::{RevokeContext, RevokeTask, plan_revocations};
use crate::failure::StepFailure;
use crate::inventory::{Grant, Phase as TimeOf};
use crate::names::ClusterName;
use crate::outcome::{Applied, Carried, StepFailed};
use crate::output::Phase;
use crate::plan::{RevokeDepth, RevokeGrant, RevokeOptions, RevokeTarget, Vanished};
use crate::report::ClusterReport;
use crate::store::Manner;

impl Fleet {
    /// Plans revocations on some clusters.
    pub(crate) async fn plan_revocations(
        &self,
        selected: &[Selected],
        options: RevokeOptions,
        cancellation: &Cancellation,
    ) -> FleetRun {
        let grant =
            |grant: &Arc<Grant>| RevokeGrant { grant: Arc::clone(grant), held: self.outputs.sources(&grant.key()) };
        let tasks = selected.iter().map(|selected| RevokeTask {
            cluster: Arc::clone(&selected.cluster),
            grants: selected.grants.iter().map(grant).collect(),
        });
        let tasks: Vec<RevokeTask> = tasks.collect();
        let context = Arc::new(RevokeContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            options,
            clock: self.clock,
        });
        let (events, shown) = self.follower.events(Phase::Planning, None, tasks.len());
        // The display ends with the last sender, which is dropped at the end of this block.
        let work = async move { plan_revocations(context, tasks, cancellation, &events).await };
        let (planned, timeline) = tokio::join!(work, shown);
        let mut run = FleetRun::planned(selected, planned, &self.outputs);
        run.timed(&timeline);
        run
    }

    /// Removes the entries of grants without access from the output files. The access was removed now, or by an earlier
    /// run that got no further.
    pub(crate) fn remove_entries(&self, run: &mut FleetRun, manner: Manner) {
        let is_gone = |run: &&ClusterRun| match (&run.carried, run.plan()) {
            (Some(Carried::Out(applied)), _) => applied.failure.is_none(),
            (Some(Carried::NotStarted(_)), _) | (None, None) => false,
            (None, Some(plan)) => plan.is_empty(),
        };
        let gone = run.clusters.iter().filter(is_gone);
        let grants: Vec<Arc<Grant>> = gone.flat_map(|run| run.grants.iter().cloned()).collect();
        let mut failures: HashMap<ClusterName, StepFailure> = HashMap::new();
        for (cluster, failure) in self.outputs.remove_entries(&grants, &self.inventory, manner) {
            failures.entry(cluster).or_insert(failure);
        }
        for run in &mut run.clusters {
            let Some(failure) = failures.remove(&run.cluster.name) else { continue };
            let mut applied = run.applied().cloned().unwrap_or_else(Applied::nothing);
            let of = applied.done.len();
            let doing = "remove the entries from the outputs".to_owned();
            applied.failure.get_or_insert(StepFailed { number: of, of, doing, failure });
            run.carried = Some(Carried::Out(applied));
        }
    }

    /// Removes the access, credentials and entries of grants that have ended; without a manner of writing, only plans
    /// that. Returns a report for each cluster that has such grants.
    pub(crate) async fn end_grants(&self, manner: Option<Manner>, cancellation: &Cancellation) -> Vec<ClusterReport> {
        let now = self.clock.now();
        let ended = self.selected.iter().filter_map(|selected| {
            let outside = selected.outside.iter().filter(|grant| grant.period.phase(now) == TimeOf::After);
            let grants: Vec<Arc<Grant>> = outside.cloned().collect();
            (!grants.is_empty()).then(|| Selected { grants, outside: vec![], ..selected.clone() })
        });
        let ended: Vec<Selected> = ended.collect();
        if ended.is_empty() || cancellation.no_new.is_cancelled() {
            return vec![];
        }
        let options = RevokeOptions {
            holder: self.holder().clone(),
            target: RevokeTarget::Everybody,
            depth: RevokeDepth::Access,
            awaits: false,
            vanished: Vanished::Name,
            orphan_after: self.options.orphan_after,
        };
        let mut run = self.plan_revocations(&ended, options, cancellation).await;
        let Some(manner) = manner else { return run.planned_reports() };
        let tasks = run.apply_tasks();
        // What has ended must not wait for a wave.
        self.carry_out(&mut run, tasks, (manner, Order::Together), cancellation, &async |_: &str| true).await;
        self.remove_entries(&mut run, manner);
        run.reports(self.holder())
    }
}
