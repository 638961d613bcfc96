//! The standing of a grant's credential, which `status` shows.
//!
//! Pure: no I/O, `now` comes with the input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::{
    AnchorState, CredentialFacts, Decision, Generation, HolderIndex, Index, MintReason, StoredCredential,
};
use crate::delivery::{Delivery, Place};
use crate::inventory::GrantKey;
use crate::names::Holder;
use crate::wording::command;

/// The standing of a grant's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The grant.
    pub grant: GrantKey,
    /// Its state.
    pub state: CredentialState,
    /// Details beyond the state.
    pub detail: Option<String>,
    /// What is known about the newest generation that was published.
    pub newest: Option<Newest>,
    /// When the first of the credentials that outputs hold expires: one of them may have missed the last renewal.
    pub soonest: Option<Timestamp>,
    /// When it is due for renewal.
    pub due: Option<Timestamp>,
    /// Older generations that still live.
    pub superseded: Vec<u64>,
    /// Other holders, and how many credentials of each may be used.
    pub others: Vec<(String, usize)>,
    /// The outputs that a run would write.
    pub lacking: Vec<Arc<Place>>,
}

/// What is known about a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Its number.
    pub generation: u64,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
    /// The lifetime that was requested, in seconds.
    pub requested_seconds: u64,
}

impl From<&CredentialFacts> for Newest {
    fn from(facts: &CredentialFacts) -> Self {
        Self {
            generation: facts.generation,
            issued: facts.issued,
            expires: facts.expires,
            requested_seconds: facts.requested_seconds,
        }
    }
}

impl Newest {
    /// Returns the lifetime in seconds, if the API server made it shorter than was requested.
    pub(crate) fn clamped_seconds(&self) -> Option<u64> {
        /// The API server rounds issue and expiry to seconds.
        const ROUNDING: u64 = 2;
        let life = u64::try_from(self.expires.duration_since(self.issued).as_secs()).ok()?;
        (life + ROUNDING < self.requested_seconds).then_some(life)
    }
}

/// The state of a grant's credential, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CredentialState {
    /// The cluster could not be read.
    Unknown,
    /// It has expired.
    Expired,
    /// It no longer works: its anchor or its ServiceAccount is gone.
    Revoked,
    /// There is none, or its ServiceAccount does not exist.
    Missing,
    /// It works, and no output here holds it.
    HeldElsewhere,
    /// A revocation suspended it.
    Suspended,
    /// It is due for renewal, or its token policy changed.
    Due,
    /// An output lacks it, or holds an older one.
    NotEverywhere,
    /// It is current, and nothing has to be done.
    Current,
    /// Exec plugins mint it on demand.
    Plugin,
    /// No output holds it, so there is none.
    NoOutput,
    /// The grant has not begun.
    NotBegun,
    /// The grant has ended.
    Ended,
}

impl CredentialState {
    /// All states.
    pub(crate) const ALL: [Self; 13] = [
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Missing,
        Self::HeldElsewhere,
        Self::Suspended,
        Self::Due,
        Self::NotEverywhere,
        Self::Current,
        Self::Plugin,
        Self::NoOutput,
        Self::NotBegun,
        Self::Ended,
    ];

    /// Returns the state as tables show it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Missing => "missing",
            Self::HeldElsewhere => "held elsewhere",
            Self::Suspended => "suspended",
            Self::Due => "due",
            Self::NotEverywhere => "not everywhere",
            Self::Current => "current",
            Self::Plugin => "exec plugin",
            Self::NoOutput => "no output",
            Self::NotBegun => "not begun",
            Self::Ended => "ended",
        }
    }

    /// Whether nothing has to be done about it.
    pub(crate) fn is_fine(self) -> bool {
        matches!(self, Self::Current | Self::Plugin | Self::NoOutput | Self::NotBegun | Self::Ended)
    }
}

impl Standing {
    /// Returns the standing of a grant of which only the state is known.
    pub(crate) fn only(grant: GrantKey, state: CredentialState, detail: Option<String>) -> Self {
        let (newest, soonest, due) = (None, None, None);
        Self { grant, state, detail, newest, soonest, due, superseded: vec![], others: vec![], lacking: vec![] }
    }
}

/// What the exec plugins of a grant have and lack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plugins {
    /// Whether there are any.
    pub(super) is_any: bool,
    /// Whether the standing anchor of their tokens exists; nothing if they mint no tokens.
    pub(super) is_anchored: Option<bool>,
}

/// The facts that a standing is derived from.
pub(super) struct Basis<'a> {
    pub(super) grant: GrantKey,
    pub(super) index: &'a Index,
    pub(super) holder: &'a Holder,
    pub(super) anchors: &'a BTreeMap<u64, AnchorState>,
    pub(super) outputs: &'a [(Arc<Place>, Option<StoredCredential>)],
    pub(super) plugins: Plugins,
    /// What outputs lack of a living credential.
    pub(super) delivery: Option<&'a Delivery>,
    /// What outputs lack of the entries of exec plugins.
    pub(super) for_plugins: &'a Delivery,
    pub(super) is_suspended: bool,
    pub(super) now: Timestamp,
}

