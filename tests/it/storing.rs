//! Which files are written, and which are never overwritten: each attack on other people's files that was tried once.

use std::os::unix::fs::{PermissionsExt, lchown, symlink};

use kubemint_testkit::User;
use kubemint_testkit::sim::Fleet;

use crate::life::{anchors, profile};
use crate::support::{Machine, simulated};

fn fleet(name: &str, rest: &str) -> (Fleet, Machine) {
    let fleet = simulated(["a"]);
    let machine = Machine::of(&fleet, name, rest);
    (fleet, machine)
}

const FILE: &str = "out/a.kubeconfig";
const TOKENS: &str = "out/a.kubeconfig.tokens";

fn with_token_files() -> String {
    format!("{}credential = \"token-file\"\n", profile("15m"))
}

#[test]
fn metrics_replace_nothing_but_metrics() {
    let (fleet, machine) = fleet("metrics", &with_token_files());
    machine.write("more.toml", "# nothing\n");
    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &text.replace("[defaults]", "include = [\"more.toml\"]\n[defaults]"));
    let is_refused = |target: &str| {
        let (before, requests) = (machine.files(), fleet.requests());
        let run = machine.kubemint(&["refresh", "--force", "--metrics-file", target]).exits(5);
        assert!(run.stderr.contains("`--metrics-file` would overwrite what is no metrics"), "{}", run.stderr);
        assert_eq!(machine.files(), before, "{target}");
        assert_eq!(fleet.requests(), requests, "nothing is contacted: {target}");
    };
    // Before there is any output: what is not there yet is in use all the same.
    let absent = [
        FILE.to_owned(),
        format!("{FILE}.lock"),
        format!("{TOKENS}/reader@a.token"),
        "out/../out/a.kubeconfig".to_owned(),
    ];
    for target in &absent {
        is_refused(target);
    }
    machine.expect(0, &["apply", "--yes"]);
    symlink(FILE, machine.path("link")).unwrap();
    symlink("nowhere/../out/new/../a.kubeconfig", machine.path("crooked")).unwrap();
    std::fs::hard_link(machine.path("more.toml"), machine.path("hard")).unwrap();
    machine.write("empty", "");
    let present = ["admin.yaml", "clusters.toml", "more.toml", "hard", "link", "empty", "out", "/dev/null"];
    for target in present.into_iter().chain(absent.iter().map(String::as_str)) {
        is_refused(target);
    }
    // The watcher says so before it begins, too.
    machine.expect(5, &["refresh", "--watch", "--metrics-file", "admin.yaml"]);
    machine.expect(0, &["refresh", "--metrics-file", "metrics.prom"]);
    machine.expect(0, &["refresh", "--metrics-file", "metrics.prom"]);
    assert!(machine.read("metrics.prom").starts_with("# HELP kubemint_"));
}

#[test]
fn man_pages_replace_nothing_but_man_pages() {
    let machine = Machine::new(&[], User::Admin);
    machine.expect(0, &["man", "man"]);
    let page = machine.read("man/kubemint-apply.1");
    machine.expect(0, &["man", "man"]);
    assert_eq!(machine.read("man/kubemint-apply.1"), page);
    assert!(machine.files().len() > 10 && page.contains(".TH kubemint-apply"));
    machine.write("man/kubemint-apply.1", "notes");
    let before = machine.files();
    let run = machine.kubemint(&["man", "man"]).exits(5);
    assert!(run.stderr.contains("kubemint-apply.1` is not overwritten"), "{}", run.stderr);
    assert_eq!(machine.files(), before);
}

#[test]
fn a_merge_and_an_output_go_into_nothing_but_kubeconfigs() {
    let (_fleet, machine) = fleet("merging", &profile("15m"));
    let others = [
        "kind: Secret\napiVersion: v1\n",
        "{\"auths\": {\"registry\": {}}}\n",
        "eyJhbGciOi.payload.signature",
        "version = 1\n",
        "ssh-ed25519 AAAA me@home\n",
        "a: 1\n",
    ];
    for other in others {
        machine.write("target", other);
        machine.expect(5, &["merge", "admin.yaml", "-o", "target"]);
        assert_eq!(machine.read("target"), other);
        machine.write(FILE, other);
        machine.expect(5, &["apply", "--yes"]);
        assert_eq!(machine.read(FILE), other);
    }
    machine.write("target", "apiVersion: v1\nkind: Config\n");
    machine.expect(0, &["merge", "admin.yaml", "-o", "target"]);
}

/// The owner of the token directory puts a link where the next token file goes.
#[test]
fn a_planted_link_leads_no_token_anywhere() {
    let (_fleet, machine) = fleet("planted", &with_token_files());
    machine.write("authorized_keys", "ssh-ed25519 AAAA me@home\n");
    std::fs::create_dir_all(machine.path(TOKENS)).unwrap();
    let link = machine.path(&format!("{TOKENS}/reader@a.token"));
    symlink(machine.path("authorized_keys"), &link).unwrap();
    // Of the same user, the link is followed; what it leads to is no token.
    let run = machine.kubemint(&["apply", "--yes"]).exits(5);
    assert!(run.stderr.contains("it holds something else than a token"), "{}", run.stderr);
    std::fs::remove_file(&link).unwrap();
    symlink(machine.path("authorized_keys.new"), &link).unwrap();
    if lchown(&link, Some(12_345), None).is_ok() {
        let run = machine.kubemint(&["apply", "--yes", "--allow-shared-directories"]).exits(5);
        assert!(run.stderr.contains("is a symbolic link of user 12345"), "{}", run.stderr);
    }
    assert!(anchors(&machine.admin(0), "planted").is_empty() && !machine.path("authorized_keys.new").exists());
    assert_eq!(machine.read("authorized_keys"), "ssh-ed25519 AAAA me@home\n");
}

