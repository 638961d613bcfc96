//! How commands show their reports: the result on stdout, failures on stderr.

use std::collections::HashSet;

use super::{CommandContext, printed};
use crate::cli::{OutputFormat, ReportArgs, ReportOutput, SelectionArgs};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::output::render_error;
use crate::plan::{Blocker, BlockerKind};
use crate::report::{
    Body, Changes, ClusterReport, Failures, Head, RenderError, Rendering, Report, Seen, Summary, TextOptions,
    VerifySummary, failures, is_html, is_json_report, is_junit, is_markdown, notes_text, render,
};
use crate::store::{self, StoreError};
use crate::wording::command;

/// How the result of a command is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Showing<'a> {
    /// Where it goes.
    pub(super) outputs: &'a [ReportOutput],
    /// Whether text has all of a large fleet.
    pub(super) shows_all: bool,
    /// The label by whose values text counts.
    pub(super) group_by: Option<&'a str>,
}

impl<'a> Showing<'a> {
    /// Returns what the arguments ask for.
    pub(super) fn new(args: &'a ReportArgs, shows_all: bool) -> Self {
        Self { outputs: &args.output, shows_all, group_by: args.group_by.as_deref() }
    }

    /// Returns the format for standard output.
    pub(super) fn on_stdout(&self) -> OutputFormat {
        ReportOutput::on_stdout(self.outputs)
    }
}

impl<'a> From<&'a ReportArgs> for Showing<'a> {
    fn from(args: &'a ReportArgs) -> Self {
        Self::new(args, false)
    }
}

/// Checks, before anything is contacted, that reports can be written where they were asked for.
///
/// # Errors
///
/// If two are for standard output or for one file, or a file is something else than a report of that format.
pub(super) fn check_outputs(context: &CommandContext<'_>, outputs: &[ReportOutput]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for ReportOutput { format, file } in outputs {
        let path = file.as_ref().map(|file| context.environment.directory.join(file));
        let name = file.as_ref().map_or_else(|| "standard output".to_owned(), |file| format!("`{}`", file.display()));
        if let Some(path) = &path {
            store::check_public(path, is_ours(*format)).map_err(|error| unwritten(&name, &error, ExitCode::Usage))?;
        }
        let identity = path.map(|path| store::identity(&path).unwrap_or(path));
        if !seen.insert(identity) {
            return Err(Error::usage(format!("two reports would go to {name}"))
                .hint("give all but one a file of its own, as in `-o json=report.json`"));
        }
    }
    Ok(())
}

/// Recognises a report of a format that kubemint wrote.
fn is_ours(format: OutputFormat) -> fn(&[u8]) -> bool {
    match format {
        OutputFormat::Json => is_json_report,
        OutputFormat::Markdown => is_markdown,
        OutputFormat::Junit => is_junit,
        OutputFormat::Html => is_html,
        // Text is never written into a file.
        OutputFormat::Text | OutputFormat::Wide => |_| false,
    }
}

fn unwritten(name: &str, error: &StoreError, code: ExitCode) -> Error {
    let failure = describe(error);
    let error = Error::new(code, format!("cannot write the report to {name}")).because(failure.cause);
    Error { hint: failure.hint, ..error }
}

/// Writes the reports that were asked for in files.
///
/// # Errors
///
/// If one cannot be written; the others are.
pub(super) fn write_files(context: &CommandContext<'_>, report: &Report, showing: Showing<'_>) -> Result<(), Error> {
    let mut first = Ok(());
    for ReportOutput { format, file } in showing.outputs {
        let Some(file) = file else { continue };
        let path = context.environment.directory.join(file);
        let name = format!("`{}`", file.display());
        let written = rendered(context, report, *format, showing).and_then(|text| {
            store::write_public(&path, text.as_bytes(), is_ours(*format))
                .map_err(|error| unwritten(&name, &error, ExitCode::Partial))
        });
        first = first.and(written);
    }
    first
}

/// Prints a report to stdout, writes it into the files that were asked for, and prints its failures to stderr.
pub(super) fn print(
    context: &CommandContext<'_>,
    report: &Report,
    showing: Showing<'_>,
    arguments: &[String],
) -> Result<(), Error> {
    let format = showing.on_stdout();
    printed(context.printer.data(&rendered(context, report, format, showing)?))?;
    print_failures(context, report, arguments, if format.is_text() { Seen::This } else { Seen::Nothing });
    write_files(context, report, showing)
}

/// Renders a report.
pub(super) fn rendered(
    context: &CommandContext<'_>,
    report: &Report,
    format: OutputFormat,
    showing: Showing<'_>,
) -> Result<String, Error> {
    let rendering = match format {
        OutputFormat::Text | OutputFormat::Wide => Rendering::Text,
        OutputFormat::Json => Rendering::Json,
        OutputFormat::Markdown => Rendering::Markdown,
        OutputFormat::Junit => Rendering::Junit,
        OutputFormat::Html => Rendering::Html,
    };
    let options = TextOptions {
        is_wide: format == OutputFormat::Wide,
        shows_all: showing.shows_all,
        group_by: showing.group_by,
        now: context.environment.clock.now(),
    };
    render(report, rendering, options).map_err(|error: RenderError| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Error::new(ExitCode::Internal, error.to_string()).because(cause)
    })
}

