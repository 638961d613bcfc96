//! placeholder
use std::path::Path;

use crate::cli::VerifyArgs;
use crate::commands::CommandContext;
use crate::error::Error;
use crate::exit_code::ExitCode;
pub(super) fn run(_: &CommandContext<'_>, _: &Path, _: &VerifyArgs) -> Result<ExitCode, Error> {
    Ok(ExitCode::Done)
}
