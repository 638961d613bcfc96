//! The three entries that give a consumer access: cluster, user and context, each with our mark.
//!
//! Here a token leaves its type to be written. Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::edit::{Edit, List, Unranked, edit};
use super::endpoint::Endpoint;
use super::fields::{CLUSTER_UID, note_given};
use crate::credential::{Credential, CredentialFacts};
use crate::names::{ClusterName, EXTENSION, GrantKey, Holder, InventoryName, ProfileName, short_hash};
use crate::secret::SecretToken;

/// The version of the extension's format.
const VERSION: u64 = 1;

/// The names of the entries of one grant in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryNames {
    /// The context.
    pub context: String,
    /// The cluster entry.
    pub cluster: String,
    /// The user entry.
    pub user: String,
    /// The namespace of the context.
    pub namespace: Option<String>,
    /// How the user entry gives its credential.
    pub form: UserForm,
    /// Whether other profiles or holders use the cluster entry too, so that it belongs to none of them.
    pub shares_cluster: bool,
}

/// How a user entry gives its credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserForm {
    /// It holds the token.
    #[default]
    Token,
    /// It names a file with the token, relative to the kubeconfig's directory.
    TokenFile(String),
    /// It names a program that is asked for a token.
    Exec(Arc<ExecPlugin>),
}

/// A client-go credential plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecPlugin {
    /// The absolute path of the program.
    pub command: String,
    /// Its arguments, without those that name the API server of its tokens.
    pub args: Vec<String>,
    /// Whether it mints tokens, and so has to know for which API server.
    pub mints: bool,
}

impl ExecPlugin {
    /// Returns all arguments. They differ for another API server or CA, so that a cached token of one server is never
    /// found for another.
    fn args_for(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut args = self.args.clone();
        if self.mints {
            args.push(format!("--server={}", endpoint.server));
            let authority = endpoint.certificate_authority.as_deref().map(|pem| STANDARD.encode(pem));
            args.extend(authority.map(|authority| format!("--authority={}", short_hash(&[&authority]))));
            args.extend(endpoint.cluster_uid.as_ref().map(|uid| format!("--cluster-uid={uid}")));
        }
        args
    }
}

/// The version of the protocol that the plugin speaks; `v1` needs `interactiveMode`
/// (client-go, `tools/clientcmd/validation.go`).
pub(crate) const EXEC_API_VERSION: &str = "client.authentication.k8s.io/v1";

/// The mark of our entries, which names the grant and the holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Mark {
    /// The inventory: entries of another one are not ours.
    pub inventory: InventoryName,
    /// The holder.
    pub holder: Holder,
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile.
    pub profile: ProfileName,
}

impl Mark {
    /// Returns the mark of a grant's entries.
    pub(crate) fn of(inventory: &InventoryName, holder: &Holder, grant: &GrantKey) -> Self {
        let GrantKey { cluster, profile } = grant.clone();
        Self { inventory: inventory.clone(), holder: holder.clone(), cluster, profile }
    }
}

/// The entries of one grant in one file. They hold the token, so they cannot be formatted.
#[derive(Clone, PartialEq)]
pub(crate) struct OurEntries {
    cluster: Value,
    user: Value,
    context: Value,
}

impl fmt::Debug for OurEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OurEntries({})", self.context["name"])
    }
}

/// Returns the content of a token file.
pub(super) fn token_bytes(token: &SecretToken) -> Vec<u8> {
    token.expose().as_bytes().to_vec()
}

