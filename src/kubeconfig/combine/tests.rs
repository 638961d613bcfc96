//! Kubeconfigs in, edits out.

use std::path::Path;

use jiff::Timestamp;

use super::super::edit::{Unranked, edit};
use super::*;

fn input(name: &str, text: &str) -> Input {
    Input::parse(name, &Path::new("/in").join(name), text.as_bytes()).unwrap()
}

/// A kubeconfig as kubeadm writes it: every cluster has the same names.
fn kubeadm(token: &str) -> String {
    format!(
        "clusters:\n- name: kubernetes\n  cluster: {{server: 'https://{token}', x-extra: 1}}\n\
         users:\n- name: admin\n  user: {{token: {token}}}\n\
         contexts:\n- name: admin@kubernetes\n  context: {{cluster: kubernetes, user: admin}}\n\
         current-context: admin@kubernetes\n"
    )
}

fn options(on_collision: OnCollision) -> CombineOptions {
    CombineOptions {
        select: vec![],
        context: None,
        prefix: None,
        on_collision,
        prune: false,
        directory: Some("/out".into()),
    }
}

fn run(inputs: &[Input], before: &str, options: &CombineOptions) -> (Combined, String) {
    let parsed = input("out", before);
    let combined = combine(inputs, Some(&parsed), options, Timestamp::UNIX_EPOCH, &|_| None);
    let after = edit(before.as_bytes(), &combined.edits, &Unranked).unwrap();
    (combined, String::from_utf8(after).unwrap())
}

fn names(combined: &Combined) -> Vec<String> {
    let sign = |kind| match kind {
        ChangeKind::Come => '+',
        ChangeKind::Change => '~',
        ChangeKind::Go => '-',
    };
    combined
        .changes
        .iter()
        .map(|change| format!("{}{}:{}", sign(change.kind), change.list.key(), change.name))
        .collect()
}

#[test]
fn names_that_say_different_things_are_a_collision_and_nothing_else() {
    let (a, same, b) = (input("a", &kubeadm("a")), input("same", &kubeadm("a")), input("b", &kubeadm("b")));
    let (combined, text) = run(&[a.clone(), same], "", &options(OnCollision::Error));
    assert!(combined.collisions.is_empty());
    assert!(text.contains("current-context: admin@kubernetes") && text.contains("x-extra: 1"), "{text}");
    let (combined, _) = run(&[a, b], "", &options(OnCollision::Error));
    assert_eq!(
        combined.collisions,
        [Collision { list: List::Clusters, name: "kubernetes".into(), first: Some("a".into()), second: "b".into() }]
    );
}

#[test]
fn a_prefix_keeps_each_context_with_its_own_cluster_and_user() {
    let inputs = [input("a", &kubeadm("a")), input("b", &kubeadm("b"))];
    let prefixing = options(OnCollision::PrefixFile);
    let (combined, text) = run(&inputs, "", &prefixing);
    assert_eq!(
        names(&combined),
        [
            "+clusters:kubernetes",
            "+users:admin",
            "+contexts:admin@kubernetes",
            "+clusters:b-kubernetes",
            "+users:b-admin",
            "+contexts:b-admin@kubernetes"
        ]
    );
    assert!(text.contains("cluster: b-kubernetes\n    user: b-admin\n"), "{text}");
    let (again, unchanged) = run(&inputs, &text, &prefixing);
    assert_eq!((names(&again), unchanged), (vec![], text), "the same merge again does nothing");
}

#[test]
fn what_is_kept_first_is_kept_whole() {
    let (a, mut b) = (input("a", &kubeadm("a")), kubeadm("b"));
    // Only the user's name differs, so the context would lead to the other file's cluster.
    b = b.replace("admin", "b-admin");
    let (combined, text) = run(&[a, input("b", &b)], "", &options(OnCollision::KeepFirst));
    assert!(!text.contains("b-admin"), "{text}");
    assert_eq!(
        combined.findings[0].message,
        "context `b-admin@kubernetes` is left out: cluster `kubernetes` is another one's already"
    );
    assert!(combined.findings[0].left_out);
}

#[test]
fn templates_and_prefixes_name_all_three() {
    let inputs = [input("a.yaml", &kubeadm("a")), input("b.yaml", &kubeadm("b"))];
    let named = CombineOptions {
        context: Some(context_template("{file}").unwrap()),
        prefix: Some(prefix_template("k-").unwrap()),
        ..options(OnCollision::Error)
    };
    let (combined, text) = run(&inputs, "", &named);
    assert_eq!(
        names(&combined),
        ["+clusters:k-a", "+users:k-a", "+contexts:k-a", "+clusters:k-b", "+users:k-b", "+contexts:k-b"]
    );
    assert!(text.contains("current-context: k-a\n"), "{text}");
}

