//! Computes the edits that bring issued credentials into one file.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeSet;

use super::document::foreign_owner;
use super::edit::{Edit, EditError, edit};
use super::entry::token_bytes;
use super::order::FileOrder;
use super::{Document, DocumentError, Endpoint, EntryNames, EntryState, Held, Mark, OtherHolder, OurEntries};
use crate::credential::{Claims, Credential, Reissue};
use crate::names::generation_of_anchor;
use crate::secret::SecretToken;

/// A credential on its way into a file.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    /// The names of its entries.
    pub names: EntryNames,
    /// The mark of its entries.
    pub mark: Mark,
    /// How consumers reach the cluster.
    pub endpoint: Endpoint,
    /// The credential; entries of exec plugins need none.
    pub credential: Option<Credential>,
    /// Whether another holder's living credential may be replaced.
    pub reissue: Reissue,
    /// Whether entries are taken for ours that lost their mark and give a credential of the same ServiceAccount.
    pub adopts: bool,
}

impl Incoming {
    /// Returns the state of the entries under its names. Entries that lost their mark count as ours if `adopts` allows
    /// it.
    fn state(&self, document: &Document, entries: &OurEntries) -> EntryState {
        match document.state(&self.names, &self.mark) {
            EntryState::Foreign { unmarked: Some(held), .. } if self.adopts && self.takes_back(&held, entries) => {
                EntryState::Ours(held)
            }
            state => state,
        }
    }

    /// Whether entries that lost their mark give the credential that this one replaces. The plan has checked that it
    /// works; the caller reads a token file.
    fn takes_back(&self, held: &Held, entries: &OurEntries) -> bool {
        let claims = self.credential.as_ref().and_then(|credential| Claims::of(&credential.token).ok());
        let account = claims.and_then(|claims| claims.service_account_uid).unwrap_or_default();
        held.gives_ours(&self.names, entries, &account)
    }
}

/// Why a file does not take credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MergeError {
    /// The file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The file cannot be edited.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// Entries of others disappeared since the first read.
    #[error("it lost entries of others since it was read first: somebody else is writing it")]
    Shrunk,
    /// Another run was faster.
    #[error("another run has written generation {0} already")]
    Superseded(u64),
    /// Another holder was faster.
    #[error("holder `{0}` has written a credential of its own there meanwhile")]
    OtherHolder(String),
    /// The file in place of a token file holds something else.
    #[error("it holds something else than a token")]
    NotToken,
    /// An entry of the same name belongs to somebody else.
    #[error("{list} `{name}` {}", foreign_owner(inventory.as_deref()))]
    Foreign {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
        /// The inventory that it belongs to, if it is another one of kubemint's.
        inventory: Option<String>,
    },
}

/// What came of a merge: the new content, and which credentials it did not take.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The new content.
    pub content: Vec<u8>,
    /// Positions of incoming credentials that were refused, with the reason.
    pub refused: Refused,
}

/// Adds credentials to a file.
///
/// If an entry holds a newer generation of the same grant, another run was faster: the entry stays, and the incoming
/// credential is refused. `others` is how many entries of others the file had when it was first read. `current` names
/// the context that becomes current. Without it, a file's only context becomes current if no other is.
///
/// # Errors
///
/// If the file as a whole cannot be read or edited.
pub(crate) fn merge(
    before: Option<&[u8]>,
    incoming: &[&Incoming],
    order: &FileOrder,
    others: usize,
    current: Option<&str>,
) -> Result<Merged, MergeError> {
    let bytes = before.unwrap_or_default();
    // What was read of the file is let go before it is edited: either takes more memory than the file.
    let (edits, refused) = edits(bytes, incoming, order, others, current)?;
    let content = if edits.is_empty() { bytes.to_vec() } else { edit(bytes, &edits, order)? };
    Ok(Merged { content, refused })
}

/// Credentials that were refused, by their positions, with the reason.
type Refused = Vec<(usize, MergeError)>;

