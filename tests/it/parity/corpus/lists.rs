//! `KUBECONFIG` lists: skipped files, precedence, paths and current contexts.

use crate::parity::case::{CLUSTER, Case, Source, USER, entries, kubeconfig};

const CLUSTERS: &str = "clusters:\n- name: c\n  cluster:\n    server: {SERVER}\n    certificate-authority-data: {CA}\n";
const OTHER_CLUSTERS: &str = "clusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:1\n";
const CONTEXTS: &str = "contexts:\n- name: ctx\n  context:\n    cluster: c\n    user: u\n";
const OTHER_CONTEXTS: &str = "contexts:\n- name: ctx\n  context:\n    cluster: gone\n    user: gone\n";
const USERS: &str = "users:\n- name: u\n  user:\n    token: {TOKEN}\n";
const OTHER_USERS: &str = "users:\n- name: u\n  user:\n    token: {OTHER}\n";

const AB: Source = Source::List("{CASE}/a:{CASE}/b");

fn two(name: &'static str, a: &str, b: &str) -> Case {
    Case::text(name, "").file("a", a).file("b", b).from(AB)
}

pub(super) fn cases() -> Vec<Case> {
    let plain = kubeconfig(CLUSTER, USER);
    let other = plain.replace("{TOKEN}", "{OTHER}");
    let second = entries("d", CLUSTER, "v", "token: {OTHER}", "second");
    let list = |name: &'static str, list: &'static str| {
        Case::text(name, plain.clone()).file("a", &plain).file("b", &other).from(Source::List(list))
    };
    vec![
        list("list-of-one", "{CASE}/a"),
        list("list-missing-first", "{CASE}/missing:{CASE}/a"),
        list("list-missing-last", "{CASE}/a:{CASE}/missing"),
        list("list-all-missing", "{CASE}/missing:{CASE}/gone"),
        list("list-empty-entries", ":{CASE}/a::"),
        list("list-same-twice", "{CASE}/a:{CASE}/a"),
        list("list-same-by-other-path", "{CASE}/a:{CASE}/./a"),
        list("list-first-wins", "{CASE}/a:{CASE}/b"),
        list("list-other-first", "{CASE}/b:{CASE}/a"),
        list("list-absolute", "{DIR}/a:{DIR}/b"),
        list("list-spaces-around", " {CASE}/a : {CASE}/b "),
        list("list-directory-in-it", "{DIR}:{CASE}/a"),
        two("list-parts", &format!("{CLUSTERS}{CONTEXTS}"), USERS),
        two("list-parts-reversed", USERS, &format!("{CONTEXTS}{CLUSTERS}")),
        two("list-user-of-first", &format!("{CLUSTERS}{CONTEXTS}{USERS}"), OTHER_USERS),
        two("list-cluster-of-first", OTHER_CLUSTERS, &format!("{CLUSTERS}{CONTEXTS}{USERS}")),
        two("list-context-of-first", OTHER_CONTEXTS, &format!("{CLUSTERS}{CONTEXTS}{USERS}")),
        two("list-entries-do-not-mix", "users:\n- name: u\n  user: {}\n", &plain),
        two("list-null-entry-wins", "users:\n- name: u\n", &plain),
        two("list-fields-do-not-mix", "users:\n- name: u\n  user: {as: jane}\n", &plain.replace("{TOKEN}", "{ADMIN}")),
        two("list-cluster-without-server", "clusters:\n- name: c\n  cluster: {tls-server-name: x}\n", &plain),
        two("list-second-broken", &plain, "users: ["),
        two("list-first-broken", "users: [", &plain),
        two("list-second-not-text", &plain, "\u{1}\u{2}"),
        two("list-second-empty", &plain, ""),
        two("list-second-wrong-kind", &plain, "kind: Secret\napiVersion: v1\n"),
        two("list-second-duplicates", &plain, "users:\n- {name: v, user: {token: x}}\n- {name: v, user: {token: x}}\n"),
        two("list-second-invalid-user", &plain, "users:\n- {name: v, user: {as-uid: x}}\n"),
        two("list-context-of-second", &plain, &second).context("second"),
        Case::text("list-relative-paths", "")
            .file("a", &kubeconfig("server: {SERVER}\ncertificate-authority: ca.pem", "tokenFile: secret/token"))
            .file("ca.pem", "{CA_PEM}")
            .file("secret/token", "{TOKEN}")
            .from(Source::List("{CASE}/missing:{CASE}/a")),
        Case::text("list-paths-of-their-own-file", "")
            .file("one/a", &format!("{CONTEXTS}clusters:\n- name: c\n  cluster: {{server: '{{SERVER}}', certificate-authority: ca.pem}}\n"))
            .file("one/ca.pem", "{CA_PEM}")
            .file("two/b", "users:\n- name: u\n  user: {tokenFile: token}\n")
            .file("two/token", "{OTHER}")
            .from(Source::List("{CASE}/one/a:{CASE}/two/b")),
        two("list-current-of-first", &format!("{plain}current-context: ctx\n"), &format!("{second}current-context: second\n"))
            .from(Source::Current("{CASE}/a:{CASE}/b")),
        two("list-current-empty-in-first", &format!("{plain}current-context: ''\n"), &format!("{second}current-context: second\n"))
            .from(Source::Current("{CASE}/a:{CASE}/b"))
            .context("second"),
        two("list-current-only-in-second", &plain, &format!("{second}current-context: ctx\n"))
            .from(Source::Current("{CASE}/a:{CASE}/b")),
        Case::text("directory", "")
            .file("configs/a.yaml", &plain)
            .file("configs/b.yaml", &second)
            .from(Source::Pattern { kubemint: "{CASE}/configs", kubectl: "{CASE}/configs/a.yaml:{CASE}/configs/b.yaml" })
            .context("second"),
        Case::text("glob", "")
            .file("configs/a.yaml", &plain)
            .file("configs/b.yaml", &second)
            .file("configs/c.txt", "no kubeconfig: [")
            .from(Source::Pattern {
                kubemint: "{CASE}/configs/*.yaml",
                kubectl: "{CASE}/configs/a.yaml:{CASE}/configs/b.yaml",
            })
            .context("second"),
        Case::text("glob-first-wins", "")
            .file("configs/a.yaml", &plain)
            .file("configs/b.yaml", &other)
            .from(Source::Pattern {
                kubemint: "{CASE}/configs/*.yaml",
                kubectl: "{CASE}/configs/a.yaml:{CASE}/configs/b.yaml",
            }),
    ]
}
