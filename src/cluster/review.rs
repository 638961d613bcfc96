//! What a credential may do, as the API server tells it.

use k8s_openapi::Resource;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use serde::Serialize;
use serde_json::Value;

use super::api::{Api, Request};
use crate::access::{Answer, Question, RulesReview};
use crate::failure::{ApiFailure, clean};
use crate::object::ObjectRef;
use crate::rbac::{Right, Rule};

/// Asks whether one right holds. A `*` is sent as `*`, which only a `*` in a rule allows.
///
/// # Errors
///
/// If there is no response.
pub(crate) async fn may(api: &Api, question: &Question) -> Result<Answer, ApiFailure> {
    let spec = match &question.right {
        Right::Resource { group, resource, name, verb } => {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.clone()),
                    group: Some(group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()),
                    name: name.clone(),
                    namespace: question.scope.namespace().map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            }
        }
        Right::Url { url, verb } => on_url(verb, url),
    };
    is_allowed(api, spec).await
}

/// Asks whether the caller may do something with an object of ours.
///
/// # Errors
///
/// If there is no response.
pub(super) async fn may_on_object(
    api: &Api,
    verb: &str,
    subresource: Option<&str>,
    object: &ObjectRef,
) -> Result<Answer, ApiFailure> {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(object.kind.group().to_owned()),
        resource: Some(object.kind.resource().to_owned()),
        subresource: subresource.map(str::to_owned),
        namespace: object.namespace.clone(),
        name: Some(object.name.clone()),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    is_allowed(api, spec).await
}

/// Asks whether the caller may use a URL that is no resource.
///
/// # Errors
///
/// If there is no response.
pub(super) async fn may_on_url(api: &Api, verb: &str, url: &str) -> Result<Answer, ApiFailure> {
    is_allowed(api, on_url(verb, url)).await
}

fn on_url(verb: &str, url: &str) -> SelfSubjectAccessReviewSpec {
    let attributes = NonResourceAttributes { path: Some(url.to_owned()), verb: Some(verb.to_owned()) };
    SelfSubjectAccessReviewSpec { non_resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() }
}

async fn is_allowed(api: &Api, spec: SelfSubjectAccessReviewSpec) -> Result<Answer, ApiFailure> {
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    read_answer(&ask(api, &review).await?)
}

/// Creates a review. The API server answers it and stores nothing.
///
/// # Errors
///
/// If there is no response.
pub(super) async fn ask<R: Resource + Serialize>(api: &Api, review: &R) -> Result<Value, ApiFailure> {
    let path = format!("/apis/{}/{}", R::API_VERSION, R::URL_PATH_SEGMENT);
    Ok(api.send(&Request::post(path, review)).await?.value)
}

pub(super) fn read_answer(review: &Value) -> Result<Answer, ApiFailure> {
    match review["status"]["allowed"].as_bool() {
        Some(true) => Ok(Answer::Allowed),
        Some(false) => Ok(Answer::Denied),
        None => Err(ApiFailure::Unreadable { cause: "a review has no answer".to_owned() }),
    }
}

/// Asks for the list of rules in one namespace.
///
/// # Errors
///
/// If there is no response.
pub(crate) async fn rules(api: &Api, namespace: &str) -> Result<RulesReview, ApiFailure> {
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
    let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
    Ok(read_rules(&ask(api, &review).await?))
}

pub(super) fn read_rules(review: &Value) -> RulesReview {
    let status = &review["status"];
    let list = |rule: &Value, key: &str| {
        let texts = rule[key].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let rules_of = |key: &str| status[key].as_array().into_iter().flatten();
    let rules = rules_of("resourceRules").chain(rules_of("nonResourceRules")).map(|rule| Rule {
        api_groups: list(rule, "apiGroups"),
        resources: list(rule, "resources"),
        verbs: list(rule, "verbs"),
        resource_names: list(rule, "resourceNames"),
        non_resource_urls: list(rule, "nonResourceURLs"),
    });
    RulesReview {
        rules: rules.collect(),
        incomplete: status["incomplete"].as_bool() == Some(true),
        cause: status["evaluationError"].as_str().filter(|cause| !cause.is_empty()).map(clean),
    }
}
