//! A plan can be written down and read again, and holds no secret, whatever the outputs and the endpoint hold.

use crate::credential::tests_support::{generation, token};
use crate::credential::{
    Credential, CredentialFacts, Generation, HolderIndex, MintReason, Spent, Suspended, policy_fingerprint,
};
use crate::delivery::{
    Before, Delivery, Destination, EntriesRemoval, Format, Found, Place, ReadPlace, Removal, Source,
};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::edit::List;
use crate::kubeconfig::{Document, EntryName, EntryNames, ExecPlugin, FileOrder, Incoming, Mark, UserForm, merge};
use crate::names::{GrantKey, Holder, anchor_name};
use crate::observed::Anchors;
use crate::plan::revoke::{RevokeDepth, RevokeGrant, RevokeInput, RevokeOptions, RevokeTarget, Vanished};
use crate::secret::SecretToken;
use crate::step::{
    Delete, ExecAnchor, Mint, Plugin, Publish, Recreate, Remove, RemoveReason, Resume, Retire, Revoke, TriedToken,
    Update, Victims,
};

use super::*;

/// Values that must not be in a plan: a password, and a part of a token.
#[derive(Debug, Clone)]
struct Planted {
    password: String,
    signature: String,
}

impl Planted {
    /// A token of generation 1 of the profile `deployer`, alive at the epoch.
    fn credential(&self, anchor: &str) -> Credential {
        let claims = json!({
            "sub": "system:serviceaccount:kubemint:deployer", "exp": 7200, "iat": 0,
            "kubernetes.io": {
                "serviceaccount": {"name": "deployer", "uid": "uid-of-deployer"},
                "secret": {"name": anchor, "uid": "uid-of-anchor"},
            },
        });
        let unsigned = token(&claims);
        let (unsigned, _) = unsigned.expose().rsplit_once('.').unwrap();
        let facts = CredentialFacts {
            kind: "token".into(),
            generation: 1,
            anchor: anchor.to_owned(),
            anchor_uid: "uid-of-anchor".into(),
            issued: Timestamp::UNIX_EPOCH,
            requested_seconds: 7200,
            expires: Timestamp::from_second(7200).unwrap(),
        };
        Credential { facts, token: SecretToken::new(format!("{unsigned}.{}", self.signature)) }
    }

    /// How consumers reach the cluster: by another server and another proxy than before.
    fn endpoint(&self, when: &str) -> Endpoint {
        Endpoint {
            server: format!("https://{when}.example.com"),
            proxy_url: Some(format!("http://robot:{}@proxy-{when}.example.com:3128", self.password)),
            cluster_uid: Some("cluster".to_owned()),
            ..Endpoint::default()
        }
    }

    /// Returns a kubeconfig of ours in which others left secrets.
    fn kubeconfig(&self, names: &EntryNames, mark: &Mark, credential: Credential) -> String {
        let incoming = Incoming {
            names: names.clone(),
            mark: mark.clone(),
            endpoint: self.endpoint("before"),
            credential: Some(credential),
            reissue: Reissue::Refused,
            adopts: false,
        };
        let content = merge(None, &[&incoming], &FileOrder::default(), 0, None).unwrap().content;
        let password = &self.password;
        let text = String::from_utf8(content).unwrap();
        let changed = text.replacen(
            "  user:\n",
            &format!("  user:\n    password: {password}\n    client-key-data: {password}\n    as: {password}\n    x: {password}\n"),
            1,
        );
        assert_ne!(changed, text);
        // The name in `as` is shown, so it cannot be the password here; a token in `as` is hidden.
        changed.replace(&format!("    as: {password}\n"), "    as: somebody\n")
    }

    #[track_caller]
    fn check(&self, plan: &ClusterPlan) {
        let written = serde_json::to_string_pretty(plan).unwrap();
        for secret in [&self.password, &self.signature] {
            assert!(!written.contains(secret.as_str()), "{secret} in {written}");
        }
        assert_eq!(serde_json::from_str::<ClusterPlan>(&written).unwrap(), *plan, "{written}");
    }
}

fn names(context: &str, form: UserForm) -> EntryNames {
    EntryNames {
        context: context.into(),
        cluster: context.into(),
        user: context.into(),
        namespace: Some("apps".into()),
        form,
        shares_cluster: false,
    }
}

