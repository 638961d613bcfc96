//! Which credential a client wants, and where it is about to send it.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::cli::CredentialArgs;
use crate::error::Error;
use crate::failure::StepFailure;
use crate::foreign::shown;
use crate::kubeconfig::exec::ToldCluster;
use crate::kubeconfig::{Endpoint, without_user};
use crate::names::ClusterName;
use crate::wording::command;

/// A token for a plugin lives for at most this long, in seconds, unless a longer life is asked for.
const LONGEST_LIFE: u64 = 3600;

/// Which credential is wanted.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) args: &'a CredentialArgs,
    /// The name of the cluster.
    pub(super) cluster: String,
    /// The cluster as the client tells it.
    told: Option<ToldCluster>,
}

impl<'a> Wanted<'a> {
    /// Finds out which credential is wanted. The client names the cluster if the arguments do not: so one command serves a
    /// fleet, as the access provider of ClusterProfiles, or as `execProviderConfig` of Argo CD.
    ///
    /// # Errors
    ///
    /// If nobody names the cluster, or the client talks to another API server than the arguments say.
    pub(super) fn new(args: &'a CredentialArgs, told: Option<ToldCluster>) -> Result<Self, Error> {
        if args.from.is_some() && told.is_some() {
            return Err(Error::usage("`--from` cannot see where the client sends the token")
                .hint("take `provideClusterInfo` away, or let the plugin read the inventory instead of token files"));
        }
        let named = told.as_ref().and_then(|told| told.name.as_ref()).filter(|_| args.cluster.is_none());
        let named = named.map(|name| ClusterName::deserialize(StrDeserializer::<ValueError>::new(name)));
        let named =
            named.transpose().map_err(|_| Error::usage("what the client tells as `clusterName` names no cluster"))?;
        let named = named.map(|name| name.as_str().to_owned());
        let cluster = args.cluster.clone().or(named).ok_or_else(|| {
            Error::usage("neither `--cluster` nor the client names the cluster").hint(
                "pass `--cluster`, or let the client tell it: `provideClusterInfo: true`, and `clusterName` in the \
                 cluster's extension `client.authentication.k8s.io/exec`",
            )
        })?;
        let wanted = Self { args, cluster, told };
        match (&wanted.told, &args.server) {
            (Some(told), Some(server)) if !told.is_at(server) => {
                let cause = format!("the client talks to `{}`, and `--server` is `{server}`", shown_server(told));
                Err(super::failed(&wanted).because(cause).hint("a token is given for its own API server only"))
            }
            _ => Ok(wanted),
        }
    }

    /// Returns everything that distinguishes tokens, and where the client sends them.
    pub(super) fn distinctions(&self) -> Vec<String> {
        let args = self.args;
        let sent = self.told.as_ref().map(|told| {
            let ToldCluster { server, insecure_skip_tls_verify, tls_server_name, certificate_authority_data, name: _ } =
                told;
            let how = format!("{insecure_skip_tls_verify}, {tls_server_name:?}, {certificate_authority_data:?}");
            format!("sent to {server:?}, {how}")
        });
        let mut all = vec![self.cluster.clone(), args.profile.clone(), sent.unwrap_or_default()];
        let options =
            [&args.inventory_name, &args.holder, &args.policy, &args.server, &args.authority, &args.cluster_uid];
        all.extend(options.map(|option| option.clone().unwrap_or_default()));
        all.extend(args.audience.iter().cloned());
        all
    }

    /// Whether a token that expires at `expires` lasts as long as the arguments ask for.
    pub(super) fn lasts(&self, expires: Timestamp, now: Timestamp) -> bool {
        let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        self.args.min_left.is_none_or(|least| left >= least)
    }

    /// Returns how many seconds a new token should live.
    pub(super) fn life(&self) -> u64 {
        // A margin, so that a later call for the same lifetime can still be served from the cache.
        let margin = |least: u64| (least / 4).max(60);
        let asked = self.args.min_left.map(|least| least.as_secs());
        asked.map_or(LONGEST_LIFE, |least| LONGEST_LIFE.max(least.saturating_add(margin(least))))
    }

    /// Checks that the client sends the token to the API server that the inventory means, and to nobody in between: what
    /// it tells may come from an object that others than the admins may edit.
    ///
    /// # Errors
    ///
    /// If not, or if this cannot be told.
    pub(super) fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), StepFailure> {
        let (cluster, now) = (&self.cluster, &endpoint.server);
        match &self.args.server {
            Some(server) if server != now => {
                let cause = format!("this kubeconfig is for `{server}`, and `{cluster}` is `{now}` now");
                return Err(self.is_of_another(cause));
            }
            _ => {}
        }
        let Some(told) = &self.told else { return Ok(()) };
        let refused = |what: String| {
            StepFailure::new(format!("the client {what}")).hint(format!(
                "a token of `{cluster}` is given for its own API server only: repair the client's configuration, or \
                 `consumer` of the cluster in the inventory"
            ))
        };
        if !told.is_at(now) {
            return Err(refused(format!("talks to `{}`, and `{cluster}` is `{now}`", shown_server(told))));
        }
        if told.insecure_skip_tls_verify {
            return Err(refused(format!("does not check the certificate of `{now}`")));
        }
        // Another server may have a certificate of the same CA, such as a node, and a proxy may lead to it.
        let expected = told.tls_server_name.as_ref().filter(|name| !name.is_empty());
        if expected.is_some() && expected != endpoint.tls_server_name.as_ref() {
            return Err(refused(format!("takes the certificate of another name for that of `{now}`")));
        }
        let known = endpoint.certificate_authority.as_deref();
        let Some(authority) = &told.certificate_authority_data else {
            return match known {
                // The client would trust everybody in its own trust store.
                Some(_) => Err(refused(format!("has no CA for `{now}`, and the inventory has"))),
                None => Ok(()),
            };
        };
        let pem = STANDARD.decode(authority).unwrap_or_default();
        let trusted = all_certificates(&pem).filter(|trusted| !trusted.is_empty());
        let trusted =
            trusted.ok_or_else(|| refused(format!("has a CA for `{now}` that is not only certificates in PEM")))?;
        let known: HashSet<CertificateDer<'_>> =
            known.map(|pem| CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()).unwrap_or_default();
        if !trusted.is_subset(&known) {
            return Err(refused(format!("trusts another CA for `{now}` than the inventory does")));
        }
        Ok(())
    }

    /// Returns the failure for a cluster that is not the one that the kubeconfig was written for.
    pub(super) fn is_of_another(&self, cause: String) -> StepFailure {
        let command = command(&["kubemint", "apply", "--cluster", &self.cluster, "--profile", &self.args.profile]);
        StepFailure::new(cause).hint(format!("run `{command}` where this kubeconfig is an output"))
    }
}

/// Returns the API server that a client tells, for messages.
fn shown_server(told: &ToldCluster) -> String {
    shown(&without_user(&told.server)).into_owned()
}

/// Returns the certificates in PEM; nothing if there is anything else that some client may take for one: Go and OpenSSL read
/// blocks that others pass by.
fn all_certificates(pem: &[u8]) -> Option<HashSet<CertificateDer<'static>>> {
    const BEGIN: &[u8] = b"-----BEGIN";
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    let blocks = pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    (blocks == all.len()).then(|| all.into_iter().collect())
}
