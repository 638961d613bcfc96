//! kubemint mints access to Kubernetes clusters, for a whole fleet at once.
//!
//! This is the library behind the `kubemint` command. `docs/ARCHITECTURE.md` is the tour; in short:
//!
//! - [`inventory`] and [`delivery`] say what should be, [`observed`] what is.
//! - [`plan`] compares the two. **Start here**: a [`plan::ClusterPlan`] is a value.
//! - [`executor`] runs that value, through [`cluster`], and hands what it mints to [`store`].
//! - [`report`] describes what came of it, and [`output`] prints that.
//!
//! `commands` puts these together, one file for each subcommand.

// Core: pure and synchronous.
pub mod access;
pub mod calendar;
pub mod credential;
pub mod delivery;
pub mod desired;
pub mod diff;
pub mod event;
pub mod failure;
pub mod foreign;
pub mod inventory;
pub mod kubeconfig;
pub mod names;
pub mod object;
pub mod observed;
pub mod outcome;
mod paths;
pub mod plan;
pub mod rbac;
pub mod report;
pub mod resolution;
pub mod secret;
pub mod selector;
pub mod step;
mod template;
pub mod verified;
pub mod wording;

// Shell: may read environment, terminal, clock, disk and network.
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod error;
pub mod executor;
pub mod exit_code;
mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod monitor;
pub mod output;
pub mod store;

use std::ffi::OsString;

use clap::Parser;

use crate::cli::Cli;
use crate::commands::CommandContext;
pub use crate::commands::Environment;
use crate::exit_code::ExitCode;
use crate::output::{Printer, PrinterOptions, ProgressStyle, render_error, start_logging};

/// Runs the command line and returns the exit code; prints what came of it.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    commands::hold_signals(&arguments);
    if commands::complete(arguments.clone(), environment) {
        return ExitCode::Done;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to stdout; a broken pipe there ends quietly.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
            drop(error.print());
            return code;
        }
    };
    prepare_process();
    let global = &cli.global;
    let printer = Printer::new(PrinterOptions { color: global.color, quiet: global.quiet });
    start_logging(global.verbose, global.log_format, printer.colors_stderr());
    let progress = match (global.quiet, environment.shows_progress && !global.no_progress) {
        (true, _) => ProgressStyle::Silent,
        (false, true) => ProgressStyle::Bar,
        (false, false) => ProgressStyle::Plain,
    };
    let context = CommandContext { global, environment, printer, progress };
    commands::run(&cli, &context).unwrap_or_else(|error| {
        printer.problem(&render_error(&error));
        error.code
    })
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
