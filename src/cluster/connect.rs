//! Makes connections: as the admin, and as a consumer with only what the consumer gets.

use secrecy::SecretString;

use super::admin::AdminEntry;
use super::api::{Api, Limits};
use super::transport::{self, Login, Network, Target};
use crate::kubeconfig::{Endpoint, without_user};
use crate::secret::SecretToken;

/// Why no client could be made; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {what}: {cause}")]
pub(crate) struct ConnectError {
    what: &'static str,
    cause: String,
}

/// Connects as the admin.
///
/// # Errors
///
/// If the client certificate, its key, the CA or the proxy cannot be used.
pub(crate) fn connect_admin(admin: &AdminEntry, network: &Network, limits: Limits) -> Result<Api, ConnectError> {
    client(&admin.target, &admin.login, network, limits, "the admin access")
}

/// Connects as a consumer would: a new connection to an endpoint, with a token and nothing else.
///
/// # Errors
///
/// If the CA or the proxy URL cannot be used.
pub(crate) fn connect_consumer(
    endpoint: &Endpoint,
    token: &SecretToken,
    network: &Network,
    limits: Limits,
) -> Result<Api, ConnectError> {
    let target = Target {
        server: endpoint.server.clone(),
        authority: endpoint.certificate_authority.clone(),
        server_name: endpoint.tls_server_name.clone(),
        proxy_url: endpoint.proxy_url.clone(),
        insecure: false,
    };
    client(&target, &token_login(token), network, limits, "the consumer endpoint")
}

/// Connects to the admin's endpoint, with a token instead of the admin's credential.
///
/// # Errors
///
/// If the CA or the proxy cannot be used.
pub(crate) fn connect_with(
    admin: &AdminEntry,
    token: &SecretToken,
    network: &Network,
    limits: Limits,
) -> Result<Api, ConnectError> {
    client(&admin.target, &token_login(token), network, limits, "the admin's endpoint")
}

fn token_login(token: &SecretToken) -> Login {
    Login { bearer: Some(SecretString::from(token.expose().to_owned())), ..Login::default() }
}

fn client(
    target: &Target,
    login: &Login,
    network: &Network,
    limits: Limits,
    what: &'static str,
) -> Result<Api, ConnectError> {
    let mut server = target.server.clone();
    if let Some(proxy) = &target.proxy_url {
        // A refused connection may be the server's or the proxy's.
        server = format!("{server} through {}", without_user(proxy));
    }
    let client = transport::client(target, login, network).map_err(|cause| ConnectError { what, cause })?;
    Ok(Api::new(client, server, limits).redacting(login.secrets()))
}
