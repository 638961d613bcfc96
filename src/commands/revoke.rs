//! `kubemint revoke`: ends credentials, or removes the grants' access altogether.

use super::session::{ask, ask_if_possible, block_on, interruptible};
use super::show::{
    Showing, arguments, check_outputs, exit_code, new_notes, print, print_failures, prune_exit_code, show_before,
    write_files,
};
use super::{CommandContext, printed};
use crate::cli::{ReportOutput, RevokeArgs, SelectionArgs};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetPolicy, Order, Periods, Visits, Wanted};
use crate::foreign::shown;
use crate::names::ProfileName;
use crate::outcome::NotStarted;
use crate::plan::{RevokeDepth, RevokeOptions, RevokeTarget, Vanished};
use crate::report::{Changes, ClusterReport, Command, Report, Seen, summary_line};
use crate::step::RemoveReason;
use crate::wording::count;

/// Revokes the credentials of the selected grants.
pub(super) fn run(context: &CommandContext<'_>, args: &RevokeArgs) -> Result<ExitCode, Error> {
    if !args.yes && !context.environment.can_ask {
        return Err(Error::usage("revoke needs a terminal to confirm on").hint("pass `--yes` where nobody can answer"));
    }
    block_on(revoke(context, args, Command::Revoke))?
}

/// Plans, shows, asks, revokes and reports as a command.
pub(super) async fn revoke(
    context: &CommandContext<'_>,
    args: &RevokeArgs,
    command: Command,
) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let visits = if vanished(args) == Vanished::Name { Visits::Granted } else { Visits::All };
    let policy = FleetPolicy {
        visits,
        max_failures: args.rollout.max_failures,
        periods: Periods::Ignore,
        ..FleetPolicy::looking(args.holder.as_ref())
    };
    let mut fleet = context.load_fleet(&args.selection, &policy).await?;
    fleet.leave_trail(args.writing.events.as_ref(), &context.environment.directory, command)?;
    for warning in &fleet.outputs.warnings {
        context.printer.problem(&format!("warning: {}\n", shown(warning)));
    }
    let cancellation = Cancellation::default();
    let work = plan_and_revoke(context, (args, command), &mut fleet, &cancellation);
    let CameOfIt { changes, seen, is_declined, is_unsearched } = interruptible(context, &cancellation, work).await?;
    let trail = fleet.end_trail();
    let is_text = ReportOutput::on_stdout(&args.report.output).is_text();
    if is_declined && is_text {
        context.printer.problem("nothing was revoked\n");
        write_files(context, &Report::new(fleet.writing_head(command), changes), Showing::from(&args.report))?;
        return Ok(ExitCode::Pending);
    }
    let arguments = match command {
        // Its flags are its own.
        Command::Retire => arguments(context, &SelectionArgs::default(), None, &[]),
        _ => repeated(context, args),
    };
    let summary = changes.summary;
    let code = prune_exit_code(exit_code(&summary, &cancellation), &changes, is_unsearched);
    let notes = if is_text { new_notes(context, &changes.clusters, &seen) } else { String::new() };
    let report = Report::new(fleet.writing_head(command), changes);
    if is_text {
        context.printer.remark(&notes);
        printed(context.printer.data(&format!("{}\n", summary_line(command, &summary))))?;
        print_failures(context, &report, &arguments, Seen::Plan(&seen));
        write_files(context, &report, Showing::from(&args.report))?;
    } else {
        print(context, &report, Showing::from(&args.report), &arguments)?;
    }
    trail?;
    Ok(if is_declined { ExitCode::Pending } else { code })
}

/// The result of a revocation.
struct CameOfIt {
    changes: Changes,
    /// The reports that were already shown, as far as they say more than what changes.
    seen: Vec<ClusterReport>,
    /// Whether the user declined.
    is_declined: bool,
    /// Whether some file could not be searched for entries that have to leave.
    is_unsearched: bool,
}

