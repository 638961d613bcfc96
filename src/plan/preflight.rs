//! Turns the API server's responses to the dry run of a plan into blockers and notes.
//!
//! `cluster` runs the probes; [`judge_probes`] judges their results. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Blocker, BlockerKind, ClusterPlan, Extent, Note, NoteKind};
use crate::failure::ApiFailure;
use crate::names::ProfileName;
use crate::object::{Kind, ObjectRef, RoleRef};
use crate::rbac::{RightGroup, Rule, summarise};
use crate::step::{Step, StepId};

/// A check without effect before the first write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The write of this step, with `dryRun=All`.
    Write(StepId),
    /// Whether the caller may do something to an object; asked for, not tried.
    Right {
        /// The profile.
        profile: ProfileName,
        /// The verb.
        verb: &'static str,
        /// The subresource.
        subresource: Option<&'static str>,
        /// The object; an empty name stands for all of its kind in the namespace.
        object: ObjectRef,
    },
    /// Whether an anchor may be created in this namespace, with `dryRun=All`.
    CreateAnchor {
        /// The profile.
        profile: ProfileName,
        /// The namespace.
        namespace: String,
    },
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// The API server would do it.
    Allowed,
    /// The API server would not do it.
    Failed(ApiFailure),
    /// The caller does not have the right.
    Denied,
    /// This role, which the binding refers to, does not exist.
    RoleAbsent {
        /// The role.
        role: RoleRef,
        /// The result of trying the binding.
        tried: Box<ProbeResult>,
    },
    /// It was not tried, because this namespace is not there yet.
    NamespaceAbsent(String),
}

/// Returns whether trying a plan has shown that none of some objects exists: the API server would create each of them.
pub(crate) fn shows_absent(
    objects: &BTreeSet<ObjectRef>,
    plan: &ClusterPlan,
    results: &[(Probe, ProbeResult)],
) -> bool {
    if objects.is_empty() {
        return true;
    }
    let allowed = results.iter().filter_map(|(probe, result)| match (probe, result) {
        (Probe::Write(id), ProbeResult::Allowed) => Some(id),
        _ => None,
    });
    let allowed: BTreeSet<&StepId> = allowed.collect();
    let created = plan.steps.iter().filter_map(|step| match step {
        Step::Create(desired) if allowed.contains(&step.id()) => Some(&desired.object),
        _ => None,
    });
    let created: BTreeSet<&ObjectRef> = created.collect();
    objects.iter().all(|object| created.contains(object))
}

/// Returns the probes of everything that credentials need. The other writes are probed by their own dry run.
pub(crate) fn mint_probes(plan: &ClusterPlan) -> Vec<Probe> {
    plan.steps
        .iter()
        .flat_map(|step| match step {
            Step::Mint(mint) => {
                let (profile, account) = (&mint.grant.profile, &mint.service_account);
                let namespace = account.namespace.clone().unwrap_or_default();
                let anchors = ObjectRef::anchor_of(account, "");
                vec![
                    right(profile, "create", Some("token"), account.clone()),
                    right(profile, "patch", None, account.clone()),
                    right(profile, "delete", None, anchors),
                    Probe::CreateAnchor { profile: profile.clone(), namespace },
                ]
            }
            Step::Publish(publish) => {
                let account = publish.record.as_ref().map(|(account, _)| account.clone());
                account.into_iter().map(|account| right(&publish.grant.profile, "patch", None, account)).collect()
            }
            Step::Retire(retire) => {
                let account = &retire.service_account;
                let anchors = ObjectRef::anchor_of(account, "");
                vec![
                    right(&retire.profile, "patch", None, account.clone()),
                    right(&retire.profile, "delete", None, anchors),
                ]
            }
            Step::Resume(resume) => vec![right(&resume.profile, "patch", None, resume.service_account.clone())],
            Step::Plugin(plugin) => {
                let account = plugin.tried.as_ref().map(|_| plugin.service_account.clone());
                account
                    .into_iter()
                    .map(|account| right(&plugin.grant.profile, "create", Some("token"), account))
                    .collect()
            }
            Step::ExecAnchor(step) => {
                let (profile, account) = (&step.profile, &step.service_account);
                let namespace = account.namespace.clone().unwrap_or_default();
                vec![
                    right(profile, "patch", None, account.clone()),
                    Probe::CreateAnchor { profile: profile.clone(), namespace },
                ]
            }
            Step::Create(_)
            | Step::Update(_)
            | Step::Delete(_)
            | Step::Revoke(_)
            | Step::Recreate(_)
            | Step::Remove(_) => vec![],
        })
        .collect()
}

