//! Several machines at once, and kills at any instant, on the simulated fleet: no working credential ends early,
//! nothing is left behind, and the next run converges.

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kubemint_testkit::Admin;
use kubemint_testkit::sim::{Fault, Fleet, SimCluster};
use serde_json::{Value, json};

use crate::life::{anchors, eventually, generations, index, profile};
use crate::support::{Machine, can_i, simulated};

/// One cluster, one profile, two outputs, no overlap, and short deadlines.
fn fleet(name: &str) -> (Fleet, SimCluster, Machine) {
    let fleet = simulated(["a"]);
    let cluster = fleet.cluster("a");
    let machine = Machine::of(&fleet, name, &format!("{}[[outputs]]\npath = \"all.kubeconfig\"\n", profile("0s")));
    machine.impatient();
    machine.expect(0, &["apply", "--yes"]);
    (fleet, cluster, machine)
}

const FILES: [&str; 2] = ["out/a.kubeconfig", "all.kubeconfig"];

/// Checks that the credential in every file works.
#[track_caller]
fn every_file_works(machine: &Machine, admin: &Admin, when: &str) {
    for file in FILES {
        let token = machine.token(file);
        assert!(can_i(admin, &token, "list", "pods", "default"), "{file} holds a dead token {when}");
    }
}

/// Each anchor has a line in the index, and each line an anchor.
#[track_caller]
fn nothing_is_left_behind(admin: &Admin, inventory: &str) {
    let mut named: Vec<String> = index(admin, inventory)["holders"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|chain| chain["generations"].as_array().unwrap().clone())
        .map(|generation| generation["anchor"].as_str().unwrap().to_owned())
        .collect();
    let mut existing = anchors(admin, inventory);
    named.sort();
    existing.sort();
    assert_eq!(existing, named);
}

fn start(machine: &Machine, arguments: &[&str]) -> Child {
    machine.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().unwrap();
    (output.status, format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Moves the cluster's clock, so that the credential is due, or a claim is an orphan.
struct Passing<'a> {
    cluster: &'a SimCluster,
    minutes: i64,
}

impl Passing<'_> {
    fn pass(&mut self, minutes: i64) {
        self.minutes += minutes;
        self.cluster.set_clock_skew(SignedDuration::from_mins(self.minutes));
    }
}

/// Two machines renew the same inventory and holder at once, again and again: one claims, the other leaves the renewal
/// to it, and each round makes one generation.
#[test]
fn two_refreshers_race_for_two_hundred_rounds() {
    const ROUNDS: u64 = 200;
    let (_fleet, cluster, machine) = fleet("race");
    let admin = machine.admin(0);
    let mut time = Passing { cluster: &cluster, minutes: 0 };
    let (mut left, mut current) = (0, 0);
    for round in 0..ROUNDS {
        time.pass(45);
        cluster.reset_traffic();
        let both = [start(&machine, &["refresh"]), start(&machine, &["refresh"])];
        for child in both {
            let (status, said) = end(child);
            assert_eq!(status.code(), Some(0), "round {round}: {said}");
            left += usize::from(said.contains("another run"));
            current += usize::from(said.starts_with("1 current, 0 renewed"));
        }
        every_file_works(&machine, &admin, &format!("after round {round}"));
        // Not the tokens: the other machine may find the older generation still there, retires it, and asks for the API
        // server's time with a token that it throws away.
        let is_anchor = |path: &str| path.ends_with("/secrets?fieldManager=kubemint");
        let anchors = cluster.recorded().iter().filter(|request| is_anchor(&request.path)).count();
        assert_eq!(anchors, 1, "round {round}");
        assert!(generations(&admin, "race").len() <= 2, "round {round}");
        nothing_is_left_behind(&admin, "race");
    }
    println!("{ROUNDS} rounds: {left} times left to the other machine, {current} times found current");
    assert_eq!(machine.facts(FILES[0])["generation"], ROUNDS + 1, "no number is lost");
}

