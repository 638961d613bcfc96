//! The ServiceAccounts that a connection has just seen, so that none is read again only to be written.
//!
//! Every write of an index names the resourceVersion that it changes. So what was seen serves for a write as well as what is
//! read again: if it is out of date, the API server refuses the write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Response;
use crate::calendar::later;
use crate::object::ObjectRef;
use crate::observed::ObservedObject;

/// The ServiceAccounts that were seen last, and when.
#[derive(Debug, Default)]
pub(in crate::cluster) struct SeenAccounts(Mutex<HashMap<ObjectRef, Seen>>);

#[derive(Debug)]
struct Seen {
    observed: ObservedObject,
    date: Option<Timestamp>,
    at: Instant,
}

impl SeenAccounts {
    /// Remembers a ServiceAccount as a response shows it.
    pub(in crate::cluster) fn remember(&self, account: &ObjectRef, response: &Response) {
        let observed = ObservedObject::from_json(&response.value);
        let seen = Seen { observed, date: response.date, at: Instant::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), seen);
    }

    /// Remembers a ServiceAccount as a list showed it, and the cluster's time at some moment.
    pub(in crate::cluster) fn remember_listed(
        &self,
        account: &ObjectRef,
        observed: &ObservedObject,
        (date, at): (Option<Timestamp>, Instant),
    ) {
        let seen = Seen { observed: observed.clone(), date, at };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), seen);
    }

    /// Returns a ServiceAccount as it was seen last, with the cluster's time now, and forgets it.
    pub(in crate::cluster) fn take(&self, account: &ObjectRef) -> Option<(ObservedObject, Option<Timestamp>)> {
        let Seen { observed, date, at } = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(account)?;
        let since = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
        // In whole seconds, like every `Date` and every time in a token: a fraction would seem to be later than both.
        let now = |date: Timestamp| Timestamp::from_second(later(date, since).as_second()).unwrap_or(date);
        Some((observed, date.map(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::object::Kind;

    /// A time with a fraction is later than the same second in a token, and what is over would seem not to be.
    #[tokio::test(start_paused = true)]
    async fn the_time_goes_on_in_whole_seconds() {
        let seen = SeenAccounts::default();
        let account = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader");
        let response = Response { value: json!({"metadata": {"uid": "u"}}), date: Timestamp::from_second(60).ok() };
        seen.remember(&account, &response);
        tokio::time::advance(Duration::from_millis(1700)).await;
        let (observed, date) = seen.take(&account).unwrap();
        assert_eq!((observed.uid.as_str(), date), ("u", Timestamp::from_second(61).ok()));
        assert!(seen.take(&account).is_none(), "it serves once");
    }
}
