//! What the commands on a fleet share: an inventory made ready, and the planning of its clusters.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::outputs::{Damaged, Outputs, PluginCaller};
use super::{CommandContext, load, selection};
use crate::cli::{PolicyArgs, SelectionArgs};
use crate::cluster::AdminSources;
use crate::credential::{Reissue, Renewal};
use crate::error::Error;
use crate::event::Event;
use crate::executor::apply::orphan_after;
use crate::executor::observe::{Legacy, PlanContext, PlanTask, Probing, Trial, plan_clusters};
use crate::executor::{Cancellation, Events};
use crate::inventory::Inventory;
use crate::names::{ClusterName, Holder};
use crate::outcome::Planned;
use crate::output::{Phase, Progress, TICK};
use crate::plan::{
    Adoption, Blocker, BlockerKind, ClusterPlan, GrantInput, PlanOptions, Scope, Suspension, block_duplicates,
};
use crate::report::{ClusterReport, GrantPaths};
use crate::store::BreakLock;

/// What a run is told beside its selection of grants.
#[derive(Debug, Clone)]
pub struct FleetPolicy {
    /// Who keeps the credentials, instead of the inventory's `holder`.
    pub(super) holder: Option<String>,
    pub(super) adoption: Adoption,
    pub(super) reissue: Reissue,
    pub(super) renewal: Renewal,
    pub(super) scope: Scope,
    pub(super) suspension: Suspension,
    pub(super) trial: Trial,
    pub(super) damaged: Damaged,
    pub(super) probing: Probing,
    pub(super) legacy: Legacy,
}

/// What `plan` and `apply` may do.
impl From<&PolicyArgs> for FleetPolicy {
    fn from(args: &PolicyArgs) -> Self {
        Self {
            holder: args.holder.clone(),
            adoption: Adoption { foreign: args.adopt, inventories: args.adopt_from.clone() },
            reissue: if args.reissue { Reissue::Allowed } else { Reissue::Refused },
            renewal: Renewal::default(),
            scope: Scope::Access,
            suspension: Suspension::Lift,
            trial: Trial::Skip,
            damaged: Damaged::Refuse,
            probing: Probing::Try,
            legacy: Legacy::Leave,
        }
    }
}

impl FleetPolicy {
    /// Returns what a run may do that only looks at the credentials of a holder.
    pub(super) fn looking(holder: Option<&String>) -> Self {
        Self {
            holder: holder.cloned(),
            adoption: Adoption::default(),
            reissue: Reissue::Refused,
            renewal: Renewal::default(),
            scope: Scope::Credentials,
            suspension: Suspension::Keep,
            trial: Trial::Skip,
            damaged: Damaged::Skip,
            probing: Probing::Skip,
            legacy: Legacy::Leave,
        }
    }
}

/// An inventory with everything that a run on it needs.
#[derive(Debug)]
pub struct Fleet {
    pub(super) inventory: Arc<Inventory>,
    pub(super) options: PlanOptions,
    pub(super) outputs: Outputs,
    pub(super) paths: GrantPaths,
    /// The selected grants by cluster, in the order of the inventory.
    pub(super) selected: Vec<(ClusterName, Vec<usize>)>,
    pub(super) admin: Arc<AdminSources>,
    trial: Trial,
    probing: Probing,
    legacy: Legacy,
}

/// The plans of a fleet, in the order of the inventory.
#[derive(Debug)]
pub struct PlannedFleet {
    pub(super) clusters: Vec<(ClusterName, Planned)>,
}

impl Fleet {
    /// Loads the inventory, the admin kubeconfigs and what the outputs hold.
    ///
    /// # Errors
    ///
    /// If the inventory is invalid, nothing is selected, or an output cannot be used.
    pub fn load(context: &CommandContext<'_>, selection: &SelectionArgs, policy: &FleetPolicy) -> Result<Self, Error> {
        Self::of(context, load::load(context, policy.holder.as_deref())?, selection, policy)
    }

    /// Makes ready an inventory that was loaded with the policy's holder.
    ///
    /// # Errors
    ///
    /// If nothing is selected, or an output cannot be used.
    pub(super) fn of(
        context: &CommandContext<'_>,
        loaded: load::Loaded,
        selection: &SelectionArgs,
        policy: &FleetPolicy,
    ) -> Result<Self, Error> {
        let load::Loaded { mut inventory, layout, .. } = loaded;
        if let Some(concurrency) = selection.concurrency {
            inventory.run.concurrency = usize::from(concurrency);
        }
        let holder = inventory.holder.clone();
        let selected = selection::select(&inventory, selection)?;
        let caller = PluginCaller::of(context);
        let grants: BTreeSet<usize> = selected.iter().flat_map(|(_, grants)| grants.iter().copied()).collect();
        let outputs =
            Outputs::read(&inventory, &layout, &holder, &caller, &|grant| grants.contains(&grant), policy.damaged)?;
        for warning in &outputs.warnings {
            context.printer.problem(&format!("warning: {warning}\n"));
        }
        let paths = outputs.paths(inventory.grants.len());
        let accesses = grants.iter().map(|grant| &inventory.grants[*grant].cluster.admin);
        let admin = Arc::new(AdminSources::load(accesses, &context.environment.admin, inventory.run.cluster_timeout));
        for warning in admin.warnings() {
            context.printer.remark(&format!("warning: {warning}\n"));
        }
        let options = PlanOptions {
            holder,
            adoption: policy.adoption.clone(),
            reissue: policy.reissue,
            renewal: policy.renewal,
            scope: policy.scope,
            suspension: policy.suspension,
            orphan_after: orphan_after(inventory.run.cluster_timeout),
        };
        let inventory = Arc::new(inventory);
        Ok(Self {
            inventory,
            options,
            outputs,
            paths,
            selected,
            admin,
            trial: policy.trial,
            probing: policy.probing,
            legacy: policy.legacy,
        })
    }

