//! What a profile allows: its rules and roles, each with the scope in which it holds.
//!
//! Only [`intended`] expands a profile. The objects to write, the access review and revocations use it. Pure: no I/O,
//! no clock.

use std::fmt;
use std::sync::Arc;

use super::model::Profile;
use crate::object::{Kind, RoleRef};
use crate::rbac::{Rule, Scope};
use crate::wording::list;

/// Something that a profile allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intended {
    /// The scope.
    pub scope: Scope,
    /// Its rules.
    pub source: IntendedSource,
}

/// Where intended rules come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IntendedSource {
    /// In the profile.
    Profile(Arc<[Rule]>),
    /// In an existing role that the profile binds.
    Role(RoleRef),
}

/// Shows as ``the profile`` or ``ClusterRole `view` ``.
impl fmt::Display for IntendedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(_) => f.write_str("the profile"),
            Self::Role(role) => role.fmt(f),
        }
    }
}

/// Returns what a profile allows, in the order of the profile.
pub(crate) fn intended(profile: &Profile) -> Vec<Intended> {
    let mut intended = vec![];
    let mut add = |scope: &Scope, source| intended.push(Intended { scope: scope.clone(), source });
    let role = |kind, name: &String| IntendedSource::Role(RoleRef { kind, name: name.clone() });
    if !profile.cluster_rules.is_empty() {
        add(&Scope::Cluster, IntendedSource::Profile(Arc::clone(&profile.cluster_rules)));
    }
    for name in &profile.cluster_roles {
        add(&Scope::Cluster, role(Kind::ClusterRole, name));
    }
    for access in &profile.namespaces {
        for namespace in &access.names {
            let scope = Scope::Namespace(namespace.clone());
            if !access.rules.is_empty() {
                add(&scope, IntendedSource::Profile(Arc::clone(&access.rules)));
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

/// Returns what a profile allows by wildcard, as texts that complete `profile … allows `.
///
/// ClusterRole `cluster-admin`, bound in the whole cluster, counts as one.
pub(crate) fn wildcards(profile: &Profile) -> Vec<String> {
    let mut found: Vec<String> = profile.cluster_rules.iter().filter_map(Rule::wildcard).collect();
    if profile.cluster_roles.iter().any(|role| role == "cluster-admin") {
        found.push("everything, through ClusterRole `cluster-admin`".to_owned());
    }
    for access in &profile.namespaces {
        let there = format!(" in {}", list(access.names.iter().map(String::as_str), 5));
        found.extend(access.rules.iter().filter_map(Rule::wildcard).map(|what| format!("{what}{there}")));
    }
    found
}
