//! Reads what the output files hold, before any cluster is contacted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CommandContext;
use crate::credential::policy_fingerprint;
use crate::error::Error;
use crate::executor::apply::PublicationSlot;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::exit_code::ExitCode;
use crate::failure::StepFailure;
use crate::inventory::{CredentialForm, Inventory};
use crate::kubeconfig::edit::check_editable;
use crate::kubeconfig::{Document, EntryNames, EntryState, ExecPlugin, FileOrder, Held, Mark, UserForm, remove};
use crate::layout::{Layout, OutputEntry};
use crate::names::{ClusterName, Holder, ProfileName, token_directory_name, token_file_name};
use crate::plan::{Newest, OutputSlot};
use crate::report::{GrantPaths, Holds, OutputStatus};
use crate::secret::SecretToken;
use crate::store::{self, BreakLock};

/// What the output files hold for each grant.
#[derive(Debug)]
pub(super) struct Outputs {
    /// The files, in the order of the layout.
    pub(super) targets: Vec<TargetFile>,
    /// The places of each grant, by the grant's index in the inventory.
    slots: BTreeMap<usize, Vec<(PublicationSlot, EntryState)>>,
    /// The files that were skipped, and why.
    pub(super) warnings: Vec<String>,
}

/// The entries of one grant in a file, and whose they must be to be removed.
type Whose = (EntryNames, ClusterName, ProfileName);

/// What happens if a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damaged {
    /// The run ends before anything is contacted: a credential could not be delivered.
    Refuse,
    /// It counts as empty: nothing is delivered.
    Skip,
}

impl Outputs {
    /// Reads every file that a selected grant goes to.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or edited, or holds an entry of the same name that is not ours: then
    /// nothing at all is done, because a credential could not be delivered.
    pub(super) fn read(
        inventory: &Inventory,
        layout: &Layout,
        holder: &Holder,
        caller: &PluginCaller,
        is_selected: &dyn Fn(usize) -> bool,
        damaged: Damaged,
    ) -> Result<Self, Error> {
        let mut warnings = vec![];
        let mut targets = vec![];
        let mut slots: BTreeMap<usize, Vec<(PublicationSlot, EntryState)>> = BTreeMap::new();
        let mut collisions = vec![];
        let mut identities: HashMap<PathBuf, PathBuf> = HashMap::new();
        for (file, output) in layout.files.iter().enumerate() {
            let names = |entry: &OutputEntry| caller.names(inventory, holder, &output.path, entry);
            let all_names: Vec<EntryNames> = output.entries.iter().map(names).collect();
            let is_used = output.entries.iter().any(|entry| is_selected(entry.grant));
            let document = match is_used.then(|| read_document(&output.path)) {
                None => None,
                Some(Ok(document)) => Some(document),
                Some(Err(error)) if damaged == Damaged::Skip => {
                    warnings.push(format!("{}: {}", error.message, error.causes.join(": ")));
                    None
                }
                Some(Err(error)) => return Err(error),
            };
            targets.push(TargetFile {
                path: output.path.clone(),
                order: Arc::new(FileOrder::new(&all_names)),
                current_context: output.current_context.clone(),
                others: document.as_ref().map_or(0, |document| document.entries_of_others(&inventory.name)),
            });
            let Some(document) = document else { continue };
            let identity =
                store::identity(&output.path).map_err(|error| unusable(&output.path, describe(&error).cause))?;
            if let Some(other) = identities.insert(identity, output.path.clone()) {
                return Err(unusable(&output.path, format!("it is the same file as `{}`", other.display())));
            }
            for (entry, names) in output.entries.iter().zip(all_names) {
                if !is_selected(entry.grant) {
                    continue;
                }
                let grant = &inventory.grants[entry.grant];
                let mark = Mark {
                    inventory: inventory.name.clone(),
                    holder: holder.clone(),
                    cluster: grant.cluster.name.clone(),
                    profile: grant.profile.name.clone(),
                };
                let state = match with_token_file(&output.path, &names, &mark, document.state(&names, &mark)) {
                    Ok(state) => state,
                    Err(error) if damaged == Damaged::Skip => {
                        warnings.push(format!("{}: {}", error.message, error.causes.join(": ")));
                        EntryState::Absent
                    }
                    Err(error) => return Err(error),
                };
                if let EntryState::Foreign { list, name } = &state {
                    collisions.push(format!(
                        "  {}: {list} `{name}` exists and is not kubemint's; it would be `{}` on `{}`",
                        output.path.display(),
                        mark.profile,
                        mark.cluster
                    ));
                }
                slots
                    .entry(entry.grant)
                    .or_default()
                    .push((PublicationSlot { grant: entry.grant, file, names }, state));
            }
        }
        if collisions.is_empty() || damaged == Damaged::Skip {
            return Ok(Self { targets, slots, warnings });
        }
        let count = crate::wording::count(collisions.len(), "output entry").replace("entrys", "entries");
        let mut error = Error::new(ExitCode::Blocked, format!("{count} would overwrite what is not kubemint's"))
            .hint("rename the entry in the file, or set another `context` in that `[[outputs]]`; nothing was written");
        error.lines = collisions;
        Err(error)
    }

