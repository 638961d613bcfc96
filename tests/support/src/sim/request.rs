//! A request and a reply of the simulated server, free of any HTTP library; and what a path means.
//!
//! Pure. Paths are read as kube-apiserver reads them for authorization: first as attributes that
//! also name unknown resources, so that "forbidden" comes before "not found".

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use super::protobuf;

/// A request with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Path and query as they were sent.
    pub(crate) target: String,
    /// The decoded pairs of the query.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    /// Headers beside the content type.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// What a request asks for, in the terms of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// A path outside the resources, as `/version`.
    Path { verb: String, path: String },
    /// A resource, known to the server or not.
    Resource(ResourceAttributes),
}

/// A verb on a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceAttributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// Empty for requests to the whole cluster.
    pub(crate) namespace: String,
    /// Empty for lists and creations.
    pub(crate) name: String,
}

impl Request {
    /// Reads a URI's path and query, and turns a body in protobuf into JSON.
    pub(crate) fn new(method: Method, uri: &http::Uri, headers: HeaderMap, body: Bytes) -> Self {
        let query = uri.query().unwrap_or_default();
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decode(key), decode(value)))
            .collect();
        let target = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let mut request = Self { method, path: decode(uri.path()), target, query, headers, body };
        if request.media_type() == "application/vnd.kubernetes.protobuf"
            && let Some(object) = protobuf::to_json(&request.body)
        {
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(http::header::CONTENT_TYPE, json);
            request.body = Bytes::from(object.to_string());
        }
        request
    }

    /// Returns the value of one key of the query, empty when absent.
    pub(crate) fn query(&self, key: &str) -> &str {
        self.query.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// Returns a header, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the media type of the body, without parameters.
    pub(crate) fn media_type(&self) -> &str {
        let content_type = self.header("content-type");
        content_type.split(';').next().unwrap_or_default().trim()
    }

    /// Returns whether nothing may be stored.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.query("dryRun") == "All"
    }

    /// Returns the same request with nothing to be stored.
    pub(crate) fn as_dry_run(&self) -> Self {
        let mut request = self.clone();
        request.query.push(("dryRun".to_owned(), "All".to_owned()));
        // The options of a DELETE are in its body, where it has one.
        if request.method == Method::DELETE
            && let Ok(mut options) = serde_json::from_slice::<Value>(&request.body)
        {
            options["dryRun"] = serde_json::json!(["All"]);
            request.body = Bytes::from(options.to_string());
        }
        request
    }

    /// Returns the same request for the first page of a list.
    pub(crate) fn without_continue(&self) -> Self {
        let mut request = self.clone();
        request.query.retain(|(key, _)| key != "continue");
        request
    }

    /// Returns who is recorded as manager of the fields.
    pub(crate) fn field_manager(&self) -> String {
        match self.query("fieldManager") {
            "" => {
                let agent = self.header("user-agent");
                let agent = agent.split('/').next().unwrap_or_default();
                if agent.is_empty() { "unknown" } else { agent }.to_owned()
            }
            manager => manager.to_owned(),
        }
    }

    /// Returns what the request asks for.
    pub(crate) fn attributes(&self) -> Attributes {
        let segments: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => {
                return Attributes::Path { verb: self.method.as_str().to_lowercase(), path: self.path.clone() };
            }
        };
        let mut attributes = ResourceAttributes {
            group: group.to_owned(),
            version: version.to_owned(),
            ..ResourceAttributes::default()
        };
        let parts = match rest {
            // The namespace itself, or one of its subresources.
            ["namespaces", namespace] => {
                (*namespace).clone_into(&mut attributes.namespace);
                rest
            }
            ["namespaces", namespace, "status" | "finalize"] => {
                (*namespace).clone_into(&mut attributes.namespace);
                rest
            }
            ["namespaces", namespace, parts @ ..] => {
                (*namespace).clone_into(&mut attributes.namespace);
                parts
            }
            parts => parts,
        };
        let part = |index: usize| parts.get(index).map_or_else(String::new, |&part| part.to_owned());
        attributes.resource = part(0);
        attributes.name = part(1);
        attributes.subresource = part(2);
        attributes.verb = self.verb(&attributes.name).to_owned();
        Attributes::Resource(attributes)
    }

    fn verb(&self, name: &str) -> &'static str {
        let watch = matches!(self.query("watch"), "true" | "1");
        match (&self.method, name.is_empty()) {
            (&Method::GET | &Method::HEAD, true) if watch => "watch",
            (&Method::GET | &Method::HEAD, true) => "list",
            (&Method::GET | &Method::HEAD, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "deletecollection",
            (&Method::DELETE, false) => "delete",
            _ => "",
        }
    }
}

impl ResourceAttributes {
    /// Returns `resource` or `resource/subresource`, as rules name it.
    pub(crate) fn qualified_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl Reply {
    /// Returns a JSON answer.
    pub(crate) fn json(code: u16, body: &Value) -> Self {
        Self { code, content_type: "application/json", headers: Vec::new(), body: Bytes::from(body.to_string()) }
    }

    /// Returns an answer in plain text.
    pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Self {
        Self { code, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: body.into() }
    }

    /// Returns the same answer with a `Warning` header, as kubectl shows it.
    pub(crate) fn with_warning(mut self, warning: &str) -> Self {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        self.headers.push(("warning", format!("299 - \"{quoted}\"")));
        self
    }
}

/// Decodes percent escapes and `+`, leniently.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escaped = bytes
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            decoded.push(byte);
            index += 3;
        } else {
            decoded.push(if bytes[index] == b'+' { b' ' } else { bytes[index] });
            index += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(method: Method, uri: &str) -> ResourceAttributes {
        let uri = uri.parse().unwrap();
        match Request::new(method, &uri, HeaderMap::new(), Bytes::new()).attributes() {
            Attributes::Resource(attributes) => attributes,
            Attributes::Path { path, .. } => panic!("{path} is not a resource"),
        }
    }

    #[test]
    fn a_namespace_is_its_own_namespace() {
        let namespace = attributes(Method::GET, "/api/v1/namespaces/apps");
        assert_eq!(namespace.resource, "namespaces");
        assert_eq!(namespace.name, "apps");
        assert_eq!(namespace.namespace, "apps");
    }

    #[test]
    fn a_subresource_keeps_the_name_of_its_object() {
        let path = "/api/v1/namespaces/apps/serviceaccounts/ci/token?&dryRun=All";
        let token = attributes(Method::POST, path);
        assert_eq!(token.qualified_resource(), "serviceaccounts/token");
        assert_eq!(token.name, "ci");
        assert_eq!(token.verb, "create");
    }

    #[test]
    fn queries_are_decoded() {
        let uri = "/api/v1/pods?&labelSelector=a%3Db%2Cc&x=1+2".parse().unwrap();
        let request = Request::new(Method::GET, &uri, HeaderMap::new(), Bytes::new());
        assert_eq!(request.query("labelSelector"), "a=b,c");
        assert_eq!(request.query("x"), "1 2");
    }
}
