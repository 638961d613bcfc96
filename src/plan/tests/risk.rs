//! The risk of each step: what counts as more, as less, and as no change.

use super::*;
use crate::risk::{Risk, RiskClass};

const HEAD: &str = "version = 1\nname = \"acme\"\ndefaults.admin.kubeconfig = \"admin.yaml\"\n[[clusters]]\nname = \"a\"\n\
                    [[grants]]\nprofile = \"deployer\"\nclusters = [\"a\"]\n[profiles.deployer]\n";

fn with(profile: &str) -> Inventory {
    inventory(&format!("{HEAD}{profile}"))
}

fn rule(resources: &str, verbs: &str) -> String {
    format!("cluster-rules = [{{ api-groups = [''], resources = [{resources}], verbs = [{verbs}] }}]\n")
}

/// Says each risk of the plan that leads from one profile to another.
fn risks(before: &str, after: &str) -> Vec<String> {
    said(&plan_with(&with(after), &applied(&with(before)), Adoption::default()))
}

fn said(plan: &ClusterPlan) -> Vec<String> {
    let say = |id: &StepId, risk: &Risk| {
        let step = plan.step(id).unwrap();
        let what = crate::risk::sentence(risk.class, risk.profile.as_ref(), &[risk], 9);
        let what = what.strip_prefix("profile `deployer` ").unwrap_or(&what).to_owned();
        let escalating: Vec<&str> = risk.escalating.iter().map(|class| class.as_str()).collect();
        let escalating = if escalating.is_empty() { String::new() } else { format!(" ({})", escalating.join(", ")) };
        format!("{} {}: {}{escalating}", step.object().unwrap().kind, risk.class, what)
    };
    plan.risks.iter().map(|(id, risk)| say(id, risk)).collect()
}

#[test]
fn a_new_account_is_created_with_what_it_may_do() {
    let plan = plan_with(&with(&rule("'pods'", "'get'")), &ObservedCluster::default(), Adoption::default());
    assert_eq!(said(&plan), ["ClusterRoleBinding creates: may get pods", "ClusterRole creates: may get pods"]);
    assert_eq!(plan.steps.len(), 3, "a ServiceAccount alone may do nothing");
}

#[test]
fn more_rights_widen_and_less_rights_narrow() {
    let [get, both, delete] = [rule("'pods'", "'get'"), rule("'pods'", "'get', 'list'"), rule("'pods'", "'delete'")];
    assert_eq!(risks(&get, &both), ["ClusterRole widens: may now list pods"]);
    assert_eq!(risks(&both, &get), ["ClusterRole narrows: may no longer list pods"]);
    assert_eq!(risks(&get, &delete), ["ClusterRole replaces: may now delete pods, and no longer get pods"]);
}

#[test]
fn what_is_written_in_another_way_is_no_change_of_access() {
    let joined = rule("'pods', 'services'", "'get', 'list'");
    let split = "cluster-rules = [{ api-groups = [''], resources = ['services'], verbs = ['list', 'get'] },\n\
                 { api-groups = [''], resources = ['pods'], verbs = ['get'] },\n\
                 { api-groups = [''], resources = ['pods'], verbs = ['list'] }]\n";
    assert_eq!(risks(&joined, split), Vec::<String>::new());
    let wild = rule("'pods'", "'*'");
    let also = "cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['*', 'get'] }]\n";
    assert_eq!(risks(&wild, also), Vec::<String>::new());
    // Another label is a step, and no risk.
    let inventory = with(&joined);
    let mut observed = applied(&inventory);
    for object in observed.objects.values_mut() {
        object.labels.insert(PROFILE_LABEL.to_owned(), "other".to_owned());
    }
    let plan = plan_with(&inventory, &observed, Adoption::default());
    assert_eq!((plan.steps.len(), said(&plan)), (3, vec![]));
}

/// What a rule loses and another role of the profile gives is not lost.
#[test]
fn rights_that_move_within_a_profile_are_compared_as_a_whole() {
    let here =
        "namespaces = [{ names = ['apps'], rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }] }]\n";
    assert_eq!(
        risks(here, &rule("'pods'", "'get'")),
        ["ClusterRoleBinding widens: may now get pods", "ClusterRole widens: may now get pods"]
    );
    assert_eq!(
        risks(&rule("'pods'", "'get'"), here),
        ["ClusterRoleBinding deletes: may no longer get pods", "ClusterRole deletes: may no longer get pods"],
        "a right in one namespace is less than in all, and was there before"
    );
}

#[test]
fn names_and_urls_count() {
    let named = "cluster-rules = [{ api-groups = [''], resources = ['configmaps'], resource-names = ['a'], verbs = ['get'] }]\n";
    assert_eq!(risks(named, &rule("'configmaps'", "'get'")), ["ClusterRole widens: may now get configmaps"]);
    assert_eq!(risks(&rule("'configmaps'", "'get'"), named), ["ClusterRole narrows: may no longer get configmaps"]);
    let url = |url: &str| format!("cluster-rules = [{{ non-resource-urls = ['{url}'], verbs = ['get'] }}]\n");
    assert_eq!(risks(&url("/logs/*"), &url("/logs/a")), ["ClusterRole narrows: may no longer get URL /logs/*"]);
}