#[test]
fn only_what_is_selected_comes() {
    let text = "clusters:\n- {name: a, cluster: {server: 'https://a'}}\n- {name: b, cluster: {server: 'https://b'}}\n\
                - {name: lone, cluster: {}}\nusers:\n- {name: u, user: {}}\ncontexts:\n\
                - {name: prod-a, context: {cluster: a, user: u}}\n- {name: dev-b, context: {cluster: b, user: u}}\n";
    let selected =
        CombineOptions { select: vec![glob::Pattern::new("prod-*").unwrap()], ..options(OnCollision::Error) };
    let (combined, _) = run(&[input("a", text)], "", &selected);
    assert_eq!(names(&combined), ["+clusters:a", "+users:u", "+contexts:prod-a"]);
    let (combined, _) = run(&[input("a", text)], "", &options(OnCollision::Error));
    assert!(names(&combined).contains(&"+clusters:lone".to_owned()), "{:?}", names(&combined));
}

#[test]
fn entries_of_the_file_are_replaced_or_pruned_only_when_that_is_asked_for() {
    let before =
        format!("# mine\n{}", kubeadm("old").replace("contexts:", "contexts: # all\n- name: x\n  context: {}"));
    let inputs = [input("a", &kubeadm("new"))];
    assert!(!run(&inputs, &before, &options(OnCollision::Error)).0.collisions.is_empty());
    let (combined, text) = run(&inputs, &before, &options(OnCollision::Replace));
    assert_eq!(names(&combined), ["~clusters:kubernetes", "~users:admin"]);
    assert!(text.starts_with("# mine\n") && text.contains("- name: x\n"), "{text}");
    let (combined, text) = run(&inputs, &before, &CombineOptions { prune: true, ..options(OnCollision::Replace) });
    assert_eq!(names(&combined), ["~clusters:kubernetes", "~users:admin", "-contexts:x"]);
    assert!(!text.contains("name: x"), "{text}");
}

#[test]
fn a_context_that_leads_nowhere_is_left_out_and_said() {
    let (combined, text) = run(
        &[input("a", "contexts:\n- {name: x, context: {cluster: gone, user: u}}\n")],
        "",
        &options(OnCollision::Error),
    );
    assert!(!text.contains("name: x"));
    assert_eq!(
        combined.findings[0].message,
        "context `x` refers to cluster `gone`, which is not there; it is left out"
    );
}

#[test]
fn what_has_expired_or_is_missing_is_said() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pem = parameters.self_signed(&key).unwrap().pem();
    let token = crate::credential::tests_support::token(&serde_json::json!({"sub": "s", "exp": 60, "iat": 1}));
    let text = format!(
        "clusters:\n- {{name: c, cluster: {{certificate-authority: ca.pem}}}}\n\
         users:\n- {{name: u, user: {{client-key: gone.pem, token: {}}}}}\n\
         contexts:\n- {{name: x, context: {{cluster: c, user: u}}}}\n",
        token.expose()
    );
    let read = |path: &Path| (path == Path::new("/in/ca.pem")).then(|| pem.clone().into_bytes());
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let combined = combine(&[input("a", &text)], None, &options(OnCollision::Error), now, &read);
    let messages: Vec<&str> = combined.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "cluster `c`: `certificate-authority` expired at 2020-01-01T00:00:00Z",
            "user `u`: `client-key` `/in/gone.pem` cannot be read",
            "user `u`: its token expired at 1970-01-01T00:01:00Z"
        ]
    );
    assert!(combined.findings.iter().all(|finding| !finding.left_out));
}

#[test]
fn files_that_kubectl_refuses_are_refused() {
    let refused =
        |text: &str| Input::parse("a", Path::new("/in/a"), text.as_bytes()).err().map(|error| error.to_string());
    assert_eq!(refused("users:\n- {name: u}\n- {name: u}\n").unwrap(), "`users` has two entries `u`");
    assert_eq!(refused("kind: Secret\n").unwrap(), "it is not a kubeconfig: its `kind` is not `Config`");
    assert_eq!(
        refused("users:\n- {name: 1}\n").unwrap(),
        "it is not a kubeconfig: an entry of `users` has no name or no content"
    );
    assert_eq!(
        refused("users: {a: s3cret}\n").unwrap(),
        "it is not a kubeconfig: `users`: it must be a list, at line 1, column 8"
    );
    assert_eq!(refused(""), None);
}

#[test]
fn a_file_with_more_values_than_are_read_is_refused_with_the_limit() {
    let text = format!("users: [{}]\n", "1,".repeat(100_001));
    let error = Input::parse("a", Path::new("/a"), text.as_bytes()).err().unwrap().to_string();
    assert!(error.contains("at most 4000000 keys and values are read"), "{error}");
    // The limit holds for a file of any length.
    let budget = crate::kubeconfig::yaml_options(usize::MAX).budget.unwrap();
    assert_eq!(budget.max_nodes, 4_000_000);
}
