//! The endpoint that consumers are given: the admin's, except where the inventory says otherwise.

use super::error::AdminError;
use super::file::read_part;
use crate::inventory::Cluster;
use crate::kubeconfig::Endpoint;

/// Returns the endpoint that consumers are given: the admin's, except where the inventory says otherwise.
///
/// # Errors
///
/// If the CA file cannot be read.
pub(crate) fn consumer_endpoint(cluster: &Cluster, admin: &Endpoint) -> Result<Endpoint, AdminError> {
    let consumer = &cluster.consumer;
    let mut endpoint = admin.clone();
    // A proxy URL with a password is the admin's secret.
    endpoint.proxy_url = endpoint.proxy_url.filter(|proxy| !proxy.contains('@'));
    if let Some(server) = &consumer.server {
        // The admin's proxy and server name are for the admin's address, not for this one.
        endpoint = Endpoint {
            server: server.clone(),
            certificate_authority: endpoint.certificate_authority,
            tls_server_name: None,
            proxy_url: None,
            cluster_uid: endpoint.cluster_uid,
        };
    }
    if let Some(path) = &consumer.certificate_authority {
        let pem = read_part(path, "certificate-authority").map_err(|cause| AdminError::Access(cause.into()))?;
        endpoint.certificate_authority = Some(pem.into());
    }
    if let Some(name) = &consumer.tls_server_name {
        endpoint.tls_server_name = Some(name.clone());
    }
    if let Some(proxy) = &consumer.proxy_url {
        endpoint.proxy_url = Some(proxy.clone());
    }
    Ok(endpoint)
}
