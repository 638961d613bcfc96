//! The forms of Secrets that consumers want: docs/targets.md says where each rule comes from. Pure.
//!
//! Everything is a template, so that a preset is nothing that an inventory could not spell out itself.

use super::super::Context;
use crate::delivery::Rotation;
use crate::inventory::file::{OptionsTable, OutputTable};
use crate::inventory::problem::{At, Location};
use crate::inventory::syntax;
use crate::inventory::target::{SecretKind, SecretReader};
use crate::object::Kind;
use crate::template::escape;

/// The form of a Secret, in templates. Names in it know the cluster, its labels and the grant; values know the credential too.
#[derive(Debug, Clone)]
pub(super) struct Preset {
    /// The name, if the inventory gives none.
    pub(super) name: Option<&'static str>,
    pub(super) secret_type: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) data: Vec<(String, String)>,
    /// The names of context, cluster entry and user entry in `{kubeconfig}`.
    pub(super) kubeconfig: [&'static str; 3],
    /// The key by which the consumer tells clusters apart.
    pub(super) identity: Option<&'static str>,
    pub(super) rotation: Rotation,
    /// What is restarted to take a change.
    pub(super) workload: Option<String>,
    /// The object by which the consumer finds the Secret, if the inventory wants it written.
    pub(super) register: Option<Register>,
}

/// The object by which a consumer finds a Secret, as the inventory names it.
#[derive(Debug, Clone)]
pub(super) struct Register {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name, a template.
    pub(super) name: At<String>,
    /// Its namespace, if that is not the Secret's.
    pub(super) namespace: Option<String>,
    /// The plugin that reads the Secret.
    pub(super) reader: SecretReader,
}

/// The variable that stands for the value of Argo CD's key `config`; inventories do not know it.
pub(super) const ARGOCD_CONFIG: &str = "argocd-config";

impl Preset {
    /// Returns the form of a kind.
    pub(super) fn of(kind: SecretKind, table: &OutputTable, ctx: &mut Context<'_>) -> Self {
        let no_options = OptionsTable::default();
        let options = table.options.as_ref().map_or(&no_options, |options| &options.value);
        refuse_options(kind, options, ctx);
        let register = options.register.as_ref().zip(registers(kind)).map(|(name, kind)| Register {
            kind,
            name: name.clone(),
            namespace: options.register_namespace.as_ref().map(|at| at.value.clone()),
            reader: options.reader.as_ref().map(|at| at.value).unwrap_or_default(),
        });
        Self { register, ..Self::secret(kind, table, options, ctx) }
    }

    fn secret(kind: SecretKind, table: &OutputTable, options: &OptionsTable, ctx: &mut Context<'_>) -> Self {
        match kind {
            SecretKind::Free => Self {
                secret_type: table.secret_type.as_ref().map_or("Opaque", |at| &at.value).to_owned(),
                workload: table.workload.as_ref().map(|at| at.value.clone()),
                ..Self::new(None, table.rotation.as_ref().map_or(Rotation::EachUse, |at| at.value), &[])
            },
            SecretKind::Argocd => Self {
                labels: pairs(&[("argocd.argoproj.io/secret-type", "cluster")]),
                data: argocd(options, ctx),
                identity: Some("server"),
                ..Self::new(Some("cluster-{cluster}"), Rotation::Watch, &[])
            },
            SecretKind::Istio => Self {
                labels: pairs(&[("istio/multiCluster", "true")]),
                annotations: pairs(&[("networking.istio.io/cluster", "{cluster}")]),
                ..Self::new(Some("istio-remote-secret-{cluster}"), Rotation::Watch, &[("{cluster}", "{kubeconfig}")])
            },
            SecretKind::Flux => {
                Self::new(Some("{cluster}-kubeconfig"), Rotation::EachUse, &[("value", "{kubeconfig}")])
            }
            SecretKind::Kueue => {
                Self::new(Some("{cluster}-kubeconfig"), Rotation::Watch, &[("kubeconfig", "{kubeconfig}")])
            }
            SecretKind::ClusterApi => Self {
                secret_type: "cluster.x-k8s.io/secret".to_owned(),
                labels: pairs(&[("cluster.x-k8s.io/cluster-name", "{cluster}")]),
                kubeconfig: ["{cluster}-admin@{cluster}", "{cluster}", "{cluster}-admin"],
                // Its cache of connections reads the Secret again when probes fail.
                ..Self::new(Some("{cluster}-kubeconfig"), Rotation::On401, &[("value", "{kubeconfig}")])
            },
            SecretKind::Sveltos => {
                Self::new(Some("{cluster}-sveltos-kubeconfig"), Rotation::Watch, &[("kubeconfig", "{kubeconfig}")])
            }
            SecretKind::ClusterProfile => {
                let data = match options.reader.as_ref().map(|at| at.value).unwrap_or_default() {
                    SecretReader::Token => ("token", "{token}"),
                    SecretReader::Kubeconfig => ("kubeconfig", "{kubeconfig}"),
                };
                Self::new(Some("{cluster}"), Rotation::On401, &[data])
            }
            SecretKind::Linkerd => linkerd(options, ctx),
            SecretKind::Calico => {
                let data = [("datastoreType", "kubernetes"), ("kubeconfig", "{kubeconfig}")];
                Self::new(Some("remote-{cluster}"), Rotation::Watch, &data)
            }
        }
    }

