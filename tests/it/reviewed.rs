//! Saved plans: exactly what was reviewed is done, and nothing where the cluster is not as it was.

use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::support::{Machine, changes, simulated};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_review {
    ($run:ident) => {
        $run!(
            what_was_reviewed_is_what_is_done,
            a_cluster_that_moved_is_refused_with_who_moved_it,
            a_reader_plans_and_a_writer_applies,
        );
    };
}
pub(crate) use every_review;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn reader(verbs: &str) -> String {
    format!(
        "[profiles.reader]\ncluster-rules = [{{ api-groups = [''], resources = ['pods'], verbs = [{verbs}] }}]\n\
         [[grants]]\nprofile = 'reader'\nselector = ''\n[[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
    )
}

/// Returns the digest that `plan --out` printed last.
fn digest(stdout: &str) -> String {
    let line = stdout.lines().last().unwrap();
    let (_, digest) = line.split_once("saved in `reviewed.plan`, ").unwrap_or_else(|| panic!("{line}"));
    digest.to_owned()
}

pub(crate) fn what_was_reviewed_is_what_is_done(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("reviewed", &reader("'get'"));
    let planned = machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0).stdout;
    let digest = digest(&planned);
    // It is shown as it was, by every renderer, wherever the clusters are.
    let shown = machine.kubemint(&["show", "reviewed.plan"]).exits(0).stdout;
    assert_eq!(planned.strip_prefix(&shown).unwrap().lines().count(), 1, "{planned}");
    let report = machine.kubemint(&["show", "reviewed.plan", "-o", "json", "-o", "junit=x.xml"]).exits(0).report();
    assert_eq!((&report["command"], &report["clusters"][0]["state"]), (&json!("plan"), &json!("pending")));
    // Nobody is asked, there is no terminal here.
    let done = machine.kubemint(&["apply", "reviewed.plan", "--expect-digest", &digest, "-o", "json"]).exits(0);
    assert_eq!(changes(&done.report(), 0), changes(&report, 0));
    machine.expect(0, &["verify"]);
    // Once more: nothing is left to do, and that is no reason to refuse it.
    let again = machine.kubemint(&["apply", "reviewed.plan"]).exits(0);
    assert_eq!(again.stdout, "1 cluster is up to date, nothing was left to do\n");
    // Where time alone has passed, what is due meanwhile waits for the next plan.
    machine.inventory("reviewed", &reader("'get', 'list'"));
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    let done = machine.kubemint(&["apply", "reviewed.plan", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&done, 0), ["update ClusterRole kubemint:reviewed:reader"]);
}

pub(crate) fn a_cluster_that_moved_is_refused_with_who_moved_it(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("moved", &reader("'get'"));
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("moved", &reader("'get', 'list'"));
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    let admin = machine.admin(0);
    let role = format!("{RBAC}/clusterroles/kubemint:moved:reader");
    let edit = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]}]});
    admin.merge_patch(&format!("{role}?fieldManager=kubectl-edit"), &edit).unwrap();
    let refused = machine.kubemint(&["apply", "reviewed.plan", "-o", "json"]).exits(5).report();
    let blocker = &refused["clusters"][0]["blockers"][0];
    let message = blocker["message"].as_str().unwrap();
    assert_eq!(blocker["kind"], "state-moved");
    let expected = "it is not as it was when the plan was made: ClusterRole `kubemint:moved:reader` was changed by \
                    field manager `kubectl-edit` at 2";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(changes(&refused, 0), Vec::<String>::new(), "nothing is done");
    assert_eq!(admin.get(&role).unwrap()["rules"][0]["verbs"], json!(["get", "delete"]));
    // Planned anew, it has to be agreed to.
    let refused = machine.kubemint(&["apply", "reviewed.plan", "--replan"]).exits(2);
    assert!(refused.stderr.contains("needs a terminal to confirm on"), "{}", refused.stderr);
    let done = machine.kubemint(&["apply", "reviewed.plan", "--replan", "--yes"]).exits(0);
    assert!(done.stdout.contains("overrules field manager `kubectl-edit`"), "{}", done.stdout);
    assert_eq!(admin.get(&role).unwrap()["rules"][0]["verbs"], json!(["get", "list"]));
}

