//! Requests and responses on a mock of the HTTP service: exact method, address, headers and body.

use http::Response;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::json;
use tower_test::mock::{self, Handle};

use super::*;
use crate::object::{Kind, ObjectRef};

type ApiServer = Handle<http::Request<Body>, Response<Body>>;

fn mocked() -> (Api, ApiServer) {
    mocked_for(Duration::from_secs(60))
}

/// Mocks a server on which all work must be done within `all`.
fn mocked_for(all: Duration) -> (Api, ApiServer) {
    let (service, handle) = mock::pair::<http::Request<Body>, Response<Body>>();
    let limits = Limits::new(Duration::from_secs(10), all);
    (Api::new(Client::new(service), "https://api:6443", limits), handle)
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("date", "Mon, 23 Nov 2026 10:00:00 GMT")
        .body(Body::from(body.to_string().into_bytes()))
        .unwrap()
}

#[tokio::test]
async fn an_apply_is_sent_as_kubernetes_wants_it() {
    let (api, mut server) = mocked();
    let serve = async {
        let (request, reply) = server.next_request().await.unwrap();
        assert_eq!(request.method(), http::Method::PATCH);
        assert_eq!(
            request.uri(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/kubemint:acme:x%2520?dryRun=All&fieldManager=kubemint"
        );
        assert_eq!(request.headers()["content-type"], "application/apply-patch+yaml");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"kind": "ClusterRole"}));
        reply.send_response(answer(200, &json!({"kind": "ClusterRole"})));
    };
    let role = ObjectRef::cluster_scoped(Kind::ClusterRole, "kubemint:acme:x%20");
    let request =
        Request::apply(role.path(), json!({"kind": "ClusterRole"})).dry_run().query("fieldManager", "kubemint");
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert_eq!(result.unwrap().date.unwrap().to_string(), "2026-11-23T10:00:00Z");
}

