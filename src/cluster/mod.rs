//! The only code that talks to Kubernetes.
//!
//! [`AdminSources`] finds the admin credential, [`connect_admin`] makes a connection of it, [`Api`]
//! sends requests with deadlines and retries. On top of that, one file per thing that is done:
//! [`observe`], [`probe`], [`mod@write`], [`issue`], [`revoke`], [`verify`], [`rbac`], [`review`], [`doctor`].
//! Requests to one cluster go one after another over one connection.

mod admin;
mod anchor;
mod api;
mod classify;
mod connect;
mod deletion;
pub mod doctor;
pub mod index;
pub mod issue;
pub mod observe;
pub mod probe;
pub mod rbac;
pub mod review;
pub mod revoke;
mod transport;
pub mod verify;
pub mod write;

/// What reads answers, kubeconfigs and the output of plugins, to be fed with anything.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub(crate) use super::admin::fuzz::{admin_kubeconfig, doctor, exec_credential};
    pub(crate) use super::api::fuzz::{api_answer, api_error};
}

pub use admin::{
    AdminEntry, AdminEnvironment, AdminError, AdminSources, ContextFound, Insecure, Problem as AdminProblem,
    consumer_endpoint, kubeconfig_files, kubeconfigs_in,
};
pub use api::{Answer, Api, Limits, Request};
pub use connect::{ConnectError, connect_admin, connect_consumer, connect_with};
pub use transport::{Network, ProxyEnvironment};

#[cfg(test)]
mod tests;