fn right(profile: &ProfileName, verb: &'static str, subresource: Option<&'static str>, object: ObjectRef) -> Probe {
    Probe::Right { profile: profile.clone(), verb, subresource, object }
}

/// Adds the results of the probes to a plan. `allows_missing_roles` tells whether a profile may bind roles that do not
/// exist.
pub(crate) fn judge_probes(
    plan: &mut ClusterPlan,
    results: &[(Probe, ProbeResult)],
    allows_missing_roles: impl Fn(&ProfileName) -> bool,
) {
    let mut missing_rights = vec![];
    let mut may_write_something = false;
    let mut unchecked: BTreeSet<String> = BTreeSet::new();
    for (probe, result) in results {
        if *result == ProbeResult::Allowed {
            // Every caller may ask for a review, so only an accepted write proves a right to write.
            may_write_something |= plan.extent == Extent::Credentials || !matches!(probe, Probe::Right { .. });
            continue;
        }
        let subject = subject_of(probe, plan);
        let profile = profile_of(probe, plan);
        match result {
            ProbeResult::Allowed => {}
            ProbeResult::RoleAbsent { role, tried } => {
                // An attempt proves a right whatever its result: the right is checked before the role is looked up.
                may_write_something |= !matches!(**tried, ProbeResult::NamespaceAbsent(_));
                if let ProbeResult::NamespaceAbsent(namespace) = &**tried {
                    unchecked.insert(absent(namespace));
                }
                let is_refused = matches!(**tried, ProbeResult::Failed(_));
                if is_refused && profile.as_ref().is_some_and(&allows_missing_roles) {
                    plan.blockers.push(Blocker {
                        profile,
                        kind: BlockerKind::Refused,
                        message: format!("cannot {subject}: {role} does not exist"),
                        hint: Some("create the role first, or let the admin have the verb `bind` on it".to_owned()),
                    });
                } else if profile.as_ref().is_some_and(&allows_missing_roles) {
                    unchecked.insert(format!("{role} does not exist; until it does, its binding allows nothing"));
                } else {
                    plan.blockers.push(missing_role(role, profile));
                }
            }
            ProbeResult::NamespaceAbsent(namespace) => {
                unchecked.insert(absent(namespace));
            }
            ProbeResult::Denied => missing_rights.push((profile, format!("the admin may not {subject}"))),
            // The object is gone already, as wanted.
            ProbeResult::Failed(failure) if failure.is_not_found() && is_deletion(probe, plan) => {
                may_write_something = true;
            }
            // The step deletes spent anchors before it needs their room in the quota.
            ProbeResult::Failed(failure) if failure.is_over_quota() && frees(probe, plan) => {
                may_write_something = true;
                unchecked.insert(format!(
                    "{subject}: a quota is used up until spent anchors are deleted, which is done first"
                ));
            }
            ProbeResult::Failed(failure) if failure.is_escalation() => {
                may_write_something = true;
                let missing = MissingRights::of(failure);
                plan.blockers.push(Blocker { profile, ..escalation(&subject, failure, &missing) });
                plan.missing_rights.extend((!missing.rights.is_empty()).then_some(missing));
            }
            ProbeResult::Failed(failure) if terminating(failure) => plan.blockers.push(Blocker {
                profile,
                kind: BlockerKind::BeingDeleted,
                message: format!("cannot {subject}: its namespace is being deleted"),
                hint: Some("wait until it is gone".to_owned()),
            }),
            ProbeResult::Failed(failure) if failure.is_forbidden() && is_plain(failure) => {
                missing_rights.push((profile, format!("the admin may not {subject}")));
            }
            ProbeResult::Failed(failure) if failure.is_not_found() && is_binding(probe, plan) => {
                may_write_something = true;
                unchecked.insert(format!(
                    "{subject}: the role does not exist yet, so the API server checks it only when it is written"
                ));
            }
            ProbeResult::Failed(failure) if no_dry_run(failure) => {
                may_write_something = true;
                unchecked.insert(format!("{subject}: a webhook does not support dry run"));
            }
            ProbeResult::Failed(failure) => {
                may_write_something = true;
                plan.blockers.push(Blocker {
                    profile,
                    kind: BlockerKind::Refused,
                    message: format!("cannot {subject}: {failure}"),
                    hint: failure.gate().map(|gate| gate.hint()),
                });
            }
        }
    }
    plan.missing_rights = MissingRights::joined(std::mem::take(&mut plan.missing_rights));
    plan.notes.extend(unchecked.into_iter().map(|message| Note::new(NoteKind::NotChecked, message)));
    if may_write_something {
        plan.blockers.extend(missing_rights.into_iter().map(|(profile, message)| Blocker {
            profile,
            kind: BlockerKind::MissingRight,
            message,
            hint: Some("let the admin identity do that, or use another admin context".to_owned()),
        }));
    } else if !missing_rights.is_empty() {
        let message = "the admin may read, but not write: nothing was checked by a dry run, and apply would refuse";
        plan.notes.push(Note::new(NoteKind::ReadOnly, message));
    }
    plan.drop_blocked_steps();
}

