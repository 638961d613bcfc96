//! The meaning of a valid inventory: defaults, precedence, order, includes, paths and files.

use std::time::Duration;

use super::{BASE, environment, load, load_with, summarise};
use crate::delivery::Layout;
use crate::inventory::{AdminAccess, KubeconfigSource};
use crate::inventory::{Inventory, MissingNamespace, SourceFile, VerifyVia, wildcards};
use crate::names::Holder;
use crate::resolution::{Loading, Resolution, Setting, parse_holder, resolve};

fn valid(text: &str) -> (Inventory, Layout) {
    let resolution = load(text);
    assert_eq!(summarise(&resolution), Vec::<String>::new());
    (resolution.inventory.unwrap(), resolution.layout.unwrap())
}

/// Summarises grants: profile, cluster, namespace, and whether it is created.
fn grants(inventory: &Inventory) -> Vec<String> {
    let lines = inventory.grants.iter().map(|grant| {
        let create = if grant.missing_namespace == MissingNamespace::Create { "+" } else { "" };
        format!("{}@{} {}{create}", grant.profile.name, grant.cluster.name, grant.namespace)
    });
    lines.collect()
}

/// Summarises files: path, contexts, and the current context.
fn files(layout: &Layout) -> Vec<String> {
    let lines = layout.files.iter().map(|file| {
        let contexts: Vec<&str> = file.entries.iter().map(|entry| entry.context.as_str()).collect();
        let current = file.current_context.as_ref().map(|context| format!(" *{context}")).unwrap_or_default();
        format!("{}: {}{current}", file.path.display(), contexts.join(" "))
    });
    lines.collect()
}

fn kubeconfig(path: &str, context: &str) -> AdminAccess {
    AdminAccess::context(KubeconfigSource::Path(path.into()), context)
}

#[test]
fn what_is_not_said_has_its_default() {
    let (inventory, _) = valid(BASE);
    assert_eq!(inventory.holder, Holder::new("default"));
    assert_eq!(inventory.run.concurrency, 64);
    assert_eq!(inventory.run.request_timeout, Duration::from_secs(10));
    assert_eq!(inventory.run.cluster_timeout, Duration::from_secs(60));
    let profile = &inventory.grants[0].profile;
    assert_eq!(profile.service_account, "deployer");
    assert_eq!(profile.token.ttl, Duration::from_secs(86_400));
    assert_eq!(profile.token.overlap, Duration::from_secs(900));
    assert!((profile.token.renew_after - 0.66).abs() < f64::EPSILON);
    assert_eq!(profile.token.audiences, Vec::<String>::new());
    let cluster = &inventory.clusters[0];
    assert_eq!(cluster.admin, kubeconfig("/inv/admin.yaml", "eu"));
    assert!(!cluster.allow_insecure);
    assert_eq!(cluster.consumer.verify, VerifyVia::Endpoint);
    assert_eq!(inventory.outputs[0].context, "{profile}@{cluster}");
}

#[test]
fn token_policies_fall_back_key_by_key() {
    let text = BASE
        .replacen("[defaults]", "[defaults]\ntoken = { ttl = '12h', overlap = '1h', audiences = ['vault'] }", 1)
        .replacen("[profiles.viewer]", "[profiles.viewer]\ntoken = { ttl = '2h', renew-after = 0.5 }", 1);
    let (inventory, _) = valid(&text);
    let token = &inventory.profiles["viewer"].token;
    assert_eq!((token.ttl.as_secs(), token.overlap.as_secs()), (7200, 3600));
    assert!((token.renew_after - 0.5).abs() < f64::EPSILON);
    assert_eq!(token.audiences, ["vault"]);
}

#[test]
fn grants_are_ordered_and_each_pair_is_there_once() {
    let text = format!("{BASE}[[grants]]\nprofile = 'viewer'\nselector = ''\nclusters = ['us', 'us']\n");
    let (inventory, _) = valid(&text);
    assert_eq!(
        grants(&inventory),
        ["deployer@eu kubemint", "viewer@eu kubemint", "deployer@us kubemint", "viewer@us kubemint"]
    );
}

