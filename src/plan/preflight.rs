//! What the API server said to the dry run of a plan, turned into blockers and notes.
//!
//! `cluster` runs the probes; [`assess`] judges their results. Pure: no I/O, no clock.

use std::collections::BTreeSet;

use super::{Blocker, BlockerKind, ClusterPlan, Note, NoteKind, Scope};
use crate::diff::describe_rules;
use crate::failure::ApiFailure;
use crate::inventory::Rule;
use crate::names::ProfileName;
use crate::object::{Kind, ObjectRef, RoleRef};
use crate::step::Step;

/// Something that is tried without effect before the first write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The write of the step at this position, with `dryRun=All`.
    Write(usize),
    /// Whether something may be done to an object; asked for, not tried.
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

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The API server would do it.
    Allowed,
    /// The API server would not do it.
    Failed(ApiFailure),
    /// It says that the caller may not.
    Denied,
    /// It would be done, but this role, which the binding refers to, does not exist.
    RoleAbsent(RoleRef),
    /// It was not tried, because this namespace is not there yet.
    NamespaceAbsent(String),
}

/// Returns the probes of everything that credentials need; the writes are probed one by one.
pub fn mint_probes(plan: &ClusterPlan) -> Vec<Probe> {
    plan.steps
        .iter()
        .flat_map(|step| match step {
            Step::Mint(mint) => {
                let (profile, account) = (&mint.profile, &mint.service_account);
                let namespace = account.namespace.clone().unwrap_or_default();
                let anchors = ObjectRef::namespaced(Kind::Secret, &namespace, "");
                vec![
                    right(profile, "create", Some("token"), account.clone()),
                    right(profile, "patch", None, account.clone()),
                    right(profile, "delete", None, anchors),
                    Probe::CreateAnchor { profile: profile.clone(), namespace },
                ]
            }
            Step::Publish(publish) => {
                let account = publish.record.as_ref().map(|(account, _)| account.clone());
                account.into_iter().map(|account| right(&publish.profile, "patch", None, account)).collect()
            }
            Step::Retire(retire) => {
                let account = &retire.service_account;
                let anchors = ObjectRef::namespaced(Kind::Secret, account.namespace.clone().unwrap_or_default(), "");
                vec![
                    right(&retire.profile, "patch", None, account.clone()),
                    right(&retire.profile, "delete", None, anchors),
                ]
            }
            Step::Resume(resume) => vec![right(&resume.profile, "patch", None, resume.service_account.clone())],
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
            | Step::Plugin(_)
            | Step::Revoke(_)
            | Step::Recreate(_) => vec![],
        })
        .collect()
}

fn right(profile: &ProfileName, verb: &'static str, subresource: Option<&'static str>, object: ObjectRef) -> Probe {
    Probe::Right { profile: profile.clone(), verb, subresource, object }
}

