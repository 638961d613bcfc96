//! Planning a revocation: what dies, whom it suspends, and which objects go with it.
//!
//! A plan like any other, with nothing desired: it is shown, confirmed and run as the same value. Pure:
//! no I/O, `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Blocker, BlockerKind, ClusterPlan, Note, NoteKind, OnFailure, Scope};
use crate::credential::{Generation, HolderIndex, Index, Suspended};
use crate::desired::{Content, DesiredObject, desired_objects, service_account};
use crate::diff::{Atom, covers};
use crate::inventory::{Grant, Inventory, Rule};
use crate::kubeconfig::Endpoint;
use crate::names::{ClusterName, Holder, INDEX_ANNOTATION};
use crate::object::{Kind, ObjectRef, RoleRef};
use crate::observed::{ObservedCluster, ObservedObject, Ownership};
use crate::secret::SecretToken;
use crate::step::{Delete, Recreate, Revoke, Step, Victims};

/// What the user wants revoked.
#[derive(Debug, Clone)]
pub struct RevokeOptions {
    /// Who keeps the chain of generations.
    pub holder: Holder,
    /// Which generations.
    pub target: RevokeTarget,
    /// What goes with them.
    pub depth: RevokeDepth,
    /// Whether the run waits until API servers refuse what was revoked.
    pub awaits: bool,
}

/// Which generations are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeTarget {
    /// Every living one of the holder.
    Holder,
    /// Every living one of every holder.
    Everybody,
    /// Those of the holder that a newer one supersedes.
    Superseded,
    /// One of the holder.
    Generation(u64),
}

/// What goes with the generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeDepth {
    /// Nothing.
    Tokens,
    /// The ServiceAccount, which is made anew: every token for it dies, whoever minted it.
    Account,
    /// The ServiceAccount and its RBAC.
    Access,
}

/// One grant whose credentials are revoked.
#[derive(Debug, Clone)]
pub struct RevokeGrant {
    /// Its index in the inventory.
    pub grant: usize,
    /// Its tokens in the outputs, by generation.
    pub tokens: Vec<(u64, SecretToken)>,
}

/// Everything that planning a revocation looks at.
#[derive(Debug)]
pub struct RevokeInput<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The selected grants on that cluster.
    pub grants: &'a [RevokeGrant],
    /// What was read from it.
    pub observed: &'a ObservedCluster,
    /// The rules of the existing roles that the profiles bind, where they could be read.
    pub roles: &'a BTreeMap<(Option<String>, RoleRef), Option<Vec<Rule>>>,
    /// How consumers reach it.
    pub endpoint: &'a Endpoint,
    /// What the user wants.
    pub options: &'a RevokeOptions,
    /// The current time, by the cluster's clock.
    pub now: Timestamp,
}

/// Plans the revocation of one cluster's grants.
pub fn plan_revocation(input: &RevokeInput<'_>) -> ClusterPlan {
    let mut plan = ClusterPlan {
        cluster: input.cluster.clone(),
        cluster_uid: input.observed.uid.clone(),
        endpoint: input.endpoint.clone(),
        steps: vec![],
        blockers: vec![],
        notes: vec![],
        kept: vec![],
        clock_ahead: input.observed.clock_ahead,
        // What cannot be revoked of one grant keeps no other from being revoked.
        scope: Scope::Credentials,
        on_failure: OnFailure::GoOn,
        drift: vec![],
        standings: vec![],
        legacy: vec![],
    };
    for grant in input.grants {
        plan_grant(input, grant, &mut plan);
    }
    plan.notes.extend(vanished(input));
    plan
}

/// Says which ServiceAccounts of this inventory no grant explains any more: nothing here reaches them.
fn vanished(input: &RevokeInput<'_>) -> Vec<Note> {
    let live: BTreeSet<ObjectRef> = input
        .inventory
        .grants
        .iter()
        .filter(|grant| grant.cluster.name == *input.cluster)
        .map(service_account)
        .collect();
    let is_vanished = |(object, observed): &(&ObjectRef, &ObservedObject)| {
        object.kind == Kind::ServiceAccount
            && observed.ownership(&input.inventory.name) == Ownership::Ours
            && !live.contains(*object)
    };
    let accounts = input.observed.objects.iter().filter(is_vanished);
    let note = |(object, _): (&ObjectRef, &ObservedObject)| {
        let (namespace, name) = (object.namespace.as_deref().unwrap_or_default(), &object.name);
        let message = format!(
            "{object} is of a grant that left the inventory, and is not revoked: \
             `kubectl delete serviceaccount -n {namespace} {name}` kills its tokens"
        );
        Note::new(NoteKind::VanishedGrants, message)
    };
    accounts.map(note).collect()
}

