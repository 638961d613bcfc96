//! The risk of each step, from what an account may do before and after the plan.
//!
//! Rights are compared by what they allow: a rule that is split, moved to another role of the profile or covered by a
//! wildcard is no change. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::objects::wanted_objects;
use super::{Blocker, BlockerKind, ClusterPlan, PlanInput, Risks, RoleRead};
use crate::desired::{Content, DesiredObject, service_account, subject};
use crate::names::ProfileName;
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::observed::{ObservedCluster, ObservedObject};
use crate::rbac::{Escalating, Right, Rule, Scope, summarise, uncovered};
use crate::risk::{Access, Risk, RiskClass, sentence};
use crate::step::Step;

/// Things that a message names; the rest is counted.
const NAMED: usize = 5;

/// Rules, as far as they are known.
#[derive(Debug, Clone, PartialEq)]
enum Source<'a> {
    /// Those of a role of ours.
    Rules(&'a [Rule]),
    /// Those of an existing role, which the plan does not read.
    Role(&'a RoleRef),
}

/// What one binding gives an account.
#[derive(Debug, Clone, PartialEq)]
struct Held<'a> {
    scope: Scope,
    source: Source<'a>,
}

/// What the account of one grant may do.
#[derive(Debug, Default)]
struct Account<'a> {
    subject: Option<Subject>,
    /// Whether it exists.
    exists: bool,
    before: Vec<Held<'a>>,
    after: Vec<Held<'a>>,
}

/// Everything that the risk of a step depends on.
struct Assessing<'a> {
    observed: &'a ObservedCluster,
    desired: &'a BTreeMap<ObjectRef, DesiredObject>,
    accounts: BTreeMap<ProfileName, Account<'a>>,
}

/// Returns the risks of the steps that change what somebody may do.
pub(super) fn risks(input: &PlanInput<'_>, steps: &[Step]) -> Risks {
    let desired = wanted_objects(input);
    let written: BTreeSet<&ObjectRef> = steps
        .iter()
        .filter(|step| matches!(step, Step::Create(_) | Step::Update(_)))
        .filter_map(Step::object)
        .collect();
    let mut accounts: BTreeMap<ProfileName, Account<'_>> = BTreeMap::new();
    for grant in input.grants.iter().map(|it| &it.grant) {
        let subject = subject(grant);
        let before = input.observed.objects.iter().filter(|(_, observed)| observed.subjects.contains(&subject));
        let before = before.filter_map(|(object, observed)| {
            Some(held(object, old_rules(input.observed, object, observed.role.as_ref()?)))
        });
        let wanted = desired.values().filter(|desired| desired.profile.as_ref() == Some(&grant.profile.name));
        let later = wanted.filter_map(|wanted| after(input, &desired, &written, wanted, &subject));
        let account = Account {
            exists: input.observed.objects.contains_key(&service_account(grant)),
            before: before.collect(),
            after: later.collect(),
            subject: Some(subject),
        };
        accounts.insert(grant.profile.name.clone(), account);
    }
    let assessing = Assessing { observed: input.observed, desired: &desired, accounts };
    steps.iter().filter_map(|step| Some((step.id(), Arc::new(assessing.risk(step)?)))).collect()
}

/// Returns the risks of steps that only take access away.
pub(super) fn risks_of_deletions(observed: &ObservedCluster, steps: &[Step]) -> Risks {
    let assessing = Assessing { observed, desired: &BTreeMap::new(), accounts: BTreeMap::new() };
    steps.iter().filter_map(|step| Some((step.id(), Arc::new(assessing.risk(step)?)))).collect()
}

/// Returns what a role allows as it was read.
fn old_rules<'a>(observed: &'a ObservedCluster, binding: &ObjectRef, role: &'a RoleRef) -> Source<'a> {
    match observed.objects.get(&role.object(binding.namespace.as_deref())) {
        Some(known) => Source::Rules(&known.rules),
        None => Source::Role(role),
    }
}

/// Returns what an object gives an account after the plan, if it is a binding of it. What the plan leaves alone stays as
/// it is.
fn after<'a>(
    input: &'a PlanInput<'_>,
    desired: &'a BTreeMap<ObjectRef, DesiredObject>,
    written: &BTreeSet<&ObjectRef>,
    wanted: &'a DesiredObject,
    subject: &Subject,
) -> Option<Held<'a>> {
    let observed = input.observed.objects.get(&wanted.object).filter(|_| !written.contains(&wanted.object));
    let role = match (&wanted.content, observed) {
        (Content::Binding { .. }, Some(observed)) if !observed.subjects.contains(subject) => return None,
        (Content::Binding { .. }, Some(observed)) => observed.role.as_ref()?,
        (Content::Binding { role, .. }, None) => role,
        (Content::Empty | Content::Rules(_), _) => return None,
    };
    let address = role.object(wanted.object.namespace.as_deref());
    let source =
        match (desired.get(&address).filter(|_| written.contains(&address)), input.observed.objects.get(&address)) {
            (Some(DesiredObject { content: Content::Rules(rules), .. }), _) => Source::Rules(rules),
            (_, Some(known)) => Source::Rules(&known.rules),
            (_, None) => Source::Role(role),
        };
    Some(held(&wanted.object, source))
}

