//! Refusals as Kubernetes words them: `Status` objects with code, reason, message and details.
//!
//! Pure. The wording follows Kubernetes 1.37, as the parity tests compare it.

use serde_json::{Map, Value, json};

use super::resource::ResourceType;

/// A refused request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

/// One of several reasons of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Failure {
    /// Returns the `Status` object.
    pub(crate) fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        let fields = status.as_object_mut().expect("a Status is an object");
        if !self.reason.is_empty() {
            fields.insert("reason".to_owned(), self.reason.into());
        }
        if let Some(details) = &self.details {
            fields.insert("details".to_owned(), details.clone());
        }
        fields.insert("code".to_owned(), self.code.into());
        status
    }

    pub(crate) fn unauthorized() -> Self {
        Self { code: 401, reason: "Unauthorized", message: "Unauthorized".to_owned(), details: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into(), details: None }
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        Self {
            code: 415,
            reason: "UnsupportedMediaType",
            message: format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
            details: None,
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { code: 500, reason: "", message: message.into(), details: None }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self {
            code: 405,
            reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource".to_owned(),
            details: Some(json!({})),
        }
    }

    /// The path names a resource that does not exist.
    pub(crate) fn unknown_resource() -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource".to_owned(),
            details: Some(json!({})),
        }
    }

    pub(crate) fn not_found(resource: &ResourceType, name: &str) -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: format!("{} \"{name}\" not found", resource.qualified_plural()),
            details: Some(details(name, resource.group, resource.plural)),
        }
    }

    pub(crate) fn already_exists(resource: &ResourceType, name: &str) -> Self {
        Self {
            code: 409,
            reason: "AlreadyExists",
            message: format!("{} \"{name}\" already exists", resource.qualified_plural()),
            details: Some(details(name, resource.group, resource.plural)),
        }
    }

    /// A conflict that names the resource in the plural.
    pub(crate) fn conflict(resource: &ResourceType, name: &str, why: &str) -> Self {
        Self::conflict_on(resource.plural, resource.group, name, why)
    }

    /// A conflict that names `kind`; some code paths of Kubernetes put the kind there.
    pub(crate) fn conflict_on(kind: &str, group: &str, name: &str, why: &str) -> Self {
        let qualified = super::resource::qualified(kind, group);
        Self {
            code: 409,
            reason: "Conflict",
            message: format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}"),
            details: Some(details(name, group, kind)),
        }
    }

    /// The object is not the one that the caller has read.
    pub(crate) fn modified(resource: &ResourceType, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Other managers own fields with other values.
    pub(crate) fn apply_conflict(message: String, causes: &[Cause]) -> Self {
        Self { code: 409, reason: "Conflict", message, details: Some(json!({ "causes": causes_json(causes) })) }
    }

    /// `why` completes "... is forbidden: ".
    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let qualified = super::resource::qualified(plural, group);
        let subject = if name.is_empty() { qualified } else { format!("{qualified} \"{name}\"") };
        Self {
            code: 403,
            reason: "Forbidden",
            message: format!("{subject} is forbidden: {why}"),
            details: Some(details(name, group, plural)),
        }
    }

    /// A path that is not a resource.
    pub(crate) fn forbidden_path(why: &str) -> Self {
        Self { code: 403, reason: "Forbidden", message: format!("forbidden: {why}"), details: Some(json!({})) }
    }

    /// The same refusal with `cause` in its details.
    pub(crate) fn because(mut self, cause: Cause) -> Self {
        if let Some(Value::Object(details)) = &mut self.details {
            details.insert("causes".to_owned(), causes_json(&[cause]));
        }
        self
    }

    /// Invalid fields; each cause's message is `Invalid value: ...` or `Required value...`.
    pub(crate) fn invalid(kind: &str, group: &str, name: &str, causes: &[Cause]) -> Self {
        let problems: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let problems = match problems.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let mut details = details(name, group, kind);
        details["causes"] = causes_json(causes);
        Self {
            code: 422,
            reason: "Invalid",
            message: format!("{} \"{name}\" is invalid: {problems}", super::resource::qualified(kind, group)),
            details: Some(details),
        }
    }
}

impl Cause {
    /// A value that is not allowed; `value` is printed as JSON.
    pub(crate) fn invalid(field: &str, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}"), field: field.to_owned() }
    }

    /// A value that is missing.
    pub(crate) fn required(field: &str, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", message, field: field.to_owned() }
    }
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details.into()
}

fn causes_json(causes: &[Cause]) -> Value {
    causes
        .iter()
        .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
        .collect()
}
