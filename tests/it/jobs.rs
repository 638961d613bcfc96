//! Indexed Jobs of a real Job controller, whose pods an agent runs as processes: no kubelet is involved.

use std::collections::HashMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane, ControllerManager};
use kubemint_testkit::sim::Fleet;
use kubemint_testkit::{Admin, User};
use serde_json::{Value, json};

use crate::support::{Machine, simulated, undisturbed};

/// The longest that a Job may take: it waits ten seconds after the first failure of an index, and twenty after the second.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs the pods of one namespace as processes in a machine's directory, and says how they ended.
struct Agent<'a> {
    admin: &'a Admin,
    machine: &'a Machine,
    running: HashMap<String, (String, Child)>,
    /// How often the pods of an index are still killed as soon as they run.
    kills: HashMap<String, usize>,
    /// What pods that failed said last.
    failed: Vec<String>,
}

/// The file with what a pod said.
fn log_of(pod: &str) -> String {
    format!("log-of-{pod}")
}

const PODS: &str = "/api/v1/namespaces/default/pods";

impl Agent<'_> {
    /// Starts what waits, and reports what ended.
    fn step(&mut self) {
        let pods = self.admin.get(PODS).unwrap();
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
            if pod["status"]["phase"] == "Pending" && !self.running.contains_key(&uid) {
                let mut child = self.start(pod);
                let index =
                    pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap();
                if let Some(kills) = self.kills.get_mut(index).filter(|kills| **kills > 0) {
                    *kills -= 1;
                    child.kill().unwrap();
                }
                self.status(&name, &json!({ "phase": "Running" }));
                self.running.insert(uid, (name, child));
            }
        }
        let mut ended = vec![];
        for (uid, (name, child)) in &mut self.running {
            if let Some(status) = child.try_wait().unwrap() {
                // A process that a signal ended has 128 more than the signal, as container runtimes say it.
                ended.push((uid.clone(), name.clone(), status.code().unwrap_or(137)));
            }
        }
        for (uid, name, code) in ended {
            self.running.remove(&uid);
            let terminated = json!({ "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" } });
            let container = json!({
                "name": "kubemint", "image": "kubemint", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": terminated },
            });
            if code != 0 {
                let said = self.machine.read(&log_of(&name));
                let end = said.len().saturating_sub(600);
                self.failed.push(format!("{name} ended with {code}: {}", said.get(end..).unwrap_or(&said)));
            }
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            self.status(&name, &json!({ "phase": phase, "containerStatuses": [container] }));
        }
    }

    /// Starts the container of a pod, with its arguments and environment as a kubelet computes them.
    fn start(&self, pod: &Value) -> Child {
        let container = &pod["spec"]["containers"][0];
        let mut environment: Vec<(String, String)> = vec![];
        for variable in container["env"].as_array().unwrap() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some(path) => {
                    let (field, key) = path.split_once('[').unwrap();
                    let key = key.trim_matches(['\'', ']']);
                    pod["metadata"][field.trim_start_matches("metadata.")][key].as_str().unwrap()
                }
                None => variable["value"].as_str().unwrap(),
            };
            environment.push((variable["name"].as_str().unwrap().to_owned(), value.to_owned()));
        }
        let expand = |argument: &Value| {
            let mut argument = argument.as_str().unwrap().to_owned();
            for (name, value) in &environment {
                argument = argument.replace(&format!("$({name})"), value);
            }
            argument
        };
        let arguments: Vec<String> = container["args"].as_array().unwrap().iter().map(expand).collect();
        let mut command = self.machine.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let log = std::fs::File::create(self.machine.path(&log_of(pod["metadata"]["name"].as_str().unwrap()))).unwrap();
        command.envs(environment).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn status(&self, pod: &str, status: &Value) {
        let patched = self.admin.merge_patch(&format!("{PODS}/{pod}/status"), &json!({ "status": status }));
        // The Job controller may have deleted the pod meanwhile.
        assert!(patched.as_ref().err().is_none_or(|status| status.code == 404), "{patched:?}");
    }

    /// Runs pods until a Job has ended, and returns its status.
    fn until_done(&mut self, job: &str) -> Value {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "{:#}", self.admin.get(job).unwrap()["status"]);
            self.step();
            let status = self.admin.get(job).unwrap()["status"].clone();
            let is_done = |condition: &Value| {
                condition["status"] == "True" && ["Complete", "Failed"].contains(&condition["type"].as_str().unwrap())
            };
            if status["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(is_done)) {
                return status;
            }
        }
    }
}