/// Derives the standing of a grant from the decision about it.
pub(super) fn standing(basis: &Basis<'_>, decision: &Decision) -> Standing {
    let chain = basis.index.holder(basis.holder);
    let newest = newest(chain, basis.outputs);
    let (state, detail, due) = match decision {
        _ if basis.is_suspended => (CredentialState::Suspended, still_alive(basis, chain), None),
        Decision::NoOutput if basis.plugins.is_any => (plugin_state(basis), differing(basis.for_plugins), None),
        Decision::NoOutput => (CredentialState::NoOutput, None, None),
        Decision::Withheld { .. } => (CredentialState::HeldElsewhere, None, None),
        Decision::InFlight { due, claimed, .. } => {
            let detail = format!("another run claimed generation {claimed}");
            (CredentialState::Due, Some(detail), Some(*due))
        }
        Decision::Publish { due, .. } if basis.delivery.is_some_and(|delivery| !delivery.is_there()) => {
            (CredentialState::NotEverywhere, basis.delivery.and_then(differing), Some(*due))
        }
        Decision::Publish { due, .. } if basis.plugins.is_any => match plugin_state(basis) {
            CredentialState::Plugin => (CredentialState::Current, None, Some(*due)),
            state => (state, Some("its exec plugin".to_owned()), Some(*due)),
        },
        Decision::Publish { due, .. } => (CredentialState::Current, None, Some(*due)),
        Decision::Mint { reason, .. } => {
            let state = match reason {
                MintReason::First | MintReason::Lost => CredentialState::Missing,
                MintReason::Expired => CredentialState::Expired,
                MintReason::Revoked | MintReason::AccountRecreated | MintReason::Refused | MintReason::WrongSubject => {
                    CredentialState::Revoked
                }
                MintReason::Due | MintReason::PolicyChanged | MintReason::Reissue | MintReason::Forced => {
                    CredentialState::Due
                }
            };
            let says_more =
                !matches!(reason, MintReason::First | MintReason::Expired | MintReason::Revoked | MintReason::Due);
            (state, says_more.then(|| reason.as_str().to_owned()), None)
        }
    };
    let is_alive = |generation: &Generation| generation.expires.is_some_and(|expires| expires > basis.now);
    let older = |generation: &&Generation| {
        newest.as_ref().is_some_and(|newest| generation.n < newest.generation)
            && is_alive(generation)
            && matches!(basis.anchors.get(&generation.n), Some(AnchorState::Present(_)))
    };
    let generations = chain.map_or(&[][..], |chain| &chain.generations);
    let others = basis.index.holders.iter().filter(|(holder, _)| holder.as_str() != basis.holder.as_str());
    let others = others.map(|(holder, chain)| (holder.clone(), chain.living(basis.now)));
    Standing {
        grant: basis.grant.clone(),
        state,
        detail,
        due,
        superseded: generations.iter().filter(older).map(|generation| generation.n).collect(),
        others: others.filter(|(_, living)| *living > 0).collect(),
        lacking: basis.delivery.into_iter().chain([basis.for_plugins]).flat_map(Delivery::written).cloned().collect(),
        newest,
        soonest: stored(basis.outputs).map(|stored| stored.claims.expires).min(),
    }
}

/// Says which fields of entries differ from what kubemint writes.
fn differing(delivery: &Delivery) -> Option<String> {
    let fields: BTreeSet<&str> = delivery.changes.iter().map(|change| change.field.as_str()).collect();
    let fields: Vec<String> = fields.into_iter().map(|field| format!("`{field}`")).collect();
    (!fields.is_empty()).then(|| format!("differs in {}", fields.join(", ")))
}

/// Returns the state of what exec plugins need.
fn plugin_state(basis: &Basis<'_>) -> CredentialState {
    if basis.plugins.is_anchored == Some(false) {
        CredentialState::Revoked
    } else if basis.for_plugins.is_there() {
        CredentialState::Plugin
    } else {
        CredentialState::NotEverywhere
    }
}

/// Describes what an incomplete revocation left working.
fn still_alive(basis: &Basis<'_>, chain: Option<&HolderIndex>) -> Option<String> {
    let generations = chain.map_or(&[][..], |chain| &chain.generations);
    let is_present = |generation: &&Generation| {
        let is_expired = generation.expires.is_some_and(|expires| expires <= basis.now);
        !is_expired && matches!(basis.anchors.get(&generation.n), Some(AnchorState::Present(_)))
    };
    let mut alive: Vec<String> =
        generations.iter().filter(is_present).map(|generation| format!("generation {}", generation.n)).collect();
    if basis.plugins.is_anchored == Some(true) {
        alive.push("tokens of exec plugins".to_owned());
    }
    let (cluster, profile) = (basis.grant.cluster.as_str(), basis.grant.profile.as_str());
    let again = command(&["kubemint", "revoke", "--cluster", cluster, "--profile", profile]);
    (!alive.is_empty()).then(|| format!("STILL ALIVE: {}; `{again}` ends them", alive.join(", ")))
}

fn stored(outputs: &[(Arc<Place>, Option<StoredCredential>)]) -> impl Iterator<Item = &StoredCredential> {
    outputs.iter().filter_map(|(_, stored)| stored.as_ref())
}

/// Returns the newest published generation, from the index and from the outputs.
pub(super) fn newest(
    chain: Option<&HolderIndex>,
    outputs: &[(Arc<Place>, Option<StoredCredential>)],
) -> Option<Newest> {
    let generations = chain.map_or(&[][..], |chain| &chain.generations);
    let recorded = generations.iter().filter_map(|generation| {
        Some(Newest {
            generation: generation.n,
            issued: generation.issued?,
            expires: generation.expires?,
            requested_seconds: generation.requested_seconds,
        })
    });
    let stored = stored(outputs).map(|stored| Newest {
        generation: stored.generation,
        issued: stored.claims.issued,
        expires: stored.claims.expires,
        requested_seconds: u64::try_from(stored.claims.expires.duration_since(stored.claims.issued).as_secs())
            .unwrap_or(0),
    });
    // The index comes first, because it knows the requested lifetime.
    recorded.chain(stored).fold(None, |newest: Option<Newest>, next| match newest {
        Some(newest) if newest.generation >= next.generation => Some(newest),
        _ => Some(next),
    })
}
