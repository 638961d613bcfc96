//! Damaged clusters and files, on any cluster, simulated or real: the damage is reported, and affects nothing else.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, generations, index, output, profile};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, changes};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_damage {
    ($run:ident) => {
        $run!(
            an_account_that_the_profile_had_before_goes_with_its_access,
            an_anchor_that_lost_its_labels_is_not_forgotten,
            a_failed_revocation_does_not_keep_the_next_alive,
            an_anchor_that_lost_its_owner_is_revoked,
            a_lost_index_hides_nothing,
            a_service_account_that_was_not_made_anew_is,
            one_credential_that_fails_lets_the_next_be_renewed,
            an_anchor_that_cannot_be_retired_does_not_stop_renewals,
            a_damaged_output_blocks_its_own_grant_only,
            two_outputs_in_one_file_keep_nothing_from_being_revoked,
            a_binding_that_lost_its_marks_keeps_no_entry,
            a_new_service_account_keeps_what_others_wrote,
            a_status_tells_what_still_lives_after_a_revocation,
            a_grant_that_left_the_inventory_is_revoked_too,
        );
    };
}
pub(crate) use every_damage;

/// Two profiles, `reader` and `other`, with an output each.
fn two_profiles() -> String {
    let first = profile("15m").replace("path = \"out/", "profiles = [\"reader\"]\npath = \"out/");
    format!(
        r#"{first}
[profiles.other]
token = {{ ttl = "1h", overlap = "15m" }}
cluster-rules = [{{ api-groups = [""], resources = ["pods"], verbs = ["get", "list"] }}]
[[grants]]
profile = "other"
selector = "env=test"
[[outputs]]
path = "other/{{cluster}}.kubeconfig"
profiles = ["other"]
"#
    )
}

/// Returns the name of the only anchor of a profile.
fn anchor_of(admin: &Admin, inventory: &str, profile: &str) -> String {
    let mut names = anchors(admin, inventory);
    names.retain(|name| name.starts_with(profile));
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

fn lose_labels(admin: &Admin, namespace: &str, anchor: &str) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{anchor}");
    let none = json!({"metadata": {"labels": null, "annotations": {"kubemint.dev/run": "broken"}}});
    admin.merge_patch(&path, &none).unwrap();
    path
}

/// An anchor without its labels still keeps a token alive. It is recognised by its name and its type, which nobody can
/// edit.
pub(crate) fn an_anchor_that_lost_its_labels_is_not_forgotten(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-labels", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let name = anchors(&admin, "dm-labels").remove(0);
    let path = lose_labels(&admin, "dm-labels", &name);
    machine.expect(0, &["revoke", "--yes"]);
    assert!(is_refused_soon(&admin, &token));
    assert_eq!(admin.get(&path).unwrap_err().code, 404);
    assert!(generations(&admin, "dm-labels").is_empty());
}

/// If an anchor cannot be deleted, the revocation fails, but every other token of the cluster ends.
pub(crate) fn a_failed_revocation_does_not_keep_the_next_alive(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    // Profiles are revoked in the order of their names: the failure comes first.
    machine.inventory("dm-goon", &two_profiles());
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let other = machine.token(&format!("other/{}.kubeconfig", cluster.name));
    let reader = machine.token(&output(cluster));
    let held = format!("/api/v1/namespaces/dm-goon/secrets/{}", anchor_of(&admin, "dm-goon", "other"));
    admin.merge_patch(&held, &json!({"metadata": {"finalizers": ["example.com/held"]}})).unwrap();
    let run = machine.kubemint(&["revoke", "--yes"]).exits(7);
    assert!(run.stderr.contains("still exists: `example.com/held` holds it"), "{}", run.stderr);
    assert!(run.stderr.contains("kubectl get secret -n dm-goon other-"), "{}", run.stderr);
    assert!(is_refused_soon(&admin, &reader), "it was after the one that failed");
    // The hard way needs no anchor.
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    assert!(is_refused_soon(&admin, &other));
}

