//! One kubeconfig that is combined with others: its entries unchanged, unknown fields included.
//!
//! Pure: no I/O, no clock.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::paths::rebase;
use super::{CombineOptions, Finding};
use crate::kubeconfig::edit::List;
use crate::kubeconfig::{refusal, refuse_other_kinds, yaml_options};

/// A kubeconfig that was read. It holds secrets.
#[derive(Clone)]
pub struct Input {
    /// Its name in messages.
    pub name: String,
    /// The value of `{file}` in templates.
    pub stem: String,
    /// The directory that its relative paths start at.
    pub directory: PathBuf,
    /// Its current context, if it has one.
    pub current_context: Option<String>,
    lists: [Vec<Value>; 3],
}

/// Why a file cannot be combined. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is no YAML, or not of the form of a kubeconfig.
    #[error("it is not a kubeconfig: {0}")]
    Malformed(String),
    /// Two entries have the same name, which kubectl refuses as well.
    #[error("`{list}` has two entries `{name}`")]
    Duplicate {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
    },
}

/// Entries that belong together: a context with its cluster and user, or one entry alone.
pub(super) struct Unit {
    /// The context's name in the input.
    pub(super) original: Option<String>,
    pub(super) context: Option<Value>,
    pub(super) cluster: Option<Value>,
    pub(super) user: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Root {
    kind: Option<String>,
    clusters: Option<Vec<Value>>,
    users: Option<Vec<Value>>,
    contexts: Option<Vec<Value>>,
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    preferences: Option<IgnoredAny>,
}

impl Root {
    fn has_keys(&self) -> bool {
        let lists = [&self.clusters, &self.users, &self.contexts];
        lists.iter().any(|list| list.is_some()) || self.current_context.is_some() || self.preferences.is_some()
    }
}

/// Returns the name of an entry.
pub(super) fn name_of(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

fn at(list: List) -> usize {
    match list {
        List::Clusters => 0,
        List::Users => 1,
        List::Contexts => 2,
    }
}

impl Input {
    /// Returns its entries by list and name.
    pub(super) fn named(&self) -> impl Iterator<Item = ((List, &str), &Value)> {
        let lists = List::ALL.into_iter().map(|list| (list, &self.lists[at(list)]));
        lists.flat_map(|(list, entries)| entries.iter().map(move |entry| ((list, name_of(entry)), entry)))
    }

    /// Reads a kubeconfig; `path` tells the directory of its relative paths, and the value of `{file}`.
    ///
    /// # Errors
    ///
    /// If it is no kubeconfig, or kubectl would refuse it.
    pub fn parse(name: impl Into<String>, path: &Path, bytes: &[u8]) -> Result<Self, InputError> {
        let text = std::str::from_utf8(bytes).map_err(|_| InputError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // kubectl reads the first document only.
        let options = yaml_options(text.len());
        let documents: Vec<Option<Root>> = serde_saphyr::from_multiple_with_options(text, options.clone())
            .map_err(|error| InputError::Malformed(refusal::<Option<Root>>(text, options, &error).text))?;
        let root = documents.into_iter().next().flatten();
        if let Some(root) = &root {
            refuse_other_kinds(root.kind.as_deref(), root.has_keys()).map_err(InputError::Malformed)?;
        }
        let root = root.unwrap_or_default();
        let lists = [root.clusters, root.users, root.contexts].map(Option::unwrap_or_default);
        let input = Self {
            name: name.into(),
            stem: path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            current_context: root.current_context.filter(|name| !name.is_empty()),
            lists,
        };
        input.check()?;
        Ok(input)
    }

    fn check(&self) -> Result<(), InputError> {
        for list in List::ALL {
            let mut names = HashSet::new();
            for entry in &self.lists[at(list)] {
                let is_usable = entry["name"].is_string()
                    && (entry[list.singular()].is_object() || entry[list.singular()].is_null());
                if !is_usable {
                    return Err(InputError::Malformed(format!(
                        "an entry of `{}` has no name or no content",
                        list.key()
                    )));
                }
                if !names.insert(name_of(entry)) {
                    return Err(InputError::Duplicate { list: list.key(), name: name_of(entry).to_owned() });
                }
            }
        }
        Ok(())
    }

    /// Returns whether a context matches one of some patterns.
    pub fn has_context_like(&self, patterns: &[glob::Pattern]) -> bool {
        self.lists[at(List::Contexts)]
            .iter()
            .any(|entry| patterns.iter().any(|pattern| pattern.matches(name_of(entry))))
    }

    /// Returns every entry with its list and its name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (List, &str, &Value)> {
        let entries = |list: List| self.lists[at(list)].iter().map(move |entry| (list, name_of(entry), entry));
        List::ALL.into_iter().flat_map(entries)
    }

    /// Hands out the selected entries, under the names that the options give; returns what was left out.
    ///
    /// They are handed out one by one, because thousands of contexts may share one cluster or user.
    pub(super) fn units(&self, options: &CombineOptions, each: &mut dyn FnMut(Unit)) -> Vec<Finding> {
        let by_name = |list: List| -> HashMap<&str, &Value> {
            self.lists[at(list)].iter().map(|entry| (name_of(entry), entry)).collect()
        };
        let (clusters, users) = (by_name(List::Clusters), by_name(List::Users));
        let (mut used_clusters, mut used_users) = (HashSet::new(), HashSet::new());
        let mut findings = vec![];
        for context in &self.lists[at(List::Contexts)] {
            let name = name_of(context);
            let reference = |key: &str| context["context"][key].as_str().unwrap_or_default();
            let (cluster_name, user_name) = (reference("cluster"), reference("user"));
            used_clusters.insert(cluster_name);
            used_users.insert(user_name);
            if !options.select.is_empty() && !options.select.iter().any(|pattern| pattern.matches(name)) {
                continue;
            }
            let missing = match (clusters.get(cluster_name), users.get(user_name)) {
                (Some(cluster), Some(user)) => {
                    each(self.unit(context, cluster, user, options));
                    continue;
                }
                (None, _) => ("cluster", cluster_name),
                (_, None) => ("user", user_name),
            };
            findings.push(Finding::dangling(&self.name, name, missing));
        }
        // Entries that no context refers to are included too, unless contexts were asked for.
        if options.select.is_empty() && options.context.is_none() {
            let lone = |list: List, used: &HashSet<&str>, each: &mut dyn FnMut(Value)| {
                for entry in self.lists[at(list)].iter().filter(|entry| !used.contains(name_of(entry))) {
                    each(self.renamed(list, entry, &self.prefixed(name_of(entry), options), options));
                }
            };
            let none = || Unit { original: None, context: None, cluster: None, user: None };
            let mut cluster = |cluster| each(Unit { cluster: Some(cluster), ..none() });
            lone(List::Clusters, &used_clusters, &mut cluster);
            lone(List::Users, &used_users, &mut |user| each(Unit { user: Some(user), ..none() }));
        }
        findings
    }

    fn unit(&self, context: &Value, cluster: &Value, user: &Value, options: &CombineOptions) -> Unit {
        let names = match &options.context {
            Some(template) => {
                let value = |variable: &str| match variable {
                    "context" => name_of(context),
                    "cluster" => name_of(cluster),
                    "user" => name_of(user),
                    "namespace" => context["context"]["namespace"].as_str().unwrap_or("default"),
                    "file" => self.stem.as_str(),
                    other => unreachable!("`{other}` is no variable"),
                };
                let name = template.0.expand(value);
                // All three get the new name, so that clusters and users with equal old names do not collide.
                [name.clone(), name.clone(), name]
            }
            None => [context, cluster, user].map(|entry| name_of(entry).to_owned()),
        };
        let [context_name, cluster_name, user_name] = names.map(|name| self.prefixed(&name, options));
        let mut renamed = self.renamed(List::Contexts, context, &context_name, options);
        renamed["context"]["cluster"] = cluster_name.as_str().into();
        renamed["context"]["user"] = user_name.as_str().into();
        Unit {
            original: Some(name_of(context).to_owned()),
            context: Some(renamed),
            cluster: Some(self.renamed(List::Clusters, cluster, &cluster_name, options)),
            user: Some(self.renamed(List::Users, user, &user_name, options)),
        }
    }

    fn prefixed(&self, name: &str, options: &CombineOptions) -> String {
        let prefix = options.prefix.as_ref().map(|prefix| prefix.0.expand(|_| self.stem.as_str()));
        format!("{}{name}", prefix.unwrap_or_default())
    }

    /// Returns an entry under another name, with its relative paths rewritten for the file that it goes to.
    fn renamed(&self, list: List, entry: &Value, name: &str, options: &CombineOptions) -> Value {
        let mut entry = entry.clone();
        entry["name"] = name.into();
        let body = &mut entry[list.singular()];
        if body.is_null() {
            *body = Value::Object(Map::new());
        }
        rebase(list, body, &self.directory, options.directory.as_deref());
        entry
    }
}
