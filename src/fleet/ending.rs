//! Grants that have ended: their access, credentials and entries are removed.

use std::sync::Arc;

use super::outputs::Leavings;
use super::rollout::Order;
use super::{Fleet, FleetRun, Selected, Wanted};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::observe::CommonParts;
use crate::executor::revoke::{RevokeContext, RevokeTask, plan_revocations};
use crate::foreign::shown;
use crate::inventory::{Grant, Phase as TimeOf};
use crate::output::Phase;
use crate::plan::{RevokeDepth, RevokeGrant, RevokeOptions, RevokeTarget, Vanished, block_duplicates};
use crate::report::ClusterReport;
use crate::store::Manner;

impl Fleet {
    /// Plans revocations on some clusters, with the removal of the entries that `leaving` says.
    ///
    /// # Errors
    ///
    /// If the outputs could not be read because the program is ending.
    pub(crate) async fn plan_revocations(
        &self,
        selected: &[Selected],
        options: RevokeOptions,
        leaving: Option<Wanted>,
        cancellation: &Cancellation,
    ) -> Result<FleetRun, Error> {
        let leavings = match leaving {
            Some(wanted) => self.reading.clone().leavings(wanted).await?,
            None => Leavings::default(),
        };
        for warning in &leavings.unsearched {
            self.printer.problem(&format!("warning: {}\n", shown(warning)));
        }
        let is_about_access = options.depth == RevokeDepth::Access;
        let grant = |grant: &Arc<Grant>| RevokeGrant {
            grant: Arc::clone(grant),
            held: self.outputs.sources(&grant.key()),
            origins: self.outputs.origins(grant),
        };
        let tasks = selected.iter().map(|selected| RevokeTask {
            cluster: Arc::clone(&selected.cluster),
            grants: selected.grants.iter().map(grant).collect(),
            leaving: leavings.steps(&selected.cluster.name),
        });
        let tasks: Vec<RevokeTask> = tasks.collect();
        let context = Arc::new(RevokeContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            options,
            clock: self.clock,
            common: CommonParts::default(),
        });
        let (events, shown) = self.follower.events(Phase::Planning, None, tasks.len());
        // The display ends with the last sender, which is dropped at the end of this block.
        let work = async move { plan_revocations(context, tasks, cancellation, &events).await };
        let (planned, timeline) = tokio::join!(work, shown);
        let mut run = FleetRun::planned(selected, planned, &self.outputs);
        run.timed(&timeline);
        if is_about_access {
            block_duplicates(&mut run.planned_mut().map(|(assessed, _)| assessed).collect::<Vec<_>>());
        }
        for (assessed, _) in run.planned_mut() {
            let plan = &mut assessed.plan;
            plan.notes.extend(leavings.notes(&plan.cluster));
            let mistaken = leavings.mistaken(&plan.cluster, &plan.cluster_uid);
            plan.blockers.extend(mistaken.filter(|_| is_about_access && !plan.steps.is_empty()));
        }
        run.is_unsearched = !leavings.unsearched.is_empty();
        Ok(run)
    }

    /// Removes the access, credentials and entries of grants that have ended; without a manner of writing, only plans
    /// that. Returns a report for each cluster that has such grants.
    ///
    /// # Errors
    ///
    /// If the outputs could not be read because the program is ending.
    pub(crate) async fn end_grants(
        &self,
        manner: Option<Manner>,
        cancellation: &Cancellation,
    ) -> Result<Vec<ClusterReport>, Error> {
        let now = self.clock.now();
        let ended = self.selected.iter().filter_map(|selected| {
            let outside = selected.outside.iter().filter(|grant| grant.period.phase(now) == TimeOf::After);
            let grants: Vec<Arc<Grant>> = outside.cloned().collect();
            (!grants.is_empty()).then(|| Selected { grants, outside: vec![], ..selected.clone() })
        });
        let ended: Vec<Selected> = ended.collect();
        if ended.is_empty() || cancellation.no_new.is_cancelled() {
            return Ok(vec![]);
        }
        let options = RevokeOptions {
            holder: self.holder().clone(),
            target: RevokeTarget::Everybody,
            depth: RevokeDepth::Access,
            awaits: false,
            vanished: Vanished::Name,
            orphan_after: self.options.orphan_after,
        };
        let grants = ended.iter().flat_map(|selected| &selected.grants).map(|grant| grant.key()).collect();
        let mut run = self.plan_revocations(&ended, options, Some(Wanted::Grants(grants)), cancellation).await?;
        let Some(manner) = manner else { return Ok(run.planned_reports()) };
        let tasks = run.apply_tasks();
        // What has ended must not wait for a wave.
        self.carry_out(&mut run, tasks, (manner, Order::Together), cancellation, &async |_: &str| true).await;
        Ok(run.into_reports(self.holder()))
    }
}
