//! A part whose instructions are counted: see `crate::instructions`.

use super::*;
use crate::instructions::size;

/// Every cluster of a fleet is planned twice: when it has nothing, and when it has everything.
#[test]
#[ignore = "`instructions` runs it"]
fn a_fleet_is_planned() {
    let cluster = |number: usize| format!("[[clusters]]\nname = \"c{number:05}\"\n");
    let clusters: String = (0..size()).map(cluster).collect();
    let text =
        INVENTORY.replace("clusters = [\"a\"]", "selector = \"\"").replace("path = \"out\"", "path = \"{cluster}\"");
    let inventory = inventory(&format!("{text}{clusters}"));
    assert_eq!(inventory.grants.len(), size() + 1);
    let active = |name: &str| (name.to_owned(), NamespaceState::Active);
    let namespaces = BTreeMap::from([active("apps"), active("kubemint")]);
    let nothing = ObservedCluster { uid: "cluster".to_owned(), namespaces, ..ObservedCluster::default() };
    let everything = applied(&inventory);
    for grant in &inventory.grants {
        for (observed, is_empty) in [(&nothing, false), (&everything, true)] {
            let grants =
                [GrantInput { grant: Arc::clone(grant), outputs: Arc::default(), distrust: None, unusable: None }];
            let assessed = plan_cluster(&PlanInput {
                inventory: &inventory,
                cluster: &grant.cluster.name,
                grants: &grants,
                observed,
                leaving: &[],
                endpoint: &Endpoint::default(),
                is_insecure: false,
                options: &options(Adoption::default(), Duration::ZERO),
                now: Timestamp::UNIX_EPOCH,
            });
            assert_eq!(assessed.plan.steps.is_empty(), is_empty, "{}", grant.cluster.name);
        }
    }
}
