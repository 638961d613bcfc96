//! `kubemint schema` and `man`: documents that are generated from the code.

use std::path::Path;

use clap::CommandFactory;

use super::{CommandContext, printed};
use crate::cli::{Cli, SchemaOf};
use crate::error::Error;
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::store::{check_public, write_public};
use crate::{inventory, report};

/// Prints the JSON Schema of the inventory or of reports.
pub(super) fn schema(context: &CommandContext<'_>, of: SchemaOf) -> Result<ExitCode, Error> {
    let schema = match of {
        SchemaOf::Inventory => inventory::schema(),
        SchemaOf::Report => report::schema(),
    };
    printed(context.printer.data(&format!("{schema:#}\n")))?;
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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![];
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).chain([&command]);
    for command in commands {
        let page = clap_mangen::Man::new(command.clone());
        let mut text = vec![];
        page.render(&mut text).map_err(failed)?;
        pages.push((directory.join(page.get_filename()), text));
    }
    let refused = |error| {
        let failure = describe(&error);
        let error = Error::new(ExitCode::Blocked, format!("cannot write man pages to `{}`", directory.display()));
        Error { hint: failure.hint, ..error.because(failure.cause) }
    };
    // All files are checked before the first is written.
    pages.iter().try_for_each(|(path, _)| check_public(path, is_man_page)).map_err(refused)?;
    pages.iter().try_for_each(|(path, text)| write_public(path, text, is_man_page)).map_err(refused)?;
    context.printer.remark(&format!("man pages are in `{}`\n", directory.display()));
    Ok(ExitCode::Done)
}

/// Whether a file begins like the man page of one of our commands.
fn is_man_page(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.lines().find(|line| line.starts_with(".TH ")).is_some_and(|title| title.starts_with(".TH kubemint"))
}
