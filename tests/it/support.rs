//! Common tools of the integration tests: a directory, an inventory, and runs of the program as a user would start it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kubemint_testkit::sim::{Fleet, FleetOptions};
use kubemint_testkit::{Admin, TestCluster, User, kubeconfig_yaml};
use serde_json::Value;
use tempfile::TempDir;

/// Held by tests that load the whole machine, and by those that measure time: never two of them run at once.
pub(crate) fn undisturbed() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user's machine: its own home, an admin kubeconfig, an inventory, and no inherited environment.
pub(crate) struct Machine {
    directory: TempDir,
    pub(crate) clusters: Vec<TestCluster>,
}

/// The result of a run of the program.
#[must_use]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Checks the exit code, and shows the whole output if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns the report that was printed as JSON.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no report ({error}):\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

impl Machine {
    /// Sets up a machine whose admin kubeconfig reaches the clusters as `user`.
    pub(crate) fn new(clusters: &[&TestCluster], user: User) -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
            clusters: clusters.iter().map(|cluster| (*cluster).clone()).collect(),
        };
        machine.write("admin.yaml", &kubeconfig_yaml(clusters, user));
        machine
    }

    /// Sets up a machine for an administrator of all clusters of a fleet, with an inventory of them.
    pub(crate) fn of(fleet: &Fleet, name: &str, rest: &str) -> Self {
        let machine = Self::new(&fleet.test_clusters(), User::Admin);
        machine.inventory(name, rest);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "tests write what users write")]
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes an inventory of all clusters, labelled `env=test`, that is called `name`.
    pub(crate) fn inventory(&self, name: &str, rest: &str) {
        let clusters: String = self
            .clusters
            .iter()
            .map(|cluster| format!("[[clusters]]\nname = \"{}\"\nlabels = {{ env = \"test\" }}\n", cluster.name))
            .collect();
        let head = format!(
            "version = 1\nname = \"{name}\"\n[defaults]\nadmin = {{ kubeconfig = \"admin.yaml\" }}\n\
             request-timeout = \"10s\"\ncluster-timeout = \"60s\"\nnamespace = \"{name}\"\ncreate-namespaces = true\n"
        );
        self.write("clusters.toml", &format!("{head}{clusters}{rest}"));
    }

    /// Sets short limits in the inventory: one second for a response, four for a cluster.
    pub(crate) fn impatient(&self) {
        let text = self.read("clusters.toml");
        self.write("clusters.toml", &text.replace("\"10s\"", "\"1s\"").replace("\"60s\"", "\"4s\""));
    }

    /// Runs the program as a user would, without this process's environment.
    pub(crate) fn kubemint(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the program under a limit that a shell sets.
    pub(crate) fn limited(&self, limit: &str, arguments: &[&str]) -> Run {
        let program = self.command(&[]).get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(program).args(arguments);
        shell.env_clear().env("HOME", self.directory.path()).current_dir(self.directory.path()).stdin(Stdio::null());
        let output = shell.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Run { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs the program and checks its exit code; its output does not matter.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) {
        drop(self.kubemint(arguments).exits(code));
    }

    /// Returns the command without starting it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubemint"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Returns every file below the directory with its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.directory.path(), &mut files);
        files
    }

    /// Returns a client with the admin's rights on a cluster.
    pub(crate) fn admin(&self, cluster: usize) -> Admin {
        Admin::new(&self.clusters[cluster])
    }

    /// Returns the token in a kubeconfig that the program wrote.
    pub(crate) fn token(&self, kubeconfig: &str) -> String {
        let text = self.read(kubeconfig);
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let users = value["users"].as_array().unwrap();
        assert_eq!(users.len(), 1, "{kubeconfig} has one user");
        users[0]["user"]["token"].as_str().unwrap().to_owned()
    }

    /// Returns the content of our extension in the only user of a kubeconfig.
    pub(crate) fn facts(&self, kubeconfig: &str) -> Value {
        let value: Value = serde_saphyr::from_str(&self.read(kubeconfig)).unwrap();
        value["users"][0]["user"]["extensions"][0]["extension"].clone()
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
    }
}

/// Starts a simulated cluster for each name.
pub(crate) fn simulated<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Fleet {
    Fleet::start(FleetOptions::named(names)).unwrap()
}

/// Asks as a token whether something is allowed.
pub(crate) fn can_i(admin: &Admin, token: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let review = serde_json::json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": verb, "resource": resource, "namespace": namespace } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = admin.as_token(token).create(path, &review).unwrap();
    answer["status"]["allowed"].as_bool().unwrap()
}

/// Returns the changes of one cluster in a report, each as `action Kind namespace/name` or
/// `action profile`.
pub(crate) fn changes(report: &Value, cluster: usize) -> Vec<String> {
    let changes = report["clusters"][cluster]["changes"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    changes
        .iter()
        .map(|change| match change["kind"].as_str() {
            Some(kind) => {
                let namespace = change["namespace"].as_str().map(|name| format!("{name}/")).unwrap_or_default();
                format!("{} {kind} {namespace}{}", text(&change["action"]), text(&change["name"]))
            }
            None => format!("{} {}", text(&change["action"]), text(&change["profile"])),
        })
        .collect()
}
