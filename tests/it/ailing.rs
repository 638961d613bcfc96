//! Failures in the life of a credential, on the simulated fleet: each has a message that says what happened and what to
//! do.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use kubemint_testkit::User;
use kubemint_testkit::sim::{Fault, Fleet, FleetOptions, SimCluster};
use serde_json::json;

use crate::life::{anchors, generations, profile};
use crate::support::{Machine, can_i, simulated, undisturbed};

fn fleet(name: &str, rest: &str) -> (Fleet, SimCluster, Machine) {
    let fleet = simulated(["a"]);
    let cluster = fleet.cluster("a");
    let machine = Machine::of(&fleet, name, rest);
    machine.impatient();
    (fleet, cluster, machine)
}

const FILE: &str = "out/a.kubeconfig";

#[test]
fn a_clamp_shorter_than_the_overlap_is_said_and_lived_with() {
    let mut options = FleetOptions::named(["a"]);
    options.max_token_expiration = Some(Duration::from_secs(900));
    let fleet = Fleet::start(options).unwrap();
    let cluster = fleet.cluster("a");
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("clamp", &profile("30m").replace("ttl = \"1h\"", "ttl = \"24h\""));
    machine.expect(0, &["apply", "--yes"]);
    let run = machine.kubemint(&["refresh"]).exits(0);
    let expected = "the API server shortens tokens of `reader` from 24h to 15m, which is not more than `overlap` (30m)";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    // Half of its life: between 7m07s and 7m30s, as the jitter has it.
    assert!(run.stdout.contains("next due in 7m"), "{}", run.stdout);
    let status = machine.kubemint(&["status"]).exits(0);
    assert!(status.stdout.contains("clamped from 24h to 15m"), "{}", status.stdout);
    cluster.set_clock_skew(SignedDuration::from_mins(8));
    machine.expect(0, &["refresh"]);
    assert_eq!(generations(&machine.admin(0), "clamp"), [1, 2]);
    cluster.set_clock_skew(SignedDuration::from_mins(16));
    machine.expect(0, &["refresh"]);
    assert_eq!(generations(&machine.admin(0), "clamp"), [2, 3], "two live at most");
    let late = machine.kubemint(&["refresh", "--check", "--next-run", "1h"]).exits(4);
    assert!(late.stdout.contains("live for 15m, and the next run comes in 1h"), "{}", late.stdout);
}

#[test]
fn a_cluster_that_was_down_for_longer_than_the_token_lives_is_renewed_when_it_is_back() {
    let (_fleet, cluster, machine) = fleet("down", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read(FILE);
    cluster.set_fault(Some(Fault::Refuse));
    cluster.set_clock_skew(SignedDuration::from_hours(3));
    let run = machine.kubemint(&["refresh"]).exits(7);
    assert_eq!(run.stdout, "0 current, 0 renewed, 1 failed\n");
    assert!(run.stderr.contains("connection refused") && run.stderr.contains("kubemint refresh --cluster a"));
    assert_eq!(machine.read(FILE), before, "what is there stays");
    cluster.set_fault(None);
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["reason"], "expired");
    assert!(can_i(&machine.admin(0), &machine.token(FILE), "list", "pods", "default"));
}

