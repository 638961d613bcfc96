//! Editing a kubeconfig without touching what is not ours.
//!
//! No YAML library keeps comments, quoting, unknown fields and line ends of a whole file, so edits are spliced into the
//! text, one list entry at a time: `index` finds the position of each entry, `splice` decides which bytes change,
//! `render` writes entries in the style of their neighbours, and `check` reads the result again and compares it with
//! the expected content. A file that cannot be edited without loss is refused. Pure: no I/O, no clock.

mod check;
mod index;
mod removal;
mod render;
mod splice;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One of the three lists of named entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// `clusters`
    Clusters,
    /// `users`
    Users,
    /// `contexts`
    Contexts,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 3] = [Self::Clusters, Self::Contexts, Self::Users];

    /// Returns the key of the list.
    pub fn key(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Users => "users",
            Self::Contexts => "contexts",
        }
    }

    /// Returns what one entry is, which is also the key of what it says beside its name.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Users => "user",
            Self::Contexts => "context",
        }
    }
}

/// One change.
#[derive(Clone)]
pub enum Edit {
    /// Adds an entry, or replaces the one of the same name.
    Upsert {
        /// The list.
        list: List,
        /// The entry; an object with a `name`.
        entry: Value,
    },
    /// Removes an entry if it exists. Removals are made before all other edits.
    Remove {
        /// The list.
        list: List,
        /// The name of the entry.
        name: String,
    },
    /// Sets the current context.
    CurrentContext(String),
}

/// It hides the entries, which hold tokens.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upsert { list, entry } => write!(f, "Upsert({} {})", list.key(), entry["name"]),
            Self::Remove { list, name } => write!(f, "Remove({} {name:?})", list.key()),
            Self::CurrentContext(name) => write!(f, "CurrentContext({name:?})"),
        }
    }
}

/// Why a file is not edited. Never quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file cannot be edited without loss.
    #[error("it cannot be edited without loss: {0}")]
    Refused(String),
    /// The result was not as intended; the file was not written.
    #[error("the edited text does not say what was meant ({0}); this is a bug in kubemint")]
    Check(String),
}

/// The order of our entries: a new one goes after its nearest neighbour of a lower rank.
pub trait Ranking {
    /// Returns the rank of an entry, if it has one.
    fn rank(&self, list: List, name: &str) -> Option<usize>;
}

/// No order: new entries go to the end.
#[derive(Debug, Clone, Copy)]
pub struct Unranked;

impl Ranking for Unranked {
    fn rank(&self, _: List, _: &str) -> Option<usize> {
        None
    }
}

/// The text of a new file, with the keys that kubectl writes, in its order.
const NEW_FILE: &str = "apiVersion: v1\nclusters: []\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: []\n";

/// Returns the file with the edits made; an empty input becomes a new file.
///
/// # Errors
///
/// If the file cannot be edited without loss, or the result is not as intended.
///
/// # Examples
///
/// ```
/// use kubemint::kubeconfig::edit::{Edit, List, Unranked, edit};
/// use serde_json::json;
///
/// let before = b"# mine\ncontexts:\n- name: a # keep\n  context: {cluster: a, user: a}\n";
/// let entry = json!({"context": {"cluster": "b", "user": "b"}, "name": "b"});
/// let after = edit(before, &[Edit::Upsert { list: List::Contexts, entry }], &Unranked)?;
/// assert_eq!(
///     String::from_utf8_lossy(&after),
///     "# mine\ncontexts:\n- name: a # keep\n  context: {cluster: a, user: a}\n\
///      - name: b\n  context:\n    cluster: b\n    user: b\n",
/// );
/// # Ok::<(), kubemint::kubeconfig::edit::EditError>(())
/// ```
pub fn edit(input: &[u8], edits: &[Edit], ranking: &dyn Ranking) -> Result<Vec<u8>, EditError> {
    let edits = &last_of_each(edits);
    let (bom, text) = prepare(input)?;
    let new = new_file(text).filter(|_| !edits.is_empty() || text.trim_ascii().is_empty());
    let text = new.as_deref().unwrap_or(text);
    let said = check::read(text)?;
    let removed = remove(text, edits)?;
    let remaining = removed.as_deref().unwrap_or(text);
    let index = index::index(remaining)?;
    let splices = splice::splices(remaining, &index, edits, ranking)?;
    let (mut edited, cuts) = splice::apply_within(remaining, splices, index.cuts(remaining))?;
    check::check(said, (&edited, &cuts), edits)?;
    edited.insert_str(0, bom);
    Ok(edited.into_bytes())
}

