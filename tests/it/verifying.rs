//! `verify`: scenarios for any cluster, and tests that need a simulated fleet.

use std::time::{Duration, Instant};

use kubemint_testkit::sim::Fault;
use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::support::{Machine, Run, simulated};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Passes every scenario that needs no special cluster to a macro, so that none can be left out on one fleet.
macro_rules! every_scenario {
    ($run:ident) => {
        $run!(
            what_was_applied_is_fine,
            a_hand_made_cluster_admin_is_found,
            a_hand_made_role_binding_is_found_with_its_namespace,
            what_was_taken_away_is_denied,
            a_revoked_credential_is_a_finding,
            an_admin_who_may_not_read_bindings_leaves_excess_unknown,
            a_missing_credential_is_a_finding,
        );
    };
}
pub(crate) use every_scenario;

mod simulated {
    //! The scenarios on the simulated fleet.

    macro_rules! on_simulated {
        ($($scenario:ident),* $(,)?) => {$(
            #[test]
            fn $scenario() {
                super::$scenario(&super::simulated(["sim"]).cluster("sim"));
            }
        )*};
    }
    super::every_scenario!(on_simulated);
}

mod real {
    //! The scenarios on a real API server.

    macro_rules! on_real {
        ($($scenario:ident),* $(,)?) => {$(
            #[test]
            fn $scenario() {
                if let Some(cluster) = crate::real::shared(0) {
                    super::$scenario(&cluster);
                }
            }
        )*};
    }
    super::every_scenario!(on_real);
}

/// Applies a profile with own rules in the cluster and in a namespace, a URL, one object, and an existing
/// role.
fn applied(clusters: &[&TestCluster], name: &str) -> Machine {
    let machine = Machine::new(clusters, User::Admin);
    machine.inventory(
        name,
        &format!(
            r#"
[profiles.deployer]
[[profiles.deployer.cluster-rules]]
api-groups = [""]
resources = ["nodes", "nodes/proxy"]
verbs = ["get", "list"]
[[profiles.deployer.cluster-rules]]
non-resource-urls = ["/metrics/*"]
verbs = ["get"]
[[profiles.deployer.namespaces]]
names = ["{name}-apps"]
create-namespaces = true
cluster-roles = ["view"]
rules = [
  {{ api-groups = ["batch"], resources = ["jobs"], verbs = ["*"] }},
  {{ api-groups = [""], resources = ["configmaps"], verbs = ["update"], resource-names = ["settings"] }},
]
[[grants]]
profile = "deployer"
selector = "env=test"
[[outputs]]
path = "out/{{cluster}}.kubeconfig"
"#
        ),
    );
    machine.expect(0, &["apply", "--yes"]);
    machine
}

fn grant(run: &Run) -> Value {
    run.report()["clusters"][0]["grants"][0].clone()
}

fn bind(admin: &Admin, namespace: Option<&str>, name: &str, role: &str, subject: &Value) {
    let path = match namespace {
        Some(namespace) => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
        None => format!("{RBAC}/clusterrolebindings"),
    };
    let binding = json!({
        "metadata": { "name": name }, "subjects": [subject],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
    });
    admin.create(&path, &binding).unwrap();
}

fn account(namespace: &str) -> Value {
    json!({ "kind": "ServiceAccount", "namespace": namespace, "name": "deployer" })
}

