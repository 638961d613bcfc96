//! Which rights let their holder get more than they say.
//!
//! The classes are those of Kubernetes' page "Role Based Access Control Good Practices", section "privilege escalation
//! risks"; the verbs of impersonation are those of the API server's filter
//! (`k8s.io/apiserver/pkg/endpoints/filters/impersonation`). Pure: no I/O, no clock.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Right, RightGroup, Rule, summarise};

/// A class of rights that let their holder get more rights, or read what gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Escalating {
    /// The content of Secrets: a list and a watch show it like a get.
    SecretsRead,
    /// Granting rights that one does not have: `escalate` and `bind` on roles.
    Escalation,
    /// Acting as somebody else.
    Impersonation,
    /// Making tokens of ServiceAccounts.
    TokenMinting,
    /// Running something in pods, or reaching into them.
    PodExec,
    /// The API of kubelets, past audit and admission. To read it is to run commands in pods.
    NodeProxy,
    /// Webhooks that see, and change, what is written to the cluster.
    Webhooks,
    /// Making client certificates for anybody.
    CsrApproval,
    /// More than is named, by a `*`.
    Wildcard,
}

/// Verbs on resources of one API group.
struct Target {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

impl Escalating {
    /// All classes.
    pub(crate) const ALL: [Self; 9] = [
        Self::SecretsRead,
        Self::Escalation,
        Self::Impersonation,
        Self::TokenMinting,
        Self::PodExec,
        Self::NodeProxy,
        Self::Webhooks,
        Self::CsrApproval,
        Self::Wildcard,
    ];

    /// Returns the name of the class.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SecretsRead => "secrets-read",
            Self::Escalation => "escalation",
            Self::Impersonation => "impersonation",
            Self::TokenMinting => "token-minting",
            Self::PodExec => "pod-exec",
            Self::NodeProxy => "node-proxy",
            Self::Webhooks => "webhooks",
            Self::CsrApproval => "csr-approval",
            Self::Wildcard => "wildcard",
        }
    }

    /// Returns the rights of which each one is enough. Wildcards have none of their own.
    fn targets(self) -> &'static [Target] {
        const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
        match self {
            Self::SecretsRead => &[Target { group: "", resources: &["secrets"], verbs: &["get", "list", "watch"] }],
            Self::Escalation => &[Target {
                group: "rbac.authorization.k8s.io",
                resources: &["roles", "clusterroles"],
                verbs: &["escalate", "bind"],
            }],
            Self::Impersonation => &[
                Target { group: "", resources: &["users", "groups", "serviceaccounts"], verbs: &["impersonate"] },
                Target {
                    group: "authentication.k8s.io",
                    resources: &["users", "groups", "serviceaccounts", "nodes", "uids", "userextras"],
                    verbs: &["impersonate"],
                },
            ],
            Self::TokenMinting => &[Target { group: "", resources: &["serviceaccounts/token"], verbs: &["create"] }],
            // A websocket is opened with GET, and before Kubernetes 1.35 that verb was enough.
            Self::PodExec => &[
                Target {
                    group: "",
                    resources: &["pods/exec", "pods/attach", "pods/portforward"],
                    verbs: &["create", "get"],
                },
                Target { group: "", resources: &["pods/ephemeralcontainers"], verbs: &["update", "patch"] },
            ],
            Self::NodeProxy => &[Target {
                group: "",
                resources: &["nodes/proxy"],
                verbs: &["get", "create", "update", "patch", "delete"],
            }],
            Self::Webhooks => &[Target {
                group: "admissionregistration.k8s.io",
                resources: &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                verbs: WRITE,
            }],
            Self::CsrApproval => &[
                Target {
                    group: "certificates.k8s.io",
                    resources: &["certificatesigningrequests/approval"],
                    verbs: &["update", "patch"],
                },
                Target { group: "certificates.k8s.io", resources: &["signers"], verbs: &["approve", "sign"] },
            ],
            Self::Wildcard => &[],
        }
    }

    /// Returns whether a rule allows something of the class. A rule for single objects counts as one for all, because it
    /// may name the one that matters.
    fn is_allowed_by(self, rule: &Rule) -> bool {
        let unnamed = Rule { resource_names: vec![], ..rule.clone() };
        let allows = |target: &Target| {
            let group = target.group;
            let mut rights = target.resources.iter().flat_map(|resource| {
                target.verbs.iter().map(move |verb| Right::Resource {
                    group,
                    resource: *resource,
                    name: None,
                    verb: *verb,
                })
            });
            rights.any(|right| unnamed.allows(&right))
        };
        match self {
            Self::Wildcard => rule.wildcard().is_some(),
            // `impersonate-on:MODE:VERB` stands with the resource that is acted on, whichever that is; the keys of
            // `userextras/KEY` are anybody's.
            Self::Impersonation => {
                rule.verbs.iter().any(|verb| verb == "impersonate" || is_constrained_impersonation(verb))
                    || self.targets().iter().any(allows)
                    || (rule.verbs.iter().any(|verb| verb == "*")
                        && rule.resources.iter().any(|resource| resource.starts_with("userextras/")))
            }
            _ => self.targets().iter().any(allows),
        }
    }

    /// Returns the classes that some rules allow something of.
    pub(crate) fn of_rules<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> BTreeSet<Self> {
        let classes = |rule| Self::ALL.into_iter().filter(move |class| class.is_allowed_by(rule));
        rules.into_iter().flat_map(classes).collect()
    }

    /// Returns the rights of the class among those of a rule, in groups.
    pub(crate) fn among(self, rule: &Rule) -> Vec<RightGroup> {
        let rights: Vec<Right<&str>> =
            rule.rights().filter(|right| self.is_allowed_by(&Rule::of_right(right))).collect();
        summarise(&rights)
    }

    /// Returns the classes of single rights.
    pub(crate) fn of_rights<'a>(rights: impl IntoIterator<Item = &'a Right<&'a str>>) -> BTreeSet<Self> {
        let rules: Vec<Rule> = rights.into_iter().map(Rule::of_right).collect();
        Self::of_rules(&rules)
    }
}

