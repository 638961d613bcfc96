//! A run over a fleet: what is selected, planned, carried out and concluded.
//!
//! [`Fleet`] is an inventory made ready, [`FleetRun`] one run over it, cluster by cluster.

mod carry_out;
pub(crate) mod discovery;
mod display;
mod ending;
mod forget;
mod outputs;
mod prune;
mod rollout;
mod run;
mod saved;
mod selection;
mod trail;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;

use self::carry_out::task;
pub(crate) use self::display::{Follower, Timeline};
pub(crate) use self::forget::{Forgetting, Which};
use self::outputs::{Leavings, Reading};
pub(crate) use self::outputs::{Outputs, PluginCaller, Wanted, read_secrets, read_token, token_owner, with_token_file};
pub(crate) use self::prune::MAX_PRUNE;
pub(crate) use self::rollout::Order;
pub(crate) use self::run::{ClusterRun, FleetRun};
pub(crate) use self::saved::Replan;
pub(crate) use self::selection::{Selected, Selection, Visits, select, shard_report};
use self::trail::Trail;
use crate::cluster::{AdminEnvironment, AdminSources};
use crate::credential::{Reissue, Renewal};
use crate::delivery::{Layout, OutputFile};
use crate::error::Error;
use crate::event::Event;
use crate::executor::apply::orphan_after;
use crate::executor::observe::{CommonParts, Legacy, PlanContext, PlanTask, Probing, Trial, plan_clusters};
use crate::executor::publish::publisher;
use crate::executor::renew::{Prepare, Prepared, RenewContext, renew_clusters};
use crate::executor::{Bound, Cancellation, Clock, Events, Hubs, KeptConnections, Pace, WantedEvents};
use crate::failure::StepFailure;
use crate::foreign::shown;
use crate::inventory::{Budget, Cluster, Grant, GrantKey, Inventory};
use crate::kubeconfig::EntryNames;
use crate::names::{ClusterName, Holder, WaveName};
use crate::outcome::{Carried, Planned};
use crate::output::{Phase, Printer, ProgressStyle};
use crate::plan::{
    Adoption, Blocker, BlockerKind, ClusterPlan, Extent, GrantInput, Identities, PlanOptions, Prune, Suspension,
    block_duplicates,
};
use crate::report::{Command, Head, ShardReport};
use crate::risk::RiskClass;
use crate::step::Step;
use crate::store::Manner;
use crate::trail::TrailHead;

/// Options of a run besides its selection of grants.
#[derive(Debug, Clone)]
pub(crate) struct FleetPolicy {
    /// Who keeps the credentials, instead of the inventory's `holder`.
    pub(crate) holder: Option<String>,
    pub(crate) adoption: Adoption,
    pub(crate) reissue: Reissue,
    pub(crate) renewal: Renewal,
    pub(crate) extent: Extent,
    pub(crate) suspension: Suspension,
    pub(crate) trial: Trial,
    pub(crate) probing: Probing,
    pub(crate) legacy: Legacy,
    pub(crate) visits: Visits,
    /// How many clusters may fail, instead of what each wave says.
    pub(crate) max_failures: Option<Budget>,
    /// Whether grants count that have not begun, or have ended.
    pub(crate) periods: Periods,
    /// Which classes of risk no step may have.
    pub(crate) deny: Vec<RiskClass>,
    /// What happens to what no grant explains.
    pub(crate) prune: Prune,
    /// How many grants may be pruned.
    pub(crate) max_prune: Budget,
}

/// Whether the time counts for which a grant holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Periods {
    /// Grants hold for their time only.
    Count,
    /// Whatever was made for a grant is meant.
    Ignore,
}

/// What a run gets from the process besides its inventory.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// Tells the time.
    pub(crate) clock: Clock,
    /// Identifies the run.
    pub(crate) run: String,
    /// How progress is shown.
    pub(crate) progress: ProgressStyle,
    /// Where remarks go.
    pub(crate) printer: Printer,
    /// What admin access depends on.
    pub(crate) admin: &'a AdminEnvironment,
    /// The program and arguments for the entries of exec plugins.
    pub(crate) caller: PluginCaller,
}

