//! Lies about who is asked, who asks, what they may do and what time it is.
//!
//! That whoever asks may do everything is in the server's authentication.

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::answer::rewrite;
use super::mode::Hostility;
use crate::sim::request::{Reply, Request};

/// Changes the answer if the mode lies about it.
pub(super) fn lie(mode: &Hostility, request: &Request, reply: Reply) -> Reply {
    let is_about = |resource: &str| request.path.ends_with(resource);
    match mode {
        Hostility::OtherClusterUid(uid) if is_about("/namespaces/kube-system") => {
            rewrite(reply, |namespace| namespace["metadata"]["uid"] = uid.as_str().into())
        }
        Hostility::ClockAhead(seconds) => {
            let ahead = Timestamp::now() + SignedDuration::from_secs(*seconds);
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&ahead);
            dated(reply, &date.expect("the year has four digits"))
        }
        Hostility::ClockAbsurd => dated(reply, "Fri, 31 Dec 9999 23:59:59 GMT"),
        Hostility::ClockGarbage => dated(reply, "yesterday, -1 Foo 99999 25:61:61 \u{202e}TMG"),
        Hostility::WrongWho if is_about("/selfsubjectreviews") => rewrite(reply, |review| {
            let user = &mut review["status"]["userInfo"];
            user["username"] = "system:serviceaccount:kube-system:somebody-else".into();
            user["uid"] = "somebody-else-uid".into();
        }),
        Hostility::EverythingAllowed if is_about("/selfsubjectaccessreviews") => {
            rewrite(reply, |review| review["status"] = json!({ "allowed": true }))
        }
        Hostility::EverythingDenied if is_about("/selfsubjectaccessreviews") => {
            rewrite(reply, |review| review["status"] = json!({ "allowed": false, "denied": true }))
        }
        _ => reply,
    }
}

fn dated(mut reply: Reply, date: &str) -> Reply {
    reply.headers.retain(|(name, _)| *name != "date");
    reply.headers.push(("date", date.to_owned()));
    reply
}
