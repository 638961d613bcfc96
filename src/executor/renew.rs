//! Plans each cluster and carries its plan out at once, because a renewal needs no consent and depends on no other
//! cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;

use super::apply::{ApplyContext, ApplyTask, apply_task};
use super::kept::Connected;
use super::ledger::{SharedLedger, carried};
use super::limit::{collect_within, part_of};
use super::observe::{PlanContext, PlanTask, end_of, plan_task};
use super::publish::Publisher;
use super::warnings::Warnings;
use super::{Cancellation, Ended, Events, Pace, Slot, each_cluster};
use crate::event::Event;
use crate::failure::StepFailure;
use crate::names::ClusterName;
use crate::outcome::{Carried, NotStarted, Planned};
use crate::plan::Assessed;

/// A plan for the report, and the part of it that is carried out.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The plan, with everything that blocks it.
    pub assessed: Arc<Assessed>,
    /// The part that is carried out, if any.
    pub task: Option<ApplyTask>,
}

/// Decides which part of a plan is carried out. It may read files and wait for their locks.
pub(crate) type Prepare = Arc<dyn Fn(Arc<Assessed>) -> Prepared + Send + Sync>;

/// What all clusters of a renewal share.
#[derive(Clone)]
pub(crate) struct RenewContext {
    /// For planning.
    pub plan: Arc<PlanContext>,
    /// For carrying out.
    pub apply: Arc<ApplyContext>,
    /// Decides what is carried out.
    pub prepare: Prepare,
    /// Where credentials go.
    pub publisher: Publisher,
}

impl std::fmt::Debug for RenewContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewContext").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What is known of one cluster. It survives if the work on the cluster is dropped half-way.
#[derive(Debug, Default)]
struct Known {
    assessed: Option<Arc<Assessed>>,
    /// The ledger of its steps, once they began.
    ledger: Option<SharedLedger>,
}

/// Shared, so that it can be read after the task that writes it is gone.
type SharedKnown = Arc<Mutex<Known>>;

/// How one cluster ended: planning failed, nothing had to be done, or its plan was carried out.
enum End {
    NotPlanned(Planned),
    Nothing,
    Applied(Result<(), StepFailure>),
}

/// Renews clusters.
pub(crate) async fn renew_clusters(
    context: RenewContext,
    tasks: Vec<PlanTask>,
    pace: Pace,
    cancellation: &Cancellation,
    events: &Events,
) -> HashMap<ClusterName, (Planned, Option<Carried>)> {
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), (task, Arc::default())));
    let tasks: Vec<(ClusterName, (PlanTask, SharedKnown))> = tasks.collect();
    let of = |(cluster, (_, known)): &(ClusterName, (_, SharedKnown))| (cluster.clone(), Arc::clone(known));
    let known: HashMap<ClusterName, SharedKnown> = tasks.iter().map(of).collect();
    let work = |(task, known), slot| renew_one(context.clone(), task, known, slot, events.clone());
    let part = part_of(cancellation);
    let ends = each_cluster(tasks, pace.bound(), &part, work);
    let concluded = ends.map(|(cluster, end)| {
        let of_cluster = known.get(&cluster).map(|known| std::mem::take(&mut *lock(known))).unwrap_or_default();
        (cluster, conclude(of_cluster, end))
    });
    collect_within(concluded, pace.most_failures, &part, cancellation).await
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // This is plain data, so it is usable even after a panic.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn renew_one(context: RenewContext, task: PlanTask, known: SharedKnown, mut slot: Slot, events: Events) -> End {
    let cluster = task.cluster.name.clone();
    events.send(Event::Started(cluster.clone()));
    let (planned, connected) = plan_task(&context.plan, task, &mut slot).await;
    let finished = |planned: &Planned| events.send(Event::Finished { cluster: cluster.clone(), end: end_of(planned) });
    let assessed = match planned {
        Planned::Plan(assessed) => assessed,
        planned => {
            finished(&planned);
            return End::NotPlanned(planned);
        }
    };
    let prepare = Arc::clone(&context.prepare);
    let prepared = if assessed.plan.steps.is_empty() {
        Ok(prepare(assessed))
    } else {
        // This blocks a thread: it tries whether files can be written, and waits for their locks.
        slot.lend(tokio::task::spawn_blocking(move || prepare(assessed))).await
    };
    let Prepared { mut assessed, task } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => match error.try_into_panic() {
            // The pool reports a cluster whose work panicked.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program is ending.
            Err(_) => return End::NotPlanned(Planned::NotStarted(NotStarted::Interrupted)),
        },
    };
    let ledger = task.is_some().then(SharedLedger::default);
    {
        let mut known = lock(&known);
        known.assessed = Some(Arc::clone(&assessed));
        known.ledger.clone_from(&ledger);
    }
    let (Some(task), Some(ledger)) = (task, ledger) else {
        let mut warnings = Warnings::of(&context.plan.inventory, context.plan.clock, &assessed);
        if let Some(Connected { api, .. }) = connected.filter(|_| !warnings.is_empty())
            && let Some(not_said) = slot.lend(warnings.write(api)).await
        {
            Arc::make_mut(&mut assessed).plan.notes.push(not_said);
            lock(&known).assessed = Some(Arc::clone(&assessed));
        }
        finished(&Planned::Plan(assessed));
        return End::Nothing;
    };
    End::Applied(apply_task(context.apply, (task, connected), context.publisher, ledger, slot, events).await)
}

fn conclude(known: Known, end: Ended<End>) -> (Planned, Option<Carried>) {
    let Some(assessed) = known.assessed else {
        return match end {
            Ended::Done(End::NotPlanned(planned)) => (planned, None),
            Ended::NotStarted(why) => (Planned::NotStarted(why), None),
            Ended::Panicked => (Planned::failed("plan", StepFailure::panicked()), None),
            Ended::Done(End::Nothing | End::Applied(_)) | Ended::Stopped => {
                (Planned::NotStarted(NotStarted::Interrupted), None)
            }
        };
    };
    let end = match end {
        Ended::Done(End::NotPlanned(planned)) => return (planned, None),
        Ended::Done(End::Nothing) => return (Planned::Plan(assessed), None),
        Ended::Done(End::Applied(result)) => Ended::Done(result),
        Ended::Stopped => Ended::Stopped,
        Ended::Panicked => Ended::Panicked,
        Ended::NotStarted(why) => Ended::NotStarted(why),
    };
    let carried = known.ledger.map(|ledger| carried(Some(&ledger), end));
    (Planned::Plan(assessed), carried)
}
