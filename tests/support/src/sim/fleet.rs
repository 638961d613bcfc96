//! Starts and stops a simulated fleet, and hands out its clusters.

use jiff::SignedDuration;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::faults::{Fault, Webhook};
use super::listener::serve;
use super::server::Server;
use super::traffic::RecordedRequest;
use crate::cluster::TestCluster;
use crate::limits::raise_open_file_limit;
use crate::pki::{AdminKey, ClusterCertificates};

/// How long a stopping fleet waits for its threads; they only sleep.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// What a simulated fleet is like.
#[derive(Clone, Debug, Default)]
pub struct FleetOptions {
    /// The names of the clusters.
    pub names: Vec<String>,
    /// Added to every request.
    pub latency: Duration,
    /// The longest lifetime of a token; longer requests are shortened with a warning.
    pub max_token_expiration: Option<Duration>,
    /// What requests without a credential get.
    pub anonymous: Anonymous,
    /// Threads that serve; by default as many as there are processors.
    pub threads: Option<usize>,
    /// The key of the admins, if they authenticate with a certificate instead of a token.
    pub admin_key: Option<AdminKey>,
}

/// What requests without a credential get, outside of health and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// 403 as `system:anonymous`: the default of Kubernetes.
    #[default]
    Forbidden,
    /// 401, as with `--anonymous-auth` limited to health checks.
    Unauthorized,
}

/// A simulated fleet, running until this is dropped.
pub struct Fleet {
    clusters: Vec<SimCluster>,
    by_name: HashMap<String, usize>,
    runtime: Option<Runtime>,
}

/// One simulated cluster; clones are the same cluster.
///
/// It dereferences to its [`TestCluster`].
#[derive(Clone)]
pub struct SimCluster(Arc<Running>);

/// A server and the task that accepts for it.
struct Running {
    server: Arc<Server>,
    handle: Handle,
    other_tls: Arc<rustls::ServerConfig>,
    acceptor: Mutex<Option<Acceptor>>,
}

/// The task that accepts connections of one cluster.
struct Acceptor {
    task: JoinHandle<()>,
    /// Disconnected once the port is closed.
    closed: mpsc::Receiver<()>,
}

impl FleetOptions {
    /// Returns the options of clusters with these names.
    pub fn named<I, N>(names: I) -> Self
    where
        I: IntoIterator<Item = N>,
        N: Into<String>,
    {
        Self { names: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Returns the options of `count` clusters, `PREFIX-0000` and so on.
    pub fn numbered(prefix: &str, count: usize) -> Self {
        Self::named((0..count).map(|index| format!("{prefix}-{index:04}")))
    }
}

impl Fleet {
    /// Starts one simulated cluster per name; they answer when this returns.
    ///
    /// # Errors
    /// When the process may not open enough sockets, or a name occurs twice.
    pub fn start(options: FleetOptions) -> io::Result<Self> {
        raise_open_file_limit();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_name("simulated-fleet");
        if let Some(threads) = options.threads {
            builder.worker_threads(threads);
        }
        let runtime = builder.build()?;
        let other_tls = ClusterCertificates::generate("somebody-else")?.server_config()?;
        let mut fleet = Self {
            clusters: Vec::with_capacity(options.names.len()),
            by_name: HashMap::with_capacity(options.names.len()),
            runtime: Some(runtime),
        };
        let running = start_all(&options, fleet.handle(), &other_tls)?;
        for (index, (name, running)) in options.names.into_iter().zip(running).enumerate() {
            if fleet.by_name.contains_key(&name) {
                let message = format!("two simulated clusters are named `{name}`");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            fleet.by_name.insert(name, index);
            fleet.clusters.push(SimCluster(Arc::new(running)));
        }
        Ok(fleet)
    }

    /// Returns the clusters in the order of their names in the options.
    pub fn clusters(&self) -> &[SimCluster] {
        &self.clusters
    }

    /// Returns one cluster.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn cluster(&self, name: &str) -> SimCluster {
        let index = self.by_name.get(name);
        let index = index.unwrap_or_else(|| panic!("no simulated cluster is named `{name}`"));
        self.clusters[*index].clone()
    }

    /// Returns all clusters as test clusters, for [`kubeconfig_yaml`](crate::kubeconfig_yaml).
    pub fn test_clusters(&self) -> Vec<&TestCluster> {
        self.clusters.iter().map(|cluster| &**cluster).collect()
    }

    /// Returns how many connections all clusters accepted.
    pub fn connections(&self) -> u64 {
        self.clusters.iter().map(SimCluster::connections).sum()
    }

    /// Returns how many requests all clusters received.
    pub fn requests(&self) -> u64 {
        self.clusters.iter().map(SimCluster::requests).sum()
    }

    fn handle(&self) -> &Handle {
        let runtime = self.runtime.as_ref();
        runtime.expect("the runtime is taken only on drop").handle()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // A thread of its own: the fleet may be dropped inside a runtime, where blocking is not
        // allowed.
        std::thread::scope(|scope| {
            scope.spawn(|| runtime.shutdown_timeout(STOP_DEADLINE));
        });
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fleet").field("clusters", &self.clusters).finish_non_exhaustive()
    }
}

impl SimCluster {
    /// Puts a fault in force, or none. What a hostility kept from being deleted is deleted then.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let is_refusing = matches!(fault, Some(Fault::Refuse));
        let running = &self.0;
        running.server.faults.set(fault);
        running.server.unpin();
        if is_refusing {
            running.stop_accepting();
        } else {
            running.accept().expect("the port of a simulated cluster is free again");
        }
    }

    /// Puts a mutating webhook in force, or none.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.0.server.set_webhook(webhook);
    }

