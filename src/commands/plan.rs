//! `kubemint plan`: shows what apply would do, and writes nothing.

use super::session::{block_on, interruptible};
use super::{CommandContext, printed};
use crate::cli::{OutputFormat, PlanArgs, PolicyArgs, SelectionArgs};
use crate::credential::{Reissue, Renewal};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::observe::{Legacy, Probing, Trial};
use crate::exit_code::ExitCode;
use crate::fleet::{FleetPolicy, Visits};
use crate::output::render_error;
use crate::plan::{Adoption, Scope, Suspension};
use crate::report::{ClusterReport, Command, Failures, Report, ReportHead, Summary, failures, plan_text};
use crate::wording::command;

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
            probing: Probing::Try,
            legacy: Legacy::Leave,
            visits: Visits::Granted,
        }
    }
}

/// Plans the selected clusters and prints the report.
pub(super) fn run(context: &CommandContext<'_>, args: &PlanArgs) -> Result<ExitCode, Error> {
    let fleet = context.load_fleet(&args.selection, &FleetPolicy::from(&args.policy))?;
    let cancellation = Cancellation::default();
    let run = block_on(interruptible(context, &cancellation, fleet.plan(&cancellation)))?;
    let head = ReportHead {
        command: Command::Plan,
        started: context.environment.clock.began(),
        run: None,
        holder: fleet.holder().clone(),
    };
    let report = Report::new(head, &fleet.inventory, run.planned_reports());
    print(context, &report, args.output, &repeated(context, &args.selection, &args.policy))?;
    let code = exit_code(&report.summary, &cancellation);
    Ok(if code == ExitCode::Done && args.check && report.summary.pending > 0 { ExitCode::Pending } else { code })
}

/// Prints a report to stdout and what went wrong to stderr.
pub(super) fn print(
    context: &CommandContext<'_>,
    report: &Report,
    format: OutputFormat,
    arguments: &[String],
) -> Result<(), Error> {
    match format {
        OutputFormat::Text => printed(context.printer.data(&plan_text(report)))?,
        OutputFormat::Json => printed(context.printer.data(&super::json(report)?))?,
    }
    let seen = if format == OutputFormat::Text { report.clusters.as_slice() } else { &[] };
    print_failures(context, report, arguments, seen);
    Ok(())
}

/// Prints which clusters did not make it, to stderr. `seen` went to stdout: on one terminal it is not said again.
pub(super) fn print_failures(
    context: &CommandContext<'_>,
    report: &Report,
    arguments: &[String],
    seen: &[ClusterReport],
) {
    let seen = if context.environment.shows_both { seen } else { &[] };
    if let Some(Failures { message, lines, hint }) = failures(report, arguments, seen) {
        let code = exit_code(&report.summary, &Cancellation::default());
        let error = Error { code, message, lines, causes: vec![], hint };
        context.printer.problem(&render_error(&error));
    }
}

/// Returns what a plan or apply was given beside the selection of clusters, to repeat it.
pub(super) fn repeated(context: &CommandContext<'_>, selection: &SelectionArgs, policy: &PolicyArgs) -> Vec<String> {
    let flags = [(policy.adopt, "--adopt"), (policy.reissue, "--reissue")];
    let mut arguments = arguments(context, selection, policy.holder.as_deref(), &flags);
    arguments.extend(policy.adopt_from.iter().map(|inventory| command(&["--adopt-from", inventory])));
    arguments
}

/// Returns what a command that repeats this one needs, beside the selection of clusters: the inventory,
/// profiles and holder, and the flags that were set.
pub(super) fn arguments(
    context: &CommandContext<'_>,
    selection: &SelectionArgs,
    holder: Option<&str>,
    flags: &[(bool, &str)],
) -> Vec<String> {
    let mut arguments = vec![];
    let inventory = context.global.inventory.display().to_string();
    if inventory != "clusters.toml" {
        arguments.push(command(&["-f", &inventory]));
    }
    arguments.extend(selection.profile.iter().map(|profile| command(&["--profile", profile])));
    arguments.extend(holder.map(|holder| command(&["--holder", holder])));
    arguments.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| (*flag).to_owned()));
    arguments
}

/// Returns the exit code that counts of clusters amount to.
pub(super) fn exit_code(summary: &Summary, cancellation: &Cancellation) -> ExitCode {
    let Summary { clusters, blocked, failed, not_started, .. } = *summary;
    let is_cut_short = cancellation.stop.is_cancelled() && failed > 0;
    if is_cut_short || (cancellation.no_new.is_cancelled() && not_started > 0) {
        ExitCode::Interrupted
    } else if blocked == clusters {
        ExitCode::Blocked
    } else if blocked + failed == clusters {
        ExitCode::AllFailed
    } else if blocked + failed > 0 {
        ExitCode::Partial
    } else {
        ExitCode::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_counts() {
        let check = |blocked, failed, unchanged, expected| {
            let clusters = blocked + failed + unchanged;
            let summary = Summary { clusters, unchanged, blocked, failed, ..Summary::default() };
            assert_eq!(exit_code(&summary, &Cancellation::default()), expected);
        };
        check(0, 0, 3, ExitCode::Done);
        check(3, 0, 0, ExitCode::Blocked);
        check(0, 3, 0, ExitCode::AllFailed);
        check(1, 2, 0, ExitCode::AllFailed);
        check(1, 0, 2, ExitCode::Partial);
        check(0, 1, 2, ExitCode::Partial);
    }
}