fn absent(namespace: &str) -> String {
    format!("what goes into namespace `{namespace}` is checked by the API server only once it exists")
}

/// Returns the blocker for a bound role that does not exist.
fn missing_role(role: &RoleRef, profile: Option<ProfileName>) -> Blocker {
    let name = "see whether its name is right";
    Blocker {
        kind: BlockerKind::MissingRole,
        message: format!("{role} does not exist: its binding would allow nothing"),
        hint: Some(match &profile {
            Some(profile) => format!("{name}, or set `allow-missing-roles = true` in profile `{profile}`"),
            None => name.to_owned(),
        }),
        profile,
    }
}

/// Returns the profile that a probe is for.
fn profile_of(probe: &Probe, plan: &ClusterPlan) -> Option<ProfileName> {
    match probe {
        Probe::Write(id) => plan.step(id)?.profile().cloned(),
        Probe::Right { profile, .. } | Probe::CreateAnchor { profile, .. } => Some(profile.clone()),
    }
}

fn is_deletion(probe: &Probe, plan: &ClusterPlan) -> bool {
    matches!(probe, Probe::Write(id) if matches!(plan.step(id), Some(Step::Delete(_))))
}

/// Whether the step that needs the anchor first deletes spent ones.
fn frees(probe: &Probe, plan: &ClusterPlan) -> bool {
    let Probe::CreateAnchor { profile, .. } = probe else { return false };
    let is_freeing =
        |step: &Step| matches!(step, Step::Mint(mint) if mint.grant.profile == *profile && !mint.spent.is_empty());
    plan.steps.iter().any(is_freeing)
}

impl ClusterPlan {
    /// Removes the steps that mint and publish for blocked profiles, where these do not stop the whole cluster; the other
    /// profiles go on.
    pub(crate) fn drop_blocked_steps(&mut self) {
        let blocks = |blocker: &&Blocker| !self.stops(blocker);
        let blocked: BTreeSet<&ProfileName> =
            self.blockers.iter().filter(blocks).filter_map(|it| it.profile.as_ref()).collect();
        if blocked.is_empty() {
            return;
        }
        let is_of_blocked = |step: &Step| step.profile().is_some_and(|it| blocked.contains(it));
        // A ServiceAccount whose successor gets no credential keeps its own.
        let is_account =
            |step: &Step| matches!(step, Step::Delete(delete) if delete.object.kind == Kind::ServiceAccount);
        self.steps.retain(|step| !((step.is_about_credentials() && is_of_blocked(step)) || is_account(step)));
        let left: BTreeSet<StepId> = self.steps.iter().map(Step::id).collect();
        if !self.risks.keys().all(|id| left.contains(id)) {
            Arc::make_mut(&mut self.risks).retain(|id, _| left.contains(id));
        }
    }

    /// Whether a blocker stops the whole cluster. If only credentials change, those of single profiles do not; nor does a
    /// hub in which the credential of a profile cannot be kept.
    fn stops(&self, blocker: &Blocker) -> bool {
        let is_of_profile = self.extent == Extent::Credentials || blocker.kind == BlockerKind::HubUnusable;
        !(is_of_profile && blocker.profile.is_some())
    }

