//! The requests to an API server and how its responses are read: method, URI and body of each request, on a mock of the
//! HTTP service.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::index::edit_index;
use super::observe::identify;
use super::probe::probe;
use super::review::{may, may_on_object, may_on_url, rules};
use super::transport::Client;
use super::verify::who_am_i;
use super::write::{create, delete, update};
use super::{Api, Limits};
use crate::access::{Answer, Question};
use crate::credential::Index;
use crate::desired::{Content, DesiredObject};
use crate::failure::StepFailure;
use crate::names::{INDEX_ANNOTATION, INVENTORY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL};
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::observed::{NamespaceState, ObservedCluster};
use crate::plan::tests_support::empty_plan;
use crate::plan::{ClusterPlan, ProbeResult};
use crate::rbac::{Right, Rule, Scope};
use crate::step::{Delete, Retire, Step, Update};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// An expected request, and its response.
struct Exchange {
    method: &'static str,
    uri: String,
    /// What the body must be, if that is part of the test.
    body: Option<Value>,
    code: u16,
    answer: Value,
}

fn exchange(method: &'static str, uri: impl Into<String>, code: u16, answer: Value) -> Exchange {
    Exchange { method, uri: uri.into(), body: None, code, answer }
}

impl Exchange {
    fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// Runs some work against an API server that expects exactly these requests, in this order.
async fn against<T>(exchanges: Vec<Exchange>, work: impl AsyncFnOnce(&Api) -> T) -> T {
    let (service, mut server): (_, Handle<http::Request<Body>, Response<Body>>) = mock::pair();
    let limits = Limits::new(Duration::from_secs(10), Duration::from_secs(60));
    let api = Api::new(Client::new(service), "https://api:6443", limits);
    let serve = async {
        for exchange in exchanges {
            let (request, reply) = server.next_request().await.expect("a request");
            assert_eq!((request.method().as_str(), request.uri().to_string()), (exchange.method, exchange.uri));
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if let Some(expected) = exchange.body {
                assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
            }
            let answer = Response::builder().status(exchange.code).header("date", "Thu, 01 Jan 1970 00:01:00 GMT");
            reply.send_response(answer.body(Body::from(exchange.answer.to_string().into_bytes())).unwrap());
        }
    };
    let (result, ()) = tokio::join!(work(&api), serve);
    result
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn role() -> DesiredObject {
    let rule = Rule {
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        verbs: vec!["get".to_owned()],
        ..Rule::default()
    };
    DesiredObject {
        object: ObjectRef::cluster_scoped(Kind::ClusterRole, "kubemint:acme:reader"),
        inventory: "acme".into(),
        profile: Some("reader".into()),
        content: Content::Rules([rule].into()),
    }
}

fn stored(verbs: &[&str]) -> Value {
    let labels = json!({MANAGED_BY_LABEL: MANAGED_BY, INVENTORY_LABEL: "acme", PROFILE_LABEL: "reader"});
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "kubemint:acme:reader", "uid": "u", "resourceVersion": "7", "labels": labels},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}],
    })
}

fn manifest() -> Value {
    let mut manifest = stored(&["get"]);
    for key in ["uid", "resourceVersion"] {
        manifest["metadata"].as_object_mut().unwrap().remove(key);
    }
    manifest
}

#[tokio::test]
async fn a_create_is_a_post_and_what_appeared_meanwhile_is_looked_into() {
    let post = format!("{RBAC}/clusterroles?fieldManager=kubemint&fieldValidation=Strict");
    let get = format!("{RBAC}/clusterroles/kubemint:acme:reader");
    let exists = || status(409, "AlreadyExists", "it exists");
    let post = |code, answer| exchange("POST", post.clone(), code, answer).with(manifest());
    against(vec![post(201, stored(&["get"]))], async |api| create(api, &role()).await.unwrap()).await;
    let ours = vec![post(409, exists()), exchange("GET", get.clone(), 200, stored(&["get"]))];
    against(ours, async |api| create(api, &role()).await.unwrap()).await;
    let theirs = vec![post(409, exists()), exchange("GET", get, 200, stored(&["delete"]))];
    let failure = against(theirs, async |api| create(api, &role()).await.unwrap_err()).await;
    assert!(failure.cause.contains("appeared after the plan was made"), "{failure:?}");
    let changed = vec![post(201, stored(&["get", "list"]))];
    let failure = against(changed, async |api| create(api, &role()).await.unwrap_err()).await;
    assert!(failure.cause.contains("changed field `rules`"), "{failure:?}");
}

