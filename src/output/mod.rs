//! The only code that prints: results to stdout, everything else to stderr.

mod errors;
mod logging;
mod printer;
mod progress;

pub use errors::render_error;
pub use logging::start_logging;
pub use printer::{Printer, PrinterOptions};
pub use progress::{Phase, Progress, ProgressStyle, TICK};
