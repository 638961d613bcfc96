//! A step: one write to a cluster, with everything needed to run it but for secrets.
//!
//! The executor makes no decision about *what* to do; if it had to, a field would be missing here. Tokens are named by
//! the places that hold them, so that a plan can be written down. Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::{Generation, Index, MintReason, Spent, Suspended};
use crate::delivery::{Delivery, Removal, SecretPlace, Source};
use crate::desired::DesiredObject;
use crate::field_diff::FieldDiff;
use crate::inventory::GrantKey;
use crate::kubeconfig::Mark;
use crate::names::{DEFAULT_HOLDER, Holder, InventoryName, ProfileName};
use crate::object::ObjectRef;

/// One write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Creates an object that does not exist.
    Create(Arc<DesiredObject>),
    /// Makes an existing object right.
    Update(Box<Update>),
    /// Deletes an object of ours.
    Delete(Box<Delete>),
    /// Mints a new generation and publishes it.
    Mint(Box<Mint>),
    /// Writes a living credential to the outputs that lack it.
    #[serde(rename = "write")]
    Publish(Box<Publish>),
    /// Creates the standing anchor that the tokens of exec plugins are bound to.
    #[serde(rename = "anchor")]
    ExecAnchor(Box<ExecAnchor>),
    /// Writes the entries of exec plugins.
    #[serde(rename = "link")]
    Plugin(Box<Plugin>),
    /// Deletes generations that nobody needs any more.
    Retire(Box<Retire>),
    /// Revokes living generations.
    Revoke(Box<Revoke>),
    /// Deletes a ServiceAccount and makes it anew, which kills every token for it.
    Recreate(Box<Recreate>),
    /// Lifts the suspension that a revocation left.
    Resume(Box<Resume>),
    /// Removes entries of ours from output files.
    Remove(Arc<Remove>),
}

/// Makes an existing object right by server-side apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Update {
    /// What it should be.
    pub desired: DesiredObject,
    /// The uid of the object that was read.
    pub uid: String,
    /// Its resourceVersion: whoever changed it meanwhile is not overruled unseen.
    pub resource_version: String,
    /// What changes.
    pub changes: Vec<FieldDiff>,
    /// The field managers whose values are replaced.
    pub overrules: Vec<String>,
    /// Whose the object was before, if it is adopted.
    pub adopts: Option<String>,
}

/// Deletes an object of ours, if it still is the one that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Delete {
    /// The object.
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion: whoever changed it meanwhile may have taken it over. Without it, the uid
    /// alone decides.
    pub resource_version: Option<String>,
    /// What it said, as the lines of a diff.
    pub removed: Vec<String>,
}

/// Mints a generation: claim, anchor, token, proof, outputs, record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Mint {
    /// The grant.
    pub grant: GrantKey,
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
    /// The number of the generation.
    pub generation: u64,
    /// Why it is minted.
    pub reason: MintReason,
    /// The requested lifetime in seconds.
    pub ttl_seconds: u64,
    /// When the grant ends, which the token must not outlive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The requested audiences.
    pub audiences: Vec<String>,
    /// The fingerprint of the token policy.
    pub policy: String,
    /// Generations that leave the index, and whose anchors are deleted: dead and superseded ones, and
    /// claims that were never published.
    pub spent: Vec<Spent>,
    /// What is written.
    pub delivery: Delivery,
}

/// Hands a living credential on to the outputs that lack it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Publish {
    /// The grant.
    pub grant: GrantKey,
    /// The places that hold the credential; where they disagree, the first that works counts.
    pub from: Vec<Source>,
    /// What is written.
    pub delivery: Delivery,
    /// The ServiceAccount and the claim in its index that is not recorded as published.
    pub record: Option<(ObjectRef, Generation)>,
}

/// Creates the standing anchor that the tokens of exec plugins are bound to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ExecAnchor {
    /// The profile.
    pub profile: ProfileName,
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
}

