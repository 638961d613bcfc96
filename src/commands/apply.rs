//! `kubemint apply`: plan, show, confirm, run, verify, write.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use super::fleet::{block_on, events, interruptions};
use super::plan::{exit_code, print, print_failures, repeated};
use super::{CommandContext, Fleet, PlannedFleet, printed};
use crate::cli::{ApplyArgs, OutputFormat};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::apply::{ApplyContext, ApplyTask, apply_clusters};
use crate::executor::publish::publisher;
use crate::exit_code::ExitCode;
use crate::names::ClusterName;
use crate::outcome::{Applied, Planned};
use crate::output::Phase;
use crate::report::{ClusterReport, Command, Report, ReportHead, plan_text, summary_line};
use crate::store::BreakLock;
use crate::wording::count;

/// Plans and applies the selected clusters.
pub(super) fn run(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<ExitCode, Error> {
    if !args.yes && !context.environment.can_ask {
        return Err(
            Error::usage("apply needs a terminal to confirm on").hint("look at `kubemint plan`, then pass `--yes`")
        );
    }
    let fleet = Fleet::load(context, &args.selection, &args.policy)?;
    let break_lock = if args.break_lock { BreakLock::AfterWaiting } else { BreakLock::Never };
    fleet.outputs.check_replaceable(break_lock)?;
    let cancellation = Cancellation::default();
    let report = block_on(async {
        tokio::select! {
            report = plan_and_apply(context, args, &fleet, &cancellation) => report,
            () = interruptions(context, &cancellation) => unreachable!("interruptions never end"),
        }
    })??;
    finish(context, args, &report, &cancellation)
}

/// Prints the result and decides on the exit code.
fn finish(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    report: &Report,
    cancellation: &Cancellation,
) -> Result<ExitCode, Error> {
    // Without an interruption, what was not started was declined.
    let is_declined = report.summary.not_started > 0 && !cancellation.no_new.is_cancelled();
    if is_declined && args.output == OutputFormat::Text {
        context.printer.problem("nothing was changed\n");
        return Ok(ExitCode::Pending);
    }
    let arguments = repeated(context, &args.selection, &args.policy);
    match args.output {
        OutputFormat::Json => print(context, report, OutputFormat::Json, &arguments)?,
        OutputFormat::Text => {
            printed(context.printer.data(&format!("{}\n", summary_line(report))))?;
            print_failures(context, report, &arguments);
        }
    }
    Ok(if is_declined { ExitCode::Pending } else { exit_code(&report.summary, cancellation) })
}

async fn plan_and_apply(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    cancellation: &Cancellation,
) -> Result<Report, Error> {
    let planned = fleet.plan(context, cancellation).await;
    let head = ReportHead {
        command: Command::Apply,
        started: context.environment.clock.began(),
        run: Some(context.environment.run.clone()),
        holder: fleet.holder().clone(),
    };
    let reports = fleet.reports(&planned);
    let tasks = tasks(fleet, &planned);
    if tasks.is_empty() {
        let reports = conclude(fleet, &planned, reports, &HashMap::new());
        return Ok(Report::new(head, &fleet.inventory, reports));
    }
    show(context, args, fleet, &head, &reports)?;
    let go = !cancellation.no_new.is_cancelled() && (args.yes || confirm(context, tasks.len(), cancellation).await);
    let applied = if go { apply(context, args, fleet, tasks, cancellation).await } else { HashMap::new() };
    Ok(Report::new(head, &fleet.inventory, conclude(fleet, &planned, reports, &applied)))
}

/// Returns what will run: every plan that has steps and that nothing refuses.
fn tasks(fleet: &Fleet, planned: &PlannedFleet) -> Vec<ApplyTask> {
    let runs = |planned: &Planned| match planned {
        Planned::Plan(plan) if !plan.steps.is_empty() && plan.refusals().is_empty() => Some((**plan).clone()),
        Planned::Plan(_) | Planned::Failed { .. } | Planned::NotStarted => None,
    };
    // Both are in the order of the inventory.
    let clusters = planned.clusters.iter().zip(&fleet.selected);
    clusters
        .filter_map(|((_, planned), (_, grants))| {
            let plan = runs(planned)?;
            let slots = fleet.outputs.publication_slots(plan.steps.iter().filter_map(crate::step::Step::grant));
            let cluster = Arc::clone(&fleet.inventory.grants[*grants.first()?].cluster);
            Some(ApplyTask { cluster, plan, slots })
        })
        .collect()
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
    context.printer.problem(&format!("Apply these changes to {}? [y/N] ", count(clusters, "cluster")));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        answer = answer => match answer {
            Ok(Ok(line)) => matches!(line.trim(), "y" | "Y" | "yes" | "Yes"),
            // Who cannot be asked has not agreed.
            Ok(Err(_)) | Err(_) => false,
        },
        () = cancellation.no_new.cancelled() => false,
    }
}

async fn apply(
    context: &CommandContext<'_>,
    args: &ApplyArgs,
    fleet: &Fleet,
    tasks: Vec<ApplyTask>,
    cancellation: &Cancellation,
) -> HashMap<ClusterName, Applied> {
    let apply_context = Arc::new(ApplyContext {
        inventory: Arc::clone(&fleet.inventory),
        admin: Arc::clone(&fleet.admin),
        holder: fleet.holder().clone(),
        run: context.environment.run.clone(),
        reissue: fleet.options.reissue,
        clock: context.environment.clock,
    });
    let break_lock = if args.break_lock { BreakLock::AfterWaiting } else { BreakLock::Never };
    let (publisher, writing) = publisher(fleet.outputs.targets.clone(), break_lock);
    let (events, shown) = events(context, Phase::Applying, tasks.len());
    let run = async move { apply_clusters(apply_context, tasks, publisher, cancellation, &events).await };
    let (applied, (), ()) = tokio::join!(run, writing, shown);
    applied.into_iter().collect()
}

/// Completes the reports of the plans with what came of them.
fn conclude(
    fleet: &Fleet,
    planned: &PlannedFleet,
    reports: Vec<ClusterReport>,
    applied: &HashMap<ClusterName, Applied>,
) -> Vec<ClusterReport> {
    let conclude_one = |(report, (name, planned)): (ClusterReport, &(ClusterName, Planned))| match planned {
        Planned::Plan(plan) if !plan.refusals().is_empty() => report.refused(plan),
        Planned::Plan(plan) if plan.steps.is_empty() => report,
        Planned::Plan(_) => match applied.get(name) {
            Some(applied) => report.applied(applied, &fleet.inventory),
            None => report.not_started(),
        },
        Planned::Failed { .. } | Planned::NotStarted => report,
    };
    reports.into_iter().zip(&planned.clusters).map(conclude_one).collect()
}
