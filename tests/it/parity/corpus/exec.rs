//! Exec plugins: their declaration, their output, and their environment.

use crate::parity::case::{Case, indented, reply};

const V1: &str = "apiVersion: client.authentication.k8s.io/v1\ncommand: ./plugin\ninteractiveMode: Never";
const TOKEN: &str = "{\"token\":\"{TOKEN}\"}";
const CERTIFICATE: &str =
    "{\"clientCertificateData\":{JSON:client-p256.pem},\"clientKeyData\":{JSON:client-p256-key.pem}}";

/// A plugin of v1 with additional fields, which prints a token.
fn v1(name: &'static str, fields: &str) -> Case {
    Case::plugin(name, &format!("{V1}\n{fields}"), &reply("v1", TOKEN))
}

fn with(name: &'static str, exec: &str) -> Case {
    Case::plugin(name, exec, &reply("v1", TOKEN))
}

fn of_version(name: &'static str, version: &str) -> Case {
    let exec = format!("apiVersion: client.authentication.k8s.io/{version}\ncommand: ./plugin");
    Case::plugin(name, &exec, &reply(version, TOKEN))
}

pub(super) fn cases() -> Vec<Case> {
    let exec = format!("exec:\n{}\n", indented(V1, 2));
    let and = |name: &'static str, fields: &str| {
        Case::user(name, &format!("{exec}{fields}")).script("plugin", &reply("v1", "{\"token\":\"{OTHER}\"}"))
    };
    let api = "apiVersion: client.authentication.k8s.io/v1";
    vec![
        v1("exec-v1", ""),
        of_version("exec-v1beta1", "v1beta1"),
        of_version("exec-v1alpha1", "v1alpha1"),
        of_version("exec-v1-without-interactive-mode", "v1"),
        of_version("exec-unknown-version", "v2"),
        with("exec-no-api-version", "command: ./plugin\ninteractiveMode: Never"),
        with("exec-empty-api-version", "apiVersion: ''\ncommand: ./plugin\ninteractiveMode: Never"),
        with("exec-other-group", "apiVersion: example.com/v1\ncommand: ./plugin\ninteractiveMode: Never"),
        with("exec-mode-if-available", &format!("{api}\ncommand: ./plugin\ninteractiveMode: IfAvailable")),
        with("exec-mode-always", &format!("{api}\ncommand: ./plugin\ninteractiveMode: Always")),
        with("exec-mode-unknown", &format!("{api}\ncommand: ./plugin\ninteractiveMode: Sometimes")),
        with("exec-mode-empty", &format!("{api}\ncommand: ./plugin\ninteractiveMode: ''")),
        with("exec-no-command", &format!("{api}\ninteractiveMode: Never")),
        with("exec-empty-command", &format!("{api}\ncommand: ''\ninteractiveMode: Never")),
        with("exec-command-absolute", &format!("{api}\ncommand: '{{DIR}}/plugin'\ninteractiveMode: Never")),
        with("exec-command-not-there", &format!("{api}\ncommand: ./missing\ninteractiveMode: Never")),
        with("exec-command-not-in-path", &format!("{api}\ncommand: parity-nowhere\ninteractiveMode: Never")),
        with("exec-command-beside-not-in-path", &format!("{api}\ncommand: plugin\ninteractiveMode: Never")),
        with("exec-command-with-arguments", &format!("{api}\ncommand: ./plugin --now\ninteractiveMode: Never")),
        with("exec-command-home", &format!("{api}\ncommand: ~/plugin\ninteractiveMode: Never")),
        with("exec-install-hint", &format!("{api}\ncommand: ./missing\ninteractiveMode: Never\ninstallHint: get it")),
        with(
            "exec-install-hint-unused",
            &format!("{api}\ncommand: ./plugin\ninteractiveMode: Never\ninstallHint: get it"),
        ),
        with("exec-in-directory", &format!("{api}\ncommand: tools/plugin\ninteractiveMode: Never"))
            .script("tools/plugin", &reply("v1", "{\"token\":\"{OTHER}\"}")),
        with("exec-in-path", &format!("{api}\ncommand: sh\nargs: ['{{DIR}}/plugin']\ninteractiveMode: Never")),
        Case::user("exec-not-executable", &exec).file("plugin", "#!/bin/sh\nexit 0\n"),
        Case::user("exec-null", "exec:\ntoken: {TOKEN}"),
        Case::user("exec-null-alone", "exec:"),
        Case::user("exec-empty", "exec: {}"),
        Case::user("exec-empty-and-token", "exec: {}\ntoken: {TOKEN}"),
        v1("exec-unknown-field", "colour: blue"),
        v1("exec-args-null", "args:\nenv:"),
        v1("exec-args-string", "args: text"),
        v1("exec-args-number", "args: [1]"),
        v1("exec-env-without-value", "env:\n- name: ONLY"),
        v1("exec-env-without-name", "env:\n- value: only"),
        v1("exec-env-map", "env:\n  NAME: value"),
        v1("exec-env-number", "env:\n- name: NAME\n  value: 5"),
        and("exec-and-token", "token: {TOKEN}"),
        and("exec-and-wrong-token", "token: wrong"),
        and("exec-and-token-file", "tokenFile: token").file("token", "{TOKEN}"),
        and("exec-and-missing-token-file", "tokenFile: token"),
        and("exec-and-empty-token", "token: ''"),
        and("exec-and-basic", "username: reader\npassword: secret"),
        and("exec-and-auth-provider", "auth-provider:\n  name: oidc"),
        and(
            "exec-and-certificate",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}",
        ),
        and("exec-and-impersonation", "as: jane"),
        Case::user("exec-broken-and-token", "token: {TOKEN}\nexec:\n  command: ./missing"),
    ]
}

