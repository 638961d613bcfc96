//! One real cluster: its files, its kube-apiserver, optionally its kube-controller-manager.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::process::{Command, Process};
use super::{Binaries, ClusterOptions, ControllerManager, READY_DEADLINE, free_port};
use crate::admin::{Admin, Force};
use crate::cluster::{TestCluster, User, kubeconfig_yaml};
use crate::pki::{ClusterCertificates, SigningKeyPem};

/// How often new ports are tried when another process took the ones that were free.
const PORT_ATTEMPTS: u32 = 5;

/// Metadata of every request is enough to see who asked what, and never holds a token.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The issuer of all ServiceAccount tokens, and their default audience.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The user-facing roles that a controller fills from the roles with the matching label.
const AGGREGATED_ROLES: [&str; 3] = ["view", "edit", "admin"];

/// One kube-apiserver and what belongs to it.
#[derive(Debug)]
pub(super) struct ApiServer {
    home: PathBuf,
    options: ClusterOptions,
    binaries: Binaries,
    command: Command,
    test_cluster: TestCluster,
    controller_manager: Option<Process>,
    process: Option<Process>,
}

impl ApiServer {
    /// Starts the process; [`ApiServer::wait_until_ready`] waits for it.
    pub(super) fn start(
        binaries: &Binaries,
        program: PathBuf,
        home: PathBuf,
        etcd_url: &str,
        options: ClusterOptions,
    ) -> io::Result<Self> {
        fs::create_dir(&home)?;
        let certificates = ClusterCertificates::generate(&options.name)?;
        let signing_key = SigningKeyPem::generate()?;
        let port = free_port()?;
        let test_cluster = TestCluster::new(&options.name, port, certificates.authority.clone());
        for (file, text) in [
            ("ca.pem", certificates.authority.as_str()),
            ("server.pem", &certificates.server),
            ("server-key.pem", &certificates.server_key),
            ("token-signing-key.pem", &signing_key.private),
            ("token-verification-key.pem", &signing_key.public),
            ("tokens.csv", &token_file(&test_cluster)),
            ("audit-policy.yaml", AUDIT_POLICY),
        ] {
            fs::write(home.join(file), text)?;
        }
        let command = Command {
            program,
            arguments: arguments(&home, etcd_url, &options, port),
            log: home.join("kube-apiserver.log"),
        };
        Ok(Self {
            process: Some(Process::spawn(&command)?),
            controller_manager: None,
            binaries: binaries.clone(),
            home,
            options,
            command,
            test_cluster,
        })
    }

    pub(super) fn test_cluster(&self) -> &TestCluster {
        &self.test_cluster
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.home.join("audit.log")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.command.log.clone()
    }

    /// Waits until the server is ready and what every cluster has is there.
    pub(super) fn wait_until_ready(&mut self) -> io::Result<()> {
        start_on_free_ports(|| {
            let ready = self.wait_for_answers();
            if ready.as_ref().is_err_and(is_port_taken) {
                self.move_to_another_port()?;
            }
            ready
        })?;
        match self.options.controller_manager {
            ControllerManager::On => self.start_controller_manager(),
            ControllerManager::Off => self.fill_aggregated_roles(),
        }
    }

