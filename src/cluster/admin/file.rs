//! Reads one kubeconfig as client-go does: only the fields that client-go knows, found by name.
//!
//! The types are those of client-go's `tools/clientcmd/api/v1`; kube's would run exec plugins, lose
//! half of an impersonation and accept names that are defined twice.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::AdminError;
use crate::kubeconfig::{NOT_A_BOOLEAN, Refusal, refusal};
use crate::store::{Lock, read_regular};

/// Certificates, keys and tokens have some kilobytes.
const LARGEST_PART: u64 = 1024 * 1024;
/// Kubeconfigs of 10,000 clusters have 22 MB.
pub(super) const LARGEST_FILE: u64 = 256 * 1024 * 1024;
/// The extension of a cluster entry that is handed to exec plugins
/// (client-go `pkg/apis/clientauthentication`).
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// One kubeconfig, indexed by names. It stays in memory for a whole run and may have ten thousand contexts.
pub(super) struct AdminFile {
    pub(super) path: PathBuf,
    pub(super) clusters: ByName<ClusterFields>,
    pub(super) users: ByName<UserFields>,
    pub(super) contexts: ByName<ContextFields>,
    pub(super) current_context: Option<String>,
    /// Whether its group or others can read it.
    pub(super) is_exposed: bool,
}

impl std::fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminFile({}, {} contexts)", self.path.display(), self.contexts.len())
    }
}

/// Entries by their names. They are sorted and nothing else: a map needs room for twelve entries in each of ten thousand files
/// that have one.
pub(super) struct ByName<T>(Box<[(String, T)]>);

impl<T> ByName<T> {
    /// Makes it of one entry.
    pub(super) fn one(name: &str, entry: T) -> Self {
        Self(Box::new([(name.to_owned(), entry)]))
    }

    /// Returns the entry with a name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let found = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.0[found].1)
    }

    /// Returns the names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Returns the entries in the order of their names.
    pub(super) fn entries(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, entry)| entry)
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Default> ByName<T> {
    /// Collects entries; kubectl refuses names that are defined twice.
    fn of(kind: &str, entries: impl Iterator<Item = (String, Option<T>)>) -> Result<Self, String> {
        let mut named: Vec<(String, T)> = entries.map(|(name, entry)| (name, entry.unwrap_or_default())).collect();
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        match named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("{kind} `{}` is defined twice", pair[0].0)),
            None => Ok(Self(named.into())),
        }
    }
}

/// What a field says in base64: decoded when it is read, and shared by all that use it.
#[derive(Clone)]
pub(super) struct Data(Option<Arc<[u8]>>);

impl Data {
    /// Decodes the text of a field. That it is not base64 is said where the field is used, because a file may have entries that
    /// nobody uses.
    pub(super) fn of(text: &str) -> Self {
        Self(decode(text).map(Arc::from))
    }

    /// Returns the bytes.
    pub(super) fn bytes(&self, field: &str) -> Result<Arc<[u8]>, String> {
        self.0.clone().ok_or_else(|| format!("`{field}` is not base64"))
    }

    /// Returns the bytes in base64; nothing if they were not.
    pub(super) fn text(&self) -> Option<String> {
        self.0.as_ref().map(|bytes| STANDARD.encode(bytes))
    }
}

/// Decodes base64 as Go does, which ignores line ends within it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.contains(['\r', '\n']) {
        return STANDARD.decode(text).ok();
    }
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(text).ok()
}

/// A cluster entry. Empty strings are absent, as in Go.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct ClusterFields {
    #[serde(deserialize_with = "text")]
    pub(super) server: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) tls_server_name: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub(super) insecure_skip_tls_verify: Option<bool>,
    #[serde(deserialize_with = "text")]
    pub(super) certificate_authority: Option<String>,
    #[serde(deserialize_with = "data")]
    pub(super) certificate_authority_data: Option<Data>,
    #[serde(deserialize_with = "text")]
    pub(super) proxy_url: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub(super) disable_compression: Option<bool>,
    /// What the entry says to exec plugins. The other extensions are nobody's here.
    #[serde(rename = "extensions", deserialize_with = "exec_extension")]
    pub(super) exec_configuration: Option<Box<Value>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct NamedExtension {
    #[serde(deserialize_with = "text")]
    name: Option<String>,
    extension: Value,
}

impl ClusterFields {
    /// Returns the entry with the path of its CA made absolute.
    pub(super) fn with_absolute_authority(&self, directory: &Path) -> Self {
        let path = self.certificate_authority.as_ref().map(|path| directory.join(path).to_string_lossy().into_owned());
        Self { certificate_authority: path, ..self.clone() }
    }
}

