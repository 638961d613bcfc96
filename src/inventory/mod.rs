//! The inventory: which clusters exist, which access each gets, and where the credentials go.
//!
//! The shell reads the files and hands over their texts; [`Loading`] parses them, says what they
//! include, and resolves everything to an [`Inventory`] or to all its [`Problem`]s at once.
//! `file` is what was typed, `model` what was meant, `resolution` the way from one to the other.
//! Pure: no I/O, no clock. Start with [`Loading`].
//!
//! ```
//! use kubemint::inventory::{Color, Environment, SourceFile, render, resolve};
//!
//! let text = r#"
//! version = 1
//! name = "acme"
//! [profiles.auditor]
//! cluster-roles = ["view"]
//! [[clusters]]
//! name = "prod-eu"
//! admin.kubeconfig = "admin.yaml"
//! [[grants]]
//! profile = "audtor"
//! clusters = ["prod-eu"]
//! "#;
//! let root = SourceFile::new("/srv/access/clusters.toml", text).named("clusters.toml");
//! let resolution = resolve(root, vec![], Environment::default());
//! assert!(resolution.inventory.is_none());
//! let shown = render(&resolution.problems, &resolution.sources, Color::Never);
//! assert!(shown.contains("did you mean `auditor`?"));
//! ```

mod duration;
mod file;
mod intended;
mod load;
mod masking;
mod model;
pub(crate) mod paths;
mod problem;
mod read;
mod render;
mod resolution;
mod starter;
pub(crate) mod syntax;

pub use duration::parse as parse_duration;
pub use file::schema;
pub use intended::{Intended, IntendedSource, intended, wildcards};
pub use load::{Include, Loading, Resolution, parse_holder, resolve};
pub use model::{
    AdminAccess, Cluster, Consumer, CredentialForm, Grant, GrantKey, InlineAdmin, Inventory, KubeconfigSource,
    MissingNamespace, NamespaceAccess, Output, Profile, RunPolicy, TokenPolicy, VerifyVia,
};
pub use problem::{Omitted, Place, Position, Problem, Severity, SourceFile, Sources};
pub use render::{Color, render, summary};
pub use resolution::{DEFAULT_TIMEOUT, Environment, kubeconfig_source};
pub use starter::{StarterCluster, cluster_name_of, starter};

#[cfg(test)]
mod tests;
