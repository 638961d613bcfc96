//! How consumers reach a cluster.
//!
//! Pure: no I/O, no clock.

/// How consumers reach a cluster: the only part of the admin's knowledge that is handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The server URL.
    pub server: String,
    /// The CA certificates in PEM; without them the consumer's own trust store counts.
    pub certificate_authority: Option<Vec<u8>>,
    /// The name that the server certificate is checked against.
    pub tls_server_name: Option<String>,
    /// The proxy.
    pub proxy_url: Option<String>,
    /// The uid of the namespace kube-system, which tells one cluster from another; nothing if nobody has asked.
    pub cluster_uid: Option<String>,
}

/// Returns a URL without user and password.
pub(crate) fn without_user(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => url.to_owned(),
    }
}
