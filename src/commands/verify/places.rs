//! What the output files hold for some grants. Unlike an apply, a verification goes on where a file
//! cannot be used: that is what it is there to find.

use std::collections::{BTreeMap, BTreeSet};

use crate::delivery::{Layout, OutputFile};
use crate::executor::publish::describe;
use crate::executor::verify::Place;
use crate::failure::StepFailure;
use crate::fleet::{PluginCaller, with_token_file};
use crate::inventory::{GrantKey, Inventory};
use crate::kubeconfig::{Document, EntryNames, EntryState, Held, Mark, RENAME, UserForm, foreign_owner};
use crate::names::Holder;
use crate::store;

/// Reads the outputs of some grants.
pub(super) fn read(
    inventory: &Inventory,
    layout: &Layout,
    holder: &Holder,
    caller: &PluginCaller,
    grants: &BTreeSet<GrantKey>,
) -> BTreeMap<GrantKey, Vec<Place>> {
    let mut places: BTreeMap<GrantKey, Vec<Place>> = BTreeMap::new();
    for file in &layout.files {
        if !file.entries.iter().any(|entry| grants.contains(&entry.grant)) {
            continue;
        }
        let document = document(file);
        for entry in file.entries.iter().filter(|entry| grants.contains(&entry.grant)) {
            let names = caller.names(inventory, holder, &file.path, entry);
            let mark = Mark::of(&inventory.name, holder, &entry.grant);
            let held = document.as_ref().map_err(Clone::clone).and_then(|document| {
                let state = with_token_file(&file.path, &names, &mark, document.state(&names, &mark));
                state
                    .map_err(|error| StepFailure { hint: error.hint, ..StepFailure::new(error.causes.join(": ")) })
                    .and_then(|state| held(&names, state))
            });
            places.entry(entry.grant.clone()).or_default().push(Place {
                path: file.path.clone(),
                context: entry.context.clone(),
                names,
                mark,
                held,
            });
        }
    }
    places
}

fn document(file: &OutputFile) -> Result<Document, StepFailure> {
    let unusable = |cause: String| StepFailure::new(cause).hint("repair or move that file");
    let bytes = store::read(&file.path).map_err(|error| describe(&error))?;
    let bytes = bytes.ok_or_else(|| StepFailure::new("the file does not exist").hint(APPLY))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
    Document::parse(text).map_err(|error| unusable(error.to_string()))
}

/// What to do about a credential that is not there.
const APPLY: &str = "`kubemint apply` writes it; `kubemint plan` shows what may stand in the way";

fn held(names: &EntryNames, state: EntryState) -> Result<Box<Held>, StepFailure> {
    match state {
        EntryState::Ours(held) if matches!(names.form, UserForm::Exec(_)) => Ok(held),
        EntryState::Absent => Err(StepFailure::new("it has no such context").hint(APPLY)),
        EntryState::Foreign { list, name, inventory, .. } => {
            Err(StepFailure::new(format!("its {list} `{name}` {}", foreign_owner(inventory.as_deref()))).hint(RENAME))
        }
        EntryState::Ours(held) => match (&held.credential, &held.other_holder) {
            (Some(_), _) => Ok(held),
            (None, Some(other)) => Err(StepFailure::new(format!("it has the credential of holder `{}`", other.holder))
                .hint("give each holder outputs of its own, as with `{holder}` in `path`")),
            (None, None) => Err(StepFailure::new("its entry has no token of this grant that can be read").hint(APPLY)),
        },
    }
}