/// As above, but one of the two is killed at some instant of each round.
#[test]
fn two_refreshers_race_and_one_is_killed() {
    const ROUNDS: u64 = 120;
    let (_fleet, cluster, machine) = fleet("killrace");
    let admin = machine.admin(0);
    let mut time = Passing { cluster: &cluster, minutes: 0 };
    let begun = Instant::now();
    machine.expect(0, &["refresh", "--force"]);
    let whole = begun.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        time.pass(45);
        let mut victim = start(&machine, &["refresh"]);
        let other = start(&machine, &["refresh"]);
        // The instant differs from round to round, over twice the length of a run.
        std::thread::sleep(whole * 2 * u32::try_from(round * 37 % 100).unwrap() / 100);
        victim.kill().unwrap();
        killed += usize::from(victim.wait().unwrap().code().is_none());
        let (status, said) = end(other);
        assert!(matches!(status.code(), Some(0 | 6 | 7)), "round {round}: {said}");
        for file in FILES {
            let parsed: Result<Value, _> = serde_saphyr::from_str(&machine.read(file));
            assert_eq!(parsed.unwrap()["kind"], "Config", "{file} is whole");
        }
        // What was killed half-way may have left a token that expires with nobody to renew it: the next
        // run is there for that.
        machine.expect(0, &["refresh"]);
        every_file_works(&machine, &admin, &format!("after round {round}"));
        assert_eq!(machine.token(FILES[0]), machine.token(FILES[1]), "round {round}");
    }
    // Claims of the dead are orphans after a while.
    time.pass(10);
    machine.expect(0, &["refresh"]);
    machine.expect(0, &["refresh"]);
    every_file_works(&machine, &admin, "at the end");
    nothing_is_left_behind(&admin, "killrace");
    assert!(generations(&admin, "killrace").len() <= 2);
    println!("{ROUNDS} rounds: {killed} runs were killed before they ended");
    assert!(killed > 10, "{killed}");
}

