//! The simulated fleet as its users see it: faults, webhooks, counters, scale, kubectl.

#![expect(clippy::disallowed_methods, reason = "the bans keep the product's core pure; tests write plain files")]

use http::Method;
use kubemint_testkit::control_plane::kubectl;
use kubemint_testkit::sim::{Fault, Fleet, FleetOptions, SimCluster, Webhook};
use kubemint_testkit::{Admin, ApiStatus, Force, User, kubeconfig_yaml};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const NAMESPACES: &str = "/api/v1/namespaces";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

fn one() -> (Fleet, SimCluster, Admin) {
    let fleet = Fleet::start(FleetOptions::named(["one"])).expect("a fleet of one starts");
    let cluster = fleet.cluster("one");
    let admin = Admin::new(&cluster);
    (fleet, cluster, admin)
}

fn failure(admin: &Admin) -> ApiStatus {
    admin.get(NAMESPACES).expect_err("the fault is in force")
}

#[test]
fn faults_come_and_go() {
    let (_fleet, cluster, admin) = one();
    let status = |code, times| Fault::Status { code, retry_after: Some(1), times };
    for (fault, code, message) in [
        (Fault::Refuse, 0, "refused"),
        (Fault::WrongCertificate, 0, "invalid peer certificate"),
        (Fault::ResetMidResponse, 0, "closed connection"),
        (Fault::Html502, 502, "<html>"),
        (status(503, None), 503, "unable to handle"),
        (status(401, None), 401, "Unauthorized"),
    ] {
        let shown = format!("{fault:?}");
        cluster.set_fault(Some(fault));
        let failure = failure(&admin);
        assert_eq!(failure.code, code, "{shown}: {failure}");
        assert!(failure.message.contains(message), "{shown}: {failure}");
        cluster.set_fault(None);
        admin.get(NAMESPACES).expect("the fault is lifted");
    }
    cluster.set_fault(Some(Fault::Garbage));
    let garbage = admin.get(NAMESPACES).expect("it is a 200");
    assert!(garbage.is_string());
    cluster.set_fault(Some(status(429, Some(2))));
    assert_eq!(failure(&admin).code, 429);
    assert_eq!(failure(&admin).details["retryAfterSeconds"], 1);
    admin.get(NAMESPACES).expect("only two were refused");
}

#[test]
fn a_hanging_server_says_nothing_until_the_fault_is_lifted() {
    let (_fleet, cluster, admin) = one();
    cluster.set_fault(Some(Fault::Hang));
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.port())).expect("it accepts");
    let pause = Some(Duration::from_millis(200));
    stream.set_read_timeout(pause).expect("a timeout is set");
    stream.write_all(b"hello").expect("it reads");
    assert!(stream.read(&mut [0]).is_err(), "nothing comes back");
    cluster.set_fault(None);
    stream.set_read_timeout(None).expect("no timeout is set");
    let end = stream.read(&mut [0]);
    assert!(!matches!(end, Ok(1)), "it is closed or reset: {end:?}");
    cluster.set_fault(Some(Fault::HangAfter(1)));
    admin.get(NAMESPACES).expect("the first is answered");
    let hanging = std::thread::spawn({
        let admin = admin.clone();
        move || failure(&admin)
    });
    while cluster.requests() < 2 {
        std::thread::yield_now();
    }
    cluster.set_fault(None);
    assert_eq!(hanging.join().expect("no panic").code, 0);
}

#[test]
fn a_lost_reply_leaves_the_object() {
    let (_fleet, cluster, admin) = one();
    cluster.set_fault(Some(Fault::LoseReply {
        method: Some(Method::POST),
        path_contains: "/serviceaccounts".to_owned(),
        times: Some(1),
    }));
    let body = json!({ "metadata": { "name": "ci" } });
    let lost = admin.create(ACCOUNTS, &body).expect_err("the reply is lost");
    assert_eq!(lost.code, 0);
    let again = admin.create(ACCOUNTS, &body).expect_err("it exists");
    assert_eq!(again.reason, "AlreadyExists");
}

#[test]
fn one_kind_of_request_fails() {
    let (_fleet, cluster, admin) = one();
    cluster.set_fault(Some(Fault::FailOn {
        method: Some(Method::POST),
        path_contains: "/token".to_owned(),
        code: 500,
        body: None,
        times: None,
    }));
    let body = json!({ "metadata": { "name": "ci" } });
    admin.create(ACCOUNTS, &body).expect("other requests work");
    let token = admin.create(&format!("{ACCOUNTS}/ci/token"), &json!({}));
    assert_eq!(token.expect_err("it fails").code, 500);
}

#[test]
fn a_webhook_changes_what_is_written_and_owns_it() {
    let (_fleet, cluster, admin) = one();
    cluster.set_webhook(Some(Webhook {
        drop_verb: Some("delete".to_owned()),
        remove_label: Some("secret-label".to_owned()),
        add_label: Some(("policy".to_owned(), "checked".to_owned())),
    }));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "r", "labels": { "secret-label": "1", "kept": "1" } },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"] }],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/r";
    let stored = admin.apply(path, "kubemint", Force::No, &role).expect("the role is applied");
    assert_eq!(stored["rules"][0]["verbs"], json!(["get"]));
    assert_eq!(stored["metadata"]["labels"], json!({ "kept": "1", "policy": "checked" }));
    let entries = stored["metadata"]["managedFields"].as_array();
    let owner = entries
        .into_iter()
        .flatten()
        .find(|entry| entry["fieldsV1"]["f:rules"].is_object())
        .expect("the rules have an owner");
    assert_eq!(owner["manager"], "webhook");
}

