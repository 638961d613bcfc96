//! Finds clusters of an inventory that are the same API server.
//!
//! The uid of the namespace kube-system identifies a cluster, but it can be copied: by a compromised API server, or by
//! cloning etcd. So an equal uid is only a suspicion. If both have the same ServiceAccount with different uids, they
//! are two clusters. Otherwise the known one goes on: the one for which the outputs hold a credential that was issued
//! for its ServiceAccount. Pure: no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assessed, Blocker, BlockerKind, Extent, GrantInput, Note, NoteKind, PlanInput};
use crate::desired::service_account;
use crate::inventory::Grant;
use crate::names::ClusterName;
use crate::object::ObjectRef;
use crate::observed::ObservedCluster;

/// Tells a cluster from another one with a copy of its uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The uids of the ServiceAccounts of its grants.
    accounts: Box<[(ObjectRef, String)]>,
    /// Whether an output holds a credential that was issued for one of these.
    is_known: bool,
}

impl Evidence {
    /// Collects the evidence from what was read of a cluster, and from its outputs.
    pub(super) fn of(input: &PlanInput<'_>) -> Self {
        let accounts = input.grants.iter().filter_map(|grant| {
            let account = service_account(&grant.grant);
            let uid = &input.observed.objects.get(&account)?.uid;
            Some((account, grant, uid))
        });
        Self {
            is_known: accounts.clone().any(|(_, grant, uid)| holds_credential_for(grant, uid)),
            accounts: accounts.map(|(account, _, uid)| (account, uid.clone())).collect(),
        }
    }

    /// Collects the evidence for a revocation. What the outputs hold tells nothing there: whoever is in doubt loses
    /// nothing.
    pub(crate) fn of_revocation(grants: &[Arc<Grant>], observed: &ObservedCluster) -> Self {
        let accounts = grants.iter().map(|grant| service_account(grant));
        let known = accounts.filter_map(|account| Some((account.clone(), observed.objects.get(&account)?.uid.clone())));
        Self { accounts: known.collect(), is_known: false }
    }

    /// Whether these certainly are two clusters.
    fn contradicts(&self, other: &Self) -> bool {
        let differs = |(account, uid): &(ObjectRef, String)| {
            other.accounts.iter().any(|(other, other_uid)| other == account && other_uid != uid)
        };
        self.accounts.iter().any(differs)
    }
}

fn holds_credential_for(grant: &GrantInput, uid: &str) -> bool {
    let stored = grant.outputs.iter().filter_map(|read| read.held()?.stored());
    stored.into_iter().any(|stored| stored.claims.service_account_uid.as_deref() == Some(uid))
}

/// The clusters that have responded so far, by the uid that they claim to have.
#[derive(Debug, Default)]
pub(crate) struct Identities(BTreeMap<String, Vec<(ClusterName, Arc<Evidence>)>>);

impl Identities {
    /// Adds a cluster.
    pub(crate) fn add(&mut self, Assessed { plan, assessment }: &Assessed) {
        // Few share one, and there may be ten thousand clusters.
        let same = self.0.entry(plan.cluster_uid.clone()).or_insert_with(|| Vec::with_capacity(1));
        same.push((plan.cluster.clone(), Arc::clone(&assessment.evidence)));
    }