/// An anchor without an owner reference to a ServiceAccount is found through its claim.
pub(crate) fn an_anchor_that_lost_its_owner_is_revoked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-owner", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let path = format!("/api/v1/namespaces/dm-owner/secrets/{}", anchors(&admin, "dm-owner").remove(0));
    admin.merge_patch(&path, &json!({"metadata": {"ownerReferences": null}})).unwrap();
    machine.expect(0, &["revoke", "--yes"]);
    assert!(anchors(&admin, "dm-owner").is_empty());
    assert!(is_refused_soon(&admin, &token));
}

/// A ServiceAccount without its annotation lists no token; the existing anchors are found all the same.
pub(crate) fn a_lost_index_hides_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-lost", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    std::fs::remove_dir_all(machine.path("out")).unwrap();
    let account = "/api/v1/namespaces/dm-lost/serviceaccounts/reader";
    admin.merge_patch(account, &json!({"metadata": {"annotations": {"kubemint.dev/credentials": null}}})).unwrap();
    let status = machine.kubemint(&["status", "-o", "json"]).exits(0).report();
    let notes = status["notes"].to_string();
    assert!(notes.contains("tokens may live that it does not list"), "{notes}");
    let run = machine.kubemint(&["revoke", "--all", "--yes"]).exits(0);
    assert!(run.stderr.contains("it does not list `reader-default-1-"), "{}", run.stderr);
    assert!(is_refused_soon(&admin, &token));
    assert_eq!(index(&admin, "dm-lost").get("incomplete"), None, "nothing is in doubt any more");
    let again = machine.kubemint(&["revoke", "--all", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to revoke"), "{}", again.stdout);
    machine.expect(0, &["apply", "--yes"]);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}

/// `--hard` was killed after it deleted the old ServiceAccount; the suspension must not be lost.
pub(crate) fn a_service_account_that_was_not_made_anew_is(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-half", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    std::fs::remove_dir_all(machine.path("out")).unwrap();
    admin.delete("/api/v1/namespaces/dm-half/serviceaccounts/reader").unwrap();
    machine.expect(0, &["revoke", "--all", "--hard", "--yes"]);
    assert_eq!(index(&admin, "dm-half")["suspended"], true);
    let left = machine.kubemint(&["refresh", "--with-access"]).exits(0);
    assert!(left.stdout.contains("1 suspended"), "{}", left.stdout);
    assert_eq!(index(&admin, "dm-half")["holders"], json!({}), "nothing was minted");
    // Where nothing was ever made, there is nothing to suspend.
    machine.inventory("dm-never", &profile("15m"));
    machine.expect(0, &["revoke", "--all", "--hard", "--yes"]);
    assert!(admin.get("/api/v1/namespaces/dm-never").is_err());
}

/// A token that is not accepted makes only its own profile fail.
pub(crate) fn one_credential_that_fails_lets_the_next_be_renewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-one", &two_profiles());
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.token(&output(cluster));
    let text = machine.read("clusters.toml");
    let bogus = "[profiles.other]\ntoken = { audiences = [\"bogus\"], ttl";
    machine.write("clusters.toml", &text.replace("[profiles.other]\ntoken = { ttl", bogus));
    let run = machine.kubemint(&["refresh", "--force"]).exits(7);
    assert!(run.stdout.starts_with("0 current, 1 renewed, 1 failed"), "{}", run.stdout);
    assert!(run.stderr.contains("verify the token for `other`"), "{}", run.stderr);
    assert_ne!(machine.token(&output(cluster)), before, "it comes after the one that failed");
}

