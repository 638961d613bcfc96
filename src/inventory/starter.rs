//! The inventory that `kubemint init` writes: the clusters that it found, and a first profile.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::syntax;

/// One cluster of a new inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StarterCluster {
    /// The name in the inventory.
    pub name: String,
    /// The context with admin access to it.
    pub context: String,
    /// The source of its kubeconfigs, as the inventory writes it.
    pub kubeconfig: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct File<'a> {
    version: u64,
    name: &'a str,
    defaults: Defaults<'a>,
    profiles: BTreeMap<&'a str, Profile>,
    clusters: Vec<Cluster<'a>>,
    grants: [Grant; 1],
    outputs: [Output; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Defaults<'a> {
    create_namespaces: bool,
    #[serde(skip_serializing_if = "Admin::is_empty")]
    admin: Admin<'a>,
}

#[derive(Serialize)]
struct Admin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kubeconfig: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

impl Admin<'_> {
    fn is_empty(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Profile {
    description: &'static str,
    cluster_roles: [&'static str; 1],
}

#[derive(Serialize)]
struct Cluster<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Admin::is_empty")]
    admin: Admin<'a>,
}

#[derive(Serialize)]
struct Grant {
    profile: &'static str,
    selector: &'static str,
}

#[derive(Serialize)]
struct Output {
    path: &'static str,
}

const HEAD: &str =
    "# Written by `kubemint init`. The keys are explained in docs/inventory.md; try `kubemint plan`.\n\n";

/// Returns a new inventory as TOML: the clusters, a profile that may view, and a file for each grant.
///
/// # Panics
///
/// Never: names and paths are text, which TOML can hold.
pub(crate) fn starter(name: &str, clusters: &[StarterCluster]) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for cluster in clusters {
        *counts.entry(&cluster.kubeconfig).or_default() += 1;
    }
    // The kubeconfig that most clusters have; among equals the first, so that the text is always the same.
    let most = counts.values().copied().max();
    let default =
        clusters.iter().map(|cluster| cluster.kubeconfig.as_str()).find(|path| counts.get(path) == most.as_ref());
    let default = default.filter(|_| most > Some(1) || clusters.len() == 1);
    let file = File {
        version: 1,
        name,
        defaults: Defaults { create_namespaces: true, admin: Admin { kubeconfig: default, context: None } },
        profiles: [("viewer", Profile { description: "May view, in all namespaces", cluster_roles: ["view"] })].into(),
        clusters: clusters
            .iter()
            .map(|cluster| Cluster {
                name: &cluster.name,
                labels: &cluster.labels,
                admin: Admin {
                    kubeconfig: Some(cluster.kubeconfig.as_str()).filter(|path| Some(*path) != default),
                    context: Some(cluster.context.as_str()).filter(|context| *context != cluster.name),
                },
            })
            .collect(),
        grants: [Grant { profile: "viewer", selector: "" }],
        outputs: [Output { path: "out/{cluster}/{profile}.kubeconfig" }],
    };
    let text = toml::to_string(&file).expect("text and lists of text are TOML");
    format!("{HEAD}{text}")
}

/// Returns the cluster name that a context's name suggests; characters that a file's name cannot have become `-`.
pub(crate) fn cluster_name_of(context: &str) -> String {
    let replaced: String =
        context.trim().chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '-' } else { c }).collect();
    let mut name = replaced.trim_start_matches(['.', '-']).replace("..", ".-");
    while syntax::cluster_name(&name).is_err() && !name.is_empty() {
        // It is too long, or ends with blanks.
        name.pop();
        name.truncate(name.trim_end().len());
    }
    if name.is_empty() { "cluster".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::SourceFile;
    use crate::resolution::{Setting, resolve};

    fn cluster(name: &str, context: &str, kubeconfig: &str) -> StarterCluster {
        StarterCluster {
            name: name.into(),
            context: context.into(),
            kubeconfig: kubeconfig.into(),
            labels: [("env".to_owned(), "prod".to_owned())].into(),
        }
    }

    #[test]
    fn what_is_written_is_valid_and_means_the_contexts() {
        let clusters = [
            cluster("eu", "eu", "/k/config"),
            cluster("us", "arn:aws:eks:us\"\\/us", "/k/config"),
            cluster("lab", "lab", "/k/lab.yaml"),
        ];
        let text = starter("acme", &clusters);
        let resolution = resolve(SourceFile::new("/inv/clusters.toml", text.as_str()), vec![], Setting::default());
        assert!(resolution.problems.is_empty(), "{text}\n{:?}", resolution.problems);
        let inventory = resolution.inventory.unwrap();
        assert_eq!(inventory.grants.len(), 3);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_context_suggests_a_name() {
        for (context, name) in [
            ("prod-eu", "prod-eu"),
            ("default/api-example-com:6443/admin", "default-api-example-com:6443-admin"),
            ("-x", "x"),
            ("a..b", "a.-b"),
            ("", "cluster"),
            ("a\n", "a"),
        ] {
            assert_eq!(cluster_name_of(context), name, "{context:?}");
            assert_eq!(syntax::cluster_name(name), Ok(()), "{name}");
        }
        assert_eq!(cluster_name_of(&"ä".repeat(300)).len(), 252);
    }
}