impl FleetPolicy {
    /// Returns the policy of a run that only reads the credentials of a holder.
    pub(crate) fn looking(holder: Option<&String>) -> Self {
        Self {
            holder: holder.cloned(),
            adoption: Adoption::default(),
            reissue: Reissue::Refused,
            renewal: Renewal::default(),
            extent: Extent::Credentials,
            suspension: Suspension::Keep,
            trial: Trial::Skip,
            probing: Probing::Skip,
            legacy: Legacy::Leave,
            visits: Visits::Granted,
            max_failures: None,
            periods: Periods::Count,
            deny: vec![],
            prune: Prune::Keep,
            max_prune: MAX_PRUNE,
        }
    }
}

/// An inventory with everything that a run on it needs.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) options: PlanOptions,
    pub(crate) outputs: Arc<Outputs>,
    /// The selected grants by cluster, in the order of the inventory.
    pub(crate) selected: Vec<Selected>,
    pub(crate) admin: Arc<AdminSources>,
    reading: Reading,
    trial: Trial,
    probing: Probing,
    legacy: Legacy,
    pub(crate) clock: Clock,
    run: String,
    pub(crate) follower: Follower,
    /// How many clusters are worked on at the same time, instead of what inventory and waves say.
    concurrency: Option<usize>,
    max_failures: Option<Budget>,
    /// How many grants may be pruned.
    max_prune: Budget,
    /// The entries that nothing explains, if these are removed.
    leavings: Leavings,
    printer: Printer,
    shard: Option<ShardReport>,
    /// The times that are taken for now where a saved plan is made again.
    as_of: HashMap<ClusterName, Timestamp>,
    kept: KeptConnections,
    hubs: Arc<Hubs>,
}

impl Fleet {
    /// Makes an inventory ready for a run: reads the outputs of what is selected, and the admin kubeconfigs.
    ///
    /// # Errors
    ///
    /// If nothing is selected.
    pub(crate) async fn new(
        surroundings: Surroundings<'_>,
        mut inventory: Inventory,
        layout: Layout,
        selection: &Selection,
        policy: &FleetPolicy,
    ) -> Result<Self, Error> {
        if let Some(concurrency) = selection.concurrency {
            inventory.run.concurrency = usize::from(concurrency);
        }
        let mut selected = select(&inventory, selection, policy.visits)?;
        // What ended may still stand in outputs, so these are read too.
        let grants: HashSet<GrantKey> =
            selected.iter().flat_map(|selected| &selected.grants).map(|grant| grant.key()).collect();
        let Surroundings { clock, run, progress, printer, admin, caller } = surroundings;
        if policy.periods == Periods::Count {
            selected = selected.into_iter().map(|selected| selected.at(clock.now())).collect();
        }
        let shard = shard_report(selection, &selected, &inventory);
        let inventory = Arc::new(inventory);
        let (layout, holder) = (Arc::new(layout), inventory.holder.clone());
        let accesses = selected.iter().map(|selected| &selected.cluster.admin);
        let accesses = accesses.chain(inventory.hubs.iter().map(|hub| &hub.access));
        let admin = Arc::new(AdminSources::load(accesses, admin, inventory.run.cluster_timeout));
        for warning in admin.warnings() {
            printer.remark(&format!("warning: {}\n", shown(&warning)));
        }
        let hubs = Arc::new(Hubs::new(&inventory, Arc::clone(&admin), clock));
        let reading = Reading {
            inventory: Arc::clone(&inventory),
            layout,
            holder: holder.clone(),
            caller,
            hubs: Arc::clone(&hubs),
        };
        let outputs = reading.clone().read(move |grant| grants.contains(grant)).await?;
        let leavings = match policy.prune {
            Prune::Remove => prune::leavings(&reading, printer).await?,
            Prune::Keep => Leavings::default(),
        };
        let options = PlanOptions {
            holder,
            adoption: policy.adoption.clone(),
            reissue: policy.reissue,
            renewal: policy.renewal,
            extent: policy.extent,
            suspension: policy.suspension,
            orphan_after: orphan_after(inventory.run.cluster_timeout),
            deny: policy.deny.clone(),
            prune: policy.prune,
            remembers_objects: false,
        };
        Ok(Self {
            inventory,
            options,
            outputs: Arc::new(outputs),
            selected,
            admin,
            reading,
            trial: policy.trial,
            probing: policy.probing,
            legacy: policy.legacy,
            clock,
            run,
            follower: Follower { style: progress, clock, trail: None },
            concurrency: selection.concurrency.map(usize::from),
            max_failures: policy.max_failures,
            max_prune: policy.max_prune,
            leavings,
            printer,
            shard,
            as_of: HashMap::new(),
            kept: KeptConnections::default(),
            hubs,
        })
    }

