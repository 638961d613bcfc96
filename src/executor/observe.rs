//! Plans the clusters of a run: connect, observe, plan, probe.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Cancellation, Ended, Events, Slot, run_bounded};
use crate::cluster::observe::observe;
use crate::cluster::probe::probe;
use crate::cluster::{AdminEntry, Limits, connect_admin};
use crate::event::{End, Event};
use crate::failure::StepFailure;
use crate::inventory::Inventory;
use crate::kubeconfig::Endpoint;
use crate::names::ClusterName;
use crate::outcome::Planned;
use crate::plan::{GrantInput, PlanInput, PlanOptions, assess, plan_cluster};

/// One cluster to plan.
#[derive(Debug)]
pub struct PlanTask {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its admin access and its consumer endpoint, or why there is none.
    pub access: Result<(AdminEntry, Endpoint), StepFailure>,
    /// The selected grants on it.
    pub grants: Vec<GrantInput>,
}

/// What all clusters of a planning run share.
#[derive(Debug)]
pub struct PlanContext {
    /// The inventory.
    pub inventory: Inventory,
    /// What the user allows.
    pub options: PlanOptions,
    /// The current time.
    pub now: Timestamp,
}

/// Plans clusters; the results are in the order of the tasks.
pub async fn plan_clusters(
    context: Arc<PlanContext>,
    tasks: Vec<PlanTask>,
    cancellation: &Cancellation,
    events: &Events,
) -> Vec<(ClusterName, Planned)> {
    let names: Vec<ClusterName> = tasks.iter().map(|task| task.cluster.clone()).collect();
    let concurrency = context.inventory.run.concurrency;
    let ends = run_bounded(tasks, concurrency, cancellation, |task, slot| {
        plan_one(Arc::clone(&context), task, slot, events.clone())
    })
    .await;
    let results = ends.into_iter().map(|end| match end {
        Ended::Done(planned) => planned,
        Ended::NotStarted | Ended::Stopped => Planned::NotStarted,
        Ended::Panicked => {
            Planned::Failed { doing: "plan", failure: StepFailure::new("kubemint panicked; this is a bug in kubemint") }
        }
    });
    names.into_iter().zip(results).collect()
}

async fn plan_one(context: Arc<PlanContext>, task: PlanTask, slot: Slot, events: Events) -> Planned {
    events.send(Event::Started(task.cluster.clone()));
    let cluster = task.cluster.clone();
    let limit = context.inventory.run.cluster_timeout;
    let planned = tokio::time::timeout(limit, plan_within(&context, task)).await.unwrap_or_else(|_| Planned::Failed {
        doing: "read the current access objects",
        failure: StepFailure::new(format!("not done within {}", crate::report::duration(limit))),
    });
    let end = match &planned {
        Planned::Plan(plan) if !plan.blockers.is_empty() => End::Blocked,
        Planned::Plan(plan) if plan.steps.is_empty() => End::Unchanged,
        Planned::Plan(_) => End::Changed,
        Planned::Failed { failure, .. } => End::Failed(failure.cause.clone()),
        Planned::NotStarted => End::NotStarted,
    };
    events.send(Event::Finished { cluster, end });
    drop(slot);
    planned
}

async fn plan_within(context: &PlanContext, task: PlanTask) -> Planned {
    let inventory = &context.inventory;
    let (admin, endpoint) = match task.access {
        Ok(access) => access,
        Err(failure) => {
            return Planned::Failed { doing: "find the admin access", failure };
        }
    };
    let api =
        match connect_admin(&admin, Limits::new(inventory.run.request_timeout, inventory.run.cluster_timeout)).await {
            Ok(api) => api,
            Err(error) => {
                return Planned::Failed { doing: "connect", failure: StepFailure::new(error.to_string()) };
            }
        };
    let grants: Vec<usize> = task.grants.iter().map(|grant| grant.grant).collect();
    let observed = match observe(&api, inventory, &grants, &context.options.holder, context.now).await {
        Ok(observed) => observed,
        Err(failure) => {
            return Planned::Failed { doing: "read the current access objects", failure: failure.into() };
        }
    };
    let mut plan = plan_cluster(&PlanInput {
        inventory,
        cluster: &task.cluster,
        grants: &task.grants,
        observed: &observed,
        endpoint: &endpoint,
        options: &context.options,
        now: context.now,
    });
    match probe(&api, &plan, &observed).await {
        Ok(results) => assess(&mut plan, &results),
        Err(failure) => {
            return Planned::Failed { doing: "try the changes without effect", failure: failure.into() };
        }
    }
    Planned::Plan(Box::new(plan))
}
