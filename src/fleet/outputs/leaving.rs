//! Entries with our marks that leave their files: because nothing explains them, or because their access ends.
//!
//! Marks are looked for in every file that an output may have written, also in those that no grant goes to any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reading;
use super::reading::{in_thread, parse_document, read_text};
use crate::delivery::{EntriesRemoval, LOCK_SUFFIX, OWN_PREFIX, OutputEntry, OutputFile, Removal};
use crate::error::Error;
use crate::inventory::GrantKey;
use crate::kubeconfig::edit::List;
use crate::kubeconfig::{Document, EntryName, Marked, Removable};
use crate::names::{ClusterName, EXTENSION, ProfileName, token_directory_name, token_file_name};
use crate::plan::{Blocker, BlockerKind, Note, NoteKind};
use crate::step::{Remove, RemoveReason};
use crate::store;

/// Which entries leave.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Those that no grant and output of the inventory explains.
    Unexplained,
    /// Those of some grants.
    Grants(HashSet<GrantKey>),
    /// Everything of some clusters.
    Clusters(HashSet<ClusterName>, RemoveReason),
}

/// The entries that leave.
#[derive(Debug, Default)]
pub(crate) struct Leavings {
    /// The steps that remove them, by cluster, each for another profile.
    steps: BTreeMap<ClusterName, Vec<Arc<Remove>>>,
    /// What stays because somebody's context refers to it, or because it is not marked, in words.
    needed: BTreeMap<ClusterName, Vec<String>>,
    /// The uids that cluster entries were written for.
    uids: BTreeMap<ClusterName, Vec<String>>,
    /// Every cluster that a marked context names.
    pub(crate) clusters: BTreeSet<ClusterName>,
    /// Why files that may hold marks could not be searched.
    pub(crate) unsearched: Vec<String>,
}

impl Leavings {
    /// Returns the steps that remove the entries of a cluster, each for another profile.
    pub(crate) fn steps(&self, cluster: &ClusterName) -> Vec<Arc<Remove>> {
        let mut steps = self.steps.get(cluster).cloned().unwrap_or_default();
        steps.sort_by(|one, other| one.grant.cmp(&other.grant));
        steps
    }

    /// Notes what stays of a cluster.
    pub(super) fn leave_alone(&mut self, cluster: &ClusterName, what: String) {
        self.needed.entry(cluster.clone()).or_default().push(what);
    }

    /// Returns what the user should know of the entries of a cluster.
    pub(crate) fn notes(&self, cluster: &ClusterName) -> Vec<Note> {
        let needed = self.needed.get(cluster).into_iter().flatten();
        let needed = needed.map(|what| Note::new(NoteKind::LeftAlone, what.as_str()));
        let unsearched = self.unsearched.iter().map(|why| Note::new(NoteKind::NotChecked, why.as_str()));
        needed.chain(unsearched).collect()
    }

    /// Returns why the API server that answers for a cluster must lose nothing: by what the outputs know, it is another one.
    pub(crate) fn mistaken(&self, cluster: &ClusterName, uid: &str) -> Option<Blocker> {
        let own = self.uids.get(cluster);
        if own.is_some_and(|own| own.iter().any(|own| own == uid)) {
            return None;
        }
        let other = self.uids.iter().find(|(_, uids)| uids.iter().any(|known| known == uid)).map(|(other, _)| other);
        let message = match (own, other) {
            (None, None) => return None,
            (_, Some(other)) => format!("the API server that answers is the one that the outputs know as `{other}`"),
            (Some(_), None) => {
                "another API server answers than the one that the entries in the outputs are for".to_owned()
            }
        };
        Some(Blocker {
            kind: BlockerKind::AnotherServer,
            profile: None,
            message: format!("{message}: nothing is removed there"),
            hint: Some(format!(
                "see whether the admin access of `{cluster}` leads to the right cluster; if it was set up anew, run \
                 `kubemint apply --cluster {cluster}` first"
            )),
        })
    }
}

impl Reading {
    /// Finds the entries that leave.
    ///
    /// # Errors
    ///
    /// If the thread that reads was lost.
    pub(crate) async fn leavings(self, wanted: Wanted) -> Result<Leavings, Error> {
        let (of_files, wanted) = {
            let reading = self.clone();
            in_thread(move || {
                let mut found = reading.find_leavings(&wanted);
                reading.find_leaving_tokens(&wanted, &mut found);
                (found, wanted)
            })
            .await?
        };
        let mut found = of_files;
        self.find_leaving_secrets(&wanted, &mut found).await;
        Ok(found)
    }

