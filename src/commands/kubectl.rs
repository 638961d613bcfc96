//! How kubectl on this machine would read the outputs: entries that another file hides, plugins that it would not run.
//!
//! These are only warnings, because the consumers may be on another machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::CommandContext;
use crate::delivery::CredentialForm;
use crate::fleet::Fleet;
use crate::kubeconfig::{Document, EntryNames, UserForm};
use crate::store;

/// The parts of kubectl's own configuration that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct KubectlEnvironment {
    /// The files of `KUBECONFIG`, if it is set.
    pub(super) list: Vec<PathBuf>,
    /// Its preferences, unless they are turned off.
    pub(super) preferences: Option<PathBuf>,
    /// The search path for programs.
    pub(super) path: Vec<PathBuf>,
}

/// Returns what kubectl here would do with the outputs of the selected grants that their writer did not mean.
pub(super) fn warnings(context: &CommandContext<'_>, fleet: &Fleet) -> Vec<String> {
    let kubectl = &context.environment.kubectl;
    let has_plugins = fleet.inventory.outputs.iter().any(|output| output.credential == CredentialForm::Exec);
    if kubectl.list.len() < 2 && !has_plugins {
        return vec![];
    }
    let files = fleet.selected_files();
    let is_output = |path: &Path| files.iter().any(|(file, _)| file.path == path || same_file(path, &file.path));
    let mut warnings: Vec<String> =
        files.iter().flat_map(|(file, names)| hidden(&kubectl.list, &file.path, names, is_output)).collect();
    let forms = files.iter().flat_map(|(_, names)| names).map(|names| &names.form);
    let plugins: BTreeSet<&str> = forms
        .filter_map(|form| match form {
            UserForm::Exec(plugin) => Some(plugin.command.as_str()),
            UserForm::Token | UserForm::TokenFile(_) => None,
        })
        .collect();
    if !plugins.is_empty()
        && let Some(path) = &kubectl.preferences
        && let Some(preferences) = Preferences::read(path)
    {
        let refused = plugins.iter().filter(|plugin| !preferences.allows(plugin, &kubectl.path));
        warnings.extend(refused.map(|plugin| preferences.refusal(plugin, path)));
    }
    warnings
}

/// Returns the entries of a file that are hidden by an earlier file in `KUBECONFIG`, because the first file that has a
/// name wins (client-go, `tools/clientcmd/loader.go`).
fn hidden(list: &[PathBuf], file: &Path, names: &[EntryNames], is_output: impl Fn(&Path) -> bool) -> Vec<String> {
    let Some(position) = list.iter().position(|path| path == file || same_file(path, file)) else { return vec![] };
    // If the other file is an output too, kubemint keeps the entries in it current.
    let hidden = list[..position].iter().filter(|earlier| !is_output(earlier)).filter_map(|earlier| {
        // kubectl itself will report a file that cannot be read.
        let document = read(earlier)?;
        let (kind, name) = names.iter().flat_map(|names| document.taken(names)).next()?;
        Some(format!(
            "kubectl takes {kind} `{name}` from `{}`, which comes before `{}` in KUBECONFIG: rename it there, or put the \
             output first",
            earlier.display(),
            file.display()
        ))
    });
    hidden.collect()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| store::identity(path).ok();
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

fn read(path: &Path) -> Option<Document> {
    let bytes = store::read(path).ok()??;
    Document::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

/// The part of kubectl's preferences about credential plugins (kubectl, `pkg/config/types.go`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preferences {
    credential_plugin_policy: Option<String>,
    credential_plugin_allowlist: Option<Vec<Allowed>>,
}

/// A plugin that may run. Its key was `name` in kubectl 1.35 and is `command` since.
#[derive(Debug, Deserialize)]
struct Allowed {
    #[serde(alias = "name", default)]
    command: String,
}

impl Preferences {
    fn read(path: &Path) -> Option<Self> {
        let bytes = store::read(path).ok()??;
        Self::parse(std::str::from_utf8(&bytes).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let options = crate::kubeconfig::yaml_options(text.len());
        let documents: Vec<Option<Self>> = serde_saphyr::from_multiple_with_options(text, options).ok()?;
        documents.into_iter().flatten().next()
    }

    /// Whether kubectl runs a plugin, given by its absolute path. An entry counts with the path that it resolves to on
    /// the search path (client-go, `plugin/pkg/client/auth/exec/exec.go`).
    fn allows(&self, plugin: &str, search: &[PathBuf]) -> bool {
        let stands_for = |entry: &Allowed| {
            let found = search.iter().map(|directory| directory.join(&entry.command)).find(|path| path.is_file());
            entry.command == plugin
                || (!entry.command.contains('/') && found.is_some_and(|path| path == Path::new(plugin)))
        };
        match self.credential_plugin_policy.as_deref() {
            None | Some("" | "AllowAll") => true,
            Some("Allowlist") => self.credential_plugin_allowlist.iter().flatten().any(stands_for),
            Some(_) => false,
        }
    }

    fn refusal(&self, plugin: &str, path: &Path) -> String {
        let policy = self.credential_plugin_policy.as_deref().unwrap_or_default();
        format!(
            "kubectl here would not run `{plugin}`: in `{}` its `credentialPluginPolicy` is `{}`; add `- command: {}` to \
             `credentialPluginAllowlist` there (`- name:` for kubectl 1.35)",
            path.display(),
            crate::failure::clean(policy),
            serde_json::Value::from(plugin)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_allowed_by_what_its_entry_stands_for() {
        let bin = tempfile::tempdir().unwrap();
        let plugin = bin.path().join("kubemint");
        std::fs::File::create(&plugin).unwrap();
        let plugin = plugin.to_str().unwrap();
        let search = [PathBuf::from("/nonexistent"), bin.path().to_owned()];
        let allows = |text: &str, search: &[PathBuf]| Preferences::parse(text).unwrap().allows(plugin, search);
        assert!(allows("kind: Preference\n", &[]));
        assert!(allows("credentialPluginPolicy: AllowAll\n", &[]));
        assert!(!allows("credentialPluginPolicy: DenyAll\n", &search));
        let list = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n";
        for (entry, on_path, off_path) in [
            ("command: kubemint".to_owned(), true, false),
            ("name: kubemint".to_owned(), true, false),
            (format!("command: {plugin}"), true, true),
            ("command: other".to_owned(), false, false),
        ] {
            let text = format!("{list}- {entry}\n");
            assert_eq!((allows(&text, &search), allows(&text, &[])), (on_path, off_path), "{entry}");
        }
    }
}