fn plan_grant(input: &RevokeInput<'_>, revoked: &RevokeGrant, plan: &mut ClusterPlan) {
    let grant = &input.inventory.grants[revoked.grant];
    let profile = &grant.profile.name;
    let account = service_account(grant);
    let block = |kind, message: String, hint: &str| Blocker {
        profile: Some(profile.clone()),
        kind,
        message,
        hint: Some(hint.to_owned()),
    };
    match input.observed.objects.get(&account) {
        None => {
            let message = format!("{account} does not exist: `{profile}` has no tokens");
            plan.notes.push(Note::new(NoteKind::NothingToRevoke, message));
            // An earlier run may have been killed before it made the account anew: the suspension would
            // be lost.
            if input.options.depth == RevokeDepth::Account {
                plan.steps.push(recreate(input, grant, &account, None));
            }
            if input.options.depth != RevokeDepth::Access {
                return;
            }
        }
        Some(observed) if observed.ownership(&input.inventory.name) != Ownership::Ours => {
            let message = format!("{account} is not this inventory's, so nothing of it is revoked");
            return plan.blockers.push(block(
                BlockerKind::ForeignObject,
                message,
                "revoke it where it is managed, or delete it with kubectl",
            ));
        }
        Some(observed) => match read_index(observed) {
            // Somebody removed the annotation: what was minted is not known any more.
            Ok(index) if index.incomplete && input.options.depth == RevokeDepth::Tokens => {
                revoke_tokens(input, revoked, &index, plan);
                let message = format!(
                    "{account} lost its annotation `{INDEX_ANNOTATION}` at some time: what the outputs hold is revoked, and \
                     whether more tokens live is not known"
                );
                let hint = "pass `--hard`: without its ServiceAccount no token lives";
                plan.blockers.push(block(BlockerKind::UnusableIndex, message, hint));
            }
            Ok(index) => revoke_tokens(input, revoked, &index, plan),
            // Without the account no token lives, whatever the index says.
            Err(_) if input.options.depth != RevokeDepth::Tokens => {}
            Err(error) => {
                let message = format!("the annotation `{INDEX_ANNOTATION}` of {account} is unusable: {error}");
                let hint = "pass `--hard`: without its ServiceAccount no token lives";
                return plan.blockers.push(block(BlockerKind::UnusableIndex, message, hint));
            }
        },
    }
    match input.options.depth {
        RevokeDepth::Tokens => plan.notes.extend(self_made(input, grant)),
        RevokeDepth::Account => {
            let uid = input.observed.objects.get(&account).map(|observed| observed.uid.clone());
            plan.steps.push(recreate(input, grant, &account, uid));
        }
        RevokeDepth::Access => delete_access(input, grant, plan),
    }
}

fn read_index(observed: &ObservedObject) -> Result<Index, crate::credential::IndexError> {
    observed.annotations.get(INDEX_ANNOTATION).map_or_else(|| Ok(Index::lost()), |text| Index::parse(text))
}

