//! Scenarios for any cluster, simulated or real.
//!
//! Each scenario has an inventory name and namespaces of its own, so that all can share clusters.

use kubemint_testkit::{Admin, Force, TestCluster, User};
use serde_json::{Value, json};

use crate::support::{Machine, can_i, changes};

/// Passes every scenario that needs no special cluster to a macro, so that none can be left out on one fleet.
macro_rules! every_scenario {
    ($run:ident) => {
        $run!(
            creates_and_then_does_nothing,
            repairs_drift_and_names_who_is_overruled,
            a_plan_writes_nothing,
            a_misspelled_role_blocks,
            a_delete_that_is_held_is_not_done,
            narrowing_really_narrows,
            vanished_grants_are_a_note,
            foreign_objects_block_until_they_are_adopted,
            another_role_leaves_no_gap,
            two_holders_live_side_by_side,
            escalation_is_refused_before_the_first_write,
            a_reader_gets_a_plan_and_no_apply,
            a_missing_namespace_blocks_unless_it_may_be_created,
            a_namespace_that_exists_is_used_as_it_is,
            deleting_the_anchor_revokes,
            a_credential_held_elsewhere_needs_consent,
            a_new_output_never_mints,
            a_changed_token_policy_mints,
            what_asks_to_be_left_alone_is_left_alone,
            a_changed_endpoint_is_proven_first,
            a_damaged_token_never_replaces_a_whole_one,
            another_holders_credential_is_not_overwritten,
            a_renamed_service_account_needs_consent,
            a_forged_index_deletes_nothing,
            the_server_answers_a_create_of_something_that_exists,
        );
    };
}
pub(crate) use every_scenario;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// One profile with own rules, an existing role, and access to two namespaces.
fn full(namespaces: &str) -> String {
    format!(
        r#"
[profiles.deployer]
cluster-roles = ["view"]
[[profiles.deployer.cluster-rules]]
api-groups = [""]
resources = ["nodes"]
verbs = ["get", "list"]
[[profiles.deployer.namespaces]]
names = [{namespaces}]
create-namespaces = true
cluster-roles = ["edit"]
rules = [{{ api-groups = ["batch"], resources = ["jobs"], verbs = ["get", "create"] }}]
[[grants]]
profile = "deployer"
selector = "env=test"
[[outputs]]
path = "out/{{cluster}}.kubeconfig"
"#
    )
}

/// One profile with the given rules and nothing else.
fn simple(verbs: &str) -> String {
    format!(
        r#"
[profiles.reader]
[[profiles.reader.cluster-rules]]
api-groups = [""]
resources = ["pods"]
verbs = [{verbs}]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{{cluster}}.kubeconfig"
"#
    )
}

fn output(cluster: &TestCluster) -> String {
    format!("out/{}.kubeconfig", cluster.name)
}

/// Returns the resourceVersions of everything with the mark of an inventory.
fn versions(admin: &Admin, inventory: &str) -> Vec<(String, String)> {
    let kinds = [
        format!("{RBAC}/clusterroles"),
        format!("{RBAC}/clusterrolebindings"),
        format!("{RBAC}/roles"),
        format!("{RBAC}/rolebindings"),
        "/api/v1/serviceaccounts".to_owned(),
        "/api/v1/secrets".to_owned(),
        "/api/v1/namespaces".to_owned(),
    ];
    let mut versions = vec![];
    for kind in kinds {
        let list = admin.get(&format!("{kind}?labelSelector=kubemint.dev%2Finventory%3D{inventory}")).unwrap();
        for item in list["items"].as_array().unwrap() {
            let metadata = &item["metadata"];
            let name = format!("{kind} {} {}", metadata["namespace"], metadata["name"]);
            versions.push((name, metadata["resourceVersion"].as_str().unwrap().to_owned()));
        }
    }
    versions.sort();
    versions
}

