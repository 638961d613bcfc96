//! One result model for every command, and the renderers over it.
//!
//! The model is what `-o json` prints; `docs/json.md` describes it, and `schema_version` changes
//! when a field changes its meaning. Pure: no I/O, no clock.

mod build;
mod model;
mod text;

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanPrinter;

pub use build::{GrantPaths, ReportHead};
pub use model::{
    Action, Change, ClusterReport, Command, CredentialReport, ErrorReport, Report, SCHEMA_VERSION, State, Summary,
};
pub use text::{failures, plan_text, summary_line};

/// Returns a duration as people write it: `24h`, `1m 30s`.
pub fn duration(duration: Duration) -> String {
    /// Nobody reads nanoseconds of a token's life.
    const EXACT_BELOW: Duration = Duration::from_secs(1);
    let rounded = if duration < EXACT_BELOW { duration } else { Duration::from_secs(duration.as_secs()) };
    let signed = SignedDuration::try_from(rounded).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().duration_to_string(&signed)
}

/// Returns a number with its noun: `1 cluster`, `3 clusters`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
