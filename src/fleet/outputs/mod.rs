//! The outputs: what they hold, and whether they can be written.

mod caller;
mod leaving;
mod reading;
mod secrets;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub(crate) use self::caller::PluginCaller;
pub(crate) use self::leaving::{Leavings, Wanted};
pub(crate) use self::reading::{Reading, with_token_file};
pub(crate) use self::secrets::read_secrets;
pub(crate) use self::tokens::{read_token, token_owner};
use crate::credential::Credential;
use crate::delivery::{ContextPlace, Format, Found, Held, Others, Place, ReadPlace, Removal, Source, TokenPlace};
use crate::executor::apply::NamedOutputs;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::failure::StepFailure;
use crate::inventory::{Grant, GrantKey};
use crate::kubeconfig::{Mark, UserForm};
use crate::plan::{BlockerKind, ClusterPlan, Newest, Origin, origins};
use crate::report::{Holds, OutputStatus};
use crate::secret::SecretToken;
use crate::step::Step;
use crate::store::{self, Manner};

/// What the output files hold for each grant.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// The places of each grant, by grant.
    places: BTreeMap<GrantKey, Arc<Vec<ReadPlace>>>,
    /// The files that they are in, by path.
    files: BTreeMap<PathBuf, Arc<TargetFile>>,
    /// The files that were skipped, and why.
    pub(crate) warnings: Vec<String>,
    /// The grants with a place that cannot be used, why, and what that blocks.
    unusable: BTreeMap<GrantKey, (BlockerKind, StepFailure)>,
}

impl Outputs {
    fn add(&mut self, grant: GrantKey, read: ReadPlace) {
        // Most grants have one place, and there may be a hundred thousand of them.
        Arc::make_mut(self.places.entry(grant).or_insert_with(|| Arc::new(Vec::with_capacity(1)))).push(read);
    }

    fn of(&self, grant: &GrantKey) -> &[ReadPlace] {
        self.places.get(grant).map_or(&[], |places| places)
    }

    /// Returns why a file of a grant could not be replaced; `checked` caches the results. It waits for locks.
    pub(crate) fn unwritable(
        &self,
        grant: &GrantKey,
        manner: Manner,
        checked: &Mutex<HashMap<PathBuf, Option<Box<StepFailure>>>>,
    ) -> Option<StepFailure> {
        let known = || checked.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether a hub takes a Secret was tried when its cluster was planned.
        let in_files = self.of(grant).iter().filter_map(|read| Some((read, read.place.file()?)));
        let mut failures = in_files.map(|(read, file)| {
            // `checked` is not locked during a check, so checks of other files need not wait.
            let check = |path: &Path| {
                store::check_replaceable(path, manner, Instant::now()).err().map(|error| Box::new(describe(&error)))
            };
            let remembered = known().get(file).cloned();
            let kubeconfig = remembered.unwrap_or_else(|| {
                let found = check(file);
                known().insert(file.to_owned(), found.clone());
                found
            });
            kubeconfig.or_else(|| token_file(read).and_then(|path| check(&path)))
        });
        failures.find_map(|failure| failure).map(|failure| *failure)
    }

    /// Returns why a place of a grant cannot be used.
    pub(crate) fn unusable(&self, grant: &GrantKey) -> Option<(BlockerKind, StepFailure)> {
        self.unusable.get(grant).cloned()
    }

    /// Returns why an output is useless to a grant: it cannot be read, or an entry there is not ours.
    pub(crate) fn trouble(&self, grant: &GrantKey) -> Option<String> {
        let foreign = self.of(grant).iter().find_map(|read| match &read.found {
            Found::Others(Others { what, owner, .. }) => Some(format!("`{}`: {what} exists and {owner}", read.place)),
            Found::Nothing | Found::Ours(_) | Found::TakenBack(_) => None,
        });
        self.unusable.get(grant).map(|(_, failure)| failure.cause.clone()).or(foreign)
    }

    /// Returns whether some place of a grant holds its credential, rather than a plugin.
    pub(crate) fn holds_credential(&self, grant: &GrantKey) -> bool {
        self.of(grant).iter().any(|read| read.format.holds_credential())
    }

    /// Returns the places of a grant with what is there.
    pub(crate) fn places(&self, grant: &GrantKey) -> Arc<Vec<ReadPlace>> {
        self.places.get(grant).cloned().unwrap_or_default()
    }

