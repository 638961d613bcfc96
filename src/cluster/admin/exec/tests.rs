//! Real plugins: shell scripts that answer, fail, hang and count how often they run.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;

const V1: &str = "client.authentication.k8s.io/v1";
const TOKEN: &str =
    r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t0ken"}}"#;

struct Script {
    directory: TempDir,
}

impl Script {
    /// Writes a plugin that notes that it ran and then does what `body` says.
    #[expect(clippy::disallowed_methods, reason = "the test writes what an admin has")]
    fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin");
        std::fs::write(&path, format!("#!/bin/sh\necho x >> \"$(dirname \"$0\")/runs\"\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory }
    }

    fn answering(answer: &str) -> Self {
        Self::new(&format!("cat <<'EOT'\n{answer}\nEOT"))
    }

    fn fields(&self) -> ExecFields {
        // Started through the shell: a script that was just written cannot be executed while another test forks.
        let path = self.directory.path().join("plugin").display().to_string();
        ExecFields {
            command: Some("sh".to_owned()),
            args: Some(vec![path]),
            api_version: Some(V1.to_owned()),
            interactive_mode: Some("IfAvailable".to_owned()),
            ..ExecFields::default()
        }
    }

    fn plugin(&self) -> Plugin {
        Plugin::new(&self.fields(), self.directory.path(), &ClusterFields::default()).unwrap()
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("runs")).map_or(0, |runs| runs.lines().count())
    }

    async fn ask(&self) -> Result<Login, String> {
        let plugins = Plugins::new(Duration::from_secs(10));
        let login = plugins.login(&self.plugin(), Timestamp::default).await;
        login.map_err(|problem| problem.what.replace(&self.directory.path().display().to_string(), ""))
    }
}

