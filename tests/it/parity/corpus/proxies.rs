//! Proxies of the kubeconfig, and of the environment, where `NO_PROXY` matters.
//!
//! No resolver knows `kube.parity.test`, so a request that reaches it went through a proxy. Linux treats `0.0.0.0` as
//! loopback, but `NO_PROXY` does not: a request that reaches it without a proxy went there directly.

use crate::parity::case::{CLUSTER, Case, USER};

const FAR: &str = "server: https://kube.parity.test:6443\ncertificate-authority-data: {B64:server-ca.pem}";
const NEAR: &str = "server: https://0.0.0.0:{PORT}\ncertificate-authority-data: {B64:server-ca.pem}\ntls-server-name: kube.parity.test";

pub(super) fn configured() -> Vec<Case> {
    let proxy = |name: &'static str, url: &str| Case::cluster(name, &format!("{FAR}\nproxy-url: {url}"));
    let near = |name: &'static str, url: &str| Case::cluster(name, &format!("{CLUSTER}\nproxy-url: {url}"));
    vec![
        proxy("proxy-http", "http://127.0.0.1:{HTTP}"),
        proxy("proxy-http-slash", "http://127.0.0.1:{HTTP}/"),
        proxy("proxy-http-path", "http://127.0.0.1:{HTTP}/path"),
        proxy("proxy-http-capitals", "HTTP://127.0.0.1:{HTTP}"),
        proxy("proxy-http-localhost", "http://localhost:{HTTP}"),
        proxy("proxy-http-credentials", "http://parity:secret@127.0.0.1:{HTTP_AUTH}"),
        proxy("proxy-http-credentials-unneeded", "http://parity:secret@127.0.0.1:{HTTP}"),
        proxy("proxy-http-credentials-encoded", "http://parity:%73ecret@127.0.0.1:{HTTP_AUTH}"),
        proxy("proxy-http-credentials-missing", "http://127.0.0.1:{HTTP_AUTH}"),
        proxy("proxy-http-password-wrong", "http://parity:wrong@127.0.0.1:{HTTP_AUTH}"),
        proxy("proxy-http-user-only", "http://parity@127.0.0.1:{HTTP_AUTH}"),
        proxy("proxy-https", "https://127.0.0.1:{HTTPS}"),
        proxy("proxy-https-credentials", "https://parity:secret@127.0.0.1:{HTTPS_AUTH}"),
        proxy("proxy-https-password-wrong", "https://parity:wrong@127.0.0.1:{HTTPS_AUTH}"),
        proxy("proxy-https-that-is-http", "https://127.0.0.1:{HTTP}"),
        proxy("proxy-http-that-is-https", "http://127.0.0.1:{HTTPS}"),
        near("proxy-https-of-other-ca", "https://127.0.0.1:{HTTPS}"),
        Case::cluster("proxy-https-and-name", "server: https://kube.parity.test:6443\ncertificate-authority-data: \
            {B64:server-ca.pem}\ntls-server-name: other.parity.test\nproxy-url: https://127.0.0.1:{HTTPS}"),
        Case::cluster("proxy-https-and-kit-name", "server: {SERVER}\ncertificate-authority-data: {CA}\n\
            tls-server-name: localhost\nproxy-url: https://127.0.0.1:{HTTPS}"),
        Case::cluster(
            "proxy-https-insecure",
            "server: https://kube.parity.test:6443\ninsecure-skip-tls-verify: true\nproxy-url: https://127.0.0.1:{HTTPS}",
        )
        .insecure(),
        proxy("proxy-socks5", "socks5://127.0.0.1:{SOCKS}"),
        proxy("proxy-socks5-credentials", "socks5://parity:secret@127.0.0.1:{SOCKS_AUTH}"),
        proxy("proxy-socks5-credentials-unneeded", "socks5://parity:secret@127.0.0.1:{SOCKS}"),
        proxy("proxy-socks5-credentials-missing", "socks5://127.0.0.1:{SOCKS_AUTH}"),
        proxy("proxy-socks5-password-wrong", "socks5://parity:wrong@127.0.0.1:{SOCKS_AUTH}"),
        proxy("proxy-socks5h", "socks5h://127.0.0.1:{SOCKS}"),
        proxy("proxy-socks4", "socks4://127.0.0.1:{SOCKS}"),
        proxy("proxy-socks", "socks://127.0.0.1:{SOCKS}"),
        proxy("proxy-ftp", "ftp://127.0.0.1:{HTTP}"),
        proxy("proxy-no-scheme", "127.0.0.1:{HTTP}"),
        proxy("proxy-no-scheme-name", "localhost:{HTTP}"),
        proxy("proxy-slashes", "//127.0.0.1:{HTTP}"),
        proxy("proxy-no-host", "http://"),
        proxy("proxy-garbage", "'::'"),
        proxy("proxy-number", "8080"),
        proxy("proxy-spaces", "'http://127.0.0.1:{HTTP} '"),
        proxy("proxy-closed", "http://127.0.0.1:1"),
        near("proxy-empty", "''"),
        near("proxy-null", ""),
        near("proxy-http-to-loopback", "http://127.0.0.1:{HTTP}"),
        near("proxy-socks5-to-loopback", "socks5://127.0.0.1:{SOCKS}"),
        near("proxy-closed-to-loopback", "http://127.0.0.1:1"),
        Case::pair("proxy-http-and-certificate", &format!("{FAR}\nproxy-url: http://127.0.0.1:{{HTTP}}"), CERTIFICATE),
        Case::pair("proxy-https-and-certificate", &format!("{FAR}\nproxy-url: https://127.0.0.1:{{HTTPS}}"), CERTIFICATE),
        Case::cluster("proxy-and-default-port", "server: https://kube.parity.test\ncertificate-authority-data: \
            {B64:server-ca.pem}\nproxy-url: http://127.0.0.1:{HTTP}"),
        Case::cluster("proxy-and-six", "server: https://[2001:db8::1]:6443\ncertificate-authority-data: \
            {B64:server-ca.pem}\ntls-server-name: kube.parity.test\nproxy-url: http://127.0.0.1:{HTTP}"),
        Case::cluster("proxy-socks5-and-six", "server: https://[2001:db8::1]:6443\ncertificate-authority-data: \
            {B64:server-ca.pem}\ntls-server-name: kube.parity.test\nproxy-url: socks5://127.0.0.1:{SOCKS}"),
        Case::cluster("proxy-and-plain-server", "server: http://kube.parity.test:8080\nproxy-url: http://127.0.0.1:{HTTP}"),
    ]
}

