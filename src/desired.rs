//! What a grant asks of its cluster: the objects that should exist.
//!
//! [`desired_objects`] expands one grant; [`DesiredObject::manifest`] is the body that is sent to
//! the API server. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DesiredObject {
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Content {
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
    pub(crate) fn labels(&self) -> BTreeMap<&'static str, &str> {
        let mut labels = BTreeMap::from([(MANAGED_BY_LABEL, MANAGED_BY), (INVENTORY_LABEL, self.inventory.as_str())]);
        if let Some(profile) = &self.profile {
            labels.insert(PROFILE_LABEL, profile.as_str());
        }
        labels
    }

    /// Returns the manifest with which the object is created. A ServiceAccount gets an empty index, so that
    /// one without is known to have lost it.
    pub(crate) fn initial_manifest(&self) -> Value {
        match self.object.kind {
            Kind::ServiceAccount => self.manifest_with_index(&Index::default()),
            _ => self.manifest(),
        }
    }

    /// Returns the manifest with an index.
    pub(crate) fn manifest_with_index(&self, index: &Index) -> Value {
        let annotations = BTreeMap::from([(INDEX_ANNOTATION.to_owned(), index.to_annotation())]);
        self.manifest_with(ObjectMeta { annotations: Some(annotations), ..self.metadata() })
    }

    /// Returns the manifest that is applied to the object with this uid and resourceVersion only.
    pub(crate) fn manifest_of(&self, uid: &str, resource_version: &str) -> Value {
        self.manifest_with(ObjectMeta {
            uid: Some(uid.to_owned()),
            resource_version: Some(resource_version.to_owned()),
            ..self.metadata()
        })
    }

    /// Returns the manifest: exactly the fields that kubemint owns, none of the server's.
    pub(crate) fn manifest(&self) -> Value {
        self.manifest_with(self.metadata())
    }

    fn metadata(&self) -> ObjectMeta {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        ObjectMeta {
            name: Some(self.object.name.clone()),
            namespace: self.object.namespace.clone(),
            labels: Some(self.labels().into_iter().map(owned).collect()),
            ..ObjectMeta::default()
        }
    }

    fn manifest_with(&self, metadata: ObjectMeta) -> Value {
        let rules = || match &self.content {
            Content::Rules(rules) => Some(rules.iter().map(policy_rule).collect()),
            Content::Empty | Content::Binding { .. } => None,
        };
        let (role_ref, subjects) = match &self.content {
            Content::Binding { role, subject } => (role_ref(role), Some(vec![binding_subject(subject)])),
            Content::Empty | Content::Rules(_) => (rbac::RoleRef::default(), None),
        };
        let manifest = match self.object.kind {
            Kind::Namespace => serde_json::to_value(Namespace { metadata, ..Namespace::default() }),
            Kind::ServiceAccount => serde_json::to_value(ServiceAccount { metadata, ..ServiceAccount::default() }),
            Kind::Secret => serde_json::to_value(Secret { metadata, ..Secret::default() }),
            Kind::ClusterRole => {
                serde_json::to_value(rbac::ClusterRole { metadata, rules: rules(), aggregation_rule: None })
            }
            Kind::Role => serde_json::to_value(rbac::Role { metadata, rules: rules() }),
            Kind::ClusterRoleBinding => serde_json::to_value(rbac::ClusterRoleBinding { metadata, role_ref, subjects }),
            Kind::RoleBinding => serde_json::to_value(rbac::RoleBinding { metadata, role_ref, subjects }),
            kind @ (Kind::SveltosCluster | Kind::RemoteClusterConfiguration | Kind::ClusterProfile) => {
                let api_version = kind.api_version();
                Ok(json!({ "apiVersion": api_version, "kind": kind.as_str(), "metadata": metadata }))
            }
        };
        manifest.expect("a manifest has text as keys")
    }
}

fn role_ref(role: &RoleRef) -> rbac::RoleRef {
    rbac::RoleRef {
        api_group: Some(Kind::ClusterRole.group().to_owned()),
        kind: role.kind.as_str().to_owned(),
        name: role.name.clone(),
    }
}

fn binding_subject(subject: &Subject) -> rbac::Subject {
    rbac::Subject {
        kind: subject.kind.clone(),
        namespace: subject.namespace.clone(),
        name: subject.name.clone(),
        api_group: None,
    }
}

fn policy_rule(rule: &Rule) -> rbac::PolicyRule {
    let said = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    rbac::PolicyRule {
        api_groups: said(&rule.api_groups),
        non_resource_urls: said(&rule.non_resource_urls),
        resource_names: said(&rule.resource_names),
        resources: said(&rule.resources),
        verbs: rule.verbs.clone(),
    }
}

/// A namespace that some object needs, and what to do if it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededNamespace {
    /// The namespace.
    pub name: String,
    /// What to do if it is missing.
    pub missing: MissingNamespace,
}

/// Returns the subject that the bindings of a grant name.
pub(crate) fn subject(grant: &Grant) -> Subject {
    Subject {
        kind: Kind::ServiceAccount.as_str().to_owned(),
        namespace: Some(grant.namespace.clone()),
        name: grant.profile.service_account.clone(),
    }
}

/// Returns the address of the grant's ServiceAccount.
pub(crate) fn service_account(grant: &Grant) -> ObjectRef {
    ObjectRef::namespaced(Kind::ServiceAccount, &grant.namespace, &grant.profile.service_account)
}

/// Returns the user name that the grant's tokens authenticate as.
pub(crate) fn service_account_user(grant: &Grant) -> String {
    crate::names::service_account_user(&grant.namespace, &grant.profile.service_account)
}

/// Returns the namespaces that the objects of a grant live in.
pub(crate) fn needed_namespaces(grant: &Grant) -> Vec<NeededNamespace> {
    let own = NeededNamespace { name: grant.namespace.clone(), missing: grant.missing_namespace };
    let accesses = grant.profile.namespaces.iter().flat_map(|access| {
        access.names.iter().map(|name| NeededNamespace { name: name.clone(), missing: access.missing })
    });
    std::iter::once(own).chain(accesses).collect()
}

/// Returns the objects of one grant in the order in which an apply writes them.
///
/// Namespaces are not among them, see [`needed_namespaces`].
pub(crate) fn desired_objects(inventory: &InventoryName, grant: &Grant) -> Vec<DesiredObject> {
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