/// Everything is as intended: every right of the profile is allowed, and beyond that only the baseline.
pub(crate) fn what_was_applied_is_fine(cluster: &TestCluster) {
    let machine = applied(&[cluster], "fine");
    let before = machine.files();
    let run = machine.kubemint(&["verify", "--strict", "-o", "json"]).exits(0);
    let grant = grant(&run);
    assert_eq!(grant["state"], "fine", "{grant:#}");
    assert_eq!((&grant["rights"]["denied"], &grant["rights"]["unknown"]), (&0.into(), &0.into()));
    assert_eq!(grant["excess"], json!([]));
    assert_eq!(grant["notes"], json!([]), "the API server's own list says the same");
    assert_eq!(grant["credentials"][0]["state"], "works");
    let everyone = grant["everyone"].as_array().unwrap();
    assert!(everyone.len() >= 4, "Kubernetes' own bindings: {everyone:#?}");
    assert!(everyone.iter().all(|binding| binding["default"] == true), "{everyone:#?}");
    // Own rules are listed, those of an existing role counted.
    let allowed = grant["allowed"].as_array().unwrap();
    assert_eq!(allowed[0]["count"], 5, "two verbs on two resources, and a URL: {allowed:#?}");
    assert_eq!(allowed[1]["count"], 2, "{allowed:#?}");
    assert_eq!(allowed[2]["via"], "ClusterRole `view`");
    assert!(allowed[2]["count"].as_u64().unwrap() > 50 && allowed[2]["rights"].is_null(), "{allowed:#?}");

    let text = machine.kubemint(&["verify"]).exits(0).stdout;
    assert!(text.contains("what every ServiceAccount may do anyway"), "{text}");
    assert!(text.ends_with("\n1 cluster: 1 fine\n"), "{text}");
    let token = machine.token(&format!("out/{}.kubeconfig", cluster.name));
    let logged = machine.kubemint(&["verify", "-vvv", "--log-format", "json"]).exits(0).stderr;
    assert!(logged.contains("selfsubjectaccessreviews"), "requests are logged");
    for shown in [&run.stdout, &run.stderr, &text, &logged] {
        assert!(!shown.contains(&token[token.len() / 2..]), "a token was shown");
    }
    assert_eq!(machine.files(), before, "nothing is written");
}

/// Somebody made a binding to `cluster-admin` by hand.
pub(crate) fn a_hand_made_cluster_admin_is_found(cluster: &TestCluster) {
    let machine = applied(&[cluster], "overprivileged");
    bind(&machine.admin(0), None, "temporary-debugging", "cluster-admin", &account("overprivileged"));
    let run = machine.kubemint(&["verify", "-o", "json"]).exits(0);
    let found = grant(&run);
    assert_eq!(found["state"], "excess");
    assert_eq!(
        found["excess"],
        json!([{
            "binding": { "kind": "ClusterRoleBinding", "name": "temporary-debugging" },
            "role-kind": "ClusterRole", "role": "cluster-admin",
            "rights": [
                { "verbs": ["*"], "api-group": "*", "resource": "*" },
                { "verbs": ["*"], "url": "*" },
            ],
        }])
    );
    let text = machine.kubemint(&["verify", "--strict"]).exits(4).stdout;
    let line = "ClusterRoleBinding `temporary-debugging` grants ClusterRole `cluster-admin` in the whole cluster";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("1 cluster: 1 with findings"), "{text}");
    let strict = machine.kubemint(&["verify", "--strict", "-o", "json"]).exits(4);
    assert_eq!(grant(&strict)["findings"][0]["kind"], "excess");

    machine.admin(0).delete(&format!("{RBAC}/clusterrolebindings/temporary-debugging")).unwrap();
    machine.expect(0, &["verify", "--strict"]);
}

