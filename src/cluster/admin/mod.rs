//! Finds admin credentials: one context of one kubeconfig, read once per file and run.
//!
//! What kube would ignore or get wrong is normalised as client-go does, or refused. Errors name
//! file, context and field, never a value.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};

use crate::inventory::{AdminAccess, Cluster as InventoryCluster};
use crate::kubeconfig::Endpoint;

/// The admin kubeconfigs of a run.
#[derive(Debug, Default)]
pub struct AdminFiles {
    files: HashMap<PathBuf, Result<Arc<AdminFile>, AdminError>>,
}

/// One admin kubeconfig, indexed by names.
struct AdminFile {
    directory: PathBuf,
    clusters: HashMap<String, Cluster>,
    users: HashMap<String, AuthInfo>,
    contexts: HashMap<String, Context>,
}

impl std::fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminFile({} contexts)", self.contexts.len())
    }
}

/// The admin access of one cluster, ready to connect.
#[derive(Clone)]
pub struct AdminEntry {
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
    /// What the admin connects to.
    pub endpoint: Endpoint,
}

impl std::fmt::Debug for AdminEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminEntry").field("endpoint", &self.endpoint.server).finish_non_exhaustive()
    }
}

/// Why admin access cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: String,
    },
    /// The file is no kubeconfig.
    #[error("`{path}` is not a kubeconfig: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        cause: String,
    },
    /// The file lacks something that the context needs.
    #[error("`{path}` has no {kind} `{name}`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A field cannot be used.
    #[error("context `{context}` in `{path}`: {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The context.
        context: String,
        /// What is wrong with which field.
        problem: String,
    },
}

impl AdminError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest: Some(nearest), kind, .. } => Some(format!("did you mean {kind} `{nearest}`?")),
            _ => None,
        }
    }
}

impl AdminFiles {
    /// Reads every file that the clusters name, each once.
    pub fn load<'a>(accesses: impl IntoIterator<Item = &'a AdminAccess>) -> Self {
        let mut files = HashMap::new();
        for access in accesses {
            files.entry(access.kubeconfig.clone()).or_insert_with(|| AdminFile::read(&access.kubeconfig).map(Arc::new));
        }
        Self { files }
    }

    /// Returns the admin access of a cluster.
    ///
    /// # Errors
    ///
    /// If the file or the context cannot be used.
    pub fn resolve(&self, access: &AdminAccess) -> Result<AdminEntry, AdminError> {
        match self.files.get(&access.kubeconfig) {
            Some(Ok(file)) => file.resolve(&access.kubeconfig, &access.context),
            Some(Err(error)) => Err(error.clone()),
            None => {
                Err(AdminError::Unreadable { path: access.kubeconfig.clone(), cause: "it was not loaded".to_owned() })
            }
        }
    }
}

/// Certificates, keys and tokens have some kilobytes.
const LARGEST_PART: u64 = 1024 * 1024;
/// Kubeconfigs of 10,000 clusters have 22 MB.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

fn read_bounded(path: &Path) -> Result<String, AdminError> {
    let unreadable = |cause: String| AdminError::Unreadable { path: path.to_owned(), cause };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(describe_io(&error)))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".to_owned()));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(unreadable("it is larger than 256 MiB".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(describe_io(&error)))
}

