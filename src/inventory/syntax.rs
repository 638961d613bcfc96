//! The rules for names and URLs: Kubernetes' own, and ours for those that become file names.
//!
//! Every function returns what is wrong, as a text that completes `… is not valid: `. Pure: no I/O, no clock.

use std::net::{IpAddr, Ipv6Addr};

use crate::foreign::is_invisible;

/// What is wrong with a name, if anything.
pub(crate) type Verdict = Result<(), String>;

/// A DNS label (RFC 1123): namespaces, and the names of inventories, profiles and holders.
pub(crate) fn dns_label(name: &str) -> Verdict {
    if name.len() <= 63 && is_dns_label(name) {
        return Ok(());
    }
    Err("it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit".to_owned())
}

/// A DNS subdomain (RFC 1123): the names of ServiceAccounts.
pub(crate) fn dns_subdomain(name: &str) -> Verdict {
    if name.len() <= 253 && name.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err("it must have 1 to 253 lowercase letters, digits, `-` or `.`, and each part between dots must begin and end with a letter or digit".to_owned())
}

fn is_dns_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !matches!(bytes, [] | [b'-', ..] | [.., b'-'])
}

/// A path segment: the names of roles (`path.ValidatePathSegmentName` of Kubernetes).
pub(crate) fn path_segment(name: &str) -> Verdict {
    match name {
        "" => Err("it is empty".to_owned()),
        "." | ".." => Err("it must not be `.` or `..`".to_owned()),
        _ if name.contains(['/', '%']) => Err("it must not contain `/` or `%`".to_owned()),
        _ => Ok(()),
    }
}

/// The name of a cluster. It becomes a part of file names, so it must not lead to another directory.
pub(crate) fn cluster_name(name: &str) -> Verdict {
    let wrong = match name {
        "" => "it is empty",
        _ if name.len() > 253 => "it has more than 253 bytes",
        _ if name.contains(is_invisible) => "it must not contain control characters",
        _ if name.trim() != name => "it must not begin or end with a space",
        _ if name.contains(['/', '\\']) => "it must not contain `/` or `\\`, because it becomes part of file names",
        _ if name.contains("..") => "it must not contain `..`, because it becomes part of file names",
        _ if name.starts_with(['.', '-']) => "it must not begin with `.` or `-`, because it becomes part of file names",
        _ => return Ok(()),
    };
    Err(wrong.to_owned())
}

/// A text that is shown and written: not empty, and without control characters.
pub(crate) fn plain_text(text: &str) -> Verdict {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.contains(is_invisible) => Err("it must not contain control characters".to_owned()),
        _ => Ok(()),
    }
}

/// The name that a server certificate is checked against: a DNS name or an IP address.
pub(crate) fn server_name(name: &str) -> Verdict {
    if name.parse::<IpAddr>().is_ok() || dns_subdomain(&name.to_ascii_lowercase()).is_ok() {
        return Ok(());
    }
    Err("it must be a DNS name or an IP address".to_owned())
}

/// The URL of an API server, in a form that is equal for two spellings of the same server.
///
/// The messages do not repeat the URL, because it may hold a password by mistake.
pub(crate) fn server_url(url: &str) -> Result<String, String> {
    let uri = parse_url(url, &["https"])?;
    let authority = uri.authority().ok_or("it has no host")?;
    if authority.as_str().contains('@') {
        return Err("it must not contain a user or password".to_owned());
    }
    if uri.query().is_some() {
        return Err("it must not have a query".to_owned());
    }
    let port = uri.port_u16().unwrap_or(443);
    let host = authority.host().to_ascii_lowercase();
    Ok(format!("{host}:{port}{}", uri.path().trim_end_matches('/')))
}

/// Whether the host of a URL is the name of a Service, which only pods of its own cluster can resolve.
pub(crate) fn is_for_pods_only(url: &str) -> bool {
    let host =
        url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase)).unwrap_or_default();
    let labels: Vec<&str> = host.split('.').collect();
    matches!(
        labels.as_slice(),
        ["kubernetes"] | ["kubernetes", "default"] | [.., "svc"] | [.., "svc", "cluster", "local"]
    )
}

/// Whether the host of a URL is one that a controller in another cluster cannot reach: the machine that asks, or a Service.
pub(crate) fn is_for_here_only(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = address.is_ok_and(|address| address.is_loopback() || address.is_unspecified());
    is_loopback || host.eq_ignore_ascii_case("localhost") || is_for_pods_only(url)
}

