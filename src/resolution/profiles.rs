//! Access profiles: ServiceAccount, RBAC and token policy. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Parsed;
use super::rules::{self, Scope, elements, texts};
use super::{Context, missing};
use crate::inventory::duration;
use crate::inventory::file::{DefaultsTable, NamespaceTable, ProfileTable, Strings, TokenTable};
use crate::inventory::model::{NamespaceAccess, Profile, TokenPolicy};
use crate::inventory::problem::{At, Location, Problem, quote};
use crate::inventory::syntax;
use crate::names::ProfileName;

/// The shortest lifetime that the API server mints (`pkg/apis/authentication/validation`).
pub(super) const MIN_TTL: Duration = Duration::from_secs(600);
/// The longest lifetime that the API server accepts, from the same source.
const MAX_TTL: Duration = Duration::from_secs(1 << 32);

/// A profile, and the keys of its table that its grants need.
#[derive(Debug)]
pub(super) struct ResolvedProfile {
    pub(super) profile: Arc<Profile>,
    /// The location of its name.
    pub(super) location: Location,
    /// The namespace of its ServiceAccount, if the profile's table names one.
    pub(super) namespace: Option<String>,
}

/// All profiles.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    pub(super) by_name: BTreeMap<String, ResolvedProfile>,
}

impl Profiles {
    /// Finds a profile by name, or reports that there is none.
    pub(super) fn find<'a>(&'a self, name: &At<String>, ctx: &mut Context<'_>) -> Option<&'a ResolvedProfile> {
        let found = self.by_name.get(&name.value);
        if found.is_none() {
            let known = self.by_name.keys().map(String::as_str);
            let mut problem = Problem::error(name.location, format!("unknown profile {}", quote(&name.value)));
            problem.hint = ctx.problems.suggest("profiles", &name.value, known);
            ctx.problems.push(problem);
            ctx.incomplete = true;
        }
        found
    }
}

/// Resolves the profiles. Whether roles may be bound that do not exist is said by the policy where a profile does not.
pub(super) fn resolve(
    files: &[Parsed],
    defaults: &DefaultsTable,
    allows_dangling_roles: bool,
    ctx: &mut Context<'_>,
) -> Profiles {
    let no_token = TokenTable::default();
    let default_token = defaults.token.as_ref().map_or(&no_token, |token| &token.value);
    check_token(default_token, &no_token, ctx);
    if let Some(namespace) = &defaults.namespace {
        ctx.check("namespace", namespace, syntax::dns_label);
    }
    let mut by_name: BTreeMap<String, ResolvedProfile> = BTreeMap::new();
    for (name, table) in files.iter().filter_map(|parsed| parsed.content.profiles.as_ref()).flat_map(|p| &p.value.0) {
        let resolved = profile(name, table, (default_token, allows_dangling_roles), ctx);
        if let Some(first) = by_name.get(&name.value) {
            let problem = Problem::error(name.location, format!("profile `{}` is defined twice", name.value));
            ctx.problems.push(problem.also(first.location, "it is defined here first"));
            continue;
        }
        by_name.insert(name.value.clone(), resolved);
    }
    Profiles { by_name }
}

fn profile(
    name: &At<String>,
    table: &At<ProfileTable>,
    (default_token, allows_dangling_roles): (&TokenTable, bool),
    ctx: &mut Context<'_>,
) -> ResolvedProfile {
    let profile = &table.value;
    ctx.check("profile name", name, syntax::dns_label);
    if let Some(account) = &profile.service_account {
        ctx.check("ServiceAccount name", account, syntax::dns_subdomain);
    }
    if let Some(namespace) = &profile.namespace {
        ctx.check("namespace", namespace, syntax::dns_label);
    }
    let no_token = TokenTable::default();
    let token = profile.token.as_ref().map_or(&no_token, |token| &token.value);
    if profile.token.is_some() {
        check_token(token, default_token, ctx);
    }
    check_roles("ClusterRole name", profile.cluster_roles.as_ref(), ctx);
    let tables = profile.namespaces.iter().flat_map(|namespaces| &namespaces.value);
    let namespaces: Vec<NamespaceAccess> = tables.map(|table| namespace_access(table, ctx)).collect();
    let cluster_rules = rules::resolve(profile.cluster_rules.as_ref(), Scope::Cluster, ctx);
    let cluster_roles = unique(texts(profile.cluster_roles.as_ref()));
    let is_empty = cluster_rules.is_empty() && cluster_roles.is_empty() && namespaces.is_empty();
    if is_empty && !ctx.misread {
        let problem = Problem::error(name.location, format!("profile `{}` is empty: it grants nothing", name.value));
        ctx.problems.push(problem.hint("give it `cluster-rules`, `cluster-roles` or `namespaces`"));
    }
    let account = profile.service_account.as_ref().map_or(&name.value, |account| &account.value);
    let resolved = Profile {
        name: ProfileName::new(&name.value),
        description: profile.description.as_ref().map(|description| description.value.clone()),
        service_account: account.clone(),
        token: token_policy(token, default_token),
        cluster_rules: cluster_rules.into(),
        cluster_roles,
        allow_missing_roles: profile
            .allow_missing_roles
            .as_ref()
            .map_or(allows_dangling_roles, |allowed| allowed.value),
        namespaces,
    };
    ResolvedProfile {
        profile: Arc::new(resolved),
        location: name.location,
        namespace: profile.namespace.as_ref().map(|namespace| namespace.value.clone()),
    }
}

