//! A credential: the token, and what is known about it.
//!
//! Pure: no I/O, no clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secret::SecretToken;

/// What is known about a credential beside the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CredentialFacts {
    /// Its kind; `token` today.
    pub kind: String,
    /// Its generation.
    pub generation: u64,
    /// The name of its anchor.
    pub anchor: String,
    /// The uid of its anchor.
    pub anchor_uid: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// The lifetime that was requested, in seconds.
    pub requested_seconds: u64,
    /// When it really expires.
    pub expires: Timestamp,
}

/// A credential that can be published.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    /// What is known about it.
    pub facts: CredentialFacts,
    /// The token.
    pub token: SecretToken,
}
