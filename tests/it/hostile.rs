//! Hostile API servers among healthy ones: every attack against every command, on the simulated fleet.
//!
//! Whatever a server says: the healthy clusters get the same as without it, none of its text reaches a terminal
//! unfiltered, no secret is shown, memory and time are bounded, nothing is reported as done that was not, and after the
//! attack the next run converges. All attacks are in one inventory, one cluster for each. Start with [`Case`] and
//! [`attack`].

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kubemint_testkit::sim::{Fault, Fleet, Hostility, Witness};
use serde_json::{Value, json};

use crate::support::{Machine, Run, can_i, changes, simulated};

const HEALTHY: [&str; 2] = ["ok-1", "ok-2"];

const PROFILE: &str = r#"
[profiles.reader]
cluster-roles = ["view"]
[[profiles.reader.cluster-rules]]
api-groups = [""]
resources = ["pods"]
verbs = ["get", "list"]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{cluster}.kubeconfig"
[[outputs]]
path = "all.kubeconfig"
"#;

/// The most memory that a run may ever use, in kB.
const LARGEST_PEAK: u64 = 512 * 1024;

/// The longest time for a run: a cluster is given up after 10 s, and all are worked on at once; the rest is for a busy
/// machine.
const LONGEST_RUN: Duration = Duration::from_secs(40);

/// The tests of this file run one after another, because each one keeps the machine busy.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How often the memory is read. The kernel records the peak, so only memory that is allocated just before the end can
/// be missed.
const SAMPLE: Duration = Duration::from_millis(2);

/// Attacks that leave no usable response, so that no command may report success for the cluster.
const UNUSABLE: [&str; 12] = [
    "accept-and-hang",
    "tls-hang",
    "half-close",
    "http2-garbage",
    "plain-http",
    "slow-drip",
    "huge-header",
    "many-headers",
    "throttle-forever",
    "throttle-garbage",
    "redirect",
    "echo-credentials-html",
];

/// Attacks that leave no response to a read.
const UNREADABLE: [&str; 2] = ["deep-json", "gzip-bomb"];

/// Attacks that keep a write from being carried out.
const UNDONE: [&str; 5] = ["ok-failure", "ok-nothing", "conflict-forever", "escape-errors", "echo-credentials"];

/// Attacks whose tokens must not be published.
const BAD_TOKENS: [&str; 7] =
    ["past-token", "timeless-token", "foreign-token", "unbound-token", "hostile-token", "wrong-who", "anonymous-yes"];

/// Attacks under which a DELETE leaves the object.
const UNDELETED: [&str; 2] = ["ok-lie-delete", "delete-without-end"];

/// The state of the fleet when the attacks begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Applied,
    /// Applied; then the inventory was changed, so that there is something to write.
    Changed,
}

/// One command under attack.
struct Case {
    /// The name of the inventory and its namespace.
    name: &'static str,
    before: Before,
    command: &'static [&'static str],
    /// Attacks under which the command cannot succeed.
    cannot_be_done: &'static [&'static [&'static str]],
    /// The commands that are run, twice, after the attacks.
    settle: &'static [&'static str],
    /// The output of the second time.
    settled: &'static str,
}

const APPLY: &[&str] = &["apply", "--yes"];
const NOTHING_TO_DO: &str = "nothing was left to do";

