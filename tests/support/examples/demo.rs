//! The main job on a simulated fleet: `cargo run --example demo`.
//!
//! Starts API servers on loopback, writes an admin kubeconfig and an inventory, and runs kubemint on
//! them through the same function that the binary runs. Everything it says it really does: the
//! servers check tokens, evaluate RBAC and sign what they issue.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubemint::Environment;
use kubemint_testkit::sim::{Fleet, FleetOptions};
use kubemint_testkit::{User, kubeconfig_yaml};

/// Show kubemint's main job on a simulated fleet
#[derive(Debug, Parser)]
struct Arguments {
    /// How many clusters
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    clusters: u16,
    /// The directory for the inventory and the kubeconfigs; a fresh temporary one by default
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How long each simulated server takes to answer, as in `20ms`
    #[arg(long, value_parser = parse_latency, default_value = "0ms")]
    latency: Duration,
    /// Keep the fleet up until Ctrl-C, to try things on it
    #[arg(long)]
    keep: bool,
}

type Failure = Box<dyn std::error::Error>;

fn parse_latency(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration.try_into().map_err(|error| format!("{error}"))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("demo failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]
fn say(text: &str) {
    println!("{text}");
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = directory(arguments)?;
    let start = Instant::now();
    let mut options = FleetOptions::numbered("cluster", usize::from(arguments.clusters));
    options.latency = arguments.latency;
    let fleet = Fleet::start(options)?;
    say(&format!("{} API servers are up on loopback after {:.1?}", arguments.clusters, start.elapsed()));
    write(&directory.join("admin.yaml"), &kubeconfig_yaml(&fleet.test_clusters(), User::Admin))?;
    write(&directory.join("clusters.toml"), &inventory(&fleet))?;
    say(&format!("inventory, admin kubeconfig and results are in {}\n", directory.display()));

    kubemint(&directory, &["validate"])?;
    kubemint(&directory, &["apply", "--yes"])?;

    let name = fleet.clusters()[0].name.clone();
    let issued = directory.join(format!("out/{name}/auditor.kubeconfig"));
    let namespaces = tokio::runtime::Runtime::new()?.block_on(read_namespaces(&issued))?;
    say(&format!("\nnamespaces of {name}, read with {}:\n  {}\n", issued.display(), namespaces.join(", ")));

    fleet.clusters().iter().for_each(kubemint_testkit::sim::SimCluster::reset_traffic);
    kubemint(&directory, &["apply", "--yes"])?;
    let requests: Vec<_> = fleet.clusters().iter().flat_map(kubemint_testkit::sim::SimCluster::recorded).collect();
    let writes = requests.iter().filter(|request| request.method != "GET").count();
    say(&format!(
        "that took {} requests, {} per cluster, and {writes} of them were writes",
        requests.len(),
        requests.len() / usize::from(arguments.clusters)
    ));
    if arguments.keep {
        keep(&directory, &issued)?;
    }
    Ok(())
}

/// Returns an empty directory that is the user's to delete.
fn directory(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(directory) = &arguments.dir {
        std::fs::create_dir_all(directory)?;
        if std::fs::read_dir(directory)?.next().is_some() {
            return Err(format!("{} is not empty", directory.display()).into());
        }
        return Ok(directory.canonicalize()?);
    }
    Ok(tempfile::Builder::new().prefix("kubemint-demo-").tempdir()?.keep())
}

/// Three profiles; every third cluster is `env=edge`, the others are `env=prod`.
fn inventory(fleet: &Fleet) -> String {
    let clusters: String = fleet
        .clusters()
        .iter()
        .enumerate()
        .map(|(number, cluster)| {
            let group = if number % 3 == 2 { "edge" } else { "prod" };
            format!("[[clusters]]\nname = \"{}\"\nlabels = {{ env = \"{group}\" }}\n\n", cluster.name)
        })
        .collect();
    format!("{}\n{clusters}", include_str!("demo/clusters.toml"))
}

/// Runs kubemint as the binary does, and fails if it does.
fn kubemint(directory: &Path, arguments: &[&str]) -> Result<(), Failure> {
    say(&format!("$ kubemint {}", arguments.join(" ")));
    let mut environment = Environment::from_process();
    directory.clone_into(&mut environment.directory);
    let arguments = std::iter::once("kubemint").chain(arguments.iter().copied()).map(Into::into);
    match kubemint::run(arguments, &environment) {
        kubemint::ExitCode::Done => Ok(()),
        code => Err(format!("kubemint exited with {}", code.code()).into()),
    }
}

/// Lists the namespaces of a cluster with an issued kubeconfig, through a client of its own.
async fn read_namespaces(kubeconfig: &Path) -> Result<Vec<String>, Failure> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = kube::Client::try_from(config)?;
    let request = http::Request::get("/api/v1/namespaces").body(Vec::new())?;
    let list: serde_json::Value = client.request(request).await?;
    let items = list["items"].as_array().ok_or("the answer is no list")?;
    Ok(items.iter().filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// Prints what to try, and waits for Ctrl-C.
fn keep(directory: &Path, issued: &Path) -> Result<(), Failure> {
    let (directory, issued) = (directory.display(), issued.display());
    say(&format!(
        "\nthe fleet stays up until Ctrl-C; in another terminal:\n\
         \n  cargo install --path . --locked        # for the command `kubemint`\
         \n  cd {directory}\
         \n  kubemint plan\
         \n  kubemint apply --yes --profile auditor\
         \n  kubectl --kubeconfig {issued} get namespaces\
         \n  kubectl --kubeconfig {issued} auth can-i --list\
         \n  kubectl --kubeconfig {issued} get secrets        # Forbidden\n"
    ));
    tokio::runtime::Runtime::new()?.block_on(tokio::signal::ctrl_c())?;
    Ok(())
}

/// Writes a file that only its owner can read, as admin kubeconfigs should be.
fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content.as_bytes())
}
