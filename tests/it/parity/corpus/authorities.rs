//! The check of the server's certificate: CAs, no check at all, and the name.

use crate::parity::case::Case;

pub(super) fn cases() -> Vec<Case> {
    let ca = |name: &'static str, fields: &str| Case::cluster(name, &format!("server: {{SERVER}}\n{fields}"));
    let host = |name: &'static str, host: &str, data: &str| {
        Case::cluster(
            name,
            &format!("server: {{SERVER}}\ntls-server-name: {host}\ncertificate-authority-data: {{B64:{data}.pem}}"),
        )
    };
    let file = |name: &'static str, content: &str| ca(name, "certificate-authority: ca.pem").file("ca.pem", content);
    vec![
        file("ca-file", "{CA_PEM}"),
        ca("ca-file-absolute", "certificate-authority: {DIR}/ca.pem").file("ca.pem", "{CA_PEM}"),
        ca("ca-file-parent", "certificate-authority: pki/../pki/ca.pem").file("pki/ca.pem", "{CA_PEM}"),
        ca("ca-file-missing", "certificate-authority: ca.pem"),
        ca("ca-file-is-directory", "certificate-authority: ca.pem").file("ca.pem/file", ""),
        file("ca-file-empty", ""),
        file("ca-file-crlf", "{CA_PEM}\r\n"),
        file("ca-file-der", "no PEM at all"),
        ca("ca-data-and-file", "certificate-authority: ca.pem\ncertificate-authority-data: {CA}")
            .file("ca.pem", "{CA_PEM}"),
        ca("ca-data-and-missing-file", "certificate-authority: ca.pem\ncertificate-authority-data: {CA}"),
        ca("ca-data-and-empty-file-name", "certificate-authority: ''\ncertificate-authority-data: {CA}"),
        ca("ca-empty-data-and-file", "certificate-authority: ca.pem\ncertificate-authority-data: ''")
            .file("ca.pem", "{CA_PEM}"),
        Case::cluster("ca-none", "server: {SERVER}"),
        ca("ca-empty-strings", "certificate-authority: ''\ncertificate-authority-data: ''"),
        ca("ca-null", "certificate-authority:\ncertificate-authority-data:"),
        file("ca-bundle-last-fits", "{PEM:other-ca.pem}{PEM:twin-ca.pem}{CA_PEM}"),
        file("ca-bundle-first-fits", "{CA_PEM}{PEM:other-ca.pem}"),
        file("ca-bundle-with-text", "# the first\n{PEM:other-ca.pem}\nsubject=us\n\n{CA_PEM}trailing text\n"),
        file("ca-with-key-in-file", "{PEM:client-p256-key.pem}{CA_PEM}"),
        file("ca-only-key-in-file", "{PEM:client-p256-key.pem}"),
        file("ca-bundle-with-broken-block", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{CA_PEM}"),
        file("ca-bundle-with-broken-base64", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n{CA_PEM}"),
        file("ca-bundle-unfinished-block", "{CA_PEM}-----BEGIN CERTIFICATE-----\nAAAA\n"),
        file(
            "ca-trusted-certificate-block",
            "-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n{CA_PEM}",
        ),
        file("ca-bom", "\u{feff}{CA_PEM}"),
        file("ca-indented", "  {CA_PEM}"),
        file("ca-bundle-same-twice", "{CA_PEM}{CA_PEM}"),
        ca("ca-wrong", "certificate-authority-data: {B64:other-ca.pem}"),
        host("ca-fits-name", "kube.parity.test", "server-ca"),
        host("ca-wrong-same-subject", "kube.parity.test", "twin-ca"),
        Case::cluster(
            "ca-twin-and-right",
            "server: {SERVER}\ntls-server-name: kube.parity.test\ncertificate-authority: ca.pem",
        )
        .file("ca.pem", "{PEM:twin-ca.pem}{PEM:server-ca.pem}"),
        host("ca-expired", "kube.expired.test", "expired-ca"),
        host("ca-is-the-leaf", "kube.parity.test", "server"),
        host("ca-root-of-chain", "kube.chained.test", "server-ca"),
        host("ca-is-the-intermediate", "kube.chained.test", "intermediate"),
        host("ca-is-the-leaf-of-chain", "kube.chained.test", "chained"),
        host("ca-is-self-signed", "self.signed.test", "self-signed"),
        host("ca-other-for-self-signed", "self.signed.test", "server-ca"),
        host("ca-is-client-certificate", "kube.parity.test", "client-p256"),
        ca("ca-data-not-base64", "certificate-authority-data: '%%%'"),
        ca("ca-data-base64-of-nothing", "certificate-authority-data: bm90aGluZw=="),
        ca("ca-data-without-padding", "certificate-authority-data: bm90aGluZw"),
        ca("ca-data-url-alphabet", "certificate-authority-data: '-_-_'"),
        ca("ca-data-line-breaks", "certificate-authority-data: |\n  {CA}\n\n"),
        ca("ca-data-inner-line-breaks", "certificate-authority-data: \"\\n{CA}\\r\\n\""),
        ca("ca-data-inner-spaces", "certificate-authority-data: ' {CA} '"),
        ca("ca-data-folded", "certificate-authority-data: >\n  {CA}"),
        ca("ca-data-binary-tag", "certificate-authority-data: !!binary {CA}"),
        ca("insecure", "insecure-skip-tls-verify: true").insecure(),
        ca("insecure-not-allowed-by-inventory", "insecure-skip-tls-verify: true"),
        ca("insecure-false", "insecure-skip-tls-verify: false\ncertificate-authority-data: {CA}"),
        ca("insecure-false-without-ca", "insecure-skip-tls-verify: false"),
        ca("insecure-with-ca-data", "insecure-skip-tls-verify: true\ncertificate-authority-data: {CA}").insecure(),
        ca("insecure-with-ca-file", "insecure-skip-tls-verify: true\ncertificate-authority: ca.pem")
            .file("ca.pem", "{CA_PEM}")
            .insecure(),
        ca("insecure-with-empty-ca", "insecure-skip-tls-verify: true\ncertificate-authority-data: ''").insecure(),
        ca("insecure-with-name", "insecure-skip-tls-verify: true\ntls-server-name: other.example").insecure(),
        ca("insecure-string", "insecure-skip-tls-verify: 'true'").insecure(),
        ca("insecure-yes", "insecure-skip-tls-verify: yes").insecure(),
        ca("insecure-null", "insecure-skip-tls-verify:\ncertificate-authority-data: {CA}"),
        host("insecure-allowed-and-not-asked", "kube.parity.test", "other-ca").insecure(),
        Case::pair(
            "insecure-with-certificate",
            "server: {SERVER}\ninsecure-skip-tls-verify: true",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}",
        )
        .insecure(),
    ]
}

