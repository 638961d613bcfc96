//! One file per subcommand, what they share, and the one match that tells them apart.

mod apply;
mod complete;
mod credential;
mod discover;
mod environment;
mod generate;
mod init;
mod join;
mod kubectl;
mod load;
mod merge;
mod plan;
mod refresh;
mod retire;
mod revoke;
mod saved;
mod session;
mod show;
mod signals;
mod status;
mod turn;
mod validate;
mod verify;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{Cli, Command, GlobalArgs, SelectionArgs};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::fleet::{Fleet, FleetPolicy, PluginCaller, Selection, Surroundings};
use crate::output::{Printer, ProgressStyle};
use crate::shard::Shard;
use crate::store::{BreakLock, Manner, Sharing};

pub(crate) use complete::complete;
pub use environment::Environment;
pub(crate) use signals::hold_signals;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct CommandContext<'a> {
    /// Options of every command.
    pub global: &'a GlobalArgs,
    /// What was read from the process, once.
    pub environment: &'a Environment,
    /// Where results and remarks go.
    pub printer: Printer,
    /// How progress is shown.
    pub progress: ProgressStyle,
    /// Whether some source of clusters did not answer, so that not everything can have been done.
    pub is_undiscovered: &'a AtomicBool,
}

impl CommandContext<'_> {
    /// Returns whether others may have a hand in where secrets are written.
    fn sharing(&self) -> Sharing {
        if self.global.allow_shared_directories { Sharing::Allowed } else { Sharing::Refused }
    }

    /// Returns what a run over the fleet gets from the process.
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            clock: self.environment.clock,
            run: self.environment.run.clone(),
            progress: self.progress,
            printer: self.printer,
            admin: &self.environment.admin,
            caller: self.plugin_caller(),
        }
    }

    /// Returns what the entries of exec plugins say.
    fn plugin_caller(&self) -> PluginCaller {
        let inventory = self.environment.directory.join(&self.global.inventory);
        PluginCaller::new(self.environment.program.clone(), inventory)
    }

    /// Makes an inventory ready for a run.
    ///
    /// # Errors
    ///
    /// If nothing is selected.
    async fn fleet(
        &self,
        loaded: load::Loaded,
        selection: &SelectionArgs,
        policy: &FleetPolicy,
    ) -> Result<Fleet, Error> {
        Fleet::new(self.surroundings(), loaded.inventory, loaded.layout, &selection.into(), policy).await
    }

    /// Loads the inventory and makes it ready for a run.
    ///
    /// # Errors
    ///
    /// If the inventory is invalid, or nothing is selected.
    async fn load_fleet(&self, selection: &SelectionArgs, policy: &FleetPolicy) -> Result<Fleet, Error> {
        self.fleet(load::load(self, policy.holder.as_deref()).await?, selection, policy).await
    }

    /// Returns what may be done to write files; `break_lock` is what the flag `--break-lock` says.
    fn manner(&self, break_lock: bool) -> Manner {
        let break_lock = if break_lock { BreakLock::AfterWaiting } else { BreakLock::Never };
        Manner { break_lock, sharing: self.sharing() }
    }
}

impl From<&SelectionArgs> for Selection {
    fn from(args: &SelectionArgs) -> Self {
        let SelectionArgs { selector, cluster, profile, wave, from_wave, concurrency, shard, job } = args.clone();
        Self { selector, cluster, profile, wave, from_wave, concurrency, shard, job }
    }
}

/// Tells a command which part of the fleet it is about, if the environment says so and the command line does not.
///
/// # Errors
///
/// If the environment says one half of it only, or there is no such part.
pub(crate) fn take_shard(command: &mut Command, environment: &Environment) -> Result<(), Error> {
    let Some(selection) = command.selection_mut() else { return Ok(()) };
    selection.job.clone_from(&environment.job);
    if selection.shard.is_some() {
        return Ok(());
    }
    let (index, of) = match &environment.shard {
        (None, None) => return Ok(()),
        (Some(index), Some(of)) => (index, of),
        (Some(_), None) => {
            return Err(Error::usage("this is a pod of an Indexed Job, and `KUBEMINT_SHARDS` is not set").hint(
                "set it to the Job's `completions`, or to 1 with `JOB_COMPLETION_INDEX` to 0 for a run on the whole fleet",
            ));
        }
        (None, Some(_)) => {
            return Err(Error::usage("`KUBEMINT_SHARDS` is set, and `JOB_COMPLETION_INDEX` is not")
                .hint("an Indexed Job sets it; elsewhere, pass `--shard I/N`"));
        }
    };
    let shard = Shard::parse(&format!("{index}/{of}"));
    selection.shard = Some(shard.map_err(|why| {
        Error::usage(format!("`JOB_COMPLETION_INDEX` ({index}) and `KUBEMINT_SHARDS` ({of}) name no part")).because(why)
    })?);
    Ok(())
}

/// Runs a command.
///
/// # Errors
///
/// If the command could not do its work; what happened to single clusters is in the exit code.
pub(crate) fn run(cli: &Cli, context: &CommandContext<'_>) -> Result<ExitCode, Error> {
    let code = match &cli.command {
        Command::Validate => validate::run(context),
        Command::Discover(args) => discover::run(context, args),
        Command::Plan(args) => plan::run(context, args),
        Command::Apply(args) => apply::run(context, args),
        Command::Show(args) => saved::show(context, args),
        Command::Refresh(args) if args.watch => watch::run(context, args),
        Command::Refresh(args) => refresh::run(context, args),
        Command::Revoke(args) => revoke::run(context, args),
        Command::Retire(args) => retire::run(context, args),
        Command::Init(args) => init::run(context, args),
        Command::Join(args) => join::run(context, args),
        Command::Merge(args) => merge::run(context, args),
        Command::Status(args) => status::run(context, args),
        Command::Credential(args) => credential::run(context, args),
        Command::Verify(args) => verify::run(context, args),
        Command::Schema { of } => generate::schema(context, *of),
        Command::Completions { shell } => complete::script(*shell),
        Command::Man { directory } => generate::man(context, directory),
    }?;
    let is_fine = matches!(code, ExitCode::Done | ExitCode::Pending);
    Ok(if is_fine && context.is_undiscovered.load(Ordering::Relaxed) { ExitCode::Partial } else { code })
}

/// Returns a report as the JSON document that is printed.
fn json(report: &impl serde::Serialize) -> Result<String, Error> {
    let mut json = crate::foreign::json(report).map_err(|error| {
        Error::new(ExitCode::Internal, "cannot write the report as JSON").because(error.to_string())
    })?;
    json.push('\n');
    Ok(json)
}

/// Turns a failure to print what was asked for into the error that ends the run.
fn printed(result: std::io::Result<()>) -> Result<(), Error> {
    result.map_err(|error| Error::new(ExitCode::Internal, "cannot write to standard output").because(error.to_string()))
}
