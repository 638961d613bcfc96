//! Files with a token and nothing else: reading them, and finding those that leave.

use std::path::Path;
use std::sync::Arc;

use super::leaving::{Leavings, Wanted};
use super::reading::unusable;
use super::{Outputs, Reading};
use crate::delivery::{Format, Found, Held, Others, Place, ReadPlace, Removal, TokenOwner, TokenRemoval};
use crate::desired::service_account_user;
use crate::error::Error;
use crate::executor::publish::{TargetFile, describe};
use crate::inventory::{Grant, GrantKey, Inventory};
use crate::names::Holder;
use crate::plan::BlockerKind;
use crate::store;

/// Returns whose token a file of a grant should hold.
pub(crate) fn token_owner(inventory: &Inventory, holder: &Holder, grant: &Grant) -> TokenOwner {
    TokenOwner {
        inventory: inventory.name.clone(),
        holder: holder.clone(),
        account: grant.profile.service_account.clone(),
        user: service_account_user(grant),
    }
}

/// Reads a file that should hold a token and nothing else.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn read_token(path: &Path, owner: &TokenOwner) -> Result<Found, Error> {
    let content = store::read(path).map_err(|error| unusable(path, describe(&error).cause))?;
    Ok(match owner.read(&content.unwrap_or_default()) {
        Ok(None) => Found::Nothing,
        Ok(Some(held)) => Found::Ours(Held::TokenFile(Arc::new(held))),
        Err(why) => Found::Others(Others {
            what: "the file".to_owned(),
            owner: why.to_owned(),
            hint: "move it away, or set another `path` in that `[[outputs]]`",
            unmarked: None,
        }),
    })
}

impl Reading {
    /// Reads the files with tokens that selected grants go to.
    pub(super) fn read_tokens(&self, outputs: &mut Outputs, is_selected: &dyn Fn(&GrantKey) -> bool) {
        for file in &self.layout.files {
            let Some(key) = file.token_of.as_ref().filter(|key| is_selected(key)) else { continue };
            let Some(grant) = self.inventory.grant(key) else { continue };
            outputs.files.insert(file.path.clone(), Arc::new(TargetFile::of_nothing(&file.path)));
            let found = read_token(&file.path, &token_owner(&self.inventory, &self.holder, grant));
            let found = found.unwrap_or_else(|error| {
                let failure = super::reading::failure(error);
                outputs.unusable.entry(key.clone()).or_insert((BlockerKind::OutputUnusable, failure));
                Found::Nothing
            });
            let read = ReadPlace {
                place: Arc::new(Place::token_file(&file.path)),
                format: Arc::new(Format::TokenFile),
                found,
            };
            outputs.add(key.clone(), read);
        }
    }

    /// Finds the files with tokens that leave. Which cluster a token is for it does not say, so those of grants that are gone
    /// are not found.
    pub(super) fn find_leaving_tokens(&self, wanted: &Wanted, found: &mut Leavings) {
        for file in &self.layout.files {
            let Some(key) = file.token_of.as_ref().filter(|key| wanted.includes(key)) else { continue };
            let Some(grant) = self.inventory.grant(key) else { continue };
            let owner = token_owner(&self.inventory, &self.holder, grant);
            // Trying to remove what cannot be read fails, and the report of the cluster says so.
            if matches!(read_token(&file.path, &owner), Ok(Found::Nothing | Found::Others(_))) {
                continue;
            }
            let removal = TokenRemoval { token_file: file.path.clone(), owner };
            self.add(key, Removal::TokenFile(removal), wanted, found);
        }
    }
}
