//! Reviews of small clusters, and properties of the evaluation.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::policy::Through;
use super::*;
use crate::inventory::{Intended, IntendedSource};
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::rbac::{Right, Rule, Scope, summarise};

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|entry| (*entry).to_owned()).collect()
}

fn rule(resources: &[&str], verbs: &[&str]) -> Rule {
    Rule { api_groups: owned(&[""]), resources: owned(resources), verbs: owned(verbs), ..Rule::default() }
}

fn urls(urls: &[&str]) -> Rule {
    Rule { non_resource_urls: owned(urls), verbs: owned(&["get"]), ..Rule::default() }
}

fn account() -> Account {
    Account { namespace: "ci".into(), name: "deployer".into() }
}

fn subject(kind: &str, namespace: Option<&str>, name: &str) -> Subject {
    Subject { kind: kind.into(), namespace: namespace.map(str::to_owned), name: name.into() }
}

/// Collects a policy: each call adds a role and a binding of it.
#[derive(Default)]
struct Cluster(Policy);

impl Cluster {
    fn bind(mut self, namespace: Option<&str>, role: &str, subject: Subject, rules: Option<Vec<Rule>>) -> Self {
        let scope = namespace.map_or(Scope::Cluster, |name| Scope::Namespace(name.to_owned()));
        let kind = if namespace.is_some() { Kind::RoleBinding } else { Kind::ClusterRoleBinding };
        let role = RoleRef { kind: Kind::ClusterRole, name: role.to_owned() };
        let object = ObjectRef { kind, namespace: namespace.map(str::to_owned), name: role.name.clone() };
        let rules = rules.map_or(RoleRules::Unreadable, RoleRules::Known);
        self.0.roles.insert(policy::role_object(&role, &scope), rules);
        self.0.bindings.push(Binding { object, role, subjects: vec![subject], is_bootstrapped: false });
        self
    }

    fn bootstrapped(mut self) -> Self {
        self.0.bindings.last_mut().unwrap().is_bootstrapped = true;
        self
    }
}

fn me() -> Subject {
    subject("ServiceAccount", Some("ci"), "deployer")
}

fn group(name: &str) -> Subject {
    subject("Group", None, name)
}

fn own(scope: Scope, rules: Vec<Rule>) -> Intended {
    Intended { scope, source: IntendedSource::Profile(Arc::from(rules)) }
}

fn in_apps() -> Scope {
    Scope::Namespace("apps".into())
}

/// Reviews without asking the server, and returns the result as lines.
fn review(intended: &[Intended], cluster: &Cluster) -> Vec<String> {
    lines(&AccessReview::new(&account(), intended, Some(&cluster.0), &BTreeMap::new(), &BTreeMap::new()))
}

fn lines(review: &AccessReview) -> Vec<String> {
    let mut lines = vec![];
    for part in &review.intended {
        for (what, rights) in [("allowed", &part.allowed), ("denied", &part.denied), ("unknown", &part.unknown)] {
            lines.extend(summarise(rights).iter().map(|group| format!("{what}: {group} {}", part.scope)));
        }
    }
    for excess in &review.excess {
        let groups: Vec<String> = summarise(&excess.rights).iter().map(ToString::to_string).collect();
        let line = format!("excess: {}: {} {} {}", excess.binding, groups.join("; "), excess.scope, excess.through);
        lines.push(line.trim_end().to_owned());
    }
    for everyone in &review.everyone {
        let groups: Vec<String> = summarise(&everyone.rights).iter().map(ToString::to_string).collect();
        let usual = if everyone.is_default { "usual" } else { "ADDED" };
        lines.push(format!("everyone: {usual}: {}: {}", everyone.binding, groups.join("; ")));
    }
    lines.extend(review.notes.iter().map(|note| format!("note: {}", note.message)));
    lines
}

#[test]
fn what_is_bound_as_intended_is_allowed_and_nothing_more() {
    let rules = vec![rule(&["pods", "pods/log"], &["get", "list"])];
    let cluster = Cluster::default().bind(None, "own", me(), Some(rules.clone()));
    assert_eq!(
        review(&[own(Scope::Cluster, rules)], &cluster),
        ["allowed: get, list on pods in the whole cluster", "allowed: get, list on pods/log in the whole cluster"]
    );
}

