//! One connection to one API server: requests with a deadline, repeated where that is safe.
//!
//! kube's client does not send them: its retries have no deadline (15 tries, each as long as `Retry-After` says), and its
//! typed calls log whole responses that do not parse, which for a TokenRequest is the token. [`budget`] bounds what a
//! server may send, [`accounts`] remembers the ServiceAccounts that were seen.

pub(super) mod accounts;
mod budget;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(super) mod json;
mod redaction;
mod supply;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use self::accounts::SeenAccounts;
use self::budget::{Budget, Content, LARGEST_ERROR, LARGEST_OBJECT, LARGEST_PAGE};
use self::json::ItemsAre;
use self::redaction::Redaction;
use super::classify;
use super::transport::Client;
use crate::failure::ApiFailure;
use crate::object::ObjectRef;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// One request, connection included.
    pub request: Duration,
    /// The end of all work on the cluster: no request is repeated that could not end before it.
    pub deadline: Instant,
}

impl Limits {
    /// Limits one request, and all work from now on.
    pub(crate) fn new(request: Duration, all: Duration) -> Self {
        Self { request, deadline: Instant::now() + all }
    }

    /// Whether a request that is sent after `wait` could still be answered in time.
    fn leave_time_after(&self, wait: Duration) -> bool {
        let end = wait.checked_add(self.request).and_then(|after| Instant::now().checked_add(after));
        end.is_some_and(|end| end <= self.deadline)
    }
}

/// The wait before the first repetition; it doubles each time. A user hardly notices it, and a server recovers from a
/// short outage in it.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Repetitions after the first try; with doubling waits this gives a server about 12 s to recover.
/// The cluster's deadline ends them earlier.
const REPETITIONS: usize = 6;
/// The longest wait between two tries that the server did not ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest `continue` token of a list, in bytes: it goes into a URL.
const LONGEST_TOKEN: usize = 8 * 1024;
/// The longest uid: Kubernetes' own have 36 characters.
const LONGEST_UID: usize = 128;

/// A request. Every one is safe to repeat: sending it twice has the effect of sending it once, or the caller checks why
/// the second was refused.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: http::Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    accept: &'static str,
    body: Option<Value>,
    is_repeated: bool,
}

impl Request {
    fn new(method: http::Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: vec![],
            content_type: "application/json",
            accept: "application/json",
            body: None,
            is_repeated: true,
        }
    }

    /// Reads an object or a list.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(http::Method::GET, path)
    }

    /// Creates an object, or asks for a review. A repeated create gets `AlreadyExists`, and the caller has to check who
    /// created the object.
    pub(crate) fn post(path: impl Into<String>, body: impl Serialize) -> Self {
        Self { body: Some(json_of(body)), ..Self::new(http::Method::POST, path) }
    }

    /// Applies a manifest server-side.
    pub(crate) fn apply(path: impl Into<String>, body: impl Serialize) -> Self {
        let content_type = "application/apply-patch+yaml";
        Self { body: Some(json_of(body)), content_type, ..Self::new(http::Method::PATCH, path) }
    }

    /// Changes some fields of an object (RFC 7386).
    pub(crate) fn merge_patch(path: impl Into<String>, body: impl Serialize) -> Self {
        let content_type = "application/merge-patch+json";
        Self { body: Some(json_of(body)), content_type, ..Self::new(http::Method::PATCH, path) }
    }

    /// Deletes an object.
    pub(crate) fn delete(path: impl Into<String>, options: impl Serialize) -> Self {
        Self { body: Some(json_of(options)), ..Self::new(http::Method::DELETE, path) }
    }

    /// Adds a query parameter.
    #[must_use]
    pub(crate) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// Sends it once, whatever comes of it: there is another way to know what it asks.
    #[must_use]
    pub(crate) fn once(self) -> Self {
        Self { is_repeated: false, ..self }
    }

    /// Asks for a dry run: admission and validation without any effect.
    ///
    /// A delete that has a body takes its options from there *and from nowhere else*: with `dryRun` in
    /// the query it would really delete (apiserver `pkg/endpoints/handlers/delete.go`).
    #[must_use]
    pub(crate) fn dry_run(mut self) -> Self {
        if self.method == http::Method::DELETE {
            let options = self.body.get_or_insert_default();
            options["dryRun"] = vec!["All"].into();
            return self;
        }
        self.query("dryRun", "All")
    }

    /// Asks for an object's metadata only, so that the data of a Secret never leaves the API server.
    #[must_use]
    pub(crate) fn metadata_only(mut self) -> Self {
        self.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        self
    }

    /// Asks for the metadata of the objects of a list only.
    #[must_use]
    pub(crate) fn metadata_list_only(mut self) -> Self {
        self.accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        self
    }

    fn uri(&self) -> String {
        let pair = |(key, value): &(&'static str, String)| format!("{key}={}", utf8_percent_encode(value, VALUE));
        let pairs: Vec<String> = self.query.iter().map(pair).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", self.path, pairs.join("&"))
    }
}

