//! Clusters: names, labels, admin access and consumer endpoint. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::admin::{self, Admin};
use super::{Context, Parsed, discovery};
use crate::inventory::DiscoveryId;
use crate::inventory::file::{ClusterTable, ConsumerTable, DefaultsTable};
use crate::inventory::model::{AdminAccess, Cluster, Consumer, Contest};
use crate::inventory::problem::{At, Location, Problem};
use crate::inventory::syntax;
use crate::names::ClusterName;
use crate::selector;
use crate::wording::list;

/// A cluster, and the keys of its table that its grants need.
#[derive(Debug)]
pub(super) struct ResolvedCluster {
    pub(super) cluster: Arc<Cluster>,
    pub(super) location: Location,
    /// The namespace of ServiceAccounts that the cluster's table names.
    pub(super) namespace: Option<String>,
    /// Whether that namespace is created, if the cluster's table says so.
    pub(super) create_namespaces: Option<bool>,
    /// The server that its consumers are told, in comparable form, if the inventory says it.
    pub(super) consumer_server: Option<String>,
}

impl ResolvedCluster {
    /// Returns the server that consumers are told, if the inventory says it.
    pub(super) fn told_server(&self) -> Option<&str> {
        let own = match &self.cluster.admin {
            AdminAccess::Inline(inline) => Some(inline.server.as_str()),
            AdminAccess::InCluster => Some("https://kubernetes.default.svc"),
            AdminAccess::Kubeconfig { .. } => None,
        };
        self.cluster.consumer.server.as_deref().or(own)
    }
}

/// All clusters, in the order of the inventory.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    pub(super) list: Vec<ResolvedCluster>,
    by_name: HashMap<ClusterName, usize>,
    /// What `admin` lacks, wherever it stands.
    pub(super) default_admin: Admin,
}

impl Clusters {
    /// Finds a cluster by name.
    pub(super) fn find(&self, name: &str) -> Option<&ResolvedCluster> {
        self.by_name.get(name).and_then(|index| self.list.get(*index))
    }
}

pub(super) fn resolve(
    files: &[Parsed],
    doubts: &[discovery::Doubt],
    defaults: &DefaultsTable,
    ctx: &mut Context<'_>,
) -> Clusters {
    let default_admin = Admin::resolve(defaults.admin.as_ref(), ctx);
    let mut clusters = Clusters { default_admin: default_admin.clone(), ..Clusters::default() };
    let found_in = discovery::sources_of(files);
    let doubts = discovery::Doubts::of(doubts);
    for table in &discovery::refined(files, ctx) {
        let found = found_in.get(&table.location.file()).map(|own| {
            let name = table.value.name.as_ref().map_or("", |name| &name.value);
            (own.clone(), discovery::contests(own, name, &doubts, ctx))
        });
        let Some(resolved) = cluster(table, &default_admin, found, ctx) else {
            ctx.incomplete = true;
            continue;
        };
        let name = resolved.cluster.name.clone();
        if let Some(first) = clusters.find(name.as_str()) {
            let problem = Problem::error(resolved.location, format!("cluster `{name}` is defined twice"));
            ctx.problems.push(problem.also(first.location, "it is defined here first"));
            continue;
        }
        clusters.by_name.insert(name, clusters.list.len());
        clusters.list.push(resolved);
    }
    warn_about_twins(&clusters, ctx);
    clusters
}