async fn plan_and_revoke(
    context: &CommandContext<'_>,
    (args, command): (&RevokeArgs, Command),
    fleet: &mut Fleet,
    cancellation: &Cancellation,
) -> Result<CameOfIt, Error> {
    let mut run =
        fleet.plan_revocations(&fleet.selected, options(args, fleet), leaving(args, fleet), cancellation).await?;
    let tasks = fleet.last_tasks(&mut run);
    let clusters = tasks.len();
    let is_asked = !args.yes && clusters > 0;
    let is_text = ReportOutput::on_stdout(&args.report.output).is_text();
    // The log of a job says what was revoked, also where nobody was asked.
    let is_shown = is_asked || (clusters > 0 && is_text);
    let seen = if is_shown {
        let changes = Changes::new(run.planned_reports());
        show_before(context, fleet.head(command), changes, &args.report, is_asked)?
    } else {
        vec![]
    };
    let question = format!("Revoke this on {}? It cannot be undone.", count(clusters, "cluster"));
    let is_interrupted = || cancellation.no_new.is_cancelled();
    let is_agreed = args.yes || (clusters > 0 && !is_interrupted() && ask(context, &question, cancellation).await);
    let is_declined = clusters > 0 && !is_agreed && !is_interrupted();
    if is_interrupted() {
        run.leave(tasks, NotStarted::Interrupted);
    } else if is_declined {
        run.leave(tasks, NotStarted::Declined);
    } else if clusters > 0 {
        // What is wrong has to end everywhere at once; access that is no longer needed can go bit by bit.
        let order = if args.access { Order::Waves } else { Order::Together };
        let agrees = async |question: &str| args.yes || ask_if_possible(context, question, cancellation).await;
        fleet.carry_out(&mut run, tasks, (context.manner(args.writing.break_lock), order), cancellation, &agrees).await;
    }
    let is_unsearched = run.is_unsearched;
    let changes = Changes::new(run.into_reports(fleet.holder()));
    let changes = if args.access { changes.in_waves(&fleet.inventory.waves) } else { changes };
    Ok(CameOfIt { changes, seen, is_declined, is_unsearched })
}

fn options(args: &RevokeArgs, fleet: &Fleet) -> RevokeOptions {
    let target = match (args.generation, args.superseded, args.all) {
        (Some(number), ..) => RevokeTarget::Generation(number),
        (None, true, _) => RevokeTarget::Superseded,
        (None, false, true) => RevokeTarget::Everybody,
        (None, false, false) => RevokeTarget::Holder,
    };
    let depth = match (args.hard, args.access) {
        (_, true) => RevokeDepth::Access,
        (true, false) => RevokeDepth::Account,
        (false, false) => RevokeDepth::Tokens,
    };
    RevokeOptions {
        holder: fleet.holder().clone(),
        target,
        depth,
        awaits: args.wait,
        vanished: vanished(args),
        orphan_after: fleet.options.orphan_after,
    }
}

/// Returns which entries leave the outputs.
fn leaving(args: &RevokeArgs, fleet: &Fleet) -> Option<Wanted> {
    if !args.access || args.keep_files {
        return None;
    }
    if args.selection.profile.is_empty() {
        let clusters = fleet.selected.iter().map(|selected| selected.cluster.name.clone());
        return Some(Wanted::Clusters(clusters.collect(), RemoveReason::AccessEnds));
    }
    let grants = fleet.selected.iter().flat_map(|selected| &selected.grants);
    Some(Wanted::Grants(grants.map(|grant| grant.key()).collect()))
}

/// Returns what happens to grants that left the inventory: they are revoked as well, those of the chosen profiles if some
/// were chosen. Where single generations are meant, they are only named.
fn vanished(args: &RevokeArgs) -> Vanished {
    if args.superseded || args.generation.is_some() {
        Vanished::Name
    } else if args.selection.profile.is_empty() {
        Vanished::Revoke
    } else {
        Vanished::RevokeOf(args.selection.profile.iter().map(ProfileName::new).collect())
    }
}

/// Returns the arguments besides the selection of clusters, for repeating the command.
fn repeated(context: &CommandContext<'_>, args: &RevokeArgs) -> Vec<String> {
    let flags = [
        (args.superseded, "--superseded"),
        (args.all, "--all"),
        (args.hard, "--hard"),
        (args.access, "--access"),
        (args.keep_files, "--keep-files"),
        (args.wait, "--wait"),
    ];
    let mut arguments = arguments(context, &args.selection, args.holder.as_deref(), &flags);
    arguments.extend(args.generation.iter().map(|number| format!("--generation {number}")));
    arguments
}