    /// Returns the number of selected clusters.
    pub fn len(&self) -> usize {
        self.selected.len()
    }

    /// Returns whether no cluster is selected.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// Returns the holder of this run.
    pub fn holder(&self) -> &Holder {
        &self.options.holder
    }

    /// Plans every selected cluster.
    pub async fn plan(&self, context: &CommandContext<'_>, cancellation: &Cancellation) -> PlannedFleet {
        let tasks = self
            .selected
            .iter()
            .map(|(cluster, grants)| PlanTask {
                cluster: cluster.clone(),
                grants: grants
                    .iter()
                    .map(|grant| GrantInput { grant: *grant, outputs: self.outputs.plan_slots(*grant), distrust: None })
                    .collect(),
            })
            .collect();
        let plan_context = Arc::new(PlanContext {
            inventory: Arc::clone(&self.inventory),
            admin: Arc::clone(&self.admin),
            options: self.options.clone(),
            trial: self.trial,
            probing: self.probing,
            legacy: self.legacy,
            clock: context.environment.clock,
        });
        let (events, shown) = events(context, Phase::Planning, self.len());
        let run = async move { plan_clusters(plan_context, tasks, cancellation, &events).await };
        let (mut clusters, ()) = tokio::join!(run, shown);
        let mut plans: Vec<&mut ClusterPlan> = clusters
            .iter_mut()
            .filter_map(|(_, planned)| match planned {
                Planned::Plan(plan) => Some(plan.as_mut()),
                Planned::Failed { .. } | Planned::NotStarted => None,
            })
            .collect();
        block_duplicates(&mut plans);
        PlannedFleet { clusters }
    }

    /// Takes from plans what goes to files that could not be replaced, before anything is minted for
    /// them. The other credentials of a cluster are renewed all the same.
    pub(super) fn block_unwritable(&self, planned: &mut PlannedFleet, break_lock: BreakLock) {
        let mut checked = HashMap::new();
        for (_, planned) in &mut planned.clusters {
            let Planned::Plan(plan) = planned else { continue };
            let mut blockers = vec![];
            plan.steps.retain(|step| {
                let Some(grant) = step.grant() else { return true };
                let failure = self.outputs.unwritable(grant, break_lock, &mut checked);
                blockers.extend(failure.clone().map(|failure| Blocker {
                    kind: BlockerKind::OutputUnusable,
                    profile: Some(self.inventory.grants[grant].profile.name.clone()),
                    message: format!("{}; nothing was minted for it", failure.cause),
                    hint: failure.hint,
                }));
                failure.is_none()
            });
            plan.blockers.extend(blockers);
        }
    }

    /// Reports planned clusters.
    pub fn reports(&self, planned: &PlannedFleet) -> Vec<ClusterReport> {
        let report = |(name, planned): &(ClusterName, Planned)| {
            ClusterReport::planned(name, planned, &self.inventory, &self.paths)
        };
        planned.clusters.iter().map(report).collect()
    }
}

/// Makes a channel for events and the display that follows it; the display ends with the channel.
pub(super) fn events(
    context: &CommandContext<'_>,
    phase: Phase,
    total: usize,
) -> (Events, impl Future<Output = ()> + use<>) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Event>();
    let mut progress = Progress::start(context.progress, phase, total);
    let display = async move {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => progress.show(&event),
                    None => break,
                },
                _ = tick.tick() => progress.tick(),
            }
        }
        progress.finish();
    };
    (Events::new(sender), display)
}

/// Listens for interruptions: the first lets running clusters finish, the second stops them.
///
/// The future never ends; it is dropped with the run.
pub(super) async fn interruptions(context: &CommandContext<'_>, cancellation: &Cancellation) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        context.printer.problem("warning: signals cannot be handled; an interruption stops at once\n");
        return std::future::pending().await;
    };
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    next().await;
    context.printer.problem("interrupted: no new clusters start, running ones finish; once more to stop now\n");
    cancellation.no_new.cancel();
    next().await;
    context.printer.problem("interrupted again: stopping now\n");
    cancellation.stop.cancel();
    std::future::pending::<()>().await;
}

/// Runs a command's asynchronous part on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Error::new(crate::exit_code::ExitCode::Internal, "cannot start").because(error.to_string()))?;
    let result = runtime.block_on(work);
    // A question that nobody answered still waits for a line in a thread of its own.
    runtime.shutdown_background();
    Ok(result)
}
