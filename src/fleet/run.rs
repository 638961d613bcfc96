//! One run over a fleet: each cluster from its plan to its report.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::Timeline;
use super::outputs::Outputs;
use super::selection::Selected;
use crate::common::Common;
use crate::inventory::{Cluster, Grant, Phase};
use crate::names::{ClusterName, Holder, WaveName};
use crate::outcome::{Applied, Carried, NotStarted, Planned, Span};
use crate::plan::{Assessed, Assessment, BlockerKind, ClusterPlan, Note, NoteKind};
use crate::report::ClusterReport;

/// The clusters of a run, in the order of the inventory.
#[derive(Debug)]
pub(crate) struct FleetRun {
    pub(crate) clusters: Vec<ClusterRun>,
    /// Whether some file could not be searched for entries that have to leave.
    pub(crate) is_unsearched: bool,
}

/// One cluster of a run.
#[derive(Debug)]
pub(crate) struct ClusterRun {
    pub(crate) cluster: Arc<Cluster>,
    /// The selected grants on it.
    pub(crate) grants: Vec<Arc<Grant>>,
    /// Selected grants that have not begun, or have ended.
    pub(crate) outside: Vec<Arc<Grant>>,
    /// The wave that it is in; nothing if the inventory has no waves.
    pub(crate) wave: Option<WaveName>,
    pub(crate) planned: Planned,
    /// What the outputs held when it was planned.
    pub(crate) outputs: Arc<Outputs>,
    /// The result of carrying out its plan; nothing if there was nothing to do, or it was not carried out.
    pub(crate) carried: Option<Carried>,
    /// When it was last worked on.
    pub(crate) span: Span,
}

impl FleetRun {
    /// Combines the selected grants with the results of planning.
    pub(crate) fn planned(
        selected: &[Selected],
        mut planned: HashMap<ClusterName, Planned>,
        outputs: &Arc<Outputs>,
    ) -> Self {
        Self::new(selected, |cluster| Some((planned.remove(cluster)?, None)), outputs)
    }

    /// Combines the selected grants with the results of planning, and of carrying out what was planned.
    pub(crate) fn new(
        selected: &[Selected],
        mut came_of: impl FnMut(&ClusterName) -> Option<(Planned, Option<Carried>)>,
        outputs: &Arc<Outputs>,
    ) -> Self {
        let cluster = |selected: &Selected| {
            let nothing = || (Planned::NotStarted(NotStarted::Interrupted), None);
            let (planned, carried) = came_of(&selected.cluster.name).unwrap_or_else(nothing);
            ClusterRun {
                cluster: Arc::clone(&selected.cluster),
                grants: selected.grants.clone(),
                outside: selected.outside.clone(),
                wave: selected.wave.clone(),
                planned,
                outputs: Arc::clone(outputs),
                carried,
                span: Span::default(),
            }
        };
        Self { clusters: selected.iter().map(cluster).collect(), is_unsearched: false }
    }

    /// Sets the outputs that some clusters were planned with, if these were read again.
    pub(super) fn looked_again(&mut self, outputs: &Arc<Outputs>, clusters: &BTreeSet<ClusterName>) {
        for run in self.clusters.iter_mut().filter(|run| clusters.contains(&run.cluster.name)) {
            run.outputs = Arc::clone(outputs);
        }
    }

    /// Replaces the results of planning some clusters.
    pub(super) fn replanned(&mut self, mut planned: HashMap<ClusterName, Planned>) {
        for run in &mut self.clusters {
            if let Some(planned) = planned.remove(&run.cluster.name) {
                run.planned = planned;
            }
        }
    }

    /// Notes the grants that do not hold now, and those that end.
    pub(super) fn note_periods(&mut self, now: Timestamp) {
        for run in &mut self.clusters {
            let Planned::Plan(assessed) = &mut run.planned else { continue };
            Arc::make_mut(assessed).plan.notes.extend(run.outside.iter().filter_map(|grant| outside_note(grant, now)));
        }
    }

    /// Notes the grants that have not begun, for a run that ends those that have ended.
    pub(super) fn note_beginnings(&mut self, now: Timestamp) {
        for run in &mut self.clusters {
            let Planned::Plan(assessed) = &mut run.planned else { continue };
            let waiting = run.outside.iter().filter(|grant| grant.period.phase(now) == Phase::Before);
            Arc::make_mut(assessed).plan.notes.extend(waiting.filter_map(|grant| outside_note(grant, now)));
        }
    }

