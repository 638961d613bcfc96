//! A revoked token is really refused, on any cluster, simulated or real, whatever somebody edited in the cluster.
//!
//! Whoever may patch a ServiceAccount or a Secret can put anything into it. Like `scenarios`: each has an inventory
//! name and a namespace of its own.

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, index, output, profile};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_death {
    ($run:ident) => {
        $run!(
            an_edited_index_hides_no_token,
            who_may_not_list_secrets_looks_under_every_name,
            what_has_the_name_of_an_anchor_is_not_overlooked,
            tokens_die_although_the_service_account_cannot_be_written,
            an_adoption_ends_nothing_that_lives,
            an_anchor_of_another_inventory_is_not_overlooked,
            an_index_that_went_back_is_noticed_by_a_plan,
            a_forged_index_leads_nowhere,
            a_secret_that_was_there_before_the_anchor_is_not_overlooked,
            large_objects_of_others_keep_nothing_from_being_revoked,
            a_cluster_without_a_grant_is_visited,
            superseded_is_judged_by_what_lives,
        );
    };
}
pub(crate) use every_death;

const ANNOTATION: &str = "kubemint.dev/credentials";

fn account(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/reader")
}

fn write_index(admin: &Admin, namespace: &str, index: &Value) {
    let annotations = json!({"metadata": {"annotations": {ANNOTATION: index.to_string()}}});
    admin.merge_patch(&account(namespace), &annotations).unwrap();
}

/// The name of an edit of an index, and the edit.
type Edit = (&'static str, fn(&Value) -> Value);

/// Edits after which the index does not list the living token.
const EDITS: [Edit; 5] = [
    ("the holder is renamed", |index| json!({"v": 1, "holders": {"nobody": index["holders"]["default"]}})),
    ("the line is removed", |index| {
        let mut index = index.clone();
        index["holders"]["default"]["generations"] = json!([]);
        index
    }),
    ("the index is as it was at first", |_| json!({"v": 1})),
    ("the numbers are reset", |_| json!({"v": 1, "holders": {"default": {"next": 1, "generations": []}}})),
    ("everything seems revoked", |_| {
        let chain = json!({"next": 9, "generations": [], "suspended": true});
        json!({"v": 1, "holders": {"default": chain}, "suspended": true})
    }),
];

/// Whatever the index says, and although no output holds the token any more, the token ends, and the run says that the
/// index was changed.
pub(crate) fn an_edited_index_hides_no_token(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-edit", &profile("15m"));
    let admin = machine.admin(0);
    for (what, edit) in EDITS {
        for arguments in [&["revoke", "--yes"][..], &["revoke", "--all", "--yes"]] {
            machine.expect(0, &["apply", "--yes"]);
            let token = machine.token(&output(cluster));
            assert!(can_i(&admin, &token, "list", "pods", "default"), "{what}");
            std::fs::remove_dir_all(machine.path("out")).unwrap();
            write_index(&admin, "dead-edit", &edit(&index(&admin, "dead-edit")));
            let run = machine.kubemint(arguments).exits(0);
            assert!(run.stderr.contains(&format!("somebody changed the annotation `{ANNOTATION}`")), "{}", run.stderr);
            assert!(is_refused_soon(&admin, &token), "{what}: {arguments:?}\n{}{}", run.stdout, run.stderr);
            assert!(anchors(&admin, "dead-edit").is_empty(), "{what}");
        }
    }
}

/// Writes an admin kubeconfig for a user that may revoke, but may not list Secrets.
fn revoker(machine: &Machine, cluster: &TestCluster, namespace: &str) {
    let admin = machine.admin(0);
    let name = format!("{namespace}-revoker");
    let rules = json!({"metadata": {"name": name}, "rules": [
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "delete"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    ]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    admin.create(&format!("{rbac}/clusterroles"), &rules).unwrap();
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": name}],
    });
    admin.create(&format!("{rbac}/clusterrolebindings"), &binding).unwrap();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    admin.create(accounts, &json!({"metadata": {"name": name, "namespace": "default"}})).unwrap();
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = admin.create(&format!("{accounts}/{name}/token"), &request).unwrap();
    let token = answer["status"]["token"].as_str().unwrap();
    let text = machine.read("admin.yaml").replace(cluster.token(User::Admin), token);
    machine.write("revoker.yaml", &text);
}

/// Makes the machine's inventory use another admin kubeconfig.
fn use_admin(machine: &Machine, file: &str) {
    let text = machine.read("clusters.toml");
    let (before, rest) = text.split_once("kubeconfig = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    machine.write("clusters.toml", &format!("{before}kubeconfig = \"{file}\"{after}"));
}

