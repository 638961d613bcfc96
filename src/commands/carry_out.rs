//! What `apply`, `refresh` and `revoke` share: plans are run, and their reports completed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fleet::events;
use super::outputs::Outputs;
use super::run::FleetRun;
use super::{CommandContext, Fleet};
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

/// Returns what will run of the plans of a fleet.
pub(super) fn tasks(fleet: &Fleet, run: &FleetRun) -> Vec<ApplyTask> {
    run.clusters.iter().filter_map(|run| task(&fleet.outputs, &run.cluster, run.plan()?)).collect()
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

/// Carries out what was planned.
pub(super) async fn carry_out(
    context: &CommandContext<'_>,
    fleet: &Fleet,
    run: &mut FleetRun,
    tasks: Vec<ApplyTask>,
    manner: Manner,
    cancellation: &Cancellation,
) {
    let apply_context = apply_context(context, fleet);
    let (publisher, writing) = publisher(manner);
    let (events, shown) = events(context, Phase::Applying, tasks.len());
    let work = async move { apply_clusters(apply_context, tasks, publisher, cancellation, &events).await };
    let (carried, (), ()) = tokio::join!(work, writing, shown);
    run.carried(carried);
}

/// Leaves what was planned as it is, because the user declined or an interruption came first.
pub(super) fn leave(run: &mut FleetRun, tasks: Vec<ApplyTask>, why: NotStarted) {
    run.carried(tasks.into_iter().map(|task| (task.plan.cluster, Carried::NotStarted(why))).collect());
}
