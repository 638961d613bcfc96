//! The output files: what they hold, and whether they can be written.

mod caller;
mod reading;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub(super) use self::caller::PluginCaller;
pub(super) use self::reading::{Reading, with_token_file};
use crate::executor::apply::PublicationSlot;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::failure::StepFailure;
use crate::inventory::Inventory;
use crate::kubeconfig::{EntryNames, EntryState, Held, Mark, UserForm, remove};
use crate::names::{ClusterName, ProfileName};
use crate::plan::{Newest, OutputSlot};
use crate::report::{Holds, OutputStatus};
use crate::secret::SecretToken;
use crate::store::{self, Manner};

/// What the output files hold for each grant.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// The files, in the order of the layout.
    pub(super) targets: Vec<TargetFile>,
    /// The places of each grant, by the grant's index in the inventory.
    slots: BTreeMap<usize, Vec<(PublicationSlot, EntryState)>>,
    /// The files that were skipped, and why.
    pub(super) warnings: Vec<String>,
    /// The grants with a place that cannot be used, and why.
    unusable: BTreeMap<usize, StepFailure>,
}

/// The entries of one grant in a file, and whose they must be to be removed.
type Whose = (EntryNames, ClusterName, ProfileName);

impl Outputs {
    /// Returns why a file of a grant could not be replaced; `checked` remembers what was found. It waits for locks.
    pub(super) fn unwritable(
        &self,
        grant: usize,
        manner: Manner,
        checked: &Mutex<HashMap<usize, Option<StepFailure>>>,
    ) -> Option<StepFailure> {
        let known = || checked.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.get(&grant).into_iter().flatten();
        let mut failures = slots.map(|(slot, _)| {
            // Nobody else waits for these locks meanwhile, unless for the same file.
            let check = |path: &Path| {
                store::check_replaceable(path, manner, Instant::now()).err().map(|error| describe(&error))
            };
            let remembered = known().get(&slot.file).cloned();
            let kubeconfig = remembered.unwrap_or_else(|| {
                let found = check(&self.targets[slot.file].path);
                known().insert(slot.file, found.clone());
                found
            });
            kubeconfig.or_else(|| self.token_file(slot).and_then(|path| check(&path)))
        });
        failures.find_map(|failure| failure)
    }

    /// Returns the token file of a place, if it has one.
    fn token_file(&self, slot: &PublicationSlot) -> Option<PathBuf> {
        match &slot.names.form {
            UserForm::TokenFile(relative) => Some(token_file_path(&self.targets[slot.file].path, relative)),
            UserForm::Token | UserForm::Exec(_) => None,
        }
    }

    /// Returns why a place of a grant cannot be used.
    pub(super) fn unusable(&self, grant: usize) -> Option<StepFailure> {
        self.unusable.get(&grant).cloned()
    }

    /// Returns whether some place of a grant holds its credential, rather than a plugin.
    pub(super) fn holds_credential(&self, grant: usize) -> bool {
        let slots = self.slots.get(&grant).into_iter().flatten();
        slots.into_iter().any(|(slot, _)| !matches!(slot.names.form, UserForm::Exec(_)))
    }

    /// Returns the places of a grant with what is there.
    pub(super) fn plan_slots(&self, grant: usize) -> Vec<OutputSlot> {
        let slots = self.slots.get(&grant).into_iter().flatten();
        let slot = |(slot, state): &(PublicationSlot, EntryState)| OutputSlot {
            path: self.targets[slot.file].path.clone(),
            names: slot.names.clone(),
            state: state.clone(),
        };
        slots.map(slot).collect()
    }

    /// Returns the places of some grants, for publication.
    pub(super) fn publication_slots(&self, grants: impl Iterator<Item = usize>) -> Vec<PublicationSlot> {
        grants.filter_map(|grant| self.slots.get(&grant)).flatten().map(|(slot, _)| slot.clone()).collect()
    }

    /// Returns the newest credential of a grant that its outputs hold.
    pub(super) fn newest(&self, grant: usize) -> Option<Newest> {
        let facts = self.slots.get(&grant).into_iter().flatten().filter_map(|(_, state)| match state {
            EntryState::Ours(held) => held.credential.as_ref().map(|(_, facts)| facts),
            EntryState::Absent | EntryState::Foreign { .. } => None,
        });
        facts.max_by_key(|facts| facts.generation).map(Newest::from)
    }