fn epoch(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[tokio::test]
async fn a_plugin_runs_once_for_all_clusters_that_share_it() {
    let script = Script::answering(TOKEN);
    let (plugins, plugin) = (Plugins::new(Duration::from_secs(10)), script.plugin());
    let asked = (0..50).map(|_| plugins.login(&plugin, Timestamp::default));
    let mut asked: Vec<_> = asked.map(Box::pin).collect();
    for login in &mut asked {
        assert_eq!(login.await.unwrap().bearer.unwrap().expose_secret(), "t0ken");
    }
    assert_eq!(script.runs(), 1);
}

#[tokio::test]
async fn a_failure_counts_for_all_who_share_it_and_is_tried_again_later() {
    let script = Script::new("echo 'no session; run login' >&2; echo s3cret; exit 3");
    let plugins = Plugins::new(Duration::from_secs(10));
    let time = AtomicI64::new(0);
    let now = || epoch(time.load(Ordering::Relaxed));
    for _ in 0..3 {
        let problem = plugins.login(&script.plugin(), now).await.err().unwrap();
        assert!(problem.what.ends_with("failed (exit status: 3): no session; run login"), "{}", problem.what);
    }
    assert_eq!(script.runs(), 1);
    time.store(61, Ordering::Relaxed);
    assert!(plugins.login(&script.plugin(), now).await.is_err());
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn what_expires_is_renewed() {
    let status = r#""status":{"token":"t0ken","expirationTimestamp":"1970-01-01T01:00:00Z"}"#;
    let script = Script::answering(&format!(r#"{{"apiVersion":"{V1}","kind":"ExecCredential",{status}}}"#));
    let plugins = Plugins::new(Duration::from_secs(10));
    for (second, runs) in [(0, 1), (3569, 1), (3570, 2), (3571, 3)] {
        plugins.login(&script.plugin(), || epoch(second)).await.unwrap();
        assert_eq!(script.runs(), runs, "at {second} s");
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_what_it_started() {
    let script = Script::new("sleep 1000 & echo $! > \"$(dirname \"$0\")/child\"; wait");
    let plugins = Plugins::new(Duration::from_millis(300));
    let problem = plugins.login(&script.plugin(), Timestamp::default).await.err().unwrap();
    assert!(problem.what.ends_with("did not end within 300ms"), "{}", problem.what);
    let child = std::fs::read_to_string(script.directory.path().join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    // When the plugin is given up, the signal may not have arrived yet.
    let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    while lives() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_child_that_holds_the_output_open_does_not_hold_up() {
    let script = Script::new(&format!("sleep 1000 &\necho $! > \"$(dirname \"$0\")/child\"\necho '{TOKEN}'"));
    assert_eq!(script.ask().await.unwrap().bearer.unwrap().expose_secret(), "t0ken");
    let child = std::fs::read_to_string(script.directory.path().join("child")).unwrap();
    let child = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn answers_that_client_go_refuses_are_refused_and_never_shown() {
    let answer =
        |version: &str, kind: &str, rest: &str| format!(r#"{{"apiVersion":"{version}","kind":"{kind}"{rest}}}"#);
    let token = r#","status":{"token":"s3cret"}"#;
    for (answer, problem) in [
        (format!("{TOKEN} s3cret"), "printed something else than an ExecCredential"),
        ("s3cret".to_owned(), "printed something else than an ExecCredential"),
        (String::new(), "printed another `apiVersion` than `client.authentication.k8s.io/v1`"),
        (answer(V1, "ExecCredential", r#","status":{"token":5}"#), "printed something else than an ExecCredential"),
        (answer(V1, "Config", token), "printed something else than an ExecCredential"),
        (
            answer("client.authentication.k8s.io/v1beta1", "ExecCredential", token),
            "printed another `apiVersion` than `client.authentication.k8s.io/v1`",
        ),
        (answer(V1, "ExecCredential", ""), "printed no `status`"),
        (answer(V1, "ExecCredential", r#","status":{}"#), "printed neither a token nor a certificate"),
        (
            answer(V1, "ExecCredential", r#","status":{"clientKeyData":"s3cret"}"#),
            "printed only one of `clientCertificateData` and `clientKeyData`",
        ),
        (
            answer(V1, "ExecCredential", r#","status":{"token":"s3 cret"}"#),
            "printed what cannot be used: the token has characters that a token cannot have",
        ),
    ] {
        let refused = Script::answering(&answer).ask().await.err().unwrap();
        assert_eq!(refused, format!("the exec plugin `sh` {problem}"), "{answer}");
    }
}

#[tokio::test]
async fn what_a_plugin_prints_beyond_the_limit_is_an_error_that_names_it() {
    let refused = Script::new("head -c 3000000 /dev/zero").ask().await.err().unwrap();
    assert_eq!(refused, "the exec plugin `sh` printed more than 1 MiB");
    // Output on stderr is cut, and does not block the plugin.
    Script::new(&format!("head -c 3000000 /dev/zero >&2; echo '{TOKEN}'")).ask().await.ok().unwrap();
}

#[tokio::test]
async fn a_plugin_is_told_what_client_go_tells_it() {
    let script = Script::new(&format!(
        "test \"$REGION\" = eu && test \"$1 $2\" = 'get token' && cp /dev/stdin \"$(dirname \"$0\")/in\" &&\n\
         printf %s \"$KUBERNETES_EXEC_INFO\" > \"$(dirname \"$0\")/info\" && echo '{TOKEN}'"
    ));
    let variable = ExecVariable { name: "REGION".into(), value: "eu".into() };
    let fields = ExecFields {
        args: script.fields().args.map(|args| [args, vec!["get".into(), "token".into()]].concat()),
        env: Some(vec![variable]),
        provide_cluster_info: Some(true),
        ..script.fields()
    };
    let cluster: ClusterFields = serde_json::from_value(json!({
        "server": "https://a", "certificate-authority-data": "Q0E=", "tls-server-name": "kube",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}],
    }))
    .unwrap();
    let plugin = Plugin::new(&fields, script.directory.path(), &cluster).unwrap();
    Plugins::new(Duration::from_secs(10)).login(&plugin, Timestamp::default).await.map_err(|p| p.what).unwrap();
    let read = |name: &str| std::fs::read_to_string(script.directory.path().join(name)).unwrap();
    let info: serde_json::Value = serde_json::from_str(&read("info")).unwrap();
    assert_eq!(
        info,
        json!({"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": false, "cluster": {
            "server": "https://a", "certificate-authority-data": "Q0E=", "tls-server-name": "kube",
            "config": {"audience": "x"},
        }}})
    );
    assert_eq!(read("in"), "", "a plugin has nothing to read");
}

#[tokio::test]
async fn a_plugin_that_is_missing_is_named_with_its_hint() {
    let script = Script::new("");
    let fields = ExecFields {
        command: Some("kubemint-test-no-such-plugin".into()),
        install_hint: Some("brew install it".into()),
        ..script.fields()
    };
    let plugin = Plugin::new(&fields, script.directory.path(), &ClusterFields::default()).unwrap();
    let problem = Plugins::new(Duration::from_secs(1)).login(&plugin, Timestamp::default).await.err().unwrap();
    assert_eq!(problem.what, "the exec plugin `kubemint-test-no-such-plugin` cannot be started: it does not exist");
    assert_eq!(problem.hint.as_deref(), Some("brew install it"));
}

#[test]
fn fields_that_client_go_refuses_are_refused() {
    let script = Script::new("");
    let refused = |fields: ExecFields| {
        Plugin::new(&fields, script.directory.path(), &ClusterFields::default()).err().unwrap().what
    };
    let fields = || script.fields();
    assert_eq!(refused(ExecFields { command: None, ..fields() }), "`exec` has no `command`");
    assert_eq!(refused(ExecFields { api_version: None, ..fields() }), "`exec` has no `apiVersion`");
    assert_eq!(
        refused(ExecFields { interactive_mode: None, ..fields() }),
        "`exec` has no `interactiveMode`, which `v1` needs"
    );
    assert!(refused(ExecFields { interactive_mode: Some("Always".into()), ..fields() }).contains("wants a terminal"));
    let old = ExecFields { api_version: Some("client.authentication.k8s.io/v1alpha1".into()), ..fields() };
    assert!(refused(old).contains("neither `v1` nor `v1beta1`"));
}
