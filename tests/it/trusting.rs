//! What a source of clusters may not do: lead to another server than was reviewed, or give its cluster the place of another.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::delivering::{argocd_token, path};
use crate::discovering::{capi, inventory, kubeconfig, namespace, secret};
use crate::support::{Machine, can_i, simulated};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_mistrust {
    ($run:ident) => {
        $run!(frozen_files_and_programs_lead_where_they_led, names_are_enough_with_defaults, a_label_hides_no_cluster,);
    };
}
pub(crate) use every_mistrust;

/// Writes a program.
fn program(machine: &Machine, name: &str, text: &str) {
    machine.write(name, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(machine.path(name), std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// Writes a program that lists clusters.
fn lister(machine: &Machine, lines: &[Value]) {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    program(machine, "list-clusters", &format!("while IFS= read -r line; do echo \"$line\"; done <<'END'\n{lines}END"));
}

pub(crate) fn frozen_files_and_programs_lead_where_they_led(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let (own, port) = (kubeconfig(cluster), cluster.port());
    machine.write("more/site-a.yaml", &own);
    machine.write("cloud.yaml", &own);
    machine.write("cloud.token", &cluster.admin_token);
    machine.write("cloud.pem", &cluster.ca_pem);
    let in_file = json!({ "name": "in-file", "kubeconfig": "cloud.yaml", "context": cluster.name });
    let by_default = json!({ "name": "by-default", "context": cluster.name });
    let literal = |server: &str| json!({ "name": "literal", "server": server, "certificate-authority": "cloud.pem", "token-file": "cloud.token" });
    lister(&machine, &[in_file.clone(), by_default.clone(), literal(&cluster.server)]);
    let sources = |more: &str| {
        format!(
            "[[discover]]\nkind = 'kubeconfigs'\npath = 'more/*.yaml'\nname = '{{file}}'\n{more}\n\
             [[discover]]\nkind = 'command'\ncommand = ['./list-clusters']\n{more}\n[[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
        )
    };
    inventory(&machine, "led", &sources(""));
    machine.expect(0, &["discover", "--write", "found.toml"]);
    let written = machine.read("found.toml");
    assert_eq!(written.matches("seen-endpoint = ").count(), 3, "what is literal says itself where it leads: {written}");
    inventory(&machine, "led", &sources("frozen = true\n"));
    let text = machine.read("clusters.toml").replacen("name = 'led'\n", "name = 'led'\ninclude = ['found.toml']\n", 1);
    machine.write("clusters.toml", &text);
    let plan = machine.kubemint(&["plan", "--cluster", "site-a"]).exits(0);
    assert!(!plan.stderr.contains("discovery"), "{}", plan.stderr);

    // All of them lead elsewhere: nothing goes there, and what the file says literally is noted.
    let elsewhere = own.replace("127.0.0.1", "localhost");
    machine.write("more/site-a.yaml", &elsewhere);
    machine.write("cloud.yaml", &elsewhere);
    lister(&machine, &[in_file, literal("https://localhost:1")]);
    let plan = machine.kubemint(&["plan", "-o", "json"]);
    let moved = |name: &str, now: &str| format!("{name} (<https://127.0.0.1:{port}>, now <{now}>)");
    for moved in [
        moved("site-a", &format!("https://localhost:{port}")),
        moved("in-file", &format!("https://localhost:{port}")),
        moved("literal", "https://localhost:1"),
    ] {
        assert!(plan.stderr.contains(&moved), "{moved}: {}", plan.stderr);
    }
    assert!(
        plan.stderr.contains("discovery `command`: 1 cluster went since it was written down: `by-default`"),
        "{}",
        plan.stderr
    );
    let refused =
        format!("it leads to <https://localhost:{port}> now, and led to <https://127.0.0.1:{port}> when it was found");
    for name in ["site-a", "in-file"] {
        let run = machine.kubemint(&["plan", "--cluster", name]).exits(7);
        assert!(run.stderr.contains(&refused), "{name}: {}", run.stderr);
    }
    // The same address with another CA is somebody else's.
    let other = own.replace(&STANDARD.encode(&cluster.ca_pem), &STANDARD.encode("another CA"));
    machine.write("more/site-a.yaml", &other);
    let run = machine.kubemint(&["plan", "--cluster", "site-a"]).exits(7);
    assert!(
        run.stderr.contains("its CA, `tls-server-name` or `proxy-url` is another than when it was found"),
        "{}",
        run.stderr
    );
    machine.write("more/site-a.yaml", &own);
    machine.expect(0, &["plan", "--cluster", "site-a"]);
}

/// A program that prints names only leaves the access to the defaults of the inventory, which may lead elsewhere, too.
pub(crate) fn names_are_enough_with_defaults(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    lister(&machine, &[json!({ "name": cluster.name, "labels": { "env": "prod" } })]);
    let source = |more: &str| {
        format!(
            "[[discover]]\nkind = 'command'\ncommand = ['./list-clusters']\nlabels = ['env']\n{more}\
             [[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
        )
    };
    inventory(&machine, "names", &source(""));
    machine.expect(0, &["apply", "--yes"]);
    let output = format!("out/{}.kubeconfig", cluster.name);
    assert!(can_i(&machine.admin(0), &machine.token(&output), "list", "pods", ""));

    machine.expect(0, &["discover", "--write", "found.toml"]);
    inventory(&machine, "names", &source("frozen = true\n"));
    let text =
        machine.read("clusters.toml").replacen("name = 'names'\n", "name = 'names'\ninclude = ['found.toml']\n", 1);
    machine.write("clusters.toml", &text);
    let plan = machine.kubemint(&["plan", "--check"]).exits(0);
    assert!(!plan.stderr.contains("discovery"), "{}", plan.stderr);
    machine.write("admin.yaml", &machine.read("admin.yaml").replace("127.0.0.1", "localhost"));
    let run = machine.kubemint(&["plan"]).exits(7);
    assert!(run.stderr.contains("and led to <https://127.0.0.1:"), "{}", run.stderr);
}

/// Whoever gives a cluster's Secret kubemint's label does not make it vanish, and what kubemint delivered stays silent.
pub(crate) fn a_label_hides_no_cluster(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    namespace(&admin, "labels");
    capi(&admin, "labels", "one", "prod", &kubeconfig(cluster));
    // What is delivered looks as what is found, in another namespace of the same source.
    let of = |preset: &str, more: &str| {
        let name = &cluster.name;
        let source = format!(
            "[[discover]]\nkind = 'secrets'\npreset = '{preset}'\nadmin = {{ context = '{name}' }}\n\
             namespaces = ['labels', 'labels-delivered']\n{more}[[outputs]]\nkind = 'cluster-api'\n\
             admin = {{ context = '{name}' }}\nnamespace = 'labels-delivered'\ncreate-namespaces = true\n\
             [[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
        );
        inventory(&machine, "labels", &source);
    };
    of("capi", "");
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["discover", "--write", "found.toml"]);
    let delivered = path("labels-delivered", "one-kubeconfig");
    let labels = admin.get(&delivered).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["cluster.x-k8s.io/cluster-name"], "one");
    let again = machine.kubemint(&["plan", "--check"]).exits(0);
    assert!(!again.stderr.contains("left out"), "what was delivered is no cluster: {}", again.stderr);

    let hide = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "kubemint" } } });
    admin.merge_patch(&path("labels", "one-kubeconfig"), &hide).unwrap();
    let why = "Secret labels/one-kubeconfig: it carries the label `app.kubernetes.io/managed-by=kubemint`, and holds no \
               credential that kubemint delivers: whoever set the label hides a cluster; it is left out";
    // It was the only one. What is put beside the access, or after it, does not change what that is.
    let minted = STANDARD.encode(machine.token("out/one.kubeconfig"));
    for beside in [json!({}), json!({ "data": { "x": minted } })] {
        admin.merge_patch(&path("labels", "one-kubeconfig"), &beside).unwrap();
        let run = machine.kubemint(&["apply", "--prune", "--yes"]).exits(2);
        assert!(run.stderr.contains(why) && !run.stderr.contains("labels-delivered"), "{}", run.stderr);
    }
    let run = machine.kubemint(&["retire", "--forget", "--gone", "--max-gone", "1", "--yes"]).exits(5);
    assert!(
        run.stderr.contains("nothing is forgotten, because not all clusters of discovery `capi`"),
        "{}",
        run.stderr
    );
    assert!(admin.get(&delivered).is_ok());

    // A file that was reviewed is not emptied by it.
    let written = machine.read("found.toml");
    let run = machine.kubemint(&["discover", "--write", "found.toml"]).exits(5);
    let refused =
        "1 cluster of 1 that discovery `capi` found went since it was written down (`one`), and `--max-gone` is 10%";
    assert!(run.stderr.contains(refused), "{}", run.stderr);
    assert_eq!(machine.read("found.toml"), written);
    machine.expect(0, &["discover", "--write", "found.toml", "--max-gone", "1"]);
    assert!(!machine.read("found.toml").contains("one-kubeconfig"));

    // Among Secrets of any kind, it is the key that tells which are meant: breaking what it has hides nothing.
    let labels = json!({ "app.kubernetes.io/managed-by": "kubemint" });
    secret(&admin, ("labels", "something"), "Opaque", &labels, &[("value", "no kubeconfig")]);
    secret(&admin, ("labels", "token-only"), "Opaque", &labels, &[("token", &machine.token("out/one.kubeconfig"))]);
    of("kubeconfig", "key = 'value'\n");
    let found = machine.kubemint(&["discover"]).exits(0);
    let something = why.replace("labels/one-kubeconfig", "labels/something");
    assert!(found.stderr.contains(why) && found.stderr.contains(&something), "{}", found.stderr);
    assert!(!found.stderr.contains("token-only") && !found.stderr.contains("labels-delivered"), "{}", found.stderr);
}

