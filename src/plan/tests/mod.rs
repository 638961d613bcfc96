//! Scenarios as values: an inventory and the observed cluster go in, a plan comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::credential::Index;
use crate::delivery::{Format, Found, Place, ReadPlace};
use crate::desired::desired_objects;
use crate::inventory::SourceFile;
use crate::kubeconfig::{EntryNames, UserForm};
use crate::names::{GrantKey, INDEX_ANNOTATION, PROFILE_LABEL};
use crate::object::ObjectRef;
use crate::observed::{NamespaceState, ObservedObject};
use crate::resolution::{Setting, resolve};
use crate::step::{RemoveReason, Step};

mod contested;
mod large;
mod policy;
mod risk;
mod written;

const INVENTORY: &str = r#"
version = 1
name = "acme"
[defaults]
admin = { kubeconfig = "admin.yaml" }
[profiles.deployer]
cluster-roles = ["view"]
[[profiles.deployer.namespaces]]
names = ["apps"]
rules = [{ api-groups = [""], resources = ["pods"], verbs = ["get"] }]
[[clusters]]
name = "a"
[[grants]]
profile = "deployer"
clusters = ["a"]
[[outputs]]
path = "out"
"#;

fn inventory(text: &str) -> Inventory {
    let resolution = resolve(SourceFile::new("/x/clusters.toml", text), vec![], Setting::default());
    resolution.inventory.unwrap_or_else(|| panic!("{:?}", resolution.problems))
}

/// Returns the state of the cluster after an apply of the inventory.
fn applied(inventory: &Inventory) -> ObservedCluster {
    let objects = desired_objects(&inventory.name, &inventory.grants[0]).into_iter().map(|desired| {
        let mut value = desired.initial_manifest();
        value["metadata"]["uid"] = json!(format!("uid-of-{}", desired.object.name));
        value["metadata"]["resourceVersion"] = json!("1");
        (desired.object, ObservedObject::from_json(&value))
    });
    ObservedCluster { uid: "cluster".to_owned(), objects: objects.collect(), ..ObservedCluster::default() }
}

fn plan_with(inventory: &Inventory, observed: &ObservedCluster, adoption: Adoption) -> ClusterPlan {
    plan_until(inventory, observed, adoption, Duration::ZERO)
}

/// Plans a run whose next run comes after `horizon`.
fn plan_until(inventory: &Inventory, observed: &ObservedCluster, adoption: Adoption, horizon: Duration) -> ClusterPlan {
    // Without a place nothing is minted: these tests are about objects.
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
        observed,
        leaving: &[],
        endpoint: &Endpoint::default(),
        is_insecure: false,
        options: &options(adoption, horizon),
        now: Timestamp::UNIX_EPOCH,
    })
    .plan
}

fn options(adoption: Adoption, horizon: Duration) -> PlanOptions {
    PlanOptions {
        holder: "default".into(),
        adoption,
        reissue: Reissue::Refused,
        remembers_objects: false,
        renewal: Renewal { horizon, ..Renewal::default() },
        extent: Extent::Access,
        suspension: Suspension::Lift,
        orphan_after: Duration::from_secs(360),
        deny: vec![],
        prune: Prune::Keep,
    }
}

fn summarise(plan: &ClusterPlan) -> Vec<String> {
    let steps = plan.steps.iter().map(ToString::to_string);
    let blockers = plan.blockers.iter().map(|blocker| format!("blocked: {}", blocker.message));
    let notes = plan.notes.iter().filter(|note| note.kind != NoteKind::NoOutput);
    steps.chain(blockers).chain(notes.map(|note| format!("note: {}", note.message))).collect()
}

#[track_caller]
fn check(observed: &ObservedCluster, expected: &[&str]) {
    assert_eq!(summarise(&plan_with(&inventory(INVENTORY), observed, Adoption::default())), expected);
}

fn object<'a>(observed: &'a mut ObservedCluster, kind: &str) -> (&'a ObjectRef, &'a mut ObservedObject) {
    observed.objects.iter_mut().find(|(object, _)| object.kind.as_str() == kind).unwrap()
}

