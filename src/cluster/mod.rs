//! The only code that talks to Kubernetes.
//!
//! [`AdminSources`] finds the admin credential, [`connect_admin`] connects with it, and [`Api`] sends requests with
//! deadlines and retries. On top of these there is one file for each task: [`observe`], [`probe`], [`mod@write`],
//! [`issue`], [`secret`], [`registration`], [`revoke`], [`verify`], [`rbac`], [`review`], [`doctor`],
//! [`mod@discover`]. Requests to one cluster go one after another over one connection. [`process`] runs programs.

mod admin;
mod anchor;
mod api;
mod classify;
mod connect;
mod deletion;
pub(crate) mod discover;
pub(crate) mod doctor;
pub(crate) mod index;
pub(crate) mod issue;
pub(crate) mod lease;
pub(crate) mod observe;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod rbac;
mod registration;
pub(crate) mod review;
pub(crate) mod revoke;
pub(crate) mod secret;
mod transport;
pub(crate) mod verify;
pub(crate) mod warn;
pub(crate) mod write;

/// The readers of responses, kubeconfigs and the output of plugins, for fuzzing.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub(crate) use super::admin::fuzz::{admin_kubeconfig, doctor, exec_credential};
    pub(crate) use super::api::fuzz::{api_answer, api_error};
}

pub(crate) use admin::{
    AdminEntry, AdminEnvironment, AdminError, AdminSources, ContextFound, Insecure, Leads, consumer_endpoint,
    kubeconfig_files, kubeconfigs_in, seen,
};
pub(crate) use api::{Api, Limits, Request};
pub(crate) use connect::{connect_admin, connect_consumer, connect_with};
pub(crate) use transport::{Network, ProxyEnvironment};

#[cfg(test)]
mod tests;