    /// From now on, keeps the connections that clusters are planned over: with those that clusters are just worked on over, as
    /// many as may be open at the same time. It is for runs that carry their plans out at once.
    pub(crate) fn keep_connections(&mut self) {
        let concurrency = self.inventory.run.concurrency;
        self.kept = KeptConnections::up_to(Bound::from(concurrency).in_flight() - concurrency);
    }

    /// From now on, keeps the objects that were read beside each plan, so that it can be saved, or compared with a saved one.
    pub(crate) fn remember_objects(&mut self) {
        self.options.remembers_objects = true;
    }

    /// Returns the files that selected grants go to, with the names of their entries.
    pub(crate) fn selected_files(&self) -> Vec<(&OutputFile, Vec<EntryNames>)> {
        let selected: HashSet<GrantKey> =
            self.selected.iter().flat_map(|selected| &selected.grants).map(|grant| grant.key()).collect();
        let names = |file: &OutputFile| -> Vec<EntryNames> {
            let entries = file.entries.iter().filter(|entry| selected.contains(&entry.grant));
            entries.map(|entry| self.reading.caller.names(&self.inventory, self.holder(), &file.path, entry)).collect()
        };
        let files = self.reading.layout.files.iter().map(|file| (file, names(file)));
        files.filter(|(_, names)| !names.is_empty()).collect()
    }

