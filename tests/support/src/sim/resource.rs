//! The resource types that a simulated server knows.
//!
//! Pure data. Types that are not stored are listed as empty, so that a demo's `kubectl get pods`
//! has an answer.

/// A type of object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// The API group, empty for the core group.
    pub(crate) group: &'static str,
    /// The name in paths.
    pub(crate) plural: &'static str,
    /// The name of one, as kubectl accepts it.
    pub(crate) singular: &'static str,
    /// The kind.
    pub(crate) kind: &'static str,
    /// The short names of kubectl.
    pub(crate) short_names: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub(crate) scope: Scope,
    /// Whether the server keeps objects of this type.
    pub(crate) storage: Storage,
    /// The top-level fields beside `apiVersion`, `kind` and `metadata`.
    pub(crate) fields: &'static [&'static str],
}

/// Where the objects of a type live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespaced,
}

/// Whether the simulated server keeps objects of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Stored,
    AlwaysEmpty,
}

/// The group of roles and bindings.
pub(crate) const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) static NAMESPACES: ResourceType = ResourceType {
    group: "",
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    storage: Storage::Stored,
    fields: &["spec", "status"],
};

pub(crate) static SERVICE_ACCOUNTS: ResourceType = ResourceType {
    group: "",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    kind: "ServiceAccount",
    short_names: &["sa"],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &["secrets", "imagePullSecrets", "automountServiceAccountToken"],
};

pub(crate) static SECRETS: ResourceType = ResourceType {
    group: "",
    plural: "secrets",
    singular: "secret",
    kind: "Secret",
    short_names: &[],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &["immutable", "data", "stringData", "type"],
};

pub(crate) static CLUSTER_ROLES: ResourceType = ResourceType {
    group: RBAC_GROUP,
    plural: "clusterroles",
    singular: "clusterrole",
    kind: "ClusterRole",
    short_names: &[],
    scope: Scope::Cluster,
    storage: Storage::Stored,
    fields: &["rules", "aggregationRule"],
};

pub(crate) static CLUSTER_ROLE_BINDINGS: ResourceType = ResourceType {
    group: RBAC_GROUP,
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    kind: "ClusterRoleBinding",
    short_names: &[],
    scope: Scope::Cluster,
    storage: Storage::Stored,
    fields: &["subjects", "roleRef"],
};

pub(crate) static ROLES: ResourceType = ResourceType {
    group: RBAC_GROUP,
    plural: "roles",
    singular: "role",
    kind: "Role",
    short_names: &[],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &["rules"],
};

pub(crate) static ROLE_BINDINGS: ResourceType = ResourceType {
    group: RBAC_GROUP,
    plural: "rolebindings",
    singular: "rolebinding",
    kind: "RoleBinding",
    short_names: &[],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &["subjects", "roleRef"],
};

static EVENTS: ResourceType = ResourceType {
    group: "events.k8s.io",
    plural: "events",
    singular: "event",
    kind: "Event",
    short_names: &["ev"],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &[
        "eventTime",
        "type",
        "reason",
        "action",
        "note",
        "regarding",
        "related",
        "series",
        "reportingController",
        "reportingInstance",
    ],
};

static LEASES: ResourceType = ResourceType {
    group: "coordination.k8s.io",
    plural: "leases",
    singular: "lease",
    kind: "Lease",
    short_names: &[],
    scope: Scope::Namespaced,
    storage: Storage::Stored,
    fields: &["spec"],
};

static SVELTOS_CLUSTERS: ResourceType =
    custom("lib.projectsveltos.io", "sveltosclusters", "sveltoscluster", "SveltosCluster", Scope::Namespaced);
static REMOTE_CLUSTER_CONFIGURATIONS: ResourceType = custom(
    "projectcalico.org",
    "remoteclusterconfigurations",
    "remoteclusterconfiguration",
    "RemoteClusterConfiguration",
    Scope::Cluster,
);
static CLUSTER_PROFILES: ResourceType =
    custom("multicluster.x-k8s.io", "clusterprofiles", "clusterprofile", "ClusterProfile", Scope::Namespaced);

static PODS: ResourceType = empty("", "pods", "pod", "Pod", &["po"], Scope::Namespaced);
static NODES: ResourceType = empty("", "nodes", "node", "Node", &["no"], Scope::Cluster);
static CONFIG_MAPS: ResourceType = empty("", "configmaps", "configmap", "ConfigMap", &["cm"], Scope::Namespaced);
static SERVICES: ResourceType = empty("", "services", "service", "Service", &["svc"], Scope::Namespaced);
static ENDPOINTS: ResourceType = empty("", "endpoints", "endpoints", "Endpoints", &["ep"], Scope::Namespaced);
static DEPLOYMENTS: ResourceType =
    empty("apps", "deployments", "deployment", "Deployment", &["deploy"], Scope::Namespaced);
static JOBS: ResourceType = empty("batch", "jobs", "job", "Job", &[], Scope::Namespaced);

/// All types, in the order of discovery.
pub(crate) static RESOURCE_TYPES: [&ResourceType; 19] = [
    &CONFIG_MAPS,
    &ENDPOINTS,
    &NAMESPACES,
    &NODES,
    &PODS,
    &SECRETS,
    &SERVICE_ACCOUNTS,
    &SERVICES,
    &DEPLOYMENTS,
    &JOBS,
    &LEASES,
    &EVENTS,
    &CLUSTER_ROLE_BINDINGS,
    &CLUSTER_ROLES,
    &ROLE_BINDINGS,
    &ROLES,
    &SVELTOS_CLUSTERS,
    &REMOTE_CLUSTER_CONFIGURATIONS,
    &CLUSTER_PROFILES,
];

impl ResourceType {
    /// Finds a type by group and plural.
    pub(crate) fn find(group: &str, plural: &str) -> Option<&'static Self> {
        RESOURCE_TYPES.into_iter().find(|resource| resource.group == group && resource.plural == plural)
    }

    /// Returns `v1` or `GROUP/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/{}", self.group, self.version()) }
    }

    /// Returns the only version that is served.
    pub(crate) fn version(&self) -> &'static str {
        match self.kind {
            "SveltosCluster" => "v1beta1",
            "RemoteClusterConfiguration" => "v3",
            "ClusterProfile" => "v1alpha1",
            _ => "v1",
        }
    }

    /// Returns whether it is a custom resource, of which status and the rest are written apart.
    pub(crate) fn is_custom(&self) -> bool {
        self.version() != "v1"
    }

    /// Returns `clusterroles.rbac.authorization.k8s.io`, as messages name it.
    pub(crate) fn qualified_plural(&self) -> String {
        qualified(self.plural, self.group)
    }

    /// Returns whether this is a role or a cluster role.
    pub(crate) fn is_role(&self) -> bool {
        *self == ROLES || *self == CLUSTER_ROLES
    }

    /// Returns whether this is a binding, in a namespace or cluster-wide.
    pub(crate) fn is_binding(&self) -> bool {
        *self == ROLE_BINDINGS || *self == CLUSTER_ROLE_BINDINGS
    }
}

/// Returns `name.group`, or the bare name in the core group.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

const fn custom(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    scope: Scope,
) -> ResourceType {
    let fields = &["spec", "status"];
    ResourceType { group, plural, singular, kind, short_names: &[], scope, storage: Storage::Stored, fields }
}

const fn empty(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
    scope: Scope,
) -> ResourceType {
    ResourceType {
        group,
        plural,
        singular,
        kind,
        short_names,
        scope,
        storage: Storage::AlwaysEmpty,
        fields: &["spec", "status"],
    }
}