/// An anchor that cannot be deleted is reported in every run, and no run waits for it.
pub(crate) fn an_anchor_that_cannot_be_retired_does_not_stop_renewals(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-retire", &profile("1s"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    lose_labels(&admin, "dm-retire", &anchors(&admin, "dm-retire").remove(0));
    // It ends, though what it waits for cannot be done.
    let run = machine.kubemint(&["refresh", "--force", "--wait-overlap"]).exits(7);
    assert!(run.stderr.contains("retire tokens of `reader`"), "{}", run.stderr);
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(0).report();
    assert_eq!(report["credentials"]["renewed"], 1, "{report:#}");
    let notes = report["clusters"][0]["notes"].as_array().unwrap();
    let said = notes.iter().find(|note| note["kind"] == "not-retired").unwrap_or_else(|| panic!("{notes:#?}"));
    assert!(said["message"].as_str().unwrap().contains("kubectl delete secret"), "{said:#}");
    assert_eq!(machine.facts(&output(cluster))["generation"], 3);
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}

/// A file that cannot be read blocks only the credentials that go to it.
pub(crate) fn a_damaged_output_blocks_its_own_grant_only(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-file", &two_profiles());
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let damaged = format!("other/{}.kubeconfig", cluster.name);
    machine.write(&damaged, "users: [\n");
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(7).report();
    assert_eq!(report["credentials"]["renewed"], 1, "{report:#}");
    let blockers = report["clusters"][0]["blockers"].as_array().unwrap();
    assert_eq!(blockers.len(), 1, "{blockers:#?}");
    assert_eq!((&blockers[0]["kind"], &blockers[0]["profile"]), (&json!("output-unusable"), &json!("other")));
    assert_ne!(machine.token(&output(cluster)), token);
    assert_eq!(machine.read(&damaged), "users: [\n", "it is left for its owner");
    // A revocation needs no file.
    let run = machine.kubemint(&["revoke", "--yes"]);
    assert!(anchors(&admin, "dm-file").is_empty(), "{}{}", run.stdout, run.stderr);
}

/// If somebody changed the labels of a binding of ours, it is left and reported. Everything else is deleted, and the
/// next run goes on from there.
pub(crate) fn a_binding_that_lost_its_marks_keeps_no_entry(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-marks", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let list = admin.get(&format!("{rbac}?labelSelector=kubemint.dev%2Finventory%3Ddm-marks")).unwrap();
    let binding = list["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let none = json!({"metadata": {"labels": null}});
    admin.merge_patch(&format!("{rbac}/{binding}"), &none).unwrap();
    // The second time there is nothing left but the blocker.
    for code in [7, 5] {
        let run = machine.kubemint(&["revoke", "--access", "--yes"]).exits(code);
        assert!(run.stderr.contains(&binding), "{}", run.stderr);
        assert!(run.stderr.contains("it is left, with what it allows"), "{}", run.stderr);
        let text = machine.read(&output(cluster));
        assert!(!text.contains("reader") && !text.contains("eyJ"), "{text}");
        assert!(admin.get("/api/v1/namespaces/dm-marks/serviceaccounts/reader").is_err());
    }
    admin.delete(&format!("{rbac}/{binding}")).unwrap();
    machine.expect(0, &["revoke", "--access", "--yes"]);
}

/// `--hard` makes the ServiceAccount anew; labels, annotations and pull secrets of others are kept.
pub(crate) fn a_new_service_account_keeps_what_others_wrote(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-keep", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let path = "/api/v1/namespaces/dm-keep/serviceaccounts/reader";
    let theirs = json!({
        "metadata": {"labels": {"team": "payments"}, "annotations": {"example.com/role": "arn:role"}},
        "imagePullSecrets": [{"name": "registry"}],
    });
    admin.merge_patch(path, &theirs).unwrap();
    let uid = admin.get(path).unwrap()["metadata"]["uid"].clone();
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    let kept = admin.get(path).unwrap();
    assert_ne!(kept["metadata"]["uid"], uid);
    assert_eq!(kept["metadata"]["labels"]["team"], "payments");
    assert_eq!(kept["metadata"]["annotations"]["example.com/role"], "arn:role");
    assert_eq!(kept["imagePullSecrets"], json!([{"name": "registry"}]));
    assert!(is_refused_soon(&admin, &token));
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["plan", "--check"]);
}