#[test]
fn a_plan_of_a_new_fleet_stands_every_attack() {
    attack(&Case {
        name: "h-plan",
        before: Before::Nothing,
        command: &["plan"],
        cannot_be_done: &[&UNUSABLE, &UNREADABLE],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

#[test]
fn a_plan_of_a_provisioned_fleet_stands_every_attack() {
    attack(&Case {
        name: "h-replan",
        before: Before::Changed,
        command: &["plan"],
        cannot_be_done: &[&UNUSABLE, &UNREADABLE],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

#[test]
fn an_apply_to_a_new_fleet_stands_every_attack() {
    attack(&Case {
        name: "h-apply",
        before: Before::Nothing,
        command: APPLY,
        cannot_be_done: &[&UNUSABLE, &UNREADABLE, &UNDONE, &BAD_TOKENS],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

#[test]
fn an_apply_of_a_change_stands_every_attack() {
    attack(&Case {
        name: "h-change",
        before: Before::Changed,
        command: APPLY,
        cannot_be_done: &[&UNUSABLE, &UNREADABLE, &UNDONE, &BAD_TOKENS],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

#[test]
fn a_refresh_stands_every_attack() {
    attack(&Case {
        name: "h-refresh",
        before: Before::Applied,
        command: &["refresh", "--force"],
        cannot_be_done: &[&UNUSABLE, &UNREADABLE, &UNDONE, &BAD_TOKENS],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

#[test]
fn a_revocation_stands_every_attack() {
    attack(&Case {
        name: "h-revoke",
        before: Before::Applied,
        command: &["revoke", "--yes"],
        cannot_be_done: &[&UNUSABLE, &UNREADABLE, &UNDONE, &UNDELETED],
        settle: &["revoke", "--yes"],
        settled: "nothing was left to revoke",
    });
}

#[test]
fn a_verification_stands_every_attack() {
    attack(&Case {
        name: "h-verify",
        before: Before::Applied,
        command: &["verify"],
        cannot_be_done: &[&UNUSABLE],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    });
}

/// Runs a command while every attack is active, each on its own cluster, and then without attacks.
fn attack(case: &Case) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let witness = Witness::start().unwrap();
    let modes: Vec<Hostility> = Hostility::all()
        .into_iter()
        .map(|mode| match mode {
            Hostility::Redirect(_) => Hostility::Redirect(witness.url()),
            other => other,
        })
        .collect();
    let names = HEALTHY.into_iter().chain(modes.iter().map(Hostility::name));
    let fleet = simulated(names);
    let machine = prepared(case, &fleet);
    let expected = without_attacks(case);
    for mode in &modes {
        let cluster = fleet.cluster(mode.name());
        cluster.set_fault(Some(Fault::Hostile(mode.clone())));
        cluster.reset_traffic();
    }

    let arguments = [case.command, &["-o", "json"]].concat();
    let run = watched(&machine, &arguments);
    let report = run.report();
    for name in HEALTHY {
        assert_eq!(outcome(&report, name), outcome(&expected, name), "{name} is as without the hostile ones");
    }
    for name in case.cannot_be_done.concat() {
        let cluster = cluster(&report, name);
        assert!(!claims_success(cluster), "{name} is called done: {cluster:#}");
    }
    assert!([4, 6].contains(&run.code), "some failed, and some did not: {}\n{}", run.code, run.stderr);
    // For people it is worded anew. The attacks go on, and so does what they are told.
    let text = watched(&machine, case.command);
    assert!(
        !text.stdout.lines().any(|line| line == "2 clusters: 2 changed"),
        "a report line is forged: {}",
        text.stdout
    );
    assert!(witness.seen().is_empty(), "a redirect was followed: {:?}", witness.seen());
    for request in fleet.cluster("traversal-index").recorded() {
        assert!(!request.path.contains("services") && !request.path.contains(".."), "{}", request.path);
    }
    for (path, content) in machine.files() {
        let content = String::from_utf8(content).unwrap_or_else(|_| panic!("{} is no text", path.display()));
        assert_printable(&path.display().to_string(), &content);
    }

    settle(case, &fleet, &machine);
    if case.settle == APPLY {
        for (position, cluster) in machine.clusters.iter().enumerate() {
            let token = machine.token(&format!("out/{}.kubeconfig", cluster.name));
            assert!(can_i(&machine.admin(position), &token, "list", "pods", "default"), "{}", cluster.name);
        }
    }
}

/// Sets up a machine for all clusters of a fleet, in the state that a case begins with.
fn prepared(case: &Case, fleet: &Fleet) -> Machine {
    let machine = Machine::of(fleet, case.name, PROFILE);
    let patient = machine.read("clusters.toml");
    let impatient = patient.replace("\"10s\"", "\"2s\"").replace("\"60s\"", "\"10s\"");
    // No cluster waits for another.
    let impatient = impatient.replacen("request-timeout", "concurrency = 128\nrequest-timeout", 1);
    if case.before != Before::Nothing {
        machine.expect(0, APPLY);
    }
    let impatient = match case.before {
        Before::Changed => impatient
            .replace("verbs = [\"get\", \"list\"]", "verbs = [\"get\", \"list\", \"watch\"]")
            .replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"2h\" }\n"),
        _ => impatient,
    };
    machine.write("clusters.toml", &impatient);
    machine
}

/// Ends all attacks: one run completes the rest, and the next finds nothing to do.
#[track_caller]
fn settle(case: &Case, fleet: &Fleet, machine: &Machine) {
    for cluster in fleet.clusters() {
        cluster.set_fault(None);
    }
    // Whole fleets at once are slow on a busy machine.
    let patient = machine.read("clusters.toml").replace("\"10s\"", "\"60s\"").replace("\"2s\"", "\"10s\"");
    let patient = patient.replace("\"8s\"", "\"10s\"").replace("\"20s\"", "\"60s\"");
    machine.write("clusters.toml", &patient);
    machine.expect(0, case.settle);
    let settled = machine.kubemint(case.settle).exits(0);
    assert!(settled.stdout.contains(case.settled), "{}", settled.stdout);
}

/// Returns the report of the same command on the healthy clusters alone.
fn without_attacks(case: &Case) -> Value {
    let fleet = simulated(HEALTHY);
    let machine = prepared(case, &fleet);
    machine.kubemint(&[case.command, &["-o", "json"]].concat()).exits(0).report()
}

fn position(report: &Value, name: &str) -> usize {
    let clusters = report["clusters"].as_array().unwrap();
    clusters.iter().position(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("{name} is not in the report"))
}

fn cluster<'a>(report: &'a Value, name: &str) -> &'a Value {
    &report["clusters"][position(report, name)]
}

/// Returns what a report says about a cluster, without times and random names.
fn outcome(report: &Value, name: &str) -> Value {
    let position = position(report, name);
    let cluster = &report["clusters"][position];
    let grants = cluster["grants"].as_array().map(|grants| {
        grants.iter().map(|grant| json!([grant["state"], grant["excess"], grant["findings"]])).collect::<Vec<_>>()
    });
    let changes = cluster["changes"].is_array().then(|| changes(report, position));
    json!({
        "state": cluster["state"], "error": cluster["error"], "blockers": cluster["blockers"],
        "notes": cluster["notes"], "changes": changes, "grants": grants,
    })
}

/// Returns whether a report says that a command succeeded, or could succeed, on a cluster.
fn claims_success(cluster: &Value) -> bool {
    let is_fine = |state: &Value| ["unchanged", "pending", "changed", "fine"].iter().any(|fine| state == fine);
    is_fine(&cluster["state"])
        || cluster["grants"].as_array().into_iter().flatten().any(|grant| is_fine(&grant["state"]))
}

/// Runs the program and checks the rules for every run: time, memory, no secret, nothing unprintable.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures of each run are shown where it fails, or with --nocapture")]
fn watched(machine: &Machine, arguments: &[&str]) -> Run {
    let mut secrets = secrets(machine);
    let (run, peak, took) = measured(machine, arguments);
    println!("{arguments:?}: exit code {}, {} MiB, {took:?}", run.code, peak / 1024);
    assert!(took < LONGEST_RUN, "{arguments:?} took {took:?}");
    assert!(peak > 0, "the memory was seen");
    assert!(peak < LARGEST_PEAK, "{arguments:?} used {} MiB", peak / 1024);
    assert!(![-1, 1, 7].contains(&run.code), "{arguments:?} ended with {}:\n{}", run.code, run.stderr);
    secrets.extend(self::secrets(machine));
    for (what, shown) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        assert_printable(what, shown);
        for secret in &secrets {
            // A part of it would be as bad as the whole.
            assert!(!shown.contains(&secret[secret.len() / 2..]), "{what} shows a secret:\n{shown}");
        }
        assert_eq!(tokens(shown), Vec::<String>::new(), "{what} shows a token");
    }
    run
}

/// Runs the program; returns its peak memory in kB, and how long it took.
fn measured(machine: &Machine, arguments: &[&str]) -> (Run, u64, Duration) {
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_kubemint")).unwrap();
    let start = Instant::now();
    let child = machine.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let process = Path::new("/proc").join(&id);
    let (output, peak) = std::thread::scope(|scope| {
        let waiting = scope.spawn(move || child.wait_with_output().unwrap());
        let (mut peak, mut is_killed) = (0, false);
        while !waiting.is_finished() {
            peak = peak.max(peak_memory(&process, &program).unwrap_or(0));
            // What takes that long never ends; the caller says how long it took.
            if start.elapsed() > LONGEST_RUN * 2 && !std::mem::replace(&mut is_killed, true) {
                assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
            }
            std::thread::sleep(SAMPLE);
        }
        (waiting.join().unwrap(), peak)
    });
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    (run, peak, start.elapsed())
}

/// Returns a process's peak memory in kB, once it runs the program; before that it shares this process's memory.
fn peak_memory(process: &Path, program: &Path) -> Option<u64> {
    if std::fs::read_link(process.join("exe")).ok()? != program {
        return None;
    }
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Returns the admin's tokens and every token that a file holds.
fn secrets(machine: &Machine) -> Vec<String> {
    let files = machine.files().into_values().flat_map(|content| tokens(&String::from_utf8_lossy(&content)));
    machine.clusters.iter().map(|cluster| cluster.admin_token.clone()).chain(files).collect()
}

/// Returns the texts that look like a JSON Web Token.
fn tokens(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("eyJ") && word.matches('.').count() == 2).map(str::to_owned).collect()
}

/// Checks that text does nothing to a terminal but fill lines, and cannot look like another text.
#[track_caller]
fn assert_printable(what: &str, text: &str) {
    let is_deceptive = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let bad = text.split('\n').find(|line| line.chars().any(|c| c.is_control() || is_deceptive(c)));
    assert!(bad.is_none(), "{what} holds {:?}", bad.unwrap_or_default());
}

/// The attacks that take the most memory, on 64 servers at once.
#[test]
fn sixty_four_greedy_servers_take_neither_the_memory_nor_the_others_with_them() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let greedy = [
        Hostility::HugeAnswer,
        Hostility::EndlessList,
        Hostility::EndlessListEmpty,
        Hostility::ManyObjects,
        Hostility::DeepJson,
        Hostility::GzipBomb,
        Hostility::HugeHeader,
        Hostility::SlowDrip,
    ];
    let hostile = (0..64).map(|number| format!("h-{number:02}"));
    let fleet = simulated(HEALTHY.map(str::to_owned).into_iter().chain(hostile));
    let case = Case {
        name: "h-greedy",
        before: Before::Nothing,
        command: APPLY,
        cannot_be_done: &[],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    };
    let machine = prepared(&case, &fleet);
    // Reading all this keeps the machine busy, and with it the healthy ones.
    let patient = machine.read("clusters.toml").replace("\"10s\"", "\"20s\"").replace("\"2s\"", "\"8s\"");
    machine.write("clusters.toml", &patient);
    for (cluster, mode) in fleet.clusters()[HEALTHY.len()..].iter().zip(greedy.iter().cycle()) {
        cluster.set_fault(Some(Fault::Hostile(mode.clone())));
    }
    let report = watched(&machine, &["apply", "--yes", "-o", "json"]).exits(6).report();
    for (position, name) in HEALTHY.into_iter().enumerate() {
        assert_eq!(cluster(&report, name)["state"], "changed");
        let token = machine.token(&format!("out/{name}.kubeconfig"));
        assert!(can_i(&machine.admin(position), &token, "list", "pods", "default"));
    }
    settle(&case, &fleet, &machine);
}

/// If two clusters give the same uid, nobody can tell which one lies: both are left alone, and no other.
#[test]
fn a_server_that_claims_to_be_another_is_blocked_with_it_and_nothing_is_written_to_either() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let fleet = simulated(["ok-1", "ok-2", "liar"]);
    let case = Case {
        name: "h-liar",
        before: Before::Nothing,
        command: APPLY,
        cannot_be_done: &[],
        settle: APPLY,
        settled: NOTHING_TO_DO,
    };
    let machine = prepared(&case, &fleet);
    let namespace = machine.admin(0).get("/api/v1/namespaces/kube-system").unwrap();
    let uid = namespace["metadata"]["uid"].as_str().unwrap().to_owned();
    fleet.cluster("liar").set_fault(Some(Fault::Hostile(Hostility::OtherClusterUid(uid))));
    for cluster in fleet.clusters() {
        cluster.reset_traffic();
    }
    let report = watched(&machine, &["apply", "--yes", "-o", "json"]).exits(6).report();
    assert_eq!(cluster(&report, "ok-2")["state"], "changed");
    for name in ["ok-1", "liar"] {
        assert_eq!(cluster(&report, name)["blockers"][0]["kind"], "same-cluster", "{report:#}");
        let wrote = |path: &str| !path.contains("dryRun=All") && !path.contains("/selfsubject");
        let writes = fleet.cluster(name).recorded().into_iter().filter(|r| !r.method.is_safe() && wrote(&r.path));
        assert_eq!(writes.count(), 0, "{name}");
    }
    settle(&case, &fleet, &machine);
}