#[tokio::test]
async fn an_update_is_a_forced_apply_of_the_version_that_was_seen() {
    let uri =
        format!("{RBAC}/clusterroles/kubemint:acme:reader?fieldManager=kubemint&force=true&fieldValidation=Strict");
    let mut body = manifest();
    body["metadata"]["uid"] = json!("u");
    body["metadata"]["resourceVersion"] = json!("7");
    let step = Update {
        desired: role(),
        uid: "u".to_owned(),
        resource_version: "7".to_owned(),
        changes: vec![],
        overrules: vec![],
        adopts: None,
    };
    let patch = |code, answer| exchange("PATCH", uri.clone(), code, answer).with(body.clone());
    against(vec![patch(200, stored(&["get"]))], async |api| update(api, &step).await.unwrap()).await;
    let get = format!("{RBAC}/clusterroles/kubemint:acme:reader");
    let stale = vec![patch(409, status(409, "Conflict", "changed")), exchange("GET", get, 200, stored(&["delete"]))];
    let failure = against(stale, async |api| update(api, &step).await.unwrap_err()).await;
    assert!(failure.cause.contains("changed after the plan was made"), "{failure:?}");
}

#[tokio::test]
async fn a_delete_names_what_was_seen_and_what_is_gone_is_as_wanted() {
    let uri = format!("{RBAC}/clusterroles/kubemint:acme:reader");
    let body = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
    });
    let step =
        Delete { object: role().object, uid: "u".to_owned(), resource_version: Some("7".to_owned()), removed: vec![] };
    let gone = exchange("DELETE", uri.clone(), 404, status(404, "NotFound", "gone")).with(body.clone());
    against(vec![gone], async |api| delete(api, &step).await.unwrap()).await;
    let stale = exchange("DELETE", uri, 409, status(409, "Conflict", "another")).with(body);
    let failure = against(vec![stale], async |api| delete(api, &step).await.unwrap_err()).await;
    assert!(failure.cause.contains("changed after the plan was made"), "{failure:?}");
}

#[tokio::test]
async fn writes_are_tried_and_a_role_that_a_binding_lacks_is_looked_for() {
    let binding = DesiredObject {
        object: ObjectRef::cluster_scoped(Kind::ClusterRoleBinding, "kubemint:acme:reader:x"),
        inventory: "acme".into(),
        profile: Some("reader".into()),
        content: Content::Binding {
            role: RoleRef { kind: Kind::ClusterRole, name: "veiw".to_owned() },
            subject: Subject {
                kind: "ServiceAccount".to_owned(),
                namespace: Some("ci".to_owned()),
                name: "reader".to_owned(),
            },
        },
    };
    let inside = DesiredObject { object: ObjectRef::namespaced(Kind::Role, "later", "kubemint:acme:reader"), ..role() };
    let mut plan = empty_plan("a", "uid");
    plan.steps = [role(), inside, binding].map(|desired| Step::Create(desired.into())).into();
    let namespaces = [("later".to_owned(), NamespaceState::Absent)].into();
    let observed = ObservedCluster { namespaces, ..ObservedCluster::default() };
    let create = |list: &str| format!("{RBAC}/{list}?fieldManager=kubemint&fieldValidation=Strict&dryRun=All");
    let no_role = status(404, "NotFound", "clusterroles.rbac.authorization.k8s.io \"veiw\" not found");
    let exchanges = vec![
        exchange("POST", create("clusterroles"), 403, status(403, "Forbidden", "no")),
        exchange("POST", create("clusterrolebindings"), 201, json!({})),
        exchange("GET", format!("{RBAC}/clusterroles/veiw"), 404, no_role),
    ];
    let results = against(exchanges, async |api| probe(api, &plan, &observed).await.unwrap().results).await;
    let [(_, refused), (_, absent), (_, lacking)] = results.as_slice() else { panic!("{results:?}") };
    assert!(matches!(refused, ProbeResult::Failed(failure) if failure.is_forbidden()), "{refused:?}");
    assert_eq!(*absent, ProbeResult::NamespaceAbsent("later".to_owned()));
    assert!(matches!(lacking, ProbeResult::RoleAbsent { role, .. } if role.name == "veiw"), "{lacking:?}");
}

