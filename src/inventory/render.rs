//! Renders problems: with source lines for a terminal, and one line each for summaries.
//!
//! A repeated message is shown once, and its other locations are counted: to a reader, a wrong key in each of 10,000
//! clusters is one problem. Pure: returns text, prints nothing.

use std::borrow::Cow;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::masking::hide_secrets;
use super::problem::{Location, Problem, Severity, Sources, grouped};

/// Whether the text has terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// With ANSI colour sequences.
    Always,
    /// Plain text.
    Never,
}

/// How many further locations of one message are named.
const PLACES: usize = 3;
/// The width that long source lines are cut to.
const WIDTH: usize = 120;
/// The longest part of a source line that is shown; a minified file would otherwise be scanned for each problem.
const LONGEST_LINE: usize = 4096;

/// How many problems are shown with their source lines: nobody reads more, and each costs a scan of its line.
const DETAILED: usize = 100;

/// Renders problems with their source lines, in the given order; after the first 100, one line each.
pub fn render(problems: &[Problem], sources: &Sources, color: Color) -> String {
    let renderer = match color {
        Color::Always => Renderer::styled(),
        Color::Never => Renderer::plain(),
    };
    let renderer = renderer.term_width(WIDTH).decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    let groups = grouped(problems);
    for (problem, others) in groups.iter().take(DETAILED) {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let report = Group::with_title(level.primary_title(problem.message.as_str()));
        let mut report = location(report, sources, problem.location, &problem.label, AnnotationKind::Primary);
        for (secondary, label) in &problem.secondary {
            report = location(report, sources, *secondary, label, AnnotationKind::Context);
        }
        let report = footer(report, problem, others, sources);
        text.push_str(&renderer.render(&[report]));
        text.push_str("\n\n");
    }
    for (problem, others) in groups.iter().skip(DETAILED) {
        let kind = match problem.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        };
        text.push_str(&line(kind, problem, others, sources));
        text.push('\n');
    }
    text
}

fn footer<'a>(mut report: Group<'a>, problem: &'a Problem, others: &[&Problem], sources: &Sources) -> Group<'a> {
    if !others.is_empty() {
        let mut places: Vec<String> =
            others.iter().take(PLACES).map(|other| sources.position(other.location).to_string()).collect();
        if others.len() > PLACES {
            places.push(count(others.len() - PLACES, "more place"));
        }
        report = report.element(Level::NOTE.message(format!("also at {}", and(&places))));
    }
    match &problem.hint {
        Some(hint) => report.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => report,
    }
}

/// Shows a location with its line; without the line if the file may be no inventory.
fn location<'a>(
    report: Group<'a>,
    sources: &'a Sources,
    location: Location,
    label: &'a str,
    kind: AnnotationKind,
) -> Group<'a> {
    if sources.is_shown(location.file()) {
        return report.element(snippet(sources, location, label, kind));
    }
    let position = sources.position(location);
    let origin = Origin::path(position.file).line(position.line).char_column(position.column);
    report
        .element(origin)
        .element(Level::NOTE.message("the lines of what does not look like an inventory are not shown"))
}

/// Shows one line of a file. Passing only that line makes the cost independent of the file's size.
fn snippet<'a>(
    sources: &'a Sources,
    location: Location,
    label: &'a str,
    kind: AnnotationKind,
) -> Snippet<'a, Annotation<'a>> {
    let (number, line, offset) = sources.line(location);
    let length = location.span().len().min(line.len() - offset);
    let (mut line, mut span) = (hide_secrets(line), offset..offset + length);
    if line.len() > LONGEST_LINE {
        let cut = |at: usize| (0..=at.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        // The text before the location is kept, because the shown column depends on it; only the rest is cut.
        let end = cut(span.start + LONGEST_LINE);
        line = Cow::Owned(line[..end].to_owned());
        span.end = span.end.min(end);
    }
    // The renderer needs indices within the line and at character boundaries.
    if !line.is_char_boundary(span.start) || !line.is_char_boundary(span.end) {
        span = 0..0;
    }
    let annotation = kind.span(span).label((!label.is_empty()).then_some(label));
    Snippet::source(line).line_start(number).path(sources.file(location.file()).name.as_str()).annotation(annotation)
}

/// Renders problems as in `error: invalid inventory `clusters.toml`: 2 problems`, one line each.
///
/// A hint that only one problem has, or that all share, comes at the end; otherwise each comes with its problem.
/// Without problems the text is empty.
pub fn summary(problems: &[Problem], sources: &Sources) -> String {
    let name = sources.root().map_or("", |file| file.name.as_str());
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let mut text = match (errors, problems.len() - errors) {
        (0, 0) => return String::new(),
        (0, warnings) => format!("warning: inventory `{name}`: {}\n", count(warnings, "warning")),
        (errors, 0) => format!("error: invalid inventory `{name}`: {}\n", count(errors, "problem")),
        (errors, warnings) => format!(
            "error: invalid inventory `{name}`: {} and {}\n",
            count(errors, "problem"),
            count(warnings, "warning")
        ),
    };
    let mut hints: Vec<&str> = problems.iter().filter_map(|problem| problem.hint.as_deref()).collect();
    hints.sort_unstable();
    hints.dedup();
    for (problem, others) in grouped(problems) {
        let kind = if errors > 0 && problem.severity == Severity::Warning { "warning: " } else { "" };
        let hint = problem.hint.as_ref().filter(|_| hints.len() > 1);
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        text.push_str(&format!("  {}{hint}\n", line(kind, problem, &others, sources)));
    }
    if let [hint] = hints[..] {
        text.push_str(&format!("\nhint: {hint}\n"));
    }
    text
}

fn line(kind: &str, problem: &Problem, others: &[&Problem], sources: &Sources) -> String {
    let also = match others.len() {
        0 => String::new(),
        number => format!(", and at {}", count(number, "more place")),
    };
    format!("{}: {kind}{}{also}", sources.position(problem.location), problem.message)
}

/// Counts things: `1 problem`, `2 problems`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