/// Everything is created, the credential works, and the same run again does nothing.
pub(crate) fn creates_and_then_does_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("create", &full("\"create-a\", \"create-b\""));
    let planned = machine.kubemint(&["plan", "-o", "json", "--check"]).exits(4).report();
    let applied = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&planned, 0), changes(&applied, 0), "apply runs the plan");
    assert_eq!(applied["clusters"][0]["state"], "changed");

    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    assert!(can_i(&admin, &token, "list", "nodes", ""));
    assert!(can_i(&admin, &token, "create", "configmaps", "create-a"));
    assert!(!can_i(&admin, &token, "create", "configmaps", "default"));
    assert!(!can_i(&admin, &token, "get", "secrets", "kube-system"));

    let (before, files) = (versions(&admin, "create"), machine.files());
    assert_eq!(before.len(), 1 + 2 + 1 + 2 + 4 + 1 + 3, "{before:#?}");
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert_eq!(again.stdout, "1 cluster is up to date, nothing was left to do\n");
    assert_eq!(versions(&admin, "create"), before, "nothing was written");
    assert_eq!(machine.files(), files, "no file was touched");
    let check = machine.kubemint(&["plan", "--check"]).exits(0);
    assert_eq!(check.stdout, "1 cluster is up to date, nothing to do\n");
}

/// A manual change is shown by field, with its author, and corrected.
pub(crate) fn repairs_drift_and_names_who_is_overruled(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("drift", &simple("\"get\", \"list\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let role = format!("{RBAC}/clusterroles/kubemint:drift:reader");
    let binding = format!("{RBAC}/clusterrolebindings/kubemint:drift:reader");
    let patch = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]}]});
    admin.merge_patch(&format!("{role}?fieldManager=kubectl-edit"), &patch).unwrap();
    let subjects = json!({"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "mallory"}]});
    admin.merge_patch(&format!("{binding}?fieldManager=kubectl-edit"), &subjects).unwrap();

    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let changes = &report["clusters"][0]["changes"];
    assert_eq!(changes[0]["action"], "update");
    assert_eq!(
        changes[0]["fields"][0],
        json!({"field": "rules", "removed": ["delete on pods"], "added": ["list on pods"]})
    );
    assert_eq!(changes[0]["overrules"], json!(["kubectl-edit"]));
    assert_eq!(changes[1]["fields"][0]["removed"], json!(["User mallory"]));
    assert_eq!(changes.as_array().unwrap().len(), 2, "the credential is kept: {changes:#}");

    machine.expect(0, &["apply", "--yes"]);
    let repaired = admin.get(&role).unwrap();
    assert_eq!(repaired["rules"][0]["verbs"], json!(["get", "list"]));
    assert_eq!(admin.get(&binding).unwrap()["subjects"][0]["name"], "reader");
    machine.expect(0, &["plan", "--check"]);
}

/// A plan writes nothing, whether it plans creates, updates or deletes.
pub(crate) fn a_plan_writes_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("plan", &full("\"plan-a\", \"plan-b\""));
    machine.expect(0, &["plan"]);
    let admin = machine.admin(0);
    assert!(versions(&admin, "plan").is_empty());
    machine.expect(0, &["apply", "--yes"]);
    // Something to create, to update and to delete, a ServiceAccount among it.
    let role = format!("{RBAC}/clusterroles/kubemint:plan:deployer");
    admin.merge_patch(&role, &json!({"rules": []})).unwrap();
    let changed = full("\"plan-a\"").replace(
        "[profiles.deployer]\n",
        "[profiles.deployer]\nservice-account = \"moved\"\ntoken = { ttl = \"30m\" }\n",
    );
    machine.inventory("plan", &changed);
    let before = versions(&admin, "plan");
    let files = machine.files();
    for arguments in [&["plan", "--reissue"][..], &["plan", "--reissue", "-o", "json"], &["plan"], &["apply", "--yes"]]
    {
        let run = machine.kubemint(arguments);
        let expected = if arguments.contains(&"--reissue") { 0 } else { 5 };
        assert_eq!(run.code, expected, "{}\n{}", run.stdout, run.stderr);
        assert_eq!(versions(&admin, "plan"), before, "{arguments:?} wrote something");
        assert_eq!(machine.files(), files);
    }
}

