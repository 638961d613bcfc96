//! The findings about one kubeconfig, as text.

use std::fmt::Write;

use super::{RED, YELLOW, paint};
use crate::foreign::shown;
use crate::kubeconfig::FindingSeverity;
use crate::report::KubeconfigReport;
use crate::wording::count;

/// Renders a report: one paragraph for each finding, and the result of connecting.
pub(crate) fn kubeconfig_text(report: &KubeconfigReport) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let word = match finding.severity {
            FindingSeverity::Error => paint(RED, "error:"),
            FindingSeverity::Warning => paint(YELLOW, "warning:"),
        };
        let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ = writeln!(out, "{}{line}: {word} {}", shown(&report.file), shown(&finding.message));
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
