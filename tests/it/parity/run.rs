//! Runs both programs over the cases, and collects what the server, the proxies and the plugins saw.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kubemint_testkit::control_plane;
use serde_json::Value;

use super::case::{Case, Source};
use super::world::{World, namespace, place, write};

/// Few, because kubectl is busy with computing.
const THREADS: usize = 3;
/// Many, because kubemint on one cluster that it cannot reach only waits.
pub(super) const WAITING_THREADS: usize = 12;
const KUBECTL: &str = "kubectl";
const KUBEMINT: &str = "kubemint";

/// The result of one case in one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Why it did not work, in the program's words; empty if it did.
    pub(super) complaint: String,
    /// The users of the requests; refused requests (401) have none.
    pub(super) identities: BTreeSet<String>,
    /// What the proxies did.
    pub(super) tunnels: BTreeSet<String>,
    /// What the plugin wrote about its surroundings.
    pub(super) plugin_saw: Option<String>,
}

/// Runs kubectl over the cases, and then kubemint; returns the results.
pub(super) fn both(world: &World, cases: &[Case]) -> Vec<(Outcome, Outcome)> {
    for (index, case) in cases.iter().enumerate() {
        world.lay_out(index, case);
    }
    let mut outcomes = vec![(Outcome::default(), Outcome::default()); cases.len()];
    for (index, complaint) in kubectl(world, cases).into_iter().enumerate() {
        outcomes[index].0.complaint = complaint;
    }
    for (index, tunnel) in world.relay.take() {
        outcomes[index].0.tunnels.insert(tunnel);
    }
    for (index, complaint) in kubemint(world, cases) {
        outcomes[index].1.complaint = complaint;
    }
    for (index, tunnel) in world.relay.take() {
        outcomes[index].1.tunnels.insert(tunnel);
    }
    for line in world.audit_log().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let Some((index, identity)) = identity(&event) else { continue };
        let agent = event["userAgent"].as_str().unwrap_or_default();
        if agent.starts_with("kubectl/") {
            outcomes[index].0.identities.insert(identity);
        } else if agent.starts_with("kubemint/") {
            outcomes[index].1.identities.insert(identity);
        }
    }
    for (index, (kubectl, kubemint)) in outcomes.iter_mut().enumerate() {
        let saw =
            |program: &str| std::fs::read_to_string(world.root().join(place(index)).join(format!("saw.{program}")));
        kubectl.plugin_saw = saw(KUBECTL).ok();
        kubemint.plugin_saw = saw(KUBEMINT).ok();
    }
    outcomes
}

/// Returns the case and the user of an audited request; nothing if it was not authenticated.
fn identity(event: &Value) -> Option<(usize, String)> {
    let (_, rest) = event["requestURI"].as_str()?.split_once("/namespaces/case-")?;
    let index = rest.get(..3)?.parse().ok()?;
    if event["responseStatus"]["code"] == 401 {
        return None;
    }
    let mut identity = event["user"].to_string();
    if event["impersonatedUser"].is_object() {
        identity = format!("{} by {identity}", event["impersonatedUser"]);
    }
    Some((index, identity))
}

