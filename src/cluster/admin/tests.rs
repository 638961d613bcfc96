//! Kubeconfigs in, admin access or a refusal out.

use secrecy::ExposeSecret;

use super::*;
use crate::inventory::{Consumer, InlineAdmin, VerifyVia};

/// A user's machine: files in a temporary directory.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            directory.write(name, text);
        }
        directory
    }

    #[expect(clippy::disallowed_methods, reason = "the test writes what an admin has")]
    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn list(&self, names: &[&str]) -> KubeconfigSource {
        KubeconfigSource::List(names.iter().map(|name| self.path(name)).collect())
    }

    fn resolve_as(&self, admin: &AdminAccess, allow_insecure: bool) -> Result<AdminEntry, String> {
        let sources = sources(admin);
        let insecure = if allow_insecure { Insecure::Allowed } else { Insecure::Refused };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(sources.resolve(admin, insecure, Timestamp::default));
        found.map_err(|error| error.to_string().replace(&self.0.path().display().to_string(), ""))
    }

    fn resolve(&self, source: KubeconfigSource, context: &str) -> Result<AdminEntry, String> {
        self.resolve_as(&AdminAccess::context(source, context), false)
    }
}

fn sources(access: &AdminAccess) -> AdminSources {
    AdminSources::load([access], &AdminEnvironment::default(), Duration::from_secs(10))
}

fn pki(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn resolve_text(text: &str) -> Result<AdminEntry, String> {
    let (ca, _) = pki("ca");
    let files = Files::new(&[("token", " from-file \n"), ("empty", "\n"), ("ca.pem", &ca), ("config", text)]);
    files.resolve(KubeconfigSource::Path(files.path("config")), "x")
}

/// Resolves the context `x` of a kubeconfig with one cluster and one user.
fn resolve(cluster: &str, user: &str) -> Result<AdminEntry, String> {
    resolve_text(&config("x", cluster, user))
}

fn config(context: &str, cluster: &str, user: &str) -> String {
    format!(
        "clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n\
         contexts:\n- name: {context}\n  context: {{cluster: c, user: u}}\n"
    )
}

fn bearer(entry: &AdminEntry) -> &str {
    entry.login.bearer.as_ref().unwrap().expose_secret()
}

#[track_caller]
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
    refuses("server: 'https://a:b@api'", "token: t", "`server` has a user, a query or a fragment");
    refuses(
        &format!("{SERVER}, insecure-skip-tls-verify: true"),
        "token: t",
        "`insecure-skip-tls-verify` is set: the server's certificate must be checked",
    );
    refuses(&format!("{SERVER}, proxy-url: 'socks5h://p'"), "token: t", "`proxy-url` is not http, https or socks5");
    refuses(
        &format!("{SERVER}, certificate-authority-data: QQ==, certificate-authority: ca.pem"),
        "token: t",
        "`certificate-authority` and `certificate-authority-data` are both set",
    );
    refuses(&format!("{SERVER}, certificate-authority-data: QQ=="), "token: t", "its CA holds no certificate");
    refuses(
        &format!("{SERVER}, certificate-authority-data: '%'"),
        "token: t",
        "`certificate-authority-data` is not base64",
    );
    refuses(
        &format!("{SERVER}, tls-server-name: 'a b'"),
        "token: t",
        "`tls-server-name` is neither a DNS name nor an IP address",
    );
    refuses(SERVER, "token: \"a b\"", "the token has characters that a token cannot have");
    refuses(SERVER, "token: \"a\\n\"", "the token has characters that a token cannot have");
    refuses(SERVER, "client-certificate-data: QQ==", "there is a client certificate and no client key");
    refuses(SERVER, "client-key-data: QQ==", "its user has no credential");
    refuses(SERVER, "password: p", "its user has no credential");
    let blank = "`as`, `as-groups` or `as-user-extra` begins or ends with a blank";
    refuses(SERVER, "token: t, as: 'jane '", blank);
    refuses(SERVER, "token: t, as: jane, as-groups: [' one']", blank);
    refuses(SERVER, "client-certificate-data: QQ==, client-key-data: QQ==", "the client certificate is not PEM");
    refuses(SERVER, "token: t, username: u, password: p", "both a token and `username` with `password` are set");
    refuses(SERVER, "", "its user has no credential");
    refuses(SERVER, "token: ''", "its user has no credential");
    refuses(SERVER, "token: t, as-uid: '1'", "`as-uid` is set without `as`");
    refuses(SERVER, "token: t, as-groups: [a]", "`as-groups` is set without `as`");
    refuses(SERVER, "token: t, as-user-extra: {a: [b]}", "`as-user-extra` is set without `as`");
    for (user, field, cause) in [
        ("tokenFile: c2VjcmV0".to_owned(), "tokenFile", "it does not exist"),
        ("client-certificate-data: QQ==, client-key: c2VjcmV0".to_owned(), "client-key", "it does not exist"),
        (format!("tokenFile: {}", "c2VjcmV0".repeat(64)), "tokenFile", "File name too long (os error 36)"),
        ("tokenFile: config/c2VjcmV0".to_owned(), "tokenFile", "Not a directory (os error 20)"),
    ] {
        let hidden = "names, which is not shown in case it is the secret";
        refuses(SERVER, &user, &format!("cannot read the file that `{field}` {hidden}: {cause}"));
    }
    refuses(SERVER, "auth-provider: {name: gcp}", "`auth-provider` is not supported; client-go dropped it too");
}