/// Plans a cluster with one credential that an output holds, once for each decision about a credential, and its
/// revocation. Calls `check` with each plan and what it is expected to do.
fn plans(planted: &Planted, check: impl Fn(&str, &ClusterPlan)) {
    let inventory = inventory(INVENTORY);
    let grant = &inventory.grants[0];
    let (holder, account) = (Holder::new("default"), crate::desired::service_account(grant));
    let anchor = anchor_name(&account.name, "uid-of-deployer", &inventory.name, &holder, 1);
    let credential = planted.credential(&anchor);
    let mark = Mark::of(&inventory.name, &holder, &grant.key());
    let held = names("held", UserForm::Token);
    let text = planted.kubeconfig(&held, &mark, credential.clone());
    let state = Document::parse(&text).unwrap().state(&held, &mark);
    let read = |names: EntryNames, found: Found| {
        let place = Place::context("/x/out", &names.context);
        ReadPlace { place: place.into(), format: Format::Kubeconfig(names).into(), found }
    };
    let exec = UserForm::Exec(Arc::new(ExecPlugin {
        command: "kubemint".into(),
        args: vec!["credential".into()],
        mints: true,
    }));
    let places = vec![
        read(held, state.into()),
        read(names("new", UserForm::TokenFile("out.tokens/x".into())), Found::Nothing),
        read(names("exec", exec), Found::Nothing),
    ];
    let sources = || {
        let source = |read: &ReadPlace| Some(Source { place: read.place.clone(), facts: read.credential()?.facts });
        places.iter().filter_map(source).collect::<Vec<_>>()
    };
    let recorded = Generation {
        anchor: anchor.clone(),
        anchor_uid: Some("uid-of-anchor".into()),
        issued: Some(Timestamp::UNIX_EPOCH),
        published: Some(Timestamp::UNIX_EPOCH),
        expires: Some(credential.facts.expires),
        policy: policy_fingerprint(&grant.profile.token),
        ..generation(1, "run")
    };
    let mut observed = applied(&inventory);
    let mut index = Index::default();
    let chain = HolderIndex { next: 2, generations: vec![recorded], ..HolderIndex::default() };
    index.holders.insert("default".to_owned(), chain);
    observed.anchors.insert(ObjectRef::anchor_of(&account, anchor), "uid-of-anchor".to_owned());
    let mut manifest = desired_objects(&inventory.name, grant)[0].initial_manifest();
    manifest["metadata"]["uid"] = json!("uid-of-deployer");
    manifest["metadata"]["annotations"][INDEX_ANNOTATION] = index.to_annotation().into();
    observed.objects.insert(account.clone(), ObservedObject::from_json(&manifest));
    let plan = |observed: &ObservedCluster, forced: bool| {
        let mut options = options(Adoption::default(), Duration::ZERO);
        options.renewal.forced = forced;
        let input =
            GrantInput { grant: Arc::clone(grant), outputs: Arc::new(places.clone()), distrust: None, unusable: None };
        plan_cluster(&PlanInput {
            inventory: &inventory,
            cluster: &"a".into(),
            grants: &[input],
            observed,
            leaving: &[],
            endpoint: &planted.endpoint("after"),
            is_insecure: false,
            options: &options,
            now: Timestamp::from_second(60).unwrap(),
        })
        .plan
    };
    check("write deployer", &plan(&observed, false));
    check("mint", &plan(&observed, true));
    check("create", &plan(&ObservedCluster { uid: "cluster".into(), ..ObservedCluster::default() }, false));
    let mut drifted = observed.clone();
    for desired in desired_objects(&inventory.name, grant) {
        if desired.object.kind == crate::object::Kind::Role {
            let mut manifest = desired.initial_manifest();
            manifest["rules"] = json!([]);
            drifted.objects.insert(desired.object, ObservedObject::from_json(&manifest));
        }
    }
    check("update", &plan(&drifted, false));
    for depth in [RevokeDepth::Tokens, RevokeDepth::Account, RevokeDepth::Access] {
        let options = RevokeOptions {
            holder: holder.clone(),
            target: RevokeTarget::Holder,
            depth,
            awaits: true,
            vanished: Vanished::Revoke,
            orphan_after: Duration::from_secs(360),
        };
        let revocation = plan_revocation(&RevokeInput {
            inventory: &inventory,
            cluster: &"a".into(),
            grants: &[RevokeGrant { grant: Arc::clone(grant), held: sources(), origins: vec![] }],
            observed: &observed,
            anchors: &BTreeMap::from([(
                account.clone(),
                Anchors { found: vec![], strange: vec![], search: crate::observed::Search::Listed },
            )]),
            leaving: &[],
            roles: &BTreeMap::new(),
            options: &options,
            now: Timestamp::from_second(60).unwrap(),
        });
        check("revoke", &revocation);
    }
}

