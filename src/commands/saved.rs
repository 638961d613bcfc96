//! Saved plans: `plan --out`, `apply PLAN`, and `kubemint show`.

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use super::load::Loaded;
use super::show::{Showing, check_outputs, print};
use super::{CommandContext, printed};
use crate::cli::{ApplyArgs, DeniedClass, PlanArgs, PolicyArgs, ReportOutput, SelectionArgs, ShowArgs};
use crate::error::Error;
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetRun};
use crate::report::{Changes, Command, Head, Report};
use crate::risk::RiskClass;
use crate::saved::{SavedPlan, SavedPolicy, SavedSelection, digest, is_saved_plan};
use crate::store::{self, StoreError};
use crate::wording::duration;

/// A plan of ten thousand clusters with three grants each has about 100 MB.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// Checks, before anything is contacted, that a plan can be saved.
///
/// # Errors
///
/// If the file is something else.
pub(super) fn check_out(context: &CommandContext<'_>, args: &PlanArgs) -> Result<(), Error> {
    let Some(out) = &args.out else { return Ok(()) };
    if args.selection.shard.is_some() {
        return Err(Error::usage("a part of a fleet cannot be saved as a plan")
            .hint("save the plan of the whole fleet, or let each part plan and apply for itself"));
    }
    let path = context.environment.directory.join(out);
    store::check_public(&path, is_saved_plan).map_err(|error| unsaved(out, &error, ExitCode::Usage))
}

/// Saves what was planned, and prints the digest of the file.
///
/// # Errors
///
/// If the file cannot be written.
pub(super) fn save(
    context: &CommandContext<'_>,
    args: &PlanArgs,
    (fleet, run): (&Fleet, &FleetRun),
    inventory_digest: String,
) -> Result<(), Error> {
    let Some(out) = &args.out else { return Ok(()) };
    let SelectionArgs { selector, cluster, profile, wave, from_wave, concurrency: _, shard: _, job: _ } =
        args.selection.clone();
    let PolicyArgs { holder: _, adopt, adopt_from, reissue, deny, prune, max_prune } = args.policy.clone();
    let deny = deny.into_iter().map(RiskClass::from).collect();
    let plan = SavedPlan {
        selection: SavedSelection { selector, clusters: cluster, profiles: profile, waves: wave, from_wave },
        policy: SavedPolicy { adopt, adopt_from, reissue, deny, prune, max_prune },
        ..fleet.save(run, inventory_digest)
    };
    let text = plan
        .written()
        .map_err(|error| Error::new(ExitCode::Internal, "cannot write the plan as JSON").because(error.to_string()))?;
    let path = context.environment.directory.join(out);
    store::write_public(&path, text.as_bytes(), is_saved_plan)
        .map_err(|error| unsaved(out, &error, ExitCode::Partial))?;
    let line = format!("saved in `{}`, {}\n", out.display(), digest(text.as_bytes()));
    if ReportOutput::on_stdout(&args.report.output).is_text() {
        return printed(context.printer.data(&line));
    }
    // The document on stdout must stand alone.
    context.printer.problem(&line);
    Ok(())
}

fn unsaved(out: &Path, error: &StoreError, code: ExitCode) -> Error {
    let failure = describe(error);
    let error = Error::new(code, format!("cannot save the plan in `{}`", out.display())).because(failure.cause);
    Error { hint: failure.hint, ..error }
}

/// Shows a saved plan.
pub(super) fn show(context: &CommandContext<'_>, args: &ShowArgs) -> Result<ExitCode, Error> {
    check_outputs(context, &args.report.output)?;
    let (plan, _) = read(context, &args.plan)?;
    let head = Head::new(Command::Plan, plan.made, &plan.inventory, &plan.holder);
    let clusters = plan.clusters.iter().map(crate::saved::SavedCluster::report).collect();
    print(context, &Report::new(head, Changes::new(clusters)), Showing::new(&args.report, args.all), &[])?;
    Ok(ExitCode::Done)
}