/// A user entry. Empty strings are absent, as in Go.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct UserFields {
    #[serde(deserialize_with = "text")]
    pub(super) client_certificate: Option<String>,
    #[serde(deserialize_with = "data")]
    pub(super) client_certificate_data: Option<Data>,
    #[serde(deserialize_with = "text")]
    pub(super) client_key: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) client_key_data: Option<SecretString>,
    #[serde(deserialize_with = "secret")]
    pub(super) token: Option<SecretString>,
    #[serde(rename = "tokenFile", deserialize_with = "text")]
    pub(super) token_file: Option<String>,
    #[serde(rename = "as", deserialize_with = "text")]
    pub(super) impersonate: Option<String>,
    #[serde(rename = "as-uid", deserialize_with = "text")]
    pub(super) impersonate_uid: Option<String>,
    #[serde(rename = "as-groups")]
    pub(super) impersonate_groups: Option<Vec<String>>,
    #[serde(rename = "as-user-extra")]
    pub(super) impersonate_extra: Option<BTreeMap<String, Vec<String>>>,
    #[serde(deserialize_with = "text")]
    pub(super) username: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) password: Option<SecretString>,
    /// Only its presence matters: client-go removed auth providers.
    pub(super) auth_provider: Option<Box<Value>>,
    pub(super) exec: Option<Box<ExecFields>>,
}

/// An exec plugin. Its arguments and environment may hold secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ExecFields {
    #[serde(deserialize_with = "text")]
    pub(super) command: Option<String>,
    pub(super) args: Option<Vec<String>>,
    pub(super) env: Option<Vec<ExecVariable>>,
    #[serde(deserialize_with = "text")]
    pub(super) api_version: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(super) install_hint: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub(super) provide_cluster_info: Option<bool>,
    #[serde(deserialize_with = "text")]
    pub(super) interactive_mode: Option<String>,
}

#[derive(Clone, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(default)]
pub(super) struct ExecVariable {
    #[serde(deserialize_with = "plain")]
    pub(super) name: String,
    #[serde(deserialize_with = "plain")]
    pub(super) value: String,
}

/// A context entry.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContextFields {
    #[serde(deserialize_with = "plain")]
    pub(super) cluster: String,
    #[serde(deserialize_with = "plain")]
    pub(super) user: String,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    Ok(text(deserializer)?.map(|text| Data::of(&text)))
}

fn exec_extension<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Value>>, D::Error> {
    let extensions = Option::<Vec<NamedExtension>>::deserialize(deserializer)?;
    let mut extensions = extensions.into_iter().flatten();
    let found = extensions.find(|extension| extension.name.as_deref() == Some(EXEC_EXTENSION));
    Ok(found.map(|found| Box::new(found.extension)))
}

fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// A boolean. As in Go, a string that looks like one is refused.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        _ => Err(serde::de::Error::custom(NOT_A_BOOLEAN)),
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(text(deserializer)?.map(SecretString::from))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Root {
    #[serde(rename = "apiVersion", deserialize_with = "text")]
    api_version: Option<String>,
    #[serde(deserialize_with = "text")]
    kind: Option<String>,
    clusters: Option<Vec<Option<NamedCluster>>>,
    users: Option<Vec<Option<NamedUser>>>,
    contexts: Option<Vec<Option<NamedContext>>>,
    #[serde(rename = "current-context", deserialize_with = "text")]
    current_context: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    #[serde(deserialize_with = "plain")]
    name: String,
    cluster: Option<ClusterFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    #[serde(deserialize_with = "plain")]
    name: String,
    user: Option<UserFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    #[serde(deserialize_with = "plain")]
    name: String,
    context: Option<ContextFields>,
}

impl AdminFile {
    /// Reads a kubeconfig.
    ///
    /// kubectl truncates a file before it writes it. So a file that is empty or broken while its lock is held is being
    /// written, and is read again when the lock is free.
    pub(super) fn read(path: &Path) -> Result<Self, AdminError> {
        let read = Self::read_once(path);
        let is_whole = read.as_ref().is_ok_and(|file| file.contexts.len() > 0);
        let lock = PathBuf::from(format!("{}.lock", path.display()));
        if is_whole || std::fs::symlink_metadata(lock).is_err() {
            return read;
        }
        // If the lock was only left behind, the file is read as it is.
        drop(Lock::wait_until_free(path));
        Self::read_once(path)
    }