#[test]
fn empty_strings_are_absent() {
    let entry = resolve(
        &format!("{SERVER}, certificate-authority-data: '', proxy-url: '', tls-server-name: ''"),
        "token: t, client-key-data: '', client-certificate: '', username: '', tokenFile: '', as: ''",
    )
    .unwrap();
    assert_eq!(bearer(&entry), "t");
    assert!(entry.target.authority.is_none() && entry.login.certificate.is_none() && entry.login.basic.is_none());
}

#[test]
fn a_token_file_decides_and_is_trimmed_unless_it_is_empty_or_missing() {
    for (user, token) in [
        ("token: inline, tokenFile: token", "from-file"),
        ("token: inline, tokenFile: empty", "inline"),
        ("token: inline, tokenFile: nowhere", "inline"),
    ] {
        assert_eq!(bearer(&resolve(SERVER, user).unwrap()), token, "{user}");
    }
}

#[test]
fn static_credentials_decide_over_exec() {
    let entry = resolve(SERVER, "token: t, exec: {apiVersion: v1, command: never}").unwrap();
    assert_eq!(bearer(&entry), "t");
}

#[test]
fn an_impersonation_is_kept_whole() {
    let user = "token: t, as: jo, as-uid: '42', as-groups: [a, b], as-user-extra: {scopes: [x]}";
    let impersonation = resolve(SERVER, user).unwrap().login.impersonation.unwrap();
    assert_eq!((impersonation.user.as_str(), impersonation.uid.as_deref()), ("jo", Some("42")));
    assert_eq!(impersonation.groups, ["a", "b"]);
    assert_eq!(impersonation.extra, [("scopes".to_owned(), vec!["x".to_owned()])]);
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let ((certificate, key), (_, other)) = (pki("a"), pki("b"));
    let user =
        |key: &str| format!("client-certificate-data: {}, client-key-data: {}", encode(&certificate), encode(key));
    resolve(SERVER, &user(&key)).unwrap();
    refuses(SERVER, &user(&other), "the client key does not belong to the client certificate");
}

