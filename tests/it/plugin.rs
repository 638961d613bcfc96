//! The exec plugin and token files on any cluster, simulated or real.
//!
//! Like `scenarios`: each has an inventory name and a namespace of its own.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use kubemint_testkit::{TestCluster, User};
use serde_json::{Value, json};

use crate::life::{anchors, generations, index};
use crate::scenarios::is_refused_soon;
use crate::support::{Machine, Run, can_i, changes};

/// Passes every scenario to a macro, so that none can be left out on one fleet.
macro_rules! every_delivery {
    ($run:ident) => {
        $run!(
            an_exec_kubeconfig_holds_no_secret_and_its_plugin_mints,
            a_cached_token_is_given_without_the_inventory,
            a_failure_from_the_future_is_not_believed,
            a_hundred_at_once_mint_once,
            who_asks_again_was_refused,
            a_revocation_reaches_the_tokens_of_plugins,
            a_token_file_follows_a_rotation_and_its_kubeconfig_stays,
            a_plugin_reads_what_a_refresher_keeps,
            every_form_of_one_grant_side_by_side,
            a_job_asks_for_a_token_that_lasts,
            without_an_exec_output_it_is_said_what_is_missing,
            a_plugin_says_what_is_wrong_and_prints_nothing_else,
            a_client_names_the_cluster_and_gets_a_token_for_that_one_only,
            a_plugin_without_a_cache_mints_all_the_same,
            what_only_plugins_hold_is_counted_and_shown,
        );
    };
}
pub(crate) use every_delivery;

/// One profile with the given outputs.
fn profile(outputs: &str) -> String {
    format!(
        r#"
[profiles.reader]
token = {{ ttl = "2h", overlap = "1s" }}
cluster-rules = [{{ api-groups = [""], resources = ["pods", "namespaces"], verbs = ["get", "list"] }}]
[[grants]]
profile = "reader"
selector = "env=test"
{outputs}
"#
    )
}

const EXEC: &str = "[[outputs]]\npath = \"exec.kubeconfig\"\ncredential = \"exec\"\n";
const FILES: &str = "[[outputs]]\npath = \"files.kubeconfig\"\ncredential = \"token-file\"\n";
const TOKENS: &str = "[[outputs]]\npath = \"tokens.kubeconfig\"\n";

fn kubeconfig(machine: &Machine, file: &str) -> Value {
    serde_saphyr::from_str(&machine.read(file)).unwrap()
}