    /// Checks that every file a selected grant goes to could be replaced, before anything is minted
    /// for it.
    ///
    /// # Errors
    ///
    /// If one is locked, or its directory cannot be written.
    pub(super) fn check_replaceable(&self, break_lock: BreakLock) -> Result<(), Error> {
        let used: BTreeSet<usize> = self.slots.values().flatten().map(|(slot, _)| slot.file).collect();
        for file in used {
            let path = &self.targets[file].path;
            store::check_replaceable(path, break_lock).map_err(|error| {
                let failure = describe(&error);
                let unusable = unusable(path, failure.cause);
                match failure.hint {
                    Some(hint) => unusable.hint(format!("{hint}; nothing was written")),
                    None => unusable,
                }
            })?;
        }
        Ok(())
    }

    /// Returns why a file of a grant could not be replaced. `checked` remembers what was found.
    pub(super) fn unwritable(
        &self,
        grant: usize,
        break_lock: BreakLock,
        checked: &mut HashMap<usize, Option<StepFailure>>,
    ) -> Option<StepFailure> {
        let slots = self.slots.get(&grant).into_iter().flatten();
        let mut failures = slots.map(|(slot, _)| {
            let check = || store::check_replaceable(&self.targets[slot.file].path, break_lock);
            checked.entry(slot.file).or_insert_with(|| check().err().map(|error| describe(&error))).clone()
        });
        failures.find_map(|failure| failure)
    }

    /// Returns the places of a grant with what is there.
    pub(super) fn plan_slots(&self, grant: usize) -> Vec<OutputSlot> {
        let slots = self.slots.get(&grant).into_iter().flatten();
        slots.map(|(slot, state)| OutputSlot { names: slot.names.clone(), state: state.clone() }).collect()
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

    /// Returns what the outputs of a grant hold, compared with the newest generation.
    pub(super) fn statuses(&self, grant: usize, newest: Option<u64>) -> Vec<OutputStatus> {
        let status = |(slot, state): &(PublicationSlot, EntryState)| {
            let (holds, generation) = match state {
                EntryState::Absent => (Holds::Nothing, None),
                EntryState::Foreign { .. } => (Holds::Foreign, None),
                EntryState::Ours(_) if matches!(slot.names.form, UserForm::Exec(_)) => (Holds::Plugin, None),
                EntryState::Ours(held) => match (&held.credential, &held.other_holder) {
                    (Some((_, facts)), _) if Some(facts.generation) == newest => (Holds::Newest, newest),
                    (Some((_, facts)), _) => (Holds::Another, Some(facts.generation)),
                    (None, Some(other)) => (Holds::AnotherHolders, Some(other.generation)),
                    (None, None) => (Holds::Nothing, None),
                },
            };
            OutputStatus { path: self.targets[slot.file].path.display().to_string(), holds, generation }
        };
        self.slots.get(&grant).into_iter().flatten().map(status).collect()
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
        break_lock: BreakLock,
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
                store::update(path, break_lock, |before| remove(before.unwrap_or_default(), &inventory.name, &entries));
            let token_files = entries.iter().filter_map(|(names, ..)| match &names.form {
                UserForm::TokenFile(relative) => Some(token_file_path(path, relative)),
                UserForm::Token | UserForm::Exec(_) => None,
            });
            let removed = removed
                .map(drop)
                .and_then(|()| token_files.into_iter().try_for_each(|file| store::remove(&file, break_lock)));
            if let Err(error) = removed {
                let failure = describe(&error);
                failures.extend(grants.into_iter().map(|grant| (grant, failure.clone())));
            }
        }
        failures
    }

