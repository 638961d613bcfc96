//! Planning a revocation: which tokens end, whose issuing is suspended, and which objects are deleted too.
//!
//! It is a plan like any other, with nothing desired: the same value is shown, confirmed and run. The anchors, as the
//! API server shows them, decide which tokens live; the index, which anybody may have edited, only adds to them. Pure:
//! no I/O, `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::contested::{Answering, Origin, is_known, not_revoked};
use super::{Blocker, BlockerKind, ClusterPlan, Note, NoteKind};
use crate::credential::{Generation, Index, Suspended};
use crate::delivery::Source;
use crate::desired::{Content, DesiredObject, desired_objects, service_account};
use crate::inventory::{Grant, Intended, IntendedSource, Inventory, intended};
use crate::names::{AnchorOf, ClusterName, Holder, INDEX_ANNOTATION, ProfileName};
use crate::object::{Kind, ObjectRef};
use crate::observed::{Anchor, Anchors, ObservedCluster, ObservedObject, Ownership, Search};
use crate::rbac::{Right, Rule};
use crate::step::{Delete, Recreate, Remove, Revoke, Step, Victims};

/// What the user wants revoked.
#[derive(Debug, Clone)]
pub(crate) struct RevokeOptions {
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which generations.
    pub target: RevokeTarget,
    /// What is deleted in addition.
    pub depth: RevokeDepth,
    /// Whether the run waits until API servers refuse what was revoked.
    pub awaits: bool,
    /// What happens to ServiceAccounts of this inventory that no grant needs any more.
    pub vanished: Vanished,
    /// How long a claim may stay unpublished.
    pub orphan_after: Duration,
}

/// What happens to ServiceAccounts of this inventory that no grant needs any more, for example because a profile was
/// renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vanished {
    /// Their tokens are revoked too: the user chose no profile.
    Revoke,
    /// Those of the profiles that the user chose are; a note names the others.
    RevokeOf(BTreeSet<ProfileName>),
    /// A note names them.
    Name,
}

impl Vanished {
    /// Returns whether the tokens of an account of this profile are revoked.
    pub(crate) fn revokes(&self, profile: &ProfileName) -> bool {
        match self {
            Self::Revoke => true,
            Self::RevokeOf(profiles) => profiles.contains(profile),
            Self::Name => false,
        }
    }
}

/// Which generations are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevokeTarget {
    /// Every living one of the holder.
    Holder,
    /// Every living one of every holder.
    Everybody,
    /// Those of the holder that a newer one has superseded.
    Superseded,
    /// One of the holder.
    Generation(u64),
}

/// What is deleted in addition to the generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevokeDepth {
    /// Nothing.
    Tokens,
    /// The ServiceAccount, which is made anew: every token for it stops working, whoever minted it.
    Account,
    /// The ServiceAccount and its RBAC.
    Access,
}

/// One grant whose credentials are revoked.
#[derive(Debug, Clone)]
pub(crate) struct RevokeGrant {
    /// The grant.
    pub grant: Arc<Grant>,
    /// The places that hold a token of it, each different token once.
    pub held: Vec<Source>,
    /// What the places say of their API servers, if the name of the cluster may be another one's.
    pub origins: Vec<Origin>,
}

/// Everything that planning a revocation looks at.
#[derive(Debug)]
pub(crate) struct RevokeInput<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The selected grants on that cluster.
    pub grants: &'a [RevokeGrant],
    /// What was read from it.
    pub observed: &'a ObservedCluster,
    /// The anchors of the ServiceAccounts of ours.
    pub anchors: &'a BTreeMap<ObjectRef, Anchors>,
    /// The steps that remove entries of this cluster.
    pub leaving: &'a [Arc<Remove>],
    /// The rules of the existing roles that the profiles bind, where they could be read.
    pub roles: &'a BTreeMap<ObjectRef, Option<Vec<Rule>>>,
    /// What the user wants.
    pub options: &'a RevokeOptions,
    /// The current time, by the cluster's clock.
    pub now: Timestamp,
}

