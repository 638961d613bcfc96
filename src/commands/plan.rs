//! `kubemint plan`: shows what apply would do, and writes nothing.

use super::discover::compare;
use super::load::load;
use super::session::{block_on, interruptible};
use super::show::{Showing, arguments, check_outputs, exit_code, print, prune_exit_code};
use super::{CommandContext, saved};
use crate::cli::{PlanArgs, PolicyArgs, SelectionArgs};
use crate::credential::{Reissue, Renewal};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::observe::{Legacy, Probing, Trial};
use crate::exit_code::ExitCode;
use crate::fleet::{FleetPolicy, MAX_PRUNE, Periods, Visits};
use crate::plan::{Adoption, Extent, Prune, Suspension};
use crate::report::{Changes, Command, Report};
use crate::risk::RiskClass;
use crate::wording::command;

/// The policy for `plan` and `apply`.
impl From<&PolicyArgs> for FleetPolicy {
    fn from(args: &PolicyArgs) -> Self {
        Self {
            holder: args.holder.clone(),
            adoption: Adoption { foreign: args.adopt, inventories: args.adopt_from.clone() },
            reissue: if args.reissue { Reissue::Allowed } else { Reissue::Refused },
            renewal: Renewal::default(),
            extent: Extent::Access,
            suspension: Suspension::Lift,
            trial: Trial::Skip,
            probing: Probing::Try,
            legacy: Legacy::Leave,
            // What no grant explains may be where no grant is left.
            visits: if args.prune { Visits::All } else { Visits::Granted },
            max_failures: None,
            periods: Periods::Count,
            deny: args.deny.iter().copied().map(RiskClass::from).collect(),
            prune: if args.prune { Prune::Remove } else { Prune::Keep },
            max_prune: args.max_prune.unwrap_or(MAX_PRUNE),
        }
    }
}

/// Plans the selected clusters and prints the report.
pub(super) fn run(context: &CommandContext<'_>, args: &PlanArgs) -> Result<ExitCode, Error> {
    block_on(plan(context, args))?
}

async fn plan(context: &CommandContext<'_>, args: &PlanArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    saved::check_out(context, args)?;
    let policy = FleetPolicy::from(&args.policy);
    let loaded = load(context, policy.holder.as_deref()).await?;
    let digest = loaded.digest.clone();
    compare(context, &loaded.inventory).await?;
    let mut fleet = context.fleet(loaded, &args.selection, &policy).await?;
    if args.out.is_some() {
        fleet.remember_objects();
    }
    let cancellation = Cancellation::default();
    let run = interruptible(context, &cancellation, fleet.plan(&cancellation)).await;
    let changes = Changes::new(run.planned_reports()).in_waves(&fleet.inventory.waves);
    let summary = changes.summary;
    let report = Report::new(fleet.head(Command::Plan), changes.clone());
    print(context, &report, Showing::new(&args.report, args.all), &repeated(context, &args.selection, &args.policy))?;
    saved::save(context, args, (&fleet, &run), digest)?;
    let code = prune_exit_code(exit_code(&summary, &cancellation), &changes, run.is_unsearched);
    Ok(if code == ExitCode::Done && args.check && summary.pending > 0 { ExitCode::Pending } else { code })
}

/// Returns the arguments of a plan or apply besides its selection of clusters, for repeating it.
pub(super) fn repeated(context: &CommandContext<'_>, selection: &SelectionArgs, policy: &PolicyArgs) -> Vec<String> {
    let flags = [(policy.adopt, "--adopt"), (policy.reissue, "--reissue"), (policy.prune, "--prune")];
    let mut arguments = arguments(context, selection, policy.holder.as_deref(), &flags);
    if !policy.deny.is_empty() {
        let classes: Vec<&str> = policy.deny.iter().copied().map(|class| RiskClass::from(class).as_str()).collect();
        arguments.push(command(&["--deny", &classes.join(",")]));
    }
    arguments.extend(policy.max_prune.map(|most| command(&["--max-prune", &most.to_string()])));
    arguments.extend(policy.adopt_from.iter().map(|inventory| command(&["--adopt-from", inventory])));
    arguments
}
