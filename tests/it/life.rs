//! The life of a credential on any cluster, simulated or real: renewed, superseded, retired, revoked.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use std::time::{Duration, Instant};

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::scenarios::is_refused_soon;
use crate::support::{Machine, can_i, changes};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_life {
    ($run:ident) => {
        $run!(
            a_renewal_supersedes_and_a_later_run_retires,
            waiting_for_the_overlap_ends_it_in_the_same_run,
            what_no_longer_authenticates_is_renewed,
            what_lost_its_anchor_is_renewed,
            a_recreated_service_account_is_noticed,
            a_missing_service_account_is_not_made_by_a_refresh,
            a_refresh_reports_drift_and_leaves_it,
            a_new_token_policy_is_renewed,
            a_status_says_how_each_credential_stands,
            a_status_of_the_files_needs_no_cluster,
            tokens_that_never_expire_are_found,
        );
    };
}
pub(crate) use every_life;

/// The longest time that the tests wait for something.
const PATIENCE: Duration = Duration::from_secs(60);

/// One profile whose superseded tokens stay valid for `overlap`.
pub(crate) fn profile(overlap: &str) -> String {
    format!(
        r#"
[profiles.reader]
token = {{ ttl = "1h", overlap = "{overlap}" }}
[[profiles.reader.cluster-rules]]
api-groups = [""]
resources = ["pods"]
verbs = ["get", "list"]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{{cluster}}.kubeconfig"
"#
    )
}

pub(crate) fn output(cluster: &TestCluster) -> String {
    format!("out/{}.kubeconfig", cluster.name)
}

/// Returns the names of the anchors of an inventory.
pub(crate) fn anchors(admin: &Admin, inventory: &str) -> Vec<String> {
    let list = admin.get(&format!("/api/v1/secrets?labelSelector=kubemint.dev%2Finventory%3D{inventory}")).unwrap();
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Returns the index of the profile's ServiceAccount.
pub(crate) fn index(admin: &Admin, inventory: &str) -> Value {
    let account = admin.get(&format!("/api/v1/namespaces/{inventory}/serviceaccounts/reader")).unwrap();
    serde_json::from_str(account["metadata"]["annotations"]["kubemint.dev/credentials"].as_str().unwrap()).unwrap()
}

/// Returns the numbers of the generations of the default holder.
pub(crate) fn generations(admin: &Admin, inventory: &str) -> Vec<u64> {
    let index = index(admin, inventory);
    let chain = index["holders"]["default"]["generations"].as_array().unwrap();
    chain.iter().map(|generation| generation["n"].as_u64().unwrap()).collect()
}

/// Repeats a check until it is true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
    }
}

/// A renewal leaves the older token alive. A later run deletes it, after the outputs have held the newer one for the
/// overlap. The run after that does nothing.
pub(crate) fn a_renewal_supersedes_and_a_later_run_retires(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("life", &profile("2s"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let first = machine.token(&output(cluster));
    let idle = machine.kubemint(&["refresh"]).exits(0);
    assert!(idle.stdout.starts_with("1 current, 0 renewed, 0 failed, next due in "), "{}", idle.stdout);

    machine.expect(4, &["refresh", "--check", "--next-run", "50m"]);
    assert_eq!(machine.token(&output(cluster)), first, "a check writes nothing");
    let renewed = machine.kubemint(&["refresh", "--next-run", "50m"]).exits(0);
    assert!(renewed.stdout.starts_with("0 current, 1 renewed, 0 failed, next due in "), "{}", renewed.stdout);
    let second = machine.token(&output(cluster));
    assert_ne!(first, second);
    for token in [&first, &second] {
        assert!(can_i(&admin, token, "list", "pods", "default"), "both work during the overlap");
    }
    assert_eq!(anchors(&admin, "life").len(), 2);

    eventually("the older one is retired", || {
        machine.expect(0, &["refresh"]);
        anchors(&admin, "life").len() == 1
    });
    assert_eq!(generations(&admin, "life"), [2]);
    assert!(is_refused_soon(&admin, &first), "the older token is dead");
    assert!(can_i(&admin, &second, "list", "pods", "default"));
    let files = machine.files();
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["summary"]["unchanged"], 1, "{report:#}");
    assert_eq!(report["credentials"]["current"], 1);
    assert_eq!(machine.files(), files);
}

/// With `--wait-overlap`, the run that renews also ends the superseded tokens.
pub(crate) fn waiting_for_the_overlap_ends_it_in_the_same_run(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("wait", &profile("1s"));
    machine.expect(0, &["apply", "--yes"]);
    let run = machine.kubemint(&["refresh", "--force", "--wait-overlap"]).exits(0);
    assert!(run.stdout.starts_with("0 current, 1 renewed, 0 failed"), "{}\n{}", run.stdout, run.stderr);
    let admin = machine.admin(0);
    assert_eq!(generations(&admin, "wait"), [2]);
    assert_eq!(anchors(&admin, "wait").len(), 1);
}

/// A token that the API server refuses is replaced, whatever its claims say.
pub(crate) fn what_no_longer_authenticates_is_renewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("refused", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let file = output(cluster);
    let token = machine.token(&file);
    // The claims stay, the signature is another.
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let forged: String = signature.chars().rev().collect();
    machine.write(&file, &machine.read(&file).replace(&token, &format!("{rest}.{forged}")));
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["reason"], "no longer accepted", "{report:#}");
    assert!(can_i(&machine.admin(0), &machine.token(&file), "list", "pods", "default"));
}

