//! Secrets among the outputs: reading those of the selected grants, and finding those that leave.

use std::collections::{HashMap, HashSet};

use super::leaving::{Leavings, Wanted};
use super::{Outputs, Reading};
use crate::delivery::{Format, HeldSecret, Place, ReadPlace, Removal, SecretPlace, SecretTarget};
use crate::executor::Hubs;
use crate::failure::StepFailure;
use crate::inventory::GrantKey;
use crate::kubeconfig::Mark;
use crate::names::{Holder, InventoryName};

impl Reading {
    /// Reads the Secrets that selected grants go to. One that cannot be read makes its grant unusable.
    pub(super) async fn read_secrets(&self, outputs: &mut Outputs, is_selected: &dyn Fn(&GrantKey) -> bool) {
        let targets: Vec<&SecretTarget> =
            self.layout.secrets.iter().filter(|target| is_selected(&target.grant)).collect();
        for (target, read) in read_secrets(&self.hubs, (&self.inventory.name, &self.holder), targets).await {
            let held = read.unwrap_or_else(|failure| {
                outputs.unusable.entry(target.grant.clone()).or_insert(failure);
                None
            });
            let place = Place::Secret(target.place.clone());
            let read = ReadPlace { place, format: Format::Secret(target.form.clone()), found: held.into() };
            outputs.places.entry(target.grant.clone()).or_default().push(read);
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
            let is_left = matches!(&read, Ok(held) if !held.as_ref().is_some_and(|held| held.is_of(&mark)));
            // Trying to remove what cannot be read fails, and the report of the cluster says so.
            if !is_left {
                named.insert(&target.place);
                self.add(&target.grant, Removal::Secret(target.place.clone()), wanted, found);
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
        for (hub, namespace) in &self.layout.secret_namespaces {
            let delivered = match self.hubs.delivered(hub, namespace, &self.inventory.name).await {
                Ok(delivered) => delivered,
                Err(failure) => {
                    let why = format!("{}; whether Secrets have to leave it is not known", failure.cause);
                    found.unsearched.push(why);
                    continue;
                }
            };
            for (place, mark) in delivered {
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

/// Reads some Secrets, and returns them in the same order.
pub(crate) async fn read_secrets<'t>(
    hubs: &Hubs,
    (inventory, holder): (&InventoryName, &Holder),
    targets: Vec<&'t SecretTarget>,
) -> Vec<(&'t SecretTarget, Result<Option<HeldSecret>, StepFailure>)> {
    let places: Vec<SecretPlace> = targets.iter().map(|target| target.place.clone()).collect();
    let by_place: HashMap<&SecretPlace, &SecretTarget> =
        targets.iter().map(|target| (&target.place, *target)).collect();
    let mut read = HashMap::new();
    hubs.read(&places, |place, found| {
        let Some(target) = by_place.get(place) else { return };
        let mark = Mark::of(inventory, holder, &target.grant);
        let held = found.map(|found| found.map(|object| HeldSecret::of(&object, &target.form, &mark)));
        read.insert(&target.place, held);
    })
    .await;
    let unread = || Err(StepFailure::new("it was not read; this is a bug in kubemint"));
    targets.into_iter().map(|target| (target, read.remove(&target.place).unwrap_or_else(unread))).collect()
}
