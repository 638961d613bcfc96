//! Risk and policy: what a plan does to access, and what must not happen.

use kubemint_testkit::User;
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn reader(resources: &str, verbs: &str) -> String {
    format!(
        "[profiles.reader]\ncluster-rules = [{{ api-groups = [''], resources = [{resources}], verbs = [{verbs}] }}]\n\
         [[grants]]\nprofile = 'reader'\nselector = ''\n[[outputs]]\npath = 'out/{{cluster}}.kubeconfig'\n"
    )
}

fn blockers(report: &Value) -> Vec<(&str, &str)> {
    let blockers = report["clusters"].as_array().unwrap().iter().flat_map(|it| it["blockers"].as_array().unwrap());
    blockers.map(|it| (it["kind"].as_str().unwrap(), it["message"].as_str().unwrap())).collect()
}

#[test]
fn a_plan_says_what_it_does_to_access_and_can_be_denied_that() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = Machine::of(&fleet, "risky", &reader("'pods'", "'get', 'list'"));
    let first = machine.kubemint(&["plan"]).exits(0).stdout;
    assert!(first.contains("\ncreates: profile `reader` may get, list pods: 3 clusters\n\n3 clusters: "), "{first}");
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("risky", &reader("'secrets'", "'get'"));
    let plan = machine.kubemint(&["plan"]).exits(0).stdout;
    let line = "\nreplaces: profile `reader` may now get secrets, and no longer get, list pods: 3 clusters (escalating: \
                secrets-read)\n";
    assert!(plan.contains(line), "{plan}");
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let right =
        |verbs: &[&str], resource: &str| json!([{"rights": [{"verbs": verbs, "api-group": "", "resource": resource}]}]);
    let expected = json!({
        "class": "replaces",
        "profile": "reader",
        "gains": right(&["get"], "secrets"),
        "losses": right(&["get", "list"], "pods"),
        "escalating": ["secrets-read"],
    });
    assert_eq!(report["clusters"][0]["changes"][0]["risk"], expected);
    // Other classes do not matter; this one does, also of a plan that was saved.
    machine.expect(0, &["plan", "--deny", "creates,widens"]);
    let denied = machine.kubemint(&["apply", "--yes", "--deny", "widens,replaces", "-o", "json"]).exits(5).report();
    let said = "`--deny replaces` refuses it: profile `reader` may now get secrets, and no longer get, list pods";
    assert_eq!(blockers(&denied), [("denied", said); 3]);
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    machine.expect(5, &["apply", "reviewed.plan", "--deny", "replaces"]);
    machine.expect(0, &["apply", "reviewed.plan"]);
    drop(machine.kubemint(&["plan", "--deny", "deletes", "--out", "reviewed.plan"]).exits(0));
    machine.expect(2, &["plan", "--deny", "everything"]);
}

#[test]
fn a_role_that_changed_after_the_review_is_not_bound() {
    let fleet = simulated(["a"]);
    let machine = Machine::of(
        &fleet,
        "moving",
        "[profiles.reader]\ncluster-roles = ['custom']\n[[grants]]\nprofile = 'reader'\nselector = ''\n",
    );
    let role = |verbs: &[&str]| json!({"metadata": {"name": "custom"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]});
    machine.admin(0).create(&format!("{RBAC}/clusterroles"), &role(&["create"])).unwrap();
    drop(machine.kubemint(&["plan", "--out", "reviewed.plan"]).exits(0));
    machine.admin(0).merge_patch(&format!("{RBAC}/clusterroles/custom"), &role(&["create", "get"])).unwrap();
    let refused = machine.kubemint(&["apply", "reviewed.plan", "-o", "json"]).exits(5).report();
    let [(kind, message)] = blockers(&refused).try_into().unwrap();
    assert_eq!(kind, "state-moved");
    assert!(message.contains("now with other rights: create ClusterRoleBinding"), "{message}");
}

#[test]
fn the_policy_is_judged_offline_where_that_is_possible() {
    let fleet = simulated(["a", "b"]);
    let machine = Machine::of(&fleet, "strict", &reader("'secrets'", "'get'"));
    machine.expect(0, &["apply", "--yes"]);
    let policy = "[policy]\ndeny = ['secrets-read']\n";
    machine.inventory("strict", &format!("{policy}{}", reader("'secrets'", "'get'")));
    let refused = machine.kubemint(&["validate"]).exits(3).stderr;
    assert!(
        refused.contains("the policy's `secrets-read` refuses what profile `reader` allows: get on secrets"),
        "{refused}"
    );
    assert!(refused.contains("clusters.toml:18:18"), "{refused}");
    let exception = |until: &str, clusters: &str| {
        format!(
            "{policy}[[policy.exceptions]]\nprofile = 'reader'\nrules = ['secrets-read']\n{clusters}\n\
             reason = 'INC-7'\nuntil = {until}\n{}",
            reader("'secrets'", "'get'")
        )
    };
    machine.inventory("strict", &exception("2099-01-01", "clusters = ['a']"));
    let refused = machine.kubemint(&["validate"]).exits(3).stderr;
    assert!(refused.contains("get on secrets, on `b`"), "{refused}");
    machine.inventory("strict", &exception("2099-01-01", "selector = ''"));
    machine.expect(0, &["validate"]);
    machine.expect(0, &["plan"]);
    // After its end, what works goes on, and nothing new is done.
    machine.inventory("strict", &exception("2020-01-01", "selector = ''"));
    machine.expect(0, &["validate"]);
    let refused = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    let said = blockers(&refused);
    assert_eq!((said.len(), said[0].0), (2, "policy"));
    assert!(said[0].1.ends_with("; the exception from it (\"INC-7\") ended at 2020-01-02T00:00:00Z"), "{said:?}");
    let renewed = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(0).report();
    assert_eq!(renewed["clusters"][0]["notes"][0]["kind"], "policy", "{renewed:#}");
}

