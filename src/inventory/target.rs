//! The kinds of Secrets that an inventory can name.
//!
//! Pure: no I/O, no clock. docs/targets.md describes each; [`crate::resolution`] knows their forms.

/// Whose form a Secret has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SecretKind {
    /// The inventory spells it out.
    Free,
    /// Argo CD's cluster Secrets.
    Argocd,
    /// Istio's remote Secrets.
    Istio,
    /// What Flux's `spec.kubeConfig.secretRef` names.
    Flux,
    /// What a `MultiKueueCluster` names.
    Kueue,
    /// Cluster API's kubeconfig Secrets.
    ClusterApi,
    /// What a `SveltosCluster` names.
    Sveltos,
    /// What an access provider of a `ClusterProfile` reads.
    ClusterProfile,
    /// Linkerd's multicluster credentials.
    Linkerd,
    /// What a `RemoteClusterConfiguration` of Calico names.
    Calico,
}

/// The plugin of the ClusterProfile API that reads a Secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SecretReader {
    /// `secretreader`: it wants a token.
    #[default]
    Token,
    /// `kubeconfig-secretreader`: it wants a kubeconfig without extensions.
    Kubeconfig,
}

impl SecretKind {
    /// Returns how the inventory calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Free => "secret",
            Self::Argocd => "argocd",
            Self::Istio => "istio",
            Self::Flux => "flux",
            Self::Kueue => "kueue",
            Self::ClusterApi => "cluster-api",
            Self::Sveltos => "sveltos",
            Self::ClusterProfile => "cluster-profile",
            Self::Linkerd => "linkerd",
            Self::Calico => "calico",
        }
    }
}
