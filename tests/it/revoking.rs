//! Revocations on any cluster, simulated or real.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use std::collections::BTreeSet;

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, generations, index, output, profile};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, changes};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_revocation {
    ($run:ident) => {
        $run!(
            a_revocation_kills_and_suspends_until_it_is_lifted,
            one_generation_is_revoked_and_the_others_live,
            only_what_is_superseded_goes,
            a_holder_is_revoked_and_another_lives,
            everybody_is_revoked,
            only_a_new_service_account_ends_tokens_that_a_holder_made,
            access_goes_with_everything_that_belongs_to_it,
            a_waiting_revocation_returns_when_the_token_is_refused,
            what_is_not_ours_is_not_revoked,
            an_unusable_index_needs_the_hard_way,
        );
    };
}
pub(crate) use every_revocation;

/// After a revocation nothing is minted until the suspension is lifted; numbers go on after the fence.
pub(crate) fn a_revocation_kills_and_suspends_until_it_is_lifted(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-plain", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let refused = machine.kubemint(&["revoke"]).exits(2);
    assert!(refused.stderr.contains("pass `--yes`"), "{}", refused.stderr);
    let report = machine.kubemint(&["revoke", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["revoke reader"]);
    let shown = report["clusters"][0]["changes"][0]["fields"][0]["removed"][0].as_str().unwrap();
    assert!(shown.starts_with("generation 1 of holder `default`, expires "), "{shown}");
    assert!(is_refused_soon(&admin, &token));
    assert!(anchors(&admin, "rv-plain").is_empty());
    assert_eq!(index(&admin, "rv-plain")["holders"]["default"]["suspended"], true);

    let refresh = machine.kubemint(&["refresh", "--force"]).exits(0);
    assert!(refresh.stdout.starts_with("0 current, 0 renewed, 0 failed, 1 suspended"), "{}", refresh.stdout);
    assert!(refresh.stderr.contains("suspended by a revocation"), "{}", refresh.stderr);
    let again = machine.kubemint(&["revoke", "--yes"]).exits(0);
    assert_eq!(again.stdout, "1 cluster is up to date, nothing was left to revoke\n");

    machine.expect(0, &["refresh", "--resume"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
    assert_eq!(machine.facts(&output(cluster))["generation"], 3, "2 is behind the fence");
    machine.expect(0, &["revoke", "--yes"]);
    let planned = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&planned, 0), ["resume reader", "mint reader"], "a plan says so");
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}

/// Revoking an older generation affects only that one; revoking the current one suspends its holder.
pub(crate) fn one_generation_is_revoked_and_the_others_live(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-one", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let first = machine.token(&output(cluster));
    machine.expect(0, &["refresh", "--force"]);
    let admin = machine.admin(0);
    machine.expect(0, &["revoke", "--generation", "1", "--yes"]);
    assert!(is_refused_soon(&admin, &first));
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
    assert_eq!(generations(&admin, "rv-one"), [2]);
    assert_eq!(index(&admin, "rv-one")["holders"]["default"].get("suspended"), None);
    let wrong = machine.kubemint(&["revoke", "--generation", "7", "--yes", "-o", "json"]).exits(5).report();
    let message = wrong["clusters"][0]["blockers"][0]["message"].as_str().unwrap();
    assert_eq!(message, "`reader`: holder `default` has no generation 7; alive: 2");
    machine.expect(0, &["revoke", "--generation", "2", "--yes"]);
    assert_eq!(index(&admin, "rv-one")["holders"]["default"]["suspended"], true);
}

/// `--superseded` ends the overlap at once, and nothing else.
pub(crate) fn only_what_is_superseded_goes(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-old", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let first = machine.token(&output(cluster));
    machine.expect(0, &["refresh", "--force"]);
    let admin = machine.admin(0);
    assert_eq!(generations(&admin, "rv-old"), [1, 2]);
    machine.expect(0, &["revoke", "--superseded", "--yes"]);
    assert_eq!(generations(&admin, "rv-old"), [2]);
    assert!(is_refused_soon(&admin, &first));
    machine.expect(0, &["refresh"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}

fn two_holders(cluster: &TestCluster, name: &str) -> (Machine, String, String) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory(name, &profile("15m").replace("out/{cluster}", "out/{holder}-{cluster}"));
    machine.expect(0, &["apply", "--yes", "--holder", "laptop"]);
    machine.expect(0, &["apply", "--yes", "--holder", "ci"]);
    let token = |holder: &str| machine.token(&format!("out/{holder}-{}.kubeconfig", cluster.name));
    let (laptop, ci) = (token("laptop"), token("ci"));
    (machine, laptop, ci)
}

/// A stolen laptop is revoked; the CI system goes on, renewals included.
pub(crate) fn a_holder_is_revoked_and_another_lives(cluster: &TestCluster) {
    let (machine, laptop, ci) = two_holders(cluster, "rv-holder");
    let admin = machine.admin(0);
    machine.expect(0, &["revoke", "--holder", "laptop", "--yes"]);
    assert!(is_refused_soon(&admin, &laptop));
    assert!(can_i(&admin, &ci, "list", "pods", "default"));
    let renewed = machine.kubemint(&["refresh", "--holder", "ci", "--force"]).exits(0);
    assert!(renewed.stdout.starts_with("0 current, 1 renewed"), "{}", renewed.stdout);
    let left = machine.kubemint(&["refresh", "--holder", "laptop"]).exits(0);
    assert!(left.stdout.contains("1 suspended"), "{}", left.stdout);
}

/// After `--all` no token works, and no new one is issued.
pub(crate) fn everybody_is_revoked(cluster: &TestCluster) {
    let (machine, laptop, ci) = two_holders(cluster, "rv-all");
    let admin = machine.admin(0);
    machine.expect(0, &["revoke", "--all", "--yes"]);
    assert!(is_refused_soon(&admin, &laptop) && is_refused_soon(&admin, &ci));
    assert!(anchors(&admin, "rv-all").is_empty());
    let other = machine.kubemint(&["refresh", "--holder", "other"]).exits(0);
    assert!(other.stdout.contains("1 suspended"), "{}", other.stdout);
}

/// A token that a holder minted for itself still works after its anchor is deleted, and the revocation says so. With a
/// new ServiceAccount it ends.
pub(crate) fn only_a_new_service_account_ends_tokens_that_a_holder_made(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let rules = "[[profiles.reader.cluster-rules]]\napi-groups = [\"\"]\nresources = [\"serviceaccounts/token\"]\n\
                 verbs = [\"create\"]\n[[grants]]";
    machine.inventory("rv-self", &profile("15m").replacen("[[grants]]", rules, 1));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/rv-self/serviceaccounts/reader/token";
    let own = admin.as_token(&token).create(path, &request).unwrap()["status"]["token"].as_str().unwrap().to_owned();

    let run = machine.kubemint(&["revoke", "--yes"]).exits(0);
    assert!(run.stderr.contains("`reader` may create `serviceaccounts/token`"), "{}", run.stderr);
    assert!(run.stderr.contains("`--hard`"), "{}", run.stderr);
    assert!(is_refused_soon(&admin, &token));
    assert!(can_i(&admin, &own, "list", "pods", "default"), "it lives on");

    let report = machine.kubemint(&["revoke", "--hard", "--yes", "-o", "json"]).exits(0).report();
    let done = changes(&report, 0);
    assert_eq!(done.last().unwrap(), "recreate ServiceAccount rv-self/reader");
    assert!(is_refused_soon(&admin, &own), "it is dead");
    let kept = index(&admin, "rv-self");
    assert_eq!((&kept["suspended"], &kept["holders"]["default"]["next"]), (&json!(true), &json!(4)), "{kept:#}");
    let left = machine.kubemint(&["refresh"]).exits(0);
    assert!(left.stdout.contains("1 suspended"), "{}", left.stdout);
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
    machine.expect(0, &["plan", "--check"]);
}

pub(crate) fn marked(admin: &Admin, inventory: &str) -> Vec<Value> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let kinds = [
        format!("{rbac}/clusterroles"),
        format!("{rbac}/clusterrolebindings"),
        format!("{rbac}/roles"),
        format!("{rbac}/rolebindings"),
        "/api/v1/serviceaccounts".to_owned(),
        "/api/v1/secrets".to_owned(),
    ];
    let list = |kind: String| {
        let list = admin.get(&format!("{kind}?labelSelector=kubemint.dev%2Finventory%3D{inventory}")).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    kinds.into_iter().flat_map(list).collect()
}

/// `--access` deletes everything with our marks except namespaces, and removes the entries from the files.
pub(crate) fn access_goes_with_everything_that_belongs_to_it(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let more = "[[profiles.reader.namespaces]]\nnames = [\"rv-access\"]\ncluster-roles = [\"view\"]\n\
                rules = [{ api-groups = [\"\"], resources = [\"secrets\"], verbs = [\"get\"] }]\n[[grants]]";
    let rest = profile("15m").replacen("[[grants]]", more, 1);
    let rest = format!("{rest}[[outputs]]\npath = \"mine.yaml\"\ncontext = \"mine\"\n");
    machine.inventory("rv-access", &rest);
    machine.write("mine.yaml", "# mine\nusers:\n- name: other\n  user: {token: x}\n");
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    // A role of the same profile in another inventory is not this one's to delete.
    let foreign = json!({"metadata": {"name": "rv-access-foreign", "labels": {"kubemint.dev/profile": "reader"}}});
    admin.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &foreign).unwrap();

    let report = machine.kubemint(&["revoke", "--access", "--yes", "-o", "json"]).exits(0).report();
    let done = changes(&report, 0);
    let classes = |change: &Value| change["risk"]["class"].as_str().map(str::to_owned);
    let risks: BTreeSet<_> = report["clusters"][0]["changes"].as_array().unwrap().iter().filter_map(classes).collect();
    assert_eq!(risks, BTreeSet::from(["deletes".to_owned()]));
    let binding =
        report["clusters"][0]["changes"].as_array().unwrap().iter().find(|it| it["kind"] == "ClusterRoleBinding");
    let losses = &binding.unwrap()["risk"]["losses"][0];
    assert!(losses.get("subject").is_none() && losses["rights"][0]["verbs"].is_array(), "its own access: {losses}");
    assert_eq!(done[0], "revoke reader");
    let kinds: Vec<&str> = done[1..].iter().map(|change| change.split(' ').nth(1).unwrap()).collect();
    assert_eq!(
        kinds,
        ["RoleBinding", "RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole", "ServiceAccount", "reader"],
        "what refers goes first"
    );
    assert_eq!(marked(&admin, "rv-access"), Vec::<Value>::new());
    assert!(admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/rv-access-foreign").is_ok());
    assert!(is_refused_soon(&admin, &token));
    assert!(machine.read("mine.yaml").starts_with("# mine\nusers:\n- name: other\n  user: {token: x}\n"));
    for file in [output(cluster), "mine.yaml".to_owned()] {
        let text = machine.read(&file);
        assert!(!text.contains("reader") && !text.contains("eyJ"), "{file}: {text}");
    }
    let again = machine.kubemint(&["revoke", "--access", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to revoke"), "{}", again.stdout);

    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read(&output(cluster));
    machine.expect(0, &["revoke", "--access", "--keep-files", "--yes"]);
    assert_eq!(machine.read(&output(cluster)), before);
}

/// `--wait` returns when the token is really refused, and says how long that took.
pub(crate) fn a_waiting_revocation_returns_when_the_token_is_refused(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-wait", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    assert!(can_i(&admin, &token, "list", "pods", "default"), "the API server has just accepted it");
    let run = machine.kubemint(&["revoke", "--wait", "--yes"]).exits(0);
    assert!(run.stderr.contains("the token of `reader` is refused, "), "{}", run.stderr);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = admin.as_token(&token).create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
    assert_eq!(answer.unwrap_err().code, 401);
}

/// Another owner's ServiceAccount and its Secrets are left alone.
pub(crate) fn what_is_not_ours_is_not_revoked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-foreign", &profile("15m"));
    let admin = machine.admin(0);
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": "rv-foreign"}})).unwrap();
    let account = json!({"metadata": {"name": "reader", "namespace": "rv-foreign"}});
    admin.create("/api/v1/namespaces/rv-foreign/serviceaccounts", &account).unwrap();
    for arguments in [&["revoke", "--yes", "-o", "json"][..], &["revoke", "--hard", "--yes", "-o", "json"]] {
        let report = machine.kubemint(arguments).exits(5).report();
        assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "foreign-object");
    }
    assert!(admin.get("/api/v1/namespaces/rv-foreign/serviceaccounts/reader").is_ok());
}

/// An index that cannot be read does not keep tokens alive. Issuing cannot be suspended in it, so the run fails; with a
/// new ServiceAccount it can.
pub(crate) fn an_unusable_index_needs_the_hard_way(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rv-index", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    assert!(can_i(&admin, &token, "list", "pods", "default"), "the API server has just accepted it");
    let account = "/api/v1/namespaces/rv-index/serviceaccounts/reader";
    let broken = json!({"metadata": {"annotations": {"kubemint.dev/credentials": "{"}}});
    admin.merge_patch(account, &broken).unwrap();
    let run = machine.kubemint(&["revoke", "--yes"]).exits(7);
    assert!(run.stderr.contains("issuing could not be suspended"), "{}", run.stderr);
    assert!(run.stderr.contains("--hard"), "{}", run.stderr);
    assert!(is_refused_soon(&admin, &token));
    let refresh = machine.kubemint(&["refresh"]).exits(5);
    assert!(refresh.stderr.contains("kubemint revoke --hard"), "{}", refresh.stderr);
    machine.expect(0, &["revoke", "--hard", "--wait", "--yes"]);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = admin.as_token(&token).create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
    assert_eq!(answer.unwrap_err().code, 401, "it was waited for, though nothing told of this token");
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}
