//! `kubemint schema` and `man`: documents that are made of the code.

use std::path::Path;

use clap::CommandFactory;

use super::{CommandContext, printed};
use crate::cli::Cli;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::inventory;

/// Prints the JSON Schema of the inventory.
pub(super) fn schema(context: &CommandContext<'_>) -> Result<ExitCode, Error> {
    printed(context.printer.data(&format!("{:#}\n", inventory::schema())))?;
    Ok(ExitCode::Done)
}

/// Writes one man page for each command into a directory.
pub(super) fn man(context: &CommandContext<'_>, directory: &Path) -> Result<ExitCode, Error> {
    let directory = context.environment.directory.join(directory);
    let failed = |error: std::io::Error| {
        Error::new(ExitCode::Usage, format!("cannot write man pages to `{}`", directory.display()))
            .because(error.to_string())
    };
    std::fs::create_dir_all(&directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &directory).map_err(failed)?;
    context.printer.remark(&format!("man pages are in `{}`\n", directory.display()));
    Ok(ExitCode::Done)
}
