//! The workloads, in the order in which a fleet lives.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::Arguments;
use crate::fleet::Serving;
use crate::measure::{Used, measured, measured_in};
use crate::rivals::{Rival, Rivals, script};

/// A workload: its name, the arguments of kubemint, and what it has beside it.
type Workload = (&'static str, &'static [&'static str], Option<Rival>);

/// Each prepares the next: the last one leaves nothing behind.
const WORKLOADS: [Workload; 10] = [
    ("validate", &["validate"], None),
    ("first apply", &["apply", "--yes"], Some(Rival::ClientGo)),
    ("no-op apply", &["apply", "--yes"], Some(Rival::ClientGo)),
    ("plan", &["plan"], None),
    ("status", &["status"], None),
    ("refresh, nothing due", &["refresh"], None),
    ("refresh --force", &["refresh", "--force"], None),
    ("verify", &["verify"], None),
    ("merge", &["merge", "out", "--output", "merged.kubeconfig"], Some(Rival::Flatten)),
    ("revoke --access", &["revoke", "--access", "--yes"], None),
];

/// What a workload used, as medians over the runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Figures {
    /// Its name.
    pub(crate) workload: String,
    /// How many clusters there are.
    pub(crate) clusters: usize,
    /// CPU time of kubemint for each cluster, in milliseconds.
    pub(crate) cpu: f64,
    /// The same of the floor.
    pub(crate) floor: Option<f64>,
    /// How many times the floor.
    pub(crate) ratio_to_floor: Option<f64>,
    /// The same of the rival.
    pub(crate) rival: Option<f64>,
    /// How many times the rival's CPU time.
    pub(crate) ratio_to_rival: Option<f64>,
    /// How many times the rival's time.
    pub(crate) wall_to_rival: Option<f64>,
    /// Requests to each cluster.
    pub(crate) requests: f64,
    /// Connections to each cluster.
    pub(crate) connections: f64,
    /// The requests to the first cluster, in their order.
    pub(crate) sent: Vec<String>,
    /// The same of the rival, requests and connections.
    pub(crate) of_rival: Option<(f64, f64)>,
    /// Time in seconds.
    pub(crate) wall: f64,
    /// The most memory, in MiB.
    pub(crate) memory: f64,
}

/// A process, with the requests and connections that it needed.
#[derive(Debug, Clone, Copy)]
struct Counted {
    used: Used,
    requests: u64,
    connections: u64,
}

/// One run of a workload.
#[derive(Debug, Clone)]
struct Sample {
    own: Counted,
    sent: Vec<(String, String)>,
    floor: Option<Used>,
    rival: Option<Counted>,
}

/// Runs all workloads on a fleet.
pub(crate) fn run_all(arguments: &Arguments, clusters: usize, rivals: Option<&Rivals>) -> Vec<Figures> {
    let directory = tempfile::tempdir().unwrap();
    let mut fleet = Serving::start(directory.path(), clusters, arguments);
    let mut samples: Vec<Vec<Sample>> = vec![vec![]; WORKLOADS.len()];
    for run in 0..arguments.runs {
        std::fs::write(directory.path().join("clusters.toml"), inventory(arguments, run, clusters)).unwrap();
        let merged = directory.path().join("merged.kubeconfig");
        if merged.exists() {
            // Its tokens are older than those of this run, and `merge` replaces nothing unasked.
            std::fs::remove_file(merged).unwrap();
        }
        for (position, workload) in WORKLOADS.iter().enumerate() {
            let is_combined = arguments.outputs == crate::Outputs::Combined;
            if workload.0 == "merge" && is_combined {
                continue;
            }
            let sample = sample(arguments, &mut fleet, workload, (run, clusters), rivals);
            println!("{clusters} clusters, run {}: {}: {:.2} s CPU", run + 1, workload.0, sample.own.used.cpu);
            samples[position].push(sample);
        }
    }
    let figures = WORKLOADS.iter().zip(samples).filter(|(_, samples)| !samples.is_empty());
    let mut figures: Vec<Figures> =
        figures.map(|((workload, ..), samples)| figures_of(workload, clusters, &samples)).collect();
    figures.push(exec_plugin(&arguments.program, directory.path()));
    if rivals.is_some() {
        figures.push(by_script(directory.path(), clusters));
    }
    figures
}

/// One profile, and a file for each cluster or for all; each run has objects of its own.
fn inventory(arguments: &Arguments, run: usize, clusters: usize) -> String {
    let path = match arguments.outputs {
        crate::Outputs::PerCluster => "out/{cluster}.kubeconfig",
        crate::Outputs::Combined => "all.kubeconfig",
    };
    let clusters: String =
        (0..clusters).map(|number| format!("[[clusters]]\nname = \"cluster-{number:04}\"\n")).collect();
    format!(
        "version = 1\nname = \"bench-{run}\"\n[defaults]\nadmin = {{ kubeconfig = \"admin.yaml\" }}\n\
         namespace = \"bench-{run}\"\ncreate-namespaces = true\nconcurrency = 64\n\
         [profiles.reader]\ncluster-rules = [{{ api-groups = [\"\"], resources = [\"pods\"], verbs = [\"get\", \"list\"] }}]\n\
         [[grants]]\nprofile = \"reader\"\nselector = \"\"\n\
         [[outputs]]\npath = \"{path}\"\n{clusters}"
    )
}

fn sample(
    arguments: &Arguments,
    fleet: &mut Serving,
    (_, command, rival): &Workload,
    run: (usize, usize),
    rivals: Option<&Rivals>,
) -> Sample {
    let directory = fleet.directory.clone();
    let command: Vec<&str> = [arguments.program.as_str()].iter().chain(*command).copied().collect();
    let own = counted(fleet, || measured(&directory, &command, None));
    let sent = fleet.requests();
    let floor = (own.requests > 0).then(|| floor(&sent, &directory));
    let rival = rivals.zip(*rival).map(|(rivals, rival)| counted(fleet, || rivals.run(rival, &directory, run)));
    Sample { own, sent: serde_json::from_str(&sent).unwrap(), floor, rival }
}

fn counted(fleet: &mut Serving, run: impl FnOnce() -> Used) -> Counted {
    fleet.reset();
    let used = run();
    let (requests, connections) = fleet.count();
    Counted { used, requests, connections }
}

fn floor(requests: &str, directory: &Path) -> Used {
    std::fs::write(directory.join("requests.json"), requests).unwrap();
    let program = std::env::current_exe().unwrap();
    measured(directory, &[program.to_str().unwrap(), "admin.yaml", "requests.json"], Some("floor"))
}

/// Provisions the first cluster with an exec plugin, and calls it as kubectl does, when its token is in the cache.
fn exec_plugin(program: &str, directory: &Path) -> Figures {
    const CALLS: usize = 20;
    let inventory = "version = 1\nname = \"exec\"\n[defaults]\nadmin = { kubeconfig = \"admin.yaml\" }\n\
         namespace = \"exec\"\ncreate-namespaces = true\n[profiles.reader]\ncluster-roles = [\"view\"]\n\
         [[grants]]\nprofile = \"reader\"\nselector = \"\"\n[[clusters]]\nname = \"cluster-0000\"\n\
         [[outputs]]\npath = \"exec.kubeconfig\"\ncredential = \"exec\"\n";
    std::fs::write(directory.join("exec.toml"), inventory).unwrap();
    measured(directory, &[program, "apply", "--yes", "--inventory", "exec.toml"], None);
    let text = std::fs::read_to_string(directory.join("exec.kubeconfig")).unwrap();
    let kubeconfig: Value = serde_saphyr::from_str(&text).unwrap();
    let arguments = &kubeconfig["users"][0]["user"]["exec"]["args"];
    let arguments = arguments.as_array().unwrap().iter().filter_map(Value::as_str);
    // A plugin refuses to write tokens into what is not asked for by a client.
    let asked = "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\
         \"spec\":{\"interactive\":false}}";
    let cache = directory.join("cache").display().to_string();
    let environment = [("KUBERNETES_EXEC_INFO", asked), ("XDG_CACHE_HOME", cache.as_str())];
    let command: Vec<&str> = [program].into_iter().chain(arguments).collect();
    measured_in(directory, &command, &environment);
    let used: Vec<Used> = (0..CALLS).map(|_| measured_in(directory, &command, &environment)).collect();
    let median = |value: fn(&Used) -> f64| median(used.iter().map(value).collect());
    Figures {
        wall: median(|used| used.wall),
        memory: median(|used| used.memory),
        ..alone("exec plugin, warm", 1, median(|used| used.cpu) * 1e3)
    }
}

/// Provisions a few clusters with a script of kubectl, and says what all would need at that pace.
fn by_script(directory: &Path, clusters: usize) -> Figures {
    const SCRIPTED: usize = 5;
    let few = clusters.min(SCRIPTED);
    let used = script(directory, "script", few);
    let each = |all: f64| all / f64::from(u32::try_from(few).unwrap());
    let all = f64::from(u32::try_from(clusters).unwrap());
    Figures {
        wall: each(used.wall) * all,
        memory: used.memory,
        ..alone(&format!("kubectl script, {few} clusters extrapolated"), clusters, each(used.cpu) * 1e3)
    }
}

fn alone(workload: &str, clusters: usize, cpu: f64) -> Figures {
    Figures {
        workload: workload.to_owned(),
        clusters,
        cpu,
        floor: None,
        ratio_to_floor: None,
        rival: None,
        ratio_to_rival: None,
        wall_to_rival: None,
        requests: 0.0,
        connections: 0.0,
        sent: vec![],
        of_rival: None,
        wall: 0.0,
        memory: 0.0,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn figures_of(workload: &str, clusters: usize, samples: &[Sample]) -> Figures {
    let count = clusters as f64;
    let of_own = |value: fn(&Counted) -> f64| median(samples.iter().map(|sample| value(&sample.own)).collect());
    // A workload that sends nothing has no floor, and not all have a rival.
    let of_floor = |value: &dyn Fn(&Sample, Used) -> f64| {
        let values: Vec<f64> = samples.iter().filter_map(|sample| Some(value(sample, sample.floor?))).collect();
        (values.len() == samples.len()).then(|| median(values))
    };
    let of_rival = |value: &dyn Fn(&Sample, Counted) -> f64| {
        let values: Vec<f64> = samples.iter().filter_map(|sample| Some(value(sample, sample.rival?))).collect();
        (values.len() == samples.len()).then(|| median(values))
    };
    let counts = of_rival(&|_, rival| rival.requests as f64).zip(of_rival(&|_, rival| rival.connections as f64));
    Figures {
        floor: of_floor(&|_, floor| floor.cpu * 1e3 / count),
        ratio_to_floor: of_floor(&|sample, floor| sample.own.used.cpu / floor.cpu),
        rival: of_rival(&|_, rival| rival.used.cpu * 1e3 / count),
        ratio_to_rival: of_rival(&|sample, rival| sample.own.used.cpu / rival.used.cpu),
        wall_to_rival: of_rival(&|sample, rival| sample.own.used.wall / rival.used.wall),
        requests: of_own(|own| own.requests as f64) / count,
        connections: of_own(|own| own.connections as f64) / count,
        sent: samples[0].sent.iter().map(|(method, path)| format!("{method} {path}")).collect(),
        of_rival: counts.map(|(requests, connections)| (requests / count, connections / count)),
        wall: of_own(|own| own.used.wall),
        memory: of_own(|own| own.used.memory),
        ..alone(workload, clusters, of_own(|own| own.used.cpu) * 1e3 / count)
    }
}
