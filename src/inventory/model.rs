//! The resolved inventory, after includes, defaults and selectors.
//!
//! Every value here is valid; [`crate::resolution`] is the only way to make one. Pure: no I/O, no
//! clock. Profiles and clusters are shared (`Arc`), because a grant is one profile on one cluster
//! and there may be tens of thousands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::discovery::{AdminSecret, Discovery, DiscoveryId, Seen};
use super::period::Period;
use super::wave::Wave;
use crate::delivery::{CredentialForm, HubName, Output};
use crate::names::{ClusterName, GrantKey, Holder, InventoryName, ProfileName};
use crate::rbac::Rule;

use super::policy::Policy;

/// A resolved and validated inventory.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The name in the ownership mark of every object.
    pub name: InventoryName,
    /// The holder named by the inventory; the command line may override it.
    pub holder: Holder,
    /// The clusters, in the order of the inventory.
    pub clusters: Vec<Arc<Cluster>>,
    /// The access profiles by name.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
    /// One profile on one cluster each, ordered by cluster, then by profile name; no pair twice.
    pub grants: Vec<Arc<Grant>>,
    /// The same grants, by cluster.
    pub(crate) by_cluster: HashMap<ClusterName, Vec<Arc<Grant>>>,
    /// The outputs, in the order of the inventory.
    pub outputs: Vec<Arc<Output>>,
    /// The hubs that Secrets are written to.
    pub hubs: Vec<Hub>,
    /// The waves of rollouts, in their order; what none selects comes last.
    pub(crate) waves: Vec<Arc<Wave>>,
    /// How a run behaves.
    pub run: RunPolicy,
    /// What profiles may not have.
    pub policy: Policy,
    /// Where further clusters are found by themselves.
    pub discoveries: Vec<Discovery>,
    /// The sources that did not answer, or of which something was left out, and why: not all of their clusters are known.
    pub undiscovered: Vec<(DiscoveryId, String)>,
    /// The digest of the texts that it was read from; empty if nobody asked for it.
    pub digest: String,
}

/// How a run behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPolicy {
    /// How many clusters are worked on at the same time.
    pub concurrency: usize,
    /// The time that one request may take, connection included.
    pub request_timeout: Duration,
    /// The time that all work on one cluster may take.
    pub cluster_timeout: Duration,
    /// Whether what goes wrong is said in the clusters too, as Events.
    pub events: bool,
}

/// One API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The name in the inventory.
    pub name: ClusterName,
    /// Labels that selectors match.
    pub labels: BTreeMap<String, String>,
    /// The existing credential that kubemint provisions with.
    pub admin: AdminAccess,
    /// The source that found it, in this run or as its `admin` says.
    pub found_by: Option<DiscoveryId>,
    /// The sources whose cluster of this name would come before this one, and which may find one that is not known.
    pub contested_by: Vec<Contest>,
    /// Whether the admin may connect without checking the server certificate.
    pub allow_insecure: bool,
    /// The endpoint that consumers are given, where it differs from the admin's.
    pub consumer: Consumer,
}

/// A source that may have a cluster of some name, and did not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// The source.
    pub source: DiscoveryId,
    /// What it left out that may have that name, and why; nothing if it did not answer.
    pub left_out: Option<String>,
}

/// A cluster that Secrets with the credentials of others are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// Its name; no two hubs have the same.
    pub name: HubName,
    /// The existing credential that writes there.
    pub access: AdminAccess,
    /// Whether it may connect without checking the server certificate.
    pub allow_insecure: bool,
    /// Whether it is a cluster that no source finds at the moment. Then it is as a hub that does not respond: what goes there
    /// is blocked, so that nothing ends that stands there.
    pub is_unknown: bool,
}

/// The existing credential that kubemint provisions a cluster with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AdminAccess {
    /// One context of existing kubeconfigs.
    Kubeconfig {
        /// The source of the kubeconfigs.
        source: KubeconfigSource,
        /// The context.
        context: String,
        /// Where it led when it was found.
        seen: Seen,
    },
    /// An endpoint and a credential that the inventory itself names.
    Inline(Box<InlineAdmin>),
    /// The ServiceAccount of the pod that kubemint runs in.
    InCluster,
}

impl AdminAccess {
    /// Returns the access of one context, wherever it leads.
    pub(crate) fn context(source: KubeconfigSource, context: &str) -> Self {
        Self::Kubeconfig { source, context: context.to_owned(), seen: Seen::default() }
    }

    /// Returns the source of the kubeconfigs, if it is a context of one.
    pub fn source(&self) -> Option<&KubeconfigSource> {
        match self {
            Self::Kubeconfig { source, .. } => Some(source),
            Self::Inline(_) | Self::InCluster => None,
        }
    }

    /// Returns the same access, wherever it was seen to lead.
    pub(crate) fn wherever(&self) -> Self {
        match self.clone() {
            Self::Kubeconfig { source, context, .. } => Self::context(source, &context),
            access => access,
        }
    }

    /// Returns the kubeconfigs that the inventory names one by one.
    pub fn kubeconfigs(&self) -> &[PathBuf] {
        match self {
            Self::Kubeconfig { source: KubeconfigSource::Path(path), .. } => std::slice::from_ref(path),
            Self::Kubeconfig { source: KubeconfigSource::List(paths), .. } => paths,
            _ => &[],
        }
    }

