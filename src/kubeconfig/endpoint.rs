//! How consumers reach a cluster.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

/// How consumers reach a cluster. Nothing else that the admin knows is handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The server URL.
    pub server: String,
    /// The CA certificates in PEM; without them the consumer's own trust store counts.
    pub certificate_authority: Option<Arc<[u8]>>,
    /// The name that the server certificate is checked against.
    pub tls_server_name: Option<String>,
    /// The proxy.
    pub proxy_url: Option<String>,
    /// The uid of the namespace kube-system, which identifies the cluster; nothing if it was not asked for.
    pub cluster_uid: Option<String>,
}

/// Returns a URL without user and password, also one that lacks its scheme.
pub(crate) fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    scheme.map_or_else(|| host.to_owned(), |scheme| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_left_out() {
        for (url, shown) in [
            ("http://u:p@proxy:3128", "http://proxy:3128"),
            ("http://u:p@x@proxy:3128/a", "http://proxy:3128/a"),
            ("u:p@proxy:3128", "proxy:3128"),
            ("socks5://proxy", "socks5://proxy"),
            ("apps", "apps"),
        ] {
            assert_eq!(without_user(url), shown, "{url}");
        }
    }
}
