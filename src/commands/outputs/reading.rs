//! Reading the output files, before any cluster is contacted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Damaged, Outputs, PluginCaller};
use crate::error::Error;
use crate::executor::apply::PublicationSlot;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::exit_code::ExitCode;
use crate::failure::StepFailure;
use crate::inventory::Inventory;
use crate::kubeconfig::edit::check_editable;
use crate::kubeconfig::{
    Document, EntryNames, EntryState, FileOrder, Held, Mark, MergeError, UserForm, foreign_owner, may_replace_token,
};
use crate::layout::{Layout, OutputEntry, OutputFile};
use crate::names::Holder;
use crate::secret::SecretToken;
use crate::store;

/// Where the outputs are, and how they are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Reading<'a> {
    /// The inventory.
    pub(in crate::commands) inventory: &'a Inventory,
    /// Which file holds which entries.
    pub(in crate::commands) layout: &'a Layout,
    /// Who keeps the credentials.
    pub(in crate::commands) holder: &'a Holder,
    /// What the entries of exec plugins say.
    pub(in crate::commands) caller: &'a PluginCaller,
    /// What happens if a file cannot be used.
    pub(in crate::commands) damaged: Damaged,
}

impl Reading<'_> {
    /// Reads every file that a selected grant goes to.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or edited, or holds an entry of the same name that is not ours, and such
    /// are not to be skipped: then nothing at all is done, because a credential could not be delivered.
    pub(in crate::commands) fn read(&self, is_selected: &dyn Fn(usize) -> bool) -> Result<Outputs, Error> {
        let mut outputs = Outputs::default();
        let mut collisions = vec![];
        let mut identities: HashMap<PathBuf, PathBuf> = HashMap::new();
        for (file, output) in self.layout.files.iter().enumerate() {
            let names = |entry: &OutputEntry| self.caller.names(self.inventory, self.holder, &output.path, entry);
            let all_names: Vec<EntryNames> = output.entries.iter().map(names).collect();
            let is_used = output.entries.iter().any(|entry| is_selected(entry.grant));
            let document = is_used.then(|| document(output, &mut identities));
            outputs.targets.push(TargetFile {
                path: output.path.clone(),
                order: Arc::new(FileOrder::new(&all_names)),
                current_context: output.current_context.clone(),
                others: match &document {
                    Some(Ok(document)) => document.entries_of_others(&self.inventory.name),
                    Some(Err(_)) | None => 0,
                },
            });
            let document = match document {
                None => continue,
                Some(Ok(document)) => Ok(document),
                Some(Err(error)) if self.damaged == Damaged::Skip => {
                    outputs.warnings.push(format!("{}: {}", error.message, error.causes.join(": ")));
                    Err(failure(error))
                }
                Some(Err(error)) => return Err(error),
            };
            for (entry, names) in output.entries.iter().zip(all_names) {
                if !is_selected(entry.grant) {
                    continue;
                }
                let state = match self.state(output, entry, &names, document.as_ref()) {
                    Ok(state) => state,
                    Err(failed) => {
                        if self.damaged == Damaged::Refuse {
                            return Err(unusable(&output.path, failed.cause));
                        }
                        outputs.unusable.entry(entry.grant).or_insert(failed);
                        EntryState::Absent
                    }
                };
                if let EntryState::Foreign { list, name, inventory } = &state {
                    let grant = &self.inventory.grants[entry.grant];
                    let (path, profile, cluster) = (output.path.display(), &grant.profile.name, &grant.cluster.name);
                    let owner = foreign_owner(inventory.as_deref());
                    let what = format!("{path}: {list} `{name}` exists and {owner}");
                    collisions.push(format!("  {what}; it would be `{profile}` on `{cluster}`"));
                    outputs.unusable.entry(entry.grant).or_insert_with(|| StepFailure::new(what).hint(RENAME));
                }
                let slot = PublicationSlot { grant: entry.grant, file, names };
                outputs.slots.entry(entry.grant).or_default().push((slot, state));
            }
        }
        if collisions.is_empty() || self.damaged == Damaged::Skip {
            return Ok(outputs);
        }
        let count = crate::wording::count(collisions.len(), "output entry").replace("entrys", "entries");
        let mut error = Error::new(ExitCode::Blocked, format!("{count} would overwrite what is not kubemint's"))
            .hint(format!("{RENAME}; nothing was written"));
        error.lines = collisions;
        Err(error)
    }

    /// Returns what a file holds for one of its entries.
    fn state(
        &self,
        output: &OutputFile,
        entry: &OutputEntry,
        names: &EntryNames,
        document: Result<&Document, &StepFailure>,
    ) -> Result<EntryState, StepFailure> {
        let document = document.map_err(Clone::clone)?;
        let grant = &self.inventory.grants[entry.grant];
        let mark = Mark::of(&self.inventory.name, self.holder, grant);
        with_token_file(&output.path, names, &mark, document.state(names, &mark)).map_err(failure)
    }
}

/// What to do about an entry of somebody else's.
const RENAME: &str = "rename the entry in the file, or set another `context` in that `[[outputs]]`";

/// Returns an error about one file as the failure of those grants that go there.
fn failure(error: Error) -> StepFailure {
    let cause = std::iter::once(error.message).chain(error.causes).collect::<Vec<_>>().join(": ");
    StepFailure { hint: error.hint, ..StepFailure::new(cause) }
}

/// Reads a file; two paths to one file are noticed.
fn document(output: &OutputFile, identities: &mut HashMap<PathBuf, PathBuf>) -> Result<Document, Error> {
    let document = read_document(&output.path)?;
    let identity = store::identity(&output.path).map_err(|error| unusable(&output.path, describe(&error).cause))?;
    match identities.insert(identity, output.path.clone()) {
        Some(other) => Err(unusable(&output.path, format!("it is the same file as `{}`", other.display()))),
        None => Ok(document),
    }
}

/// Completes what a kubeconfig says with what the token file holds that it should name.
pub(in crate::commands) fn with_token_file(
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
    if !may_replace_token(text.trim()) {
        return Err(unusable(&file, MergeError::NotToken.to_string()));
    }
    Ok(Held::with_token_file(state, mark, &SecretToken::new(text.trim())))
}

pub(super) fn unusable(path: &Path, cause: String) -> Error {
    Error::new(ExitCode::Blocked, format!("output `{}` cannot be used", path.display()))
        .because(cause)
        .hint("repair or move that file, or change the `path` of its `[[outputs]]`")
}

fn read_document(path: &Path) -> Result<Document, Error> {
    let bytes = store::read(path).map_err(|error| unusable(path, describe(&error).cause))?;
    let bytes = bytes.unwrap_or_default();
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable(path, "it is not UTF-8".to_owned()))?;
    let document = Document::parse(text).map_err(|error| unusable(path, error.to_string()))?;
    check_editable(&bytes).map_err(|error| unusable(path, error.to_string()))?;
    Ok(document)
}
