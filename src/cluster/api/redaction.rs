//! Removes a connection's own secrets from what is sent back: broken proxies echo requests.

use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

use super::budget::Content;

/// A shorter value is no secret, and would be found in many words.
const SHORTEST: usize = 8;

/// The secrets of one connection.
#[derive(Default)]
pub(super) struct Redaction(Vec<SecretString>);

impl Redaction {
    pub(super) fn new(secrets: Vec<SecretString>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.expose_secret().len() >= SHORTEST).collect())
    }

    /// Returns a response without the secrets.
    pub(super) fn of(&self, mut content: Content) -> Content {
        for secret in &self.0 {
            let secret = secret.expose_secret().as_bytes();
            if memmem::find(&content.bytes, secret).is_none() {
                continue;
            }
            let mut kept: Vec<u8> = Vec::with_capacity(content.bytes.len());
            let mut from = 0;
            for at in memmem::find_iter(&content.bytes, secret) {
                kept.extend_from_slice(&content.bytes[from..at]);
                kept.extend_from_slice(b"[REDACTED]");
                from = at + secret.len();
            }
            kept.extend_from_slice(&content.bytes[from..]);
            content.bytes = kept.into();
        }
        content
    }
}