/// Returns the edits that add credentials to a file, and which are refused.
fn edits(
    bytes: &[u8],
    incoming: &[&Incoming],
    order: &FileOrder,
    others: usize,
    current: Option<&str>,
) -> Result<(Vec<Edit>, Refused), MergeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MergeError::NotText)?;
    let adopts = incoming.iter().any(|incoming| incoming.adopts);
    let document = if adopts { Document::parse_with_unmarked(text)? } else { Document::parse(text)? };
    let inventory = incoming.first().map(|incoming| &incoming.mark.inventory);
    if inventory.is_some_and(|inventory| document.entries_of_others(inventory, order) < others) {
        return Err(MergeError::Shrunk);
    }
    let mut edits = vec![];
    let mut refused = vec![];
    let mut contexts: BTreeSet<&str> = document.context_names().collect();
    for (position, incoming) in incoming.iter().enumerate() {
        let entries =
            OurEntries::render(&incoming.names, &incoming.mark, &incoming.endpoint, incoming.credential.as_ref());
        match incoming.state(&document, &entries) {
            EntryState::Foreign { list, name, inventory, .. } => {
                refused.push((position, MergeError::Foreign { list, name, inventory }));
                continue;
            }
            EntryState::Ours(held) => {
                let facts = incoming.credential.as_ref().map(|credential| &credential.facts);
                // The plan has compared the other's expiry with the clock; entries of a plugin have no time to compare
                // with.
                let is_living = |other: &&OtherHolder| match facts {
                    Some(facts) => other.may_live(facts.issued),
                    None => other.token.is_none(),
                };
                let living = held.other_holder.as_ref().filter(is_living);
                if let (Some(other), Reissue::Refused) = (living, incoming.reissue) {
                    refused.push((position, MergeError::OtherHolder(other.holder.clone())));
                    continue;
                }
                let held_generation = held.credential.as_ref().map_or(0, |(stored, _)| stored.generation);
                if facts.is_some_and(|facts| held_generation > facts.generation) {
                    refused.push((position, MergeError::Superseded(held_generation)));
                    continue;
                }
                edits.extend(held.edits(entries));
            }
            EntryState::Absent => {
                let lists = entries.into_lists().into_iter();
                edits.extend(lists.map(|(list, entry)| Edit::Upsert { list, entry }));
            }
        }
        contexts.insert(&incoming.names.context);
    }
    // It counts all contexts that will be there, not only those written so far; otherwise the first one in a file of
    // many would become current.
    let all = contexts.iter().copied().chain(order.contexts()).collect::<BTreeSet<_>>();
    let only = contexts.first().copied().filter(|_| all.len() == 1 && document.current_context().is_none());
    if let Some(current) = current.filter(|name| contexts.contains(name)).or(only)
        && document.current_context() != Some(current)
    {
        edits.push(Edit::CurrentContext(current.to_owned()));
    }
    Ok((edits, refused))
}

/// Returns the content of a token file: only the token, because not every client trims the file.
///
/// # Errors
///
/// If it holds a newer generation of ours, because another run was faster, or something that was never a token.
pub(crate) fn token_file(before: Option<&[u8]>, credential: &Credential) -> Result<Vec<u8>, MergeError> {
    let held = before.map(|bytes| std::str::from_utf8(bytes).map(str::trim)).transpose();
    let held = held.map_err(|_| MergeError::NotToken)?;
    if held.is_some_and(|text| !may_replace_token(text)) {
        return Err(MergeError::NotToken);
    }
    let claims = held.and_then(|token| Claims::of(&SecretToken::new(token)).ok());
    let generation = claims.and_then(|claims| generation_of_anchor(&claims.anchor_name?));
    match generation {
        Some(newer) if newer > credential.facts.generation => Err(MergeError::Superseded(newer)),
        _ => Ok(token_bytes(&credential.token)),
    }
}

