//! Forgetting clusters that are gone for good: their entries leave the outputs, and nothing is contacted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::outputs::{Leavings, Reading, Wanted};
use super::prune::{gone_clusters, incomplete};
use super::trail::Trail;
use super::{Follower, Surroundings};
use crate::cluster::AdminSources;
use crate::delivery::Layout;
use crate::error::Error;
use crate::event::{End, Event, StepEnded, StepOutcome};
use crate::executor::apply::remove as remove_all;
use crate::executor::publish::{Publisher, TargetFiles, publisher};
use crate::executor::{Events, Hubs};
use crate::exit_code::ExitCode;
use crate::inventory::{Budget, Inventory};
use crate::names::ClusterName;
use crate::outcome::{Applied, Planned, StepFailed};
use crate::output::Phase;
use crate::plan::{Assessed, Assessment, ClusterPlan, Note, NoteKind};
use crate::report::{ClusterReport, Command, Head};
use crate::step::{RemoveReason, Step};
use crate::store::Manner;
use crate::trail::TrailHead;
use crate::wording::{count, list};

/// Clusters that are forgotten.
#[derive(Debug)]
pub(crate) struct Forgetting {
    inventory: Arc<Inventory>,
    run: String,
    follower: Follower,
    plans: Vec<ClusterPlan>,
    hubs: Arc<Hubs>,
    /// The entries that leave.
    pub(crate) leavings: Leavings,
}

impl Forgetting {
    /// Plans to forget some clusters, whether the inventory has them or not.
    ///
    /// # Errors
    ///
    /// If the outputs could not be read because the program is ending.
    pub(crate) async fn new(
        surroundings: Surroundings<'_>,
        inventory: Inventory,
        layout: Layout,
        which: Which<'_>,
    ) -> Result<Self, Error> {
        let Surroundings { clock, run, progress, caller, admin, .. } = surroundings;
        let inventory = Arc::new(inventory);
        let holder = inventory.holder.clone();
        let accesses = inventory.hubs.iter().map(|hub| &hub.access);
        let admin = Arc::new(AdminSources::load(accesses, admin, inventory.run.cluster_timeout));
        let hubs = Arc::new(Hubs::new(&inventory, admin, clock));
        let layout = Arc::new(layout);
        let reading = Reading { inventory: Arc::clone(&inventory), layout, holder, caller, hubs: Arc::clone(&hubs) };
        let clusters = match which {
            Which::Named(names) => names.iter().map(ClusterName::new).collect(),
            Which::Gone(most) => gone(&reading, most).await?,
        };
        let names = || clusters.iter().cloned();
        let leavings = reading.leavings(Wanted::Clusters(names().collect(), RemoveReason::ClusterGone)).await?;
        let plan = |cluster: ClusterName| {
            let mut plan = ClusterPlan::of_nothing(&cluster, "");
            plan.steps = leavings.steps(&cluster).into_iter().map(Step::Remove).collect();
            plan.notes = leavings.notes(&cluster);
            if plan.steps.is_empty() && plan.notes.is_empty() {
                let message = format!("no output has an entry of cluster `{cluster}`");
                plan.notes.push(Note::new(NoteKind::NothingToRevoke, message));
            }
            plan
        };
        let plans = names().map(plan).collect();
        Ok(Self { inventory, run, follower: Follower { style: progress, clock, trail: None }, plans, leavings, hubs })
    }

    /// Writes the audit trail into a file, if one is named; relative paths start at `directory`.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is something else.
    pub(crate) fn leave_trail(&mut self, file: Option<&PathBuf>, directory: &Path) -> Result<(), Error> {
        let Some(file) = file else { return Ok(()) };
        let head = TrailHead {
            run: self.run.clone(),
            command: Command::Retire.as_str(),
            inventory: self.inventory.name.clone(),
            holder: self.inventory.holder.clone(),
        };
        self.follower.trail = Some(Trail::open(file, &directory.join(file), head)?);
        Ok(())
    }

    /// Ends the audit trail.
    ///
    /// # Errors
    ///
    /// If an event is missing in it.
    pub(crate) fn end_trail(&self) -> Result<(), Error> {
        self.follower.trail.as_ref().map_or(Ok(()), Trail::end)
    }