    /// Writes the audit trail of this run into a file, if one is named; relative paths start at `directory`.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is something else.
    pub(crate) fn leave_trail(
        &mut self,
        file: Option<&PathBuf>,
        directory: &Path,
        command: Command,
    ) -> Result<(), Error> {
        let Some(file) = file else { return Ok(()) };
        let head = TrailHead {
            run: self.run.clone(),
            command: command.as_str(),
            inventory: self.inventory.name.clone(),
            holder: self.holder().clone(),
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

    /// Returns the holder of this run.
    pub(crate) fn holder(&self) -> &Holder {
        &self.options.holder
    }

    /// Returns the head of a report of this run, of a command that writes nothing.
    pub(crate) fn head(&self, command: Command) -> Head {
        let head = Head::new(command, self.clock.began(), &self.inventory.name, self.holder());
        Head { shard: self.shard.clone(), undiscovered: self.inventory.undiscovered_sources(), ..head }
    }

    /// Returns the head of a report of this run, of a command that writes.
    pub(crate) fn writing_head(&self, command: Command) -> Head {
        Head { run: Some(self.run.clone()), ..self.head(command) }
    }

    /// Plans every selected cluster.
    pub(crate) async fn plan(&self, cancellation: &Cancellation) -> FleetRun {
        let mut run = self.planned_run(cancellation).await;
        self.compare(&mut run);
        run.is_unsearched = !self.leavings.unsearched.is_empty();
        run
    }

    /// Blocks what only all plans together tell.
    fn compare(&self, run: &mut FleetRun) {
        block_duplicates(&mut run.planned_mut().map(|(assessed, _)| assessed).collect::<Vec<_>>());
        self.limit_prune(run);
    }

    /// Plans every selected cluster for itself.
    async fn planned_run(&self, cancellation: &Cancellation) -> FleetRun {
        let (mut planned, timeline) = self.plan_tasks(self.tasks(&self.outputs, &|_| true), cancellation).await;
        let again = self.look_again(cancellation, &mut planned).await;
        let mut run = FleetRun::planned(&self.selected, planned, &self.outputs);
        if let Some((outputs, clusters)) = again {
            run.looked_again(&outputs, &clusters);
        }
        run.timed(&timeline);
        run.note_periods(self.clock.now());
        run
    }

    /// Plans some clusters of a run once more.
    async fn plan_anew(&self, run: &mut FleetRun, clusters: &BTreeSet<ClusterName>, cancellation: &Cancellation) {
        let tasks = self.tasks(&self.outputs, &|cluster| clusters.contains(cluster));
        let (planned, timeline) = self.plan_tasks(tasks, cancellation).await;
        run.replanned(planned);
        run.timed(&timeline);
        self.compare(run);
    }

    async fn plan_tasks(
        &self,
        tasks: Vec<PlanTask>,
        cancellation: &Cancellation,
    ) -> (HashMap<ClusterName, Planned>, Timeline) {
        let (events, shown) = self.follower.events(Phase::Planning, None, tasks.len());
        let plan_context = self.plan_context();
        // The display ends with the last sender, which is dropped at the end of this block.
        let work = async move { plan_clusters(plan_context, tasks, cancellation, &events).await };
        tokio::join!(work, shown)
    }

    fn plan_context(&self) -> Arc<PlanContext> {
        Arc::new(PlanContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            options: self.options.clone(),
            trial: self.trial,
            probing: self.probing,
            legacy: self.legacy,
            clock: self.clock,
            kept: self.kept.clone(),
            hubs: Arc::clone(&self.hubs),
            common: CommonParts::default(),
        })
    }

    fn tasks(&self, outputs: &Outputs, is_wanted: &dyn Fn(&ClusterName) -> bool) -> Vec<PlanTask> {
        let input = |grant: &Arc<Grant>| GrantInput {
            grant: Arc::clone(grant),
            outputs: outputs.places(&grant.key()),
            distrust: None,
            unusable: outputs.unusable(&grant.key()),
        };
        let wanted = self.selected.iter().filter(|selected| is_wanted(&selected.cluster.name));
        let task = |selected: &Selected| PlanTask {
            cluster: Arc::clone(&selected.cluster),
            grants: selected.grants.iter().map(input).collect(),
            leaving: self.leavings.steps(&selected.cluster.name),
            as_of: self.as_of.get(&selected.cluster.name).copied(),
        };
        wanted.map(task).collect()
    }

    /// Plans the clusters again whose living credential seemed to be held elsewhere. Returns which these are, and what
    /// the outputs held then.
    async fn look_again(
        &self,
        cancellation: &Cancellation,
        planned: &mut HashMap<ClusterName, Planned>,
    ) -> Option<(Arc<Outputs>, BTreeSet<ClusterName>)> {
        let (outputs, tasks) = self.moved(planned.iter()).await?;
        let (sender, _receiver) = mpsc::unbounded_channel::<Event>();
        let mut again =
            plan_clusters(self.plan_context(), tasks, cancellation, &Events::new(sender, WantedEvents::default()))
                .await;
        again.retain(|_, planned| matches!(planned, Planned::Plan(_)));
        let clusters = again.keys().cloned().collect();
        planned.extend(again);
        Some((outputs, clusters))
    }

    /// Returns the clusters whose living credential seemed to be held elsewhere, with what the outputs hold now.
    /// Another run may have renewed it after this one read the outputs.
    async fn moved<'a>(
        &self,
        clusters: impl Iterator<Item = (&'a ClusterName, &'a Planned)>,
    ) -> Option<(Arc<Outputs>, Vec<PlanTask>)> {
        let is_elsewhere = |planned: &Planned| match planned {
            Planned::Plan(assessed) => {
                assessed.plan.blockers.iter().any(|blocker| blocker.kind == BlockerKind::CredentialHeldElsewhere)
            }
            Planned::Failed { .. } | Planned::NotStarted(_) => false,
        };
        let doubtful: BTreeSet<ClusterName> =
            clusters.filter(|(_, planned)| is_elsewhere(planned)).map(|(cluster, _)| cluster.clone()).collect();
        if doubtful.is_empty() {
            return None;
        }
        let wanted = doubtful.clone();
        // Without a second look, the first one counts.
        let outputs = self.reading.clone().read(move |grant| wanted.contains(&grant.cluster)).await.ok()?;
        let outputs = Arc::new(outputs);
        let has_moved = |grant: &Arc<Grant>| outputs.newest(&grant.key()) != self.outputs.newest(&grant.key());
        let moved = |cluster: &ClusterName| {
            let find = || self.selected.iter().find(|selected| selected.cluster.name == *cluster);
            doubtful.contains(cluster) && find().is_some_and(|selected| selected.grants.iter().any(has_moved))
        };
        let tasks = self.tasks(&outputs, &moved);
        (!tasks.is_empty()).then_some((outputs, tasks))
    }

