//! Clusters whose name may be another one's: the source that has the name did not say all that it finds. What outputs hold under
//! that name may then be of its cluster, which nobody who plans sees. Pure.

use std::sync::Arc;

use super::{Blocker, BlockerKind};
use crate::delivery::{Place, ReadPlace};
use crate::failure::clean;
use crate::inventory::{Contest, Grant};
use crate::observed::ObservedObject;

/// What a place says of the API server that it gives access to.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The place.
    pub place: Arc<Place>,
    /// The uid of the namespace kube-system, if the place says it.
    pub cluster_uid: Option<String>,
    /// The uids of the ServiceAccount and of the anchor that its token is bound to.
    pub token: Option<(Option<String>, Option<String>)>,
}

/// Returns what the places of a grant say of its API server; nothing where nobody contests the name of the cluster.
pub(crate) fn origins(grant: &Grant, outputs: &[ReadPlace]) -> Vec<Origin> {
    if grant.cluster.contested_by.is_empty() {
        return vec![];
    }
    let origin = |read: &ReadPlace| {
        let held = read.held()?;
        let token = held.stored().map(|stored| &stored.claims);
        Some(Origin {
            place: read.place.clone(),
            cluster_uid: held.cluster_uid().map(str::to_owned),
            token: token.map(|claims| (claims.service_account_uid.clone(), claims.anchor_uid.clone())),
        })
    };
    outputs.iter().filter_map(origin).collect()
}

/// Which API server answers, as far as that is known.
pub(super) struct Answering<'a> {
    /// The uid of the namespace kube-system.
    pub uid: Option<&'a str>,
    /// The ServiceAccount of the grant there.
    pub account: Option<&'a ObservedObject>,
    /// Whether a place, of whichever grant of the cluster, says that it is of this server.
    pub is_known: bool,
}

/// Returns whether one of some places says that it is of the API server that answers.
pub(super) fn is_known<'a>(uid: Option<&str>, origins: impl IntoIterator<Item = &'a Origin>) -> bool {
    let uid = uid.filter(|uid| !uid.is_empty());
    uid.is_some() && origins.into_iter().any(|origin| origin.cluster_uid.as_deref() == uid)
}

/// Finds a place that holds access to another API server than the one that answers.
fn elsewhere<'a>(origins: &'a [Origin], answering: &Answering<'_>) -> Option<&'a Origin> {
    let now = answering.uid.filter(|uid| !uid.is_empty());
    // Where one place is of this server, a token that says nothing of its server belongs to it, too: its ServiceAccount may
    // have been made anew, as `kubemint revoke --hard` does it.
    let one_is_here = answering.is_known;
    let account_uid = answering.account.map(|account| account.uid.as_str());
    let index = answering.account.and_then(|account| account.index().ok());
    let was_minted_here = |anchor: Option<&str>| {
        let chains = index.iter().flat_map(|index| index.holders.values());
        anchor.is_some() && chains.flat_map(|chain| &chain.generations).any(|it| it.anchor_uid.as_deref() == anchor)
    };
    origins.iter().find(|origin| match (&origin.cluster_uid, now) {
        (Some(before), Some(now)) => before != now,
        // A file with nothing but a token says whose it is with the ServiceAccount.
        _ => origin.token.as_ref().is_some_and(|(account, anchor)| {
            !one_is_here && account.as_deref() != account_uid && !was_minted_here(anchor.as_deref())
        }),
    })
}

/// Blocks a grant of a cluster that may have another one's name, where a place holds access to another API server.
pub(super) fn taken_name(grant: &Grant, origins: &[Origin], answering: &Answering<'_>) -> Option<Blocker> {
    let Grant { cluster, profile, .. } = grant;
    let (Contest { source, left_out }, own) = (cluster.contested_by.first()?, cluster.found_by.as_ref()?);
    let what_now = match left_out.as_deref() {
        None => format!("wait until discovery `{source}` answers"),
        Some(why) => format!("mend what discovery `{source}` leaves out ({})", clean(why)),
    };
    let place = &elsewhere(origins, answering)?.place;
    Some(Blocker {
        kind: BlockerKind::AnotherServer,
        profile: Some(profile.name.clone()),
        message: format!(
            "`{place}` gives access to another API server than the one that discovery `{own}` found as `{}`: it may be that of \
             discovery `{source}`, of which not all clusters are known, and which comes first",
            cluster.name
        ),
        hint: Some(format!(
            "{what_now}, and give its clusters names of their own, as in `name = \"{source}-{{name}}\"`; if the cluster was moved to `{own}` for good, remove what the output has of it first"
        )),
    })
}

/// Blocks the revocation of a grant of such a cluster: it would end what is alive in the other one, and present a token that
/// may have leaked to a server that it is not for.
pub(super) fn not_revoked(grant: &Grant, origins: &[Origin], answering: &Answering<'_>) -> Option<Blocker> {
    let blocker = taken_name(grant, origins, answering)?;
    let (name, before) = (&grant.cluster.name, blocker.hint.unwrap_or_default());
    Some(Blocker {
        message: format!("{}; nothing is revoked in `{name}`", blocker.message),
        hint: Some(format!(
            "to revoke at once what the output has, name its cluster in the inventory: a `[[clusters]]` with `name = \
             \"{name}\"` and its own `admin` comes before what is found; otherwise {before}"
        )),
        ..blocker
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::credential::tests_support::generation;
    use crate::credential::{Generation, HolderIndex, Index};
    use crate::names::INDEX_ANNOTATION;

    fn origin(cluster_uid: Option<&str>, token: Option<(&str, &str)>) -> Origin {
        let some = |text: &str| Some(text.to_owned());
        Origin {
            place: Arc::new(Place::context("/x/out", "prod")),
            cluster_uid: cluster_uid.map(str::to_owned),
            token: token.map(|(account, anchor)| (some(account), some(anchor))),
        }
    }

    #[track_caller]
    fn check(origins: &[Origin], account: Option<&str>, is_elsewhere: bool) {
        let recorded = Generation { anchor_uid: Some("listed".to_owned()), ..generation(1, "run") };
        let chain = HolderIndex { next: 2, generations: vec![recorded], ..HolderIndex::default() };
        let mut index = Index::default();
        index.holders.insert("default".to_owned(), chain);
        let annotations = BTreeMap::from([(INDEX_ANNOTATION.to_owned(), index.to_annotation())]);
        let account =
            account.map(|uid| ObservedObject { uid: uid.to_owned(), annotations, ..ObservedObject::default() });
        let is_known = is_known(Some("here"), origins);
        let answering = Answering { uid: Some("here"), account: account.as_ref(), is_known };
        assert_eq!(elsewhere(origins, &answering).is_some(), is_elsewhere, "{origins:?}");
    }

    /// After `revoke --hard`, or when somebody deleted it, the ServiceAccount is another one in the same cluster.
    #[test]
    fn a_new_account_is_not_another_server() {
        let bare = || origin(None, Some(("before", "gone")));
        for account in [None, Some("anew")] {
            check(&[origin(Some("here"), None), bare()], account, false);
            check(&[bare(), origin(Some("here"), Some(("before", "gone")))], account, false);
            check(&[origin(Some("there"), None)], account, true);
            check(&[origin(Some("here"), None), origin(Some("there"), None)], account, true);
            // Nothing says that it was here.
            check(&[bare()], account, true);
            check(&[origin(None, None)], account, false);
        }
        check(&[bare()], Some("before"), false);
        // The index came back with the account, as out of a backup.
        check(&[origin(None, Some(("before", "listed")))], Some("anew"), false);
        check(&[], Some("anew"), false);
    }
}
