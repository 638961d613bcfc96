//! Credentials: the index of generations, the claims of a token, and what to do next.
//!
//! Pure: no I/O, no clock. Start with [`decide`].

mod claims;
mod decide;
mod facts;
mod index;

pub(crate) use claims::Claims;
pub(crate) use decide::{
    AnchorState, Decision, DecisionInput, Distrust, MintReason, Reissue, Renewal, Spent, StoredCredential, decide,
    due_at, overlap_of,
};
pub(crate) use facts::{Credential, CredentialFacts};
pub(crate) use index::{
    AnchorHints, ClaimRefused, Generation, HolderIndex, Index, IndexError, LARGEST_GENERATION, Suspended,
};

use crate::inventory::TokenPolicy;
use crate::names::{ClusterName, Holder, ProfileName, short_hash};

/// Kind of credential that kubemint mints today; certificates may follow.
pub(crate) const KIND_TOKEN: &str = "token";

/// Returns a fingerprint of the token properties that a policy asks for; another one leads to a new generation.
///
/// `renew-after` and `overlap` are not part of it: they change when a token is renewed, not the token.
pub(crate) fn policy_fingerprint(policy: &TokenPolicy) -> String {
    let ttl = policy.ttl.as_secs().to_string();
    let mut parts = vec![KIND_TOKEN, ttl.as_str()];
    parts.extend(policy.audiences.iter().map(String::as_str));
    short_hash(&parts)
}

/// Returns the seed for the jitter of a grant's due times.
pub(crate) fn jitter_seed(cluster: &ClusterName, profile: &ProfileName, holder: &Holder) -> String {
    format!("{cluster}/{profile}/{holder}")
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! What tests of other modules need.
    pub(crate) use super::claims::tests::token;
    pub(crate) use super::index::tests::generation;
}
