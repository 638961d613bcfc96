//! What a Secret holds that was read from a hub. Of its data only digests and our own token are kept.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use serde_json::Value;

use super::content::{Noted, SecretContent};
use super::form::SecretForm;
use super::registration::Registration;
use crate::credential::{Claims, CredentialFacts, StoredCredential};
use crate::failure::{clean, holds_secret};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{Endpoint, Mark, OtherHolder, facts_of, without_user};
use crate::names::{DELIVERY_ANNOTATION, INVENTORY_LABEL, MANAGED_BY_LABEL, PROFILE_LABEL};
use crate::observed::{ObservedObject, Ownership};
use crate::secret::SecretToken;

/// A Secret as it was read. Its data cannot be formatted.
#[derive(Clone)]
pub(crate) struct HeldSecret {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Whose it is, by its marks.
    pub ownership: Ownership,
    /// Whether its data cannot be changed.
    pub is_immutable: bool,
    /// What holds it when it is deleted.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// The object that owns it, and so may write it again.
    pub owner: Option<String>,
    /// The `type`.
    pub secret_type: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    data: BTreeMap<String, [u8; 32]>,
    /// Whether it has every wanted key, whatever its value.
    pub is_complete: bool,
    /// The value by which the consumer tells clusters apart, if it is no secret.
    identity: Option<String>,
    noted: Option<Noted>,
    /// The token of the grant and holder in question, with the facts about it.
    pub credential: Option<(StoredCredential, CredentialFacts)>,
    /// The holder whose credential it has, if that is another one.
    pub other_holder: Option<OtherHolder>,
    registered: Registered,
}

/// What was read of the object by which the consumer finds a Secret.
#[derive(Clone)]
enum Registered {
    NotRead,
    Read(Option<Value>),
}

impl fmt::Debug for HeldSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldSecret({})", self.uid)
    }
}

impl HeldSecret {
    /// Reads a Secret that the credential of a grant goes to.
    pub(crate) fn of(object: &Value, form: &SecretForm, mark: &Mark) -> Self {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let map = |value: &Value| -> BTreeMap<String, String> {
            let entries = value.as_object().into_iter().flatten();
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let decoded = value.as_str().and_then(|value| STANDARD.decode(value).ok());
            values.insert(key.clone(), decoded.unwrap_or_default());
        }
        let annotations = map(&metadata["annotations"]);
        let noted: Option<Noted> =
            annotations.get(DELIVERY_ANNOTATION).and_then(|noted| serde_json::from_str(noted).ok());
        let shown = |key: &String| {
            let text = String::from_utf8(values.get(key)?.clone()).ok()?;
            Some(without_user(text.trim())).filter(|text| !holds_secret(text))
        };
        let mut held = Self {
            uid: text(&metadata["uid"]),
            resource_version: text(&metadata["resourceVersion"]),
            ownership: ObservedObject::from_json(object).ownership(&mark.inventory),
            is_immutable: object["immutable"].as_bool().unwrap_or_default(),
            finalizers: metadata["finalizers"].as_array().into_iter().flatten().map(|it| clean(&text(it))).collect(),
            is_being_deleted: metadata["deletionTimestamp"].is_string(),
            owner: metadata["ownerReferences"][0]
                .as_object()
                .map(|owner| clean(&format!("{} {}", text(&owner["kind"]), text(&owner["name"])))),
            secret_type: text(&object["type"]),
            labels: map(&metadata["labels"]),
            identity: form.identity.as_ref().and_then(shown),
            is_complete: form.data.keys().all(|key| values.contains_key(key)),
            data: values.iter().map(|(key, value)| (key.clone(), digest_of(value))).collect(),
            annotations,
            noted,
            credential: None,
            other_holder: None,
            registered: Registered::NotRead,
        };
        held.take_token(&values, form, mark);
        held
    }

    /// Adds the object by which the consumer finds it, if there is one.
    #[must_use]
    pub(crate) fn with_registration(self, read: Option<Value>) -> Self {
        Self { registered: Registered::Read(read), ..self }
    }

    /// Returns the object by which the consumer finds it, as kubemint noted it there.
    pub(crate) fn noted_registration(&self) -> Option<&Registration> {
        self.noted.as_ref()?.registration.as_ref().filter(|_| self.is_ours())
    }

    /// Reads whose a Secret is, and nothing of its data.
    pub(crate) fn noted_at(object: &Value, mark: &Mark) -> Self {
        Self::of(object, &SecretForm::of_nothing(), mark)
    }

