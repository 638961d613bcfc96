//! Computes the edits that bring the entries of several kubeconfigs into one file, so that every context keeps its own
//! cluster and user.
//!
//! A context always comes with the cluster and user of its own file, never with entries of the same name from another:
//! that would send one cluster's credential to another. Entries with the same name and content do not collide. Pure: no
//! I/O, no clock. Start with [`combine`].

mod findings;
mod input;
mod paths;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use serde_json::Value;

use self::findings::outdated;
pub use self::findings::{Finding, ReadPart};
use self::input::Unit;
pub use self::input::{Input, InputError};
use super::digest::Digest;
use super::edit::{Edit, List};
use crate::at_once::at_once;
use crate::failure::holds_secret;
use crate::template::Template;

/// The variables of a template of context names.
const CONTEXT_VARIABLES: [&str; 5] = ["context", "cluster", "user", "namespace", "file"];
/// A thread for fewer inputs is not worth its start.
const FEWEST: usize = 64;
/// The variables of a prefix.
const PREFIX_VARIABLES: [&str; 1] = ["file"];

/// Parses a template of context names.
///
/// # Errors
///
/// If it is not valid; the error says why.
pub fn context_template(text: &str) -> Result<NameTemplate, String> {
    template(text, &CONTEXT_VARIABLES)
}

/// Parses a prefix of names.
///
/// # Errors
///
/// If it is not valid; the error says why.
pub fn prefix_template(text: &str) -> Result<NameTemplate, String> {
    template(text, &PREFIX_VARIABLES)
}

fn template(text: &str, variables: &[&'static str]) -> Result<NameTemplate, String> {
    let known: Vec<String> = variables.iter().map(|variable| format!("`{{{variable}}}`")).collect();
    let parsed = Template::parse(text, variables).map(NameTemplate);
    parsed.map_err(|error| format!("{}; known variables: {}", error.kind, known.join(", ")))
}

/// A template of names.
#[derive(Debug, Clone)]
pub struct NameTemplate(Template);

/// What happens to an entry whose name another entry with other content has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCollision {
    /// Nothing is written.
    Error,
    /// The later one's name gets the name of its file as a prefix.
    PrefixFile,
    /// The later one's context is left out.
    KeepFirst,
    /// It replaces the entry that the file had before. Two inputs still collide.
    Replace,
}

/// How kubeconfigs are combined.
#[derive(Debug, Clone)]
pub struct CombineOptions {
    /// Only contexts that match one of these; all if there is none.
    pub select: Vec<glob::Pattern>,
    /// The template of context names; clusters and users are then named after their context.
    pub context: Option<NameTemplate>,
    /// The beginning of every name.
    pub prefix: Option<NameTemplate>,
    /// What happens where names collide.
    pub on_collision: OnCollision,
    /// Whether entries are removed that no input has.
    pub prune: bool,
    /// The directory of the file that is written; paths below it become relative.
    pub directory: Option<PathBuf>,
}

impl CombineOptions {
    /// Returns options that combine everything under its own names.
    pub fn new(on_collision: OnCollision) -> Self {
        Self { select: vec![], context: None, prefix: None, on_collision, prune: false, directory: None }
    }
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Come,
    /// Its content differs from before.
    Change,
    /// It is removed.
    Go,
}

/// One entry that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens to it.
    pub kind: ChangeKind,
    /// The list that it is in.
    pub list: List,
    /// Its name.
    pub name: String,
    /// The input that it comes from.
    pub from: Option<String>,
    /// The fields of the old entry that the new one lacks.
    pub dropped: Vec<String>,
    /// The fields whose values differ.
    pub changed: Vec<String>,
}

/// Two entries with the same name and different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The list.
    pub list: List,
    /// The name.
    pub name: String,
    /// The input that had it first; nothing for the file that is written.
    pub first: Option<String>,
    /// The input that has it too.
    pub second: String,
}

/// The result of a combination.
#[derive(Debug, Default)]
pub struct Combined {
    /// The edits; they hold secrets.
    pub edits: Vec<Edit>,
    /// What they change, in their order.
    pub changes: Vec<Change>,
    /// The number of entries that are there already.
    pub unchanged: usize,
    /// The collisions; if there are any, nothing is written.
    pub collisions: Vec<Collision>,
    /// The findings, by input.
    pub findings: Vec<Finding>,
}

