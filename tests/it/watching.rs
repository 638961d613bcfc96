//! `kubemint refresh --watch` and its metrics, on the simulated fleet.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use kubemint_testkit::sim::{Fault, Fleet};

use crate::life::{eventually, profile};
use crate::support::{Machine, can_i, simulated};

/// A running watcher, which is killed when the test ends.
pub(crate) struct Watcher {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Watcher {
    pub(crate) fn start(machine: &Machine, arguments: &[&str]) -> Self {
        let arguments = [&["refresh", "--watch", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = machine.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let mut address = None;
        while address.is_none() {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {}", said.lock().unwrap());
            address = line.trim().strip_prefix("listening on http://").map(str::to_owned);
            said.lock().unwrap().push_str(&line);
        }
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                heard.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { child, address: address.unwrap(), said }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").1;
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn await_metric(&self, name: &str, expected: f64) {
        eventually(&format!("{name} is {expected}, and not {:?}\n{}", self.metric(name), self.said()), || {
            self.metric(name) == Some(expected)
        });
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn fleet(names: &[&str]) -> (Fleet, Machine) {
    let fleet = simulated(names.iter().copied());
    let machine = Machine::of(&fleet, "watch", &profile("1s"));
    machine.impatient();
    machine.expect(0, &["apply", "--yes"]);
    (fleet, machine)
}

/// Returns an inventory without cluster `b`, and the text that was removed.
fn without_second(whole: &str) -> (String, String) {
    let second = whole.find("[[clusters]]\nname = \"b\"").unwrap();
    let end = whole.find("\n[profiles").unwrap();
    (format!("{}{}", &whole[..second], &whole[end..]), whole[second..end].to_owned())
}

const CURRENT: &str = "kubemint_credentials{state=\"current\"}";

/// A due credential is renewed, the superseded one retired, and after SIGTERM the exit code is 0.
#[test]
fn what_falls_due_is_renewed_and_the_rest_is_left() {
    let (fleet, machine) = fleet(&["a", "b"]);
    let (a, b) = (machine.token("out/a.kubeconfig"), machine.token("out/b.kubeconfig"));
    let watcher = Watcher::start(&machine, &["--metrics-file", "metrics.prom"]);
    watcher.await_metric(CURRENT, 2.0);
    eventually("it is ready", || watcher.get("/readyz").0 == 200);
    assert_eq!(watcher.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(watcher.get("/other").0, 404);
    assert_eq!(watcher.metric("kubemint_renewals_total{reason=\"due\"}"), None);
    // Forty-five minutes pass on one cluster, and somebody asks to look again.
    fleet.cluster("a").set_clock_skew(SignedDuration::from_mins(45));
    watcher.signal("-HUP");
    watcher.await_metric("kubemint_renewals_total{reason=\"due\"}", 1.0);
    let renewed = machine.token("out/a.kubeconfig");
    assert_ne!(renewed, a);
    assert_eq!(machine.token("out/b.kubeconfig"), b);
    assert!(can_i(&machine.admin(0), &renewed, "list", "pods", "default"));
    // The watcher wakes by itself to retire the older one, a second and more after the renewal.
    eventually("the older one is retired", || crate::life::anchors(&machine.admin(0), "watch").len() == 1);
    let text = machine.read("metrics.prom");
    assert!(text.contains("kubemint_renewals_total{reason=\"due\"} 1"), "{text}");
    check_with_promtool(&text);
    let mode = std::fs::metadata(machine.path("metrics.prom")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "node_exporter is somebody else");
    let seen = format!("{}{text}", watcher.said());
    assert!(!seen.contains(&renewed[renewed.len() / 2..]) && !seen.contains(&a[a.len() / 2..]));
    assert_eq!(watcher.stop(), Some(0));
}

/// `.ci/run` names a promtool; its errors fail the test.
///
/// It reads the older text format, in which the help of a counter is for its name with `_total`; in `OpenMetrics` it is
/// for the name without. Only this complaint is allowed.
#[expect(clippy::disallowed_methods, reason = "the environment says where promtool is")]
fn check_with_promtool(text: &str) {
    let Some(promtool) = std::env::var_os("KUBEMINT_PROMTOOL") else { return };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_known = said.lines().all(|line| line.ends_with("_total no help text"));
    assert!(matches!(output.status.code(), Some(0 | 3)) && is_known, "promtool: {said}\n{text}");
}

/// A broken inventory is reported once and changes nothing; after it is repaired, it is used.
#[test]
fn a_broken_inventory_is_reported_and_the_one_before_stays() {
    let (_fleet, machine) = fleet(&["a", "b"]);
    let whole = machine.read("clusters.toml");
    let (without, _) = without_second(&whole);
    machine.write("clusters.toml", &without);
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 1.0);
    machine.write("clusters.toml", &format!("{without}\nnonsense"));
    watcher.await_metric("kubemint_inventory_reload_failed", 1.0);
    // What it says comes through a pipe, later than what it answers.
    eventually("it says that the inventory is broken", || watcher.said().contains("stays in use"));
    assert_eq!(watcher.metric(CURRENT), Some(1.0));
    machine.write("clusters.toml", &whole);
    watcher.await_metric(CURRENT, 2.0);
    assert_eq!(watcher.metric("kubemint_inventory_reload_failed"), Some(0.0));
    assert_eq!(watcher.said().matches("stays in use").count(), 1, "{}", watcher.said());
    assert_eq!(watcher.stop(), Some(0));
}

/// A cluster that is down is counted and tried again; the last known state of its credential stays.
#[test]
fn a_cluster_that_is_down_changes_nothing_for_the_others() {
    let (fleet, machine) = fleet(&["a", "b"]);
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 2.0);
    fleet.cluster("b").set_fault(Some(Fault::Refuse));
    fleet.cluster("a").set_clock_skew(SignedDuration::from_mins(45));
    watcher.signal("-HUP");
    watcher.await_metric("kubemint_failures_total{reason=\"unreachable\"}", 1.0);
    watcher.await_metric("kubemint_renewals_total{reason=\"due\"}", 1.0);
    assert_eq!(watcher.metric("kubemint_credentials{state=\"unknown\"}"), Some(1.0));
    assert!(watcher.metric("kubemint_credential_seconds_to_expiry{cluster=\"b\",profile=\"reader\"}").unwrap() > 0.0);
    // What it says comes through a pipe, later than what it answers.
    eventually("it says which cluster failed", || watcher.said().contains("1 failed of 2 clusters"));
    fleet.cluster("b").set_fault(None);
    watcher.signal("-HUP");
    watcher.await_metric(CURRENT, 2.0);
    assert_eq!(watcher.stop(), Some(0));
}

/// After SIGTERM, a renewal is completed, and the file holds the token that the cluster issued.
#[test]
fn a_running_renewal_is_finished() {
    let (fleet, machine) = fleet(&["a"]);
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 1.0);
    let before = machine.token("out/a.kubeconfig");
    let cluster = fleet.cluster("a");
    cluster.set_clock_skew(SignedDuration::from_mins(45));
    cluster.set_latency(Duration::from_millis(50));
    cluster.reset_traffic();
    watcher.signal("-HUP");
    eventually("a token was requested", || cluster.recorded().iter().any(|request| request.path.contains("/token")));
    assert_eq!(watcher.stop(), Some(0));
    let after = machine.token("out/a.kubeconfig");
    assert_ne!(after, before);
    assert!(can_i(&machine.admin(0), &after, "list", "pods", "default"));
    assert_eq!(crate::life::generations(&machine.admin(0), "watch"), [1, 2], "it is recorded");
}

/// A client that keeps a connection open does not block others.
#[test]
fn clients_that_stay_do_not_keep_others_out() {
    let (_fleet, machine) = fleet(&["a"]);
    let watcher = Watcher::start(&machine, &[]);
    let stays: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(&watcher.address).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    assert_eq!(watcher.get("/healthz").0, 200);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(stays);
}

/// A new file that `include` matches changes the inventory, like a change of a known file.
#[test]
fn a_new_included_file_is_taken_up() {
    let (_fleet, machine) = fleet(&["a", "b"]);
    let (without, cluster) = without_second(&machine.read("clusters.toml"));
    machine.write("more/first.toml", "");
    machine.write("clusters.toml", &without.replacen("version = 1\n", "version = 1\ninclude = [\"more/*.toml\"]\n", 1));
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 1.0);
    machine.write("more/second.toml", &cluster);
    watcher.await_metric(CURRENT, 2.0);
}

/// A source that fails takes no cluster away, and one that hangs does not keep the watcher from ending.
#[test]
fn a_source_that_fails_keeps_what_it_found() {
    let (_fleet, machine) = fleet(&["a", "b"]);
    let (without, _) = without_second(&machine.read("clusters.toml"));
    machine.write(
        "clusters.toml",
        &format!("{without}\n[[discover]]\nkind = 'command'\ncommand = ['./list']\nlabels = ['env']\n"),
    );
    let list = |script: &str| {
        machine.write("list.new", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(machine.path("list.new"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::rename(machine.path("list.new"), machine.path("list")).unwrap();
    };
    list(
        "echo '{\"name\": \"b\", \"labels\": {\"env\": \"test\"}, \"kubeconfig\": \"admin.yaml\", \"context\": \"b\"}'",
    );
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 2.0);
    list("exit 1");
    watcher.signal("-HUP");
    watcher.await_metric("kubemint_inventory_reload_failed", 1.0);
    eventually("it says so", || watcher.said().contains("the clusters that it found before stay in use"));
    assert_eq!(watcher.metric(CURRENT), Some(2.0));
    list("sleep 300 & echo $! > asked.new; mv asked.new asked; wait");
    watcher.signal("-HUP");
    eventually("the source hangs", || machine.path("asked").exists());
    let began = std::time::Instant::now();
    assert_eq!(watcher.stop(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // What it started ends with it; the signal may arrive a moment later.
    let stat = format!("/proc/{}/stat", machine.read("asked").trim());
    eventually("its child is gone", || {
        std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z ")) || !std::path::Path::new(&stat).exists()
    });
}

/// A mounted `ConfigMap` changes by making a link point to another directory. Not even the length and the time of the
/// file need to differ.
#[test]
fn a_link_that_points_elsewhere_changes_the_inventory() {
    let (_fleet, machine) = fleet(&["a", "b"]);
    let whole = machine.read("clusters.toml");
    let (without, second) = without_second(&whole);
    let padded = format!("{without}# {}", "-".repeat(second.len() - 2));
    assert_eq!(padded.len(), whole.len());
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (version, text) in [("..first", &padded), ("..second", &whole)] {
        let name = format!("{version}/clusters.toml");
        machine.write(&name, text);
        std::fs::File::options().write(true).open(machine.path(&name)).unwrap().set_modified(written).unwrap();
    }
    std::fs::remove_file(machine.path("clusters.toml")).unwrap();
    symlink("..data/clusters.toml", machine.path("clusters.toml")).unwrap();
    symlink("..first", machine.path("..data")).unwrap();
    let watcher = Watcher::start(&machine, &[]);
    watcher.await_metric(CURRENT, 1.0);
    symlink("..second", machine.path("..data_tmp")).unwrap();
    std::fs::rename(machine.path("..data_tmp"), machine.path("..data")).unwrap();
    watcher.await_metric(CURRENT, 2.0);
}

/// Returns how often some secrets occur in a process's memory; nothing if it cannot be read.
fn found_in_memory(pid: u32, secrets: &[String]) -> Option<usize> {
    use std::io::{Seek, SeekFrom};
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        memory.seek(SeekFrom::Start(from)).ok()?;
        // Some regions, such as the kernel's, cannot be read.
        if memory.read_exact(&mut bytes).is_ok() {
            let count = |secret: &String| bytes.windows(secret.len()).filter(|part| *part == secret.as_bytes()).count();
            found += secrets.iter().map(count).sum::<usize>();
        }
    }
    Some(found)
}

/// Between its runs a watcher holds no token: memory is overwritten when it is freed, in every library.
#[test]
fn an_idle_watcher_holds_no_token() {
    let (_fleet, machine) = fleet(&["a", "b", "c"]);
    // Every credential has to be minted anew.
    for position in 0..3 {
        let admin = machine.admin(position);
        for anchor in crate::life::anchors(&admin, "watch") {
            admin.delete(&format!("/api/v1/namespaces/watch/secrets/{anchor}")).unwrap();
        }
    }
    let watcher = Watcher::start(&machine, &[]);
    eventually("it is ready", || watcher.get("/readyz").0 == 200);
    // The signatures are what nobody else has.
    let signature = |token: String| token.rsplit('.').next().unwrap()[..24].to_owned();
    let mut secrets: Vec<String> =
        ["a", "b", "c"].iter().map(|name| signature(machine.token(&format!("out/{name}.kubeconfig")))).collect();
    secrets.extend(machine.clusters.iter().map(|cluster| cluster.admin_token.clone()));
    let pid = watcher.child.id();
    // Connections that nobody needs any more end a moment later.
    let mut seen = found_in_memory(pid, &secrets);
    eventually(&format!("its memory holds no token: {seen:?}"), || {
        seen = found_in_memory(pid, &secrets);
        // Who may not read it at all, because it does not let itself be dumped, cannot find any.
        seen.is_none_or(|found| found == 0)
    });
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