    /// Looks for the token in the values that should have it.
    fn take_token(&mut self, values: &BTreeMap<String, Vec<u8>>, form: &SecretForm, mark: &Mark) {
        // The Secret of another grant of ours may be replaced, but lends no credential.
        let is_of = |noted: &&Noted| noted.mark.cluster == mark.cluster && noted.mark.profile == mark.profile;
        if self.noted.as_ref().is_some_and(|noted| !is_of(&noted)) {
            return;
        }
        let with_token = form.data.iter().filter(|(_, value)| SecretForm::has_token(value));
        let mut values = with_token.filter_map(|(key, _)| std::str::from_utf8(values.get(key)?).ok());
        let Some((token, claims, facts)) = values.find_map(token_in) else { return };
        let noted = self
            .noted
            .as_ref()
            .filter(|noted| noted.facts.generation == facts.generation && noted.facts.anchor_uid == facts.anchor_uid);
        // The lifetime that was requested is not among the claims.
        let facts = noted.map_or(facts, |noted| noted.facts.clone());
        match self.noted.as_ref().map(|noted| &noted.mark.holder) {
            Some(other) if *other != mark.holder => {
                let token = Some((facts.generation, facts.expires));
                self.other_holder = Some(OtherHolder { holder: other.to_string(), token });
            }
            _ => {
                let stored = StoredCredential { generation: facts.generation, token, claims };
                self.credential = Some((stored, facts));
            }
        }
    }

    /// Returns the uid of the cluster that it was written for.
    pub(crate) fn cluster_uid(&self) -> Option<&str> {
        self.noted.as_ref()?.cluster_uid.as_deref()
    }

    /// Returns whether it is this inventory's.
    pub(crate) fn is_ours(&self) -> bool {
        self.ownership == Ownership::Ours
    }

    /// Returns the mark of another grant of this inventory that it is noted to be for.
    pub(crate) fn other_grant(&self, mark: &Mark) -> Option<&Mark> {
        let of = self.noted.as_ref().map(|noted| &noted.mark).filter(|_| self.is_ours())?;
        (of.cluster != mark.cluster || of.profile != mark.profile).then_some(of)
    }

    /// Returns whether it is for a grant, whoever holds that: by its annotation, or by its labels if that is gone.
    pub(crate) fn is_of(&self, mark: &Mark) -> bool {
        let has_label = || self.labels.get(PROFILE_LABEL).is_some_and(|profile| profile == mark.profile.as_str());
        self.is_ours()
            && match &self.noted {
                Some(noted) => noted.mark.cluster == mark.cluster && noted.mark.profile == mark.profile,
                None => has_label(),
            }
    }

    /// Returns whether a label or annotation differs from what is wanted: these do not depend on how the cluster is reached.
    pub(crate) fn is_altered_wherever_it_leads(&self, form: &SecretForm, mark: &Mark) -> bool {
        let wanted = SecretContent::render(form, mark, &Endpoint::default(), None);
        let is_about_data = |difference: &FieldDiff| difference.field.starts_with("data.");
        self.own_differences(&wanted).iter().any(|difference| !is_about_data(difference))
    }

    /// Returns whether Kubernetes does not let it be changed to a form.
    pub(crate) fn is_fixed(&self, form: &SecretForm) -> bool {
        self.is_immutable || self.secret_type != form.secret_type
    }

