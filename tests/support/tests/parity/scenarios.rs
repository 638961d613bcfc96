//! Scenarios about objects: apply, ownership, escalation, preconditions, lists, refusals.

use http::Method;
use serde_json::{Value, json};

use super::{Body, World};

/// A scenario; each uses objects of its own.
pub(crate) type Scenario = fn(&mut World);

pub(crate) const ALL: &[Scenario] = &[
    apply_creates_then_changes_nothing,
    apply_conflicts_and_takes_over,
    apply_leaves_foreign_fields_alone,
    apply_removes_what_it_no_longer_names,
    apply_of_every_kind,
    apply_that_names_nothing,
    apply_with_preconditions,
    apply_with_the_uid_of_a_deleted_object,
    apply_refuses_wrong_bodies,
    conflicts_over_rules,
    dry_runs,
    escalation,
    escalation_by_unrelated_changes,
    binding_to_a_missing_role,
    bind_and_escalate_verbs,
    role_refs_do_not_change,
    preconditions_of_deletions,
    deletions_answer,
    creations_are_refused,
    names_and_labels,
    invalid_rules_and_subjects,
    missing_objects_and_namespaces,
    finalizers_keep_objects,
    forbidden_messages,
    anonymous_requests,
    metadata_only,
    lists_by_label_and_page,
    anchors_and_owners,
    merge_patches,
    replacements,
];

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn account(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "labels": labels },
    })
}

fn cluster_role(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    })
}

fn cluster_role_binding(name: &str, role: &str, group: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role,
        },
        "subjects": [{ "kind": "Group", "name": group }],
    })
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn apply_creates_then_changes_nothing(world: &mut World) {
    let path = format!("{ACCOUNTS}/no-op?fieldManager=kubemint&force=true");
    let body = account("no-op", &json!({ "a": "1" }));
    let first = world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    let second = world.ask("no change", &Method::PATCH, &path, &Body::Apply(&body));
    assert_eq!(first, second, "an apply without a change answers the same");
    let path = format!("{RBAC}/clusterrolebindings/no-op?fieldManager=kubemint&force=true");
    let body = cluster_role_binding("no-op", "view", "nobody");
    let first = world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    let second = world.ask("no change", &Method::PATCH, &path, &Body::Apply(&body));
    assert_eq!(first, second, "an apply without a change answers the same");
    let path = format!("{RBAC}/clusterroles/no-op?fieldManager=kubemint");
    let body = cluster_role("no-op", &json!([]));
    let first = world.ask("no rules", &Method::PATCH, &path, &Body::Apply(&body));
    let second = world.ask("no change", &Method::PATCH, &path, &Body::Apply(&body));
    assert_eq!(first, second, "an apply without a change answers the same");
}

fn apply_conflicts_and_takes_over(world: &mut World) {
    let path = format!("{ACCOUNTS}/conflict");
    let mine = format!("{path}?fieldManager=kubemint");
    let body = account("conflict", &json!({ "a": "1", "b": "1", "c": "1" }));
    world.ask("created", &Method::PATCH, &mine, &Body::Apply(&body));
    for (manager, label) in [("kubectl-label", "a"), ("helm", "b")] {
        let patch = json!({ "metadata": { "labels": { label: "2", "other": manager } } });
        let path = format!("{path}?fieldManager={manager}");
        world.ask("drift", &Method::PATCH, &path, &Body::Merge(&patch));
        world.ask("conflict", &Method::PATCH, &mine, &Body::Apply(&body));
    }
    let theirs = format!("{path}?fieldManager=argocd");
    let other = account("conflict", &json!({ "c": "2" }));
    world.ask("apply conflict", &Method::PATCH, &theirs, &Body::Apply(&other));
    let same = account("conflict", &json!({ "c": "1" }));
    world.ask("shared", &Method::PATCH, &theirs, &Body::Apply(&same));
    let force = format!("{mine}&force=true");
    world.ask("forced", &Method::PATCH, &force, &Body::Apply(&body));
}

