//! The content that a Secret should have, and the manifests that bring it there. A token leaves its type here.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::form::{Piece, SecretForm};
use super::held::HeldSecret;
use super::registration::Registration;
use crate::credential::{Credential, CredentialFacts};
use crate::delivery::SecretPlace;
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{Endpoint, EntryNames, Mark, OurEntries, UserForm};
use crate::names::{DELIVERY_ANNOTATION, INVENTORY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL};
use crate::object::ObjectRef;

/// The version of the format of the annotation.
const VERSION: u64 = 1;

/// What a Secret should hold. It holds the token, so it cannot be formatted.
#[derive(Clone)]
pub(crate) struct SecretContent {
    /// The `type`.
    pub(super) secret_type: String,
    /// The labels, kubemint's marks included.
    pub(super) labels: BTreeMap<String, String>,
    /// The annotations, kubemint's own included if the credential is known.
    pub(super) annotations: BTreeMap<String, String>,
    /// The values by key; nothing where a value depends on a credential that is not known.
    pub(super) data: BTreeMap<String, Option<Vec<u8>>>,
    /// The object by which the consumer finds it, with whose credential it is for and what it leads to.
    pub(super) registration: Option<Box<(Registration, Mark, Endpoint)>>,
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretContent({:?})", self.data.keys())
    }
}

/// What kubemint notes at a Secret: whose credential it holds, and what of it is kubemint's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Noted {
    /// The version of this format.
    pub version: u64,
    /// The grant and the holder.
    #[serde(flatten)]
    pub mark: Mark,
    /// The uid of the cluster that the credential is for.
    pub cluster_uid: Option<String>,
    /// What is known about the credential.
    #[serde(flatten)]
    pub facts: CredentialFacts,
    /// The keys of the data that kubemint wrote.
    pub keys: BTreeSet<String>,
    /// The labels that kubemint wrote, besides its marks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// The annotations that kubemint wrote, besides this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub annotations: BTreeSet<String>,
    /// The object by which the consumer finds the Secret, if kubemint writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// How a Secret is changed.
pub(crate) enum SecretChange {
    /// It is created.
    Create(Value),
    /// Some of its fields are set, and some removed: a JSON merge patch, which names the version that was read.
    Patch(Value),
}

impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create(_) => "SecretChange::Create",
            Self::Patch(_) => "SecretChange::Patch",
        })
    }
}

impl SecretContent {
    /// Renders the content of a grant's Secret. Values that need a token are left out if there is no credential.
    pub(crate) fn render(form: &SecretForm, mark: &Mark, endpoint: &Endpoint, credential: Option<&Credential>) -> Self {
        let mut labels = form.labels.clone();
        labels.extend([
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (INVENTORY_LABEL.to_owned(), mark.inventory.to_string()),
            (PROFILE_LABEL.to_owned(), mark.profile.to_string()),
        ]);
        let mut annotations = form.annotations.clone();
        if let Some(credential) = credential {
            let noted = Noted {
                version: VERSION,
                mark: mark.clone(),
                cluster_uid: endpoint.cluster_uid.clone(),
                facts: credential.facts.clone(),
                keys: form.data.keys().cloned().collect(),
                labels: form.labels.keys().cloned().collect(),
                annotations: form.annotations.keys().cloned().collect(),
                // Its labels are noted at that object.
                registration: form.registration.as_ref().map(Registration::without_labels),
            };
            let noted = serde_json::to_string(&noted).expect("names, times and numbers can be written");
            annotations.insert(DELIVERY_ANNOTATION.to_owned(), noted);
        }
        let value = |pieces: &[Piece]| {
            let mut value = vec![];
            for piece in pieces {
                value.extend(bytes(piece, endpoint, credential)?);
            }
            Some(value)
        };
        Self {
            secret_type: form.secret_type.clone(),
            labels,
            annotations,
            data: form.data.iter().map(|(key, pieces)| (key.clone(), value(pieces))).collect(),
            registration: form.registration.clone().map(|it| Box::new((it, mark.clone(), endpoint.clone()))),
        }
    }

    /// Returns this content with a text in place of what a credential would give, for trying whether the API server takes
    /// such a Secret.
    pub(crate) fn for_trial(mut self) -> Self {
        // As long as what comes, so that what counts sizes judges alike.
        const STANDS_IN: usize = 2048;
        for value in self.data.values_mut() {
            value.get_or_insert_with(|| vec![b'x'; STANDS_IN]);
        }
        self
    }

    /// Returns the manifest of a Secret that takes the place of another: with what others put into that one.
    pub(crate) fn anew(&self, before: &Value, held: &HeldSecret) -> Value {
        let mut manifest = Self::back(before);
        manifest["type"] = self.secret_type.as_str().into();
        // One that cannot be changed could not be renewed.
        manifest.as_object_mut().and_then(|manifest| manifest.shift_remove("immutable"));
        let mut data = Map::new();
        for (key, value) in &self.data {
            data.extend(value.as_ref().map(|value| (key.clone(), STANDARD.encode(value).into())));
        }
        put(&mut manifest["data"], data, &held.keys_gone(self));
        let metadata = &mut manifest["metadata"];
        put(&mut metadata["labels"], texts(&self.labels), &held.labels_gone(self));
        put(&mut metadata["annotations"], texts(&self.annotations), &held.annotations_gone(self));
        manifest
    }

