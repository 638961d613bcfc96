//! The index: the annotation on a ServiceAccount that lists the live generations.
//!
//! A generation is claimed here before anything else, and recorded once its outputs are written. Fields that a newer
//! kubemint added are kept. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Claims, Credential};
use crate::event::Superseded;
use crate::inventory::syntax;
use crate::names::Holder;

/// The largest number of a generation: far more than any chain will ever have, and exact in every
/// JSON reader.
pub(crate) const LARGEST_GENERATION: u64 = 1 << 53;
/// The version of the format that this kubemint writes.
const VERSION: u64 = 1;

/// The index of one ServiceAccount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// The version of the format.
    pub v: u64,
    /// The chains of generations by holder.
    #[serde(default)]
    pub holders: BTreeMap<String, HolderIndex>,
    /// Whether a revocation suspended issuing for every holder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Whether an earlier index was removed, so that there may be live generations which this one does not list. Every
    /// ServiceAccount is made with an index, so one without any has lost it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// What a newer version added.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The chain of generations of one holder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HolderIndex {
    /// The number of the next generation; numbers are never reused.
    pub next: u64,
    /// The live generations, oldest first.
    #[serde(default)]
    pub generations: Vec<Generation>,
    /// Whether a revocation suspended issuing for this holder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Whether there is a standing anchor for exec plugins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
    /// What a newer version added.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One credential that was minted, or is only claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Generation {
    /// The number.
    pub n: u64,
    /// Its kind; `token` today.
    pub kind: String,
    /// The run that claimed it.
    pub run: String,
    /// When it was claimed, by the cluster's clock if that was known, otherwise by the clock of the claiming machine.
    pub claimed_at: Timestamp,
    /// The fingerprint of the token policy.
    pub policy: String,
    /// The name of the anchor.
    pub anchor: String,
    /// The requested lifetime in seconds.
    pub requested_seconds: u64,
    /// The uid of the anchor; known when the generation is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_uid: Option<String>,
    /// When the token was issued; known when the generation is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
    /// When the token really expires; known when the generation is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The token's identifier in audit logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// How many seconds the `Date` of the response with the token was ahead of the token's own time, because a gateway
    /// before the API server has a clock of its own. Known when the generation is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_ahead: Option<i64>,
    /// Since when all outputs hold it, by the cluster's clock; known when the generation is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Whether it was delivered to Secrets only, which every machine sees; known when the generation is recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_secrets: bool,
    /// What a newer version added.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Whose issuing a revocation suspends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Suspended {
    /// One holder.
    Holder(Holder),
    /// Every holder.
    Everybody,
}

/// Why a generation cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimRefused {
    /// Its number was used already.
    Taken {
        /// The last number that was used.
        last: u64,
    },
    /// A revocation suspended issuing.
    Suspended,
}

/// Why an index cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IndexError {
    /// It is not JSON of the expected form.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// A newer kubemint wrote it.
    #[error("it has version {0}, and this kubemint knows version {VERSION}")]
    Version(u64),
}

impl Default for Index {
    fn default() -> Self {
        Self { v: VERSION, holders: BTreeMap::new(), suspended: false, incomplete: false, other: Map::new() }
    }
}

impl Index {
    /// Returns the index of a ServiceAccount that has lost its own.
    pub(crate) fn lost() -> Self {
        Self { incomplete: true, ..Self::default() }
    }

    /// Reads the annotation's value.
    ///
    /// # Errors
    ///
    /// If it is malformed or of an unknown version. Nothing may be minted then, because numbers could be reused.
    pub(crate) fn parse(annotation: &str) -> Result<Self, IndexError> {
        let value: Value =
            serde_json::from_str(annotation).map_err(|error| IndexError::Malformed(error.to_string()))?;
        match value["v"].as_u64() {
            Some(VERSION) => {}
            Some(version) => return Err(IndexError::Version(version)),
            None => return Err(IndexError::Malformed("it has no version".to_owned())),
        }
        let mut index: Self =
            serde_json::from_value(value).map_err(|error| IndexError::Malformed(error.to_string()))?;
        // Anchor names are computed and never taken from here. But a holder that cannot exist shows that no kubemint
        // wrote this index.
        if let Some(holder) = index.holders.keys().find(|holder| syntax::dns_label(holder).is_err()) {
            return Err(IndexError::Malformed(format!("{holder:?} is no name that a holder can have")));
        }
        for chain in index.holders.values_mut() {
            // Somebody may have set the next number back; the listed numbers still count as used.
            let after = chain.generations.iter().map(|generation| generation.n.saturating_add(1)).max();
            chain.next = chain.next.max(after.unwrap_or_default());
        }
        match index.holders.values().map(|chain| chain.next).max() {
            Some(number) if number > LARGEST_GENERATION => {
                Err(IndexError::Malformed(format!("{number} is no number that a generation can have")))
            }
            _ => Ok(index),
        }
    }