#[expect(clippy::too_many_lines, reason = "it is a list")]
pub(super) fn replies() -> Vec<Case> {
    let says = |name: &'static str, script: &str| Case::plugin(name, V1, script);
    let status = |name: &'static str, status: &str| says(name, &reply("v1", status));
    let head = "\"apiVersion\":\"client.authentication.k8s.io/v1\"";
    let heredoc = |text: &str| format!("cat <<'END'\n{text}\nEND");
    let token_until = |name: &'static str, time: &str| {
        status(name, &format!("{{\"token\":\"{{TOKEN}}\",\"expirationTimestamp\":{time}}}"))
    };
    vec![
        status("reply-token", TOKEN),
        status("reply-certificate", CERTIFICATE),
        status(
            "reply-certificate-and-token",
            "{\"token\":\"{TOKEN}\",\"clientCertificateData\":{JSON:client-p256.pem},\"clientKeyData\":\
             {JSON:client-p256-key.pem}}",
        ),
        status(
            "reply-rsa-certificate",
            "{\"clientCertificateData\":{JSON:client-rsa.pem},\"clientKeyData\":{JSON:client-rsa-pkcs1-key.pem}}",
        ),
        status("reply-only-certificate", "{\"clientCertificateData\":{JSON:client-p256.pem}}"),
        status("reply-only-key", "{\"clientKeyData\":{JSON:client-p256-key.pem}}"),
        status(
            "reply-token-and-only-certificate",
            "{\"token\":\"{TOKEN}\",\"clientCertificateData\":{JSON:client-p256.pem}}",
        ),
        status(
            "reply-mismatching-key",
            "{\"clientCertificateData\":{JSON:client-rsa.pem},\"clientKeyData\":{JSON:client-p256-key.pem}}",
        ),
        status("reply-certificate-garbage", "{\"clientCertificateData\":\"x\",\"clientKeyData\":\"y\"}"),
        status(
            "reply-certificate-base64",
            "{\"clientCertificateData\":\"{B64:client-p256.pem}\",\"clientKeyData\":\"{B64:client-p256-key.pem}\"}",
        ),
        status(
            "reply-expired-certificate",
            "{\"clientCertificateData\":{JSON:client-expired.pem},\"clientKeyData\":{JSON:client-p256-key.pem}}",
        ),
        status("reply-empty-status", "{}"),
        status("reply-null-status", "null"),
        status("reply-empty-token", "{\"token\":\"\"}"),
        status("reply-wrong-token", "{\"token\":\"wrong\"}"),
        status("reply-token-newline", "{\"token\":\"{TOKEN}\\n\"}"),
        status("reply-token-number", "{\"token\":5}"),
        status("reply-status-list", "[]"),
        status("reply-unknown-field", "{\"token\":\"{TOKEN}\",\"colour\":\"blue\"}"),
        status("reply-key-in-capitals", "{\"Token\":\"{TOKEN}\"}"),
        token_until("reply-expired", "\"2020-01-01T00:00:00Z\""),
        token_until("reply-lasting", "\"2120-01-01T00:00:00Z\""),
        token_until("reply-expiry-null", "null"),
        token_until("reply-expiry-empty", "\"\""),
        token_until("reply-expiry-garbage", "\"tomorrow\""),
        token_until("reply-expiry-fraction", "\"2120-01-01T00:00:00.123456789Z\""),
        token_until("reply-expiry-offset", "\"2120-01-01T00:00:00+02:00\""),
        token_until("reply-expiry-number", "4733510400"),
        token_until("reply-expiry-no-zone", "\"2120-01-01T00:00:00\""),
        says("reply-no-status", &heredoc(&format!("{{{head},\"kind\":\"ExecCredential\"}}"))),
        says("reply-kind-wrong", &heredoc(&format!("{{{head},\"kind\":\"Secret\",\"status\":{TOKEN}}}"))),
        says("reply-kind-missing", &heredoc(&format!("{{{head},\"status\":{TOKEN}}}"))),
        says("reply-kind-empty", &heredoc(&format!("{{{head},\"kind\":\"\",\"status\":{TOKEN}}}"))),
        says("reply-version-missing", &heredoc(&format!("{{\"kind\":\"ExecCredential\",\"status\":{TOKEN}}}"))),
        says("reply-version-other", &reply("v1beta1", TOKEN)),
        says("reply-version-unknown", &reply("v3", TOKEN)),
        says(
            "reply-with-spec",
            &heredoc(&format!(
                "{{{head},\"kind\":\"ExecCredential\",\"spec\":{{\"interactive\":true}},\"status\":{TOKEN}}}"
            )),
        ),
        says(
            "reply-with-metadata",
            &heredoc(&format!("{{{head},\"kind\":\"ExecCredential\",\"metadata\":{{}},\"status\":{TOKEN}}}")),
        ),
        says("reply-then-text", &format!("{}\necho done", reply("v1", TOKEN))),
        says("reply-after-text", &format!("echo welcome\n{}", reply("v1", TOKEN))),
        says("reply-twice", &format!("{0}\n{0}", reply("v1", TOKEN))),
        says("reply-then-blanks", &format!("{}\nprintf '\\n \\n'", reply("v1", TOKEN))),
        says("reply-after-blanks", &format!("printf '\\n \\n'\n{}", reply("v1", TOKEN))),
        says("reply-with-bom", &format!("printf '\\357\\273\\277'\n{}", reply("v1", TOKEN))),
        says(
            "reply-yaml",
            &heredoc("apiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\nstatus:\n  token: {TOKEN}"),
        ),
        says(
            "reply-yaml-document-mark",
            &heredoc(
                "---\napiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\nstatus: {token: '{TOKEN}'}",
            ),
        ),
        says("reply-nothing", "true"),
        says("reply-garbage", "echo hello"),
        says("reply-list", "echo '[]'"),
        says("reply-null", "echo null"),
        says("reply-and-exit-1", &format!("{}\nexit 1", reply("v1", TOKEN))),
        says("exit-1", "echo 'not logged in' >&2; exit 1"),
        says("killed", "kill -9 $$"),
        says("reply-and-stderr", &format!("echo 'a warning' >&2\n{}", reply("v1", TOKEN))),
        says(
            "reply-with-duplicate-key",
            &heredoc(&format!(
                "{{{head},\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"wrong\",\"token\":\"{{TOKEN}}\"}}}}"
            )),
        ),
        Case::plugin(
            "reply-v1beta1-certificate",
            "apiVersion: client.authentication.k8s.io/v1beta1\ncommand: ./plugin",
            &reply("v1beta1", CERTIFICATE),
        ),
        Case::plugin(
            "reply-v1-to-v1beta1",
            "apiVersion: client.authentication.k8s.io/v1beta1\ncommand: ./plugin",
            &reply("v1", TOKEN),
        ),
    ]
}