    /// Adds when each cluster was worked on.
    pub(crate) fn timed(&mut self, timeline: &Timeline) {
        for run in &mut self.clusters {
            run.span = timeline.get(&run.cluster.name).copied().unwrap_or(run.span);
        }
    }

    /// Adds the results of carrying out the plans.
    pub(crate) fn carried(&mut self, mut carried: HashMap<ClusterName, Carried>) {
        for run in &mut self.clusters {
            run.carried = carried.remove(&run.cluster.name).or(run.carried.take());
        }
    }

    /// Returns each plan, with the outputs that it was made from.
    pub(crate) fn planned_mut(&mut self) -> impl Iterator<Item = (&mut Assessed, &Outputs)> {
        self.clusters.iter_mut().filter_map(|run| match &mut run.planned {
            Planned::Plan(assessed) => Some((Arc::make_mut(assessed), &*run.outputs)),
            Planned::Failed { .. } | Planned::NotStarted(_) => None,
        })
    }

    /// Returns whether more would be pruned than may be, which stops the whole run.
    pub(crate) fn prunes_too_much(&self) -> bool {
        let mut plans = self.clusters.iter().filter_map(ClusterRun::plan);
        plans.any(|plan| plan.blockers.iter().any(|blocker| blocker.kind == BlockerKind::PruneCeiling))
    }

    /// Reports what was planned.
    pub(crate) fn planned_reports(&self) -> Vec<ClusterReport> {
        let mut common = Common::default();
        self.clusters.iter().map(|run| run.planned_report().sharing(&mut common)).collect()
    }

    /// Reports the results of carrying out the plans. Each plan is let go when its report is made: ten thousand of both would
    /// take twice the memory.
    pub(crate) fn into_reports(self, holder: &Holder) -> Vec<ClusterReport> {
        let mut common = Common::default();
        self.clusters.into_iter().map(|run| run.report(holder).sharing(&mut common)).collect()
    }
}

/// Says that a grant does not hold now.
fn outside_note(grant: &Grant, now: Timestamp) -> Option<Note> {
    let profile = &grant.profile.name;
    let message = match (grant.period.phase(now), grant.period.starts, grant.period.expires) {
        (Phase::Before, Some(starts), _) => format!("the grant of `{profile}` begins at {starts}"),
        (Phase::After, _, Some(expires)) => {
            format!("the grant of `{profile}` ended at {expires}; `kubemint refresh` removes what is left of it")
        }
        _ => return None,
    };
    Some(Note::new(NoteKind::OutsidePeriod, message))
}

impl ClusterRun {
    /// Returns its plan, if it could be planned.
    pub(crate) fn plan(&self) -> Option<&ClusterPlan> {
        self.assessed().map(|assessed| &assessed.plan)
    }

    /// Returns its assessment, if it could be planned.
    pub(crate) fn assessment(&self) -> Option<&Assessment> {
        self.assessed().map(|assessed| &assessed.assessment)
    }

    /// Returns the result of planning it, if it could be planned.
    pub(crate) fn assessed(&self) -> Option<&Arc<Assessed>> {
        match &self.planned {
            Planned::Plan(assessed) => Some(assessed),
            Planned::Failed { .. } | Planned::NotStarted(_) => None,
        }
    }

    /// Returns what was done, if anything was begun.
    pub(crate) fn applied(&self) -> Option<&Applied> {
        match &self.carried {
            Some(Carried::Out(applied)) => Some(applied),
            Some(Carried::NotStarted(_)) | None => None,
        }
    }

    /// Reports what was planned.
    pub(crate) fn planned_report(&self) -> ClusterReport {
        let profiles = self.grants.iter().map(|grant| grant.profile.name.clone()).collect();
        let labels = self.cluster.labels.clone();
        let wave = self.wave.clone();
        ClusterReport {
            profiles,
            labels,
            wave,
            span: self.span,
            ..ClusterReport::planned(&self.cluster.name, &self.planned)
        }
    }

    /// Reports the result of carrying out its plan.
    pub(crate) fn report(&self, holder: &Holder) -> ClusterReport {
        let report = self.planned_report();
        let Some(plan) = self.plan() else { return report };
        if !plan.refusals().is_empty() {
            return report.refused(plan);
        }
        match &self.carried {
            Some(Carried::Out(applied)) => report.applied(applied, &self.grants, holder),
            Some(Carried::NotStarted(why)) => report.not_started(*why),
            None => report,
        }
    }
}
