//! Tries a plan's writes without effect, with `dryRun=All`, and checks the rights that minting needs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::api::{Api, Request};
use super::review::{self, may_on_object};
use super::write::{create_request, delete_request, update_request};
use crate::access::Answer;
use crate::desired::{Content, DesiredObject};
use crate::failure::ApiFailure;
use crate::names::{ANCHOR_TYPE, FIELD_MANAGER};
use crate::object::{Kind, ObjectRef, RoleRef};
use crate::observed::{NamespaceState, ObservedCluster, ObservedObject};
use crate::plan::{ClusterPlan, Probe, ProbeResult, RoleRead, mint_probes};
use crate::rbac::{Right, Rule};
use crate::step::Step;

/// What trying a plan told.
#[derive(Debug)]
pub(crate) struct Probed {
    /// The results.
    pub results: Vec<(Probe, ProbeResult)>,
    /// The existing roles that new bindings refer to.
    pub roles: BTreeMap<ObjectRef, RoleRead>,
}

/// Tries every write of a plan, and everything that minting needs; nothing more once it is in doubt whether a namespace is
/// absent, as it was taken to be.
///
/// # Errors
///
/// If a probe got no response; nothing is then known about the cluster.
pub(crate) async fn probe(api: &Api, plan: &ClusterPlan, observed: &ObservedCluster) -> Result<Probed, ApiFailure> {
    let is_absent = |namespace: &str| observed.namespaces.get(namespace) == Some(&NamespaceState::Absent);
    let (mut results, mut roles) = (vec![], BTreeMap::new());
    for step in &plan.steps {
        let (object, request) = match step {
            Step::Create(desired) if observed.objects.contains_key(&desired.object) => {
                // An earlier step deletes the object. Until then a dry run of its name would get `AlreadyExists`.
                let mut stand_in = DesiredObject::clone(desired);
                stand_in.object.name.push_str(":dry-run");
                (&desired.object, create_request(&stand_in))
            }
            Step::Create(desired) => (&desired.object, create_request(desired)),
            Step::Update(update) => (&update.desired.object, update_request(update)),
            Step::Delete(delete) => (&delete.object, delete_request(delete)),
            // What these need is checked below, and only that much, so that a revocation does not wait for more
            // responses.
            Step::Mint(_)
            | Step::Publish(_)
            | Step::ExecAnchor(_)
            | Step::Plugin(_)
            | Step::Retire(_)
            | Step::Revoke(_)
            | Step::Recreate(_)
            | Step::Resume(_)
            | Step::Remove(_) => continue,
        };
        let result = match &object.namespace {
            Some(namespace) if is_absent(namespace) => ProbeResult::NamespaceAbsent(namespace.clone()),
            _ if object.kind == Kind::Namespace && observed.assumed_absent.contains(object) => {
                // Unless it would be created, it may be there, and then nobody has to be able to create it. A webhook that is
                // down or slow is asked once: looking for the namespace needs none.
                if !matches!(attempt(api, &request.dry_run().once()).await, Ok(ProbeResult::Allowed)) {
                    return Ok(Probed { results, roles });
                }
                ProbeResult::Allowed
            }
            _ => attempt(api, &request.dry_run()).await?,
        };
        let is_about_role = match &result {
            ProbeResult::Allowed | ProbeResult::NamespaceAbsent(_) => true,
            // A caller who may not bind every role is told that the role does not exist.
            ProbeResult::Failed(failure) => failure.is_not_found(),
            ProbeResult::Denied | ProbeResult::RoleAbsent { .. } => false,
        };
        let result = match bound_role(api, plan, step).await? {
            Some((role, address, read)) => {
                let is_absent = read == RoleRead::Absent;
                roles.insert(address, read);
                if is_absent && is_about_role {
                    ProbeResult::RoleAbsent { role, tried: Box::new(result) }
                } else {
                    result
                }
            }
            None => result,
        };
        results.push((Probe::Write(step.id()), result));
    }
    let probes = mint_probes(plan);
    let rules = listed_rules(api, &probes).await?;
    let mut anchors: BTreeMap<String, ProbeResult> = BTreeMap::new();
    for probe in probes {
        let result = match &probe {
            Probe::Right { verb, subresource, object, .. } => {
                let right = right_on(verb, *subresource, object);
                let listed = object.namespace.as_ref().and_then(|namespace| rules.get(namespace));
                match listed {
                    Some(rules) if rules.iter().any(|rule| rule.allows(&right)) => ProbeResult::Allowed,
                    _ => may(api, verb, *subresource, object).await?,
                }
            }
            Probe::CreateAnchor { namespace, .. } if is_absent(namespace) => {
                ProbeResult::NamespaceAbsent(namespace.clone())
            }
            Probe::CreateAnchor { namespace, .. } => match anchors.get(namespace) {
                Some(known) => known.clone(),
                None => {
                    let result = attempt(api, &anchor_request(namespace).dry_run()).await?;
                    anchors.insert(namespace.clone(), result.clone());
                    result
                }
            },
            Probe::Write(_) => continue,
        };
        results.push((probe, result));
    }
    Ok(Probed { results, roles })
}

