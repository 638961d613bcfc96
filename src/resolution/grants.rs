//! Grants: pairs of a profile and a cluster, ordered, each once. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Parsed;
use super::clusters::Clusters;
use super::profiles::{Profiles, ResolvedProfile};
use super::rules::elements;
use super::selection::select;
use super::{Context, missing};
use crate::inventory::Period;
use crate::inventory::file::{DefaultsTable, GrantTable};
use crate::inventory::model::Grant;
use crate::inventory::problem::{At, Location, Problem};
use crate::inventory::render::count;
use crate::names::{ClusterName, ProfileName};

/// The namespace of ServiceAccounts if no table names one.
const DEFAULT_NAMESPACE: &str = "kubemint";

/// A grant, and the table it comes from.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) grant: Arc<Grant>,
    /// The first table that grants it.
    pub(super) location: Location,
}

/// All grants, ordered by cluster, then by profile name.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) list: Vec<Granted>,
}

pub(super) fn resolve(
    files: &[Parsed],
    clusters: &Clusters,
    profiles: &Profiles,
    defaults: &DefaultsTable,
    ctx: &mut Context<'_>,
) -> Grants {
    let mut used: BTreeSet<&ProfileName> = BTreeSet::new();
    // The first table that grants a profile on a cluster.
    let mut granting: HashMap<&ClusterName, BTreeMap<&ProfileName, Granting<'_>>> = HashMap::new();
    for table in files.iter().filter_map(|parsed| parsed.content.grants.as_ref()).flat_map(|list| &list.value) {
        let granted = granted_profiles(table, profiles, ctx);
        let period = period(table, ctx);
        let grant = &table.value;
        let selected = select(grant.selector.as_ref(), grant.clusters.as_ref(), clusters, ctx);
        let Some(selected) = selected else {
            if !ctx.misread {
                let problem = Problem::error(table.location, "the grant names no clusters");
                let hint = "give it `clusters` or `selector`; `selector = \"\"` means every cluster";
                ctx.problems.push(problem.hint(hint));
            }
            ctx.incomplete = true;
            continue;
        };
        for cluster in selected {
            let of_cluster = granting.entry(cluster).or_default();
            for &profile in &granted {
                let granting = Granting { profile, location: table.location, period };
                let first = of_cluster.entry(&profile.profile.name).or_insert(granting);
                if first.period != period {
                    let name = &profile.profile.name;
                    let message = format!("profile `{name}` is granted on cluster `{cluster}` for two different times");
                    let problem = Problem::error(table.location, message)
                        .also(first.location, "the other grant")
                        .about([cluster]);
                    ctx.problems.push(problem.hint("give both the same `starts` and `expires`, or keep one of them"));
                }
            }
        }
        used.extend(granted.iter().map(|profile| &profile.profile.name));
    }
    if !ctx.incomplete {
        for resolved in profiles.by_name.values().filter(|resolved| !used.contains(&resolved.profile.name)) {
            let message = format!("no grant uses profile `{}`", resolved.profile.name);
            ctx.problems.push(Problem::warning(resolved.location, message));
        }
    }
    let default_namespace = defaults.namespace.as_ref().map_or(DEFAULT_NAMESPACE, |at| &at.value);
    let default_create = defaults.create_namespaces.as_ref().is_some_and(|at| at.value);
    let mut list = vec![];
    for of_cluster in &clusters.list {
        for granting in granting.remove(&of_cluster.cluster.name).unwrap_or_default().into_values() {
            let Granting { profile: of_profile, location, period } = granting;
            let namespace = of_cluster.namespace.as_deref().or(of_profile.namespace.as_deref());
            let grant = Arc::new(Grant {
                cluster: of_cluster.cluster.clone(),
                profile: of_profile.profile.clone(),
                namespace: namespace.unwrap_or(default_namespace).to_owned(),
                missing_namespace: missing(of_cluster.create_namespaces.unwrap_or(default_create)),
                period,
            });
            list.push(Granted { grant, location });
        }
    }
    let grants = Grants { list };
    refuse_shared_accounts(&grants, profiles, ctx);
    grants
}

/// What grants a profile on a cluster.
#[derive(Debug, Clone, Copy)]
struct Granting<'a> {
    profile: &'a ResolvedProfile,
    location: Location,
    period: Period,
}

/// Returns the time for which a grant holds.
fn period(table: &At<GrantTable>, ctx: &mut Context<'_>) -> Period {
    let GrantTable { starts, expires, .. } = &table.value;
    if let (Some(starts), Some(expires)) = (starts, expires)
        && expires.value <= starts.value
    {
        ctx.error(expires.location, "the grant ends before it begins");
    }
    Period { starts: starts.as_ref().map(|at| at.value), expires: expires.as_ref().map(|at| at.value) }
}

/// Returns the profiles that a grant names.
fn granted_profiles<'a>(
    table: &At<GrantTable>,
    profiles: &'a Profiles,
    ctx: &mut Context<'_>,
) -> Vec<&'a ResolvedProfile> {
    let GrantTable { profile, profiles: several, .. } = &table.value;
    match (profile, several) {
        (Some(_), Some(several)) => {
            let problem = Problem::error(several.location, "the grant has both `profile` and `profiles`");
            ctx.problems.push(problem.hint("name all of them in `profiles`"));
        }
        (None, None) if ctx.misread => {}
        (None, None) => {
            ctx.error(table.location, "the grant names no profile");
            ctx.incomplete = true;
        }
        (None, Some(several)) if several.value.is_empty() => {
            ctx.error(several.location, "the grant names no profile");
            ctx.incomplete = true;
        }
        _ => {}
    }
    profile.iter().chain(elements(several.as_ref())).filter_map(|name| profiles.find(name, ctx)).collect()
}

/// Refuses two profiles whose ServiceAccounts would be the same object in some cluster: each would have the rights of
/// both.
fn refuse_shared_accounts(grants: &Grants, profiles: &Profiles, ctx: &mut Context<'_>) {
    let mut shared: BTreeMap<(&ProfileName, &ProfileName), Vec<&Grant>> = BTreeMap::new();
    for of_cluster in grants.list.chunk_by(|a, b| a.grant.cluster.name == b.grant.cluster.name) {
        let mut owners: HashMap<(&str, &str), &ProfileName> = HashMap::new();
        for Granted { grant, .. } in of_cluster {
            let account = (grant.namespace.as_str(), grant.profile.service_account.as_str());
            let owner = *owners.entry(account).or_insert(&grant.profile.name);
            if *owner != grant.profile.name {
                shared.entry((owner, &grant.profile.name)).or_default().push(grant);
            }
        }
    }
    for ((first, second), granted) in shared {
        let example = granted[0];
        let on = match granted.len() {
            1 => format!("on cluster `{}`", example.cluster.name),
            number => format!("on cluster `{}` and {}", example.cluster.name, count(number - 1, "more cluster")),
        };
        let message = format!(
            "profiles `{first}` and `{second}` share ServiceAccount `{}/{}` {on}",
            example.namespace, example.profile.service_account
        );
        let location = |profile: &ProfileName| profiles.by_name[profile.as_str()].location;
        let problem = Problem::error(location(second), message).also(location(first), "the other profile");
        ctx.problems.push(problem.hint("give each its own `service-account`, or make one profile of both"));
    }
}
