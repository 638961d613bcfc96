//! A simulated fleet: thousands of API servers in this process.
//!
//! Each cluster has its own port, CA, tokens, objects and signing key, and answers like
//! kube-apiserver 1.37 as far as kubemint and kubectl ask: discovery, namespaces,
//! ServiceAccounts and their tokens, Secrets, the RBAC kinds and the self-reviews; with real RBAC,
//! server-side apply and signed tokens. The parity tests compare it with a real one. Start reading
//! at [`Fleet::start`]; a request's way is `listener`, `server`, then `read` or `write`.
//!
//! What differs from a real server, on purpose:
//! - a deleted Secret revokes its tokens at once, not after up to 10 s;
//! - owned objects and the content of a deleted namespace disappear at once, as if controllers
//!   were infinitely fast;
//! - there is no watch, no OpenAPI, and protobuf is read but not written; apply takes JSON (which is YAML), not YAML.

mod body;
mod discovery;
mod escalation;
mod failure;
mod faults;
mod fields;
mod fleet;
mod hostile;
mod listener;
mod managed;
mod patch;
mod present;
mod protobuf;
mod rbac;
mod read;
mod request;
mod resource;
mod reviews;
mod seed;
mod selector;
mod server;
mod store;
mod tokens;
mod traffic;
mod validate;
mod write;

#[cfg(test)]
mod tests;

pub use faults::{Fault, Webhook};
pub use fleet::{Anonymous, Fleet, FleetOptions, SimCluster};
pub use hostile::{Hostility, Witness};
pub use traffic::RecordedRequest;

/// Returns whether `segment` is the plural of a resource type.
pub(crate) fn is_resource_name(segment: &str) -> bool {
    resource::RESOURCE_TYPES.into_iter().any(|resource| resource.plural == segment)
}
