//! The one way in which a report leaves: rendered, and without anything that looks like a token.
//!
//! Pure: no I/O, no clock.

use super::text::{TextOptions, text};
use super::{Report, html, junit, markdown};
use crate::foreign::{json, redacted};

/// How a report is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendering {
    /// Text for people.
    Text,
    /// One JSON document.
    Json,
    /// Markdown for a comment.
    Markdown,
    /// JUnit XML.
    Junit,
    /// One HTML file.
    Html,
}

impl Rendering {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Text, Self::Json, Self::Markdown, Self::Junit, Self::Html];
}

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// It is no JSON.
    #[error("cannot write the report as JSON")]
    Json(#[from] serde_json::Error),
    /// It is no XML.
    #[error("cannot write the report as JUnit XML")]
    Junit(#[from] std::io::Error),
    /// It is no HTML.
    #[error("cannot write the report as HTML")]
    Html(#[from] askama::Error),
}

/// Renders a report; the options are for text, also where a document quotes it.
///
/// The model has no field for a token, but texts of others in it may repeat one. Whatever looks like a JSON Web Token is
/// replaced here, in every format.
///
/// # Errors
///
/// If the report cannot be written in that format; that is a bug.
pub(crate) fn render(report: &Report, rendering: Rendering, options: TextOptions<'_>) -> Result<String, RenderError> {
    let rendered = match rendering {
        Rendering::Text => text(report, options),
        Rendering::Json => json(report)? + "\n",
        Rendering::Markdown => markdown::markdown(report, options),
        Rendering::Junit => junit::junit(report)?,
        Rendering::Html => html::html(report)?,
    };
    Ok(redacted(&rendered).into_owned())
}