#[test]
fn the_namespace_is_the_clusters_then_the_profiles_then_the_defaults() {
    let text = BASE
        .replacen("[defaults]", "[defaults]\nnamespace = 'all'\ncreate-namespaces = true", 1)
        .replacen("[profiles.viewer]", "[profiles.viewer]\nnamespace = 'views'", 1)
        .replacen("name = 'us'", "name = 'us'\nnamespace = 'here'\ncreate-namespaces = false", 1);
    let (inventory, _) = valid(&text);
    assert_eq!(grants(&inventory), ["deployer@eu all+", "viewer@eu views+", "deployer@us here", "viewer@us here"]);
}

#[test]
fn a_grant_means_the_union_of_selector_and_names() {
    let text = BASE.replacen("selector = 'env'", "selector = 'env=prod'\nclusters = ['us']", 1);
    assert_eq!(valid(&text).0.grants.len(), 4);
}

#[test]
fn outputs_hold_what_their_filters_let_through() {
    let text = format!(
        "{BASE}[[outputs]]\npath = 'v'\nprofiles = ['viewer']\n[[outputs]]\npath = 'p'\nselector = 'env=prod'\n"
    );
    let inventory = valid(&text).0;
    let position = |grant: &crate::names::GrantKey| inventory.grants.iter().position(|known| known.is(grant)).unwrap();
    let held: Vec<Vec<usize>> =
        inventory.outputs.iter().map(|output| output.grants.iter().map(position).collect()).collect();
    assert_eq!(held, [vec![0, 1, 2, 3], vec![1, 3], vec![0, 1]]);
}

#[test]
fn the_variables_in_the_path_decide_what_is_combined() {
    let check = |outputs: &str, expect: &[&str]| {
        let base = BASE.split("[[outputs]]").next().unwrap();
        assert_eq!(files(&valid(&format!("{base}{outputs}")).1), expect, "{outputs}");
    };
    check("[[outputs]]\npath = '{profile}'\ncontext = '{cluster}'\n", &["/inv/deployer: eu us", "/inv/viewer: eu us"]);
    check(
        "[[outputs]]\npath = '~/x/../{cluster}'\n",
        &["/home/jo/eu: deployer@eu viewer@eu", "/home/jo/us: deployer@us viewer@us"],
    );
    check(
        "[[outputs]]\npath = '/abs/{inventory}-{holder}-{{x}}'\ncurrent-context = 'viewer@us'\n",
        &["/abs/acme-default-{x}: deployer@eu viewer@eu deployer@us viewer@us *viewer@us"],
    );
    check(
        "[[outputs]]\npath = '{profile}'\ncurrent-context = '{profile}@us'\n",
        &["/inv/deployer: deployer@eu deployer@us *deployer@us", "/inv/viewer: viewer@eu viewer@us *viewer@us"],
    );
    check(
        "[[outputs]]\npath = '{profile}'\ncurrent-context = 'viewer@us'\n",
        &["/inv/deployer: deployer@eu deployer@us", "/inv/viewer: viewer@eu viewer@us *viewer@us"],
    );
    check(
        "[[outputs]]\npath = 'a'\n[[outputs]]\npath = './a'\nprofiles = ['viewer']\ncontext = '{cluster}'\n",
        &["/inv/a: deployer@eu viewer@eu deployer@us viewer@us eu us"],
    );
    // The same grant under the same names in two outputs is one entry.
    check(
        "[[outputs]]\npath = 'a'\n[[outputs]]\npath = './a'\n",
        &["/inv/a: deployer@eu viewer@eu deployer@us viewer@us"],
    );
}

