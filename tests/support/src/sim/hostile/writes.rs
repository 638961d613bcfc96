//! Writes that are not carried out, and answers that never let a client go on.
//!
//! Pure.

use serde_json::{Value, json};

use super::answer::Asked;
use super::mode::Hostility;
use crate::sim::request::{Reply, Request};

/// Answers what never reaches the honest server.
pub(super) fn answer_to_all(mode: &Hostility, asked: Asked, request: &Request) -> Option<Reply> {
    let throttled = |retry_after: &str| {
        let mut reply = Reply::json(429, &failure(429, "TooManyRequests", "too many requests"));
        reply.headers.push(("retry-after", retry_after.to_owned()));
        reply
    };
    Some(match mode {
        Hostility::ThrottleForever => throttled("86400"),
        Hostility::ThrottleGarbage => throttled("-18446744073709551616 seconds"),
        Hostility::GoneForever if asked == Asked::List => {
            Reply::json(410, &failure(410, "Expired", "The provided continue parameter is too old"))
        }
        Hostility::Redirect(url) => {
            let mut reply = Reply::text(307, "");
            reply.headers.push(("location", format!("{}{}", url.trim_end_matches('/'), request.target)));
            reply
        }
        _ => return None,
    })
}

/// Answers a write that the honest server would have carried out.
pub(super) fn not_carried_out(mode: &Hostility) -> Option<Reply> {
    Some(match mode {
        Hostility::OkFailure => Reply::json(200, &failure(500, "InternalError", "nothing was done")),
        Hostility::OkNothing => Reply::json(200, &json!({})),
        Hostility::OkLieDelete => {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
            Reply::json(200, &status)
        }
        Hostility::ConflictForever => {
            let why = "Operation cannot be fulfilled: the object has been modified; please apply your changes again";
            Reply::json(409, &failure(409, "Conflict", why))
        }
        _ => return None,
    })
}

/// Returns a `Status` that says no.
pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}
