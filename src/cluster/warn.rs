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

/// How often the same is said: once in this many seconds.
const EACH: i64 = 60 * 60;
/// The controller that Events name. It has the form of a label key.
const CONTROLLER: &str = "kubemint.dev/kubemint";
/// The longest name of an object (`DNS1123SubdomainMaxLength`).
const LONGEST_NAME: usize = 253;
/// The longest name of who reported it, in bytes (`validation/events.go`).
const LONGEST_INSTANCE: usize = 128;

/// Why there is an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A credential could not be renewed.
    NotRenewed,
    /// It could not, and expires within an hour.
    Expires,
    /// It could not, and has expired.
    Expired,
    /// The API server gave it a shorter life than was requested.
    LifetimeShortened,
    /// It was revoked.
    Revoked,
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

/// Writes an Event, unless the same was said within the hour, or the ServiceAccount is gone.
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

fn event(warning: &Warning, uid: &str, (inventory, holder): (&InventoryName, &Holder), now: Timestamp) -> Event {
    let Warning { account, reason, note } = warning;
    let hour = (now.as_second() / EACH).to_string();
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
mod tests {
    use super::*;
    use crate::object::Kind;

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