/// The Job of `deploy/kustomize/overlays/indexed-job`, in the directory of a machine and without what only a node has.
fn job(name: &str, completions: usize, shards: usize) -> Value {
    let manifest = include_str!("../../deploy/kustomize/overlays/indexed-job/job.yaml");
    let mut job: Value = serde_saphyr::from_str(manifest).unwrap();
    job["metadata"] = json!({ "name": name });
    let spec = job["spec"].as_object_mut().unwrap();
    for field in ["completions", "parallelism", "maxFailedIndexes"] {
        assert!(spec.insert(field.to_owned(), completions.into()).is_some(), "{field}");
    }
    let container = &mut spec["template"]["spec"]["containers"][0];
    for argument in container["args"].as_array_mut().unwrap() {
        *argument = argument.as_str().unwrap().replace("/results/", &format!("results/{name}-")).into();
    }
    let environment = container["env"].as_array_mut().unwrap();
    let of_the_machine = ["KUBEMINT_INVENTORY", "XDG_CACHE_HOME"];
    environment.retain(|variable| !of_the_machine.contains(&variable["name"].as_str().unwrap()));
    let number = environment.iter_mut().find(|variable| variable["name"] == "KUBEMINT_SHARDS").unwrap();
    number["value"] = shards.to_string().into();
    job
}

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// How many clusters the fleet has.
const CLUSTERS: u64 = 2000;

/// Eight indexes work on a fleet, one of them is killed twice, and what they leave is what one run leaves.
#[test]
fn an_indexed_job_works_on_a_fleet() {
    let options = ClusterOptions { controller_manager: ControllerManager::On, ..ClusterOptions::named("jobs") };
    let Some(plane) = ControlPlane::start(vec![options]) else { return };
    let _undisturbed = undisturbed();
    let fleet: Fleet = simulated((0..CLUSTERS).map(|number| format!("c{number:04}")));
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory(
        "jobs",
        "[profiles.reader]\ncluster-roles = ['view']\n[[grants]]\nprofile = 'reader'\nselector = ''\n\
         [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n[[outputs]]\npath = 'all.kubeconfig'\ncontext = '{cluster}'\n",
    );
    std::fs::create_dir(machine.path("results")).unwrap();
    let admin = Admin::new(plane.test_cluster(0));
    let mut agent = Agent {
        admin: &admin,
        machine: &machine,
        running: HashMap::new(),
        kills: HashMap::from([("3".to_owned(), 2)]),
        failed: vec![],
    };

    // The manifest names it, and admission looks for it.
    admin.create("/api/v1/namespaces/default/serviceaccounts", &json!({ "metadata": { "name": "kubemint" } })).unwrap();

    // A number of parts that is not the Job's ends all of it, because no repetition helps.
    admin.create(JOBS, &job("wrong", 3, 2)).unwrap();
    let status = agent.until_done(&format!("{JOBS}/wrong"));
    assert_eq!(status["conditions"].as_array().unwrap().last().unwrap()["reason"], "PodFailurePolicy", "{status:#}");
    for (_, child) in agent.running.values_mut() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    agent.running.clear();

    admin.create(JOBS, &job("apply", 8, 8)).unwrap();
    let status = agent.until_done(&format!("{JOBS}/apply"));
    let ended = (&status["succeeded"], &status["failed"]);
    assert_eq!(ended, (&json!(8), &json!(2)), "{status:#}\n{}", agent.failed.join("\n"));
    assert_eq!(status["completedIndexes"], "0-7");
    let files: Vec<String> = (0..8).map(|index| format!("results/apply-{index}.json")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let joined = machine.kubemint(&[&["join", "-o", "json"], files.as_slice()].concat()).exits(0).report();
    assert_eq!(joined["summary"]["clusters"], CLUSTERS);
    let worked_on = joined["summary"]["changed"].as_u64().unwrap() + joined["summary"]["unchanged"].as_u64().unwrap();
    assert_eq!(worked_on, CLUSTERS, "{:#}", joined["summary"]);

    // One run finds nothing to do, and writes the combined file as the eight wrote it.
    let one = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(one.stdout.contains(&format!("{CLUSTERS} clusters are up to date")), "{}", one.stdout);
    let written = machine.read("all.kubeconfig");
    std::fs::remove_file(machine.path("all.kubeconfig")).unwrap();
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(machine.read("all.kubeconfig"), written);
}
