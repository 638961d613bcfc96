//! The policy: what profiles may not have, and the exceptions from it.
//!
//! What the inventory itself tells is judged when it is resolved, without a clock; whether an exception has ended, and
//! what existing roles allow, is judged when a cluster is planned. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::names::{ClusterName, ProfileName};
use crate::object::RoleRef;
use crate::rbac::Escalating;

/// What profiles may not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// The classes of rights that are refused.
    pub denied: BTreeSet<Escalating>,
    /// The longest lifetime of a token.
    pub max_ttl: Option<Duration>,
    /// Whether what holds in the whole cluster is refused.
    pub require_namespace: bool,
    /// The exceptions.
    pub exceptions: Vec<Exception>,
    /// What profiles have only as long as an exception lasts.
    pub waived: Vec<Waived>,
    /// Where the profiles name the existing roles that they bind, as `FILE:LINE:COLUMN`.
    pub(crate) bound_at: BTreeMap<(ProfileName, RoleRef), String>,
}

/// One rule of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyRule {
    /// A class of rights is refused.
    Deny(Escalating),
    /// Tokens do not live longer.
    MaxTtl,
    /// Nothing holds in the whole cluster.
    RequireNamespace,
    /// Roles that are bound exist.
    DanglingRoles,
}

impl PolicyRule {
    /// Returns the rule as exceptions name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny(Escalating::Wildcard) => "deny-wildcards",
            Self::Deny(class) => class.as_str(),
            Self::MaxTtl => "max-ttl",
            Self::RequireNamespace => "require-namespace",
            Self::DanglingRoles => "dangling-roles",
        }
    }
}

/// Shows as `secrets-read`.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens where a role that is bound does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DanglingRoles {
    /// It blocks the cluster.
    Deny,
    /// It is bound in advance.
    Allow,
}

/// An exception from the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// The profile.
    pub profile: ProfileName,
    /// The rules that do not hold for it.
    pub rules: BTreeSet<PolicyRule>,
    /// The clusters.
    pub clusters: BTreeSet<ClusterName>,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub until: Timestamp,
}

/// Something that a profile has only as long as an exception lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Waived {
    /// The rule that refuses it.
    pub rule: PolicyRule,
    /// The profile.
    pub profile: ProfileName,
    /// What is refused, in words, with its place.
    pub message: String,
}

/// What exceptions make of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lifted<'a> {
    /// The rule does not hold.
    Yes,
    /// It did not hold until this exception, the last of several, ended.
    Ended(&'a Exception),
    /// It holds.
    No,
}

impl Policy {
    /// Returns the exceptions of a profile from a rule.
    pub(crate) fn exceptions(&self, rule: PolicyRule, profile: &ProfileName) -> impl Iterator<Item = &Exception> {
        self.exceptions.iter().filter(move |it| it.profile == *profile && it.rules.contains(&rule))
    }

    /// Returns whether a rule holds for a profile on a cluster at some time.
    pub(crate) fn lifted(
        &self,
        rule: PolicyRule,
        profile: &ProfileName,
        cluster: &ClusterName,
        now: Timestamp,
    ) -> Lifted<'_> {
        let last = self
            .exceptions(rule, profile)
            .filter(|exception| exception.clusters.contains(cluster))
            .max_by_key(|exception| exception.until);
        match last {
            Some(last) if last.until > now => Lifted::Yes,
            Some(last) => Lifted::Ended(last),
            None => Lifted::No,
        }
    }
}
