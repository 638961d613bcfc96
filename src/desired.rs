//! What a grant asks of its cluster: the objects that should exist.
//!
//! [`desired_objects`] expands one grant; [`DesiredObject::manifest`] is the body that is sent to
//! the API server. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::credential::Index;
use crate::inventory::{Grant, Intended, IntendedSource, MissingNamespace, intended};
use crate::names::{
    INDEX_ANNOTATION, INVENTORY_LABEL, InventoryName, MANAGED_BY, MANAGED_BY_LABEL, ObjectNames, PROFILE_LABEL,
    ProfileName,
};
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::rbac::{Rule, Scope};

/// An object as the inventory wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredObject {
    /// Where it is.
    pub object: ObjectRef,
    /// The inventory whose mark it carries.
    pub inventory: InventoryName,
    /// The profile whose mark it carries; namespaces serve many and carry none.
    pub profile: Option<ProfileName>,
    /// What it says.
    pub content: Content,
}

/// What an object says beyond its name and marks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Nothing: a namespace or a ServiceAccount.
    Empty,
    /// The rules of a role.
    Rules(Arc<[Rule]>),
    /// The role and the one subject of a binding.
    Binding {
        /// The role.
        role: RoleRef,
        /// The ServiceAccount.
        subject: Subject,
    },
}

impl DesiredObject {
    /// Returns the labels that mark the object as ours.
    pub fn labels(&self) -> BTreeMap<&'static str, &str> {
        let mut labels = BTreeMap::from([(MANAGED_BY_LABEL, MANAGED_BY), (INVENTORY_LABEL, self.inventory.as_str())]);
        if let Some(profile) = &self.profile {
            labels.insert(PROFILE_LABEL, profile.as_str());
        }
        labels
    }

    /// Returns the manifest with which the object is created. A ServiceAccount gets an empty index, so that
    /// one without is known to have lost it.
    pub fn initial_manifest(&self) -> Value {
        let mut manifest = self.manifest();
        if self.object.kind == Kind::ServiceAccount {
            manifest["metadata"]["annotations"][INDEX_ANNOTATION] = Index::default().to_annotation().into();
        }
        manifest
    }

    /// Returns the manifest: exactly the fields that kubemint owns, none of the server's.
    pub fn manifest(&self) -> Value {
        let mut metadata = json!({ "name": self.object.name, "labels": self.labels() });
        if let Some(namespace) = &self.object.namespace {
            metadata["namespace"] = json!(namespace);
        }
        let mut manifest = json!({
            "apiVersion": self.object.kind.api_version(),
            "kind": self.object.kind.as_str(),
            "metadata": metadata,
        });
        match &self.content {
            Content::Empty => {}
            Content::Rules(rules) => manifest["rules"] = rules.iter().map(rule_manifest).collect(),
            Content::Binding { role, subject } => {
                manifest["roleRef"] = json!({
                    "apiGroup": Kind::ClusterRole.group(), "kind": role.kind.as_str(), "name": role.name,
                });
                manifest["subjects"] = json!([{
                    "kind": subject.kind, "namespace": subject.namespace, "name": subject.name,
                }]);
            }
        }
        manifest
    }
}

fn rule_manifest(rule: &Rule) -> Value {
    let mut manifest = serde_json::Map::new();
    let fields = [
        ("apiGroups", &rule.api_groups),
        ("nonResourceURLs", &rule.non_resource_urls),
        ("resourceNames", &rule.resource_names),
        ("resources", &rule.resources),
        ("verbs", &rule.verbs),
    ];
    for (field, values) in fields {
        if !values.is_empty() {
            manifest.insert(field.to_owned(), json!(values));
        }
    }
    Value::Object(manifest)
}

/// A namespace that some object needs, and what to do if it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededNamespace {
    /// The namespace.
    pub name: String,
    /// What to do if it is missing.
    pub missing: MissingNamespace,
}

/// Returns the subject that the bindings of a grant name.
pub fn subject(grant: &Grant) -> Subject {
    Subject {
        kind: Kind::ServiceAccount.as_str().to_owned(),
        namespace: Some(grant.namespace.clone()),
        name: grant.profile.service_account.clone(),
    }
}

/// Returns the address of the grant's ServiceAccount.
pub fn service_account(grant: &Grant) -> ObjectRef {
    ObjectRef::namespaced(Kind::ServiceAccount, &grant.namespace, &grant.profile.service_account)
}

/// Returns the user name that the grant's tokens authenticate as.
pub fn service_account_user(grant: &Grant) -> String {
    crate::names::service_account_user(&grant.namespace, &grant.profile.service_account)
}

/// Returns the namespaces that the objects of a grant live in.
pub fn needed_namespaces(grant: &Grant) -> Vec<NeededNamespace> {
    let own = NeededNamespace { name: grant.namespace.clone(), missing: grant.missing_namespace };
    let accesses = grant.profile.namespaces.iter().flat_map(|access| {
        access.names.iter().map(|name| NeededNamespace { name: name.clone(), missing: access.missing })
    });
    std::iter::once(own).chain(accesses).collect()
}

/// Returns the objects of one grant in the order in which an apply writes them.
///
/// Namespaces are not among them, see [`needed_namespaces`].
pub fn desired_objects(inventory: &InventoryName, grant: &Grant) -> Vec<DesiredObject> {
    let profile = &grant.profile;
    let names = ObjectNames { inventory, profile: &profile.name };
    let mut objects: BTreeMap<ObjectRef, Content> = BTreeMap::new();
    objects.insert(service_account(grant), Content::Empty);
    for Intended { scope, source } in intended(profile) {
        let (role, binding) = match source {
            IntendedSource::Role(role) => {
                let binding = names.binding_to(role.kind.as_str(), &role.name);
                (role, binding)
            }
            IntendedSource::Profile(rules) => {
                let kind = if scope == Scope::Cluster { Kind::ClusterRole } else { Kind::Role };
                let role = RoleRef { kind, name: names.own_role() };
                // Several accesses may name one namespace: a grant has one Role there.
                let joined = |content: &mut Content| {
                    if let Content::Rules(known) = content {
                        *known = known.iter().chain(rules.iter()).cloned().collect();
                    }
                };
                let address = role.object(scope.namespace());
                objects.entry(address).and_modify(joined).or_insert_with(|| Content::Rules(Arc::clone(&rules)));
                (role, names.own_role())
            }
        };
        let binding = match scope.namespace() {
            None => ObjectRef::cluster_scoped(Kind::ClusterRoleBinding, binding),
            Some(namespace) => ObjectRef::namespaced(Kind::RoleBinding, namespace, binding),
        };
        objects.insert(binding, Content::Binding { role, subject: subject(grant) });
    }
    objects
        .into_iter()
        .map(|(object, content)| DesiredObject {
            object,
            inventory: inventory.clone(),
            profile: Some(profile.name.clone()),
            content,
        })
        .collect()
}
