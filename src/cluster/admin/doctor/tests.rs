//! Kubeconfigs as trees, and that an examination neither panics nor shows a secret.

use proptest::prelude::*;

use super::*;
use crate::cluster::transport::ProxyEnvironment;

#[test]
fn a_tree_knows_lines_merge_keys_and_aliases() {
    let text = "a: &x\n  b: 1\n  c: 2\nd:\n  <<: *x\n  c: 3\n  c: 4\ne: [*x, {f: ~}]\n---\nother: 1\n";
    let root = tree::parse(text).unwrap().unwrap();
    let at = |path: &[&str]| {
        let mut found = (0, &root);
        for key in path {
            found = found.1.get(key).unwrap();
        }
        (found.0, found.1.text())
    };
    assert_eq!(at(&["a", "b"]), (2, Some("1")));
    assert_eq!(at(&["d", "b"]), (2, Some("1")), "merged");
    assert_eq!(at(&["d", "c"]), (7, Some("4")), "the last wins");
    let items = root.get("e").unwrap().1.items();
    assert_eq!(items[0].get("c").unwrap().1.text(), Some("2"));
    assert_eq!(items[1].get("f").unwrap().1.text(), None);
    assert!(root.get("other").is_none(), "kubectl reads the first document only");
    assert_eq!(tree::parse("a: b\nc: [\n").err(), Some(2), "where it begins");
    assert!(tree::parse("a: &a [*a]\n").unwrap().is_some());
}

/// A few lines that merge each other a billion times, and many that hold each other in a chain.
#[test]
fn what_refers_to_each_other_is_bounded() {
    let twice = |level: usize| format!("k{level}: &k{level} {{<<: [*k{0}, *k{0}]}}\n", level - 1);
    let tangle = format!("k0: &k0 {{z: 1}}\n{}<<: *k30\n", (1..=30).map(twice).collect::<String>());
    let root = tree::parse(&tangle).unwrap().unwrap();
    assert!(root.get("users").is_none());
    assert_eq!(root.get("z").unwrap().1.text(), Some("1"));
    let link = |level: usize| format!("k{level}: &k{level} [[{{<<: *k{}}}]]\n", level - 1);
    let chain = format!("k0: &k0 {{z: 1}}\n{}<<: *k30000\n", (1..=30_000).map(link).collect::<String>());
    drop(tree::parse(&chain).unwrap().unwrap());
}

/// Writes a file and examines it.
#[expect(clippy::disallowed_methods, reason = "tests write what users write")]
fn examined(text: &str) -> Examined {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    examine(file.path(), &Network::new(ProxyEnvironment::default()), Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn what_only_kubectl_would_make_of_it_is_malformed() {
    let kinds =
        |text: &str| examined(text).findings.iter().map(|finding| (finding.kind, finding.line)).collect::<Vec<_>>();
    assert_eq!(kinds("kind: Deployment\n"), [(Kind::Malformed, None), (Kind::NoCurrentContext, None)]);
    assert_eq!(kinds("users:\n- name: a\n  user: {token: [1]}\n")[0], (Kind::Malformed, Some(3)));
    assert!(kinds("").iter().all(|(kind, _)| *kind == Kind::NoCurrentContext));
}

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";

proptest! {
    /// Whatever is damaged, nothing panics, every reported line exists, and no secret is quoted.
    #[test]
    fn a_damaged_file_is_examined_without_quoting_it(at in 0_usize..400, length in 0_usize..40, new in "[a-z:\\[{&*'\" \n-]{0,6}") {
        let whole = format!(
            "current-context: a\nclusters:\n- name: a\n  cluster: {{server: 'https://u:{SECRET}@h', proxy-url: 'http://u:{SECRET}@p'}}\n\
             users:\n- name: a\n  user:\n    token: {SECRET}\n    client-key-data: {SECRET}\n    password: {SECRET}\n\
             contexts:\n- name: a\n  context: {{cluster: b, user: c}}\n"
        );
        let start = at.min(whole.len());
        let end = (start + length).min(whole.len());
        let text = format!("{}{new}{}", &whole[..start], &whole[end..]);
        let examined = examined(&text);
        // If the damage made the token a name, it may be shown like other names.
        let names = ["clusters", "users", "contexts"].map(|list| examined.entries(list, "name"));
        let mut names: Vec<String> = names.iter().flatten().map(|entry| entry.name.to_owned()).collect();
        let current = examined.root.as_ref().and_then(|root| root.get("current-context"));
        names.extend(current.and_then(|(_, node)| node.text().map(str::to_owned)));
        names.extend(examined.contexts.iter().filter_map(|context| examined.parts(context)).flat_map(|parts| [parts.0, parts.1]));
        prop_assume!(!names.iter().any(|name| name.contains(&SECRET[..12]) || name.contains(&SECRET[12..])));
        let shown = format!("{:?}", examined.findings);
        prop_assert!(!shown.contains(&SECRET[..12]) && !shown.contains(&SECRET[12..]), "{}", shown);
        let lines = text.lines().count() + 1;
        prop_assert!(examined.findings.iter().all(|finding| finding.line.is_none_or(|line| (1..=lines).contains(&line))), "{}", shown);
    }
}

#[test]
fn a_token_in_the_place_of_a_name_is_not_quoted() {
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.sig", "e".repeat(80));
    let text =
        format!("current-context: {token}\ncontexts:\n- name: {token}x\n  context: {{cluster: {token}, user: u}}\n");
    let shown = format!("{:?}", examined(&text).findings);
    assert!(shown.contains("[REDACTED]") && !shown.contains("eeee"), "{shown}");
    // A token is found however far into a name it stands.
    let name = format!("{} {token}", "n".repeat(2000));
    let text = format!("current-context: x\ncontexts:\n- name: {name}\n  context: {{cluster: c, user: u}}\n");
    let shown = format!("{:?}", examined(&text).findings);
    assert!(!shown.contains("eeee"), "{shown}");
}
