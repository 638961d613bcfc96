//! Sources of clusters: what is refused before anything is contacted, and how what they find is put together.

use super::*;
use crate::inventory::{AdminAccess, KubeconfigSource};

const SOURCE: &str = "[[discover]]\nkind = 'secrets'\npreset = 'capi'\nadmin = { context = 'hub' }\n";

#[test]
fn what_a_source_lacks_or_does_not_know_is_refused() {
    let refuses = |text: &str, expect: &[&str]| check_added(text, expect);
    refuses(SOURCE, &[]);
    refuses(
        "[[discover]]\nkind = 'secrets'\n",
        &[
            "error at [[discover]]: a discovery in a hub lacks the key `admin` [say how that cluster is reached: `admin = { context = \"hub\" }`]",
        ],
    );
    refuses(
        "[[discover]]\nkind = 'command'\ncommand = ['x']\nselector = 'a=b'\n",
        &["error at 'a=b': `selector` is for kind `secrets` and `cluster-profile`, and this discovery is `command`"],
    );
    refuses(
        &format!("{SOURCE}key = 'x'\n"),
        &["error at 'x': `key` is for preset `kubeconfig`; `capi` decides that itself"],
    );
    refuses(
        &format!("{SOURCE}name = '{{label.env}}'\n"),
        &["error at {label.env}: unknown variable `{label.env}` [did you mean `{labels.env}`?]"],
    );
    let profiles = "[[discover]]\nkind = 'cluster-profile'\nadmin = { context = 'hub' }\nsecret-namespace = 'access'\n";
    refuses(
        profiles,
        &[
            "error at 'access': `secret-namespace` needs `frozen = true`: who may edit a ClusterProfile would choose the server that a token of that namespace is sent to [write its clusters down with `kubemint discover --write FILE`, and review them]",
        ],
    );
    refuses(&format!("{profiles}frozen = true\n"), &[]);
    refuses(
        &format!("{SOURCE}{SOURCE}"),
        &["error at [[discover]]: two discoveries have the `id` `capi` [set another `id` in one of them]"],
    );
    refuses(
        &format!("{SOURCE}[[clusters]]\nname = 'x'\nadmin = {{ discovered = 'cap', secret = 'a/b' }}\n"),
        &["error at 'cap': no `[[discover]]` has the `id` `cap` [did you mean `capi`?]"],
    );
    refuses(
        &format!("{SOURCE}[[clusters]]\nname = 'x'\nadmin = {{ discovered = 'capi', secret = 'a' }}\n"),
        &["error at 'a': `a` is no `NAMESPACE/NAME`"],
    );
    refuses(
        "[[clusters]]\nname = 'x'\nadmin = { kubeconfig = 'a', secret = 'a/b' }\n",
        &["error at 'a/b': `secret` needs `discovered`, the `id` of a `[[discover]]`"],
    );
}

/// Loads an inventory whose source found some clusters.
fn found(text: &str, clusters: &str) -> Resolution {
    let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", text), environment());
    let discoveries = loading.discoveries();
    loading.discovered(&discoveries[0], clusters.to_owned());
    loading.finish()
}

#[test]
fn a_table_refines_what_is_found() {
    let text = format!("{BASE}{SOURCE}")
        .replace("name = 'us'\n", "name = 'found'\nadmin = { discovered = 'capi' }\n")
        .replace("{ env = 'dev' }", "{ own = 'x', env = 'dev' }");
    let clusters = "[[clusters]]\nname = 'found'\nlabels = { env = 'prod', region = 'eu' }\n\
                    admin = { discovered = 'capi', secret = 'ns/found-kubeconfig' }\n\
                    [[clusters]]\nname = 'other'\nadmin = { discovered = 'capi', secret = 'ns/other-kubeconfig' }\n";
    let resolution = found(&text, clusters);
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{:?}", resolution.problems));
    let cluster = |name: &str| inventory.clusters.iter().find(|cluster| cluster.name.as_str() == name).unwrap();
    let labels: Vec<String> = cluster("found").labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["env=dev", "own=x", "region=eu"]);
    for name in ["found", "other"] {
        let AdminAccess::Kubeconfig { source, context } = &cluster(name).admin else { panic!("{name}") };
        assert!(matches!(source, KubeconfigSource::Secret(secret) if secret.name == format!("{name}-kubeconfig")));
        assert_eq!(context, "", "nobody chose what the kubeconfig calls it");
    }
}

#[test]
fn a_source_that_does_not_answer_leaves_names_open() {
    let text = format!("{BASE}{SOURCE}[[grants]]\nprofile = 'viewer'\nclusters = ['unknown']\n");
    let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", text.as_str()), environment());
    let discoveries = loading.discoveries();
    loading.undiscovered(&discoveries[0], "no answer");
    let resolution = loading.finish();
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{:?}", resolution.problems));
    assert_eq!(inventory.undiscovered.len(), 1);
    let resolution = found(&text, "");
    assert!(summarise(&resolution).iter().any(|problem| problem.contains("unknown cluster `unknown`")));
}

/// Whoever may write in the hub chooses names and labels there.
#[test]
fn what_is_found_does_not_become_a_cluster_that_somebody_named() {
    let text = format!("{BASE}{SOURCE}");
    let clusters = "[[clusters]]\nname = 'us'\nlabels = { env = 'prod', own = 'y' }\n\
                    admin = { discovered = 'capi', secret = 'ns/us-kubeconfig' }\n";
    let without = found(&text, "").inventory.unwrap();
    let resolution = found(&text, clusters);
    let problems = summarise(&resolution);
    assert!(
        problems.iter().any(|it| it.contains("discovery `capi` found a cluster `us` too, which is left out")),
        "{problems:?}"
    );
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(inventory.clusters, without.clusters);
}

/// It may be gone from its hub, which changes nothing for the other clusters.
#[test]
fn what_refines_a_cluster_that_is_not_found_is_left_out() {
    let refines = "[[clusters]]\nname = 'gone'\nadmin = { discovered = 'capi' }\n";
    let grant = "[[grants]]\nprofile = 'viewer'\nclusters = ['gone']\n";
    let text = format!("{BASE}{SOURCE}{refines}{grant}");
    let resolution = found(&text, "");
    let problems = summarise(&resolution);
    assert!(problems.iter().any(|it| it.contains("discovery `capi` does not find cluster `gone`")), "{problems:?}");
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{problems:?}"));
    assert!(inventory.clusters.iter().all(|cluster| cluster.name.as_str() != "gone"));
    let frozen = text.replace("preset = 'capi'", "preset = 'capi'\nfrozen = true");
    assert!(summarise(&found(&frozen, "")).iter().any(|it| it.contains("`discovered` needs `secret`")));
}