fn describe_io(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

impl AdminFile {
    fn read(path: &Path) -> Result<Self, AdminError> {
        let text = read_bounded(path)?;
        let malformed = |cause: String| AdminError::Malformed { path: path.to_owned(), cause };
        // kubectl reads the first document only.
        let options = crate::kubeconfig::yaml_options(text.len());
        let documents: Vec<Kubeconfig> = serde_saphyr::from_multiple_with_options(&text, options)
            .map_err(|error| malformed(crate::kubeconfig::describe_yaml_error(&error)))?;
        let kubeconfig = documents.into_iter().next().unwrap_or_default();
        let duplicate = |kind: &str, name: &str| malformed(format!("{kind} `{name}` is defined twice"));
        let mut file = Self {
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            clusters: HashMap::new(),
            users: HashMap::new(),
            contexts: HashMap::new(),
        };
        for entry in kubeconfig.clusters {
            if file.clusters.insert(entry.name.clone(), entry.cluster.unwrap_or_default()).is_some() {
                return Err(duplicate("cluster", &entry.name));
            }
        }
        for entry in kubeconfig.auth_infos {
            if file.users.insert(entry.name.clone(), entry.auth_info.unwrap_or_default()).is_some() {
                return Err(duplicate("user", &entry.name));
            }
        }
        for entry in kubeconfig.contexts {
            if file.contexts.insert(entry.name.clone(), entry.context.unwrap_or_default()).is_some() {
                return Err(duplicate("context", &entry.name));
            }
        }
        Ok(file)
    }

    fn resolve(&self, path: &Path, name: &str) -> Result<AdminEntry, AdminError> {
        let context = find(&self.contexts, path, "context", name)?;
        let cluster = find(&self.clusters, path, "cluster", &context.cluster)?;
        // kube would connect anonymously.
        let user = find(&self.users, path, "user", context.user.as_deref().unwrap_or_default())?;
        let unusable =
            |problem: String| AdminError::Unusable { path: path.to_owned(), context: name.to_owned(), problem };
        let (cluster, endpoint) = self.usable_cluster(cluster.clone()).map_err(unusable)?;
        let user = self.usable_user(user.clone()).map_err(unusable)?;
        Ok(AdminEntry { cluster, user, endpoint })
    }

    fn usable_cluster(&self, mut cluster: Cluster) -> Result<(Cluster, Endpoint), String> {
        for field in [
            &mut cluster.server,
            &mut cluster.certificate_authority,
            &mut cluster.certificate_authority_data,
            &mut cluster.proxy_url,
            &mut cluster.tls_server_name,
        ] {
            absent_if_empty(field);
        }
        let server = cluster.server.clone().ok_or("`server` is missing")?;
        let url: http::Uri = server.parse().map_err(|_| "`server` is not a URL")?;
        let authority = url.authority().ok_or("`server` has no host")?;
        if url.scheme_str() != Some("https") {
            return Err("`server` is not https: credentials are never sent in the clear".to_owned());
        }
        if authority.as_str().contains('@') || url.query().is_some() {
            return Err("`server` has a user or a query".to_owned());
        }
        if cluster.insecure_skip_tls_verify == Some(true) {
            return Err("`insecure-skip-tls-verify` is set: the server's certificate must be checked".to_owned());
        }
        if let Some(proxy) = &cluster.proxy_url {
            let proxy: http::Uri = proxy.parse().map_err(|_| "`proxy-url` is not a URL")?;
            if !matches!(proxy.scheme_str(), Some("http" | "https" | "socks5")) {
                return Err("`proxy-url` is not http, https or socks5".to_owned());
            }
        }
        let authority = match (cluster.certificate_authority.take(), &cluster.certificate_authority_data) {
            (Some(_), Some(_)) => {
                return Err("`certificate-authority` and `certificate-authority-data` are both set".to_owned());
            }
            (Some(file), None) => Some(self.read_file(&file, "certificate-authority")?),
            (None, Some(data)) => {
                Some(STANDARD.decode(data.trim()).map_err(|_| "`certificate-authority-data` is not base64")?)
            }
            (None, None) => None,
        };
        cluster.certificate_authority_data = authority.as_ref().map(|pem| STANDARD.encode(pem));
        let endpoint = Endpoint {
            server,
            certificate_authority: authority,
            tls_server_name: cluster.tls_server_name.clone(),
            proxy_url: cluster.proxy_url.clone(),
        };
        Ok((cluster, endpoint))
    }

    fn usable_user(&self, mut user: AuthInfo) -> Result<AuthInfo, String> {
        for field in [
            &mut user.username,
            &mut user.token_file,
            &mut user.client_certificate,
            &mut user.client_certificate_data,
            &mut user.client_key,
            &mut user.impersonate,
            &mut user.impersonate_uid,
        ] {
            absent_if_empty(field);
        }
        for field in [&mut user.password, &mut user.token, &mut user.client_key_data] {
            if field.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
                *field = None;
            }
        }
        // In client-go the file decides, trimmed; a token with a line end would break the request.
        if let Some(file) = user.token_file.take() {
            let token = String::from_utf8(self.read_file(&file, "tokenFile")?);
            let token = token.map_err(|_| "`tokenFile` is not text")?.trim().to_owned();
            user.token = Some(SecretString::from(token));
        }
        let fits_header = |token: &str| !token.is_empty() && token.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if user.token.as_ref().is_some_and(|token| !fits_header(token.expose_secret())) {
            return Err("the token has characters that a token cannot have".to_owned());
        }
        if let Some(file) = user.client_certificate.take() {
            let pem = self.read_file(&file, "client-certificate")?;
            user.client_certificate_data = Some(STANDARD.encode(pem));
        }
        if let Some(file) = user.client_key.take() {
            let pem = self.read_file(&file, "client-key")?;
            user.client_key_data = Some(SecretString::from(STANDARD.encode(pem)));
        }
        let certificate = user.client_certificate_data.is_some();
        if certificate != user.client_key_data.is_some() {
            return Err("only one of client certificate and client key is set".to_owned());
        }
        let is_static = user.token.is_some() || user.username.is_some() || certificate;
        if user.auth_provider.is_some() {
            return Err("`auth-provider` is not supported; kubectl dropped it too".to_owned());
        }
        if user.exec.is_some() && !is_static {
            return Err("`exec` plugins are not supported yet; use a token or a client certificate".to_owned());
        }
        // Static credentials decide in client-go; kube would run the plugin.
        user.exec = None;
        if user.impersonate.is_none() && user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty()) {
            return Err("`as-groups` is set without `as`".to_owned());
        }
        // kube sends `as` and `as-groups` only: acting half as somebody else is acting as a third.
        if user.impersonate_uid.is_some() || user.impersonate_user_extra.is_some() {
            return Err("`as-uid` and `as-user-extra` are not supported".to_owned());
        }
        if !is_static {
            return Err("its user has no credential".to_owned());
        }
        Ok(user)
    }

    /// Reads a file that the kubeconfig names, relative to the kubeconfig.
    fn read_file(&self, file: &str, field: &str) -> Result<Vec<u8>, String> {
        let path = self.directory.join(file);
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file() || metadata.len() > LARGEST_PART) {
            return Err(format!("`{field}` `{}` is not a regular file of at most 1 MiB", path.display()));
        }
        std::fs::read(&path)
            .map_err(|error| format!("cannot read `{field}` `{}`: {}", path.display(), describe_io(&error)))
    }
}