#[test]
fn every_kind_of_plan_is_written_and_read_again() {
    let planted = Planted { password: "s3cretpassword".into(), signature: "c2VjcmV0c2lnbmF0dXJl".into() };
    plans(&planted, |expected, plan| {
        let ids: Vec<String> = plan
            .steps
            .iter()
            .map(|step| serde_json::to_value(step.id()).unwrap().as_str().unwrap().to_owned())
            .collect();
        assert!(ids.iter().any(|id| id.starts_with(expected)), "{expected} not in {ids:?}");
        planted.check(plan);
    });
}

/// A plan that hands a credential on names the place that holds it, and nothing of its content.
#[test]
fn a_token_is_named_by_its_place() {
    let planted = Planted { password: "s3cretpassword".into(), signature: "c2VjcmV0c2lnbmF0dXJl".into() };
    plans(&planted, |expected, plan| {
        if expected == "revoke" || expected.starts_with("write") {
            let sources: Vec<&Place> = plan.steps.iter().flat_map(Step::sources).map(|source| &*source.place).collect();
            assert_eq!(sources, [&Place::context("/x/out", "held")], "{expected}");
        }
    });
}

proptest! {
    #[test]
    fn no_secret_is_in_a_plan(password in "[a-zA-Z0-9]{12,24}", signature in "[a-zA-Z0-9_-]{24,86}") {
        let planted = Planted { password, signature };
        plans(&planted, |_, plan| planted.check(plan));
    }
}

/// What differs of a proxy with a password is said without the password.
#[test]
fn a_proxy_that_changes_is_in_the_plan_and_its_password_is_not() {
    let planted = Planted { password: "s3cretpassword".into(), signature: "c2VjcmV0c2lnbmF0dXJl".into() };
    plans(&planted, |expected, plan| {
        if expected.starts_with("write") {
            let changes = plan.steps.iter().filter_map(|step| match step {
                Step::Publish(publish) => Some(&publish.delivery.changes),
                _ => None,
            });
            let proxies = changes.flatten().filter(|change| change.field == "cluster.proxy-url");
            let shown: Vec<_> = proxies.map(|change| (change.removed.join(""), change.added.join(""))).collect();
            let url = |when: &str| format!("http://proxy-{when}.example.com:3128");
            assert_eq!(shown, [(url("before"), url("after"))]);
        }
    });
}

/// A delivery with a destination of each kind.
fn delivery(mark: Mark, place: &Place, change: FieldDiff) -> Delivery {
    let destination = |before| Destination {
        place: place.clone().into(),
        format: Format::Kubeconfig(names("x", UserForm::TokenFile("x.tokens/t".into()))).into(),
        before,
    };
    let destinations = [Before::Whole, Before::Lacking, Before::Unmarked].map(destination).to_vec();
    Delivery { mark, destinations, changes: vec![change], reissue: Reissue::Allowed }
}