/// One of the admission webhooks for namespaces may be down, or the admin have no right to create any.
#[tokio::test(start_paused = true)]
async fn whether_a_namespace_can_be_created_is_no_matter_where_it_may_be_there() {
    let object = ObjectRef::cluster_scoped(Kind::Namespace, "later");
    let namespace =
        DesiredObject { object: object.clone(), inventory: "acme".into(), profile: None, content: Content::Empty };
    let mut plan = empty_plan("a", "uid");
    plan.steps = [namespace, role()].map(|desired| Step::Create(desired.into())).into();
    let observed = ObservedCluster { assumed_absent: [object].into(), ..ObservedCluster::default() };
    let create = "/api/v1/namespaces?fieldManager=kubemint&fieldValidation=Strict&dryRun=All";
    for (code, reason) in [(409, "AlreadyExists"), (403, "Forbidden"), (500, "InternalError")] {
        let exchanges = vec![exchange("POST", create, code, status(code, reason, reason))];
        let probed = against(exchanges, async |api| probe(api, &plan, &observed).await.unwrap()).await;
        assert_eq!(probed.results, [], "{reason}");
    }
}

#[tokio::test]
async fn the_first_question_is_who_answers_and_what_time_it_is() {
    let uri = "/api/v1/namespaces/kube-system";
    let system = json!({"kind": "PartialObjectMetadata", "metadata": {"name": "kube-system", "uid": "cluster"}});
    let exchanges = vec![exchange("GET", uri, 200, system)];
    let now = || Timestamp::UNIX_EPOCH;
    let identity = against(exchanges, async |api| identify(api, now).await.unwrap()).await;
    assert_eq!((identity.uid.as_str(), identity.date_ahead), ("cluster", 60));
    let page = vec![exchange("GET", uri, 200, json!({"kind": "Namespace", "metadata": {"name": "default"}}))];
    assert!(against(page, async |api| identify(api, now).await).await.is_err(), "another object is no answer");
}

fn account(index: Option<&str>, version: &str) -> Value {
    let mut metadata = json!({
        "name": "reader", "namespace": "ci", "uid": "u", "resourceVersion": version,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, INVENTORY_LABEL: "acme"},
    });
    if let Some(index) = index {
        metadata["annotations"] = json!({INDEX_ANNOTATION: index});
    }
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

