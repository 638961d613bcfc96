//! The tables of the file format, as they are typed: raw, every key optional, values with places.
//!
//! Start with [`InventoryFile`]. The docs here are the descriptions in the JSON Schema that
//! `kubemint schema` prints; docs/inventory.md and clusters.toml.example are compared with it. What
//! the values mean together is decided in [`super::resolve`]. Pure: no I/O, no clock.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::discovery::DiscoveryPreset;
use super::model::VerifyVia;
use super::policy::{DanglingRoles, PolicyRule};
use super::problem::At;
use super::read::{Named, Read, choice, presence, tables};
use super::target::{SecretKind, SecretReader};
use super::until::Until;
use super::wave::Budget;
use crate::delivery::{CredentialForm, Rotation};
use crate::rbac::Escalating;

/// A list of strings.
pub(crate) type Strings = Vec<At<String>>;

/// What is asked for clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscoverKind {
    /// Secrets of a hub, or objects that name them.
    Secrets,
    /// ClusterProfiles of a hub.
    ClusterProfile,
    /// Kubeconfigs on this machine.
    Kubeconfigs,
    /// A program.
    Command,
}

impl DiscoverKind {
    /// Returns how the inventory calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::ClusterProfile => "cluster-profile",
            Self::Kubeconfigs => "kubeconfigs",
            Self::Command => "command",
        }
    }
}

/// What an output is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A kubeconfig file.
    Kubeconfig,
    /// A file with a token and nothing else.
    TokenFile,
    /// A Secret, of a form that the inventory spells out or that a consumer wants.
    Secret(SecretKind),
}

impl OutputKind {
    /// All kinds of Secrets.
    const SECRETS: [SecretKind; 10] = [
        SecretKind::Free,
        SecretKind::Argocd,
        SecretKind::Istio,
        SecretKind::Flux,
        SecretKind::Kueue,
        SecretKind::ClusterApi,
        SecretKind::Sveltos,
        SecretKind::ClusterProfile,
        SecretKind::Linkerd,
        SecretKind::Calico,
    ];
}

choice!(OutputKind {
    "kubeconfig" => Self::Kubeconfig,
    "token-file" => Self::TokenFile,
    "secret" => Self::Secret(SecretKind::Free),
    "argocd" => Self::Secret(SecretKind::Argocd),
    "istio" => Self::Secret(SecretKind::Istio),
    "flux" => Self::Secret(SecretKind::Flux),
    "kueue" => Self::Secret(SecretKind::Kueue),
    "cluster-api" => Self::Secret(SecretKind::ClusterApi),
    "sveltos" => Self::Secret(SecretKind::Sveltos),
    "cluster-profile" => Self::Secret(SecretKind::ClusterProfile),
    "linkerd" => Self::Secret(SecretKind::Linkerd),
    "calico" => Self::Secret(SecretKind::Calico),
});
choice!(Rotation {
    "watch" => Self::Watch,
    "each-use" => Self::EachUse,
    "on-401" => Self::On401,
    "recreate" => Self::Recreate,
    "restart" => Self::Restart,
});
choice!(SecretReader { "secretreader" => Self::Token, "kubeconfig-secretreader" => Self::Kubeconfig, });
choice!(DiscoverKind {
    "secrets" => Self::Secrets,
    "cluster-profile" => Self::ClusterProfile,
    "kubeconfigs" => Self::Kubeconfigs,
    "command" => Self::Command,
});
choice!(DiscoveryPreset {
    "capi" => Self::ClusterApi,
    "argocd" => Self::Argocd,
    "sveltos" => Self::Sveltos,
    "rancher-fleet" => Self::RancherFleet,
    "vcluster" => Self::Vcluster,
    "kubeconfig" => Self::Kubeconfig,
});
choice!(CredentialForm { "token" => Self::Token, "token-file" => Self::TokenFile, "exec" => Self::Exec, });
choice!(VerifyVia { "endpoint" => Self::Endpoint, "admin" => Self::Admin, });
choice!(DanglingRoles { "deny" => Self::Deny, "allow" => Self::Allow, });
choice!(Escalating {
    "secrets-read" => Self::SecretsRead,
    "escalation" => Self::Escalation,
    "impersonation" => Self::Impersonation,
    "token-minting" => Self::TokenMinting,
    "pod-exec" => Self::PodExec,
    "node-proxy" => Self::NodeProxy,
    "webhooks" => Self::Webhooks,
    "csr-approval" => Self::CsrApproval,
    "wildcard" => Self::Wildcard,
});
choice!(PolicyRule {
    "deny-wildcards" => Self::Deny(Escalating::Wildcard),
    "max-ttl" => Self::MaxTtl,
    "require-namespace" => Self::RequireNamespace,
    "dangling-roles" => Self::DanglingRoles,
    "secrets-read" => Self::Deny(Escalating::SecretsRead),
    "escalation" => Self::Deny(Escalating::Escalation),
    "impersonation" => Self::Deny(Escalating::Impersonation),
    "token-minting" => Self::Deny(Escalating::TokenMinting),
    "pod-exec" => Self::Deny(Escalating::PodExec),
    "node-proxy" => Self::Deny(Escalating::NodeProxy),
    "webhooks" => Self::Deny(Escalating::Webhooks),
    "csr-approval" => Self::Deny(Escalating::CsrApproval),
    "wildcard" => Self::Deny(Escalating::Wildcard),
});

