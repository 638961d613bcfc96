//! A Lease that several watchers share, so that one of them works and the others wait.
//!
//! It saves work and nothing else: each renewal is claimed in its cluster first, so two watchers that work at once do no
//! harm. The protocol is that of client-go's `leaderelection`: a holder is gone when its Lease did not change for as long as
//! it says, by the clock of who looks, so that clocks need not agree. The crate `kube-lease-manager` compares clocks, and
//! panics on a Lease with a negative duration.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde_json::json;
use tokio::time::Instant;

use super::api::{Api, Request};
use crate::failure::{ApiFailure, clean};
use crate::names::LeaseName;

/// How long a holder that says nothing keeps the Lease, as in client-go's own users.
const KEPT_FOR: Duration = Duration::from_secs(15);
/// The longest time that another holder's Lease is believed to last.
const LONGEST: Duration = Duration::from_secs(300);

/// Who has the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// This watcher.
    Here,
    /// Another one; empty if it is not known which.
    Elsewhere(String),
}

fn collection(name: &LeaseName) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", name.namespace)
}

fn path(name: &LeaseName) -> String {
    format!("{}/{}", collection(name), name.name)
}

/// The Lease, as one watcher sees it.
#[derive(Debug)]
pub(crate) struct Lease {
    name: LeaseName,
    holder: String,
    /// The version of the Lease that was seen last, and since when it is that.
    seen: Option<(String, Instant)>,
}

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    Renew,
    Take,
    Leave(String),
}

impl Lease {
    /// A Lease that nobody has looked at. `holder` is a name that no other watcher has.
    pub(crate) fn new(name: LeaseName, holder: String) -> Self {
        Self { name, holder, seen: None }
    }

    /// Renews the Lease, takes it if nobody has it, or finds out who does.
    ///
    /// # Errors
    ///
    /// If the API server does not answer, or refuses it.
    pub(crate) async fn ask(&mut self, api: &Api, now: Timestamp) -> Result<Held, ApiFailure> {
        let found = match api.send(&Request::get(path(&self.name))).await {
            Ok(answer) => self.read(answer.value)?,
            Err(failure) if failure.is_not_found() => return self.create(api, now).await,
            Err(failure) => return Err(failure),
        };
        let version = found.metadata.resource_version.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version.clone(), Instant::now()));
        }
        let unchanged = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let spec = found.spec.unwrap_or_default();
        let spec = match self.next(&spec, unchanged) {
            Move::Leave(holder) => return Ok(Held::Elsewhere(holder)),
            Move::Renew => LeaseSpec { renew_time: Some(MicroTime(now)), ..LeaseSpec::default() },
            Move::Take => {
                let transitions = spec.lease_transitions.unwrap_or_default().saturating_add(1);
                LeaseSpec { lease_transitions: Some(transitions), ..self.taken(now) }
            }
        };
        self.write(api, &version, &spec).await
    }

    /// Gives the Lease back, so that another watcher need not wait for its end.
    ///
    /// # Errors
    ///
    /// If the API server does not answer, or refuses it.
    pub(crate) async fn release(&mut self, api: &Api) -> Result<(), ApiFailure> {
        let found = self.read(api.send(&Request::get(path(&self.name))).await?.value)?;
        if found.spec.and_then(|spec| spec.holder_identity).as_deref() != Some(&self.holder) {
            return Ok(());
        }
        // client-go does the same: nobody holds it, and it ends in a second.
        let spec =
            LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..LeaseSpec::default() };
        let version = found.metadata.resource_version.unwrap_or_default();
        self.write(api, &version, &spec).await.map(drop)
    }

    fn next(&self, spec: &LeaseSpec, unchanged: Duration) -> Move {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = lasts.map_or(KEPT_FOR, Duration::from_secs).min(LONGEST);
        if holder == self.holder {
            Move::Renew
        } else if holder.is_empty() || unchanged >= lasts {
            Move::Take
        } else {
            Move::Leave(clean(holder))
        }
    }

    fn taken(&self, now: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(KEPT_FOR.as_secs()).ok(),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }
    }

    async fn create(&mut self, api: &Api, now: Timestamp) -> Result<Held, ApiFailure> {
        let metadata = ObjectMeta { name: Some(self.name.name.clone()), ..ObjectMeta::default() };
        let object = Object { metadata, spec: Some(self.taken(now)) };
        Self::came_of(api.send(&Request::post(collection(&self.name), object)).await)
    }

    /// Changes the Lease, unless somebody else did so meanwhile.
    async fn write(&mut self, api: &Api, version: &str, spec: &LeaseSpec) -> Result<Held, ApiFailure> {
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": spec });
        Self::came_of(api.send(&Request::merge_patch(path(&self.name), patch)).await)
    }

    /// Returns who has the Lease after a write. A write that was repeated may have been refused because of itself, which
    /// the next look finds out.
    fn came_of(answer: Result<super::api::Response, ApiFailure>) -> Result<Held, ApiFailure> {
        match answer {
            Ok(_) => Ok(Held::Here),
            Err(failure) if failure.code() == Some(409) => Ok(Held::Elsewhere(String::new())),
            Err(failure) => Err(failure),
        }
    }

    fn read(&self, value: serde_json::Value) -> Result<Object, ApiFailure> {
        let object: Option<Object> = serde_json::from_value(value).ok();
        let is_meant = |it: &Object| it.metadata.name.as_deref() == Some(&self.name.name);
        object.filter(is_meant).ok_or_else(|| ApiFailure::Unreadable { cause: format!("it is not {}", self.name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease::new(LeaseName::parse("ops/kubemint").unwrap(), "here".to_owned())
    }

    #[test]
    fn a_lease_is_left_to_its_holder_for_as_long_as_it_lasts() {
        let held = |holder: &str, seconds: Option<i32>| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        let seconds = Duration::from_secs;
        let other = || Move::Leave("there".to_owned());
        for (spec, unchanged, expect) in [
            (LeaseSpec::default(), 0, Move::Take),
            (held("", Some(15)), 0, Move::Take),
            (held("here", Some(15)), 0, Move::Renew),
            (held("here", Some(15)), 900, Move::Renew),
            (held("there", Some(20)), 19, other()),
            (held("there", Some(20)), 20, Move::Take),
            // What nobody says, or nobody means.
            (held("there", None), 14, other()),
            (held("there", None), 15, Move::Take),
            (held("there", Some(-1)), 14, other()),
            (held("there", Some(-1)), 15, Move::Take),
            (held("there", Some(i32::MAX)), 299, other()),
            (held("there", Some(i32::MAX)), 300, Move::Take),
        ] {
            assert_eq!(lease().next(&spec, seconds(unchanged)), expect, "{spec:?} after {unchanged} s");
        }
    }

    #[test]
    fn a_name_has_a_namespace() {
        assert_eq!(path(&lease().name), "/apis/coordination.k8s.io/v1/namespaces/ops/leases/kubemint");
        for wrong in ["kubemint", "/kubemint", "ops/", "ops/a/b", "Ops/kubemint", "ops/../x"] {
            assert!(LeaseName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
