//! kubemint mints access to Kubernetes clusters, for a whole fleet at once.
//!
//! This is the library behind the `kubemint` command; `docs/ARCHITECTURE.md` is the tour. What others may use:
//!
//! - [`run`] is the command, with the [`Environment`] that it reads and the [`ExitCode`] that it ends with.
//! - [`resolution`] turns the text of an [`inventory`] into what it means, or into everything that is wrong with it.
//! - [`kubeconfig`] edits kubeconfigs and combines them, and leaves alone what it does not mean.
//! - [`store`] replaces a file whole or not at all, under kubectl's lock.
//!
//! `examples/` shows each.

// Core: pure and synchronous.
mod access;
mod at_once;
mod calendar;
mod common;
mod credential;
mod delivery;
mod desired;
mod diff;
mod discovery;
mod event;
mod failure;
mod field_diff;
mod foreign;
#[cfg(test)]
mod instructions {
    mod tests;

    pub(crate) use tests::size;
}
pub mod inventory;
pub mod kubeconfig;
mod names;
mod object;
mod observed;
mod outcome;
mod paths;
mod plan;
mod rbac;
mod report;
pub mod resolution;
mod risk;
mod saved;
mod secret;
mod selector;
mod shard;
mod step;
mod template;
mod trail;
mod verified;
mod wording;

// Shell: may read environment, terminal, clock, disk and network.
mod cli;
mod cluster;
mod commands;
mod error;
mod executor;
mod exit_code;
mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod monitor;
mod output;
pub mod store;

use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::commands::CommandContext;
pub use crate::commands::Environment;
pub use crate::exit_code::ExitCode;
use crate::output::{Printer, PrinterOptions, ProgressStyle, render_error, start_logging};

/// Runs the command line and returns the exit code; prints what came of it.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    commands::hold_signals(&arguments);
    if commands::complete(arguments.clone(), environment) {
        return ExitCode::Done;
    }
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to stdout; a broken pipe there ends quietly.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
            drop(error.print());
            return code;
        }
    };
    prepare_process();
    let global = &cli.global.clone();
    let printer = Printer::new(PrinterOptions { color: global.color, quiet: global.quiet });
    start_logging(global.verbose, global.log_format, printer.colors_stderr());
    let progress = match (global.quiet, environment.shows_progress && !global.no_progress) {
        (true, _) => ProgressStyle::Silent,
        (false, true) => ProgressStyle::Bar,
        (false, false) => ProgressStyle::Plain,
    };
    let is_undiscovered = &AtomicBool::new(false);
    let context = CommandContext { global, environment, printer, progress, is_undiscovered };
    let shard = commands::take_shard(&mut cli.command, environment);
    let result = shard.and_then(|()| commands::run(&cli, &context));
    result.unwrap_or_else(|error| {
        printer.problem(&render_error(&error));
        error.code
    })
}

/// Returns the command line as clap describes it, for references and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Keeps others, and core files, from getting what is in memory, chooses the one TLS provider, and raises the limit of
/// open files to what the process may have.
///
/// kube panics at the first connection without a provider; a thousand clusters need more files than
/// the usual soft limit of 1,024.
fn prepare_process() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Tokens and admin credentials are in memory: no core file gets them, and no other process of this user.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user may read this one's memory");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "a crash may leave a core file, which holds what was in memory");
    }
    // A second call in one process finds the provider of the first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::info!(%error, "cannot raise the limit of open files");
    }
}
