//! The plan: what makes a cluster match the inventory, and what stands in the way.
//!
//! Start here. [`plan_cluster`] turns the inventory's grants, what was observed in the cluster and
//! what the outputs hold into a [`ClusterPlan`]; `plan` shows that value and `apply` runs it. Pure:
//! no I/O, `now` is an argument.

mod credentials;
mod delivery;
mod finding;
mod identity;
mod objects;
mod preflight;
mod revoke;
mod standing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::credential::{Credential, Distrust, Reissue, Renewal};
use crate::failure::StepFailure;
use crate::inventory::{Grant, GrantKey, Inventory};
use crate::kubeconfig::{Endpoint, EntryNames, EntryState, Held, UserForm};
use crate::names::{ClusterName, Holder, ProfileName};
use crate::object::ObjectRef;
use crate::observed::ObservedCluster;
use crate::step::{Step, StepId};

pub(crate) use credentials::shortened_lifetime;
pub use finding::{Blocker, BlockerKind, Note, NoteKind};
pub use identity::{Evidence, Identities, block_duplicates};
pub use preflight::{Probe, ProbeResult, assess, mint_probes};
pub use revoke::{
    OurAccount, RevokeDepth, RevokeGrant, RevokeInput, RevokeOptions, RevokeTarget, Vanished, doubts, existing_roles,
    plan_revocation, vanished_accounts,
};
pub use standing::{CredentialState, Newest, Standing};

/// What the user allows.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which objects that are not ours may be taken over.
    pub adoption: Adoption,
    /// Whether a living credential that no output here holds may be superseded.
    pub reissue: Reissue,
    /// When credentials are renewed that would still be current.
    pub renewal: Renewal,
    /// What may change.
    pub scope: Scope,
    /// What happens to a suspension that a revocation left.
    pub suspension: Suspension,
    /// How long a claim may stay unpublished.
    pub orphan_after: Duration,
}

/// What a run may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// ServiceAccounts, RBAC and credentials.
    Access,
    /// Credentials only: that other objects differ is drift, and each grant stands for itself.
    Credentials,
}

/// What happens after a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// No other step of the cluster is run: it may need what failed.
    Stop,
    /// The others are run: each takes access away.
    GoOn,
}

/// What happens to a suspension that a revocation left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// It is lifted.
    Lift,
    /// It is left, with a note.
    Keep,
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
    /// The file.
    pub path: PathBuf,
    /// The names of the entries.
    pub names: EntryNames,
    /// What the file holds under these names.
    pub state: EntryState,
    /// Whether that lost its mark, and is taken for ours all the same.
    pub is_taken_back: bool,
}

impl OutputSlot {
    /// Returns the entries of ours that are there.
    pub fn held(&self) -> Option<&Held> {
        match &self.state {
            EntryState::Ours(held) => Some(held),
            EntryState::Absent | EntryState::Foreign { .. } => None,
        }
    }
}

impl GrantInput {
    /// Returns the places that hold a credential: all but those of exec plugins.
    pub fn holding(&self) -> impl Iterator<Item = &OutputSlot> {
        self.outputs.iter().filter(|slot| !matches!(slot.names.form, UserForm::Exec(_)))
    }
}

/// One grant of the cluster that is planned.
#[derive(Debug, Clone)]
pub struct GrantInput {
    /// The grant.
    pub grant: Arc<Grant>,
    /// Its places in the output files.
    pub outputs: Vec<OutputSlot>,
    /// What using its current credential showed, if it was used.
    pub distrust: Option<Distrust>,
    /// Why a place of it cannot be used: then nothing is minted for it.
    pub unusable: Option<StepFailure>,
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
    /// The current time, by the cluster's clock.
    pub now: Timestamp,
}

/// What to do in one cluster.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// The uid of the namespace kube-system, which identifies the cluster.
    pub cluster_uid: String,
    /// What tells it from one that copies this uid.
    pub evidence: Evidence,
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
    /// Seconds that the cluster's clock, which all times here are by, is ahead of this machine's.
    pub clock_ahead: i64,
    /// What may change.
    pub scope: Scope,
    /// What happens after a step that failed.
    pub on_failure: OnFailure,
    /// What differs from the inventory and is left, where only credentials may change.
    pub drift: Vec<Drift>,
    /// How the credentials stand.
    pub standings: Vec<Standing>,
    /// Tokens that never expire, if they were asked for.
    pub legacy: Vec<LegacyToken>,
}

