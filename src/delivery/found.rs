//! What is at a place: nothing, entries of ours with their facts, or entries that are not ours.

use std::sync::Arc;

use super::secret::HeldSecret;
use super::token::HeldToken;
use super::{Format, Place, Wanted};
use crate::credential::{Credential, CredentialFacts, StoredCredential};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{self, EntryState, Mark, OtherHolder, RENAME, foreign_owner};
use crate::observed::Ownership;
use crate::secret::SecretToken;

/// A place that the credential of a grant goes to, and what was there when it was read.
#[derive(Debug, Clone)]
pub(crate) struct ReadPlace {
    /// What names it.
    pub place: Arc<Place>,
    /// In which form the credential is written there.
    pub format: Arc<Format>,
    /// What was found there.
    pub found: Found,
}

/// What is at a place.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// Entries of ours.
    Ours(Held),
    /// Entries of ours that lost their mark, and are taken back.
    TakenBack(Held),
    /// Entries that are not ours.
    Others(Others),
}

/// Something at a place that is not ours.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    /// What it is, as in ``cluster `x` ``.
    pub what: String,
    /// Its owner, as the end of a sentence about it.
    pub owner: String,
    /// What to do about it.
    pub hint: &'static str,
    /// The entries, if they may be ours without their mark; a Secret, because it may be taken over.
    pub unmarked: Option<Held>,
}

/// Our content of a place.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// Entries of a kubeconfig.
    Kubeconfig(Arc<kubeconfig::Held>),
    /// A token and nothing else.
    TokenFile(Arc<HeldToken>),
    /// A Secret.
    Secret(Arc<HeldSecret>),
}

impl ReadPlace {
    /// Returns our content, if it is ours or taken back.
    pub(crate) fn held(&self) -> Option<&Held> {
        match &self.found {
            Found::Ours(held) | Found::TakenBack(held) => Some(held),
            Found::Nothing | Found::Others(_) => None,
        }
    }

    /// Returns the Secret that is there, whoever's it is.
    pub(crate) fn secret(&self) -> Option<&Arc<HeldSecret>> {
        match &self.found {
            Found::Others(others) => others.unmarked.as_ref()?.secret(),
            Found::Nothing | Found::Ours(_) | Found::TakenBack(_) => self.held()?.secret(),
        }
    }

    /// Returns the credential that is there, even if it lost its mark.
    pub(crate) fn credential(&self) -> Option<Credential> {
        let held = match &self.found {
            Found::Others(others) => others.unmarked.as_ref(),
            Found::Nothing | Found::Ours(_) | Found::TakenBack(_) => self.held(),
        };
        held?.credential()
    }
}

impl From<EntryState> for Found {
    fn from(state: EntryState) -> Self {
        match state {
            EntryState::Absent => Self::Nothing,
            EntryState::Ours(held) => Self::Ours(Held::Kubeconfig(held)),
            EntryState::Foreign { list, name, inventory, unmarked } => Self::Others(Others {
                what: format!("{list} `{name}`"),
                owner: foreign_owner(inventory.as_deref()),
                hint: RENAME,
                unmarked: unmarked.map(Held::Kubeconfig),
            }),
        }
    }
}

impl From<Option<HeldSecret>> for Found {
    fn from(held: Option<HeldSecret>) -> Self {
        let Some(held) = held.map(Arc::new) else { return Self::Nothing };
        let owner = match &held.ownership {
            Ownership::Ours => return Self::Ours(Held::Secret(held)),
            Ownership::OtherInventory(inventory) => foreign_owner(Some(inventory)),
            Ownership::Foreign(Some(manager)) => format!("is managed by `{manager}`, not by kubemint"),
            Ownership::Foreign(None) => foreign_owner(None),
        };
        Self::Others(Others {
            what: "the Secret".to_owned(),
            owner,
            hint: "delete it, or set another `name` in that `[[outputs]]`",
            unmarked: Some(Held::Secret(held)),
        })
    }
}

impl Held {
    /// Returns the Secret, if it is one.
    pub(crate) fn secret(&self) -> Option<&Arc<HeldSecret>> {
        match self {
            Self::Kubeconfig(_) | Self::TokenFile(_) => None,
            Self::Secret(held) => Some(held),
        }
    }

    fn held_credential(&self) -> Option<&(StoredCredential, CredentialFacts)> {
        match self {
            Self::Kubeconfig(held) => held.credential.as_ref(),
            Self::TokenFile(held) => held.credential.as_ref(),
            Self::Secret(held) => held.credential.as_ref(),
        }
    }

    /// Returns the token, if it belongs to the grant and holder in question and can be read.
    pub(crate) fn stored(&self) -> Option<&StoredCredential> {
        self.held_credential().map(|(stored, _)| stored)
    }

