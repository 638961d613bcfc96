//! Compares what an account may do with what its grant intends.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::crosscheck::{RulesReview, crosscheck, listed};
use super::policy::{Account, Granted, Policy, RoleRules, Through, is_granted, is_idle};
use super::question::{Answer, Question, Questions};
use crate::inventory::{Intended, IntendedSource};
use crate::object::{ObjectRef, RoleRef};
use crate::rbac::{Right, Rule, Scope};

/// The result of comparing intended with effective access.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessReview {
    /// What the profile intends, part by part.
    pub intended: Vec<IntendedReview>,
    /// What is allowed beyond it, by binding.
    pub excess: Vec<Excess>,
    /// What every ServiceAccount may do, by binding.
    pub everyone: Vec<Everyone>,
    /// What is good to know.
    pub notes: Vec<AccessNote>,
}

/// One part of what a profile intends, and whether it is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IntendedReview {
    /// The scope.
    pub scope: Scope,
    /// The location of its rules.
    pub source: IntendedSource,
    /// The allowed rights.
    pub allowed: BTreeSet<Right>,
    /// The number of allowed rights, also after [`AccessReview::condense`].
    pub allowed_count: usize,
    /// The denied rights.
    pub denied: BTreeSet<Right>,
    /// The rights for which no answer is known.
    pub unknown: BTreeSet<Right>,
    /// Whether its role may not be read; then not even its rights are known.
    pub is_unreadable: bool,
}

/// What one binding grants beyond the profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Excess {
    /// The binding.
    pub binding: ObjectRef,
    /// The role that it grants.
    pub role: RoleRef,
    /// Whom it names.
    pub through: Through,
    /// The scope in which it holds.
    pub scope: Scope,
    /// The rights that it grants and the profile does not intend.
    pub rights: BTreeSet<Right>,
}

/// What one binding grants every ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Everyone {
    /// The binding.
    pub binding: ObjectRef,
    /// The role that it grants.
    pub role: RoleRef,
    /// The group that it names.
    pub group: String,
    /// The scope in which it holds.
    pub scope: Scope,
    /// Whether Kubernetes itself makes it. Any other was added by somebody, and counts as excess.
    pub is_default: bool,
    /// What it grants.
    pub rights: BTreeSet<Right>,
}

/// Something that is good to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AccessNote {
    /// What it is, for programs.
    pub kind: AccessNoteKind,
    /// What it is, in words.
    pub message: String,
}

