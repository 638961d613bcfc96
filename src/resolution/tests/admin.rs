//! The three forms of admin access, and keys that do not fit together.

use std::path::PathBuf;

use super::{BASE, check, check_replaced, load};
use crate::inventory::{AdminAccess, InlineAdmin, KubeconfigSource};

const ADMIN: &str = "admin = { kubeconfig = 'admin.yaml' }";

/// Returns the admin accesses of the clusters, with `admin` in the defaults and `more` in the first cluster.
fn accesses(admin: &str, more: &str) -> Vec<AdminAccess> {
    let text = BASE.replacen(ADMIN, admin, 1).replacen("name = 'eu'\n", &format!("name = 'eu'\n{more}\n"), 1);
    let resolution = load(&text);
    let problems = super::summarise(&resolution);
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{problems:?}"));
    inventory.clusters.iter().map(|cluster| cluster.admin.clone()).collect()
}

fn source(text: &str) -> KubeconfigSource {
    match &accesses(&format!("admin = {{ kubeconfig = '{text}' }}"), "")[0] {
        AdminAccess::Kubeconfig { source, context, .. } => {
            assert_eq!(context, "eu");
            source.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn kubeconfigs_are_a_path_a_list_a_pattern_or_what_kubectl_reads() {
    let list = |paths: &[&str]| KubeconfigSource::List(paths.iter().map(PathBuf::from).collect());
    assert_eq!(source("a.yaml"), KubeconfigSource::Path("/inv/a.yaml".into()));
    assert_eq!(source("~/.kube/a:b.yaml::/c"), list(&["/home/jo/.kube/a", "/inv/b.yaml", "/c"]));
    assert_eq!(source("admins/*.yaml"), KubeconfigSource::Glob("/inv/admins/*.yaml".into()));
    assert_eq!(source("$KUBECONFIG"), list(&["/home/jo/.kube/config"]));
}

#[test]
fn an_inline_access_takes_what_it_lacks_from_the_defaults() {
    let inline = |server: &str, token: &str| {
        AdminAccess::Inline(Box::new(InlineAdmin {
            server: server.into(),
            certificate_authority: Some("/inv/ca.pem".into()),
            token_file: Some(token.into()),
            ..InlineAdmin::default()
        }))
    };
    let defaults = "admin = { server = 'https://us', certificate-authority = 'ca.pem', token-file = 'token' }";
    let own = "admin = { server = 'https://eu', token-file = 'eu.token' }";
    assert_eq!(accesses(defaults, own), [inline("https://eu", "/inv/eu.token"), inline("https://us", "/inv/token")]);
}

#[test]
fn a_cluster_may_have_another_form_than_the_defaults() {
    let found = accesses(ADMIN, "admin = { in-cluster = true }");
    assert_eq!(found[0], AdminAccess::InCluster);
    assert!(matches!(&found[1], AdminAccess::Kubeconfig { .. }));
    let inline = "admin = { server = 'https://us', certificate-authority = 'ca.pem', token-file = 'token' }";
    let found = accesses(inline, "admin = { kubeconfig = 'eu.yaml' }");
    assert!(matches!(&found[0], AdminAccess::Kubeconfig { .. }), "{found:?}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let one = |admin: &str, expect: &[&str]| {
        let text = BASE.replacen("name = 'eu'\n", &format!("name = 'eu'\n{admin}\n"), 1);
        check(&text, expect);
    };
    one(
        "admin = { kubeconfig = 'a', server = 'https://a' }",
        &[
            "error at { kubeconfig = 'a', server = 'https://a' }: `admin` has more than one of `kubeconfig`, `server`, `in-cluster` and `discovered`",
        ],
    );
    one(
        "admin = { token-file = 't' }",
        &[
            "error at 't': `token-file` is for `admin` with `server` only [a kubeconfig says that itself; remove the key or name the `server`]",
        ],
    );
    one(
        "admin = { server = 'https://a' }",
        &[
            "error at 'eu': `admin` with `server` needs one credential [set `token-file`, or `client-certificate` and `client-key`]",
        ],
    );
    one(
        "admin = { server = 'https://a', client-key = 'k' }",
        &["error at 'eu': only one of `client-certificate` and `client-key` is set"],
    );
    one(
        "admin = { server = 'http://u:s3cret@a', token-file = 't' }",
        &["error at 'http://u:s3cret@a': `server` is not valid: it must begin with `https://`"],
    );
    one(
        "admin = { server = 'https://a', token-file = 't', insecure-skip-tls-verify = true, certificate-authority = 'c' }",
        &["error at 'eu': `insecure-skip-tls-verify` and `certificate-authority` exclude each other"],
    );
    check_replaced(
        "kubeconfig = 'admin.yaml'",
        "kubeconfig = 'a[.yaml'",
        &["error at : `kubeconfig` is not a valid pattern: invalid range pattern"],
    );
}

#[test]
fn an_output_never_overwrites_what_provisions() {
    check_replaced(
        "admin = { kubeconfig = 'admin.yaml' }",
        "admin = { server = 'https://a', token-file = 'out/eu-viewer.yaml' }",
        &[
            "warning at 'us': clusters `eu`, `us` have the same admin access [keep one name for each API server; two would fight over the same objects]",
            "error at 'out/{cluster}-{profile}.yaml': the output would overwrite a `token-file` `/inv/out/eu-viewer.yaml`",
        ],
    );
}

/// A server that only pods can resolve is of no use to consumers elsewhere.
#[test]
fn an_address_of_pods_is_a_warning() {
    let warning = "warning at 'eu': only pods of cluster `eu` reach the server that its consumers are told \
                   [set `consumer.server` to the address that others reach, or to the same if all are pods there]";
    let service =
        "admin = { server = 'https://kubernetes.default.svc', token-file = 't', certificate-authority = 'c' }";
    let inline = "admin = { server = 'https://api.example.com', token-file = 't', certificate-authority = 'c' }";
    let said = "admin = { in-cluster = true }\nconsumer = { server = 'https://api.example.com' }";
    for (admin, expect) in
        [("admin = { in-cluster = true }", &[warning][..]), (service, &[warning]), (inline, &[]), (said, &[])]
    {
        check(&BASE.replacen("name = 'eu'\n", &format!("name = 'eu'\n{admin}\n"), 1), expect);
    }
}