pub(super) fn server_names() -> Vec<Case> {
    let name = |case: &'static str, name: &str| {
        Case::cluster(
            case,
            &format!("server: {{SERVER}}\ncertificate-authority-data: {{B64:server-ca.pem}}\ntls-server-name: {name}"),
        )
    };
    let kit = |case: &'static str, name: &str| {
        Case::cluster(case, &format!("server: {{SERVER}}\ncertificate-authority-data: {{CA}}\ntls-server-name: {name}"))
    };
    vec![
        name("tls-name-right", "kube.parity.test"),
        name("tls-name-under-wildcard", "any.parity.test"),
        name("tls-name-too-deep-for-wildcard", "a.b.parity.test"),
        name("tls-name-wildcard-itself", "'*.parity.test'"),
        name("tls-name-wrong", "kube.example.com"),
        name("tls-name-capitals", "KUBE.Parity.Test"),
        name("tls-name-trailing-dot", "kube.parity.test."),
        name("tls-name-underscore", "a_b.parity.test"),
        name("tls-name-with-port", "kube.parity.test:6443"),
        name("tls-name-space", "'kube.parity.test '"),
        name("tls-name-not-ascii", "käse.parity.test"),
        kit("tls-name-ip", "127.0.0.1"),
        kit("tls-name-other-ip", "127.0.0.2"),
        kit("tls-name-ip-six", "'::1'"),
        kit("tls-name-ip-brackets", "'[127.0.0.1]'"),
        kit("tls-name-localhost", "localhost"),
        kit("tls-name-empty", "''"),
        kit("tls-name-null", "null"),
    ]
}
