//! The `kubemint` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubemint::run(std::env::args_os(), &kubemint::Environment::from_process()).into()
}