/// A namespace and a role that leave the profile really take the access away.
pub(crate) fn narrowing_really_narrows(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("narrow", &full("\"narrow-a\", \"narrow-b\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    assert!(can_i(&admin, &token, "create", "configmaps", "narrow-b"));

    machine.inventory("narrow", &full("\"narrow-a\""));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let deleted = changes(&report, 0);
    assert_eq!(deleted.len(), 3, "{deleted:?}");
    assert!(deleted.iter().all(|change| change.starts_with("delete ") && change.contains("narrow-b/")), "{deleted:?}");
    assert!(deleted[2].contains(" Role "), "bindings go before roles: {deleted:?}");
    assert_eq!(machine.token(&output(cluster)), token, "the credential stays");
    assert!(can_i(&admin, &token, "create", "configmaps", "narrow-a"));
    assert!(!can_i(&admin, &token, "create", "configmaps", "narrow-b"));
    assert!(admin.get("/api/v1/namespaces/narrow-b").is_ok(), "a namespace is never deleted");
}

/// Grants that left the inventory are counted, and left alone.
pub(crate) fn vanished_grants_are_a_note(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let both = format!(
        "{}\n[profiles.other]\ncluster-roles = [\"view\"]\n[[grants]]\nprofile = \"other\"\nselector = \"env=test\"\n\
         [[outputs]]\npath = \"other/{{cluster}}\"\nprofiles = [\"other\"]\n",
        simple("\"get\"").replace(
            "path = \"out/{cluster}.kubeconfig\"",
            "path = \"out/{cluster}.kubeconfig\"\nprofiles = [\"reader\"]"
        )
    );
    machine.inventory("vanish", &both);
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("vanish", &simple("\"get\""));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["state"], "unchanged");
    let notes = report["clusters"][0]["notes"].to_string();
    assert!(notes.contains("2 objects belong to grants that are no longer in the inventory"), "{notes}");
}

/// An object that is not ours blocks its cluster before any write, and `--adopt` takes it over.
pub(crate) fn foreign_objects_block_until_they_are_adopted(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": "adopt"}})).unwrap();
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "reader", "namespace": "adopt", "labels": {"app.kubernetes.io/managed-by": "Helm", "keep": "me"}},
    });
    admin.create("/api/v1/namespaces/adopt/serviceaccounts?fieldManager=helm", &account).unwrap();
    machine.inventory("adopt", &simple("\"get\""));

    let blocked = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let blocker = &blocked["clusters"][0]["blockers"][0];
    assert_eq!(blocker["kind"], "foreign-object");
    assert!(
        blocker["message"].as_str().unwrap().contains("ServiceAccount `adopt/reader` exists and is managed by `Helm`")
    );
    assert!(versions(&admin, "adopt").is_empty(), "nothing was written");

    let report = machine.kubemint(&["apply", "--yes", "--adopt", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0)[0], "adopt ServiceAccount adopt/reader");
    let adopted = admin.get("/api/v1/namespaces/adopt/serviceaccounts/reader").unwrap();
    assert_eq!(adopted["metadata"]["labels"]["app.kubernetes.io/managed-by"], "kubemint");
    assert_eq!(adopted["metadata"]["labels"]["keep"], "me", "what is not ours stays");
    machine.expect(0, &["plan", "--check"]);

    // Another inventory does not get it by `--adopt`, only by name.
    machine.inventory("adopt-other", &simple("\"get\""));
    let text = machine.read("clusters.toml").replace("namespace = \"adopt-other\"", "namespace = \"adopt\"");
    machine.write("clusters.toml", &text.replace("out/", "other/"));
    let blocked = machine.kubemint(&["plan", "--adopt", "-o", "json"]).exits(5).report();
    assert!(
        blocked["clusters"][0]["blockers"][0]["message"].as_str().unwrap().contains("belongs to inventory `adopt`")
    );
    let planned = machine.kubemint(&["plan", "--adopt-from", "adopt", "--reissue", "-o", "json"]).exits(0).report();
    assert_eq!(planned["clusters"][0]["state"], "pending");
}

