//! What `apply`, `refresh` and `revoke` share: plans are run, and their reports completed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fleet::events;
use super::{CommandContext, Fleet, PlannedFleet};
use crate::executor::Cancellation;
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::names::ClusterName;
use crate::outcome::{Applied, Planned};
use crate::output::Phase;
use crate::report::ClusterReport;
use crate::store::Manner;

/// Returns what will run: every plan that has steps and that nothing refuses.
pub(super) fn tasks(fleet: &Fleet, planned: &PlannedFleet) -> Vec<ApplyTask> {
    let runs = |planned: &Planned| match planned {
        Planned::Plan(plan) if !plan.steps.is_empty() && plan.refusals().is_empty() => Some((**plan).clone()),
        Planned::Plan(_) | Planned::Failed { .. } | Planned::NotStarted => None,
    };
    // Both are in the order of the inventory.
    let clusters = planned.clusters.iter().zip(&fleet.selected);
    clusters
        .filter_map(|((_, planned), (_, grants))| {
            let plan = runs(planned)?;
            // Several steps may be about one grant, and each place is written once.
            let concerned: BTreeSet<usize> = plan.steps.iter().filter_map(crate::step::Step::grant).collect();
            let slots = fleet.outputs.publication_slots(concerned.into_iter());
            let cluster = Arc::clone(&fleet.inventory.grants[*grants.first()?].cluster);
            Some(ApplyTask { cluster, plan, slots })
        })
        .collect()
}

/// Runs what was planned, and returns what came of it by cluster.
pub(super) async fn carry_out(
    context: &CommandContext<'_>,
    fleet: &Fleet,
    tasks: Vec<ApplyTask>,
    manner: Manner,
    cancellation: &Cancellation,
) -> HashMap<ClusterName, Applied> {
    let apply_context = Arc::new(ApplyContext {
        inventory: Arc::clone(&fleet.inventory),
        admin: Arc::clone(&fleet.admin),
        holder: fleet.holder().clone(),
        run: context.environment.run.clone(),
        reissue: fleet.options.reissue,
        clock: context.environment.clock,
    });
    let (publisher, writing) = publisher(fleet.outputs.targets.clone(), manner);
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