    /// Returns what the steps of a plan need: the files that they write, and the credentials at the places they name.
    pub(crate) fn named_in(&self, plan: &ClusterPlan) -> NamedOutputs {
        let mut named = NamedOutputs::default();
        for step in &plan.steps {
            if let Step::Remove(remove) = step {
                let of_files = remove.removals.iter().filter_map(|removal| match removal {
                    Removal::Entries(removal) => Some(&removal.file),
                    Removal::TokenFile(removal) => Some(&removal.token_file),
                    Removal::Secret(_) => None,
                });
                of_files.filter_map(|file| self.files.get(file)).for_each(|file| named.files.add(file));
            }
            let Some(profile) = step.profile() else { continue };
            let grant = GrantKey { cluster: plan.cluster.clone(), profile: profile.clone() };
            let sources: BTreeSet<&Arc<Place>> = step.sources().iter().map(|source| &source.place).collect();
            for read in self.of(&grant) {
                match &*read.place {
                    Place::Context(ContextPlace { file: path, .. })
                    | Place::TokenFile(TokenPlace { token_file: path }) => {
                        self.files.get(path).into_iter().for_each(|file| named.files.add(file));
                    }
                    Place::Secret(place) => drop(named.secrets.insert(place.clone(), read.secret().cloned())),
                }
                let credential = sources.contains(&read.place).then(|| read.credential()).flatten();
                named.credentials.extend(credential.map(|credential| (read.place.clone(), credential)));
            }
        }
        named
    }

    /// Returns the newest credential of a grant that its outputs hold.
    pub(crate) fn newest(&self, grant: &GrantKey) -> Option<Newest> {
        let facts = self.of(grant).iter().filter_map(|read| read.held()?.facts());
        facts.max_by_key(|facts| facts.generation).map(Newest::from)
    }

    /// Returns what the outputs of a grant hold, compared with the newest generation; `lacking` are those that a run
    /// would write.
    pub(crate) fn statuses(&self, grant: &GrantKey, newest: Option<u64>, lacking: &[Arc<Place>]) -> Vec<OutputStatus> {
        let status = |read: &ReadPlace| {
            let is_altered = |held: &Held| !held.is_complete() || lacking.contains(&read.place);
            let (holds, generation) = match (&read.found, read.format.holds_credential()) {
                (Found::Nothing, _) => (Holds::Nothing, None),
                (Found::Others(_), _) => (Holds::Foreign, None),
                (Found::Ours(held) | Found::TakenBack(held), false) => match held.other_holder() {
                    Some(_) => (Holds::AnotherHolders, None),
                    None if is_altered(held) => (Holds::Altered, None),
                    None => (Holds::Plugin, None),
                },
                (Found::Ours(held) | Found::TakenBack(held), true) => match (held.facts(), held.other_holder()) {
                    (Some(facts), _) if Some(facts.generation) == newest => {
                        (if is_altered(held) { Holds::Altered } else { Holds::Newest }, newest)
                    }
                    (Some(facts), _) => (Holds::Another, Some(facts.generation)),
                    (None, Some(other)) => (Holds::AnotherHolders, other.token.map(|(generation, _)| generation)),
                    (None, None) => (Holds::Nothing, None),
                },
            };
            OutputStatus { path: read.place.to_string(), holds, generation }
        };
        self.of(grant).iter().map(status).collect()
    }

    /// Returns the places where something of a grant was altered, as far as this is known without its cluster.
    pub(crate) fn altered(&self, grant: &GrantKey, mark: &Mark) -> Vec<Arc<Place>> {
        let is_altered =
            |read: &&ReadPlace| read.held().is_some_and(|held| held.is_altered_wherever_it_leads(&read.format, mark));
        self.of(grant).iter().filter(is_altered).map(|read| read.place.clone()).collect()
    }

    /// Returns the places that hold a token of a grant, each different token once.
    pub(crate) fn sources(&self, grant: &GrantKey) -> Vec<Source> {
        let mut sources: Vec<(Source, SecretToken)> = vec![];
        for read in self.of(grant) {
            let Some(Credential { facts, token }) = read.held().and_then(Held::credential) else { continue };
            if !sources.iter().any(|(_, known)| known.is_same_as(&token)) {
                sources.push((Source { place: read.place.clone(), facts }, token));
            }
        }
        sources.into_iter().map(|(source, _)| source).collect()
    }

    /// Returns what the places of a grant say of its API server, if the name of its cluster may be another one's.
    pub(crate) fn origins(&self, grant: &Grant) -> Vec<Origin> {
        origins(grant, self.of(&grant.key()))
    }
}

/// Returns the token file of a place, if it has one.
fn token_file(read: &ReadPlace) -> Option<PathBuf> {
    let Format::Kubeconfig(names) = &*read.format else { return None };
    match &names.form {
        UserForm::TokenFile(relative) => Some(token_file_path(read.place.file()?, relative)),
        UserForm::Token | UserForm::Exec(_) => None,
    }
}
