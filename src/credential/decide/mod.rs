//! Decides about the credential of one grant: keep it, hand it on, or mint a new one; and which older generations can
//! go.
//!
//! The outputs are the commit point: a generation that no output holds was never published. Pure:
//! no I/O, `now` is an argument.

mod retire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Claims, Generation, HolderIndex, policy_fingerprint};
use crate::calendar::later;
use crate::delivery::Place;
use crate::inventory::TokenPolicy;
use crate::secret::SecretToken;
use retire::superseded;

/// A credential of ours that an output holds.
#[derive(Debug, Clone)]
pub(crate) struct StoredCredential {
    /// The generation that the entry says it is.
    pub generation: u64,
    /// The token.
    pub token: SecretToken,
    /// What the token says about itself.
    pub claims: Claims,
}

/// Whether the anchor of a generation exists, which its tokens depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnchorState {
    /// It exists, with this uid.
    Present(String),
    /// It is gone: every token bound to it is refused.
    Absent,
}

/// Whether a living credential that no output here holds may be superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reissue {
    /// It may: the user said so.
    Allowed,
    /// It may not: its consumer would lose it later without notice.
    Refused,
}

/// When a credential is renewed that is otherwise still current.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Now, whatever its age: the user said so.
    pub forced: bool,
    /// If it falls due within this time, because the next run comes only after it.
    pub horizon: Duration,
}

/// A problem that shows only when a credential is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The API server does not accept it.
    Refused,
    /// The API server says that it belongs to somebody else.
    WrongSubject,
}

impl Distrust {
    /// Says what the API server says.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "the API server does not accept it",
            Self::WrongSubject => "the API server takes it for somebody else's",
        }
    }
}

/// Everything that [`decide`] looks at.
#[derive(Debug)]
pub(crate) struct DecisionInput<'a> {
    /// The chain of this holder, if the index has one.
    pub chain: Option<&'a HolderIndex>,
    /// The anchors of the chain's generations, by number.
    pub anchors: &'a BTreeMap<u64, AnchorState>,
    /// The uid of the ServiceAccount, if it exists.
    pub service_account_uid: Option<&'a str>,
    /// The token policy.
    pub policy: &'a TokenPolicy,
    /// When the grant ends, which no token must outlive.
    pub ends: Option<Timestamp>,
    /// The credential of ours at each place of the grant, if there is one.
    pub outputs: &'a [(Arc<Place>, Option<StoredCredential>)],
    /// Whether a living credential that no output holds may be superseded.
    pub reissue: Reissue,
    /// When a credential is renewed that is otherwise still current.
    pub renewal: Renewal,
    /// The result of using the current credential, if there was a problem.
    pub distrust: Option<Distrust>,
    /// The current time, by the best clock that is known.
    pub now: Timestamp,
    /// How long a claim may stay unpublished before it is an orphan.
    pub orphan_after: Duration,
    /// What the jitter of the due time is derived from; the same for every run of one grant.
    pub jitter_seed: &'a str,
}

impl<'a> DecisionInput<'a> {
    /// Returns the credentials at those places that hold one.
    fn stored(&self) -> impl Iterator<Item = &'a StoredCredential> + use<'a> {
        self.outputs.iter().filter_map(|(_, stored)| stored.as_ref())
    }
}

/// Why a new generation is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MintReason {
    /// There is none yet.
    First,
    /// The current one has expired.
    Expired,
    /// The anchor of the current one is gone.
    Revoked,
    /// The ServiceAccount was recreated, which invalidated all its tokens.
    AccountRecreated,
    /// The API server does not accept the current one.
    Refused,
    /// The current one belongs to somebody else.
    WrongSubject,
    /// The current one is due for renewal.
    Due,
    /// The token policy changed.
    PolicyChanged,
    /// The user asked to supersede one that is held elsewhere.
    Reissue,
    /// The Secrets that held the current one lost it.
    Lost,
    /// The user asked for a new one.
    Forced,
}

/// What to do about the credential of a grant.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// The grant has no output, so there is nothing to mint for.
    NoOutput,
    /// The outputs hold, or will hold, this credential.
    Publish {
        /// The places that hold it. Their tokens may differ, if one is damaged.
        from: Vec<Arc<Place>>,
        /// Its number.
        generation: u64,
        /// Whether the index still has to learn that it was published.
        recorded: bool,
        /// When it is due for renewal.
        due: Timestamp,
        /// Generations that can go now.
        retire: Vec<Spent>,
        /// Older generations that still live.
        superseded: Vec<u64>,
        /// When they can go, if all outputs hold the current one.
        retire_at: Option<Timestamp>,
    },
    /// A renewal is due, and another run is working on it.
    InFlight {
        /// The number of the generation that is still current.
        generation: u64,
        /// When it expires.
        expires: Timestamp,
        /// When it was due.
        due: Timestamp,
        /// The number that the other run claimed.
        claimed: u64,
    },
    /// A new generation is needed.
    Mint {
        /// Its number.
        generation: u64,
        /// Why.
        reason: MintReason,
        /// Generations that leave the index: dead ones, superseded ones whose overlap is over, and
        /// claims that were never published and are too old to be in flight.
        spent: Vec<Spent>,
    },
    /// A living credential exists that no output here holds; superseding it needs consent.
    Withheld {
        /// Its number.
        generation: u64,
        /// When it expires.
        expires: Timestamp,
    },
}

