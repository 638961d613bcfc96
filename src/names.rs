//! Every name that kubemint derives, computed here and nowhere else.
//!
//! Newtypes for the names that cross function boundaries, and the rules that turn them into
//! Kubernetes object names. Pure: no I/O, no clock. Start with [`ObjectNames`].

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::syntax::{self, cluster_name};

/// Field manager of every object that kubemint applies.
pub(crate) const FIELD_MANAGER: &str = "kubemint";
/// Field manager of the index annotation, so that applying the object never touches the index.
pub(crate) const INDEX_FIELD_MANAGER: &str = "kubemint-credentials";
/// Label that says who manages an object, after the recommended labels of Kubernetes.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`] on our objects.
pub(crate) const MANAGED_BY: &str = "kubemint";
/// Label that names the inventory an object belongs to.
pub(crate) const INVENTORY_LABEL: &str = "kubemint.dev/inventory";
/// Label that names the access profile an object belongs to.
pub(crate) const PROFILE_LABEL: &str = "kubemint.dev/profile";
/// Label that names the holder an anchor belongs to.
pub(crate) const HOLDER_LABEL: &str = "kubemint.dev/holder";
/// Annotation on an anchor that names the run which created it.
pub(crate) const RUN_ANNOTATION: &str = "kubemint.dev/run";
/// Annotation on the ServiceAccount that holds the index of live generations.
pub(crate) const INDEX_ANNOTATION: &str = "kubemint.dev/credentials";
/// Annotation on a Secret that a credential was delivered to: whose credential it is, and what of the Secret is ours.
pub(crate) const DELIVERY_ANNOTATION: &str = "kubemint.dev/delivery";
/// Annotation of Kubernetes: set to "false" by who wants a role or binding left alone (the RBAC page on
/// auto-reconciliation).
pub(crate) const AUTOUPDATE_ANNOTATION: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// Type of an anchor Secret.
pub(crate) const ANCHOR_TYPE: &str = "kubemint.dev/anchor";
/// Name of the kubeconfig extension that marks our entries.
pub(crate) const EXTENSION: &str = "kubemint.dev";

/// Refuses what is no name of an inventory's, whatever it is a name of: names end up in paths of objects and of files. What
/// an inventory takes for the name of a cluster is the widest.
fn possible<E: serde::de::Error>(name: String) -> Result<String, E> {
    match cluster_name(&name) {
        Ok(()) => Ok(name),
        Err(why) => Err(E::custom(format!("{name:?} cannot be a name: {why}"))),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
        #[schemars(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that was validated where it entered the program: by the inventory's rules, or by what reads a plan.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::from(name.as_ref()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                possible(String::deserialize(deserializer)?).map(Self::new)
            }
        }
    };
}

name_type! {
    /// The name of a wave of a rollout; a DNS label.
    WaveName
}
name_type! {
    /// The ownership mark of an inventory; a DNS label.
    InventoryName
}
name_type! {
    /// The name of a cluster in the inventory.
    ClusterName
}
name_type! {
    /// The name of an access profile; a DNS label.
    ProfileName
}
name_type! {
    /// Who keeps a chain of generations; a DNS label.
    Holder
}

/// What names a grant: no two of an inventory have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantKey {
    /// The cluster.
    pub cluster: ClusterName,
    /// The access profile.
    pub profile: ProfileName,
}

/// The holder that is used where none is named.
pub(crate) const DEFAULT_HOLDER: &str = "default";

/// The names of the RBAC objects of one access profile.
///
/// RBAC names are path segments (`pkg/apis/rbac/validation`, `path.ValidatePathSegmentName`), so
/// `:` is allowed there. Inventory and profile are DNS labels and cannot contain it, which makes
/// the mapping injective: two profiles or inventories never share an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectNames<'a> {
    /// The inventory that owns the objects.
    pub inventory: &'a InventoryName,
    /// The access profile that the objects serve.
    pub profile: &'a ProfileName,
}

impl ObjectNames<'_> {
    /// Returns the name of the ClusterRole or Role with the profile's own rules, and of its binding.
    pub(crate) fn own_role(&self) -> String {
        format!("kubemint:{}:{}", self.inventory, self.profile)
    }

    /// Returns the name of a binding to an existing role.
    ///
    /// It ends in a hash of the roleRef, which is immutable: another role is a new binding followed
    /// by a delete, so that access has no gap.
    pub(crate) fn binding_to(&self, role_kind: &str, role_name: &str) -> String {
        format!("kubemint:{}:{}:{}", self.inventory, self.profile, short_hash(&[role_kind, role_name]))
    }
}