    /// Plans every selected cluster and carries out each plan at once, so that a cluster that does not respond does not
    /// delay the others. The clusters in `last` come after the others.
    pub(crate) async fn renew(
        &self,
        manner: Manner,
        last: &HashSet<ClusterName>,
        cancellation: &Cancellation,
        agrees: &impl AsyncFn(&str) -> bool,
    ) -> FleetRun {
        let mut tasks = self.tasks(&self.outputs, &|_| true);
        tasks.sort_by_key(|task| last.contains(&task.cluster.name));
        let identities = Arc::new(Mutex::new(Identities::default()));
        let renew = async |outputs: &Arc<Outputs>, tasks, pace, wave: Option<&WaveName>| {
            self.renew_tasks(outputs, tasks, (manner, pace, wave), &identities, cancellation).await
        };
        let (mut results, mut timeline) = (HashMap::new(), Timeline::new());
        // Credentials must not wait for a wave; what changes access does.
        let order = if self.options.extent == Extent::Access { Order::Waves } else { Order::Together };
        let mut rollout = self.rollout(cancellation, agrees);
        for part in self.parts(order) {
            let (of_part, others) = tasks.into_iter().partition(|task| part.clusters.contains(&task.cluster.name));
            let of_part: Vec<PlanTask> = of_part;
            tasks = others;
            match rollout.start(&part, of_part.len()).await {
                Ok(pace) => {
                    let (mut came, when) = renew(&self.outputs, of_part, pace, part.name.as_ref()).await;
                    let carried =
                        came.iter_mut().filter_map(|(cluster, (_, carried))| Some((cluster, carried.as_mut()?)));
                    rollout.end(&part, tasks.is_empty(), carried).await;
                    results.extend(came);
                    timeline.extend(when);
                }
                Err(why) => {
                    let left =
                        of_part.into_iter().map(|task| (task.cluster.name.clone(), (Planned::NotStarted(why), None)));
                    results.extend(left);
                }
            }
        }
        // Clusters that were partly carried out are left to the next run.
        let untouched = results.iter().filter(|(_, (_, applied))| applied.is_none());
        let moved = self.moved(untouched.map(|(cluster, (planned, _))| (cluster, planned))).await;
        let mut looked_again = None;
        if let Some((outputs, tasks)) = moved.filter(|_| !cancellation.no_new.is_cancelled()) {
            let pace = Pace { concurrency: self.inventory.run.concurrency, most_failures: usize::MAX };
            let (mut again, later) = renew(&outputs, tasks, pace, None).await;
            timeline.extend(later);
            again.retain(|_, (planned, _)| matches!(planned, Planned::Plan(_)));
            looked_again = Some((outputs, again.keys().cloned().collect()));
            results.extend(again);
        }
        let mut run = FleetRun::new(&self.selected, |cluster| results.remove(cluster), &self.outputs);
        if let Some((outputs, clusters)) = looked_again {
            run.looked_again(&outputs, &clusters);
        }
        run.timed(&timeline);
        run.note_beginnings(self.clock.now());
        run
    }