    /// Returns what the outputs of a grant hold, compared with the newest generation; `lacking` are those that a run
    /// would write.
    pub(super) fn statuses(&self, grant: usize, newest: Option<u64>, lacking: &[PathBuf]) -> Vec<OutputStatus> {
        let status = |(slot, state): &(PublicationSlot, EntryState)| {
            let path = &self.targets[slot.file].path;
            let is_altered = |held: &Held| !held.is_complete() || lacking.contains(path);
            let (holds, generation) = match state {
                EntryState::Absent => (Holds::Nothing, None),
                EntryState::Foreign { .. } => (Holds::Foreign, None),
                EntryState::Ours(held)
                    if matches!(slot.names.form, UserForm::Exec(_)) && held.other_holder.is_some() =>
                {
                    (Holds::AnotherHolders, None)
                }
                EntryState::Ours(held) if matches!(slot.names.form, UserForm::Exec(_)) && is_altered(held) => {
                    (Holds::Altered, None)
                }
                EntryState::Ours(_) if matches!(slot.names.form, UserForm::Exec(_)) => (Holds::Plugin, None),
                EntryState::Ours(held) => match (&held.credential, &held.other_holder) {
                    (Some((_, facts)), _) if Some(facts.generation) == newest => {
                        (if is_altered(held) { Holds::Altered } else { Holds::Newest }, newest)
                    }
                    (Some((_, facts)), _) => (Holds::Another, Some(facts.generation)),
                    (None, Some(other)) => (Holds::AnotherHolders, other.token.map(|(generation, _)| generation)),
                    (None, None) => (Holds::Nothing, None),
                },
            };
            OutputStatus { path: path.display().to_string(), holds, generation }
        };
        self.slots.get(&grant).into_iter().flatten().map(status).collect()
    }

    /// Returns the files of a grant whose entries are not as they should be, as far as that is known without its cluster.
    pub(super) fn altered(&self, grant: usize, mark: &Mark) -> Vec<PathBuf> {
        let slots = self.slots.get(&grant).into_iter().flatten();
        let altered = slots.filter_map(|(slot, state)| match state {
            EntryState::Ours(held) => held.is_altered_wherever_it_leads(&slot.names, mark).then_some(slot.file),
            EntryState::Absent | EntryState::Foreign { .. } => None,
        });
        altered.map(|file| self.targets[file].path.clone()).collect()
    }

    /// Returns the tokens of a grant, by generation, each once.
    pub(super) fn tokens(&self, grant: usize) -> Vec<(u64, SecretToken)> {
        let mut tokens: Vec<(u64, SecretToken)> = vec![];
        for (_, state) in self.slots.get(&grant).into_iter().flatten() {
            let EntryState::Ours(held) = state else { continue };
            let Some((stored, _)) = &held.credential else { continue };
            if !tokens.iter().any(|(_, known)| known.is_same_as(&stored.token)) {
                tokens.push((stored.generation, stored.token.clone()));
            }
        }
        tokens
    }

    /// Removes the entries of grants from their files; returns the grants that could not be removed.
    pub(super) fn remove_entries(
        &self,
        grants: impl Iterator<Item = usize>,
        inventory: &Inventory,
        manner: Manner,
    ) -> Vec<(usize, StepFailure)> {
        let mut by_file: BTreeMap<usize, Vec<(usize, Whose)>> = BTreeMap::new();
        for grant in grants {
            let entry = &inventory.grants[grant];
            for (slot, _) in self.slots.get(&grant).into_iter().flatten() {
                let whose = (slot.names.clone(), entry.cluster.name.clone(), entry.profile.name.clone());
                by_file.entry(slot.file).or_default().push((grant, whose));
            }
        }
        let mut failures = vec![];
        for (file, entries) in by_file {
            let path = &self.targets[file].path;
            if !path.exists() {
                continue;
            }
            let (grants, entries): (Vec<usize>, Vec<_>) = entries.into_iter().unzip();
            let removed =
                store::update(path, manner, |before| remove(before.unwrap_or_default(), &inventory.name, &entries));
            let token_files = entries.iter().filter_map(|(names, ..)| match &names.form {
                UserForm::TokenFile(relative) => Some(token_file_path(path, relative)),
                UserForm::Token | UserForm::Exec(_) => None,
            });
            let removed = removed
                .map(drop)
                .and_then(|()| token_files.into_iter().try_for_each(|file| store::remove(&file, manner)));
            if let Err(error) = removed {
                let failure = describe(&error);
                failures.extend(grants.into_iter().map(|grant| (grant, failure.clone())));
            }
        }
        failures
    }
}
