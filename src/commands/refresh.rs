//! `kubemint refresh`: renews what is due, and ends superseded generations after their overlap.
//!
//! It runs a plan, like `apply`, with another policy: only credentials change, and a failure of one does not stop the
//! others. Renewal uses the admin access, never the expiring credential.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::session::{ask_if_possible, block_on, interruptible};
use super::show::{Showing, arguments, check_outputs, exit_code, print, print_failures, write_files};
use super::{CommandContext, load, printed};
use crate::calendar::later;
use crate::cli::{OutputFormat, RefreshArgs, SelectionArgs};
use crate::common::Common;
use crate::credential::{Reissue, Renewal, overlap_of};
use crate::error::Error;
use crate::executor::Cancellation;
use crate::executor::observe::{Legacy, Probing, Trial};
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::fleet::{ClusterRun, Fleet, FleetPolicy, FleetRun, MAX_PRUNE, Periods, Visits};
use crate::monitor::{GrantState, Metrics, is_metrics};
use crate::names::ClusterName;
use crate::plan::{Adoption, Assessed, CredentialState, Extent, Newest, NoteKind, Prune, Suspension};
use crate::report::{
    Change, Changes, ClusterReport, Command, CredentialSummary, Head, Report, Seen, notes_text, refresh_line,
};
use crate::step::{Action, Step};

/// Refreshes the selected grants once.
pub(super) fn run(context: &CommandContext<'_>, args: &RefreshArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let cancellation = Cancellation::default();
    let metrics = Metrics::new();
    let work = until_done(context, args, &metrics, &cancellation);
    let mut pass = block_on(interruptible(context, &cancellation, work))??;
    show(context, args, &pass)?;
    write_metrics(context, args, &metrics)?;
    if let Some(error) = pass.trail.take() {
        return Err(error);
    }
    Ok(match exit_code(&pass.changes.summary, &cancellation) {
        ExitCode::Done if pass.is_cut_short => ExitCode::Interrupted,
        ExitCode::Done if args.check && has_findings(&pass.changes) => ExitCode::Pending,
        code => code,
    })
}

/// The result of going through the fleet once.
#[derive(Debug)]
pub(super) struct Pass {
    /// The head of all its reports.
    head: Head,
    /// The result.
    pub(super) changes: Changes,
    /// When each cluster has to be looked at again, by this machine's clock.
    pub(super) wake: HashMap<ClusterName, Timestamp>,
    /// When the first credential of each cluster that was not renewed expires, by this machine's clock.
    pub(super) expiry: HashMap<ClusterName, Timestamp>,
    /// Whether it was interrupted before superseded credentials could be ended.
    is_cut_short: bool,
    /// Why an event is missing in the audit trail, if one is.
    pub(super) trail: Option<Error>,
}

/// Goes through the fleet; if wanted, again after the overlap.
async fn until_done(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    metrics: &Metrics,
    cancellation: &Cancellation,
) -> Result<Pass, Error> {
    let load = || load::load(context, args.holder.as_deref());
    let loaded = load().await?;
    check_metrics_file(context, args, &loaded)?;
    let mut pass = refresh(context, args, loaded, &args.selection, &HashSet::new(), metrics, cancellation).await?;
    // Credentials that were just renewed are not renewed again.
    let rest = RefreshArgs { force: false, next_run: None, ..args.clone() };
    if !args.wait_overlap {
        return Ok(pass);
    }
    // Credentials that fall due meanwhile are renewed too, but their overlap is left to a later run.
    let mut deadline = None;
    loop {
        // Newly superseded generations show only in a new plan.
        let run = look(context, &rest, load().await?, &args.selection, cancellation).await?;
        let now = context.environment.clock.now();
        let times = retirements(&run);
        let deadline = *deadline.get_or_insert(times.iter().max().copied().unwrap_or_default());
        if times.iter().all(|time| *time > deadline) {
            break;
        }
        // The cluster's clock decides, and it has whole seconds.
        let wait = Duration::try_from(deadline.duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
        context.printer.remark(&format!("superseded credentials end in {}\n", crate::wording::compact(wait)));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancellation.no_new.cancelled() => {}
        }
        if cancellation.no_new.is_cancelled() {
            pass.is_cut_short = true;
            break;
        }
        let after =
            refresh(context, &rest, load().await?, &args.selection, &HashSet::new(), metrics, cancellation).await?;
        let is_over = after.changes.summary.changed == 0;
        pass = merged(&mut pass, after);
        // If nothing changed, the rest is left to a later run; trying again every second would not help.
        if is_over {
            break;
        }
    }
    Ok(pass)
}

