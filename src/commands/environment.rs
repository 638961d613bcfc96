//! What the process was started with, read once: environment, terminal, clock.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

use super::kubectl::KubectlEnvironment;
use crate::cluster::{AdminEnvironment, ProxyEnvironment};
use crate::executor::Clock;

/// What a run reads from its process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The home directory, which `~` stands for.
    pub home: Option<PathBuf>,
    /// The files that kubectl would read: `KUBECONFIG`, else the one in the home directory.
    pub kubeconfig: Vec<PathBuf>,
    /// What kubectl on this machine depends on.
    pub(super) kubectl: KubectlEnvironment,
    /// What admin access depends on.
    pub(super) admin: AdminEnvironment,
    /// The inventory that the environment names.
    pub inventory: Option<PathBuf>,
    /// Where caches go: `XDG_CACHE_HOME`, else `.cache` in the home directory, and `kubemint` below.
    pub cache: Option<PathBuf>,
    /// The part of the fleet that an Indexed Job says: its index, and how many there are.
    pub(super) shard: (Option<String>, Option<String>),
    /// What only the parts of one run have in common: `KUBEMINT_JOB`.
    pub(super) job: Option<String>,
    /// What a client passes to its exec plugin: `KUBERNETES_EXEC_INFO`.
    pub exec_info: Option<String>,
    /// The process that started this one.
    pub parent: u32,
    /// The program that runs, which kubeconfigs with an exec plugin name.
    pub program: PathBuf,
    /// The directory that relative paths of the command line refer to.
    pub directory: PathBuf,
    /// Tells the time since the process began.
    pub(super) clock: Clock,
    /// An identifier of this run that no other run has.
    pub run: String,
    /// Whether there is somebody to answer a question.
    pub can_ask: bool,
    /// Whether stderr is a terminal.
    pub shows_progress: bool,
    /// Whether stdout and stderr are the same terminal.
    pub shows_both: bool,
}

impl Environment {
    /// Returns a copy for another run, with its own identifier and clock. The clock starts anew, because the machine's
    /// may have been set, or have stood still with the machine, since the process began.
    pub(super) fn another_run(&self) -> Self {
        Self { run: random_identifier(), clock: Clock::start(wall_clock()), ..self.clone() }
    }

    /// Reads the process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads environment and clock")]
    pub fn from_process() -> Self {
        // Like Go, this reads a variable in capitals first, then in small letters; an empty one counts as not set.
        let either = |name: &str| {
            let value = |name: String| std::env::var(name).ok().filter(|value| !value.is_empty());
            value(name.to_owned()).or_else(|| value(name.to_ascii_lowercase()))
        };
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let directory = std::env::current_dir().unwrap_or_default();
        let paths = |name: &str| -> Vec<PathBuf> {
            let list = std::env::var_os(name).unwrap_or_default();
            std::env::split_paths(&list)
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| directory.join(path))
                .collect()
        };
        let list = paths("KUBECONFIG");
        let is_listed = std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty());
        let in_home = home.iter().map(|home| home.join(".kube/config"));
        let kubeconfig = if is_listed { list.clone() } else { in_home.collect() };
        let preferences = match set("KUBERC").as_deref() {
            Some("off") => None,
            Some(path) => Some(directory.join(path)),
            None => home.as_ref().map(|home| home.join(".kube/kuberc")),
        };
        let preferences = preferences.filter(|_| set("KUBECTL_KUBERC").is_none_or(|value| value != "false"));
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        Self {
            kubeconfig,
            kubectl: KubectlEnvironment { list, preferences, path: paths("PATH") },
            admin: AdminEnvironment {
                proxies: ProxyEnvironment::new(either("HTTPS_PROXY"), &either("NO_PROXY").unwrap_or_default()),
                service: set("KUBERNETES_SERVICE_HOST").zip(set("KUBERNETES_SERVICE_PORT")),
            },
            inventory: set("KUBEMINT_INVENTORY").map(PathBuf::from),
            cache: set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| home.as_ref().map(|home| home.join(".cache")))
                .map(|caches| caches.join("kubemint")),
            shard: (set("JOB_COMPLETION_INDEX"), set("KUBEMINT_SHARDS")),
            job: set("KUBEMINT_JOB"),
            exec_info: set("KUBERNETES_EXEC_INFO"),
            parent: std::os::unix::process::parent_id(),
            home,
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("kubemint")),
            directory,
            clock: Clock::start(wall_clock()),
            run: random_identifier(),
            can_ask: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            shows_progress: std::io::stderr().is_terminal() && !is_ci,
            shows_both: crate::output::is_one_terminal(),
        }
    }
}

/// Returns the machine's time. If it is beyond the calendar, returns the end of the calendar.
#[expect(clippy::disallowed_methods, reason = "what runs for weeks cannot count from its start")]
pub(super) fn wall_clock() -> Timestamp {
    let now = SystemTime::now();
    let end = if now < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(now).unwrap_or(end)
}

fn random_identifier() -> String {
    let mut bytes = [0_u8; 8];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