fn apply_leaves_foreign_fields_alone(world: &mut World) {
    let path = format!("{ACCOUNTS}/foreign");
    let body = account("foreign", &json!({ "a": "1" }));
    let mine = format!("{path}?fieldManager=kubemint&force=true");
    world.ask("created", &Method::PATCH, &mine, &Body::Apply(&body));
    let index = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "foreign", "annotations": { "kubemint.dev/credentials": "{}" } },
    });
    let other = format!("{path}?fieldManager=kubemint-credentials&force=true");
    world.ask("index", &Method::PATCH, &other, &Body::Apply(&index));
    let body = account("foreign", &json!({ "a": "2" }));
    world.ask("labels", &Method::PATCH, &mine, &Body::Apply(&body));
    let none = account("foreign", &json!({}));
    world.ask("no index", &Method::PATCH, &other, &Body::Apply(&none));
}

fn apply_removes_what_it_no_longer_names(world: &mut World) {
    let path = format!("{ACCOUNTS}/removal?fieldManager=kubemint");
    let other = format!("{ACCOUNTS}/removal?fieldManager=other");
    let body = account("removal", &json!({ "a": "1", "b": "1" }));
    world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    let shared = account("removal", &json!({ "b": "1" }));
    world.ask("shared", &Method::PATCH, &other, &Body::Apply(&shared));
    let none = account("removal", &json!({ "c": "1" }));
    world.ask("removed", &Method::PATCH, &path, &Body::Apply(&none));
    world.ask("all gone", &Method::PATCH, &other, &Body::Apply(&none));
}

fn apply_of_every_kind(world: &mut World) {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": "every-kind", "labels": { "a": "1" } },
    });
    let path = "/api/v1/namespaces/every-kind?fieldManager=kubemint";
    world.ask("namespace", &Method::PATCH, path, &Body::Apply(&namespace));
    world.ask("namespace", &Method::PATCH, path, &Body::Apply(&namespace));
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubemint.dev/anchor",
        "metadata": { "name": "anchor" },
    });
    let path = "/api/v1/namespaces/every-kind/secrets/anchor?fieldManager=kubemint";
    world.ask("secret", &Method::PATCH, path, &Body::Apply(&secret));
    let mut role = cluster_role("role", &json!([rule(&[""], &["pods"], &["get"])]));
    role["kind"] = "Role".into();
    let path = format!("{RBAC}/namespaces/every-kind/roles/role?fieldManager=kubemint");
    world.ask("role", &Method::PATCH, &path, &Body::Apply(&role));
    let mut binding = cluster_role_binding("binding", "view", "nobody");
    binding["kind"] = "RoleBinding".into();
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": "x", "namespace": "y" }]);
    let path = format!("{RBAC}/namespaces/every-kind/rolebindings/binding?fieldManager=kubemint");
    world.ask("role binding", &Method::PATCH, &path, &Body::Apply(&binding));
    world.ask("role binding", &Method::PATCH, &path, &Body::Apply(&binding));
    let mut aggregate = cluster_role("aggregate", &Value::Null);
    aggregate["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "x": "y" } }] });
    let path = format!("{RBAC}/clusterroles/aggregate?fieldManager=kubemint");
    world.ask("aggregate", &Method::PATCH, &path, &Body::Apply(&aggregate));
}

fn apply_that_names_nothing(world: &mut World) {
    let path = format!("{ACCOUNTS}/empty?fieldManager=kubemint");
    let body = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "empty" },
    });
    world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    world.ask("no change", &Method::PATCH, &path, &Body::Apply(&body));
}

fn apply_with_preconditions(world: &mut World) {
    let path = format!("{ACCOUNTS}/precondition?fieldManager=kubemint&force=true");
    let mut body = account("precondition", &json!({ "a": "1" }));
    let live = world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    body["metadata"]["labels"]["a"] = "2".into();
    body["metadata"]["uid"] = "11111111-1111-4111-8111-111111111111".into();
    world.ask("wrong uid", &Method::PATCH, &path, &Body::Apply(&body));
    body["metadata"]["resourceVersion"] = "1".into();
    world.ask("both wrong", &Method::PATCH, &path, &Body::Apply(&body));
    body["metadata"]["uid"] = live["metadata"]["uid"].clone();
    world.ask("wrong version", &Method::PATCH, &path, &Body::Apply(&body));
    body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    world.ask("both right", &Method::PATCH, &path, &Body::Apply(&body));
    world.ask("stale now", &Method::PATCH, &path, &Body::Apply(&body));
    let dry_run = format!("{path}&dryRun=All");
    world.ask("stale dry run", &Method::PATCH, &dry_run, &Body::Apply(&body));
}

