//! The document: references, names, YAML, and files that are no kubeconfig.

use crate::parity::case::{CLUSTER, Case, Encoding, USER, entries, indented, kubeconfig};

const CLUSTERS: &str = "clusters:\n- name: c\n  cluster:\n    server: {SERVER}\n    certificate-authority-data: {CA}\n";
const CONTEXTS: &str = "contexts:\n- name: ctx\n  context:\n    cluster: c\n    user: u\n";
const USERS: &str = "users:\n- name: u\n  user:\n    token: {TOKEN}\n";
const HEAD: &str = "apiVersion: v1\nkind: Config\n";

fn plain() -> String {
    kubeconfig(CLUSTER, USER)
}

fn document(name: &'static str, parts: &[&str]) -> Case {
    Case::text(name, parts.concat())
}

fn context(name: &'static str, fields: &str) -> Case {
    let context = format!("contexts:\n- name: ctx\n  context:\n{}\n", indented(fields, 4));
    document(name, &[HEAD, CLUSTERS, &context, USERS])
}

pub(super) fn references() -> Vec<Case> {
    vec![
        document("plain", &[&plain()]),
        document("context-missing", &[&plain()]).context("other"),
        document("context-capitals", &[&plain()]).context("CTX"),
        document("contexts-missing", &[HEAD, CLUSTERS, USERS]),
        document("contexts-empty", &[HEAD, CLUSTERS, USERS, "contexts: []\n"]),
        document("clusters-missing", &[HEAD, CONTEXTS, USERS]),
        document("users-missing", &[HEAD, CLUSTERS, CONTEXTS]),
        context("cluster-not-there", "cluster: other\nuser: u"),
        context("cluster-empty", "cluster: ''\nuser: u"),
        context("cluster-left-out", "user: u"),
        context("user-not-there", "cluster: c\nuser: other"),
        context("user-empty", "cluster: c\nuser: ''"),
        context("user-left-out", "cluster: c"),
        context("user-null", "cluster: c\nuser: null"),
        context("namespace", "cluster: c\nuser: u\nnamespace: team-a"),
        context("namespace-invalid", "cluster: c\nuser: u\nnamespace: Team_A"),
        context("namespace-empty", "cluster: c\nuser: u\nnamespace: ''"),
        context("namespace-with-dot", "cluster: c\nuser: u\nnamespace: team.a"),
        context("namespace-too-long", &format!("cluster: c\nuser: u\nnamespace: {}", "a".repeat(64))),
        context("context-extensions", "cluster: c\nuser: u\nextensions:\n- name: x\n  extension: {a: 1}"),
        document("context-null", &[HEAD, CLUSTERS, "contexts:\n- name: ctx\n  context:\n", USERS]),
        document("context-without-body", &[HEAD, CLUSTERS, "contexts:\n- name: ctx\n", USERS]),
        document("cluster-without-body", &[HEAD, "clusters:\n- name: c\n", CONTEXTS, USERS]),
        document("user-without-body", &[HEAD, CLUSTERS, CONTEXTS, "users:\n- name: u\n"]),
        document("user-body-empty", &[HEAD, CLUSTERS, CONTEXTS, "users:\n- name: u\n  user: {}\n"]),
        document("other-context-broken", &[&plain(), "- name: v\n  user:\n    token: x\n    as-uid: abc\n"]),
        document(
            "other-context-dangling",
            &[HEAD, CLUSTERS, CONTEXTS, "- name: bad\n  context: {cluster: gone, user: gone}\n", USERS],
        ),
        document(
            "other-cluster-broken",
            &[
                HEAD,
                CLUSTERS,
                "- name: bad\n  cluster: {server: '', certificate-authority-data: AAAA}\n",
                CONTEXTS,
                USERS,
            ],
        ),
        document(
            "other-cluster-not-base64",
            &[HEAD, CLUSTERS, "- name: bad\n  cluster: {certificate-authority-data: '%%'}\n", CONTEXTS, USERS],
        ),
        document("other-user-bad-type", &[HEAD, CLUSTERS, CONTEXTS, USERS, "- name: bad\n  user: {as-groups: text}\n"]),
        document("current-context-other", &[&plain(), "current-context: other\n"]),
        document("current-context-empty", &[&plain(), "current-context: ''\n"]),
        document("current-context-null", &[&plain(), "current-context:\n"]),
    ]
}

