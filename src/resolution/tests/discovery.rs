//! Sources of clusters: what is refused before anything is contacted, and how what they find is put together.

use super::*;
use crate::inventory::{AdminAccess, Contest, KubeconfigSource};

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

/// What is in no Secret is told where it is, and may be told where it led.
#[test]
fn a_cluster_of_files_or_a_program_names_its_source() {
    let source = "[[discover]]\nkind = 'command'\ncommand = ['x']\nfrozen = true\n";
    let with = |admin: &str| format!("{source}[[clusters]]\nname = 'x'\nadmin = {{ discovered = 'command'{admin} }}\n");
    check_added(&with(", kubeconfig = 'a', seen-server = 'https://x', seen-endpoint = 'd'"), &[]);
    check_added(
        &with(", in-cluster = true"),
        &[
            "warning at 'x': only pods of cluster `x` reach the server that its consumers are told [set `consumer.server` to the address that others reach, or to the same if all are pods there]",
        ],
    );
    check_added(&with(""), &["error at 'command': discovery `command` finds no Secrets"]);
    check_added(
        &with(", kubeconfig = 'a', secret = 'a/b'"),
        &["error at 'command': discovery `command` finds no Secrets"],
    );
    check_added(
        &with(", server = 'https://x', token-file = 't', seen-server = 'https://x'"),
        &[
            "error at 'x': `seen-server` and `seen-endpoint` are for kubeconfigs and Secrets only [remove them: such an `admin` says itself where it leads]",
        ],
    );
}

/// Loads an inventory whose source found some clusters.
fn found(text: &str, clusters: &str) -> Resolution {
    let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", text).named("clusters.toml"), environment());
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
        let AdminAccess::Kubeconfig { source, context, .. } = &cluster(name).admin else { panic!("{name}") };
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
}