/// A step of each kind, with everything in it that a step can have.
#[expect(clippy::too_many_lines, reason = "it is a list")]
fn one_of_each() -> Vec<Step> {
    let inventory = inventory(INVENTORY);
    let grant = &inventory.grants[0];
    let (key, holder, account) = (grant.key(), Holder::new("ci"), crate::desired::service_account(grant));
    let role = desired_objects(&inventory.name, grant).into_iter().find(|desired| desired.object.name.contains("acme"));
    let role = role.unwrap();
    let field = FieldDiff { field: "rules".into(), removed: vec!["get on pods".into()], added: vec![] };
    let place = Place::context("/x/out", "x");
    let delivery = delivery(Mark::of(&inventory.name, &holder, &key), &place, field.clone());
    let planted = Planted { password: String::new(), signature: "c2ln".into() };
    let source = Source { place: place.into(), facts: planted.credential("anchor").facts };
    let spent = || vec![Spent { n: 3, since: Timestamp::MIN }];
    let mut claim = Generation { jti: Some("j".into()), date_ahead: Some(-3), ..generation(4, "run") };
    claim.other.insert("later".into(), json!({"a": [1]}));
    let (profile, name) = (key.profile.clone(), inventory.name.clone());
    let revoke = |victims| Revoke {
        profile: profile.clone(),
        inventory: name.clone(),
        service_account: account.clone(),
        holder: holder.clone(),
        victims,
        held: vec![1],
        suspends: Some(Suspended::Holder(holder.clone())),
        shown: vec!["generation 1".into()],
        awaits: true,
        awaited: vec![source.clone()],
    };
    let numbers = Victims::Generations { holder: holder.clone(), numbers: vec![1, 2] };
    let mut steps = vec![
        Step::Create(role.clone().into()),
        Step::Update(Box::new(Update {
            desired: role.clone(),
            uid: "u".into(),
            resource_version: "7".into(),
            changes: vec![field],
            overrules: vec!["kubectl-edit".into()],
            adopts: Some("nobody".into()),
        })),
        Step::Delete(Box::new(Delete {
            object: role.object.clone(),
            uid: "u".into(),
            resource_version: Some("7".into()),
            removed: vec!["get on pods".into()],
        })),
        Step::Mint(Box::new(Mint {
            grant: key.clone(),
            inventory: name.clone(),
            holder: holder.clone(),
            service_account: account.clone(),
            generation: 4,
            reason: MintReason::AccountRecreated,
            not_after: Some(Timestamp::UNIX_EPOCH),
            ttl_seconds: 60,
            audiences: vec!["a".into()],
            policy: "p".into(),
            spent: spent(),
            delivery: delivery.clone(),
        })),
        Step::Publish(Box::new(Publish {
            grant: key.clone(),
            from: vec![source.clone()],
            delivery: delivery.clone(),
            record: Some((account.clone(), claim)),
        })),
        Step::ExecAnchor(Box::new(ExecAnchor {
            profile: profile.clone(),
            inventory: name.clone(),
            holder: holder.clone(),
            service_account: account.clone(),
        })),
        Step::Plugin(Box::new(Plugin {
            grant: key.clone(),
            service_account: account.clone(),
            tried: Some(TriedToken { inventory: name.clone(), holder: holder.clone(), audiences: vec!["a".into()] }),
            delivery,
        })),
        Step::Retire(Box::new(Retire {
            profile: profile.clone(),
            inventory: name.clone(),
            holder: holder.clone(),
            service_account: account.clone(),
            generations: spent(),
            asks_for_time: true,
            keep: 4,
        })),
        Step::Recreate(Box::new(Recreate {
            profile: profile.clone(),
            account: desired_objects(&name, grant)[0].clone(),
            uid: Some("u".into()),
            suspends: Suspended::Everybody,
            awaits: true,
        })),
        Step::Resume(Box::new(Resume {
            profile: profile.clone(),
            inventory: name.clone(),
            holder: holder.clone(),
            service_account: account.clone(),
        })),
    ];
    let entry = EntryName { list: List::Users, name: "old".into() };
    let removal = Removal::Entries(EntriesRemoval {
        file: "/x/out".into(),
        entries: vec![entry],
        token_file: Some("/x/out.tokens/x".into()),
    });
    steps.push(Step::Remove(Arc::new(Remove {
        inventory: "acme".into(),
        grant: GrantKey { cluster: "a".into(), profile: "gone".into() },
        reason: RemoveReason::NoGrant,
        removals: vec![removal],
    })));
    let victims = [numbers, Victims::Holder(holder.clone()), Victims::Everybody];
    steps.extend(victims.map(|victims| Step::Revoke(Box::new(revoke(victims)))));
    steps
}

#[test]
fn a_step_of_every_kind_is_written_and_read_again() {
    let steps = one_of_each();
    // Whoever adds a kind of step adds one above.
    let kind = |step: &Step| match step {
        Step::Create(_) => 0,
        Step::Update(_) => 1,
        Step::Delete(_) => 2,
        Step::Mint(_) => 3,
        Step::Publish(_) => 4,
        Step::ExecAnchor(_) => 5,
        Step::Plugin(_) => 6,
        Step::Retire(_) => 7,
        Step::Revoke(_) => 8,
        Step::Recreate(_) => 9,
        Step::Resume(_) => 10,
        Step::Remove(_) => 11,
    };
    let kinds: BTreeSet<usize> = steps.iter().map(kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    let blocker = Blocker {
        kind: BlockerKind::Refused,
        profile: Some("deployer".into()),
        message: "no".into(),
        hint: Some("do".into()),
    };
    let notes = vec![Note::new(NoteKind::Drift, "it differs")];
    let plan = ClusterPlan { steps, blockers: vec![blocker], notes, ..tests_support::empty_plan("a", "uid") };
    let written = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<ClusterPlan>(&written).unwrap(), plan, "{written}");
    // The same words as in reports, and nothing that is not understood.
    let value: Value = serde_json::from_str(&written).unwrap();
    for (step, value) in plan.steps.iter().zip(value["steps"].as_array().unwrap()) {
        let action = serde_json::to_value(step.action()).unwrap();
        assert!(value["step"] == action || action == "adopt" && value["step"] == "update", "{value}");
    }
    let unknown = written.replacen("\"on-failure\"", "\"new\":1,\"on-failure\"", 1);
    assert!(serde_json::from_str::<ClusterPlan>(&unknown).is_err());
    let elsewhere = written.replacen("\"cluster\":\"a\"", "\"cluster\":\"../a\"", 1);
    assert!(serde_json::from_str::<ClusterPlan>(&elsewhere).unwrap_err().to_string().contains("cannot be a name"));
}
