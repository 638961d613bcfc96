//! Our extension of an entry, as a file holds it: whose the entry is, and what is known of its credential.
//!
//! A file may have ten thousand of them, so this keeps no more than what is asked for. Pure: no I/O, no clock.

use serde::Deserialize;
use serde_json::Value;

use super::entry::Mark;
use crate::credential::CredentialFacts;
use crate::names::{ClusterName, EXTENSION, Holder, InventoryName, ProfileName};

/// What our extension says. Anybody may have changed it.
pub(super) struct Extension {
    inventory: Option<Box<str>>,
    cluster: Option<Box<str>>,
    profile: Option<Box<str>>,
    holder: Option<Box<str>>,
    facts: Option<Box<CredentialFacts>>,
    /// Whether it names a possible cluster, and no impossible profile or holder.
    is_sound: bool,
}

/// The grant that an extension names; that of a shared cluster entry names only the cluster.
#[derive(Deserialize)]
pub(super) struct NamedGrant {
    pub(super) cluster: ClusterName,
    pub(super) profile: Option<ProfileName>,
    pub(super) holder: Option<Holder>,
}

impl Extension {
    /// Finds our extension in the body of an entry.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let extensions = body["extensions"].as_array()?;
        let ours = extensions.iter().find(|extension| extension["name"] == EXTENSION)?.get("extension");
        let ours = ours.unwrap_or(&Value::Null);
        let text = |key: &str| ours[key].as_str().map(Box::from);
        Some(Self {
            inventory: text("inventory"),
            cluster: text("cluster"),
            profile: text("profile"),
            holder: text("holder"),
            facts: CredentialFacts::deserialize(ours).ok().map(Box::new),
            is_sound: NamedGrant::deserialize(ours).is_ok(),
        })
    }

    /// Returns the inventory that it names.
    pub(super) fn inventory(&self) -> Option<&str> {
        self.inventory.as_deref()
    }

    /// Returns the holder that it names.
    pub(super) fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// Returns what is known of the credential, if it says all of that.
    pub(super) fn facts(&self) -> Option<&CredentialFacts> {
        self.facts.as_deref()
    }

    /// Returns whether it names an inventory.
    pub(super) fn is_of(&self, inventory: &InventoryName) -> bool {
        self.inventory() == Some(inventory.as_str())
    }

    /// Returns whether it names the cluster and the profile of a mark.
    pub(super) fn is_of_grant(&self, mark: &Mark) -> bool {
        self.cluster.as_deref() == Some(mark.cluster.as_str()) && self.profile.as_deref() == Some(mark.profile.as_str())
    }

    /// Returns the grant that it names, if all names in it are possible.
    pub(super) fn grant(&self) -> Option<NamedGrant> {
        let cluster = self.cluster.as_deref().filter(|_| self.is_sound)?;
        Some(NamedGrant {
            cluster: ClusterName::new(cluster),
            profile: self.profile.as_deref().map(ProfileName::new),
            holder: self.holder.as_deref().map(Holder::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extension(said: &Value) -> Extension {
        let other = json!({"name": "other", "extension": {"inventory": "other"}});
        Extension::of(&json!({"extensions": [other, {"name": EXTENSION, "extension": said}]})).unwrap()
    }

    #[test]
    fn only_possible_names_name_a_grant() {
        let grant = |said: &Value| extension(said).grant();
        let named = grant(&json!({"cluster": "a", "profile": "p", "holder": "h"})).unwrap();
        assert_eq!((named.cluster.as_str(), named.profile, named.holder), ("a", Some("p".into()), Some("h".into())));
        let shared = grant(&json!({"cluster": "a", "profile": null})).unwrap();
        assert_eq!((shared.profile, shared.holder), (None, None));
        for said in [
            json!(null),
            json!("a"),
            json!({"profile": "p"}),
            json!({"cluster": 1}),
            json!({"cluster": ""}),
            json!({"cluster": "../a"}),
            json!({"cluster": "a", "profile": 1}),
            json!({"cluster": "a", "holder": "../h"}),
        ] {
            assert!(grant(&said).is_none(), "{said}");
        }
    }

    #[test]
    fn what_is_no_text_names_nothing() {
        let (inventory, mark) = (InventoryName::from("acme"), |cluster: &str| Mark {
            inventory: "acme".into(),
            holder: "h".into(),
            cluster: cluster.into(),
            profile: "p".into(),
        });
        let ours = extension(&json!({"inventory": "acme", "cluster": "a", "profile": "p"}));
        assert!(ours.is_of(&inventory) && ours.is_of_grant(&mark("a")) && !ours.is_of_grant(&mark("b")));
        assert!(ours.facts().is_none() && ours.holder().is_none());
        for said in [json!(null), json!({"inventory": ["acme"], "cluster": {"a": 1}, "profile": true})] {
            let strange = extension(&said);
            assert!(!strange.is_of(&inventory) && !strange.is_of_grant(&mark("a")), "{said}");
            assert_eq!(strange.inventory(), None);
        }
        assert!(Extension::of(&json!({"extensions": {"name": EXTENSION}})).is_none());
        assert!(Extension::of(&json!({})).is_none());
    }
}
