//! The policy: its table, and which profiles it refuses. Whether an exception has ended is not judged here, because that
//! needs a clock. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clusters::Clusters;
use super::grants::Grants;
use super::profiles::{MIN_TTL, Profiles, ResolvedProfile};
use super::rules::{self, elements};
use super::selection::select;
use super::{Context, Parsed};
use crate::inventory::duration;
use crate::inventory::file::{
    DefaultsTable, ExceptionTable, InventoryFile, PolicyTable, ProfileTable, RuleTable, Strings,
};
use crate::inventory::policy::{DanglingRoles, Exception, Policy, PolicyRule, Waived};
use crate::inventory::problem::{At, Location, Problem};
use crate::inventory::syntax;
use crate::names::{ClusterName, ProfileName};
use crate::object::{Kind, RoleRef};
use crate::rbac::{Escalating, Rule};
use crate::wording::list;

/// Clusters that a message names.
const NAMED: usize = 5;

/// Returns whether bindings of roles that do not exist are allowed where a profile says nothing else.
pub(super) fn allows_dangling_roles(root: &InventoryFile) -> bool {
    let policy = root.policy.as_ref().and_then(|policy| policy.value.dangling_roles.as_ref());
    policy.is_some_and(|dangling| dangling.value == DanglingRoles::Allow)
}

/// The rules of the policy, with their places.
type Rules = BTreeMap<PolicyRule, Location>;

/// Resolves the policy and reports what it refuses.
pub(super) fn resolve(
    files: &[Parsed],
    root: &InventoryFile,
    defaults: &DefaultsTable,
    (clusters, profiles, grants): (&Clusters, &Profiles, &Grants),
    ctx: &mut Context<'_>,
) -> Policy {
    let Some(table) = &root.policy else { return Policy::default() };
    let rules = policy_rules(&table.value, ctx);
    let max_ttl = table.value.max_ttl.as_ref().map(|at| at.value);
    let denied = rules.keys().filter_map(|rule| if let PolicyRule::Deny(class) = rule { Some(*class) } else { None });
    let mut policy = Policy {
        denied: denied.collect(),
        max_ttl,
        require_namespace: rules.contains_key(&PolicyRule::RequireNamespace),
        ..Policy::default()
    };
    for table in table.value.exceptions.iter().flat_map(|list| &list.value) {
        policy.exceptions.extend(exception(table, &rules, (clusters, profiles), ctx));
    }
    let mut on: BTreeMap<&ProfileName, BTreeSet<&ClusterName>> = BTreeMap::new();
    for granted in &grants.list {
        on.entry(&granted.grant.profile.name).or_default().insert(&granted.grant.cluster.name);
    }
    for (name, table) in files.iter().filter_map(|parsed| parsed.content.profiles.as_ref()).flat_map(|p| &p.value.0) {
        // Of a profile that is defined twice, only the first counts.
        let Some(resolved) = profiles.by_name.get(&name.value).filter(|known| known.location == name.location) else {
            continue;
        };
        let profile = &resolved.profile.name;
        for (role, location) in bound(&table.value) {
            policy
                .bound_at
                .entry((profile.clone(), role))
                .or_insert_with(|| ctx.sources.position(location).to_string());
        }
        let clusters = on.get(profile).cloned().unwrap_or_default();
        for refused in refused(resolved, &table.value, defaults, &rules, max_ttl) {
            judge(refused, profile, &clusters, &rules, &mut policy, ctx);
        }
    }
    policy
}

