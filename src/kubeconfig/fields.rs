//! Which fields of an entry are ours, and how an entry in a file differs from the wanted one.
//!
//! All other fields in an entry belong to its user and stay, and so do the extensions of other tools. A *shared* field
//! is ours until somebody changes it; our extension records what we wrote, as `kubectl apply` does in its last-applied
//! annotation. `docs/kubeconfig.md` lists the same fields. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::digest::Digest;
use super::edit::List;
use super::endpoint::without_user;
use crate::failure::holds_secret;
use crate::field_diff::FieldDiff;
use crate::names::{EXTENSION, short_hash};

/// A field of an entry of ours.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    whose: Whose,
    shows: Shows,
}

/// Who decides about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// It has the inventory's value, or is absent.
    Ours,
    /// It has the inventory's value until somebody changes it.
    Shared,
}

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// The value, without user and password of a URL.
    Value,
    /// Only whether it is there, because it is long or secret.
    Presence,
}

const fn ours(name: &'static str) -> Field {
    Field { name, whose: Whose::Ours, shows: Shows::Value }
}

const fn hidden(name: &'static str) -> Field {
    Field { name, whose: Whose::Ours, shows: Shows::Presence }
}

const fn shared(name: &'static str) -> Field {
    Field { name, whose: Whose::Shared, shows: Shows::Value }
}

/// The fields of a cluster entry that say where a token goes (client-go, `tools/clientcmd/api/v1/types.go`).
const CLUSTER: [Field; 6] = [
    ours("server"),
    hidden("certificate-authority-data"),
    ours("certificate-authority"),
    ours("insecure-skip-tls-verify"),
    ours("tls-server-name"),
    shared("proxy-url"),
];

/// The fields of a user entry that authenticate: a second one beside ours could take precedence, or change the
/// identity.
const USER: [Field; 14] = [
    hidden("token"),
    ours("tokenFile"),
    hidden("exec"),
    hidden("auth-provider"),
    ours("client-certificate"),
    hidden("client-certificate-data"),
    ours("client-key"),
    hidden("client-key-data"),
    ours("username"),
    hidden("password"),
    ours("as"),
    ours("as-uid"),
    ours("as-groups"),
    hidden("as-user-extra"),
];

/// The fields of a context entry.
const CONTEXT: [Field; 3] = [ours("cluster"), ours("user"), shared("namespace")];

impl List {
    /// Returns the fields of an entry that are ours.
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Clusters => &CLUSTER,
            Self::Users => &USER,
            Self::Contexts => &CONTEXT,
        }
    }
}

/// The key in a cluster entry's extension for the uid of its namespace kube-system.
pub(super) const CLUSTER_UID: &str = "cluster-uid";

/// The key in our extension for what we wrote into the shared fields.
const GIVEN: &str = "given";

/// Returns what our extension records of the shared fields of a body; nothing if there are none.
pub(super) fn given(list: List, body: &Map<String, Value>) -> Option<Value> {
    let shared = list.fields().iter().filter(|field| field.whose == Whose::Shared);
    let noted = shared.filter_map(|field| Some((field.name.to_owned(), noted(body.get(field.name)?).into())));
    let noted: Map<String, Value> = noted.collect();
    (!noted.is_empty()).then_some(Value::Object(noted))
}

/// Returns a fingerprint of a value, which does not reveal it, because it may hold a password.
fn noted(value: &Value) -> String {
    short_hash(&[&value.to_string()])
}

/// Adds the record of the shared fields to our extension.
pub(super) fn note_given(list: List, body: &mut Map<String, Value>) {
    let Some(given) = given(list, body) else { return };
    if let Some(extension) = our_extension_mut(body) {
        extension.insert(GIVEN.to_owned(), given);
    }
}

fn our_extension_mut(body: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let extensions = body.get_mut("extensions")?.as_array_mut()?;
    extensions.iter_mut().find(|extension| extension["name"] == EXTENSION)?.get_mut("extension")?.as_object_mut()
}

/// An entry of ours as a file holds it. It may hold secrets of others, so it cannot be formatted.
#[derive(Clone)]
pub(super) struct HeldEntry {
    list: List,
    /// The digest of the whole entry.
    digest: Digest,
    /// Its fields that are ours, in the order of the list's.
    fields: Box<[HeldValue]>,
    /// The recorded values of the shared fields, from when they were written.
    given: BTreeMap<String, String>,
    /// The uid of the cluster that it was written for, if it names one.
    pub(super) cluster_uid: Option<String>,
    /// Whether it has our extension.
    is_marked: bool,
    rest: Option<Box<Rest>>,
}