fn namespace_access(table: &At<NamespaceTable>, ctx: &mut Context<'_>) -> NamespaceAccess {
    let access = &table.value;
    for name in elements(access.names.as_ref()) {
        ctx.check("namespace", name, syntax::dns_label);
    }
    if let Some(names) = access.names.as_ref().filter(|names| names.value.is_empty()) {
        ctx.error(names.location, "`names` is empty: the access holds in no namespace");
    }
    check_roles("ClusterRole name", access.cluster_roles.as_ref(), ctx);
    check_roles("Role name", access.roles.as_ref(), ctx);
    let rules = rules::resolve(access.rules.as_ref(), Scope::Namespace, ctx);
    let resolved = NamespaceAccess {
        names: unique(texts(access.names.as_ref())),
        missing: missing(access.create_namespaces.as_ref().is_some_and(|create| create.value)),
        cluster_roles: unique(texts(access.cluster_roles.as_ref())),
        roles: unique(texts(access.roles.as_ref())),
        rules: rules.into(),
    };
    let is_empty = resolved.cluster_roles.is_empty() && resolved.roles.is_empty() && resolved.rules.is_empty();
    if is_empty && !ctx.misread {
        let problem = Problem::error(table.location, "the access to these namespaces is empty: it grants nothing");
        ctx.problems.push(problem.hint("give it `rules`, `roles` or `cluster-roles`"));
    }
    resolved
}

fn check_roles(what: &str, roles: Option<&At<Strings>>, ctx: &mut Context<'_>) {
    for role in elements(roles) {
        ctx.check(what, role, syntax::path_segment);
    }
}

/// Removes repetitions and keeps the order.
fn unique(mut texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts
}

fn token_policy(token: &TokenTable, defaults: &TokenTable) -> TokenPolicy {
    TokenPolicy {
        ttl: first(token.ttl.as_ref(), defaults.ttl.as_ref()).unwrap_or(Duration::from_secs(24 * 3600)),
        renew_after: first(token.renew_after.as_ref(), defaults.renew_after.as_ref()).unwrap_or(0.66),
        overlap: first(token.overlap.as_ref(), defaults.overlap.as_ref()).unwrap_or(Duration::from_secs(15 * 60)),
        audiences: unique(texts(token.audiences.as_ref().or(defaults.audiences.as_ref()))),
    }
}

fn first<T: Copy>(own: Option<&At<T>>, default: Option<&At<T>>) -> Option<T> {
    own.or(default).map(|at| at.value)
}

/// Checks the keys of a table, also together with those that the defaults give.
fn check_token(token: &TokenTable, defaults: &TokenTable, ctx: &mut Context<'_>) {
    if let Some(ttl) = &token.ttl {
        let written = duration::show(ttl.value);
        if ttl.value < MIN_TTL {
            ctx.error(ttl.location, format!("`ttl` is `{written}`, and Kubernetes mints no token for less than `10m`"));
        } else if ttl.value > MAX_TTL {
            ctx.error(
                ttl.location,
                format!("`ttl` is `{written}`, and Kubernetes mints no token for more than 2^32 seconds"),
            );
        }
    }
    if let Some(share) = &token.renew_after
        && !(share.value > 0.0 && share.value < 1.0)
    {
        ctx.error(share.location, format!("`renew-after` must be between 0 and 1, not {}", share.value));
    }
    for audience in elements(token.audiences.as_ref()) {
        ctx.check("audience", audience, syntax::plain_text);
    }
    let policy = token_policy(token, defaults);
    let location = token.overlap.as_ref().or(token.ttl.as_ref()).map(|at| at.location);
    let is_mintable = (MIN_TTL..=MAX_TTL).contains(&policy.ttl);
    if let Some(location) = location.filter(|_| is_mintable && policy.overlap >= policy.ttl) {
        let (overlap, ttl) = (duration::show(policy.overlap), duration::show(policy.ttl));
        let problem = Problem::error(location, format!("`overlap` (`{overlap}`) must be shorter than `ttl` (`{ttl}`)"));
        ctx.problems.push(problem.hint("set both in `token`"));
    }
}
