//! The program and the arguments that the entries of exec plugins name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::credential::policy_fingerprint;
use crate::delivery::{CredentialForm, OutputEntry};
use crate::inventory::{GrantKey, Inventory};
use crate::kubeconfig::{EntryNames, ExecPlugin, UserForm};
use crate::names::{Holder, token_directory_name, token_file_name};

/// How the entries of exec plugins call kubemint.
#[derive(Debug, Clone)]
pub(crate) struct PluginCaller {
    /// The program that runs.
    program: PathBuf,
    /// The absolute path of the inventory.
    inventory: PathBuf,
}

impl PluginCaller {
    /// Makes the caller from the path of a program and the absolute path of an inventory.
    pub(crate) fn new(program: PathBuf, inventory: PathBuf) -> Self {
        Self { program, inventory }
    }

    /// Returns the names of the entries of a place, and how they give the credential.
    pub(crate) fn names(&self, inventory: &Inventory, holder: &Holder, path: &Path, entry: &OutputEntry) -> EntryNames {
        EntryNames {
            context: entry.context.clone(),
            cluster: entry.cluster.clone(),
            user: entry.user.clone(),
            namespace: entry.namespace.clone(),
            form: self.form(inventory, holder, path, entry),
            shares_cluster: entry.shares_cluster,
        }
    }

    /// Returns how the user entry of a place gives its credential.
    fn form(&self, inventory: &Inventory, holder: &Holder, path: &Path, entry: &OutputEntry) -> UserForm {
        let output = &entry.output;
        let GrantKey { cluster, profile } = &entry.grant;
        match output.credential {
            CredentialForm::Token => UserForm::Token,
            CredentialForm::TokenFile => {
                let kubeconfig = path.file_name().unwrap_or_default().to_string_lossy();
                let directory = token_directory_name(&kubeconfig);
                UserForm::TokenFile(format!("{directory}/{}", token_file_name(profile, cluster)))
            }
            CredentialForm::Exec => {
                let command = output.command.as_ref().unwrap_or(&self.program).display().to_string();
                let mut args: Vec<String> = vec!["credential".to_owned()];
                let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
                match &output.credential_directory {
                    Some(directory) => add("--from", directory.display().to_string()),
                    None => {
                        add("--inventory", self.inventory.display().to_string());
                        add("--inventory-name", inventory.name.to_string());
                        add("--holder", holder.to_string());
                    }
                }
                add("--cluster", cluster.to_string());
                add("--profile", profile.to_string());
                let grant = inventory.grant(&entry.grant).expect("the outputs of an inventory hold its grants");
                let policy = &grant.profile.token;
                add("--policy", policy_fingerprint(policy));
                // An audience may begin with `-`.
                args.extend(policy.audiences.iter().map(|audience| format!("--audience={audience}")));
                let mints = output.credential_directory.is_none();
                UserForm::Exec(Arc::new(ExecPlugin { command, args, mints }))
            }
        }
    }
}