/// Plans the revocation of one cluster's grants.
pub(crate) fn plan_revocation(input: &RevokeInput<'_>) -> ClusterPlan {
    // If one grant cannot be revoked, the others are revoked all the same.
    let mut plan = ClusterPlan::of_nothing(input.cluster, &input.observed.uid);
    // If what one output holds is another API server's, and none says that it is of this one, this is not the cluster that the
    // user means, so nothing ends in it.
    let is_known = is_known(Some(&input.observed.uid), input.grants.iter().flat_map(|revoked| &revoked.origins));
    plan.blockers.extend(input.grants.iter().filter_map(|revoked| another_server(input, revoked, is_known)));
    if !plan.blockers.is_empty() && !is_known {
        return plan;
    }
    let mut left = BTreeSet::new();
    for grant in input.grants {
        let profile = &grant.grant.profile.name;
        let is_blocked = plan.blockers.iter().any(|blocker| blocker.profile.as_ref() == Some(profile));
        if is_blocked || plan_grant(input, grant, &mut plan) == Ends::Not {
            left.insert(profile);
        }
    }
    plan_vanished(input, &mut plan);
    // Entries go last, and only after everything before them succeeded.
    let leaving = input.leaving.iter().filter(|leaving| !left.contains(&leaving.grant.profile));
    plan.steps.extend(leaving.cloned().map(Step::Remove));
    plan.risks = Arc::new(super::risk::risks_of_deletions(input.observed, &plan.steps));
    plan.check_ids();
    // The plans of all clusters are kept until the end of a run.
    plan.steps.shrink_to_fit();
    plan
}

fn another_server(input: &RevokeInput<'_>, revoked: &RevokeGrant, is_known: bool) -> Option<Blocker> {
    let grant = &revoked.grant;
    let account = input.observed.objects.get(&service_account(grant));
    not_revoked(grant, &revoked.origins, &Answering { uid: Some(&input.observed.uid), account, is_known })
}

/// Whether the access of a grant ends as far as is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Yes,
    /// It is not ours to end.
    Not,
}

/// A ServiceAccount of ours.
pub(crate) struct OurAccount<'a> {
    /// Its address.
    pub object: &'a ObjectRef,
    /// What was read.
    pub observed: &'a ObservedObject,
    /// The profile that its label names.
    pub profile: ProfileName,
}

/// Returns the ServiceAccounts of this inventory in a cluster that no grant needs any more.
pub(crate) fn vanished_accounts<'a>(
    inventory: &Inventory,
    cluster: &ClusterName,
    observed: &'a ObservedCluster,
) -> Vec<OurAccount<'a>> {
    let live: BTreeSet<ObjectRef> = inventory.grants_on(cluster).iter().map(|grant| service_account(grant)).collect();
    let is_vanished = |(object, observed): &(&ObjectRef, &ObservedObject)| {
        object.kind == Kind::ServiceAccount
            && observed.ownership(&inventory.name) == Ownership::Ours
            && !live.contains(*object)
    };
    let accounts = observed.objects.iter().filter(is_vanished);
    accounts.map(|(object, observed)| OurAccount { object, observed, profile: observed.profile_name() }).collect()
}

