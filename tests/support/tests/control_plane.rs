//! The real control plane: several clusters, faults, controllers, and no leftovers.

#![expect(clippy::disallowed_methods, reason = "the bans keep the product's core pure; tests write plain files")]

use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane, ControllerManager, kubectl};
use kubemint_testkit::{Admin, User, kubeconfig_yaml};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Set in the process that the next test kills.
const VICTIM: &str = "KUBEMINT_TESTKIT_VICTIM";

#[test]
fn nothing_outlives_a_killed_process() {
    let is_victim = std::env::var_os(VICTIM).is_some();
    if is_victim {
        let control_plane = ControlPlane::start(vec![ClusterOptions::named("victim")]);
        let control_plane = control_plane.expect("the test is not skipped");
        println!("port {}", control_plane.test_cluster(0).port());
        std::thread::sleep(DEADLINE);
        return;
    }
    if std::env::var_os("KUBEMINT_SKIP_CONTROL_PLANE").is_some() {
        return;
    }
    let temporary = tempfile::tempdir().expect("a directory");
    let mut victim = Command::new(std::env::current_exe().expect("the test knows itself"))
        .args(["--exact", "nothing_outlives_a_killed_process", "--nocapture"])
        .env(VICTIM, "1")
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let lines = BufReader::new(victim.stdout.take().expect("stdout is a pipe")).lines();
    let port: u16 = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("port ")?.1.trim().parse().ok())
        .expect("the victim prints its port");
    TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    victim.kill().expect("the victim is killed");
    victim.wait().expect("the victim has ended");
    wait_until("the server outlives its test", || TcpStream::connect(("127.0.0.1", port)).is_err());
    wait_until("the directory outlives its test", || {
        std::fs::read_dir(temporary.path()).is_ok_and(|mut entries| entries.next().is_none())
    });
}

#[test]
fn real_clusters_start_break_and_stop() {
    let options = vec![
        ClusterOptions::named("one"),
        ClusterOptions { controller_manager: ControllerManager::On, ..ClusterOptions::named("two") },
    ];
    let Some(mut control_plane) = ControlPlane::start(options) else {
        return;
    };
    let (one, two) = (Admin::new(control_plane.test_cluster(0)), Admin::new(control_plane.test_cluster(1)));

    // Each cluster has its own objects, and roles that grant something.
    let body = json!({ "metadata": { "name": "apps" } });
    one.create("/api/v1/namespaces", &body).expect("created");
    assert_eq!(two.get("/api/v1/namespaces/apps").expect_err("absent").code, 404);
    for admin in [&one, &two] {
        let view = admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/view");
        assert!(view.expect("it exists")["rules"].is_array());
    }

    // Controllers remove the namespaces of the second cluster.
    two.create("/api/v1/namespaces", &body).expect("created");
    two.delete("/api/v1/namespaces/apps").expect("deleted");
    wait_until("the namespace goes away", || two.get("/api/v1/namespaces/apps").is_err());

    // kubectl works with the kubeconfig.
    let kubeconfig = control_plane.directory().join("admin.yaml");
    let text = kubeconfig_yaml(&control_plane.test_clusters(), User::Admin);
    std::fs::write(&kubeconfig, text).expect("written");
    let output = kubectl(&kubeconfig, ["--context", "one", "get", "namespaces"]);
    assert!(output.expect("kubectl runs").stdout.contains("apps"));
    let audit = std::fs::read_to_string(control_plane.audit_log(0)).expect("there is a log");
    assert!(audit.contains("/api/v1/namespaces"));

    // A stopped cluster keeps its port and its data.
    control_plane.stop_cluster(0);
    assert_eq!(one.get("/api/v1/namespaces").expect_err("it is down").code, 0);
    two.get("/api/v1/namespaces").expect("the other goes on");
    control_plane.restart_cluster(0).expect("it starts again");
    one.get("/api/v1/namespaces/apps").expect("it is still there");

    // A frozen one accepts connections and says nothing.
    control_plane.pause_cluster(0);
    let port = control_plane.test_cluster(0).port();
    TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
    control_plane.resume_cluster(0);
    one.get("/version").expect("it goes on");

    let directory = control_plane.directory().to_owned();
    drop(control_plane);
    TcpStream::connect(("127.0.0.1", port)).expect_err("nothing listens any more");
    assert!(!directory.exists());
}
