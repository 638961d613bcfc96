//! What no grant explains is removed where that is asked for, and pruning cannot run away.

use std::process::Stdio;

use kubemint_testkit::sim::{Fault, Fleet};
use kubemint_testkit::{TestCluster, User};
use serde_json::Value;

use crate::life::{anchors, eventually};
use crate::revoking::marked;
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, changes, simulated};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_prune {
    ($run:ident) => {
        $run!(what_no_grant_explains_is_pruned, a_saved_plan_prunes_what_was_reviewed, a_retired_cluster_keeps_nothing,);
    };
}
pub(crate) use every_prune;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Profiles that are granted everywhere, each with a file of its own, and one file for all.
fn inventory(profiles: &[&str], outputs: &str) -> String {
    let profile = |name: &&str| {
        format!(
            "[profiles.{name}]\ncluster-rules = [{{ api-groups = [''], resources = ['pods'], verbs = ['get'] }}]\n\
             [[grants]]\nprofile = '{name}'\nselector = ''\n"
        )
    };
    profiles.iter().map(profile).collect::<String>() + outputs
}

const OUTPUTS: &str = "[[outputs]]\npath = 'out/{cluster}/{profile}.kubeconfig'\n[[outputs]]\npath = 'all.kubeconfig'\n\
                       credential = 'token-file'\n";

fn of_cluster(report: &Value, name: &str) -> Value {
    let mut clusters = report["clusters"].as_array().unwrap().iter();
    clusters.find(|cluster| cluster["name"] == name).unwrap_or_else(|| panic!("{report:#}")).clone()
}