/// The URL of a proxy.
pub(crate) fn proxy_url(url: &str) -> Verdict {
    parse_url(url, &["http", "https", "socks5"]).map(|_| ())
}

/// Whether the host of a URL is an IPv6 address without the brackets that separate it from a port.
pub(crate) fn lacks_brackets(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let without_port = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    [authority, without_port].iter().any(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// The message about an address that [`lacks_brackets`].
pub(crate) const BRACKETS: &str = "an IPv6 address must be in brackets, as in `https://[fd00::1]:6443`";

fn parse_url(url: &str, schemes: &[&str]) -> Result<http::Uri, String> {
    let wanted = || {
        let schemes: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        format!("it must begin with {}", schemes.join(" or "))
    };
    // The parser drops fragments without an error.
    if url.contains('#') {
        return Err("it must not have a fragment".to_owned());
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(wanted)?;
    if !schemes.contains(&scheme) {
        return Err(wanted());
    }
    if rest.is_empty() {
        return Err("it has no host".to_owned());
    }
    if lacks_brackets(url) {
        return Err(BRACKETS.to_owned());
    }
    let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
    let port_is_number = uri.authority().is_some_and(|authority| {
        let host = authority.host();
        let after = authority.as_str().rsplit_once(host).map_or("", |(_, after)| after);
        after.is_empty() || uri.port_u16().is_some()
    });
    match uri.host() {
        None | Some("") => Err("it has no host".to_owned()),
        Some(_) if !port_is_number => Err("its port is no number".to_owned()),
        Some(_) => Ok(uri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_needs_brackets() {
        for url in ["https://fd00::1", "https://fd00::1:6443", "https://::1/k8s", "https://2001:db8::a:443/"] {
            assert_eq!(server_url(url), Err(BRACKETS.to_owned()), "{url}");
        }
        for url in ["https://[::1]:6443", "https://a:6443", "https://10.0.0.1:443"] {
            assert!(server_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        let check = |rule: fn(&str) -> Verdict, good: &[&str], bad: &[&str]| {
            for name in good {
                assert_eq!(rule(name), Ok(()), "{name}");
            }
            for name in bad {
                assert!(rule(name).is_err(), "{name:?}");
            }
        };
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        check(dns_label, &["a", "a-1", &long], &["", "A", "a.b", "-a", "a-", "a_b", &longer]);
        check(dns_subdomain, &["a", "a.b-c", "1.2"], &["", ".", "a.", "a..b", "A", "-a.b", "a-.b"]);
        check(path_segment, &["view", "system:node", "A B"], &["", ".", "..", "a/b", "a%b"]);
        check(
            cluster_name,
            &["prod-eu", "gke_proj_zone_name", "Prod EU", "arn:aws:eks"],
            &[
                "",
                ".a",
                "-a",
                "a/b",
                "a..b",
                "a\\b",
                " a",
                "a ",
                "a\nb",
                "a\0b",
                "a\u{feff}",
                "a\u{2028}",
                "a\u{2029}",
                &"a".repeat(254),
            ],
        );
        check(server_name, &["kube.internal", "Kube.Internal", "10.0.0.1", "::1"], &["", "a b", "https://x"]);
        check(
            |url| server_url(url).map(|_| ()),
            &["https://a", "https://a:6443", "https://10.0.0.1/k8s/clusters/c-1", "https://[::1]:6443"],
            &[
                "",
                "a:6443",
                "http://a",
                "https://",
                "https:///x",
                "https://u:p@a",
                "https://a?x=1",
                "https://a#x",
                "https://a:x",
                "https://a b",
                "HTTPS//a",
            ],
        );
        check(
            proxy_url,
            &["http://proxy:3128", "https://proxy", "socks5://127.0.0.1:1080", "http://u:p@proxy:1"],
            &["", "proxy:3128", "ftp://a", "socks5://", "http://a:x"],
        );
    }

    #[test]
    fn two_spellings_of_one_server_are_equal() {
        let canonical = |url| server_url(url).unwrap();
        assert_eq!(canonical("https://API.example.com"), canonical("https://api.example.com:443/"));
        assert_ne!(canonical("https://api.example.com/a"), canonical("https://api.example.com/b"));
    }
}
