//! `kubemint merge` and `kubemint init` as users run them; kubectl reads the results.

use kubemint_testkit::control_plane;
use kubemint_testkit::{User, kubeconfig_yaml};
use serde_json::Value;

use crate::support::{Machine, simulated};

/// A kubeconfig as kubeadm writes it: all clusters have the same names.
fn kubeadm(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: kubernetes\n  cluster:\n    server: https://{server}\n\
         users:\n- name: admin\n  user:\n    token: s3cret-{server}\ncontexts:\n- name: admin@kubernetes\n  \
         context:\n    cluster: kubernetes\n    user: admin\ncurrent-context: admin@kubernetes\n"
    )
}

fn machine() -> Machine {
    let machine = Machine::new(&[], User::Admin);
    for server in ["eu", "us"] {
        machine.write(&format!("in/{server}.yaml"), &kubeadm(server));
    }
    machine
}

/// Returns what kubectl reads in a file: for each context, the server and the token that it leads to.
fn seen_by_kubectl(machine: &Machine, file: &str) -> Vec<(String, String, String)> {
    let output =
        control_plane::kubectl(&machine.path(file), ["config", "view", "--raw", "-o", "json"]).expect("kubectl runs");
    assert!(output.success(), "{}", output.stderr);
    let config: Value = serde_json::from_str(&output.stdout).unwrap();
    let find = |list: &str, name: &Value| {
        let entries = config[list].as_array().unwrap();
        entries.iter().find(|entry| &entry["name"] == name).unwrap().clone()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let contexts = config["contexts"].as_array().unwrap().iter().map(|context| {
        let cluster = find("clusters", &context["context"]["cluster"]);
        let user = find("users", &context["context"]["user"]);
        (text(&context["name"]), text(&cluster["cluster"]["server"]), text(&user["user"]["token"]))
    });
    contexts.collect()
}

#[test]
fn a_collision_writes_nothing_and_names_both_files() {
    let machine = machine();
    let run = machine.kubemint(&["merge", "in", "-o", "out.yaml"]).exits(5);
    insta::assert_snapshot!(run.stderr, @r"
    error: failed to merge kubeconfigs: one name means different things
      cluster `kubernetes`: in `in/eu.yaml` and in `in/us.yaml`

    hint: name them apart with `--on-collision prefix-file` or `--context '{file}'`; nothing was written
    ");
    assert!(!machine.path("out.yaml").exists());
}

#[test]
fn every_context_keeps_its_own_cluster_and_user() {
    let machine = machine();
    let own = |name: &str, server: &str| (name.to_owned(), format!("https://{server}"), format!("s3cret-{server}"));
    machine.expect(0, &["merge", "in/*.yaml", "-o", "prefixed.yaml", "--on-collision", "prefix-file"]);
    assert_eq!(
        seen_by_kubectl(&machine, "prefixed.yaml"),
        [own("admin@kubernetes", "eu"), own("us-admin@kubernetes", "us")]
    );
    machine.write("list", "in/us.yaml\n# not this one: in/gone.yaml\nin/eu.yaml\n");
    machine.expect(0, &["merge", "@list", "-o", "named.yaml", "--context", "{file}"]);
    assert_eq!(seen_by_kubectl(&machine, "named.yaml"), [own("eu", "eu"), own("us", "us")]);
    let kept = machine.kubemint(&["merge", "in", "-o", "first.yaml", "--on-collision", "keep-first"]).exits(6);
    assert_eq!(
        kept.stderr,
        "in/us.yaml: context `admin@kubernetes` is left out: cluster `kubernetes` is another one's already\n"
    );
    assert_eq!(seen_by_kubectl(&machine, "first.yaml"), [own("admin@kubernetes", "eu")]);
}

#[test]
fn the_same_merge_again_touches_nothing() {
    let machine = machine();
    let merge = ["merge", "in", "-o", "out.yaml", "--context", "{file}"];
    machine.expect(0, &merge);
    let before = machine.read("out.yaml");
    let again = machine.kubemint(&merge).exits(0);
    assert_eq!(again.stdout, "`out.yaml` has everything of 2 kubeconfigs already\n");
    assert_eq!(machine.read("out.yaml"), before);
}

#[test]
fn a_dry_run_shows_what_comes_changes_and_goes_and_writes_nothing() {
    let machine = machine();
    let before = format!("# mine\n{}", kubeadm("old").replace("contexts:\n", "contexts:\n- name: z\n  context: {}\n"));
    machine.write("out.yaml", &before);
    let run = machine.kubemint(&[
        "merge",
        "in/eu.yaml",
        "-o",
        "out.yaml",
        "--on-collision",
        "replace",
        "--prune",
        "--dry-run",
    ]);
    insta::assert_snapshot!(run.exits(0).stdout, @r"
    ~ cluster `kubernetes` changes, from `in/eu.yaml`: other `server`
    ~ user `admin` changes, from `in/eu.yaml`: other `token`
    - context `z` goes
    1 kubeconfig into `out.yaml`: 0 entries would come, 2 would change, 1 would go, 1 unchanged
    ");
    assert_eq!(machine.read("out.yaml"), before);
}

#[test]
fn broken_inputs_are_named_and_the_others_merged() {
    let machine = machine();
    machine.write("in/zz.yaml", "users:\n- name: u\n  user: {token: s3cret}\n- name: u\n  user: {token: s3cret}\n");
    let run = machine.kubemint(&["merge", "in", "-o", "out.yaml", "--context", "{file}"]).exits(6);
    assert_eq!(run.stderr, "in/zz.yaml: `users` has two entries `u`; it is left out\n");
    assert_eq!(seen_by_kubectl(&machine, "out.yaml").len(), 2);
}

#[test]
fn standard_input_and_output_are_files_too() {
    use std::io::Write;
    use std::process::Stdio;
    let machine = machine();
    let mut command = machine.command(&["merge", "-", "in/us.yaml", "-o", "-", "--on-collision", "prefix-file"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(kubeadm("eu").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    machine.write("out.yaml", &String::from_utf8(output.stdout).unwrap());
    assert_eq!(seen_by_kubectl(&machine, "out.yaml").len(), 2);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "2 kubeconfigs into standard output: 6 entries came, 0 changed, 0 went, 0 unchanged\n"
    );
}

#[test]
fn a_selection_of_nothing_is_a_mistake() {
    let machine = machine();
    let run = machine.kubemint(&["merge", "in/eu.yaml", "-o", "out.yaml", "--select", "prod-*"]).exits(2);
    assert!(run.stderr.starts_with("error: no context matches `--select`\n"), "{}", run.stderr);
    assert!(!machine.path("out.yaml").exists());
}

/// The output names what a replacement drops, in a dry run and in a real one, without values.
#[test]
fn a_replacement_shows_what_it_drops() {
    let machine = Machine::new(&[], User::Admin);
    let old = "clusters:\n- name: c\n  cluster: {server: 'https://a', proxy-url: 'http://me:hunter2@p'}\nusers:\n\
               - name: u\n  user: {token: same, username: joe}\ncontexts:\n- name: x\n  \
               context: {cluster: c, user: u, namespace: mine}\n";
    let new = old
        .replace(", proxy-url: 'http://me:hunter2@p'", "")
        .replace(", username: joe", "")
        .replace("https://a", "https://b");
    machine.write("old", old);
    machine.write("new", &new.replace(", namespace: mine", ""));
    let dry = ["merge", "new", "--output", "old", "--on-collision", "replace", "--dry-run"];
    let expected = "~ cluster `c` changes, from `new`: without `proxy-url`, other `server`\n\
                    ~ user `u` changes, from `new`: without `username`\n\
                    ~ context `x` changes, from `new`: without `namespace`\n";
    // Nothing is written to standard output either.
    let run = machine.kubemint(&["merge", "new", "--output", "-", "--dry-run"]).exits(0);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("would come"), "{}", run.stderr);
    for arguments in [&dry[..], &dry[..6]] {
        let run = machine.kubemint(arguments).exits(0);
        assert!(run.stdout.starts_with(expected), "{}", run.stdout);
        assert!(!run.stdout.contains("hunter2"), "{}", run.stdout);
    }
}

/// Of several contexts for one API server, the current one is taken, or else the one with the cleanest name. A context
/// that cannot be used does not stop `init`.
#[test]
fn init_takes_the_current_context_then_the_cleanest_name() {
    let machine = Machine::new(&[], User::Admin);
    let file = |contexts: &[&str], current: &str| {
        let contexts: String =
            contexts.iter().map(|name| format!("- {{name: \"{name}\", context: {{cluster: c, user: u}}}}\n")).collect();
        format!(
            "clusters:\n- name: c\n  cluster: {{server: 'https://a'}}\nusers:\n- name: u\n  user: {{token: t}}\n\
             contexts:\n{contexts}current-context: \"{current}\"\n"
        )
    };
    let names = ["arn:aws:eks:eu:1:cluster/prod", "bom\\uFEFF", "two\\nlines", "admin@prod-with-a-long-name", "prod"];
    for (current, taken) in
        [("", "prod"), ("admin@prod-with-a-long-name", "admin@prod-with-a-long-name"), ("gone", "prod")]
    {
        machine.write("config", &file(&names, current));
        let target = format!("{}.toml", taken.len() + current.len());
        let run = machine.kubemint(&["init", "--from", "config", "-f", &target]).exits(6);
        assert!(machine.read(&target).contains(&format!("name = \"{taken}\"")), "{current}: {}", machine.read(&target));
        assert_eq!(run.stderr.matches("reaches the same API server as context").count(), 2, "{}", run.stderr);
        assert_eq!(run.stderr.matches("has invisible characters in its name").count(), 2, "{}", run.stderr);
    }
}

#[test]
fn init_writes_what_validates_and_plans() {
    let fleet = simulated(["prod-eu", "dev-us"]);
    let clusters = fleet.test_clusters();
    let machine = Machine::new(&clusters, User::Admin);
    let lost = "contexts:\n- name: lost\n  context: {cluster: gone, user: u}\n";
    machine.write("more/a.yaml", &kubeconfig_yaml(&clusters[..1], User::Admin));
    machine.write("more/b.yaml", lost);
    let labels = "^(?P<env>prod|dev)-(?P<region>.+)$";
    let init = ["init", "--from", "admin.yaml", "more", "--label-from-name", labels, "-f", "new.toml"];
    let run = machine.kubemint(&init).exits(6);
    let directory = machine.path("").display().to_string();
    let said = run.stderr.replace(&directory, "/");
    assert!(
        said.contains(
            "context `prod-eu` in `/more/a.yaml` reaches the same API server as context `prod-eu`; it is left out"
        ),
        "{said}"
    );
    assert!(said.contains("`/more/b.yaml` has no cluster `gone`; it is left out"), "{said}");
    assert_eq!(run.stdout, "`new.toml` has 2 clusters; next: `kubemint plan`\n");
    assert!(machine.read("new.toml").contains("env = \"prod\"\nregion = \"eu\"\n"), "{}", machine.read("new.toml"));
    let valid = machine.kubemint(&["validate", "-f", "new.toml"]).exits(0);
    assert_eq!(valid.stdout, "`new.toml` is valid: 2 clusters, 1 profile, 2 grants\n");
    machine.expect(4, &["plan", "--check", "-f", "new.toml"]);
    let again = machine.kubemint(&init).exits(2);
    assert!(again.stderr.starts_with("error: `new.toml` exists, and is not overwritten\n"), "{}", again.stderr);
}