    /// Returns the annotation's value.
    pub(crate) fn to_annotation(&self) -> String {
        serde_json::to_string(self).expect("an index consists of maps with text keys, numbers and text")
    }

    /// Returns the chain of a holder.
    pub(crate) fn holder(&self, holder: &Holder) -> Option<&HolderIndex> {
        self.holders.get(holder.as_str())
    }

    /// Returns whether a revocation suspended issuing for a holder.
    pub(crate) fn is_suspended(&self, holder: &Holder) -> bool {
        self.suspended || self.holder(holder).is_some_and(|chain| chain.suspended)
    }

    /// Returns the published generations of a holder.
    pub(crate) fn published(&self, holder: &Holder) -> Vec<Superseded> {
        let generations = self.holder(holder).map_or(&[][..], |chain| &chain.generations);
        let published = generations.iter().filter(|generation| generation.expires.is_some());
        published.map(|generation| Superseded { generation: generation.n, jti: generation.jti.clone() }).collect()
    }

    /// Returns the index with `generation` claimed for `holder`.
    ///
    /// # Errors
    ///
    /// If the generation's number is taken, by another run or by the fence of a revocation, or if
    /// issuing is suspended.
    pub(crate) fn claim(mut self, holder: &Holder, generation: Generation) -> Result<Self, ClaimRefused> {
        if self.is_suspended(holder) {
            return Err(ClaimRefused::Suspended);
        }
        let chain = self.holders.entry(holder.as_str().to_owned()).or_default();
        // A run may repeat its claim, if the response to its first try was lost.
        let repeated = chain.generations.iter().any(|known| known.n == generation.n && known.run == generation.run);
        if repeated {
            return Ok(self);
        }
        if generation.n < chain.next {
            return Err(ClaimRefused::Taken { last: chain.next - 1 });
        }
        chain.next = generation.n + 1;
        chain.generations.push(generation);
        Ok(self)
    }

    /// Returns whether a claim still stands: no revocation and no other run dropped it.
    pub(crate) fn has_claim(&self, holder: &Holder, generation: &Generation) -> bool {
        let known = self.holder(holder).and_then(|chain| chain.generation(generation.n));
        known.is_some_and(|known| known.run == generation.run)
    }

    /// Returns the index saying that a holder has a standing anchor for exec plugins.
    #[must_use]
    pub(crate) fn with_exec_anchor(mut self, holder: &Holder) -> Self {
        self.holders.entry(holder.as_str().to_owned()).or_default().exec = true;
        self
    }

    /// Returns the index saying that a holder's standing anchor is gone.
    #[must_use]
    pub(crate) fn without_exec_anchor(mut self, holder: &Holder) -> Self {
        if let Some(chain) = self.holders.get_mut(holder.as_str()) {
            chain.exec = false;
        }
        self
    }

    /// Returns the index with issuing suspended, and with a fence: the next number is skipped, so that a number planned
    /// before the revocation can no longer be claimed.
    #[must_use]
    pub(crate) fn suspend(mut self, whose: &Suspended) -> Self {
        match whose {
            Suspended::Everybody => self.suspended = true,
            Suspended::Holder(one) => drop(self.holders.entry(one.as_str().to_owned()).or_default()),
        }
        for (holder, chain) in &mut self.holders {
            match whose {
                Suspended::Holder(one) if one.as_str() != holder => continue,
                Suspended::Holder(_) => chain.suspended = true,
                Suspended::Everybody => {}
            }
            chain.next = chain.next.max(1) + 1;
        }
        self
    }

    /// Returns the index with issuing resumed for a holder, and for everybody if everybody was suspended.
    #[must_use]
    pub(crate) fn resume(mut self, holder: &Holder) -> Self {
        self.suspended = false;
        if let Some(chain) = self.holders.get_mut(holder.as_str()) {
            chain.suspended = false;
        }
        self
    }

    /// Returns the index without some generations of a holder. Their anchors are deleted before this, so that after a
    /// kill in between the lines are still found.
    #[must_use]
    pub(crate) fn without(mut self, holder: &Holder, numbers: &[u64]) -> Self {
        if let Some(chain) = self.holders.get_mut(holder.as_str()) {
            chain.generations.retain(|known| !numbers.contains(&known.n));
        }
        self
    }