#[test]
fn an_anchor_without_its_annotations_is_an_anchor_all_the_same() {
    let (_fleet, _cluster, machine) = fleet("annotations", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let name = anchors(&admin, "annotations").remove(0);
    let path = format!("/api/v1/namespaces/annotations/secrets/{name}");
    admin.merge_patch(&path, &json!({"metadata": {"annotations": {"kubemint.dev/run": "{broken"}}})).unwrap();
    let idle = machine.kubemint(&["refresh"]).exits(0);
    assert!(idle.stdout.starts_with("1 current"), "{}", idle.stdout);
    machine.expect(0, &["refresh", "--force"]);
    machine.expect(0, &["refresh"]);
    assert!(admin.get(&path).is_err(), "it is retired");
    assert_eq!(generations(&admin, "annotations"), [2]);
}

#[test]
fn a_foreign_secret_with_an_anchors_name_is_left_alone() {
    let (_fleet, cluster, machine) = fleet("squatter", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let next = anchors(&admin, "squatter").remove(0).replace("-default-1-", "-default-2-");
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": next}, "stringData": {"k": "v"}});
    admin.create("/api/v1/namespaces/squatter/secrets", &foreign).unwrap();
    let before = machine.read(FILE);
    let run = machine.kubemint(&["refresh", "--force"]).exits(7);
    assert!(run.stderr.contains("exists and is not this run's"), "{}", run.stderr);
    assert!(run.stderr.contains("the next run takes another number"), "{}", run.stderr);
    assert_eq!(machine.read(FILE), before);
    machine.expect(0, &["refresh", "--force"]);
    assert_eq!(machine.facts(FILE)["generation"], 3);
    cluster.set_clock_skew(SignedDuration::from_mins(10));
    machine.expect(0, &["refresh"]);
    assert_eq!(generations(&admin, "squatter"), [3], "the claim is gone");
    assert!(admin.get(&format!("/api/v1/namespaces/squatter/secrets/{next}")).is_ok(), "the Secret is not");
}

/// Runs a shell script in a mount namespace of its own, in which it may mount anything.
fn in_own_mounts(machine: &Machine, script: &str) -> std::process::Output {
    let is_root = rustix::process::geteuid().is_root();
    let namespaces: &[&str] = if is_root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", script])
        .env("KUBEMINT", env!("CARGO_BIN_EXE_kubemint"))
        .env("HOME", machine.path(""))
        .current_dir(machine.path(""))
        .output()
        .expect("`unshare` of util-linux is needed")
}

/// The new token is ended again, the old file is whole, and the next run, which has room, renews.
#[test]
fn a_full_disk_leaves_the_working_credential() {
    let (_fleet, _cluster, machine) = fleet("full", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    let script = "set -e\n\
        cp out/a.kubeconfig kept\n\
        mount -t tmpfs -o size=16k none out\n\
        cp kept out/a.kubeconfig\n\
        head -c 1000000 /dev/zero > out/filler 2>/dev/null || true\n\
        code=0; \"$KUBEMINT\" refresh --force || code=$?\n\
        cmp kept out/a.kubeconfig\n\
        ls -A out\n\
        rm out/filler\n\
        \"$KUBEMINT\" refresh --force\n\
        cmp -s kept out/a.kubeconfig && exit 98\n\
        exit $code\n";
    let output = in_own_mounts(&machine, script);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("make room on the file system of"), "{said}");
    assert!(said.contains("0 current, 1 renewed, 0 failed"), "{said}");
    let admin = machine.admin(0);
    assert_eq!(anchors(&admin, "full").len(), generations(&admin, "full").len(), "no token outlives its failure");
}

/// A credential that reached only one output is not minted again; the next run finds it there and hands it on.
#[test]
fn what_is_not_everywhere_is_not_called_renewed() {
    let outputs = "[[outputs]]\npath = \"other/{cluster}.kubeconfig\"\n";
    let (_fleet, _cluster, machine) = fleet("partly", &format!("{}{outputs}", profile("0s")));
    machine.expect(0, &["apply", "--yes"]);
    let script = "set -e\n\
        cp other/a.kubeconfig kept\n\
        mount -t tmpfs -o size=16k none other\n\
        cp kept other/a.kubeconfig\n\
        head -c 1000000 /dev/zero > other/filler 2>/dev/null || true\n\
        code=0; \"$KUBEMINT\" refresh --force || code=$?\n\
        cmp kept other/a.kubeconfig\n\
        cmp -s kept out/a.kubeconfig && exit 98\n\
        rm other/filler\n\
        \"$KUBEMINT\" refresh\n\
        cmp -s kept other/a.kubeconfig && exit 99\n\
        cmp other/a.kubeconfig out/a.kubeconfig\n\
        exit $code\n";
    let output = in_own_mounts(&machine, script);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("0 current, 0 renewed, 1 failed"), "{said}");
    assert!(said.contains("1 current, 0 renewed, 0 failed"), "{said}");
    assert_eq!(generations(&machine.admin(0), "partly"), [1, 2], "the older one goes when the newer is everywhere");
}

#[test]
fn outputs_that_are_gone_need_consent() {
    let (_fleet, _cluster, machine) = fleet("gone", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    std::fs::remove_dir_all(machine.path("out")).unwrap();
    let run = machine.kubemint(&["refresh"]).exits(5);
    assert!(run.stderr.contains("no output here holds it") && run.stderr.contains("--reissue"), "{}", run.stderr);
    machine.expect(0, &["refresh", "--reissue"]);
    assert!(can_i(&machine.admin(0), &machine.token(FILE), "list", "pods", "default"));
}

#[test]
fn a_clock_that_is_a_day_off_changes_nothing() {
    let _undisturbed = undisturbed();
    for days in [-1, 1] {
        let (_fleet, cluster, machine) = fleet("clock", &profile("0s"));
        cluster.set_clock_skew(SignedDuration::from_hours(24 * days));
        machine.expect(0, &["apply", "--yes"]);
        let run = machine.kubemint(&["refresh"]).exits(0);
        assert!(run.stdout.starts_with("1 current, 0 renewed, 0 failed, next due in 3"), "{days}: {}", run.stdout);
        let direction = if days > 0 { "ahead of" } else { "behind" };
        // A Date header has whole seconds.
        let is_said =
            [86_399, 86_400].iter().any(|off| run.stderr.contains(&format!("{off} s {direction} this machine's")));
        assert!(is_said, "{}", run.stderr);
        machine.expect(0, &["status", "--check"]);
        cluster.set_clock_skew(SignedDuration::from_hours(24 * days) + SignedDuration::from_mins(45));
        let run = machine.kubemint(&["refresh"]).exits(0);
        assert!(run.stdout.starts_with("0 current, 1 renewed"), "{days}: {}", run.stdout);
        let waited = machine.kubemint(&["refresh", "--force", "--wait-overlap"]).exits(0);
        assert!(waited.stdout.starts_with("0 current, 1 renewed"), "{}", waited.stdout);
        assert_eq!(generations(&machine.admin(0), "clock"), [3], "{days}");
    }
}

/// If somebody left a lock, only the credential in that file is not renewed, and nothing is minted for it.
#[test]
fn a_locked_file_blocks_what_goes_there_and_nothing_else() {
    let fleet = simulated(["a", "b"]);
    let clusters = ["a", "b"].map(|name| fleet.cluster(name));
    let machine = Machine::new(&[&clusters[0], &clusters[1]], User::Admin);
    machine.inventory("locked", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    machine.write("out/a.kubeconfig.lock", "");
    let (a, b) = (machine.read(FILE), machine.read("out/b.kubeconfig"));
    clusters[0].reset_traffic();
    let run = machine.kubemint(&["refresh", "--force"]).exits(6);
    assert!(run.stdout.starts_with("0 current, 1 renewed, 1 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("--break-lock"), "{}", run.stderr);
    assert!(clusters[0].recorded().iter().all(|request| !request.path.ends_with("/token")), "nothing was minted");
    assert_eq!(machine.read(FILE), a);
    assert_ne!(machine.read("out/b.kubeconfig"), b);
}

/// Of many processes that wait for a token, one finds that there is none; the others are told, each within its time.
#[test]
fn plugins_that_wait_for_a_failure_share_it() {
    let outputs = "[[outputs]]\npath = \"exec.kubeconfig\"\ncredential = \"exec\"\n";
    let (_fleet, cluster, machine) =
        fleet("share", &profile("0s").replace("[[outputs]]\npath = \"out/{cluster}.kubeconfig\"\n", outputs));
    machine.expect(0, &["apply", "--yes"]);
    cluster.set_fault(Some(Fault::Hang));
    cluster.reset_traffic();
    let credential = ["credential", "--cluster", "a", "--profile", "reader"];
    let began = std::time::Instant::now();
    let children: Vec<_> = (0..12)
        .map(|_| {
            let mut command = machine.command(&credential);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty());
    }
    // Alone, each would take a request timeout and a retry.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// If two refreshes meet, the later one sees what the earlier one wrote, and takes it for its own.
#[test]
fn a_refresh_that_comes_second_is_not_told_that_others_hold_the_token() {
    let (_fleet, cluster, machine) = fleet("second", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    // The first answers of the second are older than everything that the first one does.
    cluster.set_latency(Duration::from_millis(150));
    let start = || {
        let mut command = machine.command(&["refresh", "--force"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(!said.contains("no output here holds it"), "{said}");
    }
    assert!(can_i(&machine.admin(0), &machine.token(FILE), "list", "pods", "default"));
}

/// A credential that falls due while the run waits for an overlap is renewed, but its own overlap is left to a later
/// run.
#[test]
fn waiting_for_the_overlap_waits_for_one() {
    let _undisturbed = undisturbed();
    let (_fleet, cluster, machine) = fleet("one-overlap", &profile("3s"));
    machine.expect(0, &["apply", "--yes"]);
    let mut command = machine.command(&["refresh", "--force", "--wait-overlap"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        said.push_str(&format!("{}\n", line.unwrap()));
        if said.ends_with("superseded credentials end in 4s\n") || said.ends_with("superseded credentials end in 3s\n")
        {
            // Everything is due again.
            cluster.set_clock_skew(SignedDuration::from_mins(50));
        }
    }
    assert!(child.wait().unwrap().success(), "{said}");
    assert_eq!(said.matches("superseded credentials end in").count(), 1, "{said}");
    assert_eq!(machine.facts(FILE)["generation"], 3, "{said}");
}

/// If the wait is interrupted, the user is told that the older tokens still work.
#[test]
fn an_interrupted_wait_for_the_overlap_is_no_success() {
    let (_fleet, _cluster, machine) = fleet("cut-short", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let mut command = machine.command(&["refresh", "--force", "--wait-overlap"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        if line.unwrap().starts_with("superseded credentials end in") {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(generations(&machine.admin(0), "cut-short"), [1, 2]);
}

/// If the metrics cannot be written, the result of the run is reported all the same.
#[test]
fn metrics_that_cannot_be_written_are_said_after_the_result() {
    let (_fleet, _cluster, machine) = fleet("metrics", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let run = machine.kubemint(&["refresh", "--force", "--metrics-file", "nowhere/kubemint.prom"]).exits(6);
    assert!(run.stdout.starts_with("0 current, 1 renewed, 0 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("cannot write the metrics to"), "{}", run.stderr);
}