/// Plans what happens to what no grant needs any more.
fn plan_vanished(input: &RevokeInput<'_>, plan: &mut ClusterPlan) {
    if !input.observed.lists_accounts && input.options.vanished != Vanished::Name {
        let message = "ServiceAccounts may not be listed: whether grants that left the inventory still have tokens is \
                       not known";
        plan.notes.push(Note::new(NoteKind::NotChecked, message));
    }
    let accounts = vanished_accounts(input.inventory, input.cluster, input.observed);
    let mut revoked: Vec<&OurAccount<'_>> = vec![];
    for account in &accounts {
        let object = account.object;
        if is_deleted(plan, object) {
            continue;
        }
        let left = format!("{object} is of a grant that left the inventory");
        if !input.options.vanished.revokes(&account.profile) {
            let command = object.kubectl("delete", &[]);
            let message = format!("{left}, and is not revoked: `{command}` kills its tokens");
            plan.notes.push(Note::new(NoteKind::VanishedGrants, message));
            continue;
        }
        let index = account.observed.index().ok();
        let subject = Subject { account: object, profile: &account.profile, held: &[] };
        let steps = plan.steps.len();
        revoke_tokens(input, &subject, index.as_ref(), plan);
        if plan.steps.len() > steps || input.options.depth != RevokeDepth::Tokens {
            plan.notes.push(Note::new(NoteKind::VanishedGrants, format!("{left}; it is revoked too")));
        }
        revoked.push(account);
    }
    if input.options.depth == RevokeDepth::Access {
        delete_vanished_rbac(input, plan);
    }
    if input.options.depth != RevokeDepth::Tokens {
        // No grant needs them any more, so they are deleted rather than made anew.
        plan.steps.extend(revoked.iter().map(|account| delete(account.object, account.observed)));
    }
}

/// Plans the deletion of the roles and bindings of grants that left the inventory.
fn delete_vanished_rbac(input: &RevokeInput<'_>, plan: &mut ClusterPlan) {
    let live: BTreeSet<&str> =
        input.inventory.grants_on(input.cluster).iter().map(|grant| grant.profile.name.as_str()).collect();
    let has_vanished = |object: &ObjectRef, observed: &ObservedObject| {
        Kind::RBAC.contains(&object.kind)
            && observed.ownership(&input.inventory.name) == Ownership::Ours
            && !live.contains(observed.profile().unwrap_or_default())
            && input.options.vanished.revokes(&observed.profile_name())
    };
    for (object, observed) in input.observed.objects.iter().rev() {
        if has_vanished(object, observed) && !is_deleted(plan, object) {
            plan.steps.push(delete(object, observed));
        }
    }
}

/// Returns whether a plan deletes an object already: removing the access of a profile also deletes what it had before.
fn is_deleted(plan: &ClusterPlan, object: &ObjectRef) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::Delete(delete) if delete.object == *object))
}

fn plan_grant(input: &RevokeInput<'_>, revoked: &RevokeGrant, plan: &mut ClusterPlan) -> Ends {
    let grant = &revoked.grant;
    let profile = &grant.profile.name;
    let account = service_account(grant);
    match input.observed.objects.get(&account) {
        None => {
            let message = format!("{account} does not exist: `{profile}` has no tokens");
            plan.notes.push(Note::new(NoteKind::NothingToRevoke, message));
            // An earlier run may have been killed before it made the account anew; then the suspension has to be kept.
            if input.options.depth == RevokeDepth::Account {
                plan.steps.push(recreate(input, grant, &account, None));
            }
            if input.options.depth != RevokeDepth::Access {
                return Ends::Yes;
            }
        }
        Some(observed) if observed.ownership(&input.inventory.name) != Ownership::Ours => {
            plan.blockers.push(Blocker {
                profile: Some(profile.clone()),
                kind: BlockerKind::ForeignObject,
                message: format!("{account} is not this inventory's, so nothing of it is revoked"),
                hint: Some("revoke it where it is managed, or delete it with kubectl".to_owned()),
            });
            return Ends::Not;
        }
        Some(observed) => {
            let index = observed.index().ok();
            let subject = Subject { account: &account, profile, held: &revoked.held };
            revoke_tokens(input, &subject, index.as_ref(), plan);
        }
    }
    match input.options.depth {
        RevokeDepth::Tokens => plan.notes.extend(self_made(input, grant)),
        RevokeDepth::Account => {
            let uid = input.observed.objects.get(&account).map(|observed| observed.uid.clone());
            plan.steps.push(recreate(input, grant, &account, uid));
        }
        RevokeDepth::Access => delete_access(input, grant, plan),
    }
    Ends::Yes
}

