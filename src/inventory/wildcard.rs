//! Which of a profile's rules allow more than they name.
//!
//! Wildcards are no problem of the inventory; the plan shows them. Pure: no I/O, no clock.

use super::model::{Profile, Rule};
use super::problem::list;

/// Returns what a profile allows by wildcard, each to be put after `profile … allows `.
///
/// ClusterRole `cluster-admin`, bound in the whole cluster, counts as one.
pub fn wildcards(profile: &Profile) -> Vec<String> {
    let mut found: Vec<String> = profile.cluster_rules.iter().filter_map(|rule| describe(rule, "")).collect();
    if profile.cluster_roles.iter().any(|role| role == "cluster-admin") {
        found.push("everything, through ClusterRole `cluster-admin`".to_owned());
    }
    for access in &profile.namespaces {
        let place = format!(" in {}", list(access.names.iter().map(String::as_str), 5));
        found.extend(access.rules.iter().filter_map(|rule| describe(rule, &place)));
    }
    found
}

fn describe(rule: &Rule, place: &str) -> Option<String> {
    let is_wild = |values: &[String]| values.iter().any(|value| value == "*");
    let partly_wild = |value: &String| value.contains('*');
    let shown = |values: &[String]| list(values.iter().map(String::as_str), 5);
    let verbs = if is_wild(&rule.verbs) { "every verb".to_owned() } else { shown(&rule.verbs) };
    if !rule.non_resource_urls.is_empty() {
        let wild = is_wild(&rule.verbs) || rule.non_resource_urls.iter().any(partly_wild);
        return wild.then(|| format!("{verbs} on the URLs {}", shown(&rule.non_resource_urls)));
    }
    if !is_wild(&rule.verbs) && !is_wild(&rule.api_groups) && !rule.resources.iter().any(partly_wild) {
        return None;
    }
    let resources = if is_wild(&rule.resources) { "every resource".to_owned() } else { shown(&rule.resources) };
    let groups = match is_wild(&rule.api_groups) {
        true => "every API group".to_owned(),
        false if rule.api_groups.iter().all(String::is_empty) => "the core group".to_owned(),
        false => {
            let named = rule.api_groups.iter().filter(|group| !group.is_empty()).map(String::as_str);
            let core = if rule.api_groups.iter().any(String::is_empty) { "the core group and " } else { "" };
            format!("{core}{}", list(named, 5))
        }
    };
    Some(format!("{verbs} on {resources} of {groups}{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_with_wildcards_are_described() {
        let check = |groups: &[&str], resources: &[&str], verbs: &[&str], urls: &[&str], expect: Option<&str>| {
            let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            let rule = Rule {
                api_groups: owned(groups),
                resources: owned(resources),
                verbs: owned(verbs),
                resource_names: vec![],
                non_resource_urls: owned(urls),
            };
            assert_eq!(describe(&rule, " in `apps`").as_deref(), expect);
        };
        check(&[""], &["pods"], &["get"], &[], None);
        check(&["batch"], &["jobs"], &["*"], &[], Some("every verb on `jobs` of `batch` in `apps`"));
        check(&["*"], &["*"], &["get"], &[], Some("`get` on every resource of every API group in `apps`"));
        check(&["", "a"], &["*/scale"], &["get"], &[], Some("`get` on `*/scale` of the core group and `a` in `apps`"));
        check(&[], &[], &["get"], &["/healthz"], None);
        check(&[], &[], &["get"], &["/api/*"], Some("`get` on the URLs `/api/*`"));
    }
}