/// Another role leads to a new binding; the old one is deleted after that.
pub(crate) fn another_role_leaves_no_gap(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let profile = |role: &str| {
        format!(
            "[profiles.reader]\ncluster-roles = [\"{role}\"]\n[[grants]]\nprofile = \"reader\"\nselector = \"env=test\"\n\
             [[outputs]]\npath = \"out/{{cluster}}.kubeconfig\"\n"
        )
    };
    machine.inventory("roles", &profile("view"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    assert!(!can_i(&admin, &token, "create", "configmaps", "default"));
    machine.inventory("roles", &profile("edit"));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let changes = changes(&report, 0);
    assert!(changes[0].starts_with("create ClusterRoleBinding kubemint:roles:reader:"), "{changes:?}");
    assert!(changes[1].starts_with("delete ClusterRoleBinding kubemint:roles:reader:"), "{changes:?}");
    assert_eq!(changes.len(), 2);
    assert!(can_i(&admin, &token, "create", "configmaps", "default"));
}

/// Two holders keep chains of their own and never touch each other's credential.
pub(crate) fn two_holders_live_side_by_side(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let rest = simple("\"get\"").replace("out/{cluster}", "out/{holder}-{cluster}");
    machine.inventory("holders", &rest);
    let name = &cluster.name;
    machine.expect(0, &["apply", "--yes", "--holder", "laptop"]);
    let laptop = machine.token(&format!("out/laptop-{name}.kubeconfig"));
    let report = machine.kubemint(&["apply", "--yes", "--holder", "ci", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["mint reader"]);
    let ci = machine.token(&format!("out/ci-{name}.kubeconfig"));
    assert_ne!(laptop, ci);
    for (holder, token) in [("laptop", &laptop), ("ci", &ci)] {
        machine.expect(0, &["plan", "--check", "--holder", holder]);
        assert!(can_i(&machine.admin(0), token, "get", "pods", "default"));
        assert_eq!(machine.facts(&format!("out/{holder}-{name}.kubeconfig"))["generation"], 1);
    }
}

/// If an admin may write roles but lacks the rights in them, the plan stops the cluster and names the rules.
pub(crate) fn escalation_is_refused_before_the_first_write(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::LimitedAdmin);
    let admin = machine.admin(0);
    let role = json!({"metadata": {"name": "escalation-writer"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list", "create", "patch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts", "serviceaccounts/token", "secrets"], "verbs": ["*"]},
    ]});
    admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let binding = json!({
        "metadata": {"name": "escalation-writer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "escalation-writer"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "limited-admin"}],
    });
    admin.create(&format!("{RBAC}/clusterrolebindings"), &binding).unwrap();
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": "escalate"}})).unwrap();

    machine.inventory("escalate", &simple("\"get\", \"delete\""));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let blockers = &report["clusters"][0]["blockers"];
    assert_eq!(blockers[0]["kind"], "escalation", "{blockers:#}");
    let message = blockers[0]["message"].as_str().unwrap();
    assert!(message.contains("`limited-admin` may not grant delete, get on pods"), "{message}");
    assert!(versions(&admin, "escalate").is_empty(), "nothing was written");

    // With the rights themselves it passes; the binding of a role that is not there yet is a note.
    let holds = json!({"rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list", "create", "patch", "update", "delete"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts", "serviceaccounts/token", "secrets"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
    ]});
    admin.merge_patch(&format!("{RBAC}/clusterroles/escalation-writer"), &holds).unwrap();
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let notes = report["clusters"][0]["notes"].to_string();
    assert!(notes.contains("the role does not exist yet"), "{notes}");
    machine.expect(0, &["apply", "--yes"]);

    // Who may not bind everything is told of a misspelled role by the dry run itself: it blocks all the same.
    let misspelled = "[profiles.reader]\ncluster-roles = [\"veiw\"]";
    machine.inventory("escalate", &simple("\"get\", \"delete\"").replace("[profiles.reader]", misspelled));
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "missing-role", "{report:#}");
    // Where it is expected to come later, the API server refuses the binding all the same.
    let expected = format!("{misspelled}\nallow-missing-roles = true");
    machine.inventory("escalate", &simple("\"get\", \"delete\"").replace("[profiles.reader]", &expected));
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "refused", "{report:#}");
}