/// Without the right to list Secrets, the anchors are asked for under every name from 1 to the highest known number.
/// The run says that this is less than a list; what remains uncertain is a failure.
pub(crate) fn who_may_not_list_secrets_looks_under_every_name(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-names", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    revoker(&machine, cluster, "dead-names");
    for (what, edit) in EDITS {
        use_admin(&machine, "admin.yaml");
        machine.expect(0, &["apply", "--yes", "--reissue"]);
        let token = machine.token(&output(cluster));
        write_index(&admin, "dead-names", &edit(&index(&admin, "dead-names")));
        use_admin(&machine, "revoker.yaml");
        let run = machine.kubemint(&["revoke", "--yes"]).exits(0);
        assert!(run.stderr.contains("by the index and computed names only"), "{}", run.stderr);
        assert!(is_refused_soon(&admin, &token), "{what}: {}{}", run.stdout, run.stderr);
    }
    // Without the index nothing tells how far the numbers went, nor who holds any.
    use_admin(&machine, "admin.yaml");
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.token(&output(cluster));
    let none = json!({"metadata": {"annotations": {ANNOTATION: null}}});
    admin.merge_patch(&account("dead-names"), &none).unwrap();
    use_admin(&machine, "revoker.yaml");
    for _ in 0..2 {
        let run = machine.kubemint(&["revoke", "--all", "--yes"]).exits(7);
        assert!(run.stderr.contains("whether more tokens live is not known"), "{}", run.stderr);
        assert!(run.stderr.contains("pass `--hard`"), "{}", run.stderr);
    }
    assert!(is_refused_soon(&admin, &token), "what the output holds is dead");
}

/// A Secret with the name of an anchor and without our marks may still be one. A caller who may not list Secrets cannot
/// see its type, so it is named, and the run fails.
pub(crate) fn what_has_the_name_of_an_anchor_is_not_overlooked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-marks", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    revoker(&machine, cluster, "dead-marks");
    use_admin(&machine, "revoker.yaml");
    let name = anchors(&admin, "dead-marks").remove(0);
    let none = json!({"metadata": {"labels": null, "ownerReferences": null, "annotations": null}});
    admin.merge_patch(&format!("/api/v1/namespaces/dead-marks/secrets/{name}"), &none).unwrap();
    let run = machine.kubemint(&["revoke", "--yes"]).exits(7);
    assert!(run.stderr.contains(&format!("kubectl delete secret -n dead-marks {name}")), "{}", run.stderr);
    assert!(can_i(&admin, &token, "list", "pods", "default"), "it was right to fail");
    // Who may list them sees the type, which nobody can edit.
    use_admin(&machine, "admin.yaml");
    machine.expect(0, &["revoke", "--yes"]);
    assert!(is_refused_soon(&admin, &token));
}

