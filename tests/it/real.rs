//! The scenarios on real API servers, and tests that need real ones.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubemint_testkit::control_plane::{self, ClusterOptions, ControlPlane, ControllerManager};
use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, eventually, output, profile};
use crate::scenarios;
use crate::support::{Machine, can_i};

/// One control plane for all scenarios: each has its own inventory and namespaces. Its processes end with this one.
static SHARED: LazyLock<Option<Mutex<ControlPlane>>> = LazyLock::new(|| {
    let hour = Some(Duration::from_secs(3600));
    let plane = ControlPlane::start(vec![
        ClusterOptions::named("real"),
        ClusterOptions { max_token_expiration: hour, ..ClusterOptions::named("clamped") },
    ]);
    plane.map(Mutex::new)
});

/// Returns a cluster of the shared plane; nothing, with a message, if the environment skips it.
pub(crate) fn shared(cluster: usize) -> Option<TestCluster> {
    let plane = SHARED.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    Some(plane.test_cluster(cluster).clone())
}

/// Returns the audit log of the first cluster of the shared plane.
fn audit_log() -> String {
    let plane = SHARED.as_ref().map(|plane| plane.lock().unwrap_or_else(PoisonError::into_inner));
    plane.map(|plane| std::fs::read_to_string(plane.audit_log(0)).unwrap()).unwrap_or_default()
}

macro_rules! on_real {
    ($($scenario:ident),* $(,)?) => {$(
        #[test]
        fn $scenario() {
            if let Some(cluster) = shared(0) {
                scenarios::$scenario(&cluster);
            }
        }
    )*};
}

scenarios::every_scenario!(on_real);

macro_rules! lives_on_real {
    ($($scenario:ident),* $(,)?) => {$(
        #[test]
        fn $scenario() {
            if let Some(cluster) = shared(0) {
                lives::$scenario(&cluster);
            }
        }
    )*};
}

crate::life::every_life!(lives_on_real);
crate::revoking::every_revocation!(lives_on_real);
crate::plugin::every_delivery!(lives_on_real);
crate::damaged::every_damage!(lives_on_real);
crate::pruning::every_prune!(lives_on_real);
crate::timeboxed::every_period!(lives_on_real);
crate::reviewed::every_review!(lives_on_real);
crate::judged::every_judgement!(lives_on_real);
crate::alone::every_limit!(lives_on_real);
crate::delivering::every_secret!(lives_on_real);
crate::registering::every_registration!(lives_on_real);
crate::discovering::every_discovery!(lives_on_real);
crate::trusting::every_mistrust!(lives_on_real);
crate::dead::every_death!(lives_on_real);

/// All scenarios of the life of a credential.
mod lives {
    pub(super) use crate::alone::*;
    pub(super) use crate::damaged::*;
    pub(super) use crate::dead::*;
    pub(super) use crate::delivering::*;
    pub(super) use crate::discovering::*;
    pub(super) use crate::judged::*;
    pub(super) use crate::life::*;
    pub(super) use crate::plugin::*;
    pub(super) use crate::pruning::*;
    pub(super) use crate::registering::*;
    pub(super) use crate::reviewed::*;
    pub(super) use crate::revoking::*;
    pub(super) use crate::timeboxed::*;
    pub(super) use crate::trusting::*;
}

#[test]
fn a_shortened_lifetime_is_noticed() {
    if let Some(cluster) = shared(1) {
        scenarios::a_shortened_lifetime_is_noticed(&cluster);
    }
}

#[test]
fn the_right_to_write_the_index_is_checked() {
    if let Some(cluster) = shared(1) {
        scenarios::the_right_to_write_the_index_is_checked(&cluster);
    }
}