/// Returns a saved plan, and the digest of its file.
fn read(context: &CommandContext<'_>, file: &Path) -> Result<(SavedPlan, String), Error> {
    let bytes = store::read_regular(&context.environment.directory.join(file), LARGEST)
        .map_err(|error| Error::unreadable(ExitCode::Usage, file, &error))?;
    let plan = SavedPlan::parse(&bytes).map_err(|error| {
        refused(file, error.to_string()).hint("make one with `kubemint plan --out FILE`, and leave it as it is")
    })?;
    Ok((plan, digest(&bytes)))
}

/// Returns the saved plan that an apply is to carry out, if it names one that may be.
///
/// # Errors
///
/// If it cannot be read, has another digest than expected, or is too old.
pub(super) fn to_apply(context: &CommandContext<'_>, args: &ApplyArgs) -> Result<Option<SavedPlan>, Error> {
    let Some(file) = &args.plan else { return Ok(None) };
    if args.selection.shard.is_some() {
        return Err(Error::usage("a saved plan is carried out as a whole, and not by a part of a fleet"));
    }
    let (plan, digest) = read(context, file)?;
    if let Some(expected) = args.expect_digest.as_ref().filter(|expected| **expected != digest) {
        return Err(refused(file, format!("its digest is {digest}, and not {expected}"))
            .hint("somebody replaced or altered it after it was reviewed"));
    }
    let age = context.environment.clock.now().duration_since(plan.made);
    let most = SignedDuration::try_from(args.max_age).unwrap_or(SignedDuration::MAX);
    if age > most {
        let age = Duration::try_from(age).unwrap_or_default();
        let cause = format!("it is {} old, and `--max-age` is {}", duration(whole(age)), duration(args.max_age));
        return Err(refused(file, cause).hint("make it anew with `kubemint plan --out FILE`"));
    }
    Ok(Some(plan))
}

/// Leaves fractions of a second out.
fn whole(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs())
}

/// Checks that a saved plan was made from this inventory.
///
/// # Errors
///
/// If the inventory is another one, or says something else now.
pub(super) fn check_inventory(args: &ApplyArgs, plan: &SavedPlan, loaded: &Loaded) -> Result<(), Error> {
    let Some(file) = &args.plan else { return Ok(()) };
    if plan.inventory != loaded.inventory.name {
        let cause = format!("it is for inventory `{}`, and not for `{}`", plan.inventory, loaded.inventory.name);
        return Err(refused(file, cause).hint("name the inventory with `--inventory FILE`"));
    }
    if plan.inventory_digest != loaded.digest {
        return Err(refused(file, "the inventory's files changed after it was made")
            .hint("make it anew with `kubemint plan --out FILE`"));
    }
    Ok(())
}

/// Returns the arguments with which a saved plan was made, of its clusters those in the waves that were asked for, and what
/// the run that carries it out denies as well.
pub(super) fn arguments(plan: &SavedPlan, args: &ApplyArgs) -> (SelectionArgs, PolicyArgs) {
    let SavedSelection { selector, clusters, profiles, mut waves, mut from_wave } = plan.selection.clone();
    let chosen = &args.selection;
    if !chosen.wave.is_empty() || chosen.from_wave.is_some() {
        (waves, from_wave) = (chosen.wave.clone(), chosen.from_wave.clone());
    }
    let SavedPolicy { adopt, adopt_from, reissue, deny, prune, max_prune } = plan.policy.clone();
    let concurrency = chosen.concurrency;
    let selection = SelectionArgs {
        selector,
        cluster: clusters,
        profile: profiles,
        wave: waves,
        from_wave,
        concurrency,
        shard: None,
        job: None,
    };
    let deny = deny.into_iter().map(DeniedClass::from).chain(args.policy.deny.iter().copied()).collect();
    let holder = Some(plan.holder.as_str().to_owned());
    (selection, PolicyArgs { holder, adopt, adopt_from, reissue, deny, prune, max_prune })
}

fn refused(file: &Path, cause: impl Into<String>) -> Error {
    Error::new(ExitCode::Blocked, format!("cannot use the saved plan `{}`", file.display())).because(cause)
}