/// A token whose anchor somebody deleted is replaced.
pub(crate) fn what_lost_its_anchor_is_renewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("anchor", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let name = anchors(&admin, "anchor").remove(0);
    admin.delete(&format!("/api/v1/namespaces/anchor/secrets/{name}")).unwrap();
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["reason"], "revoked", "{report:#}");
    assert_eq!(generations(&admin, "anchor"), [2], "the line of the dead one is gone");
}

/// With another uid of the ServiceAccount, every token is invalid: this is noticed, and a token with a new number is
/// minted.
pub(crate) fn a_recreated_service_account_is_noticed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("recreated", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let path = "/api/v1/namespaces/recreated/serviceaccounts";
    let account = admin.get(&format!("{path}/reader")).unwrap();
    admin.delete(&format!("{path}/reader")).unwrap();
    let metadata = json!({"name": "reader", "labels": account["metadata"]["labels"]});
    admin.create(path, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).unwrap();
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    let change = &report["clusters"][0]["changes"][0];
    assert_eq!((&change["reason"], &change["generation"]), (&json!("ServiceAccount recreated"), &json!(2)));
    assert!(can_i(&admin, &machine.token(&output(cluster)), "list", "pods", "default"));
}

/// A refresh does not make a missing ServiceAccount, but says what to run.
pub(crate) fn a_missing_service_account_is_not_made_by_a_refresh(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("absent", &profile("15m"));
    let run = machine.kubemint(&["refresh", "-o", "json"]).exits(5);
    let blocker = &run.report()["clusters"][0]["blockers"][0];
    assert_eq!(blocker["kind"], "not-provisioned");
    assert_eq!(blocker["profile"], "reader");
    assert!(
        run.stderr.contains(&format!("kubemint apply --cluster {} --profile reader", cluster.name)),
        "{}",
        run.stderr
    );
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["refresh"]);
}

