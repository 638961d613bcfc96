//! One result model for every command, and the renderers over it.
//!
//! The model is what `-o json` prints; `docs/json.md` describes it, and `schema_version` changes
//! when a field changes its meaning. Pure: no I/O, no clock.

mod build;
mod kubeconfig;
mod model;
mod text;
mod verify;

pub use build::{GrantPaths, ReportHead};
pub use kubeconfig::{KubeconfigReport, kubeconfig_text};
pub use model::{
    Action, Change, ClusterReport, Command, CredentialReport, ErrorReport, Report, SCHEMA_VERSION, State, Summary,
};
pub use text::{Failures, failures, plan_text, summary_line};
pub use verify::{
    BindingReport, Finding, FindingKind, GrantReport, RightCounts, RightsReport, VerifiedClusterReport,
    VerifiedCredentialReport, VerifyError, VerifyReport, VerifyState, VerifySummary, verify_failures, verify_text,
};

#[cfg(test)]
mod tests;
