//! The form in which a credential is written at a place.

use serde::{Deserialize, Serialize};

use super::secret::{SecretContent, SecretForm};
use crate::credential::Credential;
use crate::kubeconfig::{Endpoint, EntryNames, Mark, OurEntries, UserForm};
use crate::secret::SecretToken;

/// The form in which a credential is written at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// Entries of a kubeconfig, under these names.
    Kubeconfig(EntryNames),
    /// A file with the token and nothing else.
    TokenFile,
    /// A Secret of this form.
    Secret(Box<SecretForm>),
}

/// What a place should hold.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Entries of a kubeconfig.
    Kubeconfig(OurEntries),
    /// The token and nothing else; nothing as long as it is not known.
    TokenFile(Option<SecretToken>),
    /// The content of a Secret.
    Secret(SecretContent),
}

impl Format {
    /// Whether the place holds the credential itself, rather than the entries of a plugin.
    pub(crate) fn holds_credential(&self) -> bool {
        match self {
            Self::Kubeconfig(names) => !matches!(names.form, UserForm::Exec(_)),
            Self::TokenFile | Self::Secret(_) => true,
        }
    }

    /// Returns what a place should hold.
    pub(crate) fn wanted(&self, mark: &Mark, endpoint: &Endpoint, credential: Option<&Credential>) -> Wanted {
        match self {
            Self::Kubeconfig(names) => Wanted::Kubeconfig(OurEntries::render(names, mark, endpoint, credential)),
            Self::TokenFile => Wanted::TokenFile(credential.map(|credential| credential.token.clone())),
            Self::Secret(form) => Wanted::Secret(SecretContent::render(form, mark, endpoint, credential)),
        }
    }
}
