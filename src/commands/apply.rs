//! `kubemint apply`: plan, show, confirm, run, verify, write.

use super::load::load;
use super::plan::repeated;
use super::session::{ask, ask_if_possible, block_on, interruptible};
use super::show::{
    Showing, check_outputs, exit_code, print, print_failures, prune_exit_code, show_before, write_files,
};
use super::{CommandContext, kubectl, printed, saved};
use crate::cli::{ApplyArgs, ReportOutput};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetPolicy, Order, Replan};
use crate::foreign::shown;
use crate::outcome::NotStarted;
use crate::report::{Changes, ClusterReport, Command, Report, Seen, notes_text, summary_line};
use crate::saved::SavedPlan;
use crate::wording::count;

/// Plans and applies the selected clusters, or carries out a saved plan.
pub(super) fn run(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    if !args.yes && !context.environment.can_ask && (args.plan.is_none() || args.replan) {
        return Err(
            Error::usage("apply needs a terminal to confirm on").hint("look at `kubemint plan`, then pass `--yes`")
        );
    }
    block_on(apply(context, args))?
}

async fn apply(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let saved = saved::to_apply(context, args)?;
    let (selection, policy) = match &saved {
        Some(saved) => saved::arguments(saved, args),
        None => (args.selection.clone(), args.policy.clone()),
    };
    let fleet_policy = FleetPolicy { max_failures: args.rollout.max_failures, ..FleetPolicy::from(&policy) };
    let loaded = load(context, fleet_policy.holder.as_deref()).await?;
    if let Some(saved) = &saved {
        saved::check_inventory(args, saved, &loaded)?;
    }
    let mut fleet = context.fleet(loaded, &selection, &fleet_policy).await?;
    fleet.leave_trail(args.writing.events.as_ref(), &context.environment.directory, Command::Apply)?;
    let cancellation = Cancellation::default();
    let work = plan_and_apply(context, args, &mut fleet, saved.as_ref(), &cancellation);
    let came_of_it = interruptible(context, &cancellation, work).await?;
    let arguments = repeated(context, &selection, &policy);
    let code = finish(context, args, (&fleet, &arguments), came_of_it, &cancellation)?;
    fleet.end_trail()?;
    Ok(code)
}

/// The result of an apply.
struct CameOfIt {
    changes: Changes,
    /// The reports that were already shown, as far as they say more than what changes.
    seen: Vec<ClusterReport>,
    /// Whether anything was begun.
    is_carried_out: bool,
    /// Whether the user declined.
    is_declined: bool,
    /// Whether some file could not be searched for entries that have to leave.
    is_unsearched: bool,
}

/// Prints the result and decides on the exit code.
fn finish(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    (fleet, arguments): (&Fleet, &[String]),
    CameOfIt { changes, seen, is_carried_out, is_declined, is_unsearched }: CameOfIt,
    cancellation: &Cancellation,
) -> Result<ExitCode, Error> {
    let is_text = ReportOutput::on_stdout(&args.report.output).is_text();
    if is_declined && is_text {
        context.printer.problem("nothing was changed\n");
        write_files(context, &Report::new(fleet.writing_head(Command::Apply), changes), Showing::from(&args.report))?;
        return Ok(ExitCode::Pending);
    }
    for warning in kubectl::warnings(context, fleet) {
        context.printer.remark(&format!("warning: {}\n", shown(&warning)));
    }
    let summary = changes.summary;
    let code = prune_exit_code(exit_code(&summary, cancellation), &changes, is_unsearched);
    // Those of the plan were shown with it; where it has no steps, they are not news.
    let notes = if is_carried_out { notes_text(&changes.clusters, &seen) } else { String::new() };
    let report = Report::new(fleet.writing_head(Command::Apply), changes);
    if is_text {
        context.printer.remark(&notes);
        printed(context.printer.data(&format!("{}\n", summary_line(Command::Apply, &summary))))?;
        print_failures(context, &report, arguments, Seen::Plan(&seen));
        write_files(context, &report, Showing::from(&args.report))?;
    } else {
        print(context, &report, Showing::from(&args.report), arguments)?;
    }
    Ok(if is_declined { ExitCode::Pending } else { code })
}

async fn plan_and_apply(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &mut Fleet,
    saved: Option<&SavedPlan>,
    cancellation: &Cancellation,
) -> Result<CameOfIt, Error> {
    // Between waves there are pauses and questions, which no connection should be held open for.
    if (args.yes || saved.is_some()) && fleet.inventory.waves.is_empty() {
        fleet.keep_connections();
    }
    let (mut run, is_reviewed) = match saved {
        None => (fleet.plan(cancellation).await, false),
        Some(saved) => {
            let replan = if args.replan { Replan::Moved } else { Replan::Nothing };
            let (run, moved) = fleet.plan_saved(saved, replan, cancellation).await;
            (run, replan == Replan::Nothing || moved.is_empty())
        }
    };
    let manner = context.manner(args.writing.break_lock);
    run.block_unwritable(manner);
    let mut tasks = fleet.last_tasks(&mut run);
    if run.prunes_too_much() {
        run.leave(std::mem::take(&mut tasks), NotStarted::PruneCeiling);
    }
    if tasks.is_empty() {
        return Ok(CameOfIt {
            is_unsearched: run.is_unsearched,
            changes: Changes::new(run.into_reports(fleet.holder())).in_waves(&fleet.inventory.waves),
            seen: vec![],
            is_carried_out: false,
            is_declined: false,
        });
    }
    let seen = show(context, args, fleet, run.planned_reports())?;
    let is_interrupted = || cancellation.no_new.is_cancelled();
    let is_agreed = args.yes || is_reviewed || (!is_interrupted() && confirm(context, tasks.len(), cancellation).await);
    let is_interrupted = is_interrupted();
    let is_declined = !is_agreed && !is_interrupted;
    if is_interrupted {
        run.leave(tasks, NotStarted::Interrupted);
    } else if is_declined {
        run.leave(tasks, NotStarted::Declined);
    } else {
        let agrees = async |question: &str| args.yes || ask_if_possible(context, question, cancellation).await;
        fleet.carry_out(&mut run, tasks, (manner, Order::Waves), cancellation, &agrees).await;
    }
    Ok(CameOfIt {
        is_unsearched: run.is_unsearched,
        changes: Changes::new(run.into_reports(fleet.holder())).in_waves(&fleet.inventory.waves),
        seen,
        is_carried_out: is_agreed && !is_interrupted,
        is_declined,
    })
}

/// Shows the plan, and returns what the report after it need not say again.
fn show(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    reports: Vec<ClusterReport>,
) -> Result<Vec<ClusterReport>, Error> {
    let changes = Changes::new(reports).in_waves(&fleet.inventory.waves);
    let is_asked = !args.yes && (args.plan.is_none() || args.replan);
    show_before(context, fleet.head(Command::Plan), changes, &args.report, is_asked)
}

async fn confirm(context: &CommandContext<'_>, clusters: usize, cancellation: &Cancellation) -> bool {
    let question = format!("Apply these changes to {}?", count(clusters, "cluster"));
    ask(context, &question, cancellation).await
}
