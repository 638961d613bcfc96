//! Reads the outputs of some grants. Unlike an apply, a verification goes on if a file cannot be used, because it
//! has to report that.

use std::collections::{BTreeMap, BTreeSet};

use crate::delivery::{Format, Found, Held, Layout, Others, OutputFile, Place};
use crate::executor::Hubs;
use crate::executor::publish::describe;
use crate::executor::verify::UsedPlace;
use crate::failure::StepFailure;
use crate::fleet::{PluginCaller, read_secrets, read_token, token_owner, with_token_file};
use crate::inventory::{GrantKey, Inventory};
use crate::kubeconfig::{Document, Mark};
use crate::names::{Holder, InventoryName};
use crate::store;

/// Reads the outputs of some grants.
pub(super) fn read(
    inventory: &Inventory,
    layout: &Layout,
    holder: &Holder,
    caller: &PluginCaller,
    grants: &BTreeSet<GrantKey>,
) -> BTreeMap<GrantKey, Vec<UsedPlace>> {
    let mut places: BTreeMap<GrantKey, Vec<UsedPlace>> = BTreeMap::new();
    for file in &layout.files {
        if let Some(grant) =
            file.token_of.as_ref().filter(|grant| grants.contains(grant)).and_then(|it| inventory.grant(it))
        {
            let found = read_token(&file.path, &token_owner(inventory, holder, grant));
            let found =
                found.map_err(|error| StepFailure { hint: error.hint, ..StepFailure::new(error.causes.join(": ")) });
            let format = Format::TokenFile;
            let held = found.and_then(|found| held_in(&format, found));
            let (place, mark) = (Place::token_file(&file.path), Mark::of(&inventory.name, holder, &grant.key()));
            add(&mut places, grant.key(), UsedPlace { place, format, mark, held });
        }
        if !file.entries.iter().any(|entry| grants.contains(&entry.grant)) {
            continue;
        }
        let document = document(file);
        for entry in file.entries.iter().filter(|entry| grants.contains(&entry.grant)) {
            let names = caller.names(inventory, holder, &file.path, entry);
            let mark = Mark::of(&inventory.name, holder, &entry.grant);
            let held = document.as_ref().map_err(Clone::clone).and_then(|document| {
                let state = with_token_file(&file.path, &names, &mark, document.state(&names, &mark));
                state.map_err(|error| StepFailure { hint: error.hint, ..StepFailure::new(error.causes.join(": ")) })
            });
            let place = Place::context(&file.path, &entry.context);
            let format = Format::Kubeconfig(names);
            let held = held.and_then(|state| held_in(&format, state.into()));
            add(&mut places, entry.grant.clone(), UsedPlace { place, format, mark, held });
        }
    }
    places
}

/// Adds the Secrets of some grants.
pub(super) async fn add_secrets(
    places: &mut BTreeMap<GrantKey, Vec<UsedPlace>>,
    hubs: &Hubs,
    (inventory, layout, holder): (&InventoryName, &Layout, &Holder),
    grants: &BTreeSet<GrantKey>,
) {
    let targets = layout.secrets.iter().filter(|target| grants.contains(&target.grant)).collect();
    for (target, read) in read_secrets(hubs, (inventory, holder), targets).await {
        let mark = Mark::of(inventory, holder, &target.grant);
        let (place, format) = (Place::Secret(target.place.clone()), Format::Secret(Box::new(target.form.clone())));
        let held = read.and_then(|held| held_in(&format, held.into()));
        add(places, target.grant.clone(), UsedPlace { place, format, mark, held });
    }
}

/// Adds a place. Most grants have one, and there may be ten thousand of them.
fn add(places: &mut BTreeMap<GrantKey, Vec<UsedPlace>>, grant: GrantKey, place: UsedPlace) {
    places.entry(grant).or_insert_with(|| Vec::with_capacity(1)).push(place);
}

fn document(file: &OutputFile) -> Result<Document, StepFailure> {
    let unusable = |cause: String| StepFailure::new(cause).hint("repair or move that file");
    let bytes = store::read(&file.path).map_err(|error| describe(&error))?;
    let bytes = bytes.ok_or_else(|| StepFailure::new("the file does not exist").hint(APPLY))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
    Document::parse(text).map_err(|error| unusable(error.to_string()))
}

/// The hint for a credential that is missing.
const APPLY: &str = "`kubemint apply` writes it; `kubemint plan` shows what may stand in the way";

fn held_in(format: &Format, found: Found) -> Result<Held, StepFailure> {
    match found {
        Found::Nothing => {
            let missing = match format {
                Format::Kubeconfig(_) => "it has no such context",
                Format::TokenFile | Format::Secret(_) => "it does not exist",
            };
            Err(StepFailure::new(missing).hint(APPLY))
        }
        Found::Others(Others { what, owner, hint, .. }) => {
            let its = if matches!(format, Format::Kubeconfig(_)) { "its " } else { "" };
            Err(StepFailure::new(format!("{its}{what} {owner}")).hint(hint))
        }
        Found::Ours(held) | Found::TakenBack(held) if !format.holds_credential() => Ok(held),
        Found::Ours(held) | Found::TakenBack(held) => match (held.stored(), held.other_holder()) {
            (Some(_), _) => Ok(held),
            (None, Some(other)) => Err(StepFailure::new(format!("it has the credential of holder `{}`", other.holder))
                .hint("give each holder outputs of its own, as with `{holder}` in `path`")),
            (None, None) => Err(StepFailure::new("it has no token of this grant that can be read").hint(APPLY)),
        },
    }
}
