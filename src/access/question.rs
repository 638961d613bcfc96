//! The questions that are sent to the API server with the issued credential.
//!
//! Every right of the profile's own rules is asked for. The rights of existing roles are evaluated here, and only those
//! that the bindings do not seem to grant are asked for, because `edit` alone would be 400 requests. Pure: no I/O, no
//! clock.

use std::collections::BTreeSet;

use super::policy::{Account, Policy, RoleRules, is_granted};
use crate::inventory::{Intended, IntendedSource};
use crate::rbac::{Right, Rule, Scope};

/// The question whether one right holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    /// The scope.
    pub scope: Scope,
    /// The right.
    pub right: Right,
}

/// The API server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is allowed.
    Allowed,
    /// It is not.
    Denied,
}

/// The questions about one grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    /// The questions that are asked.
    pub ask: BTreeSet<Question>,
    /// How many questions were left out.
    pub left_out: usize,
}

/// The most questions about one grant: each is a round trip, and a cluster has a minute.
const MOST: usize = 200;

impl Questions {
    /// Returns the questions about a grant; without a policy, only about the profile's own rules.
    pub(crate) fn new(account: &Account, intended: &[Intended], policy: Option<&Policy>) -> Self {
        let granted = policy.map(|policy| policy.granted(account));
        let mut wanted: Vec<Question> = vec![];
        let mut seen = BTreeSet::new();
        for Intended { scope, source } in intended {
            let rights = match source {
                IntendedSource::Profile(rules) => Right::all_of(rules.iter()),
                IntendedSource::Role(role) => {
                    let rules: &[Rule] = match policy.map(|policy| policy.role(role, scope)) {
                        Some(RoleRules::Known(rules)) => rules,
                        _ => &[],
                    };
                    let mut rights = Right::all_of(rules);
                    rights.retain(|right| {
                        let is_granted = granted.as_ref().and_then(|granted| is_granted(granted, scope, right));
                        is_granted != Some(true) && (*scope == Scope::Cluster || !right.is_url())
                    });
                    rights
                }
            };
            for right in rights {
                let question = Question { scope: scope.clone(), right };
                if seen.insert(question.clone()) {
                    wanted.push(question);
                }
            }
        }
        let left_out = wanted.len().saturating_sub(MOST);
        wanted.truncate(MOST);
        Self { ask: wanted.into_iter().collect(), left_out }
    }
}
