//! Finds clusters in a hub: lists its objects, and reads where each leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use toml::Table;

use super::admin::{Leads, discovered_kubeconfig, gives_minted, has_key, is_delivered};
use super::api::{Api, Request};
use super::observe::{Items, list};
use crate::delivery::holds_minted;
use crate::discovery::{FoundCluster, NamedBy, Unfit};
use crate::failure::{ApiFailure, clean};
use crate::inventory::{AdminSecret, DiscoveryHub, DiscoveryId, DiscoveryPreset};
use crate::names::{ANCHOR_TYPE, MANAGED_BY, MANAGED_BY_LABEL};
use crate::object::ObjectRef;

/// What a source found, or why something of it was left out.
pub(crate) type Finds = Vec<Result<FoundCluster, Unfit>>;

/// How many Secrets of a hub are read at the same time.
const AT_A_TIME: usize = 16;

/// Finds the clusters that the objects of a hub lead to.
///
/// # Errors
///
/// If the hub does not respond, or refuses a list.
pub(crate) async fn discover(api: &Api, id: &DiscoveryId, hub: &Arc<DiscoveryHub>) -> Result<Finds, ApiFailure> {
    let mut objects: BTreeMap<(String, String), Object> = BTreeMap::new();
    let namespaces: Vec<Option<&str>> = match hub.namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let named = hub.named.as_deref().and_then(|pattern| glob::Pattern::new(pattern).ok());
    let selection = selection(hub);
    for namespace in namespaces {
        list(api, &collection(hub.preset, namespace), &selection, Items::Whole, |item| {
            let object = Object::of(item);
            let is_wanted = named.as_ref().is_none_or(|named| named.matches(&object.name));
            if !is_wanted || !is_of(hub, &object) {
                return;
            }
            let is_marked = kind(hub.preset) == "Secret" && is_delivered(item);
            let object = Object { is_marked, ..object.with(item, hub.preset) };
            if !is_marked || !is_ours(id, hub, &object, item) {
                // A list that starts again contains some objects twice.
                objects.insert((object.namespace.clone(), object.name.clone()), object);
            }
        })
        .await?;
    }
    let finds = stream::iter(objects.into_values()).map(|object| find(api, id, hub, object));
    finds.buffered(AT_A_TIME).try_collect().await
}

/// What is kept of a listed object.
struct Object {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    /// Argo CD's name of the cluster.
    shown_name: Option<String>,
    /// Whether it carries kubemint's label, and kubemint has not delivered it.
    is_marked: bool,
    /// What the object says of the Secret, or the Secret itself.
    content: Value,
}

