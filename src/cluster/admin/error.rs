//! Why admin access cannot be used. The errors name file, context and field, never a value.

use std::path::{Path, PathBuf};

use crate::failure::{FailureKind, StepFailure};

/// Why admin access cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdminError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: String,
    },
    /// The file is no kubeconfig.
    #[error("`{path}` is not a kubeconfig that can be used: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The field, the reason and the location.
        cause: String,
        /// The line, if one is known.
        line: Option<usize>,
    },
    /// No kubeconfig was found.
    #[error("no kubeconfig at {source_name}")]
    Nothing {
        /// The files, the directory or the pattern.
        source_name: String,
    },
    /// The kubeconfigs lack something that the context needs.
    #[error("{source_name} has no {kind} `{name}`")]
    Missing {
        /// The files, the directory or the pattern.
        source_name: String,
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
        /// Why a file that might have it cannot be used.
        unusable: Option<String>,
    },
    /// Two files of a directory or a pattern have the context.
    #[error("context `{context}` is in `{first}` and in `{second}`")]
    Ambiguous {
        /// The context.
        context: String,
        /// A file that has it.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A field cannot be used.
    #[error("context `{context}` in `{path}`: {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
        /// What is wrong with which field.
        problem: Problem,
    },
    /// What the inventory says of the admin access, or the pod provides, cannot be used.
    #[error("the admin access: {0}")]
    Access(Problem),
}

/// What is wrong with a field, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Which field, and what is wrong with it.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the field belongs to an exec plugin.
    pub is_of_plugin: bool,
}

impl AdminError {
    /// Makes an error about a whole file.
    pub(super) fn malformed(path: &Path, cause: String) -> Self {
        Self::Malformed { path: path.to_owned(), cause, line: None }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, is_of_plugin: false }
    }

    /// Makes a problem of a field of an exec plugin.
    pub(super) fn of_plugin(what: impl Into<String>) -> Self {
        Self { is_of_plugin: true, ..Self::new(what) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<&str> for Problem {
    fn from(what: &str) -> Self {
        Self::new(what)
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self::new(what)
    }
}

impl From<AdminError> for StepFailure {
    fn from(error: AdminError) -> Self {
        let is_of_plugin = match &error {
            AdminError::Unusable { problem, .. } | AdminError::Access(problem) => problem.is_of_plugin,
            _ => false,
        };
        let kind = if is_of_plugin { FailureKind::AdminPlugin } else { FailureKind::AdminAccess };
        Self { kind, hint: error.hint(), ..Self::new(error.to_string()) }
    }
}

impl AdminError {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { unusable: Some(cause), .. } => {
                Some(format!("it may be in a file that is unusable: {cause}"))
            }
            Self::Missing { nearest: Some(nearest), kind, .. } => Some(format!("did you mean {kind} `{nearest}`?")),
            Self::Ambiguous { .. } => {
                Some("name one file: `admin = { kubeconfig = \"…\" }` in that cluster".to_owned())
            }
            Self::Unusable { problem, .. } | Self::Access(problem) => problem.hint.clone(),
            _ => None,
        }
    }
}