#[test]
fn entry_names_default_to_the_contexts() {
    let text = BASE.replacen(
        "path = 'out/{cluster}-{profile}.yaml'",
        "path = '{profile}-{cluster}'\ncontext = 'c-{cluster}'\nuser = 'u'\nnamespace = 'apps'",
        1,
    );
    let (_, layout) = valid(&text);
    let entry = &layout.files[0].entries[0];
    assert_eq!((entry.context.as_str(), entry.cluster.as_str(), entry.user.as_str()), ("c-eu", "c-eu", "u"));
    assert_eq!(entry.namespace.as_deref(), Some("apps"));
}

#[test]
fn the_command_lines_holder_overrules_the_inventorys() {
    let text = BASE.replacen("name = 'acme'", "name = 'acme'\nholder = 'laptop'", 1);
    assert_eq!(valid(&text).0.holder.as_str(), "laptop");
    let text = text.replacen("out/", "out/{holder}/", 1);
    let environment = Setting { holder: Some(parse_holder("ci").unwrap()), ..environment() };
    let resolution = resolve(SourceFile::new("/inv/clusters.toml", text), vec![], environment);
    assert_eq!(resolution.inventory.unwrap().holder.as_str(), "ci");
    assert_eq!(resolution.layout.unwrap().files[0].path.to_str(), Some("/inv/out/ci/eu-deployer.yaml"));
    assert!(parse_holder("CI").is_err());
}

#[test]
fn a_home_is_needed_only_by_paths_that_name_it() {
    let resolve = |text: &str| {
        let source = SourceFile::new("/inv/clusters.toml", text);
        summarise(&resolve(source, vec![], Setting::default()))
    };
    assert_eq!(resolve(BASE), Vec::<String>::new());
    assert_eq!(
        resolve(&BASE.replacen("'admin.yaml'", "'~/admin.yaml'", 1)),
        [
            "error at '~/admin.yaml': `kubeconfig` begins with `~`, and there is no home directory [set `HOME`, or write the path from `/`]"
        ]
    );
}

const ROOT: &str = "version = 1\nname = 'acme'\ninclude = ['clusters.d/*.toml', '~/x/[ab].toml', '/etc/k/**/*.toml']\n\
    [defaults]\nadmin.kubeconfig = 'admin.yaml'\n[[outputs]]\npath = '{cluster}'\n";
const INCLUDED: &str = "[profiles.viewer]\ncluster-roles = ['view']\n[[clusters]]\nname = 'eu'\n[[grants]]\nprofile = 'viewer'\nselector = ''\n";

#[test]
fn included_files_resolve_against_their_own_directory() {
    let included = INCLUDED.replacen("name = 'eu'", "name = 'eu'\nconsumer.certificate-authority = 'ca.pem'", 1);
    let resolution = load_with(ROOT, &included);
    assert_eq!(summarise(&resolution), Vec::<String>::new());
    let cluster = resolution.inventory.unwrap().clusters[0].clone();
    assert_eq!(cluster.consumer.certificate_authority.as_deref(), Some("/inv/clusters.d/ca.pem".as_ref()));
    assert_eq!(cluster.admin, kubeconfig("/inv/admin.yaml", "eu"));
    assert_eq!(files(&resolution.layout.unwrap()), ["/inv/eu: viewer@eu"]);
}

#[test]
fn include_patterns_are_absolute_and_their_directory_is_literal() {
    let root = SourceFile::new("/in[v]/clusters.toml", ROOT);
    let patterns: Vec<String> =
        Loading::start(root, environment()).includes().into_iter().map(|include| include.pattern).collect();
    assert_eq!(patterns, ["/in[[]v[]]/clusters.d/*.toml", "/home/jo/x/[ab].toml", "/etc/k/**/*.toml"]);
}

#[test]
fn an_included_file_is_read_once_and_the_root_is_no_include() {
    let mut loading = Loading::start(SourceFile::new("/inv/clusters.toml", ROOT), environment());
    loading.include(SourceFile::new("/inv/a.toml", INCLUDED));
    loading.include(SourceFile::new("/inv/a.toml", INCLUDED));
    loading.include(SourceFile::new("/inv/clusters.toml", ROOT));
    assert_eq!(summarise(&loading.finish()), Vec::<String>::new());
}

