//! The `kubemint` command.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// What is freed is overwritten: tokens pass through the buffers of many libraries, which know nothing of secrets.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    kubemint::run(std::env::args_os(), &kubemint::Environment::from_process()).into()
}