fn absent_if_empty(field: &mut Option<String>) {
    if field.as_deref().is_some_and(str::is_empty) {
        *field = None;
    }
}

fn find<'a, T>(
    entries: &'a HashMap<String, T>,
    path: &Path,
    kind: &'static str,
    name: &str,
) -> Result<&'a T, AdminError> {
    entries.get(name).ok_or_else(|| AdminError::Missing {
        path: path.to_owned(),
        kind,
        name: name.to_owned(),
        nearest: nearest(name, entries.keys()).cloned(),
    })
}

/// Returns the name that is most like `name`, if one is like it at all.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    const ALIKE: f64 = 0.7;
    names
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then_with(|| right.cmp(left)))
        .map(|(_, known)| known)
}

/// Returns what consumers are told: the admin's endpoint, and what the inventory says otherwise.
///
/// # Errors
///
/// If the CA file cannot be read.
pub fn consumer_endpoint(cluster: &InventoryCluster, admin: &Endpoint) -> Result<Endpoint, AdminError> {
    let consumer = &cluster.consumer;
    let mut endpoint = admin.clone();
    // A proxy with a password is the admin's own.
    endpoint.proxy_url = endpoint.proxy_url.filter(|proxy| !proxy.contains('@'));
    if let Some(server) = &consumer.server {
        // How the admin gets to another address says nothing about this one.
        endpoint = Endpoint {
            server: server.clone(),
            certificate_authority: endpoint.certificate_authority,
            tls_server_name: None,
            proxy_url: None,
        };
    }
    if let Some(path) = &consumer.certificate_authority {
        endpoint.certificate_authority = Some(read_bounded(path)?.into_bytes());
    }
    if let Some(name) = &consumer.tls_server_name {
        endpoint.tls_server_name = Some(name.clone());
    }
    if let Some(proxy) = &consumer.proxy_url {
        endpoint.proxy_url = Some(proxy.clone());
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests;