/// Calico's page "Writing kubeconfig files", automated.
#[test]
fn the_calico_example_gives_what_calicos_page_does_by_hand() {
    let Some(cluster) = shared(0) else { return };
    let machine = Machine::new(&[&cluster], User::Admin);
    let example = include_str!("../../examples/inventories/calico-federation.toml");
    let inventory = localized(example, &cluster.name);
    machine.write("clusters.toml", &inventory);
    machine.expect(0, &["apply", "--yes"]);
    let issued = machine
        .files()
        .into_keys()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("kubeconfig")))
        .expect("a kubeconfig was written");
    let value: Value = serde_saphyr::from_str(&std::fs::read_to_string(&issued).unwrap()).unwrap();
    assert_eq!(value["current-context"], "remote-cluster-ctx");
    assert_eq!(value["users"][0]["name"], "remote-cluster");
    assert_eq!(value["clusters"][0]["name"], "remote-cluster");
    let namespaces = control_plane::kubectl(&issued, ["get", "namespaces", "-o", "name"]).unwrap();
    assert!(namespaces.stdout.contains("namespace/kube-system"), "{}", namespaces.stderr);
    let listed = control_plane::kubectl(&issued, ["auth", "can-i", "--list"]).unwrap().stdout;
    let rights = |resource: &str| {
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(resource));
        let verbs = line.and_then(|line| line.rsplit_once('[')).map(|(_, verbs)| verbs.trim_end_matches(']'));
        verbs.map(|verbs| verbs.split_whitespace().collect::<std::collections::BTreeSet<_>>()).unwrap_or_default()
    };
    for resource in ["namespaces", "serviceaccounts", "services", "endpoints", "pods"] {
        assert_eq!(rights(resource), ["get", "list", "watch"].into(), "{resource} in\n{listed}");
    }
    for resource in ["hostendpoints.crd.projectcalico.org", "profiles.crd.projectcalico.org"] {
        assert_eq!(rights(resource), ["create", "get", "list", "update", "watch"].into(), "{resource} in\n{listed}");
    }
    assert!(rights("secrets").is_empty(), "{listed}");
}