fn cluster(
    table: &At<ClusterTable>,
    defaults: &Admin,
    found: Option<(DiscoveryId, Vec<Contest>)>,
    ctx: &mut Context<'_>,
) -> Option<ResolvedCluster> {
    let ClusterTable { name, labels, namespace, create_namespaces, admin, allow_insecure, consumer } = &table.value;
    let consumer_server = consumer.as_ref().and_then(|consumer| check_consumer(&consumer.value, ctx));
    let mut resolved_labels = BTreeMap::new();
    for (key, value) in labels.iter().flat_map(|labels| &labels.value.0) {
        if let Err(message) = selector::validate_label_key(&key.value) {
            ctx.error(key.location, message);
        }
        if let Err(message) = selector::validate_label_value(&value.value) {
            ctx.error(value.location, message);
        }
        resolved_labels.insert(key.value.clone(), value.value.clone());
    }
    if let Some(namespace) = namespace {
        ctx.check("namespace", namespace, syntax::dns_label);
    }
    let location = name.as_ref().map_or(table.location, |name| name.location);
    let (found_by, contested_by) = found.map_or_else(
        || {
            let said = admin.as_ref().and_then(|admin| admin.value.discovered.as_ref());
            (said.map(|source| DiscoveryId::new(&source.value)), vec![])
        },
        |(own, contests)| (Some(own), contests),
    );
    let admin = Admin::resolve(admin.as_ref(), ctx).or(defaults);
    let admin = admin.access(name.as_ref().map_or("", |name| &name.value), location, ctx);
    let name = name.as_ref()?;
    ctx.check("cluster name", name, syntax::cluster_name);
    let cluster = Cluster {
        name: ClusterName::new(&name.value),
        labels: resolved_labels,
        admin,
        found_by,
        contested_by,
        allow_insecure: allow_insecure.as_ref().is_some_and(|allowed| allowed.value),
        consumer: consumer.as_ref().map(|consumer| resolve_consumer(&consumer.value, ctx)).unwrap_or_default(),
    };
    let is_for_pods = match &cluster.admin {
        AdminAccess::InCluster => true,
        AdminAccess::Inline(inline) => syntax::is_for_pods_only(&inline.server),
        AdminAccess::Kubeconfig { .. } => false,
    };
    if is_for_pods && cluster.consumer.server.is_none() {
        let problem = Problem::warning(
            location,
            format!("only pods of cluster `{}` reach the server that its consumers are told", name.value),
        );
        ctx.problems.push(
            problem
                .hint("set `consumer.server` to the address that others reach, or to the same if all are pods there"),
        );
    }
    Some(ResolvedCluster {
        cluster: Arc::new(cluster),
        location,
        namespace: namespace.as_ref().map(|namespace| namespace.value.clone()),
        create_namespaces: create_namespaces.as_ref().map(|create| create.value),
        consumer_server,
    })
}

/// Checks the endpoint and returns its server in comparable form. URLs are not quoted: an invalid one may hold a
/// password.
fn check_consumer(consumer: &ConsumerTable, ctx: &mut Context<'_>) -> Option<String> {
    if let Some(name) = &consumer.tls_server_name {
        ctx.check("tls-server-name", name, syntax::server_name);
    }
    if let Some(proxy) = &consumer.proxy_url
        && let Err(reason) = syntax::proxy_url(&proxy.value)
    {
        ctx.error(proxy.location, format!("`proxy-url` is not valid: {reason}"));
    }
    let server = consumer.server.as_ref()?;
    let checked = syntax::server_url(&server.value);
    if let Err(reason) = &checked {
        ctx.error(server.location, format!("`server` is not valid: {reason}"));
    }
    checked.ok()
}

fn resolve_consumer(consumer: &ConsumerTable, ctx: &mut Context<'_>) -> Consumer {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let path = consumer.certificate_authority.as_ref();
    Consumer {
        server: text(&consumer.server),
        certificate_authority: path.and_then(|path| ctx.path("certificate-authority", path)),
        tls_server_name: text(&consumer.tls_server_name),
        proxy_url: text(&consumer.proxy_url),
        verify: consumer.verify.as_ref().map(|at| at.value).unwrap_or_default(),
    }
}

/// Warns about clusters that seem to be the same API server.
fn warn_about_twins(clusters: &Clusters, ctx: &mut Context<'_>) {
    for twins in twins(clusters, |resolved| admin::identity(&resolved.cluster.admin)) {
        warn(&twins, "the same admin access", ctx);
    }
    for twins in twins(clusters, |resolved| resolved.consumer_server.clone()) {
        warn(&twins, "the same consumer server", ctx);
    }
}

/// Returns the clusters that have the same key, for each key that several have, in order.
fn twins<K: Hash + Eq>(clusters: &Clusters, key: impl Fn(&ResolvedCluster) -> Option<K>) -> Vec<Vec<&ResolvedCluster>> {
    let mut groups: Vec<Vec<&ResolvedCluster>> = vec![];
    let mut by_key: HashMap<K, usize> = HashMap::new();
    for resolved in &clusters.list {
        let Some(key) = key(resolved) else { continue };
        let group = *by_key.entry(key).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(resolved),
            None => groups.push(vec![resolved]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn warn(twins: &[&ResolvedCluster], what: &str, ctx: &mut Context<'_>) {
    let [first, second, ..] = twins else { return };
    let names = twins.iter().map(|resolved| resolved.cluster.name.as_str());
    let message = format!("clusters {} have {what}", list(names, 5));
    let problem = Problem::warning(second.location, message);
    let problem = problem.hint("keep one name for each API server; two would fight over the same objects");
    ctx.problems.push(problem.also(first.location, "the first of them"));
}