/// Whoever reviews needs no right to write. The plan holds nothing of the access that it was made with.
pub(crate) fn a_reader_plans_and_a_writer_applies(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Reader);
    let admin = machine.admin(0);
    let role = json!({"metadata": {"name": "reviewer"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": ["get", "list"]},
    ]});
    admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let binding = json!({
        "metadata": {"name": "reviewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reviewer"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "reader"}],
    });
    admin.create(&format!("{RBAC}/clusterrolebindings"), &binding).unwrap();
    machine.inventory("handed", &reader("'get'"));
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    let refused = machine.kubemint(&["apply", "reviewed.plan"]).exits(5);
    assert!(refused.stderr.contains("the admin may read, but not write"), "{}", refused.stderr);
    let access = machine.read("admin.yaml");
    machine.write("admin.yaml", &Machine::new(&[cluster], User::Admin).read("admin.yaml"));
    machine.expect(0, &["apply", "reviewed.plan"]);
    machine.expect(0, &["verify"]);
    let plan = machine.read("reviewed.plan");
    for line in access.lines().filter(|line| line.contains("-data:") || line.contains("token:")) {
        let value = line.rsplit(": ").next().unwrap().trim_matches('"');
        assert!(value.len() > 20 && !plan.contains(value), "{line}");
    }
}

/// What is refused as a whole, before any cluster is contacted.
#[test]
fn a_plan_that_is_not_the_one_that_was_reviewed_is_refused() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::of(&fleet, "refused", &reader("'get'"));
    let digest = digest(&machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0).stdout);
    let plan = machine.read("reviewed.plan");
    let refused = |arguments: &[&str], cause: &str| {
        fleet.cluster("a").reset_traffic();
        let run = machine.kubemint(&[&["apply", "reviewed.plan"], arguments].concat()).exits(5);
        assert!(run.stderr.contains(cause), "{cause}: {}", run.stderr);
        assert_eq!(fleet.cluster("a").requests(), 0, "{cause}");
    };
    refused(&["--expect-digest", "sha256:0"], &format!("its digest is {digest}, and not sha256:0"));
    refused(&["--max-age", "0s"], "and `--max-age` is 0s");
    let inventory = machine.read("clusters.toml");
    machine.write("clusters.toml", &format!("{inventory}# reviewed by nobody\n"));
    refused(&[], "the inventory's files changed after it was made");
    machine.write("clusters.toml", &inventory.replace("name = \"refused\"", "name = \"other\""));
    refused(&[], "it is for inventory `refused`, and not for `other`");
    machine.write("clusters.toml", &inventory);
    for (altered, cause) in [
        (plan.replace("\"kubemint-plan\": 1", "\"kubemint-plan\": 2"), "its format has version 2"),
        (plan.replace("\"made\"", "\"mode\""), "unknown field `mode`"),
        (plan.replace("\"id\": \"create /api/v1/namespaces/refused\"", "\"id\": \"x\""), "a step has another id than"),
        ("{}".to_owned(), "it is no plan that `kubemint plan --out` wrote"),
        (plan[..plan.len() / 2].to_owned(), "it is no plan that `kubemint plan --out` wrote"),
    ] {
        machine.write("reviewed.plan", &altered);
        refused(&[], cause);
    }
    // The selection is the plan's own.
    let run = machine.kubemint(&["apply", "reviewed.plan", "--cluster", "a"]).exits(2);
    assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
    // A plan replaces plans only.
    let run = machine.kubemint(&["plan", "--out", "clusters.toml"]).exits(2);
    assert!(run.stderr.contains("cannot save the plan in `clusters.toml`"), "{}", run.stderr);
    assert_eq!(machine.read("clusters.toml"), inventory);
}

/// A file that somebody altered cleverly still does nothing that the inventory does not say.
#[test]
fn an_altered_plan_does_nothing_else() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = Machine::of(&fleet, "altered", &reader("'get'"));
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    let mut plan: Value = serde_json::from_str(&machine.read("reviewed.plan")).unwrap();
    // More rights on one cluster; another one is left out.
    let steps = &mut plan["clusters"][0]["planned"]["plan"]["steps"];
    let role = steps.as_array_mut().unwrap().iter_mut().find(|step| step["object"]["kind"] == "ClusterRole").unwrap();
    let text = role.to_string().replace("\"get\"", "\"*\"");
    *role = serde_json::from_str(&text).unwrap();
    plan["clusters"].as_array_mut().unwrap().remove(2);
    machine.write("reviewed.plan", &plan.to_string());
    let report = machine.kubemint(&["apply", "reviewed.plan", "-o", "json"]).exits(6).report();
    let states: Vec<&Value> = report["clusters"].as_array().unwrap().iter().map(|cluster| &cluster["state"]).collect();
    assert_eq!(states, ["blocked", "changed", "blocked"], "{report:#}");
    let blocker = |cluster: usize| &report["clusters"][cluster]["blockers"][0];
    assert!(blocker(0)["message"].as_str().unwrap().contains("now in another way: create ClusterRole"));
    assert_eq!(blocker(2)["kind"], "not-in-plan");
}
