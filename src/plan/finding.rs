//! Blockers and notes: what a plan found that is no step.
//!
//! Pure: no I/O, no clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Drift, PlanInput};
use crate::inventory::{VerifyVia, syntax, wildcards};
use crate::names::ProfileName;
use crate::observed::TOLERATED_SECONDS;

/// Something that stops a cluster before the first write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Blocker {
    /// What it is, for programs.
    pub kind: BlockerKind,
    /// The profile whose credential it is about. The cluster's other credentials can be renewed nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What it is, in words; the cluster is named by the context.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of blockers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BlockerKind {
    /// Another name in the inventory reaches the same API server.
    SameCluster,
    /// An object of that name is not ours.
    ForeignObject,
    /// An object, or its namespace, is being deleted.
    BeingDeleted,
    /// A namespace does not exist and may not be created.
    MissingNamespace,
    /// A role that is bound does not exist, and the profile does not allow that.
    MissingRole,
    /// The admin may not grant rights that it lacks.
    Escalation,
    /// The admin may not write an object or mint a token.
    MissingRight,
    /// The API server refuses an object for another reason.
    Refused,
    /// The index of generations cannot be used.
    UnusableIndex,
    /// A living credential is held elsewhere.
    CredentialHeldElsewhere,
    /// The ServiceAccount does not exist, or is not ours.
    NotProvisioned,
    /// The generation that should be revoked does not exist.
    NoSuchGeneration,
    /// A file that a credential goes to cannot be read or written.
    OutputUnusable,
    /// A hub does not respond, or refuses a Secret. It stops the grants that deliver there, and nothing else.
    HubUnusable,
    /// An entry of that name in an output is not ours.
    ForeignEntry,
    /// The cluster or its outputs are not as they were when a saved plan was made.
    StateMoved,
    /// A saved plan holds nothing for the cluster.
    NotInPlan,
    /// The policy of the inventory refuses it.
    Policy,
    /// This run must not have a step of that class.
    Denied,
    /// More would be pruned than may be.
    PruneCeiling,
    /// What would be removed or written is on another API server than the outputs know.
    AnotherServer,
}

/// Something the user should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Note {
    /// What it is, for programs.
    pub kind: NoteKind,
    /// What it is, in words.
    pub message: String,
}

/// Kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NoteKind {
    /// A profile has rules with wildcards.
    Wildcard,
    /// A profile's ServiceAccount lives in kube-system.
    SystemNamespace,
    /// Objects of grants that are no longer in the inventory.
    VanishedGrants,
    /// An object that is not changed because an annotation of it says so.
    LeftAlone,
    /// The dry run of a write was not possible.
    NotChecked,
    /// The admin may read, but not write.
    ReadOnly,
    /// The API server shortens lifetimes.
    ShortenedLifetime,
    /// The admin's connection does not check the server's certificate.
    Insecure,
    /// Only pods can reach the server that consumers are given.
    PodsOnly,
    /// Credentials are not proven at the consumer endpoint.
    VerifiedAtAdmin,
    /// The clocks differ.
    ClockSkew,
    /// A claim of another run has not been published yet.
    ClaimInFlight,
    /// No output holds the credential of a grant.
    NoOutput,
    /// Objects differ from the inventory, and this run does not change them.
    Drift,
    /// A revocation suspended issuing, and this run does not lift that.
    Suspended,
    /// A revocation does not reach tokens that the holder may have made for itself.
    SelfMade,
    /// There is nothing to revoke.
    NothingToRevoke,
    /// A credential lives shorter than the time until the next run.
    ShortLife,
    /// Another run did what this one was about to do.
    Overtaken,
    /// A revoked token is refused.
    Refused,
    /// Older generations could not be deleted yet.
    NotRetired,
    /// A ServiceAccount lost its index at some time.
    LostIndex,
    /// A credential could not be tried where its consumers use it.
    NotTried,
    /// The index contradicts other facts, or generations that it does not list could not be looked for.
    IndexInDoubt,
    /// Another cluster has the same kube-system uid as this one.
    CopiedIdentity,
    /// Outputs were written for another API server than the one that responds now.
    AnotherServer,
    /// A ServiceAccount was made anew without what others had added to it.
    NotKept,
    /// A Secret of somebody else's is taken over.
    TakenOver,
    /// Who reads a Secret has to be restarted to get a new credential.
    RestartNeeded,
    /// The Secrets of a grant lost its living credential, and get a new one.
    Replaced,
    /// A grant has not begun, has ended, or ends soon.
    OutsidePeriod,
    /// The policy of the inventory refuses something that this run leaves as it is.
    Policy,
    /// What went wrong could not be said in the cluster too.
    NoEvent,
}

impl Note {
    /// Makes a note.
    pub(crate) fn new(kind: NoteKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Returns a note if objects differ.
pub(super) fn drift_note(drift: &[Drift]) -> Option<Note> {
    let (first, others) = drift.split_first()?;
    let more = if others.is_empty() { String::new() } else { format!(" and do {} more", others.len()) };
    let message = format!("access differs from the inventory: `kubemint apply` would {}{more}", first.what);
    Some(Note::new(NoteKind::Drift, message))
}

/// Returns the notes that follow from the inventory and the connection alone.
pub(super) fn general_notes(input: &PlanInput<'_>) -> Vec<Note> {
    let mut notes = vec![];
    for grant in input.grants.iter().map(|input_grant| &input_grant.grant) {
        let profile = &grant.profile;
        for wildcard in wildcards(profile) {
            notes.push(Note::new(NoteKind::Wildcard, format!("profile `{}` allows {wildcard}", profile.name)));
        }
        if grant.namespace == "kube-system" {
            let message = format!(
                "profile `{}` has its ServiceAccount in `kube-system`: who may use Secrets there is cluster-admin",
                profile.name
            );
            notes.push(Note::new(NoteKind::SystemNamespace, message));
        }
        if grant.cluster.consumer.verify == VerifyVia::Admin {
            let message = "new credentials are proven at the admin endpoint, not at the consumer's";
            notes.push(Note::new(NoteKind::VerifiedAtAdmin, message));
        }
    }
    let is_told = input.grants.iter().any(|grant| !grant.outputs.is_empty());
    let says_server = input.grants.iter().any(|it| it.grant.cluster.consumer.server.is_some());
    if is_told && !says_server && syntax::is_for_pods_only(&input.endpoint.server) {
        let message = format!(
            "only pods of this cluster reach <{}>, which is written for consumers: set `consumer.server` to the address \
             that others reach, or to the same if all are pods there",
            input.endpoint.server
        );
        notes.push(Note::new(NoteKind::PodsOnly, message));
    }
    if input.is_insecure {
        let message = "the admin access does not check the server's certificate (`allow-insecure`)";
        notes.push(Note::new(NoteKind::Insecure, message));
    }
    let direction = |ahead: i64| if ahead > 0 { "ahead of" } else { "behind" };
    if input.observed.clock_ahead.abs() > TOLERATED_SECONDS {
        let ahead = input.observed.clock_ahead;
        let message = format!("the cluster's clock is {} s {} this machine's", ahead.abs(), direction(ahead));
        notes.push(Note::new(NoteKind::ClockSkew, message));
    }
    if input.observed.date_ahead != 0 {
        let ahead = input.observed.date_ahead;
        let message = format!(
            "the clock of what answers for the cluster is {} s {} the API server's own, which counts; set it right",
            ahead.abs(),
            direction(ahead)
        );
        notes.push(Note::new(NoteKind::ClockSkew, message));
    }
    notes.sort();
    notes.dedup();
    notes
}