fn apply_with_the_uid_of_a_deleted_object(world: &mut World) {
    let path = format!("{ACCOUNTS}/deleted?fieldManager=kubemint&force=true");
    let mut body = account("deleted", &json!({ "a": "1" }));
    let live = world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    let object = format!("{ACCOUNTS}/deleted");
    world.ask("deleted", &Method::DELETE, &object, &Body::None);
    body["metadata"]["uid"] = live["metadata"]["uid"].clone();
    world.ask("uid", &Method::PATCH, &path, &Body::Apply(&body));
    body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    world.ask("uid and version", &Method::PATCH, &path, &Body::Apply(&body));
    let mut body = account("deleted", &json!({ "a": "1" }));
    body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    world.ask("version only", &Method::PATCH, &path, &Body::Apply(&body));
}

fn apply_refuses_wrong_bodies(world: &mut World) {
    let path = format!("{ACCOUNTS}/wrong?fieldManager=kubemint");
    let other = account("other", &json!({}));
    world.ask("other name", &Method::PATCH, &path, &Body::Apply(&other));
    let body = account("wrong", &json!({}));
    let bare = format!("{ACCOUNTS}/wrong");
    world.ask("no manager", &Method::PATCH, &bare, &Body::Apply(&body));
    let mut kind = body.clone();
    kind["kind"] = "Secret".into();
    world.ask("other kind", &Method::PATCH, &path, &Body::Apply(&kind));
    let mut unknown = body.clone();
    unknown["foo"] = 1.into();
    world.ask("unknown field", &Method::PATCH, &path, &Body::Apply(&unknown));
    let mut managed = body;
    managed["metadata"]["managedFields"] = json!([]);
    world.ask("managed fields", &Method::PATCH, &path, &Body::Apply(&managed));
}

fn conflicts_over_rules(world: &mut World) {
    let path = format!("{RBAC}/clusterroles/drift");
    let mine = format!("{path}?fieldManager=kubemint");
    let body = cluster_role("drift", &json!([rule(&[""], &["pods"], &["get"])]));
    world.ask("created", &Method::PATCH, &mine, &Body::Apply(&body));
    let patch = json!({ "rules": [rule(&[""], &["pods"], &["get", "delete"])] });
    let edit = format!("{path}?fieldManager=kubectl-edit");
    world.ask("drift", &Method::PATCH, &edit, &Body::Merge(&patch));
    world.ask("conflict", &Method::PATCH, &mine, &Body::Apply(&body));
    let dry_run = format!("{mine}&dryRun=All");
    world.ask("dry run", &Method::PATCH, &dry_run, &Body::Apply(&body));
    let force = format!("{mine}&force=true");
    world.ask("forced", &Method::PATCH, &force, &Body::Apply(&body));
}