#[tokio::test]
async fn a_delete_is_tried_by_its_body_because_the_query_does_not_count() {
    let (api, mut server) = mocked();
    let serve = async {
        let (request, reply) = server.next_request().await.unwrap();
        assert_eq!(request.method(), http::Method::DELETE);
        assert_eq!(request.uri(), "/api/v1/namespaces/x/serviceaccounts/y");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"preconditions": {"uid": "u"}, "dryRun": ["All"]}));
        reply.send_response(answer(200, &json!({})));
    };
    let request = Request::delete("/api/v1/namespaces/x/serviceaccounts/y", json!({"preconditions": {"uid": "u"}}));
    let request = request.dry_run();
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert!(result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_repeated_and_retry_after_is_honoured() {
    let (api, mut server) = mocked();
    let start = Instant::now();
    let serve = async {
        for code in [503, 429] {
            let (_, reply) = server.next_request().await.unwrap();
            let reason = if code == 429 { "TooManyRequests" } else { "ServiceUnavailable" };
            let body = json!({"kind": "Status", "reason": reason, "details": {"retryAfterSeconds": if code == 429 { 7 } else { 0 }}});
            reply.send_response(answer(code, &body));
        }
        let (_, reply) = server.next_request().await.unwrap();
        reply.send_response(answer(200, &json!({})));
    };
    let request = Request::get("/version");
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert!(result.is_ok());
    assert!(start.elapsed() >= Duration::from_secs(7), "{:?}", start.elapsed());
}

/// A gateway, or nothing at all, where an API server should be: it is asked only once more, instead of for 15 seconds.
#[tokio::test(start_paused = true)]
async fn what_never_was_an_api_server_is_asked_once_more() {
    let (api, mut server) = mocked();
    let start = Instant::now();
    let serve = async {
        for _ in 0..2 {
            let (_, reply) = server.next_request().await.unwrap();
            reply.send_response(answer(502, &json!("a page")));
        }
    };
    let request = Request::get("/version");
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert_eq!(result.err().unwrap().code(), Some(502));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

    // After an API server has responded once, the same failure is repeated more often.
    let serve = async {
        let (_, reply) = server.next_request().await.unwrap();
        reply.send_response(answer(200, &json!({})));
        for _ in 0..3 {
            let (_, reply) = server.next_request().await.unwrap();
            reply.send_response(answer(502, &json!("a page")));
        }
        let (_, reply) = server.next_request().await.unwrap();
        reply.send_response(answer(200, &json!({})));
    };
    let (result, ()) = tokio::join!(
        async {
            api.send(&request).await?;
            api.send(&request).await
        },
        serve
    );
    assert!(result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_that_could_not_end_in_time() {
    let (api, mut server) = mocked();
    let serve = async {
        let (_, reply) = server.next_request().await.unwrap();
        let body = json!({"kind": "Status", "details": {"retryAfterSeconds": 55}});
        reply.send_response(answer(429, &body));
    };
    let request = Request::get("/version");
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert_eq!(result.err().unwrap().code(), Some(429));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_repeated() {
    let (api, mut server) = mocked();
    let serve = async {
        let (_, reply) = server.next_request().await.unwrap();
        reply.send_response(answer(403, &json!({"kind": "Status", "reason": "Forbidden", "message": "no"})));
    };
    let request = Request::get("/version");
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert!(result.err().unwrap().is_forbidden());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_the_request_timeout_and_no_more_where_no_more_fits() {
    let (api, mut server) = mocked_for(Duration::from_secs(10));
    let start = Instant::now();
    let request = Request::get("/version");
    let silent = async {
        let held = server.next_request().await;
        std::future::pending::<()>().await;
        drop(held);
    };
    let failure = tokio::select! {
        result = api.send(&request) => result.err().unwrap(),
        () = silent => unreachable!("it is silent"),
    };
    assert_eq!(failure.to_string(), "no answer from <https://api:6443> within 10s");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_json_is_not_quoted() {
    let (api, mut server) = mocked();
    let serve = async {
        let (_, reply) = server.next_request().await.unwrap();
        let body = Body::from(b"{\"status\": {\"token\": \"eyJ-secret".to_vec());
        reply.send_response(Response::builder().status(201).body(body).unwrap());
    };
    let request = Request::post("/x/token", json!({}));
    let (result, ()) = tokio::join!(api.send(&request), serve);
    let failure = result.err().unwrap();
    assert!(!format!("{failure} {failure:?}").contains("secret"), "{failure}");
}

/// A gateway or a hostile server may say success in one part of a response and failure in another.
#[tokio::test]
async fn a_failure_that_is_sent_as_a_success_is_a_failure() {
    let (api, mut server) = mocked();
    let serve = async {
        let (_, reply) = server.next_request().await.unwrap();
        let body = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403});
        reply.send_response(answer(200, &body));
    };
    let request = Request::delete("/api/v1/namespaces/x/secrets/y", json!({}));
    let (result, ()) = tokio::join!(api.send(&request), serve);
    assert!(result.err().unwrap().is_forbidden());
}

/// Broken proxies echo the request.
#[tokio::test]
async fn what_a_connection_authenticates_with_is_not_repeated() {
    let (api, mut server) = mocked();
    let api = api.redacting(vec![SecretString::from("opaque-admin-token")]);
    let serve = async {
        for code in [403, 200] {
            let (_, reply) = server.next_request().await.unwrap();
            let body = json!({"kind": "Status", "message": "got Bearer opaque-admin-token, opaque-admin-token"});
            reply.send_response(answer(code, &body));
        }
    };
    let request = Request::get("/version");
    let asking = async { (api.send(&request).await, api.send(&request).await) };
    let ((refused, answered), ()) = tokio::join!(asking, serve);
    assert_eq!(refused.err().unwrap().status().unwrap().message, "got Bearer [REDACTED], [REDACTED]");
    assert_eq!(answered.unwrap().value["message"], "got Bearer [REDACTED], [REDACTED]");
}