/// Shows as text what is about to be done: where the result goes to stdout as a document, which must stand alone, on
/// stderr, with `--quiet` only if somebody is asked about it. Returns the clusters of which it says more than what changes:
/// the report of the result need not say that again.
///
/// # Errors
///
/// If it cannot be rendered or printed.
pub(super) fn show_before(
    context: &CommandContext<'_>,
    head: Head,
    changes: Changes,
    args: &ReportArgs,
    is_asked: bool,
) -> Result<Vec<ClusterReport>, Error> {
    let format = ReportOutput::on_stdout(&args.output);
    let shown = if format.is_text() { format } else { OutputFormat::Text };
    let report = Report::new(head, changes);
    let text = rendered(context, &report, shown, Showing::from(args))?;
    match (format.is_text(), is_asked) {
        (true, _) => printed(context.printer.data(&text))?,
        (false, true) => context.printer.problem(&text),
        (false, false) => context.printer.remark(&text),
    }
    // The reports of a large fleet are not kept while it is worked on.
    let seen = match report.body {
        Body::Changes(changes) => changes.clusters,
        Body::Status(_) | Body::Verification(_) => vec![],
    };
    let mut remarks: Vec<ClusterReport> = seen.into_iter().filter_map(ClusterReport::into_remarks).collect();
    remarks.shrink_to_fit();
    Ok(remarks)
}

/// Returns the notes about clusters as text. Those in `seen` went to stdout already; if stderr is the same terminal, they
/// are left out.
pub(super) fn new_notes(context: &CommandContext<'_>, clusters: &[ClusterReport], seen: &[ClusterReport]) -> String {
    notes_text(clusters, if context.environment.shows_both { seen } else { &[] })
}

/// Prints the failed clusters to stderr. Those in `seen` went to stdout already; if both are one terminal, they are not
/// printed again.
pub(super) fn print_failures(context: &CommandContext<'_>, report: &Report, arguments: &[String], seen: Seen<'_>) {
    let seen = if context.environment.shows_both { seen } else { Seen::Nothing };
    let code = match &report.body {
        Body::Changes(changes) => exit_code(&changes.summary, &Cancellation::default()),
        Body::Verification(verification) => verify_exit_code(&verification.summary, &Cancellation::default()),
        Body::Status(_) => ExitCode::Done,
    };
    if let Some(Failures { message, lines, hint }) = failures(report, arguments, seen) {
        context.printer.problem(&render_error(&Error { code, message, lines, causes: vec![], hint }));
    }
}

/// Returns the arguments for repeating this command, besides the selection of clusters: the inventory, profiles and
/// holder, and the flags that were set.
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

/// Returns the exit code of a run that may prune: nothing is done anywhere if more would be pruned than may be, and not
/// everything is done if some file could not be searched.
pub(super) fn prune_exit_code(code: ExitCode, changes: &Changes, is_unsearched: bool) -> ExitCode {
    let is_over = |blocker: &Blocker| blocker.kind == BlockerKind::PruneCeiling;
    if changes.clusters.iter().any(|cluster| cluster.blockers.iter().any(is_over)) {
        ExitCode::Blocked
    } else if is_unsearched && code == ExitCode::Done {
        ExitCode::Partial
    } else {
        code
    }
}

/// Returns the exit code for counts of clusters.
pub(super) fn exit_code(summary: &Summary, cancellation: &Cancellation) -> ExitCode {
    let Summary { clusters, blocked, failed, not_started, .. } = *summary;
    let is_cut_short = cancellation.stop.is_cancelled() && failed > 0;
    if is_cut_short || (cancellation.no_new.is_cancelled() && not_started > 0) {
        ExitCode::Interrupted
    } else if clusters == 0 {
        // A part of a fleet may have none.
        ExitCode::Done
    } else if blocked == clusters {
        ExitCode::Blocked
    } else if blocked + failed == clusters {
        ExitCode::AllFailed
    } else if blocked + failed + not_started > 0 {
        ExitCode::Partial
    } else {
        ExitCode::Done
    }
}

/// Returns the exit code for counts of verified clusters.
pub(super) fn verify_exit_code(summary: &VerifySummary, cancellation: &Cancellation) -> ExitCode {
    let VerifySummary { clusters, findings, failed, not_started, .. } = *summary;
    if not_started > 0 && cancellation.no_new.is_cancelled() {
        ExitCode::Interrupted
    } else if failed == clusters && clusters > 0 {
        ExitCode::AllFailed
    } else if failed + not_started > 0 {
        ExitCode::Partial
    } else if findings > 0 {
        ExitCode::Pending
    } else {
        ExitCode::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_that_did_not_get_to_all_is_partial() {
        let summary = Summary { clusters: 3, changed: 1, not_started: 2, ..Summary::default() };
        assert_eq!(exit_code(&summary, &Cancellation::default()), ExitCode::Partial);
    }

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

    #[test]
    fn exit_codes_of_verifications_follow_the_counts() {
        let check = |fine, excess, findings, failed, expected| {
            let clusters = fine + excess + findings + failed;
            let summary = VerifySummary { clusters, fine, excess, findings, failed, not_started: 0 };
            assert_eq!(verify_exit_code(&summary, &Cancellation::default()), expected);
        };
        check(3, 0, 0, 0, ExitCode::Done);
        check(2, 1, 0, 0, ExitCode::Done);
        check(2, 0, 1, 0, ExitCode::Pending);
        check(1, 0, 1, 1, ExitCode::Partial);
        check(0, 0, 0, 3, ExitCode::AllFailed);
    }
}
