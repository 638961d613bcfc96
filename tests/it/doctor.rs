//! `verify --kubeconfig`: each kind of finding, with the line to change and what to write there.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kubemint_testkit::sim::Fleet;
use kubemint_testkit::{TestCluster, User};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

/// A kubeconfig as people write them; its parts can be changed one by one.
struct Hand<'a> {
    cluster: &'a TestCluster,
    text: String,
}

impl<'a> Hand<'a> {
    fn new(cluster: &'a TestCluster, user: User) -> Self {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: prod\nclusters:\n- name: prod-cluster\n  cluster:\n    \
             server: {}\n    certificate-authority-data: {}\ncontexts:\n- name: prod\n  context:\n    \
             cluster: prod-cluster\n    user: prod-user\nusers:\n- name: prod-user\n  user:\n    token: {}\n",
            cluster.server,
            STANDARD.encode(&cluster.ca_pem),
            cluster.token(user)
        );
        Self { cluster, text }
    }

    fn with(&self, old: &str, new: &str) -> String {
        assert!(self.text.contains(old), "{old}");
        self.text.replace(old, new)
    }

    fn with_authority(&self, pem: &str) -> String {
        self.with(&STANDARD.encode(&self.cluster.ca_pem), &STANDARD.encode(pem))
    }

    fn with_token(&self, claims: &Value) -> String {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims.to_string()));
        self.with(&self.cluster.admin_token, &token)
    }

    fn with_certificate(&self, from: i32, until: i32, key: Option<&KeyPair>) -> String {
        let (certificate, own) = certificate(from, until);
        let key = key.unwrap_or(&own).serialize_pem();
        let fields = format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            STANDARD.encode(certificate),
            STANDARD.encode(key)
        );
        self.with(&format!("token: {}", self.cluster.admin_token), &fields)
    }
}

/// Makes a self-signed certificate that is valid between two New Years.
fn certificate(from: i32, until: i32) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["somebody".to_owned()]).unwrap();
    (parameters.not_before, parameters.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (parameters.self_signed(&key).unwrap().pem(), key)
}

/// Examines a text and returns the report; checks that the output holds no part of a secret.
fn examine(machine: &Machine, text: &str, code: i32, arguments: &[&str]) -> Value {
    machine.write("hand.yaml", text);
    let command = ["verify", "--kubeconfig", "hand.yaml"];
    let run = machine.kubemint(&[&command[..], &["-o", "json"], arguments].concat()).exits(code);
    let shown = machine.kubemint(&[&command[..], arguments].concat()).exits(code).stdout;
    for field in ["token: ", "client-key-data: ", "password: "] {
        for secret in text.split(field).skip(1).map(|rest| rest.lines().next().unwrap().trim()) {
            let part = &secret[secret.len() / 2..];
            let is_shown = !part.is_empty() && [&run.stdout, &run.stderr, &shown].iter().any(|out| out.contains(part));
            assert!(!is_shown, "a secret was shown:\n{shown}");
        }
    }
    run.report()
}

/// Checks that there is a finding of a kind, the line it points at, and the line to write instead.
#[track_caller]
fn check(machine: &Machine, text: &str, code: i32, kind: &str, at: &str, instead: Option<&str>) {
    let report = examine(machine, text, code, &[]);
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["kind"] == kind);
    let finding = finding.unwrap_or_else(|| panic!("no {kind} in {findings:#?}"));
    assert_eq!(finding["severity"], if code == 0 { "warning" } else { "error" });
    let line = finding["line"].as_u64().map(|line| text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap());
    assert!(
        line.unwrap_or_default().trim_start_matches([' ', '-']).starts_with(at),
        "{line:?} is no {at}: {finding:#}"
    );
    assert_eq!(finding["instead"].as_str(), instead, "{finding:#}");
}

#[test]
fn a_good_file_has_nothing_to_mend() {
    let fleet = simulated(["sim"]);
    let cluster = &*fleet.cluster("sim");
    let machine = Machine::new(&[], User::Admin);
    let hand = Hand::new(cluster, User::Admin);
    let report = examine(&machine, &hand.text, 0, &[]);
    assert_eq!((&report["findings"], &report["identity"]), (&json!([]), &json!("admin")), "{report:#}");
    assert_eq!((&report["server"], &report["may-list-namespaces"]), (&json!(cluster.server), &json!(true)));
    let shown = machine.kubemint(&["verify", "--kubeconfig", "hand.yaml"]).exits(0).stdout;
    let expected = "context `prod` reaches <URL> as `admin`, and may list namespaces\nhand.yaml: nothing to mend\n";
    assert_eq!(shown.replace(&cluster.server, "URL"), expected);
    // Without a current context, the only one is taken; nothing else of kubectl's is.
    let without = hand.with("current-context: prod\n", "");
    check(&machine, &without, 0, "no-current-context", "", Some("current-context: prod"));
    assert_eq!(examine(&machine, &without, 0, &[])["identity"], "admin");
}

