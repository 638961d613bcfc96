//! Findings about kubeconfigs that are combined: what was left out, and what will not work.
//!
//! Pure: no I/O, no clock.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::input::{Input, name_of};
use super::paths::files;
use super::{CombineOptions, Digest};
use crate::credential::Claims;
use crate::kubeconfig::edit::List;
use crate::secret::SecretToken;

/// Reads a file that an entry names; nothing if it cannot be read.
pub type ReadPart<'a> = &'a (dyn Fn(&Path) -> Option<Vec<u8>> + Sync);

/// Something about one input that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The input.
    pub input: String,
    /// What it is.
    pub message: String,
    /// Whether something of the input was left out.
    pub left_out: bool,
}

impl Finding {
    pub(super) fn dangling(input: &str, context: &str, (kind, name): (&str, &str)) -> Self {
        let what = if name.is_empty() { format!("no {kind}") } else { format!("{kind} `{name}`, which is not there") };
        let message = format!("context `{context}` refers to {what}; it is left out");
        Self { input: input.to_owned(), message, left_out: true }
    }

    pub(super) fn kept_first(input: &str, (list, name): (List, &str), (other, occupied): (List, &str)) -> Self {
        let kind = |list: List| list.singular();
        let message =
            format!("{} `{name}` is left out: {} `{occupied}` is another one's already", kind(list), kind(other));
        Self { input: input.to_owned(), message, left_out: true }
    }
}

/// Finds credentials and certificates that have expired, and files that do not exist.
pub(super) fn outdated(input: &Input, options: &CombineOptions, now: Timestamp, read: ReadPart<'_>) -> Vec<Finding> {
    // Entries that share a CA or a token would repeat the same message.
    let mut seen = std::collections::HashSet::new();
    let mut messages = vec![];
    input.units(&CombineOptions { directory: None, ..options.clone() }, &mut |unit| {
        let entries = [(List::Clusters, "cluster", &unit.cluster), (List::Users, "user", &unit.user)];
        for (list, key, entry) in entries {
            let Some(entry) = entry.as_ref().filter(|entry| seen.insert((list, Digest::of(entry)))) else {
                continue;
            };
            let said = check(list, &entry[key], now, read);
            messages.extend(said.into_iter().map(|said| format!("{key} `{}`: {said}", name_of(entry))));
        }
    });
    let finding = |message| Finding { input: input.name.clone(), message, left_out: false };
    messages.into_iter().map(finding).collect()
}

fn check(list: List, body: &Value, now: Timestamp, read: ReadPart<'_>) -> Vec<String> {
    let mut said = vec![];
    for (field, path, _) in files(list, body, Path::new("/")) {
        match read(&path) {
            None => said.push(format!("`{field}` `{}` cannot be read", path.display())),
            Some(bytes) if field == "tokenFile" => {
                said.extend(String::from_utf8(bytes).ok().and_then(|token| expired_token(token.trim(), now)));
            }
            Some(bytes) if field != "client-key" => said.extend(expired_certificate(field, &bytes, now)),
            Some(_) => {}
        }
    }
    for field in ["certificate-authority-data", "client-certificate-data"] {
        if let Some(bytes) = body[field].as_str().and_then(|data| STANDARD.decode(data.trim()).ok()) {
            said.extend(expired_certificate(field, &bytes, now));
        }
    }
    said.extend(body["token"].as_str().and_then(|token| expired_token(token, now)));
    said
}

fn expired_token(token: &str, now: Timestamp) -> Option<String> {
    // Only a JSON Web Token says when it expires.
    let expires = Claims::of(&SecretToken::new(token)).ok()?.expires;
    (expires <= now).then(|| format!("its token expired at {expires}"))
}

/// Says when the last certificate of a bundle expired; an expired one beside a current one is normal.
fn expired_certificate(field: &str, pem: &[u8], now: Timestamp) -> Option<String> {
    let ends = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    });
    let last = ends.max()?;
    (last <= now).then(|| format!("`{field}` expired at {last}"))
}