    /// Blocks a plan if another cluster that was added may be the same API server and is known, or as little known as
    /// this one.
    pub(crate) fn judge(&self, Assessed { plan, assessment }: &mut Assessed) {
        let others = self.0.get(&plan.cluster_uid).into_iter().flatten().filter(|(name, _)| *name != plan.cluster);
        let (copies, rivals): (Vec<_>, Vec<_>) =
            others.partition(|(_, evidence)| evidence.contradicts(&assessment.evidence));
        let names = |list: &[&(ClusterName, Arc<Evidence>)]| {
            list.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        // Two renewals of credentials in use do not disturb each other: each has its own claims and files.
        let is_alone = plan.extent == Extent::Credentials || !rivals.iter().any(|(_, evidence)| evidence.is_known);
        let is_ahead = assessment.evidence.is_known && is_alone;
        if rivals.is_empty() || is_ahead {
            let suspicious = [copies, rivals].concat();
            if !suspicious.is_empty() {
                let message = format!(
                    "{} answers with the identity of this cluster (the uid of namespace kube-system), and is another: \
                     it is a copy of its etcd, or not to be trusted",
                    names(&suspicious)
                );
                plan.note([Note::new(NoteKind::CopiedIdentity, message)]);
            }
            return;
        }
        // Its other blockers are only consequences, and their hints would mislead.
        plan.blockers = vec![Blocker {
            profile: None,
            kind: BlockerKind::SameCluster,
            message: format!("it is the same API server as {}, or answers with its identity", names(&rivals)),
            hint: Some(
                "keep one of the names in the inventory; if these are two clusters, one is a copy of the other's etcd, or \
                 not to be trusted"
                    .to_owned(),
            ),
        }];
    }
}

/// Blocks every cluster that has a second name in the inventory: two names for one API server would fight over the same
/// objects.
pub(crate) fn block_duplicates(plans: &mut [&mut Assessed]) {
    let mut identities = Identities::default();
    for plan in plans.iter() {
        identities.add(plan);
    }
    for plan in plans {
        identities.judge(plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;
    use crate::plan::tests_support::empty_plan;
    use crate::plan::{Assessment, ClusterPlan};

    fn evidence(account_uid: &str, is_known: bool) -> Evidence {
        let account = ObjectRef::namespaced(Kind::ServiceAccount, "kubemint", "reader");
        Evidence { accounts: [(account, account_uid.to_owned())].into(), is_known }
    }

    fn assessed(cluster: &str, evidence: Evidence, extent: Extent) -> Assessed {
        let plan = ClusterPlan { extent, ..empty_plan(cluster, "the same uid") };
        Assessed { plan, assessment: Assessment { evidence: Arc::new(evidence), ..Assessment::default() } }
    }

    /// Two clusters with the same uid: which are blocked, and which get a note.
    #[track_caller]
    fn check(one: Evidence, other: Evidence, blocked: [bool; 2], noted: [bool; 2]) {
        check_in(Extent::Access, one, other, blocked, noted);
    }

    #[track_caller]
    fn check_in(extent: Extent, one: Evidence, other: Evidence, blocked: [bool; 2], noted: [bool; 2]) {
        let mut plans = [("one", one), ("other", other)].map(|(name, evidence)| assessed(name, evidence, extent));
        block_duplicates(&mut plans.iter_mut().collect::<Vec<_>>());
        let is_blocked = |it: &Assessed| it.plan.blockers.iter().any(|found| found.kind == BlockerKind::SameCluster);
        let is_noted = |it: &Assessed| it.plan.notes.iter().any(|note| note.kind == NoteKind::CopiedIdentity);
        assert_eq!((plans.each_ref().map(is_blocked), plans.each_ref().map(is_noted)), (blocked, noted));
    }

    #[test]
    fn a_copied_identity_blocks_nobody_who_is_known() {
        let nothing = Evidence::default();
        check(nothing.clone(), nothing.clone(), [true, true], [false, false]);
        check(evidence("u", false), evidence("u", false), [true, true], [false, false]);
        // One is in use already, so the other is blocked.
        check(evidence("u", true), nothing.clone(), [false, true], [true, false]);
        check(evidence("u", true), evidence("u", false), [false, true], [true, false]);
        // Both are in use, so it cannot be told which one is right.
        check(evidence("u", true), evidence("u", true), [true, true], [false, false]);
        check_in(Extent::Credentials, evidence("u", true), evidence("u", true), [false, false], [true, true]);
        check_in(Extent::Credentials, evidence("u", true), nothing.clone(), [false, true], [true, false]);
        // The same account has two uids, so these are two clusters.
        check(evidence("u", true), evidence("v", true), [false, false], [true, true]);
        check(evidence("u", false), evidence("v", false), [false, false], [true, true]);
    }

    /// Clusters are judged in the order in which they respond: a later one does not replace an earlier one, unless it
    /// is known.
    #[test]
    fn who_answers_later_is_judged_by_who_answered_before() {
        let mut identities = Identities::default();
        let mut first = assessed("first", evidence("u", false), Extent::Credentials);
        identities.add(&first);
        identities.judge(&mut first);
        let mut second = assessed("second", evidence("u", true), Extent::Credentials);
        identities.add(&second);
        identities.judge(&mut second);
        assert!(first.plan.blockers.is_empty() && second.plan.blockers.is_empty());
        let mut third = assessed("third", evidence("u", false), Extent::Credentials);
        identities.add(&third);
        identities.judge(&mut third);
        assert_eq!(third.plan.blockers.len(), 1);
    }
}
