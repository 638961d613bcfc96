//! What planning found beside what to do: how things stand, for `status`, reports and the next run.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClusterPlan, Evidence, GrantInput, Standing};
use crate::credential::Credential;
use crate::inventory::GrantKey;
use crate::kubeconfig::Endpoint;
use crate::names::ProfileName;
use crate::object::ObjectRef;
use crate::observed::{LastChange, ObservedCluster};
use crate::step::Step;

/// The result of planning one cluster: what to do, and how things stand.
#[derive(Debug, Clone)]
pub(crate) struct Assessed {
    /// What to do.
    pub plan: ClusterPlan,
    /// How things stand.
    pub assessment: Assessment,
}

/// How things stand in one cluster and its outputs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assessment {
    /// How consumers reach the cluster: what is written for them, and where their credentials are proven. It may hold the
    /// password of a proxy, so it is no part of the plan.
    pub endpoint: Endpoint,
    /// What tells the cluster from one that copies its uid.
    pub evidence: Arc<Evidence>,
    /// How the credentials stand.
    pub standings: Vec<Standing>,
    /// The credentials that stay as they are.
    pub kept: Vec<KeptCredential>,
    /// Differences from the inventory that this run leaves, because it changes credentials only.
    pub drift: Vec<Drift>,
    /// Tokens that never expire, if they were asked for.
    pub legacy: Vec<LegacyToken>,
    /// The time that was taken for now, by the cluster's clock.
    pub as_of: Timestamp,
    /// The objects that were read, if they are kept.
    pub seen: Vec<Seen>,
    /// How many seconds the cluster's clock is ahead of this machine's. All times here are by the cluster's clock.
    pub clock_ahead: i64,
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Seen {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Who changed it last.
    #[serde(skip)]
    pub changed: Option<LastChange>,
}

impl Seen {
    /// Returns what was read from a cluster.
    pub(super) fn of(observed: &ObservedCluster) -> Vec<Self> {
        let seen = observed.objects.iter().map(|(object, observed)| Self {
            object: object.clone(),
            uid: observed.uid.clone(),
            resource_version: observed.resource_version.clone(),
            changed: observed.changed.clone(),
        });
        seen.collect()
    }
}

/// A Secret, whoever made it, with a token for a ServiceAccount of ours that never expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyToken {
    /// The grant.
    pub grant: GrantKey,
    /// The Secret.
    pub secret: ObjectRef,
    /// When it was created.
    pub created: Option<String>,
    /// The day of its last use, as the API server recorded it.
    pub last_used: Option<String>,
    /// Since when the API server refuses it, because it was not used for long.
    pub invalid_since: Option<String>,
}

/// An object that differs from the inventory, which this run leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    /// The profile that it belongs to, if any.
    pub profile: Option<ProfileName>,
    /// What an apply would do about it.
    pub what: String,
}

/// A credential that is current and in all outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct KeptCredential {
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
    /// When they can be retired, if all outputs hold the current one.
    pub retire_at: Option<Timestamp>,
}

impl Assessed {
    /// Returns the credential of a grant that the plan keeps, from the places that hold it.
    pub(crate) fn credential_to_try(&self, grant: &GrantInput) -> Option<Credential> {
        let key = grant.grant.key();
        let handed_on = self.plan.steps.iter().find_map(|step| match step {
            Step::Publish(publish) if publish.grant == key => publish.from.first(),
            _ => None,
        });
        if let Some(source) = handed_on {
            return grant.holding().find(|read| read.place == source.place)?.credential();
        }
        let kept = self.assessment.kept.iter().find(|kept| kept.grant == key)?;
        let mut held = grant.holding().filter_map(|read| read.held()?.credential());
        held.find(|credential| credential.facts.generation == kept.generation)
    }
}