    async fn renew_tasks(
        &self,
        outputs: &Arc<Outputs>,
        tasks: Vec<PlanTask>,
        (manner, pace, wave): (Manner, Pace, Option<&WaveName>),
        identities: &Arc<Mutex<Identities>>,
        cancellation: &Cancellation,
    ) -> (HashMap<ClusterName, (Planned, Option<Carried>)>, Timeline) {
        let (publisher, writing) = publisher(manner);
        let renew_context = RenewContext {
            plan: self.plan_context(),
            apply: self.apply_context(),
            prepare: self.prepare(outputs, manner, identities),
            publisher,
        };
        let (events, shown) = self.follower.events(Phase::Refreshing, wave, tasks.len());
        let run = async move { renew_clusters(renew_context, tasks, pace, cancellation, &events).await };
        let (results, (), timeline) = tokio::join!(run, writing, shown);
        (results, timeline)
    }

    /// Returns the function that decides, for each plan as it is made, which part of it is carried out.
    fn prepare(&self, outputs: &Arc<Outputs>, manner: Manner, identities: &Arc<Mutex<Identities>>) -> Prepare {
        let clusters: HashMap<ClusterName, Arc<Cluster>> = self
            .selected
            .iter()
            .map(|selected| (selected.cluster.name.clone(), Arc::clone(&selected.cluster)))
            .collect();
        let (outputs, identities) = (Arc::clone(outputs), Arc::clone(identities));
        let checked = Mutex::new(HashMap::new());
        Arc::new(move |mut assessed| {
            let judged = Arc::make_mut(&mut assessed);
            {
                let mut identities = identities.lock().unwrap_or_else(PoisonError::into_inner);
                identities.judge(judged);
                identities.add(judged);
            }
            block_unwritable(&mut judged.plan, &outputs, manner, &checked);
            let task = clusters.get(&assessed.plan.cluster).and_then(|cluster| task(&outputs, cluster, &assessed));
            Prepared { assessed, task }
        })
    }
}

impl FleetRun {
    /// Blocks credentials for files that could not be replaced, before anything is minted for them.
    pub(crate) fn block_unwritable(&mut self, manner: Manner) {
        let checked = Mutex::new(HashMap::new());
        self.planned_mut().for_each(|(assessed, outputs)| {
            block_unwritable(&mut assessed.plan, outputs, manner, &checked);
        });
    }
}

/// Removes from a plan the credentials for files that could not be replaced, before anything is minted for them. The
/// cluster's other credentials are renewed nevertheless.
fn block_unwritable(
    plan: &mut ClusterPlan,
    outputs: &Outputs,
    manner: Manner,
    checked: &Mutex<HashMap<PathBuf, Option<Box<StepFailure>>>>,
) {
    let grants: BTreeSet<GrantKey> = plan.steps.iter().filter_map(Step::grant).cloned().collect();
    for grant in grants {
        let blocker = outputs.unwritable(&grant, manner, checked).map(|failure| Blocker {
            kind: BlockerKind::OutputUnusable,
            profile: Some(grant.profile.clone()),
            message: format!("{}; nothing was minted for it", failure.cause),
            hint: failure.hint,
        });
        plan.blockers.extend(blocker);
    }
    plan.drop_blocked_steps();
}
