//! One result model for every command, and the renderers over it.
//!
//! The model is what `-o json` prints; `docs/json.md` describes it, and `schema_version` changes
//! when a field changes its meaning. Pure: no I/O, no clock.

mod build;
mod kubeconfig;
mod model;
mod status;
mod text;
mod verify;

pub use build::ReportHead;
pub use kubeconfig::{KubeconfigReport, kubeconfig_text};
pub use model::{
    Action, Change, ClusterReport, Command, CredentialReport, CredentialSummary, ErrorReport, Report, SCHEMA_VERSION,
    State, Summary,
};
pub use status::{Drifted, GrantStatus, Holds, LegacyTokenStatus, OutputStatus, StatusReport, Width, status_text};
pub use text::{Failures, failures, notes_text, plan_text, refresh_line, summary_line};
pub use verify::{
    BindingReport, Finding, FindingKind, GrantReport, RightCounts, RightsReport, VerifiedClusterReport,
    VerifiedCredentialReport, VerifyError, VerifyReport, VerifyState, VerifySummary, verify_failures, verify_text,
};

#[cfg(test)]
mod tests;