/// Excess in one namespace is reported with the namespace; a binding for the group of the account's namespace counts
/// too.
pub(crate) fn a_hand_made_role_binding_is_found_with_its_namespace(cluster: &TestCluster) {
    let machine = applied(&[cluster], "namespaced");
    let admin = machine.admin(0);
    admin.create("/api/v1/namespaces", &json!({ "metadata": { "name": "namespaced-other" } })).unwrap();
    bind(&admin, Some("namespaced-other"), "peek", "view", &account("namespaced"));
    let group = json!({
        "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts:namespaced",
    });
    bind(&admin, Some("namespaced-apps"), "all-of-us", "edit", &group);
    // What the profile binds there anyway is no excess.
    bind(&admin, Some("namespaced-apps"), "again", "view", &account("namespaced"));
    let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(0));
    let excess = found["excess"].as_array().unwrap();
    let names: Vec<&str> = excess.iter().map(|excess| excess["binding"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all-of-us", "peek"], "{excess:#?}");
    assert_eq!(excess[0]["group"], "system:serviceaccounts:namespaced");
    assert_eq!(excess[1]["namespace"], "namespaced-other");
    let rights = excess[0]["rights"].to_string();
    assert!(rights.contains("\"secrets\""), "edit reads Secrets: {rights}");
    assert!(!rights.contains("\"get\"],\"api-group\":\"\",\"resource\":\"services\""), "view is meant: {rights}");
    machine.expect(4, &["verify", "--strict"]);
}

/// Somebody removed a rule and a binding to an existing role.
pub(crate) fn what_was_taken_away_is_denied(cluster: &TestCluster) {
    let machine = applied(&[cluster], "taken");
    let admin = machine.admin(0);
    let role = format!("{RBAC}/namespaces/taken-apps/roles/kubemint:taken:deployer");
    let rules = json!({ "rules": [{ "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"] }] });
    admin.merge_patch(&role, &rules).unwrap();
    let run = machine.kubemint(&["verify", "-o", "json"]).exits(4);
    let found = grant(&run);
    assert_eq!(found["state"], "findings");
    assert_eq!(
        found["denied"],
        json!([{
            "namespace": "taken-apps", "via": "the profile", "count": 2,
            "rights": [
                { "verbs": ["update"], "api-group": "", "resource": "configmaps", "resource-name": "settings" },
                { "verbs": ["*"], "api-group": "batch", "resource": "jobs" },
            ],
        }])
    );
    let text = machine.kubemint(&["verify"]).exits(4).stdout;
    assert!(text.contains("denied: * on jobs.batch in namespace `taken-apps`, which the profile asks for"), "{text}");

    let bindings = format!("{RBAC}/namespaces/taken-apps/rolebindings");
    let all = admin.get(&bindings).unwrap();
    let to_view = all["items"].as_array().unwrap().iter().find(|binding| binding["roleRef"]["name"] == "view").unwrap();
    admin.delete(&format!("{bindings}/{}", to_view["metadata"]["name"].as_str().unwrap())).unwrap();
    let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(4));
    assert_eq!(found["denied"][1]["via"], "ClusterRole `view`");
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["verify", "--strict"]);
}

/// Without its anchor, the credential in the file no longer works, and the report says why.
pub(crate) fn a_revoked_credential_is_a_finding(cluster: &TestCluster) {
    let machine = applied(&[cluster], "revoked");
    let file = format!("out/{}.kubeconfig", cluster.name);
    let (admin, facts) = (machine.admin(0), machine.facts(&file));
    admin.delete(&format!("/api/v1/namespaces/revoked/secrets/{}", facts["anchor"].as_str().unwrap())).unwrap();
    // The API server remembers for ten seconds that the token was good.
    let user = admin.as_token(machine.token(&file));
    let deadline = Instant::now() + Duration::from_secs(60);
    while user.get("/api").is_ok() {
        assert!(Instant::now() < deadline, "the token is still accepted");
    }
    let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(4));
    assert_eq!(found["credentials"][0]["state"], "revoked", "{found:#}");
    let finding = &found["findings"][0];
    assert_eq!(finding["kind"], "dead-credential");
    assert!(finding["message"].as_str().unwrap().contains("it was revoked: its anchor"), "{finding}");
    // What it could do is known from the bindings all the same.
    assert_eq!((&found["rights"]["denied"], &found["excess"]), (&0.into(), &json!([])));
}

