//! In which form a credential is written to a Secret: its type, labels, annotations and keys.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{OutputId, SecretPlace};
use super::registration::Registration;
use crate::names::GrantKey;

/// A Secret that the credential of a grant goes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SecretTarget {
    /// The output that it comes from.
    pub output: OutputId,
    /// The grant.
    pub grant: GrantKey,
    /// What names it.
    pub place: SecretPlace,
    /// In which form the credential is written there.
    pub form: SecretForm,
}

/// The form of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SecretForm {
    /// The `type`, which nobody can change in an existing Secret.
    #[serde(rename = "type")]
    pub secret_type: String,
    /// The labels, besides kubemint's marks.
    pub labels: BTreeMap<String, String>,
    /// The annotations, besides kubemint's own.
    pub annotations: BTreeMap<String, String>,
    /// The data, by key.
    pub data: BTreeMap<String, Value>,
    /// The key by whose value the consumer tells clusters apart, if there is one.
    pub identity: Option<String>,
    /// How the consumer takes a change.
    pub rotation: Rotation,
    /// What is restarted to take a change, if somebody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Whether a missing namespace is created.
    pub creates_namespace: bool,
    /// The object by which the consumer finds the Secret, if it is to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// The value of a key: pieces that are put together.
pub(crate) type Value = Vec<Piece>;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Piece {
    /// This text.
    Text(String),
    /// The token.
    Token,
    /// The CA certificates of the cluster in PEM, empty if consumers trust it by their system's.
    Authority,
    /// The URL of the API server.
    Server,
    /// A whole kubeconfig with the token.
    Kubeconfig(KubeconfigNames),
    /// The JSON that Argo CD keeps in the key `config` (`v1alpha1.ClusterConfig`), with the token.
    ArgocdConfig,
}

/// The names in a kubeconfig of one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct KubeconfigNames {
    /// The context.
    pub context: String,
    /// The cluster entry.
    pub cluster: String,
    /// The user entry.
    pub user: String,
}

/// How a consumer takes a changed Secret, which decides how it is replaced, and how long the token before must live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rotation {
    /// It watches the Secret.
    Watch,
    /// It reads the Secret each time that it uses it.
    EachUse,
    /// It reads the Secret again after the API server refused the token.
    On401,
    /// It notices only that a Secret came or went.
    Recreate,
    /// It reads the Secret when it starts.
    Restart,
}

impl Rotation {
    /// Returns how the inventory calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::EachUse => "each-use",
            Self::On401 => "on-401",
            Self::Recreate => "recreate",
            Self::Restart => "restart",
        }
    }

    /// Returns how long a superseded token must stay valid at least, so that the consumer has the newer one by then.
    ///
    /// A watch takes seconds, and a controller may be restarting meanwhile. Who reads at each use, or after a refusal, uses
    /// what it read for one request or reconciliation, which Flux and Crossplane repeat within ten minutes.
    pub(crate) fn shortest_overlap(self) -> Duration {
        match self {
            Self::Watch | Self::Recreate => Duration::from_secs(60),
            Self::EachUse | Self::On401 | Self::Restart => Duration::from_secs(10 * 60),
        }
    }
}

impl SecretForm {
    /// Returns the form of a Secret that holds nothing.
    pub(super) fn of_nothing() -> Self {
        Self {
            secret_type: "Opaque".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            data: BTreeMap::new(),
            identity: None,
            rotation: Rotation::Watch,
            workload: None,
            creates_namespace: false,
            registration: None,
        }
    }

    /// Returns whether a value takes part in telling whether the token is there.
    pub(super) fn has_token(value: &[Piece]) -> bool {
        value.iter().any(|piece| matches!(piece, Piece::Token | Piece::Kubeconfig(_) | Piece::ArgocdConfig))
    }
}