#[test]
fn what_names_what_must_match() {
    let fleet = simulated(["sim"]);
    let cluster = &*fleet.cluster("sim");
    let machine = Machine::new(&[], User::Admin);
    let hand = Hand::new(cluster, User::Admin);
    let (context, user) = ("    cluster: prod-cluster", "    user: prod-user");
    let check = |text: String, code, kind, at, instead| check(&machine, &text, code, kind, at, instead);
    check(
        hand.with(context, "    cluster: prod-clutser"),
        4,
        "unknown-cluster",
        "cluster: prod-clutser",
        Some(context),
    );
    check(hand.with(user, "    user: prd"), 4, "unknown-user", "user: prd", Some(user));
    check(hand.with("    user: prod-user\n", ""), 4, "unknown-user", "name: prod", None);
    let current = Some("current-context: prod");
    check(
        hand.with("current-context: prod", "current-context: prdo"),
        4,
        "unknown-context",
        "current-context",
        current,
    );
    check(
        hand.with("current-context: prod", "current-context: \"\""),
        0,
        "no-current-context",
        "current-context",
        current,
    );
    check(
        hand.with("contexts:\n", "- name: prod-cluster\n  cluster: {}\ncontexts:\n"),
        4,
        "duplicate-name",
        "name",
        None,
    );
    check(hand.with(user, "    user: prod-user\n    namespace: My_Apps"), 4, "invalid-namespace", "namespace", None);
}

#[test]
fn fields_must_be_what_they_are_for() {
    let fleet = simulated(["sim"]);
    let cluster = &*fleet.cluster("sim");
    let machine = Machine::new(&[], User::Admin);
    let hand = Hand::new(cluster, User::Admin);
    let check = |text: String, kind, at, instead| check(&machine, &text, 4, kind, at, instead);
    let authority = "certificate-authority-data";
    check(hand.with("clusters:\n", "clusters: [\n"), "malformed", "name", None);
    // kubectl refuses names that YAML takes for something else.
    let numbers = hand.with("- name: prod\n", "- name: 0123\n");
    check(numbers, "malformed", "name: 0123", Some("- name: \"0123\""));
    check(hand.with("user: prod-user", "user: yes"), "malformed", "user: yes", Some("    user: \"yes\""));
    check(hand.with("    server: https", "    server: [1]\n    x: https"), "malformed", "server", None);
    let https = format!("    server: {}", cluster.server);
    check(hand.with("server: https:", "server: http:"), "unusable-cluster", "server", Some(https.as_str()));
    check(hand.with("server: https://", "server: "), "unusable-cluster", "server", Some(https.as_str()));
    let encoded = STANDARD.encode(&cluster.ca_pem);
    check(hand.with(&encoded, "LS0tLS1CRUdJTi=BD"), "unusable-cluster", authority, None);
    check(hand.with(&encoded, "bm8gY2VydGlmaWNhdGU="), "unusable-cluster", authority, None);
    check(
        hand.with(&encoded, &format!("{encoded}\n    certificate-authority: ca.pem")),
        "unusable-cluster",
        "certificate-authority",
        None,
    );
    let token = format!("token: {}", cluster.admin_token);
    check(
        hand.with(&token, "username: jo\n    password: s3cret-word\n    token: another-s3cret"),
        "unusable-user",
        "username",
        None,
    );
    check(
        hand.with(&token, "client-certificate: gone.pem\n    client-key: gone.key"),
        "unusable-user",
        "client-cert",
        None,
    );
    check(hand.with(&token, "colour: blue"), "unusable-user", "name: prod-user", None);
    let other = KeyPair::generate().unwrap();
    check(hand.with_certificate(2020, 2090, Some(&other)), "unusable-user", "client-key-data", None);
}

#[test]
fn what_has_expired_is_named_with_its_line() {
    let fleet = simulated(["sim"]);
    let machine = Machine::new(&[], User::Admin);
    let cluster = fleet.cluster("sim");
    let hand = Hand::new(&cluster, User::Admin);
    let check = |text: String, kind, at| check(&machine, &text, 4, kind, at, None);
    check(hand.with_authority(&certificate(2010, 2020).0), "certificate-expired", "certificate-authority-data");
    check(hand.with_authority(&certificate(2090, 2099).0), "certificate-not-yet-valid", "certificate-authority-data");
    check(hand.with_certificate(2010, 2020, None), "certificate-expired", "client-certificate-data");
    check(hand.with_certificate(2090, 2099, None), "certificate-not-yet-valid", "client-certificate-data");
    check(hand.with_token(&json!({ "exp": 1_500_000_000 })), "token-expired", "token");
    check(hand.with_token(&json!({ "nbf": 4_000_000_000_u64 })), "token-not-yet-valid", "token");
    // Neither in the past nor for ever: this one was made in 2001 and ends in 2096, which is a tenth away.
    let report =
        examine(&machine, &hand.with_token(&json!({ "iat": 1_000_000_000, "exp": 4_000_000_000_u64 })), 4, &[]);
    let kinds: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["refused"], "it is current, and forged");
}