impl Object {
    fn of(item: &Value) -> Self {
        let metadata = &item["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = metadata["labels"].as_object().into_iter().flatten();
        Self {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
            shown_name: None,
            is_marked: false,
            content: Value::Null,
        }
    }

    /// Keeps what is needed of an object.
    fn with(mut self, item: &Value, preset: DiscoveryPreset) -> Self {
        self.content = match preset {
            DiscoveryPreset::Sveltos | DiscoveryPreset::RancherFleet => item["spec"].clone(),
            DiscoveryPreset::ClusterProfile => serde_json::json!({ "status": item["status"] }),
            _ => serde_json::json!({ "data": item["data"] }),
        };
        if preset == DiscoveryPreset::Argocd {
            self.shown_name = text_of(item, "name");
        }
        self
    }
}

/// Returns a key of a Secret as text.
fn text_of(secret: &Value, key: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// Returns the kind of the objects that are listed.
fn kind(preset: DiscoveryPreset) -> &'static str {
    match preset {
        DiscoveryPreset::Sveltos => "SveltosCluster",
        DiscoveryPreset::RancherFleet => "Cluster",
        DiscoveryPreset::ClusterProfile => "ClusterProfile",
        DiscoveryPreset::ClusterApi
        | DiscoveryPreset::Argocd
        | DiscoveryPreset::Vcluster
        | DiscoveryPreset::Kubeconfig => "Secret",
    }
}

/// Returns the path of the collection that is listed.
fn collection(preset: DiscoveryPreset, namespace: Option<&str>) -> String {
    let (root, resource) = match preset {
        DiscoveryPreset::Sveltos => ("/apis/lib.projectsveltos.io/v1beta1", "sveltosclusters"),
        DiscoveryPreset::RancherFleet => ("/apis/fleet.cattle.io/v1alpha1", "clusters"),
        DiscoveryPreset::ClusterProfile => ("/apis/multicluster.x-k8s.io/v1alpha1", "clusterprofiles"),
        DiscoveryPreset::ClusterApi
        | DiscoveryPreset::Argocd
        | DiscoveryPreset::Vcluster
        | DiscoveryPreset::Kubeconfig => ("/api/v1", "secrets"),
    };
    match namespace {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{resource}"),
        None => format!("{root}/{resource}"),
    }
}

/// The label with the name of a cluster on Cluster API's Secrets.
const CAPI_CLUSTER: &str = "cluster.x-k8s.io/cluster-name";

/// Returns what narrows the list: the selector of the inventory, and what the preset's objects have.
fn selection(hub: &DiscoveryHub) -> Vec<(&'static str, String)> {
    let own = match hub.preset {
        DiscoveryPreset::ClusterApi => CAPI_CLUSTER,
        DiscoveryPreset::Argocd => "argocd.argoproj.io/secret-type=cluster",
        _ => "",
    };
    let labels: Vec<&str> = [own, hub.selector.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
    let mut selection = vec![];
    if !labels.is_empty() {
        selection.push(("labelSelector", labels.join(",")));
    }
    let secret_type = match hub.preset {
        DiscoveryPreset::ClusterApi => Some("cluster.x-k8s.io/secret"),
        _ => hub.secret_type.as_deref(),
    };
    selection.extend(secret_type.map(|it| ("fieldSelector", format!("type={it}"))));
    selection
}

/// Whether an object is one of those that the preset means, by its name.
fn is_of(hub: &DiscoveryHub, object: &Object) -> bool {
    match hub.preset {
        // Others have that type too, such as those with certificates.
        DiscoveryPreset::ClusterApi => {
            object.labels.get(CAPI_CLUSTER).is_some_and(|cluster| object.name == format!("{cluster}-kubeconfig"))
        }
        DiscoveryPreset::Vcluster => object.name.starts_with("vc-") && !object.name.starts_with("vc-config-"),
        _ => true,
    }
}

/// Whether a Secret with kubemint's label is what the label says: a credential that was delivered, or what one is bound to.
///
/// What counts is the credential that would be used: whoever may label a Secret may put one of kubemint's under any other key,
/// and hide the cluster.
fn is_ours(id: &DiscoveryId, hub: &Arc<DiscoveryHub>, object: &Object, item: &Value) -> bool {
    if item["type"] == ANCHOR_TYPE {
        return true;
    }
    let Ok((secret, _)) = named_secret(id, hub, object) else { return false };
    // Without a preset of its own, only the key tells access to a cluster from what outputs of other forms deliver beside it.
    let is_another_form = hub.preset == DiscoveryPreset::Kubeconfig && !has_key(item, &secret) && holds_minted(item);
    is_another_form || gives_minted(item, &secret)
}

/// Returns the Secret that an object names, and the context in it, if it names one.
///
/// # Errors
///
/// If it names none, or one that may not be read.
fn named_secret(
    id: &DiscoveryId,
    hub: &Arc<DiscoveryHub>,
    object: &Object,
) -> Result<(AdminSecret, Option<String>), String> {
    let secret = |name: &str, key: Option<&str>| AdminSecret {
        source: id.clone(),
        hub: Arc::clone(hub),
        namespace: object.namespace.clone(),
        name: name.to_owned(),
        key: key.map(str::to_owned),
        profile: None,
    };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut context = None;
    let secret = match hub.preset {
        DiscoveryPreset::Sveltos => {
            let spec = &object.content;
            let name = text(&spec["kubeconfigName"]).unwrap_or_else(|| format!("{}-sveltos-kubeconfig", object.name));
            secret(&name, text(&spec["kubeconfigKeyName"]).as_deref())
        }
        DiscoveryPreset::RancherFleet => match text(&object.content["kubeConfigSecret"]) {
            Some(name) => secret(&name, None),
            None => {
                return Err("its `spec.kubeConfigSecret` is empty: its agent reaches out by itself".to_owned());
            }
        },
        DiscoveryPreset::ClusterProfile => {
            let named = |provider: &str| super::admin::provider_config(&object.content, provider);
            let of = |config: &Value, key: &str| text(&config[key]);
            if let Some(config) = named("kubeconfig-secretreader") {
                context = of(&config, "context");
                let namespace = of(&config, "namespace").unwrap_or_else(|| object.namespace.clone());
                let Some(name) = of(&config, "name") else {
                    return Err("its access provider names no Secret".to_owned());
                };
                AdminSecret { namespace, ..secret(&name, of(&config, "key").as_deref()) }
            } else if let Some(config) = named("secretreader") {
                let Some(name) = of(&config, "clusterName") else {
                    return Err("its access provider names no Secret".to_owned());
                };
                let namespace = hub.secret_namespace.clone().unwrap_or_else(|| object.namespace.clone());
                let profile = Some(format!("{}/{}", object.namespace, object.name));
                AdminSecret { namespace, profile, ..secret(&name, None) }
            } else {
                let why = "it has none of the access providers `secretreader` and `kubeconfig-secretreader`";
                return Err(why.to_owned());
            }
        }
        _ => secret(&object.name, None),
    };
    if !secret.is_possible() {
        return Err("what it names cannot be a Secret".to_owned());
    }
    // Whoever writes the object chooses what it names.
    let mut meant = hub.namespaces.iter().chain(&hub.secret_namespace);
    if !hub.namespaces.is_empty() && meant.all(|namespace| *namespace != secret.namespace) {
        let namespace = &secret.namespace;
        return Err(format!("it names a Secret in namespace `{namespace}`, where this discovery does not look"));
    }
    Ok((secret, context))
}

/// Finds where one object leads.
///
/// # Errors
///
/// If the hub does not respond, or refuses a Secret.
async fn find(
    api: &Api,
    id: &DiscoveryId,
    hub: &Arc<DiscoveryHub>,
    object: Object,
) -> Result<Result<FoundCluster, Unfit>, ApiFailure> {
    let at = clean(&format!("{} {}/{}", kind(hub.preset), object.namespace, object.name));
    // What cannot be used keeps its name from other sources all the same.
    let left_out = |why: String| Ok(Err(Unfit { why, named_by: named_by(hub.preset, &object) }));
    if object.is_marked {
        return left_out(format!(
            "{at}: it carries the label `{MANAGED_BY_LABEL}={MANAGED_BY}`, and holds no credential that kubemint delivers: \
             whoever set the label hides a cluster"
        ));
    }
    let (secret, context) = match named_secret(id, hub, &object) {
        Ok(named) => named,
        Err(why) => return left_out(format!("{at}: {why}")),
    };
    let content = if kind(hub.preset) == "Secret" {
        object.content.clone()
    } else {
        let place = ObjectRef::delivered(&secret.namespace, &secret.name);
        match api.object(&Request::get(place.path()), &place).await {
            Ok(answer) => answer.value,
            Err(failure) if failure.is_not_found() => return left_out(format!("{at}: {place} does not exist")),
            // Whoever wrote the object chose the Secret. The other objects are found without it.
            Err(failure) if failure.code() == Some(403) => return left_out(format!("{at}: {place}: {failure}")),
            Err(failure) => return Err(failure),
        }
    };
    let led = discovered_kubeconfig(&content, &secret, Some(&object.content), context.as_deref());
    let Leads { server, endpoint } = match led {
        Ok(leads) => leads,
        Err(why) => return left_out(format!("{at}: {}", clean(&why))),
    };
    let AdminSecret { namespace, name, key, profile, .. } = &secret;
    let mut admin = Table::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            admin.insert(key.to_owned(), value.into());
        }
    };
    put("discovered", Some(id.as_str()));
    put("secret", Some(&format!("{namespace}/{name}")));
    put("key", key.as_deref());
    put("profile", profile.as_deref());
    put("context", context.as_deref());
    put("seen-server", Some(&server));
    put("seen-endpoint", Some(&endpoint));
    let variables = variables(&object, cluster_of(hub.preset, &object).unwrap_or_else(|| object.name.clone()));
    Ok(Ok(FoundCluster { at, variables, labels: object.labels, admin, consumer: None, server: Some(server) }))
}

/// Returns what a preset calls the cluster of an object, if it has a name for it.
fn cluster_of(preset: DiscoveryPreset, object: &Object) -> Option<String> {
    match preset {
        DiscoveryPreset::ClusterApi => object.labels.get(CAPI_CLUSTER).cloned(),
        DiscoveryPreset::Argocd => object.shown_name.clone(),
        DiscoveryPreset::Vcluster => object.name.strip_prefix("vc-").map(str::to_owned),
        _ => None,
    }
}

/// Returns what the template of a name knows of an object.
fn variables(object: &Object, cluster: String) -> Vec<(&'static str, String)> {
    vec![("namespace", object.namespace.clone()), ("name", object.name.clone()), ("cluster", cluster)]
}

/// Returns by what an object that cannot be used would be named. Who broke one of Argo CD's may have taken its name, too.
fn named_by(preset: DiscoveryPreset, object: &Object) -> Option<NamedBy> {
    let cluster = match (cluster_of(preset, object), preset) {
        (None, DiscoveryPreset::Argocd) => return None,
        (cluster, _) => cluster.unwrap_or_else(|| object.name.clone()),
    };
    Some(NamedBy { variables: variables(object, cluster), labels: object.labels.clone() })
}