/// Decides what to do about the credential of one grant.
pub(crate) fn decide(input: &DecisionInput<'_>) -> Decision {
    if input.outputs.is_empty() {
        return Decision::NoOutput;
    }
    let mint = |reason| Decision::Mint { generation: next_number(input), reason, spent: spent(input) };
    let generations = input.chain.map_or(&[][..], |chain| &chain.generations);

    // The newest generation that was published: recorded, or found whole in an output.
    let current = generations
        .iter()
        .filter(|generation| generation.is_recorded() || !places_of(input, generation).is_empty())
        .max_by_key(|generation| generation.n);
    let Some(current) = current else {
        return mint(why_nothing_is_current(input));
    };
    let held = places_of(input, current);
    if !is_anchored(input, current) {
        return mint(MintReason::Revoked);
    }
    let expires = held.first().map(|(_, stored)| stored.claims.expires).or(current.expires);
    let expires = expires.expect("a current generation is recorded or held");
    if expires <= input.now {
        return mint(MintReason::Expired);
    }
    // This comes before every other reason to mint: superseding a credential that is held elsewhere needs consent.
    let Some((_, stored)) = held.first() else {
        return match input.reissue {
            Reissue::Allowed => mint(MintReason::Reissue),
            Reissue::Refused if is_lost_to_all(input, current) => mint(MintReason::Lost),
            Reissue::Refused => Decision::Withheld { generation: current.n, expires },
        };
    };
    match input.distrust {
        Some(Distrust::Refused) => return mint(MintReason::Refused),
        Some(Distrust::WrongSubject) => return mint(MintReason::WrongSubject),
        None => {}
    }
    let outlives = input.ends.is_some_and(|ends| expires.duration_since(ends) > LEEWAY);
    if outlives || current.policy != policy_fingerprint(input.policy) {
        return mint(MintReason::PolicyChanged);
    }
    // An output with a newer number, which is dead, would refuse an older one.
    if input.stored().any(|stored| stored.generation > current.n) {
        return mint(MintReason::Revoked);
    }
    let life = expires.duration_since(stored.claims.issued);
    let older = superseded(input, current, held.len(), overlap_of(input.policy, life));
    let retiring = |spent: Vec<Spent>| {
        let mut all = [spent, older.ripe.clone()].concat();
        all.sort_unstable();
        all.dedup_by_key(|spent| spent.n);
        all
    };
    let renew = |reason| Decision::Mint { generation: next_number(input), reason, spent: retiring(spent(input)) };
    if input.renewal.forced {
        return renew(MintReason::Forced);
    }
    // Renewing during the overlap of an older generation would leave three living ones, so it waits.
    let due = due_at(stored.claims.issued, expires, input.policy, input.jitter_seed);
    let due = older.ripe_at.map_or(due, |ripe_at| due.max(ripe_at));
    // What lasts until the grant ends needs no renewal.
    let lasts = input.ends.filter(|ends| ends.duration_since(expires) <= LEEWAY);
    let due = lasts.map_or(due, |ends| due.max(ends));
    let horizon = SignedDuration::try_from(input.renewal.horizon).unwrap_or(SignedDuration::MAX);
    if lasts.is_none() && due.duration_since(input.now) <= horizon {
        return match claim_in_flight(input, current) {
            Some(claimed) => Decision::InFlight { generation: current.n, expires, due, claimed },
            None => renew(MintReason::Due),
        };
    }
    Decision::Publish {
        from: held.iter().map(|(place, _)| Arc::clone(place)).collect(),
        generation: current.n,
        recorded: current.is_recorded(),
        due,
        retire: retiring(spent(input)),
        retire_at: older.ripe_at,
        superseded: older.green,
    }
}

/// Whether nobody holds a credential that no output holds: every machine sees the same Secrets, so what they lost is lost to
/// their consumers too. A file may be on another machine, and another run may be about to write the Secrets.
fn is_lost_to_all(input: &DecisionInput<'_>, current: &Generation) -> bool {
    current.in_secrets
        && input.outputs.iter().all(|(place, _)| place.is_seen_everywhere())
        && claim_in_flight(input, current).is_none()
}

/// Returns why there is no current generation: nothing was ever published, or the outputs hold only dead tokens.
fn why_nothing_is_current(input: &DecisionInput<'_>) -> MintReason {
    let mut stored = input.stored().peekable();
    if stored.peek().is_none() {
        return MintReason::First;
    }
    let uid = input.service_account_uid;
    if stored.all(|stored| stored.claims.service_account_uid.as_deref() != uid) {
        return MintReason::AccountRecreated;
    }
    MintReason::Revoked
}

