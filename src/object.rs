//! The kinds of Kubernetes objects that kubemint reads and writes, and how they are addressed.
//!
//! Pure: no I/O, no clock.

use std::fmt;

use serde::Serialize;

/// A kind of object, ordered as an apply writes them: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
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
    /// An anchor.
    Secret,
}

impl Kind {
    /// The RBAC kinds, which are listed once per cluster.
    pub const RBAC: [Self; 4] = [Self::ClusterRole, Self::Role, Self::ClusterRoleBinding, Self::RoleBinding];

    /// Returns the `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ServiceAccount | Self::Secret => "v1",
            Self::ClusterRole | Self::Role | Self::ClusterRoleBinding | Self::RoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
        }
    }

    /// Returns the API group, `""` for the core group.
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Returns the kind as it is written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::RoleBinding => "RoleBinding",
            Self::Secret => "Secret",
        }
    }

    /// Returns the resource, as it stands in URLs and in RBAC rules.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ServiceAccount => "serviceaccounts",
            Self::ClusterRole => "clusterroles",
            Self::Role => "roles",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::RoleBinding => "rolebindings",
            Self::Secret => "secrets",
        }
    }

    fn root(self) -> &'static str {
        match self.group() {
            "" => "/api/v1",
            _ => "/apis/rbac.authorization.k8s.io/v1",
        }
    }

    /// Returns the path of the collection: in one namespace, or in the whole cluster.
    pub fn collection_path(self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => {
                format!("{}/namespaces/{namespace}/{}", self.root(), self.resource())
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
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
    pub fn cluster_scoped(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// Addresses an object in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Returns the path of the collection that the object is in.
    pub fn collection_path(&self) -> String {
        self.kind.collection_path(self.namespace.as_deref())
    }

    /// Returns the path of the object.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection_path(), self.name)
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleRef {
    /// [`Kind::ClusterRole`] or [`Kind::Role`].
    pub kind: Kind,
    /// The role's name.
    pub name: String,
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Whom a binding assigns its role to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
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
