//! Resolves paths in an inventory: `~/` is the home directory, and a relative path starts at the directory of the file
//! that it is in. Pure: no I/O.

use std::path::PathBuf;

use super::{Context, Include};
use crate::inventory::problem::{At, Problem};
use crate::paths::normalise;
use crate::template;

impl Context<'_> {
    /// Resolves the path in the value of a key.
    pub(super) fn path(&mut self, key: &str, path: &At<String>) -> Option<PathBuf> {
        let (base, rest) = self.base(key, path)?;
        Some(normalise(&base.join(rest)))
    }

    /// Resolves a template of a path. The directory before it is added literally.
    pub(super) fn path_template(&mut self, path: &At<String>) -> Option<String> {
        let last = path.value.rsplit('/').next().unwrap_or_default();
        if matches!(last, "" | "." | ".." | "~") && !path.value.is_empty() {
            self.error(path.location, "`path` must name a file, not a directory");
            return None;
        }
        let (base, rest) = self.base("path", path)?;
        if rest.starts_with('/') {
            return Some(rest.to_owned());
        }
        let Some(base) = base.to_str() else {
            self.error(path.location, format!("the directory `{}` is not valid UTF-8", base.display()));
            return None;
        };
        Some(format!("{}/{rest}", template::escape(base.trim_end_matches('/'))))
    }

    /// Resolves an include pattern.
    pub(super) fn include(&mut self, pattern: &At<String>) -> Option<Include> {
        let resolved = self.pattern("include", pattern);
        self.incomplete |= resolved.is_none();
        let (location, written) = (pattern.location, pattern.value.clone());
        resolved.map(|pattern| Include { pattern, location, written })
    }

    /// Resolves a pattern of paths. The directory before it is taken literally.
    pub(super) fn pattern(&mut self, key: &str, pattern: &At<String>) -> Option<String> {
        let (base, rest) = self.base(key, pattern)?;
        if let Err(error) = glob::Pattern::new(rest) {
            let location = self.inside(pattern, error.pos.min(pattern.value.len()), 0);
            self.error(location, format!("`{key}` is not a valid pattern: {}", error.msg));
            return None;
        }
        if rest.starts_with('/') {
            return Some(rest.to_owned());
        }
        let Some(base) = base.to_str() else {
            self.error(pattern.location, format!("the directory `{}` is not valid UTF-8", base.display()));
            return None;
        };
        Some(format!("{}/{rest}", glob::Pattern::escape(base.trim_end_matches('/'))))
    }

    /// Splits a path into its start directory and the rest.
    fn base<'p>(&mut self, key: &str, path: &'p At<String>) -> Option<(PathBuf, &'p str)> {
        let text = path.value.as_str();
        if text.is_empty() || text.contains(char::is_control) {
            let reason = if text.is_empty() { "be empty" } else { "contain control characters" };
            self.error(path.location, format!("`{key}` must not {reason}"));
            return None;
        }
        let Some(rest) = text.strip_prefix('~') else {
            let directory = self.sources.file(path.location.file()).directory().to_owned();
            return Some((directory, text));
        };
        let rest = match rest.strip_prefix('/') {
            Some(rest) => rest.trim_start_matches('/'),
            None if rest.is_empty() => rest,
            None => {
                let message = format!("`{key}` begins with `~` and a name, which is not supported");
                let hint = "write the path from `/`, or `./~…` for a file whose name begins with `~`";
                self.problems.push(Problem::error(path.location, message).hint(hint));
                return None;
            }
        };
        let Some(home) = self.setting.home.clone() else {
            let message = format!("`{key}` begins with `~`, and there is no home directory");
            self.problems.push(Problem::error(path.location, message).hint("set `HOME`, or write the path from `/`"));
            return None;
        };
        Some((home, rest))
    }
}
