//! The roles and bindings of a cluster that concern some accounts.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;

use crate::inventory::Grant;
use crate::names::service_account_user;
use crate::object::{Kind, ObjectRef, RoleRef, Subject};
use crate::observed::ObservedObject;
use crate::rbac::{Right, Rule, Scope};

/// The label that the API server puts on the roles and bindings that it makes itself.
const BOOTSTRAPPING_LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// A ServiceAccount, from which its user name follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Returns the account of a grant.
    pub(crate) fn of(grant: &Grant) -> Self {
        Self { namespace: grant.namespace.clone(), name: grant.profile.service_account.clone() }
    }

    /// Returns the user name of its requests.
    pub(crate) fn username(&self) -> String {
        service_account_user(&self.namespace, &self.name)
    }

    /// Returns how a subject of a binding in `namespace` includes this account, if it does (`appliesToUser` in
    /// Kubernetes' rule.go).
    fn meant_by(&self, subject: &Subject, namespace: Option<&str>) -> Option<Through> {
        match subject.kind.as_str() {
            "ServiceAccount" => {
                let set = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty());
                let is_meant = subject.name == self.name && set.or(namespace) == Some(self.namespace.as_str());
                is_meant.then_some(Through::Account)
            }
            "User" => (subject.name == self.username()).then_some(Through::Account),
            "Group" => match subject.name.as_str() {
                group @ ("system:authenticated" | "system:serviceaccounts") => {
                    Some(Through::Everyone(group.to_owned()))
                }
                group if group.strip_prefix("system:serviceaccounts:") == Some(&self.namespace) => {
                    Some(Through::NamespaceGroup(group.to_owned()))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// How a subject of a binding includes an account, the narrowest way first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Through {
    /// The account itself.
    Account,
    /// All accounts of its namespace.
    NamespaceGroup(String),
    /// Every account, or everybody who is authenticated.
    Everyone(String),
}

impl Through {
    /// Returns the group, if the subject is not the account itself.
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::Account => None,
            Self::NamespaceGroup(group) | Self::Everyone(group) => Some(group),
        }
    }
}

/// Shows as the end of a sentence: ``through group `system:serviceaccounts:ci` ``; nothing for the
/// account itself.
impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => Ok(()),
            Self::NamespaceGroup(group) | Self::Everyone(group) => write!(f, "through group `{group}`"),
        }
    }
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Where it is.
    pub object: ObjectRef,
    /// The role that it grants.
    pub role: RoleRef,
    /// Its subjects.
    pub subjects: Vec<Subject>,
    /// Whether its label says that the API server made it.
    pub is_bootstrapped: bool,
}

impl Binding {
    /// Takes the relevant parts of an observed binding; nothing if it names no role.
    pub(crate) fn new(object: ObjectRef, observed: ObservedObject) -> Option<Self> {
        let (label, value) = BOOTSTRAPPING_LABEL;
        let is_bootstrapped = observed.labels.get(label).is_some_and(|found| found == value);
        Some(Self { object, role: observed.role?, subjects: observed.subjects, is_bootstrapped })
    }

    /// Returns the scope in which its role holds.
    pub(crate) fn scope(&self) -> Scope {
        self.object.namespace.clone().map_or(Scope::Cluster, Scope::Namespace)
    }

    /// Returns the address of the role.
    pub(crate) fn role_object(&self) -> ObjectRef {
        role_object(&self.role, &self.scope())
    }

    /// Returns how the binding includes an account; the narrowest way, if there are several.
    pub(crate) fn means(&self, account: &Account) -> Option<Through> {
        let namespace = self.object.namespace.as_deref();
        self.subjects.iter().filter_map(|subject| account.meant_by(subject, namespace)).min()
    }

    /// Whether it is one of the bindings that every cluster has: made by the API server, with a name that Kubernetes
    /// uses.
    ///
    /// The label alone proves little: if somebody adds a subject to the binding `cluster-admin`, the label stays, and
    /// the API server does not remove the subject.
    pub(super) fn is_default(&self) -> bool {
        const DEFAULTS: [&str; 5] = [
            "system:basic-user",
            "system:cluster-trust-bundle-discovery",
            "system:discovery",
            "system:public-info-viewer",
            "system:service-account-issuer-discovery",
        ];
        self.is_bootstrapped
            && self.object.kind == Kind::ClusterRoleBinding
            && self.object.name == self.role.name
            && DEFAULTS.contains(&self.object.name.as_str())
    }
}

/// Returns the address of a role that is referred to from a scope.
pub(super) fn role_object(role: &RoleRef, scope: &Scope) -> ObjectRef {
    role.object(scope.namespace())
}

/// What is known about a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleRules {
    /// Its rules.
    Known(Vec<Rule>),
    /// It does not exist, so bindings to it grant nothing.
    Absent,
    /// It may not be read.
    Unreadable,
}

/// The bindings that include some accounts, and the roles that these and the profiles refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    /// The bindings.
    pub bindings: Vec<Binding>,
    /// The roles by address.
    pub roles: BTreeMap<ObjectRef, RoleRules>,
}

/// What one binding grants an account.
pub(super) struct Granted<'a> {
    pub(super) binding: &'a Binding,
    pub(super) scope: Scope,
    pub(super) through: Through,
    /// The rules; nothing if the role may not be read.
    pub(super) rules: Option<&'a [Rule]>,
}

impl Policy {
    /// Returns what is known about a role.
    pub(super) fn role(&self, role: &RoleRef, scope: &Scope) -> &RoleRules {
        self.roles.get(&role_object(role, scope)).unwrap_or(&RoleRules::Unreadable)
    }

    /// Returns what the bindings grant an account.
    pub(super) fn granted(&self, account: &Account) -> Vec<Granted<'_>> {
        let of = |binding: &'_ Binding| binding.means(account);
        self.bindings
            .iter()
            .filter_map(|binding| {
                let rules = match self.role(&binding.role, &binding.scope()) {
                    RoleRules::Known(rules) => Some(rules.as_slice()),
                    RoleRules::Absent => Some([].as_slice()),
                    RoleRules::Unreadable => None,
                };
                Some(Granted { through: of(binding)?, scope: binding.scope(), binding, rules })
            })
            .collect()
    }
}

/// Returns whether bindings grant a right; nothing if this depends on a role that may not be read.
pub(super) fn is_granted(granted: &[Granted<'_>], scope: &Scope, right: &Right) -> Option<bool> {
    let mut reaching = granted.iter().filter(|granted| granted.scope.reaches(scope) && !is_idle(&granted.scope, right));
    let known = reaching.clone().filter_map(|granted| granted.rules).flatten();
    if known.into_iter().any(|rule| rule.allows(right)) {
        return Some(true);
    }
    if reaching.any(|granted| granted.rules.is_none()) { None } else { Some(false) }
}

/// Whether a right has no meaning in a scope.
pub(super) fn is_idle(scope: &Scope, right: &Right) -> bool {
    right.is_url() && *scope != Scope::Cluster
}