#[test]
fn a_binding_that_nobody_asked_for_is_named() {
    let all = Rule { api_groups: owned(&["*"]), ..rule(&["*"], &["*"]) };
    let cluster = Cluster::default().bind(None, "cluster-admin", me(), Some(vec![all, urls(&["*"])]));
    assert_eq!(
        review(&[own(in_apps(), vec![rule(&["pods"], &["get"])])], &cluster),
        [
            "allowed: get on pods in namespace `apps`",
            "excess: ClusterRoleBinding `cluster-admin`: * on *.*; get on URL * in the whole cluster",
        ]
    );
}

#[test]
fn what_is_meant_in_a_namespace_is_excess_in_the_cluster_and_elsewhere() {
    let rules = vec![rule(&["pods"], &["get"])];
    let cluster = Cluster::default()
        .bind(Some("apps"), "here", me(), Some(rules.clone()))
        .bind(Some("jobs"), "there", me(), Some(rules.clone()))
        .bind(None, "all", me(), Some(rules.clone()));
    assert_eq!(
        review(&[own(in_apps(), rules)], &cluster),
        [
            "allowed: get on pods in namespace `apps`",
            "excess: RoleBinding `jobs/there`: get on pods in namespace `jobs`",
            "excess: ClusterRoleBinding `all`: get on pods in the whole cluster",
        ]
    );
}

#[test]
fn what_was_taken_away_is_denied() {
    let cluster = Cluster::default().bind(Some("jobs"), "there", me(), Some(vec![rule(&["pods"], &["get", "list"])]));
    let intended = [own(Scope::Namespace("jobs".into()), vec![rule(&["pods"], &["get", "delete"])])];
    assert_eq!(
        review(&intended, &cluster),
        [
            "allowed: get on pods in namespace `jobs`",
            "denied: delete on pods in namespace `jobs`",
            "excess: RoleBinding `jobs/there`: list on pods in namespace `jobs`",
        ]
    );
}

/// Subjects that include a ServiceAccount, and subjects that do not.
#[test]
fn subjects_are_understood_as_kubernetes_does() {
    let check = |namespace: Option<&str>, subject: Subject, expected: Option<Through>| {
        let shown = format!("{subject:?}");
        let cluster = Cluster::default().bind(namespace, "r", subject, None);
        assert_eq!(cluster.0.bindings[0].means(&account()), expected, "{shown} in {namespace:?}");
    };
    check(None, me(), Some(Through::Account));
    check(None, subject("User", None, "system:serviceaccount:ci:deployer"), Some(Through::Account));
    // Without a namespace, the subject is in the binding's; a ClusterRoleBinding has none.
    check(Some("ci"), subject("ServiceAccount", None, "deployer"), Some(Through::Account));
    check(Some("apps"), subject("ServiceAccount", None, "deployer"), None);
    check(None, subject("ServiceAccount", None, "deployer"), None);
    check(None, subject("ServiceAccount", Some("apps"), "deployer"), None);
    check(None, subject("User", None, "deployer"), None);
    let of_namespace = "system:serviceaccounts:ci";
    check(None, group(of_namespace), Some(Through::NamespaceGroup(of_namespace.into())));
    check(None, group("system:serviceaccounts:cicd"), None);
    check(None, group("system:serviceaccounts"), Some(Through::Everyone("system:serviceaccounts".into())));
    check(None, group("system:authenticated"), Some(Through::Everyone("system:authenticated".into())));
    check(None, group("system:unauthenticated"), None);
    check(None, group("system:masters"), None);
}