/// Adapts an example's inventory to a test's cluster and admin kubeconfig.
fn localized(example: &str, cluster: &str) -> String {
    let mut document: toml::Table = example.parse().unwrap();
    let mut entry = document["clusters"].as_array().unwrap()[0].as_table().unwrap().clone();
    entry.insert("name".to_owned(), cluster.into());
    entry.remove("consumer");
    let admin: toml::Table = "kubeconfig = \"admin.yaml\"".parse().unwrap();
    entry.insert("admin".to_owned(), admin.into());
    let other: Vec<String> = document["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    document["clusters"] = vec![toml::Value::from(entry)].into();
    let text = toml::to_string(&document).unwrap();
    text.replace(&format!("\"{}\"", other[0]), &format!("\"{cluster}\""))
}

/// RBAC is enforced for the issued kubeconfig through a real kubectl.
#[test]
fn kubectl_may_do_what_the_profile_says_and_nothing_else() {
    let Some(cluster) = shared(0) else { return };
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory(
        "kubectl",
        r#"
[profiles.reader]
[[profiles.reader.cluster-rules]]
api-groups = [""]
resources = ["namespaces"]
verbs = ["get", "list"]
[[grants]]
profile = "reader"
selector = "env=test"
[[outputs]]
path = "out/{cluster}.kubeconfig"
"#,
    );
    machine.expect(0, &["apply", "--yes"]);
    let issued = machine.path(&format!("out/{}.kubeconfig", cluster.name));
    let whoami =
        control_plane::kubectl(&issued, ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).unwrap();
    assert_eq!(whoami.stdout, "system:serviceaccount:kubectl:reader", "{}", whoami.stderr);
    let listed = control_plane::kubectl(&issued, ["get", "namespaces"]).unwrap();
    assert!(listed.status == 0, "{}", listed.stderr);
    let secrets = control_plane::kubectl(&issued, ["get", "secrets", "-n", "kube-system"]).unwrap();
    assert!(secrets.stderr.contains("Forbidden"), "{}", secrets.stderr);
    let deleted = control_plane::kubectl(&issued, ["delete", "namespace", "default"]).unwrap();
    assert!(deleted.stderr.contains("Forbidden"), "{}", deleted.stderr);
    let audit = audit_log();
    assert!(audit.contains(concat!("\"userAgent\":\"kubemint/", env!("CARGO_PKG_VERSION"), "\"")), "who asks is said");
    let token = machine.token(&format!("out/{}.kubeconfig", cluster.name));
    assert!(!audit.contains(&token));
    let viewed = control_plane::kubectl(&issued, ["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"]);
    assert_eq!(viewed.unwrap().stdout, token, "kubectl reads what was written");
}

/// One of three clusters in a run is stopped half-way: the other two are done, the report says which one, where and
/// what to run, and the next run converges.
#[test]
fn one_of_three_clusters_is_stopped_half_way() {
    let names = ["one", "two", "three"].map(ClusterOptions::named);
    let Some(mut plane) = ControlPlane::start(names.into()) else {
        return;
    };
    let machine = Machine::new(&plane.test_clusters(), User::Admin);
    // Enough namespaces that a cluster is still at work when its first one is seen.
    let namespaces: Vec<String> = (0..60).map(|number| format!("\"half-{number:02}\"")).collect();
    machine.inventory(
        "half",
        &format!(
            "[profiles.deployer]\n[[profiles.deployer.namespaces]]\nnames = [{}]\ncreate-namespaces = true\n\
             cluster-roles = [\"view\"]\n[[grants]]\nprofile = \"deployer\"\nselector = \"env=test\"\n\
             [[outputs]]\npath = \"out/{{cluster}}.kubeconfig\"\n[[outputs]]\npath = \"all.kubeconfig\"\n",
            namespaces.join(", ")
        ),
    );
    let text = machine.read("clusters.toml").replace("request-timeout = \"10s\"", "request-timeout = \"3s\"");
    machine.write("clusters.toml", &text);
    let mut command = machine.command(&["apply", "--yes", "-o", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let admin = machine.admin(1);
    let deadline = Instant::now() + Duration::from_secs(60);
    while admin.get("/api/v1/namespaces/half-00").is_err() {
        assert!(Instant::now() < deadline, "the second cluster was never reached");
    }
    plane.stop_cluster(1);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let states: Vec<&str> = (0..3).map(|cluster| report["clusters"][cluster]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["changed", "failed", "changed"], "{stderr}");
    assert!(report["clusters"][1]["error"]["step"].as_u64().unwrap() > 0);
    assert!(stderr.contains("1 failed of 3 clusters"), "{stderr}");
    assert!(stderr.contains("hint: run `kubemint apply --cluster two`"), "{stderr}");
    assert!(!machine.path("out/two.kubeconfig").exists());
    for name in ["one", "three"] {
        let issued = machine.path(&format!("out/{name}.kubeconfig"));
        assert!(control_plane::kubectl(&issued, ["auth", "whoami"]).unwrap().status == 0);
    }
    let before = machine.read("all.kubeconfig");
    assert_eq!(before.matches("current-context").count(), 1);

    plane.restart_cluster(1).unwrap();
    machine.expect(0, &["apply", "--yes", "--cluster", "two"]);
    let all: Value = serde_saphyr::from_str(&machine.read("all.kubeconfig")).unwrap();
    let contexts: Vec<&str> =
        all["contexts"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(contexts, ["deployer@one", "deployer@two", "deployer@three"], "in the order of the inventory");
    machine.expect(0, &["plan", "--check"]);
}

/// Waves, risks and policy, as on simulated servers.
#[test]
fn a_wave_that_fails_stops_the_next_one() {
    let names = ["wave-one", "wave-two"].map(ClusterOptions::named);
    let Some(plane) = ControlPlane::start(names.into()) else {
        return;
    };
    let clusters = plane.test_clusters();
    crate::rollouts::a_wave_that_fails_stops_the_next_one([clusters[0], clusters[1]]);
}

/// A finalizer keeps an anchor for any time, and its tokens for one more minute. `--wait` waits for that, even without
/// a copy of the token.
#[test]
fn an_anchor_that_a_finalizer_holds_is_waited_for() {
    let Some(cluster) = shared(0) else { return };
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("held", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = machine.token(&output(&cluster));
    std::fs::remove_dir_all(machine.path("out")).unwrap();
    let anchor = format!("/api/v1/namespaces/held/secrets/{}", anchors(&admin, "held").remove(0));
    admin.merge_patch(&anchor, &json!({"metadata": {"finalizers": ["example.com/held"]}})).unwrap();
    assert!(can_i(&admin, &token, "list", "pods", "default"));
    let run = machine.kubemint(&["revoke", "--wait", "--yes"]).exits(7);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = admin.as_token(&token).create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
    assert_eq!(answer.unwrap_err().code, 401, "it was waited for: {}", run.stderr);
    assert!(run.stderr.contains("still exists: `example.com/held` holds it"), "{}", run.stderr);
    assert!(run.stderr.contains("so they should be refused by now"), "{}", run.stderr);
    admin.merge_patch(&anchor, &json!({"metadata": {"finalizers": null}})).unwrap();
    machine.expect(0, &["revoke", "--wait", "--yes"]);
}

/// If a quota leaves no room for another Secret, spent anchors are deleted before the room is needed. If none is spent,
/// the profile is blocked, and the message is the quota's.
#[test]
fn a_quota_is_freed_before_it_is_needed() {
    let options = ClusterOptions { controller_manager: ControllerManager::On, ..ClusterOptions::named("counted") };
    let Some(plane) = ControlPlane::start(vec![options]) else { return };
    let cluster = plane.test_cluster(0).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("quota", &profile("0s"));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let quotas = "/api/v1/namespaces/quota/resourcequotas";
    let two = json!({"metadata": {"name": "few"}, "spec": {"hard": {"count/secrets": "2"}}});
    admin.create(quotas, &two).unwrap();
    let used = || admin.get(&format!("{quotas}/few")).unwrap()["status"]["used"]["count/secrets"].clone();
    eventually("the quota counts", || used() == "1");
    machine.expect(0, &["refresh", "--force"]);
    eventually("two are used", || used() == "2");
    // Generation 1 is superseded and over; without its place there is none for generation 3.
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(0).report();
    assert_eq!(report["clusters"][0]["credentials"][0]["generation"], 3, "{report:#}");
    assert_eq!(anchors(&admin, "quota").len(), 2);
    assert!(can_i(&admin, &machine.token(&output(&cluster)), "list", "pods", "default"));

    // With an overlap, generation 2 lives on: nothing is spent.
    eventually("two are used again", || used() == "2");
    machine.inventory("quota", &profile("15m"));
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(5).report();
    let blocker = &report["clusters"][0]["blockers"][0];
    assert!(blocker["message"].as_str().unwrap().contains("exceeded quota"), "{report:#}");
    assert_eq!(blocker["profile"], "reader");
    assert!(can_i(&admin, &machine.token(&output(&cluster)), "list", "pods", "default"));
}

/// A full quota of a hub's namespace lets every renewal pass, also of a Secret that is made anew, and refuses one more Secret
/// before anything is minted for it. A policy that refuses a Secret does the same.
#[test]
fn a_full_quota_of_a_hub_is_no_matter_for_renewals() {
    let options = ClusterOptions { controller_manager: ControllerManager::On, ..ClusterOptions::named("hub") };
    let Some(plane) = ControlPlane::start(vec![options]) else { return };
    let cluster = plane.test_cluster(0).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    let output = |kind: &str| {
        format!("[[outputs]]\nkind = '{kind}'\nadmin = {{ cluster = 'hub' }}\nnamespace = 'full'\nselector = ''\n")
    };
    let outputs = |kinds: &[&str]| profile("1m") + &kinds.iter().map(|kind| output(kind)).collect::<String>();
    let admin = machine.admin(0);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "full" } });
    admin.create("/api/v1/namespaces", &namespace).unwrap();
    machine.inventory("hubquota", &outputs(&["argocd", "linkerd"]));
    machine.expect(0, &["apply", "--yes"]);
    let quotas = "/api/v1/namespaces/full/resourcequotas";
    let two = json!({"metadata": {"name": "two"}, "spec": {"hard": {"count/secrets": "2"}}});
    admin.create(quotas, &two).unwrap();
    let used = || admin.get(&format!("{quotas}/two")).unwrap()["status"]["used"]["count/secrets"].clone();
    eventually("the quota counts", || used() == "2");
    machine.expect(0, &["refresh", "--force"]);
    machine.expect(0, &["refresh", "--force"]);
    let generation = || {
        let secret = admin.get("/api/v1/namespaces/full/secrets/cluster-credentials-hub").unwrap();
        let noted = secret["metadata"]["annotations"]["kubemint.dev/delivery"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(&noted).unwrap()["generation"].clone()
    };
    assert_eq!(generation(), 3);

    machine.inventory("hubquota", &outputs(&["argocd", "linkerd", "kueue"]));
    let report = machine.kubemint(&["refresh", "--force", "-o", "json"]).exits(5).report();
    let blocker = &report["clusters"][0]["blockers"][0];
    assert!(blocker["message"].as_str().unwrap().contains("exceeded quota: two"), "{report:#}");
    assert!(blocker["hint"].as_str().unwrap().contains("raise quota `two`"), "{report:#}");
    assert_eq!(generation(), 3, "nothing was minted");

    machine.inventory("hubquota", &outputs(&["argocd", "linkerd"]));
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "guard.example.com"}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"],
        }]},
        "validations": [{"expression": "object.metadata.name != 'cluster-credentials-hub'", "message": "not this one"}],
    }});
    admin.create(&format!("{policies}/validatingadmissionpolicies"), &policy).unwrap();
    let binding = json!({"metadata": {"name": "guard"}, "spec": {
        "policyName": "guard.example.com", "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "full"}}},
    }});
    admin.create(&format!("{policies}/validatingadmissionpolicybindings"), &binding).unwrap();
    // Asked without effect: a renewal that runs while the policy takes effect can pass its trial and then be refused.
    let linked = json!({"metadata": {"name": "cluster-credentials-hub"}});
    eventually("the policy holds", || {
        let tried = admin.create("/api/v1/namespaces/full/secrets?dryRun=All", &linked);
        tried.is_err_and(|refused| refused.message.contains("not this one"))
    });
    let before = generation();
    let said = machine.kubemint(&["refresh", "--force"]).exits(5).stderr;
    assert!(said.contains("`Secret full/cluster-credentials-hub in hub`"), "{said}");
    assert!(said.contains("not this one"), "{said}");
    assert_eq!(generation(), before, "the one before is still there");
}

