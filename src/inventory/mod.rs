//! The inventory: which clusters exist, which access each gets, and where the credentials go.
//!
//! `file` has the tables as typed, `model` the resolved inventory; [`crate::resolution`] leads from one to the other.
//! `problem` and `render` show all problems at once, with their locations. Pure: no I/O, no clock.

pub(crate) mod discovery;
pub(crate) mod duration;
pub(crate) mod file;
mod intended;
pub(crate) mod masking;
pub(crate) mod model;
mod period;
pub(crate) mod policy;
pub(crate) mod problem;
pub(crate) mod read;
pub(crate) mod render;
mod starter;
pub(crate) mod syntax;
pub(crate) mod target;
pub(crate) mod until;
pub(crate) mod wave;

pub use crate::delivery::{CredentialForm, FileForm, HubName, Output, OutputId};
pub use crate::names::{ClusterName, GrantKey, Holder, InventoryName, ProfileName, WaveName};
pub use crate::rbac::{Escalating, Rule};
pub use discovery::{AdminSecret, Discovery, DiscoveryHub, DiscoveryId, DiscoveryKind, DiscoveryPreset, Seen};
pub(crate) use duration::parse as parse_duration;
pub use file::schema;
pub(crate) use intended::{Intended, IntendedSource, intended, wildcards};
pub use model::{
    AdminAccess, Cluster, Consumer, Contest, Grant, Hub, InlineAdmin, Inventory, KubeconfigSource, MissingNamespace,
    NamespaceAccess, Profile, RunPolicy, TokenPolicy, VerifyVia,
};
pub use period::Period;
pub(crate) use period::Phase;
pub use policy::{Exception, Policy, PolicyRule, Waived};
pub use problem::{FileId, Location, Omitted, Position, Problem, Severity, SourceFile, Sources};
pub use render::{Color, render, summary};
pub(crate) use starter::{StarterCluster, cluster_name_of, starter};
pub(crate) use wave::{Budget, REST, Wave};
