//! What `apply`, `refresh` and `revoke` share: plans are run, and their reports completed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fleet::events;
use super::outputs::Outputs;
use super::{CommandContext, Fleet, PlannedFleet};
use crate::executor::Cancellation;
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::inventory::{Cluster, GrantKey};
use crate::names::ClusterName;
use crate::outcome::{Applied, Planned};
use crate::output::Phase;
use crate::plan::ClusterPlan;
use crate::report::ClusterReport;
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

/// Returns what will run of the plans of a fleet.
pub(super) fn tasks(fleet: &Fleet, planned: &PlannedFleet) -> Vec<ApplyTask> {
    let selected = fleet.selected.iter().zip(&planned.clusters);
    let plans = selected.filter_map(|(selected, (_, planned))| match planned {
        Planned::Plan(plan) => Some((&selected.cluster, plan)),
        Planned::Failed { .. } | Planned::NotStarted => None,
    });
    plans.filter_map(|(cluster, plan)| task(&fleet.outputs, cluster, plan)).collect()
}

/// Returns what carrying out plans of a fleet needs.
pub(super) fn apply_context(context: &CommandContext<'_>, fleet: &Fleet) -> Arc<ApplyContext> {
    Arc::new(ApplyContext {
        inventory: Arc::clone(&fleet.inventory),
        admin: Arc::clone(&fleet.admin),
        holder: fleet.holder().clone(),
        run: context.environment.run.clone(),
        reissue: fleet.options.reissue,
        clock: context.environment.clock,
    })
}

/// Runs what was planned, and returns what came of it by cluster.
pub(super) async fn carry_out(
    context: &CommandContext<'_>,
    fleet: &Fleet,
    tasks: Vec<ApplyTask>,
    manner: Manner,
    cancellation: &Cancellation,
) -> HashMap<ClusterName, Applied> {
    let apply_context = apply_context(context, fleet);
    let (publisher, writing) = publisher(manner);
    let (events, shown) = events(context, Phase::Applying, tasks.len());
    let run = async move { apply_clusters(apply_context, tasks, publisher, cancellation, &events).await };
    let (applied, (), ()) = tokio::join!(run, writing, shown);
    applied.into_iter().collect()
}

/// Completes the reports of the plans with what came of them.
pub(super) fn conclude(
    fleet: &Fleet,
    planned: &PlannedFleet,
    reports: Vec<ClusterReport>,
    applied: &HashMap<ClusterName, Applied>,
) -> Vec<ClusterReport> {
    let conclude_one = |(report, (name, planned)): (ClusterReport, &(ClusterName, Planned))| match planned {
        Planned::Plan(plan) if !plan.refusals().is_empty() => report.refused(plan),
        Planned::Plan(plan) if plan.steps.is_empty() && !applied.contains_key(name) => report,
        Planned::Plan(_) => match applied.get(name) {
            Some(applied) => report.applied(applied, &fleet.inventory, fleet.holder()),
            None => report.not_started(),
        },
        Planned::Failed { .. } | Planned::NotStarted => report,
    };
    reports.into_iter().zip(&planned.clusters).map(conclude_one).collect()
}