    /// Returns the paths of the files of every grant, for reports.
    pub(super) fn paths(&self, grants: usize) -> GrantPaths {
        let path = |slot: &PublicationSlot| self.targets[slot.file].path.display().to_string();
        let of = |grant| self.slots.get(&grant).into_iter().flatten().map(|(slot, _)| path(slot)).collect();
        (0..grants).map(of).collect()
    }
}

/// What the entries of exec plugins say about who calls kubemint.
#[derive(Debug, Clone)]
pub(super) struct PluginCaller {
    /// The program that runs.
    program: PathBuf,
    /// The absolute path of the inventory.
    inventory: PathBuf,
}

impl PluginCaller {
    /// Returns what the process says about itself.
    pub(super) fn of(context: &CommandContext<'_>) -> Self {
        Self {
            program: context.environment.program.clone(),
            inventory: context.environment.directory.join(&context.global.inventory),
        }
    }

    /// Returns the names of the entries of a place, and how they give the credential.
    pub(super) fn names(&self, inventory: &Inventory, holder: &Holder, path: &Path, entry: &OutputEntry) -> EntryNames {
        EntryNames {
            context: entry.context.clone(),
            cluster: entry.cluster.clone(),
            user: entry.user.clone(),
            namespace: entry.namespace.clone(),
            form: self.form(inventory, holder, path, entry),
        }
    }

    /// Returns how the user entry of a place gives its credential.
    fn form(&self, inventory: &Inventory, holder: &Holder, path: &Path, entry: &OutputEntry) -> UserForm {
        let output = &inventory.outputs[entry.output];
        let grant = &inventory.grants[entry.grant];
        let (cluster, profile) = (&grant.cluster.name, &grant.profile.name);
        match output.credential {
            CredentialForm::Token => UserForm::Token,
            CredentialForm::TokenFile => {
                let kubeconfig = path.file_name().unwrap_or_default().to_string_lossy();
                let directory = token_directory_name(&kubeconfig);
                UserForm::TokenFile(format!("{directory}/{}", token_file_name(profile, cluster)))
            }
            CredentialForm::Exec => {
                let command = output.command.as_ref().unwrap_or(&self.program).display().to_string();
                let mut args: Vec<String> = vec!["credential".to_owned()];
                let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
                match &output.credential_directory {
                    Some(directory) => add("--from", directory.display().to_string()),
                    None => {
                        add("--inventory", self.inventory.display().to_string());
                        add("--inventory-name", inventory.name.to_string());
                        add("--holder", holder.to_string());
                    }
                }
                add("--cluster", cluster.to_string());
                add("--profile", profile.to_string());
                grant.profile.token.audiences.iter().for_each(|audience| add("--audience", audience.clone()));
                add("--policy", policy_fingerprint(&grant.profile.token));
                UserForm::Exec(Arc::new(ExecPlugin { command, args }))
            }
        }
    }
}

/// Completes what a kubeconfig says with what the token file holds that it should name.
pub(super) fn with_token_file(
    path: &Path,
    names: &EntryNames,
    mark: &Mark,
    state: EntryState,
) -> Result<EntryState, Error> {
    let UserForm::TokenFile(relative) = &names.form else { return Ok(state) };
    let file = token_file_path(path, relative);
    let bytes = store::read(&file).map_err(|error| unusable(&file, describe(&error).cause))?;
    let Some(bytes) = bytes else { return Ok(state) };
    let text = String::from_utf8(bytes).map_err(|_| unusable(&file, "it is not UTF-8".to_owned()))?;
    Ok(Held::with_token_file(state, mark, &SecretToken::new(text.trim())))
}

fn unusable(path: &Path, cause: String) -> Error {
    Error::new(ExitCode::Blocked, format!("output `{}` cannot be used", path.display()))
        .because(cause)
        .hint("repair or move that file, or change the `path` of its `[[outputs]]`; nothing was written")
}

fn read_document(path: &Path) -> Result<Document, Error> {
    let bytes = store::read(path).map_err(|error| unusable(path, describe(&error).cause))?;
    let bytes = bytes.unwrap_or_default();
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable(path, "it is not UTF-8".to_owned()))?;
    let document = Document::parse(text).map_err(|error| unusable(path, error.to_string()))?;
    check_editable(&bytes).map_err(|error| unusable(path, error.to_string()))?;
    Ok(document)
}
