//! Problems of an inventory and their locations, as values for the renderers.
//!
//! Problems are collected and never returned early, so that one run reports all of them. A [`Location`] is a span in
//! one of the [`Sources`]; line and column are computed when it is shown. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::masking::without_tokens;
use crate::failure::looks_like_token;
use crate::names::ClusterName;
use crate::wording::list;

/// Which of the [`Sources`] a file is. They order as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(usize);

impl FileId {
    /// Returns whether it is the file that includes the others.
    pub(crate) fn is_root(self) -> bool {
        self.0 == 0
    }
}

/// A span of bytes in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    file: FileId,
    start: usize,
    end: usize,
}

impl Location {
    pub(crate) fn new(file: FileId, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end.max(span.start) }
    }

    /// Returns the file.
    pub fn file(self) -> FileId {
        self.file
    }

    /// Returns the span in bytes.
    pub fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and its location.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) location: Location,
}

impl<T> At<T> {
    /// Puts a value at a location.
    pub(crate) fn new(value: T, location: Location) -> Self {
        Self { value, location }
    }
}

/// Whether a problem makes the inventory unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The inventory is refused.
    Error,
    /// The inventory is used, but probably does not mean what it should.
    Warning,
}

/// One problem of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it makes the inventory unusable.
    pub severity: Severity,
    /// What is wrong, lowercase and without a final period.
    pub message: String,
    /// Where it is.
    pub location: Location,
    /// A text at the location itself; may be empty.
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other locations that take part, each with a text.
    pub secondary: Vec<(Location, String)>,
    /// The clusters without which it would not be there, if it is about some and not about what was typed.
    pub about: BTreeSet<ClusterName>,
}

impl Problem {
    pub(crate) fn error(location: Location, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, location, message.into())
    }

    pub(crate) fn warning(location: Location, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, location, message.into())
    }

    fn new(severity: Severity, location: Location, message: String) -> Self {
        Self {
            severity,
            message,
            location,
            label: String::new(),
            hint: None,
            secondary: vec![],
            about: BTreeSet::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn also(mut self, location: Location, label: impl Into<String>) -> Self {
        self.secondary.push((location, label.into()));
        self
    }

    pub(crate) fn about<'a>(mut self, clusters: impl IntoIterator<Item = &'a ClusterName>) -> Self {
        self.about.extend(clusters.into_iter().cloned());
        self
    }
}

/// Line and column of a location, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// The file, as the user named it.
    pub file: &'a str,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The text of one inventory file, read by the shell.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The absolute path; relative paths in the file resolve against its directory.
    pub path: PathBuf,
    /// The name of the file in diagnostics.
    pub name: String,
    /// The content.
    pub text: String,
}

impl SourceFile {
    /// Makes a source whose name in diagnostics is its path.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let path = path.into();
        Self { name: path.display().to_string(), path, text: text.into() }
    }

    /// Gives it another name in diagnostics, such as the relative path that was typed.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Returns the directory that relative paths resolve against.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// All files of an inventory; the root file is the first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    list: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    file: SourceFile,
    line_starts: Vec<usize>,
    /// Whether its lines may be shown.
    is_shown: bool,
}

impl Sources {
    pub(crate) fn add(&mut self, file: SourceFile) -> FileId {
        let newlines = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(index, _)| index + 1)).collect();
        self.list.push(Source { file, line_starts, is_shown: false });
        FileId(self.list.len() - 1)
    }

    /// Allows the lines of a file to be shown, because it is plausibly an inventory.
    pub(crate) fn show(&mut self, file: FileId) {
        self.list[file.0].is_shown = true;
    }

    pub(crate) fn is_shown(&self, file: FileId) -> bool {
        self.list[file.0].is_shown
    }

    /// Returns the files; the root file is the first.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.list.iter().map(|source| &source.file)
    }

    /// Returns the file that includes the others, once it was added.
    pub(crate) fn root(&self) -> Option<&SourceFile> {
        self.files().next()
    }

    /// Returns a file.
    pub fn file(&self, file: FileId) -> &SourceFile {
        &self.list[file.0].file
    }

    /// Returns line and column of a location.
    pub fn position(&self, location: Location) -> Position<'_> {
        let (line, text, offset) = self.line(location);
        let column = text.get(..offset).map_or(1, |before| before.chars().count() + 1);
        Position { file: &self.file(location.file).name, line, column }
    }

    /// Returns the number and text of a location's first line, and the location's offset in it.
    pub(crate) fn line(&self, location: Location) -> (usize, &str, usize) {
        let Source { file, line_starts: starts, .. } = &self.list[location.file.0];
        let line = starts.partition_point(|start| *start <= location.start);
        let (start, text) = (starts[line - 1], &file.text);
        let end = starts.get(line).map_or(text.len(), |next| next - 1);
        let text = text[start..end].trim_end_matches('\r');
        (line, text, (location.start - start).min(text.len()))
    }
}

