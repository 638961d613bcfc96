//! Kubernetes Events (`events.k8s.io`) at a ServiceAccount: who looks there with `kubectl describe` sees why its credential is
//! not what it should be. They say nothing that the report does not say.
//!
//! There is at most one in an hour for the same reason: the name of an Event follows from both, so the API server refuses a
//! second one, whichever process writes it. It deletes Events itself, usually after an hour.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::api::{Api, Request};
use crate::failure::{ApiFailure, clean};
use crate::names::{Holder, InventoryName, short_hash};
use crate::object::ObjectRef;
use crate::observed::{ObservedObject, Ownership};

/// How often the same is said: once in this many seconds.
const EACH: i64 = 60 * 60;
/// The controller that Events name. It has the form of a label key.
const CONTROLLER: &str = "kubemint.dev/kubemint";
/// The longest name of an object (`DNS1123SubdomainMaxLength`).
const LONGEST_NAME: usize = 253;
/// The longest name of who reported it, in bytes (`validation/events.go`).
const LONGEST_INSTANCE: usize = 128;

/// Why there is an Event, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A credential could not be renewed or handed on, and has expired.
    Expired,
    /// It could not, and expires within an hour.
    Expires,
    /// It could not.
    NotRenewed,
    /// It was revoked.
    Revoked,
    /// The API server gave it a shorter life than was requested.
    LifetimeShortened,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotRenewed => "CredentialNotRenewed",
            Self::Expires => "CredentialExpires",
            Self::Expired => "CredentialExpired",
            Self::LifetimeShortened => "CredentialLifetimeShortened",
            Self::Revoked => "CredentialRevoked",
        }
    }

    fn action(self) -> &'static str {
        if self == Self::Revoked { "Revoke" } else { "Renew" }
    }
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The ServiceAccount.
    pub account: ObjectRef,
    /// Why.
    pub reason: Reason,
    /// What happened, and what to do about it.
    pub note: String,
}