/// The default bindings of every cluster are the baseline; anything added to them is not, whatever its label.
#[test]
fn the_baseline_is_told_from_what_somebody_added() {
    let reviews = Rule {
        api_groups: owned(&["authorization.k8s.io"]),
        ..rule(&["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"])
    };
    let cluster = Cluster::default()
        .bind(None, "system:basic-user", group("system:authenticated"), Some(vec![reviews.clone()]))
        .bootstrapped()
        // The role of a default binding has more rules than by default.
        .bind(
            None,
            "system:discovery",
            group("system:authenticated"),
            Some(vec![urls(&["/api", "/healthz", "/logs/*"]), rule(&["secrets"], &["list"])]),
        )
        .bootstrapped()
        // A default binding with an added subject keeps its label.
        .bind(None, "cluster-admin", group("system:serviceaccounts"), Some(vec![rule(&["*"], &["*"])]))
        .bootstrapped()
        .bind(None, "mine", me(), Some(vec![reviews]));
    assert_eq!(
        review(&[], &cluster),
        [
            "everyone: usual: ClusterRoleBinding `system:basic-user`: create on selfsubjectaccessreviews.authorization.k8s.io; \
             create on selfsubjectrulesreviews.authorization.k8s.io",
            "everyone: usual: ClusterRoleBinding `system:discovery`: get on URL /api; get on URL /healthz",
            "everyone: ADDED: ClusterRoleBinding `system:discovery`: list on secrets; get on URL /logs/*",
            "everyone: ADDED: ClusterRoleBinding `cluster-admin`: * on *",
        ]
    );
}

/// Requests for URLs have no namespace.
#[test]
fn a_role_binding_never_allows_a_url() {
    let cluster = Cluster::default().bind(Some("apps"), "metrics", me(), Some(vec![urls(&["/metrics"])]));
    assert_eq!(
        review(&[own(Scope::Cluster, vec![urls(&["/metrics"])])], &cluster),
        ["denied: get on URL /metrics in the whole cluster"]
    );
}

#[test]
fn existing_roles_are_meant_with_all_their_rules() {
    let view = vec![rule(&["pods", "services"], &["get"])];
    let cluster = Cluster::default().bind(Some("apps"), "view", me(), Some(view.clone()));
    let role = |name: &str| Intended {
        scope: in_apps(),
        source: IntendedSource::Role(RoleRef { kind: Kind::ClusterRole, name: name.into() }),
    };
    let mut with_absent = Cluster(cluster.0.clone());
    with_absent.0.roles.insert(ObjectRef::cluster_scoped(Kind::ClusterRole, "veiw"), RoleRules::Absent);
    assert_eq!(
        review(&[role("view"), role("veiw")], &with_absent),
        [
            "allowed: get on pods in namespace `apps`",
            "allowed: get on services in namespace `apps`",
            "note: ClusterRole `veiw` does not exist: nothing is allowed through it in namespace `apps`",
        ]
    );
    // Without the binding, each right of the role is missing.
    let unbound = Cluster(Policy { bindings: vec![], ..cluster.0 });
    assert_eq!(review(&[role("view")], &unbound).len(), 2);
    let questions = Questions::new(&account(), &[role("view")], Some(&unbound.0));
    assert_eq!(questions.ask.len(), 2, "what seems denied is asked");
}

#[test]
fn what_may_not_be_read_is_unknown() {
    let intended = [own(in_apps(), vec![rule(&["pods"], &["get"])])];
    let unreadable = Cluster::default().bind(None, "closed", me(), None);
    assert_eq!(
        review(&intended, &unreadable),
        [
            "unknown: get on pods in namespace `apps`",
            "note: ClusterRoleBinding `closed` grants ClusterRole `closed`, which the admin may not read: what it allows \
             is unknown",
        ]
    );
    let review = AccessReview::new(&account(), &intended, None, &BTreeMap::new(), &BTreeMap::new());
    assert!(!review.has_denied() && !review.has_excess());
    assert_eq!(review.notes[0].kind, AccessNoteKind::ExcessUnknown);
}

/// The API server's answer counts, and a note tells how the bindings differ.
#[test]
fn the_api_server_has_the_last_word() {
    let intended = [own(in_apps(), vec![rule(&["pods"], &["get", "list"])])];
    let cluster = Cluster::default().bind(Some("apps"), "own", me(), Some(vec![rule(&["pods"], &["get"])]));
    let questions = Questions::new(&account(), &intended, Some(&cluster.0));
    let answers = questions.ask.iter().map(|question| {
        let is_get = matches!(&question.right, Right::Resource { verb, .. } if verb == "get");
        (question.clone(), if is_get { Answer::Denied } else { Answer::Allowed })
    });
    let review = AccessReview::new(&account(), &intended, Some(&cluster.0), &answers.collect(), &BTreeMap::new());
    assert_eq!(
        lines(&review),
        [
            "allowed: list on pods in namespace `apps`",
            "denied: get on pods in namespace `apps`",
            "note: the API server allows in namespace `apps`, though no role or binding does: list on pods",
            "note: the API server denies in namespace `apps`, though roles and bindings grant it: get on pods",
        ]
    );
}

