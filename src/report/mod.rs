//! One result model for every command, and the renderers over it.
//!
//! `-o json` prints the model; `docs/json.md` describes it, and `schema_version` changes when a field changes its
//! meaning. Pure: no I/O, no clock.

mod changes;
mod failures;
mod group;
mod head;
mod html;
mod join;
mod junit;
mod kubeconfig;
mod markdown;
mod merge;
mod render;
mod risk;
mod schema;
mod status;
mod text;
mod verify;
mod waves;

pub(crate) use changes::{Change, Changes, ClusterReport, CredentialSummary, ErrorReport, State, Summary};
pub(crate) use failures::{Failures, Seen, failures};
pub(crate) use head::{Body, Command, Head, Report, SCHEMA_VERSION, ShardReport, is_json_report};
pub(crate) use html::is_html;
pub(crate) use join::{duplicates, join, read as read_report};
pub(crate) use junit::is_junit;
pub(crate) use kubeconfig::KubeconfigReport;
pub(crate) use markdown::is_markdown;
pub(crate) use merge::MergeReport;
pub(crate) use render::{RenderError, Rendering, render};
pub(crate) use schema::schema;
pub(crate) use status::{Drifted, GrantStatus, Holds, LegacyTokenStatus, OutputStatus, Status};
pub(crate) use text::{
    TextOptions, collision_lines, kubeconfig_text, merge_text, notes_text, refresh_line, rows, summary_line,
};
pub(crate) use verify::{
    BindingReport, FindingKind, GrantReport, Verification, VerifiedClusterReport, VerifyState, VerifySummary,
};

#[cfg(test)]
use verify::{Finding, RightCounts, VerifyError};

#[cfg(test)]
mod tests;
