//! Which output file holds which entries, under which names.
//!
//! Outputs whose templates give the same path share a file. Two grants that give the same name in one file are a
//! [`Collision`], which is found before any request. Pure: no I/O, no clock. Start with [`Layout::compute`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CredentialForm, FileForm, HubName, Output, OutputId, SecretTarget};
use crate::names::{GrantKey, Holder, InventoryName, token_directory_name, token_file_name};
use crate::paths::normalise;
use crate::template::Template;

/// The ending of the name of a file's lock.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// The beginning of the names of temporary files.
pub(crate) const OWN_PREFIX: &str = ".kubemint-";

/// The default template of context names, which cannot collide.
pub(crate) const DEFAULT_CONTEXT: &str = "{profile}@{cluster}";

/// The variables in templates of outputs.
pub(crate) const VARIABLES: [&str; 4] = ["cluster", "profile", "inventory", "holder"];

/// All output files, in the order in which the outputs and grants name them first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// The files.
    pub files: Vec<OutputFile>,
    /// The outputs whose `current-context` is in none of their files.
    pub dangling: Vec<OutputId>,
    /// Glob patterns of all files that outputs may have written, also for clusters and profiles that are gone.
    pub patterns: Vec<String>,
    /// The Secrets, in the order of the outputs and their grants.
    pub(crate) secrets: Vec<SecretTarget>,
    /// The namespaces of hubs that Secrets may have been written to, also for clusters and profiles that are gone.
    pub(crate) secret_namespaces: BTreeSet<(HubName, String)>,
}

/// One output file.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputFile {
    /// The absolute path, without `.` and `..`.
    pub path: PathBuf,
    /// The entries, in the order of the outputs and their grants.
    pub entries: Vec<OutputEntry>,
    /// The grant whose token is all that the file holds, if it is no kubeconfig.
    pub token_of: Option<GrantKey>,
    /// The context that an output names as current, if this file has it.
    ///
    /// Without one, the only context of a file becomes current when it is written.
    pub current_context: Option<String>,
    /// The outputs that this file comes from.
    pub outputs: Vec<OutputId>,
}

/// The entries of one grant in one file: a context, a cluster and a user.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputEntry {
    /// The grant.
    pub grant: GrantKey,
    /// The name of the context.
    pub context: String,
    /// The name of the cluster entry.
    pub cluster: String,
    /// The name of the user entry.
    pub user: String,
    /// Whether other profiles or holders use the cluster entry too.
    pub shares_cluster: bool,
    /// The namespace of the context.
    pub namespace: Option<String>,
    /// The output, which decides how the user entry gives its credential.
    pub output: Arc<Output>,
}

impl OutputFile {
    /// Returns the paths of its token files.
    pub fn token_files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let directory = self.token_directory();
        let with_token_files = self.entries.iter().filter(|entry| entry.has_token_file());
        with_token_files.filter_map(move |entry| {
            let GrantKey { cluster, profile } = &entry.grant;
            Some(directory.as_ref()?.join(token_file_name(profile, cluster)))
        })
    }

    /// Returns the lock, which exists while this file is written; kubectl uses the same one.
    pub fn lock(&self) -> PathBuf {
        let mut lock = self.path.as_os_str().to_owned();
        lock.push(LOCK_SUFFIX);
        PathBuf::from(lock)
    }

    /// Returns the directory of its token files, if it has any.
    pub fn token_directory(&self) -> Option<PathBuf> {
        self.entries.iter().any(OutputEntry::has_token_file).then(|| {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            self.path.with_file_name(token_directory_name(&name))
        })
    }
}

impl OutputEntry {
    fn has_token_file(&self) -> bool {
        self.output.credential == CredentialForm::TokenFile
    }

    /// Returns whether two entries have the same content, even if they come from different outputs.
    fn says_the_same(&self, other: &Self) -> bool {
        let said = |entry: &Self| {
            let Self { grant, context, cluster, user, namespace, output: _, shares_cluster: _ } = entry.clone();
            (grant, context, cluster, user, namespace)
        };
        said(self) == said(other) && self.gives_the_same(other)
    }

