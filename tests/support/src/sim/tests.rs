//! Tests of the pure parts: server-side apply and RBAC, value in, value out.

use serde_json::{Value, json};

use super::escalation;
use super::managed::{Conflicts, Writer, apply, record_update};
use super::rbac::{Caller, authorize};
use super::request::{Attributes, ResourceAttributes};
use super::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, ResourceType};
use super::seed::seeded_store;
use super::store::Store;

const MINE: Writer<'_> = Writer { manager: "kubemint", api_version: "v1", time: "2026-11-23T10:00:00Z" };
const THEIRS: Writer<'_> = Writer { manager: "kubectl-edit", ..MINE };

fn labelled(labels: &Value) -> Value {
    json!({ "metadata": { "name": "x", "labels": labels } })
}

fn applied(live: &Value, labels: &Value, writer: Writer<'_>) -> Value {
    apply(live, &labelled(labels), writer, Conflicts::Refuse).expect("nobody is in the way")
}

#[test]
fn an_apply_takes_keeps_and_removes() {
    let bare = json!({ "metadata": { "name": "x" } });
    let first = applied(&bare, &json!({ "a": "1", "b": "1" }), MINE);
    assert_eq!(applied(&first, &json!({ "a": "1", "b": "1" }), MINE), first);
    let mut drifted = first.clone();
    drifted["metadata"]["labels"]["c"] = "foreign".into();
    record_update(&first, &mut drifted, THEIRS);
    let second = applied(&drifted, &json!({ "a": "2" }), MINE);
    assert_eq!(second["metadata"]["labels"], json!({ "a": "2", "c": "foreign" }));
}

#[test]
fn a_shared_field_stays_until_its_last_owner_lets_go() {
    let bare = json!({ "metadata": { "name": "x" } });
    let other = Writer { manager: "other", ..MINE };
    let mine = applied(&bare, &json!({ "a": "1" }), MINE);
    let shared = applied(&mine, &json!({ "a": "1" }), other);
    let still = applied(&shared, &json!({}), MINE);
    assert_eq!(still["metadata"]["labels"], json!({ "a": "1" }));
    let gone = applied(&still, &json!({}), other);
    assert_eq!(gone["metadata"].get("labels"), None);
}

#[test]
fn a_conflict_names_the_manager_and_force_overrules_it() {
    let bare = json!({ "metadata": { "name": "x" } });
    let first = applied(&bare, &json!({ "a": "1" }), MINE);
    let mut drifted = first.clone();
    drifted["metadata"]["labels"]["a"] = "2".into();
    record_update(&first, &mut drifted, THEIRS);
    let wanted = labelled(&json!({ "a": "1" }));
    let failure = apply(&drifted, &wanted, MINE, Conflicts::Refuse).unwrap_err();
    assert_eq!(
        failure.body()["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .metadata.labels.a"
    );
    let forced = apply(&drifted, &wanted, MINE, Conflicts::TakeOver).expect("forced");
    assert_eq!(forced["metadata"]["labels"]["a"], "1");
    let managers = forced["metadata"]["managedFields"].as_array();
    assert_eq!(managers.map(Vec::len), Some(1));
}

fn role(rules: &Value) -> Value {
    json!({ "metadata": { "name": "r" }, "rules": rules })
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

fn binding(role_kind: &str, role: &str) -> Value {
    json!({
        "metadata": { "name": role },
        "roleRef": { "kind": role_kind, "name": role },
        "subjects": [
            { "kind": "User", "name": "ann" },
            { "kind": "ServiceAccount", "name": "ci", "namespace": "apps" },
        ],
    })
}

fn caller(name: &str) -> Caller {
    Caller { name: name.to_owned(), groups: vec!["system:authenticated".to_owned()], ..Caller::default() }
}

fn wanted(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes::Resource(ResourceAttributes {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..ResourceAttributes::default()
    })
}

fn store_with(rules: &Value) -> Store {
    let mut store = seeded_store("test");
    store.put(&CLUSTER_ROLES, role(rules));
    store.put(&CLUSTER_ROLE_BINDINGS, binding("ClusterRole", "r"));
    store
}

#[test]
fn rules_allow_what_they_name_and_nothing_else() {
    let store = store_with(&json!([
        { "apiGroups": [""], "resources": ["pods", "*/log"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["*"] },
        { "apiGroups": ["*"], "resources": ["nodes/*"], "verbs": ["get"] },
        { "nonResourceURLs": ["/metrics*"], "verbs": ["get"] },
    ]));
    for (attributes, expected) in [
        (wanted("get", "pods", "", "x"), true),
        (wanted("get", "pods", "apps", "x"), true),
        (wanted("list", "pods", "apps", ""), false),
        (wanted("get", "pods/log", "apps", "x"), true),
        (wanted("get", "pods/exec", "apps", "x"), false),
        (wanted("delete", "secrets", "apps", "a"), true),
        (wanted("delete", "secrets", "apps", "b"), false),
        (wanted("list", "secrets", "apps", ""), false),
        (wanted("get", "nodes", "", "x"), false),
    ] {
        for name in ["ann", "system:serviceaccount:apps:ci"] {
            let allowed = authorize(&store, &caller(name), &attributes).is_some();
            assert_eq!(allowed, expected, "{name}: {attributes:?}");
        }
        let stranger = caller("system:serviceaccount:apps:other");
        assert_eq!(authorize(&store, &stranger, &attributes), None);
    }
    let path = |path: &str| Attributes::Path { verb: "get".to_owned(), path: path.to_owned() };
    assert!(authorize(&store, &caller("ann"), &path("/metrics/x")).is_some());
    assert!(authorize(&store, &caller("ann"), &path("/api/v1")).is_some());
    assert!(authorize(&store, &caller("ann"), &path("/debug")).is_none());
}

#[test]
fn a_role_binding_grants_in_its_namespace_only() {
    let mut store = seeded_store("test");
    store.put(&ROLE_BINDINGS, in_namespace(binding("ClusterRole", "view"), "apps"));
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
    store.put(&ROLES, in_namespace(role(&rules), "apps"));
    store.put(&ROLE_BINDINGS, in_namespace(binding("Role", "r"), "apps"));
    let ann = caller("ann");
    let allows = |attributes| authorize(&store, &ann, &attributes).is_some();
    assert!(allows(wanted("list", "pods", "apps", "")));
    assert!(allows(wanted("get", "secrets", "apps", "x")));
    assert!(!allows(wanted("list", "pods", "", "")));
    assert!(!allows(wanted("get", "secrets", "jobs", "x")));
}

#[test]
fn escalation_lists_what_is_missing() {
    let held = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"] },
    ]);
    let store = store_with(&held);
    let check = |resource: &'static ResourceType, object: &Value| {
        let failure = escalation::check(&store, &caller("ann"), resource, None, object).err()?;
        let message = failure.body()["message"].as_str()?.to_owned();
        Some(message.split_once('\n')?.1.to_owned())
    };
    assert_eq!(check(&CLUSTER_ROLES, &role(&held)), None);
    let more = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "get", "watch"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"] },
    ]);
    assert_eq!(
        check(&CLUSTER_ROLES, &role(&more)).as_deref(),
        Some(
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"watch\"]}\n\
             {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        )
    );
    assert_eq!(
        check(&CLUSTER_ROLE_BINDINGS, &binding("ClusterRole", "cluster-admin")).as_deref(),
        Some(
            "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n\
             {NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"
        )
    );
}
