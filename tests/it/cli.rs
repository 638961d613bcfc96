//! The command line as users see it: exit codes, texts, files.

use kubemint_testkit::User;

use crate::support::{Machine, simulated};

fn offline() -> Machine {
    Machine::new(&[], User::Admin)
}

pub(crate) const READER: &str = "[profiles.reader]\ncluster-roles = [\"view\"]\n[[grants]]\nprofile = \"reader\"\n\
     selector = \"env=test\"\n[[outputs]]\npath = \"out/{cluster}.kubeconfig\"\n";

#[test]
fn all_problems_are_shown_at_once_with_their_places() {
    let machine = offline();
    machine.write(
        "clusters.toml",
        "version = 1\nname = \"acme\"\n[profiles.deployer]\ncluster-roles = [\"view\"]\ntokn = {}\n[[clusters]]\n\
         name = \"prod-eu\"\nadmin.kubeconfig = \"nowhere.yaml\"\n[[grants]]\nprofile = \"deplyer\"\nclusters = [\"prod-eu\"]\n",
    );
    let run = machine.kubemint(&["validate"]).exits(3);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("clusters.toml:5:1"), "{}", run.stderr);
    assert!(run.stderr.contains("clusters.toml:10:11"), "{}", run.stderr);
    assert!(run.stderr.contains("did you mean `deployer`?"), "{}", run.stderr);
    assert!(run.stderr.ends_with("error: invalid inventory `clusters.toml`: 2 problems\n"), "{}", run.stderr);
}

#[test]
fn validate_opens_no_kubeconfig() {
    let machine = offline();
    machine.write(
        "clusters.toml",
        &format!(
            "version = 1\nname = \"acme\"\n[[clusters]]\nname = \"a\"\nlabels.env = \"test\"\n\
             admin.kubeconfig = \"nowhere.yaml\"\n{READER}"
        ),
    );
    let run = machine.kubemint(&["validate"]).exits(0);
    assert_eq!(run.stdout, "`clusters.toml` is valid: 1 cluster, 1 profile, 1 grant\n");
    // Only what contacts clusters looks for it.
    let run = machine.kubemint(&["plan"]).exits(7);
    assert!(run.stderr.contains("nowhere.yaml`: it does not exist"), "{}", run.stderr);
}

#[test]
fn a_missing_inventory_is_said() {
    let run = offline().kubemint(&["plan"]).exits(3);
    insta::assert_snapshot!(run.stderr, @r"
    error: cannot read `clusters.toml`
      caused by: No such file or directory (os error 2)

    hint: run this where the inventory is, or name it with `--inventory FILE` or `KUBEMINT_INVENTORY`
    ");
}

#[test]
fn apply_without_a_terminal_needs_yes() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("ask", READER);
    let run = machine.kubemint(&["apply"]).exits(2);
    assert!(run.stderr.contains("hint: look at `kubemint plan`, then pass `--yes`"), "{}", run.stderr);
    assert_eq!(fleet.requests(), 0, "nothing was contacted");
}

#[test]
fn a_plan_groups_clusters_with_identical_changes() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("group", READER);
    let run = machine.kubemint(&["plan"]).exits(0);
    insta::with_settings!({filters => vec![(r"reader:[0-9a-f]{10}", "reader:HASH")]}, {
        insta::assert_snapshot!(run.stdout, @r"
        3 clusters: a, b, c
          + create Namespace `group`
          + create ServiceAccount `group/reader`
          + create ClusterRoleBinding `kubemint:group:reader:HASH`
              + ClusterRole `view` for ServiceAccount group/reader
          * mint token for `reader` (generation 1, first, 1 file)
          note: what goes into namespace `group` is checked by the API server only once it exists

        creates: profile `reader` may do what is in ClusterRole `view`: 3 clusters

        3 clusters: 3 to change
        ");
    });
}