/// A revocation was killed after it wrote its fence, so a token still works: `status` says so in capitals.
pub(crate) fn a_status_tells_what_still_lives_after_a_revocation(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-alive", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let mut fenced: Value = index(&admin, "dm-alive");
    fenced["holders"]["default"]["suspended"] = json!(true);
    let annotation = json!({"metadata": {"annotations": {"kubemint.dev/credentials": fenced.to_string()}}});
    admin.merge_patch("/api/v1/namespaces/dm-alive/serviceaccounts/reader", &annotation).unwrap();
    let run = machine.kubemint(&["status"]).exits(0);
    assert!(run.stdout.contains("STILL ALIVE"), "{}", run.stdout);
    machine.expect(4, &["status", "--check"]);
    let report = machine.kubemint(&["revoke", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["revoke reader"]);
    let run = machine.kubemint(&["status"]).exits(0);
    assert!(!run.stdout.contains("STILL ALIVE"), "{}", run.stdout);
}

/// After a profile was renamed or a grant removed, the inventory does not mention its ServiceAccount any more. Revoking
/// everything ends its tokens too; a revocation of one profile only mentions it.
pub(crate) fn a_grant_that_left_the_inventory_is_revoked_too(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-gone", &two_profiles());
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let other = machine.token(&format!("other/{}.kubeconfig", cluster.name));
    machine.inventory("dm-gone", &profile("15m"));
    let run = machine.kubemint(&["revoke", "--all", "--profile", "reader", "--yes"]).exits(0);
    assert!(run.stderr.contains("`kubectl delete serviceaccount -n dm-gone other` kills its tokens"), "{}", run.stderr);
    assert!(can_i(&admin, &other, "list", "pods", "default"));
    let report = machine.kubemint(&["revoke", "--all", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["revoke other"], "{report:#}");
    assert!(is_refused_soon(&admin, &other));
    let again = machine.kubemint(&["revoke", "--all", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to revoke"), "{}", again.stdout);
    machine.expect(0, &["revoke", "--hard", "--yes"]);
    let gone = admin.get("/api/v1/namespaces/dm-gone/serviceaccounts/other").unwrap_err();
    assert_eq!(gone.code, 404, "nobody wants it, so it is not made anew");
}

/// Two paths to one file cannot be written, but its credential can be revoked all the same.
pub(crate) fn two_outputs_in_one_file_keep_nothing_from_being_revoked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-link", &two_profiles());
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let other = machine.path(&format!("other/{}.kubeconfig", cluster.name));
    std::fs::remove_file(&other).unwrap();
    std::os::unix::fs::symlink(machine.path(&output(cluster)), &other).unwrap();
    let run = machine.kubemint(&["revoke", "--yes"]);
    assert!(run.stderr.contains("it is the same file as"), "{}", run.stderr);
    assert!(anchors(&admin, "dm-link").is_empty(), "{}{}", run.stdout, run.stderr);
    assert!(is_refused_soon(&admin, &token));
}

/// A profile got another ServiceAccount, and the previous one still has a living token: both accounts are deleted, each
/// once.
pub(crate) fn an_account_that_the_profile_had_before_goes_with_its_access(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("dm-moved", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    machine.inventory(
        "dm-moved",
        &profile("15m").replace("[profiles.reader]", "[profiles.reader]\nservice-account = \"next\""),
    );
    machine.expect(5, &["apply", "--yes"]);
    let report = machine.kubemint(&["revoke", "--access", "--yes", "-o", "json"]).exits(0).report();
    let ids: Vec<&str> = report["clusters"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["id"].as_str().unwrap())
        .collect();
    let account = "delete /api/v1/namespaces/dm-moved/serviceaccounts/reader";
    assert_eq!(ids.iter().filter(|id| **id == account).count(), 1, "{ids:?}");
    assert!(is_refused_soon(&admin, &token));
}
