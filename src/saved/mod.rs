//! Saved plans: what was reviewed, in a file, and how it compares with how things are now.
//!
//! A saved plan grants nothing. Whoever applies it plans every cluster again, as of the time of the saved plan, and
//! carries out only what is still the same; so a file that somebody altered is refused like one that is out of date.
//! It holds no secret and no admin access. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::inventory::{Budget, Cluster, Grant};
use crate::kubeconfig::{Endpoint, without_user};
use crate::names::{ClusterName, Holder, InventoryName, ProfileName};
use crate::object::ObjectRef;
use crate::observed::LastChange;
use crate::outcome::Planned;
use crate::plan::{Assessed, Assessment, Blocker, BlockerKind, ClusterPlan, KeptCredential, Seen};
use crate::report::{ClusterReport, ErrorReport};
use crate::risk::RiskClass;
use crate::step::StepId;
use crate::wording::count;

/// The version of the format.
const VERSION: u32 = 1;

/// A plan for a fleet that can be reviewed, and carried out later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// The version of the format.
    #[serde(rename = "kubemint-plan")]
    pub version: u32,
    /// The version of kubemint that made it.
    pub kubemint: String,
    /// When it was made, by that machine's clock.
    pub made: Timestamp,
    /// The inventory.
    pub inventory: InventoryName,
    /// The digest of the inventory's files.
    pub inventory_digest: String,
    /// Who keeps the credentials.
    pub holder: Holder,
    /// Which grants it is about.
    pub selection: SavedSelection,
    /// What it was allowed to do.
    pub policy: SavedPolicy,
    /// The clusters, in the order of the inventory.
    pub clusters: Vec<SavedCluster>,
}

/// Which grants a saved plan is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SavedSelection {
    /// A label selector.
    pub selector: Option<String>,
    /// Names of clusters; none means all.
    pub clusters: Vec<String>,
    /// Names of access profiles; none means all.
    pub profiles: Vec<String>,
    /// Names of waves; none means all.
    pub waves: Vec<String>,
    /// The first wave.
    pub from_wave: Option<String>,
}

/// What a saved plan was allowed to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SavedPolicy {
    /// Whether objects that no inventory of kubemint owns may be taken over.
    pub adopt: bool,
    /// Inventories whose objects may be taken over.
    pub adopt_from: Vec<String>,
    /// Whether a living credential that is held elsewhere may be superseded.
    pub reissue: bool,
    /// Which classes of risk no step may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<RiskClass>,
    /// Whether what no grant explains is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
    /// How many grants may be pruned, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prune: Option<Budget>,
}

/// One cluster of a saved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SavedCluster {
    /// Its name.
    pub name: ClusterName,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// The profiles on it that the plan is about.
    profiles: Vec<ProfileName>,
    /// What was planned; nothing if it could not be.
    planned: Option<SavedAssessment>,
    /// Why it could not be planned.
    error: Option<ErrorReport>,
}

/// What was planned for one cluster, and what that was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SavedAssessment {
    /// When it was planned, by the cluster's clock.
    as_of: Timestamp,
    /// How consumers reach the cluster.
    endpoint: SavedEndpoint,
    /// What to do.
    plan: ClusterPlan,
    /// The credentials that stay as they are.
    kept: Vec<KeptCredential>,
    /// The objects that were read.
    seen: Vec<Seen>,
}

/// How consumers reach a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SavedEndpoint {
    /// The server URL, without user and password.
    server: String,
    /// The digest of everything that consumers are given.
    digest: String,
}

/// Why a file is no saved plan that this program can use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedPlanError {
    /// It is something else.
    #[error("it is no plan that `kubemint plan --out` wrote")]
    Foreign,
    /// Another version of kubemint wrote it.
    #[error("its format has version {0}, and this kubemint knows version {VERSION}")]
    Version(u32),
    /// It was altered, or cut short.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Returns the SHA-256 of a file's bytes, as in `sha256:0123…`; `sha256sum` gives the same.
pub(crate) fn digest(bytes: &[u8]) -> String {
    named(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Returns the digest of the texts of an inventory, in their order.
pub(crate) fn digest_of_texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        // With their lengths, so that no text passes for the end of the one before.
        context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(text.as_bytes());
    }
    named(context.finish().as_ref())
}

