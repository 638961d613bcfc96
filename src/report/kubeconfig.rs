//! What examining one kubeconfig found, for programs and as text.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::SCHEMA_VERSION;
use crate::foreign::shown;
use crate::kubeconfig::{FileFinding, FindingSeverity};
use crate::wording::count;

/// What examining one kubeconfig found.
#[derive(Debug, Clone, Serialize)]
pub struct KubeconfigReport {
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
    pub fn new(file: String, context: Option<String>, mut findings: Vec<FileFinding>) -> Self {
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

/// Renders a report: one paragraph for each finding, and what connecting came to.
pub fn kubeconfig_text(report: &KubeconfigReport) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let (style, word): (Style, _) = match finding.severity {
            FindingSeverity::Error => (AnsiColor::Red.on_default(), "error"),
            FindingSeverity::Warning => (AnsiColor::Yellow.on_default(), "warning"),
        };
        let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ = writeln!(out, "{}{line}: {style}{word}:{style:#} {}", shown(&report.file), shown(&finding.message));
        if let Some(instead) = &finding.instead {
            let _ = writeln!(out, "  write instead: `{}`", shown(instead));
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(out, "  hint: {}", shown(hint));
        }
    }
    match (&report.context, &report.server) {
        (Some(context), Some(server)) => {
            let who =
                report.identity.as_deref().map(|identity| format!(" as `{}`", shown(identity))).unwrap_or_default();
            let may = match report.may_list_namespaces {
                Some(true) => ", and may list namespaces",
                Some(false) => ", and may not list namespaces",
                None => "",
            };
            let _ = writeln!(out, "context `{}` reaches <{}>{who}{may}", shown(context), shown(server));
        }
        (Some(context), None) => {
            let _ = writeln!(out, "context `{}` was not connected with", shown(context));
        }
        (None, _) => out.push_str("nothing was connected to: no context is current; choose one with `--context`\n"),
    }
    let parts = [(report.errors, "error"), (report.warnings, "warning")];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(*number, what)).collect();
    let counts = if parts.is_empty() { "nothing to mend".to_owned() } else { parts.join(", ") };
    let _ = writeln!(out, "{}: {counts}", shown(&report.file));
    out
}