/// Writes the entries of exec plugins, which hold no credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Plugin {
    /// The grant.
    pub grant: GrantKey,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
    /// What its plugins ask for, if they mint: such a token is tried before the entries are written.
    pub tried: Option<TriedToken>,
    /// What is written.
    pub delivery: Delivery,
}

/// What an exec plugin will ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TriedToken {
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The audiences.
    pub audiences: Vec<String>,
}

/// Deletes generations that nobody needs any more: their anchors, then their lines in the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Retire {
    /// The profile.
    pub profile: ProfileName,
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
    /// The generations that go.
    pub generations: Vec<Spent>,
    /// Whether the clocks disagree: then the API server is asked for its own time before anything is ended by it.
    pub asks_for_time: bool,
    /// The one that supersedes them: without it in the index, nothing is deleted.
    pub keep: u64,
}

/// Revokes generations: a fence in the index, their anchors, their lines in the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Revoke {
    /// The profile.
    pub profile: ProfileName,
    /// The inventory.
    pub inventory: InventoryName,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// What dies.
    pub victims: Victims,
    /// Generations of the holder that outputs hold: they die too where all of the holder do.
    pub held: Vec<u64>,
    /// Whom it suspends; nobody if what is current lives on.
    pub suspends: Option<Suspended>,
    /// What dies, as it was when it was planned, in words.
    pub shown: Vec<String>,
    /// Whether the run waits until API servers refuse what was revoked.
    pub awaits: bool,
    /// Places with tokens that die: these are tried until they are refused.
    pub awaited: Vec<Source>,
}

/// Which generations a revocation is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Victims {
    /// Some of one holder.
    Generations {
        /// The holder.
        holder: Holder,
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// All of one holder, those that are claimed meanwhile included.
    Holder(Holder),
    /// All of every holder.
    Everybody,
}

/// Deletes a ServiceAccount and makes it anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Recreate {
    /// The profile.
    pub profile: ProfileName,
    /// The ServiceAccount as it should be.
    pub account: DesiredObject,
    /// The uid of the one that is deleted; nothing if an earlier run deleted it and got no further.
    pub uid: Option<String>,
    /// Whom the revocation suspends.
    pub suspends: Suspended,
    /// Whether to wait until API servers have forgotten what they accepted.
    pub awaits: bool,
}

/// Lifts the suspension that a revocation left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Resume {
    /// The profile.
    pub profile: ProfileName,
    /// The inventory.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The ServiceAccount.
    pub service_account: ObjectRef,
}

/// Removes what outputs hold of a grant, where it still carries its mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Remove {
    /// The inventory.
    pub inventory: InventoryName,
    /// The grant, which the inventory may not have any more.
    pub grant: GrantKey,
    /// Why they go.
    pub reason: RemoveReason,
    /// What goes, place by place.
    pub removals: Vec<Removal>,
}

/// Why entries of ours are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RemoveReason {
    /// The inventory has no such grant.
    NoGrant,
    /// The grant goes elsewhere, or under other names.
    NoOutput,
    /// The access of the grant ends.
    AccessEnds,
    /// The cluster is gone for good.
    ClusterGone,
}

impl RemoveReason {
    /// Returns the reason as reports show it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoGrant => "no grant",
            Self::NoOutput => "no output names them",
            Self::AccessEnds => "access ends",
            Self::ClusterGone => "cluster is gone",
        }
    }
}

impl Remove {
    /// Returns the Secrets that go.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretPlace> {
        self.removals.iter().filter_map(|removal| match removal {
            Removal::Secret(place) => Some(place),
            Removal::Entries(_) | Removal::TokenFile(_) => None,
        })
    }

    /// Returns the mark of what goes. Whoever holds the grant, what is removed is of it.
    pub(crate) fn mark(&self) -> Mark {
        Mark::of(&self.inventory, &Holder::new(DEFAULT_HOLDER), &self.grant)
    }
}

impl Recreate {
    /// Returns the index of the new ServiceAccount where the old one's cannot be read.
    pub(crate) fn index_if_lost(&self) -> Index {
        Index::default().suspend(&self.suspends)
    }
}

