//! Which clusters of an inventory are one and the same API server.
//!
//! The uid of the namespace kube-system identifies a cluster, and anybody can copy it: a compromised API server, or
//! an etcd that was cloned. So it only raises the question. Two that have the same ServiceAccount under different
//! uids are two. Otherwise the one goes on that is known: the outputs hold a credential for it that was issued for
//! the very ServiceAccount that it has. Pure: no I/O.

use std::collections::BTreeMap;

use super::{Assessed, Blocker, BlockerKind, Extent, GrantInput, Note, NoteKind, PlanInput};
use crate::desired::service_account;
use crate::names::ClusterName;
use crate::object::ObjectRef;

/// What tells a cluster from one that copies its uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The uids of the ServiceAccounts of its grants.
    accounts: BTreeMap<ObjectRef, String>,
    /// Whether an output holds a credential that was issued for one of these.
    is_known: bool,
}

impl Evidence {
    /// Collects what was read of a cluster, and what the outputs hold for it.
    pub(super) fn of(input: &PlanInput<'_>) -> Self {
        let mut evidence = Self::default();
        for grant in input.grants {
            let account = service_account(&grant.grant);
            let Some(observed) = input.observed.objects.get(&account) else { continue };
            evidence.is_known |= holds_credential_for(grant, &observed.uid);
            evidence.accounts.insert(account, observed.uid.clone());
        }
        evidence
    }

    /// Whether two clusters certainly are two.
    fn contradicts(&self, other: &Self) -> bool {
        self.accounts.iter().any(|(account, uid)| other.accounts.get(account).is_some_and(|other| other != uid))
    }
}

fn holds_credential_for(grant: &GrantInput, uid: &str) -> bool {
    let stored = grant.outputs.iter().filter_map(|read| read.held()?.stored());
    stored.into_iter().any(|stored| stored.claims.service_account_uid.as_deref() == Some(uid))
}

/// The clusters that have answered so far, by the uid that they say they have.
#[derive(Debug, Default)]
pub(crate) struct Identities(BTreeMap<String, Vec<(ClusterName, Evidence)>>);

impl Identities {
    /// Adds a cluster.
    pub(crate) fn add(&mut self, Assessed { plan, assessment }: &Assessed) {
        let same = self.0.entry(plan.cluster_uid.clone()).or_default();
        same.push((plan.cluster.clone(), assessment.evidence.clone()));
    }

    /// Blocks a plan if another cluster that was added may be the same API server and has the better claim to go on,
    /// or as good a one.
    pub(crate) fn judge(&self, Assessed { plan, assessment }: &mut Assessed) {
        let others = self.0.get(&plan.cluster_uid).into_iter().flatten().filter(|(name, _)| *name != plan.cluster);
        let (copies, rivals): (Vec<_>, Vec<_>) =
            others.partition(|(_, evidence)| evidence.contradicts(&assessment.evidence));
        let names = |list: &[&(ClusterName, Evidence)]| {
            list.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        // A renewal of what is in use concerns nobody else: each has claims and files of its own.
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
                plan.notes.push(Note::new(NoteKind::CopiedIdentity, message));
            }
            return;
        }
        // Whatever else was found there is a consequence of it, and its hints would mislead.
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

/// Blocks every cluster that another name in the inventory reaches as well: two names for one API server would fight
/// over the same objects.
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
        Evidence { accounts: BTreeMap::from([(account, account_uid.to_owned())]), is_known }
    }

    fn assessed(cluster: &str, evidence: Evidence, extent: Extent) -> Assessed {
        let plan = ClusterPlan { extent, ..empty_plan(cluster, "the same uid") };
        Assessed { plan, assessment: Assessment { evidence, ..Assessment::default() } }
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
        // One was in use before: the newcomer is blocked.
        check(evidence("u", true), nothing.clone(), [false, true], [true, false]);
        check(evidence("u", true), evidence("u", false), [false, true], [true, false]);
        // Both are in use: which of them is right cannot be told.
        check(evidence("u", true), evidence("u", true), [true, true], [false, false]);
        check_in(Extent::Credentials, evidence("u", true), evidence("u", true), [false, false], [true, true]);
        check_in(Extent::Credentials, evidence("u", true), nothing.clone(), [false, true], [true, false]);
        // One account has two uids: these are two clusters.
        check(evidence("u", true), evidence("v", true), [false, false], [true, true]);
        check(evidence("u", false), evidence("v", false), [false, false], [true, true]);
    }

    /// Clusters are judged as they answer: who comes later does not take away from who came first, unless it is known.
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