#[test]
fn what_the_server_says_is_traced_to_a_line() {
    let fleet = simulated(["sim", "other"]);
    let (cluster, other) = (&*fleet.cluster("sim"), &*fleet.cluster("other"));
    let machine = Machine::new(&[], User::Admin);
    let hand = Hand::new(cluster, User::Admin);
    let check = |text: String, code, kind, at| check(&machine, &text, code, kind, at, None);
    check(hand.with_authority(&other.ca_pem), 4, "authority", "certificate-authority-data");
    let authority = format!("    certificate-authority-data: {}\n", STANDARD.encode(&cluster.ca_pem));
    check(hand.with(&authority, ""), 4, "authority", "server");
    let named = format!("{authority}    tls-server-name: another.example\n");
    check(hand.with(&authority, &named), 4, "authority", "tls-server-name");
    check(hand.with(&authority, "    insecure-skip-tls-verify: true\n"), 0, "insecure", "insecure-skip-tls-verify");
    check(hand.with(&cluster.server, "https://127.0.0.1:1"), 4, "unreachable", "server");
    check(hand.with(&cluster.admin_token, "somebody-elses-token"), 4, "refused", "token");
    check(hand.with_certificate(2020, 2090, None), 4, "anonymous", "client-certificate-data");
    check(Hand::new(cluster, User::Reader).text, 0, "no-namespaces", "token");
    let exec = "exec: { apiVersion: client.authentication.k8s.io/v1, command: 'false', interactiveMode: Never }";
    check(hand.with(&format!("token: {}", cluster.admin_token), exec), 4, "not-connected", "exec");
}

#[test]
fn a_file_is_examined_whole_and_connected_with_once() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = simulated(["sim"]);
    let machine = Machine::new(&[], User::Admin);
    let cluster = fleet.cluster("sim");
    let hand = Hand::new(&cluster, User::Admin);
    // A second context that does not work is found, and does not keep the first from being tried.
    let two = hand.with("contexts:\n", "contexts:\n- name: dev\n  context: { cluster: prod-cluster, user: nobody }\n");
    let report = examine(&machine, &two, 4, &[]);
    assert_eq!((&report["errors"], &report["identity"]), (&json!(1), &json!("admin")), "{report:#}");
    let report = examine(&machine, &two, 4, &["--context", "dev"]);
    assert_eq!((&report["context"], report["identity"].is_null()), (&json!("dev"), true));
    let typo = machine.kubemint(&["verify", "--kubeconfig", "hand.yaml", "--context", "prd"]).exits(2);
    assert!(typo.stderr.contains("the file has no context `prd`"), "{}", typo.stderr);
    // Two contexts and none is current: nothing is connected to.
    let none = two.replace("current-context: prod\n", "").replace("user: nobody", "user: prod-user");
    machine.write("hand.yaml", &none);
    let before = cluster_requests(&fleet);
    let shown = machine.kubemint(&["verify", "--kubeconfig", "hand.yaml"]).exits(0).stdout;
    assert!(shown.contains("nothing was connected to"), "{shown}");
    assert_eq!(cluster_requests(&fleet), before);

    machine.write("hand.yaml", &hand.text);
    std::fs::set_permissions(machine.path("hand.yaml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let shown = machine.kubemint(&["verify", "--kubeconfig", "hand.yaml"]).exits(0).stdout;
    assert!(shown.contains("hand.yaml: warning: its group or others can read it"), "{shown}");
    let missing = machine.kubemint(&["verify", "--kubeconfig", "gone.yaml"]).exits(7);
    assert!(missing.stderr.contains("error: cannot examine `gone.yaml`"), "{}", missing.stderr);
}

fn cluster_requests(fleet: &Fleet) -> u64 {
    fleet.requests()
}

/// There are no findings in a file that kubemint itself wrote, also with a real API server.
#[test]
fn an_issued_file_on_a_real_cluster() {
    let Some(cluster) = crate::real::shared(0) else { return };
    let machine = Machine::new(&[&cluster], User::Admin);
    machine.inventory(
        "doctor",
        "[profiles.reader]\ncluster-roles = [\"view\"]\n[[grants]]\nprofile = \"reader\"\nselector = \"env=test\"\n\
         [[outputs]]\npath = \"issued.yaml\"\n",
    );
    machine.expect(0, &["apply", "--yes"]);
    let issued = machine.read("issued.yaml");
    let report = examine(&machine, &issued, 0, &[]);
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(report["identity"], "system:serviceaccount:doctor:reader");
    let token = machine.token("issued.yaml");
    check(&machine, &issued.replace(&token, &format!("{token}x")), 4, "refused", "token", None);
    let hand = Hand::new(&cluster, User::Admin);
    check(&machine, &hand.with_certificate(2020, 2090, None), 4, "refused", "client-certificate-data", None);
    check(
        &machine,
        &hand.with_authority(&certificate(2020, 2090).0),
        4,
        "authority",
        "certificate-authority-data",
        None,
    );
}