    /// Returns why a run must not start on this cluster: the blockers that stop it, or that the admin may not write.
    pub(crate) fn refusals(&self) -> Vec<Blocker> {
        let blocks = |blocker: &&Blocker| self.stops(blocker);
        let read_only = self.notes.iter().filter(|note| note.kind == NoteKind::ReadOnly).map(|_| Blocker {
            profile: None,
            kind: BlockerKind::MissingRight,
            message: "the admin may read, but not write".to_owned(),
            hint: Some("use an admin context that may write".to_owned()),
        });
        self.blockers.iter().filter(blocks).cloned().chain(read_only.filter(|_| !self.steps.is_empty())).collect()
    }
}

fn subject_of(probe: &Probe, plan: &ClusterPlan) -> String {
    match probe {
        Probe::Write(id) => plan.step(id).map(Step::to_string).unwrap_or_default(),
        Probe::Right { profile, verb, subresource, object } => {
            let subresource = subresource.map(|name| format!("/{name}")).unwrap_or_default();
            let resource = format!("{}{subresource}", object.kind.resource());
            let namespace = object.namespace.as_deref().unwrap_or_default();
            let name = if object.name.is_empty() { String::new() } else { format!(" `{}`", object.name) };
            format!("{verb} `{resource}`{name} in namespace `{namespace}` for `{profile}`")
        }
        Probe::CreateAnchor { profile, namespace } => {
            format!("create an anchor Secret in namespace `{namespace}` for `{profile}`")
        }
    }
}

fn is_binding(probe: &Probe, plan: &ClusterPlan) -> bool {
    let Probe::Write(id) = probe else { return false };
    let object = match plan.step(id) {
        Some(Step::Create(desired)) => &desired.object,
        Some(Step::Update(update)) => &update.desired.object,
        _ => return false,
    };
    matches!(object.kind, Kind::ClusterRoleBinding | Kind::RoleBinding)
}

fn terminating(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| status.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

/// Whether a 403 comes from the authorizer and not from admission, whose messages differ.
fn is_plain(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| {
        // `… is forbidden: User "x" cannot create resource "roles" in API group "…"`. A webhook's message may contain
        // any text after the webhook's name.
        !status.message.contains("admission webhook")
            && status.message.contains("User \"")
            && status.message.contains(" cannot ")
            && status.message.contains(" resource \"")
    })
}

fn no_dry_run(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| status.code == 400 && status.message.contains("does not support dry run"))
}

/// Rights that the admin of a cluster would have to hold before it may grant them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MissingRights {
    /// The admin's user name, as the API server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it would have to hold.
    pub rights: Vec<RightGroup>,
}