    /// Returns the index with a generation recorded as published at `now`, or nothing if it was
    /// dropped.
    pub(crate) fn record(mut self, holder: &Holder, generation: Generation, now: Timestamp) -> Option<Self> {
        let chain = self.holders.get_mut(holder.as_str())?;
        let known = chain.generations.iter_mut().find(|known| known.n == generation.n)?;
        let other = std::mem::take(&mut known.other);
        *known = Generation { other, published: Some(now), ..generation };
        Some(self)
    }
}

impl Index {
    /// Returns the generation whose token was issued last.
    pub(crate) fn latest(&self) -> Option<&Generation> {
        let all = self.holders.values().flat_map(|chain| &chain.generations);
        all.filter(|generation| generation.issued.is_some()).max_by_key(|generation| generation.issued)
    }
}

/// Where to look for the anchors of a ServiceAccount, from all that is known. Text that somebody may have edited can
/// only add to the search, never limit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnchorHints {
    /// The holder who runs the search.
    pub holder: Holder,
    /// All holders that may exist.
    pub holders: BTreeSet<Holder>,
    /// The generations that the index, an output or the user names.
    pub named: BTreeSet<u64>,
    /// The highest number that was ever seen; all numbers below it may exist.
    pub highest: u64,
}

impl AnchorHints {
    /// Collects the holders and numbers of an index, if it can be read, and the generations that the outputs of
    /// `holder` hold or the user names.
    pub(crate) fn new(index: Option<&Index>, holder: &Holder, held: &[u64]) -> Self {
        let chains = index.into_iter().flat_map(|index| &index.holders);
        let mut hints = Self {
            holder: holder.clone(),
            holders: BTreeSet::from([holder.clone()]),
            named: BTreeSet::new(),
            highest: 0,
        };
        for (name, chain) in chains {
            hints.holders.insert(Holder::new(name));
            hints.named.extend(chain.generations.iter().map(|generation| generation.n));
            hints.highest = hints.highest.max(chain.next.saturating_sub(1));
        }
        hints.named.extend(held);
        hints.highest = hints.highest.max(hints.named.last().copied().unwrap_or_default());
        hints
    }

    /// Returns the holders, starting with the one who runs the search.
    pub(crate) fn own_first(&self) -> impl Iterator<Item = &Holder> {
        std::iter::once(&self.holder).chain(self.holders.iter().filter(|holder| **holder != self.holder))
    }
}

impl HolderIndex {
    /// Returns how many of its credentials may still work; those that exec plugins mint count as one.
    pub(crate) fn living(&self, now: Timestamp) -> usize {
        self.generations.iter().filter(|generation| generation.may_live(now)).count() + usize::from(self.exec)
    }

    /// Returns a generation by number.
    pub(crate) fn generation(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.n == number)
    }
}