/// A policy that limits the lifetime of tokens is named, with the keys of the profile that depend on it.
#[test]
fn a_policy_that_refuses_tokens_is_named() {
    let Some(plane) = ControlPlane::start(vec![ClusterOptions::named("limited")]) else { return };
    let cluster = plane.test_cluster(0).clone();
    let machine = Machine::new(&[&cluster], User::Admin);
    let admin = machine.admin(0);
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "short.example.com"}, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["serviceaccounts/token"],
        }]},
        "validations": [{"expression": "object.spec.expirationSeconds <= 1800", "message": "too long"}],
    }});
    admin.create(&format!("{policies}/validatingadmissionpolicies"), &policy).unwrap();
    let binding = json!({"metadata": {"name": "short"}, "spec": {
        "policyName": "short.example.com", "validationActions": ["Deny"],
    }});
    admin.create(&format!("{policies}/validatingadmissionpolicybindings"), &binding).unwrap();
    machine.inventory("limited", &profile("15m"));
    let mut report = Value::Null;
    eventually("the policy is enforced", || {
        let run = machine.kubemint(&["apply", "--yes", "--reissue", "-o", "json"]);
        report = run.report();
        drop(std::fs::remove_file(machine.path(&output(&cluster))));
        run.code == 7
    });
    let error = &report["clusters"][0]["error"];
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("`ttl`") && hint.contains("validatingadmissionpolicy short.example.com"), "{error}");
}

