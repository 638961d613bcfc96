//! The object by which a consumer finds the Secret of a cluster, where it has one beside the Secret: what it should say, and
//! what it says.
//!
//! It is written only where the inventory asks for that (`register`). One that already names the Secret is right, whoever
//! wrote it. One that names something else is somebody's decision, and never taken over.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::failure::{FailureKind, StepFailure, clean};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{Endpoint, Mark};
use crate::names::{
    DELIVERY_ANNOTATION, EXTENSION, INVENTORY_LABEL, InventoryName, MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL,
};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};

/// An object by which a consumer finds a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Registration {
    /// The object, in the hub of the Secret.
    pub object: ObjectRef,
    /// What it says of the Secret.
    pub form: RegistrationForm,
    /// The labels of an object that kubemint makes, besides its marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What an object says of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RegistrationForm {
    /// These fields of its `spec`. The object is made where there is none.
    Spec(BTreeMap<String, Value>),
    /// An access provider in its `status`. The object is its cluster manager's, which makes it.
    AccessProvider {
        /// The name, by which consumers choose a plugin.
        name: String,
        /// What the plugin is told, which names the Secret.
        config: Value,
    },
}

/// The extension of an access provider that the plugin is given (client-go, `ExecCredential.spec.cluster.config`).
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// How an object is changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RegistrationChange {
    /// It is created.
    Create(Value),
    /// Some of its fields are set: a JSON merge patch, which names the version that was read.
    Patch(Value),
    /// Likewise, of its subresource `status`.
    PatchStatus(Value),
}

/// How an object stops naming a Secret.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Departure {
    /// It is deleted.
    Delete,
    /// It loses what it says of the Secret.
    Change(RegistrationChange),
}

/// What kubemint notes at an object that it made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Noted {
    /// The labels that kubemint wrote, besides its marks.
    #[serde(default)]
    labels: Vec<String>,
}

impl Registration {
    /// Says why an object cannot be made to name the Secret, before anything is minted. `read` is the object, if there is
    /// one.
    ///
    /// # Errors
    ///
    /// If it names something else and is not this inventory's, or only its cluster manager could make it.
    pub(crate) fn check(&self, read: Option<&Value>, inventory: &InventoryName) -> Result<(), StepFailure> {
        let object = &self.object;
        let blocked = |cause: String| StepFailure { kind: FailureKind::Blocked, ..StepFailure::new(cause) };
        match (&self.form, read) {
            (RegistrationForm::Spec(_), None) => Ok(()),
            (RegistrationForm::Spec(spec), Some(read)) => {
                if names(&read["spec"], spec) || is_ours(read, inventory) {
                    return Ok(());
                }
                let (key, _) = spec.iter().next().map_or(("spec", &Value::Null), |(key, value)| (key.as_str(), value));
                let now = clean(&read["spec"][key].to_string());
                Err(blocked(format!("{object} exists, its `spec.{key}` is {now}, and kubemint did not make it"))
                    .hint("delete it, or give another name with `register` in that `[[outputs]]`"))
            }
            (RegistrationForm::AccessProvider { .. }, None) => Err(blocked(format!("{object} does not exist"))
                .hint("its cluster manager makes it; check `register` and `register-namespace` in that `[[outputs]]`")),
            (RegistrationForm::AccessProvider { name, config }, Some(read)) => match provider(read, name) {
                Some(entry) if told(entry) != Some(config) && !is_marked(entry, inventory) => {
                    Err(blocked(format!("{object} has an access provider `{name}` of somebody else's"))
                        .hint("remove it there, or choose another `reader` in that `[[outputs]]`"))
                }
                _ => Ok(()),
            },
        }
    }