/// An identity that may only read gets a plan with a note, and apply refuses it.
pub(crate) fn a_reader_gets_a_plan_and_no_apply(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Reader);
    let admin = machine.admin(0);
    let role = json!({"metadata": {"name": "plan-reader"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": ["get", "list"]},
    ]});
    admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let binding = json!({
        "metadata": {"name": "plan-reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "plan-reader"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "reader"}],
    });
    admin.create(&format!("{RBAC}/clusterrolebindings"), &binding).unwrap();
    machine.inventory("readonly", &simple("\"get\""));
    let report = machine.kubemint(&["plan", "-o", "json", "--check"]).exits(4).report();
    let notes = report["clusters"][0]["notes"].to_string();
    assert!(notes.contains("read-only"), "{notes}");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "missing-right");
    assert!(versions(&admin, "readonly").is_empty());
}

/// A missing namespace blocks, unless it may be created.
pub(crate) fn a_missing_namespace_blocks_unless_it_may_be_created(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("missing", &full("\"missing-a\""));
    let text = machine.read("clusters.toml").replace("create-namespaces = true", "create-namespaces = false");
    machine.write("clusters.toml", &text);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let blockers = report["clusters"][0]["blockers"].as_array().unwrap();
    assert_eq!(blockers.len(), 2, "{blockers:#?}");
    assert!(blockers.iter().all(|blocker| blocker["kind"] == "missing-namespace"));
    assert!(versions(&machine.admin(0), "missing").is_empty());
}

/// That a namespace may be created does not mean that it is absent: one of somebody else is used as it is, and what is in
/// it is seen before anything is written.
pub(crate) fn a_namespace_that_exists_is_used_as_it_is(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    machine.inventory("existing", &simple("\"get\""));
    let namespace = json!({"metadata": {"name": "existing", "labels": {"team": "theirs"}}});
    let created = admin.create("/api/v1/namespaces", &namespace).unwrap();
    let accounts = "/api/v1/namespaces/existing/serviceaccounts";
    admin.create(accounts, &json!({"metadata": {"name": "reader"}})).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "foreign-object", "{report:#}");
    assert!(versions(&admin, "existing").is_empty());
    admin.delete(&format!("{accounts}/reader")).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let changes = report["clusters"][0]["changes"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["kind"] != "Namespace"), "{changes:#?}");
    let after = admin.get("/api/v1/namespaces/existing").unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    machine.expect(0, &["plan", "--check"]);
}

/// A lifetime that the API server shortens is noticed, shown and remembered.
pub(crate) fn a_shortened_lifetime_is_noticed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let rest = simple("\"get\"").replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"24h\" }\n");
    machine.inventory("clamp", &rest);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let note = "the API server shortens tokens of `reader` from 24h to 1h";
    assert!(report["clusters"][0]["notes"].to_string().contains(note), "{report:#}");
    let again = machine.kubemint(&["plan", "-o", "json", "--check"]).exits(0).report();
    assert!(again["clusters"][0]["notes"].to_string().contains(note), "it is remembered: {again:#}");
    let facts = machine.facts(&output(cluster));
    assert_eq!(facts["requested-seconds"], 86400);
    // What the plan remembers of the older token and what the new one shows is said once.
    machine.inventory("clamp", &rest.replace("ttl = \"24h\"", "ttl = \"30h\", overlap = \"2h\""));
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    let notes = report["clusters"][0]["notes"].as_array().unwrap();
    let about: Vec<&Value> = notes.iter().filter(|note| note["kind"] == "shortened-lifetime").collect();
    assert_eq!(about.len(), 1, "{notes:?}");
    let message = about[0]["message"].as_str().unwrap();
    assert!(message.contains("from 30h to 1h, which is not more than `overlap` (2h)"), "{message}");
}

