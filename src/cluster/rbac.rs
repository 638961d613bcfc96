//! Reads the roles and bindings that concern some accounts.
//!
//! All bindings of the cluster are listed, page by page, and only those whose subjects include one of the accounts are
//! kept. Of roles, only those that matter are read, by name, because clusters have hundreds.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{Api, Request};
use super::observe::pages;
use crate::access::{Account, Binding, Policy, RoleRules};
use crate::failure::ApiFailure;
use crate::inventory::{Intended, IntendedSource};
use crate::object::{Kind, ObjectRef};
use crate::observed::ObservedObject;

/// Reads the policy that concerns some accounts, and the roles that their profiles refer to. Returns nothing if the
/// caller may not list bindings.
///
/// # Errors
///
/// The first request that failed otherwise.
pub(crate) async fn read_policy(
    api: &Api,
    accounts: &BTreeSet<Account>,
    intended: &[Intended],
) -> Result<Option<Policy>, ApiFailure> {
    // Keyed by address, because a list that starts again hands out some objects twice.
    let mut bindings = BTreeMap::new();
    for kind in [Kind::ClusterRoleBinding, Kind::RoleBinding] {
        let mut within = Ok(());
        let mut keep = |object, item: &_| {
            let observed = ObservedObject::from_json(item);
            let weight = observed.weight();
            let binding = Binding::new(object, observed);
            let is_meant = |binding: &Binding| accounts.iter().any(|account| binding.means(account).is_some());
            let Some(binding) = binding.filter(is_meant) else { return };
            within = within.clone().and_then(|()| api.keep(weight));
            if within.is_ok() {
                bindings.insert(binding.object.clone(), binding);
            }
        };
        match pages(api, kind, None, &mut keep).await {
            Err(failure) if failure.is_forbidden() => return Ok(None),
            result => result?,
        }
        within?;
    }
    let meant = intended.iter().filter_map(|part| match &part.source {
        IntendedSource::Role(role) => Some(role.object(part.scope.namespace())),
        IntendedSource::Profile(_) => None,
    });
    let wanted: BTreeSet<ObjectRef> = bindings.values().map(Binding::role_object).chain(meant).collect();
    let mut roles = BTreeMap::new();
    for role in wanted {
        let rules = match api.object(&Request::get(role.path()), &role).await {
            Ok(answer) => RoleRules::Known(ObservedObject::from_json(&answer.value).rules),
            Err(failure) if failure.is_not_found() => RoleRules::Absent,
            Err(failure) if failure.is_forbidden() => RoleRules::Unreadable,
            Err(failure) => return Err(failure),
        };
        roles.insert(role, rules);
    }
    Ok(Some(Policy { bindings: bindings.into_values().collect(), roles }))
}