#[test]
fn an_unknown_cluster_is_named_with_the_nearest() {
    let fleet = simulated(["prod-eu"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("unknown", READER);
    let run = machine.kubemint(&["plan", "--cluster", "prod-e"]).exits(2);
    insta::assert_snapshot!(run.stderr, @r"
    error: the inventory has no cluster `prod-e`

    hint: did you mean cluster `prod-eu`?
    ");
}

#[test]
fn an_output_entry_of_somebody_else_stops_what_would_overwrite_it() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let rest = READER.replace("out/{cluster}.kubeconfig", "shared.yaml");
    machine.inventory("collide", &rest);
    let foreign = "users:\n- name: reader@b # by hand\n  user: {token: theirs}\n";
    machine.write("shared.yaml", foreign);
    let run = machine.kubemint(&["apply", "--yes"]).exits(6);
    assert!(run.stderr.contains("shared.yaml`: user `reader@b` exists and is not kubemint's"), "{}", run.stderr);
    assert!(run.stderr.contains("rename the entry in the file"), "{}", run.stderr);
    assert!(!run.stderr.contains("theirs"));
    let after = machine.read("shared.yaml");
    assert!(after.contains(foreign.trim_start_matches("users:\n")) && after.contains("name: reader@a"));
    let again = machine.kubemint(&["apply", "--yes"]).exits(6);
    assert!(again.stdout.contains("1 up to date, 1 blocked"), "{}", again.stdout);
}

#[test]
fn other_entries_of_a_merged_file_stay_byte_for_byte() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("merge", &READER.replace("out/{cluster}.kubeconfig", "shared.yaml"));
    let foreign =
        "# mine\nusers:\n- name: me   # keep\n  user: {token: 'x'}\ncurrent-context:   other # this\nextra: [1,  2]\n";
    machine.write("shared.yaml", foreign);
    machine.expect(0, &["apply", "--yes"]);
    let after = machine.read("shared.yaml");
    assert!(
        after.starts_with("# mine\nusers:\n- name: me   # keep\n  user: {token: 'x'}\n- name: reader@a\n"),
        "{after}"
    );
    assert!(after.contains("\ncurrent-context:   other # this\nextra: [1,  2]\n"), "{after}");
}

#[test]
fn a_held_lock_is_named_with_its_age_and_can_be_broken() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("lock", READER);
    machine.write("out/a.kubeconfig.lock", "");
    let run = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(run.stderr.contains("out/a.kubeconfig` has been locked for"), "{}", run.stderr);
    assert!(run.stderr.contains("a.kubeconfig.lock` or pass `--break-lock`"), "{}", run.stderr);
    assert!(!machine.path("out/a.kubeconfig").exists());
    let account = machine.admin(0).get("/api/v1/namespaces/lock/serviceaccounts/reader").unwrap_err();
    assert_eq!(account.code, 404, "nothing is minted for a file that cannot be written");
    machine.expect(0, &["apply", "--yes", "--break-lock"]);
    assert!(!machine.path("out/a.kubeconfig.lock").exists());
    assert!(machine.path("out/a.kubeconfig").exists());
}