impl MissingRights {
    /// Reads what the API server says in an escalation failure.
    fn of(failure: &ApiFailure) -> Self {
        let message = failure.status().map(|status| status.message.as_str()).unwrap_or_default();
        let user = message.split_once("user \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user);
        Self { user: user.map(str::to_owned), rights: missing_rules(message) }
    }

    /// Puts those of one user together: a role and its binding are refused for the same rights.
    fn joined(several: Vec<Self>) -> Vec<Self> {
        let mut by_user: BTreeMap<Option<String>, BTreeSet<RightGroup>> = BTreeMap::new();
        for missing in several {
            by_user.entry(missing.user).or_default().extend(missing.rights);
        }
        by_user.into_iter().map(|(user, rights)| Self { user, rights: rights.into_iter().collect() }).collect()
    }

    /// Names the user in a message.
    pub(crate) fn user_in_words(&self) -> String {
        self.user.as_ref().map_or_else(|| "the admin".to_owned(), |user| format!("`{user}`"))
    }

    /// Lists the rights.
    pub(crate) fn rights_in_words(&self) -> String {
        self.rights.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

fn escalation(subject: &str, failure: &ApiFailure, missing: &MissingRights) -> Blocker {
    let user = missing.user_in_words();
    let (message, hint) = if missing.rights.is_empty() {
        (format!("cannot {subject}: {failure}"), None)
    } else {
        let rights = missing.rights_in_words();
        (
            format!("the API server would refuse to {subject} (403): {user} may not grant {rights}"),
            Some(format!("let {user} hold these rights, or the verb `escalate` on roles and `bind` on their bindings")),
        )
    };
    Blocker { profile: None, kind: BlockerKind::Escalation, message, hint }
}

/// Reads the rules that an escalation message lists, one `{APIGroups:["…"], …}` each.
fn missing_rules(message: &str) -> Vec<RightGroup> {
    let bodies = message.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(body, _)| body);
    let rules: Vec<Rule> = bodies
        .map(|body| {
            let list = |key: &str| {
                let list = body.split_once(&format!("{key}:[")).and_then(|(_, rest)| rest.split_once(']'));
                list.map_or_else(Vec::new, |(list, _)| list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
            };
            Rule {
                api_groups: list("APIGroups"),
                resources: list("Resources"),
                verbs: list("Verbs"),
                resource_names: list("ResourceNames"),
                non_resource_urls: list("NonResourceURLs"),
            }
        })
        .collect();
    summarise(&rules.iter().flat_map(Rule::rights).collect::<BTreeSet<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::StatusFailure;
    use crate::plan::tests_support::empty_plan;
    use crate::step::{Delete, Resume};

    fn refused(code: u16, reason: &str, message: &str) -> ProbeResult {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        ProbeResult::Failed(ApiFailure::Status(StatusFailure { code, reason, message, ..StatusFailure::default() }))
    }

    /// If the API server refuses something for one profile, only that profile is blocked and loses its steps.
    #[test]
    fn a_refusal_is_the_profiles_own() {
        let resume = |profile: &str| {
            let service_account = ObjectRef::namespaced(Kind::ServiceAccount, profile, profile);
            let (profile, inventory, holder) = (profile.into(), "acme".into(), "default".into());
            Step::Resume(Box::new(Resume { profile, inventory, holder, service_account }))
        };
        let anchor = |profile: &str| Probe::CreateAnchor { profile: profile.into(), namespace: profile.to_owned() };
        let quota = "secrets \"x\" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=2, limited: secrets=2";
        let terminating = ApiFailure::Status(StatusFailure {
            code: 403,
            reason: "Forbidden".to_owned(),
            causes: vec![crate::failure::Cause { reason: "NamespaceTerminating".to_owned(), ..Default::default() }],
            ..StatusFailure::default()
        });
        let denied = "secrets is forbidden: User \"ci\" cannot create resource \"secrets\" in API group \"\"";
        for result in [
            refused(403, "Forbidden", quota),
            refused(403, "Forbidden", denied),
            refused(400, "BadRequest", "admission webhook \"policy.example.com\" denied the request: no"),
            ProbeResult::Failed(terminating),
        ] {
            let mut plan = empty_plan("a", "uid");
            plan.steps = vec![resume("sick"), resume("well")];
            judge_probes(&mut plan, &[(anchor("sick"), result), (anchor("well"), ProbeResult::Allowed)], |_| false);
            assert_eq!(plan.blockers.len(), 1, "{:?}", plan.blockers);
            assert_eq!(plan.blockers[0].profile, Some("sick".into()), "{:?}", plan.blockers);
            assert_eq!(plan.steps.iter().filter_map(Step::profile).collect::<Vec<_>>(), [&ProfileName::from("well")]);
            assert!(plan.refusals().is_empty(), "the other one is renewed");
        }
    }

    /// If an object is gone when its deletion is tried, that is as wanted.
    #[test]
    fn what_is_gone_already_blocks_nothing() {
        let object = ObjectRef::cluster_scoped(Kind::ClusterRole, "old");
        let mut plan = empty_plan("a", "uid");
        plan.steps.push(Step::Delete(Box::new(Delete {
            object,
            uid: String::new(),
            resource_version: None,
            removed: vec![],
        })));
        let id = plan.steps[0].id();
        judge_probes(
            &mut plan,
            &[(Probe::Write(id), refused(404, "NotFound", "clusterroles \"old\" not found"))],
            |_| false,
        );
        assert!(plan.blockers.is_empty() && plan.notes.is_empty(), "{:?} {:?}", plan.blockers, plan.notes);
    }

    #[test]
    fn missing_rules_are_named() {
        let message = "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: user \"ci\" (groups=[\"a\"]) is attempting \
             to grant RBAC permissions not currently held: {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \
             \"get\"]} {NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}";
        let rights: Vec<String> = missing_rules(message).iter().map(ToString::to_string).collect();
        assert_eq!(rights, ["delete, get on pods", "get on URL /metrics"]);
    }
}
