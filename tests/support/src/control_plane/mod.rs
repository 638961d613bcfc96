//! Real clusters: one etcd, and a kube-apiserver for each.
//!
//! Every cluster has its own CA, serving certificate, token-signing key, static tokens and prefix
//! in etcd. Start reading at [`ControlPlane::start`]. Environment:
//!
//! | variable | meaning |
//! |---|---|
//! | `KUBEBUILDER_ASSETS` | directory with prebuilt `etcd`, `kube-apiserver`, `kubectl` (and `kube-controller-manager`); without it they are built once from their Go modules |
//! | `KUBEMINT_SKIP_CONTROL_PLANE=1` | start nothing: [`ControlPlane::start`] returns `None` |
//!
//! A kube-apiserver takes about 310 MiB and is ready after 5 to 8 s.

mod api_server;
mod binaries;
mod kubectl;
mod process;

pub use binaries::{Binaries, binaries};
pub use kubectl::{Output, kubectl, kubectl_path};

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::cluster::TestCluster;
use api_server::{ApiServer, start_on_free_ports};
use process::{Command, Process, Sweeper};

/// How long one server may take to be ready: ten times what a busy machine needs.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// How often readiness is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What one real cluster is like.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// The name; also the prefix in etcd.
    pub name: String,
    /// Which Kubernetes its kube-apiserver is of.
    pub kubernetes: Kubernetes,
    /// `--service-account-max-token-expiration`; Kubernetes accepts one hour and more.
    pub max_token_expiration: Option<Duration>,
    /// Whether a kube-controller-manager runs as well.
    pub controller_manager: ControllerManager,
    /// More arguments for kube-apiserver.
    pub extra_arguments: Vec<String>,
}

/// Which Kubernetes a kube-apiserver is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kubernetes {
    /// That of the rest of the control plane.
    #[default]
    Newest,
    /// The oldest one that manifests are checked against, always built from its Go module.
    Oldest,
}

/// Whether a cluster has controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControllerManager {
    /// None: deleted namespaces stay `Terminating`, nothing is garbage collected, legacy token
    /// Secrets stay empty, no `default` ServiceAccount appears. The test kit fills the rules of
    /// the aggregated roles `admin`, `edit` and `view`.
    #[default]
    Off,
    /// The controllers for namespaces, ServiceAccounts, legacy tokens, aggregated roles, quotas, Jobs,
    /// `CronJobs` and garbage collection.
    On,
}

/// Real clusters, running until this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // The order matters: the processes stop before the directory goes away.
    clusters: Vec<ApiServer>,
    _etcd: Process,
    _sweeper: Sweeper,
    directory: TempDir,
}

impl ClusterOptions {
    /// Returns the options of a plain cluster.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl Kubernetes {
    fn api_server(self, binaries: &Binaries) -> io::Result<PathBuf> {
        match self {
            Self::Newest => binaries.path("kube-apiserver"),
            Self::Oldest => binaries::oldest_api_server(),
        }
    }
}

impl ControlPlane {
    /// Starts one real cluster per element and waits until all are ready.
    ///
    /// Returns `None`, and says so on stderr, where `KUBEMINT_SKIP_CONTROL_PLANE` is set.
    ///
    /// # Panics
    /// When the clusters cannot be started; the message says why and what to install.
    pub fn start(clusters: Vec<ClusterOptions>) -> Option<Self> {
        if std::env::var_os("KUBEMINT_SKIP_CONTROL_PLANE").is_some_and(|value| value == "1") {
            report("SKIPPED: KUBEMINT_SKIP_CONTROL_PLANE=1, nothing is checked on real clusters");
            return None;
        }
        match Self::try_start(clusters) {
            Ok(control_plane) => Some(control_plane),
            Err(error) => panic!("cannot start the control plane: {error}"),
        }
    }

    /// Like [`ControlPlane::start`], with failures as values and without the way to skip.
    pub fn try_start(clusters: Vec<ClusterOptions>) -> io::Result<Self> {
        let binaries = binaries()?;
        // Before anything runs: a build takes minutes.
        let programs: Vec<PathBuf> =
            clusters.iter().map(|options| options.kubernetes.api_server(&binaries)).collect::<io::Result<_>>()?;
        let directory = tempfile::Builder::new().prefix("kubemint-control-plane-").tempdir()?;
        let sweeper = Sweeper::spawn(directory.path())?;
        let (etcd, etcd_url) = start_etcd(&binaries, &directory)?;
        let mut started = Vec::with_capacity(clusters.len());
        for (options, program) in clusters.into_iter().zip(programs) {
            let home = directory.path().join(&options.name);
            started.push(ApiServer::start(&binaries, program, home, &etcd_url, options)?);
        }
        for cluster in &mut started {
            cluster.wait_until_ready()?;
        }
        Ok(Self { clusters: started, _etcd: etcd, _sweeper: sweeper, directory })
    }

    /// Returns the clusters in the order of their options.
    pub fn test_clusters(&self) -> Vec<&TestCluster> {
        self.clusters.iter().map(ApiServer::test_cluster).collect()
    }

    /// Returns one cluster.
    pub fn test_cluster(&self, index: usize) -> &TestCluster {
        self.clusters[index].test_cluster()
    }

    /// Returns the audit log of one cluster: one JSON event per line, metadata level.
    pub fn audit_log(&self, index: usize) -> PathBuf {
        self.clusters[index].audit_log()
    }

    /// Returns the log of one cluster's kube-apiserver.
    pub fn server_log(&self, index: usize) -> PathBuf {
        self.clusters[index].log()
    }

    /// Returns a directory that lives as long as the clusters, for kubeconfigs and the like.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Kills the kube-apiserver of one cluster; its data stays in etcd.
    pub fn stop_cluster(&mut self, index: usize) {
        self.clusters[index].stop();
    }

    /// Starts a stopped cluster again, on the same port and with the same data.
    pub fn restart_cluster(&mut self, index: usize) -> io::Result<()> {
        self.clusters[index].restart()
    }

    /// Freezes one kube-apiserver: it accepts connections and never answers.
    pub fn pause_cluster(&self, index: usize) {
        self.clusters[index].pause();
    }

    /// Lets a frozen kube-apiserver go on.
    pub fn resume_cluster(&self, index: usize) {
        self.clusters[index].resume();
    }
}

/// Starts etcd and returns it with its client URL.
fn start_etcd(binaries: &Binaries, directory: &TempDir) -> io::Result<(Process, String)> {
    let log = directory.path().join("etcd.log");
    start_on_free_ports(|| {
        let client = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let mut etcd = Process::spawn(&Command {
            program: binaries.path("etcd")?,
            arguments: vec![
                "--name=etcd".to_owned(),
                format!("--data-dir={}", directory.path().join("etcd").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=etcd={peer}"),
                // Nothing here outlives the test process.
                "--unsafe-no-fsync".to_owned(),
            ],
            log: log.clone(),
        })?;
        let address = client.trim_start_matches("http://").to_owned();
        etcd.wait_until(READY_DEADLINE, || Ok(std::net::TcpStream::connect(&address).is_ok()))?;
        Ok((etcd, client))
    })
}

/// Returns a loopback port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Polls `ready` until it holds; `what` names it in the failure.
fn poll(what: &str, deadline: Duration, mut ready: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        if ready()? {
            return Ok(());
        }
        if start.elapsed() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what}: not ready after {} s", deadline.as_secs()),
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Tells the person who runs the tests what takes so long, or what is missing.
fn report(line: &str) {
    // Not `eprintln!`, which the test harness captures: whoever waits for the build wants to know why.
    drop(writeln!(io::stderr(), "control plane: {line}"));
}