    pub(super) fn stop(&mut self) {
        self.controller_manager = None;
        self.process = None;
    }

    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.stop();
        self.process = Some(Process::spawn(&self.command)?);
        self.wait_until_ready()
    }

    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    fn wait_for_answers(&mut self) -> io::Result<()> {
        let admin = Admin::new(&self.test_cluster);
        let process = self.process.as_mut().expect("a server that is waited for was started");
        process.wait_until(READY_DEADLINE, || {
            let exists = |path: &str| admin.get(path).is_ok();
            let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
            Ok(exists("/readyz")
                && exists("/api/v1/namespaces/default")
                && exists("/api/v1/namespaces/kube-system")
                && ["cluster-admin", "admin", "edit", "view"].iter().all(|role| exists(&format!("{roles}/{role}"))))
        })
    }

    /// Another process was faster: the same server, on a port that is free now.
    fn move_to_another_port(&mut self) -> io::Result<()> {
        self.stop();
        let port = free_port()?;
        self.test_cluster.server = format!("https://127.0.0.1:{port}");
        for argument in &mut self.command.arguments {
            if argument.starts_with("--secure-port=") {
                *argument = format!("--secure-port={port}");
            }
        }
        fs::remove_file(&self.command.log)?;
        self.process = Some(Process::spawn(&self.command)?);
        Ok(())
    }

    fn start_controller_manager(&mut self) -> io::Result<()> {
        let kubeconfig = self.home.join("kube-controller-manager.kubeconfig");
        let text = kubeconfig_yaml(&[&self.test_cluster], User::Admin)
            .replace("current-context: \"\"", &format!("current-context: {}", self.test_cluster.name));
        fs::write(&kubeconfig, text)?;
        let file = |name: &str| self.home.join(name).display().to_string();
        let mut process = Process::spawn(&Command {
            program: self.binaries.path("kube-controller-manager")?,
            arguments: vec![
                format!("--kubeconfig={}", kubeconfig.display()),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                "--controllers=namespace-controller,serviceaccount-controller,\
                 serviceaccount-token-controller,clusterrole-aggregation-controller,\
                 garbage-collector-controller,root-ca-certificate-publisher-controller,\
                 resourcequota-controller,job-controller,cronjob-controller"
                    .replace(' ', ""),
                format!("--service-account-private-key-file={}", file("token-signing-key.pem")),
                format!("--root-ca-file={}", file("ca.pem")),
            ],
            log: self.home.join("kube-controller-manager.log"),
        })?;
        let admin = Admin::new(&self.test_cluster);
        process.wait_until(READY_DEADLINE, || {
            let account = "/api/v1/namespaces/default/serviceaccounts/default";
            let view = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view";
            Ok(admin.get(account).is_ok() && admin.get(view).is_ok_and(|role| role["rules"].is_array()))
        })?;
        self.controller_manager = Some(process);
        Ok(())
    }

    /// Does what the aggregation controller does, once: without it these roles grant nothing.
    fn fill_aggregated_roles(&self) -> io::Result<()> {
        let admin = Admin::new(&self.test_cluster);
        let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        for role in AGGREGATED_ROLES {
            let selector = format!("rbac.authorization.k8s.io/aggregate-to-{role}=true");
            let sources = admin.get(&format!("{roles}?labelSelector={selector}")).map_err(io::Error::other)?;
            let mut rules: Vec<Value> = Vec::new();
            let items = sources["items"].as_array();
            for rule in items.into_iter().flatten().flat_map(rules_of) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
            let filled = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": { "name": role },
                "rules": rules,
            });
            let manager = "clusterrole-aggregation-controller";
            admin.apply(&format!("{roles}/{role}"), manager, Force::Yes, &filled).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Runs `start` again while it fails because another process took the port.
pub(super) fn start_on_free_ports<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(error) if is_port_taken(&error) && attempt < PORT_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn is_port_taken(error: &io::Error) -> bool {
    error.to_string().contains("address already in use")
}

fn rules_of(role: &Value) -> impl Iterator<Item = &Value> {
    role["rules"].as_array().into_iter().flatten()
}

fn token_file(cluster: &TestCluster) -> String {
    User::ALL
        .map(|user| {
            let (token, name, group) = (cluster.token(user), user.name(), user.group());
            format!("{token},{name},{name}-uid,\"{group}\"\n")
        })
        .concat()
}

fn arguments(home: &Path, etcd_url: &str, options: &ClusterOptions, port: u16) -> Vec<String> {
    let file = |name: &str| home.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers={etcd_url}"),
        format!("--etcd-prefix=/{}", options.name),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--cert-dir={}", home.display()),
        format!("--tls-cert-file={}", file("server.pem")),
        format!("--tls-private-key-file={}", file("server-key.pem")),
        format!("--client-ca-file={}", file("ca.pem")),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-signing-key-file={}", file("token-signing-key.pem")),
        format!("--service-account-key-file={}", file("token-verification-key.pem")),
        format!("--audit-policy-file={}", file("audit-policy.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ];
    if let Some(maximum) = options.max_token_expiration {
        let seconds = maximum.as_secs();
        arguments.push(format!("--service-account-max-token-expiration={seconds}s"));
    }
    arguments.extend(options.extra_arguments.iter().cloned());
    arguments
}
