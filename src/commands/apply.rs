//! `kubemint apply`: plan, show, confirm, run, verify, write.

use super::plan::{exit_code, print, print_failures, repeated};
use super::session::{ask, block_on, interruptible};
use super::{CommandContext, kubectl, printed};
use crate::cli::{ApplyArgs, OutputFormat};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetPolicy};
use crate::foreign::shown;
use crate::outcome::NotStarted;
use crate::report::{ClusterReport, Command, Report, ReportHead, plan_text, summary_line};
use crate::wording::count;

/// Plans and applies the selected clusters.
pub(super) fn run(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    if !args.yes && !context.environment.can_ask {
        return Err(
            Error::usage("apply needs a terminal to confirm on").hint("look at `kubemint plan`, then pass `--yes`")
        );
    }
    let fleet = context.load_fleet(&args.selection, &FleetPolicy::from(&args.policy))?;
    let cancellation = Cancellation::default();
    let work = plan_and_apply(context, args, &fleet, &cancellation);
    let came_of_it = block_on(interruptible(context, &cancellation, work))??;
    finish(context, args, &fleet, &came_of_it, &cancellation)
}

/// What came of an apply.
struct CameOfIt {
    report: Report,
    /// What of it was shown before.
    seen: Vec<ClusterReport>,
    /// Whether the user declined.
    is_declined: bool,
}

/// Prints the result and decides on the exit code.
fn finish(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    CameOfIt { report, seen, is_declined }: &CameOfIt,
    cancellation: &Cancellation,
) -> Result<ExitCode, Error> {
    if *is_declined && args.output == OutputFormat::Text {
        context.printer.problem("nothing was changed\n");
        return Ok(ExitCode::Pending);
    }
    for warning in kubectl::warnings(context, fleet) {
        context.printer.remark(&format!("warning: {}\n", shown(&warning)));
    }
    let arguments = repeated(context, &args.selection, &args.policy);
    match args.output {
        OutputFormat::Json => print(context, report, OutputFormat::Json, &arguments)?,
        OutputFormat::Text => {
            printed(context.printer.data(&format!("{}\n", summary_line(report))))?;
            print_failures(context, report, &arguments, seen);
        }
    }
    Ok(if *is_declined { ExitCode::Pending } else { exit_code(&report.summary, cancellation) })
}

async fn plan_and_apply(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    cancellation: &Cancellation,
) -> Result<CameOfIt, Error> {
    let mut run = fleet.plan(cancellation).await;
    let manner = context.manner(args.break_lock);
    run.block_unwritable(manner);
    let head = ReportHead {
        command: Command::Apply,
        started: context.environment.clock.began(),
        run: Some(context.environment.run.clone()),
        holder: fleet.holder().clone(),
    };
    let tasks = run.apply_tasks();
    if tasks.is_empty() {
        let report = Report::new(head, &fleet.inventory, run.reports(fleet.holder()));
        return Ok(CameOfIt { report, seen: vec![], is_declined: false });
    }
    let seen = run.planned_reports();
    show(context, args, fleet, &head, &seen)?;
    let is_interrupted = || cancellation.no_new.is_cancelled();
    let is_agreed = args.yes || (!is_interrupted() && confirm(context, tasks.len(), cancellation).await);
    let is_interrupted = is_interrupted();
    let is_declined = !is_agreed && !is_interrupted;
    if is_interrupted {
        run.leave(tasks, NotStarted::Interrupted);
    } else if is_declined {
        run.leave(tasks, NotStarted::Declined);
    } else {
        fleet.carry_out(&mut run, tasks, manner, cancellation).await;
    }
    let seen = if args.output == OutputFormat::Text { seen } else { vec![] };
    let report = Report::new(head, &fleet.inventory, run.reports(fleet.holder()));
    Ok(CameOfIt { report, seen, is_declined })
}

/// Shows the plan; where the result goes to stdout as JSON, the plan goes to stderr.
fn show(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    head: &ReportHead,
    reports: &[ClusterReport],
) -> Result<(), Error> {
    let head = ReportHead { command: Command::Plan, ..head.clone() };
    let text = plan_text(&Report::new(head, &fleet.inventory, reports.to_vec()));
    match args.output {
        OutputFormat::Text => printed(context.printer.data(&text)),
        OutputFormat::Json => {
            context.printer.remark(&text);
            Ok(())
        }
    }
}

async fn confirm(context: &CommandContext<'_>, clusters: usize, cancellation: &Cancellation) -> bool {
    let question = format!("Apply these changes to {}?", count(clusters, "cluster"));
    ask(context, &question, cancellation).await
}
