//! Random and derived identifiers: tokens, UIDs, digests.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;

/// Returns `N` random bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}

/// Returns `2 * N` random hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> String {
    hex(&random_bytes::<N>())
}

/// Returns a random UID, as the API server gives to a new object.
pub(crate) fn random_uid() -> String {
    uid(random_bytes())
}

/// Returns the UID that belongs to `seed`: the same in every run.
pub(crate) fn derived_uid(seed: &str) -> String {
    let digest = digest(&SHA256, seed.as_bytes());
    let bytes = digest.as_ref()[..16].try_into().expect("a SHA-256 digest has more than 16 bytes");
    uid(bytes)
}

/// Returns the hexadecimal SHA-256 digest of `bytes`.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn uid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