/// Combines kubeconfigs into one that may have entries already.
///
/// `before` is the existing file. `now` and `read` are for finding expired credentials; `read` reads the files that
/// entries name.
pub fn combine(
    inputs: &[Input],
    before: Option<&Input>,
    options: &CombineOptions,
    now: jiff::Timestamp,
    read: ReadPart<'_>,
) -> Combined {
    let mut combining = Combining {
        inputs,
        options,
        taken: HashMap::new(),
        order: vec![],
        current: None,
        combined: Combined::default(),
    };
    if let Some(before) = before {
        combining.keep(before);
    }
    // What has expired depends on nothing else, and takes as long as the rest.
    let outdated = || inputs.iter().map(|input| outdated(input, options, now, read)).collect::<Vec<Vec<Finding>>>();
    let mut add = || {
        let said = |position| {
            combining.add(position);
            std::mem::take(&mut combining.combined.findings)
        };
        (0..inputs.len()).map(said).collect::<Vec<Vec<Finding>>>()
    };
    let (outdated, said) = if inputs.len() < FEWEST { (outdated(), add()) } else { at_once(outdated, add) };
    combining.combined.findings =
        said.into_iter().zip(outdated).flat_map(|(said, outdated)| said.into_iter().chain(outdated)).collect();
    combining.finish(before)
}

/// An entry that a name is given to.
struct Taken {
    digest: Digest,
    /// The input; nothing for an entry of the existing file.
    from: Option<usize>,
    /// The entry of that name in the existing file.
    before: Option<Digest>,
    entry: Option<Value>,
}

struct Combining<'a> {
    inputs: &'a [Input],
    options: &'a CombineOptions,
    taken: HashMap<(List, String), Taken>,
    /// The names of the inputs' entries, in their order.
    order: Vec<(List, String)>,
    /// The first current context that was taken.
    current: Option<String>,
    combined: Combined,
}

/// A name that an entry cannot get, and the input that has it; nothing for the existing file.
struct Occupied {
    list: List,
    name: String,
    first: Option<usize>,
}

impl<'a> Combining<'a> {
    fn keep(&mut self, before: &Input) {
        for (list, name, entry) in before.entries() {
            let digest = Digest::of(entry);
            let taken = Taken { digest, from: None, before: Some(digest), entry: None };
            self.taken.insert((list, name.to_owned()), taken);
        }
    }

    fn add(&mut self, position: usize) {
        let input: &'a Input = &self.inputs[position];
        let first = self.combined.findings.len();
        let left_out = input.units(self.options, &mut |unit| {
            let original = unit.original.clone();
            match self.take(position, unit) {
                Ok(name) if self.current.is_none() && original.is_some() && original == input.current_context => {
                    self.current = name;
                }
                Ok(_) => {}
                Err(Occupied { list, name, first }) => {
                    let first = first.map(|first| self.inputs[first].name.clone());
                    self.combined.collisions.push(Collision { list, name, first, second: input.name.clone() });
                }
            }
        });
        // What the input itself leaves out is reported before its collisions.
        self.combined.findings.splice(first..first, left_out);
    }

    /// Adds the entries of one context, all or none; returns the name of the context.
    fn take(&mut self, position: usize, unit: Unit) -> Result<Option<String>, Occupied> {
        let Unit { mut context, mut cluster, mut user, .. } = unit;
        let input = &self.inputs[position];
        for (list, key, entry) in [(List::Clusters, "cluster", &mut cluster), (List::Users, "user", &mut user)] {
            let Some(entry) = entry else { continue };
            self.settle(input, list, entry)?;
            if let Some(context) = &mut context {
                context["context"][key] = entry["name"].clone();
            }
        }
        if let Some(context) = &mut context {
            self.settle(input, List::Contexts, context)?;
        }
        let name = context.as_ref().map(|context| input::name_of(context).to_owned());
        let lists = [(List::Clusters, cluster), (List::Users, user), (List::Contexts, context)];
        let wanted = lists.into_iter().filter_map(|(list, entry)| {
            let entry = entry?;
            Some((list, Digest::of(&entry), entry))
        });
        let wanted: Vec<(List, Digest, Value)> = wanted.collect();
        match wanted.iter().find_map(|(list, digest, entry)| self.occupied(*list, *digest, entry)) {
            None => {
                for (list, digest, entry) in wanted {
                    self.put(position, list, digest, entry);
                }
                Ok(name)
            }
            Some(occupied) if self.options.on_collision == OnCollision::KeepFirst => {
                let what = wanted.last().map(|(list, _, entry)| (*list, input::name_of(entry)));
                let (list, left_out) = what.expect("what collides is there");
                let finding = Finding::kept_first(&input.name, (list, left_out), (occupied.list, &occupied.name));
                self.combined.findings.push(finding);
                Ok(None)
            }
            Some(occupied) => Err(occupied),
        }
    }