fn named(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Returns whether a file is a saved plan, of any version.
pub(crate) fn is_saved_plan(content: &[u8]) -> bool {
    version(content).is_some()
}

fn version(content: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(rename = "kubemint-plan")]
        version: u32,
    }
    serde_json::from_slice::<Versioned>(content).ok().map(|versioned| versioned.version)
}

impl SavedPlan {
    /// Starts a plan that was made at a time from an inventory, still without clusters.
    pub(crate) fn new(made: Timestamp, inventory: InventoryName, inventory_digest: String, holder: Holder) -> Self {
        Self {
            version: VERSION,
            kubemint: env!("CARGO_PKG_VERSION").to_owned(),
            made,
            inventory,
            inventory_digest,
            holder,
            selection: SavedSelection::default(),
            policy: SavedPolicy::default(),
            clusters: vec![],
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it is no plan, or one of another version.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, SavedPlanError> {
        match version(content) {
            None => Err(SavedPlanError::Foreign),
            Some(VERSION) => Ok(serde_json::from_slice(content)?),
            Some(version) => Err(SavedPlanError::Version(version)),
        }
    }

    /// Returns the content of the file.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON; that is a bug.
    pub(crate) fn written(&self) -> serde_json::Result<String> {
        Ok(crate::foreign::json(self)? + "\n")
    }

    /// Returns when each cluster was planned, by its own clock.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&ClusterName, Timestamp)> {
        self.clusters.iter().filter_map(|cluster| Some((&cluster.name, cluster.planned.as_ref()?.as_of)))
    }
}

impl SavedCluster {
    /// Saves what came of planning a cluster.
    pub(crate) fn new<'a>(cluster: &Cluster, grants: impl Iterator<Item = &'a Grant>, planned: &Planned) -> Self {
        let saved = match planned {
            Planned::Plan(assessed) => Some(SavedAssessment::new(assessed)),
            Planned::Failed { .. } | Planned::NotStarted(_) => None,
        };
        Self {
            name: cluster.name.clone(),
            labels: cluster.labels.clone(),
            profiles: grants.map(|grant| grant.profile.name.clone()).collect(),
            planned: saved,
            error: ClusterReport::planned(&cluster.name, planned).error,
        }
    }

    /// Reports what was planned.
    pub(crate) fn report(&self) -> ClusterReport {
        let report = match &self.planned {
            Some(saved) => ClusterReport::planned(&self.name, &Planned::Plan(Arc::new(saved.assessed()))),
            None => ClusterReport::unplanned(&self.name, self.error.clone()),
        };
        ClusterReport { labels: self.labels.clone(), profiles: self.profiles.clone(), ..report }
    }

    /// Returns why what was reviewed must not be carried out, because `now` another plan would be made; nothing if the
    /// same plan would be made, or nothing is left to do.
    pub(crate) fn moved(&self, now: &Assessed) -> Option<Blocker> {
        if now.plan.is_empty() {
            return None;
        }
        let Some(saved) = &self.planned else {
            return Some(Blocker {
                kind: BlockerKind::NotInPlan,
                profile: None,
                message: "the saved plan holds nothing for it, because it could not be read when the plan was made"
                    .to_owned(),
                hint: Some("plan it anew with `--replan`".to_owned()),
            });
        };
        let what = saved.differences(now);
        (!what.is_empty()).then(|| Blocker {
            kind: BlockerKind::StateMoved,
            profile: None,
            message: format!("it is not as it was when the plan was made: {}", what.join("; ")),
            hint: Some("look at `kubemint plan`, or plan it anew with `--replan`".to_owned()),
        })
    }
}

impl SavedAssessment {
    fn new(Assessed { plan, assessment }: &Assessed) -> Self {
        Self {
            as_of: assessment.as_of,
            endpoint: SavedEndpoint::new(&assessment.endpoint),
            plan: plan.clone(),
            kept: assessment.kept.clone(),
            seen: assessment.seen.iter().map(|seen| Seen { changed: None, ..seen.clone() }).collect(),
        }
    }

    fn assessed(&self) -> Assessed {
        let assessment = Assessment { kept: self.kept.clone(), as_of: self.as_of, ..Assessment::default() };
        Assessed { plan: self.plan.clone(), assessment }
    }

