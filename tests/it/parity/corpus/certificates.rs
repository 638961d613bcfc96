//! Client certificates: kinds and forms of keys, where they are, and pairs that do not fit.

use crate::parity::case::Case;

#[expect(clippy::too_many_lines, reason = "it is a list")]
pub(super) fn cases() -> Vec<Case> {
    let data = |name: &'static str, certificate: &str, key: &str| {
        Case::user(
            name,
            &format!("client-certificate-data: {{B64:{certificate}.pem}}\nclient-key-data: {{B64:{key}.pem}}"),
        )
    };
    let files = |name: &'static str, certificate: &str, key: &str| {
        Case::user(name, "client-certificate: client.pem\nclient-key: key.pem")
            .file("client.pem", certificate)
            .file("key.pem", key)
    };
    let (pem, key) = ("{PEM:client-p256.pem}", "{PEM:client-p256-key.pem}");
    vec![
        data("rsa-pkcs8", "client-rsa", "client-rsa-key"),
        data("rsa-pkcs1", "client-rsa", "client-rsa-pkcs1-key"),
        data("p256-pkcs8", "client-p256", "client-p256-key"),
        data("p256-sec1", "client-p256", "client-p256-sec1-key"),
        data("p256-sec1-with-parameters", "client-p256", "client-p256-parameters-key"),
        data("p384-pkcs8", "client-p384", "client-p384-key"),
        data("p384-sec1", "client-p384", "client-p384-sec1-key"),
        data("p521-pkcs8", "client-p521", "client-p521-key"),
        data("p521-sec1", "client-p521", "client-p521-sec1-key"),
        data("ed25519-pkcs8", "client-ed25519", "client-ed25519-key"),
        data("two-organizations", "client-groups", "client-p256-key"),
        data("encrypted-pkcs8", "client-p256", "client-p256-encrypted-key"),
        data("encrypted-legacy", "client-rsa", "client-rsa-legacy-encrypted-key"),
        data("mismatching-key", "client-rsa", "client-p256-key"),
        data("mismatching-key-same-kind", "client-p256", "server-key"),
        data("expired", "client-expired", "client-p256-key"),
        data("not-yet-valid", "client-future", "client-p256-key"),
        data("of-unknown-ca", "client-unknown", "client-p256-key"),
        data("of-server-usage", "client-server-usage", "client-p256-key"),
        data("certificate-and-key-swapped", "client-p256-key", "client-p256"),
        files("certificate-files", pem, key),
        files("certificate-file-with-text", "subject=somebody\n{PEM:client-p256.pem}", key),
        files("certificate-file-with-chain", "{PEM:client-p256.pem}{PEM:client-ca.pem}", key),
        files("certificate-file-chain-reversed", "{PEM:client-ca.pem}{PEM:client-p256.pem}", key),
        files("certificate-file-empty", "", key),
        files("key-file-empty", pem, ""),
        files("key-file-with-certificate", pem, "{PEM:client-p256.pem}{PEM:client-p256-key.pem}"),
        files("key-file-two-keys", pem, "{PEM:client-p256-key.pem}{PEM:client-rsa-key.pem}"),
        files("key-file-two-keys-last-fits", pem, "{PEM:client-rsa-key.pem}{PEM:client-p256-key.pem}"),
        files("certificate-file-garbage", "nothing of the kind", key),
        files("key-file-public-key", pem, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        Case::user("certificate-files-absolute", "client-certificate: {DIR}/client.pem\nclient-key: {DIR}/key.pem")
            .file("client.pem", pem)
            .file("key.pem", key),
        Case::user("certificate-and-key-in-one-file", "client-certificate: both.pem\nclient-key: both.pem")
            .file("both.pem", "{PEM:client-p256.pem}{PEM:client-p256-key.pem}"),
        Case::user("key-and-certificate-in-one-file", "client-certificate: both.pem\nclient-key: both.pem")
            .file("both.pem", "{PEM:client-p256-key.pem}{PEM:client-p256.pem}"),
        Case::user("certificate-file-missing", "client-certificate: client.pem\nclient-key: key.pem")
            .file("key.pem", key),
        Case::user("key-file-missing", "client-certificate: client.pem\nclient-key: key.pem").file("client.pem", pem),
        Case::user(
            "certificate-file-with-key-data",
            "client-certificate: client.pem\nclient-key-data: {B64:client-p256-key.pem}",
        )
        .file("client.pem", pem),
        Case::user(
            "certificate-data-with-key-file",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key: key.pem",
        )
        .file("key.pem", key),
        Case::user(
            "certificate-data-and-file",
            "client-certificate: client.pem\nclient-certificate-data: {B64:client-p256.pem}\n\
             client-key-data: {B64:client-p256-key.pem}",
        )
        .file("client.pem", pem),
        Case::user(
            "key-data-and-file",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key: key.pem\n\
             client-key-data: {B64:client-p256-key.pem}",
        )
        .file("key.pem", key),
        Case::user("certificate-without-key", "client-certificate-data: {B64:client-p256.pem}"),
        Case::user("key-without-certificate", "client-key-data: {B64:client-p256-key.pem}"),
        Case::user(
            "certificate-without-key-and-token",
            "client-certificate-data: {B64:client-p256.pem}\ntoken: {TOKEN}",
        ),
        Case::user("key-without-certificate-and-token", "client-key-data: {B64:client-p256-key.pem}\ntoken: {TOKEN}"),
        Case::user(
            "certificate-and-token",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}\ntoken: {TOKEN}",
        ),
        Case::user(
            "certificate-and-wrong-token",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}\ntoken: wrong",
        ),
        Case::user(
            "unknown-certificate-and-token",
            "client-certificate-data: {B64:client-unknown.pem}\nclient-key-data: {B64:client-p256-key.pem}\n\
             token: {TOKEN}",
        ),
        Case::user(
            "certificate-data-not-base64",
            "client-certificate-data: '%%%'\nclient-key-data: {B64:client-p256-key.pem}",
        ),
        Case::user(
            "certificate-data-is-pem",
            "client-certificate-data: |\n  -----BEGIN CERTIFICATE-----\nclient-key-data: AAAA",
        ),
        Case::user(
            "certificate-data-empty-and-file",
            "client-certificate-data: ''\nclient-certificate: client.pem\n\
            client-key-data: ''\nclient-key: key.pem",
        )
        .file("client.pem", pem)
        .file("key.pem", key),
    ]
}
