//! What was read from a cluster.
//!
//! [`ObservedObject::from_json`] takes an object as the API server sent it and keeps what planning
//! needs. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::credential::{Index, IndexError};
use crate::inventory::syntax;
use crate::names::{
    AUTOUPDATE_ANNOTATION, AnchorOf, FIELD_MANAGER, Holder, INDEX_ANNOTATION, INVENTORY_LABEL, InventoryName,
    MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL, ProfileName,
};
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::rbac::Rule;

/// An object as it is in the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ObservedObject {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion when it was read.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// The annotations that mean something to kubemint.
    pub annotations: BTreeMap<String, String>,
    /// The rules of a role.
    pub rules: Vec<Rule>,
    /// Whether the rules of a ClusterRole are made by the aggregation controller.
    pub aggregated: bool,
    /// The role of a binding.
    pub role: Option<RoleRef>,
    /// The subjects of a binding.
    pub subjects: Vec<Subject>,
    /// Who changed it last.
    pub changed: Option<LastChange>,
    /// Field managers by field, as in `.rules` or `.metadata.labels.env`.
    pub managers: BTreeMap<String, Vec<String>>,
}

/// The last change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastChange {
    /// The field manager that made it.
    pub manager: String,
    /// When.
    pub time: Timestamp,
}

impl fmt::Display for LastChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " by field manager `{}` at {}", self.manager, self.time)
    }
}

/// Whom an object belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// To this inventory.
    Ours,
    /// To another inventory of kubemint.
    OtherInventory(String),
    /// To somebody else, who is named where the object tells.
    Foreign(Option<String>),
}

impl ObservedObject {
    /// Reads an object as the API server sent it. What is missing or of another type is left empty.
    pub(crate) fn from_json(value: &Value) -> Self {
        let metadata = &value["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            uid: text(&metadata["uid"]),
            resource_version: text(&metadata["resourceVersion"]),
            deleting: metadata["deletionTimestamp"].is_string(),
            labels: string_map(&metadata["labels"]),
            annotations: string_map(&metadata["annotations"])
                .into_iter()
                .filter(|(key, _)| [INDEX_ANNOTATION, AUTOUPDATE_ANNOTATION].contains(&key.as_str()))
                .collect(),
            rules: items(&value["rules"]).map(rule).collect(),
            aggregated: value["aggregationRule"].is_object(),
            role: role_ref(&value["roleRef"]),
            subjects: items(&value["subjects"])
                .map(|subject| Subject {
                    kind: text(&subject["kind"]),
                    namespace: subject["namespace"].as_str().map(str::to_owned),
                    name: text(&subject["name"]),
                })
                .collect(),
            changed: last_change(&metadata["managedFields"]),
            managers: managers(&metadata["managedFields"]),
        }
    }

    /// Reads the index of a ServiceAccount of ours. One that has none has lost it: tokens may live that it does not list.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or a newer kubemint wrote it: then no number is known to be free.
    pub(crate) fn index(&self) -> Result<Index, IndexError> {
        self.annotations.get(INDEX_ANNOTATION).map_or_else(|| Ok(Index::lost()), |text| Index::parse(text))
    }

    /// Returns whether there is an index, whatever it says.
    pub(crate) fn has_index(&self) -> bool {
        self.annotations.contains_key(INDEX_ANNOTATION)
    }

    /// Leaves out an index that is far longer than any: it cannot be read then, which counts as the worst.
    pub(crate) fn shorten(&mut self) {
        /// The index of a hundred generations has 40 KiB.
        const LONGEST_INDEX: usize = 64 * 1024;
        if let Some(index) = self.annotations.get_mut(INDEX_ANNOTATION).filter(|index| index.len() > LONGEST_INDEX) {
            index.clear();
        }
    }