const CERTIFICATE: &str = "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}";

pub(super) fn environment() -> Vec<Case> {
    let far = |name: &'static str| Case::cluster(name, FAR);
    let near = |name: &'static str| Case::cluster(name, NEAR);
    let proxied = |name: &'static str| far(name).env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}");
    let except = |name: &'static str, list: &'static str| proxied(name).env("NO_PROXY", list);
    let except_near = |name: &'static str, list: &'static str| {
        near(name).env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}").env("NO_PROXY", list)
    };
    vec![
        proxied("https-proxy"),
        far("https-proxy-lower-case").env("https_proxy", "http://127.0.0.1:{HTTP}"),
        proxied("https-proxy-both-cases").env("https_proxy", "http://127.0.0.1:1"),
        far("https-proxy-empty-and-lower").env("HTTPS_PROXY", "").env("https_proxy", "http://127.0.0.1:{HTTP}"),
        far("https-proxy-https").env("HTTPS_PROXY", "https://127.0.0.1:{HTTPS}"),
        far("https-proxy-credentials").env("HTTPS_PROXY", "http://parity:secret@127.0.0.1:{HTTP_AUTH}"),
        far("https-proxy-password-wrong").env("HTTPS_PROXY", "http://parity:wrong@127.0.0.1:{HTTP_AUTH}"),
        far("https-proxy-socks5").env("HTTPS_PROXY", "socks5://127.0.0.1:{SOCKS}"),
        far("https-proxy-socks5-credentials").env("HTTPS_PROXY", "socks5://parity:secret@127.0.0.1:{SOCKS_AUTH}"),
        far("https-proxy-socks5h").env("HTTPS_PROXY", "socks5h://127.0.0.1:{SOCKS}"),
        far("https-proxy-no-scheme").env("HTTPS_PROXY", "127.0.0.1:{HTTP}"),
        far("https-proxy-no-scheme-name").env("HTTPS_PROXY", "localhost:{HTTP}"),
        far("https-proxy-garbage").env("HTTPS_PROXY", "http://%zz"),
        far("https-proxy-ftp").env("HTTPS_PROXY", "ftp://127.0.0.1:{HTTP}"),
        far("https-proxy-closed").env("HTTPS_PROXY", "http://127.0.0.1:1"),
        near("http-proxy-only").env("HTTP_PROXY", "http://127.0.0.1:{HTTP}"),
        near("http-proxy-lower-case-only").env("http_proxy", "http://127.0.0.1:{HTTP}"),
        near("all-proxy-only").env("ALL_PROXY", "http://127.0.0.1:{HTTP}"),
        near("https-proxy-near").env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        near("https-proxy-near-broken").env("HTTPS_PROXY", "http://%zz"),
        near("https-proxy-near-garbage").env("HTTPS_PROXY", "http://%zz").env("NO_PROXY", "0.0.0.0"),
        Case::cluster("https-proxy-loopback", CLUSTER).env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        Case::cluster("https-proxy-localhost", "server: https://localhost:{PORT}\ncertificate-authority-data: {CA}")
            .env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        Case::cluster("https-proxy-loopback-garbage", CLUSTER).env("HTTPS_PROXY", "http://%zz"),
        Case::cluster("https-proxy-and-proxy-url", &format!("{FAR}\nproxy-url: socks5://127.0.0.1:{{SOCKS}}"))
            .env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        Case::cluster("https-proxy-and-empty-proxy-url", &format!("{FAR}\nproxy-url: ''"))
            .env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        Case::cluster("no-proxy-and-proxy-url", &format!("{FAR}\nproxy-url: http://127.0.0.1:{{HTTP}}"))
            .env("NO_PROXY", "*"),
        Case::cluster("no-proxy-star-and-proxy-url-near", &format!("{NEAR}\nproxy-url: http://127.0.0.1:{{HTTP}}"))
            .env("NO_PROXY", "*"),
        except("no-proxy-host", "kube.parity.test"),
        except("no-proxy-host-capitals", "KUBE.Parity.Test"),
        except("no-proxy-host-port", "kube.parity.test:6443"),
        except("no-proxy-host-other-port", "kube.parity.test:443"),
        except("no-proxy-suffix", "parity.test"),
        except("no-proxy-suffix-dot", ".parity.test"),
        except("no-proxy-dot-itself", ".kube.parity.test"),
        except("no-proxy-star-suffix", "*.parity.test"),
        except("no-proxy-star-itself", "*.kube.parity.test"),
        except("no-proxy-part-of-label", "ity.test"),
        except("no-proxy-prefix", "kube"),
        except("no-proxy-star-at-end", "kube.*"),
        except("no-proxy-trailing-dot", "kube.parity.test."),
        except("no-proxy-scheme", "https://kube.parity.test"),
        except("no-proxy-list", "example.com,kube.parity.test"),
        except("no-proxy-list-spaces", "example.com , kube.parity.test , "),
        except("no-proxy-list-by-spaces", "example.com kube.parity.test"),
        except("no-proxy-list-by-semicolons", "example.com;kube.parity.test"),
        except("no-proxy-others", "example.com,10.0.0.0/8,,"),
        except("no-proxy-empty", ""),
        except("no-proxy-broken-cidr", "10.0.0.0/99"),
        proxied("no-proxy-lower-case").env("no_proxy", "kube.parity.test"),
        proxied("no-proxy-both-cases").env("NO_PROXY", "example.com").env("no_proxy", "kube.parity.test"),
        proxied("no-proxy-empty-and-lower").env("NO_PROXY", "").env("no_proxy", "kube.parity.test"),
        except_near("no-proxy-all", "*"),
        except_near("no-proxy-all-in-list", "example.com,*"),
        except_near("no-proxy-ip", "0.0.0.0"),
        except_near("no-proxy-ip-spaces", " 0.0.0.0 ,"),
        except_near("no-proxy-ip-port", "0.0.0.0:{PORT}"),
        except_near("no-proxy-ip-other-port", "0.0.0.0:1"),
        except_near("no-proxy-cidr", "0.0.0.0/8"),
        except_near("no-proxy-cidr-all", "0.0.0.0/0"),
        except_near("no-proxy-cidr-other", "10.0.0.0/8"),
        except_near("no-proxy-ip-prefix", "0.0."),
        except_near("no-proxy-ip-dot", ".0.0.0.0"),
        except_near("no-proxy-ip-six-form", "::ffff:0.0.0.0"),
        except_near("no-proxy-tls-server-name", "kube.parity.test"),
        Case::pair("https-proxy-and-certificate", FAR, CERTIFICATE).env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}"),
        Case::pair(
            "https-proxy-of-a-plugin",
            FAR,
            "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: ./plugin\n  interactiveMode: Never",
        )
        .script(
            "plugin",
            &format!(
                "echo \"$NO_PROXY\" > \"${{0%/*}}/saw.$PARITY_CLIENT\"\n{}",
                crate::parity::case::reply("v1", "{\"token\":\"{TOKEN}\"}")
            ),
        )
        .env("HTTPS_PROXY", "http://127.0.0.1:{HTTP}")
        .env("NO_PROXY", "example.com"),
        Case::pair("plain-kubeconfig-with-environment", CLUSTER, USER).env("KUBECONFIG", "/nowhere"),
        Case::pair("plain-kubeconfig-in-a-pod", CLUSTER, USER)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "1"),
    ]
}
