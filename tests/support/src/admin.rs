//! A small blocking JSON client, so that one scenario can run against either fleet.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::TestCluster;

/// A whole request may take this long; real API servers answer in milliseconds, but a busy machine
/// with several of them starting does not.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one cluster that sends one identity's token.
#[derive(Clone, Debug)]
pub struct Admin {
    port: u16,
    token: Option<String>,
    tls: Arc<rustls::ClientConfig>,
}

/// An answer, whatever its status code.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status code.
    pub code: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or a JSON string where the body is not JSON.
    pub body: Value,
}

/// A refusal: the HTTP status code and the `Status` object that explains it.
///
/// A request without an answer has the code 0 and the failure as its message.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiStatus {
    /// The HTTP status code.
    pub code: u16,
    /// `Status.reason`, empty when there is none.
    pub reason: String,
    /// `Status.message`, or the whole body where it is not a `Status`.
    pub message: String,
    /// `Status.details`.
    pub details: Box<Value>,
}

impl fmt::Display for ApiStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for ApiStatus {}

impl Admin {
    /// Returns a client with the token of the cluster's `admin`.
    pub fn new(cluster: &TestCluster) -> Self {
        Self {
            port: cluster.port(),
            token: Some(cluster.admin_token.clone()),
            tls: crate::pki::client_config(&cluster.ca_pem).expect("a test cluster's CA is a certificate"),
        }
    }

    /// Returns the same client with another token.
    #[must_use]
    pub fn as_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Returns the same client without any credential.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Reads `path`.
    pub fn get(&self, path: &str) -> Result<Value, ApiStatus> {
        self.send(&Method::GET, path, &[], None)?.into_result()
    }

    /// Reads the metadata of the object or list at `path`, never its data.
    pub fn get_metadata(&self, path: &str) -> Result<Value, ApiStatus> {
        let kind = if path.rsplit('/').next().is_some_and(is_plural) {
            "PartialObjectMetadataList"
        } else {
            "PartialObjectMetadata"
        };
        let accept = format!("application/json;as={kind};g=meta.k8s.io;v=v1");
        self.send(&Method::GET, path, &[("accept", &accept)], None)?.into_result()
    }

    /// Posts `object` to `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, ApiStatus> {
        let json = [("content-type", "application/json")];
        self.send(&Method::POST, path, &json, Some(object))?.into_result()
    }

    /// Applies `object` at `path` as `field_manager`; `path` may hold a query.
    pub fn apply(&self, path: &str, field_manager: &str, force: Force, object: &Value) -> Result<Value, ApiStatus> {
        self.apply_response(path, field_manager, force, object)?.into_result()
    }

    /// Like [`Admin::apply`], for those who ask whether it was 200 or 201.
    pub fn apply_response(
        &self,
        path: &str,
        field_manager: &str,
        force: Force,
        object: &Value,
    ) -> Result<Response, ApiStatus> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let force = force == Force::Yes;
        let path = format!("{path}{separator}fieldManager={field_manager}&force={force}");
        let apply = [("content-type", "application/apply-patch+yaml")];
        self.send(&Method::PATCH, &path, &apply, Some(object))
    }

    /// Merges `patch` into the object at `path`.
    pub fn merge_patch(&self, path: &str, patch: &Value) -> Result<Value, ApiStatus> {
        let merge = [("content-type", "application/merge-patch+json")];
        self.send(&Method::PATCH, path, &merge, Some(patch))?.into_result()
    }

    /// Replaces the object at `path`.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiStatus> {
        let json = [("content-type", "application/json")];
        self.send(&Method::PUT, path, &json, Some(object))?.into_result()
    }

    /// Deletes the object at `path`.
    pub fn delete(&self, path: &str) -> Result<Value, ApiStatus> {
        self.send(&Method::DELETE, path, &[], None)?.into_result()
    }

    /// Deletes the object at `path` with these `DeleteOptions`, for example preconditions.
    pub fn delete_with(&self, path: &str, options: &Value) -> Result<Value, ApiStatus> {
        let json = [("content-type", "application/json")];
        self.send(&Method::DELETE, path, &json, Some(options))?.into_result()
    }

    /// Sends any request and returns the answer as it is.
    ///
    /// # Errors
    /// Only when there is no answer: its `code` is 0.
    pub fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, ApiStatus> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("user-agent", "testkit/1.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let request = request.body(Full::new(body)).map_err(|error| ApiStatus::unanswered(&error))?;
        // A thread of its own: the caller may be inside a runtime, where blocking is not allowed.
        std::thread::scope(|scope| scope.spawn(|| self.send_blocking(request)).join())
            .expect("the client thread does not panic")
            .map_err(|error| ApiStatus::unanswered(&error))
    }

    fn send_blocking(&self, request: Request<Full<Bytes>>) -> io::Result<Response> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(request))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> io::Result<Response> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(Response {
                code: head.status.as_u16(),
                headers: head.headers,
                body: serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()),
            })
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            response = &mut exchange => response,
            ended = &mut connection => match ended {
                // The connection may end first, with the whole answer already received.
                Ok(()) => exchange.await,
                Err(error) => Err(io::Error::other(error)),
            },
        }
    }
}

/// Whether an apply takes fields over from other managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Conflicts are refused.
    No,
    /// Conflicting fields change hands.
    Yes,
}

impl Response {
    /// Returns the body of a 2xx answer, the status of any other.
    pub fn into_result(self) -> Result<Value, ApiStatus> {
        if (200..300).contains(&self.code) {
            return Ok(self.body);
        }
        let text = |key: &str| self.body[key].as_str().unwrap_or_default().to_owned();
        Err(ApiStatus {
            code: self.code,
            reason: text("reason"),
            message: match &self.body {
                Value::String(body) => body.clone(),
                _ => text("message"),
            },
            details: Box::new(self.body["details"].clone()),
        })
    }
}

impl ApiStatus {
    fn unanswered(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self { code: 0, reason: String::new(), message, details: Box::default() }
    }
}

fn is_plural(segment: &str) -> bool {
    let segment = segment.split('?').next().unwrap_or_default();
    crate::sim::is_resource_name(segment)
}