/// A later source's cluster may have the name of one that an earlier source would find.
#[test]
fn a_silent_source_contests_what_later_ones_find() {
    let source = |id: &str| format!("[[discover]]\nkind = 'command'\nid = '{id}'\ncommand = ['x']\n");
    let text = format!("{BASE}{}{}{}", source("a"), source("b"), source("c"));
    let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", text.as_str()), environment());
    let discoveries = loading.discoveries();
    let cluster =
        |id: &str| format!("[[clusters]]\nname = 'of-{id}'\nadmin = {{ discovered = '{id}', context = 'x' }}\n");
    loading.discovered(&discoveries[0], cluster("a"));
    loading.undiscovered(&discoveries[1], "no answer");
    loading.discovered(&discoveries[2], cluster("c"));
    let inventory = loading.finish().inventory.unwrap();
    let contested = |name: &str| {
        let cluster = inventory.clusters.iter().find(|cluster| cluster.name.as_str() == name).unwrap();
        cluster.contested_by.iter().map(|contest| contest.source.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(contested("of-a"), Vec::<String>::new());
    assert_eq!(contested("of-c"), ["b"]);
    assert_eq!(contested("eu"), Vec::<String>::new(), "what somebody typed has its name");
}

/// One that answers contests only the names that what it leaves out has, or may have.
#[test]
fn what_is_left_out_contests_its_own_name() {
    let source = |id: &str| format!("[[discover]]\nkind = 'command'\nid = '{id}'\ncommand = ['x']\n");
    let text = format!("{BASE}{}{}", source("a"), source("b"));
    let contested = |left_out: &[(&str, Option<&str>)]| {
        let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", text.as_str()), environment());
        let discoveries = loading.discoveries();
        for (why, name) in left_out {
            loading.left_out(&discoveries[0], why, *name);
        }
        let cluster =
            |name: &str| format!("[[clusters]]\nname = '{name}'\nadmin = {{ discovered = 'b', context = 'x' }}\n");
        loading.discovered(&discoveries[1], ["one", "two"].map(cluster).concat());
        let inventory = loading.finish().inventory.unwrap();
        assert_eq!(inventory.undiscovered.len(), usize::from(!left_out.is_empty()));
        let found = inventory.clusters.iter().filter(|cluster| cluster.found_by.is_some());
        let contest = |contest: &Contest| format!("{} {:?}", contest.source, contest.left_out.as_deref());
        found.map(|it| it.contested_by.iter().map(contest).collect::<String>()).collect::<Vec<_>>()
    };
    assert_eq!(contested(&[]), ["", ""]);
    assert_eq!(contested(&[("broken", Some("three"))]), ["", ""]);
    assert_eq!(contested(&[("broken", Some("three")), ("bad", Some("two"))]), ["", "a Some(\"bad\")"]);
    assert_eq!(
        contested(&[("no line", None), ("bad", Some("two"))]),
        ["a Some(\"no line\")", "a Some(\"bad\")"],
        "it may be anything"
    );
}

/// It may be gone from its hub, which changes nothing for the other clusters.
#[test]
fn a_cluster_that_is_named_and_not_found_is_a_warning() {
    let grant = "[[grants]]\nprofile = 'viewer'\nclusters = ['eus', 'ue']\n";
    let resolution = found(&format!("{BASE}{SOURCE}{grant}"), "");
    assert_eq!(
        summarise(&resolution)[..2],
        [
            "warning at 'eus': `eus` is in no table, and no discovery finds it: it is left out [did you mean `eu`?]",
            "warning at 'ue': `ue` is in no table, and no discovery finds it: it is left out [did you mean `eu`?]",
        ]
    );
    assert!(resolution.inventory.is_some());
    // Who reviews what is found sees that it is gone.
    let frozen = SOURCE.replace("preset = 'capi'", "preset = 'capi'\nfrozen = true");
    check_added(
        &format!("{frozen}{grant}"),
        &[
            "error at 'eus': unknown cluster `eus` [did you mean `eu`?]",
            "error at 'ue': unknown cluster `ue` [did you mean `eu`?]",
        ],
    );
}

/// Whoever deletes what leads to a hub does not stop the work on everything else.
#[test]
fn a_hub_that_is_not_found_is_a_warning() {
    let output =
        "[[outputs]]\nkind = 'argocd'\nadmin = { cluster = 'hub' }\nnamespace = 'argocd'\nprofiles = ['viewer']\n";
    let resolution = found(&format!("{BASE}{SOURCE}{output}"), "");
    let said = summarise(&resolution);
    let warning = "warning at 'hub': `hub` is in no table, and no discovery finds it: what goes there is blocked";
    assert!(said.iter().any(|it| it.starts_with(warning)), "{said:?}");
    let hubs = resolution.inventory.unwrap_or_else(|| panic!("{said:?}")).hubs;
    assert_eq!((hubs.len(), hubs[0].is_unknown), (1, true));
    // Nobody was asked.
    check_added(&format!("{SOURCE}{output}"), &[]);
    let frozen = SOURCE.replace("preset = 'capi'", "preset = 'capi'\nfrozen = true");
    check_added(&format!("{frozen}{output}"), &["error at 'hub': unknown cluster `hub` [known clusters: `eu`, `us`]"]);
}

/// Checks which of the clusters `good`, `bad` and `worse` are left out, and that all else is there.
fn check_left_out(text: &str, clusters: &str, expect: &[&str]) {
    let resolution = found(text, clusters);
    let problems = summarise(&resolution);
    let left_out: Vec<&str> = resolution.left_out.iter().map(|left_out| left_out.why.as_str()).collect();
    assert_eq!(left_out, expect, "{problems:?}");
    let inventory = resolution.inventory.unwrap_or_else(|| panic!("{problems:?}"));
    let names: Vec<&str> = inventory.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let is_out = |name: &&str| expect.iter().any(|why| why.split(": ").next().unwrap().contains(&format!("`{name}`")));
    let found = ["good", "bad", "worse"].into_iter().filter(|name| clusters.contains(&format!("'{name}'")));
    let wanted: Vec<&str> = ["eu", "us"].into_iter().chain(found.filter(|name| !is_out(name))).collect();
    assert_eq!(names, wanted);
    // So that nothing is pruned, and the run does not end with 0.
    assert_eq!(inventory.undiscovered.is_empty(), expect.is_empty());
}

/// What is wrong with the rest of the inventory is said with all the rest.
#[test]
fn with_an_error_of_somebody_who_typed_nothing_is_left_out() {
    let clusters = "[[clusters]]\nname = 'bad'\nadmin = { server = 'x', token-file = 't' }\n";
    let resolution = found(&format!("{BASE}{SOURCE}[[grants]]\nprofile = 'viewr'\nselector = ''\n"), clusters);
    let problems = summarise(&resolution);
    assert!(resolution.inventory.is_none() && resolution.left_out.is_empty(), "{problems:?}");
    assert!(problems.iter().any(|it| it.contains("unknown profile `viewr`")), "{problems:?}");
    assert!(problems.iter().any(|it| it.contains("`server` is not valid")), "{problems:?}");
}

/// Whoever may write in a hub must not be able to stop the work on all clusters.
#[test]
fn a_found_cluster_that_does_not_fit_is_left_out() {
    let cluster = |name: &str, more: &str| {
        format!("[[clusters]]\nname = '{name}'\nadmin = {{ discovered = 'capi', secret = 'ns/{name}' }}\n{more}")
    };
    let env = |value: &str| format!("labels = {{ env = '{value}' }}\n");
    let clusters = format!("{}{}{}", cluster("good", &env("x")), cluster("bad", &env("y")), cluster("worse", ""));
    let text = format!("{BASE}{SOURCE}");
    check_left_out(&text, &clusters, &[]);

    // A label that an output needs.
    let secret =
        "[[outputs]]\nkind = 'secret'\nadmin = { context = 'hub' }\nnamespace = 'ns'\ncreate-namespaces = true\n";
    let region = format!(
        "{text}{secret}name = '{{cluster}}-{{profile}}'\ndata = {{ token = '{{token}}' }}\nselector = 'env notin (prod, dev)'\nlabels = {{ region = '{{labels.region}}' }}\n"
    );
    let grants = "[[grants]]\nprofile = 'viewer'\nselector = '!env'\n";
    let with_region = clusters.replace("env = 'x'", "env = 'x', region = 'r'");
    check_left_out(
        &format!("{region}{grants}"),
        &with_region,
        &["`bad`, `worse`: cluster `bad` has no label `region`, and 2 more like this (clusters.toml:32:21)"],
    );
    // A name that the inventory's files may have and a Secret may not.
    let in_secrets = region.replace("labels = { region = '{labels.region}' }\n", "");
    check_left_out(
        &in_secrets,
        &clusters.replace("'bad'", "'bad_'"),
        &[
            "`bad_`: the name of the Secret `bad_-deployer` is not valid: it must have 1 to 253 lowercase letters, digits, `-` or `.`, and each part between dots must begin and end with a letter or digit, and 1 more like this (clusters.toml:29:8)",
        ],
    );
    // Two that Argo CD takes for one: which one was meant is not known.
    let argocd = "[[outputs]]\nkind = 'argocd'\nadmin = { context = 'hub' }\nnamespace = 'argocd'\ncreate-namespaces = true\nprofiles = ['viewer']\n";
    let argocd = format!("{text}{argocd}").replacen(
        "env = 'prod' }\n",
        "env = 'prod' }\nconsumer = { server = 'https://eu' }\n",
        1,
    );
    let told = |name: &str, server: &str| {
        cluster(name, &format!("labels = {{ env = 'x' }}\nconsumer = {{ server = '{server}' }}\n"))
    };
    let same = "give Argo CD the same `server`, by which it tells clusters apart (clusters.toml:25:1)";
    check_left_out(
        &argocd,
        &[told("good", "https://good"), told("bad", "https://same"), told("worse", "https://same")].concat(),
        &[&format!("`bad`, `worse`: `viewer` on cluster `bad` and `viewer` on cluster `worse` {same}")],
    );
    // One of the inventory's own stays.
    check_left_out(
        &argocd,
        &[told("good", "https://good"), told("bad", "https://eu")].concat(),
        &[&format!("`bad`: `viewer` on cluster `eu` and `viewer` on cluster `bad` {same}")],
    );
    // What a program prints is not checked before: a value of the wrong type, a server that is none.
    let inline = |name: &str, admin: &str| format!("[[clusters]]\nname = '{name}'\nadmin = {{ {admin} }}\n");
    let printed = [
        cluster("good", ""),
        inline("bad", "in-cluster = 'yes'"),
        inline("worse", "server = 'https://pw:word@x', token-file = 't'"),
    ];
    check_left_out(
        &text,
        &printed.concat(),
        &[
            "`bad`: `in-cluster` must be `true` or `false`, not a string",
            "`worse`: `server` is not valid: it must not contain a user or password",
        ],
    );
    // An exception from a policy that no longer holds for it.
    let policy = "[policy]\nrequire-namespace = true\n[[policy.exceptions]]\nprofile = 'viewer'\nrules = ['require-namespace']\n\
                  reason = 'x'\nuntil = '2030-01-01'\nselector = 'env'\n[[policy.exceptions]]\nprofile = 'deployer'\nrules = ['require-namespace']\n\
                  reason = 'x'\nuntil = '2030-01-01'\nselector = 'env'\n";
    let everywhere = format!("{text}{policy}[[grants]]\nprofile = 'viewer'\nselector = '!env'\n");
    check_left_out(
        &everywhere,
        &clusters,
        &[
            "`worse`: the policy's `require-namespace` refuses rights of profile `viewer` in the whole cluster, on `worse` (clusters.toml:8:18)",
        ],
    );
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