fn policy_rules(table: &PolicyTable, ctx: &mut Context<'_>) -> Rules {
    let mut rules = Rules::new();
    for class in table.deny.iter().flat_map(|deny| &deny.value) {
        rules.entry(PolicyRule::Deny(class.value)).or_insert(class.location);
    }
    let said = |flag: &Option<At<bool>>| flag.as_ref().filter(|flag| flag.value).map(|flag| flag.location);
    if let Some(location) = said(&table.deny_wildcards) {
        rules.entry(PolicyRule::Deny(Escalating::Wildcard)).or_insert(location);
    }
    if let Some(location) = said(&table.require_namespace) {
        rules.insert(PolicyRule::RequireNamespace, location);
    }
    if let Some(ttl) = &table.max_ttl {
        if ttl.value < MIN_TTL {
            let written = duration::show(ttl.value);
            let message = format!("`max-ttl` is `{written}`, and Kubernetes mints no token for less than `10m`");
            ctx.error(ttl.location, message);
        }
        rules.insert(PolicyRule::MaxTtl, ttl.location);
    }
    rules
}

fn exception(
    table: &At<ExceptionTable>,
    rules: &Rules,
    (clusters, profiles): (&Clusters, &Profiles),
    ctx: &mut Context<'_>,
) -> Option<Exception> {
    let ExceptionTable { profile, rules: lifted, selector, clusters: names, reason, until } = &table.value;
    let selected = select(selector.as_ref(), names.as_ref(), clusters, ctx);
    if selected.is_none() && !ctx.misread {
        let problem = Problem::error(table.location, "the exception names no clusters");
        ctx.problems.push(problem.hint("give it `clusters` or `selector`; `selector = \"\"` means every cluster"));
    }
    if let Some(reason) = reason {
        if reason.value.trim().is_empty() {
            ctx.error(reason.location, "`reason` must say why");
        } else {
            ctx.check("reason", reason, syntax::plain_text);
        }
    }
    for rule in lifted.iter().flat_map(|lifted| &lifted.value) {
        if rule.value != PolicyRule::DanglingRoles && !rules.contains_key(&rule.value) {
            let message = format!("the policy has no rule `{}`, so there is no exception from it", rule.value);
            ctx.problems.push(Problem::warning(rule.location, message));
        }
    }
    if let Some(lifted) = lifted.as_ref().filter(|lifted| lifted.value.is_empty() && !ctx.misread) {
        ctx.error(lifted.location, "`rules` is empty: the exception is from nothing");
    }
    let profile = profiles.find(profile.as_ref()?, ctx)?;
    Some(Exception {
        profile: profile.profile.name.clone(),
        rules: lifted.as_ref()?.value.iter().map(|rule| rule.value).collect(),
        clusters: selected?.into_iter().cloned().collect(),
        reason: reason.as_ref()?.value.clone(),
        until: until.as_ref()?.value.0,
    })
}

/// Returns the existing roles that a profile binds, with their places.
fn bound(profile: &ProfileTable) -> Vec<(RoleRef, Location)> {
    let mut bound = vec![];
    let mut add = |kind, roles: &Option<At<Strings>>| {
        let roles = elements(roles.as_ref()).map(|at| (RoleRef { kind, name: at.value.clone() }, at.location));
        bound.extend(roles);
    };
    add(Kind::ClusterRole, &profile.cluster_roles);
    for access in profile.namespaces.iter().flat_map(|namespaces| &namespaces.value) {
        add(Kind::ClusterRole, &access.value.cluster_roles);
        add(Kind::Role, &access.value.roles);
    }
    bound
}

/// Something that a rule of the policy refuses.
struct Refused {
    rule: PolicyRule,
    location: Location,
    /// What it is, as the end of a sentence.
    what: String,
}