/// The file that is written first may be included before it exists, as somebody who wants nothing unreviewed begins.
#[test]
fn a_file_is_included_before_it_is_written() {
    let fleet = simulated(["one"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    program(&machine, "list", &format!("echo '{}'", json!({ "name": "found", "context": "one" })));
    let source = "[[discover]]\nkind = 'command'\ncommand = ['./list']\nfrozen = true\n[[grants]]\nprofile = 'reader'\nclusters = ['found']\n\
                  [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n";
    inventory(&machine, "first", source);
    for pattern in ["discovered.toml", "found.d/*.toml"] {
        let text = machine.read("clusters.toml");
        let text = text.replacen("name = 'first'\n", &format!("name = 'first'\ninclude = ['{pattern}']\n"), 1);
        machine.write("clusters.toml", &text);
        let refused = machine.kubemint(&["plan"]).exits(3);
        assert!(refused.stderr.contains("`kubemint discover --write FILE` writes that file"), "{}", refused.stderr);
        machine.expect(3, &["discover", "--write", "another.toml"]);
        let target = pattern.replace('*', "all");
        if let Some((directory, _)) = target.split_once('/') {
            std::fs::create_dir(machine.path(directory)).unwrap();
        }
        machine.expect(0, &["discover", "--write", &format!("./{target}")]);
        machine.expect(0, &["validate"]);
        machine.expect(0, &["apply", "--yes"]);
        assert!(machine.path("out/found.kubeconfig").exists());
        inventory(&machine, "first", source);
    }
}

/// As of exec plugins, what a program was given is not repeated, and neither is what it says to be a secret.
#[test]
fn a_program_that_fails_says_no_secret() {
    let fleet = simulated(["one"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    program(&machine, "list", "echo \"login with $2, password=hunter2 failed: Bearer abc123def\" >&2; exit 1");
    inventory(
        &machine,
        "said",
        "[[discover]]\nkind = 'command'\ncommand = ['./list', '--api-key', 'correct-horse']\n[[clusters]]\nname = 'one'\n",
    );
    for arguments in [&["discover"][..], &["plan"]] {
        let run = machine.kubemint(arguments);
        let said = "login with [REDACTED], password=[REDACTED] failed: Bearer [REDACTED]";
        assert!(run.code != 0 && run.stderr.contains(said), "{}", run.stderr);
    }
    let plan = machine.kubemint(&["plan"]).exits(6);
    let missing = "note: not all clusters of discovery `command` are known, so some may be missing here";
    assert!(plan.stdout.contains(missing), "what is kept of a run says it, too: {}", plan.stdout);
}

/// In an inventory, a colon separates files, and a bracket makes a pattern.
#[test]
fn a_kubeconfig_is_found_again_under_its_name() {
    let fleet = simulated(["one"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let config = kubeconfig(&machine.clusters[0]);
    machine.write("more/site[1].yaml", &config);
    inventory(
        &machine,
        "names",
        "[[discover]]\nkind = 'kubeconfigs'\npath = 'more'\nname = 'found'\n[[outputs]]\npath = 'out/{cluster}.kubeconfig'\n",
    );
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&machine.admin(0), &machine.token("out/found.kubeconfig"), "list", "pods", ""));
    std::fs::remove_file(machine.path("more/site[1].yaml")).unwrap();
    machine.write("more/site:1.yaml", &config);
    let found = machine.kubemint(&["discover"]).exits(0);
    let why = "its path has a `:`, which separates kubeconfigs in an inventory; it is left out";
    assert!(found.stderr.contains(why) && !found.stdout.contains("site:1"), "{}", found.stderr);
}

/// A hub that is discovered, and gone or not found because its source is silent, is as one that does not respond: what goes
/// there is blocked, what stands there stays alive, and the rest goes on.
#[test]
fn a_hub_that_is_not_found_blocks_what_goes_there() {
    let fleet = simulated(["one", "two", "hub"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let hub = machine.admin(2);
    namespace(&hub, "argocd");
    let list = |text: &str| program(&machine, "list", text);
    list(&format!("echo '{}'", json!({ "name": "central", "context": "hub" })));
    inventory(
        &machine,
        "lost",
        "[[discover]]\nkind = 'command'\ncommand = ['./list']\n[[clusters]]\nname = 'one'\n[[clusters]]\nname = 'two'\n\
         [[outputs]]\nkind = 'argocd'\nadmin = { cluster = 'central' }\nnamespace = 'argocd'\nclusters = ['one']\n\
         [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n",
    );
    machine.expect(0, &["validate"]);
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.token("out/one.kubeconfig");
    assert_eq!(argocd_token(&hub, "argocd", "cluster-one"), before);
    for (text, exit, forgetting) in [("true", "gone", 6), ("exit 1", "silent", 5)] {
        list(text);
        let renewed = machine.token("out/two.kubeconfig");
        let run = machine.kubemint(&["refresh", "--force"]).exits(6);
        assert!(run.stderr.contains("the hub `central` is not known"), "{exit}: {}", run.stderr);
        assert_ne!(machine.token("out/two.kubeconfig"), renewed, "{exit}: the rest goes on");
        assert_eq!(machine.token("out/one.kubeconfig"), before, "{exit}");
        assert!(can_i(&machine.admin(0), &argocd_token(&hub, "argocd", "cluster-one"), "list", "pods", ""), "{exit}");
        let run = machine.kubemint(&["apply", "--prune", "--yes"]).exits(6);
        assert!(run.stderr.contains("the hub `central` is not known"), "{exit}: {}", run.stderr);
        // The entries of the hub itself leave, if it is gone.
        machine.expect(forgetting, &["retire", "--forget", "--gone", "--max-gone", "1", "--yes"]);
        assert_eq!(argocd_token(&hub, "argocd", "cluster-one"), before, "{exit}");
    }
}

/// Two sources find a cluster of one name each, and the first falls silent: the other one's does not take its place where the
/// first one's access is.
#[test]
fn a_silent_source_keeps_its_names_in_the_outputs() {
    let fleet = simulated(["hub", "first", "second"]);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    let hub = machine.admin(0);
    namespace(&hub, "argocd");
    let program = |name: &str, text: &str| program(&machine, name, text);
    let line = |name: &str, context: &str| json!({ "name": name, "context": context });
    program("list-a", &format!("echo '{}'", line("prod", "first")));
    program("list-b", &format!("echo '{}'", line("prod", "second")));
    inventory(
        &machine,
        "silent",
        "[[discover]]\nkind = 'command'\nid = 'a'\ncommand = ['./list-a']\n\
         [[discover]]\nkind = 'command'\nid = 'b'\ncommand = ['./list-b']\n\
         [[outputs]]\nkind = 'argocd'\nadmin = { context = 'hub' }\nnamespace = 'argocd'\n\
         [[outputs]]\npath = 'out/{cluster}.kubeconfig'\n[[outputs]]\npath = 'all.kubeconfig'\ncontext = '{cluster}'\n\
         [[outputs]]\nkind = 'token-file'\npath = 'out/{cluster}.token'\n",
    );
    let forget = || {
        std::fs::remove_file(machine.path("out/prod.kubeconfig")).unwrap();
        hub.delete(&path("argocd", "cluster-prod")).unwrap();
    };
    // The second one's has all that it needs to be renewed.
    program("list-a", "true");
    machine.expect(0, &["apply", "--yes"]);
    forget();
    for file in ["all.kubeconfig", "out/prod.token"] {
        std::fs::remove_file(machine.path(file)).unwrap();
    }
    program("list-a", &format!("echo '{}'", line("prod", "first")));
    machine.expect(6, &["apply", "--yes"]);
    let held = || {
        let token = argocd_token(&hub, "argocd", "cluster-prod");
        (token, machine.read("out/prod.kubeconfig"), machine.read("all.kubeconfig"))
    };
    let before = held();
    assert!(can_i(&machine.admin(1), &before.0, "list", "pods", ""));
    let account = "/api/v1/namespaces/silent/serviceaccounts/reader";

    // The second one's other clusters go on.
    program("list-a", "exit 1");
    program("list-b", &format!("echo '{}'; echo '{}'", line("prod", "second"), line("other", "hub")));
    let why = "gives access to another API server than the one that discovery `b` found as `prod`: it may be that of discovery \
               `a`, of which not all clusters are known, and which comes first";
    for arguments in [&["plan"][..], &["apply", "--yes"], &["refresh", "--force"], &["apply", "--yes", "--reissue"]] {
        let run = machine.kubemint(arguments).exits(6);
        assert!(format!("{}{}", run.stdout, run.stderr).contains(why), "{arguments:?}: {} {}", run.stdout, run.stderr);
        let now = held();
        assert_eq!((now.0, now.1), (before.0.clone(), before.1.clone()), "{arguments:?}");
        assert!(now.2.contains(&before.0), "{arguments:?}");
    }
    assert!(can_i(&hub, &machine.token("out/other.kubeconfig"), "list", "pods", ""));

    // Nothing of the second one is revoked, and it is not asked about the first one's token.
    let index = || machine.admin(2).get(account).unwrap()["metadata"]["annotations"].clone();
    let alive = index();
    for depth in [&["--wait"][..], &["--hard", "--wait"], &["--all"], &["--superseded"], &["--access"]] {
        let arguments = [&["revoke", "--cluster", "prod", "--yes"], depth].concat();
        let run = machine.kubemint(&arguments).exits(5);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(why) && said.contains("nothing is revoked in `prod`"), "{depth:?}: {said}");
        assert!(said.contains("a `[[clusters]]` with `name = \"prod\"` and its own `admin`"), "{depth:?}: {said}");
        assert_eq!(index(), alive, "{depth:?}");
    }
    assert!(can_i(&machine.admin(1), &before.0, "list", "pods", ""));

    // Each output by itself keeps its cluster, too.
    forget();
    for file in ["all.kubeconfig", "out/prod.token"] {
        let run = machine.kubemint(&["apply", "--cluster", "prod", "--reissue", "--yes"]).exits(5);
        assert!(run.stderr.contains(why), "{} {}", run.stdout, run.stderr);
        assert!(!machine.path("out/prod.kubeconfig").exists() && machine.read("out/prod.token") == before.0);
        if file == "all.kubeconfig" {
            std::fs::remove_file(machine.path(file)).unwrap();
        }
    }

    // A source that answers, and leaves out something of that name, keeps it.
    let broken = |name: &str| format!("echo '{}'", json!({ "name": name, "unknown": "key" }));
    program("list-a", &broken("prod"));
    let run = machine.kubemint(&["apply", "--cluster", "prod", "--reissue", "--yes"]).exits(5);
    let mend = "mend what discovery `a` leaves out (`prod` in line 1 of `";
    assert!(run.stderr.contains(why) && run.stderr.contains(mend), "{} {}", run.stdout, run.stderr);

    // One that does not find it leaves the name to the other one, whatever else is wrong.
    program("list-a", &broken("another"));
    machine.expect(6, &["apply", "--reissue", "--yes"]);
    assert!(can_i(&machine.admin(2), &machine.token("out/prod.kubeconfig"), "list", "pods", ""));
}