/// Collects problems, and suggests names within a budget.
#[derive(Debug, Clone)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    /// How many names may still be compared. If the grants of 10,000 clusters named 10,000 unknown ones, suggestions
    /// would cost 10^8 edit distances; this allows about a tenth of a second.
    comparisons: usize,
    /// The errors and warnings that are only counted.
    omitted: Omitted,
}

/// Problems that are not kept: nobody reads more, and a million of them would fill the memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Omitted {
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
}

/// The most problems that are kept.
const MOST: usize = 10_000;

impl Default for Problems {
    fn default() -> Self {
        Self { list: vec![], comparisons: 200_000, omitted: Omitted::default() }
    }
}

impl Problems {
    /// Keeps a problem. Tokens in its texts are hidden, and long texts are cut.
    pub(crate) fn push(&mut self, mut problem: Problem) {
        let of_secondary = problem.secondary.iter_mut().map(|(_, label)| label);
        for text in [&mut problem.message, &mut problem.label].into_iter().chain(&mut problem.hint).chain(of_secondary)
        {
            *text = without_tokens(std::mem::take(text));
        }
        match problem.severity {
            _ if self.list.len() < MOST => self.list.push(problem),
            Severity::Error => self.omitted.errors += 1,
            Severity::Warning => self.omitted.warnings += 1,
        }
    }

    /// Keeps those of another collection too.
    pub(crate) fn extend(&mut self, other: Self) {
        self.omitted.errors += other.omitted.errors;
        self.omitted.warnings += other.omitted.warnings;
        for problem in other.list {
            self.push(problem);
        }
    }

    /// Returns how many problems were not kept.
    pub(crate) fn omitted(&self) -> Omitted {
        self.omitted
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.omitted.errors > 0 || self.errors().next().is_some()
    }

    /// Returns the errors that were kept.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// Returns the problems in the order of their locations, without repetitions.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(|a, b| (a.location, &a.message).cmp(&(b.location, &b.message)));
        self.list.dedup();
        self.list
    }

    /// Returns the known name that is nearest to a wrong one, if one is near enough.
    pub(crate) fn nearest<'a>(&mut self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let wrong = plain(name);
        // A third of the letters may be wrong, as in rustc's suggestions, and at least one, so that a short name with
        // swapped letters is still found.
        let limit = (wrong.chars().count() / 3).max(1);
        let mut best: Option<(usize, &str)> = None;
        for candidate in known {
            if self.comparisons == 0 {
                break;
            }
            self.comparisons -= 1;
            let candidate_plain = plain(candidate);
            let distance = strsim::damerau_levenshtein(&wrong, &candidate_plain);
            // A name that was cut short counts as near, however much is missing: `view` for `viewer`.
            let limit = if wrong.len() > 2 && candidate_plain.starts_with(&wrong) { distance } else { limit };
            if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Returns `did you mean …?`, or else lists the known names if they are few.
    pub(crate) fn suggest<'a>(
        &mut self,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        if let Some(nearest) = self.nearest(name, known.clone()) {
            return Some(format!("did you mean `{nearest}`?"));
        }
        let number = known.clone().take(SHOWN + 1).count();
        (1..=SHOWN).contains(&number).then(|| format!("known {what}: {}", list(known, SHOWN)))
    }
}

/// The most names that a message lists.
pub(crate) const SHOWN: usize = 12;

/// Spells camel case, snake case and kebab case alike: `apiGroups`, `api_groups`, `api-groups`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => plain.push('-'),
            c if c.is_ascii_uppercase() => {
                if !plain.is_empty() {
                    plain.push('-');
                }
                plain.push(c.to_ascii_lowercase());
            }
            c => plain.push(c),
        }
    }
    plain
}