/// A run is killed during each of its requests in turn: the credential in the files works at once, and the next run
/// completes the work.
#[test]
fn killed_at_every_arrow_a_rotation_converges() {
    let (_fleet, cluster, machine) = fleet("arrow");
    let admin = machine.admin(0);
    let mut time = Passing { cluster: &cluster, minutes: 0 };
    cluster.reset_traffic();
    machine.expect(0, &["refresh", "--force"]);
    let requests: Vec<String> =
        cluster.recorded().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert!(requests.len() > 14, "{requests:#?}");
    for arrow in 0..requests.len() as u64 {
        let before = FILES.map(|file| machine.token(file));
        cluster.reset_traffic();
        cluster.set_fault(Some(Fault::HangAfter(arrow)));
        let mut child =
            machine.command(&["refresh", "--force"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the request arrives that is not answered", || cluster.requests() > arrow);
        child.kill().unwrap();
        child.wait().unwrap();
        cluster.set_fault(None);
        let place = &requests[usize::try_from(arrow).unwrap()];
        every_file_works(&machine, &admin, &format!("killed at {place}"));
        for token in &before {
            assert!(can_i(&admin, token, "list", "pods", "default"), "killed at {place}, an older token died");
        }
        machine.expect(0, &["refresh"]);
        every_file_works(&machine, &admin, &format!("after the run after the kill at {place}"));
        assert_eq!(machine.token(FILES[0]), machine.token(FILES[1]), "killed at {place}");
        // Ten minutes later, the dead run's claim is an orphan, and is gone.
        time.pass(10);
        eventually(&format!("all is well after the kill at {place}"), || {
            machine.expect(0, &["refresh"]);
            generations(&admin, "arrow").len() == 1
        });
        nothing_is_left_behind(&admin, "arrow");
    }
    println!("killed at each of {} requests", requests.len());
}

/// Two holders renew at once, in many rounds: neither changes the other's credential.
#[test]
fn two_holders_never_touch_each_other() {
    let fleet = simulated(["a"]);
    let cluster = fleet.cluster("a");
    let machine = Machine::of(&fleet, "apart", &profile("0s").replace("out/{cluster}", "out/{holder}"));
    let holders = ["laptop", "ci"];
    for holder in holders {
        machine.expect(0, &["apply", "--yes", "--holder", holder]);
    }
    let admin = machine.admin(0);
    let mut time = Passing { cluster: &cluster, minutes: 0 };
    for round in 0..60 {
        time.pass(45);
        let both = holders.map(|holder| start(&machine, &["refresh", "--holder", holder]));
        for child in both {
            let (status, said) = end(child);
            assert_eq!(status.code(), Some(0), "round {round}: {said}");
            assert!(said.starts_with("0 current, 1 renewed"), "round {round}: {said}");
        }
        for holder in holders {
            let token = machine.token(&format!("out/{holder}.kubeconfig"));
            assert!(can_i(&admin, &token, "list", "pods", "default"), "round {round}: {holder}");
        }
    }
    nothing_is_left_behind(&admin, "apart");
    for holder in holders {
        assert_eq!(machine.facts(&format!("out/{holder}.kubeconfig"))["generation"], 61);
    }
}

/// A revocation during a renewal: the claim runs into the fence, and its token does not work, whatever the order was.
#[test]
fn a_revocation_overtakes_a_renewal_on_its_way() {
    let (_fleet, cluster, machine) = fleet("fence");
    let admin = machine.admin(0);
    let before = machine.token(FILES[0]);
    cluster.reset_traffic();
    machine.expect(0, &["refresh", "--force"]);
    let requests = cluster.recorded();
    let mut overtaken = 0;
    // A revocation needs some requests itself before it writes its fence.
    for arrow in 0..requests.len() {
        cluster.set_latency(Duration::from_millis(20));
        cluster.reset_traffic();
        let mut child = start(&machine, &["refresh", "--force"]);
        eventually("the renewal is on its way", || {
            cluster.requests() > arrow as u64 || child.try_wait().unwrap().is_some()
        });
        machine.expect(0, &["revoke", "--yes"]);
        let (status, said) = end(child);
        overtaken += usize::from(said.contains("a revocation suspended issuing"));
        cluster.set_latency(Duration::ZERO);
        for file in FILES {
            assert!(!can_use(&admin, &machine.token(file)), "revoked after request {arrow} ({status:?}): {said}");
        }
        assert!(!can_use(&admin, &before));
        assert!(anchors(&admin, "fence").is_empty(), "revoked after request {arrow} ({status:?}): {said}");
        machine.expect(0, &["apply", "--yes"]);
        every_file_works(&machine, &admin, "after the suspension was lifted");
    }
    assert!(overtaken > 0, "no renewal ever ran into the fence");
}

fn can_use(admin: &Admin, token: &str) -> bool {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    admin.as_token(token).create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).is_ok()
}

/// As above, with a Secret as the only output: who read it before the other wrote it does not take its credential for lost.
#[test]
fn two_refreshers_of_a_secret_mint_once() {
    const ROUNDS: u64 = 150;
    let fleet = simulated(["hub", "a"]);
    let cluster = fleet.cluster("a");
    let output = "[[outputs]]\nkind = 'secret'\nadmin = { cluster = 'hub' }\nnamespace = 'ns'\ncreate-namespaces = true\n\
                  name = 'a'\nclusters = ['a']\ndata = { token = '{token}' }\n";
    let machine = Machine::new(&fleet.test_clusters(), kubemint_testkit::User::Admin);
    let profile = profile("10m");
    let (grants, _) = profile.split_once("[[outputs]]").unwrap();
    machine.inventory("secretrace", &format!("{grants}{output}"));
    machine.impatient();
    machine.expect(0, &["apply", "--yes", "--cluster", "a"]);
    let hub = machine.admin(0);
    let mut time = Passing { cluster: &cluster, minutes: 0 };
    for round in 0..ROUNDS {
        time.pass(45);
        let refresh = ["refresh", "--cluster", "a"];
        for child in [start(&machine, &refresh), start(&machine, &refresh)] {
            let (status, said) = end(child);
            assert_eq!(status.code(), Some(0), "round {round}: {said}");
        }
        let secret = hub.get(&crate::delivering::path("ns", "a")).unwrap();
        assert_eq!(crate::delivering::facts(&secret)["generation"], round + 2, "round {round}");
    }
}