impl AccessNote {
    /// Makes a note.
    pub(crate) fn new(kind: AccessNoteKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AccessNoteKind {
    /// The admin may not read roles and bindings, so what is allowed beyond the profile is unknown.
    ExcessUnknown,
    /// A role that the profile binds does not exist.
    MissingRole,
    /// A role that the profile binds may not be read.
    UnreadableRole,
    /// The API server's own list of rules is incomplete.
    Incomplete,
    /// Something is allowed that no role or binding grants.
    GrantedElsewhere,
    /// The API server and the roles and bindings disagree.
    Disagreement,
    /// Not everything was asked.
    Capped,
    /// The credential may not ask for reviews.
    NotAsked,
    /// The credential was used at the admin endpoint, not at the consumer's.
    VerifiedAtAdmin,
    /// No output holds the credential.
    NoOutput,
}

impl AccessReview {
    /// Compares; without a policy, what is allowed beyond the profile stays unknown.
    pub(crate) fn new(
        account: &Account,
        intended: &[Intended],
        policy: Option<&Policy>,
        answers: &BTreeMap<Question, Answer>,
        reviews: &BTreeMap<String, RulesReview>,
    ) -> Self {
        let granted = policy.map(|policy| policy.granted(account));
        let granted = granted.as_deref();
        let mut notes = BTreeSet::new();
        let mut disputed = BTreeSet::new();
        let parts: Vec<_> = intended
            .iter()
            .map(|part| {
                review_part(part, policy, granted, answers, &mut |dispute| {
                    disputed.insert(dispute);
                })
            })
            .collect();
        notes.extend(role_notes(intended, policy));
        notes.extend(disputes(disputed));
        let rules_meant = intended_rules(intended, policy);
        let is_meant = |scope: &Scope, right: &Right| {
            rules_meant.iter().any(|(meant, rules)| meant.reaches(scope) && rules.iter().any(|rule| rule.allows(right)))
        };
        let mut excess = vec![];
        let mut everyone = vec![];
        match granted {
            Some(granted) => {
                let found = beyond(granted, intended, &is_meant);
                notes.extend(found.notes);
                (excess, everyone) = (found.excess, found.everyone);
            }
            None => {
                let message =
                    "the admin may not read roles and bindings: what is allowed beyond the profile is unknown";
                notes.insert(AccessNote::new(AccessNoteKind::ExcessUnknown, message));
            }
        }
        // If the profile binds a role that may not be read, any right may be intended.
        let is_open = |scope: &Scope| parts.iter().any(|part| part.is_unreadable && part.scope.reaches(scope));
        let is_known = |scope: &Scope, right: &Right| is_meant(scope, right) || is_harmless(right) || is_open(scope);
        notes.extend(crosscheck(granted, &is_known, reviews));
        Self { intended: parts, excess, everyone, notes: notes.into_iter().collect() }
    }

    /// Adds a note about questions that were not asked.
    pub(crate) fn capped(&mut self, questions: &Questions) {
        if questions.left_out > 0 {
            let message = format!(
                "{} more rights of the profile were not asked one by one, but judged by roles and bindings",
                questions.left_out
            );
            self.notes.push(AccessNote::new(AccessNoteKind::Capped, message));
        }
    }

    /// Drops the lists of rights that existing roles allow, and keeps their number: `edit` has 400, and a fleet may
    /// have ten thousand clusters.
    pub(crate) fn condense(&mut self) {
        for part in self.intended.iter_mut().filter(|part| matches!(part.source, IntendedSource::Role(_))) {
            part.allowed = BTreeSet::new();
        }
    }

    /// Returns whether the API server and the bindings disagree.
    pub(crate) fn is_disputed(&self) -> bool {
        let kinds = [AccessNoteKind::Disagreement, AccessNoteKind::GrantedElsewhere];
        self.notes.iter().any(|note| kinds.contains(&note.kind))
    }

    /// Returns whether something intended is denied.
    pub(crate) fn has_denied(&self) -> bool {
        self.intended.iter().any(|part| !part.denied.is_empty())
    }

    /// Returns whether anything is allowed beyond the profile and beyond what every cluster allows.
    pub(crate) fn has_excess(&self) -> bool {
        !self.excess.is_empty() || self.everyone.iter().any(|everyone| !everyone.is_default)
    }
}

/// A right on which the API server and the bindings disagree, and the API server's answer.
type Dispute = (Scope, Right, bool);

/// Judges one part by the API server's answers; for rights that were not asked for, by the bindings.
fn review_part(
    part: &Intended,
    policy: Option<&Policy>,
    granted: Option<&[Granted<'_>]>,
    answers: &BTreeMap<Question, Answer>,
    dispute: &mut dyn FnMut(Dispute),
) -> IntendedReview {
    let scope = part.scope.clone();
    let mut review = IntendedReview {
        source: part.source.clone(),
        allowed: BTreeSet::new(),
        allowed_count: 0,
        denied: BTreeSet::new(),
        unknown: BTreeSet::new(),
        is_unreadable: false,
        scope,
    };
    let rules = match &part.source {
        IntendedSource::Profile(rules) => &**rules,
        IntendedSource::Role(role) => match policy.map(|policy| policy.role(role, &part.scope)) {
            Some(RoleRules::Known(rules)) => rules.as_slice(),
            Some(RoleRules::Absent) => &[],
            Some(RoleRules::Unreadable) | None => {
                review.is_unreadable = true;
                &[]
            }
        },
    };
    for right in Right::all_of(rules) {
        if is_idle(&part.scope, &right) {
            continue;
        }
        let local = granted.and_then(|granted| is_granted(granted, &part.scope, &right));
        let question = Question { scope: part.scope.clone(), right };
        let answer = answers.get(&question).map(|answer| *answer == Answer::Allowed);
        if let (Some(answer), Some(local)) = (answer, local)
            && answer != local
        {
            dispute((question.scope.clone(), question.right.clone(), answer));
        }
        let set = match answer.or(local) {
            Some(true) => &mut review.allowed,
            Some(false) => &mut review.denied,
            None => &mut review.unknown,
        };
        set.insert(question.right);
    }
    review.allowed_count = review.allowed.len();
    review
}

/// Returns notes about roles that a profile binds and that do not exist or may not be read.
fn role_notes(intended: &[Intended], policy: Option<&Policy>) -> Vec<AccessNote> {
    let note = |part: &Intended| {
        let IntendedSource::Role(role) = &part.source else { return None };
        let (kind, message) = match policy.map(|policy| policy.role(role, &part.scope)) {
            Some(RoleRules::Known(_)) => return None,
            Some(RoleRules::Absent) => (
                AccessNoteKind::MissingRole,
                format!("{role} does not exist: nothing is allowed through it {}", part.scope),
            ),
            Some(RoleRules::Unreadable) | None => (
                AccessNoteKind::UnreadableRole,
                format!(
                    "{role} may not be read by the admin: whether its rights are allowed {} is unknown",
                    part.scope
                ),
            ),
        };
        Some(AccessNote::new(kind, message))
    };
    intended.iter().filter_map(note).collect()
}

fn disputes(disputed: BTreeSet<Dispute>) -> Vec<AccessNote> {
    let mut grouped: BTreeMap<(Scope, bool), BTreeSet<Right>> = BTreeMap::new();
    for (scope, right, allowed) in disputed {
        grouped.entry((scope, allowed)).or_default().insert(right);
    }
    let note = |((scope, allowed), rights): ((Scope, bool), BTreeSet<Right>)| {
        let (says, kind, bindings) = if allowed {
            ("allows", AccessNoteKind::GrantedElsewhere, "no role or binding does")
        } else {
            ("denies", AccessNoteKind::Disagreement, "roles and bindings grant it")
        };
        AccessNote::new(kind, format!("the API server {says} {scope}, though {bindings}: {}", listed(&rights)))
    };
    grouped.into_iter().map(note).collect()
}

/// Returns the rules that a profile intends, as far as they are known.
fn intended_rules<'a>(intended: &'a [Intended], policy: Option<&'a Policy>) -> Vec<(&'a Scope, &'a [Rule])> {
    intended
        .iter()
        .filter_map(|part| match &part.source {
            IntendedSource::Profile(rules) => Some((&part.scope, &**rules)),
            IntendedSource::Role(role) => match policy?.role(role, &part.scope) {
                RoleRules::Known(rules) => Some((&part.scope, rules.as_slice())),
                RoleRules::Absent | RoleRules::Unreadable => None,
            },
        })
        .collect()
}

#[derive(Default)]
struct Beyond {
    excess: Vec<Excess>,
    everyone: Vec<Everyone>,
    notes: Vec<AccessNote>,
}

/// Finds the rights that are granted but not intended, and those that every account has.
fn beyond(granted: &[Granted<'_>], intended: &[Intended], is_meant: &dyn Fn(&Scope, &Right) -> bool) -> Beyond {
    let mut found = Beyond::default();
    let is_everyones = |granted: &&Granted<'_>| matches!(granted.through, Through::Everyone(_));
    let by_default: Vec<&Granted<'_>> =
        granted.iter().filter(is_everyones).filter(|granted| granted.binding.is_default()).collect();
    let is_default = |right: &Right| {
        let mut rules = by_default.iter().filter_map(|granted| granted.rules).flatten();
        is_harmless(right) && rules.any(|rule| rule.allows(right))
    };
    for one in granted {
        let Some(rules) = one.rules else {
            let is_intended = intended.iter().any(|part| {
                part.scope.reaches(&one.scope)
                    && matches!(&part.source, IntendedSource::Role(role) if *role == one.binding.role)
            });
            if !is_intended {
                let message = format!(
                    "{} grants {}, which the admin may not read: what it allows is unknown",
                    one.binding.object, one.binding.role
                );
                found.notes.push(AccessNote::new(AccessNoteKind::ExcessUnknown, message));
            }
            continue;
        };
        let mut rights = Right::all_of(rules);
        rights.retain(|right| !is_idle(&one.scope, right));
        let (binding, role, scope) = (one.binding.object.clone(), one.binding.role.clone(), one.scope.clone());
        match &one.through {
            Through::Everyone(group) => {
                let (usual, mut added): (BTreeSet<Right>, BTreeSet<Right>) =
                    rights.into_iter().partition(|right| one.binding.is_default() && is_default(right));
                added.retain(|right| !is_meant(&one.scope, right) && !is_default(right));
                for (is_default, rights) in [(true, usual), (false, added)] {
                    if !rights.is_empty() {
                        let (binding, role, scope) = (binding.clone(), role.clone(), scope.clone());
                        let group = group.clone();
                        found.everyone.push(Everyone { binding, role, group, scope, is_default, rights });
                    }
                }
            }
            through => {
                rights.retain(|right| !is_meant(&one.scope, right) && !is_default(right));
                if !rights.is_empty() {
                    let through = through.clone();
                    found.excess.push(Excess { binding, role, through, scope, rights });
                }
            }
        }
    }
    found
}

/// Whether Kubernetes itself gives everybody a right: to read the API's description and which CAs are trusted, and to
/// ask about oneself. A default role that was given more rights no longer counts as default.
fn is_harmless(right: &Right) -> bool {
    const URLS: [&str; 10] = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/readyz",
        "/openapi",
        "/version",
        "/.well-known/openid-configuration",
        "/openid/v1/jwks",
        "/swagger",
    ];
    match right {
        Right::Url { url, verb } => {
            let url = url.trim_end_matches(['*', '/']);
            verb == "get" && URLS.iter().any(|known| url == *known || url.starts_with(&format!("{known}/")))
        }
        Right::Resource { group, resource, verb, .. } => match (group.as_str(), resource.as_str()) {
            ("authentication.k8s.io", "selfsubjectreviews")
            | ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews") => verb == "create",
            ("certificates.k8s.io", "clustertrustbundles") => matches!(verb.as_str(), "get" | "list" | "watch"),
            _ => false,
        },
    }
}
