//! The server's URL.

use crate::parity::case::Case;

pub(super) fn cases() -> Vec<Case> {
    let server = |name: &'static str, server: &str| {
        Case::cluster(name, &format!("server: {server}\ncertificate-authority-data: {{CA}}"))
    };
    let parity = |name: &'static str, server: &str| {
        Case::cluster(name, &format!("server: {server}\ncertificate-authority-data: {{B64:server-ca.pem}}"))
    };
    // An address sends no name, and the API server serves the kit's certificate without one.
    let six = |name: &'static str, server: &str| {
        let authority = "certificate-authority-data: {B64:server-ca.pem}\ntls-server-name: kube.parity.test";
        Case::cluster(name, &format!("server: {server}\n{authority}"))
    };
    vec![
        server("server", "https://127.0.0.1:{PORT}"),
        server("server-slash", "https://127.0.0.1:{PORT}/"),
        server("server-two-slashes", "https://127.0.0.1:{PORT}//"),
        server("server-capital-scheme", "HTTPS://127.0.0.1:{PORT}"),
        server("server-localhost", "https://localhost:{PORT}"),
        server("server-capital-host", "https://LOCALHOST:{PORT}"),
        server("server-no-scheme", "127.0.0.1:{PORT}"),
        server("server-no-scheme-localhost", "localhost:{PORT}"),
        server("server-no-scheme-plain", "127.0.0.1:{PLAIN}"),
        server("server-no-scheme-slashes", "//127.0.0.1:{PORT}"),
        server("server-http", "http://127.0.0.1:{PORT}"),
        server("server-http-plain", "http://127.0.0.1:{PLAIN}"),
        server("server-other-scheme", "ftp://127.0.0.1:{PORT}"),
        server("server-unix", "unix:///var/run/server.sock"),
        server("server-no-port", "https://127.0.0.1"),
        server("server-closed-port", "https://127.0.0.1:1"),
        server("server-port-zero", "https://127.0.0.1:0"),
        server("server-port-too-large", "https://127.0.0.1:99999"),
        server("server-port-letters", "https://127.0.0.1:https"),
        server("server-colon-without-port", "'https://127.0.0.1:'"),
        server("server-empty", "''"),
        server("server-null", "null"),
        server("server-number", "6443"),
        server("server-no-host", "https://"),
        server("server-only-port", "https://:{PORT}"),
        server("server-spaces", "'https://127.0.0.1:{PORT} '"),
        server("server-leading-space", "' https://127.0.0.1:{PORT}'"),
        server("server-newline", "\"https://127.0.0.1:{PORT}\\n\""),
        server("server-user", "https://user@127.0.0.1:{PORT}"),
        server("server-password", "https://user:secret@127.0.0.1:{PORT}"),
        server("server-query", "https://127.0.0.1:{PORT}?a=b"),
        server("server-slash-query", "https://127.0.0.1:{PORT}/?a=b"),
        server("server-fragment", "'https://127.0.0.1:{PORT}#part'"),
        server("server-backslash", "'https:\\\\127.0.0.1:{PORT}'"),
        server("server-one-slash", "https:/127.0.0.1:{PORT}"),
        server("server-unresolvable", "https://kube.parity.test:{PORT}"),
        server("server-short-ip", "https://127.1:{PORT}"),
        server("server-all-interfaces", "https://0.0.0.0:{PORT}"),
        server("server-of-quoted-number-port", "\"https://127.0.0.1:{PORT}\""),
        server("server-path-that-is-not-there", "https://127.0.0.1:{PORT}/not/there"),
        server("server-path-api", "https://127.0.0.1:{PORT}/api/v1"),
        server("server-percent", "https://127.0.0.1:{PORT}/%zz"),
        parity("server-prefix", "https://127.0.0.1:{PREFIX}/clusters/c-1"),
        parity("server-prefix-slash", "https://127.0.0.1:{PREFIX}/clusters/c-1/"),
        parity("server-prefix-two-slashes", "https://127.0.0.1:{PREFIX}/clusters/c-1//"),
        parity("server-prefix-dots", "https://127.0.0.1:{PREFIX}/clusters/x/../c-1"),
        parity("server-prefix-wrong", "https://127.0.0.1:{PREFIX}/clusters/c-2"),
        parity("server-prefix-query", "https://127.0.0.1:{PREFIX}/clusters/c-1?a=b"),
        six("server-six", "https://[::1]:{SIX}"),
        six("server-six-full", "https://[0:0:0:0:0:0:0:1]:{SIX}"),
        six("server-six-without-brackets", "https://::1:{SIX}"),
        Case::cluster("server-redirects", "server: https://127.0.0.1:{REDIRECT}\ncertificate-authority: ca.pem")
            .file("ca.pem", "{PEM:server-ca.pem}{CA_PEM}"),
        Case::cluster("server-in-capitals-key", "Server: {SERVER}\ncertificate-authority-data: {CA}"),
        Case::cluster(
            "server-disable-compression",
            "server: {SERVER}\ncertificate-authority-data: {CA}\ndisable-compression: true",
        ),
        Case::cluster("server-missing", "certificate-authority-data: {CA}"),
    ]
}