fn refused(
    resolved: &ResolvedProfile,
    table: &ProfileTable,
    defaults: &DefaultsTable,
    rules: &Rules,
    max_ttl: Option<Duration>,
) -> Vec<Refused> {
    let mut found = vec![];
    if let Some(max) = max_ttl.filter(|max| resolved.profile.token.ttl > *max) {
        let own = table.token.as_ref().and_then(|token| token.value.ttl.as_ref());
        let default = defaults.token.as_ref().and_then(|token| token.value.ttl.as_ref());
        let (ttl, max) = (duration::show(resolved.profile.token.ttl), duration::show(max));
        let what =
            format!("the `ttl` of profile `{}`: it is `{ttl}`, and at most `{max}` is allowed", resolved.profile.name);
        let location = own.or(default).map_or(resolved.location, |ttl| ttl.location);
        found.push(Refused { rule: PolicyRule::MaxTtl, location, what });
    }
    let name = &resolved.profile.name;
    let cluster_rules = || table.cluster_rules.iter().flat_map(|rules| &rules.value);
    let in_namespaces = || table.namespaces.iter().flat_map(|namespaces| &namespaces.value);
    if rules.contains_key(&PolicyRule::RequireNamespace) {
        let refused = |location| {
            let what = format!("rights of profile `{name}` in the whole cluster");
            Refused { rule: PolicyRule::RequireNamespace, location, what }
        };
        found.extend(cluster_rules().map(|rule| refused(rule.location)));
        found.extend(elements(table.cluster_roles.as_ref()).map(|role| refused(role.location)));
    }
    let own = cluster_rules()
        .chain(in_namespaces().flat_map(|access| access.value.rules.iter().flat_map(|rules| &rules.value)));
    let own: Vec<&At<RuleTable>> = own.collect();
    for rule in rules.keys() {
        let PolicyRule::Deny(class) = *rule else { continue };
        for table in &own {
            if let Some(rights) = denied(class, &rules::rule(&table.value)) {
                let what = format!("what profile `{name}` allows: {rights}");
                found.push(Refused { rule: *rule, location: table.location, what });
            }
        }
        for (role, location) in bound(table).into_iter().filter(|(role, _)| role.is_everything()) {
            let what = format!("{role}, which profile `{name}` binds: it allows everything");
            found.push(Refused { rule: *rule, location, what });
        }
    }
    found
}

/// Returns what a rule allows of a class, in words.
fn denied(class: Escalating, rule: &Rule) -> Option<String> {
    if class == Escalating::Wildcard {
        return rule.wildcard();
    }
    let groups: Vec<String> = class.among(rule).iter().map(ToString::to_string).collect();
    (!groups.is_empty()).then(|| groups.join("; "))
}

/// Reports what is refused where no exception covers it, and remembers the rest.
fn judge(
    Refused { rule, location, what }: Refused,
    profile: &ProfileName,
    clusters: &BTreeSet<&ClusterName>,
    rules: &Rules,
    policy: &mut Policy,
    ctx: &mut Context<'_>,
) {
    let mut exceptions = policy.exceptions(rule, profile).peekable();
    let is_excepted = exceptions.peek().is_some();
    let covered: BTreeSet<&ClusterName> = exceptions.flat_map(|exception| &exception.clusters).collect();
    let uncovered: Vec<&str> =
        clusters.iter().filter(|cluster| !covered.contains(*cluster)).map(|cluster| cluster.as_str()).collect();
    if is_excepted && uncovered.is_empty() {
        let place = ctx.sources.position(location);
        let message = format!("the policy's `{rule}` refuses {what} ({place})");
        policy.waived.push(Waived { rule, profile: profile.clone(), message });
        return;
    }
    // With something broken elsewhere, an exception may only seem to be missing.
    if ctx.misread {
        return;
    }
    let on = if is_excepted { format!(", on {}", list(uncovered, NAMED)) } else { String::new() };
    let mut problem = Problem::error(location, format!("the policy's `{rule}` refuses {what}{on}"));
    // Without an exception the profile is refused, wherever it is granted.
    if is_excepted {
        problem = problem.about(clusters.iter().copied().filter(|cluster| !covered.contains(cluster)));
    }
    if let Some(said) = rules.get(&rule) {
        problem = problem.also(*said, "the policy says so here");
    }
    let hint = format!("leave it out, or name `{rule}` in `[[policy.exceptions]]` of profile `{profile}`");
    ctx.problems.push(problem.hint(hint));
}