/// Names a step in its cluster's plan: what is done, and to what. No two steps of a plan have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StepId(String);

impl From<&str> for StepId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// Writes steps down with their ids, and takes none whose id is not its own.
pub(crate) mod with_ids {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Step, StepId};

    #[derive(Serialize, Deserialize)]
    struct WithId<S> {
        id: StepId,
        #[serde(flatten)]
        step: S,
    }

    /// Writes steps.
    pub(crate) fn serialize<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(steps.iter().map(|step| WithId { id: step.id(), step }))
    }

    /// Reads steps.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
        let steps = Vec::<WithId<Step>>::deserialize(deserializer)?;
        let check = |WithId { id, step }: WithId<Step>| {
            if step.id() == id { Ok(step) } else { Err(D::Error::custom(format!("a step has another id than {id:?}"))) }
        };
        steps.into_iter().map(check).collect()
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// An object is created.
    Create,
    /// An object is made right.
    Update,
    /// An object of somebody else's is taken over.
    Adopt,
    /// An object of ours is deleted.
    Delete,
    /// A credential is minted and written to the outputs.
    Mint,
    /// A living credential is written to outputs that lack it.
    Write,
    /// The standing anchor of exec plugins is created.
    Anchor,
    /// Entries of exec plugins, which hold no credential, are written.
    Link,
    /// Generations that nobody needs any more are deleted.
    Retire,
    /// Living generations are revoked.
    Revoke,
    /// A ServiceAccount is deleted and made anew.
    Recreate,
    /// A suspension is lifted.
    Resume,
    /// Entries of ours are removed from outputs.
    Remove,
}

impl Action {
    /// Returns what is done, as messages and reports say it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Create | Self::Anchor => "create",
            Self::Update => "update",
            Self::Adopt => "adopt",
            Self::Delete => "delete",
            Self::Mint => "mint",
            Self::Write | Self::Link => "write",
            Self::Retire => "retire",
            Self::Revoke => "revoke",
            Self::Recreate => "recreate",
            Self::Resume => "resume",
            Self::Remove => "remove",
        }
    }

    /// Returns what it is done to, as messages and reports say it: an object, or something of a profile.
    pub(crate) fn subject(self, object: Option<&ObjectRef>, profile: &str) -> String {
        match (self, object) {
            (_, Some(object)) => object.to_string(),
            (Self::Mint, None) => format!("token for `{profile}`"),
            (Self::Retire | Self::Revoke, None) => format!("tokens of `{profile}`"),
            (Self::Resume, None) => format!("issuing for `{profile}`"),
            (Self::Anchor, None) => format!("anchor of exec plugins for `{profile}`"),
            (Self::Remove, None) => format!("entries of `{profile}`"),
            (Self::Link, None) => format!("kubeconfig with an exec plugin for `{profile}`"),
            (_, None) => format!("outputs of `{profile}`"),
        }
    }
}

impl Step {
    /// Returns what the step does.
    pub(crate) fn action(&self) -> Action {
        match self {
            Self::Create(_) => Action::Create,
            Self::Update(update) if update.adopts.is_some() => Action::Adopt,
            Self::Update(_) => Action::Update,
            Self::Delete(_) => Action::Delete,
            Self::Mint(_) => Action::Mint,
            Self::Publish(_) => Action::Write,
            Self::ExecAnchor(_) => Action::Anchor,
            Self::Plugin(_) => Action::Link,
            Self::Retire(_) => Action::Retire,
            Self::Revoke(_) => Action::Revoke,
            Self::Recreate(_) => Action::Recreate,
            Self::Resume(_) => Action::Resume,
            Self::Remove(_) => Action::Remove,
        }
    }