fn dry_runs(world: &mut World) {
    let body = account("dry", &json!({ "a": "1" }));
    let create = format!("{ACCOUNTS}?dryRun=All");
    world.ask("create", &Method::POST, &create, &Body::Json(&body));
    let apply = format!("{ACCOUNTS}/dry?fieldManager=kubemint&dryRun=All");
    world.ask("apply", &Method::PATCH, &apply, &Body::Apply(&body));
    let object = format!("{ACCOUNTS}/dry");
    world.ask("nothing there", &Method::GET, &object, &Body::None);
    world.ask("create", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let changed = account("dry", &json!({ "b": "1" }));
    world.ask("apply", &Method::PATCH, &apply, &Body::Apply(&changed));
    let delete = format!("{object}?dryRun=All");
    world.ask("delete", &Method::DELETE, &delete, &Body::None);
    world.ask("unchanged", &Method::GET, &object, &Body::None);
    let path = "/api/v1/namespaces/nope/serviceaccounts/dry?fieldManager=kubemint&dryRun=All";
    world.ask("no namespace", &Method::PATCH, path, &Body::Apply(&body));
}

/// Lets the group `limited` write RBAC objects, but not escalate or bind.
fn let_limited_write_rbac(world: &mut World) {
    let verbs = ["get", "create", "patch", "update", "delete"];
    let rules = json!([rule(&["rbac.authorization.k8s.io"], &["*"], &verbs), rule(&[""], &["configmaps"], &["get"]),]);
    let roles = format!("{RBAC}/clusterroles/limited?fieldManager=setup&force=true");
    let role = cluster_role("limited", &rules);
    world.ask("setup", &Method::PATCH, &roles, &Body::Apply(&role));
    let bindings = format!("{RBAC}/clusterrolebindings/limited?fieldManager=setup&force=true");
    let binding = cluster_role_binding("limited", "limited", "limited");
    world.ask("setup", &Method::PATCH, &bindings, &Body::Apply(&binding));
    // The authorizer of a real server learns of it a moment later.
    let path = format!("{RBAC}/clusterroles/limited");
    while world.limited.get(&path).is_err() {
        std::thread::yield_now();
    }
}

fn escalation(world: &mut World) {
    let_limited_write_rbac(world);
    let limited = world.limited.clone();
    let rules = json!([
        rule(&["", "apps"], &["pods", "secrets"], &["list", "get"]),
        rule(&[""], &["configmaps"], &["get", "watch"]),
        { "nonResourceURLs": ["/metrics"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["pods"], "resourceNames": ["q"], "verbs": ["delete"] },
        rule(&["*"], &["*"], &["*"]),
    ]);
    for parameters in ["fieldManager=kubemint&dryRun=All", "fieldManager=kubemint"] {
        let path = format!("{RBAC}/clusterroles/escalation?{parameters}");
        let role = cluster_role("escalation", &rules);
        let body = Body::Apply(&role);
        world.ask_as(&limited, "role", &Method::PATCH, &path, &body);
        let path = format!("{RBAC}/clusterrolebindings/escalation?{parameters}");
        let binding = cluster_role_binding("escalation", "system:discovery", "limited");
        let body = Body::Apply(&binding);
        world.ask_as(&limited, "held", &Method::PATCH, &path, &body);
        let path = format!("{RBAC}/clusterrolebindings/escalation-2?{parameters}");
        let binding = cluster_role_binding("escalation-2", "cluster-admin", "limited");
        let body = Body::Apply(&binding);
        world.ask_as(&limited, "binding", &Method::PATCH, &path, &body);
    }
    let path = format!("{RBAC}/clusterroles");
    let role = cluster_role("held", &json!([rule(&[""], &["configmaps"], &["get"])]));
    let body = Body::Json(&role);
    world.ask_as(&limited, "held role", &Method::POST, &path, &body);
    let path = format!("{RBAC}/namespaces/default/roles");
    let mut role = cluster_role("in-namespace", &json!([rule(&[""], &["pods"], &["get"])]));
    role["kind"] = "Role".into();
    let body = Body::Json(&role);
    world.ask_as(&limited, "role in a namespace", &Method::POST, &path, &body);
    let mut aggregate = cluster_role("aggregating", &Value::Null);
    aggregate["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": { "x": "y" } }] });
    let path = format!("{RBAC}/clusterroles");
    let body = Body::Json(&aggregate);
    world.ask_as(&limited, "aggregation", &Method::POST, &path, &body);
}

fn escalation_by_unrelated_changes(world: &mut World) {
    let_limited_write_rbac(world);
    let limited = world.limited.clone();
    let role = cluster_role("unrelated", &json!([rule(&[""], &["pods"], &["get"])]));
    let roles = format!("{RBAC}/clusterroles");
    world.ask("role", &Method::POST, &roles, &Body::Json(&role));
    let path = format!("{RBAC}/clusterroles/unrelated");
    let label = json!({ "metadata": { "labels": { "a": "1" } } });
    let body = Body::Merge(&label);
    world.ask_as(&limited, "label", &Method::PATCH, &path, &body);
    let finalizer = json!({ "metadata": { "finalizers": ["a/b"] } });
    let body = Body::Merge(&finalizer);
    world.ask_as(&limited, "finalizer", &Method::PATCH, &path, &body);
}

fn binding_to_a_missing_role(world: &mut World) {
    let_limited_write_rbac(world);
    let limited = world.limited.clone();
    let body = cluster_role_binding("missing-role", "nope", "nobody");
    let path = format!("{RBAC}/clusterrolebindings/missing-role?fieldManager=kubemint&dryRun=All");
    let apply = Body::Apply(&body);
    world.ask_as(&limited, "limited", &Method::PATCH, &path, &apply);
    world.ask("admin", &Method::PATCH, &path, &Body::Apply(&body));
    let mut binding = body.clone();
    binding["kind"] = "RoleBinding".into();
    binding["roleRef"]["kind"] = "Role".into();
    let path = format!("{RBAC}/namespaces/default/rolebindings/missing-role?fieldManager=kubemint&dryRun=All");
    let apply = Body::Apply(&binding);
    world.ask_as(&limited, "limited", &Method::PATCH, &path, &apply);
}

