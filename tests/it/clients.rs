//! The usual clients read the kubeconfigs that kubemint writes: all agree on server, CA, token and namespace, and each
//! makes a request to a real API server.
//!
//! kubectl and kube-rs always take part. `KUBEMINT_PEERS` names a directory with the Python, Node and
//! Go programs of `tests/peers`; `.ci/run` installs and sets it.

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubemint_testkit::control_plane::{self, ClusterOptions, ControlPlane};
use kubemint_testkit::{TestCluster, User};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::support::Machine;

const PROFILES: &str = "
[profiles.one]
cluster-rules = [{ api-groups = [''], resources = ['namespaces'], verbs = ['get', 'list'] }]
[profiles.two]
cluster-rules = [{ api-groups = [''], resources = ['namespaces'], verbs = ['get', 'list'] }]
[[grants]]
profiles = ['one', 'two']
selector = ''
[[outputs]]
path = 'out/{profile}.kubeconfig'
[[outputs]]
path = 'out/all.kubeconfig'
namespace = 'kube-system'
[[outputs]]
path = 'mine.yaml'
context = '{profile}'
profiles = ['one']
[[outputs]]
path = 'mine.json'
context = '{profile}'
profiles = ['two']
";

/// The files, each with one of its contexts.
const FILES: [(&str, &str); 5] = [
    ("out/one.kubeconfig", "one@real"),
    ("out/all.kubeconfig", "one@real"),
    ("out/all.kubeconfig", "two@real"),
    ("mine.yaml", "one"),
    ("mine.json", "two"),
];

fn hex(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn with_kubectl(path: &Path, context: &str) -> Value {
    let run = |arguments: &[&str]| {
        let output = control_plane::kubectl(path, [&["--context", context], arguments].concat()).unwrap();
        assert!(output.success(), "{}", output.stderr);
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    let view = run(&["config", "view", "--raw", "--minify", "-o", "json"]);
    let (cluster, user) = (&view["clusters"][0]["cluster"], &view["users"][0]["user"]);
    json!({
        "server": cluster["server"],
        "ca": hex(&decode(cluster["certificate-authority-data"].as_str().unwrap())),
        "token": hex(user["token"].as_str().unwrap().as_bytes()),
        "namespace": view["contexts"][0]["context"].get("namespace").cloned().unwrap_or_else(|| json!("default")),
        "namespaces": run(&["get", "namespaces", "-o", "json"])["items"].as_array().unwrap().len(),
    })
}

fn with_kube_rs(path: &Path, context: &str) -> Value {
    use secrecy::ExposeSecret;
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await.unwrap();
        let cluster = kubeconfig.clusters.iter().find(|entry| entry.name == context).unwrap();
        let authority = cluster.cluster.as_ref().unwrap().certificate_authority_data.as_deref().unwrap();
        let (token, namespace) = (config.auth_info.token.clone().unwrap(), config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).unwrap();
        let namespaces = kube::Api::<Namespace>::all(client).list(&kube::api::ListParams::default()).await.unwrap();
        json!({
            "server": server.trim_end_matches('/'),
            "ca": hex(&decode(authority)),
            "token": hex(token.expose_secret().as_bytes()),
            "namespace": namespace,
            "namespaces": namespaces.items.len(),
        })
    })
}

fn with_peer(peers: &Path, peer: &str, path: &Path, context: &str) -> Value {
    let (program, script) = match peer {
        "Python" => (peers.join("python/bin/python"), Some(peers.join("python/peer.py"))),
        "Node" => (PathBuf::from("node"), Some(peers.join("node/peer.mjs"))),
        _ => (peers.join("go-peer"), None),
    };
    let output = Command::new(&program).args(script).arg(path).arg(context).output();
    let output = output.unwrap_or_else(|error| panic!("{peer}: {}: {error}", program.display()));
    assert!(output.status.success(), "{peer}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the environment says where the programs of other languages are")]
fn every_client_reads_what_kubemint_writes() {
    let Some(plane) = ControlPlane::start(vec![ClusterOptions::named("real")]) else { return };
    let cluster: TestCluster = plane.test_cluster(0).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("clients", PROFILES);
    machine.write("mine.yaml", "# mine\nusers:\n  - name: other # keep\n    user: {token: x}\n");
    machine.write("mine.json", "{\n  \"kind\": \"Config\",\n  \"apiVersion\": \"v1\",\n  \"users\": []\n}\n");
    machine.expect(0, &["apply", "--yes"]);
    assert!(machine.read("mine.yaml").starts_with("# mine\nusers:\n  - name: other # keep\n"));
    assert!(serde_json::from_str::<Value>(&machine.read("mine.json")).is_ok(), "JSON stays JSON");

    let peers = std::env::var_os("KUBEMINT_PEERS").map(PathBuf::from);
    let others: &[&str] = if peers.is_some() { &["Python", "Node", "Go"] } else { &[] };
    for (file, context) in FILES {
        let path = machine.path(file);
        let expected = with_kubectl(&path, context);
        assert_eq!(expected["server"], cluster.server, "{file}");
        assert_eq!(expected["ca"], hex(cluster.ca_pem.as_bytes()), "{file}");
        let namespace = if file == "out/all.kubeconfig" { "kube-system" } else { "default" };
        assert_eq!(expected["namespace"], namespace, "{file}");
        assert_eq!(with_kube_rs(&path, context), expected, "kube-rs on {file}");
        for peer in others {
            let found = with_peer(peers.as_ref().unwrap(), peer, &path, context);
            assert_eq!(found, expected, "{peer} on {file}");
        }
        println!(
            "{file:<20} {context:<10} kubectl, kube-rs{} agree",
            others.iter().map(|peer| format!(", {peer}")).collect::<String>()
        );
    }
}