fn kubectl(world: &World, cases: &[Case]) -> Vec<String> {
    let program = control_plane::kubectl_path().unwrap();
    let complaints = Mutex::new(vec![String::new(); cases.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    let complaint = one_kubectl(world, &program, index, case);
                    complaints.lock().unwrap()[index] = complaint;
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

fn one_kubectl(world: &World, program: &Path, index: usize, case: &Case) -> String {
    let mut command = command(world, program, KUBECTL, index, &case.environment);
    command.args(["get", "configmaps", "--request-timeout=30s", "--namespace", &namespace(index)]);
    match &case.source {
        Source::File => {
            command.arg("--kubeconfig").arg(place(index).join("config")).args(["--context", case.context]);
        }
        Source::List(list) | Source::Pattern { kubectl: list, .. } => {
            command.env("KUBECONFIG", world.expand(index, list)).args(["--context", case.context]);
        }
        Source::Current(list) => {
            command.env("KUBECONFIG", world.expand(index, list));
        }
    }
    let output = command.output().unwrap();
    if output.status.success() { String::new() } else { last_line(&output.stderr) }
}

pub(super) fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned()
}

pub(super) fn command(
    world: &World,
    program: &Path,
    client: &str,
    index: usize,
    environment: &[(&'static str, &'static str)],
) -> Command {
    let home = world.root().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", world.root().join("bin").display()))
        .env("PARITY_CLIENT", client)
        .env("PARITY_PARENT", "from the parent")
        .envs(environment.iter().map(|(name, value)| (name, world.expand(index, value))))
        .current_dir(world.root())
        .stdin(Stdio::null());
    command
}

/// Makes one run over all cases, and one for each case with an environment of its own.
fn kubemint(world: &World, cases: &[Case]) -> Vec<(usize, String)> {
    let (apart, together): (Vec<usize>, Vec<usize>) =
        (0..cases.len()).partition(|index| !cases[*index].environment.is_empty());
    let runs: Vec<Vec<usize>> = std::iter::once(together).chain(apart.into_iter().map(|index| vec![index])).collect();
    let complaints = Mutex::new(vec![]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WAITING_THREADS {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let complaint = one_kubemint(world, cases, run);
                    complaints.lock().unwrap().extend(complaint);
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

fn one_kubemint(world: &World, cases: &[Case], selected: &[usize]) -> Vec<(usize, String)> {
    // What cannot be reached is asked for again until a cluster's time is over.
    let (name, index, environment, patience) = match selected {
        [only] => (format!("clusters-{only:03}.toml"), *only, cases[*only].environment.as_slice(), "10s"),
        _ => ("clusters.toml".to_owned(), 0, [].as_slice(), "25s"),
    };
    let clusters: String = selected.iter().map(|index| inventory_entry(world, *index, &cases[*index])).collect();
    let inventory = format!(
        "version = 1\nname = \"parity\"\n[defaults]\nrequest-timeout = \"10s\"\ncluster-timeout = \"{patience}\"\n\
         [profiles.parity]\n\
         cluster-rules = [{{ api-groups = [\"\"], resources = [\"configmaps\"], verbs = [\"get\"] }}]\n\
         [[grants]]\nprofile = \"parity\"\nselector = \"\"\n{clusters}"
    );
    write(&world.root().join(&name), inventory.as_bytes());
    let mut command = command(world, Path::new(env!("CARGO_BIN_EXE_kubemint")), KUBEMINT, index, environment);
    let output = command.args(["plan", "-o", "json", "-f", &name]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr)));
    let clusters = report["clusters"].as_array().unwrap();
    assert_eq!(clusters.len(), selected.len());
    selected.iter().zip(clusters).map(|(index, cluster)| (*index, complaint(cluster))).collect()
}

fn inventory_entry(world: &World, index: usize, case: &Case) -> String {
    let name = namespace(index);
    let kubeconfig = match &case.source {
        Source::File => format!("{}/config", place(index).display()),
        Source::List(list) | Source::Current(list) | Source::Pattern { kubemint: list, .. } => {
            world.expand(index, list)
        }
    };
    let (kubeconfig, context) = (toml::Value::from(kubeconfig), toml::Value::from(case.context));
    let insecure = if case.allow_insecure { "allow-insecure = true\n" } else { "" };
    format!(
        "[[clusters]]\nname = \"{name}\"\nnamespace = \"{name}\"\n{insecure}\
         admin = {{ kubeconfig = {kubeconfig}, context = {context} }}\n"
    )
}

/// Returns why a cluster could not be read. That all clusters are the same API server does not matter here.
fn complaint(cluster: &Value) -> String {
    if cluster["state"] != "failed" {
        return String::new();
    }
    let text = |field: &str| cluster["error"][field].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("doing"), text("cause"))
}