    /// Returns the fields in which an object differs from what is wanted; nothing if it names the Secret and is somebody's.
    pub(crate) fn differences(&self, read: Option<&Value>, mark: &Mark, endpoint: &Endpoint) -> Vec<FieldDiff> {
        let Some(change) = self.change(read, mark, endpoint) else { return vec![] };
        let object = &self.object;
        let field = |path: &str| format!("{} {path}", named(object));
        let text = |value: &Value| clean(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let differ = |path: &str, before: &Value, after: &Value| {
            let of = |value: &Value| if value.is_null() { vec![] } else { vec![text(value)] };
            FieldDiff { field: field(path), removed: of(before), added: of(after) }
        };
        match change {
            RegistrationChange::Create(_) => {
                vec![FieldDiff { field: named(object), removed: vec![], added: vec!["created".to_owned()] }]
            }
            RegistrationChange::Patch(patch) => {
                let before = read.unwrap_or(&Value::Null);
                let mut found = vec![];
                for (key, after) in patch["spec"].as_object().into_iter().flatten() {
                    found.push((format!("spec.{key}"), before["spec"][key].clone(), after.clone()));
                }
                for (key, after) in patch["metadata"]["labels"].as_object().into_iter().flatten() {
                    found.push((
                        format!("metadata.labels.{key}"),
                        before["metadata"]["labels"][key].clone(),
                        after.clone(),
                    ));
                }
                let found: Vec<FieldDiff> = found
                    .iter()
                    .filter(|(_, before, after)| before != after)
                    .map(|(path, before, after)| differ(path, before, after))
                    .collect();
                // Only what kubemint noted there is not what it was.
                if found.is_empty() {
                    vec![differ("metadata.annotations", &FieldDiff::WAS.into(), &FieldDiff::WRITTEN.into())]
                } else {
                    found
                }
            }
            RegistrationChange::PatchStatus(_) => {
                let RegistrationForm::AccessProvider { name, .. } = &self.form else { return vec![] };
                let before = read.and_then(|read| provider(read, name));
                let removed = before.map(|_| FieldDiff::WAS.to_owned()).into_iter().collect();
                let path = format!("status.accessProviders `{name}`");
                vec![FieldDiff { field: field(&path), removed, added: vec![FieldDiff::WRITTEN.to_owned()] }]
            }
        }
    }

    /// Returns the change that makes an object name the Secret; nothing if it does, or may not be changed.
    pub(crate) fn change(&self, read: Option<&Value>, mark: &Mark, endpoint: &Endpoint) -> Option<RegistrationChange> {
        match (&self.form, read) {
            (RegistrationForm::Spec(spec), None) => {
                let mut manifest = json!({
                    "apiVersion": self.object.kind.api_version(),
                    "kind": self.object.kind.as_str(),
                    "metadata": { "name": self.object.name, "labels": self.all_labels(mark), "annotations": self.noted() },
                    "spec": spec,
                });
                if let Some(namespace) = &self.object.namespace {
                    manifest["metadata"]["namespace"] = namespace.as_str().into();
                }
                Some(RegistrationChange::Create(manifest))
            }
            (RegistrationForm::Spec(spec), Some(read)) => {
                if !is_ours(read, &mark.inventory) {
                    return None;
                }
                let metadata = &read["metadata"];
                let mut labels = self.all_labels(mark);
                for key in labels_of(read) {
                    if !labels.contains_key(&key) && metadata["labels"][&key].is_string() {
                        labels.insert(key, Value::Null);
                    }
                }
                let noted = self.noted();
                let is_there = |at: &Value, wanted: &Map<String, Value>| {
                    wanted.iter().all(|(key, value)| at.get(key).unwrap_or(&Value::Null) == value)
                };
                if names(&read["spec"], spec)
                    && is_there(&metadata["labels"], &labels)
                    && is_there(&metadata["annotations"], &noted)
                {
                    return None;
                }
                Some(RegistrationChange::Patch(json!({
                    "metadata": version(read, json!({ "labels": labels, "annotations": noted })),
                    "spec": spec,
                })))
            }
            (RegistrationForm::AccessProvider { name, config }, read) => {
                let before = provider(read?, name);
                if before.is_some_and(|entry| told(entry) == Some(config) && !is_marked(entry, &mark.inventory)) {
                    return None;
                }
                let wanted = access_provider(name, config, mark, endpoint);
                if before == Some(&wanted) {
                    return None;
                }
                Some(providers(read?, name, Some(wanted)))
            }
        }
    }

    /// Returns the change that takes an object away again, or what it says of the Secret; nothing if it is not this
    /// inventory's, or names something else by now.
    pub(crate) fn departure(&self, read: &Value, inventory: &InventoryName) -> Option<Departure> {
        match &self.form {
            RegistrationForm::Spec(spec) => {
                let leaves = is_ours(read, inventory) && names(&read["spec"], spec);
                leaves.then_some(Departure::Delete)
            }
            RegistrationForm::AccessProvider { name, config } => {
                let entry = provider(read, name)?;
                let leaves = is_marked(entry, inventory) && told(entry) == Some(config);
                leaves.then(|| Departure::Change(providers(read, name, None)))
            }
        }
    }

    /// Returns what is noted of it at the Secret, so that it is found again.
    pub(super) fn without_labels(&self) -> Self {
        Self { labels: BTreeMap::new(), ..self.clone() }
    }

    /// Returns whether another one is about the same object, and the same part of it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.without_labels() == other.without_labels()
    }

