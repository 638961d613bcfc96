//! Where clusters are found by themselves, and the Secrets that hold their admin access.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::model::{AdminAccess, KubeconfigSource};
use super::syntax;

/// Names a source of clusters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryId(Arc<str>);

impl DiscoveryId {
    /// Wraps a name, which is only shown and compared.
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DiscoveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source of clusters: one `[[discover]]` of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Its name.
    pub id: DiscoveryId,
    /// What is asked.
    pub kind: DiscoveryKind,
    /// The template of the names of clusters.
    pub name: String,
    /// The labels that are taken over from what is found.
    pub labels: Vec<String>,
    /// The labels that all of its clusters get.
    pub add_labels: BTreeMap<String, String>,
    /// Whether its clusters are those of a file that `kubemint discover --write` wrote.
    pub is_frozen: bool,
}

/// What is asked for clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryKind {
    /// Objects of a hub, which lead to Secrets there.
    Hub(Arc<DiscoveryHub>),
    /// Kubeconfigs on this machine: each context is a cluster.
    Kubeconfigs(KubeconfigSource),
    /// A program that prints one JSON object for each cluster.
    Command(Vec<String>),
}

/// A cluster whose objects lead to other clusters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DiscoveryHub {
    /// How it is reached.
    pub access: AdminAccess,
    /// Whether it may be reached without checking its certificate.
    pub allow_insecure: bool,
    /// Whose objects they are.
    pub preset: DiscoveryPreset,
    /// The namespaces that are looked in; all if it is empty.
    pub namespaces: Vec<String>,
    /// The label selector of the objects.
    pub selector: String,
    /// The pattern of the objects' names.
    pub named: Option<String>,
    /// The type of the Secrets.
    pub secret_type: Option<String>,
    /// The key of the kubeconfig.
    pub key: Option<String>,
    /// The namespace of the Secrets that `secretreader` reads, if it is not that of the profile.
    pub secret_namespace: Option<String>,
    /// Whether the kubeconfigs may run programs and name files of this machine.
    pub allow_exec: bool,
}

/// Whose objects lead to clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiscoveryPreset {
    /// Cluster API: Secrets with kubeconfigs.
    ClusterApi,
    /// Argo CD: Secrets with its own form of access.
    Argocd,
    /// Sveltos: objects of kind `SveltosCluster`, which name Secrets.
    Sveltos,
    /// Rancher Fleet: objects of kind `Cluster`, which name Secrets.
    RancherFleet,
    /// vCluster: Secrets with kubeconfigs.
    Vcluster,
    /// Any Secrets with kubeconfigs.
    Kubeconfig,
    /// The ClusterProfile API: objects whose access providers name Secrets.
    ClusterProfile,
}

impl DiscoveryPreset {
    /// Returns how the inventory calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClusterApi => "capi",
            Self::Argocd => "argocd",
            Self::Sveltos => "sveltos",
            Self::RancherFleet => "rancher-fleet",
            Self::Vcluster => "vcluster",
            Self::Kubeconfig => "kubeconfig",
            Self::ClusterProfile => "cluster-profile",
        }
    }
}

/// A Secret that holds the admin access of a cluster. It is only ever held in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AdminSecret {
    /// The source that it is of.
    pub source: DiscoveryId,
    /// The hub that it is in.
    pub hub: Arc<DiscoveryHub>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key of the kubeconfig; without it, what the preset says.
    pub key: Option<String>,
    /// The ClusterProfile that says where the cluster is, as `NAMESPACE/NAME`, if the Secret holds a token only.
    pub profile: Option<String>,
}

/// Where somebody has seen an access lead. It is refused if it leads elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The address of the API server.
    pub server: Option<String>,
    /// The digest of how that is reached and trusted: address, CA, name in the certificate, proxy.
    pub endpoint: Option<String>,
}

impl AdminSecret {
    /// Whether Kubernetes could have a Secret of that name. What a server names otherwise is not asked for.
    pub(crate) fn is_possible(&self) -> bool {
        syntax::dns_label(&self.namespace).is_ok() && syntax::dns_subdomain(&self.name).is_ok()
    }
}

/// Shows as messages name it.
impl fmt::Display for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{} of discovery {}", self.namespace, self.name, self.source)
    }
}
