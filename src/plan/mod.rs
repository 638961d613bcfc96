//! The plan: what makes a cluster match the inventory, and what prevents that.
//!
//! Start here. [`plan_cluster`] turns the inventory's grants, what was observed in the cluster and what the outputs
//! hold into a [`ClusterPlan`]; `plan` shows that value and `apply` runs it. A plan holds no secret and can be written
//! down. Pure: no I/O, `now` is an argument.

mod assessment;
mod contested;
mod credentials;
mod delivery;
mod finding;
mod identity;
mod objects;
mod policy;
mod preflight;
mod revoke;
mod risk;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::common::Common;
use crate::credential::{Distrust, Reissue, Renewal};
use crate::delivery::ReadPlace;
use crate::desired::DesiredObject;
use crate::failure::StepFailure;
use crate::inventory::{Grant, Inventory};
use crate::kubeconfig::Endpoint;
use crate::names::{ClusterName, Holder, ProfileName};
use crate::observed::ObservedCluster;
use crate::risk::{Risk, RiskClass};
use crate::step::{Remove, Step, StepId};

pub(crate) use assessment::{Assessed, Assessment, Drift, KeptCredential, LegacyToken, Seen};
pub(crate) use contested::{Origin, origins};
pub(crate) use credentials::{SHORTEST_LIFE, shortened_lifetime};
pub(crate) use finding::{Blocker, BlockerKind, Note, NoteKind};
pub(crate) use identity::{Evidence, Identities, block_duplicates};
pub(crate) use policy::{RoleRead, judge_roles, judged_roles};
pub(crate) use preflight::{MissingRights, Probe, ProbeResult, judge_probes, mint_probes, shows_absent};
pub(crate) use revoke::{
    RevokeDepth, RevokeGrant, RevokeInput, RevokeOptions, RevokeTarget, Vanished, doubts, existing_roles,
    plan_revocation, vanished_accounts,
};
pub(crate) use standing::{CredentialState, Newest, Standing};

/// What the user allows.
#[derive(Debug, Clone)]
pub(crate) struct PlanOptions {
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which objects that are not ours may be taken over.
    pub adoption: Adoption,
    /// Whether a living credential that no output here holds may be superseded.
    pub reissue: Reissue,
    /// When a credential is renewed that is otherwise still current.
    pub renewal: Renewal,
    /// What may change.
    pub extent: Extent,
    /// What happens to a suspension that a revocation left.
    pub suspension: Suspension,
    /// How long a claim may stay unpublished.
    pub orphan_after: Duration,
    /// Which classes of risk no step may have.
    pub deny: Vec<RiskClass>,
    /// What happens to what no grant explains.
    pub prune: Prune,
    /// Whether the objects that were read are kept beside the plan, which only saved plans need.
    pub remembers_objects: bool,
}

/// What happens to objects and entries of ours that no grant explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prune {
    /// They are removed.
    Remove,
    /// They are left, with a note.
    Keep,
}

/// What a run may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extent {
    /// ServiceAccounts, RBAC and credentials.
    Access,
    /// Credentials only. Differences of other objects are reported as drift, and a failure of one grant does not stop
    /// the others.
    Credentials,
}

/// What happens after a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFailure {
    /// No other step of the cluster is run, because it may need the failed one.
    Stop,
    /// The others are run, because each takes access away.
    GoOn,
}

/// What happens to a suspension that a revocation left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspension {
    /// It is lifted.
    Lift,
    /// It is left, with a note.
    Keep,
}

/// Which objects that are not ours may be taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// Those that no inventory of kubemint owns.
    pub foreign: bool,
    /// Those of these inventories.
    pub inventories: Vec<String>,
}

impl GrantInput {
    /// Returns the places that hold a credential: all but those of exec plugins.
    pub(crate) fn holding(&self) -> impl Iterator<Item = &ReadPlace> {
        self.outputs.iter().filter(|read| read.format.holds_credential())
    }
}

/// One grant of the cluster that is planned.
#[derive(Debug, Clone)]
pub(crate) struct GrantInput {
    /// The grant.
    pub grant: Arc<Grant>,
    /// The places that its credential goes to.
    pub outputs: Arc<Vec<ReadPlace>>,
    /// The result of using its current credential, if there was a problem.
    pub distrust: Option<Distrust>,
    /// Why a place of it cannot be used, and what that blocks: then nothing is minted for it.
    pub unusable: Option<(BlockerKind, StepFailure)>,
}

/// Everything that planning one cluster looks at.
#[derive(Debug)]
pub(crate) struct PlanInput<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The selected grants on that cluster.
    pub grants: &'a [GrantInput],
    /// What was read from it.
    pub observed: &'a ObservedCluster,
    /// The steps that remove entries of this cluster that nothing explains.
    pub leaving: &'a [Arc<Remove>],
    /// How consumers reach it.
    pub endpoint: &'a Endpoint,
    /// Whether the admin's connection does not check the server's certificate.
    pub is_insecure: bool,
    /// What the user allows.
    pub options: &'a PlanOptions,
    /// The current time, by the cluster's clock.
    pub now: Timestamp,
}

