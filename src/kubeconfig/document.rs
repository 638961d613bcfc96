//! Reading a kubeconfig that may hold entries of ours.
//!
//! Only names, marks and our own credentials are looked at; what belongs to others is never kept
//! beyond the comparison. Pure: no I/O, no clock.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::digest::Digest;
use super::entry::{EntryNames, Mark, OurEntries};
use crate::credential::{Claims, Credential, CredentialFacts, StoredCredential};
use crate::names::EXTENSION;
use crate::secret::SecretToken;

/// A kubeconfig that was read.
pub struct Document {
    clusters: HashMap<String, Entry>,
    users: HashMap<String, Entry>,
    contexts: HashMap<String, Entry>,
    current_context: Option<String>,
}

/// What is kept of an entry.
struct Entry {
    name: Option<String>,
    digest: Digest,
    /// Our extension, if it has one.
    extension: Option<Value>,
    /// The token, if the entry is a user with our extension.
    token: Option<SecretToken>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Value::deserialize(deserializer)?;
        // Which list it is in does not matter: an entry has one body beside its name.
        let body =
            ["cluster", "user", "context"].iter().find_map(|key| entry.get(*key).filter(|body| body.is_object()));
        let extension = body.and_then(our_extension).cloned();
        let token = extension.as_ref().and_then(|_| body?["token"].as_str()).map(SecretToken::new);
        let name = entry["name"].as_str().map(str::to_owned);
        Ok(Self { name, extension, token, digest: Digest::of(entry) })
    }
}

/// Why a kubeconfig cannot be read. Never quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML, or not of the form of a kubeconfig.
    #[error("it is not a kubeconfig: {0}")]
    Malformed(String),
    /// Two entries have the same name, which kubectl refuses as well.
    #[error("{list} `{name}` is defined twice")]
    Duplicate {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
    },
}

/// What a file holds under the names of one grant.
#[derive(Debug, Clone)]
pub enum EntryState {
    /// Nothing.
    Absent,
    /// Something that is not ours.
    Foreign {
        /// The list that it is in.
        list: &'static str,
        /// Its name.
        name: String,
    },
    /// Entries of our inventory.
    Ours(Box<Held>),
}

/// Entries of ours, as a file holds them.
#[derive(Clone)]
pub struct Held {
    /// The credential, if the entry belongs to the grant and holder in question and is readable.
    pub credential: Option<(StoredCredential, CredentialFacts)>,
    /// Of the cluster, user and context entry as they are.
    digests: [Option<Digest>; 3],
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("credential", &self.credential).finish_non_exhaustive()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} contexts)", self.contexts.len())
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    clusters: Option<Vec<Entry>>,
    #[serde(default)]
    users: Option<Vec<Entry>>,
    #[serde(default)]
    contexts: Option<Vec<Entry>>,
    #[serde(default, rename = "current-context")]
    current_context: Option<String>,
}

impl Document {
    /// Reads a kubeconfig; an empty one has no entries.
    ///
    /// # Errors
    ///
    /// If it is no kubeconfig or defines a name twice.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let file: Option<File> = serde_saphyr::from_str_with_options(text, super::yaml_options(text.len()))
            .map_err(|error| DocumentError::Malformed(super::describe_yaml_error(&error)))?;
        let file = file.unwrap_or(File { clusters: None, users: None, contexts: None, current_context: None });
        Ok(Self {
            clusters: by_name("cluster", file.clusters)?,
            users: by_name("user", file.users)?,
            contexts: by_name("context", file.contexts)?,
            current_context: file.current_context.filter(|name| !name.is_empty()),
        })
    }

    /// Returns the current context, if one is set.
    pub fn current_context(&self) -> Option<&str> {
        self.current_context.as_deref()
    }

    /// Returns the names of all contexts.
    pub fn context_names(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// Returns what the file holds under the names of one grant.
    pub fn state(&self, names: &EntryNames, mark: &Mark) -> EntryState {
        let cluster = self.clusters.get(&names.cluster);
        let user = self.users.get(&names.user);
        let context = self.contexts.get(&names.context);
        let entries =
            [("cluster", &names.cluster, cluster), ("user", &names.user, user), ("context", &names.context, context)];
        for (list, name, entry) in entries {
            if entry.is_some_and(|entry| !entry.is_ours(mark)) {
                return EntryState::Foreign { list, name: name.clone() };
            }
        }
        if cluster.is_none() && user.is_none() && context.is_none() {
            return EntryState::Absent;
        }
        EntryState::Ours(Box::new(Held {
            credential: user.and_then(|user| user.credential(mark)),
            digests: [cluster, user, context].map(|entry| entry.map(|entry| entry.digest)),
        }))
    }
}

