//! Deliveries: where the credential of a grant goes, in which form, and what is there already.
//!
//! A delivery names places and holds no secret; the executor looks up the tokens at these places. Places are contexts of
//! kubeconfigs, and Secrets ([`secret`]). Pure: no I/O, no clock.

mod format;
mod found;
mod layout;
mod output;
mod place;
mod secret;
mod token;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::credential::{CredentialFacts, Reissue};
use crate::field_diff::FieldDiff;
use crate::kubeconfig::{EntryName, Mark};

pub(crate) use self::format::{Format, Wanted};
pub(crate) use self::found::{Found, Held, Others, ReadPlace};
pub(crate) use self::layout::VARIABLES;
pub(crate) use self::layout::{Collision, CollisionKind, DEFAULT_CONTEXT, LOCK_SUFFIX, OWN_PREFIX};
pub use self::layout::{Layout, OutputEntry, OutputFile};
pub use self::output::{CredentialForm, FileForm, Output, OutputId};
pub use self::place::HubName;
pub(crate) use self::place::{ContextPlace, Place, SecretPlace, TokenPlace};
pub(crate) use self::secret::{
    Departure, HeldSecret, KubeconfigNames, Piece, Registration, RegistrationChange, RegistrationForm, Rotation,
    SecretChange, SecretContent, SecretForm, SecretTarget, holds_minted, is_minted,
};
pub(crate) use self::token::TokenOwner;

/// Where a living credential is, and the facts about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Source {
    /// The place that holds it.
    pub place: Arc<Place>,
    /// What is known about it.
    pub facts: CredentialFacts,
}

/// What a step writes for one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Delivery {
    /// The mark of what is written.
    pub mark: Mark,
    /// Every place that holds the credential when the step is done.
    pub destinations: Vec<Destination>,
    /// The fields of existing entries that change, besides the token.
    pub changes: Vec<FieldDiff>,
    /// Whether another holder's living credential may be replaced.
    pub reissue: Reissue,
}

/// What a step takes away of one grant at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Removal {
    /// Entries of a kubeconfig.
    Entries(EntriesRemoval),
    /// A file with a token and nothing else.
    TokenFile(TokenRemoval),
    /// A Secret.
    Secret(SecretPlace),
}

/// A file with a token and nothing else that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TokenRemoval {
    /// The file.
    pub token_file: PathBuf,
    /// Whose token it must hold.
    pub owner: TokenOwner,
}

/// What a step takes away of one grant in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct EntriesRemoval {
    /// The file.
    pub file: PathBuf,
    /// The entries in it: few, each once, in their order.
    pub entries: Vec<EntryName>,
    /// The file with the token, if the user entry names one.
    pub token_file: Option<PathBuf>,
}

impl Removal {
    /// Returns where it is, as reports and messages name it.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Entries(removal) => removal.file.display().to_string(),
            Self::TokenFile(place) => place.token_file.display().to_string(),
            Self::Secret(place) => place.to_string(),
        }
    }
}

/// A place that a delivery goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Destination {
    /// What names it.
    pub place: Arc<Place>,
    /// In which form the credential is written there.
    pub format: Arc<Format>,
    /// How it was when it was read.
    pub before: Before,
}

/// How a place was when it was read. Whatever it was, a delivery brings it to what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Before {
    /// It held what is wanted.
    Whole,
    /// It lacked something.
    Lacking,
    /// It had lost its mark or had none, and counts as ours by consent.
    Unmarked,
}

impl Delivery {
    /// Returns a delivery to no place.
    pub(crate) fn nowhere(mark: Mark, reissue: Reissue) -> Self {
        Self { mark, destinations: vec![], changes: vec![], reissue }
    }

    /// Returns the places that are written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Arc<Place>> {
        let written = self.destinations.iter().filter(|destination| destination.before != Before::Whole);
        written.map(|destination| &destination.place)
    }

    /// Returns the hubs of the Secrets that are written.
    pub(crate) fn hubs(&self) -> BTreeSet<&HubName> {
        self.written()
            .filter_map(|place| match &**place {
                Place::Secret(place) => Some(&place.hub),
                Place::Context(_) | Place::TokenFile(_) => None,
            })
            .collect()
    }

    /// Returns the Secrets that hold the credential when the step is done.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretPlace> {
        self.destinations.iter().filter_map(|destination| match &*destination.place {
            Place::Secret(place) => Some(place),
            Place::Context(_) | Place::TokenFile(_) => None,
        })
    }

    /// Returns whether every machine sees all places that hold the credential.
    pub(crate) fn is_seen_everywhere(&self) -> bool {
        self.destinations.iter().all(|destination| destination.place.is_seen_everywhere())
    }

    /// Returns whether every place already held what is wanted.
    pub(crate) fn is_there(&self) -> bool {
        self.written().next().is_none()
    }
}
