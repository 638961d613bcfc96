//! Which proxy leads to a server: the kubeconfig's, else the environment's by Go's rules.
//!
//! kubectl decides with Go's `golang.org/x/net/http/httpproxy`; no crate follows its rules (curl's and reqwest's differ
//! for leading dots, ports and loopback).

use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// A proxy.
#[derive(Clone)]
pub(in crate::cluster) struct Proxy {
    pub(in crate::cluster) scheme: ProxyScheme,
    /// Its URL without user and password.
    pub(in crate::cluster) address: http::Uri,
    pub(in crate::cluster) login: Option<(String, SecretString)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum ProxyScheme {
    Http,
    Https,
    Socks5,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl Proxy {
    /// Parses a URL; the error does not quote it, because it may hold a password.
    pub(in crate::cluster) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("`proxy-url` has no scheme")?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" => (ProxyScheme::Socks5, 1080),
            _ => return Err("`proxy-url` is not http, https or socks5".to_owned()),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user_info, address) = match rest.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, rest),
        };
        let malformed = "`proxy-url` has no valid host and port";
        let authority: http::uri::Authority = address.parse().map_err(|_| malformed)?;
        if authority.host().is_empty() {
            return Err(malformed.to_owned());
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => default_port,
            _ => authority.port_u16().ok_or(malformed)?,
        };
        // The connector knows default ports only for http, and would read the scheme as its own task.
        let word = if scheme == ProxyScheme::Https { "https" } else { "http" };
        let address = format!("{word}://{}:{port}", authority.host()).parse().map_err(|_| malformed)?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = user_info.map(|user_info| match user_info.split_once(':') {
            Some((user, password)) => (decode(user), SecretString::from(decode(password))),
            None => (decode(user_info), SecretString::from("")),
        });
        Ok(Self { scheme, address, login })
    }
}

/// `HTTPS_PROXY` and `NO_PROXY`, which apply where a kubeconfig names no proxy.
#[derive(Clone, Default)]
pub(crate) struct ProxyEnvironment {
    https_proxy: Option<SecretString>,
    exceptions: Vec<Exception>,
}

impl std::fmt::Debug for ProxyEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProxyEnvironment({} exceptions)", self.exceptions.len())
    }
}

/// What an entry of `NO_PROXY` matches; a port of `None` is any.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Network(IpNet),
    Address(IpAddr, Option<String>),
    /// Names that end with the text, which begins with a dot; also the name itself if `itself`.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<String>,
    },
}

impl ProxyEnvironment {
    /// Takes the values of the two variables.
    pub(crate) fn new(https_proxy: Option<String>, no_proxy: &str) -> Self {
        let exceptions = no_proxy.split(',').filter_map(|entry| Exception::parse(entry.trim())).collect();
        Self { https_proxy: https_proxy.filter(|url| !url.is_empty()).map(SecretString::from), exceptions }
    }

    /// Returns the proxy that leads to a host.
    pub(super) fn proxy_of(&self, host: &str, port: u16) -> Result<Option<Proxy>, String> {
        let Some(url) = self.https_proxy.as_ref().filter(|_| self.applies_to(host, port)) else { return Ok(None) };
        let url = url.expose_secret();
        // Go treats both as socks5, which resolves names at the proxy.
        let url = url.strip_prefix("socks5h://").map_or_else(|| url.to_owned(), |rest| format!("socks5://{rest}"));
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        Proxy::parse(&url).map(Some).map_err(|problem| problem.replace("`proxy-url`", "`HTTPS_PROXY`"))
    }