#[derive(Clone)]
struct HeldValue {
    field: &'static Field,
    digest: Digest,
    /// What reports show of it, if they do.
    shown: Option<Box<str>>,
    /// The value of a shared field.
    kept: Option<Box<Value>>,
}

/// The parts of an entry that are not ours.
#[derive(Clone, Default, PartialEq)]
struct Rest {
    /// Keys beside the name and the body.
    entry: Map<String, Value>,
    body: Map<String, Value>,
    extensions: Vec<Value>,
    /// The index of our extension in the list.
    place: usize,
}

impl HeldEntry {
    /// Splits an entry into its parts, whether it has our extension or not.
    pub(super) fn of(list: List, entry: &Value) -> Option<Self> {
        let body = entry.get(list.singular())?.as_object()?;
        let is_ours = |extension: &&Value| extension["name"] == EXTENSION;
        let extensions = body.get("extensions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ours = extensions.iter().find(is_ours).map_or(&Value::Null, |extension| &extension["extension"]);
        let given = ours[GIVEN].as_object().into_iter().flatten();
        let given = given.filter_map(|(name, noted)| Some((name.clone(), noted.as_str()?.to_owned()))).collect();
        let is_field = |name: &str| name == "extensions" || list.fields().iter().any(|field| field.name == name);
        let without = |map: &Map<String, Value>, is_left_out: &dyn Fn(&str) -> bool| {
            map.iter().filter(|(key, _)| !is_left_out(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let rest = Rest {
            entry: without(entry.as_object()?, &|key| key == "name" || key == list.singular()),
            body: without(body, &is_field),
            extensions: extensions.iter().filter(|extension| !is_ours(extension)).cloned().collect(),
            place: extensions.iter().position(|extension| is_ours(&extension)).unwrap_or_default(),
        };
        let value = |field: &'static Field| {
            let value = body.get(field.name)?;
            let kept = (field.whose == Whose::Shared).then(|| Box::new(value.clone()));
            Some(HeldValue { field, digest: Digest::of(value), shown: field.visible(value).map(Into::into), kept })
        };
        Some(Self {
            list,
            digest: Digest::of(entry),
            fields: list.fields().iter().filter_map(value).collect(),
            given,
            cluster_uid: ours[CLUSTER_UID].as_str().map(str::to_owned),
            is_marked: ours.is_object(),
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
        })
    }

    fn field(&self, name: &str) -> Option<&HeldValue> {
        self.fields.iter().find(|held| held.field.name == name)
    }

    /// Returns the wanted entry, with the parts of this one that are not ours.
    pub(super) fn fit(&self, mut wanted: Value) -> Value {
        let list = self.list;
        if let Some(body) = wanted.get_mut(list.singular()).and_then(Value::as_object_mut) {
            for field in list.fields().iter().filter(|field| field.whose == Whose::Shared) {
                let held = self.field(field.name).and_then(|held| held.kept.as_deref());
                let before = self.given.get(field.name).map(String::as_str);
                let is_changed_here = held.map(noted).as_deref() != before;
                let is_changed_in_inventory = body.get(field.name).map(noted).as_deref() != before;
                if !is_changed_here || (is_changed_in_inventory && body.contains_key(field.name)) {
                    continue;
                }
                match held {
                    Some(value) => drop(body.insert(field.name.to_owned(), value.clone())),
                    None => drop(body.remove(field.name)),
                }
            }
            if let Some(rest) = &self.rest {
                body.extend(rest.body.clone());
                if let Some(Value::Array(extensions)) = body.get_mut("extensions") {
                    let (before, after) = rest.extensions.split_at(rest.place.min(rest.extensions.len()));
                    extensions.splice(0..0, before.iter().cloned());
                    extensions.extend(after.iter().cloned());
                }
            }
        }
        if let (Some(rest), Some(entry)) = (&self.rest, wanted.as_object_mut()) {
            entry.extend(rest.entry.clone());
        }
        wanted
    }

    /// Returns whether it may be taken for ours: it is marked, or leads where ours would.
    pub(super) fn may_be(&self, wanted: &Value) -> bool {
        self.is_marked || self.leads_like(wanted)
    }

    /// Returns whether a field of ours is there.
    pub(super) fn has(&self, field: &str) -> bool {
        self.field(field).is_some()
    }

    /// Returns whether all fields that only we decide about have the same values as in another entry.
    pub(super) fn leads_like(&self, entry: &Value) -> bool {
        let body = &entry[self.list.singular()];
        let ours = self.list.fields().iter().filter(|field| field.whose == Whose::Ours);
        let wanted = |field: &Field| body.get(field.name).map(Digest::of);
        ours.into_iter().all(|field| self.field(field.name).map(|held| held.digest) == wanted(field))
    }

    /// Returns whether a field of ours is there, and has the same value as in another entry.
    pub(super) fn says_as(&self, entry: &Value, field: &str) -> bool {
        let wanted = entry[self.list.singular()].get(field).map(Digest::of);
        wanted.is_some() && self.field(field).map(|held| held.digest) == wanted
    }

    /// Returns whether all fields of ours have the same values as in another entry.
    pub(super) fn has_fields_of(&self, other: &Self) -> bool {
        let digests =
            |entry: &Self| -> Vec<_> { entry.fields.iter().map(|held| (held.field.name, held.digest)).collect() };
        digests(self) == digests(other)
    }

    /// Returns whether this entry is exactly the wanted one.
    pub(super) fn is_exactly(&self, wanted: Value) -> bool {
        Digest::of(&self.fit(wanted)) == self.digest
    }

    /// Returns the fields in which this entry differs from the wanted one.
    pub(super) fn differences(&self, wanted: Value) -> Vec<FieldDiff> {
        let fitted = self.fit(wanted);
        if Digest::of(&fitted) == self.digest {
            return vec![];
        }
        let body = &fitted[self.list.singular()];
        let differing = self.list.fields().iter().filter_map(|field| {
            let (held, wanted) = (self.field(field.name), body.get(field.name));
            if held.map(|held| held.digest) == wanted.map(Digest::of) {
                return None;
            }
            let (removed, added) = match (field.shows, held, wanted) {
                (Shows::Presence, Some(_), Some(_)) => {
                    (vec![FieldDiff::WAS.to_owned()], vec![FieldDiff::WRITTEN.to_owned()])
                }
                _ => (
                    held.map(HeldValue::shown).into_iter().collect(),
                    wanted.map(|wanted| field.shown(wanted)).into_iter().collect(),
                ),
            };
            Some(FieldDiff { field: format!("{}.{}", self.list.singular(), field.name), removed, added })
        });
        let differing: Vec<FieldDiff> = differing.collect();
        if !differing.is_empty() {
            return differing;
        }
        let field = format!("{}.extensions", self.list.singular());
        vec![FieldDiff { field, removed: vec![format!("{EXTENSION}, as it was")], added: vec![EXTENSION.to_owned()] }]
    }
}

/// Returns the difference for an entry that is missing.
pub(super) fn missing(list: List, name: &str) -> FieldDiff {
    FieldDiff { field: list.singular().to_owned(), removed: vec![], added: vec![format!("entry `{name}`")] }
}

/// What reports show of a value that is long or secret.
const NOT_SHOWN: &str = "(not shown)";

impl HeldValue {
    /// Returns what reports show of it.
    fn shown(&self) -> String {
        self.shown.as_deref().unwrap_or(NOT_SHOWN).to_owned()
    }
}

impl Field {
    /// Returns what reports show of a value.
    fn shown(&self, value: &Value) -> String {
        self.visible(value).unwrap_or_else(|| NOT_SHOWN.to_owned())
    }

    /// Returns a value as text, unless it is long or secret.
    fn visible(&self, value: &Value) -> Option<String> {
        if self.shows == Shows::Presence {
            return None;
        }
        let text = match value {
            Value::String(text) => without_user(text),
            other => other.to_string(),
        };
        (!holds_secret(&text)).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(list: List, mut body: Value) -> Value {
        body["extensions"] = json!([{ "name": EXTENSION, "extension": { "inventory": "acme" } }]);
        note_given(list, body.as_object_mut().unwrap());
        json!({ "name": "x", list.singular(): body })
    }

    fn held(list: List, entry: &Value) -> HeldEntry {
        HeldEntry::of(list, entry).unwrap()
    }

    #[test]
    fn what_is_not_ours_stays_and_is_no_difference() {
        let wanted = written(List::Clusters, json!({"server": "https://a"}));
        let mut entry = wanted.clone();
        entry["mine"] = json!(1);
        entry["cluster"]["disable-compression"] = json!(true);
        entry["cluster"]["proxy-url"] = json!("http://u:p@proxy");
        let ours = entry["cluster"]["extensions"][0].clone();
        entry["cluster"]["extensions"] = json!([{"name": "a", "extension": 1}, ours, {"name": "b", "extension": null}]);
        let held = held(List::Clusters, &entry);
        assert_eq!(held.fit(wanted.clone()), entry);
        assert!(held.is_exactly(wanted.clone()) && held.differences(wanted).is_empty());
        let moved = written(List::Clusters, json!({"server": "https://b"}));
        let difference = held.differences(moved.clone());
        let expected = [("cluster.server", "https://a", "https://b")];
        let shown: Vec<_> = difference.iter().map(|d| (&*d.field, &*d.removed[0], &*d.added[0])).collect();
        assert_eq!(shown, expected);
        entry["cluster"]["server"] = json!("https://b");
        assert_eq!(held.fit(moved), entry);
    }

    #[test]
    fn a_shared_field_is_ours_until_somebody_changes_it() {
        let wanted = |namespace: Option<&str>| {
            let mut body = json!({"cluster": "c", "user": "u"});
            if let Some(namespace) = namespace {
                body["namespace"] = namespace.into();
            }
            written(List::Contexts, body)
        };
        let namespace = |written: Option<&str>, edited: Option<&str>, inventory: Option<&str>| {
            let mut entry = wanted(written);
            match edited {
                Some(edited) => entry["context"]["namespace"] = edited.into(),
                None => drop(entry["context"].as_object_mut().unwrap().remove("namespace")),
            }
            let held = held(List::Contexts, &entry);
            let fitted = held.fit(wanted(inventory));
            let again = self::held(List::Contexts, &fitted);
            assert!(again.is_exactly(wanted(inventory)), "it settles at once");
            fitted["context"]["namespace"].as_str().map(str::to_owned)
        };
        // The arguments: the recorded value, the value in the file, the inventory's value now.
        assert_eq!(namespace(None, Some("team-x"), None).as_deref(), Some("team-x"));
        assert_eq!(namespace(Some("apps"), Some("team-x"), Some("apps")).as_deref(), Some("team-x"));
        assert_eq!(namespace(Some("apps"), None, Some("apps")), None);
        assert_eq!(namespace(Some("apps"), Some("apps"), Some("other")).as_deref(), Some("other"));
        assert_eq!(namespace(Some("apps"), Some("apps"), None), None);
        assert_eq!(namespace(Some("apps"), Some("team-x"), Some("other")).as_deref(), Some("other"));
        assert_eq!(namespace(Some("apps"), Some("team-x"), None).as_deref(), Some("team-x"));
    }

    #[test]
    fn whatever_says_who_somebody_is_differs_and_no_secret_is_shown() {
        let wanted = written(List::Users, json!({"token": "t"}));
        for field in &USER {
            let mut entry = wanted.clone();
            entry["user"][field.name] = json!("s3cret-value");
            let held = held(List::Users, &entry);
            let differences = held.differences(wanted.clone());
            assert_eq!(differences[0].field, format!("user.{}", field.name));
            let is_shown = format!("{differences:?}").contains("s3cret");
            assert_eq!(is_shown, field.shows == Shows::Value, "{}", field.name);
            assert_eq!(held.fit(wanted.clone()), wanted, "it goes");
        }
        let mut entry = wanted.clone();
        entry["user"]["as"] = json!("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl");
        assert!(!format!("{:?}", held(List::Users, &entry).differences(wanted)).contains("eyJ"));
    }

    #[test]
    fn a_certificate_authority_that_is_gone_is_said_to_be_gone() {
        let with = written(List::Clusters, json!({"server": "https://a", "certificate-authority-data": "QQ=="}));
        let without = written(List::Clusters, json!({"server": "https://a"}));
        let gone = held(List::Clusters, &without).differences(with.clone());
        assert_eq!((gone[0].removed.len(), gone[0].added.len()), (0, 1), "{gone:?}");
        let extra = held(List::Clusters, &with).differences(without);
        assert_eq!((extra[0].removed.len(), extra[0].added.len()), (1, 0), "{extra:?}");
    }

    /// The table in the documentation and the one here are the same.
    #[test]
    fn the_documentation_lists_the_same_fields() {
        let text = include_str!("../../docs/kubeconfig.md");
        for list in [List::Clusters, List::Users, List::Contexts] {
            let prefix = format!("| {} | ", list.singular());
            let row = |whose: Whose| {
                let fields = list.fields().iter().filter(|field| field.whose == whose);
                fields.map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
            };
            let shared = match row(Whose::Shared) {
                none if none.is_empty() => "-".to_owned(),
                some => some,
            };
            let line = format!("{prefix}{} | {shared} |", row(Whose::Ours));
            assert!(text.lines().any(|found| found == line), "docs/kubeconfig.md lacks:\n{line}");
        }
    }
}
