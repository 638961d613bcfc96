//! The error that ends a run: what failed, why, what to do, and with which exit code.

use std::path::Path;

use crate::exit_code::ExitCode;

/// An error that ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The exit code.
    pub code: ExitCode,
    /// What failed, lowercase, without a final period.
    pub message: String,
    /// Details, line by line, as they are printed.
    pub lines: Vec<String>,
    /// The causes, each once.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// Makes an error.
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), lines: vec![], causes: vec![], hint: None }
    }

    /// Makes an error about the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    /// Makes an error about a file that cannot be read.
    pub(crate) fn unreadable(code: ExitCode, path: &Path, error: &std::io::Error) -> Self {
        Self::new(code, format!("cannot read `{}`", path.display())).because(error.to_string())
    }

    /// Adds a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