fn bind_and_escalate_verbs(world: &mut World) {
    let_limited_write_rbac(world);
    let rules = json!([{
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "verbs": ["bind", "escalate"],
        "resourceNames": ["cluster-admin", "escalated", "nope"],
    }]);
    let roles = format!("{RBAC}/clusterroles");
    let role = cluster_role("binder", &rules);
    world.ask("setup", &Method::POST, &roles, &Body::Json(&role));
    let bindings = format!("{RBAC}/clusterrolebindings");
    let binding = cluster_role_binding("binder", "binder", "readers");
    world.ask("setup", &Method::POST, &bindings, &Body::Json(&binding));
    let writer = cluster_role_binding("binder-writes", "limited", "readers");
    world.ask("setup", &Method::POST, &bindings, &Body::Json(&writer));
    let reader = world.reader.clone();
    let path = format!("{RBAC}/clusterroles/limited");
    while reader.get(&path).is_err() {
        std::thread::yield_now();
    }
    for role in ["cluster-admin", "nope", "edit"] {
        let name = format!("bound-{role}");
        let path = format!("{bindings}/{name}?fieldManager=kubemint&dryRun=All");
        let binding = cluster_role_binding(&name, role, "nobody");
        let body = Body::Apply(&binding);
        let answer = world.ask_as(&reader, "bind", &Method::PATCH, &path, &body);
        // The rules of `edit` differ in their order from server to server.
        if role == "edit" {
            world.answers.pop();
            assert_eq!(answer["code"], 403);
        }
    }
    let rules = json!([rule(&[""], &["pods"], &["get"])]);
    for name in ["escalated", "not-escalated"] {
        let path = format!("{roles}/{name}?fieldManager=kubemint&dryRun=All");
        let role = cluster_role(name, &rules);
        let body = Body::Apply(&role);
        world.ask_as(&reader, "escalate", &Method::PATCH, &path, &body);
    }
    for name in ["binder", "binder-writes"] {
        let path = format!("{bindings}/{name}");
        world.ask("clean up", &Method::DELETE, &path, &Body::None);
    }
    while reader.get(&path).is_ok() {
        std::thread::yield_now();
    }
}

fn role_refs_do_not_change(world: &mut World) {
    let path = format!("{RBAC}/clusterrolebindings/role-ref?fieldManager=kubemint&force=true");
    let body = cluster_role_binding("role-ref", "view", "nobody");
    world.ask("created", &Method::PATCH, &path, &Body::Apply(&body));
    let body = cluster_role_binding("role-ref", "edit", "nobody");
    world.ask("changed", &Method::PATCH, &path, &Body::Apply(&body));
    let path = format!("{path}&dryRun=All");
    world.ask("dry run", &Method::PATCH, &path, &Body::Apply(&body));
}

