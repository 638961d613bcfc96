//! What is delivered is judged by the code of those who read it: Argo CD's, Istio's, Flux's, Kueue's, Cluster API's,
//! Crossplane's and Prometheus'. Each loads what was written to a real API server, makes a request with it, and follows a
//! rotation by its own rule.
//!
//! `KUBEMINT_CONSUMERS` names a directory with the programs of `tests/consumers`; `.ci/run` builds them and sets it. Without
//! it, only what is written is looked at.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::real::shared;
use crate::support::Machine;

/// The consumers of Secrets: the program, the kind of the output, and its name with more keys.
const CONSUMERS: [(&str, &str, &str); 6] = [
    ("argocd", "argocd", ""),
    ("istio", "istio", ""),
    ("flux", "flux", "name = '{cluster}-flux'"),
    ("kueue", "kueue", "name = '{cluster}-kueue'"),
    ("clusterapi", "cluster-api", ""),
    ("crossplane", "secret", "name = 'crossplane-{cluster}'\ndata = { kubeconfig = '{kubeconfig}' }"),
];

/// Returns the name of the Secret that a consumer reads.
fn secret(consumer: &str, cluster: &TestCluster) -> String {
    let name = &cluster.name;
    match consumer {
        "argocd" => format!("cluster-{name}"),
        "istio" => format!("istio-remote-secret-{name}"),
        "clusterapi" => format!("{name}-kubeconfig"),
        "crossplane" => format!("crossplane-{name}"),
        other => format!("{name}-{other}"),
    }
}

/// A consumer that runs.
struct Consumer {
    name: String,
    child: Child,
    ask: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Consumer {
    fn start(programs: &Path, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(programs.join(name));
        command.args(arguments).arg("--follow").env_clear().env("HOME", "/nonexistent");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (ask, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name: name.to_owned(), child, ask, lines }
    }

    /// Reads an answer.
    #[track_caller]
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.contains("eyJ"), "{} shows a token", self.name);
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{} ended: {:?}", self.name, self.child.try_wait()))
    }

    /// Lets it make another request.
    #[track_caller]
    fn again(&mut self) -> Value {
        writeln!(self.ask).unwrap();
        self.answer()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns how an API server calls a token (`authentication.kubernetes.io/credential-id`).
fn credential_id(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    format!("JTI={}", payload["jti"].as_str().unwrap())
}

/// One profile on one cluster, whose credential goes to every consumer in the hub, and to a token file for Prometheus.
fn inventory(hub: &TestCluster, cluster: &TestCluster) -> String {
    let head = format!(
        "[profiles.reader]\ncluster-rules = [{{ api-groups = [''], resources = ['pods'], verbs = ['get'] }}]\n\
         [[grants]]\nprofile = 'reader'\nclusters = ['{}']\n\
         [[outputs]]\npath = 'out/prometheus'\nkind = 'token-file'\n",
        cluster.name
    );
    let output = |(_, kind, more): &(&str, &str, &str)| {
        format!(
            "[[outputs]]\nkind = '{kind}'\nadmin = {{ cluster = '{}' }}\nnamespace = 'consumers'\n\
             create-namespaces = true\n{more}\n",
            hub.name
        )
    };
    head + &CONSUMERS.iter().map(output).collect::<String>()
}

/// Starts a consumer of a Secret.
fn start(programs: &Path, machine: &Machine, name: &str, more: &[&str]) -> Consumer {
    let [hub, cluster] = machine.clusters.as_slice() else { panic!("a hub and a cluster") };
    let (admin, secret) = (machine.path("admin.yaml"), secret(name, cluster));
    let admin = admin.to_str().unwrap();
    let arguments = ["--hub", admin, "--hub-context", &hub.name, "--namespace", "consumers", "--secret", &secret];
    Consumer::start(programs, name, &[&arguments, more].concat())
}

/// Starts all consumers.
fn start_all(programs: &Path, machine: &Machine, token_file: &Path) -> Vec<Consumer> {
    let cluster = &machine.clusters[1];
    let authority = machine.path("ca.pem");
    machine.write("ca.pem", &cluster.ca_pem);
    let key = |name: &str| -> &[&str] { if name == "crossplane" { &["--key", "kubeconfig"] } else { &[] } };
    let mut consumers: Vec<Consumer> =
        CONSUMERS.iter().map(|(name, ..)| start(programs, machine, name, key(name))).collect();
    let [authority, token_file] = [&authority, token_file].map(|path| path.to_str().unwrap());
    let arguments = ["--server", &cluster.server, "--ca", authority, "--token-file", token_file];
    consumers.push(Consumer::start(programs, "prometheus", &arguments));
    consumers
}

/// Spoils each Secret in a way that its consumer has a rule against. A consumer without that rule would get in: the file and
/// the program give the credential that is valid.
fn what_consumers_refuse_is_refused(programs: &Path, machine: &Machine, token_file: &Path) {
    let (hub, token_file) = (machine.admin(0), token_file.to_str().unwrap());
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "token": std::fs::read_to_string(token_file).unwrap().trim() },
    });
    machine.write("credential.json", &credential.to_string());
    let exec = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/cat",
        "args": [machine.path("credential.json")], "interactiveMode": "Never",
    }});
    let by_file = json!({ "tokenFile": token_file });
    for (name, user) in
        [("argocd", &Value::Null), ("istio", &by_file), ("flux", &by_file), ("kueue", &by_file), ("clusterapi", &exec)]
    {
        let path = format!("/api/v1/namespaces/consumers/secrets/{}", secret(name, &machine.clusters[1]));
        let data = hub.get(&path).unwrap()["data"].clone();
        let text = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
        let spoiled = if user.is_null() {
            json!({ "config": STANDARD.encode("no JSON") })
        } else {
            let (key, value) = data.as_object().unwrap().iter().find(|(_, it)| text(it).contains("kind:")).unwrap();
            let mut kubeconfig: Value = serde_saphyr::from_str(&text(value)).unwrap();
            kubeconfig["users"][0]["user"] = user.clone();
            json!({ key: STANDARD.encode(kubeconfig.to_string()) })
        };
        hub.merge_patch(&path, &json!({ "data": spoiled })).unwrap();
        let mut consumer = start(programs, machine, name, &["--patience", "2s"]);
        let mut said = String::new();
        consumer.lines.read_to_string(&mut said).unwrap();
        assert!(!consumer.child.wait().unwrap().success() && said.is_empty(), "{name} takes what it refuses: {said}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the environment says where the programs are")]
