//! `kubemint retire`: a cluster leaves the inventory.

use std::collections::HashSet;

use super::load::load;
use super::session::{ask, block_on, interruptible};
use super::show::{
    Showing, arguments, check_outputs, exit_code, new_notes, print, print_failures, prune_exit_code, show_before,
    write_files,
};
use super::{CommandContext, printed, revoke};
use crate::cli::{ReportOutput, RetireArgs, RevokeArgs, SelectionArgs};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Forgetting, MAX_PRUNE, Which};
use crate::foreign::shown;
use crate::report::{Changes, Command, Report, Seen, summary_line};
use crate::wording::{count, list};

/// Removes everything that was made on some clusters, or forgets them.
pub(super) fn run(context: &CommandContext<'_>, args: &RetireArgs) -> Result<ExitCode, Error> {
    let mut named = HashSet::new();
    let cluster = args.cluster.iter().filter(|name| named.insert(name.as_str())).cloned().collect();
    let args = &RetireArgs { cluster, ..args.clone() };
    if !args.yes && !context.environment.can_ask {
        return Err(Error::usage("retire needs a terminal to confirm on").hint("pass `--yes` where nobody can answer"));
    }
    if args.forget { block_on(forget(context, args))? } else { block_on(retire(context, args))? }
}

/// Removes everything that was made on some clusters: what `revoke --access` removes of all grants of a cluster.
async fn retire(context: &CommandContext<'_>, args: &RetireArgs) -> Result<ExitCode, Error> {
    let inventory = load(context, None).await?.inventory;
    let is_unknown = |name: &&String| !inventory.clusters.iter().any(|cluster| cluster.name.as_str() == name.as_str());
    if let Some(name) = args.cluster.iter().find(is_unknown) {
        return Err(Error::usage(format!("the inventory has no cluster `{name}`, so it cannot be reached"))
            .hint("put it back into the inventory until it is retired, or pass `--forget` if it is gone for good"));
    }
    let revoke_args = RevokeArgs {
        selection: SelectionArgs { cluster: args.cluster.clone(), ..SelectionArgs::default() },
        access: true,
        yes: args.yes,
        writing: args.writing.clone(),
        report: args.report.clone(),
        ..RevokeArgs::default()
    };
    let code = revoke::revoke(context, &revoke_args, Command::Retire).await?;
    let names = list(args.cluster.iter().map(String::as_str), usize::MAX);
    let which = if args.cluster.len() == 1 { "it" } else { "them" };
    context.printer.remark(&match code {
        ExitCode::Done => format!(
            "{names}: remove {which} from `{}` now, or the next apply makes all of this anew\n",
            context.global.inventory.display()
        ),
        ExitCode::Pending => return Ok(code),
        _ => format!(
            "{names}: what is gone for good is forgotten with `--forget`, which removes entries in the outputs only\n"
        ),
    });
    Ok(code)
}

/// Removes the entries of clusters that are gone for good.
async fn forget(context: &CommandContext<'_>, args: &RetireArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let loaded = load(context, None).await?;
    let which = if args.gone { Which::Gone(args.max_gone.unwrap_or(MAX_PRUNE)) } else { Which::Named(&args.cluster) };
    let mut forgetting = Forgetting::new(context.surroundings(), loaded.inventory, loaded.layout, which).await?;
    for warning in &forgetting.leavings.unsearched {
        context.printer.problem(&format!("warning: {}\n", shown(warning)));
    }
    forgetting.leave_trail(args.writing.events.as_ref(), &context.environment.directory)?;
    let is_text = ReportOutput::on_stdout(&args.report.output).is_text();
    let planned = forgetting.planned();
    if planned.is_empty() {
        context.printer.remark("no output has an entry of a cluster that the inventory does not have\n");
        return Ok(if forgetting.leavings.unsearched.is_empty() { ExitCode::Done } else { ExitCode::Partial });
    }
    let clusters = planned.iter().filter(|report| !report.changes.is_empty()).count();
    let seen = if clusters > 0 {
        show_before(context, forgetting.head(), Changes::new(planned), &args.report, !args.yes)?
    } else {
        vec![]
    };
    let question = format!(
        "Forget {}? What was made there stays, and its tokens live until they expire.",
        count(clusters, "cluster")
    );
    let cancellation = Cancellation::default();
    let agreed = async { args.yes || clusters == 0 || ask(context, &question, &cancellation).await };
    if !interruptible(context, &cancellation, agreed).await {
        context.printer.problem("nothing was changed\n");
        return Ok(ExitCode::Pending);
    }
    let reports = forgetting.carry_out(context.manner(args.writing.break_lock)).await;
    let changes = Changes::new(reports);
    let summary = changes.summary;
    let code =
        prune_exit_code(exit_code(&summary, &cancellation), &changes, !forgetting.leavings.unsearched.is_empty());
    let report_clusters = changes.clusters.clone();
    let report = Report::new(forgetting.head(), changes);
    let arguments = arguments(context, &SelectionArgs::default(), None, &[(true, "--forget")]);
    if is_text {
        context.printer.remark(&new_notes(context, &report_clusters, &seen));
        printed(context.printer.data(&format!("{}\n", summary_line(Command::Retire, &summary))))?;
        print_failures(context, &report, &arguments, Seen::Plan(&seen));
        write_files(context, &report, Showing::from(&args.report))?;
    } else {
        print(context, &report, Showing::from(&args.report), &arguments)?;
    }
    forgetting.end_trail()?;
    Ok(code)
}