fn preconditions_of_deletions(world: &mut World) {
    let body = account("precious", &json!({}));
    world.ask("created", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let roles = format!("{RBAC}/clusterroles");
    let body = cluster_role("precious", &json!([]));
    let role = world.ask("created", &Method::POST, &roles, &Body::Json(&body));
    for path in [format!("{ACCOUNTS}/precious"), format!("{roles}/precious")] {
        for preconditions in
            [json!({ "uid": "11111111-1111-4111-8111-111111111111" }), json!({ "resourceVersion": "1" })]
        {
            let options = json!({ "preconditions": preconditions });
            world.ask("refused", &Method::DELETE, &path, &Body::Json(&options));
        }
    }
    let options = json!({ "preconditions": { "uid": role["metadata"]["uid"] } });
    let path = format!("{roles}/precious");
    world.ask("right", &Method::DELETE, &path, &Body::Json(&options));
    world.ask("gone", &Method::DELETE, &path, &Body::Json(&options));
}

fn deletions_answer(world: &mut World) {
    let bindings = format!("{RBAC}/clusterrolebindings");
    let secret = json!({ "metadata": { "name": "delete-me" } });
    let binding = cluster_role_binding("delete-me", "view", "nobody");
    for (path, body) in [(ACCOUNTS, account("delete-me", &json!({}))), (SECRETS, secret), (&bindings, binding)] {
        world.ask("created", &Method::POST, path, &Body::Json(&body));
        let path = format!("{path}/delete-me");
        let options = json!({ "propagationPolicy": "Background" });
        world.ask("deleted", &Method::DELETE, &path, &Body::Json(&options));
    }
    let path = "/api/v1/namespaces/default";
    world.ask("permanent", &Method::DELETE, path, &Body::None);
}

fn creations_are_refused(world: &mut World) {
    let body = account("twice", &json!({}));
    world.ask("first", &Method::POST, ACCOUNTS, &Body::Json(&body));
    world.ask("second", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let dry_run = format!("{ACCOUNTS}?dryRun=All");
    world.ask("dry run", &Method::POST, &dry_run, &Body::Json(&body));
    let path = "/api/v1/namespaces/nope/serviceaccounts";
    world.ask("no namespace", &Method::POST, path, &Body::Json(&body));
    let mut elsewhere = account("elsewhere", &json!({}));
    elsewhere["metadata"]["namespace"] = "kube-system".into();
    world.ask("elsewhere", &Method::POST, ACCOUNTS, &Body::Json(&elsewhere));
    let mut unknown = account("unknown", &json!({}));
    unknown["foo"] = 1.into();
    let strict = format!("{ACCOUNTS}?fieldValidation=Strict");
    world.ask("strict", &Method::POST, &strict, &Body::Json(&unknown));
    let ignore = format!("{ACCOUNTS}?fieldValidation=Ignore");
    world.ask("ignored", &Method::POST, &ignore, &Body::Json(&unknown));
    let roles = format!("{RBAC}/clusterroles");
    let role = cluster_role("twice", &json!([]));
    world.ask("first", &Method::POST, &roles, &Body::Json(&role));
    world.ask("second", &Method::POST, &roles, &Body::Json(&role));
}

fn names_and_labels(world: &mut World) {
    for name in ["A_b", "", "-a", "a.b"] {
        let body = account(name, &json!({}));
        let path = format!("{ACCOUNTS}?dryRun=All");
        world.ask(name, &Method::POST, &path, &Body::Json(&body));
        let body = json!({ "metadata": { "name": name } });
        let path = "/api/v1/namespaces?dryRun=All";
        world.ask(name, &Method::POST, path, &Body::Json(&body));
        let body = cluster_role(name, &json!([]));
        let path = format!("{RBAC}/clusterroles?dryRun=All");
        world.ask(name, &Method::POST, &path, &Body::Json(&body));
    }
    let body = cluster_role("a/b", &json!([]));
    let path = format!("{RBAC}/clusterroles?dryRun=All");
    world.ask("slash", &Method::POST, &path, &Body::Json(&body));
    for labels in
        [json!({ "a b": "c" }), json!({ "a": "c d" }), json!({ "example.com/a": "" }), json!({ "a": "x".repeat(64) })]
    {
        let body = account("labels", &labels);
        let path = format!("{ACCOUNTS}?dryRun=All");
        world.ask("labels", &Method::POST, &path, &Body::Json(&body));
    }
}

fn invalid_rules_and_subjects(world: &mut World) {
    let roles = format!("{RBAC}/clusterroles?dryRun=All");
    let rules = json!([{ "apiGroups": [""] }, { "verbs": ["get"] }, { "nonResourceURLs": ["/x"] }]);
    let role = cluster_role("invalid", &rules);
    world.ask("rules", &Method::POST, &roles, &Body::Json(&role));
    let bindings = format!("{RBAC}/clusterrolebindings?dryRun=All");
    let mut binding = cluster_role_binding("invalid", "", "x");
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": "x" }, { "kind": "Group" }]);
    world.ask("subjects", &Method::POST, &bindings, &Body::Json(&binding));
    binding = cluster_role_binding("invalid", "x", "x");
    binding["roleRef"]["kind"] = "Role".into();
    world.ask("kind", &Method::POST, &bindings, &Body::Json(&binding));
}

fn missing_objects_and_namespaces(world: &mut World) {
    for path in [
        format!("{ACCOUNTS}/nope"),
        format!("{RBAC}/clusterroles/nope"),
        format!("{RBAC}/namespaces/nope/roles/nope"),
        "/api/v1/namespaces/nope".to_owned(),
        "/api/v1/namespaces/nope/secrets/nope".to_owned(),
        "/api/v1/nope".to_owned(),
        "/api/v1/namespaces/default/nope/nope".to_owned(),
        "/apis/nope.example.com/v1/nopes".to_owned(),
        "/nope".to_owned(),
        format!("{RBAC}/namespaces/default/clusterroles"),
    ] {
        world.ask("read", &Method::GET, &path, &Body::None);
    }
    let path = format!("{ACCOUNTS}/nope");
    let patch = json!({ "metadata": { "labels": { "a": "1" } } });
    world.ask("patch", &Method::PATCH, &path, &Body::Merge(&patch));
    world.ask("delete", &Method::DELETE, &path, &Body::None);
    let path = "/api/v1/namespaces/nope/serviceaccounts?limit=5";
    let list = world.ask("list", &Method::GET, path, &Body::None);
    assert_eq!(list["items"], json!([]));
}

fn finalizers_keep_objects(world: &mut World) {
    let mut body = account("kept", &json!({}));
    body["metadata"]["finalizers"] = json!(["example.com/keep"]);
    world.ask("created", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let path = format!("{ACCOUNTS}/kept");
    world.ask("deleted", &Method::DELETE, &path, &Body::None);
    world.ask("again", &Method::DELETE, &path, &Body::None);
    world.ask("still there", &Method::GET, &path, &Body::None);
    let patch = json!({ "metadata": { "finalizers": null } });
    world.ask("released", &Method::PATCH, &path, &Body::Merge(&patch));
    world.ask("gone", &Method::GET, &path, &Body::None);
    let body = json!({
        "metadata": { "name": "terminating", "finalizers": ["example.com/keep"] },
    });
    let path = "/api/v1/namespaces";
    world.ask("namespace", &Method::POST, path, &Body::Json(&body));
    let path = "/api/v1/namespaces/terminating";
    world.ask("deleted", &Method::DELETE, path, &Body::None);
    let body = account("late", &json!({}));
    let path = "/api/v1/namespaces/terminating/serviceaccounts";
    world.ask("refused", &Method::POST, path, &Body::Json(&body));
}

fn forbidden_messages(world: &mut World) {
    let reader = world.reader.clone();
    for path in [
        "/api/v1/pods".to_owned(),
        "/api/v1/namespaces/apps/pods".to_owned(),
        "/api/v1/namespaces/apps/secrets/x".to_owned(),
        "/api/v1/namespaces/kube-system".to_owned(),
        "/api/v1/namespaces".to_owned(),
        "/api/v1/namespaces/apps/pods/x/log".to_owned(),
        format!("{RBAC}/clusterroles/x"),
        format!("{RBAC}/namespaces/apps/roles"),
        "/apis/nope.example.com/v1/nopes".to_owned(),
        "/metrics".to_owned(),
    ] {
        world.ask_as(&reader, "read", &Method::GET, &path, &Body::None);
    }
    let path = format!("{ACCOUNTS}/x");
    world.ask_as(&reader, "delete", &Method::DELETE, &path, &Body::None);
    let body = account("x", &json!({}));
    let json = Body::Json(&body);
    world.ask_as(&reader, "create", &Method::POST, ACCOUNTS, &json);
    let path = format!("{path}?fieldManager=kubemint");
    let apply = Body::Apply(&body);
    world.ask_as(&reader, "apply", &Method::PATCH, &path, &apply);
}

fn anonymous_requests(world: &mut World) {
    let anonymous = world.admin.anonymous();
    for path in ["/api", "/apis", "/healthz", "/livez", "/api/v1/namespaces"] {
        world.ask_as(&anonymous, "anonymous", &Method::GET, path, &Body::None);
    }
    let wrong = world.admin.as_token("wrong");
    for path in ["/version", "/api/v1/namespaces"] {
        world.ask_as(&wrong, "wrong token", &Method::GET, path, &Body::None);
    }
}

fn metadata_only(world: &mut World) {
    let body = json!({
        "metadata": { "name": "metadata-only", "labels": { "metadata": "only" } },
        "stringData": { "password": "secret" },
    });
    world.ask("created", &Method::POST, SECRETS, &Body::Json(&body));
    let object = format!("{SECRETS}/metadata-only");
    let list = format!("{SECRETS}?labelSelector=metadata=only");
    for path in [object, list] {
        let kind = if path.contains('?') { "PartialObjectMetadataList" } else { "PartialObjectMetadata" };
        let accept = format!("application/json;as={kind};g=meta.k8s.io;v=v1");
        let headers = [("accept", accept.as_str())];
        let response = world.admin.send(&Method::GET, &path, &headers, None);
        let response = response.expect("the server answers");
        assert!(!response.body.to_string().contains("c2VjcmV0"));
        world.record(format!("metadata: {path}"), &response);
    }
}

fn lists_by_label_and_page(world: &mut World) {
    for (name, tier) in [("list-a", "gold"), ("list-b", "silver"), ("list-c", "gold")] {
        let body = account(name, &json!({ "scenario": "list", "tier": tier }));
        world.ask("created", &Method::POST, ACCOUNTS, &Body::Json(&body));
    }
    for selector in [
        "scenario=list",
        "scenario%3Dlist%2Ctier%21%3Dgold",
        "scenario,tier+in+(gold,bronze)",
        "scenario,tier%20notin%20(gold)",
        "scenario,!tier",
    ] {
        for path in [ACCOUNTS, "/api/v1/serviceaccounts"] {
            let path = format!("{path}?labelSelector={selector}");
            world.ask("list", &Method::GET, &path, &Body::None);
        }
    }
    let mut path = format!("{ACCOUNTS}?labelSelector=scenario%3Dlist&limit=2");
    let page = world.ask("first page", &Method::GET, &path, &Body::None);
    let token = page["metadata"]["continue"].as_str().expect("there is more");
    path = format!("{path}&continue={token}");
    // The label keeps the token out of the comparison.
    let response = world.admin.send(&Method::GET, &path, &[], None);
    let response = response.expect("the server answers");
    world.record("second page".to_owned(), &response);
    let path = format!("{RBAC}/clusterroles?labelSelector=scenario%3Dlist");
    world.ask("no roles", &Method::GET, &path, &Body::None);
}

fn anchors_and_owners(world: &mut World) {
    let body = account("owner", &json!({}));
    let owner = world.ask("owner", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let anchor = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubemint.dev/anchor",
        "metadata": {
            "name": "owned",
            "labels": { "app.kubernetes.io/managed-by": "kubemint" },
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "name": "owner",
                "uid": owner["metadata"]["uid"],
            }],
        },
    });
    let create = format!("{SECRETS}?fieldManager=kubemint");
    world.ask("created", &Method::POST, &create, &Body::Json(&anchor));
    world.ask("twice", &Method::POST, &create, &Body::Json(&anchor));
    let apply = format!("{SECRETS}/owned?fieldManager=kubemint");
    world.ask("applied", &Method::PATCH, &apply, &Body::Apply(&anchor));
    let mut other = anchor;
    other["type"] = "Opaque".into();
    let force = format!("{apply}&force=true");
    world.ask("type", &Method::PATCH, &force, &Body::Apply(&other));
}