    /// Returns the object that the step writes, if it is not about credentials.
    pub(crate) fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::Create(desired) => Some(&desired.object),
            Self::Update(update) => Some(&update.desired.object),
            Self::Delete(delete) => Some(&delete.object),
            Self::Recreate(recreate) => Some(&recreate.account.object),
            _ => None,
        }
    }

    /// Returns what names the step.
    pub(crate) fn id(&self) -> StepId {
        let (what, of) = match self {
            Self::Create(desired) => ("create", desired.object.path()),
            Self::Update(update) => ("update", update.desired.object.path()),
            Self::Delete(delete) => ("delete", delete.object.path()),
            Self::Recreate(recreate) => ("recreate", recreate.account.object.path()),
            Self::Mint(mint) => ("mint", mint.service_account.path()),
            Self::Publish(publish) => ("write", publish.grant.profile.to_string()),
            Self::ExecAnchor(anchor) => ("anchor", anchor.service_account.path()),
            Self::Plugin(plugin) => ("link", plugin.service_account.path()),
            Self::Retire(retire) => ("retire", retire.service_account.path()),
            Self::Revoke(revoke) => ("revoke", revoke.service_account.path()),
            Self::Resume(resume) => ("resume", resume.service_account.path()),
            Self::Remove(remove) => ("remove", remove.grant.profile.to_string()),
        };
        StepId(format!("{what} {of}"))
    }

    /// Returns the grant whose credential the step writes to outputs.
    pub(crate) fn grant(&self) -> Option<&GrantKey> {
        match self {
            Self::Mint(mint) => Some(&mint.grant),
            Self::Publish(publish) => Some(&publish.grant),
            Self::Plugin(plugin) => Some(&plugin.grant),
            _ => None,
        }
    }

    /// Returns what the step writes to outputs.
    pub(crate) fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Mint(mint) => Some(&mint.delivery),
            Self::Publish(publish) => Some(&publish.delivery),
            Self::Plugin(plugin) => Some(&plugin.delivery),
            _ => None,
        }
    }

    /// Returns the places with credentials that the step uses.
    pub(crate) fn sources(&self) -> &[Source] {
        match self {
            Self::Publish(publish) => &publish.from,
            Self::Revoke(revoke) => &revoke.awaited,
            _ => &[],
        }
    }

    /// Returns the profile that the step is for; an object may serve several, or all.
    pub(crate) fn profile(&self) -> Option<&ProfileName> {
        match self {
            Self::Create(desired) => desired.profile.as_ref(),
            Self::Update(update) => update.desired.profile.as_ref(),
            Self::Delete(_) => None,
            Self::Mint(mint) => Some(&mint.grant.profile),
            Self::Publish(publish) => Some(&publish.grant.profile),
            Self::ExecAnchor(anchor) => Some(&anchor.profile),
            Self::Plugin(plugin) => Some(&plugin.grant.profile),
            Self::Retire(retire) => Some(&retire.profile),
            Self::Revoke(revoke) => Some(&revoke.profile),
            Self::Recreate(recreate) => Some(&recreate.profile),
            Self::Resume(resume) => Some(&resume.profile),
            Self::Remove(remove) => Some(&remove.grant.profile),
        }
    }

    /// Returns the generations that the step ends, where the plan names them.
    pub(crate) fn ends(&self) -> Vec<u64> {
        match self {
            Self::Mint(mint) => mint.spent.iter().map(|spent| spent.n).collect(),
            Self::Retire(retire) => retire.generations.iter().map(|spent| spent.n).collect(),
            Self::Revoke(revoke) => match &revoke.victims {
                Victims::Generations { numbers, .. } => numbers.clone(),
                Victims::Holder(_) | Victims::Everybody => vec![],
            },
            _ => vec![],
        }
    }

    /// Returns whether the step issues credentials or ends them, rather than making objects right.
    pub(crate) fn is_about_credentials(&self) -> bool {
        !matches!(self, Self::Create(_) | Self::Update(_) | Self::Delete(_))
    }
}

/// Shows as ``create ClusterRole `…` ``, the form of messages.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, profile) = (self.action(), self.profile().map_or("", ProfileName::as_str));
        write!(f, "{} {}", action.verb(), action.subject(self.object(), profile))
    }
}