/// An admin who may not read bindings learns what is allowed, and that the rest is unknown; this is no failure.
pub(crate) fn an_admin_who_may_not_read_bindings_leaves_excess_unknown(cluster: &TestCluster) {
    let machine = applied(&[cluster], "unread");
    bind(&machine.admin(0), Some("unread-apps"), "hidden", "edit", &account("unread"));
    // An account of its own: other scenarios give rights to the users that all share.
    let accounts = "/api/v1/namespaces/unread/serviceaccounts";
    let admin = machine.admin(0);
    admin.create(accounts, &json!({ "metadata": { "name": "nobody" } })).unwrap();
    let spec = json!({ "spec": { "expirationSeconds": 3600 } });
    let minted = admin.create(&format!("{accounts}/nobody/token"), &spec).unwrap();
    let token = minted["status"]["token"].as_str().unwrap();
    machine.write("admin.yaml", &machine.read("admin.yaml").replace(&cluster.admin_token, token));
    let run = machine.kubemint(&["verify", "--strict", "-o", "json"]).exits(0);
    let found = grant(&run);
    assert!(found["excess"].is_null(), "{found:#}");
    assert_eq!(found["rights"], json!({ "allowed": 7, "denied": 0, "unknown": 0 }), "own rules are asked for");
    let kinds: Vec<&str> =
        found["notes"].as_array().unwrap().iter().map(|note| note["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["excess-unknown", "unreadable-role"], "{found:#}");
    let text = machine.kubemint(&["verify"]).exits(0).stdout;
    assert!(text.contains("unknown"), "{text}");
}

/// A file that does not exist, and one with an entry that is not ours.
pub(crate) fn a_missing_credential_is_a_finding(cluster: &TestCluster) {
    let machine = applied(&[cluster], "missing");
    let file = format!("out/{}.kubeconfig", cluster.name);
    let whole = machine.read(&file);
    let check = |content: Option<&str>, expected: &str| {
        std::fs::remove_file(machine.path(&file)).unwrap();
        if let Some(content) = content {
            machine.write(&file, content);
        }
        let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(4));
        assert_eq!(found["findings"][0]["kind"], "no-credential");
        let message = found["findings"][0]["message"].as_str().unwrap();
        assert!(message.ends_with(expected), "{message}");
        machine.write(&file, &whole);
    };
    check(None, "the file does not exist");
    check(Some("apiVersion: v1\nkind: Config\n"), "it has no such context");
    check(
        Some(&whole.replace("inventory: missing", "inventory: other")),
        "belongs to another inventory of kubemint, `other`",
    );
    check(Some("users: ["), "it is not a kubeconfig: `users`: it is not valid YAML, at line 1, column 8");
    let run = machine.kubemint(&["verify", "--holder", "laptop", "-o", "json"]).exits(4);
    assert!(run.stdout.contains("it has the credential of holder `default`"), "{}", run.stdout);
}

/// One of three clusters does not respond: the others are verified, and exit code 6 takes precedence over 4.
#[test]
fn an_unreachable_cluster_changes_nothing_for_the_others() {
    let fleet = simulated(["one", "two", "three"]);
    let machine = applied(&fleet.test_clusters(), "sick");
    machine.impatient();
    bind(&machine.admin(2), None, "oops", "cluster-admin", &account("sick"));
    fleet.cluster("two").set_fault(Some(Fault::Refuse));
    let run = machine.kubemint(&["verify", "--strict", "-o", "json"]).exits(6);
    let report = run.report();
    let states: Vec<&str> = (0..3).map(|cluster| report["clusters"][cluster]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["fine", "failed", "findings"]);
    assert!(report["clusters"][1]["error"]["cause"].as_str().unwrap().contains("connection refused"));
    assert!(run.stderr.contains("error: 1 failed of 3 clusters"), "{}", run.stderr);
    assert!(run.stderr.contains("hint: run `kubemint verify --strict --cluster two`"), "{}", run.stderr);
    for name in ["one", "three"] {
        fleet.cluster(name).set_fault(Some(Fault::Refuse));
    }
    machine.expect(7, &["verify"]);
}

/// A binding for every ServiceAccount is reported separately, and counts as excess.
#[test]
fn what_every_service_account_was_given_is_clearly_visible() {
    let fleet = simulated(["a"]);
    let machine = applied(&fleet.test_clusters(), "everyone");
    let group = |name: &str| json!({ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name });
    let admin = machine.admin(0);
    bind(&admin, None, "permissive", "edit", &group("system:serviceaccounts"));
    // Whoever adds a subject to a default binding leaves its label there.
    let path = format!("{RBAC}/clusterrolebindings/cluster-admin");
    let subjects = json!({ "subjects": [group("system:masters"), group("system:authenticated")] });
    admin.merge_patch(&path, &subjects).unwrap();
    let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(0));
    assert_eq!((&found["state"], &found["excess"]), (&json!("excess"), &json!([])));
    let everyone = found["everyone"].as_array().unwrap();
    let added: Vec<(&str, &str)> = everyone
        .iter()
        .filter(|binding| binding["default"] == false)
        .map(|binding| (binding["binding"]["name"].as_str().unwrap(), binding["group"].as_str().unwrap()))
        .collect();
    assert_eq!(added, [("cluster-admin", "system:authenticated"), ("permissive", "system:serviceaccounts")]);
    let text = machine.kubemint(&["verify", "--strict"]).exits(4).stdout;
    assert!(
        text.contains("every ServiceAccount may, beyond Kubernetes' defaults: ClusterRoleBinding `cluster-admin`"),
        "{text}"
    );
}

/// The text: equal findings of many clusters once, excess with its binding, denials with a hint.
#[test]
fn the_report_as_text() {
    let fleet = simulated(["prod-eu", "prod-us", "prod-asia", "edge"]);
    let machine = applied(&fleet.test_clusters(), "acme");
    for cluster in 0..2 {
        bind(&machine.admin(cluster), None, "temporary-debugging", "cluster-admin", &account("acme"));
    }
    bind(&machine.admin(2), Some("default"), "peek", "view", &account("acme"));
    let role = format!("{RBAC}/clusterroles/kubemint:acme:deployer");
    machine.admin(2).merge_patch(&role, &json!({ "rules": [] })).unwrap();
    fleet.cluster("edge").set_fault(Some(Fault::Garbage));
    let run = machine.kubemint(&["verify", "--strict"]).exits(6);
    let text = format!("{}---- stderr\n{}", run.stdout, run.stderr);
    // On a busy machine a minute may pass.
    let text = text.replace("23h 58m", "23h 59m");
    insta::assert_snapshot!(text.replace(&machine.path("").display().to_string(), "/"));
}

/// The API server denies rights that the bindings grant, as a webhook may: it is asked again, and its answer counts.
#[test]
fn what_the_api_server_denies_for_reasons_of_its_own_is_denied() {
    let fleet = simulated(["a"]);
    let machine = applied(&fleet.test_clusters(), "webhook");
    let denial = |times| Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "selfsubjectaccessreviews".into(),
        code: 201,
        body: Some(json!({ "status": { "allowed": false } }).to_string()),
        times,
    };
    // One that is late: the second time it knows.
    fleet.cluster("a").set_fault(Some(denial(Some(7))));
    machine.expect(0, &["verify", "--strict"]);
    fleet.cluster("a").set_fault(Some(denial(None)));
    let found = grant(&machine.kubemint(&["verify", "-o", "json"]).exits(4));
    assert_eq!(
        (&found["rights"]["denied"], &found["notes"][0]["kind"]),
        (&json!(7), &json!("disagreement")),
        "{found:#}"
    );
}