    fn read_once(path: &Path) -> Result<Self, AdminError> {
        let bytes = read_bounded(path, LARGEST_FILE)?;
        let text =
            String::from_utf8(bytes).map_err(|_| AdminError::malformed(path, "it is not UTF-8 text".to_owned()))?;
        let mut file = Self::parse(path, &text)?;
        file.is_exposed = is_exposed(path);
        Ok(file)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, AdminError> {
        let malformed = |cause: String| AdminError::malformed(path, cause);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // kubectl refuses names that YAML takes for numbers or booleans.
        let mut options = crate::kubeconfig::yaml_options(text.len());
        options.no_schema = true;
        // kubectl reads the first document only.
        let documents: Vec<Option<Root>> =
            serde_saphyr::from_multiple_with_options(text, options.clone()).map_err(|error| {
                let Refusal { text: cause, line } = refusal::<Option<Root>>(text, options, &error);
                AdminError::Malformed { path: path.to_owned(), cause, line }
            })?;
        let root = documents.into_iter().next().flatten().unwrap_or_default();
        if root.kind.is_some_and(|kind| kind != "Config") {
            return Err(malformed("its `kind` is not `Config`".to_owned()));
        }
        if root.api_version.is_some_and(|version| version != "v1") {
            return Err(malformed("its `apiVersion` is not `v1`".to_owned()));
        }
        let clusters =
            root.clusters.into_iter().flatten().map(Option::unwrap_or_default).map(|entry| (entry.name, entry.cluster));
        let users =
            root.users.into_iter().flatten().map(Option::unwrap_or_default).map(|entry| (entry.name, entry.user));
        let contexts =
            root.contexts.into_iter().flatten().map(Option::unwrap_or_default).map(|entry| (entry.name, entry.context));
        Ok(Self {
            path: path.to_owned(),
            clusters: ByName::of("cluster", clusters).map_err(malformed)?,
            users: ByName::of("user", users).map_err(malformed)?,
            contexts: ByName::of("context", contexts).map_err(malformed)?,
            current_context: root.current_context,
            is_exposed: false,
        })
    }

    /// Returns the directory that relative paths start at.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Whether a file's group or others can read it.
pub(super) fn is_exposed(path: &Path) -> bool {
    let user = rustix::process::geteuid();
    std::fs::metadata(path)
        .is_ok_and(|metadata| exposes(metadata.mode(), user.is_root() || metadata.uid() == user.as_raw()))
}

/// Whether others than its owner can read a file of this mode.
///
/// A file of somebody else that its group may only read is not meant: the group is how this process reads it. The
/// kubelet makes the files of a Secret so, with a pod's `fsGroup`.
fn exposes(mode: u32, can_change_mode: bool) -> bool {
    mode & 0o077 != 0 && (can_change_mode || mode & 0o077 != 0o040)
}

/// Reads a file that a kubeconfig or the inventory names for a field.
pub(super) fn read_part(path: &Path, field: &str) -> Result<Vec<u8>, String> {
    read_bounded(path, LARGEST_PART).map_err(|error| match error {
        AdminError::Unreadable { path, cause } => format!("cannot read `{field}` `{}`: {cause}", path.display()),
        error => error.to_string(),
    })
}

/// Reads a file with a secret that a kubeconfig names. Where no such file exists, its name is not quoted: people write
/// the secret itself there, such as a key after `client-key` that belongs after `client-key-data`.
pub(super) fn read_secret_part(path: &Path, field: &str) -> Result<Vec<u8>, String> {
    read_bounded(path, LARGEST_PART).map_err(|error| match error {
        AdminError::Unreadable { cause, .. } if path.symlink_metadata().is_err() => {
            format!("cannot read the file that `{field}` names, which is not shown in case it is the secret: {cause}")
        }
        AdminError::Unreadable { path, cause } => format!("cannot read `{field}` `{}`: {cause}", path.display()),
        error => error.to_string(),
    })
}

/// Reads a regular file: a pipe would never end.
pub(super) fn read_bounded(path: &Path, largest: u64) -> Result<Vec<u8>, AdminError> {
    let unreadable = |cause: String| AdminError::Unreadable { path: path.to_owned(), cause };
    read_regular(path, largest).map_err(|error| unreadable(describe_io(&error)))
}

pub(super) fn describe_io(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_reads_on_purpose_exposes_nothing() {
        for (mode, can_change_mode, expected) in [
            (0o600, true, false),
            (0o640, true, true),
            (0o604, true, true),
            (0o440, false, false),
            (0o460, false, true),
            (0o444, false, true),
        ] {
            assert_eq!(exposes(0o100_000 | mode, can_change_mode), expected, "{mode:o} {can_change_mode}");
        }
    }
}
