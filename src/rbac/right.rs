//! One right, and where it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rule;

/// Where a right holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// In the whole cluster.
    Cluster,
    /// In one namespace.
    Namespace(String),
}

impl Scope {
    /// Returns whether what holds here holds there too.
    pub(crate) fn reaches(&self, other: &Self) -> bool {
        *self == Self::Cluster || self == other
    }

    /// Returns the namespace, if it is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(name) => Some(name),
        }
    }
}

/// Shows as ``in the whole cluster`` or ``in namespace `apps` ``.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("in the whole cluster"),
            Self::Namespace(name) => write!(f, "in namespace `{name}`"),
        }
    }
}

/// One verb on one resource, name or URL. A `*` stands for itself: only a `*` allows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right<S = String> {
    /// On a resource.
    Resource {
        /// The API group, `""` for the core group.
        group: S,
        /// The resource, with its subresource if it has one.
        resource: S,
        /// The object, if only one is meant.
        name: Option<S>,
        /// The verb.
        verb: S,
    },
    /// On a URL that is no resource.
    Url {
        /// The URL, which may end in `*`.
        url: S,
        /// The verb.
        verb: S,
    },
}

impl Right {
    /// Returns the single rights of some rules.
    pub(crate) fn all_of<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> BTreeSet<Self> {
        rules.into_iter().flat_map(Rule::rights).map(Self::from).collect()
    }

    /// Whether it is about a URL.
    ///
    /// Requests for URLs have no namespace, so a RoleBinding never allows one.
    pub(crate) fn is_url(&self) -> bool {
        matches!(self, Self::Url { .. })
    }
}

impl From<Right<&str>> for Right {
    fn from(right: Right<&str>) -> Self {
        match right {
            Right::Resource { group, resource, name, verb } => Self::Resource {
                group: group.to_owned(),
                resource: resource.to_owned(),
                name: name.map(str::to_owned),
                verb: verb.to_owned(),
            },
            Right::Url { url, verb } => Self::Url { url: url.to_owned(), verb: verb.to_owned() },
        }
    }
}

/// The verbs on one resource, name or URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RightGroup {
    /// The verbs.
    pub verbs: Vec<String>,
    /// The API group, `""` for the core group; absent for URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The object, if only one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// The URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl RightGroup {
    /// Returns what the verbs are on, as in `deployments.apps named "web"`.
    pub(crate) fn target(&self) -> String {
        match (&self.url, &self.resource) {
            (Some(url), _) => format!("URL {url}"),
            (None, resource) => {
                let group = self.api_group.as_deref().filter(|group| !group.is_empty());
                let group = group.map(|group| format!(".{group}")).unwrap_or_default();
                let name = self.resource_name.as_ref().map(|name| format!(" named {name:?}")).unwrap_or_default();
                format!("{}{group}{name}", resource.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Shows as `get, list on deployments.apps`.
impl fmt::Display for RightGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.verbs.join(", "), self.target())
    }
}

/// Groups rights by what they are on.
pub(crate) fn summarise<'a, S: AsRef<str> + 'a>(rights: impl IntoIterator<Item = &'a Right<S>>) -> Vec<RightGroup> {
    let mut groups: BTreeMap<(bool, &str, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    for right in rights {
        let (key, verb) = match right {
            Right::Resource { group, resource, name, verb } => {
                ((false, group.as_ref(), resource.as_ref(), name.as_ref().map(AsRef::as_ref)), verb)
            }
            Right::Url { url, verb } => ((true, "", url.as_ref(), None), verb),
        };
        groups.entry(key).or_default().insert(verb.as_ref());
    }
    groups
        .into_iter()
        .map(|((is_url, group, target, name), verbs)| RightGroup {
            verbs: verbs.into_iter().map(str::to_owned).collect(),
            api_group: (!is_url).then(|| group.to_owned()),
            resource: (!is_url).then(|| target.to_owned()),
            resource_name: name.map(str::to_owned),
            url: is_url.then(|| target.to_owned()),
        })
        .collect()
}