tables! {
    /// A kubemint inventory: which clusters exist, which access each gets, and where the
    /// credentials go.
    InventoryFile("the inventory") {
        /// The version of this format. It is 1.
        "version" version: u64 [required] {r#"{"const": 1}"#};
        /// The ownership mark on every object that kubemint makes. A DNS label; two inventories
        /// that share clusters need different names.
        "name" name: String [required] {r#"{"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}"#};
        /// Who keeps the chain of credentials. A DNS label. Runs with different holders never
        /// supersede each other's credentials; `--holder` overrules it.
        "holder" holder: String [default r#""default""#];
        /// Patterns of further files. They may hold clusters, profiles, grants and outputs; `*`,
        /// `?`, `[…]` and `**` work as in a shell. Every pattern must match a file.
        "include" include: Strings [default "[]"];
        /// What holds where profiles and clusters say nothing else.
        "defaults" defaults: DefaultsTable [optional];
        /// What profiles may not have, whoever writes them.
        "policy" policy: PolicyTable [optional];
        /// The access profiles by name. A name is a DNS label.
        "profiles" profiles: Named<ProfileTable> [optional];
        /// The clusters.
        "clusters" clusters: Vec<At<ClusterTable>> [optional];
        /// Which clusters get which profiles.
        "grants" grants: Vec<At<GrantTable>> [optional];
        /// Where credentials go. A grant that no output holds gets its objects and no token.
        "outputs" outputs: Vec<At<OutputTable>> [optional];
        /// Where further clusters are found by themselves. See docs/discovery.md.
        "discover" discover: Vec<At<DiscoverTable>> [optional];
        /// The waves in which access is changed, in their order. A cluster is in the first wave whose
        /// selector matches it; clusters that none matches come last, as wave `rest`.
        "rollout" rollout: Vec<At<WaveTable>> [optional];
    }

    /// What holds where profiles and clusters say nothing else.
    DefaultsTable("`defaults`") {
        /// The existing credentials that provision.
        "admin" admin: AdminTable [optional];
        /// The namespace of the ServiceAccounts and anchors. A profile's and a cluster's `namespace`
        /// come before it.
        "namespace" namespace: String [default r#""kubemint""#];
        /// Whether the namespaces of ServiceAccounts are created if they are missing. Otherwise a
        /// missing one blocks its cluster. A cluster's `create-namespaces` comes before it; the
        /// namespaces that a profile has access to have a key of their own.
        "create-namespaces" create_namespaces: bool [default "false"];
        /// How many clusters are worked on at the same time. Between 1 and 4096.
        "concurrency" concurrency: u64 [default "64"] {r#"{"minimum": 1, "maximum": 4096}"#};
        /// The time that one request may take, connection included. At least `1s`.
        "request-timeout" request_timeout: Duration [default r#""10s""#];
        /// The time that all work on one cluster may take. Not shorter than `request-timeout`.
        "cluster-timeout" cluster_timeout: Duration [default r#""60s""#];
        /// Whether clusters are told what went wrong: a Kubernetes Event (type Warning) at the ServiceAccount of a
        /// credential that could not be renewed, was shortened or revoked. The admin needs the right to create Events there.
        "events" events: bool [default "false"];
        /// The token policy of profiles that say nothing else, key by key.
        "token" token: TokenTable [optional];
    }

    /// The existing credential that provisions a cluster: a context of kubeconfigs (`kubeconfig`), an
    /// endpoint and a credential (`server`), or the pod's own ServiceAccount (`in-cluster`).
    AdminTable("`admin`") {
        /// The name of a cluster of the inventory, whose admin access this is. Only in `[[outputs]]`.
        "cluster" cluster: String [optional];
        /// Where the kubeconfigs are: a file, several files separated by `:` and merged as kubectl
        /// merges them, a directory, a pattern such as `admin/*.yaml`, or `$KUBECONFIG` for what
        /// kubectl would read. `~/` is the home directory; a relative path starts at the directory
        /// of the file that it stands in.
        "kubeconfig" kubeconfig: String [optional];
        /// The context in the kubeconfigs. Defaults to the cluster's name; the kubeconfig's
        /// current-context is never used.
        "context" context: String [optional];
        /// The URL of the API server. `https`, without user, query and fragment.
        "server" server: String [optional];
        /// The path of a PEM file with the CA certificates. Needs `server`; without it, the
        /// system's are trusted.
        "certificate-authority" certificate_authority: String [optional];
        /// The path of a file that holds a bearer token. Needs `server`.
        "token-file" token_file: String [optional];
        /// The path of a PEM file with a client certificate. Needs `server` and `client-key`.
        "client-certificate" client_certificate: String [optional];
        /// The path of a PEM file with the key of the client certificate.
        "client-key" client_key: String [optional];
        /// The name that the server's certificate is checked against. Needs `server`.
        "tls-server-name" tls_server_name: String [optional];
        /// The proxy: `http`, `https` or `socks5`. Needs `server`.
        "proxy-url" proxy_url: String [optional];
        /// Do not check the server's certificate. Needs `server`, and `allow-insecure` of the cluster.
        "insecure-skip-tls-verify" insecure_skip_tls_verify: bool [default "false"];
        /// Use the ServiceAccount of the pod that kubemint runs in.
        "in-cluster" in_cluster: bool [default "false"];
        /// The `id` of the `[[discover]]` that found the cluster, in whose hub a Secret may hold the access. `kubemint discover
        /// --write` writes this and the keys below.
        "discovered" discovered: String [optional];
        /// That Secret, as `NAMESPACE/NAME`.
        "secret" secret: String [optional];
        /// The key of the kubeconfig in it. Defaults to what the consumer uses whose Secret it is.
        "key" key: String [optional];
        /// The ClusterProfile that says where the cluster is, as `NAMESPACE/NAME`, if the Secret holds a token only.
        "profile" profile: String [optional];
        /// The address that the Secret or kubeconfig led to when it was found. It is refused if it leads elsewhere.
        "seen-server" seen_server: String [optional];
        /// The digest of address, CA, `tls-server-name` and `proxy-url` when it was found.
        "seen-endpoint" seen_endpoint: String [optional];
    }

    /// Where clusters are found by themselves.
    DiscoverTable("a discovery") {
        /// What is asked: `"secrets"` and `"cluster-profile"` objects of a hub, `"kubeconfigs"` files, `"command"` a
        /// program.
        "kind" kind: DiscoverKind [required];
        /// The name of the source, by which the `admin` of its clusters refers to it. Defaults to `preset` or `kind`.
        "id" id: String [optional];
        /// Whose Secrets a hub has: `"capi"`, `"argocd"`, `"sveltos"`, `"rancher-fleet"`, `"vcluster"`, or any
        /// `"kubeconfig"`.
        "preset" preset: DiscoveryPreset [default r#""kubeconfig""#];
        /// How the hub is reached. `{ cluster = "NAME" }` is a cluster that the inventory names; otherwise as the `admin`
        /// of a cluster.
        "admin" admin: AdminTable [optional];
        /// Whether the hub may be reached without checking its certificate.
        "allow-insecure" allow_insecure: bool [default "false"];
        /// The namespaces that are looked in. Defaults to all.
        "namespaces" namespaces: Strings [optional];
        /// The label selector of the objects.
        "selector" selector: String [optional];
        /// The pattern of the names of the objects, such as `"*-kubeconfig"`.
        "named" named: String [optional];
        /// The type of the Secrets, for `preset = "kubeconfig"`.
        "type" secret_type: String [optional];
        /// The key of the kubeconfig, for `preset = "kubeconfig"`.
        "key" key: String [default r#""kubeconfig""#];
        /// The namespace of the Secrets that `secretreader` reads, for `"cluster-profile"`. Defaults to the profile's.
        "secret-namespace" secret_namespace: String [optional];
        /// Whether kubeconfigs out of Secrets may run programs, and name files of this machine.
        "allow-exec" allow_exec: bool [default "false"];
        /// Where the kubeconfigs are, for `"kubeconfigs"`: a file, a directory or a pattern. Each context is a cluster.
        "path" path: String [optional];
        /// The program and its arguments, for `"command"`. It prints one JSON object for each cluster.
        "command" command: Strings [optional];
        /// The template of the names of the clusters.
        "name" name: String [optional];
        /// The labels that are taken over from what is found.
        "labels" labels: Strings [optional];
        /// Labels that all of its clusters get.
        "add-labels" add_labels: Named<String> [optional];
        /// Whether only clusters in a file that `kubemint discover --write` wrote are worked on; `plan` says what has
        /// changed since.
        "frozen" frozen: bool [default "false"];
    }

    /// How tokens are minted and renewed.
    TokenTable("`token`") {
        /// The lifetime that is requested. At least `10m`; the API server may shorten it.
        "ttl" ttl: Duration [default r#""24h""#];
        /// The share of its actual life after which a token is due for renewal. Between 0 and 1,
        /// both excluded.
        "renew-after" renew_after: f64 [default "0.66"] {r#"{"exclusiveMinimum": 0, "exclusiveMaximum": 1}"#};
        /// How long a superseded token stays valid after all outputs hold the newer one. Shorter
        /// than `ttl`.
        "overlap" overlap: Duration [default r#""15m""#];
        /// The audiences of the token. Empty means those of the API server, which is what access to
        /// it needs.
        "audiences" audiences: Strings [default "[]"];
    }

    /// What profiles may not have, whoever writes them. What the inventory itself tells is an error of it; what only
    /// a cluster tells blocks that cluster.
    PolicyTable("`policy`") {
        /// Whether rules with a `*`, and the ClusterRole `cluster-admin`, are refused. The same as `"wildcard"` in
        /// `deny`.
        "deny-wildcards" deny_wildcards: bool [default "false"];
        /// Classes of rights that are refused, because they let their holder get more than they say.
        "deny" deny: Vec<At<Escalating>> [default "[]"];
        /// The longest `ttl` of a token. At least `10m`.
        "max-ttl" max_ttl: Duration [optional];
        /// Whether rules and roles that hold in the whole cluster are refused.
        "require-namespace" require_namespace: bool [default "false"];
        /// Whether a binding of a role that does not exist blocks its cluster. A profile's `allow-missing-roles`
        /// comes before it.
        "dangling-roles" dangling_roles: DanglingRoles [default r#""deny""#];
        /// What a profile may have nevertheless, for some time.
        "exceptions" exceptions: Vec<At<ExceptionTable>> [optional];
    }

    /// An exception from the policy.
    ExceptionTable("an exception") {
        /// The profile.
        "profile" profile: String [required];
        /// The rules of the policy that do not hold for it: `deny-wildcards`, `max-ttl`, `require-namespace`,
        /// `dangling-roles`, and the classes of `deny`.
        "rules" rules: Vec<At<PolicyRule>> [required] {r#"{"minItems": 1}"#};
        /// Only on clusters that this label selector matches. The empty one matches every cluster.
        "selector" selector: String [optional];
        /// The names of clusters, in addition to those that the selector matches.
        "clusters" clusters: Strings [optional];
        /// Why the policy does not hold there.
        "reason" reason: String [required] {r#"{"minLength": 1}"#};
        /// How long: a date, the day included and in UTC, or a time with an offset (RFC 3339).
        "until" until: Until [required];
    }

    /// An access profile: a ServiceAccount, its RBAC and its token policy.
    ProfileTable("a profile") {
        /// What the profile is for.
        "description" description: String [optional];
        /// The name of the ServiceAccount. Defaults to the profile's name.
        "service-account" service_account: String [optional];
        /// The namespace of the ServiceAccount. Defaults to the one in `defaults`; a cluster's comes
        /// before it.
        "namespace" namespace: String [optional];
        /// The token policy. Each key defaults to the one in `defaults`.
        "token" token: TokenTable [optional];
        /// Own rules that hold in the whole cluster. They become a ClusterRole.
        "cluster-rules" cluster_rules: Vec<At<RuleTable>> [optional];
        /// Existing ClusterRoles that are bound in the whole cluster.
        "cluster-roles" cluster_roles: Strings [default "[]"];
        /// Whether roles may be bound that do not exist yet. Otherwise a missing one blocks its cluster: its
        /// name may be misspelled. Defaults to what `dangling-roles` of the policy says.
        "allow-missing-roles" allow_missing_roles: bool [optional];
        /// What holds in single namespaces.
        "namespaces" namespaces: Vec<At<NamespaceTable>> [optional];
    }

    /// What a profile may do in some namespaces.
    NamespaceTable("a profile's `namespaces`") {
        /// The namespaces.
        "names" names: Strings [required] {r#"{"minItems": 1}"#};
        /// Whether these namespaces are created if they are missing. Otherwise a missing one blocks
        /// its cluster.
        "create-namespaces" create_namespaces: bool [default "false"];
        /// Existing ClusterRoles that are bound in each of the namespaces.
        "cluster-roles" cluster_roles: Strings [default "[]"];
        /// Existing Roles of each namespace that are bound there.
        "roles" roles: Strings [default "[]"];
        /// Own rules that hold in each of the namespaces. They become a Role in each.
        "rules" rules: Vec<At<RuleTable>> [optional];
    }

    /// An RBAC rule: resources or URLs, and what may be done with them.
    RuleTable("a rule") {
        /// The API groups. `""` is the core group; needed with `resources`.
        "api-groups" api_groups: Strings [default "[]"];
        /// The resources, subresources as `pods/log`.
        "resources" resources: Strings [default "[]"];
        /// The verbs.
        "verbs" verbs: Strings [required] {r#"{"minItems": 1}"#};
        /// The names of the objects. Empty means all.
        "resource-names" resource_names: Strings [default "[]"];
        /// URL paths that are no resources, such as `/metrics`. Only in `cluster-rules`, and not
        /// together with `resources`.
        "non-resource-urls" non_resource_urls: Strings [default "[]"];
    }

    /// One API server.
    ClusterTable("a cluster") {
        /// The name. Unique in the inventory; it takes part in the names of files and contexts.
        "name" name: String [required];
        /// Labels that selectors match. The syntax is that of Kubernetes labels.
        "labels" labels: Named<String> [optional];
        /// The namespace of the ServiceAccounts in this cluster. It comes before the profile's and
        /// the one in `defaults`.
        "namespace" namespace: String [optional];
        /// Whether that namespace is created if it is missing. Defaults to the one in `defaults`.
        "create-namespaces" create_namespaces: bool [optional];
        /// The existing credential that provisions the cluster. Each key defaults to the one in
        /// `defaults`.
        "admin" admin: AdminTable [optional];
        /// Whether the admin may connect without checking the server's certificate, as a kubeconfig
        /// with `insecure-skip-tls-verify` asks for. Otherwise that is refused.
        "allow-insecure" allow_insecure: bool [default "false"];
        /// What consumers are told, where it differs from the admin's endpoint.
        "consumer" consumer: ConsumerTable [optional];
    }

    /// What issued kubeconfigs say about a cluster, where it differs from the admin's kubeconfig.
    ConsumerTable("`consumer`") {
        /// The URL of the API server. `https`, without user, query and fragment.
        "server" server: String [optional];
        /// The path of a PEM file with the CA certificates. Its content is put into the kubeconfigs.
        "certificate-authority" certificate_authority: String [optional];
        /// The name that the server's certificate is checked against.
        "tls-server-name" tls_server_name: String [optional];
        /// The proxy that consumers use: `http`, `https` or `socks5`.
        "proxy-url" proxy_url: String [optional];
        /// Where a new credential is proven before it is published. `"admin"` is for consumer
        /// endpoints that cannot be reached from here.
        "verify" verify: VerifyVia [default r#""endpoint""#];
    }

    /// Gives profiles to clusters: those that the selector matches and those that are named.
    GrantTable("a grant") {
        /// The profile. Either this or `profiles`.
        "profile" profile: String [optional];
        /// The profiles. Either this or `profile`.
        "profiles" profiles: Strings [optional];
        /// A Kubernetes label selector. The empty one matches every cluster.
        "selector" selector: String [optional];
        /// The names of clusters, in addition to those that the selector matches.
        "clusters" clusters: Strings [optional];
        /// When it begins, as in `2026-12-01T18:00:00Z`. Until then, nothing is made for it.
        "starts" starts: Timestamp [optional];
        /// When it ends. No token outlives that, and then `refresh` removes its access.
        "expires" expires: Timestamp [optional];
    }

    /// A wave of a rollout: clusters that are changed together, after the waves before them.
    WaveTable("a wave") {
        /// The name. A DNS label, and not `rest`.
        "name" name: String [required] {r#"{"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}"#};
        /// A Kubernetes label selector: which clusters are in it, if no earlier wave selects them.
        "selector" selector: String [required];
        /// How long nothing is done after it.
        "pause" pause: Duration [default r#""0s""#];
        /// How many of its clusters are worked on at the same time. Between 1 and 4096; defaults to the
        /// one in `defaults`.
        "concurrency" concurrency: u64 [optional] {r#"{"minimum": 1, "maximum": 4096}"#};
        /// How many of its clusters may fail while they are changed: a number, or a share of them such as
        /// `"2%"`, rounded down. If more fail, the rollout stops.
        "max-failures" max_failures: Budget [default "0"];
        /// Whether somebody is asked before it starts. `--yes` answers.
        "confirm" confirm: bool [default "false"];
        /// Whether the credentials that it minted are used once more after its pause. Those that do not
        /// work count as failures.
        "verify" verify: bool [default "false"];
    }

    /// Where credentials go: a kubeconfig, or a Secret in a cluster whose controllers use it.
    OutputTable("an output") {
        /// What is written: `"kubeconfig"` is a file; `"token-file"` a file with the token and nothing else; `"secret"` a Secret whose keys are in `data`; the others are Secrets
        /// in the form that their consumer wants. docs/targets.md describes each.
        "kind" kind: OutputKind [default r#""kubeconfig""#];
        /// The template of the path of a file, which needs it. The variables in it decide which grants share a file.
        "path" path: String [optional];
        /// How a user entry gives its credential: `"token"` holds it, `"token-file"` names a file
        /// beside the kubeconfig that is replaced at each renewal, `"exec"` runs
        /// `kubemint credential`.
        "credential" credential: CredentialForm [default r#""token""#];
        /// The absolute path of kubemint where the kubeconfig is used. Needs `credential = "exec"`;
        /// defaults to the program that writes it.
        "command" command: String [optional];
        /// A directory of token files that a refresher keeps there: the plugin then reads them and
        /// needs no admin access. Needs `credential = "exec"`.
        "credential-directory" credential_directory: String [optional];
        /// The template of the names of contexts.
        "context" context: String [default r#""{profile}@{cluster}""#];
        /// The template of the names of cluster entries. Defaults to `context`.
        "cluster" cluster: String [optional];
        /// The template of the names of user entries. Defaults to `context`.
        "user" user: String [optional];
        /// The namespace of the contexts. A Secret needs it, and it is the Secret's.
        "namespace" namespace: String [optional];
        /// The template of the context that becomes current. Without it, it is the only context of
        /// a file that has one.
        "current-context" current_context: String [optional];
        /// Only grants of these profiles. Defaults to all.
        "profiles" profiles: Strings [optional];
        /// Only grants on clusters that this label selector matches. Together with `clusters`, the
        /// union; without both, all clusters.
        "selector" selector: String [optional];
        /// Only grants on these clusters.
        "clusters" clusters: Strings [optional];
        /// How the cluster is reached that a Secret is written to: its hub. `{ cluster = "NAME" }` is a cluster of the
        /// inventory; otherwise as the `admin` of a cluster. A Secret needs it.
        "admin" admin: AdminTable [optional];
        /// Whether the hub may be reached without checking its certificate.
        "allow-insecure" allow_insecure: bool [default "false"];
        /// Whether the namespace of a Secret is created if it is missing. Otherwise its grants are blocked.
        "create-namespaces" create_namespaces: bool [default "false"];
        /// The template of a Secret's name. Presets have one of their own.
        "name" name: String [optional];
        /// The type of a Secret of kind `"secret"`.
        "type" secret_type: String [default r#""Opaque""#];
        /// Further labels of a Secret: templates, which may use the labels of the cluster as `{labels.NAME}`.
        "labels" labels: Named<String> [optional];
        /// Further annotations of a Secret: templates, as `labels`.
        "annotations" annotations: Named<String> [optional];
        /// The keys of a Secret of kind `"secret"`: templates, which may also use `{token}`, `{kubeconfig}`, `{server}`
        /// and `{ca}`, the PEM text of the CA certificates.
        "data" data: Named<String> [optional];
        /// How the consumer of a Secret of kind `"secret"` takes a change. `"watch"`: it watches the Secret; `"each-use"`:
        /// it reads it each time; `"on-401"`: when the token is refused; `"recreate"`: it notices only that a Secret comes
        /// or goes, so it is deleted and made anew; `"restart"`: it reads it when it starts.
        "rotation" rotation: Rotation [default r#""each-use""#];
        /// Whether somebody restarts the consumer before a token expires, where `rotation` is `"restart"`. Otherwise a
        /// `ttl` below 90 days is refused.
        "restart-acknowledged" restart_acknowledged: bool [default "false"];
        /// What is restarted where `rotation` is `"restart"`, as in `deployment/backup`. A plan that mints names it.
        "workload" workload: String [optional];
        /// What only some consumers know.
        "options" options: OptionsTable [optional];
    }

    /// What only some consumers of Secrets know.
    OptionsTable("`options`") {
        /// `argocd`: the project that the cluster belongs to.
        "project" project: String [optional];
        /// `argocd`: the namespaces that it may use, instead of all.
        "namespaces" namespaces: Strings [optional];
        /// `argocd`: whether it may use objects of the whole cluster. Needs `namespaces`.
        "cluster-resources" cluster_resources: bool [optional];
        /// `argocd`: the shard of its application controller.
        "shard" shard: u64 [optional];
        /// `cluster-profile`: the plugin that reads the Secret.
        "reader" reader: SecretReader [default r#""secretreader""#];
        /// `linkerd`: the trust domain of the cluster. Together with `cluster-domain`, it makes the Secret of the
        /// control plane's namespace; without both, it is the one of the service mirror's.
        "trust-domain" trust_domain: String [optional];
        /// `linkerd`: the DNS domain of the cluster.
        "cluster-domain" cluster_domain: String [optional];
        /// `sveltos`, `calico`, `cluster-profile`: also writes the object by which the consumer finds the Secret, under
        /// this name, with the same variables as `name`: a SveltosCluster, a RemoteClusterConfiguration, or an access
        /// provider in the status of a ClusterProfile that its cluster manager made.
        "register" register: String [optional];
        /// `cluster-profile`: the namespace of the ClusterProfile, if it is not that of the Secret.
        "register-namespace" register_namespace: String [optional];
    }
}

/// Returns the JSON Schema (draft 2020-12) of the inventory file.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let root = InventoryFile::schema(&mut definitions);
    // What an output needs depends on its kind.
    let secrets = OutputKind::SECRETS.map(SecretKind::as_str);
    let output = definitions.get_mut("OutputTable").and_then(Value::as_object_mut).expect("the inventory has outputs");
    output.insert("if".to_owned(), json!({ "properties": { "kind": { "enum": secrets } }, "required": ["kind"] }));
    output.insert("then".to_owned(), json!({ "required": ["admin", "namespace"] }));
    output.insert("else".to_owned(), json!({ "required": ["path"] }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kubemint inventory",
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}