/// Whether a verb is one of Kubernetes' constrained impersonation: whom, or what as somebody.
fn is_constrained_impersonation(verb: &str) -> bool {
    verb.starts_with("impersonate:") || verb.starts_with("impersonate-on:")
}

/// Shows as `secrets-read`.
impl fmt::Display for Escalating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Rule {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Rule { api_groups: list(groups), resources: list(resources), verbs: list(verbs), ..Rule::default() }
    }

    #[track_caller]
    fn check(groups: &[&str], resources: &[&str], verbs: &[&str], expected: &str) {
        let classes = Escalating::of_rules([&rule(groups, resources, verbs)]);
        assert_eq!(classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn what_kubernetes_calls_a_risk_of_escalation_is_known() {
        check(&[""], &["secrets"], &["get"], "secrets-read");
        check(&[""], &["secrets"], &["list"], "secrets-read");
        check(&[""], &["secrets"], &["watch"], "secrets-read");
        check(&[""], &["secrets"], &["create", "update", "delete"], "");
        check(&["rbac.authorization.k8s.io"], &["clusterroles"], &["escalate"], "escalation");
        check(&["rbac.authorization.k8s.io"], &["roles"], &["bind"], "escalation");
        check(&["rbac.authorization.k8s.io"], &["roles"], &["create", "update"], "");
        check(&[""], &["serviceaccounts"], &["impersonate"], "impersonation");
        check(&["authentication.k8s.io"], &["userextras/scopes"], &["impersonate"], "impersonation");
        check(&["authentication.k8s.io"], &["users"], &["impersonate:user-info"], "impersonation");
        check(&["apps"], &["deployments"], &["impersonate-on:user-info:list"], "impersonation");
        check(&[""], &["serviceaccounts/token"], &["create"], "token-minting");
        check(&[""], &["serviceaccounts/token"], &["get"], "");
        check(&[""], &["pods/exec"], &["create"], "pod-exec");
        check(&[""], &["pods/attach"], &["get"], "pod-exec");
        check(&[""], &["pods/portforward"], &["create"], "pod-exec");
        check(&[""], &["pods/ephemeralcontainers"], &["patch"], "pod-exec");
        check(&[""], &["pods/ephemeralcontainers"], &["get"], "");
        check(&[""], &["pods", "pods/log"], &["get", "list", "delete"], "");
        check(&[""], &["nodes/proxy"], &["get"], "node-proxy");
        check(&["admissionregistration.k8s.io"], &["mutatingwebhookconfigurations"], &["patch"], "webhooks");
        check(&["admissionregistration.k8s.io"], &["validatingwebhookconfigurations"], &["get", "list"], "");
        check(&["certificates.k8s.io"], &["certificatesigningrequests/approval"], &["update"], "csr-approval");
        check(&["certificates.k8s.io"], &["signers"], &["sign"], "csr-approval");
        check(&["certificates.k8s.io"], &["certificatesigningrequests"], &["create", "get"], "");
    }

    /// The same names in another API group are other resources.
    #[test]
    fn the_api_group_counts() {
        check(&["example.com"], &["secrets", "pods/exec", "nodes/proxy"], &["get"], "");
    }

    #[test]
    fn wildcards_include_what_they_cover() {
        check(&[""], &["*/exec"], &["create"], "pod-exec wildcard");
        check(&[""], &["secrets"], &["*"], "secrets-read wildcard");
        check(&["authentication.k8s.io"], &["userextras/scopes"], &["*"], "impersonation wildcard");
        check(&["apps"], &["deployments"], &["*"], "wildcard");
        let all = Escalating::of_rules([&rule(&["*"], &["*"], &["*"])]);
        assert_eq!(all.into_iter().collect::<Vec<_>>(), Escalating::ALL);
    }

    #[test]
    fn the_name_of_one_object_excuses_nothing() {
        let named = Rule { resource_names: vec!["a".to_owned()], ..rule(&[""], &["secrets"], &["get"]) };
        assert_eq!(Escalating::of_rules([&named]), BTreeSet::from([Escalating::SecretsRead]));
        assert_eq!(
            Escalating::of_rights(&named.rights().collect::<Vec<_>>()),
            BTreeSet::from([Escalating::SecretsRead])
        );
    }
}