/// Returns the later pass, with what the earlier one renewed counted as renewed.
fn merged(first: &mut Pass, mut later: Pass) -> Pass {
    if let (Some(before), Some(now)) = (&first.changes.credentials, &mut later.changes.credentials) {
        let renewed = before.renewed.min(now.current);
        now.current -= renewed;
        now.renewed += renewed;
    }
    later.trail = first.trail.take().or(later.trail);
    later
}

/// Goes through the selected clusters once. The clusters in `last` come after the others.
///
/// # Errors
///
/// If the inventory or an output cannot be used; what happened to single clusters is in the report.
pub(super) async fn refresh(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    loaded: load::Loaded,
    selection: &SelectionArgs,
    last: &HashSet<ClusterName>,
    metrics: &Metrics,
    cancellation: &Cancellation,
) -> Result<Pass, Error> {
    let began = std::time::Instant::now();
    let mut fleet = ready(context, loaded, selection, args, cancellation).await?;
    fleet.leave_trail(args.writing.events.as_ref(), &context.environment.directory, Command::Refresh)?;
    let run = if args.check {
        fleet.plan(cancellation).await
    } else {
        let agrees = async |question: &str| args.yes || ask_if_possible(context, question, cancellation).await;
        fleet.renew(context.manner(args.writing.break_lock), last, cancellation, &agrees).await
    };
    let manner = (!args.check).then(|| context.manner(args.writing.break_lock));
    let ended = fleet.end_grants(manner, cancellation).await?;
    let mut ended: HashMap<ClusterName, ClusterReport> =
        ended.into_iter().map(|report| (report.name.clone(), report)).collect();
    let head = if args.check { fleet.head(Command::Refresh) } else { fleet.writing_head(Command::Refresh) };
    let now = context.environment.clock.now();
    let (mut reports, mut common) = (Vec::with_capacity(run.clusters.len()), Common::default());
    let (mut credentials, mut wake, mut grants) = (CredentialSummary::default(), HashMap::new(), vec![]);
    // Each plan is let go when its report is made: ten thousand of both would take twice the memory.
    for run in run.clusters {
        let report = if args.check { run.planned_report() } else { run.report(fleet.holder()) }.sharing(&mut common);
        wake.extend(wake_time(&run, &report, now).map(|at| (run.cluster.name.clone(), at)));
        credentials = credentials.and(summarise(args, &fleet, &run, &report));
        grants.extend(grant_states(&run));
        reports.push(match ended.remove(&report.name) {
            Some(ended) => report.joined(ended),
            None => report,
        });
    }
    let changes = Changes { credentials: Some(credentials), ..Changes::new(reports) };
    let changes = if args.with_access { changes.in_waves(&fleet.inventory.waves) } else { changes };
    let expiry = first_expiry(&grants, context.environment.clock.now());
    metrics.observe(&changes, grants, began.elapsed(), context.environment.clock.now());
    Ok(Pass { head, changes, wake, expiry, is_cut_short: false, trail: fleet.end_trail().err() })
}

/// Plans what is due.
async fn look(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    loaded: load::Loaded,
    selection: &SelectionArgs,
    cancellation: &Cancellation,
) -> Result<FleetRun, Error> {
    let fleet = ready(context, loaded, selection, args, cancellation).await?;
    Ok(fleet.plan(cancellation).await)
}

/// Makes the inventory ready, unless it is interrupted: reading the Secrets of a slow hub takes minutes.
async fn ready(
    context: &CommandContext<'_>,
    loaded: load::Loaded,
    selection: &SelectionArgs,
    args: &RefreshArgs,
    cancellation: &Cancellation,
) -> Result<Fleet, Error> {
    let policy = policy(args);
    tokio::select! {
        fleet = context.fleet(loaded, selection, &policy) => fleet,
        () = cancellation.no_new.cancelled() => {
            Err(Error::new(ExitCode::Interrupted, "interrupted while the outputs were read: nothing was begun"))
        }
    }
}

fn policy(args: &RefreshArgs) -> FleetPolicy {
    FleetPolicy {
        holder: args.holder.clone(),
        adoption: Adoption::default(),
        reissue: if args.reissue { Reissue::Allowed } else { Reissue::Refused },
        renewal: Renewal { forced: args.force, horizon: args.next_run.unwrap_or_default() },
        extent: if args.with_access { Extent::Access } else { Extent::Credentials },
        suspension: if args.resume { Suspension::Lift } else { Suspension::Keep },
        trial: Trial::Use,
        // A check writes nothing, so there is nothing to try.
        probing: if args.check { Probing::Skip } else { Probing::Try },
        legacy: Legacy::Leave,
        visits: Visits::Granted,
        max_failures: args.rollout.max_failures,
        periods: Periods::Count,
        deny: vec![],
        prune: Prune::Keep,
        max_prune: MAX_PRUNE,
    }
}

