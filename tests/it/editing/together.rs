//! kubectl and kubemint write one file at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kubemint::kubeconfig::edit::{Edit, EditError, List, Unranked, edit};
use kubemint::store::{BreakLock, update};
use kubemint_testkit::control_plane;
use serde_json::{Value, json};

/// Contexts that kubectl sets, one command each.
const ROUNDS: usize = 500;
/// Contexts that kubemint writes again and again.
const OURS: usize = 20;

fn ours(number: usize) -> Edit {
    let entry = json!({"name": format!("ours-{number}"), "context": {"cluster": "c", "user": "u"}});
    Edit::Upsert { list: List::Contexts, entry }
}

fn write(path: &std::path::Path, edits: &[Edit]) {
    let written = update(path, BreakLock::Never, |before| {
        edit(before.unwrap_or_default(), edits, &Unranked).map_err(|error: EditError| error)
    });
    // kubectl truncates the file and writes it in place, without a rename: what reads it then takes the
    // lock first, as this does, and never sees half of it.
    written.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
}

/// kubectl reads the file before it takes the lock, and removes what came since (client-go's
/// `ModifyConfig`): it may take an entry of kubemint away, which the next run brings back. What kubectl
/// wrote, kubemint never loses.
#[test]
fn nothing_is_lost_when_kubectl_writes_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let all: Vec<Edit> = (0..OURS).map(ours).collect();
    write(&path, &all);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0_u64;
            while !is_done.load(Ordering::Relaxed) {
                let server = json!({"name": "c", "cluster": {"server": format!("https://{number}")}});
                let mut edits = all.clone();
                edits.push(Edit::Upsert { list: List::Clusters, entry: server });
                write(&path, &edits);
                number += 1;
                // kubectl gives up at once where the lock is taken; this leaves it a chance, at odd instants.
                std::thread::sleep(Duration::from_millis(number * 37 % 97));
            }
            number
        });
        for round in 0..ROUNDS {
            let name = format!("theirs-{round}");
            loop {
                let output =
                    control_plane::kubectl(&path, ["config", "set-context", &name, "--cluster=c", "--user=u"]).unwrap();
                if output.success() {
                    break;
                }
                assert!(output.stderr.contains("file exists"), "{}", output.stderr);
            }
        }
        is_done.store(true, Ordering::Relaxed);
        println!("{ROUNDS} commands of kubectl, {} writes of kubemint", writer.join().unwrap());
    });
    write(&path, &all);
    let output = control_plane::kubectl(&path, ["config", "view", "-o", "json"]).unwrap();
    let config: Value = serde_json::from_str(&output.stdout).unwrap();
    let names: std::collections::BTreeSet<&str> =
        config["contexts"].as_array().unwrap().iter().map(|context| context["name"].as_str().unwrap()).collect();
    let lost: Vec<String> = (0..ROUNDS).map(|round| format!("theirs-{round}")).collect();
    let lost: Vec<&String> = lost.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(names.len(), ROUNDS + OURS);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["config"], "a lock or a temporary file is left");
}