    /// Returns the head of the report.
    pub(crate) fn head(&self) -> Head {
        let (clock, inventory) = (self.follower.clock, &self.inventory);
        let head = Head::new(Command::Retire, clock.began(), &inventory.name, &inventory.holder);
        Head { run: Some(self.run.clone()), undiscovered: inventory.undiscovered_sources(), ..head }
    }

    /// Reports what was planned.
    pub(crate) fn planned(&self) -> Vec<ClusterReport> {
        let report = |plan: &ClusterPlan| {
            let assessed = Assessed { plan: plan.clone(), assessment: Assessment::default() };
            ClusterReport::planned(&plan.cluster, &Planned::Plan(Arc::new(assessed)))
        };
        self.plans.iter().map(report).collect()
    }

    /// Removes the entries, and reports what came of it.
    pub(crate) async fn carry_out(&self, manner: Manner) -> Vec<ClusterReport> {
        let (publisher, writing) = publisher(manner);
        let (events, shown) = self.follower.events(Phase::Applying, None, self.plans.len());
        let work = async move {
            let forgotten = self.plans.iter().map(|plan| forget(plan, &publisher, &self.hubs, &events));
            futures::future::join_all(forgotten).await
        };
        let (applied, (), _) = tokio::join!(work, writing, shown);
        let reports = self.planned().into_iter().zip(applied);
        reports
            .map(
                |(report, applied)| {
                    if report.changes.is_empty() {
                        report
                    } else {
                        report.applied(&applied, &[], &self.inventory.holder)
                    }
                },
            )
            .collect()
    }
}

/// Which clusters are forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// Those of these names.
    Named(&'a [String]),
    /// Those that outputs know and the inventory does not have, if they are no more than this.
    Gone(Budget),
}

/// Finds the clusters that outputs know and the inventory does not have.
///
/// # Errors
///
/// If a source did not answer or some output could not be searched, because then what is gone is not known; or if more is
/// gone than may be.
async fn gone(reading: &Reading, most: Budget) -> Result<Vec<ClusterName>, Error> {
    let inventory = &reading.inventory;
    let blocked = |message: String| Error::new(ExitCode::Blocked, message);
    if !inventory.undiscovered.is_empty() {
        return Err(blocked(format!("nothing is forgotten, because {}", incomplete(inventory))));
    }
    let leavings = reading.clone().leavings(Wanted::Unexplained).await?;
    let gone: Vec<ClusterName> = gone_clusters(&leavings, inventory).into_iter().cloned().collect();
    let all = gone.len() + inventory.clusters.len();
    if gone.len() > most.of(all) {
        let names = list(gone.iter().map(ClusterName::as_str), 5);
        return Err(blocked(format!(
            "the outputs know {} of {all} that the inventory does not have ({names}), and `--max-gone` is {most}: nothing \
             is forgotten",
            count(gone.len(), "cluster")
        ))
        .hint(format!(
            "see whether the inventory and what its sources find are whole, and pass `--max-gone {}` if they are",
            gone.len()
        )));
    }
    Ok(gone)
}

/// Removes the entries of one cluster.
async fn forget(plan: &ClusterPlan, publisher: &Publisher, hubs: &Hubs, events: &Events) -> Applied {
    let mut applied = Applied::nothing();
    events.send(Event::Started(plan.cluster.clone()));
    for (number, step) in (1..).zip(&plan.steps) {
        let Step::Remove(remove) = step else { continue };
        let removed = remove_all(remove, &TargetFiles::default(), publisher, hubs).await;
        let outcome = match removed {
            Ok(()) => {
                applied.done.push(step.id());
                StepOutcome::Done
            }
            Err(failure) => {
                let failed =
                    StepFailed { number, of: plan.steps.len(), doing: step.to_string(), failure: failure.clone() };
                applied.failure.get_or_insert(failed);
                StepOutcome::Failed(failure)
            }
        };
        events.step_ended(|| StepEnded {
            cluster: plan.cluster.clone(),
            id: step.id(),
            action: step.action(),
            profile: step.profile().cloned(),
            outcome,
            issued: None,
            generations: vec![],
        });
    }
    let end = match &applied.failure {
        Some(failed) => End::Failed(failed.failure.cause.clone()),
        None if applied.done.is_empty() => End::Unchanged,
        None => End::Changed,
    };
    events.send(Event::Finished { cluster: plan.cluster.clone(), end });
    applied
}
