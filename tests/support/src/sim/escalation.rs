//! Escalation: nobody may grant what they do not hold.
//!
//! Pure. The algorithm and the wording are those of Kubernetes: rules are broken down into single
//! verbs on single resources, and what no rule of the caller covers is listed, compacted by verb.

use serde_json::{Value, json};

use super::failure::Failure;
use super::rbac::{Caller, Rule, authorize, covers, referenced_role, rules_for};
use super::request::{Attributes, ResourceAttributes};
use super::resource::{RBAC_GROUP, ResourceType};
use super::store::{Store, text};

/// Refuses a role or binding that grants more than `caller` holds.
///
/// `before` is the object that is replaced. As in Kubernetes even a new label on a role is refused
/// to a caller who does not hold the role's rules; only owners and finalizers may always change.
pub(crate) fn check(
    store: &Store,
    caller: &Caller,
    resource: &ResourceType,
    before: Option<&Value>,
    object: &Value,
) -> Result<(), Failure> {
    let is_rbac = resource.is_role() || resource.is_binding();
    if !is_rbac || caller.is_superuser() || before.is_some_and(|b| same_but_for_owners(b, object)) {
        return Ok(());
    }
    let namespace = text(object, "namespace");
    let granted = if resource.is_role() {
        if may(store, caller, "escalate", resource.plural, object) {
            return Ok(());
        }
        Rule::all_of(object)
    } else {
        let role_ref = &object["roleRef"];
        let plural = match role_ref["kind"].as_str() {
            Some("Role") => "roles",
            _ => "clusterroles",
        };
        let role = json!({ "metadata": { "name": role_ref["name"], "namespace": namespace } });
        if may(store, caller, "bind", plural, &role) {
            return Ok(());
        }
        // Kubernetes names the type of the binding and the name of the missing role.
        let role = referenced_role(store, object, namespace)
            .ok_or_else(|| Failure::not_found(resource, text(&role, "name")))?;
        Rule::all_of(role)
    };
    let held: Vec<Rule> = rules_for(store, caller, namespace).into_iter().map(|granted| granted.rule).collect();
    let refuse = |why: &str| Failure::forbidden(resource.group, resource.plural, text(object, "name"), why);
    let missing_rules = missing(&held, &granted);
    if !missing_rules.is_empty() {
        let mut lines: Vec<String> = compact(missing_rules).iter().map(describe).collect();
        lines.sort();
        lines.dedup();
        return Err(refuse(&format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            caller.name,
            quoted(&caller.groups),
            lines.join("\n")
        )));
    }
    let aggregates = |role: &Value| !role["aggregationRule"].is_null();
    if resource.is_role() && (aggregates(object) || before.is_some_and(aggregates)) {
        // Such a role may gather anything.
        let everything = Rule {
            verbs: vec!["*".to_owned()],
            api_groups: vec!["*".to_owned()],
            resources: vec!["*".to_owned()],
            ..Rule::default()
        };
        if !missing(&held, &[everything]).is_empty() {
            return Err(refuse("must have cluster-admin privileges to use the aggregationRule"));
        }
    }
    Ok(())
}

fn same_but_for_owners(before: &Value, object: &Value) -> bool {
    let stripped = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.shift_remove(field);
            }
        }
        object
    };
    stripped(before) == stripped(object)
}

fn may(store: &Store, caller: &Caller, verb: &str, resource: &str, role: &Value) -> bool {
    let attributes = Attributes::Resource(ResourceAttributes {
        verb: verb.to_owned(),
        group: RBAC_GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: text(role, "namespace").to_owned(),
        name: text(role, "name").to_owned(),
    });
    authorize(store, caller, &attributes).is_some()
}

/// Returns the single rules within `granted` that no rule in `held` covers.
fn missing(held: &[Rule], granted: &[Rule]) -> Vec<Rule> {
    granted.iter().flat_map(break_down).filter(|single| !held.iter().any(|rule| rule_covers(rule, single))).collect()
}

fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut singles = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let single = Rule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    singles.push(single);
                    continue;
                }
                singles.extend(
                    rule.resource_names
                        .iter()
                        .map(|name| Rule { resource_names: vec![name.clone()], ..single.clone() }),
                );
            }
        }
    }
    for url in &rule.non_resource_urls {
        singles.extend(rule.verbs.iter().map(|verb| Rule {
            verbs: vec![verb.clone()],
            non_resource_urls: vec![url.clone()],
            ..Rule::default()
        }));
    }
    singles
}

/// Returns whether `owner` covers a rule that [`break_down`] made.
fn rule_covers(owner: &Rule, single: &Rule) -> bool {
    let all = |held: &[String], wanted: &[String]| {
        held.iter().any(|one| one == "*") || wanted.iter().all(|one| held.contains(one))
    };
    let names = owner.resource_names.is_empty()
        || (!single.resource_names.is_empty()
            && single.resource_names.iter().all(|name| owner.resource_names.contains(name)));
    all(&owner.verbs, &single.verbs)
        && all(&owner.api_groups, &single.api_groups)
        && single.resources.iter().all(|resource| has_resource(owner, resource))
        && names
        && single.non_resource_urls.iter().all(|url| owner.non_resource_urls.iter().any(|held| covers(held, url)))
}

fn has_resource(owner: &Rule, resource: &str) -> bool {
    let any_of_subresource = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
    owner.resources.iter().any(|held| held == "*" || held == resource || Some(held) == any_of_subresource.as_ref())
}

/// Joins the verbs of rules that differ only by verb.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = compacted.iter_mut().find(|other| {
            rule.non_resource_urls.is_empty()
                && other.api_groups == rule.api_groups
                && other.resources == rule.resources
                && other.resource_names == rule.resource_names
        });
        match same {
            Some(other) => other.verbs.extend(rule.verbs),
            None => compacted.push(rule),
        }
    }
    compacted
}

fn describe(rule: &Rule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .map(|(name, values)| format!("{name}:{}", quoted(values)))
    .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Formats a list as Go's `%q` does.
fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}