    /// Settles the name of an entry: its own, or with the file's name as a prefix if the options say so.
    fn settle(&self, input: &Input, list: List, entry: &mut Value) -> Result<(), Occupied> {
        let occupied = |entry: &Value| self.occupied(list, Digest::of(entry), entry);
        if self.options.on_collision != OnCollision::PrefixFile || occupied(entry).is_none() {
            return Ok(());
        }
        entry["name"] = format!("{}-{}", input.stem, input::name_of(entry)).into();
        occupied(entry).map_or(Ok(()), Err)
    }

    /// Returns the entry that has the same name and other content.
    fn occupied(&self, list: List, digest: Digest, entry: &Value) -> Option<Occupied> {
        let name = input::name_of(entry);
        let taken = self.taken.get(&(list, name.to_owned()))?;
        let may_replace = self.options.on_collision == OnCollision::Replace && taken.from.is_none();
        (taken.digest != digest && !may_replace).then(|| Occupied { list, name: name.to_owned(), first: taken.from })
    }

    fn put(&mut self, position: usize, list: List, digest: Digest, entry: Value) {
        let key = (list, input::name_of(&entry).to_owned());
        let before = match self.taken.get(&key) {
            // An earlier context has added it already.
            Some(taken) if taken.from.is_some() => return,
            Some(taken) => taken.before,
            None => None,
        };
        self.order.push(key.clone());
        self.taken.insert(key, Taken { digest, from: Some(position), before, entry: Some(entry) });
    }

    fn finish(mut self, before: Option<&Input>) -> Combined {
        let mut combined = self.combined;
        let old: HashMap<(List, &str), &Value> = before.map(Input::named).into_iter().flatten().collect();
        for (list, name) in self.order {
            let taken = self.taken.remove(&(list, name.clone())).expect("what is in the order was taken");
            if taken.before == Some(taken.digest) {
                combined.unchanged += 1;
                continue;
            }
            let kind = if taken.before.is_some() { ChangeKind::Change } else { ChangeKind::Come };
            let from = taken.from.map(|position| self.inputs[position].name.clone());
            let old = old.get(&(list, name.as_str()));
            let (dropped, changed) = match (old, &taken.entry) {
                (Some(old), Some(new)) => replaced(list, old, new),
                _ => (vec![], vec![]),
            };
            combined.changes.push(Change { kind, list, name, from, dropped, changed });
            combined.edits.extend(taken.entry.map(|entry| Edit::Upsert { list, entry }));
        }
        // The rest is in the existing file, and in no input.
        let rest: BTreeSet<(List, String)> = self.taken.into_keys().collect();
        let had = before.and_then(|before| before.current_context.as_deref());
        if self.options.prune {
            for (list, name) in &rest {
                combined.edits.push(Edit::Remove { list: *list, name: name.clone() });
                let (kind, list, name) = (ChangeKind::Go, *list, name.clone());
                let change = Change { kind, list, name, from: None, dropped: vec![], changed: vec![] };
                combined.changes.push(change);
            }
        } else {
            combined.unchanged += rest.len();
        }
        let goes = |name: &str| self.options.prune && rest.contains(&(List::Contexts, name.to_owned()));
        match (had, self.current) {
            (Some(had), current) if goes(had) => {
                combined.edits.push(Edit::CurrentContext(current.unwrap_or_default()));
            }
            (None, Some(current)) => combined.edits.push(Edit::CurrentContext(current)),
            _ => {}
        }
        combined
    }
}

/// Returns the fields of an entry that the new one lacks, and those whose values differ.
fn replaced(list: List, old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
    let fields = |entry: &Value| entry[list.singular()].as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    // A field's name may be a secret too.
    let shown = |key: &String| if holds_secret(key) { "(not shown)".to_owned() } else { key.clone() };
    let dropped = old.keys().filter(|key| !new.contains_key(*key)).map(shown).collect();
    let differs = |key: &&String| old.get(*key).is_none_or(|value| *value != new[*key]);
    let changed = new.keys().filter(differs).map(shown).collect();
    (dropped, changed)
}

#[cfg(test)]
mod tests;
