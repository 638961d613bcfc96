//! Deleting an object, and checking that it is gone.
//!
//! The status 200 for a delete proves little: a finalizer may keep the object for any time, and a gateway may respond
//! in place of the API server. An object is gone after a 404, or when an object of its name has another uid.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::Value;

use super::api::{Api, Request};
use crate::failure::{ApiFailure, StepFailure};
use crate::object::{Kind, ObjectRef};

/// The version of an object that is deleted, so that a later object of the same name is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    /// Its uid.
    pub(super) uid: &'a str,
    /// Its resourceVersion, if the object must not have changed since it was read.
    pub(super) resource_version: Option<&'a str>,
}

/// The state of an object after its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does not exist any more.
    Gone,
    /// It is being deleted, and finalizers hold it.
    Held {
        /// The finalizers.
        finalizers: Vec<String>,
        /// Since when, by the cluster's clock.
        since: Option<Timestamp>,
    },
    /// It exists, and is not being deleted.
    Untouched,
}

/// Returns the request that deletes an object and what it owns.
pub(super) fn request(object: &ObjectRef, version: Version<'_>) -> Request {
    let options = DeleteOptions {
        api_version: Some("v1".to_owned()),
        kind: Some("DeleteOptions".to_owned()),
        propagation_policy: Some("Background".to_owned()),
        preconditions: Some(Preconditions {
            uid: Some(version.uid.to_owned()),
            resource_version: version.resource_version.map(str::to_owned),
        }),
        ..DeleteOptions::default()
    };
    Request::delete(object.path(), options)
}

/// Deletes an object, and checks what has become of it. An object that does not exist is no error.
///
/// # Errors
///
/// If the API server refuses, for example because the object is another one by now, or does not respond.
pub(super) async fn delete(api: &Api, object: &ObjectRef, version: Version<'_>) -> Result<Fate, ApiFailure> {
    match api.send(&request(object, version)).await {
        Ok(_) => fate(api, object, version.uid).await,
        Err(failure) if failure.is_not_found() => Ok(Fate::Gone),
        Err(failure) => Err(failure),
    }
}

/// Returns what has become of an object.
///
/// # Errors
///
/// If it cannot be read; its state is then unknown.
pub(super) async fn fate(api: &Api, object: &ObjectRef, uid: &str) -> Result<Fate, ApiFailure> {
    let metadata = match api.object(&Request::get(object.path()).metadata_only(), object).await {
        Ok(answer) => answer.value["metadata"].clone(),
        Err(failure) if failure.is_not_found() => return Ok(Fate::Gone),
        Err(failure) => return Err(failure),
    };
    if metadata["uid"] != uid {
        return Ok(Fate::Gone);
    }
    let Some(since) = metadata["deletionTimestamp"].as_str() else { return Ok(Fate::Untouched) };
    let finalizers = metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Fate::Held { finalizers: finalizers.map(str::to_owned).collect(), since: since.parse().ok() })
}

impl Fate {
    /// Returns an error that says why, if the object is not gone.
    pub(super) fn gone(self, object: &ObjectRef) -> Result<(), StepFailure> {
        match self {
            Self::Gone => Ok(()),
            Self::Held { finalizers, .. } => {
                let held = if finalizers.is_empty() { "something".to_owned() } else { finalizers.join("`, `") };
                let follows = match object.kind {
                    Kind::Secret => {
                        "; the API server accepts tokens that are bound to it for a minute after its deletion began"
                    }
                    Kind::ServiceAccount => "; until it is gone its tokens may still work",
                    Kind::Namespace | Kind::ClusterRole | Kind::Role | Kind::ClusterRoleBinding | Kind::RoleBinding => {
                        "; until it is gone it still allows what it allowed"
                    }
                    Kind::SveltosCluster | Kind::RemoteClusterConfiguration | Kind::ClusterProfile => "",
                };
                Err(StepFailure::new(format!("{object} still exists: `{held}` holds it{follows}"))
                    .hint(format!("see what that finalizer waits for: `{}`", object.kubectl("get", &["-o", "yaml"]))))
            }
            Self::Untouched => {
                Err(StepFailure::new(format!("the API server said that it deleted {object}, which still exists"))
                    .hint(format!("see what keeps it: `{}`", object.kubectl("get", &["-o", "yaml"]))))
            }
        }
    }
}
