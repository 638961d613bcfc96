//! One result model for every command, and the renderers over it.
//!
//! The model is what `-o json` prints; `docs/json.md` describes it, and `schema_version` changes
//! when a field changes its meaning. Pure: no I/O, no clock.

mod build;
mod model;
mod status;
mod text;

pub use build::{GrantPaths, ReportHead};
pub use model::{
    Action, Change, ClusterReport, Command, CredentialReport, CredentialSummary, ErrorReport, Report, SCHEMA_VERSION,
    State, Summary,
};
pub use status::{Drifted, GrantStatus, Holds, LegacyTokenStatus, OutputStatus, StatusReport, Width, status_text};
pub use text::{Failures, failures, notes_text, plan_text, refresh_line, summary_line};

#[cfg(test)]
mod tests;