pub(crate) fn what_no_grant_explains_is_pruned(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("prune", &inventory(&["kept", "gone"], OUTPUTS));
    machine.write("all.kubeconfig", "# mine\nusers:\n- name: other\n  user: {token: x}\n");
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let (kept, gone) =
        (format!("out/{}/kept.kubeconfig", cluster.name), format!("out/{}/gone.kubeconfig", cluster.name));
    let token = machine.token(&gone);
    assert!(can_i(&admin, &token, "get", "pods", ""));
    machine.inventory("prune", &inventory(&["kept"], OUTPUTS));

    // It is shown first, with the tokens that end, and stops at the ceiling before anything is written.
    let before = machine.files();
    let plan = machine.kubemint(&["plan", "--prune", "--max-prune", "1", "-o", "json"]).exits(0).report();
    let expected = [
        "delete ClusterRoleBinding kubemint:prune:gone",
        "delete ClusterRole kubemint:prune:gone",
        "delete ServiceAccount prune/gone",
        "remove gone",
    ];
    assert_eq!(changes(&plan, 0), expected);
    let account = &plan["clusters"][0]["changes"][2];
    assert_eq!(account["risk"]["class"], "deletes", "{account:#}");
    let ends = account["fields"][0]["removed"][0].as_str().unwrap();
    assert!(ends.starts_with("generation 1 of holder `default` until "), "{ends}");
    let files = plan["clusters"][0]["changes"][3]["files"].as_array().unwrap();
    assert_eq!(files.len(), 2, "{files:?}");
    let refused = machine.kubemint(&["apply", "--prune", "--yes"]).exits(5);
    let why = "`--prune` would remove objects or entries of 1 of 2 grants, and `--max-prune` is 10%: nothing is done anywhere";
    assert!(refused.stderr.contains(why) && refused.stderr.contains("plan with `--max-prune 1`"), "{}", refused.stderr);
    assert_eq!(machine.files(), before);
    assert!(can_i(&admin, &token, "get", "pods", ""));
    let note = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let note = note["clusters"][0]["notes"][0]["message"].as_str().unwrap().to_owned();
    assert!(note.ends_with("may have living tokens; `kubemint apply --prune` removes them"), "{note}");

    let report = machine.kubemint(&["apply", "--prune", "--max-prune", "50%", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), expected);
    assert!(is_refused_soon(&admin, &token));
    for path in [
        format!("{RBAC}/clusterroles/kubemint:prune:gone"),
        format!("{RBAC}/clusterrolebindings/kubemint:prune:gone"),
        "/api/v1/namespaces/prune/serviceaccounts/gone".to_owned(),
    ] {
        assert!(admin.get(&path).is_err(), "{path}");
    }
    let all = machine.read("all.kubeconfig");
    assert!(all.starts_with("# mine\nusers:\n- name: other\n  user: {token: x}\n"), "{all}");
    assert!(all.contains("kept@") && !all.contains("gone@"), "{all}");
    assert!(!machine.read(&gone).contains("eyJ"));
    let tokens = machine.files().into_keys().filter(|path| path.to_string_lossy().contains("all.kubeconfig.tokens/"));
    assert_eq!(tokens.count(), 1);
    assert!(can_i(&admin, &machine.token(&kept), "get", "pods", ""));
    let again = machine.kubemint(&["apply", "--prune", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(again["clusters"][0]["state"], "unchanged", "{again:#}");
}

pub(crate) fn a_saved_plan_prunes_what_was_reviewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("prune-saved", &inventory(&["kept", "gone", "late"], OUTPUTS));
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("prune-saved", &inventory(&["kept", "late"], OUTPUTS));
    machine.expect(0, &["plan", "--prune", "--max-prune", "1", "--out", "plan.json"]);
    let shown = machine.kubemint(&["show", "plan.json"]).exits(0).stdout;
    assert!(shown.contains("remove entries of `gone` (no grant, 2 files)"), "{shown}");
    machine.expect(0, &["apply", "plan.json"]);
    let admin = machine.admin(0);
    assert!(admin.get("/api/v1/namespaces/prune-saved/serviceaccounts/gone").is_err());
    assert!(!machine.read("all.kubeconfig").contains("gone@"));
    // The same plan once more: nothing is left to do, and nothing else is done.
    machine.expect(0, &["apply", "plan.json"]);
    assert!(machine.read("all.kubeconfig").contains("late@"));
}

pub(crate) fn a_retired_cluster_keeps_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("retire", &inventory(&["kept", "gone"], OUTPUTS));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let tokens = ["kept", "gone"].map(|profile| machine.token(&format!("out/{}/{profile}.kubeconfig", cluster.name)));
    // What left the inventory before is retired too.
    machine.inventory("retire", &inventory(&["kept"], OUTPUTS));
    let run = machine.kubemint(&["retire", "--cluster", &cluster.name, "--yes"]).exits(0);
    assert!(run.stdout.ends_with("1 cluster: 1 changed\n"), "{}", run.stdout);
    let next =
        format!("`{}`: remove it from `clusters.toml` now, or the next apply makes all of this anew", cluster.name);
    assert!(run.stderr.contains(&next), "{}", run.stderr);
    assert_eq!(marked(&admin, "retire"), Vec::<Value>::new());
    assert_eq!(anchors(&admin, "retire").len(), 0);
    for token in tokens {
        assert!(is_refused_soon(&admin, &token));
    }
    for (path, content) in machine.files() {
        let is_output = path.to_string_lossy().contains("kubeconfig");
        assert!(!is_output || !String::from_utf8_lossy(&content).contains("eyJ"), "{}", path.display());
    }
    assert!(!machine.read("all.kubeconfig").contains('@'));
    let again = machine.kubemint(&["retire", "--cluster", &cluster.name, "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to remove"), "{}", again.stdout);
}

fn fleet(names: &[&str], name: &str, profiles: &[&str]) -> (Fleet, Machine) {
    let fleet = simulated(names.iter().copied());
    let machine = Machine::of(&fleet, name, &inventory(profiles, OUTPUTS));
    machine.expect(0, &["apply", "--yes"]);
    (fleet, machine)
}

#[test]
fn a_cluster_that_cannot_be_read_prunes_nothing() {
    let (fleet, machine) = fleet(&["a", "b", "c"], "unread", &["kept", "gone"]);
    machine.inventory("unread", &inventory(&["kept"], OUTPUTS));
    machine.impatient();
    fleet.cluster("b").set_fault(Some(Fault::Refuse));
    let arguments = ["apply", "--prune", "--max-prune", "2", "--yes", "-o", "json"];
    let report = machine.kubemint(&arguments).exits(6).report();
    assert_eq!(changes(&report, 0).last().map(String::as_str), Some("remove gone"));
    assert_eq!(of_cluster(&report, "b")["changes"], serde_json::json!([]));
    let all = machine.read("all.kubeconfig");
    assert!(all.contains("gone@b") && !all.contains("gone@a") && !all.contains("gone@c"), "{all}");
    assert!(machine.read("out/b/gone.kubeconfig").contains("eyJ"));
    fleet.cluster("b").set_fault(None);
    let report = machine.kubemint(&arguments).exits(0).report();
    assert_eq!(changes(&report, 1).len(), 4, "{report:#}");
    assert!(!machine.read("all.kubeconfig").contains("gone@b"));
}

