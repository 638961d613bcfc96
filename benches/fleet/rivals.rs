//! What kubemint is measured beside: a program on client-go, and scripts of kubectl (`benches/peers`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::{Used, measured};

/// Where the programs of the rivals are.
#[derive(Debug)]
pub(crate) struct Rivals {
    client_go: PathBuf,
}

/// What a workload has beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The program on client-go, which makes or compares the same objects.
    ClientGo,
    /// `kubectl config view --flatten`, which combines the same files.
    Flatten,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

impl Rivals {
    /// Builds the program on client-go.
    pub(crate) fn build() -> Self {
        let client_go = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client-go-rival");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&client_go).arg(".").current_dir(sources().join("clientgo"));
        let built = build.status();
        let is_built = built.is_ok_and(|status| status.success());
        assert!(is_built, "Go 1.26 builds the program that kubemint is compared with; `--no-rivals` leaves it out");
        Self { client_go }
    }

    /// Runs a rival once, in the directory of the fleet.
    pub(crate) fn run(&self, rival: Rival, directory: &Path, (run, clusters): (usize, usize)) -> Used {
        match rival {
            Rival::ClientGo => {
                let (out, name) = (format!("client-go-{run}"), format!("client-go-{run}"));
                measured(directory, &[self.client_go.to_str().unwrap(), "admin.yaml", &out, &name], None)
            }
            Rival::Flatten => {
                // One variable holds all names, and Linux limits its length: so they have short names.
                let list: Vec<String> = (0..clusters).map(|number| format!("m/{number}")).collect();
                if !directory.join("m").exists() {
                    std::fs::create_dir(directory.join("m")).unwrap();
                    for (number, link) in list.iter().enumerate() {
                        let file = directory.join(format!("out/cluster-{number:04}.kubeconfig"));
                        std::os::unix::fs::symlink(file, directory.join(link)).unwrap();
                    }
                }
                let variable = format!("KUBECONFIG={}", list.join(":"));
                measured(directory, &["env", &variable, "kubectl", "config", "view", "--flatten"], None)
            }
        }
    }
}

/// Provisions some clusters with kubectl, one after another, and returns what that used.
pub(crate) fn script(directory: &Path, name: &str, clusters: usize) -> Used {
    let script = sources().join("kubectl.sh");
    let contexts: Vec<String> = (0..clusters).map(|number| format!("cluster-{number:04}")).collect();
    let mut command = vec![script.to_str().unwrap(), "admin.yaml", "kubectl", name];
    command.extend(contexts.iter().map(String::as_str));
    measured(directory, &command, None)
}