#[test]
fn an_empty_cluster_gets_everything_in_the_order_in_which_it_is_referred_to() {
    let active = |name: &str| (name.to_owned(), NamespaceState::Active);
    let namespaces = BTreeMap::from([active("apps"), active("kubemint")]);
    let observed = ObservedCluster { namespaces, ..ObservedCluster::default() };
    let plan = plan_with(&inventory(INVENTORY), &observed, Adoption::default());
    let steps: Vec<String> = summarise(&plan).iter().map(|step| step.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(steps, ["create ServiceAccount ", "create Role ", "create ClusterRoleBinding ", "create RoleBinding "]);
}

#[test]
fn what_is_right_is_left() {
    check(&applied(&inventory(INVENTORY)), &[]);
}

#[test]
fn a_missing_namespace_blocks() {
    let mut observed = ObservedCluster::default();
    observed.namespaces.insert("apps".to_owned(), NamespaceState::Absent);
    let plan = plan_with(&inventory(INVENTORY), &observed, Adoption::default());
    assert_eq!(plan.blockers[0].message, "namespace `apps` does not exist; `deployer` needs it");
}

#[test]
fn an_object_without_our_marks_is_never_touched() {
    let mut observed = applied(&inventory(INVENTORY));
    object(&mut observed, "Role").1.labels.clear();
    check(&observed, &["blocked: Role `apps/kubemint:acme:deployer` exists and is not managed by kubemint"]);
    let adoption = Adoption { foreign: true, inventories: vec![] };
    let plan = plan_with(&inventory(INVENTORY), &observed, adoption);
    assert_eq!(summarise(&plan), ["adopt Role `apps/kubemint:acme:deployer`"]);
}

#[test]
fn a_binding_of_ours_with_another_role_is_replaced() {
    let mut observed = applied(&inventory(INVENTORY));
    object(&mut observed, "RoleBinding").1.role.as_mut().unwrap().name = "else".to_owned();
    let name = "RoleBinding `apps/kubemint:acme:deployer`";
    check(&observed, &[&format!("delete {name}"), &format!("create {name}")]);
}

/// What no grant explains is removed only where that is asked for, and in an order in which nothing gains access; its
/// entries go last.
#[test]
fn what_has_vanished_is_noted_or_removed() {
    let mut observed = applied(&inventory(INVENTORY));
    let vanished: Vec<(ObjectRef, ObservedObject)> = observed
        .objects
        .iter()
        .map(|(object, known)| {
            let object = ObjectRef { name: object.name.replace("deployer", "gone"), ..object.clone() };
            let mut known = known.clone();
            known.labels.insert(PROFILE_LABEL.to_owned(), "gone".to_owned());
            (object, known)
        })
        .collect();
    observed.objects.extend(vanished);
    let step = |profile: &str, reason| Remove {
        inventory: "acme".into(),
        grant: GrantKey { cluster: "a".into(), profile: profile.into() },
        reason,
        removals: vec![],
    };
    let leaving = [step("deployer", RemoveReason::NoOutput), step("gone", RemoveReason::NoGrant)].map(Arc::new);
    let inventory = inventory(INVENTORY);
    let plan = |observed: &ObservedCluster, prune, leaving: &[Arc<Remove>]| {
        let grants = [GrantInput {
            grant: Arc::clone(&inventory.grants[0]),
            outputs: Arc::default(),
            distrust: None,
            unusable: None,
        }];
        plan_cluster(&PlanInput {
            inventory: &inventory,
            cluster: &"a".into(),
            grants: &grants,
            observed,
            leaving,
            endpoint: &Endpoint::default(),
            is_insecure: false,
            options: &PlanOptions { prune, ..options(Adoption::default(), Duration::ZERO) },
            now: Timestamp::UNIX_EPOCH,
        })
        .plan
    };
    let kept = plan(&observed, Prune::Keep, &[]);
    assert!(kept.steps.is_empty() && kept.prunes.is_empty());
    assert!(kept.notes.iter().any(|note| note.message.starts_with("4 objects belong to grants")), "{:?}", kept.notes);
    let pruned = plan(&observed, Prune::Remove, &leaving);
    assert_eq!(
        summarise(&pruned),
        [
            "delete RoleBinding `apps/kubemint:acme:gone`",
            "delete ClusterRoleBinding `kubemint:acme:gone:7ae7ea98c1`",
            "delete Role `apps/kubemint:acme:gone`",
            "delete ServiceAccount `kubemint/gone`",
            "remove entries of `deployer`",
            "remove entries of `gone`",
        ]
    );
    assert_eq!(pruned.prunes, BTreeSet::from(["deployer".into(), "gone".into()]), "both lose something");
    pruned.steps.iter().for_each(|step| execute(&mut observed, step));
    assert!(plan(&observed, Prune::Remove, &[]).is_empty());
}

#[test]
fn a_service_account_that_moved_is_deleted_last() {
    let mut observed = applied(&inventory(INVENTORY));
    let labels = object(&mut observed, "ServiceAccount").1.labels.clone();
    let annotations = BTreeMap::from([(INDEX_ANNOTATION.to_owned(), Index::default().to_annotation())]);
    let old = ObservedObject { uid: "old".to_owned(), labels, annotations, ..ObservedObject::default() };
    let object = ObjectRef::namespaced(crate::object::Kind::ServiceAccount, "elsewhere", "deployer");
    observed.objects.insert(object.clone(), old);
    check(&observed, &["delete ServiceAccount `elsewhere/deployer`"]);

    // Everything that may be in use blocks: a published generation, a claim, plugins, and an index that cannot be read.
    let claim = crate::credential::tests_support::generation(1, "run");
    let claimed = Index::default().claim(&"other".into(), claim).unwrap();
    let lost = Index { incomplete: true, ..Index::default() };
    let alive = [
        (Some(claimed.to_annotation()), "generation 1 of holder `other`, which a run claimed"),
        (Some(Index::default().with_exec_anchor(&"ci".into()).to_annotation()), "the exec plugins of holder `ci`"),
        (Some(lost.to_annotation()), "the index was lost"),
        (Some("{".to_owned()), "is unusable"),
        (None, "the index was lost"),
    ];
    for (annotation, expected) in alive {
        let annotations = annotation.map(|text| (INDEX_ANNOTATION.to_owned(), text)).into_iter().collect();
        observed.objects.get_mut(&object).unwrap().annotations = annotations;
        let plan = plan_with(&inventory(INVENTORY), &observed, Adoption::default());
        assert!(plan.blockers[0].message.contains(expected), "{:?}", plan.blockers);
    }
}

/// A token that lives only as long as the time between two runs ends before the second one: a note says so.
#[test]
fn a_life_that_only_reaches_the_next_run_is_too_short() {
    let mut observed = applied(&inventory(INVENTORY));
    let mut generation = crate::credential::tests_support::generation(1, "run");
    generation.issued = Some(Timestamp::UNIX_EPOCH);
    generation.expires = Timestamp::from_second(3600).ok();
    let index = Index::default().claim(&"default".into(), generation).unwrap();
    let annotation = (INDEX_ANNOTATION.to_owned(), index.to_annotation());
    object(&mut observed, "ServiceAccount").1.annotations.extend([annotation]);
    for (seconds, is_short) in [(3599, false), (3600, true), (3601, true)] {
        let horizon = Duration::from_secs(seconds);
        let plan = plan_until(&inventory(INVENTORY), &observed, Adoption::default(), horizon);
        assert_eq!(plan.notes.iter().any(|note| note.kind == NoteKind::ShortLife), is_short, "{seconds}");
    }
}

#[test]
fn what_is_being_deleted_blocks() {
    let mut observed = applied(&inventory(INVENTORY));
    object(&mut observed, "ServiceAccount").1.deleting = true;
    check(&observed, &["blocked: ServiceAccount `kubemint/deployer` is being deleted"]);
}

#[test]
fn a_namespace_that_is_being_deleted_is_a_cause_of_its_own() {
    let mut observed = ObservedCluster::default();
    observed.namespaces.insert("apps".to_owned(), NamespaceState::Terminating);
    let plan = plan_with(&inventory(INVENTORY), &observed, Adoption::default());
    assert_eq!(plan.blockers[0].message, "namespace `apps` is being deleted");
}

#[test]
fn the_rules_of_an_aggregated_role_are_left_alone() {
    let text = INVENTORY.replace(
        "[[clusters]]",
        "[[profiles.deployer.cluster-rules]]\napi-groups = [\"\"]\nresources = [\"pods\"]\nverbs = [\"get\"]\n[[clusters]]",
    );
    let inventory = inventory(&text);
    let mut observed = applied(&inventory);
    let role = object(&mut observed, "ClusterRole").1;
    (role.aggregated, role.rules) = (true, vec![]);
    let plan = plan_with(&inventory, &observed, Adoption::default());
    assert_eq!(
        summarise(&plan),
        [
            "note: the rules of ClusterRole `kubemint:acme:deployer` are left alone: they are aggregated from other roles"
        ]
    );
}

#[test]
fn one_api_server_under_two_names_blocks_both() {
    let inventory = inventory(INVENTORY);
    let plan = plan_with(&inventory, &applied(&inventory), Adoption::default());
    let other = ClusterPlan { cluster: "b".into(), ..plan.clone() };
    let [mut one, mut other] = [plan, other].map(|plan| Assessed { plan, assessment: Assessment::default() });
    block_duplicates(&mut [&mut one, &mut other]);
    assert_eq!(one.plan.blockers[0].message, "it is the same API server as `b`, or answers with its identity");
    assert_eq!(other.plan.blockers[0].message, "it is the same API server as `a`, or answers with its identity");
}

/// Applies a step to what was observed, as an API server would.
fn execute(observed: &mut ObservedCluster, step: &Step) {
    let put = |observed: &mut ObservedCluster, manifest: &Value, object: &ObjectRef| {
        let mut value = manifest.clone();
        value["metadata"]["uid"] = json!("uid");
        observed.objects.insert(object.clone(), ObservedObject::from_json(&value));
    };
    match step {
        Step::Create(desired) if desired.object.kind == crate::object::Kind::Namespace => {
            observed.namespaces.insert(desired.object.name.clone(), NamespaceState::Active);
        }
        Step::Create(desired) => put(observed, &desired.manifest(), &desired.object),
        Step::Update(update) => {
            let others = observed.objects[&update.desired.object].labels.clone();
            put(observed, &update.desired.manifest(), &update.desired.object);
            let object = observed.objects.get_mut(&update.desired.object).unwrap();
            for (key, value) in others {
                object.labels.entry(key).or_insert(value);
            }
        }
        Step::Delete(delete) => {
            observed.objects.remove(&delete.object);
        }
        Step::Mint(_)
        | Step::Publish(_)
        | Step::ExecAnchor(_)
        | Step::Plugin(_)
        | Step::Retire(_)
        | Step::Revoke(_)
        | Step::Recreate(_)
        | Step::Resume(_)
        | Step::Remove(_) => {}
    }
}

proptest! {
    /// Whatever the cluster looks like: after the plan has run, nothing is left to plan, and no object that is not ours
    /// has changed.
    #[test]
    fn the_plan_after_the_plan_is_empty(damage in proptest::collection::vec((0_usize..5, 0_u8..6), 0..5)) {
        let inventory = inventory(INVENTORY);
        let mut observed = applied(&inventory);
        let keys: Vec<ObjectRef> = observed.objects.keys().cloned().collect();
        for (position, kind) in damage {
            let Some(key) = keys.get(position) else { continue };
            let Some(object) = observed.objects.get_mut(key) else { continue };
            match kind {
                0 => { observed.objects.remove(key); }
                1 => object.rules.clear(),
                2 => object.subjects.clear(),
                3 => { object.labels.insert("kubemint.dev/profile".to_owned(), "deployer".to_owned()); object.rules.extend(object.rules.clone()); }
                4 => { object.labels.insert("else".to_owned(), "x".to_owned()); }
                _ => {
                    let extra = ObjectRef { name: format!("{}-old", key.name), ..key.clone() };
                    let copy = object.clone();
                    observed.objects.insert(extra, copy);
                }
            }
        }
        let foreign = ObjectRef::cluster_scoped(crate::object::Kind::ClusterRole, "foreign");
        observed.objects.insert(foreign.clone(), ObservedObject::default());
        let plan = plan_with(&inventory, &observed, Adoption::default());
        prop_assert!(plan.blockers.is_empty());
        for step in &plan.steps {
            execute(&mut observed, step);
        }
        let again = plan_with(&inventory, &observed, Adoption::default());
        prop_assert!(again.steps.is_empty(), "{:?}", summarise(&again));
        prop_assert!(observed.objects.contains_key(&foreign));
    }
}

/// If only pods can resolve the server, a note says so when it would be written for consumers elsewhere.
#[test]
fn an_address_of_pods_is_a_note() {
    let inventory = inventory(INVENTORY);
    let observed = applied(&inventory);
    let names = EntryNames {
        context: "x".into(),
        cluster: "x".into(),
        user: "x".into(),
        namespace: None,
        form: UserForm::Token,
        shares_cluster: false,
    };
    let place = Place::context("/x", "x");
    let output = ReadPlace { place: place.into(), format: Format::Kubeconfig(names).into(), found: Found::Nothing };
    let notes = |server: &str| {
        let grant = Arc::clone(&inventory.grants[0]);
        let grants = [GrantInput { grant, outputs: Arc::new(vec![output.clone()]), distrust: None, unusable: None }];
        let endpoint = Endpoint { server: server.to_owned(), ..Endpoint::default() };
        let notes = finding::general_notes(&PlanInput {
            inventory: &inventory,
            cluster: &"a".into(),
            grants: &grants,
            observed: &observed,
            leaving: &[],
            endpoint: &endpoint,
            is_insecure: false,
            options: &options(Adoption::default(), Duration::ZERO),
            now: Timestamp::UNIX_EPOCH,
        });
        notes.iter().filter(|note| note.kind == NoteKind::PodsOnly).count()
    };
    assert_eq!(notes("https://kubernetes.default.svc"), 1);
    assert_eq!(notes("https://api.example.com:6443"), 0);
}