#[test]
fn nothing_is_minted_for_a_directory_that_others_may_write() {
    let (_fleet, machine) = fleet("shared", &profile("15m"));
    let open = |mode| {
        std::fs::create_dir_all(machine.path("out")).unwrap();
        std::fs::set_permissions(machine.path("out"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o777);
    let run = machine.kubemint(&["apply", "--yes"]).exits(5);
    let (directory, hint) = (machine.path("out"), "`--allow-shared-directories`");
    let said = format!("`{}` can be written by everybody", directory.display());
    assert!(run.stderr.contains(&said) && run.stderr.contains(hint), "{}", run.stderr);
    assert!(anchors(&machine.admin(0), "shared").is_empty());
    machine.expect(0, &["apply", "--yes", "--allow-shared-directories"]);
    // `refresh` blocks what goes there, and says why.
    let run = machine.kubemint(&["refresh", "--force"]).exits(5);
    assert!(format!("{}{}", run.stdout, run.stderr).contains(&said), "{}{}", run.stdout, run.stderr);
    for (value, code) in [("", 5), ("0", 5), ("perhaps", 2), ("true", 0)] {
        let mut refresh = machine.command(&["refresh", "--force"]);
        let output = refresh.env("KUBEMINT_ALLOW_SHARED_DIRECTORIES", value).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{value}: {}", String::from_utf8_lossy(&output.stderr));
    }
    open(0o1777);
    machine.expect(0, &["refresh", "--force"]);
    open(0o700);
    machine.expect(0, &["refresh", "--force"]);
}

#[test]
fn what_is_too_long_or_endless_is_refused_and_never_cut() {
    let machine = Machine::new(&[], User::Admin);
    machine.write("long", "");
    // The kubeconfig would begin after what is read.
    let long = std::fs::File::options().write(true).open(machine.path("long")).unwrap();
    long.set_len(65 * 1024 * 1024).unwrap();
    let pipe = machine.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for input in ["-", "@-", "@long"] {
        let stdin = std::fs::File::open(machine.path("long")).unwrap();
        let run = machine.command(&["merge", input, "-o", "out"]).stdin(stdin).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.code() == Some(2) && said.contains("it is larger than 64 MiB"), "{input}: {said}");
    }
    for (inventory, problem) in [
        ("/dev/zero", "it is not a regular file"),
        ("pipe", "it is not a regular file"),
        ("long", "it is larger than 64 MiB"),
    ] {
        let run = machine.kubemint(&["validate", "-f", inventory]).exits(3);
        assert!(run.stderr.contains(problem), "{inventory}: {}", run.stderr);
        machine.write("clusters.toml", &format!("version = 1\nname = \"x\"\ninclude = [\"{inventory}\"]\n"));
        // A pattern matches regular files only.
        let run = machine.kubemint(&["validate"]).exits(3);
        assert!(run.stderr.contains("included file") || run.stderr.contains("matches no file"), "{}", run.stderr);
    }
    for input in ["pipe", "/dev/zero"] {
        machine.expect(7, &["merge", input, "-o", "out"]);
        machine.expect(7, &["init", "--from", input, "-f", "new.toml"]);
    }
    assert!(!machine.path("out").exists() && !machine.path("new.toml").exists());
}

/// The first sign of a limit on the size of files is a signal.
#[test]
fn a_write_that_is_refused_names_the_file_and_ends_nothing_else() {
    let (_fleet, machine) = fleet("limited", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read(FILE);
    let run = machine.limited("ulimit -f 0", &["refresh", "--force"]).exits(7);
    assert!(run.stderr.contains(FILE) && run.stderr.contains("File too large"), "{}", run.stderr);
    let run = machine.limited("ulimit -f 0", &["merge", "admin.yaml", "-o", "merged"]).exits(5);
    assert!(run.stderr.contains("merged"), "{}", run.stderr);
    assert_eq!(machine.read(FILE), before);
    let is_left =
        |path: &std::path::PathBuf| path.display().to_string().contains(".kubemint") || path.ends_with(".lock");
    assert!(!machine.files().keys().any(is_left), "{:?}", machine.files().keys());
    machine.expect(0, &["refresh", "--force"]);
}

/// Before this was fixed, each context got a copy of the cluster that they share before the comparison: 600 MB.
#[test]
fn a_merge_of_contexts_that_share_a_cluster_takes_the_memory_of_one() {
    let machine = Machine::new(&[], User::Admin);
    let contexts: String =
        (0..3000).map(|number| format!("- name: x{number}\n  context: {{cluster: c, user: u}}\n")).collect();
    let cluster = format!("{{server: https://a, x-data: {}}}", "A".repeat(100_000));
    let rest = format!("users: [{{name: u, user: {{token: t}}}}]\ncontexts:\n{contexts}");
    machine.write("shared", &format!("kind: Config\nclusters:\n- name: c\n  cluster: {cluster}\n{rest}"));
    let run = machine.limited("ulimit -v 300000", &["merge", "shared", "-o", "merged"]);
    assert_eq!(run.exits(0).stdout, "1 kubeconfig into `merged`: 3002 entries came, 0 changed, 0 went, 0 unchanged\n");
}
