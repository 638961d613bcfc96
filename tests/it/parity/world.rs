//! The surroundings of the cases: an API server that accepts everybody, a directory, and the listeners.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane};
use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::json;
use tempfile::TempDir;

use super::case::{Case, Content, Encoding};
use super::pki;
use super::proxies::{Kind, Relay};

pub(super) struct World {
    plane: ControlPlane,
    directory: TempDir,
    pub(super) relay: Relay,
}

impl World {
    /// Returns nothing if the environment says that real clusters are skipped.
    pub(super) fn start() -> Option<Self> {
        let served = |name: &str, host: &str| {
            let file = |suffix: &str| pki::path(&format!("{name}{suffix}.pem")).display().to_string();
            format!("--tls-sni-cert-key={},{}:{host}", file(""), file("-key"))
        };
        let plane = ControlPlane::start(vec![ClusterOptions {
            extra_arguments: vec![
                // A later flag overrules: these client certificates are known, the kit's CA is not needed for any.
                format!("--client-ca-file={}", pki::path("client-ca.pem").display()),
                served("server", "*.parity.test"),
                served("chained", "*.chained.test"),
                served("by-expired", "*.expired.test"),
                served("self-signed", "self.signed.test"),
            ],
            ..ClusterOptions::named("parity")
        }])?;
        // The audit log names a case by its namespace, which only those who get that far ask for.
        let subjects = ["system:authenticated", "system:unauthenticated"]
            .map(|group| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group }));
        let everybody = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "parity-everybody" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": subjects,
        });
        let admin = Admin::new(plane.test_cluster(0));
        admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &everybody).unwrap();
        let server = SocketAddr::from(([127, 0, 0, 1], plane.test_cluster(0).port()));
        let relay = Relay::start(server, &plane.test_cluster(0).ca_pem);
        Some(Self { plane, directory: tempfile::tempdir().unwrap(), relay })
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn cluster(&self) -> &TestCluster {
        self.plane.test_cluster(0)
    }

    /// Returns the audit log once it holds every request that was answered before.
    pub(super) fn audit_log(&self) -> String {
        let last = "/api/v1/namespaces/parity-has-asked-for-everything/configmaps";
        Admin::new(self.cluster()).get(last).unwrap();
        loop {
            let log = std::fs::read_to_string(self.plane.audit_log(0)).unwrap();
            if log.contains(last) && log.ends_with('\n') {
                return log;
            }
        }
    }

    /// Writes a case's kubeconfig and files.
    pub(super) fn lay_out(&self, index: usize, case: &Case) {
        let directory = self.root().join(place(index));
        std::fs::create_dir_all(&directory).unwrap();
        let text = self.expand(index, &case.text);
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let config = match case.encoding {
            Encoding::Utf8 => text.into_bytes(),
            Encoding::Utf8Bom => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            Encoding::Utf16Le => [b"\xff\xfe".to_vec(), wide(u16::to_le_bytes)].concat(),
            Encoding::Utf16Be => [b"\xfe\xff".to_vec(), wide(u16::to_be_bytes)].concat(),
            Encoding::Crlf => text.replace('\n', "\r\n").into_bytes(),
        };
        write(&directory.join("config"), &config);
        for file in &case.files {
            let path = directory.join(file.name);
            match &file.content {
                Content::Template(text) => write(&path, self.expand(index, text).as_bytes()),
                Content::Bytes(bytes) => write(&path, bytes),
            }
            if file.executable {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
    }

    /// Replaces `{NAME}`; braces that hold anything but capitals at their beginning stay.
    ///
    /// | name | is |
    /// |---|---|
    /// | `SERVER`, `PORT`, `CA`, `CA_PEM` | the API server, and its CA in base64 and as it is |
    /// | `TOKEN`, `OTHER`, `ADMIN` | tokens of `reader`, `limited-admin` and `admin` |
    /// | `DIR`, `CASE` | the case's directory, and the same relative to where the programs run |
    /// | `PEM:file`, `B64:file`, `JSON:file` | a file of `pki/` |
    /// | `HTTP`, `HTTPS`, `SOCKS`, with `_AUTH` | the port of a proxy |
    /// | `PREFIX`, `PLAIN`, `SIX`, `REDIRECT` | the port of another way to the API server |
    pub(super) fn expand(&self, index: usize, template: &str) -> String {
        let mut expanded = String::new();
        let mut rest = template;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            expanded.push_str(before);
            let name = from[1..].split('}').next().unwrap_or_default();
            let known = if before.ends_with('$') { None } else { self.value(index, name) };
            let is_name = name.chars().all(|char| char.is_ascii_uppercase() || char == '_');
            assert!(known.is_some() || name.is_empty() || !is_name || before.ends_with('$'), "{{{name}}} is not known");
            if let Some(value) = known {
                expanded.push_str(&value);
                rest = &from[name.len() + 2..];
            } else {
                expanded.push('{');
                rest = &from[1..];
            }
        }
        expanded + rest
    }

    fn value(&self, index: usize, name: &str) -> Option<String> {
        let cluster = self.cluster();
        if let Some((form, file)) = name.split_once(':') {
            return match form {
                "PEM" => Some(pki::read(file)),
                "B64" => Some(STANDARD.encode(pki::read(file))),
                "JSON" => Some(json!(pki::read(file)).to_string()),
                _ => None,
            };
        }
        let port = |kind| Some(self.relay.open(index, kind).to_string());
        match name {
            "SERVER" => Some(cluster.server.clone()),
            "PORT" => Some(cluster.port().to_string()),
            "CA" => Some(STANDARD.encode(&cluster.ca_pem)),
            "CA_PEM" => Some(cluster.ca_pem.clone()),
            "TOKEN" => Some(cluster.token(User::Reader).to_owned()),
            "OTHER" => Some(cluster.token(User::LimitedAdmin).to_owned()),
            "ADMIN" => Some(cluster.token(User::Admin).to_owned()),
            "DIR" => Some(self.root().join(place(index)).display().to_string()),
            "CASE" => Some(place(index).display().to_string()),
            "HTTP" => port(Kind::HttpProxy { authenticated: false }),
            "HTTP_AUTH" => port(Kind::HttpProxy { authenticated: true }),
            "HTTPS" => port(Kind::HttpsProxy { authenticated: false }),
            "HTTPS_AUTH" => port(Kind::HttpsProxy { authenticated: true }),
            "SOCKS" => port(Kind::SocksProxy { authenticated: false }),
            "SOCKS_AUTH" => port(Kind::SocksProxy { authenticated: true }),
            "PREFIX" => port(Kind::Prefix),
            "PLAIN" => port(Kind::Plain),
            "SIX" => port(Kind::Six),
            "REDIRECT" => port(Kind::Redirect),
            _ => None,
        }
    }
}

/// Returns a case's directory, relative to the root.
pub(super) fn place(index: usize) -> PathBuf {
    Path::new("cases").join(format!("{index:03}"))
}

/// Returns the namespace that identifies the case of a request.
pub(super) fn namespace(index: usize) -> String {
    format!("case-{index:03}")
}

#[expect(clippy::disallowed_methods, reason = "tests write what users write")]
pub(super) fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