#[test]
fn a_ca_file_is_found_beside_the_kubeconfig_and_inlined() {
    let entry = resolve(&format!("{SERVER}, certificate-authority: ca.pem"), "token: t").unwrap();
    let authority = entry.endpoint().certificate_authority.unwrap();
    assert!(authority.starts_with(b"-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_ca_that_has_expired_is_none() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let ca = parameters.self_signed(&key).unwrap().pem();
    let files = Files::new(&[
        ("ca.pem", &ca),
        ("config", &config("x", &format!("{SERVER}, certificate-authority: ca.pem"), "token: t")),
    ]);
    let error = files.resolve(KubeconfigSource::Path(files.path("config")), "x").unwrap_err();
    assert_eq!(error, "context `x` in `/config`: its CA certificate has expired or is not valid yet");
}

#[test]
fn unchecked_certificates_need_to_be_allowed() {
    let files =
        Files::new(&[("config", &config("x", &format!("{SERVER}, insecure-skip-tls-verify: true"), "token: t"))]);
    let access = || AdminAccess::context(KubeconfigSource::Path(files.path("config")), "x");
    assert!(files.resolve_as(&access(), true).unwrap().is_insecure());
    assert!(files.resolve_as(&access(), false).unwrap_err().contains("`insecure-skip-tls-verify` is set"));
}

#[test]
fn a_kubeconfig_that_leads_elsewhere_than_was_seen_is_refused() {
    let (ca, _) = pki("ca");
    let text = |server: &str| config("x", &format!("server: '{server}', certificate-authority: ca.pem"), "token: t");
    let files = Files::new(&[("ca.pem", &ca), ("config", &text("https://a"))]);
    let source = KubeconfigSource::Path(files.path("config"));
    let plain = AdminAccess::context(source.clone(), "x");
    let Leads { server, endpoint } = sources(&plain).leads(&plain).unwrap();
    let seen = Seen { server: Some(server), endpoint: Some(endpoint) };
    let access = AdminAccess::Kubeconfig { source, context: "x".to_owned(), seen };
    assert_eq!(files.resolve_as(&access, false).unwrap().target.server, "https://a");
    files.write("config", &text("https://b"));
    assert_eq!(
        files.resolve_as(&access, false).unwrap_err(),
        "context `x` in `/config`: it leads to <https://b> now, and led to <https://a> when it was found"
    );
    // The name of the file with the CA stays what it was.
    files.write("config", &text("https://a"));
    files.write("ca.pem", &pki("ca").0);
    assert_eq!(
        files.resolve_as(&access, false).unwrap_err(),
        "context `x` in `/config`: its CA, `tls-server-name` or `proxy-url` is another than when it was found"
    );
    assert!(files.resolve_as(&plain, false).is_ok(), "nobody has seen where it leads");
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
fn files_that_kubectl_refuses_are_refused() {
    for (text, cause) in [
        (
            "users:\n- name: u\n  user: {token: s3cret}\n- name: u\n  user: {token: s3cret}\n",
            "user `u` is defined twice",
        ),
        (
            "clusters:\n- name: c\n  cluster: {insecure-skip-tls-verify: 'true'}\n",
            "`clusters[0].cluster.insecure-skip-tls-verify`: it must be true or false, at line 3, column 39",
        ),
        ("kind: Secret\n", "its `kind` is not `Config`"),
        ("apiVersion: v2\n", "its `apiVersion` is not `v1`"),
        ("contexts:\n  x: {}\n", "`contexts`: it must be a list, at line 2, column 3"),
        (
            "users:\n- name: 12\n  user: {token: s3cret}\n",
            "`users[0].name`: it must be in quotes: YAML takes it for something else than text, at line 2, column 9",
        ),
    ] {
        let error = resolve_text(text).unwrap_err();
        assert_eq!(error, format!("`/config` is not a kubeconfig that can be used: {cause}"));
    }
}

#[test]
fn errors_never_quote_a_value() {
    let broken = format!(
        "clusters:\n- name: c\n  cluster: {{{SERVER}}}\nusers:\n- name: u\n  user:\n    token: s3cret\n   bad\n"
    );
    let error = resolve_text(&broken).unwrap_err();
    assert!(error.contains("line 8") && !error.contains("s3cret"), "{error}");
    for cluster in ["server: 'https://user:s3cret@api'", "server: 'https://api', proxy-url: 'ftp://u:s3cret@p'"] {
        let error = resolve(cluster, "token: t").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_list_is_merged_by_the_rules_of_client_go() {
    let files = Files::new(&[
        ("a", &config("x", "server: 'https://a'", "token: a")),
        ("b", &config("x", "server: 'https://b'", "token: b")),
        ("c", &config("only-c", "server: 'https://c'", "token: c")),
    ]);
    let found = |names: &[&str], context: &str| {
        files.resolve(files.list(names), context).map(|entry| (entry.target.server.clone(), bearer(&entry).to_owned()))
    };
    let pair = |server: &str, token: &str| Ok((server.to_owned(), token.to_owned()));
    assert_eq!(found(&["nowhere", "a", "b"], "x"), pair("https://a", "a"));
    assert_eq!(found(&["b", "a"], "x"), pair("https://b", "b"));
    // The first file that defines a cluster or a user wins, also for the contexts of other files.
    assert_eq!(found(&["a", "c"], "only-c"), pair("https://a", "a"));
    assert_eq!(found(&["nowhere"], "x").unwrap_err(), "no kubeconfig at `/nowhere`");
    files.write("broken", "{");
    assert!(found(&["a", "broken"], "x").is_err(), "client-go reads none if one is broken");
}

/// kubectl passes extensions to plugins unchanged, so they may hold anything.
#[test]
fn an_extension_may_hold_any_value() {
    for value in
        ["7", "1.5", "true", "null", "~", "text", "[a, 1, null]", "{generation: 7, note: null, limits: {cpu: 2}}"]
    {
        let extensions = format!("server: 'https://a', extensions: [{{name: tool, extension: {value}}}]");
        assert!(resolve(&extensions, "token: t").is_ok(), "{value}");
        let user = format!("token: t, extensions: [{{name: tool, extension: {value}}}]");
        assert!(resolve("server: 'https://a'", &user).is_ok(), "{value}");
    }
}

#[test]
fn the_files_of_a_directory_or_a_pattern_are_not_merged() {
    let files = Files::new(&[
        ("d/a.yaml", &config("one", "server: 'https://a'", "token: a")),
        ("d/b.yaml", &config("two", "server: 'https://b'", "token: b")),
        ("d/.hidden", &config("one", "server: 'https://h'", "token: h")),
        ("d/a.yaml.lock", ""),
    ]);
    let forms =
        [KubeconfigSource::Path(files.path("d")), KubeconfigSource::Glob(files.path("d/*.yaml").display().to_string())];
    for source in &forms {
        assert_eq!(files.resolve(source.clone(), "one").unwrap().target.server, "https://a");
        assert_eq!(files.resolve(source.clone(), "two").unwrap().target.server, "https://b", "its own `c` counts");
    }
    // Two paths to one file count as one.
    std::os::unix::fs::symlink(files.path("d/a.yaml"), files.path("d/link.yaml")).unwrap();
    std::fs::hard_link(files.path("d/b.yaml"), files.path("d/hard.yaml")).unwrap();
    for source in &forms {
        assert_eq!(files.resolve(source.clone(), "one").unwrap().target.server, "https://a");
        assert_eq!(files.resolve(source.clone(), "two").unwrap().target.server, "https://b");
    }
    files.write("d/z.yaml", &config("one", "server: 'https://z'", "token: z"));
    files.write("d/y.yaml", "{");
    for source in &forms {
        let error = files.resolve(source.clone(), "one").unwrap_err();
        assert_eq!(error, "context `one` is in `/d/a.yaml` and in `/d/z.yaml`");
        assert_eq!(files.resolve(source.clone(), "two").unwrap().target.server, "https://b", "one is broken, not all");
        let access = AdminAccess::context(source.clone(), "two");
        let warnings = sources(&access).warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("y.yaml"), "{warnings:?}");
    }
    let nothing = files.resolve(KubeconfigSource::Glob(files.path("e/*").display().to_string()), "x").unwrap_err();
    assert_eq!(nothing, "no kubeconfig at `/e/*`");
}

#[test]
fn who_can_be_read_by_others_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new(&[("config", &config("x", SERVER, "token: t"))]);
    let access = AdminAccess::context(KubeconfigSource::Path(files.path("config")), "x");
    assert!(sources(&access).warnings().is_empty());
    std::fs::set_permissions(files.path("config"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let warnings = sources(&access).warnings();
    assert!(warnings[0].ends_with("can be read by its group or by others; `chmod 600` keeps its credentials private"));
}

#[test]
fn ten_thousand_contexts_are_read() {
    let mut text = "clusters:\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("- name: c{number}\n  cluster: {{server: 'https://a{number}'}}\n"));
    }
    text.push_str("users:\n- name: u\n  user: {token: t}\ncontexts:\n");
    for number in 0..10_000 {
        text.push_str(&format!("- name: x{number}\n  context: {{cluster: c{number}, user: u}}\n"));
    }
    let files = Files::new(&[("config", &text)]);
    let entry = files.resolve(KubeconfigSource::Path(files.path("config")), "x9999").unwrap();
    assert_eq!(entry.target.server, "https://a9999");
}

#[test]
fn an_inline_access_reads_its_files() {
    let (certificate, key) = pki("admin");
    let (ca, _) = pki("ca");
    let files = Files::new(&[("token", "t\n"), ("ca.pem", &ca), ("cert.pem", &certificate), ("key.pem", &key)]);
    let inline = |admin: InlineAdmin| files.resolve_as(&AdminAccess::Inline(Box::new(admin)), false);
    let base = || InlineAdmin {
        server: "https://api".into(),
        certificate_authority: Some(files.path("ca.pem")),
        ..InlineAdmin::default()
    };
    let entry = inline(InlineAdmin { token_file: Some(files.path("token")), ..base() }).unwrap();
    assert_eq!(bearer(&entry), "t");
    let (cert, key) = (Some(files.path("cert.pem")), Some(files.path("key.pem")));
    let entry = inline(InlineAdmin { client_certificate: cert, client_key: key, ..base() }).unwrap();
    assert!(entry.login.certificate.is_some());
    let error = inline(InlineAdmin { token_file: Some(files.path("nowhere")), ..base() }).unwrap_err();
    assert_eq!(error, "the admin access: cannot read `token-file` `/nowhere`: it does not exist");
}

#[test]
fn a_pod_uses_its_own_account() {
    let (ca, _) = pki("ca");
    let files = Files::new(&[("ca.crt", &ca), ("token", "pod\n")]);
    let (target, login) =
        usable::in_cluster(Some(&("10.0.0.1".into(), "443".into())), files.0.path()).map_err(|p| p.what).unwrap();
    assert_eq!((target.server.as_str(), login.bearer.unwrap().expose_secret()), ("https://10.0.0.1:443", "pod"));
    let (target, _) = usable::in_cluster(Some(&("fd00::1".into(), "443".into())), files.0.path()).ok().unwrap();
    assert_eq!(target.server, "https://[fd00::1]:443");
    let problem = usable::in_cluster(None, files.0.path()).err().unwrap();
    assert!(problem.what.contains("KUBERNETES_SERVICE_HOST"), "{}", problem.what);
}

fn cluster(consumer: Consumer) -> Cluster {
    Cluster {
        name: "a".into(),
        labels: std::collections::BTreeMap::new(),
        admin: AdminAccess::InCluster,
        found_by: None,
        contested_by: vec![],
        allow_insecure: false,
        consumer,
    }
}

#[test]
fn only_the_consumers_part_is_handed_on() {
    let admin = Endpoint {
        server: "https://admin:6443".into(),
        certificate_authority: Some(b"CA".as_slice().into()),
        tls_server_name: Some("kube.internal".into()),
        proxy_url: Some("http://user:s3cret@proxy:3128".into()),
        cluster_uid: None,
    };
    let same = consumer_endpoint(&cluster(Consumer::default()), &admin).unwrap();
    assert_eq!(same, Endpoint { proxy_url: None, ..admin.clone() }, "a proxy with a password is the admin's own");

    let elsewhere = Consumer { server: Some("https://public".into()), verify: VerifyVia::Admin, ..Consumer::default() };
    let other = consumer_endpoint(&cluster(elsewhere), &admin).unwrap();
    assert_eq!(
        other,
        Endpoint {
            server: "https://public".into(),
            certificate_authority: Some(b"CA".as_slice().into()),
            tls_server_name: None,
            proxy_url: None,
            cluster_uid: None,
        },
        "how the admin gets to another address says nothing about this one"
    );
}

#[test]
fn a_file_that_is_being_written_is_read_when_that_is_over() {
    let files = Files::new(&[("config", ""), ("config.lock", "")]);
    let whole = config("x", SERVER, "token: t");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // kubectl truncates the file, holds the lock, and writes the whole file.
            files.write("config", &whole[..whole.len() / 2]);
            files.write("config", &whole);
            std::fs::remove_file(files.path("config.lock")).unwrap();
        });
        assert!(files.resolve(KubeconfigSource::Path(files.path("config")), "x").is_ok());
    });
}