#[tokio::test(start_paused = true)]
async fn an_index_is_changed_again_where_somebody_else_wrote_in_between() {
    let get = "/api/v1/namespaces/ci/serviceaccounts/reader";
    let patch = format!("{get}?fieldManager=kubemint-credentials&force=true");
    let before = Index::default().to_annotation();
    let after = Index::default().with_exec_anchor(&"default".into()).to_annotation();
    let body = |version: &str| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
            "name": "reader", "namespace": "ci", "uid": "u", "resourceVersion": version,
            "annotations": {INDEX_ANNOTATION: after},
        }})
    };
    let exchanges = vec![
        exchange("GET", get, 200, account(Some(&before), "7")),
        exchange("PATCH", patch.clone(), 409, status(409, "Conflict", "changed")).with(body("7")),
        exchange("GET", get, 200, account(Some(&before), "8")),
        exchange("PATCH", patch.clone(), 200, account(Some(&after), "9")).with(body("8")),
    ];
    let reader = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader");
    let change = |_: &str, _, index: Index| Ok(Some(index.with_exec_anchor(&"default".into())));
    against(exchanges, async |api| edit_index(api, &reader, &"acme".into(), change).await.unwrap()).await;
    // What was written serves for the next write, and only as long as nobody else wrote; what refuses a change is what is
    // there, not what was seen.
    let with_other = Index::default().with_exec_anchor(&"default".into()).with_exec_anchor(&"other".into());
    let again = with_other.to_annotation();
    let seen = vec![
        exchange("GET", get, 200, account(Some(&before), "7")),
        exchange("PATCH", patch.clone(), 200, account(Some(&after), "8")).with(body("7")),
        exchange("PATCH", patch.clone(), 409, status(409, "Conflict", "changed")),
        exchange("GET", get, 200, account(Some(&after), "9")),
        exchange("PATCH", patch, 200, account(Some(&again), "10")),
        exchange("GET", get, 200, account(Some(&again), "11")),
    ];
    against(seen, async |api| {
        edit_index(api, &reader, &"acme".into(), change).await.unwrap();
        let other = |_: &str, _, index: Index| Ok(Some(index.with_exec_anchor(&"other".into())));
        edit_index(api, &reader, &"acme".into(), other).await.unwrap();
        let refused = |_: &str, _, _: Index| Err(StepFailure::new("it is there already"));
        let failure = edit_index(api, &reader, &"acme".into(), refused).await.unwrap_err();
        assert_eq!(failure.cause, "it is there already");
    })
    .await;
    // A lost index is marked as incomplete, and one that cannot be read is not overwritten.
    let lost = vec![exchange("GET", get, 200, account(None, "7"))];
    let is_lost = |_: &str, _, index: Index| {
        assert!(index.incomplete);
        Ok(None)
    };
    against(lost, async |api| edit_index(api, &reader, &"acme".into(), is_lost).await.unwrap()).await;
    for unusable in ["{", "{\"v\":99}"] {
        let damaged = vec![exchange("GET", get, 200, account(Some(unusable), "7"))];
        let failure =
            against(damaged, async |api| edit_index(api, &reader, &"acme".into(), change).await.unwrap_err()).await;
        assert!(failure.cause.contains("is unusable"), "{failure:?}");
    }
}

#[tokio::test]
async fn who_somebody_is_is_asked_for_and_older_servers_say_it_in_a_refusal() {
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}});
    let me = json!({"kind": "SelfSubjectReview", "status": {"userInfo": {"username": "me"}}});
    let told = vec![exchange("POST", review, 201, me).with(asked.clone())];
    assert_eq!(against(told, async |api| who_am_i(api).await.unwrap()).await.as_deref(), Some("me"));
    let refused = status(403, "Forbidden", "forbidden: User \"me\" cannot get path \"/kubemint-who-am-i\"");
    let old = vec![
        exchange("POST", review, 404, json!("404 page not found")).with(asked),
        exchange("GET", "/kubemint-who-am-i", 403, refused),
    ];
    assert_eq!(against(old, async |api| who_am_i(api).await.unwrap()).await.as_deref(), Some("me"));
}