pub(super) fn names() -> Vec<Case> {
    let named = |case: &'static str, name: &str, context: &'static str| {
        Case::text(case, entries(name, CLUSTER, name, USER, name)).context(context)
    };
    let twice = |case: &'static str, extra: &str, list: &str| {
        document(case, &[&plain().replace(&format!("{list}:\n"), &format!("{list}:\n{extra}\n"))])
    };
    vec![
        named("name-number-quoted", "'123'", "123"),
        named("name-number", "123", "123"),
        named("name-octal", "0123", "0123"),
        named("name-exponent", "1e3", "1e3"),
        named("name-true", "true", "true"),
        named("name-yes", "yes", "yes"),
        named("name-y", "y", "y"),
        named("name-on", "on", "on"),
        named("name-tilde", "~", "~"),
        named("name-null-word", "null", "null"),
        named("name-float", "1.10", "1.10"),
        named("name-version", "1.2.3", "1.2.3"),
        named("name-date", "2026-11-23", "2026-11-23"),
        named("name-sexagesimal", "12:30", "12:30"),
        named(
            "name-arn",
            "arn:aws:eks:eu-west-1:123456789012:cluster/prod",
            "arn:aws:eks:eu-west-1:123456789012:cluster/prod",
        ),
        named("name-at", "kubernetes-admin@kubernetes", "kubernetes-admin@kubernetes"),
        named("name-spaces", "my cluster", "my cluster"),
        named("name-quote", "\"it's\"", "it's"),
        named("name-not-ascii", "größe", "größe"),
        named("name-emoji", "🚢", "🚢"),
        named("name-dot-n", ".nan", ".nan"),
        named("name-underscored-number", "1_000", "1_000"),
        named("name-hex", "0x1F", "0x1F"),
        document("name-null", &[HEAD, CLUSTERS, CONTEXTS, "- name:\n  context: {cluster: c, user: u}\n", USERS]),
        document("name-missing", &[HEAD, CLUSTERS, CONTEXTS, "- context: {cluster: c, user: u}\n", USERS]),
        document("name-after-body", &[&plain(), "- user: {token: x}\n  name: v\n"]),
        twice("same-context-twice", "- name: ctx\n  context:\n    cluster: c\n    user: u", "contexts"),
        twice("other-context-same-name", "- name: ctx\n  context:\n    cluster: d\n    user: v", "contexts"),
        twice(
            "same-cluster-twice",
            "- name: c\n  cluster:\n    server: {SERVER}\n    certificate-authority-data: {CA}",
            "clusters",
        ),
        twice("other-cluster-same-name", "- name: c\n  cluster:\n    server: https://other.example", "clusters"),
        twice("same-user-twice", "- name: u\n  user:\n    token: {TOKEN}", "users"),
        twice("other-user-same-name", "- name: u\n  user:\n    token: {OTHER}", "users"),
        twice("unused-user-twice", "- name: v\n  user: {token: x}\n- name: v\n  user: {token: x}", "users"),
        twice("unused-context-twice", "- name: v\n  context: {}\n- name: v\n  context: {}", "contexts"),
        twice("null-entry", "-", "users"),
    ]
}

