//! RBAC: which rules hold for a caller, and what they allow.
//!
//! Pure: reads the [`Store`], decides nothing about objects.

use serde_json::Value;

use super::request::{Attributes, ResourceAttributes};
use super::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use super::store::{Store, text};

/// The group whose members may do everything, whatever the bindings say.
pub(crate) const SUPERUSERS: &str = "system:masters";

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    /// The identifier of the credential, `JTI=...`, where it has one.
    pub(crate) credential_id: Option<String>,
}

/// A rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) api_groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) resource_names: Vec<String>,
    pub(crate) non_resource_urls: Vec<String>,
}

/// A rule and the sentence that says where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct GrantedRule {
    pub(crate) rule: Rule,
    pub(crate) source: String,
}

impl Caller {
    /// Returns whether escalation checks and rules are skipped.
    pub(crate) fn is_superuser(&self) -> bool {
        self.groups.iter().any(|group| group == SUPERUSERS)
    }

    /// Returns the namespace and name of a ServiceAccount.
    fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix("system:serviceaccount:")?.split_once(':')
    }

    fn is(&self, subject: &Value, binding_namespace: &str) -> bool {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => self.name == name,
            Some("Group") => self.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or(binding_namespace);
                self.service_account() == Some((namespace, name))
            }
            _ => false,
        }
    }
}

impl Rule {
    /// Reads the rules of a role.
    pub(crate) fn all_of(role: &Value) -> Vec<Self> {
        let rules = role["rules"].as_array();
        rules.into_iter().flatten().map(Self::read).collect()
    }

    fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            let items = rule[field].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: texts("verbs"),
            api_groups: texts("apiGroups"),
            resources: texts("resources"),
            resource_names: texts("resourceNames"),
            non_resource_urls: texts("nonResourceURLs"),
        }
    }

    /// Returns whether the rule allows a request.
    pub(crate) fn allows(&self, attributes: &Attributes) -> bool {
        match attributes {
            Attributes::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| covers(url, path))
            }
            Attributes::Resource(attributes) => self.allows_resource(attributes),
        }
    }

    fn allows_resource(&self, attributes: &ResourceAttributes) -> bool {
        has(&self.verbs, &attributes.verb)
            && has(&self.api_groups, &attributes.group)
            && self.has_resource(attributes)
            && (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
    }

    fn has_resource(&self, attributes: &ResourceAttributes) -> bool {
        let any_of_subresource = format!("*/{}", attributes.subresource);
        has(&self.resources, &attributes.qualified_resource())
            || (!attributes.subresource.is_empty() && self.resources.contains(&any_of_subresource))
    }
}

/// Returns the rules that hold for `caller` in `namespace`, or cluster-wide when it is empty.
pub(crate) fn rules_for(store: &Store, caller: &Caller, namespace: &str) -> Vec<GrantedRule> {
    let mut granted = Vec::new();
    for binding in store.list(&CLUSTER_ROLE_BINDINGS, "") {
        collect(store, caller, binding, "", &mut granted);
    }
    if !namespace.is_empty() {
        for binding in store.list(&ROLE_BINDINGS, namespace) {
            collect(store, caller, binding, namespace, &mut granted);
        }
    }
    granted
}

/// Returns the reason when `caller` may do what `attributes` say, `None` when not.
pub(crate) fn authorize(store: &Store, caller: &Caller, attributes: &Attributes) -> Option<String> {
    if caller.is_superuser() {
        return Some(String::new());
    }
    let namespace = match attributes {
        Attributes::Path { .. } => "",
        Attributes::Resource(attributes) => &attributes.namespace,
    };
    rules_for(store, caller, namespace)
        .into_iter()
        .find(|granted| granted.rule.allows(attributes))
        .map(|granted| format!("RBAC: allowed by {}", granted.source))
}

/// Returns the role that a binding refers to, if it exists.
pub(crate) fn referenced_role<'a>(store: &'a Store, binding: &Value, namespace: &str) -> Option<&'a Value> {
    let name = binding["roleRef"]["name"].as_str()?;
    let role = match binding["roleRef"]["kind"].as_str()? {
        "ClusterRole" => store.get(&CLUSTER_ROLES, "", name),
        "Role" if !namespace.is_empty() => store.get(&ROLES, namespace, name),
        _ => None,
    };
    role.map(AsRef::as_ref)
}

fn collect(store: &Store, caller: &Caller, binding: &Value, namespace: &str, granted: &mut Vec<GrantedRule>) {
    let subjects = binding["subjects"].as_array();
    let subject = subjects.into_iter().flatten().find(|subject| caller.is(subject, namespace));
    let (Some(subject), Some(role)) = (subject, referenced_role(store, binding, namespace)) else {
        return;
    };
    let source = source(binding, subject, namespace);
    granted.extend(Rule::all_of(role).into_iter().map(|rule| GrantedRule { rule, source: source.clone() }));
}

/// Says which binding grants a rule, as Kubernetes words it.
fn source(binding: &Value, subject: &Value, namespace: &str) -> String {
    let field = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let name = text(binding, "name");
    let binding_name = if namespace.is_empty() {
        format!("ClusterRoleBinding \"{name}\"")
    } else {
        format!("RoleBinding \"{name}/{namespace}\"")
    };
    let is_account = subject["kind"] == "ServiceAccount";
    let subject_name = match subject["namespace"].as_str().or(Some(namespace)) {
        Some(namespace) if is_account => format!("{}/{namespace}", field(subject, "name")),
        _ => field(subject, "name"),
    };
    format!(
        "{binding_name} of {} \"{}\" to {} \"{subject_name}\"",
        field(&binding["roleRef"], "kind"),
        field(&binding["roleRef"], "name"),
        field(subject, "kind"),
    )
}

/// Returns whether a list of names holds `name` or `*`.
fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == "*" || other == name)
}

/// Returns whether the URL pattern of a rule, which may end in `*`, covers `path`.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}