    /// Says in which way `now` is not what was reviewed.
    fn differences(&self, now: &Assessed) -> Vec<String> {
        /// More would not be read.
        const NAMED: usize = 5;
        if self.plan.cluster_uid != now.plan.cluster_uid {
            return vec!["it is another cluster: its namespace kube-system has another uid".to_owned()];
        }
        let endpoint = SavedEndpoint::new(&now.assessment.endpoint);
        let mut what = vec![];
        if self.endpoint != endpoint {
            what.push(if self.endpoint.server == endpoint.server {
                format!("consumers would reach `{}` in another way", endpoint.server)
            } else {
                format!("consumers would be given server `{}` instead of `{}`", endpoint.server, self.endpoint.server)
            });
        }
        if !self.plan.blockers.is_empty() && now.plan.blockers.is_empty() {
            what.push("it was blocked, and is not any more".to_owned());
        }
        if self.plan.steps != now.plan.steps || self.plan.risks != now.plan.risks {
            let mut objects = moved_objects(&self.seen, &now.assessment.seen);
            if objects.is_empty() {
                objects = moved_steps(&self.plan, &now.plan);
            }
            let more = objects.len().saturating_sub(NAMED);
            objects.truncate(NAMED);
            what.extend(objects);
            if more > 0 {
                what.push(format!("and {}", count(more, "more difference")));
            }
        }
        what
    }
}

/// Says which objects are not as they were, and who changed them last.
fn moved_objects(then: &[Seen], now: &[Seen]) -> Vec<String> {
    let by = |seen: &Seen| seen.changed.as_ref().map(LastChange::to_string).unwrap_or_default();
    let then: BTreeMap<&ObjectRef, &Seen> = then.iter().map(|seen| (&seen.object, seen)).collect();
    let known: BTreeSet<&ObjectRef> = now.iter().map(|seen| &seen.object).collect();
    let gone = then.keys().filter(|object| !known.contains(*object)).map(|object| format!("{object} is gone"));
    let others = now.iter().filter_map(|seen| {
        let object = &seen.object;
        match then.get(object) {
            None => Some(format!("{object} was created{}", by(seen))),
            Some(before) if before.uid != seen.uid => Some(format!("{object} was made anew{}", by(seen))),
            Some(before) if before.resource_version != seen.resource_version => {
                Some(format!("{object} was changed{}", by(seen)))
            }
            Some(_) => None,
        }
    });
    gone.chain(others).collect()
}

/// Says which steps are no longer the same, where no object tells why: an output changed.
fn moved_steps(then: &ClusterPlan, now: &ClusterPlan) -> Vec<String> {
    let ids = |plan: &ClusterPlan| -> BTreeSet<StepId> { plan.steps.iter().map(crate::step::Step::id).collect() };
    let (before, after) = (ids(then), ids(now));
    let gone = before.difference(&after).filter_map(|id| then.step(id)).map(|step| format!("no longer: {step}"));
    let new = after.difference(&before).filter_map(|id| now.step(id)).map(|step| format!("now also: {step}"));
    let same = before.intersection(&after).filter(|id| then.step(id) != now.step(id));
    let changed = same.filter_map(|id| now.step(id)).map(|step| format!("now in another way: {step}"));
    // The rules of an existing role are no part of a step that binds it.
    let risk = |id: &&StepId| then.step(id) == now.step(id) && then.risks.get(*id) != now.risks.get(*id);
    let risky = before.intersection(&after).filter(risk).filter_map(|id| now.step(id));
    gone.chain(new).chain(changed).chain(risky.map(|step| format!("now with other rights: {step}"))).collect()
}

impl SavedEndpoint {
    fn new(endpoint: &Endpoint) -> Self {
        let Endpoint { server, certificate_authority, tls_server_name, proxy_url, cluster_uid: _ } = endpoint;
        let server = without_user(server);
        let parts = serde_json::json!({
            "server": server,
            "certificate-authority": certificate_authority.as_deref(),
            "tls-server-name": tls_server_name,
            // Not even a digest of a proxy's password leaves.
            "proxy-url": proxy_url.as_deref().map(without_user),
        });
        Self { digest: digest(parts.to_string().as_bytes()), server }
    }
}

#[cfg(test)]
mod tests;
