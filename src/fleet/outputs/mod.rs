//! The output files: what they hold, and whether they can be written.

mod caller;
mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub(crate) use self::caller::PluginCaller;
pub(crate) use self::reading::{Reading, with_token_file};
use crate::credential::Credential;
use crate::delivery::{Place, Source};
use crate::executor::apply::NamedOutputs;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::failure::StepFailure;
use crate::inventory::{Grant, GrantKey, Inventory};
use crate::kubeconfig::{EntryNames, EntryState, Held, Mark, UserForm, foreign_owner, remove};
use crate::names::{ClusterName, ProfileName};
use crate::plan::{ClusterPlan, Newest, OutputSlot};
use crate::report::{Holds, OutputStatus};
use crate::secret::SecretToken;
use crate::store::{self, Manner};

/// What the output files hold for each grant.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// The places of each grant, by grant.
    slots: BTreeMap<GrantKey, Vec<ReadPlace>>,
    /// The files that were skipped, and why.
    pub(crate) warnings: Vec<String>,
    /// The grants with a place that cannot be used, and why.
    unusable: BTreeMap<GrantKey, StepFailure>,
}

/// A place that a grant's credential goes to, and what is there.
#[derive(Debug)]
struct ReadPlace {
    /// The file that it is in.
    target: Arc<TargetFile>,
    /// The names of the entries there.
    names: EntryNames,
    /// What the file holds under these names.
    state: EntryState,
}

impl ReadPlace {
    fn place(&self) -> Place {
        Place { file: self.target.path.clone(), context: self.names.context.clone() }
    }
}

/// The entries of one grant in a file, and whose they must be to be removed.
type Whose = (EntryNames, ClusterName, ProfileName);

impl Outputs {
    /// Returns why a file of a grant could not be replaced; `checked` remembers what was found. It waits for locks.
    pub(crate) fn unwritable(
        &self,
        grant: &GrantKey,
        manner: Manner,
        checked: &Mutex<HashMap<PathBuf, Option<StepFailure>>>,
    ) -> Option<StepFailure> {
        let known = || checked.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.get(grant).into_iter().flatten();
        let mut failures = slots.map(|slot| {
            // Nobody else waits for these locks meanwhile, unless for the same file.
            let check = |path: &Path| {
                store::check_replaceable(path, manner, Instant::now()).err().map(|error| describe(&error))
            };
            let remembered = known().get(&slot.target.path).cloned();
            let kubeconfig = remembered.unwrap_or_else(|| {
                let found = check(&slot.target.path);
                known().insert(slot.target.path.clone(), found.clone());
                found
            });
            kubeconfig.or_else(|| token_file(slot).and_then(|path| check(&path)))
        });
        failures.find_map(|failure| failure)
    }

    /// Returns why a place of a grant cannot be used.
    pub(crate) fn unusable(&self, grant: &GrantKey) -> Option<StepFailure> {
        self.unusable.get(grant).cloned()
    }

    /// Returns why an output of a grant is of no use to it: it cannot be read, or an entry there is somebody else's.
    pub(crate) fn trouble(&self, grant: &GrantKey) -> Option<String> {
        let foreign = self.slots.get(grant).into_iter().flatten().find_map(|slot| match &slot.state {
            EntryState::Foreign { list, name, inventory, .. } => {
                let owner = foreign_owner(inventory.as_deref());
                Some(format!("`{}`: {list} `{name}` exists and {owner}", slot.target.path.display()))
            }
            EntryState::Absent | EntryState::Ours(_) => None,
        });
        self.unusable.get(grant).map(|failure| failure.cause.clone()).or(foreign)
    }

    /// Returns whether some place of a grant holds its credential, rather than a plugin.
    pub(crate) fn holds_credential(&self, grant: &GrantKey) -> bool {
        let slots = self.slots.get(grant).into_iter().flatten();
        slots.into_iter().any(|slot| !matches!(slot.names.form, UserForm::Exec(_)))
    }

    /// Returns the places of a grant with what is there.
    pub(crate) fn plan_slots(&self, grant: &GrantKey) -> Vec<OutputSlot> {
        let slots = self.slots.get(grant).into_iter().flatten();
        let slot = |slot: &ReadPlace| OutputSlot {
            path: slot.target.path.clone(),
            names: slot.names.clone(),
            state: slot.state.clone(),
            is_taken_back: false,
        };
        slots.map(slot).collect()
    }

