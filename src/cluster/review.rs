//! What a credential may do, as the API server tells the credential itself.

use serde_json::{Value, json};

use super::api::{Api, Request};
use crate::access::{Answer, Question, RulesReview};
use crate::failure::{ApiFailure, clean};
use crate::rbac::{Right, Rule};

/// Asks whether one right holds. A `*` is asked as `*`, which only a `*` allows.
///
/// # Errors
///
/// If there is no answer.
pub async fn may(api: &Api, question: &Question) -> Result<Answer, ApiFailure> {
    let spec = match &question.right {
        Right::Resource { group, resource, name, verb } => {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let namespace = question.scope.namespace().unwrap_or_default();
            json!({ "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "name": name.as_deref().unwrap_or_default(), "namespace": namespace,
            }})
        }
        Right::Url { url, verb } => json!({ "nonResourceAttributes": { "path": url, "verb": verb } }),
    };
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec });
    let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review);
    let answer = api.send(&request).await?;
    read_answer(&answer.value)
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
/// If there is no answer.
pub async fn rules(api: &Api, namespace: &str) -> Result<RulesReview, ApiFailure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": { "namespace": namespace },
    });
    let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review);
    let answer = api.send(&request).await?;
    Ok(read_rules(&answer.value))
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
