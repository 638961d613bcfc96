//! The examples use the library as they say.
#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use std::path::PathBuf;

use kubemint::store::Written;

#[path = "../../examples/combine_kubeconfigs.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example has a `main`, and is public where it stands")]
mod combine_kubeconfigs;
#[path = "../../examples/edit_kubeconfig.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example has a `main`, and is public where it stands")]
mod edit_kubeconfig;
#[path = "../../examples/inventory.rs"]
#[expect(dead_code, unreachable_pub, reason = "an example has a `main`, and is public where it stands")]
mod inventory;

#[test]
fn an_inventory_is_read_or_all_its_problems_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clusters.toml");
    let text = |profile: &str| {
        format!(
            "version = 1\nname = \"acme\"\ndefaults.admin.kubeconfig = \"admin\"\n[profiles.reader]\n\
             cluster-roles = [\"view\"]\n[[clusters]]\nname = \"eu\"\n[[grants]]\nprofile = \"{profile}\"\n\
             clusters = [\"eu\"]\n[[outputs]]\npath = \"out\"\n"
        )
    };
    std::fs::write(&path, text("reader")).unwrap();
    assert_eq!(inventory::grants(&path).unwrap(), ["reader on eu"]);
    std::fs::write(&path, text("raeder")).unwrap();
    let problems = inventory::grants(&path).unwrap_err();
    assert!(problems.contains("did you mean `reader`?"), "{problems}");
}

#[test]
fn a_kubeconfig_is_edited_and_the_rest_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, "# mine\nclusters: []\nusers: []\ncontexts: []\n").unwrap();
    assert_eq!(edit_kubeconfig::add_cluster(&path).unwrap(), Written::Changed);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("server: https://example.com:6443"), "{text}");
    assert_eq!(edit_kubeconfig::add_cluster(&path).unwrap(), Written::Unchanged);
}

#[test]
fn kubeconfigs_are_combined_unless_they_collide() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, cluster: &str, server: &str| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("clusters:\n- name: {cluster}\n  cluster:\n    server: {server}\n")).unwrap();
        path
    };
    let paths = [write("one", "a", "https://a"), write("two", "b", "https://b")];
    let text = String::from_utf8(combine_kubeconfigs::combined(&paths, jiff::Timestamp::UNIX_EPOCH).unwrap()).unwrap();
    assert!(text.contains("https://a") && text.contains("https://b"), "{text}");
    let paths = [write("one", "a", "https://a"), write("two", "a", "https://b")];
    let error = combine_kubeconfigs::combined(&paths, jiff::Timestamp::UNIX_EPOCH).unwrap_err().to_string();
    assert_eq!(error, "clusters `a` comes twice");
}