fn scope_of(object: &ObjectRef) -> Scope {
    object.namespace.clone().map_or(Scope::Cluster, Scope::Namespace)
}

fn held<'a>(binding: &ObjectRef, source: Source<'a>) -> Held<'a> {
    Held { scope: scope_of(binding), source }
}

/// Returns the part of `what` that nothing in `by` gives, and its escalating rights.
fn missing(what: &Held<'_>, by: &[Held<'_>]) -> (Option<Access>, BTreeSet<Escalating>) {
    let reaching = || by.iter().filter(|held| held.scope.reaches(&what.scope));
    match what.source {
        Source::Rules(rules) => rights_missing(rules, &what.scope, |right| {
            reaching().any(|held| match held.source {
                Source::Rules(rules) => rules.iter().any(|rule| rule.allows(right)),
                Source::Role(_) => false,
            })
        }),
        Source::Role(_) if reaching().any(|held| held.source == what.source) => (None, BTreeSet::new()),
        Source::Role(role) => {
            let escalating = Escalating::ALL.into_iter().filter(|_| role.is_everything()).collect();
            (Some(Access::of_role(&what.scope, role)), escalating)
        }
    }
}

fn rights_missing(
    rules: &[Rule],
    scope: &Scope,
    is_covered: impl Fn(&Right<&str>) -> bool,
) -> (Option<Access>, BTreeSet<Escalating>) {
    // A URL has no namespace: in a RoleBinding, the right to one means nothing.
    let means_something = |right: &Right<&str>| *scope == Scope::Cluster || !matches!(right, Right::Url { .. });
    let rights: BTreeSet<Right<&str>> =
        rules.iter().flat_map(Rule::rights).filter(|right| means_something(right) && !is_covered(right)).collect();
    let access = (!rights.is_empty()).then(|| Access::rights(scope, summarise(&rights)));
    (access, Escalating::of_rights(&rights))
}