/// Lists the caller's rules in each namespace that several rights are needed in: one response instead of one for each
/// right. A right that a list lacks is asked for all the same, and a list that an authorizer could not complete counts as
/// empty, because a webhook that cannot list its rules may also deny.
async fn listed_rules(api: &Api, probes: &[Probe]) -> Result<BTreeMap<String, Vec<Rule>>, ApiFailure> {
    let mut needed: BTreeMap<&str, BTreeSet<Right>> = BTreeMap::new();
    for probe in probes {
        if let Probe::Right { verb, subresource, object, .. } = probe
            && let Some(namespace) = &object.namespace
        {
            needed.entry(namespace).or_default().insert(right_on(verb, *subresource, object));
        }
    }
    let mut listed = BTreeMap::new();
    for (namespace, _) in needed.into_iter().filter(|(_, rights)| rights.len() > 1) {
        match review::rules(api, namespace).await {
            Ok(review) if review.incomplete => {}
            Ok(review) => drop(listed.insert(namespace.to_owned(), review.rules)),
            // Who may not ask for the list may still ask for each right.
            Err(failure) if failure.is_forbidden() || failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(listed)
}

fn right_on(verb: &str, subresource: Option<&str>, object: &ObjectRef) -> Right {
    let resource = object.kind.resource();
    Right::Resource {
        group: object.kind.group().to_owned(),
        resource: subresource.map_or_else(|| resource.to_owned(), |subresource| format!("{resource}/{subresource}")),
        name: Some(object.name.clone()).filter(|name| !name.is_empty()),
        verb: verb.to_owned(),
    }
}

/// Reads the existing role that a new binding refers to; nothing for one that is part of the plan.
///
/// A caller who may bind every role is told nothing by the dry run, so a misspelled role would pass.
async fn bound_role(
    api: &Api,
    plan: &ClusterPlan,
    step: &Step,
) -> Result<Option<(RoleRef, ObjectRef, RoleRead)>, ApiFailure> {
    let Step::Create(desired) = step else { return Ok(None) };
    let DesiredObject { object, content: Content::Binding { role, .. }, .. } = &**desired else { return Ok(None) };
    let referred = role.object(object.namespace.as_deref());
    let is_planned = plan.steps.iter().any(|step| matches!(step, Step::Create(desired) if desired.object == referred));
    if is_planned {
        return Ok(None);
    }
    let read = read_role(api, &referred).await?;
    Ok(Some((role.clone(), referred, read)))
}

/// Reads an existing role.
///
/// # Errors
///
/// If there is no response.
pub(crate) async fn read_role(api: &Api, role: &ObjectRef) -> Result<RoleRead, ApiFailure> {
    match api.object(&Request::get(role.path()), role).await {
        Ok(answer) => Ok(RoleRead::Rules(ObservedObject::from_json(&answer.value).rules)),
        Err(failure) if failure.is_not_found() => Ok(RoleRead::Absent),
        // Without the right to read roles nothing is known here, but then the API server checks a new binding anyway.
        Err(failure) if failure.is_forbidden() => Ok(RoleRead::Unreadable),
        Err(failure) => Err(failure),
    }
}

/// A refusal of the API server counts as a result; a missing response does not.
async fn attempt(api: &Api, request: &Request) -> Result<ProbeResult, ApiFailure> {
    match api.send(request).await {
        Ok(_) => Ok(ProbeResult::Allowed),
        Err(failure)
            if failure.status().is_some_and(|status| status.code != 401 && status.code < 500 && status.code != 429) =>
        {
            Ok(ProbeResult::Failed(failure))
        }
        Err(failure) => Err(failure),
    }
}

fn anchor_request(namespace: &str) -> Request {
    let metadata = ObjectMeta {
        generate_name: Some("kubemint-probe-".to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let anchor = Secret { metadata, type_: Some(ANCHOR_TYPE.to_owned()), ..Secret::default() };
    Request::post(Kind::Secret.collection_path(Some(namespace)), anchor).query("fieldManager", FIELD_MANAGER)
}

async fn may(api: &Api, verb: &str, subresource: Option<&str>, object: &ObjectRef) -> Result<ProbeResult, ApiFailure> {
    Ok(match may_on_object(api, verb, subresource, object).await? {
        Answer::Allowed => ProbeResult::Allowed,
        Answer::Denied => ProbeResult::Denied,
    })
}