    fn find_leavings(&self, wanted: &Wanted) -> Leavings {
        let known: HashMap<&Path, &OutputFile> =
            self.layout.files.iter().map(|file| (file.path.as_path(), file)).collect();
        let mut found = Leavings::default();
        for path in self.files_to_search(wanted, &mut found) {
            let file = known.get(path.as_path()).copied();
            match marked_document(&path, self.inventory.name.as_str()) {
                Ok(None) => {}
                Ok(Some(document)) => self.leave(&path, file, &document, wanted, &mut found),
                Err(error) => {
                    found.unsearched.push(format!(
                        "{}: {}; whether entries have to leave it is not known",
                        error.message,
                        error.causes.join(": ")
                    ));
                    // Trying to remove what should be there fails, and the report of the cluster says so.
                    let entries = file.map_or(&[][..], |file| &file.entries);
                    let entries = entries.iter().filter(|entry| wanted.includes(&entry.grant));
                    entries.for_each(|entry| self.remove_named(&path, entry, wanted, &mut found));
                }
            }
        }
        found
    }

    /// Returns the files that may hold such entries.
    fn files_to_search(&self, wanted: &Wanted, found: &mut Leavings) -> Vec<PathBuf> {
        let all = self.layout.files.iter();
        if let Wanted::Grants(grants) = wanted {
            let holds = |file: &&OutputFile| file.entries.iter().any(|entry| grants.contains(&entry.grant));
            return all.filter(holds).map(|file| file.path.clone()).collect();
        }
        let mut files: Vec<PathBuf> = all.map(|file| file.path.clone()).collect();
        for pattern in &self.layout.patterns {
            let paths = match glob::glob(pattern) {
                Ok(paths) => paths,
                Err(error) => {
                    found.unsearched.push(format!("files like `{pattern}` cannot be searched: {error}"));
                    continue;
                }
            };
            for path in paths {
                match path {
                    Ok(path) if is_output(&path) => files.push(path),
                    Ok(_) => {}
                    Err(error) => found.unsearched.push(format!(
                        "`{}` cannot be searched for entries: {}",
                        error.path().display(),
                        error.error()
                    )),
                }
            }
        }
        store::distinct(files)
    }

    /// Adds the entries that leave one file.
    fn leave(
        &self,
        path: &Path,
        file: Option<&OutputFile>,
        document: &Document,
        wanted: &Wanted,
        found: &mut Leavings,
    ) {
        let inventory = &self.inventory.name;
        for Marked { entry, cluster, cluster_uid, .. } in document.marked(inventory) {
            if let Some(uid) = cluster_uid {
                let uids = found.uids.entry(cluster.clone()).or_insert_with(|| Vec::with_capacity(1));
                if !uids.contains(&uid) {
                    uids.push(uid);
                }
            }
            if entry.list == List::Contexts {
                found.clusters.insert(cluster);
            }
        }
        let entries = file.map_or(&[][..], |file| &file.entries);
        let named: HashSet<(List, &str)> = entries.iter().flat_map(names).collect();
        let is_wanted = |marked: &Marked| match (wanted, &marked.profile) {
            (Wanted::Clusters(clusters, _), _) => clusters.contains(&marked.cluster),
            (Wanted::Grants(grants), Some(profile)) => {
                grants.contains(&GrantKey { cluster: marked.cluster.clone(), profile: profile.clone() })
            }
            // It leaves with the last of those that share it.
            (Wanted::Grants(grants), None) => grants.iter().any(|grant| grant.cluster == marked.cluster),
            (Wanted::Unexplained, _) => {
                !named.contains(&(marked.entry.list, marked.entry.name.as_str())) && !self.is_explained(file, marked)
            }
        };
        // A context that an output gives refers to the entries that the output names, as soon as it is written.
        let rewritten: BTreeSet<&str> = match wanted {
            Wanted::Unexplained => entries.iter().map(|entry| entry.context.as_str()).collect(),
            Wanted::Grants(_) | Wanted::Clusters(..) => BTreeSet::new(),
        };
        let Removable { going, needed } = document.removable(inventory, is_wanted, &rewritten);
        for (marked, context) in needed.into_iter().filter(|(marked, _)| marked.entry.list == List::Users) {
            found.needed.entry(marked.cluster).or_default().push(format!(
                "user `{}` stays in `{}`, because context `{context}` refers to it",
                marked.entry.name,
                path.display()
            ));
        }
        let mut by_cluster: BTreeMap<&ClusterName, Vec<&Marked>> = BTreeMap::new();
        for marked in &going {
            by_cluster.entry(&marked.cluster).or_default().push(marked);
        }
        for (cluster, going) in by_cluster {
            let profiles: BTreeSet<&ProfileName> = going.iter().filter_map(|marked| marked.profile.as_ref()).collect();
            for profile in profiles {
                let is_of_grant = |marked: &&&Marked| marked.profile.as_ref().is_none_or(|other| other == profile);
                let of_grant: Vec<&Marked> = going.iter().filter(is_of_grant).copied().collect();
                let grant = GrantKey { cluster: cluster.clone(), profile: profile.clone() };
                let has_token_file = of_grant.iter().any(|marked| marked.names_token_file);
                let token_file = has_token_file.then(|| token_file(path, &grant));
                let entries: BTreeSet<&EntryName> = of_grant.iter().map(|marked| &marked.entry).collect();
                let entries = entries.into_iter().cloned().collect();
                let removal = EntriesRemoval { file: path.to_owned(), entries, token_file };
                self.add(&grant, Removal::Entries(removal), wanted, found);
            }
        }
    }