    fn applies_to(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return false;
        }
        let port = port.to_string();
        !self.exceptions.iter().any(|exception| exception.matches(&host, address, &port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return Some(Self::Network(network));
        }
        let (host, port) = split_port(&entry);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.map(str::to_owned);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host {
            "" => None,
            _ if host.starts_with('.') => Some(Self::Domain { suffix: host.to_owned(), itself: false, port }),
            _ => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let fits = |wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == port);
        match self {
            Self::Everything => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(wanted, wanted_port) => address == Some(*wanted) && fits(wanted_port),
            Self::Domain { suffix, itself, port: wanted } => {
                let is_below = host.ends_with(suffix.as_str());
                address.is_none() && (is_below || (*itself && host == &suffix[1..])) && fits(wanted)
            }
        }
    }
}

/// Splits off a port as Go's `net.SplitHostPort` does; an address with several colons and no brackets has none.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
            (host, Some(port))
        }
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, host: &str) -> bool {
        ProxyEnvironment::new(Some("http://proxy:3128".into()), no_proxy).proxy_of(host, 6443).unwrap().is_some()
    }

    /// After the cases of Go's `httpproxy/proxy_test.go`.
    #[test]
    fn exceptions_are_gos() {
        for (no_proxy, host, expected) in [
            ("", "api.example.com", true),
            ("", "localhost", false),
            ("", "127.0.0.1", false),
            ("", "127.1.2.3", false),
            ("", "[::1]", false),
            ("", "localhost.example.com", true),
            ("*", "api.example.com", false),
            ("example.com", "example.com", false),
            ("example.com", "api.example.com", false),
            ("example.com", "notexample.com", true),
            (".example.com", "api.example.com", false),
            (".example.com", "example.com", true),
            ("*.example.com", "api.example.com", false),
            ("*.example.com", "example.com", true),
            ("EXAMPLE.com", "api.Example.COM", false),
            ("example.com:6443", "example.com", false),
            ("example.com:443", "example.com", true),
            (" other.com , example.com ,", "example.com", false),
            ("192.168.1.0/24", "192.168.1.9", false),
            ("192.168.1.0/24", "192.168.2.9", true),
            ("192.168.1.9", "192.168.1.9", false),
            ("192.168.1.9:6443", "192.168.1.9", false),
            ("192.168.1.9:1", "192.168.1.9", true),
            ("2001:db8::52", "[2001:db8::52]", false),
            ("::ffff:192.168.1.9", "192.168.1.9", false),
            ("", "[::ffff:127.0.0.1]", false),
            ("[2001:db8::52]:6443", "[2001:db8::52]", false),
            ("2001:db8::/32", "[2001:db8::53]", false),
            (":6443", "example.com", true),
        ] {
            assert_eq!(proxied(no_proxy, host), expected, "NO_PROXY={no_proxy} {host}");
        }
    }

    #[test]
    fn a_url_is_taken_apart_and_never_shown_with_its_password() {
        let proxy = Proxy::parse("https://jo:p%40ss@proxy.example.com").unwrap();
        assert_eq!(
            (proxy.scheme, proxy.address.to_string().as_str()),
            (ProxyScheme::Https, "https://proxy.example.com:443/")
        );
        let (user, password) = proxy.login.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("jo", "p@ss"));
        assert!(!format!("{proxy:?}").contains("p@ss"));
        for url in ["proxy:3128", "ftp://proxy", "socks5h://proxy", "http://", "http://u:s3cret@", "http://a:b"] {
            assert!(!Proxy::parse(url).unwrap_err().contains("s3cret"), "{url}");
        }
        assert_eq!(Proxy::parse("socks5://[::1]").unwrap().address.to_string(), "http://[::1]:1080/");
    }

    #[test]
    fn the_environment_may_leave_out_the_scheme() {
        let proxy = ProxyEnvironment::new(Some("proxy:3128".into()), "").proxy_of("a.b", 443).unwrap().unwrap();
        assert_eq!(proxy.address.to_string(), "http://proxy:3128/");
        let error = ProxyEnvironment::new(Some("ftp://u:s3cret@x".into()), "").proxy_of("a.b", 443).unwrap_err();
        assert_eq!(error, "`HTTPS_PROXY` is not http, https or socks5");
    }
}
