//! Scenarios about tokens and about what their holders learn of themselves.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::scenarios::Scenario;
use super::{Body, World};

pub(crate) const ALL: &[Scenario] = &[
    a_token_is_bound_to_its_anchor,
    token_requests_are_refused,
    lifetimes_are_limited,
    revoked_tokens_are_refused,
    reviews_of_a_token,
    reviews_of_an_admin,
    a_token_for_another_audience,
    a_recreated_account_revokes,
];

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Longer than a real server caches an accepted token.
const REVOCATION_DEADLINE: Duration = Duration::from_secs(30);

fn make(world: &mut World, name: &str) {
    let body = json!({ "metadata": { "name": name } });
    world.ask("account", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let body = json!({ "metadata": { "name": name }, "type": "kubemint.dev/anchor" });
    world.ask("anchor", &Method::POST, SECRETS, &Body::Json(&body));
}

fn bound_to(anchor: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "name": anchor })
}

fn request_token(world: &mut World, account: &str, spec: &Value) -> String {
    let body = json!({ "spec": spec });
    let path = format!("{ACCOUNTS}/{account}/token");
    let answer = world.ask("token", &Method::POST, &path, &Body::Json(&body));
    answer["status"]["token"].as_str().unwrap_or_default().to_owned()
}

/// Waits until `token` is refused; a real server takes up to 10 s.
fn wait_until_refused(world: &World, token: &str) {
    let holder = world.admin.as_token(token);
    let start = Instant::now();
    while holder.create(REVIEW, &json!({})).is_ok() {
        assert!(world.has_cache, "the simulation revokes at once");
        assert!(start.elapsed() < REVOCATION_DEADLINE, "still accepted");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn a_token_is_bound_to_its_anchor(world: &mut World) {
    make(world, "bound");
    let token = request_token(world, "bound", &json!({ "boundObjectRef": bound_to("bound") }));
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64");
        serde_json::from_slice(&bytes).expect("a part is JSON")
    };
    let (mut header, mut claims) = (decode(parts[0]), decode(parts[1]));
    header["kid"] = "<key>".into();
    let lifetime = claims["exp"].as_i64().zip(claims["iat"].as_i64());
    let lifetime = lifetime.map(|(expires, issued)| expires - issued);
    let object = claims.as_object_mut().expect("claims are an object");
    for claim in ["exp", "iat", "nbf", "jti"] {
        object.insert(claim.to_owned(), format!("<{claim}>").into());
    }
    for bound in ["secret", "serviceaccount"] {
        claims["kubernetes.io"][bound]["uid"] = "<uid>".into();
    }
    let decoded = json!({ "header": header, "claims": claims, "lifetime": lifetime });
    world.answers.push(("the parts of a token".to_owned(), decoded));
}

fn token_requests_are_refused(world: &mut World) {
    make(world, "refused");
    let path = format!("{ACCOUNTS}/refused/token");
    let mut wrong_uid = bound_to("refused");
    wrong_uid["uid"] = "11111111-1111-4111-8111-111111111111".into();
    for body in [
        json!({ "spec": { "expirationSeconds": 599 } }),
        json!({ "spec": { "expirationSeconds": 4_294_967_297_u64 } }),
        json!({ "spec": { "boundObjectRef": bound_to("nope") } }),
        json!({ "spec": { "boundObjectRef": wrong_uid } }),
        json!({ "spec": { "boundObjectRef": { "kind": "Foo", "name": "x" } } }),
        json!({ "metadata": { "uid": "11111111-1111-4111-8111-111111111111" } }),
        json!({ "metadata": { "name": "other" } }),
    ] {
        let label = body.to_string();
        world.ask(&label, &Method::POST, &path, &Body::Json(&body));
    }
    let missing = format!("{ACCOUNTS}/nope/token");
    world.ask("missing", &Method::POST, &missing, &Body::Json(&json!({})));
    world.ask("read", &Method::GET, &path, &Body::None);
    let reader = world.reader.clone();
    let body = json!({});
    let body = Body::Json(&body);
    world.ask_as(&reader, "forbidden", &Method::POST, &path, &body);
}

fn lifetimes_are_limited(world: &mut World) {
    make(world, "limited");
    for seconds in [600, 3600, 7200] {
        let token = request_token(world, "limited", &json!({ "expirationSeconds": seconds }));
        assert!(!token.is_empty());
    }
}

fn revoked_tokens_are_refused(world: &mut World) {
    make(world, "revoked");
    let token = request_token(world, "revoked", &json!({ "boundObjectRef": bound_to("revoked") }));
    let holder = world.admin.as_token(&token);
    let review = json!({});
    world.ask_as(&holder, "alive", &Method::POST, REVIEW, &Body::Json(&review));
    let path = format!("{SECRETS}/revoked");
    world.ask("revoked", &Method::DELETE, &path, &Body::None);
    wait_until_refused(world, &token);
    world.ask_as(&holder, "dead", &Method::POST, REVIEW, &Body::Json(&review));
    // The same name is another object.
    let body = json!({ "metadata": { "name": "revoked" }, "type": "kubemint.dev/anchor" });
    world.ask("anchor", &Method::POST, SECRETS, &Body::Json(&body));
    world.ask_as(&holder, "dead", &Method::POST, REVIEW, &Body::Json(&review));
}

fn reviews_of_a_token(world: &mut World) {
    make(world, "reviewed");
    let binding = json!({
        "metadata": { "name": "reviewed" },
        "roleRef": { "kind": "ClusterRole", "name": "system:discovery" },
        "subjects": [{ "kind": "ServiceAccount", "name": "reviewed" }],
    });
    let path = format!("{RBAC}/namespaces/default/rolebindings");
    world.ask("binding", &Method::POST, &path, &Body::Json(&binding));
    let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    let role = json!({ "metadata": { "name": "reviewed" }, "rules": rules });
    let path = format!("{RBAC}/namespaces/default/roles");
    world.ask("role", &Method::POST, &path, &Body::Json(&role));
    let mut binding = binding;
    binding["metadata"]["name"] = "reviewed-2".into();
    binding["roleRef"] = json!({ "kind": "Role", "name": "reviewed" });
    let path = format!("{RBAC}/namespaces/default/rolebindings");
    world.ask("binding", &Method::POST, &path, &Body::Json(&binding));
    let token = request_token(world, "reviewed", &json!({}));
    let holder = world.admin.as_token(token);
    let access = |verb: &str, resource: &str, namespace: &str| {
        let attributes = json!({ "verb": verb, "resource": resource, "namespace": namespace });
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        })
    };
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    // The authorizer of a real server learns of the binding a moment later.
    loop {
        let answer = holder.create(path, &access("get", "pods", "default"));
        if answer.expect("a review is answered")["status"]["allowed"] == true {
            break;
        }
        std::thread::yield_now();
    }
    let review = json!({});
    let answer = world.ask_as(&holder, "self", &Method::POST, REVIEW, &Body::Json(&review));
    assert_eq!(answer["status"]["userInfo"]["username"], "system:serviceaccount:default:reviewed");
    for (verb, resource, namespace) in
        [("get", "pods", "default"), ("list", "pods", "default"), ("get", "pods", ""), ("get", "pods", "kube-system")]
    {
        let review = access(verb, resource, namespace);
        let body = Body::Json(&review);
        world.ask_as(&holder, "access", &Method::POST, path, &body);
    }
    let review = json!({
        "spec": { "nonResourceAttributes": { "verb": "get", "path": "/api/x" } },
    });
    let body = Body::Json(&review);
    world.ask_as(&holder, "access", &Method::POST, path, &body);
    let path = "/api/v1/namespaces/default/pods";
    world.ask_as(&holder, "pods", &Method::GET, path, &Body::None);
}