impl OurEntries {
    /// Renders the entries of one grant.
    ///
    /// A user entry without a token does not depend on the credential, so that a renewal does not change it. One that
    /// should hold a token gets none if there is no credential.
    pub(crate) fn render(
        names: &EntryNames,
        mark: &Mark,
        endpoint: &Endpoint,
        credential: Option<&Credential>,
    ) -> Self {
        let extension = |facts: Option<&CredentialFacts>| {
            let mut extension = json!({
                "version": VERSION,
                "inventory": mark.inventory,
                "holder": mark.holder,
                "cluster": mark.cluster,
                "profile": mark.profile,
            });
            if let Some(facts) = facts {
                let facts = serde_json::to_value(facts).expect("facts are numbers, times and text");
                let fields = facts.as_object().expect("a struct is an object").clone();
                extension.as_object_mut().expect("made above").extend(fields);
            }
            json!([{ "name": EXTENSION, "extension": extension }])
        };
        let mut cluster = serde_json::Map::new();
        if let Some(ca) = &endpoint.certificate_authority {
            cluster.insert("certificate-authority-data".to_owned(), STANDARD.encode(ca).into());
        }
        let mut cluster_extension = extension(None);
        if names.shares_cluster
            && let Some(mark) = cluster_extension[0]["extension"].as_object_mut()
        {
            mark.shift_remove("profile");
            mark.shift_remove("holder");
        }
        cluster.insert("extensions".to_owned(), cluster_extension);
        if let Some(proxy) = &endpoint.proxy_url {
            cluster.insert("proxy-url".to_owned(), proxy.as_str().into());
        }
        cluster.insert("server".to_owned(), endpoint.server.as_str().into());
        if let Some(name) = &endpoint.tls_server_name {
            cluster.insert("tls-server-name".to_owned(), name.as_str().into());
        }
        let mut context = serde_json::Map::new();
        context.insert("cluster".to_owned(), names.cluster.as_str().into());
        context.insert("extensions".to_owned(), extension(None));
        if let Some(namespace) = &names.namespace {
            context.insert("namespace".to_owned(), namespace.as_str().into());
        }
        context.insert("user".to_owned(), names.user.as_str().into());
        if let Some(uid) = &endpoint.cluster_uid {
            cluster["extensions"][0]["extension"][CLUSTER_UID] = uid.as_str().into();
        }
        note_given(List::Clusters, &mut cluster);
        note_given(List::Contexts, &mut context);
        let user = match (&names.form, credential) {
            (UserForm::Token, Some(credential)) => {
                json!({ "extensions": extension(Some(&credential.facts)), "token": credential.token.expose() })
            }
            (UserForm::Token, None) => json!({ "extensions": extension(None) }),
            (UserForm::TokenFile(path), _) => json!({ "extensions": extension(None), "tokenFile": path }),
            (UserForm::Exec(plugin), _) => json!({
                "exec": {
                    "apiVersion": EXEC_API_VERSION,
                    "args": plugin.args_for(endpoint),
                    "command": plugin.command,
                    "installHint": "kubemint issues the credentials of this kubeconfig",
                    "interactiveMode": "Never",
                    "provideClusterInfo": false,
                },
                "extensions": extension(None),
            }),
        };
        Self {
            cluster: json!({ "cluster": cluster, "name": names.cluster }),
            user: json!({ "name": names.user, "user": user }),
            context: json!({ "context": context, "name": names.context }),
        }
    }

    /// Returns a whole kubeconfig of one context, without our marks: who reads it may refuse extensions.
    pub(crate) fn plain_kubeconfig(names: &EntryNames, endpoint: &Endpoint, credential: &Credential) -> Vec<u8> {
        let nobody = Mark {
            inventory: InventoryName::new(""),
            holder: Holder::new(""),
            cluster: ClusterName::new(""),
            profile: ProfileName::new(""),
        };
        let entries = Self::render(names, &nobody, endpoint, Some(credential));
        let plain = |(list, mut entry): (List, Value)| {
            if let Some(body) = entry[list.singular()].as_object_mut() {
                body.shift_remove("extensions");
            }
            Edit::Upsert { list, entry }
        };
        let mut edits: Vec<Edit> = entries.into_lists().into_iter().map(plain).collect();
        edits.push(Edit::CurrentContext(names.context.clone()));
        edit(b"", &edits, &Unranked).expect("a new file takes every entry")
    }

    /// Returns the user entry.
    pub(super) fn user(&self) -> &Value {
        &self.user
    }

    /// Returns the entries, each with the list that it belongs to.
    pub(super) fn into_lists(self) -> [(List, Value); 3] {
        [(List::Clusters, self.cluster), (List::Users, self.user), (List::Contexts, self.context)]
    }
}