#[test]
fn over_the_ceiling_nothing_is_done_anywhere() {
    let (fleet, machine) = fleet(&["a", "b"], "ceiling", &["kept", "gone"]);
    machine.inventory("ceiling", &inventory(&["kept", "more"], OUTPUTS));
    let requests = fleet.requests();
    let run = machine.kubemint(&["apply", "--prune", "--max-prune", "1", "--yes", "-o", "json"]).exits(5);
    for cluster in ["a", "b"] {
        let cluster = of_cluster(&run.report(), cluster);
        assert_eq!(cluster["state"], "blocked", "{cluster:#}");
        assert_eq!(cluster["blockers"][0]["kind"], "prune-ceiling");
    }
    assert!(fleet.requests() > requests);
}

#[test]
fn a_cluster_where_nothing_is_pruned_waits_too() {
    let fleet = simulated(["a", "b"]);
    let both = inventory(&["kept", "gone"], OUTPUTS);
    let (head, last) = both.split_at(both.rfind("selector = ''").unwrap());
    let machine =
        Machine::of(&fleet, "waits", &format!("{head}{}", last.replacen("selector = ''", "clusters = ['b']", 1)));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let binding = format!("{RBAC}/clusterrolebindings/kubemint:waits:kept");
    admin.delete(&binding).unwrap();
    machine.inventory("waits", &inventory(&["kept"], OUTPUTS));
    let run = machine.kubemint(&["apply", "--prune", "--yes", "-o", "json", "--events", "trail.jsonl"]).exits(5);
    let report = run.report();
    // Repeating it would not help.
    assert!(!run.stderr.contains("hint: run"), "{}", run.stderr);
    assert!(machine.read("trail.jsonl").contains("\"b\""), "the trail tells which cluster is blocked");
    let cluster = of_cluster(&report, "a");
    assert_eq!((&cluster["state"], &cluster["not-started"]), (&"not-started".into(), &"prune-ceiling".into()));
    assert!(admin.get(&binding).is_err());
    machine.expect(0, &["apply", "--prune", "--max-prune", "34%", "--yes"]);
    assert!(admin.get(&binding).is_ok());
}

#[test]
fn an_inventory_that_shrank_prunes_nothing() {
    let (_fleet, mut machine) = fleet(&["a", "b", "c", "d"], "shrank", &["kept", "gone"]);
    let before = machine.read("all.kubeconfig");
    // Nothing is granted at all.
    let profiles = inventory(&["kept"], "");
    machine.inventory("shrank", profiles.split("[[grants]]").next().unwrap());
    let run = machine.kubemint(&["apply", "--prune", "--max-prune", "100%", "--yes"]).exits(5);
    assert!(
        run.stderr.contains("the inventory grants nothing, so `--prune` would remove everything"),
        "{}",
        run.stderr
    );
    // Two of four clusters are gone. Without anything to prune, that is a warning.
    machine.clusters.truncate(2);
    machine.inventory("shrank", &inventory(&["kept", "gone"], OUTPUTS));
    let run = machine.kubemint(&["apply", "--prune", "--yes"]).exits(0);
    let warning = "outputs have entries of clusters that are not in the inventory: `c`, `d`";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    machine.inventory("shrank", &inventory(&["late"], OUTPUTS));
    let run = machine.kubemint(&["apply", "--prune", "--max-prune", "49%", "--yes"]).exits(5);
    assert!(run.stderr.contains("`--prune` would remove objects or entries of 4 of 6 grants"), "{}", run.stderr);
    // The advice for grants says nothing about clusters.
    let run = machine.kubemint(&["apply", "--prune", "--max-prune", "4", "--yes"]).exits(5);
    let why =
        "the outputs know 2 clusters of 4 that the inventory does not have (`c`, `d`), and at most 10% may be gone";
    assert!(run.stderr.contains(why), "{}", run.stderr);
    assert_eq!(machine.read("all.kubeconfig"), before);
    machine.expect(0, &["apply", "--prune", "--max-prune", "67%", "--yes"]);
    assert!(machine.read("all.kubeconfig").contains("gone@c"));
}