/// A Secret with a token for a ServiceAccount of ours that never expires, made by whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyToken {
    /// The grant.
    pub grant: GrantKey,
    /// The Secret.
    pub secret: ObjectRef,
    /// When it was created.
    pub created: Option<String>,
    /// The day on which it was last used, as the API server notes it.
    pub last_used: Option<String>,
    /// Since when the API server refuses it, because nobody used it for long.
    pub invalid_since: Option<String>,
}

/// An object that differs from the inventory and is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The profile that it serves, if it serves one.
    pub profile: Option<ProfileName>,
    /// What an apply would do about it.
    pub what: String,
}

/// A credential that is current and in all outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCredential {
    /// The grant.
    pub grant: GrantKey,
    /// The generation.
    pub generation: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// When it is due for renewal.
    pub due: Timestamp,
    /// Older generations that still live.
    pub superseded: Vec<u64>,
    /// When they can be retired, if nothing but time is missing.
    pub retire_at: Option<Timestamp>,
}

impl ClusterPlan {
    /// Checks, in builds for tests, that each step has an id of its own.
    fn check_ids(&self) {
        let ids: BTreeSet<StepId> = self.steps.iter().map(Step::id).collect();
        debug_assert_eq!(ids.len(), self.steps.len(), "two steps have one id");
    }

    /// Returns the step that an id names.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id() == *id)
    }

    /// Returns whether the cluster and its outputs match the inventory.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blockers.is_empty()
    }

    /// Returns the credential of a grant that the plan relies on, from the outputs that hold it.
    pub fn credential_to_try(&self, grant: &GrantInput) -> Option<Credential> {
        let handed_on = self.steps.iter().find_map(|step| match step {
            Step::Publish(publish) if grant.grant.is(&publish.grant) => publish.candidates.first().cloned(),
            _ => None,
        });
        let kept = self.kept.iter().find(|kept| grant.grant.is(&kept.grant));
        handed_on.or_else(|| {
            let mut held = grant.holding().filter_map(|slot| slot.held()?.publishable());
            held.find(|credential| Some(credential.facts.generation) == kept.map(|kept| kept.generation))
        })
    }
}

/// Plans one cluster.
pub fn plan_cluster(input: &PlanInput<'_>) -> ClusterPlan {
    let mut plan = ClusterPlan {
        evidence: Evidence::of(input),
        notes: finding::general_notes(input),
        scope: input.options.scope,
        on_failure: match input.options.scope {
            // Objects refer to each other.
            Scope::Access => OnFailure::Stop,
            Scope::Credentials => OnFailure::GoOn,
        },
        ..ClusterPlan::of_nothing(input.cluster, input.observed, input.endpoint)
    };
    let deletions = match input.options.scope {
        Scope::Access => objects::plan_objects(input, &mut plan),
        Scope::Credentials => {
            plan.drift = objects::find_drift(input, plan.clone());
            plan.notes.extend(finding::drift_note(&plan.drift));
            vec![]
        }
    };
    credentials::plan_credentials(input, &mut plan);
    plan.drop_blocked_steps();
    // What cannot be ended keeps nothing from being renewed.
    plan.steps.sort_by_key(|step| matches!(step, Step::Retire(_)));
    // A ServiceAccount is deleted after its successor's credential is published.
    plan.steps.extend(deletions);
    plan.check_ids();
    plan
}

impl ClusterPlan {
    /// Returns a plan of a cluster without anything in it.
    fn of_nothing(cluster: &ClusterName, observed: &ObservedCluster, endpoint: &Endpoint) -> Self {
        Self {
            cluster: cluster.clone(),
            cluster_uid: observed.uid.clone(),
            evidence: Evidence::default(),
            endpoint: endpoint.clone(),
            steps: vec![],
            blockers: vec![],
            notes: vec![],
            kept: vec![],
            clock_ahead: observed.clock_ahead,
            scope: Scope::Credentials,
            on_failure: OnFailure::GoOn,
            drift: vec![],
            standings: vec![],
            legacy: vec![],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! What tests of other modules need.
    use super::*;

    /// Returns a plan of a cluster without anything in it.
    pub(crate) fn empty_plan(cluster: &str, uid: &str) -> ClusterPlan {
        let observed = ObservedCluster { uid: uid.to_owned(), ..ObservedCluster::default() };
        ClusterPlan::of_nothing(&cluster.into(), &observed, &Endpoint::default())
    }
}

#[cfg(test)]
mod tests;