/// Deleting the anchor revokes the token, and the next apply mints a new generation.
pub(crate) fn deleting_the_anchor_revokes(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("revoke", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(cluster));
    let anchor = machine.facts(&output(cluster))["anchor"].as_str().unwrap().to_owned();
    admin.delete(&format!("/api/v1/namespaces/revoke/secrets/{anchor}")).unwrap();
    assert!(is_refused_soon(&admin, &token), "the token is refused");
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let change = &report["clusters"][0]["changes"][0];
    assert_eq!(
        (&change["action"], &change["generation"], &change["reason"]),
        (&json!("mint"), &json!(2), &json!("revoked"))
    );
    assert!(can_i(&admin, &machine.token(&output(cluster)), "get", "pods", "default"));
}

/// Returns whether a token is refused within the time that API servers remember its acceptance.
pub(crate) fn is_refused_soon(admin: &Admin, token: &str) -> bool {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    while std::time::Instant::now() < deadline {
        let answer = admin.as_token(token).create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
        if answer.is_err_and(|status| status.code == 401) {
            return true;
        }
    }
    false
}

/// A living credential that no output here holds is superseded only with consent.
pub(crate) fn a_credential_held_elsewhere_needs_consent(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("elsewhere", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    std::fs::remove_file(machine.path(&output(cluster))).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "credential-held-elsewhere");
    let report = machine.kubemint(&["apply", "--yes", "--reissue", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["generation"], 2);
}

/// A new output gets the living credential; nothing is minted for it.
pub(crate) fn a_new_output_never_mints(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("outputs", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let more = format!("{}[[outputs]]\npath = \"all.kubeconfig\"\nnamespace = \"apps\"\n", simple("\"get\""));
    machine.inventory("outputs", &more);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"]);
    assert_eq!(machine.token("all.kubeconfig"), machine.token(&output(cluster)));
    let combined: Value = serde_saphyr::from_str(&machine.read("all.kubeconfig")).unwrap();
    assert_eq!(combined["contexts"][0]["context"]["namespace"], "apps");
    assert_eq!(combined["current-context"], combined["contexts"][0]["name"]);
    machine.expect(0, &["plan", "--check"]);
}

/// A changed token policy leads to a new generation.
pub(crate) fn a_changed_token_policy_mints(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("policy", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let longer = simple("\"get\"").replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"30m\" }\n");
    machine.inventory("policy", &longer);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let change = &report["clusters"][0]["changes"][0];
    assert_eq!((&change["generation"], &change["reason"]), (&json!(2), &json!("policy changed")));
    machine.expect(0, &["plan", "--check"]);
}

/// Aggregated roles, and roles with an annotation that says so, are left alone.
pub(crate) fn what_asks_to_be_left_alone_is_left_alone(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("alone", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let role = format!("{RBAC}/clusterroles/kubemint:alone:reader");
    let patch = json!({
        "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    });
    admin.merge_patch(&role, &patch).unwrap();
    let report = machine.kubemint(&["plan", "--check", "-o", "json"]).exits(0).report();
    assert!(report["clusters"][0]["notes"].to_string().contains("is left alone"), "{report:#}");
}

/// An object that appears between plan and write is not changed. An apply instead of a create would merge into it.
pub(crate) fn the_server_answers_a_create_of_something_that_exists(cluster: &TestCluster) {
    let admin = Admin::new(cluster);
    let role =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "appeared"}});
    admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let again = admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap_err();
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    let applied = admin.apply(&format!("{RBAC}/clusterroles/appeared"), "kubemint", Force::No, &role);
    assert!(applied.is_ok(), "an apply merges into it unasked");
}

/// An endpoint that does not work is not written in place of one that does, and the plan shows the change.
pub(crate) fn a_changed_endpoint_is_proven_first(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("endpoint", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read(&output(cluster));
    let text = machine.read("clusters.toml");
    let broken = text.replace("labels = {", "consumer.server = \"https://127.0.0.1:1\"\nlabels = {");
    machine.write("clusters.toml", &broken);
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let fields = &report["clusters"][0]["changes"][0]["fields"];
    assert_eq!(
        fields[0],
        json!({"field": "cluster.server", "removed": [cluster.server], "added": ["https://127.0.0.1:1"]})
    );
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    assert!(report["clusters"][0]["error"]["doing"].as_str().unwrap().contains("verify"), "{report:#}");
    assert_eq!(machine.read(&output(cluster)), before);
}

/// A token that was damaged in its file never replaces a whole one.
pub(crate) fn a_damaged_token_never_replaces_a_whole_one(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let two = format!("{}[[outputs]]\npath = \"second.kubeconfig\"\n", simple("\"get\""));
    machine.inventory("damage", &two);
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.token(&output(cluster));
    // Its claims are still readable; only the signature is wrong.
    let (claims, signature) = token.rsplit_once('.').unwrap();
    let damaged = format!("{claims}.{}", signature.chars().rev().collect::<String>());
    let file = output(cluster);
    machine.write(&file, &machine.read(&file).replace(&token, &damaged));
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(machine.token(&file), token, "the good one was copied back");
    assert_eq!(machine.token("second.kubeconfig"), token);
}

/// Another holder's living credential is not overwritten without consent.
pub(crate) fn another_holders_credential_is_not_overwritten(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("overwrite", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let before = machine.read(&output(cluster));
    let report = machine.kubemint(&["apply", "--yes", "--holder", "ci", "-o", "json"]).exits(5).report();
    let message = report["clusters"][0]["blockers"][0]["message"].as_str().unwrap();
    assert!(message.contains("generation 1 of holder `default`"), "{message}");
    assert_eq!(machine.read(&output(cluster)), before);
}

/// A ServiceAccount that leaves a profile is not deleted while its credentials may be in use.
pub(crate) fn a_renamed_service_account_needs_consent(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("rename", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.token(&output(cluster));
    let renamed = simple("\"get\"").replace("[profiles.reader]\n", "[profiles.reader]\nservice-account = \"moved\"\n");
    machine.inventory("rename", &renamed);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let message = report["clusters"][0]["blockers"][0]["message"].as_str().unwrap();
    assert!(message.contains("ServiceAccount `rename/reader` left the profile"), "{message}");
    assert!(can_i(&machine.admin(0), &token, "get", "pods", "default"), "the old credential still works");
    let report = machine.kubemint(&["apply", "--yes", "--reissue", "-o", "json"]).exits(0).report();
    let all = changes(&report, 0);
    assert_eq!(all.last().unwrap(), "delete ServiceAccount rename/reader", "after its successor is published: {all:?}");
    assert!(can_i(&machine.admin(0), &machine.token(&output(cluster)), "get", "pods", "default"));
}

/// The index is an annotation that can be edited, so nothing is deleted because of it.
pub(crate) fn a_forged_index_deletes_nothing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("forged", &simple("\"get\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let victim = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "victim"}, "type": "Opaque"});
    admin.create("/api/v1/namespaces/forged/secrets", &victim).unwrap();
    let account = "/api/v1/namespaces/forged/serviceaccounts/reader";
    let annotation = &admin.get(account).unwrap()["metadata"]["annotations"]["kubemint.dev/credentials"];
    let mut index: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    let generations = index["holders"]["default"]["generations"].as_array_mut().unwrap();
    let mut forged = generations[0].clone();
    for recorded in ["anchor-uid", "issued", "expires", "jti"] {
        forged.as_object_mut().unwrap().remove(recorded);
    }
    (forged["n"], forged["anchor"], forged["claimed-at"]) = (json!(0), json!("victim"), json!("2020-01-01T00:00:00Z"));
    generations.insert(0, forged);
    let patch = json!({"metadata": {"annotations": {"kubemint.dev/credentials": index.to_string()}}});
    admin.merge_patch(account, &patch).unwrap();
    let longer = simple("\"get\"").replace("[profiles.reader]\n", "[profiles.reader]\ntoken = { ttl = \"30m\" }\n");
    machine.inventory("forged", &longer);
    let planned = machine.kubemint(&["plan"]).exits(0);
    assert!(planned.stdout.contains("generation 0, superseded, dead or never published"), "{}", planned.stdout);
    machine.expect(0, &["apply", "--yes"]);
    assert!(admin.get("/api/v1/namespaces/forged/secrets/victim").is_ok());

    // And what a revocation suspended is not issued.
    let annotation = &admin.get(account).unwrap()["metadata"]["annotations"]["kubemint.dev/credentials"];
    let mut index: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    index["suspended"] = json!(true);
    let patch = json!({"metadata": {"annotations": {"kubemint.dev/credentials": index.to_string()}}});
    admin.merge_patch(account, &patch).unwrap();
    let refreshed = machine.kubemint(&["refresh", "--force"]).exits(0);
    assert!(refreshed.stdout.starts_with("0 current, 0 renewed, 0 failed, 1 suspended"), "{}", refreshed.stdout);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["resume reader"], "an apply lifts it");
}

/// An admin who may do everything but write the index is stopped before the first write. It has its own cluster,
/// because other scenarios give the same user more rights.
pub(crate) fn the_right_to_write_the_index_is_checked(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::LimitedAdmin);
    let admin = machine.admin(0);
    let namespace = json!({"metadata": {"name": "indexless"}});
    admin.create("/api/v1/namespaces", &namespace).unwrap();
    // The rights of an admin, in one namespace, but for `patch` on ServiceAccounts.
    let role = json!({"metadata": {"name": "indexless"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets", "serviceaccounts/token"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "create", "delete"]},
    ]});
    admin.create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let binding = json!({
        "metadata": {"name": "indexless"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "indexless"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "limited-admin"}],
    });
    admin.create(&format!("{RBAC}/clusterrolebindings"), &binding).unwrap();
    machine.inventory("indexless", &simple("\"get\""));
    let run = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5);
    let limited = run.report();
    let blockers = limited["clusters"][0]["blockers"].to_string();
    assert!(
        blockers.contains("patch `serviceaccounts` `reader` in namespace `indexless`"),
        "{blockers}\n{}",
        run.stderr
    );
    assert!(versions(&admin, "indexless").is_empty(), "nothing was written");
}

/// A role that does not exist blocks, even if the API server would let the admin bind it, unless it is expected.
pub(crate) fn a_misspelled_role_blocks(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let profile = "[profiles.reader]\ncluster-roles = [\"veiw\"]\n[[grants]]\nprofile = \"reader\"\nselector = \"env=test\"\n\
                   [[outputs]]\npath = \"out/{cluster}.kubeconfig\"\n";
    machine.inventory("misspelled", profile);
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(5).report();
    let blocker = &report["clusters"][0]["blockers"][0];
    assert_eq!((&blocker["kind"], &blocker["profile"]), (&json!("missing-role"), &json!("reader")));
    assert!(blocker["message"].as_str().unwrap().contains("ClusterRole `veiw` does not exist"), "{blocker}");
    machine.inventory("misspelled", &profile.replace("[[grants]]", "allow-missing-roles = true\n[[grants]]"));
    let run = machine.kubemint(&["apply", "--yes"]).exits(0);
    let note = "ClusterRole `veiw` does not exist; until it does, its binding allows nothing";
    assert!(run.stdout.contains(note), "{}", run.stdout);
    machine.expect(0, &["plan", "--check"]);
}

/// A binding that a finalizer holds still grants its rights, so it is not reported as done.
pub(crate) fn a_delete_that_is_held_is_not_done(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("held", &full("\"held-a\", \"held-b\""));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let binding = format!("{RBAC}/namespaces/held-b/rolebindings/kubemint:held:deployer");
    admin.merge_patch(&binding, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).unwrap();
    machine.inventory("held", &full("\"held-a\""));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(7).report();
    let cause = report["clusters"][0]["error"]["cause"].as_str().unwrap();
    assert!(cause.contains("`example.com/hold` holds it"), "{cause}");
    let report = machine.kubemint(&["plan", "-o", "json"]).exits(5).report();
    assert_eq!(report["clusters"][0]["blockers"][0]["kind"], "being-deleted");
    admin.merge_patch(&binding, &json!({"metadata": {"finalizers": null}})).unwrap();
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["plan", "--check"]);
}
