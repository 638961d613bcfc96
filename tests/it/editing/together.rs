//! kubectl and kubemint write one file at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kubemint::kubeconfig::edit::{Edit, EditError, List, Unranked, edit};
use kubemint::store::{BreakLock, Manner, Sharing, update};
use kubemint_testkit::control_plane;
use serde_json::{Value, json};

/// How many contexts kubectl sets, with one command each.
const ROUNDS: usize = 500;
/// How many contexts kubemint writes again and again.
const OURS: usize = 20;

fn ours(number: usize) -> Edit {
    let entry = json!({"name": format!("ours-{number}"), "context": {"cluster": "c", "user": "u"}});
    Edit::Upsert { list: List::Contexts, entry }
}

fn write(path: &std::path::Path, edits: &[Edit]) {
    let written = update(path, Manner { break_lock: BreakLock::Never, sharing: Sharing::Refused }, |before| {
        edit(before.unwrap_or_default(), edits, &Unranked).map_err(|error: EditError| error)
    });
    // kubectl truncates the file and writes it in place, without a rename: what reads it then takes the
    // lock first, as this does, and never sees half of it.
    written.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
}

/// kubectl reads the file before it takes the lock, and removes entries that came since (client-go's `ModifyConfig`).
/// So it may remove an entry of kubemint, which the next run writes again. kubemint never loses an entry of kubectl.
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

/// The loss that kubectl causes in the test above, without kubemint and without chance: the second file of the list is
/// a pipe, so that kubectl waits after it read the first and before it locks.
#[test]
fn kubectl_alone_removes_what_was_added_after_it_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let set = |name: &str| {
        let output = control_plane::kubectl(&path("config"), ["config", "set-context", name, "--cluster=c"]).unwrap();
        assert!(output.success(), "{}", output.stderr);
    };
    set("first");
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let mut slow = std::process::Command::new(control_plane::kubectl_path().unwrap())
        .args(["config", "set-context", "slow", "--cluster=c"])
        .env_clear()
        .env("HOME", directory.path())
        .env("KUBECONFIG", std::env::join_paths([path("config"), path("pipe")]).unwrap())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // This ends when kubectl opens the pipe, after it read the file.
    let pipe = std::fs::OpenOptions::new().write(true).open(path("pipe")).unwrap();
    assert!(!path("config.lock").exists(), "it holds no lock yet");
    set("meanwhile");
    drop(pipe);
    // It reads both again under its locks. Each time it opens the pipe it waits for a writer: this is one,
    // which closes it at once, so that there is nothing in it.
    while slow.try_wait().unwrap().is_none() {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        drop(rustix::fs::open(path("pipe"), flags, rustix::fs::Mode::empty()));
        std::thread::yield_now();
    }
    assert!(slow.wait().unwrap().success());
    let output = control_plane::kubectl(&path("config"), ["config", "get-contexts", "-o", "name"]).unwrap();
    assert_eq!(output.stdout, "first\nslow\n", "kubectl learned to keep what others add: say so in the documentation");
}
