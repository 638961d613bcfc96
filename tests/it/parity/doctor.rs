//! `verify --kubeconfig` over the same corpus: it reports errors where kubectl does not work, and none where it does.
//! [`OTHERWISE`] lists the intended exceptions.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::case::{Case, Source};
use super::differences::Kind;
use super::run::{Outcome, WAITING_THREADS, command, last_line};
use super::world::{World, place};

/// The exceptions, and why. Differences of admin access are not repeated here.
const OTHERWISE: [(&str, &[&str]); 4] = [
    (
        "nobody's requests are answered, which is no use to the holder of a credential",
        &["basic", "basic-without-password", "as-anonymous", "exec-and-basic"],
    ),
    (
        "the whole file is examined, not only the context that is connected with",
        &["other-context-broken", "other-context-dangling", "other-cluster-broken"],
    ),
    ("kubectl works with `--context` only", &["current-context-other"]),
    ("kubectl works with `--namespace` only", &["namespace-invalid", "namespace-with-dot", "namespace-too-long"]),
];

/// Examines each case that is one file; returns unexpected differences from kubectl.
pub(super) fn problems(
    world: &World,
    cases: &[Case],
    outcomes: &[(Outcome, Outcome)],
    listed: &dyn Fn(&str) -> Option<Kind>,
) -> Vec<String> {
    let known = |name: &str| OTHERWISE.iter().any(|(_, cases)| cases.contains(&name));
    let mut problems = vec![];
    for (index, errors) in examined(world, cases).into_iter().enumerate() {
        let (name, (kubectl, _)) = (cases[index].name, &outcomes[index]);
        let Some(errors) = errors else { continue };
        let works = !kubectl.identities.is_empty();
        let agrees = works == errors.is_empty();
        if agrees == known(name) && listed(name).is_none() {
            problems.push(format!("{name}: kubectl works: {works}; examined: {errors:?}; listed: {}", known(name)));
        }
    }
    problems
}

/// Returns the errors that are found in each case, nothing for cases that are no single file.
fn examined(world: &World, cases: &[Case]) -> Vec<Option<Vec<String>>> {
    let found = Mutex::new(vec![None; cases.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WAITING_THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    if matches!(case.source, Source::File) {
                        let errors = examine(world, index, case);
                        found.lock().unwrap()[index] = Some(errors);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn examine(world: &World, index: usize, case: &Case) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_kubemint"));
    let mut command = command(world, program, "doctor", index, &case.environment);
    command.args(["verify", "-o", "json", "--context", case.context, "--kubeconfig"]).arg(place(index).join("config"));
    let output = command.output().unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return vec![last_line(&output.stderr)];
    };
    let findings = report["findings"].as_array().unwrap().iter();
    let errors = findings.filter(|finding| finding["severity"] == "error");
    errors.map(|finding| format!("{}: {}", finding["line"], finding["message"].as_str().unwrap())).collect()
}
