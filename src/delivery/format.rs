//! The form in which a credential is written at a place.

use serde::{Deserialize, Serialize};

use crate::credential::Credential;
use crate::kubeconfig::{Endpoint, EntryNames, Mark, OurEntries, UserForm};

/// The form in which a credential is written at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// Entries of a kubeconfig, under these names.
    Kubeconfig(EntryNames),
}

/// What a place should hold.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Entries of a kubeconfig.
    Kubeconfig(OurEntries),
}

impl Format {
    /// Whether the place holds the credential itself, rather than the entries of a plugin.
    pub(crate) fn holds_credential(&self) -> bool {
        let Self::Kubeconfig(names) = self;
        !matches!(names.form, UserForm::Exec(_))
    }

    /// Returns what a place should hold.
    pub(crate) fn wanted(&self, mark: &Mark, endpoint: &Endpoint, credential: Option<&Credential>) -> Wanted {
        let Self::Kubeconfig(names) = self;
        Wanted::Kubeconfig(OurEntries::render(names, mark, endpoint, credential))
    }
}
