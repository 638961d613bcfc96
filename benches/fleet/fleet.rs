//! The role that serves the fleet, and the handle to it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use kubemint_testkit::sim::{Fleet, FleetOptions, SimCluster};
use kubemint_testkit::{AdminKey, User, kubeconfig_yaml};
use serde_json::json;

use crate::{Admin, Arguments, ROLE};

/// Serves until standard input ends: its arguments are a directory, the number of clusters, the latency in milliseconds,
/// and how admins authenticate.
pub(crate) fn serve() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, clusters, latency, admin] = arguments.try_into().unwrap();
    let mut options = FleetOptions::numbered("cluster", clusters.parse().unwrap());
    options.latency = Duration::from_millis(latency.parse().unwrap());
    options.admin_key = match Admin::from_str(&admin, false).unwrap() {
        Admin::Token => None,
        Admin::P256 => Some(AdminKey::P256),
        Admin::Rsa => Some(AdminKey::Rsa(rsa_key())),
    };
    let fleet = Fleet::start(options).unwrap();
    let admin = Path::new(&directory).join("admin.yaml");
    std::fs::write(admin, kubeconfig_yaml(&fleet.test_clusters(), User::Admin)).unwrap();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        match line.unwrap().as_str() {
            "reset" => {
                fleet.clusters().iter().for_each(SimCluster::reset_traffic);
                println!("done");
            }
            "count" => println!("{} {}", fleet.requests(), fleet.connections()),
            "requests" => {
                let recorded = fleet.clusters()[0].recorded();
                let request = |it: &kubemint_testkit::sim::RecordedRequest| json!([it.method.as_str(), it.path]);
                println!("{}", json!(recorded.iter().map(request).collect::<Vec<_>>()));
            }
            other => panic!("unknown order `{other}`"),
        }
        std::io::stdout().flush().unwrap();
    }
}

/// Makes an RSA key, which ring does not.
fn rsa_key() -> String {
    let algorithm = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let made = Command::new("openssl").args(algorithm).output().unwrap();
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

/// A fleet in a process of its own.
pub(crate) struct Serving {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) directory: PathBuf,
}

impl Serving {
    /// Starts a fleet, whose admin kubeconfig is `admin.yaml` in the directory.
    pub(crate) fn start(directory: &Path, clusters: usize, arguments: &Arguments) -> Self {
        let admin = arguments.admin.to_possible_value().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(directory)
            .args([clusters.to_string(), arguments.latency.to_string()])
            .arg(admin.get_name())
            .env(ROLE, "fleet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let orders = process.stdin.take();
        let mut serving = Self { process, orders, answers, directory: directory.to_owned() };
        assert_eq!(serving.answer(), "ready");
        serving
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answer()
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&mut self) {
        assert_eq!(self.ask("reset"), "done");
    }

    /// Returns how many requests and connections there were.
    pub(crate) fn count(&mut self) -> (u64, u64) {
        let answer = self.ask("count");
        let (requests, connections) = answer.split_once(' ').unwrap();
        (requests.parse().unwrap(), connections.parse().unwrap())
    }

    /// Returns the requests to the first cluster, as JSON.
    pub(crate) fn requests(&mut self) -> String {
        self.ask("requests")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.process.wait().unwrap();
    }
}