impl Generation {
    /// Returns whether it may work: until it expires, and also while it is only claimed, because the claiming run may
    /// be about to publish it.
    pub(crate) fn may_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }

    /// Returns whether its outputs are known to have been written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.expires.is_some()
    }

    /// Returns the generation as the index lists it once its outputs are written. The time of publication is set when
    /// it is recorded.
    #[must_use]
    pub(crate) fn recorded(self, credential: &Credential) -> Self {
        let facts = &credential.facts;
        Self {
            anchor_uid: Some(facts.anchor_uid.clone()),
            issued: Some(facts.issued),
            expires: Some(facts.expires),
            requested_seconds: facts.requested_seconds,
            jti: Claims::of(&credential.token).ok().and_then(|claims| claims.jti),
            ..self
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn generation(n: u64, run: &str) -> Generation {
        Generation {
            n,
            kind: super::super::KIND_TOKEN.to_owned(),
            run: run.to_owned(),
            claimed_at: Timestamp::UNIX_EPOCH,
            policy: "policy".to_owned(),
            anchor: format!("anchor-{n}"),
            requested_seconds: 3600,
            anchor_uid: None,
            issued: None,
            expires: None,
            jti: None,
            date_ahead: None,
            published: None,
            in_secrets: false,
            other: Map::new(),
        }
    }

    #[test]
    fn a_number_is_never_claimed_twice() {
        let holder = Holder::new("default");
        let index = Index::default().claim(&holder, generation(1, "a")).unwrap();
        assert_eq!(index.clone().claim(&holder, generation(1, "b")), Err(ClaimRefused::Taken { last: 1 }));
        assert_eq!(index.clone().claim(&holder, generation(1, "a")), Ok(index));
    }

    #[test]
    fn numbers_of_a_newer_version_are_kept_exactly() {
        let index = Index::parse("{\"v\":1,\"new\":{\"next\": 900719925479007199254740993}}").unwrap();
        assert_eq!(Index::parse(&index.to_annotation()), Ok(index));
    }

    #[test]
    fn a_number_that_is_listed_is_taken_whatever_the_next_is_said_to_be() {
        let holder = Holder::new("default");
        let mut edited = Index::default().claim(&holder, generation(7, "a")).unwrap();
        edited.holders.get_mut("default").unwrap().next = 7;
        let read = Index::parse(&edited.to_annotation()).unwrap();
        assert_eq!(read.holder(&holder).unwrap().next, 8);
        assert_eq!(read.claim(&holder, generation(7, "b")), Err(ClaimRefused::Taken { last: 7 }));
        edited.holders.get_mut("default").unwrap().generations[0].n = LARGEST_GENERATION;
        assert!(matches!(Index::parse(&edited.to_annotation()), Err(IndexError::Malformed(_))), "there is no next");
    }

    #[test]
    fn what_is_recorded_knows_since_when() {
        let holder = Holder::new("default");
        let index = Index::default().claim(&holder, generation(1, "a")).unwrap();
        let index = index.claim(&holder, generation(2, "b")).unwrap();
        let now = Timestamp::from_second(7).unwrap();
        let index = index.record(&holder, generation(2, "b"), now).unwrap();
        let published: Vec<_> =
            index.holder(&holder).unwrap().generations.iter().map(|generation| generation.published).collect();
        assert_eq!(published, [None, Some(now)]);
        let index = index.without(&holder, &[1]);
        assert_eq!(index.holder(&holder).unwrap().generations.len(), 1);
        assert_eq!(index.record(&holder, generation(1, "a"), now), None);
    }

    #[test]
    fn a_revocation_suspends_and_fences_off_what_was_planned_before() {
        let (laptop, ci) = (Holder::new("laptop"), Holder::new("ci"));
        let index = Index::default().claim(&laptop, generation(1, "a")).unwrap();
        let index = index.claim(&ci, generation(1, "b")).unwrap();
        let one = index.clone().suspend(&Suspended::Holder(laptop.clone()));
        assert_eq!(one.clone().claim(&laptop, generation(2, "c")), Err(ClaimRefused::Suspended));
        assert!(one.clone().claim(&ci, generation(2, "c")).is_ok(), "the other holder goes on");
        let resumed = one.resume(&laptop);
        assert_eq!(resumed.clone().claim(&laptop, generation(2, "c")), Err(ClaimRefused::Taken { last: 2 }));
        assert!(resumed.claim(&laptop, generation(3, "c")).is_ok());
        let all = index.suspend(&Suspended::Everybody);
        assert!(all.is_suspended(&ci) && all.is_suspended(&laptop) && all.is_suspended(&Holder::new("new")));
        assert!(!all.resume(&ci).is_suspended(&laptop));
    }

    #[test]
    fn a_claim_that_was_dropped_does_not_stand() {
        let holder = Holder::new("default");
        let index = Index::default().claim(&holder, generation(1, "a")).unwrap();
        assert!(index.has_claim(&holder, &generation(1, "a")));
        assert!(!index.has_claim(&holder, &generation(1, "b")), "another run's");
        assert!(!index.without(&holder, &[1]).has_claim(&holder, &generation(1, "a")));
    }

    #[test]
    fn numbers_that_could_overflow_are_refused() {
        let text = format!(r#"{{"v":1,"holders":{{"default":{{"next":{},"generations":[]}}}}}}"#, u64::MAX);
        assert!(matches!(Index::parse(&text), Err(IndexError::Malformed(_))));
    }

    #[test]
    fn holders_have_chains_of_their_own() {
        let (laptop, ci) = (Holder::new("laptop"), Holder::new("ci"));
        let index = Index::default().claim(&laptop, generation(1, "a")).unwrap();
        let index = index.claim(&ci, generation(1, "b")).unwrap();
        assert_eq!(index.holder(&laptop).unwrap().generations.len(), 1);
        assert_eq!(index.holder(&ci).unwrap().next, 2);
    }

    #[test]
    fn what_a_newer_version_added_survives_a_round_trip() {
        let text = r#"{"v":1,"holders":{"default":{"next":1,"generations":[],"x":1}},"y":[2]}"#;
        assert_eq!(Index::parse(text).unwrap().to_annotation(), text);
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert_eq!(Index::parse(r#"{"v":2}"#), Err(IndexError::Version(2)));
        assert!(matches!(Index::parse("{}"), Err(IndexError::Malformed(_))));
    }
}