    /// Returns whether the user entries of two entries give their credential in the same way.
    fn gives_the_same(&self, other: &Self) -> bool {
        let form = |entry: &Self| {
            let output = &entry.output;
            (output.credential, output.command.clone(), output.credential_directory.clone())
        };
        self.output.id == other.output.id || form(self) == form(other)
    }
}

/// Two names or files that exclude each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Collision {
    /// What collides.
    pub kind: CollisionKind,
    /// The file.
    pub path: PathBuf,
    /// The name that occurs twice.
    pub name: String,
    /// Where it occurs first.
    pub first: Origin,
    /// Where it occurs again.
    pub second: Origin,
}

/// What collides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CollisionKind {
    /// The name of a context.
    Context,
    /// The name of a cluster entry.
    Cluster,
    /// The name of a user entry.
    User,
    /// Two contexts that would both be current.
    CurrentContext,
    /// A file where another file's directory must be.
    Directory,
    /// A file where the lock of another must be.
    Lock,
    /// A file inside another file's directory of token files.
    TokenFiles,
    /// A file that holds one token and nothing else.
    Token,
}

/// The grant and output that an entry comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    /// The grant.
    pub grant: GrantKey,
    /// The output.
    pub output: Arc<Output>,
}

impl Layout {
    /// Computes the files of the outputs of an inventory.
    ///
    /// # Errors
    ///
    /// If names collide; every collision is returned.
    ///
    /// # Panics
    ///
    /// If a template of an output is not valid, which resolving an inventory excludes.
    pub(crate) fn compute(
        outputs: &[Arc<Output>],
        inventory: &InventoryName,
        holder: &Holder,
    ) -> Result<Self, Vec<Collision>> {
        let mut files: Vec<Building> = vec![];
        let mut by_path: HashMap<PathBuf, usize> = HashMap::new();
        let (mut collisions, mut patterns) = (vec![], vec![]);
        for output in outputs {
            let templates = Templates::parse(output);
            // Whose the token in a file is says the token, but not of which cluster.
            if output.form == FileForm::Kubeconfig {
                patterns.push(templates.pattern());
            }
            for grant in &output.grants {
                let origin = Origin { grant: grant.clone(), output: Arc::clone(output) };
                let values = values(inventory, holder, grant);
                let path = normalise(Path::new(&templates.path.expand(&values)));
                let file = *by_path.entry(path).or_insert_with_key(|path| {
                    files.push(Building::new(path.clone()));
                    files.len() - 1
                });
                if output.form == FileForm::TokenFile {
                    collisions.extend(files[file].hold_token(grant, origin));
                    continue;
                }
                if let Some(current) = &templates.current_context {
                    files[file].wanted.push((current.expand(&values), origin.clone()));
                }
                let context = templates.context.expand(&values);
                let named = |template: &Option<Template>| {
                    template.as_ref().map_or_else(|| context.clone(), |template| template.expand(&values))
                };
                let entry = OutputEntry {
                    grant: grant.clone(),
                    cluster: named(&templates.cluster),
                    user: named(&templates.user),
                    namespace: output.namespace.clone(),
                    output: Arc::clone(output),
                    shares_cluster: false,
                    context,
                };
                collisions.extend(files[file].add(entry, origin));
            }
        }
        collisions.extend(blocked_directories(&files, &by_path));
        collisions.extend(taken_places(&files, &by_path));
        let mut effective: HashSet<OutputId> = HashSet::new();
        for file in &mut files {
            file.share_clusters();
            collisions.extend(file.choose_current(&mut effective));
        }
        if !collisions.is_empty() {
            return Err(collisions);
        }
        let wants = |output: &Output| output.current_context.is_some() && !output.grants.is_empty();
        let dangling = outputs.iter().filter(|output| wants(output) && !effective.contains(&output.id));
        Ok(Self {
            dangling: dangling.map(|output| output.id).collect(),
            files: built(files),
            patterns,
            ..Self::default()
        })
    }
}