/// Returns the number of a newer generation that another run may be about to publish.
fn claim_in_flight(input: &DecisionInput<'_>, current: &Generation) -> Option<u64> {
    let generations = input.chain.map_or(&[][..], |chain| &chain.generations);
    let is_in_flight = |claim: &&Generation| claim.n > current.n && !claim.is_recorded() && !is_orphan(input, claim);
    generations.iter().filter(is_in_flight).map(|claim| claim.n).max()
}

/// Returns the outputs that hold a living token of a generation, judged by its claims.
fn places_of<'a>(input: &'a DecisionInput<'_>, generation: &Generation) -> Vec<(&'a Arc<Place>, &'a StoredCredential)> {
    let Some(AnchorState::Present(anchor_uid)) = input.anchors.get(&generation.n) else {
        return vec![];
    };
    let holders = input.outputs.iter().filter_map(|(place, stored)| {
        let stored = stored.as_ref()?;
        let whole = stored.generation == generation.n
            && stored.claims.anchor_uid.as_deref() == Some(anchor_uid)
            && stored.claims.service_account_uid.as_deref() == input.service_account_uid;
        whole.then_some((place, stored))
    });
    holders.collect()
}

/// Whether the anchor still is the one that the generation's token is bound to.
fn is_anchored(input: &DecisionInput<'_>, generation: &Generation) -> bool {
    match (input.anchors.get(&generation.n), &generation.anchor_uid) {
        (Some(AnchorState::Present(actual)), Some(recorded)) => actual == recorded,
        (Some(AnchorState::Present(_)), None) => true,
        (Some(AnchorState::Absent) | None, _) => false,
    }
}

/// Returns a number that was never used, neither in the index nor in the outputs.
fn next_number(input: &DecisionInput<'_>) -> u64 {
    let claimed = input.chain.map_or(1, |chain| chain.next.max(1));
    let stored = input.stored().map(|stored| stored.generation.saturating_add(1)).max();
    claimed.max(stored.unwrap_or(1))
}

/// API servers accept a token for this long after it has expired.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A generation that nobody can use or needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Its number.
    pub n: u64,
    /// Since when, by the API server's own clock; the minimum if this does not depend on a clock.
    pub since: Timestamp,
}

/// Returns the generations that nobody can use any more: expired, without their anchor, or never published.
fn spent(input: &DecisionInput<'_>) -> Vec<Spent> {
    let since = |generation: &Generation| match generation.expires {
        Some(_) if !is_anchored(input, generation) => Some(Timestamp::MIN),
        Some(expires) => {
            (input.now.duration_since(expires) > LEEWAY).then(|| expires.checked_add(LEEWAY).unwrap_or(expires))
        }
        None => orphan_since(input, generation),
    };
    let generations = input.chain.map_or(&[][..], |chain| &chain.generations);
    generations.iter().filter_map(|generation| Some(Spent { n: generation.n, since: since(generation)? })).collect()
}

/// Whether a claim was never published and is so old that no run can still be working on it.
fn is_orphan(input: &DecisionInput<'_>, claim: &Generation) -> bool {
    orphan_since(input, claim).is_some()
}

/// Returns since when a claim that was never published is so old that no run can still be working on it.
fn orphan_since(input: &DecisionInput<'_>, claim: &Generation) -> Option<Timestamp> {
    let limit = SignedDuration::try_from(input.orphan_after).unwrap_or(SignedDuration::MAX);
    let since = claim.claimed_at.checked_add(limit).ok()?;
    (places_of(input, claim).is_empty() && input.now > since).then_some(since)
}

/// Returns how long a superseded generation lives on: the policy's `overlap`, and at most half the
/// life of a token.
///
/// A longer overlap would supersede generations faster than they may be deleted.
pub(crate) fn overlap_of(policy: &TokenPolicy, life: SignedDuration) -> SignedDuration {
    let overlap = SignedDuration::try_from(policy.overlap).unwrap_or(SignedDuration::MAX);
    overlap.min(life / 2).max(SignedDuration::ZERO)
}

/// Returns when a token is due for renewal: issued + min(`renew_after` × life, life − overlap), minus a jitter of up to
/// a twentieth of that; see [`overlap_of`].
///
/// The jitter is derived from `seed`. It spreads the renewals of a fleet that was minted in one minute.
pub(crate) fn due_at(issued: Timestamp, expires: Timestamp, policy: &TokenPolicy, seed: &str) -> Timestamp {
    /// The jitter takes away at most one part in this many.
    const JITTER_SHARE: i64 = 20;
    let life = SignedDuration::from_secs(expires.duration_since(issued).as_secs().max(0));
    // Lifetimes are below 2^32 s (the API server's own maximum), where f64 is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "lifetimes are below 2^32 s")]
    let share = (life.as_secs() as f64 * policy.renew_after) as i64;
    let wait = share.min((life - overlap_of(policy, life)).as_secs());
    let hash = crate::names::short_hash(&[seed]);
    let hash = i64::from_str_radix(&hash[..8], 16).expect("a short hash is hexadecimal");
    let jitter = (wait / JITTER_SHARE) * (hash % 1000) / 1000;
    later(issued, SignedDuration::from_secs(wait - jitter))
}

#[cfg(test)]
mod tests;
