//! What is at a place: nothing, entries of ours with their facts, or entries that are not ours.

use std::sync::Arc;

use super::{Format, Place, Wanted};
use crate::credential::{Credential, CredentialFacts, StoredCredential};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{self, EntryState, Mark, OtherHolder, RENAME, foreign_owner};
use crate::secret::SecretToken;

/// A place that the credential of a grant goes to, and what was there when it was read.
#[derive(Debug, Clone)]
pub(crate) struct ReadPlace {
    /// What names it.
    pub place: Place,
    /// In which form the credential is written there.
    pub format: Format,
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
    /// The entries, if they may be ours without their mark.
    pub unmarked: Option<Held>,
}

/// Our content of a place.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// Entries of a kubeconfig.
    Kubeconfig(Arc<kubeconfig::Held>),
}

impl ReadPlace {
    /// Returns our content, if it is ours or taken back.
    pub(crate) fn held(&self) -> Option<&Held> {
        match &self.found {
            Found::Ours(held) | Found::TakenBack(held) => Some(held),
            Found::Nothing | Found::Others(_) => None,
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

impl Held {
    fn entries(&self) -> &kubeconfig::Held {
        let Self::Kubeconfig(held) = self;
        held
    }

    /// Returns the token, if it belongs to the grant and holder in question and can be read.
    pub(crate) fn stored(&self) -> Option<&StoredCredential> {
        self.entries().credential.as_ref().map(|(stored, _)| stored)
    }

    /// Returns the facts about that token.
    pub(crate) fn facts(&self) -> Option<&CredentialFacts> {
        self.entries().credential.as_ref().map(|(_, facts)| facts)
    }

    /// Returns token and facts, in a form that can be delivered elsewhere.
    pub(crate) fn credential(&self) -> Option<Credential> {
        self.entries().publishable()
    }

    /// Returns the holder and validity of the credential, if it belongs to another holder.
    pub(crate) fn other_holder(&self) -> Option<&OtherHolder> {
        self.entries().other_holder.as_ref()
    }

    /// Returns whether it holds this token.
    pub(crate) fn holds(&self, token: &SecretToken) -> bool {
        self.entries().holds(token)
    }

    /// Returns the uid that the cluster's namespace kube-system had when it was written.
    pub(crate) fn cluster_uid(&self) -> Option<&str> {
        self.entries().cluster_uid()
    }

    /// Returns whether all wanted entries exist, whatever their fields.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries().is_complete()
    }

    /// Returns whether there is anything beside a token.
    pub(crate) fn says_something(&self) -> bool {
        self.entries().has_entries()
    }

    /// Returns the fields in which it differs from what is wanted; nothing if it is exactly that.
    pub(crate) fn differences(&self, wanted: &Wanted) -> Vec<FieldDiff> {
        let Wanted::Kubeconfig(wanted) = wanted;
        self.entries().differences(wanted)
    }

    /// Returns whether it differs from what is wanted in a field that does not depend on how the cluster is reached.
    pub(crate) fn is_altered_wherever_it_leads(&self, format: &Format, mark: &Mark) -> bool {
        let Format::Kubeconfig(names) = format;
        self.entries().is_altered_wherever_it_leads(names, mark)
    }

    /// Returns whether it can be taken for ours without a loss to anybody: see [`kubeconfig::Held::gives_ours`].
    pub(crate) fn gives_ours(&self, format: &Format, wanted: &Wanted, account_uid: &str) -> bool {
        let (Format::Kubeconfig(names), Wanted::Kubeconfig(wanted)) = (format, wanted);
        self.entries().gives_ours(names, wanted, account_uid)
    }

    /// Returns whether another place leads to the same server in the same way.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        self.entries().is_reached_like(other.entries())
    }
}