/// The characters that a query value contains unescaped: unreserved ones (RFC 3986, 2.3).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The response to a request that succeeded.
#[derive(Clone)]
pub(crate) struct Response {
    /// The object.
    pub value: Value,
    /// The server's time, from the header `Date`.
    pub date: Option<Timestamp>,
}

/// A connection to one API server.
pub(crate) struct Api {
    client: Client,
    server: String,
    limits: Limits,
    budget: Budget,
    redaction: Redaction,
    /// Whether an API server ever responded.
    is_alive: AtomicBool,
    /// The ServiceAccounts that were seen.
    pub(super) accounts: SeenAccounts,
}

/// A response as it came.
struct Fetched {
    content: Content,
    date: Option<Timestamp>,
}

impl Api {
    /// Wraps a client; `server` is its URL, for messages.
    pub(crate) fn new(client: Client, server: impl Into<String>, limits: Limits) -> Self {
        Self {
            client,
            server: server.into(),
            limits,
            budget: Budget::default(),
            redaction: Redaction::default(),
            is_alive: AtomicBool::new(false),
            accounts: SeenAccounts::default(),
        }
    }

    /// Goes on with other work on the same cluster, over the same connection: limits and what is kept in memory begin anew.
    pub(crate) fn go_on(self, limits: Limits) -> Self {
        Self { limits, budget: Budget::default(), ..self }
    }

    /// From now on, removes the secrets that this connection authenticates with from every response.
    #[must_use]
    pub(super) fn redacting(self, secrets: Vec<SecretString>) -> Self {
        Self { redaction: Redaction::new(secrets), ..self }
    }

