//! Makes connections: as the admin, and as a consumer with nothing but what the consumer gets.

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Client, Config};
use secrecy::SecretString;

use super::admin::AdminEntry;
use super::api::{Api, Limits};
use crate::kubeconfig::{Endpoint, without_user};
use crate::secret::SecretToken;

/// Why no client could be made; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {what}: {cause}")]
pub struct ConnectError {
    what: &'static str,
    cause: String,
}

/// Connects as the admin.
///
/// # Errors
///
/// If the client certificate, its key or the CA cannot be used.
pub async fn connect_admin(admin: &AdminEntry, limits: Limits) -> Result<Api, ConnectError> {
    client(admin.cluster.clone(), admin.user.clone(), limits, "the admin credential").await
}

/// Connects as a consumer would: a fresh connection to an endpoint, with a token and nothing else.
///
/// # Errors
///
/// If the CA or the proxy URL cannot be used.
pub async fn connect_consumer(endpoint: &Endpoint, token: &SecretToken, limits: Limits) -> Result<Api, ConnectError> {
    use base64::Engine;
    let encode = |pem: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(pem);
    let cluster = Cluster {
        server: Some(endpoint.server.clone()),
        certificate_authority_data: endpoint.certificate_authority.as_ref().map(encode),
        tls_server_name: endpoint.tls_server_name.clone(),
        proxy_url: endpoint.proxy_url.clone(),
        ..Cluster::default()
    };
    let user = AuthInfo { token: Some(SecretString::from(token.expose().to_owned())), ..AuthInfo::default() };
    client(cluster, user, limits, "the consumer endpoint").await
}

/// Hands kube a kubeconfig of one context: it would clone a whole file for every client.
async fn client(cluster: Cluster, user: AuthInfo, limits: Limits, what: &'static str) -> Result<Api, ConnectError> {
    let mut server = cluster.server.clone().unwrap_or_default();
    if let Some(proxy) = &cluster.proxy_url {
        // Who refuses a connection may be the one or the other.
        server = format!("{server} through {}", without_user(proxy));
    }
    // kube takes a proxy from the environment for all clusters alike, so it is set here.
    let proxy = cluster.proxy_url.clone();
    let error = |cause: String| ConnectError { what, cause };
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster { name: "it".to_owned(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: "it".to_owned(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext {
            name: "it".to_owned(),
            context: Some(Context { cluster: "it".to_owned(), user: Some("it".to_owned()), ..Context::default() }),
            ..NamedContext::default()
        }],
        current_context: Some("it".to_owned()),
        ..Kubeconfig::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|cause| error(describe(&cause)))?;
    config.proxy_url = match proxy {
        // The parser's error could quote a password.
        Some(proxy) => Some(proxy.parse().map_err(|_| error("its proxy-url is malformed".to_owned()))?),
        None => None,
    };
    config.default_retry = false;
    config.connect_timeout = Some(limits.request);
    let agent = concat!("kubemint/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    let client = Client::try_from(config).map_err(|cause| error(describe_client(&cause)))?;
    Ok(Api::new(client, server, limits))
}

/// Says which part of a kubeconfig kube could not use; its own messages may quote values.
fn describe(error: &kube::config::KubeconfigError) -> String {
    use kube::config::KubeconfigError as Error;
    match error {
        Error::ParseClusterUrl(_) => "its server URL is malformed",
        Error::ParseProxyUrl(_) => "its proxy-url is malformed",
        Error::LoadCertificateAuthority(_) => "its CA cannot be read",
        Error::LoadClientCertificate(_) => "its client certificate cannot be read",
        Error::LoadClientKey(_) => "its client key cannot be read",
        Error::ParseCertificates(_) => "its CA is not PEM",
        _ => "it is not of the expected form",
    }
    .to_owned()
}

fn describe_client(error: &kube::Error) -> String {
    match error {
        kube::Error::RustlsTls(_) => "its CA, client certificate or client key cannot be used",
        kube::Error::ProxyProtocolUnsupported { .. } => "its proxy-url is not http, https or socks5",
        _ => "no client can be made of it",
    }
    .to_owned()
}