impl Assessing<'_> {
    fn risk(&self, step: &Step) -> Option<Risk> {
        match step {
            Step::Create(desired) => self.written(desired, None),
            Step::Update(update) => self.written(&update.desired, self.observed.objects.get(&update.desired.object)),
            Step::Remove(remove) => Some(Risk {
                class: RiskClass::Deletes,
                profile: Some(remove.grant.profile.clone()),
                gains: vec![],
                losses: vec![Access::all_of("whoever reads it from what is removed".to_owned())],
                escalating: BTreeSet::new(),
            }),
            Step::Delete(delete) => self.deleted(&delete.object, self.observed.objects.get(&delete.object)?),
            _ => None,
        }
    }

    /// Returns the risk of writing an object that is `old` now.
    fn written(&self, desired: &DesiredObject, old: Option<&ObservedObject>) -> Option<Risk> {
        let profile = desired.profile.as_ref()?;
        let account = self.accounts.get(profile)?;
        let (mut gains, mut losses, mut escalating) = (vec![], vec![], BTreeSet::new());
        let mut gain = |(access, classes): (Option<Access>, BTreeSet<Escalating>)| {
            gains.extend(access);
            escalating.extend(classes);
        };
        match &desired.content {
            Content::Empty => return None,
            Content::Rules(rules) => {
                let scope = scope_of(&desired.object);
                let old = old.map_or(&[][..], |old| &old.rules);
                let known = Held { scope: scope.clone(), source: Source::Rules(old) };
                let before: Vec<Held<'_>> = account.before.iter().cloned().chain([known]).collect();
                gain(missing(&Held { scope: scope.clone(), source: Source::Rules(rules) }, &before));
                let lost: BTreeSet<Right<&str>> = uncovered(old, rules);
                let lost: Vec<Rule> = lost.iter().map(Rule::of_right).collect();
                losses.extend(missing(&Held { scope, source: Source::Rules(&lost) }, &account.after).0);
            }
            Content::Binding { role, subject } => {
                if old.is_none_or(|old| !old.subjects.contains(subject)) {
                    gain(missing(&held(&desired.object, self.rules_after(&desired.object, role)), &account.before));
                }
                let others = old.iter().flat_map(|old| &old.subjects).filter(|other| *other != subject);
                for other in others {
                    losses.extend(self.lost_by(&desired.object, role, other));
                }
            }
        }
        let class = match (gains.is_empty(), losses.is_empty()) {
            (true, true) => return None,
            (false, true) if old.is_none() && !account.exists => RiskClass::Creates,
            (false, true) => RiskClass::Widens,
            (true, false) => RiskClass::Narrows,
            (false, false) => RiskClass::Replaces,
        };
        gains.shrink_to_fit();
        losses.shrink_to_fit();
        Some(Risk { class, profile: Some(profile.clone()), gains, losses, escalating })
    }

    /// Returns the risk of deleting an object.
    fn deleted(&self, object: &ObjectRef, old: &ObservedObject) -> Option<Risk> {
        let profile = old.profile().map(ProfileName::from);
        let account = profile.as_ref().and_then(|profile| self.accounts.get(profile));
        let after = account.map_or(&[][..], |account| &account.after);
        let losses: Vec<Access> = match (object.kind, &old.role) {
            (Kind::ServiceAccount, _) => {
                let namespace = object.namespace.as_deref().unwrap_or_default();
                vec![Access::all_of(format!("ServiceAccount {namespace}/{}", object.name))]
            }
            (_, Some(role)) => {
                let of_subject = |subject: &Subject| {
                    let is_of_grant = account.is_some_and(|account| account.subject.as_ref() == Some(subject));
                    if is_of_grant || self.is_own(old, subject) {
                        missing(&held(object, old_rules(self.observed, object, role)), after).0
                    } else {
                        self.lost_by(object, role, subject)
                    }
                };
                old.subjects.iter().filter_map(of_subject).collect()
            }
            (_, None) => {
                let held = Held { scope: scope_of(object), source: Source::Rules(&old.rules) };
                missing(&held, after).0.into_iter().collect()
            }
        };
        let class = RiskClass::Deletes;
        (!losses.is_empty()).then(|| Risk { class, profile, gains: vec![], losses, escalating: BTreeSet::new() })
    }

    /// Returns whether a subject is the ServiceAccount of the same profile that a binding is of.
    fn is_own(&self, binding: &ObservedObject, subject: &Subject) -> bool {
        let (Some(namespace), "ServiceAccount") = (&subject.namespace, subject.kind.as_str()) else { return false };
        let account = ObjectRef::namespaced(Kind::ServiceAccount, namespace, &subject.name);
        let profile = self.observed.objects.get(&account).and_then(ObservedObject::profile);
        profile.is_some() && profile == binding.profile()
    }

    /// Returns what a role allows after the plan.
    fn rules_after<'b>(&'b self, binding: &ObjectRef, role: &'b RoleRef) -> Source<'b> {
        let address = role.object(binding.namespace.as_deref());
        match self.desired.get(&address).map(|desired| &desired.content) {
            Some(Content::Rules(rules)) => Source::Rules(rules),
            _ => old_rules(self.observed, binding, role),
        }
    }

    /// Returns what somebody else loses with a binding.
    fn lost_by(&self, binding: &ObjectRef, role: &RoleRef, subject: &Subject) -> Option<Access> {
        let (access, _) = missing(&held(binding, old_rules(self.observed, binding, role)), &[]);
        access.map(|access| Access { subject: Some(subject.to_string()), ..access })
    }
}

/// Adds which of the gains are escalating, now that existing roles were read.
pub(super) fn add_rules_of_roles(plan: &mut ClusterPlan, roles: &BTreeMap<ObjectRef, RoleRead>) {
    for risk in Arc::make_mut(&mut plan.risks).values_mut() {
        let mut escalating = risk.escalating.clone();
        for access in &risk.gains {
            let role = access.role.as_ref().map(|role| role.object(access.namespace.as_deref()));
            if let Some(RoleRead::Rules(rules)) = role.and_then(|role| roles.get(&role)) {
                escalating.extend(Escalating::of_rules(rules));
            }
        }
        if escalating != risk.escalating {
            Arc::make_mut(risk).escalating = escalating;
        }
    }
}

/// Returns the blockers for steps of classes that this run must not contain, one for each class and profile.
pub(super) fn denied(plan: &ClusterPlan, deny: &[RiskClass]) -> Vec<Blocker> {
    let mut found: BTreeMap<(RiskClass, Option<&ProfileName>), Vec<&Risk>> = BTreeMap::new();
    for risk in plan.risks.values().map(|risk| &**risk).filter(|risk| deny.contains(&risk.class)) {
        found.entry((risk.class, risk.profile.as_ref())).or_default().push(risk);
    }
    let blocker = |((class, profile), risks): ((RiskClass, Option<&ProfileName>), Vec<&Risk>)| Blocker {
        kind: BlockerKind::Denied,
        profile: profile.cloned(),
        message: format!("`--deny {class}` refuses it: {}", sentence(class, profile, &risks, NAMED)),
        hint: Some(format!("leave the change out of the inventory, or run without `--deny {class}`")),
    };
    found.into_iter().map(blocker).collect()
}