    /// Returns about how many bytes the object takes in memory.
    pub(crate) fn weight(&self) -> usize {
        /// A string, and its place in a map or list, beside its text.
        const STRING: usize = 64;
        let of_texts = |texts: &[String]| texts.iter().map(|text| text.len() + STRING).sum::<usize>();
        let of_map = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| key.len() + value.len() + 2 * STRING).sum::<usize>()
        };
        let of_rule = |rule: &Rule| {
            let lists = [&rule.api_groups, &rule.resources, &rule.verbs, &rule.resource_names, &rule.non_resource_urls];
            lists.iter().map(|list| of_texts(list) + STRING).sum::<usize>()
        };
        let of_subject = |subject: &Subject| {
            let namespace = subject.namespace.as_ref().map_or(0, String::len);
            subject.kind.len() + subject.name.len() + namespace + 3 * STRING
        };
        size_of::<Self>()
            + of_map(&self.labels)
            + of_map(&self.annotations)
            + self.rules.iter().map(of_rule).sum::<usize>()
            + self.subjects.iter().map(of_subject).sum::<usize>()
            + self.changed.as_ref().map_or(0, |changed| changed.manager.len() + STRING)
            + self.managers.iter().map(|(field, names)| field.len() + STRING + of_texts(names)).sum::<usize>()
    }

    /// Returns whom the object belongs to, by its marks.
    pub(crate) fn ownership(&self, inventory: &InventoryName) -> Ownership {
        let managed_by = self.labels.get(MANAGED_BY_LABEL).map(String::as_str);
        match (managed_by, self.labels.get(INVENTORY_LABEL)) {
            (Some(MANAGED_BY), Some(mark)) if mark == inventory.as_str() => Ownership::Ours,
            (Some(MANAGED_BY), Some(mark)) => Ownership::OtherInventory(mark.clone()),
            (Some(manager), _) => Ownership::Foreign(Some(manager.to_owned())),
            (None, _) => Ownership::Foreign(self.main_manager().map(str::to_owned)),
        }
    }

    /// Returns the inventory whose anchors are beside a ServiceAccount: the one that it is marked with, which takes part in
    /// their names; `ours` if it has no such mark, or has lost it.
    pub(crate) fn minted_for(&self, ours: &InventoryName) -> InventoryName {
        match self.ownership(ours) {
            Ownership::OtherInventory(other) if syntax::dns_label(&other).is_ok() => InventoryName::new(other),
            Ownership::OtherInventory(_) | Ownership::Ours | Ownership::Foreign(_) => ours.clone(),
        }
    }

    /// Returns the profile mark.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.labels.get(PROFILE_LABEL).map(String::as_str)
    }

    /// Returns the profile that the mark names; anybody may have edited it.
    pub(crate) fn profile_name(&self) -> ProfileName {
        let profile = self.profile().filter(|profile| syntax::dns_label(profile).is_ok());
        ProfileName::new(profile.unwrap_or("unknown"))
    }

    /// Returns the managers of a field other than `own`, in the order of the object.
    pub(crate) fn other_managers<'a>(&'a self, field: &str, own: &'a str) -> impl Iterator<Item = &'a str> {
        self.managers.get(field).into_iter().flatten().map(String::as_str).filter(move |manager| *manager != own)
    }

    fn main_manager(&self) -> Option<&str> {
        [".rules", ".roleRef", ".subjects", ".metadata.labels"]
            .iter()
            .find_map(|field| self.managers.get(*field))
            .or_else(|| self.managers.values().next())
            .and_then(|managers| managers.first())
            .map(String::as_str)
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> Vec<String> {
    items(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn string_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn rule(value: &Value) -> Rule {
    Rule {
        api_groups: strings(&value["apiGroups"]),
        resources: strings(&value["resources"]),
        verbs: strings(&value["verbs"]),
        resource_names: strings(&value["resourceNames"]),
        non_resource_urls: strings(&value["nonResourceURLs"]),
    }
}

fn role_ref(value: &Value) -> Option<RoleRef> {
    let kind = match value["kind"].as_str()? {
        "Role" => Kind::Role,
        _ => Kind::ClusterRole,
    };
    Some(RoleRef { kind, name: value["name"].as_str()?.to_owned() })
}

/// Returns the latest change that the managed fields tell of. They tell seconds: of several managers in one, another
/// than kubemint is named, because what kubemint does it reports itself.
fn last_change(managed_fields: &Value) -> Option<LastChange> {
    let changes = items(managed_fields).filter_map(|entry| {
        let (manager, time) = (entry["manager"].as_str()?, entry["time"].as_str()?);
        Some(LastChange { manager: manager.to_owned(), time: time.parse().ok()? })
    });
    changes.max_by_key(|change| (change.time, !change.manager.starts_with(FIELD_MANAGER)))
}

/// Maps fields to their managers, down to single labels and annotations; lists count as a whole.
fn managers(managed_fields: &Value) -> BTreeMap<String, Vec<String>> {
    let mut managers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |field: String, manager: &str| {
        let known = managers.entry(field).or_default();
        if !known.iter().any(|name| name == manager) {
            known.push(manager.to_owned());
        }
    };
    for entry in items(managed_fields) {
        let manager = entry["manager"].as_str().unwrap_or("unknown");
        for (key, below) in entry["fieldsV1"].as_object().into_iter().flatten() {
            let Some(field) = key.strip_prefix("f:") else {
                continue;
            };
            if field != "metadata" {
                add(format!(".{field}"), manager);
                continue;
            }
            for (key, below) in below.as_object().into_iter().flatten() {
                let Some(field) = key.strip_prefix("f:") else {
                    continue;
                };
                for key in below.as_object().into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("f:")) {
                    add(format!(".metadata.{field}.{key}"), manager);
                }
            }
        }
    }
    managers
}

/// Whether a namespace can take objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamespaceState {
    /// It exists.
    Active,
    /// It is being deleted and refuses new objects.
    Terminating,
    /// It does not exist.
    Absent,
}

/// The anchors of one ServiceAccount of ours, as the API server tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Anchors {
    /// Those that have a name that this inventory computes.
    pub found: Vec<Anchor>,
    /// The names of anchors that belong to the ServiceAccount, and have no name that this inventory computes:
    /// another inventory made them, before the ServiceAccount was taken over from it.
    pub strange: Vec<String>,
    /// How they were looked for.
    pub search: Search,
}

