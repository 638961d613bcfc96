//! Kubeconfigs in, admin access or a refusal out.

use super::*;
use crate::inventory::{Consumer, VerifyVia};

const CA: &str = "Q0E="; // "CA"

/// Resolves the context `x` of a kubeconfig with one cluster and one user.
fn resolve(cluster: &str, user: &str) -> Result<AdminEntry, String> {
    resolve_text(&format!(
        "clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n\
         contexts:\n- name: x\n  context: {{cluster: c, user: u}}\n"
    ))
}

#[expect(clippy::disallowed_methods, reason = "the test writes what an admin has")]
fn resolve_text(text: &str) -> Result<AdminEntry, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), " from-file \n").unwrap();
    std::fs::write(directory.path().join("ca.pem"), "CA").unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, text).unwrap();
    let access = AdminAccess { kubeconfig: path, context: "x".to_owned() };
    let found = AdminFiles::load([&access]).resolve(&access);
    found.map_err(|error| error.to_string().replace(&directory.path().display().to_string(), ""))
}

fn refuses(cluster: &str, user: &str, problem: &str) {
    let error = resolve(cluster, user).unwrap_err();
    assert_eq!(error, format!("context `x` in `/config`: {problem}"));
}

const SERVER: &str = "server: 'https://api:6443'";

#[test]
fn what_kube_would_get_wrong_is_refused() {
    refuses("server: 'http://api:6443'", "token: t", "`server` is not https: credentials are never sent in the clear");
    refuses("server: 'api:6443'", "token: t", "`server` is not https: credentials are never sent in the clear");
    refuses("server: ''", "token: t", "`server` is missing");
    refuses("server: 'https://a:b@api'", "token: t", "`server` has a user or a query");
    refuses(
        &format!("{SERVER}, insecure-skip-tls-verify: true"),
        "token: t",
        "`insecure-skip-tls-verify` is set: the server's certificate must be checked",
    );
    refuses(&format!("{SERVER}, proxy-url: 'socks5h://p'"), "token: t", "`proxy-url` is not http, https or socks5");
    refuses(
        &format!("{SERVER}, certificate-authority-data: {CA}, certificate-authority: ca.pem"),
        "token: t",
        "`certificate-authority` and `certificate-authority-data` are both set",
    );
    refuses(SERVER, "token: \"a b\"", "the token has characters that a token cannot have");
    refuses(SERVER, "client-certificate-data: QQ==", "only one of client certificate and client key is set");
    refuses(SERVER, "", "its user has no credential");
    refuses(SERVER, "token: ''", "its user has no credential");
    refuses(SERVER, "as: root, as-uid: '1', token: t", "`as-uid` and `as-user-extra` are not supported");
    refuses(
        SERVER,
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}",
        "`exec` plugins are not supported yet; use a token or a client certificate",
    );
}

#[test]
fn a_token_file_decides_and_is_trimmed() {
    let entry = resolve(SERVER, "token: inline, tokenFile: token").unwrap();
    assert_eq!(entry.user.token.unwrap().expose_secret(), "from-file");
}

#[test]
fn static_credentials_decide_over_exec() {
    let entry = resolve(SERVER, "token: t, exec: {apiVersion: v1, command: never}").unwrap();
    assert!(entry.user.exec.is_none());
}

#[test]
fn a_ca_file_is_found_beside_the_kubeconfig_and_inlined() {
    let entry = resolve(&format!("{SERVER}, certificate-authority: ca.pem"), "token: t").unwrap();
    assert_eq!(entry.endpoint.certificate_authority.as_deref(), Some(&b"CA"[..]));
    assert_eq!(entry.cluster.certificate_authority_data.as_deref(), Some(CA));
}

#[test]
fn what_is_missing_is_named() {
    let context = "contexts:\n- name: x\n  context: {cluster: c, user: u}\n";
    assert_eq!(resolve_text("{}").unwrap_err(), "`/config` has no context `x`");
    assert_eq!(resolve_text(context).unwrap_err(), "`/config` has no cluster `c`");
    let error = resolve_text(&format!("{context}clusters:\n- name: c\n  cluster: {{{SERVER}}}\n")).unwrap_err();
    assert_eq!(error, "`/config` has no user `u`", "kube would be anonymous");
}

#[test]
fn a_name_that_is_defined_twice_is_refused_as_by_kubectl() {
    let error =
        resolve_text("users:\n- name: u\n  user: {token: s3cret}\n- name: u\n  user: {token: s3cret}\n").unwrap_err();
    assert_eq!(error, "`/config` is not a kubeconfig: user `u` is defined twice");
}

#[test]
fn errors_never_quote_a_value() {
    let broken = format!(
        "clusters:\n- name: c\n  cluster: {{{SERVER}}}\nusers:\n- name: u\n  user:\n    token: s3cret\n   bad\n"
    );
    let error = resolve_text(&broken).unwrap_err();
    assert!(error.contains("line 8") && !error.contains("s3cret"), "{error}");
    let error = resolve("server: 'https://user:s3cret@api'", "token: t").unwrap_err();
    assert!(!error.contains("s3cret"), "{error}");
}

fn cluster(consumer: Consumer) -> InventoryCluster {
    InventoryCluster {
        name: "a".into(),
        labels: std::collections::BTreeMap::new(),
        admin: AdminAccess { kubeconfig: "x".into(), context: "x".into() },
        consumer,
    }
}

#[test]
fn only_the_consumers_part_is_handed_on() {
    let admin = Endpoint {
        server: "https://admin:6443".into(),
        certificate_authority: Some(b"CA".to_vec()),
        tls_server_name: Some("kube.internal".into()),
        proxy_url: Some("http://user:s3cret@proxy:3128".into()),
    };
    let same = consumer_endpoint(&cluster(Consumer::default()), &admin).unwrap();
    assert_eq!(same, Endpoint { proxy_url: None, ..admin.clone() }, "a proxy with a password is the admin's own");

    let elsewhere = Consumer { server: Some("https://public".into()), verify: VerifyVia::Admin, ..Consumer::default() };
    let other = consumer_endpoint(&cluster(elsewhere), &admin).unwrap();
    assert_eq!(
        other,
        Endpoint {
            server: "https://public".into(),
            certificate_authority: Some(b"CA".to_vec()),
            tls_server_name: None,
            proxy_url: None,
        },
        "how the admin gets to another address says nothing about this one"
    );
}