    /// Returns the facts about that token.
    pub(crate) fn facts(&self) -> Option<&CredentialFacts> {
        self.held_credential().map(|(_, facts)| facts)
    }

    /// Returns token and facts, in a form that can be delivered elsewhere.
    pub(crate) fn credential(&self) -> Option<Credential> {
        let (stored, facts) = self.held_credential()?;
        Some(Credential { facts: facts.clone(), token: stored.token.clone() })
    }

    /// Returns the holder and validity of the credential, if it belongs to another holder.
    pub(crate) fn other_holder(&self) -> Option<&OtherHolder> {
        match self {
            Self::Kubeconfig(held) => held.other_holder.as_ref(),
            Self::TokenFile(held) => held.other_holder.as_ref(),
            Self::Secret(held) => held.other_holder.as_ref(),
        }
    }

    /// Returns whether it holds this token.
    pub(crate) fn holds(&self, token: &SecretToken) -> bool {
        match self {
            Self::Kubeconfig(held) => held.holds(token),
            Self::TokenFile(_) | Self::Secret(_) => self.stored().is_some_and(|stored| stored.token.is_same_as(token)),
        }
    }

    /// Returns the uid that the cluster's namespace kube-system had when it was written.
    pub(crate) fn cluster_uid(&self) -> Option<&str> {
        match self {
            Self::Kubeconfig(held) => held.cluster_uid(),
            Self::TokenFile(_) => None,
            Self::Secret(held) => held.cluster_uid(),
        }
    }

    /// Returns whether all wanted entries or keys exist, whatever their values.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Kubeconfig(held) => held.is_complete(),
            Self::TokenFile(_) => true,
            Self::Secret(held) => held.is_complete,
        }
    }

    /// Returns whether there is anything beside a token.
    pub(crate) fn says_something(&self) -> bool {
        match self {
            Self::Kubeconfig(held) => held.has_entries(),
            Self::TokenFile(_) => false,
            Self::Secret(_) => true,
        }
    }

    /// Returns the fields in which it differs from what is wanted; nothing if it is exactly that.
    pub(crate) fn differences(&self, wanted: &Wanted) -> Vec<FieldDiff> {
        match (self, wanted) {
            (Self::Kubeconfig(held), Wanted::Kubeconfig(wanted)) => held.differences(wanted),
            (Self::Secret(held), Wanted::Secret(wanted)) => held.differences(wanted),
            (Self::TokenFile(_), Wanted::TokenFile(wanted)) => {
                let is_another = wanted.as_ref().is_some_and(|wanted| !self.holds(wanted));
                let [removed, added] = [FieldDiff::WAS, FieldDiff::WRITTEN].map(|text| vec![text.to_owned()]);
                is_another.then(|| FieldDiff { field: "token".to_owned(), removed, added }).into_iter().collect()
            }
            _ => unreachable!("{MIXED}"),
        }
    }

    /// Returns whether it differs from what is wanted in a field that does not depend on how the cluster is reached.
    pub(crate) fn is_altered_wherever_it_leads(&self, format: &Format, mark: &Mark) -> bool {
        match (self, format) {
            (Self::Kubeconfig(held), Format::Kubeconfig(names)) => held.is_altered_wherever_it_leads(names, mark),
            (Self::Secret(held), Format::Secret(form)) => held.is_altered_wherever_it_leads(form, mark),
            (Self::TokenFile(_), Format::TokenFile) => false,
            _ => unreachable!("{MIXED}"),
        }
    }

    /// Returns whether entries can be taken for ours without a loss to anybody: see [`kubeconfig::Held::gives_ours`]. A
    /// Secret that is not marked is somebody's.
    pub(crate) fn gives_ours(&self, format: &Format, wanted: &Wanted, account_uid: &str) -> bool {
        match (self, format, wanted) {
            (Self::Kubeconfig(held), Format::Kubeconfig(names), Wanted::Kubeconfig(wanted)) => {
                held.gives_ours(names, wanted, account_uid)
            }
            _ => false,
        }
    }

    /// Returns whether another place leads to the same server in the same way, as far as that shows.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kubeconfig(held), Self::Kubeconfig(other)) => held.is_reached_like(other),
            // What a Secret says of the server is compared with the inventory; its token, and one in a file, is used there.
            (Self::Secret(_) | Self::TokenFile(_), Self::Secret(_) | Self::TokenFile(_)) => true,
            (Self::Kubeconfig(_), _) | (_, Self::Kubeconfig(_)) => false,
        }
    }
}

/// Each place is read in its own form.
const MIXED: &str = "what was read at a place has the form of that place";