    /// Returns the manifest that makes a Secret again after it was deleted.
    pub(crate) fn back(before: &Value) -> Value {
        const OF_THE_SERVER: [&str; 6] =
            ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"];
        let mut manifest = before.clone();
        if let Some(metadata) = manifest["metadata"].as_object_mut() {
            metadata.retain(|field, _| !OF_THE_SERVER.contains(&field.as_str()));
        }
        manifest
    }

    /// Returns the object by which the consumer finds it.
    pub(crate) fn registered(&self) -> Option<&ObjectRef> {
        self.registration.as_ref().map(|wanted| &wanted.0.object)
    }

    /// Returns the names of its keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.keys().map(String::as_str)
    }

    /// Returns the fields of a Secret that a credential will change that is not known yet.
    pub(crate) fn to_come(&self, held: Option<&HeldSecret>) -> impl Iterator<Item = FieldDiff> {
        let is_held = move |key: &str| held.is_some_and(|held| held.keys().any(|held| held == key));
        self.data.iter().filter(|(_, value)| value.is_none()).map(move |(key, _)| FieldDiff {
            field: format!("data.{key}"),
            removed: is_held(key).then(|| FieldDiff::WAS.to_owned()).into_iter().collect(),
            added: vec![FieldDiff::WRITTEN.to_owned()],
        })
    }

    /// Returns the size of the data in bytes, as Kubernetes counts it (`MaxSecretSize`, 1 MiB).
    pub(crate) fn size(&self) -> usize {
        self.data.values().flatten().map(Vec::len).sum()
    }

    /// Returns the change that makes a Secret hold this.
    pub(crate) fn change(&self, place: &SecretPlace, held: Option<&HeldSecret>) -> SecretChange {
        let mut data = Map::new();
        for (key, value) in &self.data {
            if let Some(value) = value {
                data.insert(key.clone(), STANDARD.encode(value).into());
            }
        }
        let mut labels: Map<String, Value> = texts(&self.labels);
        let mut annotations: Map<String, Value> = texts(&self.annotations);
        let Some(held) = held else {
            return SecretChange::Create(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": place.name,
                    "namespace": place.namespace,
                    "labels": labels,
                    "annotations": annotations,
                },
                "type": self.secret_type,
                "data": data,
            }));
        };
        // What an earlier version of the inventory wrote, and this one does not.
        let leave = |gone: Vec<&String>, map: &mut Map<String, Value>| {
            map.extend(gone.into_iter().map(|key| (key.clone(), Value::Null)));
        };
        leave(held.keys_gone(self), &mut data);
        leave(held.labels_gone(self), &mut labels);
        leave(held.annotations_gone(self), &mut annotations);
        SecretChange::Patch(json!({
            "metadata": {
                "uid": held.uid,
                "resourceVersion": held.resource_version,
                "labels": labels,
                "annotations": annotations,
            },
            "data": data,
        }))
    }
}

/// Puts entries into an object, and takes others out.
fn put(object: &mut Value, entries: Map<String, Value>, gone: &[&String]) {
    let mut map = object.as_object().cloned().unwrap_or_default();
    map.retain(|key, _| !gone.contains(&key));
    map.extend(entries);
    *object = Value::Object(map);
}

fn texts(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

/// Returns a piece of a value; nothing if it needs a token and there is none.
fn bytes(piece: &Piece, endpoint: &Endpoint, credential: Option<&Credential>) -> Option<Vec<u8>> {
    Some(match piece {
        Piece::Text(text) => text.clone().into_bytes(),
        Piece::Token => credential?.token.expose().as_bytes().to_vec(),
        Piece::Authority => endpoint.certificate_authority.as_deref().unwrap_or_default().to_vec(),
        Piece::Server => endpoint.server.clone().into_bytes(),
        Piece::Kubeconfig(names) => {
            let credential = credential?;
            let names = EntryNames {
                context: names.context.clone(),
                cluster: names.cluster.clone(),
                user: names.user.clone(),
                namespace: None,
                form: UserForm::Token,
                shares_cluster: false,
            };
            OurEntries::plain_kubeconfig(&names, endpoint, credential)
        }
        Piece::ArgocdConfig => argocd_config(endpoint, credential?.token.expose()).into_bytes(),
    })
}

/// Returns Argo CD's `config` (argo-cd, `pkg/apis/application/v1alpha1/types.go`, `ClusterConfig`): `caData` is base64 of
/// PEM, and never stands beside `insecure: true`.
fn argocd_config(endpoint: &Endpoint, token: &str) -> String {
    let mut tls = json!({ "insecure": false });
    if let Some(authority) = &endpoint.certificate_authority {
        tls["caData"] = STANDARD.encode(authority).into();
    }
    if let Some(name) = &endpoint.tls_server_name {
        tls["serverName"] = name.as_str().into();
    }
    let mut config = json!({ "bearerToken": token, "tlsClientConfig": tls });
    if let Some(proxy) = &endpoint.proxy_url {
        config["proxyUrl"] = proxy.as_str().into();
    }
    config.to_string()
}