/// Returns when a cluster has to be looked at again: when something is due or can be retired.
fn wake_time(run: &ClusterRun, report: &ClusterReport, now: Timestamp) -> Option<Timestamp> {
    let assessment = run.assessment()?;
    let due = report.credentials.iter().filter_map(|credential| credential.due);
    let retire = assessment.kept.iter().filter_map(|kept| kept.retire_at);
    let times = due.chain(retire).map(|time| by_this_clock(time, assessment.clock_ahead));
    // Generations that were just superseded can go when the overlap is over.
    let published = run.applied().into_iter().flat_map(|applied| &applied.published);
    let over = published.filter(|published| published.minted).filter_map(|published| {
        let grant = run.grants.iter().find(|grant| grant.is(&published.grant))?;
        let life = published.facts.expires.duration_since(published.facts.issued);
        Some(later(now, overlap_of(&grant.profile.token, life)))
    });
    // At both ends of a grant there is something to do.
    let begins = run.outside.iter().filter_map(|grant| grant.period.starts.filter(|starts| *starts > now));
    let ends = run.grants.iter().filter_map(|grant| grant.period.expires);
    times.chain(over).chain(begins).chain(ends).min()
}

/// Returns when the first credential of a cluster is due, by this machine's clock.
fn next_due(run: &ClusterRun, report: &ClusterReport) -> Option<Timestamp> {
    let ahead = run.assessment()?.clock_ahead;
    let due = report.credentials.iter().filter_map(|credential| credential.due);
    due.map(|due| by_this_clock(due, ahead)).min()
}

/// Returns when superseded generations can go, by this machine's clock; the minimum for those that can go now.
fn retirements(run: &FleetRun) -> Vec<Timestamp> {
    let assessed = run.clusters.iter().filter_map(ClusterRun::assessed);
    assessed
        .flat_map(|assessed| {
            let Assessed { plan, assessment } = &**assessed;
            let later = assessment.kept.iter().filter_map(|kept| kept.retire_at);
            let later = later.map(|at| by_this_clock(at, assessment.clock_ahead));
            let ripe = plan.steps.iter().filter(|step| matches!(step, Step::Retire(_))).map(|_| Timestamp::MIN);
            later.chain(ripe).collect::<Vec<_>>()
        })
        .collect()
}

/// Turns a time by a cluster's clock into one by this machine's.
fn by_this_clock(time: Timestamp, ahead: i64) -> Timestamp {
    time.checked_sub(SignedDuration::from_secs(ahead)).unwrap_or(time)
}

/// Returns how each grant on a cluster stands after the run, for metrics.
fn grant_states(run: &ClusterRun) -> Vec<GrantState> {
    let Some(assessment) = run.assessment() else {
        let unknown = run.grants.iter().map(|grant| GrantState {
            cluster: grant.cluster.name.clone(),
            profile: grant.profile.name.clone(),
            state: CredentialState::Unknown,
            expires: run.outputs.newest(&grant.key()).map(|newest| newest.expires),
            is_clamped: false,
        });
        return unknown.collect();
    };
    let states = assessment.standings.iter().map(|standing| {
        let published = run
            .applied()
            .and_then(|applied| applied.published.iter().find(|published| published.grant == standing.grant));
        let facts = published.map(|published| Newest::from(&published.facts));
        let state = if facts.is_some() { CredentialState::Current } else { standing.state };
        let newest = facts.as_ref().or(standing.newest.as_ref());
        GrantState {
            cluster: standing.grant.cluster.clone(),
            profile: standing.grant.profile.clone(),
            state,
            expires: newest.map(|newest| by_this_clock(newest.expires, assessment.clock_ahead)),
            is_clamped: newest.is_some_and(|newest| newest.clamped_seconds().is_some()),
        }
    });
    states.collect()
}

/// Returns when the first credential of each cluster expires that is not current.
fn first_expiry(grants: &[GrantState], now: Timestamp) -> HashMap<ClusterName, Timestamp> {
    let mut first: HashMap<ClusterName, Timestamp> = HashMap::new();
    for grant in grants.iter().filter(|grant| grant.state != CredentialState::Current) {
        if let Some(expires) = grant.expires.filter(|expires| *expires > now) {
            let known = first.entry(grant.cluster.clone()).or_insert(expires);
            *known = expires.min(*known);
        }
    }
    first
}