    /// Returns the names of its keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.keys().map(String::as_str)
    }

    /// Returns the value by which the consumer tells clusters apart.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Returns the fields in which it, or the object by which its consumer finds it, differs from what is wanted.
    pub(crate) fn differences(&self, wanted: &SecretContent) -> Vec<FieldDiff> {
        let mut differences = self.own_differences(wanted);
        if let (Some(wanted), Registered::Read(read)) = (&wanted.registration, &self.registered) {
            let (registration, mark, endpoint) = &**wanted;
            differences.extend(registration.differences(read.as_ref(), mark, endpoint));
        }
        differences
    }

    /// Returns the fields in which it differs from what is wanted. No value of the data is shown, and those that depend on
    /// a credential that is not known are not compared.
    pub(crate) fn own_differences(&self, wanted: &SecretContent) -> Vec<FieldDiff> {
        let mut differences = vec![];
        let mut differs = |field: String, removed: Option<String>, added: Option<String>| {
            let (removed, added) = (removed.into_iter().collect(), added.into_iter().collect());
            differences.push(FieldDiff { field, removed, added });
        };
        if self.secret_type != wanted.secret_type {
            differs("type".to_owned(), Some(self.secret_type.clone()), Some(wanted.secret_type.clone()));
        }
        for (key, value) in &wanted.data {
            let Some(value) = value else { continue };
            match self.data.get(key) {
                Some(held) if *held == digest_of(value) => {}
                Some(_) => {
                    differs(
                        format!("data.{key}"),
                        Some(FieldDiff::WAS.to_owned()),
                        Some(FieldDiff::WRITTEN.to_owned()),
                    );
                }
                None => differs(format!("data.{key}"), None, Some(NOT_SHOWN.to_owned())),
            }
        }
        for key in self.keys_gone(wanted) {
            differs(format!("data.{key}"), Some(NOT_SHOWN.to_owned()), None);
        }
        let maps = [
            ("labels", &self.labels, &wanted.labels, self.labels_gone(wanted)),
            ("annotations", &self.annotations, &wanted.annotations, self.annotations_gone(wanted)),
        ];
        for (what, held, wanted, gone) in maps {
            let field = |key: &str| format!("metadata.{what}.{key}");
            for (key, value) in wanted {
                let before = held.get(key);
                if before == Some(value) {
                    continue;
                }
                if key == DELIVERY_ANNOTATION {
                    differs(field(key), before.map(|_| FieldDiff::WAS.to_owned()), Some(FieldDiff::WRITTEN.to_owned()));
                } else {
                    differs(field(key), before.map(|before| shown(before)), Some(value.clone()));
                }
            }
            for key in gone {
                differs(field(key), held.get(key).map(|before| shown(before)), None);
            }
        }
        differences.sort();
        differences
    }

    /// Returns the keys that kubemint wrote, that are there, and that are not wanted any more.
    pub(super) fn keys_gone<'a>(&'a self, wanted: &SecretContent) -> Vec<&'a String> {
        let ours = self.noted.iter().flat_map(|noted| &noted.keys);
        ours.filter(|key| self.data.contains_key(*key) && !wanted.data.contains_key(*key)).collect()
    }

    /// Returns the labels that kubemint wrote, that are there, and that are not wanted any more.
    pub(super) fn labels_gone<'a>(&'a self, wanted: &SecretContent) -> Vec<&'a String> {
        let ours = self.noted.iter().flat_map(|noted| &noted.labels);
        gone(ours, &self.labels, &wanted.labels)
    }

    /// Returns the annotations that kubemint wrote, that are there, and that are not wanted any more.
    pub(super) fn annotations_gone<'a>(&'a self, wanted: &SecretContent) -> Vec<&'a String> {
        let ours = self.noted.iter().flat_map(|noted| &noted.annotations);
        gone(ours, &self.annotations, &wanted.annotations)
    }
}

/// Whether a credential is one that kubemint mints, by what it says itself.
pub(crate) fn is_minted(token: &str) -> bool {
    Claims::of(&SecretToken::new(token)).is_ok_and(|claims| facts_of(&claims).is_some())
}

/// Whether a Secret holds a credential that kubemint mints, wherever in its data.
pub(crate) fn holds_minted(object: &Value) -> bool {
    let values = object["data"].as_object().into_iter().flatten();
    let mut texts = values.filter_map(|(_, value)| String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok());
    texts.any(|text| token_in(&text).is_some())
}

/// What stands for a value that is not shown.
const NOT_SHOWN: &str = "(not shown)";

fn gone<'a>(
    ours: impl Iterator<Item = &'a String>,
    held: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Vec<&'a String> {
    // The marks are never among what an inventory names, whatever an edited annotation says.
    let marks: BTreeSet<&str> = [MANAGED_BY_LABEL, INVENTORY_LABEL, PROFILE_LABEL, DELIVERY_ANNOTATION].into();
    ours.filter(|key| held.contains_key(*key) && !wanted.contains_key(*key) && !marks.contains(key.as_str())).collect()
}

/// Returns what reports show of a label or annotation.
fn shown(value: &str) -> String {
    if holds_secret(value) { NOT_SHOWN.to_owned() } else { value.to_owned() }
}

fn digest_of(value: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, value).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Finds the first token in a value that is bound to an anchor of ours: whatever form the value has, a JSON Web Token
/// stands in it as it is.
fn token_in(text: &str) -> Option<(SecretToken, Claims, CredentialFacts)> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words = text.split(|c| !is_of_token(c)).filter(|word| word.starts_with("eyJ"));
    let tokens = words.filter_map(|word| {
        let token = SecretToken::new(word);
        let claims = Claims::of(&token).ok()?;
        let facts = facts_of(&claims)?;
        Some((token, claims, facts))
    });
    { tokens }.next()
}