/// Adds what the probes found to a plan.
pub fn assess(plan: &mut ClusterPlan, results: &[(Probe, ProbeResult)]) {
    let mut missing_rights = vec![];
    let mut may_write_something = false;
    let mut unchecked: BTreeSet<String> = BTreeSet::new();
    for (probe, result) in results {
        let subject = subject_of(probe, plan);
        match result {
            ProbeResult::Allowed => {
                // A review is answered to everybody; only a write that would pass proves a right to write.
                may_write_something |= !matches!(probe, Probe::Right { .. });
            }
            ProbeResult::RoleAbsent(role) => {
                may_write_something = true;
                unchecked.insert(format!("{role} does not exist; until it does, its binding allows nothing"));
            }
            ProbeResult::NamespaceAbsent(namespace) => {
                unchecked.insert(format!(
                    "what goes into namespace `{namespace}` is checked by the API server only once it exists"
                ));
            }
            ProbeResult::Denied => missing_rights.push(format!("the admin may not {subject}")),
            ProbeResult::Failed(failure) if failure.is_escalation() => {
                may_write_something = true;
                plan.blockers.push(escalation(&subject, failure));
            }
            ProbeResult::Failed(failure) if terminating(failure) => plan.blockers.push(Blocker {
                profile: None,
                kind: BlockerKind::BeingDeleted,
                message: format!("cannot {subject}: its namespace is being deleted"),
                hint: Some("wait until it is gone".to_owned()),
            }),
            ProbeResult::Failed(failure) if failure.is_forbidden() && is_plain(failure) => {
                missing_rights.push(format!("the admin may not {subject}"));
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
                    profile: None,
                    kind: BlockerKind::Refused,
                    message: format!("cannot {subject}: {failure}"),
                    hint: None,
                });
            }
        }
    }
    plan.notes.extend(unchecked.into_iter().map(|message| Note::new(NoteKind::NotChecked, message)));
    if missing_rights.is_empty() {
        return;
    }
    if may_write_something {
        plan.blockers.extend(missing_rights.into_iter().map(|message| Blocker {
            profile: None,
            kind: BlockerKind::MissingRight,
            message,
            hint: Some("let the admin identity do that, or use another admin context".to_owned()),
        }));
    } else {
        let message = "the admin may read, but not write: nothing was checked by a dry run, and apply would refuse";
        plan.notes.push(Note::new(NoteKind::ReadOnly, message));
    }
}

impl ClusterPlan {
    /// Returns why a run must not start on this cluster: its blockers, or an admin who may not write.
    /// Where only credentials change, what blocks one of them does not block the others.
    pub fn refusals(&self) -> Vec<Blocker> {
        let blocks = |blocker: &&Blocker| self.scope == Scope::Access || blocker.profile.is_none();
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
        Probe::Write(position) => plan.steps[*position].to_string(),
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
    let Probe::Write(position) = probe else {
        return false;
    };
    let object = match &plan.steps[*position] {
        Step::Create(desired) => &desired.object,
        Step::Update(update) => &update.desired.object,
        _ => return false,
    };
    matches!(object.kind, Kind::ClusterRoleBinding | Kind::RoleBinding)
}

fn terminating(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| status.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

/// Whether a 403 comes from the authorizer and not from admission, which names itself otherwise.
fn is_plain(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| {
        // `… is forbidden: User "x" cannot create resource "roles" in API group "…"`; a webhook's own
        // words may say anything after its name.
        !status.message.contains("admission webhook")
            && status.message.contains("User \"")
            && status.message.contains(" cannot ")
            && status.message.contains(" resource \"")
    })
}

fn no_dry_run(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| status.code == 400 && status.message.contains("does not support dry run"))
}

fn escalation(subject: &str, failure: &ApiFailure) -> Blocker {
    let message = failure.status().map(|status| status.message.as_str()).unwrap_or_default();
    let user = message.split_once("user \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user);
    let user = user.map_or_else(|| "the admin".to_owned(), |user| format!("`{user}`"));
    let rules = missing_rules(message);
    let (message, hint) = if rules.is_empty() {
        (format!("cannot {subject}: {failure}"), None)
    } else {
        let rights = rules.join("; ");
        (
            format!("the API server would refuse to {subject} (403): {user} may not grant {rights}"),
            Some(format!("let {user} hold these rights, or the verb `escalate` on roles and `bind` on their bindings")),
        )
    };
    Blocker { profile: None, kind: BlockerKind::Escalation, message, hint }
}

/// Reads the rules that an escalation message lists, one `{APIGroups:["…"], …}` each.
fn missing_rules(message: &str) -> Vec<String> {
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
    describe_rules(&rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rules_are_named() {
        let message = "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: user \"ci\" (groups=[\"a\"]) is attempting \
             to grant RBAC permissions not currently held: {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \
             \"get\"]} {NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}";
        assert_eq!(missing_rules(message), ["get on /metrics", "delete, get on pods"]);
    }
}
