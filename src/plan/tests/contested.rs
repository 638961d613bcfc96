//! Revocations of clusters whose name another source may have.

use std::collections::BTreeSet;

use super::*;
use crate::delivery::Place;
use crate::desired::service_account;
use crate::inventory::{Contest, DiscoveryId, Grant};
use crate::observed::Anchors;
use crate::plan::{Origin, RevokeDepth, RevokeGrant, RevokeInput, RevokeOptions, RevokeTarget, Vanished};

const TWO: &str = r#"
version = 1
name = "acme"
[defaults]
admin = { kubeconfig = "admin.yaml" }
[profiles.bare]
cluster-roles = ["view"]
[profiles.whole]
cluster-roles = ["edit"]
[[clusters]]
name = "a"
[[grants]]
profiles = ["bare", "whole"]
clusters = ["a"]
[[outputs]]
path = "out/{profile}"
"#;

/// Returns what is blocked, and the profiles that steps are about, if each grant has one output with an origin.
fn revoked(origins: [(&str, Option<&str>); 2]) -> (Vec<String>, BTreeSet<String>) {
    let inventory = inventory(TWO);
    let contested = |grant: &Arc<Grant>| {
        let contest = Contest { source: DiscoveryId::new("first"), left_out: None };
        let cluster = Arc::new(crate::inventory::Cluster {
            found_by: Some(DiscoveryId::new("second")),
            contested_by: vec![contest],
            ..(*grant.cluster).clone()
        });
        Arc::new(Grant { cluster, ..(**grant).clone() })
    };
    let grants = inventory.grants.iter().map(contested).zip(origins).map(|(grant, (profile, uid))| {
        assert_eq!(grant.profile.name.as_str(), profile);
        let token = Some((Some("another account".to_owned()), None));
        let origin =
            Origin { place: Arc::new(Place::context("/x/out", profile)), cluster_uid: uid.map(str::to_owned), token };
        RevokeGrant { grant, held: vec![], origins: vec![origin] }
    });
    let grants: Vec<RevokeGrant> = grants.collect();
    let mut observed = ObservedCluster { uid: "cluster".to_owned(), ..ObservedCluster::default() };
    let mut anchors = BTreeMap::new();
    for revoked in &grants {
        for desired in desired_objects(&inventory.name, &revoked.grant) {
            let mut value = desired.initial_manifest();
            value["metadata"]["uid"] = json!(format!("uid-of-{}", desired.object.name));
            observed.objects.insert(desired.object, ObservedObject::from_json(&value));
        }
        let none = Anchors { found: vec![], strange: vec![], search: crate::observed::Search::Listed };
        anchors.insert(service_account(&revoked.grant), none);
    }
    let plan = plan_revocation(&RevokeInput {
        inventory: &inventory,
        cluster: &"a".into(),
        grants: &grants,
        observed: &observed,
        anchors: &anchors,
        leaving: &[],
        roles: &BTreeMap::new(),
        options: &RevokeOptions {
            holder: "default".into(),
            target: RevokeTarget::Holder,
            depth: RevokeDepth::Account,
            awaits: false,
            vanished: Vanished::Revoke,
            orphan_after: Duration::from_secs(360),
        },
        now: Timestamp::UNIX_EPOCH,
    });
    let blocked = plan.blockers.iter().map(|blocker| blocker.profile.as_ref().unwrap().to_string());
    let steps = plan.steps.iter().filter_map(|step| step.profile().map(ToString::to_string));
    (blocked.collect(), steps.collect())
}

/// An urgent revocation is not kept from the others by one output that cannot be told.
#[test]
fn a_revocation_is_blocked_only_where_it_may_be_another_cluster() {
    let profiles = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    // One output says that it is this cluster, so the bare token is of an account that was made anew.
    let all = revoked([("bare", None), ("whole", Some("cluster"))]);
    assert_eq!(all, (vec![], profiles(&["bare", "whole"])));
    // Nothing says that it is this cluster.
    let none = revoked([("bare", None), ("whole", Some("another"))]);
    assert_eq!(none, (vec!["bare".to_owned(), "whole".to_owned()], profiles(&[])));
    // One output is certainly of another cluster.
    let one = revoked([("bare", Some("cluster")), ("whole", Some("another"))]);
    assert_eq!(one, (vec!["whole".to_owned()], profiles(&["bare"])));
}
