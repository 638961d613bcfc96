//! Turns the fields of a cluster and a user entry into something to connect with, or refuses them.
//!
//! The rules are those of client-go (`tools/clientcmd/{client_config,validation}.go`). Where kubectl
//! would go on without a credential, or send one in the clear, this refuses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::error::Problem;
use super::exec::Plugin;
use super::file::{ClusterFields, UserFields, decode, read_part, read_secret_part};
use crate::cluster::transport::{ClientCertificate, Impersonation, Login, Target, check_login};
use crate::inventory::InlineAdmin;
use crate::inventory::syntax::{BRACKETS, lacks_brackets};

/// A credential, or the plugin that provides one.
pub(super) enum Usable {
    Login(Login),
    Plugin(Plugin, Option<Impersonation>),
}

/// Returns what a cluster entry connects to; paths are relative to `directory`.
pub(super) fn target(cluster: &ClusterFields, directory: &Path, allow_insecure: bool) -> Result<Target, Problem> {
    let server = cluster.server.clone().ok_or("`server` is missing")?;
    check_server(&server)?;
    let insecure = cluster.insecure_skip_tls_verify == Some(true);
    check_insecure(insecure, allow_insecure)?;
    let authority = match (&cluster.certificate_authority, &cluster.certificate_authority_data) {
        (Some(_), Some(_)) => {
            return Err("`certificate-authority` and `certificate-authority-data` are both set".into());
        }
        (Some(file), None) => Some(read_part(&directory.join(file), "certificate-authority")?.into()),
        (None, Some(data)) => Some(data.bytes("certificate-authority-data")?),
        (None, None) => None,
    };
    if insecure && authority.is_some() {
        return Err("`insecure-skip-tls-verify` and a CA are both set".into());
    }
    let (server_name, proxy_url) = (cluster.tls_server_name.clone(), cluster.proxy_url.clone());
    Ok(Target { server, authority, server_name, proxy_url, insecure })
}

/// Returns what the inventory's own `server` connects to.
pub(super) fn inline_target(admin: &InlineAdmin, allow_insecure: bool) -> Result<Target, Problem> {
    check_insecure(admin.insecure_skip_tls_verify, allow_insecure)?;
    let authority = admin.certificate_authority.as_deref();
    Ok(Target {
        server: admin.server.clone(),
        authority: authority.map(|path| read_part(path, "certificate-authority")).transpose()?.map(Arc::from),
        server_name: admin.tls_server_name.clone(),
        proxy_url: admin.proxy_url.clone(),
        insecure: admin.insecure_skip_tls_verify,
    })
}

/// Returns the credential that the inventory names.
pub(super) fn inline_login(admin: &InlineAdmin) -> Result<Login, Problem> {
    let mut login = Login::default();
    if let Some(path) = &admin.token_file {
        login.bearer = Some(token_from(&read_part(path, "token-file")?, "token-file")?);
    }
    if let (Some(certificate), Some(key)) = (&admin.client_certificate, &admin.client_key) {
        let key = key_text(read_part(key, "client-key")?)?;
        login.certificate = Some((read_part(certificate, "client-certificate")?.into(), key));
    }
    check_login(&login)?;
    Ok(login)
}

fn check_insecure(insecure: bool, allowed: bool) -> Result<(), Problem> {
    if insecure && !allowed {
        return Err(Problem::new("`insecure-skip-tls-verify` is set: the server's certificate must be checked")
            .hint("name the CA with `certificate-authority`, or set `allow-insecure = true` on that cluster"));
    }
    Ok(())
}

pub(super) fn check_server(server: &str) -> Result<(), Problem> {
    if lacks_brackets(server) {
        return Err(format!("`server` is not a URL: {BRACKETS}").into());
    }
    let url: http::Uri = server.parse().map_err(|_| "`server` is not a URL")?;
    if !url.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        return Err("`server` is not https: credentials are never sent in the clear".into());
    }
    let authority = url.authority().ok_or("`server` has no host")?;
    if authority.as_str().contains('@') || url.query().is_some() || server.contains('#') {
        return Err("`server` has a user, a query or a fragment".into());
    }
    Ok(())
}

/// Returns how a user entry authenticates; paths are relative to `directory`.
pub(super) fn login(user: &UserFields, directory: &Path, cluster: &ClusterFields) -> Result<Usable, Problem> {
    if user.auth_provider.is_some() {
        return Err(Problem::new("`auth-provider` is not supported; client-go dropped it too")
            .hint("use the provider's exec plugin, such as `gke-gcloud-auth-plugin` or `kubelogin`"));
    }
    let impersonation = impersonation(user)?;
    let login = Login {
        bearer: bearer(user, directory)?,
        basic: basic(user),
        certificate: certificate(user, directory)?,
        impersonation: impersonation.clone(),
    };
    if login.bearer.is_some() && (user.username.is_some() || user.password.is_some()) {
        return Err("both a token and `username` with `password` are set".into());
    }
    // A static credential takes precedence over a plugin, also in client-go.
    if login.bearer.is_some() || login.basic.is_some() || login.certificate.is_some() {
        check_login(&login)?;
        return Ok(Usable::Login(login));
    }
    match &user.exec {
        Some(exec) => Ok(Usable::Plugin(Plugin::new(exec, directory, cluster)?, impersonation)),
        // Without a credential, kubectl would be anonymous, or ask for one.
        None => Err("its user has no credential".into()),
    }
}

