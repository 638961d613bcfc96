//! The requests that each command sends to a cluster, in their order. They show if a change to the program unexpectedly
//! changes what it does to clusters.

use kubemint_testkit::User;
use kubemint_testkit::sim::Fleet;

use crate::support::{Machine, simulated};

const INVENTORY: &str = r#"
[profiles.reader]
token = { ttl = "1h", overlap = "0s" }
cluster-rules = [{ api-groups = [""], resources = ["pods"], verbs = ["get"] }]
[profiles.writer]
cluster-roles = ["view"]
[[profiles.writer.namespaces]]
names = ["default"]
roles = []
rules = [{ api-groups = [""], resources = ["configmaps"], verbs = ["create"] }]
[[grants]]
profiles = ["reader", "writer"]
selector = "env=test"
[[outputs]]
path = "out/{cluster}-{profile}.kubeconfig"
[[outputs]]
path = "exec.kubeconfig"
credential = "exec"
profiles = ["reader"]
"#;

/// Returns the requests since the last call. Consecutive reads are sorted, because they are sent at the same time.
fn sent(fleet: &Fleet) -> String {
    let cluster = fleet.cluster("sim");
    let mut lines: Vec<String> = vec![];
    let mut reads: Vec<String> = vec![];
    for request in cluster.recorded() {
        let path = hashes_left_out(&request.path);
        let line = format!("{} {path}\n", request.method);
        if request.method == "GET" {
            reads.push(line);
        } else {
            reads.sort();
            lines.append(&mut reads);
            lines.push(line);
        }
    }
    reads.sort();
    lines.append(&mut reads);
    cluster.reset_traffic();
    lines.concat()
}

/// Removes the parts of names that differ in each run: hashes of uids.
fn hashes_left_out(path: &str) -> String {
    let is_hash = |part: &str| part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let segments = path.split('/').map(|segment| match segment.rsplit_once('-') {
        Some((rest, hash)) if is_hash(hash) => format!("{rest}-HASH"),
        _ => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn each_command_sends_the_same_requests_as_before() {
    let fleet = simulated(["sim"]);
    let machine = Machine::new(&[&fleet.cluster("sim")], User::Admin);
    machine.inventory("requests", INVENTORY);
    let mut all = String::new();
    for (arguments, code) in [
        (&["plan"][..], 0),
        (&["apply", "--yes"], 0),
        (&["apply", "--yes"], 0),
        (&["status"], 0),
        (&["refresh"], 0),
        (&["refresh", "--force"], 0),
        (&["verify"], 0),
        (&["revoke", "--superseded", "--yes"], 0),
        (&["revoke", "--yes"], 0),
        (&["revoke", "--access", "--yes"], 0),
    ] {
        machine.expect(code, arguments);
        all.push_str(&format!("== {}\n{}", arguments.join(" "), sent(&fleet)));
    }
    insta::assert_snapshot!(all);
}

/// An apply and a renewal go over the connection that their cluster was planned over; what they mint is proven over one of
/// its own.
#[test]
fn an_apply_and_a_renewal_need_two_connections() {
    let fleet = simulated(["sim"]);
    let machine = Machine::new(&[&fleet.cluster("sim")], User::Admin);
    machine
        .inventory("connections", &INVENTORY.replace("profiles = [\"reader\", \"writer\"]", "profiles = [\"writer\"]"));
    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &text[..text.rfind("[[outputs]]").unwrap()]);
    for arguments in [["apply", "--yes"], ["refresh", "--force"]] {
        fleet.cluster("sim").reset_traffic();
        machine.expect(0, &arguments);
        assert_eq!(fleet.connections(), 2, "{arguments:?}");
    }
}