/// Returns the command of the plugin that a kubeconfig names, as a client would run it.
pub(crate) fn plugin(machine: &Machine, file: &str) -> Command {
    let exec = kubeconfig(machine, file)["users"][0]["user"]["exec"].clone();
    let mut command = Command::new(exec["command"].as_str().unwrap());
    let info = json!({"apiVersion": exec["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": false}});
    command
        .args(exec["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()))
        .env_clear()
        .env("HOME", machine.path(""))
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(mut command: Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a plugin as a child of a new process, like a new kubectl.
fn run_for_a_stranger(command: &Command) -> Run {
    let mut shell = Command::new("/bin/sh");
    // Without `exec`: the shell is the parent, and another one each time.
    shell.args(["-c", "\"$@\"; exit $?", "sh"]).arg(command.get_program()).args(command.get_args()).env_clear();
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap());
    }
    shell.stdin(Stdio::null());
    run(shell)
}

pub(crate) fn token_of(run: &Run) -> String {
    let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr));
    assert_eq!(reply["kind"], "ExecCredential");
    assert_eq!(reply["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(run.stdout.lines().count(), 1, "one document");
    reply["status"]["token"].as_str().unwrap().to_owned()
}

pub(crate) fn an_exec_kubeconfig_holds_no_secret_and_its_plugin_mints(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-mint", &profile(EXEC));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let done = changes(&report, 0);
    assert_eq!(done[done.len() - 2..], ["anchor reader", "link reader"], "{done:?}");
    let text = machine.read("exec.kubeconfig");
    assert!(!text.contains("eyJ"), "{text}");
    let exec = &kubeconfig(&machine, "exec.kubeconfig")["users"][0]["user"]["exec"];
    assert_eq!(
        (&exec["interactiveMode"], &exec["apiVersion"]),
        (&json!("Never"), &json!("client.authentication.k8s.io/v1"))
    );
    assert!(exec["command"].as_str().unwrap().starts_with('/'));
    let admin = machine.admin(0);
    let names = anchors(&admin, "ex-mint");
    assert!(names.len() == 1 && names[0].contains("-exec-"), "{names:?}");
    assert!(generations(&admin, "ex-mint").is_empty(), "a plugin's token is no generation");

    let first = run(plugin(&machine, "exec.kubeconfig")).exits(0);
    let token = token_of(&first);
    assert!(can_i(&admin, &token, "list", "pods", "default"));
    let reply: Value = serde_json::from_str(&first.stdout).unwrap();
    let told: jiff::Timestamp = reply["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    let claims = claims(&token);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(life <= 3600, "an hour at most, whatever the profile says: {life}");
    let early = claims["exp"].as_i64().unwrap() - told.as_second();
    assert!((110..=125).contains(&early), "it is told to expire two minutes early: {early}");
    machine.expect(0, &["plan", "--check"]);
    let files = machine.files();
    machine.expect(0, &["refresh"]);
    assert_eq!(machine.files(), files);
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) fn a_cached_token_is_given_without_the_inventory(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-cache", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let command = plugin(&machine, "exec.kubeconfig");
    let token = token_of(&run_for_a_stranger(&command).exits(0));
    std::fs::remove_file(machine.path("clusters.toml")).unwrap();
    std::fs::remove_file(machine.path("admin.yaml")).unwrap();
    for _ in 0..3 {
        assert_eq!(token_of(&run_for_a_stranger(&command).exits(0)), token);
    }
    let cached: Vec<_> =
        machine.files().into_keys().filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    assert_eq!(cached.len(), 1);
    assert_eq!(std::fs::metadata(&cached[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Waiting processes share a failure; a later process does not, even if its clock was set back.
pub(crate) fn a_failure_from_the_future_is_not_believed(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-future", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
    let is_cache = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "json");
    let cache = machine.files().into_keys().find(is_cache).unwrap();
    std::fs::remove_file(&cache).unwrap();
    let failure = json!({"at": "2999-01-01T00:00:00Z", "cause": "no route to host"});
    let place = cache.with_extension("failure");
    machine.write(place.strip_prefix(machine.path("")).unwrap().to_str().unwrap(), &failure.to_string());
    token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
}

pub(crate) fn a_hundred_at_once_mint_once(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-many", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let children: Vec<_> = (0..100)
        .map(|_| {
            let mut command = plugin(&machine, "exec.kubeconfig");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut tokens = std::collections::BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
        tokens.insert(reply["status"]["token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens.len(), 1, "one mints, and ninety-nine read");
}

/// A client asks again in the same process after it was refused: the cached token is tried, and replaced if it no
/// longer works.
pub(crate) fn who_asks_again_was_refused(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-again", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
    // As if it had been minted long ago.
    let cache = machine.files().into_keys().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    let age = || {
        let mut cached: Value = serde_json::from_slice(&std::fs::read(&cache).unwrap()).unwrap();
        cached["proven"] = json!("2020-01-01T00:00:00Z");
        machine.write(cache.strip_prefix(machine.path("")).unwrap().to_str().unwrap(), &cached.to_string());
    };
    age();
    assert_eq!(token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0)), token, "it works, so it is given again");
    let anchor = anchors(&admin, "ex-again").remove(0);
    admin.delete(&format!("/api/v1/namespaces/ex-again/secrets/{anchor}")).unwrap();
    assert!(is_refused_soon(&admin, &token));
    assert_eq!(
        token_of(&run_for_a_stranger(&plugin(&machine, "exec.kubeconfig")).exits(0)),
        token,
        "a stranger does not know yet"
    );
    machine.expect(0, &["apply", "--yes"]);
    age();
    let renewed = token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
    assert_ne!(renewed, token);
    assert!(can_i(&admin, &renewed, "list", "pods", "default"));
}

pub(crate) fn a_revocation_reaches_the_tokens_of_plugins(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-revoke", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let token = token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
    let report = machine.kubemint(&["revoke", "--yes", "-o", "json"]).exits(0).report();
    let shown = &report["clusters"][0]["changes"][0]["fields"][0]["removed"];
    assert_eq!(shown, &json!(["tokens of exec plugins of holder `default`"]));
    assert!(is_refused_soon(&admin, &token));
    assert!(anchors(&admin, "ex-revoke").is_empty());
    let again = machine.kubemint(&["revoke", "--yes"]).exits(0);
    assert!(again.stdout.contains("nothing was left to revoke"), "{}", again.stdout);
    std::fs::remove_dir_all(machine.path(".cache")).unwrap();
    let refused = run(plugin(&machine, "exec.kubeconfig")).exits(7);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("a revocation suspended issuing for `reader`"), "{}", refused.stderr);
    machine.expect(0, &["apply", "--yes"]);
    let again = token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0));
    assert!(can_i(&admin, &again, "list", "pods", "default"));
    assert_eq!(index(&admin, "ex-revoke")["holders"]["default"]["exec"], true);
}

pub(crate) fn a_token_file_follows_a_rotation_and_its_kubeconfig_stays(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("tf-rotate", &profile(FILES));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let file = format!("files.kubeconfig.tokens/reader@{}.token", cluster.name);
    let user = &kubeconfig(&machine, "files.kubeconfig")["users"][0]["user"];
    assert_eq!(user["tokenFile"], file.as_str());
    assert_eq!(user.get("token"), None);
    let first = machine.read(&file);
    assert!(can_i(&admin, &first, "list", "pods", "default"), "the file holds the token and nothing else");
    assert_eq!(std::fs::metadata(machine.path(&file)).unwrap().permissions().mode() & 0o777, 0o600);
    machine.expect(0, &["plan", "--check"]);

    let before = machine.read("files.kubeconfig");
    machine.expect(0, &["refresh", "--force", "--wait-overlap"]);
    assert_eq!(machine.read("files.kubeconfig"), before, "the kubeconfig does not change");
    let second = machine.read(&file);
    assert_ne!(first, second);
    assert!(can_i(&admin, &second, "list", "pods", "default"));
    assert!(is_refused_soon(&admin, &first));
    assert_eq!(generations(&admin, "tf-rotate"), [2]);

    // A kubeconfig that is gone is written again; the token stays, and nothing is minted.
    std::fs::remove_file(machine.path("files.kubeconfig")).unwrap();
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"]);
    assert_eq!(machine.read("files.kubeconfig"), before);
    assert_eq!(machine.read(&file), second);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert!(!machine.path(&file).exists(), "the token goes with the entries");
}

pub(crate) fn a_plugin_reads_what_a_refresher_keeps(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    let directory = "credential-directory = \"files.kubeconfig.tokens\"\n";
    machine.inventory("tf-from", &profile(&format!("{FILES}{EXEC}{directory}")));
    machine.expect(0, &["apply", "--yes"]);
    let token = machine.read(&format!("files.kubeconfig.tokens/reader@{}.token", cluster.name));
    let text = machine.read("exec.kubeconfig");
    assert!(text.contains("--from") && !text.contains("--inventory"), "{text}");
    // Who reads it needs neither the inventory nor the admin access.
    std::fs::remove_file(machine.path("clusters.toml")).unwrap();
    assert_eq!(token_of(&run(plugin(&machine, "exec.kubeconfig")).exits(0)), token);
    assert_eq!(anchors(&machine.admin(0), "tf-from").len(), 1, "no standing anchor is needed");
    std::fs::remove_dir_all(machine.path("files.kubeconfig.tokens")).unwrap();
    let missing = run(plugin(&machine, "exec.kubeconfig")).exits(7);
    assert_eq!(missing.stdout, "");
    assert!(missing.stderr.contains("kubemint refresh"), "{}", missing.stderr);
}

/// A token that exists in one form is handed on to the other forms, and nothing is minted.
pub(crate) fn every_form_of_one_grant_side_by_side(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("forms", &profile(FILES));
    machine.expect(0, &["apply", "--yes"]);
    machine.inventory("forms", &profile(&format!("{TOKENS}{FILES}{EXEC}")));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["anchor reader", "link reader", "write reader"]);
    let token = machine.read(&format!("files.kubeconfig.tokens/reader@{}.token", cluster.name));
    assert_eq!(machine.token("tokens.kubeconfig"), token);
    assert_eq!(machine.facts("tokens.kubeconfig")["requested-seconds"], 7200);
    machine.expect(0, &["plan", "--check"]);
    machine.expect(0, &["refresh", "--force", "--wait-overlap"]);
    assert_eq!(
        machine.token("tokens.kubeconfig"),
        machine.read(&format!("files.kubeconfig.tokens/reader@{}.token", cluster.name))
    );
    assert_eq!(generations(&machine.admin(0), "forms"), [2]);
    // The other way round: from the kubeconfig back into the file.
    std::fs::remove_dir_all(machine.path("files.kubeconfig.tokens")).unwrap();
    let report = machine.kubemint(&["refresh", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"]);
    assert_eq!(
        machine.token("tokens.kubeconfig"),
        machine.read(&format!("files.kubeconfig.tokens/reader@{}.token", cluster.name))
    );
}

/// A long job asks for a token that outlives it, and gets an error if there is none.
pub(crate) fn a_job_asks_for_a_token_that_lasts(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-job", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let with = |left: &str| {
        let mut command = plugin(&machine, "exec.kubeconfig");
        command.args(["--min-left", left]);
        run(command)
    };
    let first = token_of(&with("30m").exits(0));
    assert_eq!(token_of(&with("50m").exits(0)), first, "it lasts long enough");
    let longer = token_of(&with("1h30m").exits(0));
    assert_ne!(longer, first);
    let life = claims(&longer)["exp"].as_i64().unwrap() - claims(&longer)["iat"].as_i64().unwrap();
    assert!((5400..=7200).contains(&life), "{life}");
    assert_eq!(token_of(&with("30m").exits(0)), longer, "what lasts longer serves all");
    let refused = with("3h").exits(7);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("`--min-left 3h`") && refused.stderr.contains("`ttl`"), "{}", refused.stderr);
}

/// `apply` makes an anchor for plugins only if an output has one, so "up to date" would be no help in the message.
pub(crate) fn without_an_exec_output_it_is_said_what_is_missing(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-none", &profile(TOKENS));
    machine.expect(0, &["apply", "--yes"]);
    let arguments = ["credential", "--cluster", cluster.name.as_str(), "--profile", "reader"];
    let run = machine.kubemint(&arguments).exits(7);
    assert!(run.stderr.contains("add an output with `credential = \"exec\"`"), "{}", run.stderr);
}

pub(crate) fn a_plugin_says_what_is_wrong_and_prints_nothing_else(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-wrong", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let check = |variable: Option<(&str, &str)>, code: i32, expected: &str| {
        let mut command = plugin(&machine, "exec.kubeconfig");
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        let failed = run(command).exits(code);
        assert_eq!(failed.stdout, "");
        assert!(failed.stderr.contains(expected), "{}", failed.stderr);
    };
    let old = json!({"apiVersion": "client.authentication.k8s.io/v1alpha1", "kind": "ExecCredential"}).to_string();
    check(Some(("KUBERNETES_EXEC_INFO", &old)), 2, "asks for apiVersion");
    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &text.replace("name = \"ex-wrong\"", "name = \"other\""));
    check(None, 3, "is another inventory");
    machine.write("clusters.toml", &text.replace("selector = \"env=test\"", "selector = \"env=none\""));
    check(None, 3, "gives `reader` no access");
    machine.write("clusters.toml", "version = 1\n");
    check(None, 3, "kubemint validate");
    // Another policy is used at once, and said.
    machine.write("clusters.toml", &text.replace("ttl = \"2h\"", "ttl = \"3h\""));
    let minted = run(plugin(&machine, "exec.kubeconfig")).exits(0);
    assert!(minted.stderr.contains("the token policy of `reader` changed"), "{}", minted.stderr);
    token_of(&minted);
}

/// The command of an access provider names no cluster: one serves a fleet. What the client tells may come from an object
/// that others may edit.
pub(crate) fn a_client_names_the_cluster_and_gets_a_token_for_that_one_only(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-told", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let encoded = |pem: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let told = json!({
        "server": format!("{}/", cluster.server),
        "certificate-authority-data": encoded(&cluster.ca_pem),
        "config": {"clusterName": cluster.name},
    });
    let provider = |arguments: &[&str], told: &Value| {
        let mut command = Command::new(
            kubeconfig(&machine, "exec.kubeconfig")["users"][0]["user"]["exec"]["command"].as_str().unwrap(),
        );
        let spec = json!({"interactive": false, "cluster": told});
        let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": spec});
        let inventory = machine.path("clusters.toml");
        command
            .args(["credential", "--profile", "reader", "--inventory", inventory.to_str().unwrap()])
            .args(arguments)
            .env_clear()
            .env("HOME", machine.path(""))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(Stdio::null());
        run(command)
    };
    let with = |key: &str, value: Value| {
        let mut changed = told.clone();
        changed[key] = value;
        changed
    };
    let refused = |arguments: &[&str], told: &Value, code: i32, expected: &str| {
        let refused = provider(arguments, told).exits(code);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    };
    let elsewhere = with("server", json!("https://user:s3cret@elsewhere.example:6443"));
    refused(&[], &elsewhere, 7, "the client talks to `https://elsewhere.example:6443`");
    let token = token_of(&provider(&[], &told).exits(0));
    assert!(can_i(&machine.admin(0), &token, "list", "pods", "default"));
    // Now there is one in the cache.
    assert_eq!(token_of(&provider(&[], &told).exits(0)), token);
    refused(&[], &elsewhere, 7, "the client talks to");
    refused(&["--server", &cluster.server], &elsewhere, 7, "and `--server` is");
    refused(&[], &with("insecure-skip-tls-verify", json!(true)), 7, "does not check the certificate");
    refused(&[], &with("tls-server-name", json!("node-1")), 7, "the certificate of another name");
    let another = rcgen::generate_simple_self_signed(vec!["another".to_owned()]).unwrap().cert.pem();
    refused(&[], &with("certificate-authority-data", json!(encoded(&another))), 7, "trusts another CA");
    let both = format!("{}{another}", cluster.ca_pem);
    refused(&[], &with("certificate-authority-data", json!(encoded(&both))), 7, "trusts another CA");
    refused(&[], &with("certificate-authority-data", json!("AAAA")), 7, "that is not only certificates in PEM");
    // Go reads a block whose first line ends in a tab, and OpenSSL one of another name.
    for hidden in [another.replacen("-----\n", "-----\t\n", 1), another.replace(" CERTIFICATE", " TRUSTED CERTIFICATE")]
    {
        let both = format!("{}{hidden}", cluster.ca_pem);
        refused(
            &[],
            &with("certificate-authority-data", json!(encoded(&both))),
            7,
            "that is not only certificates in PEM",
        );
    }
    refused(&[], &with("certificate-authority-data", Value::Null), 7, "has no CA for");
    refused(&[], &with("config", json!({"clusterName": "nobody"})), 3, "gives `reader` no access to `nobody`");
    refused(&[], &with("config", json!({"clusterName": "../x"})), 2, "names no cluster");
    refused(&[], &with("config", Value::Null), 2, "neither `--cluster` nor the client names the cluster");
    refused(&["--from", "tokens"], &told, 2, "--cluster");
    refused(&["--from", "tokens", "--cluster", &cluster.name], &told, 2, "`--from` cannot see");
    let foreign = with("config", json!({"clusterName": "arn:aws:eks:eu-west-1:1:cluster/prod"}));
    token_of(&provider(&["--cluster", &cluster.name], &foreign).exits(0));
    token_of(&provider(&["--cluster", &cluster.name], &with("config", Value::Null)).exits(0));
}