/// Returns the name of an anchor Secret: a DNS subdomain that no other generation ever had.
///
/// `service_account_uid` takes part so that the anchors of a deleted and recreated ServiceAccount
/// can never be mistaken for each other.
pub(crate) fn anchor_name(
    service_account: &str,
    service_account_uid: &str,
    inventory: &InventoryName,
    holder: &Holder,
    generation: u64,
) -> String {
    anchor_name_of(service_account, service_account_uid, inventory, holder, &generation.to_string())
}

/// Returns the name of the standing anchor that the tokens of a holder's exec plugins are bound to.
pub(crate) fn exec_anchor_name(
    service_account: &str,
    service_account_uid: &str,
    inventory: &InventoryName,
    holder: &Holder,
) -> String {
    anchor_name_of(service_account, service_account_uid, inventory, holder, EXEC)
}

/// What the tokens are that an anchor keeps alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AnchorOf {
    /// Those of a generation.
    Generation(u64),
    /// Those that exec plugins asked for.
    Plugins,
}

/// Returns whose anchor of a ServiceAccount has this name, if it is one that this inventory computes.
///
/// Nobody can rename an object, so what this says of a Secret is true whatever was edited in it.
pub(crate) fn anchor_of_name(
    name: &str,
    service_account: &str,
    service_account_uid: &str,
    inventory: &InventoryName,
) -> Option<(Holder, AnchorOf)> {
    let rest = name.strip_prefix(anchor_prefix(service_account))?.strip_prefix('-')?;
    let (rest, _hash) = rest.rsplit_once('-')?;
    let (holder, what) = rest.rsplit_once('-')?;
    let holder = Holder::new(holder);
    let of = if what == EXEC { AnchorOf::Plugins } else { AnchorOf::Generation(what.parse().ok()?) };
    let computed = match of {
        AnchorOf::Plugins => exec_anchor_name(service_account, service_account_uid, inventory, &holder),
        AnchorOf::Generation(n) => anchor_name(service_account, service_account_uid, inventory, &holder, n),
    };
    (computed == name).then_some((holder, of))
}

/// Returns the number of the generation that an anchor of [`anchor_name`] belongs to.
pub(crate) fn generation_of_anchor(name: &str) -> Option<u64> {
    let (rest, _hash) = name.rsplit_once('-')?;
    rest.rsplit_once('-')?.1.parse().ok()
}

/// Returns the user name that tokens of a ServiceAccount authenticate as (apiserver, `pkg/authentication/serviceaccount`).
pub(crate) fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Returns the name of the file that holds the token of a grant, in the directory of its output's.
///
/// A profile is a DNS label, so what follows the first `@` is the cluster: percent-encoded, because a
/// cluster may be called like a URL.
pub(crate) fn token_file_name(profile: &ProfileName, cluster: &ClusterName) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    format!("{profile}@{}.token", percent_encoding::utf8_percent_encode(cluster.as_str(), KEPT))
}

/// Returns the name of the directory beside a kubeconfig that holds its token files.
pub(crate) fn token_directory_name(kubeconfig: &str) -> String {
    format!("{kubeconfig}.tokens")
}

/// What stands in place of a number in the name of a standing anchor.
const EXEC: &str = "exec";

/// Returns what the names of all anchors of a ServiceAccount begin with.
fn anchor_prefix(service_account: &str) -> &str {
    // A Secret's name may have 253 characters; what follows the prefix has at most 63 + 20 + 12.
    const PREFIX: usize = 150;
    let end = service_account.char_indices().nth(PREFIX).map_or(service_account.len(), |(end, _)| end);
    service_account[..end].trim_end_matches(['-', '.'])
}

fn anchor_name_of(
    service_account: &str,
    service_account_uid: &str,
    inventory: &InventoryName,
    holder: &Holder,
    what: &str,
) -> String {
    let prefix = anchor_prefix(service_account);
    let hash = short_hash(&[service_account, service_account_uid, inventory.as_str(), holder.as_str()]);
    format!("{prefix}-{holder}-{what}-{hash}")
}

/// Returns the name of a cache whose content depends on `parts` and on nothing else: 32 hexadecimal
/// digits of a hash.
pub(crate) fn cache_name(parts: &[&str]) -> String {
    hash(parts, 16)
}