pub(super) fn yaml() -> Vec<Case> {
    let text = |name: &'static str, text: &str| Case::text(name, text);
    vec![
        text("crlf", &plain()).encoded(Encoding::Crlf),
        text("bom", &plain()).encoded(Encoding::Utf8Bom),
        text("utf-16-le", &plain()).encoded(Encoding::Utf16Le),
        text("utf-16-be", &plain()).encoded(Encoding::Utf16Be),
        text("start-and-end-marks", &format!("---\n{}...\n", plain())),
        text("comments", &format!("# first\n{}# last\n", plain().replace("users:", "users: # people"))),
        text("no-newline-at-end", plain().trim_end()),
        text("directive", &format!("%YAML 1.1\n---\n{}", plain())),
        text("directive-1-2", &format!("%YAML 1.2\n---\n{}", plain())),
        text("two-documents", &format!("{}---\n{}", plain(), plain().replace("{TOKEN}", "{OTHER}"))),
        text("second-document-broken", &format!("{}---\n{{ [ :\n", plain())),
        text("first-document-empty", &format!("---\n---\n{}", plain())),
        text("first-document-comment", &format!("# nothing\n---\n{}", plain())),
        text("after-the-end-mark", &format!("{}...\nmore text: [\n", plain())),
        text("tab-indentation", &plain().replace("    token", "\ttoken")),
        text("tab-after-value", &plain().replace("kind: Config", "kind: Config\t")),
        text("tab-before-comment", &plain().replace("kind: Config", "kind: Config\t# kind")),
        text("tab-in-flow", &plain().replace("    token: {TOKEN}", "    {\ttoken:\t{TOKEN}\t}")),
        text(
            "indented-lists",
            "apiVersion: v1\nkind: Config\nclusters:\n  - name: c\n    cluster:\n      server: {SERVER}\n      \
             certificate-authority-data: {CA}\ncontexts:\n    - name: ctx\n      context:\n        cluster: c\n        \
             user: u\nusers:\n  - name: u\n    user:\n      token: {TOKEN}\n",
        ),
        text(
            "flow-style",
            "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: '{SERVER}', \
            certificate-authority-data: '{CA}'}}], contexts: [{name: ctx, context: {cluster: c, user: u}}], \
            users: [{name: u, user: {token: '{TOKEN}'}}]}",
        ),
        text(
            "anchor-and-alias",
            &format!(
                "{HEAD}{}{CONTEXTS}{USERS}",
                CLUSTERS.replace("cluster:\n    ser", "cluster: &it\n    ser") + "- name: d\n  cluster: *it\n"
            ),
        ),
        text(
            "alias-is-used",
            &format!(
                "{HEAD}clusters:\n- name: d\n  cluster: &it\n    server: {{SERVER}}\n    certificate-authority-data: {{CA}}\n- name: c\n  cluster: *it\n{CONTEXTS}{USERS}"
            ),
        ),
        text("alias-unknown", &plain().replace("token: {TOKEN}", "token: *nobody")),
        text(
            "merge-key",
            &format!(
                "{HEAD}{CLUSTERS}{CONTEXTS}users:\n- name: v\n  user: &it\n    token: {{TOKEN}}\n- name: u\n  user:\n    <<: *it\n"
            ),
        ),
        text(
            "merge-key-overruled",
            &format!(
                "{HEAD}{CLUSTERS}{CONTEXTS}users:\n- name: v\n  user: &it\n    token: {{TOKEN}}\n- name: u\n  user:\n    <<: *it\n    token: {{OTHER}}\n"
            ),
        ),
        text(
            "merge-key-after-own",
            &format!(
                "{HEAD}{CLUSTERS}{CONTEXTS}users:\n- name: v\n  user: &it\n    token: {{TOKEN}}\n- name: u\n  user:\n    token: {{OTHER}}\n    <<: *it\n"
            ),
        ),
        text(
            "merge-key-list",
            &format!(
                "{HEAD}{CLUSTERS}{CONTEXTS}x: [&a {{token: '{{TOKEN}}'}}, &b {{token: '{{OTHER}}', as-uid: x}}]\nusers:\n- name: u\n  user:\n    <<: [*a]\n"
            ),
        ),
        text("merge-key-inline", &plain().replace("token: {TOKEN}", "<<: {token: '{TOKEN}'}")),
        text("key-twice-last-right", &plain().replace("    token: {TOKEN}", "    token: wrong\n    token: {TOKEN}")),
        text("key-twice-last-other", &plain().replace("    token: {TOKEN}", "    token: {TOKEN}\n    token: {OTHER}")),
        text("key-twice-same", &plain().replace("    token: {TOKEN}", "    token: {TOKEN}\n    token: {TOKEN}")),
        text("list-twice", &format!("{}users: []\n", plain())),
        text("list-twice-empty-first", &format!("users: []\n{}", plain())),
        text("kind-twice", &format!("kind: Config\n{}", plain())),
        text("quoted-keys", &plain().replace("token:", "\"token\":").replace("server:", "'server':")),
        text("question-mark-key", &plain().replace("    token: {TOKEN}", "    ? token\n    : {TOKEN}")),
        text("string-tag", &plain().replace("token: {TOKEN}", "token: !!str {TOKEN}")),
        text("custom-tag", &plain().replace("token: {TOKEN}", "token: !secret {TOKEN}")),
        text("token-tag-int", &plain().replace("token: {TOKEN}", "token: !!int 5")),
        text("escaped-value", &plain().replace("kind: Config", "kind: \"\\x43onfig\"")),
        text("unclosed-quote", &plain().replace("token: {TOKEN}", "token: \"{TOKEN}")),
        text("bad-indentation", &plain().replace("  user:\n    token", "  user:\n token")),
        text("control-character", &plain().replace("kind: Config", "kind: Config # \u{1}")),
        text("nul-character", &plain().replace("kind: Config", "kind: Config # \u{0}")),
        text("nel-character", &plain().replace("kind: Config", "kind: Config # \u{85}x")),
        text(
            "many-aliases",
            &format!(
                "{HEAD}{CLUSTERS}{CONTEXTS}{USERS}x: &a [l,l,l,l,l,l,l,l,l]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nz: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nzz: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nzzz: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
            ),
        ),
    ]
}

