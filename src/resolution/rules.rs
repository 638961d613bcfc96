//! RBAC rules: checks for what Kubernetes would refuse, and for what would never match. Pure.

use super::Context;
use crate::inventory::file::{RuleTable, Strings};
use crate::inventory::problem::{At, Problem};
use crate::rbac::Rule;

/// Where a rule holds: in a namespace or in the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Cluster,
    Namespace,
}

/// Resolves rules, and checks them as `pkg/apis/rbac/validation` of Kubernetes does.
pub(super) fn resolve(rules: Option<&At<Vec<At<RuleTable>>>>, scope: Scope, ctx: &mut Context<'_>) -> Vec<Rule> {
    let rules = rules.into_iter().flat_map(|rules| &rules.value);
    rules
        .map(|table| {
            check(table, scope, ctx);
            rule(&table.value)
        })
        .collect()
}

/// Returns the rule that a table means.
pub(super) fn rule(table: &RuleTable) -> Rule {
    Rule {
        api_groups: texts(table.api_groups.as_ref()),
        resources: texts(table.resources.as_ref()),
        verbs: texts(table.verbs.as_ref()),
        resource_names: texts(table.resource_names.as_ref()),
        non_resource_urls: texts(table.non_resource_urls.as_ref()),
    }
}

/// Returns the values of a list.
pub(super) fn texts(list: Option<&At<Strings>>) -> Vec<String> {
    elements(list).map(|at| at.value.clone()).collect()
}

/// Returns the elements of a list that may be absent.
pub(super) fn elements(list: Option<&At<Strings>>) -> impl Iterator<Item = &At<String>> {
    list.into_iter().flat_map(|list| &list.value)
}

fn check(table: &At<RuleTable>, scope: Scope, ctx: &mut Context<'_>) {
    let RuleTable { api_groups, resources, verbs, resource_names, non_resource_urls } = &table.value;
    let is_given = |list: &Option<At<Strings>>| elements(list.as_ref()).next().is_some();
    if let Some(verbs) = verbs.as_ref().filter(|verbs| verbs.value.is_empty()) {
        ctx.error(verbs.location, "the rule has no verbs");
    }
    match (is_given(resources), is_given(non_resource_urls)) {
        _ if ctx.misread => {}
        (false, false) => {
            ctx.error(table.location, "the rule has neither `resources` nor `non-resource-urls`");
        }
        (true, true) => {
            let message = "the rule has both `resources` and `non-resource-urls`";
            ctx.problems.push(Problem::error(table.location, message).hint("make two rules of it"));
        }
        (true, false) if !is_given(api_groups) => {
            let hint = "the core group, of pods and the like, is `api-groups = [\"\"]`";
            ctx.problems.push(Problem::error(table.location, "the rule has no `api-groups`").hint(hint));
        }
        (true, false) => {}
        (false, true) => check_urls(table, scope, ctx),
    }
    for (key, list) in [("verbs", verbs), ("resources", resources), ("resource-names", resource_names)] {
        for empty in elements(list.as_ref()).filter(|text| text.value.is_empty()) {
            ctx.error(empty.location, format!("`{key}` must not hold an empty string"));
        }
    }
    // The API server accepts these, but they match nothing, which is never intended.
    for (key, list) in [("verb", verbs), ("resource", resources)] {
        for text in elements(list.as_ref()).filter(|text| text.value.contains(char::is_uppercase)) {
            let message = format!("{key} `{}` matches nothing: {key}s are lowercase", text.value);
            let hint = format!("write `{}`", text.value.to_lowercase());
            ctx.problems.push(Problem::warning(text.location, message).hint(hint));
        }
    }
    for group in elements(api_groups.as_ref()) {
        let hint = match group.value.split_once('/') {
            Some((group, _)) => format!("write `\"{group}\"`, without the version"),
            None if matches!(group.value.as_str(), "core" | "v1") => "the core group is `\"\"`".to_owned(),
            None => continue,
        };
        let message = format!("API group `{}` matches nothing", group.value);
        ctx.problems.push(Problem::warning(group.location, message).hint(hint));
    }
}

fn check_urls(table: &At<RuleTable>, scope: Scope, ctx: &mut Context<'_>) {
    let RuleTable { api_groups, resource_names, non_resource_urls, .. } = &table.value;
    for (key, list) in [("api-groups", api_groups), ("resource-names", resource_names)] {
        if let Some(list) = list.as_ref().filter(|list| !list.value.is_empty()) {
            ctx.error(list.location, format!("a rule with `non-resource-urls` must not have `{key}`"));
        }
    }
    if let Some(urls) = non_resource_urls.as_ref().filter(|_| scope == Scope::Namespace) {
        let problem = Problem::error(urls.location, "`non-resource-urls` cannot be granted in a namespace");
        ctx.problems.push(problem.hint("put the rule into `cluster-rules`"));
    }
    for url in elements(non_resource_urls.as_ref()) {
        // `*` means everything; at the end of a path, it means everything below the path.
        let path = url.value.strip_suffix('*').unwrap_or(&url.value);
        if url.value != "*" && (!path.starts_with('/') || path.contains('*')) {
            let message = format!("`{}` is no URL path: it must begin with `/`, and only end with `*`", url.value);
            ctx.error(url.location, message);
        }
    }
}
