//! Plans each cluster and carries it out at once: a renewal needs nobody's consent, and waits for no other cluster.

use std::sync::{Arc, Mutex, PoisonError};

use super::apply::{ApplyContext, ApplyTask, Progress, applied, apply_task};
use super::observe::{PlanContext, PlanTask, end_of, plan_task};
use super::publish::Publisher;
use super::{Cancellation, Ended, Events, Slot, run_bounded};
use crate::event::Event;
use crate::failure::StepFailure;
use crate::names::ClusterName;
use crate::outcome::{Applied, Planned};
use crate::plan::ClusterPlan;

/// A plan as it is reported, and what of it is carried out.
#[derive(Debug)]
pub struct Prepared {
    /// The plan, with what else stands in its way.
    pub plan: Box<ClusterPlan>,
    /// What is carried out, if anything is.
    pub task: Option<ApplyTask>,
}

/// Decides what of a plan is carried out. It may read files and wait for their locks.
pub type Prepare = Arc<dyn Fn(Box<ClusterPlan>) -> Prepared + Send + Sync>;

/// What all clusters of a renewal share.
#[derive(Clone)]
pub struct RenewContext {
    /// For planning.
    pub plan: Arc<PlanContext>,
    /// For carrying out.
    pub apply: Arc<ApplyContext>,
    /// Between the two.
    pub prepare: Prepare,
    /// Where credentials go.
    pub publisher: Publisher,
}

impl std::fmt::Debug for RenewContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewContext").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What is known of one cluster, also if the work on it is dropped half-way.
#[derive(Debug, Default)]
struct Known {
    plan: Option<Box<ClusterPlan>>,
    /// Of the steps, once they began.
    progress: Option<Arc<Mutex<Progress>>>,
}

/// How one cluster ended: its plan failed, or nothing had to be carried out, or it was.
enum End {
    NotPlanned(Planned),
    Nothing,
    Applied(Result<(), StepFailure>),
}

/// Renews clusters; the results are in the order of the tasks.
pub async fn renew_clusters(
    context: RenewContext,
    tasks: Vec<PlanTask>,
    cancellation: &Cancellation,
    events: &Events,
) -> Vec<(ClusterName, Planned, Option<Applied>)> {
    let known: Vec<(ClusterName, Arc<Mutex<Known>>)> =
        tasks.iter().map(|task| (task.cluster.name.clone(), Arc::default())).collect();
    let mut handles = known.iter().map(|(_, known)| Arc::clone(known)).collect::<Vec<_>>().into_iter();
    let concurrency = context.plan.inventory.run.concurrency;
    let ends = run_bounded(tasks, concurrency, cancellation, |task, slot| {
        renew_one(context.clone(), task, handles.next().expect("one for each task"), slot, events.clone())
    })
    .await;
    let results = known.into_iter().zip(ends).map(|((cluster, known), end)| {
        let (planned, applied) = conclude(&known, end);
        (cluster, planned, applied)
    });
    results.collect()
}

async fn renew_one(
    context: RenewContext,
    task: PlanTask,
    known: Arc<Mutex<Known>>,
    mut slot: Slot,
    events: Events,
) -> End {
    let cluster = task.cluster.name.clone();
    events.send(Event::Started(cluster.clone()));
    let planned = plan_task(&context.plan, task, &mut slot).await;
    let finished = |planned: &Planned| events.send(Event::Finished { cluster: cluster.clone(), end: end_of(planned) });
    let plan = match planned {
        Planned::Plan(plan) => plan,
        planned => {
            finished(&planned);
            return End::NotPlanned(planned);
        }
    };
    // Whether files can be written is found out by trying, and their locks are waited for.
    let prepare = Arc::clone(&context.prepare);
    let prepared = slot.lend(tokio::task::spawn_blocking(move || prepare(plan))).await;
    let Prepared { plan, task } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => match error.try_into_panic() {
            // The pool reports a cluster whose work panicked.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program is ending.
            Err(_) => return End::NotPlanned(Planned::NotStarted),
        },
    };
    let progress = task.is_some().then(Arc::<Mutex<Progress>>::default);
    {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.plan = Some(plan.clone());
        known.progress.clone_from(&progress);
    }
    let (Some(task), Some(progress)) = (task, progress) else {
        finished(&Planned::Plan(plan));
        return End::Nothing;
    };
    End::Applied(apply_task(context.apply, task, context.publisher, progress, slot, events).await)
}

fn conclude(known: &Mutex<Known>, end: Ended<End>) -> (Planned, Option<Applied>) {
    let Known { plan, progress } = std::mem::take(&mut *known.lock().unwrap_or_else(PoisonError::into_inner));
    let (planned, end) = match (plan, end) {
        (_, Ended::Done(End::NotPlanned(planned))) => return (planned, None),
        (None, Ended::Panicked) => {
            let failure = StepFailure::new("kubemint panicked; this is a bug in kubemint");
            return (Planned::Failed { doing: "plan", failure }, None);
        }
        (None, _) => return (Planned::NotStarted, None),
        (Some(plan), Ended::Done(End::Applied(result))) => (Planned::Plan(plan), Ended::Done(result)),
        (Some(plan), Ended::Done(End::Nothing)) => return (Planned::Plan(plan), None),
        (Some(plan), Ended::Stopped) => (Planned::Plan(plan), Ended::Stopped),
        (Some(plan), Ended::Panicked) => (Planned::Plan(plan), Ended::Panicked),
        (Some(plan), Ended::NotStarted) => (Planned::Plan(plan), Ended::NotStarted),
    };
    let applied = progress.map(|progress| applied(&progress, end));
    (planned, applied)
}