#[test]
fn entries_that_no_output_names_go_and_those_of_other_holders_stay() {
    let (_fleet, machine) = fleet(&["a"], "renamed", &["kept"]);
    machine.expect(0, &["apply", "--yes", "--holder", "ci", "--reissue"]);
    let renamed = OUTPUTS.replace("path = 'all", "context = 'new-{profile}-{cluster}'\npath = 'all");
    machine.inventory("renamed", &inventory(&["kept"], &renamed));
    // The file belongs to holder `ci` now, whose entries have the old names.
    machine.expect(0, &["apply", "--yes", "--reissue"]);
    let all = machine.read("all.kubeconfig");
    assert!(all.contains("name: new-kept-a") && all.contains("name: kept@a"), "{all}");
    let report = machine.kubemint(&["apply", "--prune", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), Vec::<String>::new(), "another holder's entries stay: {report:#}");
    // Somebody may use them, so they count.
    machine.expect(5, &["apply", "--holder", "ci", "--prune", "--reissue", "--yes"]);
    machine.expect(5, &["plan", "--holder", "ci", "--prune", "--max-prune", "1", "--reissue", "--deny", "deletes"]);
    let arguments = ["apply", "--holder", "ci", "--prune", "--max-prune", "1", "--reissue", "--yes", "-o", "json"];
    let run = machine.kubemint(&arguments).exits(0);
    let change = run.report()["clusters"][0]["changes"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(change["risk"]["class"], "deletes", "{change:#}");
    let place = change["fields"][0]["removed"][0].as_str().unwrap();
    assert!(place.starts_with("from `/") && place.ends_with("/all.kubeconfig`"), "{place}");
    assert_eq!(changes(&run.report(), 0).last().map(String::as_str), Some("remove kept"), "{}", run.stdout);
    let all = machine.read("all.kubeconfig");
    assert!(all.contains("name: new-kept-a") && !all.contains("name: kept@a"), "{all}");
    // The token file has the name of the grant, and the new entries name it.
    machine.expect(0, &["verify", "--holder", "ci"]);
    let again = machine.kubemint(&["apply", "--holder", "ci", "--prune", "--yes"]).exits(0);
    assert!(again.stdout.contains("1 cluster is up to date"), "{}", again.stdout);
}

#[test]
fn a_cluster_that_is_gone_for_good_is_forgotten() {
    let (fleet, mut machine) = fleet(&["a", "b"], "forget", &["kept", "late"]);
    drop(fleet);
    machine.clusters.pop();
    machine.inventory("forget", &inventory(&["kept", "late"], OUTPUTS));
    let run = machine.kubemint(&["retire", "--cluster", "b", "--yes"]).exits(2);
    assert!(run.stderr.contains("the inventory has no cluster `b`, so it cannot be reached"), "{}", run.stderr);
    assert!(run.stderr.contains("pass `--forget` if it is gone for good"), "{}", run.stderr);
    machine.expect(2, &["retire", "--forget", "--cluster", "b"]);
    let arguments = ["retire", "--forget", "--cluster", "b", "--yes", "-o", "json", "--events", "trail.jsonl"];
    let report = machine.kubemint(&arguments).exits(0).report();
    assert_eq!(changes(&report, 0), ["remove kept", "remove late"]);
    assert_eq!((&report["command"], &report["clusters"][0]["state"]), (&"retire".into(), &"changed".into()));
    let all = machine.read("all.kubeconfig");
    assert!(all.contains("kept@a") && all.contains("late@a") && !all.contains("@b"), "{all}");
    assert!(!machine.read("out/b/kept.kubeconfig").contains("eyJ"));
    let tokens: Vec<_> =
        machine.files().into_keys().filter(|path| path.extension().is_some_and(|it| it == "token")).collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    let events: Vec<String> = machine.read("trail.jsonl").lines().map(str::to_owned).collect();
    assert!(events.iter().any(|line| line.contains("\"remove late\"") && line.contains("\"done\"")), "{events:#?}");
    let again = machine.kubemint(&["retire", "--forget", "--cluster", "b", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to remove"), "{}", again.stdout);
}

/// A context keeps its name and refers to another user entry: the one before goes in the same run, and what somebody merged
/// into a file of their own stays as long as the grant does.
#[test]
fn what_a_context_no_longer_refers_to_goes_at_once() {
    let outputs = "[[outputs]]\npath = 'out/{cluster}'\ncontext = '{cluster}'\nuser = '{profile}-{cluster}'\n";
    let fleet = simulated(["a"]);
    let machine = Machine::of(&fleet, "replaced", &inventory(&["old"], outputs));
    machine.expect(0, &["apply", "--yes"]);
    machine.write("out/merged", &machine.read("out/a"));
    machine.inventory("replaced", &inventory(&["new"], outputs));
    machine.expect(0, &["apply", "--yes"]);
    let text = machine.read("out/a");
    assert!(text.contains("name: new-a") && text.contains("name: old-a"), "{text}");
    machine.inventory("replaced", &inventory(&["old"], outputs));
    machine.write("out/a", "");
    machine.expect(0, &["apply", "--yes", "--reissue"]);
    machine.inventory("replaced", &inventory(&["new"], outputs));
    let prune = ["apply", "--prune", "--max-prune", "1", "--yes", "--reissue"];
    machine.expect(0, &prune);
    let text = machine.read("out/a");
    assert!(text.contains("name: new-a") && !text.contains("old-a"), "{text}");
    assert!(!machine.read("out/merged").contains("old-a"));
    let again = machine.kubemint(&prune).exits(0);
    assert!(again.stdout.contains("is up to date"), "{}", again.stdout);
    machine.write("out/merged", &machine.read("out/a").replace("name: a", "name: mine"));
    machine.expect(0, &prune);
    assert!(machine.read("out/merged").contains("name: new-a"), "the grant is there, and so is what was merged");
}

/// A prune is killed during each of its requests in turn. What is left of the kubeconfigs is whole, an entry is there as long
/// as its objects may be, and the next run does the rest.
#[test]
fn killed_at_every_request_a_prune_converges() {
    let (fleet, machine) = fleet(&["a"], "cut", &["kept", "gone"]);
    let cluster = fleet.cluster("a");
    let admin = machine.admin(0);
    let prune = ["apply", "--prune", "--max-prune", "1", "--yes"];
    let (both, kept) = (inventory(&["kept", "gone"], OUTPUTS), inventory(&["kept"], OUTPUTS));
    machine.inventory("cut", &kept);
    cluster.reset_traffic();
    machine.expect(0, &prune);
    let requests = cluster.requests();
    assert!(requests > 12, "{requests}");
    for request in 0..requests {
        machine.inventory("cut", &both);
        machine.expect(0, &["apply", "--yes"]);
        let token = machine.token("out/a/gone.kubeconfig");
        machine.inventory("cut", &kept);
        cluster.reset_traffic();
        cluster.set_fault(Some(Fault::HangAfter(request)));
        let mut child = machine.command(&prune).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the request arrives that is not answered", || cluster.requests() > request);
        child.kill().unwrap();
        child.wait().unwrap();
        cluster.set_fault(None);
        let is_there = admin.get("/api/v1/namespaces/cut/serviceaccounts/gone").is_ok();
        let all = machine.read("all.kubeconfig");
        assert!(!is_there || all.contains("gone@a"), "killed at {request}, the entry went before the account");
        assert!(all.contains("kept@a") && serde_saphyr::from_str::<Value>(&all).is_ok(), "{all}");
        machine.expect(0, &prune);
        assert!(!machine.read("all.kubeconfig").contains("gone@a"), "killed at {request}");
        assert!(!machine.read("out/a/gone.kubeconfig").contains("eyJ"), "killed at {request}");
        let left = marked(&admin, "cut");
        assert!(left.iter().all(|object| !object["metadata"]["name"].as_str().unwrap().contains("gone")), "{left:#?}");
        assert!(is_refused_soon(&admin, &token));
        assert!(can_i(&admin, &machine.token("out/a/kept.kubeconfig"), "get", "pods", ""));
    }
    println!("killed at each of {requests} requests");
}

/// Swaps the servers that the admin contexts of two clusters lead to.
fn swap(machine: &Machine, one: &str, other: &str) {
    let text = machine.read("admin.yaml");
    let context =
        |name: &str, cluster: &str| format!("    cluster: {cluster}\n    user: {cluster}-admin\n  name: {name}\n");
    for (name, wrong) in [(one, other), (other, one)] {
        assert!(text.contains(&context(name, name)), "{text}");
        let text = machine.read("admin.yaml");
        machine.write("admin.yaml", &text.replace(&context(name, name), &context(name, wrong)));
    }
}

#[test]
fn on_another_server_than_the_outputs_know_nothing_is_removed() {
    let (_fleet, machine) = fleet(&["a", "b"], "swapped", &["kept", "gone"]);
    let token = machine.token("out/b/gone.kubeconfig");
    machine.inventory("swapped", &inventory(&["kept"], OUTPUTS));
    let (before, admin) = (machine.files(), machine.read("admin.yaml"));
    swap(&machine, "a", "b");
    for arguments in [
        &["retire", "--cluster", "a", "--yes"][..],
        &["revoke", "--access", "--cluster", "a", "--yes"],
        &["apply", "--prune", "--max-prune", "100%", "--reissue", "--yes"],
    ] {
        let report = machine.kubemint(&[arguments, &["-o", "json"]].concat()).exits(5).report();
        let blockers = of_cluster(&report, "a")["blockers"].to_string();
        let why = "the API server that answers is the one that the outputs know as `b`: nothing is removed there";
        assert!(blockers.contains(why) && blockers.contains("another-server"), "{arguments:?}: {blockers}");
    }
    machine.write("admin.yaml", &admin);
    assert!(can_i(&machine.admin(1), &token, "get", "pods", ""));
    assert_eq!(machine.files(), before);
    machine.expect(0, &["apply", "--prune", "--max-prune", "100%", "--yes"]);
}

#[test]
fn a_name_that_the_inventory_takes_is_found_in_the_files() {
    let fleet = simulated(["prod eu", "a+b (c)"]);
    let outputs = "[[outputs]]\npath = 'out/{cluster}{profile}'\n";
    let machine = Machine::of(&fleet, "odd", &inventory(&["kept", "gone"], outputs));
    machine.expect(0, &["plan", "--out", "plan.json"]);
    machine.expect(0, &["show", "plan.json"]);
    machine.expect(0, &["apply", "plan.json"]);
    machine.inventory("odd", &inventory(&["kept"], outputs));
    machine.expect(0, &["apply", "--prune", "--max-prune", "2", "--yes"]);
    assert!(!machine.read("out/prod eugone").contains("eyJ") && machine.read("out/prod eukept").contains("eyJ"));
    machine.expect(0, &["retire", "--cluster", "prod eu", "--yes"]);
    assert!(!machine.read("out/prod eukept").contains("eyJ"));
    machine.expect(0, &["retire", "--forget", "--cluster", "a+b (c)", "--yes"]);
    assert!(!machine.read("out/a+b (c)kept").contains("eyJ"));
}

/// A token file goes with the last entry that names it, and before it: as long as there may be a token, an entry tells where.
#[test]
fn a_token_file_goes_with_the_last_entry_that_names_it() {
    let (_fleet, machine) = fleet(&["a"], "tokens", &["kept", "gone", "late"]);
    let token = |profile: &str| machine.path(&format!("all.kubeconfig.tokens/{profile}@a.token"));
    let mine = "- name: mine\n  user:\n    tokenFile: ./all.kubeconfig.tokens/gone@a.token\n";
    machine
        .write("all.kubeconfig", &machine.read("all.kubeconfig").replace("\nusers:\n", &format!("\nusers:\n{mine}")));
    let contexts = "contexts:\n- name: theirs\n  context: {cluster: kept@a, user: late@a}\n";
    machine.write("all.kubeconfig", &machine.read("all.kubeconfig").replace("contexts:\n", contexts));
    // It cannot be deleted.
    std::fs::remove_file(token("late")).unwrap();
    machine.write("all.kubeconfig.tokens/late@a.token/x", "");
    machine.inventory("tokens", &inventory(&["kept", "late"], OUTPUTS));
    let prune = ["apply", "--prune", "--max-prune", "67%", "--yes", "--reissue"];
    let run = machine.kubemint(&prune);
    assert!(run.code != 0 && run.stderr.contains("late@a.token"), "{} {}", run.code, run.stderr);
    std::fs::remove_dir_all(token("late")).unwrap();
    machine.expect(0, &prune);
    let all = machine.read("all.kubeconfig");
    assert!(!all.contains("name: gone@a") && all.contains("name: mine") && token("gone").exists(), "{all}");
    // What a context of somebody refers to stays, with its token file, and that is said.
    machine.inventory("tokens", &inventory(&["kept"], OUTPUTS));
    let run = machine.kubemint(&prune).exits(0);
    let stays = "user `late@a` stays in `";
    assert!(format!("{}{}", run.stdout, run.stderr).contains(stays), "{}{}", run.stdout, run.stderr);
    assert!(token("late").exists());
    let again = machine.kubemint(&prune).exits(0);
    assert!(again.stdout.contains("is up to date"), "{}", again.stdout);
    // A token file that cannot be deleted keeps its entry, so that the next run knows of it.
    let all =
        machine.read("all.kubeconfig").replace("- name: theirs\n  context: {cluster: kept@a, user: late@a}\n", "");
    machine.write("all.kubeconfig", &all);
    std::fs::remove_file(token("late")).unwrap();
    machine.write("all.kubeconfig.tokens/late@a.token/x", "");
    let run = machine.kubemint(&prune).exits(7);
    assert!(run.stderr.contains("late@a.token"), "{}", run.stderr);
    assert!(machine.read("all.kubeconfig").contains("name: late@a"));
    std::fs::remove_dir_all(token("late")).unwrap();
    machine.write("all.kubeconfig.tokens/late@a.token", "eyJ.left.behind");
    machine.expect(0, &prune);
    assert!(!machine.read("all.kubeconfig").contains("name: late@a") && !token("late").exists());
}

#[test]
fn a_file_that_cannot_be_searched_is_no_success() {
    let (_fleet, machine) = fleet(&["a"], "torn", &["kept"]);
    let whole = machine.read("out/a/kept.kubeconfig");
    machine.write("out/old/kept.kubeconfig", &format!("{whole}users: [\n"));
    for (arguments, code) in [
        (&["plan", "--prune", "-o", "json"][..], 6),
        (&["apply", "--prune", "--yes", "-o", "json"], 6),
        (&["retire", "--forget", "--cluster", "old", "--yes", "-o", "json"], 6),
        (&["retire", "--cluster", "a", "--yes", "-o", "json"], 6),
    ] {
        let run = machine.kubemint(arguments).exits(code);
        let notes = run.report()["clusters"][0]["notes"].to_string();
        assert!(notes.contains("out/old/kept.kubeconfig") && notes.contains("not-checked"), "{arguments:?}: {notes}");
        assert!(!run.stderr.contains("remove it from"), "{}", run.stderr);
    }
}

#[test]
fn advice_can_be_followed() {
    let (fleet, machine) = fleet(&["a", "b"], "advice", &["kept"]);
    machine.impatient();
    fleet.cluster("a").set_fault(Some(Fault::Refuse));
    let run = machine.kubemint(&["retire", "--cluster", "a", "--cluster", "a", "--yes"]).exits(7);
    assert!(run.stderr.contains("hint: run `kubemint retire --cluster a`"), "{}", run.stderr);
    assert!(run.stderr.contains("`a`: what is gone for good is forgotten with `--forget`"), "{}", run.stderr);
    let run = machine.kubemint(&["retire", "--forget", "--cluster", "typo", "--yes"]).exits(0);
    assert!(
        format!("{}{}", run.stdout, run.stderr).contains("no output has an entry of cluster `typo`"),
        "{}",
        run.stderr
    );
    fleet.cluster("a").set_fault(None);
    // A role that somebody wants left alone is left, also where no grant explains it.
    let role = format!("{RBAC}/clusterroles/kubemint:advice:kept");
    let left =
        serde_json::json!({"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    machine.admin(0).merge_patch(&role, &left).unwrap();
    machine.inventory("advice", &inventory(&["late"], OUTPUTS));
    let report = machine.kubemint(&["apply", "--prune", "--max-prune", "2", "--yes", "-o", "json"]).exits(0).report();
    let notes = of_cluster(&report, "a")["notes"].to_string();
    assert!(notes.contains("ClusterRole `kubemint:advice:kept` is left alone"), "{notes}");
    assert!(machine.admin(0).get(&role).is_ok() && machine.admin(1).get(&role).is_err());
}

/// Token files have no holder in their names.
#[test]
fn two_holders_do_not_share_a_token_file() {
    let fleet = simulated(["a"]);
    let outputs = "[[outputs]]\npath = 'all.kubeconfig'\ncontext = '{holder}-{profile}'\ncredential = 'token-file'\n";
    let machine = Machine::of(&fleet, "shared", &inventory(&["kept"], outputs));
    let run = machine.kubemint(&["validate"]).exits(3);
    assert!(run.stderr.contains("two holders would write one token file"), "{}", run.stderr);
    machine.inventory("shared", &inventory(&["kept"], &outputs.replace("'all.", "'{holder}.")));
    machine.expect(0, &["validate"]);
}
