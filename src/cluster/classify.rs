//! Turns what the HTTP client reports into [`ApiFailure`] values.

use std::error::Error;
use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{ApiFailure, Cause, StatusFailure, clean};

/// The most causes that are read. A response of the API server has one for each field.
const MOST_CAUSES: usize = 100;

/// Reads an error response. A body that is no `Status` did not come from an API server; of it only the code is kept.
pub(super) fn status(code: u16, body: &[u8], retry_after: Option<Duration>) -> ApiFailure {
    let value = super::api::json::object(body).unwrap_or_default();
    if value["kind"] != "Status" {
        let message = "something in between answered, not the API server".to_owned();
        return ApiFailure::Status(StatusFailure { code, message, retry_after, ..StatusFailure::default() });
    }
    let text = |value: &Value| clean(value.as_str().unwrap_or_default());
    let details = &value["details"];
    let causes = details["causes"].as_array().into_iter().flatten().take(MOST_CAUSES);
    ApiFailure::Status(StatusFailure {
        code,
        reason: text(&value["reason"]),
        message: text(&value["message"]),
        causes: causes
            .map(|cause| Cause {
                reason: text(&cause["reason"]),
                message: text(&cause["message"]),
                field: text(&cause["field"]),
            })
            .collect(),
        retry_after: retry_after.or_else(|| details["retryAfterSeconds"].as_u64().map(Duration::from_secs)),
    })
}

/// Finds out why no response came.
///
/// A rustls error hides inside `io::Error::get_ref`, which `source()` does not follow.
pub(super) fn transport(server: &str, error: &(dyn Error + 'static)) -> ApiFailure {
    let server = server.to_owned();
    let mut innermost = error.to_string();
    let mut current: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = current {
        innermost = error.to_string();
        if let Some(tls) = find_tls(error) {
            return ApiFailure::Tls { server, cause: describe_tls(tls) };
        }
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            match io_error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return ApiFailure::Connection { server, cause: "connection refused".to_owned() };
                }
                io::ErrorKind::TimedOut => {
                    return ApiFailure::Connection { server, cause: "connecting took too long".to_owned() };
                }
                _ => {}
            }
        }
        current = error.source();
    }
    ApiFailure::Connection { server, cause: clean(&innermost) }
}

fn find_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    error.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| find_tls(inner))
}

fn describe_tls(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        // kubeadm names every CA `kubernetes`, so a wrong CA can have the right subject: then the signature is bad.
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "it is signed by an unknown authority".to_owned()
        }
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "it has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "it is for another name".to_owned(),
        error => clean(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_causes() {
        let body = br#"{"kind":"Status","message":"Apply failed","reason":"Conflict","code":409,
            "details":{"causes":[{"reason":"FieldManagerConflict","message":"m","field":".rules"}],"retryAfterSeconds":2}}"#;
        let failure = status(409, body, None);
        let status = failure.status().unwrap();
        assert_eq!(status.causes[0].field, ".rules");
        assert_eq!(status.retry_after, Some(Duration::from_secs(2)));
        assert!(failure.is_stale());
    }

    #[test]
    fn a_page_of_a_proxy_is_not_quoted() {
        let failure = status(502, b"<html>Authorization: Bearer x</html>", None);
        assert_eq!(
            failure.to_string(),
            "the API server failed (502): something in between answered, not the API server"
        );
    }
}
