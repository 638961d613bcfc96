//! Secrets among the outputs: reading those of the selected grants, and finding those that leave.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::leaving::{Leavings, Wanted};
use super::{Outputs, Reading};
use crate::cluster::secret::{Delivered, SecretRead};
use crate::delivery::{Format, HeldSecret, HubName, Place, ReadPlace, Removal, SecretPlace, SecretTarget};
use crate::executor::Hubs;
use crate::failure::{FailureKind, StepFailure};
use crate::inventory::GrantKey;
use crate::kubeconfig::Mark;
use crate::names::{Holder, InventoryName};
use crate::plan::BlockerKind;

impl Reading {
    /// Reads the Secrets that selected grants go to. One that cannot be read makes its grant unusable.
    pub(super) async fn read_secrets(&self, outputs: &mut Outputs, is_selected: &dyn Fn(&GrantKey) -> bool) {
        let targets: Vec<&SecretTarget> =
            self.layout.secrets.iter().filter(|target| is_selected(&target.grant)).collect();
        let given: HashSet<(&str, &str, &GrantKey)> = self
            .layout
            .secrets
            .iter()
            .map(|target| (target.place.namespace.as_str(), target.place.name.as_str(), &target.grant))
            .collect();
        for (target, read) in read_secrets(&self.hubs, (&self.inventory.name, &self.holder), targets).await {
            let mark = Mark::of(&self.inventory.name, &self.holder, &target.grant);
            let read = read.and_then(|held| {
                let other = held.as_ref().and_then(|held| held.other_grant(&mark));
                let other = other.map(|of| GrantKey { cluster: of.cluster.clone(), profile: of.profile.clone() });
                let place = &target.place;
                match other.filter(|other| given.contains(&(&*place.namespace, &*place.name, other))) {
                    Some(other) => Err(taken(place, &other)),
                    None => Ok(held),
                }
            });
            let held = read.unwrap_or_else(|failure| {
                let kind = match failure.kind {
                    FailureKind::Blocked => BlockerKind::ForeignEntry,
                    _ => BlockerKind::HubUnusable,
                };
                outputs.unusable.entry(target.grant.clone()).or_insert((kind, failure));
                None
            });
            let (place, format) = (Place::Secret(target.place.clone()), Format::Secret(Box::new(target.form.clone())));
            let read = ReadPlace { place: Arc::new(place), format: Arc::new(format), found: held.into() };
            outputs.add(target.grant.clone(), read);
        }
    }

    /// Finds the Secrets that leave. Those that outputs give are looked for by name; what an earlier inventory delivered has
    /// to be listed, by the label of the inventory.
    pub(super) async fn find_leaving_secrets(&self, wanted: &Wanted, found: &mut Leavings) {
        let targets: Vec<&SecretTarget> =
            self.layout.secrets.iter().filter(|target| wanted.includes(&target.grant)).collect();
        let mut named: HashSet<&SecretPlace> = HashSet::new();
        for (target, read) in read_secrets(&self.hubs, (&self.inventory.name, &self.holder), targets).await {
            let mark = Mark::of(&self.inventory.name, &self.holder, &target.grant);
            match read {
                Ok(None) => {}
                Ok(Some(held)) if !held.is_of(&mark) => {
                    let what =
                        format!("`{}` is left alone: its marks do not say that it is of this grant", target.place);
                    found.leave_alone(&target.grant.cluster, what);
                }
                // Trying to remove what cannot be read fails, and the report of the cluster says so.
                Ok(Some(_)) | Err(_) => {
                    named.insert(&target.place);
                    self.add(&target.grant, Removal::Secret(target.place.clone()), wanted, found);
                }
            }
        }
        if matches!(wanted, Wanted::Grants(_)) {
            return;
        }
        let given: HashSet<(&SecretPlace, &GrantKey)> =
            self.layout.secrets.iter().map(|target| (&target.place, &target.grant)).collect();
        // Another holder's Secrets of a grant that exists have names that this one's outputs do not give.
        let is_explained = |place: &SecretPlace, grant: &GrantKey, mark: &Mark| {
            given.contains(&(place, grant)) || (mark.holder != self.holder && self.inventory.grant(grant).is_some())
        };
        let mut by_hub: BTreeMap<&HubName, Vec<&str>> = BTreeMap::new();
        for (hub, namespace) in &self.layout.secret_namespaces {
            by_hub.entry(hub).or_default().push(namespace);
        }
        for (hub, namespaces) in by_hub {
            let delivered = match self.hubs.delivered(hub, &namespaces, &self.inventory.name).await {
                Ok(delivered) => delivered,
                Err(failure) => {
                    let why = format!("{}; whether Secrets have to leave it is not known", failure.cause);
                    found.unsearched.push(why);
                    continue;
                }
            };
            for Delivered { namespace, name, mark } in delivered {
                let place = SecretPlace { hub: hub.clone(), namespace, name };
                let Some(mark) = mark else {
                    if !named.contains(&place) && !self.layout.secrets.iter().any(|target| target.place == place) {
                        found.unsearched.push(format!(
                            "`{place}` has the labels of this inventory and not its annotation: whether it has to leave is \
                             not known"
                        ));
                    }
                    continue;
                };
                found.clusters.insert(mark.cluster.clone());
                let grant = GrantKey { cluster: mark.cluster.clone(), profile: mark.profile.clone() };
                let leaves = match wanted {
                    Wanted::Clusters(clusters, _) => clusters.contains(&mark.cluster),
                    Wanted::Grants(_) => false,
                    Wanted::Unexplained => !is_explained(&place, &grant, &mark),
                };
                if leaves && !named.contains(&place) {
                    self.add(&grant, Removal::Secret(place), wanted, found);
                }
            }
        }
    }
}

/// Describes a Secret that another output delivers to as well.
fn taken(place: &SecretPlace, other: &GrantKey) -> StepFailure {
    let GrantKey { cluster, profile } = other;
    StepFailure::new(format!(
        "`{place}` holds the credential of `{profile}` on cluster `{cluster}`, which another output delivers under the same \
         name and namespace: two hubs of the inventory are one API server"
    ))
    .hint("name that hub alike in both `[[outputs]]`, and give each Secret a name of its own")
}

/// Reads some Secrets, and returns them in the same order.
pub(crate) async fn read_secrets<'t>(
    hubs: &Hubs,
    (inventory, holder): (&InventoryName, &Holder),
    targets: Vec<&'t SecretTarget>,
) -> Vec<(&'t SecretTarget, Result<Option<HeldSecret>, StepFailure>)> {
    let mut read = HashMap::new();
    hubs.read(&targets, |target, found| {
        let mark = Mark::of(inventory, holder, &target.grant);
        let held = found.and_then(|SecretRead { secret, registration }| {
            if let Some(wanted) = &target.form.registration {
                wanted.check(registration.as_ref(), inventory)?;
            }
            let held = secret.map(|object| HeldSecret::of(&object, &target.form, &mark));
            Ok(held.map(|held| held.with_registration(registration)))
        });
        read.insert(&target.place, held);
    })
    .await;
    let unread = || Err(StepFailure::new("it was not read; this is a bug in kubemint"));
    targets.into_iter().map(|target| (target, read.remove(&target.place).unwrap_or_else(unread))).collect()
}