#[test]
fn roles_that_exist_are_gained_and_lost_as_a_whole() {
    let roles = |names: &str| format!("cluster-roles = [{names}]\n");
    assert_eq!(
        risks(&roles("'view'"), &roles("'edit'")),
        [
            "ClusterRoleBinding widens: may now do what is in ClusterRole `edit`",
            "ClusterRoleBinding deletes: may no longer do what is in ClusterRole `view`"
        ]
    );
    let everything = risks(&roles("'view'"), &roles("'view', 'cluster-admin'"));
    let all = "secrets-read, escalation, impersonation, token-minting, pod-exec, node-proxy, webhooks, csr-approval, wildcard";
    assert_eq!(
        everything,
        [format!("ClusterRoleBinding widens: may now do what is in ClusterRole `cluster-admin` ({all})")]
    );
}

#[test]
fn escalating_rights_are_named_where_they_are_gained() {
    let [before, after] = [rule("'pods'", "'get'"), rule("'pods', 'secrets', 'pods/exec'", "'get', 'create'")];
    assert_eq!(
        risks(&before, &after),
        ["ClusterRole widens: may now create pods; create, get pods/exec, secrets (secrets-read, pod-exec)"]
    );
    assert_eq!(
        risks(&after, &before),
        ["ClusterRole narrows: may no longer create pods; create, get pods/exec, secrets"]
    );
}

/// Somebody added a subject to a binding of ours by hand: it is taken away again, and the plan says from whom.
#[test]
fn the_access_of_somebody_else_that_goes_is_named() {
    let inventory = with(&rule("'pods'", "'get'"));
    let mut observed = applied(&inventory);
    let bob = crate::object::Subject { kind: "User".to_owned(), namespace: None, name: "bob".to_owned() };
    object(&mut observed, "ClusterRoleBinding").1.subjects.push(bob.clone());
    let plan = plan_with(&inventory, &observed, Adoption::default());
    assert_eq!(said(&plan), ["ClusterRoleBinding narrows: may no longer get pods (as User bob)"]);
    object(&mut observed, "ClusterRoleBinding").1.subjects = vec![bob];
    let plan = plan_with(&inventory, &observed, Adoption::default());
    assert_eq!(said(&plan), ["ClusterRoleBinding replaces: may now get pods, and no longer get pods (as User bob)"]);
}

#[test]
fn an_account_that_is_replaced_loses_everything() {
    let after = format!("service-account = 'other'\n{}", rule("'pods'", "'get'"));
    let said = risks(&rule("'pods'", "'get'"), &after);
    assert_eq!(
        said,
        [
            "ServiceAccount deletes: may no longer do anything (as ServiceAccount kubemint/deployer)",
            "ClusterRoleBinding replaces: may now get pods, and no longer get pods (as ServiceAccount kubemint/deployer)"
        ]
    );
}

#[test]
fn a_class_that_is_denied_blocks_and_says_what_it_would_have_done() {
    let (before, after) = (with(&rule("'pods'", "'get'")), with(&rule("'pods'", "'get', 'delete'")));
    let plan = |deny: &[RiskClass]| {
        let grants = [GrantInput {
            grant: Arc::clone(&after.grants[0]),
            outputs: Arc::default(),
            distrust: None,
            unusable: None,
        }];
        let options = PlanOptions { deny: deny.to_vec(), ..options(Adoption::default(), Duration::ZERO) };
        let observed = applied(&before);
        plan_cluster(&PlanInput {
            inventory: &after,
            cluster: &"a".into(),
            grants: &grants,
            observed: &observed,
            leaving: &[],
            endpoint: &Endpoint::default(),
            is_insecure: false,
            options: &options,
            now: Timestamp::UNIX_EPOCH,
        })
        .plan
    };
    assert_eq!(plan(&[RiskClass::Creates, RiskClass::Narrows]).blockers, []);
    let blockers = plan(&[RiskClass::Widens]).blockers;
    let said: Vec<_> = blockers.iter().map(|blocker| (blocker.kind, blocker.message.as_str())).collect();
    assert_eq!(said, [(BlockerKind::Denied, "`--deny widens` refuses it: profile `deployer` may now delete pods")]);
}

/// What was reviewed holds its risks: they are read back as they were written.
#[test]
fn risks_are_written_and_read_again() {
    let (before, after) = (rule("'pods'", "'get'"), rule("'secrets'", "'get'"));
    let plan = plan_with(&with(&after), &applied(&with(&before)), Adoption::default());
    assert!(!plan.risks.is_empty());
    let read: ClusterPlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(read, plan);
}
