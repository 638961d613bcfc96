//! Tries a plan's writes without effect, with `dryRun=All`, and checks the rights that minting needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::api::{Api, Request};
use super::review::may_on_object;
use super::write::{create_request, delete_request, update_request};
use crate::access::Answer;
use crate::desired::{Content, DesiredObject};
use crate::failure::ApiFailure;
use crate::names::{ANCHOR_TYPE, FIELD_MANAGER};
use crate::object::{Kind, ObjectRef, RoleRef};
use crate::observed::{NamespaceState, ObservedCluster, ObservedObject};
use crate::plan::{ClusterPlan, Probe, ProbeResult, RoleRead, mint_probes};
use crate::step::Step;

/// What trying a plan told.
#[derive(Debug)]
pub(crate) struct Probed {
    /// The results.
    pub results: Vec<(Probe, ProbeResult)>,
    /// The existing roles that new bindings refer to.
    pub roles: BTreeMap<ObjectRef, RoleRead>,
}

/// Tries every write of a plan, and everything that minting needs.
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
                let mut stand_in = desired.clone();
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
    for probe in mint_probes(plan) {
        let result = match &probe {
            Probe::Right { verb, subresource, object, .. } => may(api, verb, *subresource, object).await?,
            Probe::CreateAnchor { namespace, .. } if is_absent(namespace) => {
                ProbeResult::NamespaceAbsent(namespace.clone())
            }
            Probe::CreateAnchor { namespace, .. } => attempt(api, &anchor_request(namespace).dry_run()).await?,
            Probe::Write(_) => continue,
        };
        results.push((probe, result));
    }
    Ok(Probed { results, roles })
}

/// Reads the existing role that a new binding refers to; nothing for one that is part of the plan.
///
/// A caller who may bind every role is told nothing by the dry run, so a misspelled role would pass.
async fn bound_role(
    api: &Api,
    plan: &ClusterPlan,
    step: &Step,
) -> Result<Option<(RoleRef, ObjectRef, RoleRead)>, ApiFailure> {
    let Step::Create(DesiredObject { object, content: Content::Binding { role, .. }, .. }) = step else {
        return Ok(None);
    };
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
