//! The result of a verification: allowed rights, denied rights, and rights beyond the profile.
//!
//! It has no field that could hold a token. Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{AccessNote, AccessReview, Account, IntendedReview};
use crate::failure::FailureKind;
use crate::inventory::{Cluster, Grant};
use crate::names::{ClusterName, ProfileName};
use crate::object::{ObjectRef, RoleRef};
use crate::outcome::Span;
use crate::rbac::{Right, RightGroup, summarise};
use crate::verified::{CredentialState, Verified, VerifiedCredential, VerifiedGrant};

/// The result of a verification: the body of the report of `verify`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Verification {
    /// Whether excess is a finding.
    pub strict: bool,
    /// The clusters counted by state.
    pub summary: VerifySummary,
    /// The clusters, in the order of the inventory.
    pub clusters: Vec<VerifiedClusterReport>,
}

/// The clusters counted by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VerifySummary {
    /// All selected clusters.
    pub clusters: usize,
    /// Clusters where everything is as intended.
    pub fine: usize,
    /// Clusters where more is allowed than intended, and nothing else is wrong.
    pub excess: usize,
    /// Clusters with findings.
    pub findings: usize,
    /// Clusters that could not be verified.
    pub failed: usize,
    /// Clusters that were not started.
    pub not_started: usize,
}

/// The state of a cluster or a grant, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VerifyState {
    /// As intended.
    Fine,
    /// More is allowed than intended.
    Excess,
    /// Something is not as intended.
    Findings,
    /// It could not be verified.
    Failed,
    /// It was not started.
    NotStarted,
}

/// One cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VerifiedClusterReport {
    /// Its name.
    pub name: ClusterName,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was verified.
    #[serde(flatten)]
    pub span: Span,
    /// Its state.
    pub state: VerifyState,
    /// Its grants.
    pub grants: Vec<GrantReport>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<VerifyError>,
}

/// Why a cluster could not be verified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VerifyError {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What was being done.
    pub doing: Cow<'static, str>,
    /// Why it failed.
    pub cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One grant.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GrantReport {
    /// The profile.
    pub profile: ProfileName,
    /// The ServiceAccount, as `namespace/name`.
    pub service_account: String,
    /// Its state.
    pub state: VerifyState,
    /// What its outputs hold.
    pub credentials: Vec<VerifiedCredentialReport>,
    /// The rights of the profile, counted.
    pub rights: RightCounts,
    /// The rights that are allowed as intended.
    pub allowed: Vec<RightsReport>,
    /// The rights that are intended and denied.
    pub denied: Vec<RightsReport>,
    /// The rights that are intended, and for which no answer is known.
    pub unknown: Vec<RightsReport>,
    /// The rights beyond the profile; absent if they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess: Option<Vec<BindingReport>>,
    /// What every ServiceAccount may do, this one included.
    pub everyone: Vec<BindingReport>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is good to know.
    pub notes: Vec<AccessNote>,
}

/// A credential in the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VerifiedCredentialReport {
    /// Its generation; absent for the token of an exec plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The files that hold it.
    pub files: Vec<String>,
    /// Its state: `works`, `expired`, `revoked`, `refused`, `other-identity`, `unusable`, `unreachable`.
    pub state: Cow<'static, str>,
}

/// Rights of a profile, counted: one verb on one resource or name each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RightCounts {
    /// Those that are allowed.
    pub allowed: usize,
    /// Those that are denied.
    pub denied: usize,
    /// Those that are not known; if a role may not be read, its rights are not counted.
    pub unknown: usize,
}

/// Some rights of a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RightsReport {
    /// The namespace; absent for the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where the rules are: `the profile`, or a role.
    pub via: String,
    /// How many.
    pub count: usize,
    /// The rights; allowed rights of existing roles are only counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<RightGroup>,
}

/// What one binding grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BindingReport {
    /// The binding.
    pub binding: ObjectRef,
    /// The kind of the role.
    pub role_kind: Cow<'static, str>,
    /// The name of the role.
    pub role: String,
    /// The group that the binding names, if it does not name the account itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether every cluster has this binding; only for bindings of every ServiceAccount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// The namespace where it holds; absent for the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The rights that it grants, without those that the profile intends.
    pub rights: Vec<RightGroup>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Finding {
    /// What it is, for programs.
    pub kind: FindingKind,
    /// What it is, in words.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FindingKind {
    /// An output does not hold the credential.
    NoCredential,
    /// Somebody altered kubemint's entries in an output.
    AlteredEntry,
    /// The API server refuses the credential.
    DeadCredential,
    /// The credential belongs to somebody else.
    OtherIdentity,
    /// The credential cannot be used with the other fields in its file.
    Unusable,
    /// Something intended is denied.
    Denied,
    /// More is allowed than intended, and `--strict` was given.
    Excess,
}

