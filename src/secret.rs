//! Secrets that redact themselves: a token cannot be formatted, compared or serialised by accident.
//!
//! [`SecretToken::expose`] is the only way out. Its callers are the writers of kubeconfigs and Secrets, the HTTP client
//! that proves a token, and the reader of claims, which keeps nothing of it; a test holds the list. Pure: no I/O, no clock.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A bearer token.
#[derive(Clone)]
pub(crate) struct SecretToken(SecretString);

impl SecretToken {
    /// Wraps a token.
    pub(crate) fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }

    /// Returns the token itself. Every call is a decision: see the module's documentation.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns whether two values hold the same token, without showing either.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", SecretToken::new("eyJ")), "[REDACTED]");
    }
}