    /// Sends a request, repeats it if that may help, and returns the response.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, ApiFailure> {
        let Fetched { content, date } = self.fetch(request, LARGEST_OBJECT).await?;
        let value = json::object(&content.bytes).map_err(unreadable)?;
        refuse_failure(&value["kind"], &value["status"], &value["code"], &content.bytes)?;
        Ok(Response { value, date })
    }

    /// Asks for a page of a list, and hands out its items one after another. Returns the token of the next page, if
    /// there is one.
    ///
    /// # Errors
    ///
    /// If the request fails, or the response is no list; some of its items may have been handed out already.
    pub(crate) async fn page(
        &self,
        request: &Request,
        take: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<Option<String>, ApiFailure> {
        let content = self.fetch(request, LARGEST_PAGE).await?.content;
        let page = json::page(&content.bytes, &mut |item| take(item)).map_err(unreadable)?;
        let field = |name: &str| page.rest.get(name).unwrap_or(&Value::Null);
        refuse_failure(field("kind"), field("status"), field("code"), &content.bytes)?;
        let is_list = field("kind").as_str().is_some_and(|kind| kind.ends_with("List"));
        // Go writes an empty slice as null, and API servers do so in empty lists of metadata.
        let is_empty = is_list && matches!(page.items_are, ItemsAre::Null);
        if !matches!(page.items_are, ItemsAre::List) && !is_empty {
            return Err(unreadable("it is a list without items"));
        }
        self.budget.count(page.items)?;
        let next = field("metadata")["continue"].as_str().filter(|token| !token.is_empty());
        if next.is_some_and(|token| token.len() > LONGEST_TOKEN) {
            return Err(unreadable("where its next page continues is longer than any API server says"));
        }
        Ok(next.map(str::to_owned))
    }

    /// Begins a list: the limit on what a server may send starts again.
    pub(super) fn begin_list(&self) {
        self.budget.begin_list();
    }

    /// Counts what is kept in memory of the cluster's objects until this connection is dropped.
    ///
    /// # Errors
    ///
    /// If it is more than there may be.
    pub(crate) fn keep(&self, bytes: usize) -> Result<(), ApiFailure> {
        self.budget.keep(bytes)
    }

    /// Sends a request, repeats it if that may help, and returns the response as it came.
    async fn fetch(&self, request: &Request, limit: usize) -> Result<Fetched, ApiFailure> {
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(REPETITIONS)
            .with_jitter();
        let failures = AtomicUsize::new(0);
        (|| self.send_once(request, limit))
            .retry(waits)
            .when(|failure| request.is_repeated && failure.is_transient() && self.may_recover(failure, &failures))
            .adjust(|failure, wait| {
                let asked = failure.status().and_then(|status| status.retry_after);
                let wait = wait.map(|wait| asked.map_or(wait, |asked| asked.max(wait)));
                // If no time is left, the last failure is returned, which says more than "timeout".
                wait.filter(|wait| self.limits.leave_time_after(*wait))
            })
            .notify(|failure, wait| tracing::debug!(server = self.server, %failure, ?wait, "repeating a request"))
            .await
    }

    /// Whether a request may succeed when it is repeated. A server that never responded, or is no API server, is asked
    /// only once more, so that it does not hold up a run for minutes.
    fn may_recover(&self, failure: &ApiFailure, failures: &AtomicUsize) -> bool {
        if self.is_alive.load(Ordering::Relaxed) {
            return true;
        }
        let asks_for_patience = failure.status().is_some_and(|status| status.retry_after.is_some());
        asks_for_patience || failures.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Sends a request whose response is one object, and checks that it is the requested object.
    ///
    /// # Errors
    ///
    /// If the request fails, or the response is another object, or none: then the request did not have its effect.
    pub(crate) async fn object(&self, request: &Request, object: &ObjectRef) -> Result<Response, ApiFailure> {
        let answer = self.send(request).await?;
        let metadata = &answer.value["metadata"];
        let kind = answer.value["kind"].as_str().unwrap_or_default();
        let is_meant = (kind == object.kind.as_str() || kind == "PartialObjectMetadata")
            && metadata["name"] == object.name.as_str()
            && metadata["namespace"].as_str() == object.namespace.as_deref()
            && metadata["uid"].as_str().is_some_and(|uid| !uid.is_empty() && uid.len() <= LONGEST_UID);
        if is_meant {
            return Ok(answer);
        }
        Err(ApiFailure::Unreadable { cause: format!("it is not {object}, which was asked for") })
    }

    async fn send_once(&self, request: &Request, limit: usize) -> Result<Fetched, ApiFailure> {
        let timeout = || ApiFailure::Timeout { server: self.server.clone(), after: self.limits.request };
        let sent = tokio::time::timeout(self.limits.request, self.exchange(request, limit)).await;
        let sent = sent.map_err(|_| timeout()).and_then(|sent| sent);
        // Only an API server sends a Status with a reason, so this one is alive.
        let answered = |failure: &ApiFailure| failure.status().is_some_and(|status| !status.reason.is_empty());
        if sent.as_ref().map_or_else(answered, |_| true) {
            self.is_alive.store(true, Ordering::Relaxed);
        }
        sent
    }

    async fn exchange(&self, request: &Request, limit: usize) -> Result<Fetched, ApiFailure> {
        let body = request.body.as_ref().map_or_else(Vec::new, |body| body.to_string().into_bytes());
        tracing::debug!(server = self.server, method = %request.method, uri = request.uri(), "request");
        let http_request = http::Request::builder()
            .method(request.method.clone())
            .uri(request.uri())
            .header(http::header::ACCEPT, request.accept)
            .header(http::header::CONTENT_TYPE, request.content_type)
            .body(Body::from(body))
            .map_err(|_| unreadable("the request's address is malformed"))?;
        let response =
            self.client.send(http_request).await.map_err(|error| classify::transport(&self.server, &*error))?;
        let (parts, body) = response.into_parts();
        let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if !parts.status.is_success() {
            let content = self.budget.read(body, LARGEST_ERROR).await;
            let content = content.map(|content| self.redaction.of(content));
            let body = content.as_ref().map_or(&[][..], |content| &content.bytes);
            let retry_after = header(http::header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
            let failure = classify::status(parts.status.as_u16(), body, retry_after.map(Duration::from_secs));
            tracing::debug!(server = self.server, code = parts.status.as_u16(), "answer");
            return Err(failure);
        }
        let content = self.redaction.of(self.budget.read(body, limit).await?);
        let date = header(http::header::DATE)
            .and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date.replace("GMT", "+0000")).ok());
        Ok(Fetched { content, date })
    }
}

fn json_of(body: impl Serialize) -> Value {
    serde_json::to_value(body).expect("the keys of Kubernetes objects are text, and nothing else can fail")
}

fn unreadable(cause: &str) -> ApiFailure {
    ApiFailure::Unreadable { cause: cause.to_owned() }
}

/// Refuses a response whose status code says success and whose body says failure.
fn refuse_failure(kind: &Value, status: &Value, code: &Value, body: &[u8]) -> Result<(), ApiFailure> {
    if kind != "Status" || status != "Failure" {
        return Ok(());
    }
    let code = code.as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    Err(classify::status(code.unwrap_or(500), body, None))
}

#[cfg(test)]
mod tests;
