//! Completions: of the command line itself, and of the names in the inventory.
//!
//! The shell's script calls this program each time, with `COMPLETE` set, because only the program knows the clusters.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::CommandFactory;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::{Environment, load, printed};
use crate::cli::Cli;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::inventory::Inventory;
use crate::output::Printer;

/// The variable that the scripts set.
const VARIABLE: &str = "COMPLETE";

/// Prints the completions of a shell.
pub(super) fn script(shell: clap_complete::Shell) -> Result<ExitCode, Error> {
    let shell = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_else(|| Error::usage(format!("`{shell}` has no completions")))?;
    let mut script = vec![];
    // Writing into memory cannot fail.
    completer
        .write_registration(VARIABLE, "kubemint", "kubemint", "kubemint", &mut script)
        .map_err(|error| Error::new(ExitCode::Internal, "cannot make completions").because(error.to_string()))?;
    printed(Printer::bytes(&script))?;
    Ok(ExitCode::Done)
}

/// Responds to a shell that asks for completions; returns whether one did.
pub(crate) fn complete(arguments: Vec<OsString>, environment: &Environment) -> bool {
    let inventory = inventory_of(&arguments).or_else(|| environment.inventory.clone());
    let names =
        Names { inventory: inventory.unwrap_or_else(|| "clusters.toml".into()), environment: environment.clone() };
    let names = Arc::new(names);
    let directory = environment.directory.clone();
    let asked = CompleteEnv::with_factory(|| command(&names)).var(VARIABLE).try_complete(arguments, Some(&directory));
    // An unfinished command line is often invalid, and the shell cannot show why.
    asked.unwrap_or(true)
}

/// Where the names are.
#[derive(Debug)]
struct Names {
    inventory: PathBuf,
    environment: Environment,
}

impl Names {
    /// Returns the names with the given beginning; none if the inventory is not valid.
    fn beginning_with(&self, start: &OsStr, of: fn(&Inventory) -> Vec<String>) -> Vec<CompletionCandidate> {
        let start = start.to_string_lossy();
        let resolution = load::read(&self.inventory, &self.environment, None);
        let inventory = resolution.ok().and_then(|(resolution, _)| resolution.inventory);
        let names = inventory.map(|inventory| of(&inventory)).unwrap_or_default();
        names.into_iter().filter(|name| name.starts_with(&*start)).map(CompletionCandidate::new).collect()
    }
}

/// Returns the command, with completers for the arguments that name something in the inventory.
fn command(names: &Arc<Names>) -> clap::Command {
    let clusters: fn(&Inventory) -> Vec<String> =
        |inventory| inventory.clusters.iter().map(|cluster| cluster.name.as_str().to_owned()).collect();
    let profiles: fn(&Inventory) -> Vec<String> =
        |inventory| inventory.profiles.keys().map(|profile| profile.as_str().to_owned()).collect();
    let mut command = Cli::command();
    let with_selection: Vec<String> = command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_arguments().any(|argument| argument.get_id() == "profile"))
        .map(|subcommand| subcommand.get_name().to_owned())
        .collect();
    for subcommand in with_selection {
        command = command.mut_subcommand(subcommand, |mut subcommand| {
            for (argument, of) in [("cluster", clusters), ("profile", profiles)] {
                let names = Arc::clone(names);
                let completer = ArgValueCompleter::new(move |start: &OsStr| names.beginning_with(start, of));
                subcommand = subcommand.mut_arg(argument, |argument| argument.add(completer));
            }
            subcommand
        });
    }
    command
}

/// Returns the inventory that is named in the words typed so far.
fn inventory_of(arguments: &[OsString]) -> Option<PathBuf> {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let after = words.windows(2).find(|pair| matches!(pair[0], "-f" | "--inventory")).map(|pair| pair[1]);
    let joined = words.iter().find_map(|word| word.strip_prefix("--inventory="));
    after.or(joined).map(PathBuf::from)
}