/// One anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// The Secret's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The holder whose tokens it keeps alive.
    pub holder: Holder,
    /// Which tokens these are.
    pub of: AnchorOf,
    /// Whether it is one for certain, by its type or its labels; otherwise only the name says so.
    pub is_certain: bool,
}

/// How anchors were looked for, which decides whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// All anchors of the namespace were listed, by their type, which nobody can edit: there are no others.
    Listed,
    /// The caller may not list Secrets, so those names were asked for that can be computed from what is known.
    ByName {
        /// How many of them were too many to ask for.
        unasked: u64,
    },
}

/// What was read from one cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ObservedCluster {
    /// The uid of the namespace kube-system, which identifies the cluster.
    pub uid: String,
    /// Objects that carry our mark, and objects of others where ours should be.
    pub objects: BTreeMap<ObjectRef, ObservedObject>,
    /// The objects that the lists lack, and that were not looked for by their names.
    pub assumed_absent: BTreeSet<ObjectRef>,
    /// The namespaces that something would be created in.
    pub namespaces: BTreeMap<String, NamespaceState>,
    /// The uids of the anchors that the indices name, where they exist.
    pub anchors: BTreeMap<ObjectRef, String>,
    /// Seconds that the cluster's clock is ahead of ours, as well as it is known.
    pub clock_ahead: i64,
    /// Whether all ServiceAccounts with our mark are known, rather than those of the grants alone.
    pub lists_accounts: bool,
    /// Seconds that the `Date` of its answers is ahead of that: something before the API server has its own clock.
    pub date_ahead: i64,
}

/// Token lifetimes are hours; a difference between clocks below this does not matter.
pub(crate) const TOLERATED_SECONDS: i64 = 30;

impl ObservedCluster {
    /// Whether what is known of the cluster's clock may be wrong, because it differs from this machine's or from the
    /// API server's own.
    pub(crate) fn is_clock_in_doubt(&self) -> bool {
        self.clock_ahead.abs() > TOLERATED_SECONDS || self.date_ahead != 0
    }

    /// Corrects what is known of the cluster's clock: the `Date` of its answers may be of something that stands before
    /// the API server, but when a token was issued is the API server's own time, and its index says what `Date` was
    /// told then. Of the two, what this machine's clock speaks for counts.
    pub(crate) fn calibrate(&mut self, inventory: &InventoryName) {
        let ours = self.objects.values().filter(|object| object.ownership(inventory) == Ownership::Ours);
        let indices = ours.filter_map(|object| object.index().ok());
        let latest = indices.filter_map(|index| index.latest().cloned()).max_by_key(|generation| generation.issued);
        let Some(ahead) = latest.and_then(|generation| generation.date_ahead) else { return };
        let corrected = self.clock_ahead.saturating_sub(ahead);
        if corrected.unsigned_abs() < self.clock_ahead.unsigned_abs() {
            self.clock_ahead = corrected;
            self.date_ahead = ahead;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managers_are_known_down_to_single_labels() {
        let object = ObservedObject::from_json(&json!({"metadata": {"managedFields": [
            {"manager": "kubemint", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:env": {}}}, "f:rules": {}}},
            {"manager": "kubectl-edit", "fieldsV1": {"f:rules": {}}},
        ]}}));
        assert_eq!(object.other_managers(".rules", "kubemint").collect::<Vec<_>>(), ["kubectl-edit"]);
        assert_eq!(object.other_managers(".metadata.labels.env", "kubemint").count(), 0);
    }

    #[test]
    fn the_last_change_is_known_and_within_a_second_it_is_somebody_elses() {
        let last = |times: [&str; 3]| {
            let [create, edit, index] = times;
            let object = ObservedObject::from_json(&json!({"metadata": {"managedFields": [
                {"manager": "kubectl-edit", "time": edit},
                {"manager": "kubemint", "time": create},
                {"manager": "kubemint-index", "time": index},
            ]}}));
            object.changed.map(|changed| changed.manager)
        };
        let [one, two] = ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"];
        assert_eq!(last([one, one, one]).as_deref(), Some("kubectl-edit"));
        assert_eq!(last([one, one, two]).as_deref(), Some("kubemint-index"));
        assert_eq!(last(["", "yesterday", ""]), None);
    }

    #[test]
    fn ownership_needs_both_marks() {
        let check = |labels: Value, expected: Ownership| {
            let object = ObservedObject::from_json(&json!({"metadata": {"labels": labels}}));
            assert_eq!(object.ownership(&"acme".into()), expected);
        };
        check(json!({MANAGED_BY_LABEL: "kubemint", INVENTORY_LABEL: "acme"}), Ownership::Ours);
        check(
            json!({MANAGED_BY_LABEL: "kubemint", INVENTORY_LABEL: "other"}),
            Ownership::OtherInventory("other".into()),
        );
        check(json!({MANAGED_BY_LABEL: "Helm"}), Ownership::Foreign(Some("Helm".into())));
        check(json!({INVENTORY_LABEL: "acme"}), Ownership::Foreign(None));
        check(json!({}), Ownership::Foreign(None));
    }
}