/// Risks, by the steps that have them.
pub(crate) type Risks = BTreeMap<StepId, Arc<Risk>>;

fn is_empty(risks: &Risks) -> bool {
    risks.is_empty()
}

/// What to do in one cluster. It holds no secret, and can be written down and read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ClusterPlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// The uid of the namespace kube-system, which identifies the cluster.
    pub cluster_uid: String,
    /// What may change.
    pub extent: Extent,
    /// What happens after a step that failed.
    pub on_failure: OnFailure,
    /// The writes, in their order.
    #[serde(with = "crate::step::with_ids")]
    pub steps: Vec<Step>,
    /// What the steps do to the access of somebody; those that do nothing to it have none.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub risks: Arc<Risks>,
    /// What stops the cluster before the first write.
    pub blockers: Vec<Blocker>,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// Rights that the admin lacks and would have to hold before it may grant them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_rights: Vec<MissingRights>,
    /// The profiles of which objects or entries are removed, because no grant or no output explains them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub prunes: BTreeSet<ProfileName>,
}

impl ClusterPlan {
    /// Returns a plan of a cluster without anything in it, that changes credentials only.
    pub(crate) fn of_nothing(cluster: &ClusterName, cluster_uid: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            cluster_uid: cluster_uid.to_owned(),
            extent: Extent::Credentials,
            on_failure: OnFailure::GoOn,
            steps: vec![],
            risks: Arc::default(),
            blockers: vec![],
            notes: vec![],
            missing_rights: vec![],
            prunes: BTreeSet::new(),
        }
    }

    /// Takes what other clusters have too from `objects` and `risks`.
    pub(crate) fn share(&mut self, objects: &mut Common<DesiredObject>, risks: &mut Common<Risks>) {
        for step in &mut self.steps {
            if let Step::Create(desired) = step {
                objects.share(desired);
            }
        }
        risks.share(&mut self.risks);
    }

    /// Checks, in debug builds, that each step has a distinct id.
    fn check_ids(&self) {
        let ids: BTreeSet<StepId> = self.steps.iter().map(Step::id).collect();
        debug_assert_eq!(ids.len(), self.steps.len(), "two steps have one id");
    }

    /// Adds a blocker, unless it is there.
    pub(crate) fn block(&mut self, blocker: Blocker) {
        if !self.blockers.contains(&blocker) {
            self.blockers.push(blocker);
        }
    }

    /// Adds notes, unless they are there.
    pub(crate) fn note(&mut self, notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// Returns the step that an id names.
    pub(crate) fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id() == *id)
    }

    /// Returns whether there is nothing to do: the cluster and its outputs match the inventory.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blockers.is_empty()
    }
}

/// Plans one cluster.
pub(crate) fn plan_cluster(input: &PlanInput<'_>) -> Assessed {
    let mut draft = Assessed {
        plan: ClusterPlan {
            notes: finding::general_notes(input),
            extent: input.options.extent,
            on_failure: match input.options.extent {
                // A failed object may be one that the next ones refer to.
                Extent::Access => OnFailure::Stop,
                Extent::Credentials => OnFailure::GoOn,
            },
            ..ClusterPlan::of_nothing(input.cluster, &input.observed.uid)
        },
        assessment: Assessment {
            endpoint: input.endpoint.clone(),
            evidence: Arc::new(Evidence::of(input)),
            as_of: input.now,
            seen: if input.options.remembers_objects { Seen::of(input.observed) } else { vec![] },
            clock_ahead: input.observed.clock_ahead,
            ..Assessment::default()
        },
    };
    let deletions = match input.options.extent {
        Extent::Access => objects::plan_objects(input, &mut draft.plan),
        Extent::Credentials => {
            let drift = objects::find_drift(input, draft.plan.clone());
            draft.plan.notes.extend(finding::drift_note(&drift));
            draft.assessment.drift = drift;
            vec![]
        }
    };
    policy::judge(input, &mut draft.plan);
    credentials::plan_credentials(input, &mut draft);
    let plan = &mut draft.plan;
    // Retiring comes last, so that a generation that cannot be ended does not keep others from being renewed.
    plan.steps.sort_by_key(|step| matches!(step, Step::Retire(_)));
    // A ServiceAccount is deleted only after the credential of its successor is published.
    plan.steps.extend(deletions);
    plan.drop_blocked_steps();
    if input.options.extent == Extent::Access {
        plan.risks = Arc::new(risk::risks(input, &plan.steps));
        plan.blockers.extend(risk::denied(plan, &input.options.deny));
    }
    plan.check_ids();
    // The plans of all clusters are kept until the end of a run.
    plan.steps.shrink_to_fit();
    draft.assessment.standings.shrink_to_fit();
    draft.assessment.kept.shrink_to_fit();
    draft
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! What tests of other modules need.
    use super::*;

    /// Returns a plan of a cluster without anything in it.
    pub(crate) fn empty_plan(cluster: &str, uid: &str) -> ClusterPlan {
        ClusterPlan::of_nothing(&cluster.into(), uid)
    }
}

#[cfg(test)]
mod tests;
