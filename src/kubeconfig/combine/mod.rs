//! Which edits bring the entries of any kubeconfigs into one file, without any of them changing whom
//! it means.
//!
//! A context comes with its own file's cluster and user, never with another's of the same name: that
//! would send one cluster's credential to another. Same name and same content is no collision. Pure:
//! no I/O, no clock. Start with [`combine`].

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
use crate::failure::holds_secret;
use crate::template::Template;

/// What a template of context names knows.
const CONTEXT_VARIABLES: [&str; 5] = ["context", "cluster", "user", "namespace", "file"];
/// What a prefix knows.
const PREFIX_VARIABLES: [&str; 1] = ["file"];

/// Parses a template of context names.
///
/// # Errors
///
/// What is wrong with it.
pub fn context_template(text: &str) -> Result<NameTemplate, String> {
    template(text, &CONTEXT_VARIABLES)
}

/// Parses a prefix of names.
///
/// # Errors
///
/// What is wrong with it.
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

/// What happens to an entry whose name another one has that says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCollision {
    /// Nothing is written.
    Error,
    /// The later one's name gets the name of its file as a prefix.
    PrefixFile,
    /// The later one's context is left out.
    KeepFirst,
    /// It replaces the one that the file had before; two inputs still collide.
    Replace,
}

/// How kubeconfigs are combined.
#[derive(Debug, Clone)]
pub struct CombineOptions {
    /// Only contexts that match one of these; all if there is none.
    pub select: Vec<glob::Pattern>,
    /// The template of context names; clusters and users are then named after their context.
    pub context: Option<NameTemplate>,
    /// What every name begins with.
    pub prefix: Option<NameTemplate>,
    /// What happens where names collide.
    pub on_collision: OnCollision,
    /// Whether entries go that no input has.
    pub prune: bool,
    /// The directory of the file that is written; paths below it become relative.
    pub directory: Option<PathBuf>,
}

impl CombineOptions {
    /// Returns how everything is combined under its own names.
    pub fn new(on_collision: OnCollision) -> Self {
        Self { select: vec![], context: None, prefix: None, on_collision, prune: false, directory: None }
    }
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Come,
    /// It says something else than before.
    Change,
    /// It is removed.
    Go,
}

/// One entry that is not as it was.
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
    /// The fields of the entry that was there and that are not in the new one.
    pub dropped: Vec<String>,
    /// The fields that say something else.
    pub changed: Vec<String>,
}

/// Two entries of one name that say different things.
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

/// What a combination comes to.
#[derive(Debug, Default)]
pub struct Combined {
    /// The edits; they hold secrets.
    pub edits: Vec<Edit>,
    /// What they change, in their order.
    pub changes: Vec<Change>,
    /// Entries that are there already.
    pub unchanged: usize,
    /// What keeps anything from being written.
    pub collisions: Vec<Collision>,
    /// What was noticed, by input.
    pub findings: Vec<Finding>,
}

/// Combines kubeconfigs into one that may have entries already.
///
/// `before` is what the file has; `now` and `read` tell which credentials have expired, the latter by
/// reading the files that entries name.
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
    for (position, input) in inputs.iter().enumerate() {
        combining.add(position);
        combining.combined.findings.extend(outdated(input, options, now, read));
    }
    combining.finish(before)
}

/// An entry that has its place.
struct Taken {
    digest: Digest,
    /// The input; nothing for what was there before.
    from: Option<usize>,
    /// What was there before under the name.
    before: Option<Digest>,
    entry: Option<Value>,
}

struct Combining<'a> {
    inputs: &'a [Input],
    options: &'a CombineOptions,
    taken: HashMap<(List, String), Taken>,
    /// The names that inputs have, as they came.
    order: Vec<(List, String)>,
    /// The first current context that was taken.
    current: Option<String>,
    combined: Combined,
}

/// A name that an entry does not get, and the input that has it; nothing for what was there before.
struct Occupied {
    list: List,
    name: String,
    first: Option<usize>,
}

impl<'a> Combining<'a> {
    fn keep(&mut self, before: &Input) {
        for (list, name, entry) in before.entries() {
            let digest = Digest::of(entry.clone());
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
        // What could not be taken at all is said before what met others.
        self.combined.findings.splice(first..first, left_out);
    }

    /// Gives the entries of one context their places, all or none; returns the name of the context.
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
        let wanted: Vec<(List, Value)> = lists.into_iter().filter_map(|(list, entry)| Some((list, entry?))).collect();
        match wanted.iter().find_map(|(list, entry)| self.occupied(*list, entry)) {
            None => {
                for (list, entry) in wanted {
                    self.put(position, list, entry);
                }
                Ok(name)
            }
            Some(occupied) if self.options.on_collision == OnCollision::KeepFirst => {
                let what = wanted.last().map(|(list, entry)| (*list, input::name_of(entry)));
                let (list, left_out) = what.expect("what collides is there");
                let finding = Finding::kept_first(&input.name, (list, left_out), (occupied.list, &occupied.name));
                self.combined.findings.push(finding);
                Ok(None)
            }
            Some(occupied) => Err(occupied),
        }
    }

    /// Finds the name of an entry: its own, or with the file's name before it if that is the way.
    fn settle(&self, input: &Input, list: List, entry: &mut Value) -> Result<(), Occupied> {
        if self.options.on_collision != OnCollision::PrefixFile || self.occupied(list, entry).is_none() {
            return Ok(());
        }
        entry["name"] = format!("{}-{}", input.stem, input::name_of(entry)).into();
        self.occupied(list, entry).map_or(Ok(()), Err)
    }

    /// Returns who has the name of an entry and says something else.
    fn occupied(&self, list: List, entry: &Value) -> Option<Occupied> {
        let name = input::name_of(entry);
        let taken = self.taken.get(&(list, name.to_owned()))?;
        let may_replace = self.options.on_collision == OnCollision::Replace && taken.from.is_none();
        let differs = taken.digest != Digest::of(entry.clone());
        (differs && !may_replace).then(|| Occupied { list, name: name.to_owned(), first: taken.from })
    }

    fn put(&mut self, position: usize, list: List, entry: Value) {
        let key = (list, input::name_of(&entry).to_owned());
        let before = match self.taken.get(&key) {
            // Another context brought it.
            Some(taken) if taken.from.is_some() => return,
            Some(taken) => taken.before,
            None => None,
        };
        let digest = Digest::of(entry.clone());
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
        // What is left was there before, and no input has it.
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

/// Returns the fields of an entry that a new one lacks, and those in which they differ.
fn replaced(list: List, old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
    let fields = |entry: &Value| entry[list.singular()].as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    // A name may be anybody's text as well.
    let shown = |key: &String| if holds_secret(key) { "(not shown)".to_owned() } else { key.clone() };
    let dropped = old.keys().filter(|key| !new.contains_key(*key)).map(shown).collect();
    let differs =
        |key: &&String| old.get(*key).is_none_or(|value| Digest::of(value.clone()) != Digest::of(new[*key].clone()));
    let changed = new.keys().filter(differs).map(shown).collect();
    (dropped, changed)
}

#[cfg(test)]
mod tests;