/// Returns the files without what only building them needed. They stay until the end of a run, so no room is left over.
fn built(files: Vec<Building>) -> Vec<OutputFile> {
    let file = |building: Building| {
        let mut file = building.file;
        file.entries.shrink_to_fit();
        file.outputs.shrink_to_fit();
        file
    };
    let mut files: Vec<OutputFile> = files.into_iter().map(file).collect();
    files.shrink_to_fit();
    files
}

impl Collision {
    /// Describes the collision.
    pub(crate) fn describe(&self) -> String {
        let (name, path) = (&self.name, self.path.display());
        let what = match self.kind {
            CollisionKind::Context => format!("context `{name}`"),
            CollisionKind::Cluster => format!("cluster entry `{name}`"),
            CollisionKind::User => format!("user `{name}`"),
            CollisionKind::CurrentContext => {
                return format!("more than one context would be current in `{path}`: {name}");
            }
            CollisionKind::Directory => {
                return format!("`{path}` would be a file and a directory, because of `{name}`");
            }
            CollisionKind::Lock => return format!("`{path}` is where the lock of `{name}` must be"),
            CollisionKind::TokenFiles => return format!("`{path}` is among the token files of `{name}`"),
            CollisionKind::Token => "a token that stands alone".to_owned(),
        };
        let (first, second) = (&self.first.grant, &self.second.grant);
        let GrantKey { profile, cluster } = first;
        let GrantKey { profile: other_profile, cluster: other_cluster } = second;
        let who = match (profile == other_profile, cluster == other_cluster) {
            (true, true) => {
                return format!(
                    "profile `{profile}` on cluster `{cluster}` produces {what} twice in `{path}`, with different entries"
                );
            }
            (true, false) => format!("clusters `{cluster}` and `{other_cluster}`"),
            (false, true) => {
                format!("profiles `{profile}` and `{other_profile}` on cluster `{cluster}`")
            }
            (false, false) => {
                format!("`{profile}` on cluster `{cluster}` and `{other_profile}` on cluster `{other_cluster}`")
            }
        };
        format!("{who} both produce {what} in `{path}`")
    }

    /// Returns how to avoid it.
    pub(crate) fn hint(&self) -> Option<String> {
        let output = &self.second.output;
        let is_same_grant = self.first.grant == self.second.grant;
        let (key, template) = match self.kind {
            CollisionKind::Context => ("context", Some(&output.context)),
            CollisionKind::Cluster => ("cluster", output.cluster.as_ref()),
            CollisionKind::User => ("user", output.user.as_ref()),
            CollisionKind::CurrentContext => {
                return Some("name one context, or give the contexts a file each".to_owned());
            }
            CollisionKind::Directory | CollisionKind::Lock | CollisionKind::TokenFiles | CollisionKind::Token => {
                return Some("give one of them another path".to_owned());
            }
        };
        if is_same_grant {
            return Some("give both outputs the same names and namespace, or another path to one of them".to_owned());
        }
        if template.is_some_and(|template| template.contains("{profile}") && template.contains("{cluster}")) {
            return None;
        }
        Some(format!("set `{key} = \"{DEFAULT_CONTEXT}\"` in that `[[outputs]]`"))
    }
}

fn values<'a>(inventory: &'a InventoryName, holder: &'a Holder, grant: &'a GrantKey) -> impl Fn(&str) -> &'a str {
    move |variable| match variable {
        "cluster" => grant.cluster.as_str(),
        "profile" => grant.profile.as_str(),
        "inventory" => inventory.as_str(),
        "holder" => holder.as_str(),
        other => unreachable!("`{other}` is no variable"),
    }
}

/// The parsed templates of an output.
#[derive(Debug)]
struct Templates {
    path: Template,
    context: Template,
    cluster: Option<Template>,
    user: Option<Template>,
    current_context: Option<Template>,
}

