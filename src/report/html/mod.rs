//! Reports as one HTML file that needs no network: the report as JSON in the page, and a script that shows it.
//!
//! Pure: no I/O, no clock.

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::{RenderError, Report};
use crate::foreign::shown;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// What a report begins with, so that it is known again.
const MARK: &str = "<!doctype html>\n<!-- kubemint report -->\n";

/// The page.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    policy: &'a str,
    style: &'a str,
    script: &'a str,
    data: &'a str,
}

/// Returns whether a file is a report in HTML that kubemint wrote.
pub(crate) fn is_html(content: &[u8]) -> bool {
    content.starts_with(MARK.as_bytes())
}

/// Renders a report.
///
/// # Errors
///
/// If the report cannot be written as JSON, or the page cannot be filled; that is a bug.
pub(super) fn html(report: &Report) -> Result<String, RenderError> {
    let title = format!("kubemint {}: {}", report.head.command.as_str(), report.head.inventory);
    // Nothing is loaded, and only this style and this script count.
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    let data = inert(&serde_json::to_string(report)?);
    let page = Page { title: &shown(&title), policy: &policy, style: STYLE, script: SCRIPT, data: &data };
    Ok(page.render()? + "\n")
}

/// Names a style or script in a Content-Security-Policy.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Returns JSON that means the same and cannot end the element that it stands in: such characters are in strings only.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
