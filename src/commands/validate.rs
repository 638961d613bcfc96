//! `kubemint validate`: all problems of the inventory, offline. Opens no kubeconfig.

use super::{CommandContext, load, printed};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::wording::count;

/// Validates the inventory and prints what it contains.
pub(super) fn run(context: &CommandContext<'_>) -> Result<ExitCode, Error> {
    let inventory = load::load(context, None)?.inventory;
    let text = format!(
        "`{}` is valid: {}, {}, {}\n",
        context.global.inventory.display(),
        count(inventory.clusters.len(), "cluster"),
        count(inventory.profiles.len(), "profile"),
        count(inventory.grants.len(), "grant"),
    );
    printed(context.printer.data(&text))?;
    Ok(ExitCode::Done)
}