/// Returns the first 10 hexadecimal digits of the SHA-256 of the parts, each preceded by its length.
pub(crate) fn short_hash(parts: &[&str]) -> String {
    hash(parts, 5)
}

fn hash(parts: &[&str], bytes: usize) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref()[..bytes].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which Lease (`coordination.k8s.io`) it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseName {
    /// The namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl LeaseName {
    /// Parses `NAMESPACE/NAME`.
    ///
    /// # Errors
    ///
    /// If it has another form, or one of them cannot be such a name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (namespace, name) = text.split_once('/').ok_or("it is no `NAMESPACE/NAME`")?;
        syntax::dns_label(namespace).map_err(|reason| format!("the namespace is not valid: {reason}"))?;
        syntax::dns_subdomain(name).map_err(|reason| format!("the name is not valid: {reason}"))?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease {}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_different_profiles_and_inventories_never_meet() {
        let names = |inventory: &str, profile: &str| {
            ObjectNames { inventory: &inventory.into(), profile: &profile.into() }.own_role()
        };
        assert_ne!(names("a-b", "c"), names("a", "b-c"));
        assert_eq!(names("acme", "deployer"), "kubemint:acme:deployer");
    }

    #[test]
    fn a_binding_is_named_after_the_role_it_refers_to() {
        let (inventory, profile) = ("acme".into(), "deployer".into());
        let names = ObjectNames { inventory: &inventory, profile: &profile };
        assert_ne!(names.binding_to("ClusterRole", "view"), names.binding_to("ClusterRole", "edit"));
        assert_ne!(names.binding_to("ClusterRole", "view"), names.binding_to("Role", "view"));
    }

    #[test]
    fn what_an_inventory_takes_for_a_name_can_be_read_again() {
        let read = |name: &str| serde_json::from_value::<ClusterName>(name.into());
        for name in ["prod-eu", "prod eu", "a+b (c)~", "arn:aws:eks:1:cluster@x", "Größe"] {
            assert_eq!(read(name).unwrap().as_str(), name);
        }
        for name in ["", ".x", "-x", "../x", "a/b", "a\\b", "a..b", " a", "a\n", "\u{1b}[2J"] {
            assert!(read(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_token_file_never_leaves_its_directory() {
        let name = |cluster: &str| token_file_name(&"reader".into(), &cluster.into());
        assert_eq!(name("prod-eu.example"), "reader@prod-eu.example.token");
        assert_eq!(name("arn:aws:eks:eu:1:cluster/x"), "reader@arn%3Aaws%3Aeks%3Aeu%3A1%3Acluster%2Fx.token");
        assert!(!name("../../etc").contains('/'));
    }

    #[test]
    fn an_anchor_name_fits_and_depends_on_the_uid() {
        let long = "a".repeat(253);
        let (inventory, holder) = ("acme".into(), Holder::new("h".repeat(63)));
        let one = anchor_name(&long, "uid-1", &inventory, &holder, u64::MAX);
        let two = anchor_name(&long, "uid-2", &inventory, &holder, u64::MAX);
        assert!(one.len() <= 253, "{}", one.len());
        assert_ne!(one, two);
        assert_eq!(generation_of_anchor(&one), Some(u64::MAX));
        assert_eq!(generation_of_anchor(&exec_anchor_name(&long, "uid-1", &inventory, &holder)), None);
    }

    #[test]
    fn the_name_of_an_anchor_says_whose_it_is() {
        let inventory = InventoryName::new("acme");
        let of = |name: &str| anchor_of_name(name, "reader", "uid", &inventory);
        for holder in [Holder::new("default"), Holder::new("ci-7"), Holder::new("exec")] {
            let name = anchor_name("reader", "uid", &inventory, &holder, 12);
            assert_eq!(of(&name), Some((holder.clone(), AnchorOf::Generation(12))));
            let name = exec_anchor_name("reader", "uid", &inventory, &holder);
            assert_eq!(of(&name), Some((holder.clone(), AnchorOf::Plugins)));
            let name = anchor_name("reader", "earlier uid", &inventory, &holder, 12);
            assert_eq!(of(&name), None, "of an account that is gone");
            let name = anchor_name("reader", "uid", &InventoryName::new("other"), &holder, 12);
            assert_eq!(of(&name), None);
        }
        let name = anchor_name("reader-ci", "uid", &inventory, &Holder::new("default"), 12);
        assert_eq!(of(&name), None, "of another account");
        assert_eq!(of("reader-default-+7-0123456789"), None);
    }
}