#[test]
fn what_goes_wrong_with_includes_is_a_problem() {
    let check = |resolution: Resolution, expect: &[&str]| {
        assert_eq!(summarise(&resolution), expect);
        assert!(resolution.inventory.is_none());
    };
    let start = |text: &str| Loading::start(SourceFile::new("/inv/clusters.toml", text), environment());

    let mut loading = start(ROOT);
    let includes = loading.includes();
    loading.unmatched(&includes[0]);
    loading.unreadable(&includes[1], "/home/jo/x/a.toml".as_ref(), "permission denied");
    check(
        loading.finish(),
        &[
            "error at 'clusters.d/*.toml': include pattern `clusters.d/*.toml` matches no file",
            "error at '~/x/[ab].toml': cannot read included file `/home/jo/x/a.toml`: permission denied",
        ],
    );
    check(
        start("version = 1\nname = 'a'\ninclude = ['a***', '']\n").finish(),
        &[
            "error at : `include` is not a valid pattern: wildcards are either regular `*` or recursive `**`",
            "error at '': `include` must not be empty",
        ],
    );
    check(
        load_with(ROOT, &format!("name = 'x'\nholder = 'y'\ninclude = []\n{INCLUDED}[defaults]\n")),
        &[
            "error at 'x': `name` is not allowed in an included file [say it in `clusters.toml`]",
            "error at 'y': `holder` is not allowed in an included file [say it in `clusters.toml`]",
            "error at []: `include` is not allowed in an included file [say it in `clusters.toml`]",
            "error at [defaults]: `defaults` is not allowed in an included file [say it in `clusters.toml`]",
        ],
    );
    check(
        load_with(ROOT, &format!("version = 2\n{INCLUDED}")),
        &["error at 2: unknown format version `2` [this kubemint reads version 1]"],
    );
    check(
        load_with(BASE, INCLUDED),
        &["error at viewer: profile `viewer` is defined twice", "error at 'eu': cluster `eu` is defined twice"],
    );
    assert!(load_with(ROOT, &format!("version = 1\n{INCLUDED}")).inventory.is_some());
}

#[test]
fn wildcards_are_described_and_are_no_problem() {
    let rules = "cluster-rules = [{ api-groups = ['*'], resources = ['*'], verbs = ['*'] }]\n\
        cluster-roles = ['cluster-admin']\n\
        namespaces = [{ names = ['apps'], rules = [{ api-groups = [''], resources = ['pods'], verbs = ['*'] }] }]";
    let (inventory, _) = valid(&BASE.replacen("cluster-roles = ['edit']", rules, 1));
    assert_eq!(
        wildcards(&inventory.profiles["deployer"]),
        [
            "every verb on every resource of every API group",
            "everything, through ClusterRole `cluster-admin`",
            "every verb on `pods` of the core group in `apps`",
        ]
    );
    assert_eq!(wildcards(&inventory.profiles["viewer"]), Vec::<String>::new());
}

#[test]
fn ten_thousand_clusters_resolve() {
    let mut text = BASE.to_owned();
    for index in 0..10_000 {
        text.push_str(&format!(
            "[[clusters]]\nname = 'c{index}'\nlabels = {{ env = 'prod' }}\nconsumer.server = 'https://c{index}.example.com'\n"
        ));
    }
    text.push_str("[[outputs]]\npath = 'all'\n");
    let (inventory, layout) = valid(&text);
    assert_eq!(inventory.grants.len(), 20_004);
    assert_eq!(layout.files.len(), 20_005);
    // Without the budget for suggestions, ten thousand wrong names would each be compared with ten thousand names,
    // which takes minutes.
    let names: Vec<String> = (0..10_000).map(|index| format!("'x{index}'")).collect();
    let resolution = load(&format!("{text}[[grants]]\nprofile = 'viewer'\nclusters = [{}]\n", names.join(",")));
    assert_eq!(resolution.problems.len(), 10_000);
}