fn consumers_load_what_is_delivered_and_follow_a_rotation() {
    let (Some(hub), Some(cluster)) = (shared(0), shared(1)) else { return };
    let machine = Machine::new(&[&hub, &cluster], User::Admin);
    machine.inventory("consumers", &inventory(&hub, &cluster));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["verify"]);
    let Some(programs) = std::env::var_os("KUBEMINT_CONSUMERS").map(PathBuf::from) else {
        eprintln!("KUBEMINT_CONSUMERS is not set: no consumer judges what was written");
        return;
    };
    let token_file = machine.path("out/prometheus");
    let token =
        || std::fs::read_to_string(&token_file).unwrap_or_else(|error| panic!("{}: {error}", token_file.display()));
    let first = token();
    let mut consumers = start_all(&programs, &machine, &token_file);
    for consumer in &mut consumers {
        let answer = consumer.answer();
        assert_eq!(answer["user"], "system:serviceaccount:consumers:reader", "{answer:#}");
        assert_eq!(answer["credential"], credential_id(&first).as_str(), "{answer:#}");
        assert_eq!(answer["server"].as_str().unwrap().trim_end_matches('/'), cluster.server, "{answer:#}");
        println!("{} loads it: {}", consumer.name, answer["module"].as_str().unwrap());
    }

    machine.expect(0, &["refresh", "--force"]);
    let second = token();
    assert_ne!(first, second);
    for consumer in &mut consumers {
        let answer = consumer.again();
        // Cluster API keeps its connection as long as it works, which it does during the overlap.
        let expected = if consumer.name == "clusterapi" { &first } else { &second };
        assert_eq!(answer["credential"], credential_id(expected).as_str(), "{}: {answer:#}", consumer.name);
    }

    machine.expect(0, &["revoke", "--superseded", "--yes", "--wait"]);
    for consumer in &mut consumers {
        let answer = consumer.again();
        assert_eq!(answer["credential"], credential_id(&second).as_str(), "{}: {answer:#}", consumer.name);
        println!("{} follows", consumer.name);
    }

    drop(consumers);
    what_consumers_refuse_is_refused(&programs, &machine, &token_file);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    let mut gone = start(&programs, &machine, "argocd", &["--patience", "2s"]);
    assert!(!gone.child.wait().unwrap().success(), "what is revoked is refused");
}