pub(super) fn documents() -> Vec<Case> {
    let text = |name: &'static str, text: &str| Case::text(name, text);
    let json = "{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\
        \"{SERVER}\",\"certificate-authority-data\":\"{CA}\"}}],\"contexts\":[{\"name\":\"ctx\",\"context\":\
        {\"cluster\":\"c\",\"user\":\"u\"}}],\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"{TOKEN}\"}}]}";
    let swap = |from: &str, to: &str| plain().replace(from, to);
    vec![
        text("json", json),
        text("json-pretty", &json.replace(",\"", ",\n  \"")),
        text("json-tabs", &json.replace(",\"", ",\n\t\"")),
        text("json-trailing-comma", &json.replace("\"}}]}", "\"},}]}")),
        text("json-comment", &format!("// comment\n{json}")),
        text("json-duplicate-key", &json.replace("{\"token\"", "{\"token\":\"wrong\",\"token\"")),
        text("json-escapes", &json.replace("Config", "\\u0043onfig")),
        text("json-then-text", &format!("{json}\nmore")),
        text("json-key-capitals", &json.replace("\"token\"", "\"Token\"")),
        text("file-empty", ""),
        text("file-of-spaces", "  \n\n"),
        text("file-of-comments", "# nothing here\n"),
        text("file-null", "null\n"),
        text("file-list", "- a\n- b\n"),
        text("file-string", "hello"),
        text("file-empty-map", "{}"),
        Case::text("file-directory", "").from(crate::parity::case::Source::Pattern {
            kubemint: "{CASE}/no-such-file",
            kubectl: "{CASE}/no-such-file",
        }),
        text("kind-missing", &swap("kind: Config\n", "")),
        text("api-version-missing", &swap("apiVersion: v1\n", "")),
        text("kind-and-api-version-missing", &swap(HEAD, "")),
        text("kind-wrong", &swap("kind: Config", "kind: Secret")),
        text("kind-lower-case", &swap("kind: Config", "kind: config")),
        text("kind-empty", &swap("kind: Config", "kind: ''")),
        text("kind-null", &swap("kind: Config", "kind:")),
        text("kind-number", &swap("kind: Config", "kind: 5")),
        text("api-version-wrong", &swap("apiVersion: v1", "apiVersion: v2")),
        text("api-version-empty", &swap("apiVersion: v1", "apiVersion: ''")),
        text("api-version-number", &swap("apiVersion: v1", "apiVersion: 1")),
        text("api-version-of-group", &swap("apiVersion: v1", "apiVersion: kubeconfig/v1")),
        text("unknown-field-top", &format!("{}colour: blue\n", plain())),
        text("unknown-field-user", &swap("    token:", "    colour: blue\n    token:")),
        text("unknown-field-capitals", &swap("    token:", "    Token: wrong\n    token:")),
        text("key-in-capitals", &swap("    token:", "    TOKEN:")),
        text("list-key-in-capitals", &swap("users:", "Users:")),
        text("preferences", &format!("{}preferences: {{}}\n", plain())),
        text("preferences-colours", &format!("{}preferences:\n  colors: true\n", plain())),
        text("preferences-bad-type", &format!("{}preferences: text\n", plain())),
        text("extensions", &format!("{}extensions:\n- name: x\n  extension:\n    a: [1, two]\n", plain())),
        text("extensions-map", &format!("{}extensions:\n  x: 1\n", plain())),
        text(
            "extension-twice",
            &format!("{}extensions:\n- name: x\n  extension: {{}}\n- name: x\n  extension: {{}}\n", plain()),
        ),
        text("extension-null", &format!("{}extensions:\n- name: x\n  extension:\n", plain())),
        text(
            "user-extensions",
            &swap("    token:", "    extensions:\n    - name: x\n      extension: {a: 1}\n    token:"),
        ),
        text("users-null-others-fine", &format!("{HEAD}{CLUSTERS}{CONTEXTS}users:\n")),
        text("users-map", &format!("{HEAD}{CLUSTERS}{CONTEXTS}users:\n  u:\n    user:\n      token: {{TOKEN}}\n")),
        text("clusters-map", &format!("{HEAD}clusters: {{c: {{server: '{{SERVER}}'}}}}\n{CONTEXTS}{USERS}")),
        text("contexts-string", &format!("{HEAD}{CLUSTERS}contexts: text\n{USERS}")),
        text("user-list", &swap("  user:\n    token", "  user:\n  - token")),
        text("token-list", &swap("token: {TOKEN}", "token: [{TOKEN}]")),
        text("token-boolean", &swap("token: {TOKEN}", "token: true")),
        text("server-list", &swap("server: {SERVER}", "server: ['{SERVER}']")),
        text("ansible-vault", "$ANSIBLE_VAULT;1.1;AES256\n6234326234\n"),
        text("helm-template", &swap("token: {TOKEN}", "token: {{ .Values.token }}")),
        text(
            "cluster-resource",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kube-root-ca.crt\ndata:\n  a: b\n",
        ),
    ]
}