/// Checks, before any request, that the file for metrics is absent or holds metrics, and that the run needs it for
/// nothing else.
///
/// # Errors
///
/// If not, because it would be overwritten.
pub(super) fn check_metrics_file(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    loaded: &load::Loaded,
) -> Result<(), Error> {
    let Some(path) = &args.metrics_file else { return Ok(()) };
    let path = context.environment.directory.join(path);
    let unusable = |cause: String| {
        Error::new(ExitCode::Blocked, "`--metrics-file` would overwrite what is no metrics").because(cause)
    };
    if let Some(use_of) = loaded.use_of(&path) {
        let error = unusable(format!("`{}` is {use_of}", path.display()));
        return Err(error.hint("name another file; nothing was contacted or written"));
    }
    crate::store::check_public(&path, is_metrics).map_err(|error| {
        let failure = describe(&error);
        Error { hint: failure.hint, ..unusable(failure.cause) }
    })
}

/// Writes the metrics to the file that `--metrics-file` names.
pub(super) fn write_metrics(context: &CommandContext<'_>, args: &RefreshArgs, metrics: &Metrics) -> Result<(), Error> {
    let Some(path) = &args.metrics_file else { return Ok(()) };
    let path = context.environment.directory.join(path);
    let text = metrics.render(context.environment.clock.now());
    crate::store::write_public(&path, text.as_bytes(), is_metrics).map_err(|error| {
        let failure = describe(&error);
        let error = Error::new(ExitCode::Partial, format!("cannot write the metrics to `{}`", path.display()));
        Error { hint: failure.hint, ..error.because(failure.cause) }
    })
}

/// Counts the credentials of a cluster by their result.
fn summarise(args: &RefreshArgs, fleet: &Fleet, run: &ClusterRun, report: &ClusterReport) -> CredentialSummary {
    let all = run.grants.iter().filter(|grant| fleet.outputs.holds_credential(&grant.key())).count();
    let renewed = report.credentials.iter().filter(|credential| credential.minted).count();
    let left_to_others = run.applied().map_or(0, |applied| applied.overtaken.len());
    let suspended = report.notes.iter().filter(|note| note.kind == NoteKind::Suspended).count().min(all);
    let is_due = |change: &&Arc<Change>| change.action == Action::Mint && change.done.is_none();
    // Without `--check`, a credential that is still due has failed.
    let due = if args.check { report.changes.iter().filter(is_due).count() } else { 0 };
    // A working credential that still has to be written to an output counts as current.
    let is_written = |change: &&Arc<Change>| change.action == Action::Write && change.done.is_none();
    let written = report.changes.iter().filter(is_written).count();
    let current = report.credentials.len() - renewed + left_to_others + written;
    let failed = all.saturating_sub(current + renewed + due + suspended);
    CredentialSummary { current, renewed, due, failed, suspended, next_due: next_due(run, report) }
}

/// Whether `--check` has findings: something to do, or credentials that do not last until the next run.
fn has_findings(changes: &Changes) -> bool {
    let is_short = |cluster: &ClusterReport| cluster.notes.iter().any(|note| note.kind == NoteKind::ShortLife);
    changes.summary.pending > 0 || changes.clusters.iter().any(is_short)
}

pub(super) fn show(context: &CommandContext<'_>, args: &RefreshArgs, pass: &Pass) -> Result<(), Error> {
    let arguments = repeated(context, args);
    let changes = &pass.changes;
    let report = Report::new(pass.head.clone(), changes.clone());
    let showing = Showing::from(&args.report);
    let format = showing.on_stdout();
    if !format.is_text() {
        return print(context, &report, showing, &arguments);
    }
    let is_asked_for = format == OutputFormat::Wide || showing.group_by.is_some();
    if is_asked_for || (args.check && changes.summary.pending > 0) {
        print(context, &report, showing, &arguments)?;
    } else {
        write_files(context, &report, showing)?;
        context.printer.remark(&notes_text(&changes.clusters, &[]));
        print_failures(context, &report, &arguments, Seen::Nothing);
    }
    let credentials = changes.credentials.unwrap_or_default();
    let line = refresh_line(&credentials, context.environment.clock.now());
    printed(context.printer.data(&format!("{line}\n")))
}

/// Returns the arguments besides the selection of clusters, for repeating the command.
fn repeated(context: &CommandContext<'_>, args: &RefreshArgs) -> Vec<String> {
    let flags = [
        (args.force, "--force"),
        (args.with_access, "--with-access"),
        (args.resume, "--resume"),
        (args.reissue, "--reissue"),
    ];
    arguments(context, &args.selection, args.holder.as_deref(), &flags)
}