/// A change by `kubectl config` in an entry stays if the field is the user's, and is repaired if it is kubemint's.
#[test]
fn what_kubectl_changes_in_an_entry_is_told_apart() {
    let Some(cluster) = shared(0) else { return };
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory("kubens", &profile("15m"));
    machine.expect(0, &["apply", "--yes"]);
    let path = machine.path(&output(&cluster));
    let context = format!("reader@{}", cluster.name);
    let config = |arguments: &[&str]| {
        let done = control_plane::kubectl(&path, ["config"].iter().chain(arguments).copied()).unwrap();
        assert!(done.stderr.is_empty(), "{}", done.stderr);
        done.stdout
    };
    config(&["set-context", &context, "--namespace", "team-x"]);
    machine.expect(0, &["plan", "--check"]);
    machine.expect(0, &["refresh", "--force"]);
    let namespace = ["view", "--minify", "-o", "jsonpath={..namespace}"];
    assert_eq!(config(&namespace).trim(), "team-x");
    config(&["set-cluster", &context, "--server", "https://127.0.0.1:1"]);
    let plan = machine.kubemint(&["plan"]).exits(0);
    assert!(plan.stdout.contains("- cluster.server: https://127.0.0.1:1"), "{}", plan.stdout);
    machine.expect(4, &["status", "--check"]);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["status", "--check"]);
    assert_eq!(config(&namespace).trim(), "team-x");
    let pods = control_plane::kubectl(&path, ["get", "pods", "-A"]).unwrap();
    assert!(pods.stderr.contains("No resources found"), "{}", pods.stderr);
}

#[test]
fn the_trail_names_what_the_audit_log_names() {
    if let Some(cluster) = shared(0) {
        crate::trail::the_trail_names_what_the_audit_log_names(&cluster, audit_log);
    }
}

/// A hub `hub` and a cluster `a`, whose credential goes into some Secrets of the hub, and into a file.
fn hub_of(machine: &Machine, name: &str, secrets: usize) {
    let secret = |number| {
        format!(
            "[[outputs]]\nkind = 'secret'\nadmin = {{ cluster = 'hub' }}\nnamespace = 'hub'\ncreate-namespaces = true\n\
             name = 's{number:02}'\nclusters = ['a']\ndata = {{ token = '{{token}}' }}\n"
        )
    };
    let outputs: String = (0..secrets).map(secret).collect();
    machine.inventory(name, &format!("{}{outputs}", profile("10m")));
    machine.impatient();
}

