//! `kubemint apply`: plan, show, confirm, run, verify, write.

use super::plan::repeated;
use super::session::{ask, block_on, interruptible};
use super::show::{Showing, check_outputs, exit_code, print, print_failures, rendered, write_files};
use super::{CommandContext, kubectl, printed};
use crate::cli::{ApplyArgs, OutputFormat, ReportOutput};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetPolicy};
use crate::foreign::shown;
use crate::outcome::NotStarted;
use crate::report::{Changes, ClusterReport, Command, Report, Seen, summary_line};
use crate::wording::count;

/// Plans and applies the selected clusters.
pub(super) fn run(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    if !args.yes && !context.environment.can_ask {
        return Err(
            Error::usage("apply needs a terminal to confirm on").hint("look at `kubemint plan`, then pass `--yes`")
        );
    }
    block_on(apply(context, args))?
}

async fn apply(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let fleet = context.load_fleet(&args.selection, &FleetPolicy::from(&args.policy)).await?;
    let cancellation = Cancellation::default();
    let work = plan_and_apply(context, args, &fleet, &cancellation);
    let came_of_it = interruptible(context, &cancellation, work).await?;
    finish(context, args, &fleet, came_of_it, &cancellation)
}

/// The result of an apply.
struct CameOfIt {
    changes: Changes,
    /// The reports that were already shown.
    seen: Vec<ClusterReport>,
    /// Whether the user declined.
    is_declined: bool,
}

/// Prints the result and decides on the exit code.
fn finish(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    CameOfIt { changes, seen, is_declined }: CameOfIt,
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
    let arguments = repeated(context, &args.selection, &args.policy);
    let summary = changes.summary;
    let report = Report::new(fleet.writing_head(Command::Apply), changes);
    if is_text {
        printed(context.printer.data(&format!("{}\n", summary_line(Command::Apply, &summary))))?;
        print_failures(context, &report, &arguments, Seen::Plan(&seen));
        write_files(context, &report, Showing::from(&args.report))?;
    } else {
        print(context, &report, Showing::from(&args.report), &arguments)?;
    }
    Ok(if is_declined { ExitCode::Pending } else { exit_code(&summary, cancellation) })
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
    let tasks = run.apply_tasks();
    if tasks.is_empty() {
        return Ok(CameOfIt { changes: Changes::new(run.reports(fleet.holder())), seen: vec![], is_declined: false });
    }
    let seen = run.planned_reports();
    show(context, args, fleet, &seen)?;
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
    let seen = if ReportOutput::on_stdout(&args.report.output).is_text() { seen } else { vec![] };
    Ok(CameOfIt { changes: Changes::new(run.reports(fleet.holder())), seen, is_declined })
}

/// Shows the plan. If the result goes to stdout as JSON, the plan goes to stderr.
fn show(context: &CommandContext<'_>, args: &ApplyArgs, fleet: &Fleet, reports: &[ClusterReport]) -> Result<(), Error> {
    let report = Report::new(fleet.head(Command::Plan), Changes::new(reports.to_vec()));
    let format = ReportOutput::on_stdout(&args.report.output);
    let shown = if format.is_text() { format } else { OutputFormat::Text };
    let text = rendered(context, &report, shown, Showing::from(&args.report))?;
    if format.is_text() {
        return printed(context.printer.data(&text));
    }
    context.printer.remark(&text);
    Ok(())
}

async fn confirm(context: &CommandContext<'_>, clusters: usize, cancellation: &Cancellation) -> bool {
    let question = format!("Apply these changes to {}?", count(clusters, "cluster"));
    ask(context, &question, cancellation).await
}
