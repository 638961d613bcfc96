//! `kubemint join`: puts the reports of the parts of a fleet together into one report with one exit code.

use std::sync::atomic::Ordering;

use super::CommandContext;
use super::show::{Showing, check_outputs, exit_code, print, verify_exit_code};
use crate::cli::JoinArgs;
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::foreign::shown;
use crate::names::ClusterName;
use crate::report::{Body, duplicates, join, read_report};
use crate::store;
use crate::wording::list;

/// A report on 100,000 clusters has some hundred megabytes.
const LARGEST: u64 = 1 << 30;

/// Reads the reports, and prints one.
pub(super) fn run(context: &CommandContext<'_>, args: &JoinArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let mut parts = vec![];
    for path in &args.reports {
        let name = shown(&path.display().to_string()).into_owned();
        let unusable = |why: String| Error::new(ExitCode::Usage, format!("`{name}` cannot be joined")).because(why);
        let content = store::read_regular(&context.environment.directory.join(path), LARGEST)
            .map_err(|error| Error::unreadable(ExitCode::Usage, path, &error))?;
        let report = read_report(&content).map_err(unusable)?;
        parts.push((name, report));
    }
    // Nothing else tells the reports of this run from those that an earlier one left behind.
    let heads = || parts.iter().map(|(_, report)| &report.head);
    let has_job = heads().any(|head| head.shard.as_ref().is_some_and(|shard| shard.job.is_some()));
    let (first, last) = (heads().map(|head| head.started).min(), heads().map(|head| head.started).max());
    let report = join(parts).map_err(|why| {
        Error::new(ExitCode::Usage, "these reports do not make one").because(why).hint(
            "each part writes one with `-o json=FILE`; run those again that failed, with the same inventory and number of parts",
        )
    })?;
    if let (Some(first), Some(last), false) = (first, last, has_job) {
        context.printer.remark(&format!(
            "the parts began between {first:.0} and {last:.0}; set `KUBEMINT_JOB` to a new value for each run, and reports of \
             another run are refused\n"
        ));
    }
    let same = duplicates(&report);
    if !same.is_empty() {
        let names = list(same.iter().map(|name| ClusterName::as_str(name)), 5);
        context.printer.problem(&format!(
            "warning: clusters of different parts are the same API server as others: {}\n",
            shown(&names)
        ));
    }
    print(context, &report, Showing::new(&args.report, args.all), &[])?;
    if !report.head.undiscovered.is_empty() {
        let sources = list(report.head.undiscovered.iter().map(String::as_str), 5);
        context.printer.problem(&format!(
            "warning: not all clusters of these discoveries were known, so some may be missing here: {}\n",
            shown(&sources)
        ));
        context.is_undiscovered.store(true, Ordering::Relaxed);
    }
    let none = Cancellation::default();
    Ok(match &report.body {
        Body::Changes(changes) => exit_code(&changes.summary, &none),
        Body::Verification(verification) => verify_exit_code(&verification.summary, &none),
        Body::Status(status) if status.grants.iter().any(|grant| grant.error_kind.is_some()) => ExitCode::Partial,
        Body::Status(_) => ExitCode::Done,
    })
}