/// Writes an Event, unless the same was said within the hour, or the ServiceAccount is gone or not ours.
///
/// # Errors
///
/// If the API server does not answer, or refuses it.
pub(crate) async fn warn(
    api: &Api,
    warning: &Warning,
    (inventory, holder): (&InventoryName, &Holder),
    now: Timestamp,
) -> Result<(), ApiFailure> {
    let account = &warning.account;
    let found = match api.object(&Request::get(account.path()).metadata_only(), account).await {
        Ok(answer) => answer.value,
        Err(failure) if failure.is_not_found() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    // An account that is not ours may be one of another cluster.
    if ObservedObject::from_json(&found).ownership(inventory) != Ownership::Ours {
        return Ok(());
    }
    let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
    let event = event(warning, uid, (inventory, holder), now);
    let namespace = account.namespace.as_deref().unwrap_or_default();
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    match api.send(&Request::post(path, event)).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_already_exists() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// The hour in which something is said.
pub(crate) fn hour(now: Timestamp) -> i64 {
    now.as_second() / EACH
}

fn event(warning: &Warning, uid: &str, (inventory, holder): (&InventoryName, &Holder), now: Timestamp) -> Event {
    let Warning { account, reason, note } = warning;
    let hour = hour(now).to_string();
    let hash = short_hash(&[uid, reason.as_str(), inventory.as_str(), holder.as_str(), &hour]);
    let name = format!("{}.{hash}", account.name);
    let name = if name.len() > LONGEST_NAME { format!("kubemint.{hash}") } else { name };
    let instance = format!("{inventory}/{holder}");
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: account.namespace.clone(), ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        type_: Some("Warning".to_owned()),
        reason: Some(reason.as_str().to_owned()),
        action: Some(reason.action().to_owned()),
        note: Some(clean(note)),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(account.kind.as_str().to_owned()),
            namespace: account.namespace.clone(),
            name: Some(account.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.get(..LONGEST_INSTANCE).unwrap_or(&instance).to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! What tests of other modules need.
    use std::time::Duration;

    use http::Response;
    use kube::client::Body;
    use tower_test::mock::{self, Handle};

    use super::*;
    use crate::cluster::Limits;
    use crate::cluster::transport::Client;

    /// The other end of a connection.
    pub(crate) type Server = Handle<http::Request<Body>, Response<Body>>;

    /// Returns a connection to an API server that says nothing by itself.
    pub(crate) fn mute() -> (Api, Server) {
        let (service, server) = mock::pair::<http::Request<Body>, Response<Body>>();
        let limits = Limits::new(Duration::from_secs(10), Duration::from_secs(60));
        (Api::new(Client::new(service), "https://api", limits), server)
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::tests_support::{Server, mute};
    use super::*;
    use crate::names::{INVENTORY_LABEL, MANAGED_BY, MANAGED_BY_LABEL};
    use crate::object::Kind;

    const ACCOUNT: &str = "/api/v1/namespaces/ns/serviceaccounts/reader";
    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/ns/events";

    /// Answers requests in their order, and returns the body of the last.
    async fn serve(answers: &[(&str, u16, Value)], mut server: Server) -> Value {
        let mut last = Value::Null;
        for (uri, code, answer) in answers {
            let (request, reply) = server.next_request().await.expect("another request");
            assert_eq!(request.uri(), *uri);
            let body = request.into_body().collect_bytes().await.unwrap();
            last = serde_json::from_slice(&body).unwrap_or_default();
            let answer = Body::from(answer.to_string().into_bytes());
            reply.send_response(Response::builder().status(*code).body(answer).unwrap());
        }
        drop(server);
        last
    }

    async fn warned(answers: &[(&str, u16, Value)]) -> (Result<(), ApiFailure>, Value) {
        let (api, server) = mute();
        let account = ObjectRef::namespaced(Kind::ServiceAccount, "ns", "reader");
        let warning = Warning { account, reason: Reason::Revoked, note: "x".to_owned() };
        let (inventory, holder) = (InventoryName::new("acme"), Holder::new("main"));
        let now = Timestamp::from_second(3600).unwrap();
        tokio::join!(warn(&api, &warning, (&inventory, &holder), now), serve(answers, server))
    }

    fn status(code: u16, reason: &str) -> Value {
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
    }

    /// kubectl describes a ServiceAccount with the Events that name its uid.
    #[tokio::test]
    async fn an_event_is_about_the_account_that_exists() {
        let labels = json!({ MANAGED_BY_LABEL: MANAGED_BY, INVENTORY_LABEL: "acme" });
        let metadata = json!({"name": "reader", "namespace": "ns", "uid": "u", "labels": labels});
        let mut account = json!({"kind": "PartialObjectMetadata", "metadata": metadata});
        let found = (ACCOUNT, 200, account.clone());
        let (result, sent) = warned(&[found.clone(), (EVENTS, 201, json!({"kind": "Event"}))]).await;
        result.unwrap();
        let regarding =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "namespace": "ns", "name": "reader", "uid": "u"});
        assert_eq!(sent["regarding"], regarding);
        assert_eq!((&sent["type"], &sent["reason"]), (&json!("Warning"), &json!("CredentialRevoked")));
        assert_eq!(sent["reportingInstance"], "acme/main");
        // Somebody said so within the hour.
        assert!(warned(&[found.clone(), (EVENTS, 409, status(409, "AlreadyExists"))]).await.0.is_ok());
        assert!(warned(&[found, (EVENTS, 403, status(403, "Forbidden"))]).await.0.unwrap_err().is_forbidden());
        // It is somebody else's, and nothing is sent.
        account["metadata"]["labels"][INVENTORY_LABEL] = "other".into();
        assert!(warned(&[(ACCOUNT, 200, account)]).await.0.is_ok());
        // There is nothing to describe any more, and nothing is sent.
        assert!(warned(&[(ACCOUNT, 404, status(404, "NotFound"))]).await.0.is_ok());
    }

    fn said(name: &str, note: &str, second: i64) -> Event {
        let account = ObjectRef { kind: Kind::ServiceAccount, namespace: Some("ns".to_owned()), name: name.to_owned() };
        let warning = Warning { account, reason: Reason::NotRenewed, note: note.to_owned() };
        let (inventory, holder) = (InventoryName::new("acme"), Holder::new("main"));
        event(&warning, "uid-1", (&inventory, &holder), Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_same_has_the_same_name_within_an_hour() {
        let name = |name: &str, second| said(name, "x", second).metadata.name.unwrap();
        assert_eq!(name("reader", 3600), name("reader", 7199));
        assert_ne!(name("reader", 3600), name("reader", 7200));
        assert!(name("reader", 3600).starts_with("reader."));
        assert!(name(&"a".repeat(250), 0).len() <= LONGEST_NAME);
    }

    #[test]
    fn what_it_says_fits_and_holds_no_secret() {
        let token = format!("eyJhbGciOi.{}.sig", "p".repeat(60));
        let note = said("reader", &format!("refused {token}\n{}", "ä".repeat(2000)), 0).note.unwrap();
        assert!(note.len() <= 1024 && !note.contains(&token) && !note.contains('\n'), "{note}");
    }
}
