//! The only code that prints: results to stdout, everything else to stderr.

mod errors;
mod logging;
mod printer;
mod progress;

use std::io::IsTerminal;

pub(crate) use errors::render_error;
pub(crate) use logging::{LogFormat, start_logging};
pub(crate) use printer::{ColorWhen, Printer, PrinterOptions};
pub(crate) use progress::{Phase, Progress, ProgressStyle, TICK};

/// Returns whether stdout and stderr are read on a terminal: then what goes to one stands beside what goes to the other.
pub(crate) fn is_one_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}