fn delivered(hub: &kubemint_testkit::Admin, number: usize) -> String {
    let secret = hub.get(&format!("/api/v1/namespaces/hub/secrets/s{number:02}")).unwrap();
    let token = STANDARD.decode(secret["data"]["token"].as_str().unwrap()).unwrap();
    String::from_utf8(token).unwrap()
}

/// A hub is stopped while Secrets are written to it: what it has works, and the next run completes the work.
#[test]
fn a_real_hub_is_stopped_half_way() {
    let Some(mut plane) = ControlPlane::start(["hub", "a"].map(ClusterOptions::named).into()) else { return };
    let machine = Machine::new(&plane.test_clusters(), User::Admin);
    hub_of(&machine, "stopped", 60);
    let (hub, cluster) = (machine.admin(0), machine.admin(1));
    machine.expect(0, &["apply", "--yes"]);
    let first = delivered(&hub, 0);
    let mut command = machine.command(&["refresh", "--force", "--cluster", "a"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the first Secret is renewed", || delivered(&hub, 0) != first);
    plane.stop_cluster(0);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(stderr.contains("in hub`"), "it says where: {stderr}");
    plane.restart_cluster(0).unwrap();
    let tokens: Vec<String> = (0..60).map(|number| delivered(&hub, number)).collect();
    assert!(tokens[59] == first && tokens[0] != first, "it was half-way");
    for token in &tokens {
        assert!(can_i(&cluster, token, "list", "pods", "default"), "each of them works");
    }
    machine.expect(0, &["refresh", "--cluster", "a"]);
    let now = delivered(&hub, 0);
    assert!((0..60).all(|number| delivered(&hub, number) == now));
    assert_eq!(machine.token("out/a.kubeconfig"), now);
    machine.expect(0, &["plan", "--check"]);
}

/// Whoever reads a Secret at any time, and whoever read it before a rotation, is never refused: over renewals that complete,
/// and over some that are killed at any instant.
#[test]
fn a_continuous_reader_of_a_real_hub_is_never_refused() {
    let Some(plane) = ControlPlane::start(["hub", "a"].map(ClusterOptions::named).into()) else { return };
    let machine = Machine::new(&plane.test_clusters(), User::Admin);
    hub_of(&machine, "read", 3);
    let (hub, cluster) = (machine.admin(0), machine.admin(1));
    machine.expect(0, &["apply", "--yes"]);
    let ends = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    let tokens = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut known: Vec<String> = vec![];
            while !ends.load(Ordering::Relaxed) {
                let read = reads.load(Ordering::Relaxed);
                let token = delivered(&hub, read % 3);
                assert!(can_i(&cluster, &token, "list", "pods", "default"), "read {read}");
                // Who has not looked since the rotation before.
                if let Some(before) = known.iter().rev().find(|known| **known != token) {
                    assert!(can_i(&cluster, before, "list", "pods", "default"), "the one before, at read {read}");
                }
                if !known.contains(&token) {
                    known.push(token);
                }
                reads.fetch_add(1, Ordering::Relaxed);
            }
            known.len()
        });
        let refresh = ["refresh", "--force", "--cluster", "a"];
        // A renewal that completes, and that the reader sees: one read of each Secret began after it. Its length is measured
        // anew each time, because what else the machine does changes it.
        let completes = || {
            let began = Instant::now();
            machine.expect(0, &refresh);
            let whole = began.elapsed();
            let at = reads.load(Ordering::Relaxed);
            eventually("the reader sees it", || reader.is_finished() || reads.load(Ordering::Relaxed) > at + 3);
            whole
        };
        let mut whole = completes();
        for kill in 1..=20 {
            let began = Instant::now();
            let mut child = machine.command(&refresh).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while began.elapsed() < whole * kill / 20 && child.try_wait().unwrap().is_none() {}
            child.kill().unwrap();
            child.wait().unwrap();
            let whose = delivered(&hub, 2);
            assert!(can_i(&cluster, &whose, "list", "pods", "default"), "after kill {kill}");
            if kill % 5 == 0 {
                whole = completes();
            }
        }
        ends.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(tokens > 5, "{tokens} tokens were read");
    let now = delivered(&hub, 0);
    assert!((0..3).all(|number| delivered(&hub, number) == now));
    assert_eq!(machine.token("out/a.kubeconfig"), now);
    machine.expect(0, &["plan", "--check"]);
}
