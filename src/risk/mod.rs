//! What a step does to the access of somebody: who may do more, who may do less, and which of it is dangerous.
//!
//! The plan makes a [`Risk`] for each step while it knows the old and the new rules, see `plan::risk`. Pure: no I/O, no
//! clock.

mod words;

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::ProfileName;
use crate::object::RoleRef;
use crate::rbac::{Escalating, RightGroup, Scope};

pub(crate) use words::sentence;

/// What a step does to access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RiskClass {
    /// An account that did not exist gets access.
    Creates,
    /// An account that exists may do more.
    Widens,
    /// Somebody may do less.
    Narrows,
    /// Some may do more, or other things, and some may do less.
    Replaces,
    /// What gave somebody access is deleted.
    Deletes,
}

impl RiskClass {
    /// Returns the name of the class.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creates => "creates",
            Self::Widens => "widens",
            Self::Narrows => "narrows",
            Self::Replaces => "replaces",
            Self::Deletes => "deletes",
        }
    }
}

/// Shows as `widens`.
impl fmt::Display for RiskClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a step does to the access of somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Risk {
    /// What it does.
    pub class: RiskClass,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What may be done that could not be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gains: Vec<Access>,
    /// What could be done before and may not be done any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Access>,
    /// Which gains let their holder get more than they say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub escalating: BTreeSet<Escalating>,
}

/// Some access, in one scope. Without a role and rights it is everything that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Access {
    /// The namespace; absent for the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// An existing role, everything in which is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleRef>,
    /// Whose access it is, if not that of the profile's ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<RightGroup>,
}

impl Access {
    /// Returns rights in a scope.
    pub(crate) fn rights(scope: &Scope, rights: Vec<RightGroup>) -> Self {
        Self { namespace: scope.namespace().map(str::to_owned), role: None, subject: None, rights }
    }

    /// Returns everything that an existing role allows in a scope.
    pub(crate) fn of_role(scope: &Scope, role: &RoleRef) -> Self {
        Self { role: Some(role.clone()), ..Self::rights(scope, vec![]) }
    }

    /// Returns everything that somebody has.
    pub(crate) fn all_of(subject: String) -> Self {
        Self { subject: Some(subject), ..Self::rights(&Scope::Cluster, vec![]) }
    }
}
