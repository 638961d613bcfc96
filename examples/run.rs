//! Runs a command of kubemint in this process: `cargo run --example run`.

use std::ffi::OsString;

use kubemint::{Environment, ExitCode};

/// Validates the inventory in the current directory.
pub fn validate(environment: &Environment) -> ExitCode {
    kubemint::run(["kubemint", "validate"].map(OsString::from), environment)
}

fn main() -> std::process::ExitCode {
    validate(&Environment::from_process()).into()
}
