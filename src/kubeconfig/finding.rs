//! What is wrong with a kubeconfig, and which line to change. Never quotes a secret.
//!
//! Pure: no I/O, no clock.

use serde::Serialize;

/// Something about a kubeconfig, of any origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileFinding {
    /// How bad it is.
    pub severity: FindingSeverity,
    /// What it is, for programs.
    pub kind: FileFindingKind,
    /// The line to change, from 1; absent if it is no single line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What it is, in words.
    pub message: String,
    /// The line to write instead, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// What to do about it, if no new line says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSeverity {
    /// The file, or a context of it, does not work.
    Error,
    /// It works, but the user should know this.
    Warning,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFindingKind {
    /// It is no YAML, or not of the form of a kubeconfig.
    Malformed,
    /// Two entries of one list have the same name.
    DuplicateName,
    /// A context names a cluster that does not exist.
    UnknownCluster,
    /// A context names a user that does not exist.
    UnknownUser,
    /// The current context does not exist.
    UnknownContext,
    /// No context is current.
    NoCurrentContext,
    /// The namespace of a context has an invalid name.
    InvalidNamespace,
    /// A field of a cluster cannot be used.
    UnusableCluster,
    /// A field of a user cannot be used.
    UnusableUser,
    /// The server's certificate is not checked.
    Insecure,
    /// Others can read the file.
    Exposed,
    /// A certificate has expired.
    CertificateExpired,
    /// A certificate is not valid yet.
    CertificateNotYetValid,
    /// A certificate expires soon.
    CertificateExpiresSoon,
    /// The token has expired.
    TokenExpired,
    /// The token is not valid yet.
    TokenNotYetValid,
    /// The token expires soon.
    TokenExpiresSoon,
    /// The context cannot be connected with.
    NotConnected,
    /// The server does not answer.
    Unreachable,
    /// The CA does not verify the server's certificate.
    Authority,
    /// The server does not accept the credential.
    Refused,
    /// The server treats the requests as anonymous.
    Anonymous,
    /// The server does not tell the user of the credential.
    UnknownIdentity,
    /// The credential may not list namespaces.
    NoNamespaces,
}

impl FileFinding {
    /// Makes a finding of something that does not work.
    pub fn error(kind: FileFindingKind, line: Option<usize>, message: impl Into<String>) -> Self {
        let (severity, message) = (FindingSeverity::Error, message.into());
        Self { severity, kind, line, message, instead: None, hint: None }
    }

    /// Makes a finding of something that works, but that the user should know.
    pub fn warning(kind: FileFindingKind, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { severity: FindingSeverity::Warning, ..Self::error(kind, line, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns a line of the file with another value after its key.
pub(crate) fn line_with(text: &str, line: usize, key: &str, value: &str) -> String {
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indented = written.trim_start_matches([' ', '-']);
    let head = &written[..written.len() - indented.len()];
    let head = if indented.starts_with(key) { head } else { "" };
    format!("{head}{key}: {}", scalar(value))
}

/// Returns a value as YAML: plain if no reader could take it for anything but text.
fn scalar(value: &str) -> String {
    let is_word = |value: &str| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "yes" | "no" | "true" | "false" | "on" | "off" | "null" | "y" | "n"
        )
    };
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && !value.ends_with(':')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/@:".contains(c))
        && !is_word(value);
    if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_indentation() {
        let text = "contexts:\n- context:\n    cluster: prd\n- cluster: x\n  {cluster: y}\n";
        assert_eq!(line_with(text, 3, "cluster", "prod"), "    cluster: prod");
        assert_eq!(line_with(text, 4, "cluster", "yes"), "- cluster: \"yes\"");
        assert_eq!(line_with(text, 5, "cluster", "1"), "cluster: \"1\"");
    }
}