/// The ServiceAccount whose tokens are revoked.
struct Subject<'a> {
    account: &'a ObjectRef,
    profile: &'a ProfileName,
    /// The places that hold a token of it.
    held: &'a [Source],
}

fn revoke_tokens(input: &RevokeInput<'_>, subject: &Subject<'_>, index: Option<&Index>, plan: &mut ClusterPlan) {
    let Subject { account, profile, held: sources } = *subject;
    let holder = &input.options.holder;
    let none = Anchors { found: vec![], strange: vec![], search: Search::Listed };
    let anchors = input.anchors.get(account).unwrap_or(&none);
    let held: Vec<u64> = sources.iter().map(|source| source.facts.generation).collect();
    let (victims, suspends) = match victims(input, index, anchors, &held) {
        Ok(chosen) => chosen,
        Err(message) => {
            return plan.blockers.push(Blocker {
                profile: Some(profile.clone()),
                kind: BlockerKind::NoSuchGeneration,
                message: format!("`{profile}`: {message}"),
                hint: None,
            });
        }
    };
    let shown = shown(&victims, index, anchors);
    let is_suspended_already = match (&suspends, index) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(Suspended::Everybody), Some(index)) => index.suspended,
        (Some(Suspended::Holder(holder)), Some(index)) => index.is_suspended(holder),
    };
    // As long as something is unknown, the revocation is planned, because it searches again and reports what it could
    // not find.
    let is_known = index.is_some_and(|index| !index.incomplete || anchors.search == Search::Listed)
        && (anchors.strange.is_empty() || victims != Victims::Everybody)
        && !matches!(anchors.search, Search::ByName { unasked: 1.. });
    if shown.is_empty() && is_suspended_already && is_known {
        plan.notes.extend(index.and_then(|_| doubts(account, index, anchors)));
        let message = format!("no token of `{profile}` that this is about is alive");
        return plan.notes.push(Note::new(NoteKind::NothingToRevoke, message));
    }
    let is_victim = |source: &&Source| match &victims {
        Victims::Generations { numbers, .. } => numbers.contains(&source.facts.generation),
        Victims::Holder(_) | Victims::Everybody => true,
    };
    plan.steps.push(Step::Revoke(Box::new(Revoke {
        profile: profile.clone(),
        inventory: input.inventory.name.clone(),
        service_account: account.clone(),
        awaits: input.options.awaits,
        awaited: sources.iter().filter(|_| input.options.awaits).filter(is_victim).cloned().collect(),
        holder: holder.clone(),
        held,
        victims,
        suspends,
        shown,
    })));
}

/// Notes how anchors were searched for, if there may be others, and how the index contradicts what was found, because
/// somebody edited it or restored an older one.
pub(crate) fn doubts(account: &ObjectRef, index: Option<&Index>, anchors: &Anchors) -> Option<Note> {
    let mut doubts = vec![];
    if let Some(index) = index {
        let next = |anchor: &Anchor| index.holder(&anchor.holder).map_or(1, |chain| chain.next.max(1));
        let is_beyond = |anchor: &&Anchor| matches!(anchor.of, AnchorOf::Generation(n) if n >= next(anchor));
        let is_unlisted = |anchor: &&Anchor| match (index.holder(&anchor.holder), anchor.of) {
            (None, _) => true,
            (Some(chain), AnchorOf::Generation(n)) => chain.generation(n).is_none(),
            (Some(chain), AnchorOf::Plugins) => !chain.exec,
        };
        if let Some(anchor) = anchors.found.iter().find(is_beyond) {
            doubts.push(format!(
                "its numbers went back: it says that generation {} of holder `{}` comes next",
                next(anchor),
                anchor.holder
            ));
        }
        let unlisted: Vec<String> =
            anchors.found.iter().filter(is_unlisted).map(|anchor| format!("`{}`", anchor.name)).collect();
        if !unlisted.is_empty() {
            doubts.push(format!("it does not list {}", unlisted.join(", ")));
        }
    }
    let contradicts = (!doubts.is_empty()).then(|| {
        format!(
            "somebody changed the annotation `{INDEX_ANNOTATION}` of {account}, or restored it: {}",
            doubts.join("; ")
        )
    });
    let by_name = matches!(anchors.search, Search::ByName { .. }).then(|| {
        format!(
            "Secrets could not be listed, so tokens of {account} were looked for by the index and computed names only"
        )
    });
    let message = match (contradicts, by_name) {
        (Some(contradicts), Some(by_name)) => format!("{contradicts}; {by_name}"),
        (contradicts, by_name) => contradicts.or(by_name)?,
    };
    Some(Note::new(NoteKind::IndexInDoubt, message))
}

