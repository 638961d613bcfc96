//! The forms of admin access, each tested up to an API server.

use kubemint_testkit::sim::Fleet;
use kubemint_testkit::{TestCluster, User};

use crate::support::{Machine, simulated};

const READER: &str = "[profiles.reader]\ncluster-roles = [\"view\"]\n[[grants]]\nprofile = \"reader\"\n\
     selector = \"\"\n[[outputs]]\npath = \"out/{cluster}.kubeconfig\"\n";

fn machine(fleet: &Fleet) -> (Machine, TestCluster) {
    let cluster: TestCluster = (*fleet.cluster("a")).clone();
    (Machine::new(&[&cluster], User::Admin), cluster)
}

fn inventory(machine: &Machine, cluster: &str) {
    let head = "version = 1\nname = \"access\"\ndefaults = { create-namespaces = true }\n[[clusters]]\nname = \"a\"\n";
    machine.write("clusters.toml", &format!("{head}{cluster}\n{READER}"));
}

#[test]
fn a_server_that_is_not_checked_needs_to_be_allowed_and_is_marked() {
    let fleet = simulated(["a"]);
    let (machine, cluster) = machine(&fleet);
    let admin = machine.read("admin.yaml");
    let line = admin.lines().find(|line| line.contains("certificate-authority-data")).unwrap();
    let insecure = line.replace(line.trim_start(), "insecure-skip-tls-verify: true");
    machine.write("admin.yaml", &admin.replace(line, &insecure));
    machine.write("ca.pem", &cluster.ca_pem);
    let admin = "admin = { kubeconfig = \"admin.yaml\" }\nconsumer = { certificate-authority = \"ca.pem\" }";
    inventory(&machine, admin);
    let run = machine.kubemint(&["plan"]).exits(7);
    assert!(
        run.stderr.contains("`insecure-skip-tls-verify` is set: the server's certificate must be checked"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("set `allow-insecure = true` on that cluster"), "{}", run.stderr);
    assert_eq!(fleet.requests(), 0);
    inventory(&machine, &format!("allow-insecure = true\n{admin}"));
    let run = machine.kubemint(&["apply", "--yes"]).exits(0);
    let note = "note: the admin access does not check the server's certificate (`allow-insecure`)";
    assert!(run.stdout.contains(note), "{}", run.stdout);
    // What is issued is checked all the same, with the CA that the inventory names.
    assert!(machine.read("out/a.kubeconfig").contains("certificate-authority-data"));
}

#[test]
fn an_inline_access_needs_no_kubeconfig() {
    let fleet = simulated(["a"]);
    let (machine, cluster) = machine(&fleet);
    machine.write("ca.pem", &cluster.ca_pem);
    machine.write("token", &format!("{}\n", cluster.admin_token));
    let admin = format!(
        "admin = {{ server = \"{}\", certificate-authority = \"ca.pem\", token-file = \"token\" }}",
        cluster.server
    );
    inventory(&machine, &admin);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["plan", "--check"]);
}

#[test]
fn one_plugin_serves_all_clusters_and_runs_once() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    // All simulated clusters would need tokens of their own; the plugin tells that of the first.
    let token = &fleet.test_clusters()[0].admin_token;
    let reply = format!(
        "{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}"
    );
    machine.write("reply.json", &reply);
    let mut text = String::from("apiVersion: v1\nkind: Config\nclusters:\n");
    for cluster in fleet.test_clusters() {
        use base64::Engine;
        let ca = base64::engine::general_purpose::STANDARD.encode(&cluster.ca_pem);
        let (name, server) = (&cluster.name, &cluster.server);
        text.push_str(&format!(
            "- name: {name}\n  cluster: {{server: '{server}', certificate-authority-data: {ca}}}\n"
        ));
    }
    let directory = machine.path("").display().to_string();
    text.push_str(&format!(
        "users:\n- name: u\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: /bin/sh\n      \
         interactiveMode: IfAvailable\n      args: ['-c', 'echo run >> {directory}/runs; /bin/cat {directory}/reply.json']\ncontexts:\n"
    ));
    for cluster in fleet.test_clusters() {
        let name = &cluster.name;
        text.push_str(&format!("- name: {name}\n  context: {{cluster: {name}, user: u}}\n"));
    }
    machine.write("admin.yaml", &text);
    machine.inventory("plugin", READER);
    let run = machine.kubemint(&["plan"]);
    assert_eq!(machine.read("runs").lines().count(), 1, "{}{}", run.stdout, run.stderr);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains(token.as_str()));
    assert!(run.stdout.contains("create ServiceAccount"), "{}{}", run.stdout, run.stderr);
}