impl Verification {
    /// Reports the results; if `strict`, excess is a finding.
    pub(crate) fn new(strict: bool, clusters: Vec<VerifiedClusterReport>) -> Self {
        let mut summary = VerifySummary { clusters: clusters.len(), ..VerifySummary::default() };
        for cluster in &clusters {
            let counter = match cluster.state {
                VerifyState::Fine => &mut summary.fine,
                VerifyState::Excess => &mut summary.excess,
                VerifyState::Findings => &mut summary.findings,
                VerifyState::Failed => &mut summary.failed,
                VerifyState::NotStarted => &mut summary.not_started,
            };
            *counter += 1;
        }
        Self { strict, summary, clusters }
    }
}

/// What is shown of a cluster besides its name and the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClusterSaid<'a> {
    /// The grants of which something is shown.
    pub(super) grants: Vec<GrantSaid<'a>>,
    pub(super) error: Option<&'a VerifyError>,
}

/// What is shown of a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GrantSaid<'a> {
    pub(super) profile: &'a ProfileName,
    pub(super) service_account: &'a str,
    pub(super) findings: &'a [Finding],
    /// The rights beyond the profile.
    pub(super) excess: &'a [BindingReport],
    /// What every ServiceAccount may do beyond Kubernetes' defaults.
    pub(super) added: Vec<&'a BindingReport>,
    pub(super) notes: &'a [AccessNote],
}

impl ClusterSaid<'_> {
    /// Whether there is nothing to show.
    pub(super) fn is_nothing(&self) -> bool {
        self.grants.is_empty() && self.error.is_none()
    }
}

impl VerifiedClusterReport {
    /// Reports what was found on a cluster; if `strict`, excess is a finding.
    pub(crate) fn new(cluster: &Cluster, verified: &Verified, strict: bool) -> Self {
        let reports = |grants: &[VerifiedGrant]| -> Vec<GrantReport> {
            grants.iter().map(|verified| grant(verified, &verified.grant, strict)).collect()
        };
        let (state, grants, error) = match verified {
            Verified::Done(grants) => {
                let grants = reports(grants);
                let state = grants.iter().map(|grant| grant.state).max().unwrap_or(VerifyState::Fine);
                (state, grants, None)
            }
            Verified::Failed { doing, failure, grants } => {
                let error = VerifyError {
                    kind: failure.kind,
                    doing: (*doing).into(),
                    cause: failure.cause.clone(),
                    hint: failure.hint.clone(),
                };
                (VerifyState::Failed, reports(grants), Some(error))
            }
            Verified::NotStarted => (VerifyState::NotStarted, vec![], None),
        };
        Self { name: cluster.name.clone(), labels: cluster.labels.clone(), span: Span::default(), state, grants, error }
    }

    /// Returns what is shown of it.
    pub(super) fn said(&self) -> ClusterSaid<'_> {
        ClusterSaid { grants: self.grants.iter().filter_map(GrantReport::said).collect(), error: self.error.as_ref() }
    }

    /// Returns what every ServiceAccount may do by Kubernetes' defaults.
    pub(super) fn baseline(&self) -> Vec<RightGroup> {
        let everyone = self.grants.first().map_or(&[][..], |grant| &grant.everyone);
        let defaults = everyone.iter().filter(|everyone| everyone.default == Some(true));
        let mut rights: Vec<RightGroup> = defaults.flat_map(|everyone| everyone.rights.clone()).collect();
        rights.sort();
        rights.dedup();
        rights
    }
}

impl GrantReport {
    fn said(&self) -> Option<GrantSaid<'_>> {
        let said = GrantSaid {
            profile: &self.profile,
            service_account: &self.service_account,
            findings: &self.findings,
            excess: self.excess.as_deref().unwrap_or_default(),
            added: self.everyone.iter().filter(|everyone| everyone.default == Some(false)).collect(),
            notes: &self.notes,
        };
        let is_something =
            !said.findings.is_empty() || !said.excess.is_empty() || !said.added.is_empty() || !said.notes.is_empty();
        is_something.then_some(said)
    }
}

fn grant(verified: &VerifiedGrant, grant: &Grant, strict: bool) -> GrantReport {
    let access = &verified.access;
    let account = Account::of(grant);
    let mut findings = credential_findings(verified);
    for part in access.intended.iter().filter(|part| !part.denied.is_empty()) {
        for group in summarise(&part.denied) {
            let message = format!("denied: {group} {}, which {} asks for", part.scope, part.source);
            let hint =
                Some("`kubemint plan` shows what was changed by hand, `kubemint apply` makes it right".to_owned());
            findings.push(Finding { kind: FindingKind::Denied, message, hint });
        }
    }
    let excess: Vec<BindingReport> = excess(access);
    let everyone = everyone(access);
    if strict && access.has_excess() {
        let mut bindings: BTreeSet<String> = access.excess.iter().map(|excess| excess.binding.to_string()).collect();
        let added = access.everyone.iter().filter(|everyone| !everyone.is_default);
        bindings.extend(added.map(|everyone| everyone.binding.to_string()));
        let bindings: Vec<String> = bindings.into_iter().collect();
        let message = format!("more is allowed than the profile asks for, through {}", bindings.join(", "));
        let hint = Some("delete what nobody needs, or add it to the profile".to_owned());
        findings.push(Finding { kind: FindingKind::Excess, message, hint });
    }
    let is_unreachable =
        verified.credentials.iter().any(|credential| matches!(credential.state, CredentialState::Unreachable(_)));
    let state = if is_unreachable {
        VerifyState::Failed
    } else if !findings.is_empty() {
        VerifyState::Findings
    } else if access.has_excess() {
        VerifyState::Excess
    } else {
        VerifyState::Fine
    };
    let count = |count: fn(&IntendedReview) -> usize| access.intended.iter().map(count).sum();
    GrantReport {
        profile: grant.profile.name.clone(),
        service_account: format!("{}/{}", account.namespace, account.name),
        state,
        credentials: verified.credentials.iter().map(credential).collect(),
        rights: RightCounts {
            allowed: count(|part| part.allowed_count),
            denied: count(|part| part.denied.len()),
            unknown: count(|part| part.unknown.len()),
        },
        allowed: parts(access, |part| (part.allowed_count, &part.allowed)),
        denied: parts(access, |part| (part.denied.len(), &part.denied)),
        unknown: parts(access, |part| (part.unknown.len(), &part.unknown)),
        excess: verified.is_excess_known.then_some(excess),
        everyone,
        findings,
        notes: access.notes.clone(),
    }
}