#[test]
fn the_generated_documents_are_printed() {
    let machine = offline();
    let schema = machine.kubemint(&["schema"]).exits(0);
    assert!(schema.stdout.contains("https://json-schema.org/draft/2020-12/schema"));
    for shell in ["bash", "zsh", "fish"] {
        let run = machine.kubemint(&["completions", shell]).exits(0);
        assert!(run.stdout.contains("kubemint"), "{shell}");
    }
    machine.expect(0, &["man", "man"]);
    assert!(machine.read("man/kubemint-apply.1").contains("Make the clusters match"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("pipe", READER);
    let mut child = machine
        .command(&["plan"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_paths_to_one_file_are_refused() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let rest = READER.replace("out/{cluster}.kubeconfig", "real.yaml");
    machine.inventory("links", &format!("{rest}[[outputs]]\npath = \"link.yaml\"\nnamespace = \"x\"\n"));
    std::os::unix::fs::symlink("real.yaml", machine.path("link.yaml")).unwrap();
    let run = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(run.stderr.contains("it is the same file as"), "{}", run.stderr);
}

#[test]
fn a_pipe_as_output_is_refused_and_not_read() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("pipes", &READER.replace("out/{cluster}.kubeconfig", "pipe.yaml"));
    assert!(std::process::Command::new("mkfifo").arg(machine.path("pipe.yaml")).status().unwrap().success());
    let run = machine.kubemint(&["plan"]).exits(5);
    assert!(run.stderr.contains("it is not a regular file"), "{}", run.stderr);
}

#[test]
fn included_files_are_read_and_their_problems_have_their_names() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let head = "version = 1\nname = \"parts\"\ninclude = [\"clusters.d/*.toml\"]\n[defaults]\n\
                admin = { kubeconfig = \"admin.yaml\" }\nnamespace = \"parts\"\ncreate-namespaces = true\n";
    machine.write("clusters.toml", &format!("{head}{READER}"));
    let run = machine.kubemint(&["validate"]).exits(3);
    assert!(run.stderr.contains("include pattern `clusters.d/*.toml` matches no file"), "{}", run.stderr);
    for name in ["a", "b"] {
        let text =
            format!("[[clusters]]\nname = \"{name}\"\nlabels.env = \"test\"\nadmin.kubeconfig = \"../admin.yaml\"\n");
        machine.write(&format!("clusters.d/{name}.toml"), &text);
    }
    machine.expect(0, &["apply", "--yes"]);
    assert!(machine.path("out/b.kubeconfig").exists());
    machine.write("clusters.d/c.toml", "[[clusters]]\nname = \"a\"\n");
    let run = machine.kubemint(&["validate"]).exits(3);
    assert!(run.stderr.contains("clusters.d/c.toml:2:8"), "{}", run.stderr);
}

/// Asks for completions like the scripts of zsh and fish; the test below runs bash itself.
fn completed(machine: &Machine, shell: &str, words: &[&str]) -> String {
    let mut command = machine.command(&["--", "kubemint"]);
    let index = words.len().to_string();
    command.args(words).env("COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn shells_complete_the_names_of_the_inventory() {
    let fleet = simulated(["prod-eu", "prod-us", "dev"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("complete", READER);
    for shell in ["fish", "zsh"] {
        let clusters = completed(&machine, shell, &["plan", "--cluster", "prod"]);
        assert_eq!(clusters.lines().collect::<Vec<_>>(), ["prod-eu", "prod-us"], "{shell}");
        let profiles = completed(&machine, shell, &["apply", "--profile", ""]);
        assert_eq!(profiles.lines().collect::<Vec<_>>(), ["reader"], "{shell}");
    }
    std::fs::rename(machine.path("clusters.toml"), machine.path("other.toml")).unwrap();
    let other = completed(&machine, "fish", &["plan", "-f", "other.toml", "--cluster", "d"]);
    assert_eq!(other, "dev\n");
    assert_eq!(
        completed(&machine, "fish", &["plan", "--cluster", "d"]),
        "",
        "an inventory that is not there has no names"
    );
    assert_eq!(fleet.requests(), 0, "completing contacts nothing");
}

#[test]
fn bash_completes_with_the_script_that_is_printed() {
    let fleet = simulated(["prod-eu", "dev"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("bash", READER);
    let script = machine.kubemint(&["completions", "bash"]).exits(0).stdout;
    let asked = format!(
        "{script}\nCOMP_WORDS=(kubemint plan --cluster pr); COMP_CWORD=3; COMP_TYPE=9; _CLAP_COMPLETE_SPACE=true\n\
         _clap_complete_kubemint kubemint pr --cluster; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_kubemint")).parent().unwrap().display().to_string();
    let mut command = std::process::Command::new("bash");
    command.args(["--norc", "-c", &asked]).env_clear().env("HOME", machine.path("")).current_dir(machine.path(""));
    let output = command.env("PATH", format!("{program}:/usr/bin:/bin")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "prod-eu\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// An option that affects every holder cannot be combined with one holder.
#[test]
fn a_revocation_of_one_holder_is_not_one_of_everybody() {
    let machine = offline();
    machine.write("clusters.toml", "version = 1\n");
    for everybody in ["--hard", "--access", "--all"] {
        let run = machine.kubemint(&["revoke", "--holder", "ci", everybody, "--yes"]).exits(2);
        assert!(run.stderr.contains("cannot be used with"), "{everybody}: {}", run.stderr);
    }
}

/// Effects of the outputs on this machine's kubectl that were not meant are warnings, and change nothing else.
#[test]
fn what_kubectl_here_would_not_use_is_a_warning() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let rest = format!("{READER}[[outputs]]\npath = \"exec.yaml\"\ncredential = \"exec\"\n");
    machine.inventory("warned", &rest);
    machine.write("mine.yaml", "users:\n- name: reader@a\n  user: {token: mine}\n");
    machine.write(".kube/kuberc", "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: other\n");
    let apply = |list: &str| {
        let mut command = machine.command(&["apply", "--yes"]);
        command.env("KUBECONFIG", list);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let warned = apply("mine.yaml:out/a.kubeconfig");
    assert!(warned.contains("kubectl takes user `reader@a` from `"), "{warned}");
    assert!(warned.contains("mine.yaml`, which comes before `"), "{warned}");
    let program = env!("CARGO_BIN_EXE_kubemint");
    assert!(warned.contains(&format!("add `- command: \"{program}\"` to `credentialPluginAllowlist`")), "{warned}");
    machine.write(
        ".kube/kuberc",
        &format!("credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: {program}\n"),
    );
    let quiet = apply("out/a.kubeconfig:mine.yaml");
    assert!(!quiet.contains("warning"), "{quiet}");
}

/// Two contexts of one grant in a file share a cluster and a user entry, which are written once and renewed.
#[test]
fn two_contexts_of_one_grant_share_their_entries() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let output = |context: &str| {
        format!("[[outputs]]\npath = \"one.yaml\"\ncontext = \"{context}\"\ncluster = \"c\"\nuser = \"u\"\n")
    };
    let (rest, _) = READER.split_once("[[outputs]]").unwrap();
    machine.inventory("twice", &format!("{rest}{}{}", output("x"), output("y")));
    for arguments in [
        &["apply", "--yes"][..],
        &["plan", "--check"],
        &["refresh", "--force"],
        &["verify"],
        &["status", "--check"],
        &["revoke", "--access", "--yes"],
    ] {
        machine.expect(0, arguments);
    }
    assert!(!machine.read("one.yaml").contains("name:"), "{}", machine.read("one.yaml"));
}

/// Two holders write their contexts into one file, with one cluster entry; neither undoes the other's changes.
#[test]
fn holders_share_the_entry_of_a_cluster() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let (rest, _) = READER.split_once("[[outputs]]").unwrap();
    machine.inventory(
        "holders",
        &format!(
            "{rest}[[outputs]]\npath = \"one.yaml\"\ncontext = \"{{holder}}@{{cluster}}\"\ncluster = \"{{cluster}}\"\n"
        ),
    );
    for holder in ["one", "two"] {
        machine.expect(0, &["apply", "--yes", "--holder", holder]);
    }
    for holder in ["one", "two"] {
        machine.expect(0, &["plan", "--check", "--holder", holder]);
        machine.expect(0, &["verify", "--holder", holder]);
    }
}

/// The message names a file that cannot be read, also if no cluster is asked.
#[test]
fn a_status_names_a_file_that_cannot_be_read() {
    let fleet = simulated(["a"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("damaged", READER);
    machine.expect(0, &["apply", "--yes"]);
    machine.write("out/a.kubeconfig", "users: {\n");
    for arguments in [&["status", "--check"][..], &["status", "--check", "--offline"]] {
        let run = machine.kubemint(arguments).exits(4);
        assert!(run.stdout.contains("it is not a kubeconfig: `users`"), "{}", run.stdout);
    }
}
