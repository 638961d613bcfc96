//! What a grant should allow.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;

use super::right::Scope;
use crate::inventory::{Grant, Rule};
use crate::object::{Kind, RoleRef};

/// Something that a grant should allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// Where.
    pub scope: Scope,
    /// What.
    pub source: Source,
}

/// Where the intended rules stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the profile.
    Profile(Arc<[Rule]>),
    /// In an existing role that the profile binds.
    Role(RoleRef),
}

/// Shows as ``the profile`` or ``ClusterRole `view` ``.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(_) => f.write_str("the profile"),
            Self::Role(role) => role.fmt(f),
        }
    }
}

/// Returns what a grant should allow, in the order of the profile.
pub fn intended(grant: &Grant) -> Vec<Intended> {
    let profile = &grant.profile;
    let mut intended = vec![];
    let mut add = |scope: &Scope, source| intended.push(Intended { scope: scope.clone(), source });
    let role = |kind, name: &String| Source::Role(RoleRef { kind, name: name.clone() });
    if !profile.cluster_rules.is_empty() {
        add(&Scope::Cluster, Source::Profile(Arc::clone(&profile.cluster_rules)));
    }
    for name in &profile.cluster_roles {
        add(&Scope::Cluster, role(Kind::ClusterRole, name));
    }
    for access in &profile.namespaces {
        for namespace in &access.names {
            let scope = Scope::Namespace(namespace.clone());
            if !access.rules.is_empty() {
                add(&scope, Source::Profile(Arc::clone(&access.rules)));
            }
            for name in &access.cluster_roles {
                add(&scope, role(Kind::ClusterRole, name));
            }
            for name in &access.roles {
                add(&scope, role(Kind::Role, name));
            }
        }
    }
    intended
}