/// A cache that cannot be used costs time, but the plugin still works.
pub(crate) fn a_plugin_without_a_cache_mints_all_the_same(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-bare", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    machine.write("a-file", "");
    let a_file = machine.path("a-file");
    let foreign = machine.path("foreign");
    std::fs::create_dir_all(foreign.join("kubemint/credentials")).unwrap();
    std::fs::set_permissions(foreign.join("kubemint/credentials"), std::fs::Permissions::from_mode(0o777)).unwrap();
    for (variable, value) in [
        ("HOME", std::path::Path::new("")),
        ("XDG_CACHE_HOME", a_file.as_path()),
        ("XDG_CACHE_HOME", foreign.as_path()),
    ] {
        let mut command = plugin(&machine, "exec.kubeconfig");
        command.env(variable, value);
        let minted = run(command).exits(0);
        assert!(
            minted.stderr.starts_with("warning: tokens are not cached: "),
            "{}: {}",
            value.display(),
            minted.stderr
        );
        assert!(can_i(&admin, &token_of(&minted), "list", "pods", "default"));
    }
    assert!(machine.read("a-file").is_empty());
    assert_eq!(std::fs::read_dir(foreign.join("kubemint/credentials")).unwrap().count(), 0, "anybody could read it");
}

/// A grant without a token in any file has no credential to renew; what its plugins need is shown.
pub(crate) fn what_only_plugins_hold_is_counted_and_shown(cluster: &TestCluster) {
    let machine = Machine::new(&[cluster], User::Admin);
    machine.inventory("ex-count", &profile(EXEC));
    machine.expect(0, &["apply", "--yes"]);
    let admin = machine.admin(0);
    let refreshed = machine.kubemint(&["refresh"]).exits(0);
    assert!(refreshed.stdout.starts_with("0 current, 0 renewed, 0 failed"), "{}", refreshed.stdout);
    let state = || machine.kubemint(&["status", "-o", "json"]).exits(0).report()["grants"][0]["state"].clone();
    assert_eq!(state(), "plugin");
    let anchor = anchors(&admin, "ex-count").remove(0);
    admin.delete(&format!("/api/v1/namespaces/ex-count/secrets/{anchor}")).unwrap();
    assert_eq!(state(), "revoked");
    machine.expect(4, &["status", "--check"]);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(state(), "plugin");
}
