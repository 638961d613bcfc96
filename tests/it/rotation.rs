//! Real clients use a real API server during a rotation without an error, with every form of a credential.
//!
//! kubectl and kube-rs always take part; `KUBEMINT_PEERS` names the programs of other languages, as in `clients`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubemint_testkit::control_plane::{self, ClusterOptions, ControlPlane};
use kubemint_testkit::{TestCluster, User};

use crate::life::anchors;
use crate::support::Machine;

const FILES: [&str; 3] = ["token.kubeconfig", "files.kubeconfig", "exec.kubeconfig"];

fn machine(cluster: &TestCluster, name: &str, overlap: &str) -> Machine {
    let machine = Machine::new(&[cluster], User::Admin);
    let outputs = FILES.map(|file| {
        let form = file.replace(".kubeconfig", "").replace("files", "token-file");
        format!("[[outputs]]\npath = '{file}'\ncredential = '{form}'\ncontext = 'rotated'\n")
    });
    machine.inventory(
        name,
        &format!(
            "[profiles.reader]\ntoken = {{ ttl = '1h', overlap = '{overlap}' }}\n\
             cluster-rules = [{{ api-groups = [''], resources = ['namespaces'], verbs = ['get', 'list'] }}]\n\
             [[grants]]\nprofile = 'reader'\nselector = ''\n{}",
            outputs.concat()
        ),
    );
    machine.expect(0, &["apply", "--yes"]);
    machine
}

/// kubectl sends requests without a pause while credentials are rotated and older ones deleted: none fails.
#[test]
fn kubectl_never_notices_a_rotation() {
    let Some(plane) = ControlPlane::start(vec![ClusterOptions::named("real")]) else { return };
    let cluster = plane.test_cluster(0).clone();
    let machine = machine(&cluster, "rotation", "3s");
    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let ask = |file: &'static str| {
            let (machine, over, requests) = (&machine, &over, &requests);
            move || {
                let mut failures = vec![];
                while !over.load(Ordering::Acquire) {
                    let asked =
                        control_plane::kubectl(&machine.path(file), ["get", "namespaces", "-o", "name"]).unwrap();
                    requests.fetch_add(1, Ordering::Relaxed);
                    if !asked.success() {
                        failures.push(format!("{file}: {}", asked.stderr));
                    }
                }
                failures
            }
        };
        let askers: Vec<_> = FILES.map(|file| scope.spawn(ask(file))).into();
        for _ in 0..3 {
            machine.expect(0, &["refresh", "--force", "--wait-overlap"]);
        }
        over.store(true, Ordering::Release);
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    });
    let requests = requests.into_inner();
    println!("3 rotations, {requests} requests of kubectl, {} failures", failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(requests > 30, "{requests}");
    assert_eq!(anchors(&machine.admin(0), "rotation").len(), 2, "the current generation's, and the exec plugin's");
}

/// A program that sends a request when it is told to.
struct Peer {
    name: String,
    child: Child,
    answers: BufReader<ChildStdout>,
    requests: usize,
    failures: Vec<String>,
}

impl Peer {
    fn start(peers: &Path, language: &str, machine: &Machine, file: &str) -> Self {
        let (program, script) = match language {
            "Python" => (peers.join("python/bin/python"), Some(peers.join("python/peer.py"))),
            "Node" => (PathBuf::from("node"), Some(peers.join("node/peer.mjs"))),
            _ => (peers.join("go-peer"), None),
        };
        let mut child = Command::new(program)
            .args(script)
            .arg(machine.path(file))
            .args(["rotated", "go on"])
            .env("HOME", machine.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut understood = String::new();
        answers.read_line(&mut understood).unwrap();
        if !understood.starts_with('{') {
            let output = child.wait_with_output().unwrap();
            panic!("{language} on {file}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self { name: format!("{language} on {file}"), child, answers, requests: 0, failures: vec![] }
    }

    fn ask(&mut self) {
        let mut answer = String::new();
        writeln!(self.child.stdin.as_mut().unwrap(), "go").unwrap();
        self.answers.read_line(&mut answer).unwrap();
        self.requests += 1;
        if answer.trim() != "ok" {
            self.failures.push(answer);
        }
    }

    fn end(mut self) -> (String, usize, Vec<String>) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "{}", self.name);
        (self.name, self.requests, self.failures)
    }
}

/// Long-running programs: those that read a file again, or ask a plugin, still work after the older token ended; the
/// others work only as long as it does.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment says where the programs of other languages are")]
fn long_running_clients_outlive_a_rotation() {
    // client-go and kube-rs read a token file again after a minute at most.
    const OVERLAP: Duration = Duration::from_secs(70);
    let Some(peers) = std::env::var_os("KUBEMINT_PEERS").map(PathBuf::from) else { return };
    let Some(plane) = ControlPlane::start(vec![ClusterOptions::named("real")]) else { return };
    let cluster = plane.test_cluster(0).clone();
    let machine = machine(&cluster, "outlive", "70s");
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let kube_rs = |file: &str| {
        let path = machine.path(file);
        runtime.block_on(async move {
            let options = KubeConfigOptions { context: Some("rotated".to_owned()), ..KubeConfigOptions::default() };
            let kubeconfig = Kubeconfig::read_from(path).unwrap();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            kube::Api::<Namespace>::all(kube::Client::try_from(config).unwrap())
        })
    };
    let lasting = [kube_rs("files.kubeconfig"), kube_rs("exec.kubeconfig")];
    let languages = ["Python", "Node", "Go"];
    let mut outliving: Vec<Peer> =
        languages.map(|language| Peer::start(&peers, language, &machine, "exec.kubeconfig")).into();
    outliving.push(Peer::start(&peers, "Go", &machine, "files.kubeconfig"));
    let mut bound: Vec<Peer> =
        languages.map(|language| Peer::start(&peers, language, &machine, "token.kubeconfig")).into();
    bound.push(Peer::start(&peers, "Python", &machine, "files.kubeconfig"));
    // The Node client does not know `tokenFile`: it would be anonymous (docs/operations.md says so).
    let ask_kube_rs = || {
        for api in &lasting {
            runtime.block_on(api.list(&kube::api::ListParams::default())).expect("kube-rs");
        }
    };
    let mut failures = vec![];
    let mut table = String::new();
    let note = |(name, requests, failed): (String, usize, Vec<String>), table: &mut String, failures: &mut Vec<_>| {
        table.push_str(&format!("{name}: {requests} requests, {} failures\n", failed.len()));
        failures.extend(failed.into_iter().map(|failure| format!("{name}: {failure}")));
    };
    machine.expect(0, &["refresh", "--force"]);
    let rotated = Instant::now();
    while rotated.elapsed() < OVERLAP {
        outliving.iter_mut().chain(&mut bound).for_each(Peer::ask);
        ask_kube_rs();
        std::thread::sleep(Duration::from_millis(500));
    }
    for peer in bound {
        note(peer.end(), &mut table, &mut failures);
    }
    machine.expect(0, &["refresh", "--wait-overlap"]);
    assert_eq!(anchors(&machine.admin(0), "outlive").len(), 2, "the older token is dead");
    let retired = Instant::now();
    // API servers remember an accepted token for ten seconds.
    while retired.elapsed() < Duration::from_secs(15) {
        outliving.iter_mut().for_each(Peer::ask);
        ask_kube_rs();
        std::thread::sleep(Duration::from_millis(500));
    }
    for peer in outliving {
        note(peer.end(), &mut table, &mut failures);
    }
    println!("{table}kube-rs on files.kubeconfig and exec.kubeconfig: no failure");
    assert!(failures.is_empty(), "{failures:#?}");
}
