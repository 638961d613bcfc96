//! Grants: pairs of a profile and a cluster, ordered, each once. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Parsed;
use super::clusters::Clusters;
use super::profiles::Profiles;
use super::rules::elements;
use super::selection::select;
use super::{Context, missing};
use crate::inventory::file::{DefaultsTable, GrantTable};
use crate::inventory::model::Grant;
use crate::inventory::problem::{At, Location, Problem};
use crate::inventory::render::count;

/// The namespace of ServiceAccounts if no table names one.
const DEFAULT_NAMESPACE: &str = "kubemint";

/// A grant, and the table it comes from.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) grant: Arc<Grant>,
    /// The index of its cluster.
    pub(super) cluster: usize,
    /// The index of its profile.
    pub(super) profile: usize,
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
    let mut used: BTreeSet<usize> = BTreeSet::new();
    let mut pairs: BTreeMap<(usize, usize), Location> = BTreeMap::new();
    for table in files.iter().filter_map(|parsed| parsed.content.grants.as_ref()).flat_map(|list| &list.value) {
        let granted = granted_profiles(table, profiles, ctx);
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
        for profile in granted {
            used.insert(profile);
            let selected = selected.iter().enumerate().filter(|(_, selected)| **selected);
            for (cluster, _) in selected {
                pairs.entry((cluster, profile)).or_insert(table.location);
            }
        }
    }
    if !ctx.incomplete {
        for (_, resolved) in profiles.list.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
            let message = format!("no grant uses profile `{}`", resolved.profile.name);
            ctx.problems.push(Problem::warning(resolved.location, message));
        }
    }
    let default_namespace = defaults.namespace.as_ref().map_or(DEFAULT_NAMESPACE, |at| &at.value);
    let default_create = defaults.create_namespaces.as_ref().is_some_and(|at| at.value);
    let expand = |((cluster, profile), location): ((usize, usize), Location)| {
        let (from_cluster, from_profile) = (&clusters.list[cluster], &profiles.list[profile]);
        let namespace = from_cluster.namespace.as_deref().or(from_profile.namespace.as_deref());
        let grant = Arc::new(Grant {
            cluster: from_cluster.cluster.clone(),
            profile: from_profile.profile.clone(),
            namespace: namespace.unwrap_or(default_namespace).to_owned(),
            missing_namespace: missing(from_cluster.create_namespaces.unwrap_or(default_create)),
        });
        Granted { grant, cluster, profile, location }
    };
    let grants = Grants { list: pairs.into_iter().map(expand).collect() };
    refuse_shared_accounts(&grants, profiles, ctx);
    grants
}

/// Returns the indices of the profiles that a grant names.
fn granted_profiles(table: &At<GrantTable>, profiles: &Profiles, ctx: &mut Context<'_>) -> Vec<usize> {
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
    let mut shared: BTreeMap<(usize, usize), Vec<&Granted>> = BTreeMap::new();
    for of_cluster in grants.list.chunk_by(|a, b| a.cluster == b.cluster) {
        let mut owners: HashMap<(&str, &str), usize> = HashMap::new();
        for granted in of_cluster {
            let account = (granted.grant.namespace.as_str(), granted.grant.profile.service_account.as_str());
            let owner = *owners.entry(account).or_insert(granted.profile);
            if owner != granted.profile {
                shared.entry((owner, granted.profile)).or_default().push(granted);
            }
        }
    }
    for ((first, second), granted) in shared {
        let example = &granted[0].grant;
        let on = match granted.len() {
            1 => format!("on cluster `{}`", example.cluster.name),
            number => format!("on cluster `{}` and {}", example.cluster.name, count(number - 1, "more cluster")),
        };
        let message = format!(
            "profiles `{}` and `{}` share ServiceAccount `{}/{}` {on}",
            profiles.list[first].profile.name,
            profiles.list[second].profile.name,
            example.namespace,
            example.profile.service_account
        );
        let problem = Problem::error(profiles.list[second].location, message);
        let problem = problem.also(profiles.list[first].location, "the other profile");
        ctx.problems.push(problem.hint("give each its own `service-account`, or make one profile of both"));
    }
}