/// Chooses the generations that are revoked, and whose issuing is suspended: that of a holder who loses the current
/// one.
fn victims(
    input: &RevokeInput<'_>,
    index: Option<&Index>,
    anchors: &Anchors,
    held: &[u64],
) -> Result<(Victims, Option<Suspended>), String> {
    let options = input.options;
    let holder = &options.holder;
    let target = if options.depth == RevokeDepth::Tokens { options.target } else { RevokeTarget::Everybody };
    let generations = index.and_then(|index| index.holder(holder)).map_or(&[][..], |chain| &chain.generations);
    let found = anchors.found.iter().filter(|anchor| anchor.holder == *holder);
    let found: BTreeSet<u64> = found
        .filter_map(|anchor| match anchor.of {
            AnchorOf::Generation(n) => Some(n),
            AnchorOf::Plugins => None,
        })
        .collect();
    // The current generation is one with an anchor, because the index may have been edited. Those in the outputs count
    // too.
    let recorded = generations.iter().filter(|generation| generation.is_recorded()).map(|generation| generation.n);
    let current = recorded.chain(held.iter().copied()).filter(|n| found.contains(n)).max();
    let alive: BTreeSet<u64> = generations.iter().map(|generation| generation.n).chain(found).collect();
    // A claim that was never published supersedes nothing, and nobody holds its token.
    let is_claim = |generation: &Generation| !generation.is_recorded() && !held.contains(&generation.n);
    let limit = SignedDuration::try_from(options.orphan_after).unwrap_or(SignedDuration::MAX);
    let is_orphan =
        |generation: &&Generation| is_claim(generation) && input.now.duration_since(generation.claimed_at) > limit;
    let orphans: BTreeSet<u64> = generations.iter().filter(is_orphan).map(|generation| generation.n).collect();
    let claims: BTreeSet<u64> = generations.iter().filter(|it| is_claim(it)).map(|generation| generation.n).collect();
    let some = |numbers| Victims::Generations { holder: holder.clone(), numbers };
    Ok(match target {
        RevokeTarget::Holder => (Victims::Holder(holder.clone()), Some(Suspended::Holder(holder.clone()))),
        RevokeTarget::Everybody => (Victims::Everybody, Some(Suspended::Everybody)),
        RevokeTarget::Superseded => {
            (some(alive.into_iter().filter(|n| Some(*n) < current || orphans.contains(n)).collect()), None)
        }
        RevokeTarget::Generation(number) => {
            if !alive.contains(&number) {
                let live: Vec<String> = alive.iter().map(u64::to_string).collect();
                let live = if live.is_empty() { "none".to_owned() } else { live.join(", ") };
                return Err(format!("holder `{holder}` has no generation {number}; alive: {live}"));
            }
            let suspends =
                (Some(number) >= current && !claims.contains(&number)).then(|| Suspended::Holder(holder.clone()));
            (some(vec![number]), suspends)
        }
    })
}

