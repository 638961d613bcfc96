//! The validity periods of certificates and tokens. Nothing that is decoded here is shown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kubeconfig::{FileFinding, FileFindingKind as Kind};
use crate::wording::duration;

/// Certificates are renewed by hand or once a year, so a month's notice is enough.
const SOON: i64 = 30 * 24 * 3600;
/// The clock of the machine that made a certificate may differ.
const SKEW: i64 = 5 * 60;

/// Checks the dates of PEM certificates. If there are several, one current certificate is enough.
pub(super) fn certificates(pem: &[u8], what: &str, line: Option<usize>, now: Timestamp) -> Vec<FileFinding> {
    let ders: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let validity = |der: &CertificateDer<'static>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
    };
    let Some((from, until)) = ders.iter().filter_map(validity).max_by_key(|(_, until)| *until) else { return vec![] };
    let kinds = (Kind::CertificateNotYetValid, Kind::CertificateExpired, Kind::CertificateExpiresSoon);
    period(what, line, now, Some(from), Some(until), SOON, kinds).into_iter().collect()
}

#[derive(Deserialize)]
struct Payload {
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
}

/// Checks the dates of a token; returns nothing for one that is no JSON Web Token.
pub(super) fn token(token: &SecretString, line: Option<usize>, now: Timestamp) -> Option<FileFinding> {
    let mut parts = token.expose_secret().split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let payload: Payload = serde_json::from_slice(&payload).ok()?;
    // A month's notice makes no sense for a token of an hour: for tokens, "soon" is the last tenth of the lifetime.
    let life = payload.iat.or(payload.nbf).zip(payload.exp).map_or(0, |(from, until)| until.saturating_sub(from));
    let kinds = (Kind::TokenNotYetValid, Kind::TokenExpired, Kind::TokenExpiresSoon);
    period("the token", line, now, payload.nbf, payload.exp, life / 10, kinds)
}

fn period(
    what: &str,
    line: Option<usize>,
    now: Timestamp,
    from: Option<i64>,
    until: Option<i64>,
    soon: i64,
    (early, over, ending): (Kind, Kind, Kind),
) -> Option<FileFinding> {
    let seconds = |seconds: i64| duration(std::time::Duration::from_secs(rounded(seconds.unsigned_abs())));
    let now = now.as_second();
    if let Some(wait) = from.map(|from| from.saturating_sub(now)).filter(|wait| *wait > SKEW) {
        let message = format!("{what} is not valid for another {}", seconds(wait));
        return Some(FileFinding::error(early, line, message).hint("check this machine's clock"));
    }
    let left = until?.saturating_sub(now);
    if left <= 0 {
        return Some(FileFinding::error(over, line, format!("{what} expired {} ago", seconds(left))));
    }
    (left < soon).then(|| FileFinding::warning(ending, line, format!("{what} expires in {}", seconds(left))))
}

/// For durations of days, seconds are left out.
fn rounded(seconds: u64) -> u64 {
    match seconds {
        0..3_600 => seconds,
        3_600..172_800 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    }
}
