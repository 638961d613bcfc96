//! Reading the outputs, before any cluster of a grant is contacted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Outputs, PluginCaller};
use crate::delivery::{Format, Layout, OutputEntry, OutputFile, Place, ReadPlace};
use crate::error::Error;
use crate::executor::Hubs;
use crate::executor::publish::{TargetFile, describe, token_file_path};
use crate::exit_code::ExitCode;
use crate::failure::StepFailure;
use crate::inventory::{GrantKey, Inventory};
use crate::kubeconfig::edit::{check_editable, check_editable_once_read};
use crate::kubeconfig::{
    Document, EntryNames, EntryState, FileOrder, Held, Mark, MergeError, UserForm, may_replace_token,
};
use crate::names::Holder;
use crate::plan::BlockerKind;
use crate::secret::SecretToken;
use crate::store;

/// Where the outputs are, and how they are read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The inventory.
    pub(crate) inventory: Arc<Inventory>,
    /// Which file holds which entries.
    pub(crate) layout: Arc<Layout>,
    /// Who keeps the credentials.
    pub(crate) holder: Holder,
    /// The program and arguments for the entries of exec plugins.
    pub(crate) caller: PluginCaller,
    /// The clusters whose Secrets are outputs.
    pub(crate) hubs: Arc<Hubs>,
}

impl Reading {
    /// Reads every place that a selected grant goes to. A file that cannot be read or edited makes its grants unusable;
    /// the others go on without them.
    ///
    /// # Errors
    ///
    /// If the thread that reads was lost.
    pub(crate) async fn read(
        self,
        is_selected: impl Fn(&GrantKey) -> bool + Send + Sync + 'static,
    ) -> Result<Outputs, Error> {
        let reading = self.clone();
        let read = in_thread(move || {
            let mut outputs = reading.files(&is_selected);
            reading.read_tokens(&mut outputs, &is_selected);
            (outputs, is_selected)
        })
        .await;
        let (mut outputs, is_selected) = read?;
        self.read_secrets(&mut outputs, &is_selected).await;
        Ok(outputs)
    }

    fn files(&self, is_selected: &dyn Fn(&GrantKey) -> bool) -> Outputs {
        let mut outputs = Outputs::default();
        let mut identities: HashMap<PathBuf, PathBuf> = HashMap::new();
        let is_used = |output: &&OutputFile| output.entries.iter().any(|entry| is_selected(&entry.grant));
        for output in self.layout.files.iter().filter(is_used) {
            let named = |entry: &'_ OutputEntry| self.caller.names(&self.inventory, &self.holder, &output.path, entry);
            let entries: Vec<(&OutputEntry, EntryNames)> =
                output.entries.iter().map(|entry| (entry, named(entry))).collect();
            let document = self.document(&output.path, &entries, &mut identities);
            let order = FileOrder::new(entries.iter().map(|(_, names)| names));
            let target = Arc::new(TargetFile {
                path: output.path.clone(),
                current_context: output.current_context.clone(),
                others: match &document {
                    Ok(document) => document.entries_of_others(&self.inventory.name, &order),
                    Err(_) => 0,
                },
                order: Arc::new(order),
            });
            outputs.files.insert(output.path.clone(), target);
            let document = document.map_err(|error| {
                outputs.warnings.push(format!("{}: {}", error.message, error.causes.join(": ")));
                failure(error)
            });
            for (entry, names) in entries {
                if !is_selected(&entry.grant) {
                    continue;
                }
                let state = self.state(&output.path, entry, &names, document.as_ref()).unwrap_or_else(|failed| {
                    outputs.unusable.entry(entry.grant.clone()).or_insert((BlockerKind::OutputUnusable, failed));
                    EntryState::Absent
                });
                let place = Place::context(&output.path, &names.context);
                let (place, format) = (Arc::new(place), Arc::new(Format::Kubeconfig(names)));
                let read = ReadPlace { place, format, found: state.into() };
                outputs.add(entry.grant.clone(), read);
            }
        }
        outputs
    }

    /// Reads a file. It is an error if two paths lead to the same file.
    fn document(
        &self,
        path: &Path,
        entries: &[(&OutputEntry, EntryNames)],
        identities: &mut HashMap<PathBuf, PathBuf>,
    ) -> Result<Document, Error> {
        // Recognising our entries without their mark is slow and rarely needed.
        let has_unmarked = |document: &Document| {
            entries.iter().any(|(entry, names)| {
                let mark = Mark::of(&self.inventory.name, &self.holder, &entry.grant);
                matches!(document.state(names, &mark), EntryState::Foreign { inventory: None, .. })
            })
        };
        let text = read_text(path)?.unwrap_or_default();
        let document = parse_document(path, &text, has_unmarked)?;
        let identity = store::identity(path).map_err(|error| unusable(path, describe(&error).cause))?;
        match identities.insert(identity, path.to_owned()) {
            Some(other) => Err(unusable(path, format!("it is the same file as `{}`", other.display()))
                .hint("name that file in one of the two `[[outputs]]` only, or replace the link by a file of its own")),
            None => Ok(document),
        }
    }

    /// Returns the state of one entry in a file.
    fn state(
        &self,
        path: &Path,
        entry: &OutputEntry,
        names: &EntryNames,
        document: Result<&Document, &StepFailure>,
    ) -> Result<EntryState, StepFailure> {
        let document = document.map_err(Clone::clone)?;
        let mark = Mark::of(&self.inventory.name, &self.holder, &entry.grant);
        with_token_file(path, names, &mark, document.state(names, &mark)).map_err(failure)
    }
}

/// Turns an error about one file into the failure of the grants that go there.
pub(super) fn failure(error: Error) -> StepFailure {
    let cause = std::iter::once(error.message).chain(error.causes).collect::<Vec<_>>().join(": ");
    StepFailure { hint: error.hint, ..StepFailure::new(cause) }
}

/// Adds to a kubeconfig's entry the content of the token file that it should name.
pub(crate) fn with_token_file(
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

/// Returns the text of a file, if it exists.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let bytes = store::read(path).map_err(|error| unusable(path, describe(&error).cause))?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| unusable(path, "it is not UTF-8".to_owned()))
}

/// Reads a kubeconfig that can be edited.
pub(super) fn parse_document(
    path: &Path,
    text: &str,
    has_unmarked: impl Fn(&Document) -> bool,
) -> Result<Document, Error> {
    let parsed = Document::parse(text)
        .and_then(|document| if has_unmarked(&document) { Document::parse_with_unmarked(text) } else { Ok(document) });
    let document = parsed.map_err(|error| unusable(path, error.to_string()))?;
    let check = if document.is_plain() { check_editable_once_read } else { check_editable };
    check(text.as_bytes()).map_err(|error| unusable(path, error.to_string()))?;
    Ok(document)
}

/// Reads in a thread of its own: on a slow disk, an interruption is heard all the same.
///
/// # Errors
///
/// If the thread was lost: that nothing was read must not look as if nothing were there.
pub(super) async fn in_thread<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => Ok(read),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(ExitCode::Interrupted, "the outputs were not read: the program is ending")),
        },
    }
}