/// Describes what is revoked, one line each: what the index lists, and what was found beyond that.
fn shown(victims: &Victims, index: Option<&Index>, anchors: &Anchors) -> Vec<String> {
    let is_victim = |holder: &str, n: u64| match victims {
        Victims::Generations { holder: one, numbers } => one.as_str() == holder && numbers.contains(&n),
        Victims::Holder(one) => one.as_str() == holder,
        Victims::Everybody => true,
    };
    let loses_plugins = |holder: &str| match victims {
        Victims::Generations { .. } => false,
        Victims::Holder(one) => one.as_str() == holder,
        Victims::Everybody => true,
    };
    let plugins = |holder: &str| format!("tokens of exec plugins of holder `{holder}`");
    let mut lines = vec![];
    for (holder, chain) in index.into_iter().flat_map(|index| &index.holders) {
        for generation in chain.generations.iter().filter(|generation| is_victim(holder, generation.n)) {
            let state = match generation.expires {
                Some(expires) => format!("expires {expires}"),
                None => "claimed and not published".to_owned(),
            };
            lines.push(format!("generation {} of holder `{holder}`, {state}", generation.n));
        }
        if chain.exec && loses_plugins(holder) {
            lines.push(plugins(holder));
        }
    }
    for anchor in &anchors.found {
        let (holder, known) = (anchor.holder.as_str(), index.and_then(|index| index.holder(&anchor.holder)));
        match anchor.of {
            AnchorOf::Generation(n)
                if is_victim(holder, n) && known.is_none_or(|chain| chain.generation(n).is_none()) =>
            {
                lines.push(format!("generation {n} of holder `{holder}`, which the index does not list"));
            }
            AnchorOf::Plugins if loses_plugins(holder) && known.is_none_or(|chain| !chain.exec) => {
                lines.push(plugins(holder));
            }
            AnchorOf::Generation(_) | AnchorOf::Plugins => {}
        }
    }
    lines.shrink_to_fit();
    lines
}

fn recreate(input: &RevokeInput<'_>, grant: &Grant, account: &ObjectRef, uid: Option<String>) -> Step {
    Step::Recreate(Box::new(Recreate {
        profile: grant.profile.name.clone(),
        account: DesiredObject {
            object: account.clone(),
            inventory: input.inventory.name.clone(),
            profile: Some(grant.profile.name.clone()),
            content: Content::Empty,
        },
        uid,
        suspends: Suspended::Everybody,
        awaits: input.options.awaits,
    }))
}

/// Deletes the objects that give access, from the bindings to the ServiceAccount. In this order, access never grows in
/// between.
fn delete_access(input: &RevokeInput<'_>, grant: &Grant, plan: &mut ClusterPlan) {
    let is_ours = |object: &ObjectRef, observed: &ObservedObject| {
        observed.ownership(&input.inventory.name) == Ownership::Ours
            && observed.profile() == Some(grant.profile.name.as_str())
            && !matches!(object.kind, Kind::Namespace | Kind::Secret)
    };
    for desired in desired_objects(&input.inventory.name, grant) {
        let existing = input.observed.objects.get(&desired.object);
        if let Some(observed) = existing.filter(|observed| !is_ours(&desired.object, observed)) {
            let manager = match observed.ownership(&input.inventory.name) {
                Ownership::Foreign(Some(manager)) => format!(" (managed by `{manager}`)"),
                _ => String::new(),
            };
            plan.blockers.push(Blocker {
                profile: Some(grant.profile.name.clone()),
                kind: BlockerKind::ForeignObject,
                message: format!(
                    "{} has the name of this grant's and not its marks{manager}: it is left, with what it allows",
                    desired.object
                ),
                hint: Some("see whose it is, and delete it with kubectl if nobody needs it".to_owned()),
            });
        }
    }
    // Kinds are sorted so that each refers only to earlier ones; the reverse order deletes referring objects first.
    let objects = input.observed.objects.iter().rev().filter(|(object, observed)| is_ours(object, observed));
    plan.steps.extend(objects.map(|(object, observed)| delete(object, observed)));
}

