//! Where an access leads, and whether that is where somebody has seen it lead.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::Problem;
use super::file::{ClusterFields, read_part};
use super::usable::check_server;
use crate::failure::clean;
use crate::inventory::{AdminAccess, InlineAdmin, Seen};
use crate::saved::digest_of_texts;

/// Where an access leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leads {
    /// The address of the API server.
    pub(crate) server: String,
    /// The digest of that, and of how it is reached and trusted.
    pub(crate) endpoint: String,
}

impl Leads {
    /// Reads a cluster entry. In a file, its CA may be in another one, relative to `directory`.
    ///
    /// # Errors
    ///
    /// If it has no address that can be shown and written down, or its CA cannot be read.
    pub(super) fn of(cluster: &ClusterFields, directory: Option<&Path>) -> Result<Self, Problem> {
        let server = cluster.server.clone().ok_or("its cluster has no `server`")?;
        // It is shown and written down, so it must not hold a password.
        check_server(&server)?;
        Ok(Self { server, endpoint: endpoint(cluster, directory)? })
    }

    /// Returns where an access leads that says so itself.
    pub(super) fn of_inline(admin: &InlineAdmin) -> Self {
        let InlineAdmin {
            server,
            certificate_authority,
            token_file: _,
            client_certificate: _,
            client_key: _,
            tls_server_name,
            proxy_url,
            insecure_skip_tls_verify,
        } = admin;
        let authority = certificate_authority.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let insecure = if *insecure_skip_tls_verify { "insecure" } else { "" };
        let texts = [server.clone(), text(tls_server_name), authority, String::new(), text(proxy_url)];
        let endpoint = digest_of_texts(texts.iter().map(String::as_str).chain([insecure]));
        Self { server: server.clone(), endpoint }
    }

    /// Returns where the access of a pod leads.
    pub(super) fn of_pod() -> Self {
        let server = "https://kubernetes.default.svc".to_owned();
        Self { endpoint: digest_of_texts(["in-cluster"].into_iter()), server }
    }
}

/// Returns where an access was seen to lead, or says itself that it does.
pub(crate) fn seen(access: &AdminAccess) -> Seen {
    let Leads { server, endpoint } = match access {
        AdminAccess::Kubeconfig { seen, .. } => return seen.clone(),
        AdminAccess::Inline(admin) => Leads::of_inline(admin),
        AdminAccess::InCluster => Leads::of_pod(),
    };
    Seen { server: Some(server), endpoint: Some(endpoint) }
}

/// Identifies where a cluster entry leads, and who may answer there: with another CA or proxy, it is somebody else who does.
fn endpoint(cluster: &ClusterFields, directory: Option<&Path>) -> Result<String, Problem> {
    let ClusterFields {
        server,
        tls_server_name,
        insecure_skip_tls_verify,
        certificate_authority,
        certificate_authority_data,
        proxy_url,
        disable_compression: _,
        exec_configuration: _,
    } = cluster;
    // What the file with a CA says may change, and its name may not.
    let read = match (certificate_authority, directory) {
        (Some(file), Some(directory)) => {
            Some(STANDARD.encode(read_part(&directory.join(file), "certificate-authority")?))
        }
        _ => None,
    };
    let authority = if read.is_some() { &None } else { certificate_authority };
    let data = read.or_else(|| certificate_authority_data.as_ref()?.text());
    let texts = [server, tls_server_name, authority, &data, proxy_url];
    let texts = texts.map(|text| text.as_deref().unwrap_or_default());
    let insecure = if *insecure_skip_tls_verify == Some(true) { "insecure" } else { "" };
    Ok(digest_of_texts(texts.into_iter().chain([insecure])))
}

/// Refuses an access that leads elsewhere than somebody has seen.
pub(super) fn check_seen(seen: &Seen, cluster: &ClusterFields, directory: Option<&Path>) -> Result<(), Problem> {
    let server = cluster.server.as_deref().unwrap_or_default();
    let cause = match (&seen.server, &seen.endpoint) {
        (Some(seen), _) if seen != server => {
            format!("it leads to <{}> now, and led to <{seen}> when it was found", clean(server))
        }
        (_, Some(seen)) if *seen != endpoint(cluster, directory)? => {
            "its CA, `tls-server-name` or `proxy-url` is another than when it was found".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Problem::new(cause)
        .hint("see whether that is right, and let `kubemint discover --write FILE` write the file again"))
}