/// Whether a token may replace the content of a file: a JSON Web Token, or one that was cut off or damaged. Any other
/// content stays.
pub(crate) fn may_replace_token(text: &str) -> bool {
    text.is_empty() || (text.starts_with("eyJ") && !text.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::credential::CredentialFacts;
    use crate::credential::tests_support::token;
    use crate::kubeconfig::UserForm;

    fn incoming(generation: u64) -> Incoming {
        let facts = CredentialFacts {
            kind: "token".into(),
            generation,
            anchor: "a".into(),
            anchor_uid: "u".into(),
            issued: Timestamp::UNIX_EPOCH,
            requested_seconds: 3600,
            expires: Timestamp::UNIX_EPOCH,
        };
        let mark = Mark { inventory: "acme".into(), holder: "h".into(), cluster: "c".into(), profile: "p".into() };
        Incoming {
            names: EntryNames {
                context: "x".into(),
                cluster: "x".into(),
                user: "x".into(),
                namespace: None,
                form: UserForm::Token,
                shares_cluster: false,
            },
            mark,
            endpoint: Endpoint { server: "https://a".into(), ..Endpoint::default() },
            credential: Some(Credential { facts, token: token(&json!({"sub": "s", "exp": 2, "iat": 1})) }),
            reissue: Reissue::Refused,
            adopts: false,
        }
    }

    fn merged(before: Option<&[u8]>, generation: u64, others: usize) -> Result<Merged, MergeError> {
        merge(before, &[&incoming(generation)], &FileOrder::default(), others, None)
    }

    #[test]
    fn a_token_file_replaces_only_what_was_a_token() {
        let credential = incoming(1).credential.unwrap();
        let written = |before: Option<&str>| token_file(before.map(str::as_bytes), &credential);
        for before in [None, Some(""), Some("\n"), Some("eyJhbGciOi.cut-o"), Some("eyJhbGciOi.a.b\n")] {
            assert!(written(before).is_ok(), "{before:?}");
        }
        for other in ["ssh-ed25519 AAAA me@home\n", "apiVersion: v1\n", "eyJ a\n", "{}"] {
            assert_eq!(written(Some(other)), Err(MergeError::NotToken), "{other}");
        }
        assert_eq!(token_file(Some(b"\xff"), &credential), Err(MergeError::NotToken));
    }

    #[test]
    fn a_newer_generation_is_never_replaced_by_an_older_one() {
        let newer = merged(None, 2, 0).unwrap().content;
        let result = merged(Some(&newer), 1, 0).unwrap();
        assert_eq!(result.refused, [(0, MergeError::Superseded(2))]);
        assert_eq!(result.content, newer);
    }

    #[test]
    fn a_holder_that_was_faster_is_not_overwritten() {
        let mut theirs = incoming(1);
        theirs.mark.holder = "other".into();
        theirs.credential.as_mut().unwrap().facts.expires = Timestamp::from_second(60).unwrap();
        let before = merge(None, &[&theirs], &FileOrder::default(), 0, None).unwrap().content;
        let result = merged(Some(&before), 1, 0).unwrap();
        assert_eq!(result.refused, [(0, MergeError::OtherHolder("other".to_owned()))]);
        let consented = Incoming { reissue: Reissue::Allowed, ..incoming(1) };
        assert!(merge(Some(&before), &[&consented], &FileOrder::default(), 0, None).unwrap().refused.is_empty());
    }

    #[test]
    fn a_file_that_is_being_truncated_by_somebody_is_left_alone() {
        let theirs = b"users:\n- name: mine\n  user: {token: x}\n";
        assert!(merged(Some(theirs), 1, 1).is_ok());
        assert_eq!(merged(Some(b""), 1, 1).unwrap_err(), MergeError::Shrunk);
        assert_eq!(merged(Some(b"users: []\n"), 1, 1).unwrap_err(), MergeError::Shrunk);
    }

    #[test]
    fn the_first_of_many_to_arrive_does_not_become_current() {
        let names = |context: &str| EntryNames { context: context.into(), ..incoming(1).names };
        let order = FileOrder::new(&[names("x"), names("y")]);
        let first = merge(None, &[&incoming(1)], &order, 0, None).unwrap().content;
        assert!(String::from_utf8(first).unwrap().contains("current-context: \"\"\n"));
    }

    #[test]
    fn the_only_context_becomes_current_and_a_chosen_one_stays() {
        let current = |content: &[u8]| {
            let text = std::str::from_utf8(content).unwrap();
            Document::parse(text).unwrap().current_context().map(str::to_owned)
        };
        assert_eq!(current(&merged(None, 1, 0).unwrap().content).as_deref(), Some("x"));
        let theirs = b"contexts:\n- name: other\n  context: {}\n";
        assert_eq!(current(&merged(Some(theirs), 1, 1).unwrap().content), None);
        let chosen = merge(Some(theirs), &[&incoming(1)], &FileOrder::default(), 1, Some("x")).unwrap();
        assert_eq!(current(&chosen.content).as_deref(), Some("x"));
    }
}