fn delete(object: &ObjectRef, observed: &ObservedObject) -> Step {
    Step::Delete(Box::new(Delete {
        object: object.clone(),
        uid: observed.uid.clone(),
        // The revocation has just changed its index, which is an annotation, so its resourceVersion is another one now.
        resource_version: (object.kind != Kind::ServiceAccount).then(|| observed.resource_version.clone()),
        removed: super::objects::describe(observed),
    }))
}

/// Notes where the holder may have made tokens that deleting our anchors does not revoke.
fn self_made(input: &RevokeInput<'_>, grant: &Grant) -> Option<Note> {
    let mut ways: Vec<&str> = vec![];
    let mut unknown = vec![];
    for Intended { scope, source } in intended(&grant.profile) {
        match source {
            IntendedSource::Profile(rules) => ways.extend(rules.iter().filter_map(way_to_tokens)),
            IntendedSource::Role(role) => match input.roles.get(&role.object(scope.namespace())) {
                Some(Some(rules)) => ways.extend(rules.iter().filter_map(way_to_tokens)),
                Some(None) | None => unknown.push(role.to_string()),
            },
        }
    }
    ways.sort_unstable();
    ways.dedup();
    unknown.sort();
    unknown.dedup();
    let name = &grant.profile.name;
    let message = match (ways.as_slice(), unknown.as_slice()) {
        ([], []) => return None,
        ([], unknown) => format!(
            "whether `{name}` could make tokens for itself is not known, because {} cannot be read; only `--hard` \
             ends those",
            unknown.join(", ")
        ),
        (ways, _) => format!(
            "`{name}` may {}: tokens that its holder made with that live on; only `--hard` ends them",
            ways.join(", ")
        ),
    };
    Some(Note::new(NoteKind::SelfMade, message))
}

/// Returns the existing roles that a grant binds.
pub(crate) fn existing_roles(grant: &Grant) -> BTreeSet<ObjectRef> {
    let existing = intended(&grant.profile).into_iter().filter_map(|Intended { scope, source }| match source {
        IntendedSource::Role(role) => Some(role.object(scope.namespace())),
        IntendedSource::Profile(_) => None,
    });
    existing.collect()
}

/// Returns how a rule lets its holder obtain further tokens.
fn way_to_tokens(rule: &Rule) -> Option<&'static str> {
    const WAYS: [(&str, &str, &str); 3] = [
        ("create", "serviceaccounts/token", "create `serviceaccounts/token`"),
        ("create", "secrets", "create `secrets`"),
        ("impersonate", "serviceaccounts", "impersonate ServiceAccounts"),
    ];
    let allows = |verb: &str, resource: &str| {
        // A rule with resource names is treated as one without, because it may name the one that matters.
        let rule = Rule { resource_names: vec![], ..rule.clone() };
        rule.allows(&Right::Resource { group: "", resource, name: None, verb })
    };
    WAYS.iter().find(|(verb, resource, _)| allows(verb, resource)).map(|(_, _, way)| *way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_further_tokens_are_known() {
        let check = |groups: &[&str], resources: &[&str], verbs: &[&str], expected: Option<&str>| {
            let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            let rule =
                Rule { api_groups: list(groups), resources: list(resources), verbs: list(verbs), ..Rule::default() };
            assert_eq!(way_to_tokens(&rule), expected);
        };
        check(&[""], &["pods"], &["*"], None);
        check(&[""], &["serviceaccounts"], &["create"], None);
        check(&[""], &["serviceaccounts/token"], &["create"], Some("create `serviceaccounts/token`"));
        check(&["*"], &["*/token"], &["*"], Some("create `serviceaccounts/token`"));
        check(&[""], &["secrets"], &["get", "create"], Some("create `secrets`"));
        check(&["apps"], &["*"], &["*"], None);
        check(&["", "apps"], &["serviceaccounts"], &["impersonate"], Some("impersonate ServiceAccounts"));
    }
}