/// The credential is used with the server and the CA in its file.
#[test]
fn what_the_file_says_is_what_is_used() {
    use base64::Engine;
    let fleet = simulated(["a", "b"]);
    let machine = applied(&fleet.test_clusters(), "used");
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (a, b) = (&*fleet.cluster("a"), &*fleet.cluster("b"));
    let whole = machine.read("out/a.kubeconfig");
    machine.write("out/a.kubeconfig", &whole.replace(&encode(&a.ca_pem), &encode(&b.ca_pem)));
    let found = grant(&machine.kubemint(&["verify", "--cluster", "a", "-o", "json"]).exits(4));
    assert_eq!(found["findings"][0]["kind"], "unusable");
    let message = found["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("it is signed by an unknown authority"), "{message}");
    // Another cluster's API server refuses the token.
    let other = whole.replace(&encode(&a.ca_pem), &encode(&b.ca_pem)).replace(&a.server, &b.server);
    machine.write("out/a.kubeconfig", &other);
    let found = grant(&machine.kubemint(&["verify", "--cluster", "a", "-o", "json"]).exits(4));
    assert_eq!(found["credentials"][0]["state"], "refused", "{found:#}");
    // Nobody listens where the file says: that cluster could not be verified.
    machine.write("out/a.kubeconfig", &whole.replace(&a.server, "https://127.0.0.1:1"));
    machine.impatient();
    let report = machine.kubemint(&["verify", "-o", "json"]).exits(6).report();
    assert_eq!(report["clusters"][0]["error"]["doing"], "use the issued credential");
    assert_eq!(report["clusters"][1]["state"], "fine");
}