#[test]
fn the_servers_own_list_is_compared() {
    let cluster =
        Cluster::default().bind(Some("apps"), "own", me(), Some(vec![rule(&["pods"], &["get"]), urls(&["/x"])]));
    let intended = [own(in_apps(), vec![rule(&["pods"], &["get"])])];
    let check = |rules: Vec<Rule>, incomplete: bool, policy: Option<&Policy>, expected: &[&str]| {
        let cause = incomplete.then(|| "webhook authorizer does not support user rule resolution".to_owned());
        let reviews = BTreeMap::from([("apps".to_owned(), RulesReview { rules, incomplete, cause })]);
        let review = AccessReview::new(&account(), &intended, policy, &BTreeMap::new(), &reviews);
        let notes: Vec<_> = review.notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(notes, expected);
    };
    let all = || vec![rule(&["pods"], &["get"]), urls(&["/x"])];
    check(all(), false, Some(&cluster.0), &[]);
    check(
        vec![],
        false,
        Some(&cluster.0),
        &[
            "the API server does not list what roles and bindings grant, in namespace `apps`: get on pods; get on URL /x",
        ],
    );
    check(
        vec![rule(&["*"], &["*"])],
        true,
        Some(&cluster.0),
        &[
            "the API server's list of rules is incomplete in namespace `apps` (webhook authorizer does not support user \
         rule resolution): whether another authorizer allows more is unknown",
            "the API server allows what no role or binding grants, in namespace `apps`: * on *",
        ],
    );
    // Without the bindings, the server's list still shows rights beyond the profile.
    check(
        vec![rule(&["pods", "secrets"], &["get"]), urls(&["/version"])],
        false,
        None,
        &[
            "the admin may not read roles and bindings: what is allowed beyond the profile is unknown",
            "the API server allows what the profile does not ask for, in namespace `apps`: get on secrets",
        ],
    );
}

#[test]
fn questions_have_a_bound() {
    let verbs: Vec<String> = (0..150).map(|number| format!("verb{number}")).collect();
    let rules = vec![Rule { verbs, ..rule(&["pods", "nodes"], &[]) }];
    let questions = Questions::new(&account(), &[own(Scope::Cluster, rules)], None);
    assert_eq!((questions.ask.len(), questions.left_out), (200, 100));
    let mut review = AccessReview::default();
    review.capped(&questions);
    assert_eq!(review.notes.len(), 1);
}

const VERBS: [&str; 4] = ["get", "list", "*", "never"];
const GROUPS: [&str; 4] = ["", "apps", "*", "never"];
const RESOURCES: [&str; 7] = ["pods", "deployments", "pods/scale", "deployments/scale", "*/scale", "*", "never/never"];
const NAMES: [&str; 3] = ["a", "b", "never"];
const URLS: [&str; 7] = ["/a", "/a/b", "/a/*", "/a*", "*", "/b", "/never"];

/// A request, as the API server sees it: no wildcards.
#[derive(Debug, Clone)]
enum Request {
    Resource { verb: &'static str, group: &'static str, resource: &'static str, name: &'static str },
    Url { verb: &'static str, url: &'static str },
}

/// All requests over the alphabets; `never` stands for names that no rule has.
fn requests() -> Vec<Request> {
    let plain = |list: &'static [&'static str]| list.iter().copied().filter(|entry| !entry.contains('*'));
    let mut requests = vec![];
    for verb in plain(&VERBS) {
        for group in plain(&GROUPS) {
            for resource in plain(&RESOURCES).chain(["never", "never/scale"]) {
                requests.extend(NAMES.map(|name| Request::Resource { verb, group, resource, name }));
            }
        }
        requests.extend(plain(&URLS).chain(["/a/", "/a/never", "/anever"]).map(|url| Request::Url { verb, url }));
    }
    requests
}

