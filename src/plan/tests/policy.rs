//! What the policy refuses on a cluster: after an exception's end, and of roles that only the cluster knows.

use super::*;
use crate::object::Kind;
use crate::plan::policy::judge_roles;
use crate::rbac::Rule;

const POLICY: &str = "[policy]\ndeny = ['secrets-read']\n[[policy.exceptions]]\nprofile = 'deployer'\n\
                      rules = ['secrets-read', 'dangling-roles']\nselector = ''\nreason = 'migration'\n\
                      until = 1970-01-01T01:00:00Z\n[profiles.deployer]";

fn excepted() -> Inventory {
    let text = INVENTORY.replace("[profiles.deployer]", POLICY);
    inventory(&text.replace("resources = [\"pods\"]", "resources = [\"secrets\"]"))
}

fn plan_at(inventory: &Inventory, extent: Extent, seconds: i64) -> ClusterPlan {
    let grants = [GrantInput {
        grant: Arc::clone(&inventory.grants[0]),
        outputs: Arc::default(),
        distrust: None,
        unusable: None,
    }];
    plan_cluster(&PlanInput {
        inventory,
        cluster: &"a".into(),
        grants: &grants,
        observed: &ObservedCluster::default(),
        leaving: &[],
        endpoint: &Endpoint::default(),
        is_insecure: false,
        options: &PlanOptions { extent, ..options(Adoption::default(), Duration::ZERO) },
        now: Timestamp::from_second(seconds).unwrap(),
    })
    .plan
}

#[test]
fn an_exception_holds_until_its_end_and_is_named_after_it() {
    let inventory = excepted();
    assert_eq!(plan_at(&inventory, Extent::Access, 3599).blockers, []);
    let [blocker] = plan_at(&inventory, Extent::Access, 3600).blockers.try_into().unwrap();
    assert_eq!((blocker.kind, blocker.profile), (BlockerKind::Policy, Some("deployer".into())));
    let said = "the policy's `secrets-read` refuses what profile `deployer` allows: get on secrets \
                (/x/clusters.toml:18:10); the exception from it (\"migration\") ended at 1970-01-01T01:00:00Z";
    assert_eq!(blocker.message, said);
    // A renewal gives nobody more, and must not let what works expire.
    let refresh = plan_at(&inventory, Extent::Credentials, 3600);
    assert!(refresh.blockers.iter().all(|blocker| blocker.kind != BlockerKind::Policy), "{:?}", refresh.blockers);
    assert!(refresh.notes.iter().any(|note| note.kind == NoteKind::Policy && note.message == said));
}

fn role(name: &str) -> ObjectRef {
    ObjectRef::cluster_scoped(Kind::ClusterRole, name)
}

#[test]
fn a_role_that_allows_what_is_denied_is_refused_once_it_was_read() {
    let policy = "[policy]\ndeny = ['secrets-read']\n[profiles.deployer]";
    let inventory = inventory(&INVENTORY.replace("[profiles.deployer]", policy));
    let rule = |resource: &str| Rule {
        api_groups: vec![String::new()],
        resources: vec![resource.to_owned()],
        verbs: vec!["get".to_owned()],
        ..Rule::default()
    };
    let judged = |read: RoleRead| {
        let mut plan = plan_at(&inventory, Extent::Access, 0);
        let roles = [(role("view"), read)].into();
        judge_roles(&mut plan, &roles, &inventory.policy, &inventory.grants, (&"a".into(), Timestamp::UNIX_EPOCH));
        plan
    };
    assert_eq!(judged(RoleRead::Rules(vec![rule("pods")])).blockers, []);
    let refused = judged(RoleRead::Rules(vec![rule("pods"), rule("secrets")]));
    let said: Vec<&str> = refused.blockers.iter().map(|blocker| blocker.message.as_str()).collect();
    assert_eq!(
        said,
        ["the policy's `secrets-read` refuses ClusterRole `view`, which profile `deployer` binds \
          (/x/clusters.toml:9:18): it allows get on secrets"]
    );
    let escalating = refused.risks.values().flat_map(|risk| &risk.escalating).map(|class| class.as_str());
    assert_eq!(escalating.collect::<Vec<_>>(), ["secrets-read"], "the step that binds it is risky, too");
    let unread = judged(RoleRead::Unreadable);
    assert!(unread.blockers.is_empty());
    assert!(unread.notes.iter().any(|note| note.message.contains("the admin may not read ClusterRole `view`")));
}

#[test]
fn a_role_that_does_not_exist_is_refused_after_the_end_of_the_exception() {
    let inventory = excepted();
    let mut plan = plan_at(&inventory, Extent::Access, 0);
    let blocker = |message: &str| Blocker {
        kind: BlockerKind::MissingRole,
        profile: Some("deployer".into()),
        message: message.to_owned(),
        hint: None,
    };
    plan.blockers = vec![blocker("no such role")];
    let end = Timestamp::from_second(3600).unwrap();
    judge_roles(&mut plan, &BTreeMap::new(), &inventory.policy, &inventory.grants, (&"a".into(), end));
    let said = "no such role; the exception from it (\"migration\") ended at 1970-01-01T01:00:00Z";
    assert_eq!(plan.blockers, [blocker(said)]);
}