impl Held {
    /// Returns whether the file holds exactly these entries.
    pub fn is_exactly(&self, entries: &OurEntries) -> bool {
        entries.digests().map(Some) == self.digests
    }

    /// Returns the credential in a form that can be published elsewhere.
    pub fn publishable(&self) -> Option<Credential> {
        let (stored, facts) = self.credential.as_ref()?;
        Some(Credential { facts: facts.clone(), token: stored.token.clone() })
    }
}

fn by_name(list: &'static str, entries: Option<Vec<Entry>>) -> Result<HashMap<String, Entry>, DocumentError> {
    let mut named = HashMap::new();
    for entry in entries.into_iter().flatten() {
        // Entries without a name are not addressable, by us or by kubectl.
        let Some(name) = entry.name.clone() else { continue };
        if named.insert(name.clone(), entry).is_some() {
            return Err(DocumentError::Duplicate { list, name });
        }
    }
    Ok(named)
}

fn our_extension(body: &Value) -> Option<&Value> {
    let extensions = body["extensions"].as_array()?;
    extensions.iter().find(|extension| extension["name"] == EXTENSION).map(|extension| &extension["extension"])
}

impl Entry {
    fn is_ours(&self, mark: &Mark) -> bool {
        self.extension.as_ref().is_some_and(|extension| extension["inventory"] == mark.inventory.as_str())
    }

    /// Reads the credential, if the entry belongs to this grant and holder.
    fn credential(&self, mark: &Mark) -> Option<(StoredCredential, CredentialFacts)> {
        let extension = self.extension.as_ref()?;
        let belongs = extension["cluster"] == mark.cluster.as_str()
            && extension["profile"] == mark.profile.as_str()
            && extension["holder"] == mark.holder.as_str();
        if !belongs {
            return None;
        }
        let facts = CredentialFacts::deserialize(extension).ok()?;
        let token = self.token.clone()?;
        let claims = Claims::of(&token).ok()?;
        Some((StoredCredential { generation: facts.generation, token, claims }, facts))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credential::tests_support::token;
    use crate::kubeconfig::Endpoint;
    use crate::kubeconfig::edit::{Unranked, edit};

    fn names() -> EntryNames {
        EntryNames { context: "c".into(), cluster: "c".into(), user: "c".into(), namespace: None }
    }

    fn mark(inventory: &str, cluster: &str) -> Mark {
        Mark {
            inventory: inventory.into(),
            holder: "default".into(),
            cluster: cluster.into(),
            profile: "deployer".into(),
        }
    }

    fn written() -> (String, OurEntries) {
        let token = token(&json!({"sub": "s", "exp": 2, "iat": 1}));
        let facts = CredentialFacts {
            kind: "token".into(),
            generation: 3,
            anchor: "a".into(),
            anchor_uid: "u".into(),
            issued: jiff::Timestamp::UNIX_EPOCH,
            requested_seconds: 3600,
            expires: jiff::Timestamp::UNIX_EPOCH,
        };
        let endpoint = Endpoint { server: "https://a:1".into(), ..Endpoint::default() };
        let entries = OurEntries::render(&names(), &mark("acme", "prod"), &endpoint, &Credential { facts, token });
        let bytes = edit(b"", &entries.clone().into_edits(), &Unranked).unwrap();
        (String::from_utf8(bytes).unwrap(), entries)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (text, entries) = written();
        let document = Document::parse(&text).unwrap();
        let EntryState::Ours(held) = document.state(&names(), &mark("acme", "prod")) else { panic!("not ours") };
        assert!(held.is_exactly(&entries));
        assert_eq!(held.credential.unwrap().1.generation, 3);
    }

    #[test]
    fn an_entry_of_another_inventory_is_foreign() {
        let document = Document::parse(&written().0).unwrap();
        let state = document.state(&names(), &mark("other", "prod"));
        assert!(matches!(state, EntryState::Foreign { list: "cluster", .. }), "{state:?}");
    }

    #[test]
    fn an_entry_of_another_cluster_of_ours_may_be_replaced_but_lends_no_credential() {
        let document = Document::parse(&written().0).unwrap();
        let EntryState::Ours(held) = document.state(&names(), &mark("acme", "other")) else { panic!("not ours") };
        assert!(held.credential.is_none());
    }

    #[test]
    fn nothing_that_is_read_can_be_formatted_with_its_token() {
        let document = Document::parse(&written().0).unwrap();
        let state = document.state(&names(), &mark("acme", "prod"));
        let shown = format!("{document:?} {state:?}");
        assert!(!shown.contains("e30."), "{shown}");
    }

    #[test]
    fn a_malformed_file_is_not_quoted() {
        let error = Document::parse("users:\n- name: a\n  user: {token: s3cret\n").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
