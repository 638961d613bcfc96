//! What moved is named, and by whom; what did not move is carried out.

use crate::object::Kind;
use crate::plan::tests_support::empty_plan;

use super::*;

fn seen(name: &str, uid: &str, resource_version: &str) -> Seen {
    let changed = LastChange { manager: "kubectl-edit".into(), time: Timestamp::UNIX_EPOCH };
    Seen {
        object: ObjectRef::cluster_scoped(Kind::ClusterRole, name.to_owned()),
        uid: uid.into(),
        resource_version: resource_version.into(),
        changed: Some(changed),
    }
}

#[test]
fn what_moved_is_named_with_who_moved_it() {
    let then = [seen("same", "1", "1"), seen("gone", "2", "1"), seen("anew", "3", "1"), seen("changed", "4", "1")];
    let now = [seen("same", "1", "1"), seen("anew", "5", "2"), seen("changed", "4", "2"), seen("new", "6", "1")];
    insta::assert_snapshot!(moved_objects(&then, &now).join("\n"), @r"
    ClusterRole `gone` is gone
    ClusterRole `anew` was made anew by field manager `kubectl-edit` at 1970-01-01T00:00:00Z
    ClusterRole `changed` was changed by field manager `kubectl-edit` at 1970-01-01T00:00:00Z
    ClusterRole `new` was created by field manager `kubectl-edit` at 1970-01-01T00:00:00Z
    ");
}

fn blocked(uid: &str, server: &str, is_blocked: bool) -> Assessed {
    let blocker = Blocker { kind: BlockerKind::MissingRole, profile: None, message: "x".into(), hint: None };
    let plan = ClusterPlan { blockers: is_blocked.then_some(blocker).into_iter().collect(), ..empty_plan("a", uid) };
    let endpoint = Endpoint { server: server.into(), ..Endpoint::default() };
    Assessed { plan, assessment: Assessment { endpoint, ..Assessment::default() } }
}

#[test]
fn another_cluster_and_another_endpoint_are_noticed() {
    let saved = |assessed: &Assessed| SavedCluster {
        name: "a".into(),
        labels: BTreeMap::new(),
        profiles: vec![],
        planned: Some(SavedAssessment::new(assessed)),
        error: None,
    };
    let then = saved(&blocked("1", "https://one", true));
    let moved = |now: &Assessed| then.moved(now).map(|blocker| blocker.message);
    assert_eq!(moved(&blocked("1", "https://one", true)), None);
    assert!(moved(&blocked("2", "https://one", true)).unwrap().contains("another uid"));
    let message = moved(&blocked("1", "https://user:password@two", true)).unwrap();
    assert!(message.contains("given server `https://two` instead of `https://one`"), "{message}");
    // What is blocked no more was not reviewed as something that is done; but where nothing is left, nothing is done.
    assert_eq!(moved(&blocked("1", "https://one", false)), None);
}

#[test]
fn a_proxys_password_is_in_no_digest() {
    let of = |proxy: &str| SavedEndpoint::new(&Endpoint { proxy_url: Some(proxy.into()), ..Endpoint::default() });
    assert_eq!(of("http://user:one@proxy"), of("http://user:two@proxy"));
    assert_ne!(of("http://proxy"), of("http://other"));
}

#[test]
fn texts_have_one_digest_only_together() {
    let of = |texts: &[&'static str]| digest_of_texts(texts.iter().copied());
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