    /// Returns what the steps of a plan need: the files that they write, and the credentials at the places that they name.
    pub(crate) fn named_in(&self, plan: &ClusterPlan) -> NamedOutputs {
        let mut named = NamedOutputs::default();
        for step in &plan.steps {
            let Some(profile) = step.profile() else { continue };
            let grant = GrantKey { cluster: plan.cluster.clone(), profile: profile.clone() };
            let sources: BTreeSet<&Place> = step.sources().iter().map(|source| &source.place).collect();
            for slot in self.slots.get(&grant).into_iter().flatten() {
                named.files.entry(slot.target.path.clone()).or_insert_with(|| Arc::clone(&slot.target));
                let place = slot.place();
                if sources.contains(&place)
                    && let Some(credential) = slot.state.held_even_unmarked().and_then(Held::publishable)
                {
                    named.credentials.insert(place, credential);
                }
            }
        }
        named
    }

    /// Returns the newest credential of a grant that its outputs hold.
    pub(crate) fn newest(&self, grant: &GrantKey) -> Option<Newest> {
        let facts = self.slots.get(grant).into_iter().flatten().filter_map(|slot| match &slot.state {
            EntryState::Ours(held) => held.credential.as_ref().map(|(_, facts)| facts),
            EntryState::Absent | EntryState::Foreign { .. } => None,
        });
        facts.max_by_key(|facts| facts.generation).map(Newest::from)
    }

    /// Returns what the outputs of a grant hold, compared with the newest generation; `lacking` are those that a run
    /// would write.
    pub(crate) fn statuses(&self, grant: &GrantKey, newest: Option<u64>, lacking: &[PathBuf]) -> Vec<OutputStatus> {
        let status = |slot: &ReadPlace| {
            let path = &slot.target.path;
            let is_altered = |held: &Held| !held.is_complete() || lacking.contains(path);
            let (holds, generation) = match &slot.state {
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
        self.slots.get(grant).into_iter().flatten().map(status).collect()
    }

    /// Returns the files of a grant whose entries are not as they should be, as far as that is known without its cluster.
    pub(crate) fn altered(&self, grant: &GrantKey, mark: &Mark) -> Vec<PathBuf> {
        let slots = self.slots.get(grant).into_iter().flatten();
        let altered = slots.filter_map(|slot| match &slot.state {
            EntryState::Ours(held) => {
                held.is_altered_wherever_it_leads(&slot.names, mark).then(|| slot.target.path.clone())
            }
            EntryState::Absent | EntryState::Foreign { .. } => None,
        });
        altered.collect()
    }

    /// Returns the places that hold a token of a grant, each different token once.
    pub(crate) fn sources(&self, grant: &GrantKey) -> Vec<Source> {
        let mut sources: Vec<(Source, SecretToken)> = vec![];
        for slot in self.slots.get(grant).into_iter().flatten() {
            let EntryState::Ours(held) = &slot.state else { continue };
            let Some(Credential { facts, token }) = held.publishable() else { continue };
            if !sources.iter().any(|(_, known)| known.is_same_as(&token)) {
                sources.push((Source { place: slot.place(), facts }, token));
            }
        }
        sources.into_iter().map(|(source, _)| source).collect()
    }

    /// Removes the entries of grants from their files; returns the clusters whose could not be removed.
    pub(crate) fn remove_entries(
        &self,
        grants: &[Arc<Grant>],
        inventory: &Inventory,
        manner: Manner,
    ) -> Vec<(ClusterName, StepFailure)> {
        let mut by_file: BTreeMap<&PathBuf, Vec<Whose>> = BTreeMap::new();
        for grant in grants {
            for slot in self.slots.get(&grant.key()).into_iter().flatten() {
                let whose = (slot.names.clone(), grant.cluster.name.clone(), grant.profile.name.clone());
                by_file.entry(&slot.target.path).or_default().push(whose);
            }
        }
        let mut failures = vec![];
        for (path, entries) in by_file {
            if !path.exists() {
                continue;
            }
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
                failures.extend(entries.into_iter().map(|(_, cluster, _)| (cluster, failure.clone())));
            }
        }
        failures
    }
}

/// Returns the token file of a place, if it has one.
fn token_file(slot: &ReadPlace) -> Option<PathBuf> {
    match &slot.names.form {
        UserForm::TokenFile(relative) => Some(token_file_path(&slot.target.path, relative)),
        UserForm::Token | UserForm::Exec(_) => None,
    }
}