/// The plugin writes down what it can see, and this is compared too.
pub(super) fn surroundings() -> Vec<Case> {
    let saw = |what: &str| format!("{what} > \"${{0%/*}}/saw.$PARITY_CLIENT\"\n{}", reply("v1", TOKEN));
    let info = saw("printf '%s' \"$KUBERNETES_EXEC_INFO\"");
    let sees =
        |name: &'static str, fields: &str, what: &str| Case::plugin(name, &format!("{V1}\n{fields}"), &saw(what));
    let told = |name: &'static str, cluster: &str, fields: &str| {
        let exec = format!("exec:\n{}", indented(&format!("{V1}\n{fields}"), 2));
        Case::pair(name, cluster, &exec).script("plugin", &info)
    };
    let plain = "server: {SERVER}\ncertificate-authority-data: {CA}";
    let extension = "extensions:\n- name: client.authentication.k8s.io/exec\n  extension:\n";
    let provide = "provideClusterInfo: true";
    vec![
        sees("plugin-arguments", "args: [one, 'two words', '', '$HOME', '*']", "printf '<%s>' \"$@\""),
        sees("plugin-name", "", "basename \"$0\""),
        sees(
            "plugin-environment",
            "env:\n- name: PARITY_OWN\n  value: own value",
            "echo \"$PARITY_OWN,$PARITY_PARENT,$HOME,$PATH\"",
        ),
        sees(
            "plugin-environment-overrules",
            "env:\n- name: PARITY_PARENT\n  value: overruled",
            "echo \"$PARITY_PARENT\"",
        ),
        sees("plugin-environment-twice", "env:\n- {name: A, value: first}\n- {name: A, value: last}", "echo \"$A\""),
        sees("plugin-environment-not-expanded", "env:\n- {name: A, value: $HOME/x}", "echo \"$A\""),
        sees(
            "plugin-environment-empties",
            "env:\n- {name: PARITY_PARENT, value: ''}",
            "echo \"${PARITY_PARENT-unset}\"",
        ),
        sees(
            "plugin-environment-exec-info",
            "env:\n- {name: KUBERNETES_EXEC_INFO, value: mine}",
            "echo \"$KUBERNETES_EXEC_INFO\"",
        ),
        sees("plugin-path-of-its-own", "env:\n- {name: PATH, value: /usr/bin:/bin}", "echo \"$PATH\""),
        sees("plugin-directory", "", "pwd | sed 's/.*case/case/;s/.*tmp.*/root/'"),
        sees("plugin-input", "", "wc -c"),
        sees("plugin-input-is-no-terminal", "", "if [ -t 0 ]; then echo terminal; else echo none; fi"),
        told("info", plain, ""),
        told("info-not-provided", plain, "provideClusterInfo: false"),
        told("info-provided", plain, provide),
        told("info-name", &format!("{plain}\ntls-server-name: localhost"), provide),
        told("info-insecure", "server: {SERVER}\ninsecure-skip-tls-verify: true", provide).insecure(),
        told("info-ca-file", "server: {SERVER}\ncertificate-authority: ca.pem", provide).file("ca.pem", "{CA_PEM}"),
        told("info-proxy", &format!("{plain}\nproxy-url: http://127.0.0.1:1"), provide),
        told("info-no-compression", &format!("{plain}\ndisable-compression: true"), provide),
        told("info-config", &format!("{plain}\n{extension}    audience: abc\n    list: [1, 2.5, true, null]"), provide),
        told("info-config-text", &format!("{plain}\n{extension}    just text"), provide),
        told(
            "info-config-null",
            &format!("{plain}\nextensions:\n- name: client.authentication.k8s.io/exec\n  extension:"),
            provide,
        ),
        told("info-config-not-provided", &format!("{plain}\n{extension}    audience: abc"), ""),
        told("info-other-extension", &format!("{plain}\nextensions:\n- name: other\n  extension: {{a: b}}"), provide),
        told("info-server-slash", "server: {SERVER}/\ncertificate-authority-data: {CA}", provide),
        Case::plugin(
            "info-v1beta1",
            "apiVersion: client.authentication.k8s.io/v1beta1\ncommand: ./plugin\nprovideClusterInfo: true",
            &format!(
                "printf '%s' \"$KUBERNETES_EXEC_INFO\" > \"${{0%/*}}/saw.$PARITY_CLIENT\"\n{}",
                reply("v1beta1", TOKEN)
            ),
        ),
        told("info-provide-string", plain, "provideClusterInfo: 'true'"),
        Case::plugin(
            "plugin-decides-by-server",
            &format!("{V1}\n{provide}"),
            &format!(
                "case \"$KUBERNETES_EXEC_INFO\" in *'\"server\":\"{{SERVER}}\"'*)\n{}\n;; esac",
                reply("v1", TOKEN)
            ),
        ),
    ]
}
