//! The workloads, in the order in which a fleet lives.

use std::path::Path;

use serde::Serialize;

use crate::fleet::Serving;
use crate::measure::{Used, measured};

/// A workload: its name, and the arguments of kubemint.
type Workload = (&'static str, &'static [&'static str]);

/// Each prepares the next: the last one leaves nothing behind.
const WORKLOADS: [Workload; 9] = [
    ("validate", &["validate"]),
    ("first apply", &["apply", "--yes"]),
    ("no-op apply", &["apply", "--yes"]),
    ("plan", &["plan"]),
    ("status", &["status"]),
    ("refresh, nothing due", &["refresh"]),
    ("refresh --force", &["refresh", "--force"]),
    ("verify", &["verify"]),
    ("revoke --access", &["revoke", "--access", "--yes"]),
];

/// What a workload used, as medians over the runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// Its name.
    pub(crate) workload: &'static str,
    /// How many clusters there are.
    pub(crate) clusters: usize,
    /// CPU time of kubemint for each cluster, in milliseconds.
    pub(crate) cpu: f64,
    /// The same of the floor.
    pub(crate) floor: Option<f64>,
    /// How many times the floor.
    pub(crate) ratio: Option<f64>,
    /// Requests to each cluster.
    pub(crate) requests: f64,
    /// Connections to each cluster.
    pub(crate) connections: f64,
    /// Time in seconds.
    pub(crate) wall: f64,
    /// The most memory, in MiB.
    pub(crate) memory: f64,
}

/// One run of a workload.
#[derive(Debug, Clone, Copy)]
struct Sample {
    used: Used,
    floor: Option<Used>,
    requests: u64,
    connections: u64,
}

/// Runs all workloads on a fleet.
pub(crate) fn run_all(clusters: usize, runs: usize, latency: u64) -> Vec<Figures> {
    let directory = tempfile::tempdir().unwrap();
    let mut fleet = Serving::start(directory.path(), clusters, latency);
    let mut samples: Vec<Vec<Sample>> = vec![vec![]; WORKLOADS.len()];
    for run in 0..runs {
        std::fs::write(directory.path().join("clusters.toml"), inventory(run, clusters)).unwrap();
        for (position, (name, arguments)) in WORKLOADS.iter().enumerate() {
            let sample = sample(&mut fleet, arguments);
            println!("{clusters} clusters, run {}: {name}: {:.2} s CPU", run + 1, sample.used.cpu);
            samples[position].push(sample);
        }
    }
    let figures = WORKLOADS.iter().zip(samples);
    figures.map(|((workload, _), samples)| figures_of(workload, clusters, &samples)).collect()
}

/// One profile, and a file for each cluster; each run has objects of its own.
fn inventory(run: usize, clusters: usize) -> String {
    let clusters: String =
        (0..clusters).map(|number| format!("[[clusters]]\nname = \"cluster-{number:04}\"\n")).collect();
    format!(
        "version = 1\nname = \"bench-{run}\"\n[defaults]\nadmin = {{ kubeconfig = \"admin.yaml\" }}\n\
         namespace = \"bench-{run}\"\ncreate-namespaces = true\nconcurrency = 64\n\
         [profiles.reader]\ncluster-rules = [{{ api-groups = [\"\"], resources = [\"pods\"], verbs = [\"get\", \"list\"] }}]\n\
         [[grants]]\nprofile = \"reader\"\nselector = \"\"\n\
         [[outputs]]\npath = \"out/{{cluster}}.kubeconfig\"\n{clusters}"
    )
}

fn sample(fleet: &mut Serving, arguments: &[&str]) -> Sample {
    let directory = fleet.directory.clone();
    fleet.reset();
    let command: Vec<&str> = [env!("CARGO_BIN_EXE_kubemint")].iter().chain(arguments).copied().collect();
    let used = measured(&directory, &command, None);
    let (requests, connections) = fleet.count();
    let floor = (requests > 0).then(|| floor(fleet, &directory));
    Sample { used, floor, requests, connections }
}

fn floor(fleet: &mut Serving, directory: &Path) -> Used {
    std::fs::write(directory.join("requests.json"), fleet.requests()).unwrap();
    let program = std::env::current_exe().unwrap();
    measured(directory, &[program.to_str().unwrap(), "admin.yaml", "requests.json"], Some("floor"))
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn figures_of(workload: &'static str, clusters: usize, samples: &[Sample]) -> Figures {
    let count = clusters as f64;
    let median = |value: &dyn Fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    // A workload that sends nothing has none.
    let has_floor = samples.iter().all(|sample| sample.floor.is_some());
    let floor = |sample: &Sample| sample.floor.map_or(f64::NAN, |floor| floor.cpu);
    Figures {
        workload,
        clusters,
        cpu: median(&|sample| sample.used.cpu) * 1e3 / count,
        floor: has_floor.then(|| median(&floor) * 1e3 / count),
        ratio: has_floor.then(|| median(&|sample| sample.used.cpu / floor(sample))),
        requests: median(&|sample| sample.requests as f64) / count,
        connections: median(&|sample| sample.connections as f64) / count,
        wall: median(&|sample| sample.used.wall),
        memory: median(&|sample| sample.used.memory),
    }
}