/// Whether a large text like this one is compared, after it was edited, as if it were read as a whole.
#[cfg(any(test, fuzzing))]
pub(crate) fn says_the_same_in_parts(input: &[u8]) -> bool {
    let Ok((_, text)) = prepare(input) else { return true };
    index::index(text).map_or(true, |index| check::says_the_same_in_parts(text, &index.cuts(text)))
}

/// Returns the last edit of each entry, because two places may bring the same entry at once.
fn last_of_each(edits: &[Edit]) -> Vec<&Edit> {
    let key = |edit: &Edit| match edit {
        Edit::Upsert { list, entry } => (Some((*list, true)), entry["name"].as_str().unwrap_or_default().to_owned()),
        Edit::Remove { list, name } => (Some((*list, false)), name.clone()),
        Edit::CurrentContext(_) => (None, String::new()),
    };
    let mut positions: HashMap<_, usize> = HashMap::new();
    let mut kept: Vec<&Edit> = vec![];
    for edit in edits {
        match positions.entry(key(edit)) {
            Entry::Occupied(position) => kept[*position.get()] = edit,
            Entry::Vacant(position) => {
                position.insert(kept.len());
                kept.push(edit);
            }
        }
    }
    kept
}

/// Returns the text of a new file if this one has no content: only blanks, comments, document markers, `null` or `~`,
/// which kubectl takes for an empty kubeconfig. Comments are kept. Returns nothing if the file has content.
fn new_file(text: &str) -> Option<String> {
    let mut new = String::new();
    for line in text.split_inclusive('\n') {
        let (said, comment) = match line.find('#') {
            // A comment starts at the beginning of a line or after a blank.
            Some(at) if line[..at].is_empty() || line[..at].ends_with([' ', '\t']) => line.split_at(at),
            _ => (line, ""),
        };
        let mut words = said.split_ascii_whitespace().peekable();
        let is_blank = words.peek().is_none();
        if !words.all(|word| matches!(word, "---" | "..." | "null" | "~")) {
            return None;
        }
        new.push_str(if is_blank { line } else { comment });
    }
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if new.trim_ascii().is_empty() {
        new.clear();
    } else if !new.ends_with('\n') {
        new.push_str(line_end);
    }
    new.push_str(&NEW_FILE.replace('\n', line_end));
    Some(new)
}

/// Returns the text without the removed entries; nothing if none is removed.
fn remove(text: &str, edits: &[&Edit]) -> Result<Option<String>, EditError> {
    let names: HashSet<(List, &str)> = edits
        .iter()
        .filter_map(|edit| if let Edit::Remove { list, name } = edit { Some((*list, name.as_str())) } else { None })
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let splices = removal::removals(text, &index::index(text)?, &names)?;
    splice::apply(text, splices).map(Some)
}

/// Checks whether a file can be edited at all, before anything is minted for it.
///
/// # Errors
///
/// If it cannot.
pub fn check_editable(input: &[u8]) -> Result<(), EditError> {
    let (_, text) = prepare(input)?;
    if new_file(text).is_none() {
        check::read(text)?;
    }
    check_editable_once_read(input)
}

/// The same for a file of which everything was read before, by the library that reads it when it is edited.
///
/// # Errors
///
/// If it cannot be edited.
pub(crate) fn check_editable_once_read(input: &[u8]) -> Result<(), EditError> {
    let (_, text) = prepare(input)?;
    if new_file(text).is_some() {
        return Ok(());
    }
    let index = index::index(text)?;
    splice::refuse_unsafe(&index)?;
    splice::refuse_unfillable_lists(text, &index)?;
    // It is not known yet whether an edit will insert text after the scalar.
    if index.open_block_scalar && !text.ends_with('\n') { Err(splice::open_end()) } else { Ok(()) }
}

fn refused(reason: impl Into<String>) -> EditError {
    EditError::Refused(reason.into())
}

/// Splits off a byte order mark, and refuses text that kubectl's parser would read differently.
fn prepare(input: &[u8]) -> Result<(&str, &str), EditError> {
    let text = std::str::from_utf8(input).map_err(|_| refused("it is not UTF-8"))?;
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if body.contains('\0') || body.contains('\u{feff}') {
        return Err(refused("it contains a NUL or a byte order mark in the middle"));
    }
    // YAML 1.1, which kubectl reads, takes these characters for line ends, and YAML 1.2 does not, so the two would read
    // different content.
    if body.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(refused("it contains U+0085, U+2028 or U+2029, which kubectl takes as line ends"));
    }
    let bytes = body.as_bytes();
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
        return Err(refused("it contains a carriage return without a line feed"));
    }
    Ok((&text[..text.len() - body.len()], body))
}

#[cfg(test)]
mod tests;
