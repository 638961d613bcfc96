//! Runs the commands that the README shows.

use std::path::PathBuf;

use kubemint_testkit::User;

use crate::support::{Machine, simulated};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Returns the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn its_two_commands_are_the_ones_that_work() {
    let text = readme();
    assert!(text.contains("\ncargo run --example demo\n"));
    assert!(text.contains("\ncargo test\n"));
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.contains("\ncargo run --locked --example demo "), "CI runs the demo as a newcomer does");
}

#[test]
fn its_links_lead_somewhere() {
    let text = readme();
    for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let file = link.split('#').next().unwrap();
        if !file.is_empty() && !file.starts_with("http") {
            assert!(root().join(file).exists(), "{link}");
        }
    }
}

/// kubemint prints the plan at the top of the README for that profile of the demo.
#[test]
fn its_output_is_real() {
    let fleet = simulated(["prod-eu", "prod-us"]);
    let machine = Machine::new(&[&fleet.cluster("prod-eu"), &fleet.cluster("prod-us")], User::Admin);
    let demo = include_str!("../support/examples/demo/clusters.toml");
    let clusters = "[[clusters]]\nname = \"prod-eu\"\nlabels.env = \"prod\"\n[[clusters]]\nname = \"prod-us\"\nlabels.env = \"prod\"\n";
    // One profile and one output of the demo, to keep it short.
    let demo = demo.replace("[[outputs]]                             # one combined file per profile\npath = \"out/{profile}.kubeconfig\"\ncontext = \"{cluster}\"\n", "");
    machine.write("clusters.toml", &format!("{demo}{clusters}"));
    let run = machine.kubemint(&["plan", "--profile", "auditor"]).exits(0);
    assert!(readme().contains(run.stdout.trim_end()), "the README shows something else than:\n{}", run.stdout);
    machine.expect(0, &["apply", "--yes", "--profile", "auditor"]);
    let again = machine.kubemint(&["apply", "--yes", "--profile", "auditor"]).exits(0);
    assert!(readme().contains(&format!("$ kubemint apply\n{}", again.stdout)), "{}", again.stdout);
}

/// The tour's inventory and commands work unchanged, on a test cluster.
#[test]
fn its_tour_works() {
    let fleet = simulated(["my-cluster"]);
    let machine = Machine::new(&[&fleet.cluster("my-cluster")], User::Admin);
    let text = readme();
    let inventories = blocks(&text, "toml");
    assert_eq!(inventories.len(), 1, "the README shows one inventory");
    machine.write("clusters.toml", &inventories[0]);
    std::fs::create_dir_all(machine.path(".kube")).unwrap();
    std::fs::rename(machine.path("admin.yaml"), machine.path(".kube/config")).unwrap();
    let tour = blocks(&text, "sh").into_iter().find(|block| block.contains("kubemint validate")).unwrap();
    let mut commands = 0;
    for line in tour.lines().filter(|line| line.starts_with("kubemint ")) {
        let arguments: Vec<&str> = line.split('#').next().unwrap().split_whitespace().skip(1).collect();
        let arguments: Vec<&str> = if arguments == ["apply"] { vec!["apply", "--yes"] } else { arguments };
        machine.expect(0, &arguments);
        commands += 1;
    }
    assert!(commands >= 3, "{tour}");
    machine.expect(0, &["plan", "--check"]);
    let issued = tour.split_whitespace().find(|word| word.ends_with(".kubeconfig")).unwrap();
    assert!(machine.path(issued).exists(), "{issued}");
}

/// kubemint understands every command line in the operations pages and examples.
#[test]
fn the_command_lines_of_the_operations_pages_parse() {
    let check = root().join("tests/operations/check");
    let output = std::process::Command::new(&check).arg("--commands").output().unwrap();
    assert!(output.status.success(), "python3 is needed: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().count() > 20, "{lines}");
    for line in lines.lines() {
        // A command that is only named.
        if let [_, name] = line.split('\t').collect::<Vec<_>>()[..]
            && kubemint::command().find_subcommand(name).is_some()
        {
            continue;
        }
        if let Err(error) = kubemint::command().try_get_matches_from(line.split('\t')) {
            panic!("`{}`: {error}", line.replace('\t', " "));
        }
    }
}