#[test]
fn what_an_existing_role_allows_is_judged_before_it_is_bound_and_after() {
    let fleet = simulated(["a"]);
    let rest = "[[grants]]\nprofile = 'deployer'\nselector = ''\n[profiles.deployer]\nnamespaces = [{ names = ['default'], \
                cluster-roles = ['edit'] }]\n";
    let machine = Machine::of(&fleet, "bound", &format!("[policy]\ndeny = ['secrets-read', 'token-minting']\n{rest}"));
    machine.expect(0, &["validate"]);
    let refused = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    let said = blockers(&refused);
    let expected = "the policy's `secrets-read` refuses ClusterRole `edit`, which profile `deployer` binds";
    assert!(said.iter().any(|(kind, message)| *kind == "policy" && message.starts_with(expected)), "{said:?}");
    assert!(said[0].1.contains("clusters.toml:"), "{said:?}");
    machine.inventory("bound", &format!("[policy]\ndeny = ['webhooks']\n{rest}"));
    let plan = machine.kubemint(&["plan"]).exits(0).stdout;
    let line = "creates: profile `deployer` may do what is in ClusterRole `edit` in namespace `default`: 1 cluster (escalating: \
                secrets-read, impersonation, token-minting, pod-exec)";
    assert!(plan.contains(line), "{plan}");
    // A binding that is there is judged by a policy that came later. A renewal goes on, because it gives nobody more.
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("bound", &format!("[policy]\ndeny = ['pod-exec']\n{rest}"));
    let refused = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    let expected = "the policy's `pod-exec` refuses ClusterRole `edit`, which profile `deployer` binds";
    assert!(blockers(&refused)[0].1.starts_with(expected), "{refused:#}");
    machine.expect(0, &["refresh", "--force"]);
    machine.inventory("bound", rest);
    fleet.cluster("a").reset_traffic();
    machine.expect(0, &["plan"]);
    let reads_role = fleet.cluster("a").recorded().iter().any(|request| request.path.ends_with("/clusterroles/edit"));
    assert!(!reads_role, "without a policy nobody asks for it");
}

#[test]
fn admins_that_lack_rights_are_grouped_by_what_they_lack() {
    let fleet = simulated(["a", "b", "c"]);
    let machine = Machine::new(&fleet.test_clusters(), User::LimitedAdmin);
    for (cluster, held) in [(0, &["get"][..]), (1, &[]), (2, &[])] {
        let mut rules = vec![
            json!({"apiGroups": [""], "resources": ["namespaces", "serviceaccounts", "serviceaccounts/token", "secrets"], "verbs": ["*"]}),
            json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"],
                   "verbs": ["get", "list", "create", "update", "patch", "delete"]}),
        ];
        if !held.is_empty() {
            rules.push(json!({"apiGroups": [""], "resources": ["pods"], "verbs": held}));
        }
        let admin = machine.admin(cluster);
        admin.create(&format!("{RBAC}/clusterroles"), &json!({"metadata": {"name": "w"}, "rules": rules})).unwrap();
        let binding = json!({
            "metadata": {"name": "w"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "w"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "limited-admin"}],
        });
        admin.create(&format!("{RBAC}/clusterrolebindings"), &binding).unwrap();
    }
    machine.inventory("lacking", &reader("'pods'", "'get', 'delete'"));
    let plan = machine.kubemint(&["plan"]).exits(5).stdout;
    let lines: Vec<&str> = plan.lines().filter(|line| line.starts_with("lacks rights:")).collect();
    let expected = [
        "lacks rights: `limited-admin` may not grant delete, get on pods: 2 clusters: b, c",
        "lacks rights: `limited-admin` may not grant delete on pods: 1 cluster: a",
    ];
    assert_eq!(lines, expected, "{plan}");
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    let right =
        json!([{"user": "limited-admin", "rights": [{"verbs": ["delete"], "api-group": "", "resource": "pods"}]}]);
    assert_eq!(report["clusters"][0]["missing-rights"], right);
}