/// A response that does not say whether something is allowed is no answer at all.
#[tokio::test]
async fn whether_something_is_allowed_is_asked_in_one_way() {
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = |spec: &Value, answer: Value| {
        let (group, kind) = ("authorization.k8s.io/v1", "SelfSubjectAccessReview");
        let body = json!({"apiVersion": group, "kind": kind, "metadata": {}, "spec": spec});
        vec![exchange("POST", uri, 201, answer).with(body)]
    };
    let said = |allowed: bool| json!({"status": {"allowed": allowed}});
    let silent = json!({"status": {}});

    let right = Right::Resource {
        group: "apps".to_owned(),
        resource: "deployments/scale".to_owned(),
        name: Some("web".to_owned()),
        verb: "get".to_owned(),
    };
    let question = Question { scope: Scope::Namespace("apps".to_owned()), right };
    let spec = json!({"resourceAttributes": {
        "group": "apps", "resource": "deployments", "subresource": "scale", "name": "web", "namespace": "apps", "verb": "get",
    }});
    let ask = async |api: &Api| may(api, &question).await;
    assert_eq!(against(asked(&spec, said(true)), ask).await.unwrap(), Answer::Allowed);
    assert_eq!(against(asked(&spec, said(false)), ask).await.unwrap(), Answer::Denied);
    assert!(against(asked(&spec, silent.clone()), ask).await.is_err());

    let account = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader");
    let spec = json!({"resourceAttributes": {
        "group": "", "resource": "serviceaccounts", "subresource": "token", "name": "reader", "namespace": "ci",
        "verb": "create",
    }});
    let ask = async |api: &Api| may_on_object(api, "create", Some("token"), &account).await;
    assert_eq!(against(asked(&spec, said(false)), ask).await.unwrap(), Answer::Denied);
    assert!(against(asked(&spec, silent), ask).await.is_err());

    let spec = json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}});
    let ask = async |api: &Api| may_on_url(api, "get", "/version").await;
    assert_eq!(against(asked(&spec, said(true)), ask).await.unwrap(), Answer::Allowed);

    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {},
        "spec": {"namespace": "apps"},
    });
    let answer = json!({"status": {"incomplete": true, "resourceRules": [{"verbs": ["get"], "resources": ["pods"]}]}});
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let listed = against(vec![exchange("POST", uri, 201, answer).with(body)], async |api| rules(api, "apps").await);
    let listed = listed.await.unwrap();
    assert_eq!((listed.rules.len(), listed.rules[0].resources.as_slice()), (1, ["pods".to_owned()].as_slice()));
    assert!(listed.incomplete);
}

/// A list of the caller's rules says yes for all rights that it has, if it is complete; whatever else is asked for.
#[tokio::test]
async fn several_rights_in_a_namespace_are_asked_for_with_one_list() {
    let account = ObjectRef::namespaced(Kind::ServiceAccount, "ci", "reader");
    let retire = Retire {
        profile: "reader".into(),
        inventory: "acme".into(),
        holder: "default".into(),
        service_account: account,
        generations: vec![],
        asks_for_time: false,
        keep: 2,
    };
    let plan = ClusterPlan { steps: vec![Step::Retire(Box::new(retire))], ..empty_plan("a", "u") };
    let path = |resource: &str| format!("/apis/authorization.k8s.io/v1/{resource}");
    let list = |code, answer| exchange("POST", path("selfsubjectrulesreviews"), code, answer);
    let question = |is_allowed: bool| {
        exchange("POST", path("selfsubjectaccessreviews"), 201, json!({"status": {"allowed": is_allowed}}))
    };
    let rule = |resource: &str, verb: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": [verb]});
    let rules = |rules: &[Value], incomplete: bool| {
        list(201, json!({"status": {"resourceRules": rules, "nonResourceRules": [], "incomplete": incomplete}}))
    };
    let of_one = [rule("serviceaccounts", "patch"), rule("secrets", "get")];
    let of_both = [rule("serviceaccounts", "patch"), rule("secrets", "*")];
    let forbidden = status(403, "Forbidden", "no");
    for (exchanges, deletion) in [
        (vec![rules(&of_both, false)], ProbeResult::Allowed),
        (vec![rules(&of_one, false), question(false)], ProbeResult::Denied),
        (vec![rules(&of_both, true), question(true), question(false)], ProbeResult::Denied),
        (vec![list(403, forbidden), question(true), question(true)], ProbeResult::Allowed),
    ] {
        let probed =
            against(exchanges, async |api| probe(api, &plan, &ObservedCluster::default()).await).await.unwrap();
        let results: Vec<&ProbeResult> = probed.results.iter().map(|(_, result)| result).collect();
        assert_eq!(results, [&ProbeResult::Allowed, &deletion]);
    }
}