fn merge_patches(world: &mut World) {
    let body = account("patched", &json!({ "a": "1" }));
    world.ask("created", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let path = format!("{ACCOUNTS}/patched");
    for patch in [
        json!({ "metadata": { "labels": { "a": null, "b": "2" } } }),
        json!({ "metadata": { "labels": { "b": "2" } } }),
        json!({ "metadata": { "annotations": { "x": "y" } } }),
        json!({ "metadata": { "labels": null } }),
        json!({ "automountServiceAccountToken": false }),
        json!({ "metadata": { "name": "other" } }),
        json!({ "metadata": { "uid": "11111111-1111-4111-8111-111111111111" } }),
        json!({ "metadata": { "resourceVersion": "1" } }),
    ] {
        let label = patch.to_string();
        world.ask(&label, &Method::PATCH, &path, &Body::Merge(&patch));
    }
}

fn replacements(world: &mut World) {
    let body = account("replaced", &json!({ "a": "1" }));
    let mut live = world.ask("created", &Method::POST, ACCOUNTS, &Body::Json(&body));
    let path = format!("{ACCOUNTS}/replaced");
    live["metadata"]["labels"] = json!({ "b": "1" });
    world.ask("replaced", &Method::PUT, &path, &Body::Json(&live));
    world.ask("stale", &Method::PUT, &path, &Body::Json(&live));
    let missing = format!("{ACCOUNTS}/nope");
    let body = account("nope", &json!({}));
    world.ask("missing", &Method::PUT, &missing, &Body::Json(&body));
    let mut other = account("replaced", &json!({}));
    other["metadata"]["uid"] = "11111111-1111-4111-8111-111111111111".into();
    world.ask("other uid", &Method::PUT, &path, &Body::Json(&other));
}