/// The token file takes precedence over an inline token, unless it is missing or empty.
fn bearer(user: &UserFields, directory: &Path) -> Result<Option<SecretString>, Problem> {
    let Some(file) = &user.token_file else { return Ok(user.token.clone()) };
    let read = read_secret_part(&directory.join(file), "tokenFile").map_err(Problem::from);
    match read.and_then(|bytes| token_from(&bytes, "tokenFile")) {
        Ok(token) => Ok(Some(token)),
        Err(_) if user.token.is_some() => Ok(user.token.clone()),
        Err(problem) => Err(problem),
    }
}

fn token_from(bytes: &[u8], field: &str) -> Result<SecretString, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("`{field}` is not text"))?.trim();
    if text.is_empty() {
        return Err(format!("`{field}` is empty").into());
    }
    Ok(SecretString::from(text))
}

fn basic(user: &UserFields) -> Option<(String, SecretString)> {
    // As in client-go, a password without a user name is ignored.
    let username = user.username.clone()?;
    Some((username, user.password.clone().unwrap_or_default()))
}

fn certificate(user: &UserFields, directory: &Path) -> Result<Option<ClientCertificate>, Problem> {
    let chain = match (&user.client_certificate, &user.client_certificate_data) {
        (Some(_), Some(_)) => return Err("`client-certificate` and `client-certificate-data` are both set".into()),
        (Some(file), None) => Some(read_part(&directory.join(file), "client-certificate")?.into()),
        (None, Some(data)) => Some(data.bytes("client-certificate-data")?),
        (None, None) => None,
    };
    let key = match (&user.client_key, &user.client_key_data) {
        (Some(_), Some(_)) => return Err("`client-key` and `client-key-data` are both set".into()),
        (Some(file), None) => Some(key_text(read_secret_part(&directory.join(file), "client-key")?)?),
        (None, Some(data)) => Some(key_text(decode(data.expose_secret()).ok_or("`client-key-data` is not base64")?)?),
        (None, None) => None,
    };
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some((chain, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("there is a client certificate and no client key".into()),
        // client-go ignores a key without a certificate.
        (None, Some(_)) => Ok(None),
    }
}

fn key_text(pem: Vec<u8>) -> Result<SecretString, Problem> {
    // The original error would hold the bytes of the key.
    String::from_utf8(pem).map(SecretString::from).map_err(|_| "the client key is not PEM".into())
}

fn impersonation(user: &UserFields) -> Result<Option<Impersonation>, Problem> {
    let groups = user.impersonate_groups.clone().unwrap_or_default();
    let extra: Vec<_> = user.impersonate_extra.clone().unwrap_or_default().into_iter().collect();
    let uid = user.impersonate_uid.clone();
    match &user.impersonate {
        Some(user) => Ok(Some(Impersonation { user: user.clone(), uid, groups, extra })),
        None if uid.is_some() => Err("`as-uid` is set without `as`".into()),
        None if !groups.is_empty() => Err("`as-groups` is set without `as`".into()),
        None if !extra.is_empty() => Err("`as-user-extra` is set without `as`".into()),
        None => Ok(None),
    }
}

/// The credential and the endpoint that every pod has (client-go `rest.InClusterConfig`).
pub(super) fn in_cluster(service: Option<&(String, String)>, directory: &Path) -> Result<(Target, Login), Problem> {
    let (host, port) = service.ok_or_else(|| {
        Problem::new("`in-cluster` is set, and this is no pod: `KUBERNETES_SERVICE_HOST` is not set")
            .hint("name a kubeconfig where kubemint runs outside of the cluster")
    })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let file = |name: &str| directory.join(name);
    let target = Target {
        server: format!("https://{host}:{port}"),
        authority: Some(read_part(&file("ca.crt"), "certificate-authority")?.into()),
        ..Target::default()
    };
    let token = token_from(&read_part(&file("token"), "token-file")?, "token-file")?;
    let login = Login { bearer: Some(token), ..Login::default() };
    check_login(&login)?;
    Ok((target, login))
}

/// The directory of a pod's ServiceAccount.
pub(super) fn pod_directory() -> PathBuf {
    PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount")
}
