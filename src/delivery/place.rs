//! What names a place that can hold a credential.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;

/// Identifies a place, which can hold a credential. Each place of an inventory is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Place {
    /// A context of a kubeconfig.
    Context(ContextPlace),
    /// A file with a token and nothing else.
    TokenFile(TokenPlace),
    /// A Secret.
    Secret(SecretPlace),
}

/// One context of one output file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ContextPlace {
    /// The file.
    pub file: PathBuf,
    /// The name of the context in it.
    pub context: String,
}

/// A file with a token and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TokenPlace {
    /// The file.
    pub token_file: PathBuf,
}

/// A Secret in a hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SecretPlace {
    /// The hub.
    pub hub: HubName,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Names a hub: a cluster that Secrets are written to. It is the name of a cluster of the inventory, or says how the hub is
/// reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HubName(Arc<str>);

impl HubName {
    /// Wraps a name, which is only shown and compared.
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Place {
    /// Names one context of a file.
    pub(crate) fn context(file: impl Into<PathBuf>, context: impl Into<String>) -> Self {
        Self::Context(ContextPlace { file: file.into(), context: context.into() })
    }

    /// Names a file with a token and nothing else.
    pub(crate) fn token_file(path: impl Into<PathBuf>) -> Self {
        Self::TokenFile(TokenPlace { token_file: path.into() })
    }

    /// Returns the file, if it is in one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Context(place) => Some(&place.file),
            Self::TokenFile(place) => Some(&place.token_file),
            Self::Secret(_) => None,
        }
    }

    /// Returns whether every machine with the inventory sees what is there; a file is on one machine.
    pub(crate) fn is_seen_everywhere(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

impl SecretPlace {
    /// Returns the address of the Secret in its hub.
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::delivered(&self.namespace, &self.name)
    }
}

/// Shows as reports and messages name it, for quoting in backticks: the path of the file, or the Secret and its hub.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(place) => place.file.display().fmt(f),
            Self::TokenFile(place) => place.token_file.display().fmt(f),
            Self::Secret(place) => place.fmt(f),
        }
    }
}

/// Shows as `Secret argocd/prod-eu in hub`, for quoting in backticks.
impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{} in {}", self.namespace, self.name, self.hub)
    }
}