    /// Returns whether an entry under a name that this file's outputs do not give is somebody's all the same: another
    /// holder's, or in a file of somebody who merged an output into it. Both only as long as there is such a grant.
    fn is_explained(&self, file: Option<&OutputFile>, marked: &Marked) -> bool {
        let is_anothers = marked.holder.as_ref().is_some_and(|holder| *holder != self.holder);
        let grant = marked.profile.clone().map(|profile| GrantKey { cluster: marked.cluster.clone(), profile });
        (is_anothers || file.is_none()) && grant.is_some_and(|grant| self.inventory.grant(&grant).is_some())
    }

    fn remove_named(&self, path: &Path, entry: &OutputEntry, wanted: &Wanted, found: &mut Leavings) {
        let entries = names(entry).map(|(list, name)| EntryName { list, name: name.to_owned() }).into();
        let removal = EntriesRemoval { file: path.to_owned(), entries, token_file: None };
        self.add(&entry.grant, Removal::Entries(removal), wanted, found);
    }

    /// Adds something that leaves.
    pub(super) fn add(&self, grant: &GrantKey, removal: Removal, wanted: &Wanted, found: &mut Leavings) {
        let reason = match wanted {
            Wanted::Unexplained if self.inventory.grant(grant).is_some() => RemoveReason::NoOutput,
            Wanted::Unexplained => RemoveReason::NoGrant,
            Wanted::Grants(_) => RemoveReason::AccessEnds,
            Wanted::Clusters(_, reason) => *reason,
        };
        let inventory = self.inventory.name.clone();
        // Most grants have one output, and there may be ten thousand clusters.
        let of_cluster = found.steps.entry(grant.cluster.clone()).or_insert_with(|| Vec::with_capacity(1));
        match of_cluster.iter_mut().find(|step| step.grant == *grant) {
            Some(step) => Arc::make_mut(step).removals.push(removal),
            None => {
                of_cluster.push(Arc::new(Remove { inventory, grant: grant.clone(), reason, removals: vec![removal] }));
            }
        }
    }
}

impl Wanted {
    /// Returns whether everything of a grant leaves.
    pub(super) fn includes(&self, grant: &GrantKey) -> bool {
        match self {
            Self::Unexplained => false,
            Self::Grants(grants) => grants.contains(grant),
            Self::Clusters(clusters, _) => clusters.contains(&grant.cluster),
        }
    }
}

/// Returns whether a path that a pattern found may be an output: locks, temporary files and directories are none.
fn is_output(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_file() && !name.ends_with(LOCK_SUFFIX) && !name.starts_with(OWN_PREFIX)
}

/// Returns what names the entries of a grant, in the order of the lists.
fn names(entry: &OutputEntry) -> [(List, &str); 3] {
    [(List::Clusters, &*entry.cluster), (List::Users, &*entry.user), (List::Contexts, &*entry.context)]
}

/// Returns the file that holds the token of a grant whose entries are in a kubeconfig.
fn token_file(kubeconfig: &Path, grant: &GrantKey) -> PathBuf {
    let name = kubeconfig.file_name().unwrap_or_default().to_string_lossy();
    kubeconfig.with_file_name(token_directory_name(&name)).join(token_file_name(&grant.profile, &grant.cluster))
}

/// Reads a file if it may hold marks of an inventory.
fn marked_document(path: &Path, inventory: &str) -> Result<Option<Document>, Error> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let may_be_marked = text.contains(EXTENSION) && text.contains(inventory);
    if may_be_marked { parse_document(path, &text, |_| false).map(Some) } else { Ok(None) }
}
