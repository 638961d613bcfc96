//! What examining one kubeconfig found. It is about a file and no inventory, so it has a head of its own.
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
    /// The file, as it was named.
    pub file: String,
    /// The context that was connected with, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The server, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Whom the server takes the credential for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Whether that may list namespaces.
    #[serde(rename = "may-list-namespaces", skip_serializing_if = "Option::is_none")]
    pub may_list_namespaces: Option<bool>,
    /// Findings that keep something from working.
    pub errors: usize,
    /// Findings that should be known.
    pub warnings: usize,
    /// The findings, by line.
    pub findings: Vec<FileFinding>,
}

impl KubeconfigReport {
    /// Puts a report together, before anything was connected to.
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
