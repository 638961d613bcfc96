//! Entries with our marks that leave their files: because nothing explains them, or because their access ends.
//!
//! Marks are looked for in every file that an output may have written, also in those that no grant goes to any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Reading;
use super::reading::{in_thread, parse_document, read_text};
use crate::delivery::{LOCK_SUFFIX, OWN_PREFIX, OutputEntry, OutputFile, Removal};
use crate::error::Error;
use crate::inventory::GrantKey;
use crate::kubeconfig::edit::List;
use crate::kubeconfig::{Document, EntryName, Marked};
use crate::names::{ClusterName, EXTENSION, ProfileName, token_directory_name, token_file_name};
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
    /// The steps that remove them, by grant.
    steps: BTreeMap<GrantKey, Remove>,
    /// Every cluster that a mark names.
    pub(crate) clusters: BTreeSet<ClusterName>,
    /// The files that may hold marks and cannot be read, and why.
    pub(crate) warnings: Vec<String>,
}

impl Leavings {
    /// Returns the steps that remove the entries of a cluster, each for another profile.
    pub(crate) fn steps(&self, cluster: &ClusterName) -> Vec<Remove> {
        let of_cluster = self.steps.iter().filter(|(grant, _)| grant.cluster == *cluster);
        of_cluster.map(|(_, step)| step.clone()).collect()
    }
}

impl Reading {
    /// Finds the entries that leave.
    ///
    /// # Errors
    ///
    /// If the thread that reads was lost.
    pub(crate) async fn leavings(self, wanted: Wanted) -> Result<Leavings, Error> {
        in_thread(move || self.find_leavings(&wanted)).await
    }

    fn find_leavings(&self, wanted: &Wanted) -> Leavings {
        let known: HashMap<&Path, &OutputFile> =
            self.layout.files.iter().map(|file| (file.path.as_path(), file)).collect();
        let mut found = Leavings::default();
        for path in self.files_to_search(wanted) {
            let file = known.get(path.as_path()).copied();
            match marked_document(&path, self.inventory.name.as_str()) {
                Ok(None) => {}
                Ok(Some(document)) => self.leave(&path, file, &document, wanted, &mut found),
                Err(error) => {
                    let cause = error.causes.join(": ");
                    found
                        .warnings
                        .push(format!("{}: {cause}; whether entries have to leave it is not known", error.message));
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
    fn files_to_search(&self, wanted: &Wanted) -> Vec<PathBuf> {
        let all = self.layout.files.iter();
        if let Wanted::Grants(grants) = wanted {
            let holds = |file: &&OutputFile| file.entries.iter().any(|entry| grants.contains(&entry.grant));
            return all.filter(holds).map(|file| file.path.clone()).collect();
        }
        let mut files: Vec<PathBuf> = all.map(|file| file.path.clone()).collect();
        for pattern in &self.layout.patterns {
            let is_output = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                path.is_file() && !name.ends_with(LOCK_SUFFIX) && !name.starts_with(OWN_PREFIX)
            };
            // A directory that cannot be listed holds no file that this user could have written.
            let found = glob::glob(pattern).into_iter().flatten().filter_map(Result::ok);
            files.extend(found.filter(is_output));
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
        found.clusters.extend(document.marked(inventory).into_iter().map(|marked| marked.cluster));
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
        let going = document.removable(inventory, is_wanted, &rewritten);
        let profiles: BTreeSet<(ClusterName, ProfileName)> =
            going.iter().filter_map(|marked| Some((marked.cluster.clone(), marked.profile.clone()?))).collect();
        for (cluster, profile) in profiles {
            let is_of_grant = |marked: &&Marked| {
                marked.cluster == cluster && marked.profile.as_ref().is_none_or(|other| *other == profile)
            };
            let of_grant: Vec<&Marked> = going.iter().filter(is_of_grant).collect();
            let has_token_file = of_grant.iter().any(|marked| marked.names_token_file);
            let entries = of_grant.iter().map(|marked| marked.entry.clone()).collect();
            let grant = GrantKey { cluster, profile };
            // Under other names, the grant may keep its token file.
            let token_file = has_token_file.then(|| token_file(path, &grant));
            let is_kept = |token: &PathBuf| {
                matches!(wanted, Wanted::Unexplained)
                    && file.is_some_and(|file| file.token_files().any(|kept| kept == *token))
            };
            let token_file = token_file.filter(|token| !is_kept(token));
            self.add(&grant, Removal { file: path.to_owned(), entries, token_file }, wanted, found);
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
        let entries = names(entry).map(|(list, name)| EntryName { list, name: name.to_owned() });
        let removal = Removal { file: path.to_owned(), entries: BTreeSet::from(entries), token_file: None };
        self.add(&entry.grant, removal, wanted, found);
    }

    fn add(&self, grant: &GrantKey, removal: Removal, wanted: &Wanted, found: &mut Leavings) {
        let reason = match wanted {
            Wanted::Unexplained if self.inventory.grant(grant).is_some() => RemoveReason::NoOutput,
            Wanted::Unexplained => RemoveReason::NoGrant,
            Wanted::Grants(_) => RemoveReason::AccessEnds,
            Wanted::Clusters(_, reason) => *reason,
        };
        let inventory = self.inventory.name.clone();
        let new = || Remove { inventory, grant: grant.clone(), reason, removals: vec![] };
        found.steps.entry(grant.clone()).or_insert_with(new).removals.push(removal);
    }
}

impl Wanted {
    /// Returns whether every entry of a grant leaves.
    fn includes(&self, grant: &GrantKey) -> bool {
        match self {
            Self::Unexplained => false,
            Self::Grants(grants) => grants.contains(grant),
            Self::Clusters(clusters, _) => clusters.contains(&grant.cluster),
        }
    }
}

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
