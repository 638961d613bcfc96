//! Tests of the whole way from text to inventory, problems and layout.

mod admin;
mod discovery;
mod documents;
mod large;
mod meant;
mod policy;
mod rendering;
mod resolving;
mod secrets;
mod typed;

use super::{Loading, Resolution, Setting, resolve};
use crate::inventory::{Severity, SourceFile};

/// A valid inventory without warnings, which the cases change.
const BASE: &str = "version = 1
name = 'acme'
[defaults]
admin = { kubeconfig = 'admin.yaml' }
[profiles.deployer]
cluster-roles = ['edit']
[profiles.viewer]
cluster-roles = ['view']
[[clusters]]
name = 'eu'
labels = { env = 'prod' }
[[clusters]]
name = 'us'
labels = { env = 'dev' }
[[grants]]
profiles = ['deployer', 'viewer']
selector = 'env'
[[outputs]]
path = 'out/{cluster}-{profile}.yaml'
";

fn environment() -> Setting {
    Setting { home: Some("/home/jo".into()), kubeconfig: vec!["/home/jo/.kube/config".into()], holder: None }
}

fn load(text: &str) -> Resolution {
    resolve(SourceFile::new("/inv/clusters.toml", text).named("clusters.toml"), vec![], environment())
}

/// Summarises a resolution's problems: severity, marked text, message, hint.
fn summarise(resolution: &Resolution) -> Vec<String> {
    let lines = resolution.problems.iter().map(|problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let marked = &resolution.sources.file(problem.location.file()).text[problem.location.span()];
        let hint = problem.hint.as_ref().map(|hint| format!(" [{hint}]")).unwrap_or_default();
        format!("{severity} at {marked}: {}{hint}", problem.message)
    });
    lines.collect()
}

/// Checks the problems of a text; only errors make it unusable.
fn check(text: &str, expect: &[&str]) {
    let resolution = load(text);
    assert_eq!(summarise(&resolution), expect, "{text}");
    let has_errors = expect.iter().any(|line| line.starts_with("error"));
    assert_eq!(resolution.inventory.is_none(), has_errors, "{text}");
    assert_eq!(resolution.layout.is_none(), has_errors, "{text}");
}

/// Checks the problems of [`BASE`] with one text in place of another.
fn check_replaced(from: &str, to: &str, expect: &[&str]) {
    assert!(BASE.contains(from), "{from}");
    check(&BASE.replacen(from, to, 1), expect);
}

/// Checks the problems of [`BASE`] with a text at its end.
fn check_added(text: &str, expect: &[&str]) {
    check(&format!("{BASE}{text}"), expect);
}

/// Loads a root file with one included file, as the shell does.
fn load_with(root: &str, included: &str) -> Resolution {
    let root = SourceFile::new("/inv/clusters.toml", root).named("clusters.toml");
    let mut loading = Loading::start(root, environment());
    loading.include(SourceFile::new("/inv/clusters.d/a.toml", included).named("clusters.d/a.toml"));
    loading.finish()
}