/// The ServiceAccount can take no annotation any more. Its tokens end all the same: the fence fails, the anchors are
/// deleted, and the run says what was not done. `--hard` then works without it.
pub(crate) fn tokens_die_although_the_service_account_cannot_be_written(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-full", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let used: usize = index(&admin, "dead-full").to_string().len() + ANNOTATION.len();
    let filler = "x".repeat(256 * 1024 - used - "example.com/filler".len());
    let full = json!({"metadata": {"annotations": {"example.com/filler": filler}}});
    admin.merge_patch(&account("dead-full"), &full).unwrap();
    let run = machine.kubemint(&["revoke", "--yes"]).exits(7);
    assert!(run.stderr.contains("issuing could not be suspended"), "{}", run.stderr);
    assert!(is_refused_soon(&admin, &token));

    let uid = admin.get(&account("dead-full")).unwrap()["metadata"]["uid"].clone();
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    assert_ne!(admin.get(&account("dead-full")).unwrap()["metadata"]["uid"], uid);
    assert_eq!(index(&admin, "dead-full")["suspended"], true);
}

/// A ServiceAccount was adopted from another inventory, whose anchors have names that this one does not compute.
pub(crate) fn an_anchor_of_another_inventory_is_not_overlooked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-old", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let text = machine.read("clusters.toml").replacen("name = \"dead-old\"", "name = \"dead-new\"", 1);
    machine.write("clusters.toml", &text.replace("out/{cluster}", "new/{cluster}"));
    // Who holds its token would lose it, so that needs consent; and nobody calls it dead.
    let plan = machine.kubemint(&["plan", "--adopt-from", "dead-old"]).exits(5);
    assert!(plan.stdout.contains("is alive until") && !plan.stdout.contains("revoked"), "{}", plan.stdout);
    assert!(plan.stdout.contains("has living tokens of inventory `dead-old` (generation 1)"), "{}", plan.stdout);
    machine.expect(0, &["apply", "--yes", "--adopt-from", "dead-old", "--reissue"]);
    let run = machine.kubemint(&["revoke", "--all", "--yes"]).exits(7);
    assert!(run.stderr.contains("that another inventory of kubemint made"), "{}", run.stderr);
    assert!(can_i(&admin, &token, "list", "pods", "default"), "it was right to fail");
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    assert!(is_refused_soon(&admin, &token));
}

/// A ServiceAccount that lost its mark keeps its living token when it is taken back: nothing is minted, nothing ends.
pub(crate) fn an_adoption_ends_nothing_that_lives(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-mark", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let mark = json!({"metadata": {"labels": {"kubemint.dev/inventory": null}}});
    admin.merge_patch(&account("dead-mark"), &mark).unwrap();
    let plan = machine.kubemint(&["plan"]).exits(5);
    assert!(plan.stdout.contains("has no label `kubemint.dev/inventory`"), "{}", plan.stdout);
    let report = machine.kubemint(&["apply", "--yes", "--adopt", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["clusters"][0]["changes"][0]["action"], "adopt");
    assert!(can_i(&admin, &token, "list", "pods", "default"));
    assert_eq!(machine.token(&output(cluster)), token);
}

/// Somebody restored an older index: the outputs show that its numbers went back.
pub(crate) fn an_index_that_went_back_is_noticed_by_a_plan(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-back", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let earlier = index(&admin, "dead-back");
    machine.expect(0, &["refresh", "--force"]);
    write_index(&admin, "dead-back", &earlier);
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    let notes = report["clusters"][0]["notes"].as_array().unwrap();
    let said = notes.iter().find(|note| note["kind"] == "index-in-doubt").unwrap_or_else(|| panic!("{report:#}"));
    assert!(said["message"].as_str().unwrap().contains("an output holds generation 2"), "{said:#}");
}

/// Anybody may have edited the names in an index, so no request is made for them.
pub(crate) fn a_forged_index_leads_nowhere(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-path", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let mut forged = index(&admin, "dead-path");
    forged["holders"]["default"]["generations"][0]["anchor"] =
        json!("../../../../api/v1/namespaces/monitoring/services/x/proxy/");
    write_index(&admin, "dead-path", &forged);
    // The name is computed, so nothing has changed.
    let run = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(run.stdout.contains("nothing was left to do"), "{}", run.stdout);
    forged["holders"]["../../x"] = forged["holders"]["default"].clone();
    write_index(&admin, "dead-path", &forged);
    let run = machine.kubemint(&["plan"]).exits(5);
    assert!(run.stderr.contains("is no name that a holder can have"), "{}{}", run.stdout, run.stderr);
}

/// Whoever may write Secrets in the namespace can make one under the computed name of the plugins' anchor before that
/// exists. A list by type does not show it, and tokens may be bound to it.
pub(crate) fn a_secret_that_was_there_before_the_anchor_is_not_overlooked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-squat", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let uid = admin.get(&account("dead-squat")).unwrap()["metadata"]["uid"].clone();
    let anchor = anchors(&admin, "dead-squat").remove(0).replace("-default-1-", "-default-exec-");
    let owner = json!([{"apiVersion": "v1", "kind": "ServiceAccount", "name": "reader", "uid": uid}]);
    let squatter = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": anchor, "namespace": "dead-squat", "ownerReferences": owner},
    });
    admin.create("/api/v1/namespaces/dead-squat/secrets", &squatter).unwrap();
    let run = machine.kubemint(&["revoke", "--all", "--yes"]).exits(7);
    assert!(run.stderr.contains(&format!("kubectl delete secret -n dead-squat {anchor}")), "{}", run.stderr);
    machine.expect(0, &["revoke", "--hard", "--yes"]);
}