    fn all_labels(&self, mark: &Mark) -> Map<String, Value> {
        let text = |(key, value): (&String, &String)| (key.clone(), Value::from(value.as_str()));
        let mut labels: Map<String, Value> = self.labels.iter().map(text).collect();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.into());
        labels.insert(INVENTORY_LABEL.to_owned(), mark.inventory.as_str().into());
        labels.insert(PROFILE_LABEL.to_owned(), mark.profile.as_str().into());
        labels
    }

    /// Returns the annotation of an object that kubemint makes.
    fn noted(&self) -> Map<String, Value> {
        let noted = Noted { labels: self.labels.keys().cloned().collect() };
        let noted = serde_json::to_string(&noted).expect("names can be written");
        Map::from_iter([(DELIVERY_ANNOTATION.to_owned(), noted.into())])
    }
}

/// Names an object as the list of changes does.
fn named(object: &ObjectRef) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} {namespace}/{}", object.kind, object.name),
        None => format!("{} {}", object.kind, object.name),
    }
}

/// Whether an object has what is wanted in its `spec`, whatever else is there.
fn names(spec: &Value, wanted: &BTreeMap<String, Value>) -> bool {
    fn holds(held: &Value, wanted: &Value) -> bool {
        match wanted {
            Value::Object(wanted) => wanted.iter().all(|(key, wanted)| holds(&held[key], wanted)),
            wanted => held == wanted,
        }
    }
    wanted.iter().all(|(key, wanted)| holds(&spec[key], wanted))
}

fn is_ours(read: &Value, inventory: &InventoryName) -> bool {
    ObservedObject::from_json(read).ownership(inventory) == Ownership::Ours
}

/// Returns the labels that kubemint wrote, as it noted them.
fn labels_of(read: &Value) -> Vec<String> {
    let noted = read["metadata"]["annotations"][DELIVERY_ANNOTATION].as_str();
    let noted: Option<Noted> = noted.and_then(|noted| serde_json::from_str(noted).ok());
    noted.map(|noted| noted.labels).unwrap_or_default()
}

/// Adds the version that was read to the metadata of a patch.
fn version(read: &Value, mut metadata: Value) -> Value {
    for field in ["uid", "resourceVersion"] {
        metadata[field] = read["metadata"][field].clone();
    }
    metadata
}

fn provider<'a>(read: &'a Value, name: &str) -> Option<&'a Value> {
    read["status"]["accessProviders"].as_array()?.iter().find(|entry| entry["name"] == name)
}

fn extension<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    let extensions = entry["cluster"]["extensions"].as_array()?;
    extensions.iter().find(|extension| extension["name"] == name).map(|extension| &extension["extension"])
}

/// Returns what the plugin of an access provider is told.
fn told(entry: &Value) -> Option<&Value> {
    extension(entry, EXEC_EXTENSION)
}

/// Whether kubemint wrote an access provider for an inventory.
fn is_marked(entry: &Value, inventory: &InventoryName) -> bool {
    extension(entry, EXTENSION).is_some_and(|mark| mark["inventory"] == inventory.as_str())
}

/// Returns an access provider (cluster-inventory-api, `apis/v1alpha1/clusterprofile_types.go`).
fn access_provider(name: &str, config: &Value, mark: &Mark, endpoint: &Endpoint) -> Value {
    let mut cluster = json!({ "server": endpoint.server });
    if let Some(authority) = &endpoint.certificate_authority {
        cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
    }
    for (key, value) in [("tls-server-name", &endpoint.tls_server_name), ("proxy-url", &endpoint.proxy_url)] {
        if let Some(value) = value {
            cluster[key] = value.as_str().into();
        }
    }
    let mark = json!({ "inventory": mark.inventory, "cluster": mark.cluster, "profile": mark.profile });
    cluster["extensions"] = json!([
        { "name": EXEC_EXTENSION, "extension": config },
        { "name": EXTENSION, "extension": mark },
    ]);
    json!({ "name": name, "cluster": cluster })
}

/// Returns the change that sets or removes one access provider. The list is written whole: it is atomic in `v1alpha1`.
fn providers(read: &Value, name: &str, wanted: Option<Value>) -> RegistrationChange {
    let mut wanted = wanted;
    let mut list = vec![];
    for entry in read["status"]["accessProviders"].as_array().into_iter().flatten() {
        if entry["name"] == name {
            list.extend(wanted.take());
        } else {
            list.push(entry.clone());
        }
    }
    list.extend(wanted);
    RegistrationChange::PatchStatus(json!({
        "metadata": version(read, json!({})),
        "status": { "accessProviders": list },
    }))
}