/// RBAC that differs is reported, left alone, and repaired only if that is requested.
pub(crate) fn a_refresh_reports_drift_and_leaves_it(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("drifted", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kubemint:drifted:reader";
    admin.merge_patch(role, &json!({"rules": []})).unwrap();
    let run = machine.kubemint(&["refresh", "--force"]).exits(0);
    assert!(run.stderr.contains("access differs from the inventory"), "{}", run.stderr);
    assert!(run.stdout.starts_with("0 current, 1 renewed"), "{}", run.stdout);
    assert!(admin.get(role).unwrap()["rules"].as_array().is_none_or(Vec::is_empty), "it is left");
    let report = machine.kubemint(&["refresh", "--with-access", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["update ClusterRole kubemint:drifted:reader"]);
    assert_eq!(admin.get(role).unwrap()["rules"][0]["verbs"], json!(["get", "list"]));
}

/// A changed token policy leads to a renewal.
pub(crate) fn a_new_token_policy_is_renewed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("life-policy", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let text = machine.read("clusters.toml").replace("ttl = \"1h\"", "ttl = \"2h\"");
    machine.write("clusters.toml", &text);
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["changes"][0]["reason"], "policy changed");
    assert_eq!(machine.facts(&output(cluster))["requested-seconds"], 7200);
}

fn status(machine: &Machine, code: i32, arguments: &[&str]) -> Value {
    machine.kubemint(&[&["status", "-o", "json"], arguments].concat()).exits(code).report()
}

/// Every state of a credential is shown, the most urgent first, and `--check` reports it.
pub(crate) fn a_status_says_how_each_credential_stands(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("st-life", &profile("15m"));
    let missing = status(&machine, 0, &[]);
    assert_eq!((&missing["grants"][0]["state"], &missing["grants"][0]["drift"]), (&json!("missing"), &json!("yes")));
    machine.expect(4, &["status", "--check"]);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["status", "--check"]);
    machine.expect(0, &["refresh", "--force"]);
    let grant = &status(&machine, 0, &["--check"])["grants"][0];
    assert_eq!(grant["state"], "current");
    assert_eq!((&grant["generation"], &grant["superseded"]), (&json!(2), &json!([1])));
    assert_eq!(grant["outputs"][0]["holds"], "newest");
    assert!(grant["due"].is_string() && grant["expires"].is_string());
    let text = machine.kubemint(&["status"]).exits(0).stdout;
    assert!(text.starts_with("CLUSTER"), "{text}");
    assert!(text.contains(" current ") && text.ends_with("1 grant: 1 current\n"), "{text}");
    assert!(machine.kubemint(&["status", "-o", "wide"]).exits(0).stdout.contains("st-life/reader"));

    let admin = machine.admin(0);
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kubemint:st-life:reader";
    admin.merge_patch(role, &json!({"rules": []})).unwrap();
    let drifted = &status(&machine, 4, &["--check"])["grants"][0];
    assert_eq!((&drifted["drift"], &drifted["state"]), (&json!("yes"), &json!("current")));
    assert!(drifted["drifted"][0].as_str().unwrap().starts_with("update ClusterRole"), "{drifted:#}");
    machine.expect(0, &["apply", "--yes"]);

    let file = machine.path(&output(cluster));
    let kept = machine.read(&output(cluster));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status(&machine, 4, &["--check"])["grants"][0]["state"], "held-elsewhere");
    machine.write(&output(cluster), &kept);
    let other = status(&machine, 0, &["--holder", "other"]);
    assert_eq!(other["grants"][0]["other_holders"], Value::Null);
    assert_eq!(other["grants"][0]["other-holders"], json!([["default", 2]]));
    machine.expect(0, &["revoke", "--yes"]);
    assert_eq!(status(&machine, 4, &["--check"])["grants"][0]["state"], "suspended");
}

/// The output files alone show what they hold and until when.
pub(crate) fn a_status_of_the_files_needs_no_cluster(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("st-offline", &profile("15m"));
    assert_eq!(status(&machine, 4, &["--offline", "--check"])["grants"][0]["state"], "missing");
    machine.expect(0, &["apply", "--yes"]);
    machine.write("admin.yaml", "apiVersion: v1\nkind: Config\n");
    let grant = &status(&machine, 0, &["--offline", "--check"])["grants"][0];
    assert_eq!(
        (&grant["state"], &grant["drift"], &grant["generation"]),
        (&json!("current"), &json!("unknown"), &json!(1))
    );
    // Without admin access the cluster is a row with an error, and what the file holds is still shown.
    let unread = machine.kubemint(&["status", "-o", "json"]).exits(7).report();
    let grant = &unread["grants"][0];
    assert_eq!((&grant["state"], &grant["generation"]), (&json!("unknown"), &json!(1)));
    assert!(grant["error"].is_string());
}

/// Secrets with tokens that never expire are listed with their last use; their data is never read.
pub(crate) fn tokens_that_never_expire_are_found(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("st-legacy", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let none = machine.kubemint(&["status", "--legacy"]).exits(0);
    assert!(none.stdout.contains("no tokens that never expire"), "{}", none.stdout);
    let admin = machine.admin(0);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "old-token",
            "annotations": {"kubernetes.io/service-account.name": "reader"},
            "labels": {"kubernetes.io/legacy-token-last-used": "2026-01-02"},
        },
    });
    admin.create("/api/v1/namespaces/st-legacy/secrets", &secret).unwrap();
    let found = status(&machine, 0, &["--legacy"]);
    let token = &found["legacy_tokens"][0];
    assert_eq!((&token["secret"], &token["last-used"]), (&json!("old-token"), &json!("2026-01-02")), "{found:#}");
    let text = machine.kubemint(&["status", "--legacy"]).exits(0).stdout;
    assert!(text.contains("st-legacy/old-token") && text.contains("kubectl delete secret"), "{text}");
}
