//! How consumers reach a cluster, and how that differs from what a file says.
//!
//! Pure: no I/O, no clock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::digest::Digest;
use crate::diff::FieldDiff;

/// How consumers reach a cluster: the only part of the admin's knowledge that is handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The server URL.
    pub server: String,
    /// The CA certificates in PEM; without them the consumer's own trust store counts.
    pub certificate_authority: Option<Vec<u8>>,
    /// The name that the server certificate is checked against.
    pub tls_server_name: Option<String>,
    /// The proxy.
    pub proxy_url: Option<String>,
}

/// The endpoint in a cluster entry of ours, as far as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEndpoint {
    server: String,
    tls_server_name: Option<String>,
    /// Without user and password.
    proxy_url: Option<String>,
    certificate_authority: Option<Digest>,
}

impl HeldEndpoint {
    pub(super) fn of(cluster: &Value) -> Option<Self> {
        let text = |key: &str| cluster[key].as_str().map(str::to_owned);
        Some(Self {
            server: text("server")?,
            tls_server_name: text("tls-server-name"),
            proxy_url: text("proxy-url").map(|proxy| without_user(&proxy)),
            certificate_authority: cluster.get("certificate-authority-data").cloned().map(Digest::of),
        })
    }

    /// Returns what differs in an endpoint that would be written instead.
    pub fn diff(&self, wanted: &Endpoint) -> Vec<FieldDiff> {
        let mut diffs = vec![];
        let mut compare = |field: &str, before: Option<&str>, after: Option<&str>| {
            if before != after {
                let lines = |side: Option<&str>| side.map(str::to_owned).into_iter().collect();
                diffs.push(FieldDiff { field: field.to_owned(), removed: lines(before), added: lines(after) });
            }
        };
        let proxy = wanted.proxy_url.as_deref().map(without_user);
        compare("server", Some(&self.server), Some(&wanted.server));
        compare("tls-server-name", self.tls_server_name.as_deref(), wanted.tls_server_name.as_deref());
        compare("proxy-url", self.proxy_url.as_deref(), proxy.as_deref());
        let authority = wanted.certificate_authority.as_ref().map(|pem| Digest::of(STANDARD.encode(pem).into()));
        if self.certificate_authority != authority {
            compare("certificate-authority-data", Some("the one before"), Some("another"));
        }
        diffs
    }
}

/// Returns a URL without user and password.
pub(crate) fn without_user(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_shown_without_passwords() {
        let held = HeldEndpoint::of(&json!({"server": "https://a", "proxy-url": "http://u:s3cret@p:1"})).unwrap();
        let wanted = Endpoint {
            server: "https://b".to_owned(),
            certificate_authority: Some(b"CA".to_vec()),
            proxy_url: Some("http://u:0ther@p:2".to_owned()),
            ..Endpoint::default()
        };
        let shown = format!("{:?}", held.diff(&wanted));
        assert!(
            shown.contains("https://a") && shown.contains("http://p:2") && shown.contains("certificate"),
            "{shown}"
        );
        assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
    }
}
