//! Uses a token to find out whether it works: a new connection, and a request for the caller's name.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use serde_json::Value;

use super::api::{Api, Request};
use super::review::{ask, may_on_url};
use crate::credential::{Claims, Distrust};
use crate::failure::{ApiFailure, StepFailure};
use crate::secret::SecretToken;

/// If there are several API servers, each learns of a new ServiceAccount at another time; 15 s cover their caches.
const TRIES: usize = 15;
const WAIT: Duration = Duration::from_secs(1);

/// Proves that a token works and belongs to its ServiceAccount; `api` is a connection that has only this token.
///
/// # Errors
///
/// If the endpoint cannot be reached with what consumers get, or the token belongs to somebody else.
pub(crate) async fn verify(api: &Api, token: &SecretToken) -> Result<(), StepFailure> {
    let claims = Claims::of(token).map_err(|error| StepFailure::new(format!("the token is unusable: {error}")))?;
    // A response that is no Status comes from a gateway, and waiting does not help.
    let is_new = |failure: &ApiFailure| {
        failure.status().is_some_and(|status| matches!(status.code, 401 | 403) && !status.reason.is_empty())
    };
    let waits = ConstantBuilder::default().with_delay(WAIT).with_max_times(TRIES);
    let username = (|| who_am_i(api)).retry(waits).when(is_new).await?;
    match username {
        Some(username) if username != claims.subject => Err(StepFailure::new(format!(
            "the endpoint takes the token for `{}`, not for `{}`",
            crate::failure::clean(&username),
            claims.subject
        ))),
        _ => Ok(()),
    }
}

/// How often a refused credential is tried again before it counts as dead: an API server that has just started does not
/// know any account yet.
const SECOND_TRIES: usize = 2;

/// Tries a credential that was published earlier; `api` is a connection that has only this one.
///
/// # Errors
///
/// If the endpoint does not respond; nothing is then known about the credential.
pub(crate) async fn distrust(api: &Api, subject: &str) -> Result<Option<Distrust>, ApiFailure> {
    let waits = ConstantBuilder::default().with_delay(WAIT).with_max_times(SECOND_TRIES);
    let is_refused = |failure: &ApiFailure| failure.code() == Some(401);
    match (|| who_am_i(api)).retry(waits).when(is_refused).await {
        Ok(Some(username)) if username != subject => Ok(Some(Distrust::WrongSubject)),
        Ok(_) => Ok(None),
        Err(failure) if failure.code() == Some(401) => Ok(Some(Distrust::Refused)),
        Err(failure) => Err(failure),
    }
}

/// How often a revoked token is tried; API servers remember an accepted one for 10 s, and one of several
/// may lag behind the others.
const REFUSAL_TRIES: usize = 120;
const REFUSAL_WAIT: Duration = Duration::from_millis(500);

/// Returns once the API server refuses a revoked token; `api` is a connection that has only this one.
///
/// # Errors
///
/// If it is still accepted after a minute, or the endpoint does not respond.
pub(crate) async fn await_refusal(api: &Api) -> Result<(), StepFailure> {
    let waits = ConstantBuilder::default().with_delay(REFUSAL_WAIT).with_max_times(REFUSAL_TRIES);
    let refused = || async {
        match who_am_i(api).await {
            Ok(_) => Err(None),
            Err(failure) if failure.code() == Some(401) => Ok(()),
            Err(failure) => Err(Some(failure)),
        }
    };
    refused.retry(waits).when(Option::is_none).await.map_err(|failure| match failure {
        Some(failure) => failure.into(),
        None => StepFailure::new("the API server still accepts the revoked token after a minute")
            .hint("see whether something between, such as an authenticating proxy, remembers it"),
    })
}

/// A URL that no role names. The refusal tells the caller's name.
const NOBODY_MAY: &str = "/kubemint-who-am-i";

/// Asks who the caller is. Servers before 1.28 do not serve the review for that; on these, the name is taken from a
/// refusal. If the caller may do everything on such a server, no name is known.
///
/// # Errors
///
/// If there is no response, the credential is not accepted, or something else than the API server responded: a refusal
/// that names no user proves nothing.
pub(crate) async fn who_am_i(api: &Api) -> Result<Option<String>, ApiFailure> {
    match ask(api, &SelfSubjectReview::default()).await {
        Ok(review) => username(&review).map(Some),
        // An API that is not served gets a 404 without a Status.
        Err(failure) if failure.code() == Some(404) => {
            match api.send(&Request::get(NOBODY_MAY)).await {
                Err(failure) if failure.code() == Some(403) => return named(failure).map(Some),
                Err(failure) if failure.code() != Some(404) => return Err(failure),
                _ => {}
            }
            // Either answer proves that this is an API server.
            may_on_url(api, "get", "/version").await.map(|_| None)
        }
        Err(failure) if failure.code() == Some(403) => named(failure).map(Some),
        Err(failure) => Err(failure),
    }
}

/// Returns the user that an API server's refusal names, as in `User "system:serviceaccount:…" cannot create resource …`
/// (apiserver, `pkg/endpoints/handlers/responsewriters/errors.go`).
///
/// # Errors
///
/// The refusal itself, if it names nobody, because a gateway made it, or if it names the anonymous user, because the
/// server did not look at the credential.
fn named(failure: ApiFailure) -> Result<String, ApiFailure> {
    let message = failure.status().filter(|_| failure.is_forbidden()).map_or("", |status| status.message.as_str());
    let name = message.split_once("User \"").and_then(|(_, rest)| rest.split_once("\" cannot ")).map(|(name, _)| name);
    match name {
        Some(name) if name != ANONYMOUS => Ok(name.to_owned()),
        _ => Err(failure),
    }
}

/// The user of a request without a credential, or whose credential the server did not look at.
const ANONYMOUS: &str = "system:anonymous";

/// Whether a refusal is for the anonymous user: the server did not look at the credential.
pub(crate) fn is_of_nobody(failure: &ApiFailure) -> bool {
    failure.status().is_some_and(|status| status.message.contains(ANONYMOUS))
}

fn username(review: &Value) -> Result<String, ApiFailure> {
    let username = review["status"]["userInfo"]["username"].as_str();
    username.map(str::to_owned).ok_or_else(|| ApiFailure::Unreadable { cause: "a review names no user".to_owned() })
}