#[test]
fn traffic_is_counted_and_delayed() {
    let (fleet, cluster, admin) = one();
    cluster.set_latency(Duration::from_millis(50));
    let start = Instant::now();
    admin.get("/version?x=1").expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!((fleet.requests(), fleet.connections()), (1, 1));
    assert_eq!(cluster.recorded()[0].path, "/version?x=1");
    cluster.reset_traffic();
    assert_eq!(cluster.recorded(), []);
}

#[test]
fn clocks_and_limits_shape_tokens() {
    let (_fleet, cluster, admin) = one();
    let body = json!({ "metadata": { "name": "ci" } });
    admin.create(ACCOUNTS, &body).expect("an account");
    cluster.set_max_token_expiration(Some(Duration::from_secs(600)));
    let path = format!("{ACCOUNTS}/ci/token");
    let request = json!({ "spec": { "expirationSeconds": 7200 } });
    let token = admin.create(&path, &request).expect("a token");
    assert_eq!(token["spec"]["expirationSeconds"], 600);
    let holder = admin.as_token(token["status"]["token"].as_str().expect("a token"));
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    holder.create(review, &json!({})).expect("it counts");
    cluster.set_clock_skew(jiff::SignedDuration::from_secs(3600));
    let expired = holder.create(review, &json!({}));
    assert_eq!(expired.expect_err("it has expired").code, 401);
}

#[test]
fn a_token_of_one_cluster_means_nothing_to_another() {
    let fleet = Fleet::start(FleetOptions::named(["a", "b"])).expect("a fleet starts");
    let (a, b) = (Admin::new(&fleet.cluster("a")), Admin::new(&fleet.cluster("b")));
    let body = json!({ "metadata": { "name": "ci" } });
    a.create(ACCOUNTS, &body).expect("an account");
    let token = a.create(&format!("{ACCOUNTS}/ci/token"), &json!({}));
    let token = token.expect("a token")["status"]["token"].clone();
    let token = token.as_str().expect("a token");
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    a.as_token(token).create(review, &json!({})).expect("a knows it");
    let refused = b.as_token(token).create(review, &json!({}));
    assert_eq!(refused.expect_err("b does not").code, 401);
    let swapped = b.as_token(&fleet.cluster("a").admin_token).get("/version");
    assert_eq!(swapped.expect_err("nor this").code, 401);
}

#[test]
fn a_thousand_clusters_start_and_answer() {
    let fleet = Fleet::start(FleetOptions::numbered("edge", 1000)).expect("a fleet starts");
    for cluster in fleet.clusters().iter().step_by(100) {
        let namespace = Admin::new(cluster).get("/api/v1/namespaces/kube-system").expect("it answers");
        assert_eq!(namespace["status"]["phase"], "Active");
    }
    let names = kubeconfig_yaml(&fleet.test_clusters(), User::Reader);
    assert!(names.contains("name: edge-0999-reader"));
}

#[test]
fn a_fleet_stops_inside_of_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let port = runtime.block_on(async {
        let fleet = Fleet::start(FleetOptions::named(["x"])).expect("a fleet starts");
        let cluster = fleet.cluster("x");
        Admin::new(&cluster).get("/version").expect("it answers");
        cluster.port()
    });
    TcpStream::connect(("127.0.0.1", port)).expect_err("nothing listens any more");
}

#[test]
fn kubectl_works_on_a_simulated_cluster() {
    if std::env::var_os("KUBEMINT_SKIP_CONTROL_PLANE").is_some() {
        return;
    }
    let (_fleet, cluster, _admin) = one();
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("admin.yaml");
    std::fs::write(&kubeconfig, kubeconfig_yaml(&[&cluster], User::Admin)).expect("written");
    let run = |line: &str| {
        let arguments = ["--context", "one"].into_iter().chain(line.split(' '));
        let output = kubectl(&kubeconfig, arguments).expect("kubectl runs");
        assert!(output.success(), "{line}: {}", output.stderr);
        output.stdout
    };
    assert!(run("get namespaces").contains("kube-system"));
    assert!(run("create namespace apps").contains("created"));
    assert!(run("create serviceaccount ci -n apps").contains("created"));
    assert!(run("get sa -n apps").contains("ci"));
    let binding = "create rolebinding v --clusterrole view --serviceaccount apps:ci -n apps";
    assert!(run(binding).contains("created"));
    assert!(run("describe rolebinding v -n apps").contains("ClusterRole"));
    assert!(run("create secret generic s -n apps --from-literal=a=b").contains("created"));
    let secret: Value = serde_json::from_str(&run("get secret s -n apps -o json")).expect("it is JSON");
    assert_eq!(secret["data"]["a"], "Yg==");
    assert!(run("label namespace apps env=test").contains("labeled"));
    assert!(run("get namespaces -l env=test -o name").contains("namespace/apps"));
    assert!(run("annotate sa ci -n apps a=b").contains("annotated"));
    assert!(run("describe clusterrole system:basic-user").contains("selfsubjectreviews"));
    assert!(run("get pods -A").is_empty());
    assert!(run("auth whoami").contains("system:masters"));
    assert!(run("auth can-i --list").contains("*.*"));
    let as_account = "auth can-i list pods -n apps --as system:serviceaccount:apps:ci";
    assert_eq!(run(as_account).trim(), "yes");
    let token = run("create token ci -n apps");
    let with_token = format!("auth whoami --token {}", token.trim());
    let shown = run(&with_token);
    // The token of the kubeconfig's user is sent unless the flag overrules it.
    assert!(shown.contains("system:serviceaccount:apps:ci"), "{shown}");
    assert!(run("delete sa ci -n apps").contains("deleted"));
    assert!(run("delete namespace apps").contains("deleted"));
}
