//! Which clusters a grant or an output selects: by a selector, by names, or both. Pure.

use std::collections::{BTreeSet, HashSet};

use super::Context;
use super::clusters::Clusters;
use crate::inventory::file::Strings;
use crate::inventory::problem::{At, Problem, quote};
use crate::names::ClusterName;
use crate::selector::Selector;

/// Returns the clusters that are selected, by the selector or by name.
///
/// Returns `None` if neither key is there; the meaning of that depends on the table.
pub(super) fn select<'a>(
    selector: Option<&At<String>>,
    names: Option<&At<Strings>>,
    clusters: &'a Clusters,
    ctx: &mut Context<'_>,
) -> Option<HashSet<&'a ClusterName>> {
    if selector.is_none() && names.is_none() {
        return None;
    }
    let mut selected = HashSet::new();
    if let Some(text) = selector {
        match Selector::parse(&text.value) {
            Ok(parsed) => {
                let all = clusters.list.iter().map(|resolved| &resolved.cluster);
                selected.extend(all.filter(|cluster| parsed.matches(&cluster.labels)).map(|cluster| &cluster.name));
                if selected.is_empty() && !ctx.incomplete && !ctx.is_undiscovered {
                    warn_unmatched(text, &parsed, clusters, ctx);
                }
            }
            Err(error) => {
                let location = ctx.inside(text, error.offset, error.length);
                ctx.error(location, format!("invalid selector: {}", error.message));
                ctx.incomplete = true;
            }
        }
    }
    for name in names.into_iter().flat_map(|names| &names.value) {
        match clusters.find(&name.value) {
            Some(resolved) => {
                selected.insert(&resolved.cluster.name);
            }
            // A source that did not answer may know it.
            None if ctx.is_undiscovered => {}
            // It may be gone from its hub, which changes nothing for the other clusters.
            None if ctx.discoveries.iter().any(|source| !source.is_frozen) => {
                let message =
                    format!("{} is in no table, and no discovery finds it: it is left out", quote(&name.value));
                let known = clusters.list.iter().map(|resolved| resolved.cluster.name.as_str());
                let mut problem = Problem::warning(name.location, message);
                problem.hint = ctx.problems.suggest("clusters", &name.value, known);
                ctx.problems.push(problem);
            }
            None => {
                let known = clusters.list.iter().map(|resolved| resolved.cluster.name.as_str());
                let mut problem = Problem::error(name.location, format!("unknown cluster {}", quote(&name.value)));
                problem.hint = ctx.problems.suggest("clusters", &name.value, known);
                ctx.problems.push(problem);
                ctx.incomplete = true;
            }
        }
    }
    if let Some(names) = names.filter(|names| names.value.is_empty() && selector.is_none() && !ctx.incomplete) {
        ctx.problems.push(Problem::warning(names.location, "`clusters` names no cluster"));
    }
    Some(selected)
}

fn warn_unmatched(text: &At<String>, selector: &Selector, clusters: &Clusters, ctx: &mut Context<'_>) {
    let mut problem = Problem::warning(text.location, format!("selector {} matches no cluster", quote(&text.value)));
    let known: BTreeSet<&str> =
        clusters.list.iter().flat_map(|resolved| resolved.cluster.labels.keys().map(String::as_str)).collect();
    if let Some(key) = selector.keys().find(|key| !known.contains(key)) {
        problem.label = format!("no cluster has the label `{key}`");
        problem.hint = ctx.problems.suggest("labels", key, known.iter().copied());
    }
    ctx.problems.push(problem);
}
