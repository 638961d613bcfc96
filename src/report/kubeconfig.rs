//! The findings about one kubeconfig. They concern a file and no inventory, so this report has its own head.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use serde::Serialize;

use super::SCHEMA_VERSION;
use crate::kubeconfig::{FileFinding, FindingSeverity};

/// What examining one kubeconfig found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KubeconfigReport {
    /// The version of this model.
    pub schema_version: u32,
    /// The version of kubemint.
    pub kubemint: &'static str,
    /// The command.
    pub command: &'static str,
    /// The file, as the user named it.
    pub file: String,
    /// The context that was connected with, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The server, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The user that the server takes the credential for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Whether that user may list namespaces.
    #[serde(rename = "may-list-namespaces", skip_serializing_if = "Option::is_none")]
    pub may_list_namespaces: Option<bool>,
    /// The number of findings of something that does not work.
    pub errors: usize,
    /// The number of other findings.
    pub warnings: usize,
    /// The findings, by line.
    pub findings: Vec<FileFinding>,
}

impl KubeconfigReport {
    /// Makes a report of the findings before any connection.
    pub(crate) fn new(file: String, context: Option<String>, mut findings: Vec<FileFinding>) -> Self {
        findings.sort_by_key(|finding| (finding.line.is_none(), finding.line, finding.severity));
        let errors = findings.iter().filter(|finding| finding.severity == FindingSeverity::Error).count();
        Self {
            schema_version: SCHEMA_VERSION,
            kubemint: env!("CARGO_PKG_VERSION"),
            command: "verify",
            file,
            context,
            server: None,
            identity: None,
            may_list_namespaces: None,
            errors,
            warnings: findings.len() - errors,
            findings,
        }
    }
}