/// Puts a text in backticks; control characters are not shown, and a long text is cut.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    if looks_like_token(text) {
        return "`[REDACTED]`".to_owned();
    }
    let shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("`{shown}{}`", if text.chars().nth(SHOWN).is_some() { "…" } else { "" })
}

/// Groups problems with the same message at several locations, so that each group is shown once.
pub(crate) fn grouped(problems: &[Problem]) -> Vec<(&Problem, Vec<&Problem>)> {
    let mut groups: BTreeMap<usize, (&Problem, Vec<&Problem>)> = BTreeMap::new();
    let mut seen: HashMap<(Severity, &str, Option<&str>), usize> = HashMap::new();
    for (index, problem) in problems.iter().enumerate() {
        let key = (problem.severity, problem.message.as_str(), problem.hint.as_deref());
        match seen.get(&key) {
            Some(first) => groups.get_mut(first).expect("it was put in before").1.push(problem),
            None => {
                seen.insert(key, index);
                groups.insert(index, (problem, vec![]));
            }
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_problem_repeats_a_token_or_is_endless() {
        let token = format!("eyJhbGciOi.{}.sig", "p".repeat(60));
        let location = Location::new(FileId(0), 0..0);
        let mut problems = Problems::default();
        let problem = Problem::error(location, format!("label value `{token}` is not valid: it is long"));
        problems.push(problem.hint(format!("not {token}")).also(location, format!("first `x{token}`")));
        problems.push(Problem::error(location, format!("no `{}`", "ä".repeat(5000))));
        let problems = problems.into_sorted();
        assert_eq!(problems[0].message, "label value `[REDACTED]` is not valid: it is long");
        assert_eq!(problems[0].hint.as_deref(), Some("not [REDACTED]"));
        assert_eq!(problems[0].secondary[0].1, "first `[REDACTED]`");
        assert!(problems[1].message.chars().count() <= 1001 && problems[1].message.ends_with('…'));
    }

    #[test]
    fn the_nearest_name_is_found_whatever_the_case_style() {
        let check = |name: &str, expect: Option<&str>| {
            let known = ["api-groups", "resources", "verbs", "resource-names"];
            assert_eq!(Problems::default().nearest(name, known), expect, "{name}");
        };
        check("ressources", Some("resources"));
        check("apiGroups", Some("api-groups"));
        check("api_groups", Some("api-groups"));
        check("vebrs", Some("verbs"));
        check("resource-nam", Some("resource-names"));
        check("colour", None);
        check("", None);
    }

    #[test]
    fn problems_beyond_those_that_are_kept_are_counted_and_still_refuse() {
        let mut problems = Problems::default();
        let location = Location::new(FileId(0), 0..0);
        for number in 0..=MOST {
            problems.push(Problem::warning(location, number.to_string()));
        }
        assert!(!problems.has_errors());
        problems.push(Problem::error(location, "late"));
        assert!(problems.has_errors());
        assert_eq!(problems.omitted(), Omitted { errors: 1, warnings: 1 });
        assert_eq!(problems.into_sorted().len(), MOST);
    }

    #[test]
    fn suggestions_stop_when_the_budget_is_spent() {
        let mut problems = Problems { comparisons: 1, ..Problems::default() };
        assert_eq!(problems.nearest("abc", ["xyz", "abd"]), None);
        let mut problems = Problems { comparisons: 1, ..Problems::default() };
        assert_eq!(problems.nearest("abc", ["abd"]), Some("abd"));
        assert_eq!(problems.nearest("abc", ["abd"]), None);
    }

    #[test]
    fn a_position_counts_characters() {
        let mut sources = Sources::default();
        let file = sources.add(SourceFile::new("/a.toml", "x\r\nä = ö\n").named("a.toml"));
        let position = |span| sources.position(Location::new(file, span)).to_string();
        assert_eq!(position(0..1), "a.toml:1:1");
        assert_eq!(position(8..10), "a.toml:2:5");
        assert_eq!(position(11..11), "a.toml:3:1");
        assert_eq!(position(2..2), "a.toml:1:2");
    }
}
