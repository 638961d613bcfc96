//! An output of an inventory: templates that decide which grants share a file, and what its entries are called.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::names::GrantKey;

/// Names an output among those of its inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(usize);

impl OutputId {
    /// Returns the id of the output that is written as the `number`th, from 0.
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

/// A kubeconfig output: templates that decide which grants share a file, and its entry names.
///
/// Templates know `{cluster}`, `{profile}`, `{inventory}` and `{holder}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Names it.
    pub id: OutputId,
    /// The template of the file's path; absolute after resolution.
    pub path: String,
    /// How user entries give their credential.
    pub credential: CredentialForm,
    /// The program that entries of form [`CredentialForm::Exec`] run; the one that writes them if absent.
    pub command: Option<PathBuf>,
    /// The directory of token files that such entries read.
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
    /// The same, to look them up.
    pub holds: HashSet<GrantKey>,
}

impl Output {
    /// Whether several holders write into one file, and name their contexts apart, but not their cluster entries.
    pub(crate) fn shares_clusters_among_holders(&self) -> bool {
        const HOLDER: &str = "{holder}";
        let cluster = self.cluster.as_ref().unwrap_or(&self.context);
        let names_holder =
            self.context.contains(HOLDER) || self.user.as_ref().is_some_and(|user| user.contains(HOLDER));
        names_holder && !self.path.contains(HOLDER) && !cluster.contains(HOLDER)
    }
}