fn reviews_of_an_admin(world: &mut World) {
    let review = json!({});
    world.ask("self", &Method::POST, REVIEW, &Body::Json(&review));
    let reader = world.reader.clone();
    world.ask_as(&reader, "self", &Method::POST, REVIEW, &Body::Json(&review));
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let attributes = json!({ "verb": "get", "resource": "secrets" });
    let review = json!({ "spec": { "resourceAttributes": attributes } });
    world.ask("access", &Method::POST, path, &Body::Json(&review));
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    for spec in [json!({ "namespace": "default" }), json!({})] {
        let review = json!({ "spec": spec });
        world.ask("rules", &Method::POST, path, &Body::Json(&review));
    }
    let review = json!({ "spec": { "namespace": "default" } });
    let body = Body::Json(&review);
    world.ask_as(&reader, "rules", &Method::POST, path, &body);
}

fn a_token_for_another_audience(world: &mut World) {
    make(world, "audience");
    let token = request_token(world, "audience", &json!({ "audiences": ["vault"] }));
    let holder = world.admin.as_token(token);
    let review = json!({});
    world.ask_as(&holder, "refused", &Method::POST, REVIEW, &Body::Json(&review));
}

fn a_recreated_account_revokes(world: &mut World) {
    make(world, "recreated");
    let token = request_token(world, "recreated", &json!({}));
    let path = format!("{ACCOUNTS}/recreated");
    world.ask("deleted", &Method::DELETE, &path, &Body::None);
    let body = json!({ "metadata": { "name": "recreated" } });
    world.ask("recreated", &Method::POST, ACCOUNTS, &Body::Json(&body));
    wait_until_refused(world, &token);
    let holder = world.admin.as_token(token);
    let review = json!({});
    world.ask_as(&holder, "dead", &Method::POST, REVIEW, &Body::Json(&review));
}
