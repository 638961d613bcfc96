//! An output of an inventory: its templates decide which grants share a file, and the names of its entries.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::names::GrantKey;

/// Identifies an output in its inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(usize);

impl OutputId {
    /// Returns the id of the `number`th output in the inventory, from 0.
    pub(crate) fn new(number: usize) -> Self {
        Self(number)
    }
}

/// How a user entry of a kubeconfig gives its credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CredentialForm {
    /// It holds the token.
    #[default]
    Token,
    /// It names a file that holds the token.
    TokenFile,
    /// It names a program that is asked for a token.
    Exec,
}

/// What the files of an output hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileForm {
    /// Entries of a kubeconfig.
    #[default]
    Kubeconfig,
    /// The token of one grant and nothing else.
    TokenFile,
}

/// An output of files: its templates decide which grants share a file, and the names of its entries.
///
/// Templates know `{cluster}`, `{profile}`, `{inventory}` and `{holder}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its id.
    pub id: OutputId,
    /// What its files hold.
    pub form: FileForm,
    /// The template of the file's path; absolute after resolution.
    pub path: String,
    /// How user entries give their credential.
    pub credential: CredentialForm,
    /// The program that entries of form [`CredentialForm::Exec`] run; by default, the program that writes them.
    pub command: Option<PathBuf>,
    /// The directory of the token files that entries of form [`CredentialForm::TokenFile`] name.
    pub credential_directory: Option<PathBuf>,
    /// The template of the context names.
    pub context: String,
    /// The template of the cluster entries' names; the context's if absent.
    pub cluster: Option<String>,
    /// The template of the user entries' names; the context's if absent.
    pub user: Option<String>,
    /// The namespace of the contexts.
    pub namespace: Option<String>,
    /// The context that becomes current.
    pub current_context: Option<String>,
    /// The grants that go here, in their order.
    pub grants: Vec<GrantKey>,
    /// The same grants, for looking them up.
    pub holds: HashSet<GrantKey>,
}

impl Output {
    /// Whether several holders share a file, with different context names but the same cluster entries.
    pub(crate) fn shares_clusters_among_holders(&self) -> bool {
        const HOLDER: &str = "{holder}";
        let cluster = self.cluster.as_ref().unwrap_or(&self.context);
        let names_holder =
            self.context.contains(HOLDER) || self.user.as_ref().is_some_and(|user| user.contains(HOLDER));
        names_holder && !self.path.contains(HOLDER) && !cluster.contains(HOLDER)
    }
}