    /// A Secret without a type, labels and annotations of its own.
    fn new(name: Option<&'static str>, rotation: Rotation, data: &[(&str, &str)]) -> Self {
        Self {
            name,
            secret_type: "Opaque".to_owned(),
            labels: vec![],
            annotations: vec![],
            data: pairs(data),
            kubeconfig: ["{cluster}"; 3],
            identity: None,
            rotation,
            workload: None,
            register: None,
        }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Argo CD's keys (argo-cd, `util/db/cluster.go`, `clusterToSecret`).
fn argocd(options: &OptionsTable, ctx: &mut Context<'_>) -> Vec<(String, String)> {
    let mut data = pairs(&[("name", "{cluster}"), ("server", "{server}")]);
    data.push(("config".to_owned(), format!("{{{ARGOCD_CONFIG}}}")));
    let mut add = |key: &str, value: String| data.push((key.to_owned(), escape(&value)));
    if let Some(project) = &options.project {
        add("project", project.value.clone());
    }
    if let Some(namespaces) = &options.namespaces {
        let names: Vec<&str> = namespaces.value.iter().map(|name| name.value.as_str()).collect();
        add("namespaces", names.join(","));
        for namespace in &namespaces.value {
            ctx.check("namespace", namespace, syntax::dns_label);
        }
    }
    if let Some(shard) = &options.shard {
        add("shard", shard.value.to_string());
    }
    if let Some(resources) = &options.cluster_resources {
        if options.namespaces.is_none() {
            ctx.error(
                resources.location,
                "`cluster-resources` needs `namespaces`: without it, all of the cluster is meant",
            );
        }
        add("clusterResources", resources.value.to_string());
    }
    data
}

/// Linkerd's two Secrets (linkerd2, `multicluster/service-mirror` and `controller/api/destination`): both watch for Secrets
/// that come and go only.
fn linkerd(options: &OptionsTable, ctx: &mut Context<'_>) -> Preset {
    let (mut labels, mut annotations) = (vec![], vec![]);
    match (&options.trust_domain, &options.cluster_domain) {
        (Some(trust), Some(cluster)) => {
            labels = pairs(&[("multicluster.linkerd.io/cluster-name", "{cluster}")]);
            annotations = vec![
                ("multicluster.linkerd.io/trust-domain".to_owned(), escape(&trust.value)),
                ("multicluster.linkerd.io/cluster-domain".to_owned(), escape(&cluster.value)),
            ];
        }
        (Some(At { location, .. }), None) | (None, Some(At { location, .. })) => {
            ctx.error(*location, "Linkerd's control plane wants both `trust-domain` and `cluster-domain`");
        }
        (None, None) => {}
    }
    Preset {
        secret_type: "mirror.linkerd.io/remote-kubeconfig".to_owned(),
        labels,
        annotations,
        ..Preset::new(Some("cluster-credentials-{cluster}"), Rotation::Recreate, &[("kubeconfig", "{kubeconfig}")])
    }
}

/// Returns the kind of the object by which a consumer finds its Secret, if it has one beside the Secret.
fn registers(kind: SecretKind) -> Option<Kind> {
    match kind {
        SecretKind::Sveltos => Some(Kind::SveltosCluster),
        SecretKind::Calico => Some(Kind::RemoteClusterConfiguration),
        SecretKind::ClusterProfile => Some(Kind::ClusterProfile),
        SecretKind::Free
        | SecretKind::Argocd
        | SecretKind::Istio
        | SecretKind::Flux
        | SecretKind::Kueue
        | SecretKind::ClusterApi
        | SecretKind::Linkerd => None,
    }
}

/// Refuses options of other kinds.
fn refuse_options(kind: SecretKind, options: &OptionsTable, ctx: &mut Context<'_>) {
    fn at<T>(at: Option<&At<T>>) -> Option<Location> {
        at.map(|at| at.location)
    }
    let OptionsTable {
        project,
        namespaces,
        cluster_resources,
        shard,
        reader,
        trust_domain,
        cluster_domain,
        register,
        register_namespace,
    } = options;
    if let Some(register) = register.as_ref().filter(|_| registers(kind).is_none()) {
        let message = format!(
            "`register` is an option of `sveltos`, `calico` and `cluster-profile`, and this output is for `{}`",
            kind.as_str()
        );
        ctx.error(register.location, message);
    }
    if let Some(namespace) = register_namespace {
        ctx.check("register-namespace", namespace, syntax::dns_label);
        if register.is_none() {
            ctx.error(namespace.location, "`register-namespace` needs `register`, the name of the ClusterProfile");
        }
    }
    let known = [
        ("project", at(project.as_ref()), SecretKind::Argocd),
        ("namespaces", at(namespaces.as_ref()), SecretKind::Argocd),
        ("cluster-resources", at(cluster_resources.as_ref()), SecretKind::Argocd),
        ("shard", at(shard.as_ref()), SecretKind::Argocd),
        ("reader", at(reader.as_ref()), SecretKind::ClusterProfile),
        ("trust-domain", at(trust_domain.as_ref()), SecretKind::Linkerd),
        ("cluster-domain", at(cluster_domain.as_ref()), SecretKind::Linkerd),
        ("register-namespace", at(register_namespace.as_ref()), SecretKind::ClusterProfile),
    ];
    for (key, location, of) in known {
        if let Some(location) = location.filter(|_| kind != of) {
            let message =
                format!("`{key}` is an option of `{}`, and this output is for `{}`", of.as_str(), kind.as_str());
            ctx.error(location, message);
        }
    }
}