fn revoke_tokens(input: &RevokeInput<'_>, revoked: &RevokeGrant, index: &Index, plan: &mut ClusterPlan) {
    let grant = &input.inventory.grants[revoked.grant];
    let profile = &grant.profile.name;
    let holder = &input.options.holder;
    let chain = index.holder(holder);
    let (victims, suspends) = match victims(input.options, chain) {
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
    let held: Vec<u64> = revoked.tokens.iter().map(|(number, _)| *number).collect();
    let mut shown = shown(&victims, index);
    if !matches!(victims, Victims::Generations { .. }) {
        let is_lost = |number: &&u64| chain.and_then(|chain| chain.generation(**number)).is_none();
        let still = |number: &&u64| index.incomplete && is_lost(number);
        shown.extend(held.iter().filter(still).map(|number| {
            format!("generation {number} of holder `{holder}`, which an output holds and the index does not know")
        }));
    }
    let is_suspended_already = match &suspends {
        None => true,
        Some(Suspended::Everybody) => index.suspended,
        Some(Suspended::Holder(holder)) => index.is_suspended(holder),
    };
    if shown.is_empty() && is_suspended_already && index.incomplete {
        return;
    }
    if shown.is_empty() && is_suspended_already {
        let message = format!("no token of `{profile}` that this is about is alive");
        return plan.notes.push(Note::new(NoteKind::NothingToRevoke, message));
    }
    let is_victim = |number: &u64| match &victims {
        Victims::Generations { numbers, .. } => numbers.contains(number),
        Victims::Holder(_) | Victims::Everybody => true,
    };
    plan.steps.push(Step::Revoke(Box::new(Revoke {
        grant: revoked.grant,
        profile: profile.clone(),
        inventory: input.inventory.name.clone(),
        service_account: service_account(grant),
        awaits: input.options.awaits,
        awaited: if input.options.awaits {
            revoked.tokens.iter().filter(|(n, _)| is_victim(n)).map(|(_, token)| token.clone()).collect()
        } else {
            vec![]
        },
        holder: holder.clone(),
        held,
        victims,
        suspends,
        shown,
    })));
}

/// Chooses what dies and whom that suspends: whoever loses what is current.
fn victims(options: &RevokeOptions, chain: Option<&HolderIndex>) -> Result<(Victims, Option<Suspended>), String> {
    let holder = &options.holder;
    let target = if options.depth == RevokeDepth::Tokens { options.target } else { RevokeTarget::Everybody };
    let generations = chain.map_or(&[][..], |chain| &chain.generations);
    let current = generations.iter().filter(|generation| generation.is_recorded()).map(|generation| generation.n).max();
    let some = |numbers| Victims::Generations { holder: holder.clone(), numbers };
    Ok(match target {
        RevokeTarget::Holder => (Victims::Holder(holder.clone()), Some(Suspended::Holder(holder.clone()))),
        RevokeTarget::Everybody => (Victims::Everybody, Some(Suspended::Everybody)),
        RevokeTarget::Superseded => {
            let older = generations.iter().filter(|generation| Some(generation.n) < current);
            (some(older.map(|generation| generation.n).collect()), None)
        }
        RevokeTarget::Generation(number) => {
            if !generations.iter().any(|generation| generation.n == number) {
                let live: Vec<String> = generations.iter().map(|generation| generation.n.to_string()).collect();
                let live = if live.is_empty() { "none".to_owned() } else { live.join(", ") };
                return Err(format!("holder `{holder}` has no generation {number}; alive: {live}"));
            }
            let suspends = (Some(number) >= current).then(|| Suspended::Holder(holder.clone()));
            (some(vec![number]), suspends)
        }
    })
}

/// Says what dies, a line each.
fn shown(victims: &Victims, index: &Index) -> Vec<String> {
    let is_victim = |holder: &str, generation: &Generation| match victims {
        Victims::Generations { holder: one, numbers } => one.as_str() == holder && numbers.contains(&generation.n),
        Victims::Holder(one) => one.as_str() == holder,
        Victims::Everybody => true,
    };
    let mut lines = vec![];
    for (holder, chain) in &index.holders {
        for generation in chain.generations.iter().filter(|generation| is_victim(holder, generation)) {
            let state = match generation.expires {
                Some(expires) => format!("expires {expires}"),
                None => "claimed and not published".to_owned(),
            };
            lines.push(format!("generation {} of holder `{holder}`, {state}", generation.n));
        }
        let loses_plugins = match victims {
            Victims::Generations { .. } => false,
            Victims::Holder(one) => one.as_str() == holder,
            Victims::Everybody => true,
        };
        if chain.exec && loses_plugins {
            lines.push(format!("tokens of exec plugins of holder `{holder}`"));
        }
    }
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

/// Deletes what gives access, from the bindings to the ServiceAccount: no order in between allows more
/// than was allowed before.
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
    // Kinds sort as they refer to each other, so the reverse deletes what refers first.
    let objects = input.observed.objects.iter().rev().filter(|(object, observed)| is_ours(object, observed));
    plan.steps.extend(objects.map(|(object, observed)| {
        Step::Delete(Delete {
            object: object.clone(),
            uid: observed.uid.clone(),
            // The index, an annotation, has just been changed.
            resource_version: (object.kind != Kind::ServiceAccount).then(|| observed.resource_version.clone()),
            removed: super::objects::describe(observed),
        })
    }));
}

/// Says where the holder may have made tokens that no anchor of ours revokes.
fn self_made(input: &RevokeInput<'_>, grant: &Grant) -> Option<Note> {
    let profile = &grant.profile;
    let own = profile.cluster_rules.iter().chain(profile.namespaces.iter().flat_map(|access| access.rules.iter()));
    let mut ways: Vec<&str> = own.filter_map(way_to_tokens).collect();
    let mut unknown = vec![];
    for key in existing_roles(grant) {
        match input.roles.get(&key) {
            Some(Some(rules)) => ways.extend(rules.iter().filter_map(way_to_tokens)),
            Some(None) | None => unknown.push(key.1.to_string()),
        }
    }
    ways.sort_unstable();
    ways.dedup();
    unknown.sort();
    unknown.dedup();
    let name = &profile.name;
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

/// Returns the existing roles that a grant binds, with the namespace of a Role.
pub fn existing_roles(grant: &Grant) -> Vec<(Option<String>, RoleRef)> {
    let cluster_role = |name: &String| (None, RoleRef { kind: Kind::ClusterRole, name: name.clone() });
    let mut roles: Vec<_> = grant.profile.cluster_roles.iter().map(cluster_role).collect();
    for access in &grant.profile.namespaces {
        roles.extend(access.cluster_roles.iter().map(cluster_role));
        for namespace in &access.names {
            let role = |name: &String| (Some(namespace.clone()), RoleRef { kind: Kind::Role, name: name.clone() });
            roles.extend(access.roles.iter().map(role));
        }
    }
    roles.sort();
    roles.dedup();
    roles
}

/// Returns how a rule lets its holder come by further tokens.
fn way_to_tokens(rule: &Rule) -> Option<&'static str> {
    const WAYS: [(&str, &str, &str); 3] = [
        ("create", "serviceaccounts/token", "create `serviceaccounts/token`"),
        ("create", "secrets", "create `secrets`"),
        ("impersonate", "serviceaccounts", "impersonate ServiceAccounts"),
    ];
    let allows = |verb: &str, resource: &str| {
        // With names, it may still be the one that counts.
        let rule = Rule { resource_names: vec![], ..rule.clone() };
        covers(&rule, &Atom::Resource { group: "", resource, name: None, verb })
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