/// Somebody makes many ServiceAccounts with our marks and large annotations, in another namespace. A page of the list
/// is then too large, and is requested again with fewer objects.
pub(crate) fn large_objects_of_others_keep_nothing_from_being_revoked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-large", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": "dead-larger"}})).unwrap();
    let filler = "x".repeat(255 * 1024);
    for number in 0..70 {
        let labels = json!({"app.kubernetes.io/managed-by": "kubemint", "kubemint.dev/inventory": "dead-large"});
        let metadata = json!({
            "name": format!("large-{number}"), "namespace": "dead-larger", "labels": labels,
            "annotations": {ANNOTATION: filler},
        });
        admin.create("/api/v1/namespaces/dead-larger/serviceaccounts", &json!({"metadata": metadata})).unwrap();
    }
    machine.expect(0, &["refresh", "--force"]);
    // The tokens of the grant die; what these accounts have is not known, and said.
    let run = machine.kubemint(&["revoke", "--profile", "reader", "--yes"]).exits(0);
    assert!(is_refused_soon(&admin, &token), "{}{}", run.stdout, run.stderr);
    for number in 0..70 {
        admin.delete(&format!("/api/v1/namespaces/dead-larger/serviceaccounts/large-{number}")).unwrap();
    }
}

/// The last grant of a cluster left the inventory, but the cluster did not: it is visited all the same.
pub(crate) fn a_cluster_without_a_grant_is_visited(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-bare", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let text = machine.read("clusters.toml");
    let (before, _) = text.split_once("[[grants]]").unwrap();
    machine.write("clusters.toml", before);
    // Also where the profile is named that the cluster has no grant of any more; the log says what was revoked.
    let run = machine.kubemint(&["revoke", "--profile", "reader", "--yes"]).exits(0);
    assert!(is_refused_soon(&admin, &token), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("- revoke tokens of `reader`") && run.stdout.contains("generation 1"),
        "{}",
        run.stdout
    );
    machine.expect(0, &["revoke", "--all", "--yes"]);
}

/// The current generation is one that has an anchor, whatever an edited index says is recorded.
pub(crate) fn superseded_is_judged_by_what_lives(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dead-older", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let older = machine.token(&output(cluster));
    machine.expect(0, &["refresh", "--force"]);
    let newer = machine.token(&output(cluster));
    write_index(&admin, "dead-older", &json!({"v": 1}));
    machine.expect(0, &["revoke", "--superseded", "--yes"]);
    assert!(is_refused_soon(&admin, &older));
    assert!(can_i(&admin, &newer, "list", "pods", "default"));
}