fn credential(verified: &VerifiedCredential) -> VerifiedCredentialReport {
    let state = match &verified.state {
        CredentialState::Works => "works",
        CredentialState::Dead { word, .. } => word,
        CredentialState::OtherIdentity(_) => "other-identity",
        CredentialState::Unusable(_) => "unusable",
        CredentialState::Unreachable(_) => "unreachable",
    };
    let (generation, expires) = verified.token.unzip();
    let files = verified.files.clone();
    VerifiedCredentialReport { generation, expires, files, state: state.into() }
}

fn credential_findings(verified: &VerifiedGrant) -> Vec<Finding> {
    let mut findings = vec![];
    let mut add = |kind, message, hint: &str| findings.push(Finding { kind, message, hint: Some(hint.to_owned()) });
    for (file, why) in &verified.missing {
        let message = format!("`{file}` holds no credential for it: {}", why.cause);
        add(FindingKind::NoCredential, message, why.hint.as_deref().unwrap_or("repair or move that file"));
    }
    for credential in &verified.credentials {
        let files: Vec<String> = credential.files.iter().map(|file| format!("`{file}`")).collect();
        let which = match credential.token {
            Some((generation, _)) => format!("generation {generation} in {}", files.join(", ")),
            None => format!("what the exec plugin in {} gives", files.join(", ")),
        };
        match &credential.state {
            CredentialState::Works | CredentialState::Unreachable(_) => {}
            CredentialState::Dead { cause, .. } => {
                add(FindingKind::DeadCredential, format!("{which} is dead: {cause}"), "`kubemint apply` mints another");
            }
            CredentialState::OtherIdentity(username) => {
                let message = format!("{which} is taken for `{username}`");
                add(FindingKind::OtherIdentity, message, "the endpoint in the file may be another cluster's");
            }
            CredentialState::Unusable(cause) => {
                let hint = "`kubemint plan` shows whether the endpoint changed, `kubemint apply` writes it";
                add(FindingKind::Unusable, format!("{which} cannot be used: {cause}"), hint);
            }
        }
    }
    for (file, differences) in &verified.altered {
        let fields: Vec<String> = differences.iter().map(|difference| format!("`{}`", difference.field)).collect();
        let message = format!("its entry in `{file}` is not as kubemint writes it: {} differs", fields.join(", "));
        add(FindingKind::AlteredEntry, message, "`kubemint plan` shows what differs, `kubemint apply` repairs it");
    }
    findings
}

fn parts(access: &AccessReview, rights: fn(&IntendedReview) -> (usize, &BTreeSet<Right>)) -> Vec<RightsReport> {
    let some = access.intended.iter().filter(|part| rights(part).0 > 0);
    some.map(|part| {
        let (count, rights) = rights(part);
        let namespace = part.scope.namespace().map(str::to_owned);
        RightsReport { namespace, via: part.source.to_string(), count, rights: summarise(rights) }
    })
    .collect()
}

fn excess(access: &AccessReview) -> Vec<BindingReport> {
    let of = |excess: &crate::access::Excess| {
        let group = excess.through.group().map(str::to_owned);
        binding(&excess.binding, &excess.role, group, None, &excess.rights)
    };
    access.excess.iter().map(of).collect()
}

fn everyone(access: &AccessReview) -> Vec<BindingReport> {
    let of = |everyone: &crate::access::Everyone| {
        let group = Some(everyone.group.clone());
        binding(&everyone.binding, &everyone.role, group, Some(everyone.is_default), &everyone.rights)
    };
    access.everyone.iter().map(of).collect()
}

fn binding(
    binding: &ObjectRef,
    role: &RoleRef,
    group: Option<String>,
    default: Option<bool>,
    rights: &BTreeSet<Right>,
) -> BindingReport {
    BindingReport {
        binding: binding.clone(),
        role_kind: role.kind.as_str().into(),
        role: role.name.clone(),
        group,
        default,
        namespace: binding.namespace.clone(),
        rights: summarise(rights),
    }
}