impl Templates {
    fn parse(output: &Output) -> Self {
        let parse =
            |text: &String| Template::parse(text, &VARIABLES).expect("templates were checked when they were resolved");
        Self {
            path: parse(&output.path),
            context: parse(&output.context),
            cluster: output.cluster.as_ref().map(parse),
            user: output.user.as_ref().map(parse),
            current_context: output.current_context.as_ref().map(parse),
        }
    }
}

impl Templates {
    /// Returns a glob pattern of the paths.
    fn pattern(&self) -> String {
        normalise(Path::new(&self.path.pattern())).display().to_string()
    }
}

/// A file under construction.
#[derive(Debug)]
struct Building {
    file: OutputFile,
    origins: Vec<Origin>,
    /// The index of the entry with each name.
    contexts: HashMap<String, usize>,
    clusters: HashMap<String, usize>,
    users: HashMap<String, usize>,
    /// The contexts that outputs want as current.
    wanted: Vec<(String, Origin)>,
}

impl Building {
    fn new(path: PathBuf) -> Self {
        Self {
            file: OutputFile { path, entries: vec![], token_of: None, current_context: None, outputs: vec![] },
            origins: vec![],
            contexts: HashMap::new(),
            clusters: HashMap::new(),
            users: HashMap::new(),
            wanted: vec![],
        }
    }

    /// Notes that an output gives the file.
    fn of_output(&mut self, id: OutputId) {
        // Outputs are added one after the other, so only the last one has to be compared.
        if self.file.outputs.last() != Some(&id) {
            self.file.outputs.push(id);
        }
    }

    /// Makes it the file of a token; returns what that collides with.
    fn hold_token(&mut self, grant: &GrantKey, origin: Origin) -> Option<Collision> {
        self.of_output(origin.output.id);
        match &self.file.token_of {
            Some(known) if known == grant => return None,
            Some(_) => return Some(self.collision(CollisionKind::Token, "", 0, origin)),
            None if !self.origins.is_empty() => return Some(self.collision(CollisionKind::Token, "", 0, origin)),
            None => self.file.token_of = Some(grant.clone()),
        }
        self.origins.push(origin);
        None
    }

    /// Adds an entry, unless it exists already; returns what it collides with.
    fn add(&mut self, entry: OutputEntry, origin: Origin) -> Option<Collision> {
        self.of_output(origin.output.id);
        if self.file.token_of.is_some() {
            return Some(self.collision(CollisionKind::Token, "", 0, origin));
        }
        if let Some(known) = self.contexts.get(&entry.context) {
            let is_same = self.file.entries[*known].says_the_same(&entry);
            return (!is_same).then(|| self.collision(CollisionKind::Context, &entry.context, *known, origin));
        }
        // Entries with the same name have the same content if they are for the same grant, whatever the contexts are
        // called; for cluster entries the same cluster is enough.
        let names =
            [(CollisionKind::Cluster, &self.clusters, &entry.cluster), (CollisionKind::User, &self.users, &entry.user)];
        for (kind, entries, name) in names {
            let differs = |known: &&usize| {
                let known = &self.file.entries[**known];
                match kind {
                    CollisionKind::Cluster => known.grant.cluster != entry.grant.cluster,
                    _ => known.grant != entry.grant || !known.gives_the_same(&entry),
                }
            };
            if let Some(known) = entries.get(name).filter(differs) {
                return Some(self.collision(kind, name, *known, origin));
            }
        }
        let index = self.file.entries.len();
        self.contexts.insert(entry.context.clone(), index);
        self.clusters.entry(entry.cluster.clone()).or_insert(index);
        self.users.entry(entry.user.clone()).or_insert(index);
        self.file.entries.push(entry);
        self.origins.push(origin);
        None
    }

    fn collision(&self, kind: CollisionKind, name: &str, known: usize, second: Origin) -> Collision {
        let path = self.file.path.clone();
        Collision { kind, path, name: name.to_owned(), first: self.origins[known].clone(), second }
    }

