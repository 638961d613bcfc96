//! One result model for every command, and the renderers over it.
//!
//! The model is what `-o json` prints; `docs/json.md` describes it, and `schema_version` changes
//! when a field changes its meaning. Pure: no I/O, no clock.

mod changes;
mod failures;
mod group;
mod head;
mod kubeconfig;
mod status;
mod text;
mod verify;

pub use changes::{Change, Changes, ClusterReport, CredentialReport, CredentialSummary, ErrorReport, State, Summary};
pub use failures::{Failures, Seen, failures};
pub use head::{Body, Command, Head, Report, SCHEMA_VERSION};
pub use kubeconfig::KubeconfigReport;
pub use status::{Drifted, GrantStatus, Holds, LegacyTokenStatus, OutputStatus, Status};
pub use text::{TextOptions, kubeconfig_text, notes_text, refresh_line, summary_line, text};
pub use verify::{
    BindingReport, Finding, FindingKind, GrantReport, RightCounts, RightsReport, Verification, VerifiedClusterReport,
    VerifiedCredentialReport, VerifyError, VerifyState, VerifySummary,
};

#[cfg(test)]
mod tests;
