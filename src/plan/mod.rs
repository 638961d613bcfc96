//! The plan: what makes a cluster match the inventory, and what stands in the way.
//!
//! Start here. [`plan_cluster`] turns the inventory's grants, what was observed in the cluster and
//! what the outputs hold into a [`ClusterPlan`]; `plan` shows that value and `apply` runs it. Pure:
//! no I/O, `now` is an argument.

mod credentials;
mod finding;
mod objects;
mod preflight;

use std::time::Duration;

use jiff::Timestamp;

use crate::credential::Reissue;
use crate::inventory::Inventory;
use crate::kubeconfig::{Endpoint, EntryNames, EntryState};
use crate::names::{ClusterName, Holder};
use crate::observed::ObservedCluster;
use crate::step::Step;

pub(crate) use credentials::shortened_lifetime;
pub use finding::{Blocker, BlockerKind, Note, NoteKind};
pub use preflight::{Probe, ProbeResult, assess, mint_probes};

/// What the user allows.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which objects that are not ours may be taken over.
    pub adoption: Adoption,
    /// Whether a living credential that no output here holds may be superseded.
    pub reissue: Reissue,
    /// How long a claim may stay unpublished.
    pub orphan_after: Duration,
}

/// Which objects that are not ours may be taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Those that no inventory of kubemint owns.
    pub foreign: bool,
    /// Those of these inventories.
    pub inventories: Vec<String>,
}

/// The place of one grant in one output file, and what is there.
#[derive(Debug, Clone)]
pub struct OutputSlot {
    /// The names of the entries.
    pub names: EntryNames,
    /// What the file holds under these names.
    pub state: EntryState,
}

/// One grant of the cluster that is planned.
#[derive(Debug)]
pub struct GrantInput {
    /// Its index in the inventory.
    pub grant: usize,
    /// Its places in the output files.
    pub outputs: Vec<OutputSlot>,
}

/// Everything that planning one cluster looks at.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The selected grants on that cluster.
    pub grants: &'a [GrantInput],
    /// What was read from it.
    pub observed: &'a ObservedCluster,
    /// How consumers reach it.
    pub endpoint: &'a Endpoint,
    /// Whether the admin's connection does not check the server's certificate.
    pub is_insecure: bool,
    /// What the user allows.
    pub options: &'a PlanOptions,
    /// The current time.
    pub now: Timestamp,
}

/// What to do in one cluster.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// The uid of the namespace kube-system, which identifies the cluster.
    pub cluster_uid: String,
    /// How consumers reach it.
    pub endpoint: Endpoint,
    /// The writes, in their order.
    pub steps: Vec<Step>,
    /// What stops the cluster before the first write.
    pub blockers: Vec<Blocker>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// The credentials that stay as they are.
    pub kept: Vec<KeptCredential>,
}

/// A credential that is current and in all outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCredential {
    /// The grant, by its index in the inventory.
    pub grant: usize,
    /// The generation.
    pub generation: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// When it is due for renewal.
    pub due: Timestamp,
}

impl ClusterPlan {
    /// Returns whether the cluster and its outputs match the inventory.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blockers.is_empty()
    }
}

/// Plans one cluster.
pub fn plan_cluster(input: &PlanInput<'_>) -> ClusterPlan {
    let mut plan = ClusterPlan {
        cluster: input.cluster.clone(),
        cluster_uid: input.observed.uid.clone(),
        endpoint: input.endpoint.clone(),
        steps: vec![],
        blockers: vec![],
        notes: finding::general_notes(input),
        kept: vec![],
    };
    let deletions = objects::plan_objects(input, &mut plan);
    credentials::plan_credentials(input, &mut plan);
    // A ServiceAccount is deleted after its successor's credential is published.
    plan.steps.extend(deletions);
    plan
}

/// Blocks every cluster that another name in the inventory reaches as well.
///
/// Two names for one API server would fight over the same objects. The namespace kube-system
/// exists once in a cluster and its uid never changes.
pub fn block_duplicates(plans: &mut [&mut ClusterPlan]) {
    let mut names: std::collections::BTreeMap<String, Vec<ClusterName>> = std::collections::BTreeMap::new();
    for plan in plans.iter() {
        names.entry(plan.cluster_uid.clone()).or_default().push(plan.cluster.clone());
    }
    for plan in plans {
        let others: Vec<String> = names[&plan.cluster_uid]
            .iter()
            .filter(|name| **name != plan.cluster)
            .map(|name| format!("`{name}`"))
            .collect();
        if !others.is_empty() {
            // Whatever else was found there is a consequence of it, and its hints would mislead.
            plan.blockers = vec![Blocker {
                kind: BlockerKind::SameCluster,
                message: format!("it is the same API server as {}", others.join(", ")),
                hint: Some("keep one of the names in the inventory".to_owned()),
            }];
        }
    }
}

#[cfg(test)]
mod tests;