    /// Marks the entries whose cluster entry serves more than one grant, or more than one holder.
    fn share_clusters(&mut self) {
        let mut grants: HashMap<&str, HashSet<&GrantKey>> = HashMap::new();
        for entry in &self.file.entries {
            grants.entry(&entry.cluster).or_default().insert(&entry.grant);
        }
        let shared: HashSet<String> =
            grants.into_iter().filter(|(_, grants)| grants.len() > 1).map(|(name, _)| name.to_owned()).collect();
        for entry in &mut self.file.entries {
            let serves_holders = entry.output.shares_clusters_among_holders();
            entry.shares_cluster = serves_holders || shared.contains(&entry.cluster);
        }
    }

    /// Chooses the current context, if the outputs agree on one and the file has it.
    fn choose_current(&mut self, effective: &mut HashSet<OutputId>) -> Option<Collision> {
        let mut chosen: Option<&(String, Origin)> = None;
        for wanted in self.wanted.iter().filter(|(name, _)| self.contexts.contains_key(name)) {
            effective.insert(wanted.1.output.id);
            match chosen {
                Some(first) if first.0 != wanted.0 => {
                    return Some(Collision {
                        kind: CollisionKind::CurrentContext,
                        path: self.file.path.clone(),
                        name: format!("`{}` and `{}`", first.0, wanted.0),
                        first: first.1.clone(),
                        second: wanted.1.clone(),
                    });
                }
                Some(_) => {}
                None => chosen = Some(wanted),
            }
        }
        self.file.current_context = chosen.map(|(name, _)| name.clone());
        None
    }
}

/// Finds files that are in the place of another file's directory.
fn blocked_directories<'a>(
    files: &'a [Building],
    by_path: &'a HashMap<PathBuf, usize>,
) -> impl Iterator<Item = Collision> + use<'a> {
    let mut above = Above::default();
    files.iter().filter_map(move |file| {
        let (path, blocked) = above.find(&file.file.path, &|path| by_path.get_key_value(path))?;
        let (first, second) = (files[*blocked].origins.first()?, file.origins.first()?);
        Some(Collision {
            kind: CollisionKind::Directory,
            path: path.clone(),
            name: file.file.path.display().to_string(),
            first: first.clone(),
            second: second.clone(),
        })
    })
}

/// Finds files that are in the place of another file's lock or token files.
fn taken_places(files: &[Building], by_path: &HashMap<PathBuf, usize>) -> Vec<Collision> {
    let with_tokens = files.iter().enumerate();
    let tokens: HashMap<PathBuf, usize> =
        with_tokens.filter_map(|(index, building)| Some((building.file.token_directory()?, index))).collect();
    // Hardly any path is that of a lock, so locks are not looked up by theirs.
    let locked = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(LOCK_SUFFIX).filter(|name| !name.is_empty())?;
        by_path.get(&path.with_file_name(name)).copied()
    };
    let taken = |path: &Path| {
        let of_lock = locked(path).map(|index| (index, CollisionKind::Lock));
        of_lock.or_else(|| tokens.get(path).map(|index| (*index, CollisionKind::TokenFiles)))
    };
    let mut above = Above::default();
    let collisions = files.iter().filter_map(|building| {
        let path = &building.file.path;
        let (owner, kind) = taken(path).or_else(|| above.find(path, &taken))?;
        Some(Collision {
            kind,
            path: path.clone(),
            name: files[owner].file.path.display().to_string(),
            first: files[owner].origins.first()?.clone(),
            second: building.origins.first()?.clone(),
        })
    });
    collisions.collect()
}

/// What was found for the directories of files. Thousands of files are in one directory, whose parents are looked at once.
struct Above<'a, T>(HashMap<&'a OsStr, Option<T>>);

impl<T> Default for Above<'_, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, T: Copy> Above<'a, T> {
    /// Returns what is found for the nearest of the directories that a file is in.
    fn find(&mut self, file: &'a Path, find: &impl Fn(&'a Path) -> Option<T>) -> Option<T> {
        let directory = file.parent()?;
        *self.0.entry(directory.as_os_str()).or_insert_with(|| directory.ancestors().find_map(find))
    }
}