    /// Returns the files with certificates, keys and tokens that the inventory names, and their keys.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let admin = if let Self::Inline(admin) = self { Some(admin) } else { None };
        let parts = admin.map(|admin| {
            [
                ("certificate-authority", &admin.certificate_authority),
                ("token-file", &admin.token_file),
                ("client-certificate", &admin.client_certificate),
                ("client-key", &admin.client_key),
            ]
        });
        parts.into_iter().flatten().filter_map(|(key, path)| Some((key, path.as_ref()?)))
    }
}

/// Where kubeconfigs are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KubeconfigSource {
    /// One file, or all files of a directory.
    Path(PathBuf),
    /// Files that are merged as kubectl merges `KUBECONFIG`.
    List(Vec<PathBuf>),
    /// The files that a pattern matches.
    Glob(String),
    /// A Secret of another cluster.
    Secret(Arc<AdminSecret>),
}

/// An endpoint and a credential that the inventory itself names. All paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InlineAdmin {
    /// The server URL.
    pub server: String,
    /// A PEM file with the CA certificates.
    pub certificate_authority: Option<PathBuf>,
    /// A file that holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// A PEM file with a client certificate.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file with its key.
    pub client_key: Option<PathBuf>,
    /// The name that the server certificate is checked against.
    pub tls_server_name: Option<String>,
    /// The proxy.
    pub proxy_url: Option<String>,
    /// Whether the server certificate is not checked at all; needs [`Cluster::allow_insecure`].
    pub insecure_skip_tls_verify: bool,
}

/// Overrides of the endpoint that is written into issued kubeconfigs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The server URL.
    pub server: Option<String>,
    /// The absolute path of a PEM file with the CA certificates; inlined when it is written.
    pub certificate_authority: Option<PathBuf>,
    /// The name that the server certificate is checked against.
    pub tls_server_name: Option<String>,
    /// The proxy that consumers use.
    pub proxy_url: Option<String>,
    /// The endpoint at which a new credential is proven.
    pub verify: VerifyVia,
}

/// The endpoint at which a new credential is proven before it is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerifyVia {
    /// At the consumer endpoint, with what the consumer gets.
    #[default]
    Endpoint,
    /// At the admin endpoint, because the consumer's cannot be reached from here.
    Admin,
}

/// A ServiceAccount, its RBAC and its token policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name in the inventory.
    pub name: ProfileName,
    /// What the profile is for.
    pub description: Option<String>,
    /// The name of the ServiceAccount.
    pub service_account: String,
    /// The token policy.
    pub token: TokenPolicy,
    /// Own rules that hold in the whole cluster.
    pub cluster_rules: Arc<[Rule]>,
    /// Existing ClusterRoles that are bound in the whole cluster.
    pub cluster_roles: Vec<String>,
    /// Whether roles may be bound that do not exist yet.
    pub allow_missing_roles: bool,
    /// The access to single namespaces.
    pub namespaces: Vec<NamespaceAccess>,
}

/// What a profile may do in some namespaces.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceAccess {
    /// The namespaces.
    pub names: Vec<String>,
    /// Whether a missing namespace is created or blocks the cluster.
    pub missing: MissingNamespace,
    /// Existing ClusterRoles that are bound in each namespace.
    pub cluster_roles: Vec<String>,
    /// Existing Roles of each namespace that are bound there.
    pub roles: Vec<String>,
    /// Own rules that hold in each namespace.
    pub rules: Arc<[Rule]>,
}

/// What happens to a namespace that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingNamespace {
    /// It is created.
    Create,
    /// It blocks the cluster.
    Block,
}

/// How tokens are minted and renewed.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenPolicy {
    /// The requested lifetime; the API server may shorten it.
    pub ttl: Duration,
    /// The share of the actual life after which a token is due, between 0 and 1.
    pub renew_after: f64,
    /// How long a superseded token stays valid after the newer one is in all outputs.
    pub overlap: Duration,
    /// The audiences; empty means those of the API server.
    pub audiences: Vec<String>,
}

/// One access profile on one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The profile.
    pub profile: Arc<Profile>,
    /// The namespace of the ServiceAccount and the anchors: the cluster's, else the profile's,
    /// else the inventory's.
    pub namespace: String,
    /// What happens if that namespace does not exist.
    pub missing_namespace: MissingNamespace,
    /// The time for which it holds.
    pub period: Period,
}

impl Grant {
    /// Returns the key that identifies it.
    pub fn key(&self) -> GrantKey {
        GrantKey { cluster: self.cluster.name.clone(), profile: self.profile.name.clone() }
    }

    /// Returns whether a key identifies it.
    pub fn is(&self, key: &GrantKey) -> bool {
        self.cluster.name == key.cluster && self.profile.name == key.profile
    }
}

impl Inventory {
    /// Returns the names of the sources of which not all clusters are known.
    pub(crate) fn undiscovered_sources(&self) -> BTreeSet<String> {
        self.undiscovered.iter().map(|(source, _)| source.to_string()).collect()
    }

    /// Returns the grants on one cluster, by profile name.
    pub fn grants_on(&self, cluster: &ClusterName) -> &[Arc<Grant>] {
        self.by_cluster.get(cluster).map_or(&[], Vec::as_slice)
    }

    /// Returns the grant that a key identifies.
    pub fn grant(&self, key: &GrantKey) -> Option<&Arc<Grant>> {
        self.grants_on(&key.cluster).iter().find(|grant| grant.profile.name == key.profile)
    }

    /// Returns whether some output gives a grant's access through an exec plugin that mints.
    pub fn has_minting_plugin(&self, grant: &GrantKey) -> bool {
        let mints =
            |output: &&Arc<Output>| output.credential == CredentialForm::Exec && output.credential_directory.is_none();
        self.outputs.iter().filter(mints).any(|output| output.holds.contains(grant))
    }
}