/// Kubernetes' evaluation, copied literally (`RuleAllows` in `plugin/pkg/auth/authorizer/rbac/rbac.go`).
fn kubernetes_allows(rule: &Rule, request: &Request) -> bool {
    let has = |list: &[String], value: &str| list.iter().any(|entry| entry == "*" || entry == value);
    match request {
        Request::Resource { verb, group, resource, name } => {
            let subresource = resource.split_once('/').map_or("", |(_, subresource)| subresource);
            let matches_subresource = rule.resources.iter().any(|entry| {
                !subresource.is_empty()
                    && entry.len() == subresource.len() + 2
                    && entry.starts_with("*/")
                    && entry.ends_with(subresource)
            });
            has(&rule.verbs, verb)
                && has(&rule.api_groups, group)
                && (has(&rule.resources, resource) || matches_subresource)
                && (rule.resource_names.is_empty() || rule.resource_names.iter().any(|entry| entry == name))
        }
        Request::Url { verb, url } => {
            let matches = |entry: &String| {
                entry == "*" || entry == url || (entry.ends_with('*') && url.starts_with(entry.trim_end_matches('*')))
            };
            has(&rule.verbs, verb) && rule.non_resource_urls.iter().any(matches)
        }
    }
}

fn some(list: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
    let known: Vec<&str> = list.iter().copied().filter(|entry| !entry.contains("never")).collect();
    proptest::collection::vec(proptest::sample::select(known), least..3)
        .prop_map(|entries| entries.into_iter().map(str::to_owned).collect())
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let of_resources = (some(&VERBS, 1), some(&GROUPS, 1), some(&RESOURCES, 1), some(&NAMES, 0)).prop_map(
        |(verbs, api_groups, resources, resource_names)| Rule {
            verbs,
            api_groups,
            resources,
            resource_names,
            non_resource_urls: vec![],
        },
    );
    let of_urls = (some(&VERBS, 1), some(&URLS, 1)).prop_map(|(verbs, non_resource_urls)| Rule {
        verbs,
        non_resource_urls,
        ..Rule::default()
    });
    prop_oneof![3 => of_resources, 1 => of_urls]
}

proptest! {
    /// A rule is covered if and only if every request that it allows is allowed.
    #[test]
    fn covered_is_what_every_single_request_says(wanted in any_rule(), by in proptest::collection::vec(any_rule(), 0..5)) {
        let covered = Right::all_of([&wanted]).iter().all(|right| by.iter().any(|rule| rule.allows(right)));
        let each = requests()
            .iter()
            .filter(|request| kubernetes_allows(&wanted, request))
            .all(|request| by.iter().any(|rule| kubernetes_allows(rule, request)));
        prop_assert_eq!(covered, each);
    }

    /// Every right that a binding grants is intended, a default, or excess; and every excess is granted.
    #[test]
    fn every_request_beyond_the_profile_is_in_the_excess(
        meant in proptest::collection::vec(any_rule(), 0..4),
        granted in proptest::collection::vec(any_rule(), 0..4),
    ) {
        let cluster = Cluster::default().bind(None, "some", me(), Some(granted.clone()));
        let intended = [own(Scope::Cluster, meant.clone())];
        let review = AccessReview::new(&account(), &intended, Some(&cluster.0), &BTreeMap::new(), &BTreeMap::new());
        let excess: Vec<Rule> = review.excess.iter().flat_map(|excess| &excess.rights).map(as_rule).collect();
        for request in requests() {
            let is = |rules: &[Rule]| rules.iter().any(|rule| kubernetes_allows(rule, &request));
            if is(&granted) && !is(&meant) {
                prop_assert!(is(&excess), "{:?} is missing", request);
            }
            if is(&excess) {
                prop_assert!(is(&granted), "{:?} is not granted", request);
            }
        }
    }
}

fn as_rule(right: &Right) -> Rule {
    match right.clone() {
        Right::Resource { group, resource, name, verb } => Rule {
            verbs: vec![verb],
            api_groups: vec![group],
            resources: vec![resource],
            resource_names: name.into_iter().collect(),
            non_resource_urls: vec![],
        },
        Right::Url { url, verb } => Rule { verbs: vec![verb], non_resource_urls: vec![url], ..Rule::default() },
    }
}