    /// Adds this to every request from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.0.server.traffic.set_latency(latency);
    }

    /// Limits the lifetime of tokens from now on.
    pub fn set_max_token_expiration(&self, maximum: Option<Duration>) {
        self.0.server.set_max_token_expiration(maximum);
    }

    /// Lets the server's clock differ from this machine's.
    pub fn set_clock_skew(&self, skew: SignedDuration) {
        self.0.server.set_clock_skew(skew);
    }

    /// Returns how many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.0.server.traffic.connections()
    }

    /// Returns how many requests were received.
    pub fn requests(&self) -> u64 {
        self.0.server.traffic.requests()
    }

    /// Returns the last requests, oldest first; at most 10,000.
    pub fn recorded(&self) -> Vec<RecordedRequest> {
        self.0.server.traffic.recorded()
    }

    /// Sets the counters to zero and forgets the recorded requests.
    pub fn reset_traffic(&self) {
        self.0.server.traffic.reset();
    }
}

impl Deref for SimCluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        &self.0.server.test_cluster
    }
}

impl fmt::Debug for SimCluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SimCluster").field(&self.name).field(&self.server).finish()
    }
}

impl Running {
    fn start(
        name: &str,
        options: &FleetOptions,
        handle: &Handle,
        other_tls: &Arc<rustls::ServerConfig>,
    ) -> io::Result<Self> {
        let listener = StdTcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let running = Self {
            server: Arc::new(Server::new(name, port, options)?),
            handle: handle.clone(),
            other_tls: Arc::clone(other_tls),
            acceptor: Mutex::new(None),
        };
        running.accept_on(listener)?;
        Ok(running)
    }

    /// Listens on the cluster's port, unless it does already.
    fn accept(&self) -> io::Result<()> {
        if self.lock().is_some() {
            return Ok(());
        }
        let port = self.server.test_cluster.port();
        self.accept_on(StdTcpListener::bind(("127.0.0.1", port))?)
    }

    fn accept_on(&self, listener: StdTcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let _inside = self.handle.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (server, other_tls) = (Arc::clone(&self.server), Arc::clone(&self.other_tls));
        let (open, closed) = mpsc::channel::<()>();
        // A tuple is dropped in its order: the listener goes before the sender that tells so.
        let serving = (serve(listener, server, other_tls), open);
        let task = self.handle.spawn(async move {
            let (serving, _open) = serving;
            serving.await;
        });
        *self.lock() = Some(Acceptor { task, closed });
        Ok(())
    }

    /// Closes the port, and returns when it is closed.
    fn stop_accepting(&self) {
        let Some(acceptor) = self.lock().take() else {
            return;
        };
        acceptor.task.abort();
        // Nothing is ever sent: this ends when the task, and the listener with it, is dropped.
        acceptor.closed.iter().for_each(drop);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Acceptor>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the clusters on several threads: making keys and certificates takes the time.
fn start_all(
    options: &FleetOptions,
    handle: &Handle,
    other_tls: &Arc<rustls::ServerConfig>,
) -> io::Result<Vec<Running>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = options.names.len().div_ceil(threads).max(1);
    let shares: Vec<io::Result<Vec<Running>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = options
            .names
            .chunks(share)
            .map(|names| {
                scope.spawn(move || names.iter().map(|name| Running::start(name, options, handle, other_tls)).collect())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("starting a cluster does not panic")).collect()
    });
    let mut running = Vec::with_capacity(options.names.len());
    for share in shares {
        running.extend(share?);
    }
    Ok(running)
}
