//! Reading a kubeconfig that may hold entries of ours.
//!
//! Only names, marks and our own credentials are kept. Other content is only compared. Pure: no I/O, no clock.

use std::collections::hash_map::Entry as Named;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::edit::{Edit, List, Ranking};
use super::endpoint::Endpoint;
use super::entry::{EntryNames, Mark, OurEntries, UserForm};
use super::extension::{Extension, NamedGrant};
use super::fields::{HeldEntry, missing};
use super::order::FileOrder;
use super::refusal::refusal;
use super::removal::{EntryName, Marked};
use crate::credential::{Claims, Credential, CredentialFacts, KIND_TOKEN, LARGEST_GENERATION, StoredCredential};
use crate::field_diff::FieldDiff;
use crate::names::{InventoryName, generation_of_anchor};
use crate::secret::SecretToken;

/// A kubeconfig that was read.
pub struct Document {
    clusters: HashMap<String, Entry>,
    users: HashMap<String, Entry>,
    contexts: HashMap<String, Entry>,
    current_context: Option<String>,
    /// Whether everything in the file was read, not only what is needed of it.
    is_plain: bool,
}

/// What is kept of an entry. Of other people's entries this is only the name, unless one may be ours without its mark.
struct Entry {
    /// The cluster and the user entry that it names, if it is a context.
    leads_to: Option<Box<(String, String)>>,
    /// Our extension, if it has one.
    extension: Option<Box<Extension>>,
    /// Its fields, if they are kept.
    held: Option<Arc<HeldEntry>>,
    /// The token of a user entry, if it is marked as ours, or bound to an anchor of kubemint.
    token: Option<SecretToken>,
    /// The token file that a user entry names, whoever's it is.
    token_file: Option<Box<str>>,
}

/// An entry with its name, if it has one, while a list is read; `UNMARKED` says whether an entry without a mark may be ours.
struct Parsed<L, const UNMARKED: bool>(Option<String>, Entry, PhantomData<L>);

/// The list that an entry is in. The body of another list's entry does not count in it.
trait InList {
    const LIST: List;
}

struct Clusters;
struct Users;
struct Contexts;

impl InList for Clusters {
    const LIST: List = List::Clusters;
}

impl InList for Users {
    const LIST: List = List::Users;
}

impl InList for Contexts {
    const LIST: List = List::Contexts;
}

impl<'de, L: InList, const UNMARKED: bool> Deserialize<'de> for Parsed<L, UNMARKED> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Value::deserialize(deserializer)?;
        let body = entry.get(L::LIST.singular()).filter(|body| body.is_object());
        let extension = body.and_then(Extension::of).map(Box::new);
        let may_be_ours = UNMARKED || extension.is_some();
        let held = body.filter(|_| may_be_ours).and_then(|_| HeldEntry::of(L::LIST, &entry)).map(Arc::new);
        let token = body.filter(|_| may_be_ours).and_then(|body| body["token"].as_str()).map(SecretToken::new);
        let is_bound = |token: &SecretToken| Claims::of(token).is_ok_and(|claims| facts_of(&claims).is_some());
        let token = token.filter(|token| extension.is_some() || is_bound(token));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let context = body.filter(|_| L::LIST == List::Contexts);
        let named = |body: &Value, key: &str| text(&body[key]).unwrap_or_default();
        let leads_to = context.map(|body| Box::new((named(body, "cluster"), named(body, "user"))));
        let user = body.filter(|_| L::LIST == List::Users);
        let token_file = user.and_then(|body| body["tokenFile"].as_str().map(Box::from));
        Ok(Self(text(&entry["name"]), Entry { leads_to, extension, held, token, token_file }, PhantomData))
    }
}

/// Why a kubeconfig cannot be read. Never quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML, or not of the form of a kubeconfig.
    #[error("it is not a kubeconfig: {0}")]
    Malformed(String),
    /// Two entries have the same name, which kubectl refuses as well.
    #[error("{list} `{name}` is defined twice")]
    Duplicate {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
    },
}

/// The entries in a file under the names of one grant.
#[derive(Debug, Clone)]
pub(crate) enum EntryState {
    /// Nothing.
    Absent,
    /// Something that is not ours.
    Foreign {
        /// The list that it is in.
        list: &'static str,
        /// Its name.
        name: String,
        /// The inventory that it belongs to, if it is another one of kubemint's.
        inventory: Option<String>,
        /// The entries, if they may be ours without their mark; only [`Document::parse_with_unmarked`] keeps them.
        unmarked: Option<Arc<Held>>,
    },
    /// Entries of our inventory.
    Ours(Arc<Held>),
}

/// The hint for an entry that is not ours.
pub(crate) const RENAME: &str = "rename the entry in the file, or set another `context` in that `[[outputs]]`";

/// Describes the owner of an entry that is not this inventory's.
pub(crate) fn foreign_owner(inventory: Option<&str>) -> String {
    match inventory {
        Some(inventory) => format!("belongs to another inventory of kubemint, `{inventory}`"),
        None => "is not kubemint's".to_owned(),
    }
}

/// Our entries in a file.
#[derive(Clone)]
pub(crate) struct Held {
    /// The credential, if the entry belongs to the grant and holder in question and is readable.
    pub credential: Option<(StoredCredential, CredentialFacts)>,
    /// The holder and validity of the credential, if it belongs to another holder.
    pub other_holder: Option<OtherHolder>,
    /// The holder that the user entry names.
    holder: Option<String>,
    /// The entries themselves.
    entries: HeldEntries,
}

/// The cluster, user and context entry of a grant, as far as they exist.
#[derive(Clone, Default)]
struct HeldEntries {
    cluster: Option<Arc<HeldEntry>>,
    user: Option<Arc<HeldEntry>>,
    context: Option<Arc<HeldEntry>>,
}

impl HeldEntries {
    fn of(&self, list: List) -> Option<&HeldEntry> {
        match list {
            List::Clusters => self.cluster.as_deref(),
            List::Users => self.user.as_deref(),
            List::Contexts => self.context.as_deref(),
        }
    }
}

/// A credential of another holder at a place where ours would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherHolder {
    /// The holder.
    pub holder: String,
    /// Its generation and expiry; nothing for an exec plugin.
    pub token: Option<(u64, Timestamp)>,
}

impl OtherHolder {
    /// Returns whether it may still work at a time.
    pub(crate) fn may_live(&self, now: Timestamp) -> bool {
        self.token.is_none_or(|(_, expires)| expires > now)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("credential", &self.credential).finish_non_exhaustive()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} contexts)", self.contexts.len())
    }
}

/// The root of a file that has no other keys than those of a kubeconfig, which is what nearly all files are.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainFile<const UNMARKED: bool> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<Text>,
    clusters: Option<Vec<Parsed<Clusters, UNMARKED>>>,
    users: Option<Vec<Parsed<Users, UNMARKED>>>,
    contexts: Option<Vec<Parsed<Contexts, UNMARKED>>>,
    #[serde(rename = "current-context")]
    current_context: Option<Text>,
    kind: Option<Text>,
    preferences: Option<Nothing>,
}

/// A scalar that is text in YAML, too. Others, such as `.inf`, can be read as text where text is expected, and cannot be read
/// when a file is edited.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Text(String);

impl TryFrom<Value> for Text {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::String(text) => Ok(Self(text)),
            _ => Err("it is no text"),
        }
    }
}

/// A mapping without keys, which is what kubectl writes after `preferences`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<const UNMARKED: bool> From<PlainFile<UNMARKED>> for File<UNMARKED> {
    fn from(file: PlainFile<UNMARKED>) -> Self {
        let PlainFile { clusters, users, contexts, current_context, kind, preferences, .. } = file;
        let [current_context, kind] = [current_context, kind].map(|text| text.map(|Text(text)| text));
        Self { clusters, users, contexts, current_context, kind, preferences: preferences.map(|_| IgnoredAny) }
    }
}

#[derive(Default, Deserialize)]
struct File<const UNMARKED: bool> {
    #[serde(default)]
    clusters: Option<Vec<Parsed<Clusters, UNMARKED>>>,
    #[serde(default)]
    users: Option<Vec<Parsed<Users, UNMARKED>>>,
    #[serde(default)]
    contexts: Option<Vec<Parsed<Contexts, UNMARKED>>>,
    #[serde(default, rename = "current-context")]
    current_context: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    preferences: Option<IgnoredAny>,
}

impl<const UNMARKED: bool> File<UNMARKED> {
    fn has_keys(&self) -> bool {
        let lists = [self.clusters.is_some(), self.users.is_some(), self.contexts.is_some()];
        lists.contains(&true) || self.current_context.is_some() || self.preferences.is_some()
    }
}

impl Document {
    /// Reads a kubeconfig; an empty one has no entries.
    ///
    /// # Errors
    ///
    /// If it is no kubeconfig or defines a name twice.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        Self::read::<false>(text)
    }

    /// Reads a kubeconfig, and keeps what is needed to recognise entries of ours that lost their mark, because
    /// converters and other tools that write kubeconfigs drop it.
    ///
    /// # Errors
    ///
    /// If it is no kubeconfig or defines a name twice.
    pub(crate) fn parse_with_unmarked(text: &str) -> Result<Self, DocumentError> {
        Self::read::<true>(text)
    }

    fn read<const UNMARKED: bool>(text: &str) -> Result<Self, DocumentError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let options = super::yaml_options(text.len());
        let plain: Option<Option<PlainFile<UNMARKED>>> =
            serde_saphyr::from_str_with_options(text, options.clone()).ok();
        let is_plain = matches!(plain, Some(Some(_)));
        let file: Option<File<UNMARKED>> = match plain {
            Some(plain) => plain.map(File::from),
            None => serde_saphyr::from_str_with_options(text, options.clone()).map_err(|error| {
                DocumentError::Malformed(refusal::<Option<File<UNMARKED>>>(text, options, &error).text)
            })?,
        };
        if let Some(file) = &file {
            super::refuse_other_kinds(file.kind.as_deref(), file.has_keys()).map_err(DocumentError::Malformed)?;
        }
        let file = file.unwrap_or_default();
        Ok(Self {
            clusters: by_name("cluster", file.clusters)?,
            users: by_name("user", file.users)?,
            contexts: by_name("context", file.contexts)?,
            current_context: file.current_context.filter(|name| !name.is_empty()),
            is_plain,
        })
    }

    /// Returns whether everything in the file was read, not only what is needed of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Returns the current context, if one is set.
    pub fn current_context(&self) -> Option<&str> {
        self.current_context.as_deref()
    }

    /// Returns the names of all contexts.
    pub fn context_names(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// Returns how many entries do not belong to an inventory and have none of its names. If a file loses some of them
    /// between two reads, somebody else is writing it.
    pub(crate) fn entries_of_others(&self, inventory: &InventoryName, names: &FileOrder) -> usize {
        let lists = [(List::Clusters, &self.clusters), (List::Users, &self.users), (List::Contexts, &self.contexts)];
        let all = lists.into_iter().flat_map(|(list, entries)| entries.iter().map(move |entry| (list, entry)));
        all.filter(|(list, (name, entry))| !entry.belongs_to(inventory) && names.rank(*list, name).is_none()).count()
    }

    /// Returns the names of one grant that are taken, whoever has them, and in which list.
    pub fn taken(&self, names: &EntryNames) -> Vec<(&'static str, String)> {
        let lists = [
            ("cluster", &names.cluster, &self.clusters),
            ("user", &names.user, &self.users),
            ("context", &names.context, &self.contexts),
        ];
        let taken = lists.into_iter().filter(|(_, name, entries)| entries.contains_key(*name));
        taken.map(|(list, name, _)| (list, name.clone())).collect()
    }

    /// Returns the entries with the mark of an inventory, by list and name. A mark that names no possible cluster is none.
    pub(crate) fn marked(&self, inventory: &InventoryName) -> Vec<Marked> {
        let lists = [(List::Clusters, &self.clusters), (List::Users, &self.users), (List::Contexts, &self.contexts)];
        let all = lists.into_iter().flat_map(|(list, entries)| entries.iter().map(move |entry| (list, entry)));
        let marked = all.filter(|(_, (_, entry))| entry.belongs_to(inventory)).filter_map(|(list, (name, entry))| {
            let NamedGrant { cluster, profile, holder } = entry.extension.as_ref()?.grant()?;
            Some(Marked {
                entry: EntryName { list, name: name.clone() },
                cluster,
                profile,
                holder,
                cluster_uid: entry.held.as_ref().and_then(|held| held.cluster_uid.clone()),
                names_token_file: entry.token_file.is_some(),
            })
        });
        let mut marked: Vec<Marked> = marked.collect();
        marked.sort();
        marked
    }

    /// Returns the token files that user entries name, as they name them.
    pub(crate) fn token_files(&self) -> impl Iterator<Item = &str> {
        self.users.values().filter_map(|entry| entry.token_file.as_deref())
    }

    /// Returns the cluster and user entries that contexts still refer to after those in `going` are removed, each with such
    /// a context.
    pub(crate) fn needs(&self, going: &BTreeSet<&str>) -> HashMap<(List, &str), &str> {
        let mut needs: HashMap<(List, &str), &str> = HashMap::new();
        for (name, entry) in self.contexts.iter().filter(|(name, _)| !going.contains(name.as_str())) {
            let Some((cluster, user)) = entry.leads_to.as_deref() else { continue };
            for needed in [(List::Clusters, cluster.as_str()), (List::Users, user.as_str())] {
                let by = needs.entry(needed).or_insert(name);
                // The first by name, so that reports do not differ.
                *by = (*by).min(name);
            }
        }
        needs
    }

    /// Returns the state of the entries under the names of one grant.
    pub(crate) fn state(&self, names: &EntryNames, mark: &Mark) -> EntryState {
        let cluster = self.clusters.get(&names.cluster);
        let user = self.users.get(&names.user);
        let context = self.contexts.get(&names.context);
        let entries =
            [("cluster", &names.cluster, cluster), ("user", &names.user, user), ("context", &names.context, context)];
        if cluster.is_none() && user.is_none() && context.is_none() {
            return EntryState::Absent;
        }
        let held = || {
            Arc::new(Held {
                credential: user.and_then(|user| user.credential(mark)),
                other_holder: user.and_then(|user| user.other_holder(mark)),
                holder: user.and_then(|user| user.extension.as_ref()?.holder().map(str::to_owned)),
                entries: HeldEntries {
                    cluster: cluster.and_then(|entry| entry.held.clone()),
                    user: user.and_then(|entry| entry.held.clone()),
                    context: context.and_then(|entry| entry.held.clone()),
                },
            })
        };
        let foreign =
            entries.iter().find_map(|(list, name, entry)| Some((list, name, entry.filter(|it| !it.is_ours(mark))?)));
        let Some((list, name, entry)) = foreign else { return EntryState::Ours(held()) };
        let inventory = entry.extension.as_ref().and_then(|extension| extension.inventory());
        // If one of the entries has another mark, none of them is taken for ours.
        let may_be_ours = |entry: &Entry| entry.is_ours(mark) || (entry.extension.is_none() && entry.held.is_some());
        let unmarked = entries.iter().filter_map(|(.., entry)| *entry).all(may_be_ours);
        EntryState::Foreign {
            list,
            name: (*name).clone(),
            inventory: inventory.map(str::to_owned),
            unmarked: (unmarked && user.is_some()).then(held),
        }
    }
}

impl Held {
    /// Returns the fields in which the file differs from these entries; nothing if it holds exactly them.
    ///
    /// Only this function judges whether an entry is whole and current; plans, `status`, `refresh` and `verify` use it.
    pub(crate) fn differences(&self, wanted: &OurEntries) -> Vec<FieldDiff> {
        let of = |(list, entry): (List, Value)| match self.entries.of(list) {
            Some(held) => held.differences(entry),
            None => vec![missing(list, entry["name"].as_str().unwrap_or_default())],
        };
        wanted.clone().into_lists().into_iter().flat_map(of).collect()
    }

    /// Returns whether the user or the context entry differs from what should be there. Fields that depend on how the
    /// cluster is reached are left out, because they are not known without the cluster.
    pub(crate) fn is_altered_wherever_it_leads(&self, names: &EntryNames, mark: &Mark) -> bool {
        let credential = self.publishable();
        let wanted = OurEntries::render(names, mark, &Endpoint::default(), credential.as_ref());
        // The arguments of a plugin name the server, and a token is judged by its generation.
        self.differences(&wanted).iter().any(|difference| {
            !difference.field.starts_with("cluster.")
                && !matches!(difference.field.as_str(), "user.exec" | "user.token" | "user.extensions")
        })
    }

    /// Returns the edits that write these entries into the file and keep their fields that are not ours.
    pub(super) fn edits(&self, wanted: OurEntries) -> impl Iterator<Item = Edit> {
        wanted.into_lists().into_iter().filter_map(|(list, entry)| match self.entries.of(list) {
            Some(held) if held.is_exactly(entry.clone()) => None,
            Some(held) => Some(Edit::Upsert { list, entry: held.fit(entry) }),
            None => Some(Edit::Upsert { list, entry }),
        })
    }

    /// Returns the uid that the cluster's namespace kube-system had when the entries were written.
    pub(crate) fn cluster_uid(&self) -> Option<&str> {
        self.entries.cluster.as_ref()?.cluster_uid.as_deref()
    }

    /// Returns whether all three entries exist; a token file without a kubeconfig has none.
    pub(crate) fn is_complete(&self) -> bool {
        List::ALL.into_iter().all(|list| self.entries.of(list).is_some())
    }

    /// Returns whether any of the three entries exists.
    pub(crate) fn has_entries(&self) -> bool {
        List::ALL.into_iter().any(|list| self.entries.of(list).is_some())
    }

    /// Returns whether the entries can be taken for ours without a loss to anybody: those without a mark lead where
    /// ours would, and the user entry gives the credential that ours would, or another one of the same ServiceAccount.
    /// The claims of the token are not proven here.
    pub(crate) fn gives_ours(&self, names: &EntryNames, wanted: &OurEntries, account_uid: &str) -> bool {
        let leads_there = |(list, entry): &(List, Value)| {
            *list == List::Users || self.entries.of(*list).is_none_or(|held| held.may_be(entry))
        };
        if !wanted.clone().into_lists().iter().all(leads_there) {
            return false;
        }
        let user = self.entries.user.as_deref();
        let says = |field| user.is_some_and(|user| user.says_as(wanted.user(), field));
        let is_of_account = || {
            let claims = self.credential.as_ref().map(|(stored, _)| &stored.claims);
            claims.and_then(|claims| claims.service_account_uid.as_deref()) == Some(account_uid)
        };
        match &names.form {
            UserForm::Token => is_of_account(),
            UserForm::TokenFile(_) => says("tokenFile"),
            UserForm::Exec(_) => says("exec"),
        }
    }

    /// Returns whether another place has the same cluster entry, and so reaches the same server in the same way.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        match (&self.entries.cluster, &other.entries.cluster) {
            (Some(one), Some(other)) => one.has_fields_of(other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns whether the credential has this token.
    pub(crate) fn holds(&self, token: &SecretToken) -> bool {
        self.credential.as_ref().is_some_and(|(stored, _)| stored.token.is_same_as(token))
    }

    /// Returns entries that name a token file, with the token in that file.
    ///
    /// Without entries, the token file alone counts, because it still holds the token if the kubeconfig was deleted.
    pub(crate) fn with_token_file(state: EntryState, mark: &Mark, token: &SecretToken) -> EntryState {
        let mut held = match state {
            EntryState::Ours(held) => held,
            EntryState::Absent => Arc::new(Self {
                credential: None,
                other_holder: None,
                holder: Some(mark.holder.as_str().to_owned()),
                entries: HeldEntries::default(),
            }),
            EntryState::Foreign { list, name, inventory, unmarked } => {
                let unmarked = unmarked.map(|mut held| {
                    Arc::make_mut(&mut held).take_token(mark, token);
                    held
                });
                return EntryState::Foreign { list, name, inventory, unmarked };
            }
        };
        Arc::make_mut(&mut held).take_token(mark, token);
        EntryState::Ours(held)
    }

    /// Takes the token of a token file for the credential of the entries.
    fn take_token(&mut self, mark: &Mark, token: &SecretToken) {
        let held = self;
        let Ok(claims) = Claims::of(token) else { return };
        let Some(facts) = facts_of(&claims) else { return };
        match held.holder.as_deref() {
            Some(other) if other != mark.holder.as_str() => {
                let token = Some((facts.generation, facts.expires));
                held.other_holder = Some(OtherHolder { holder: other.to_owned(), token });
            }
            _ => {
                let stored = StoredCredential { generation: facts.generation, token: token.clone(), claims };
                held.credential = Some((stored, facts));
            }
        }
    }

    /// Returns the credential in a form that can be published elsewhere.
    pub(crate) fn publishable(&self) -> Option<Credential> {
        let (stored, facts) = self.credential.as_ref()?;
        Some(Credential { facts: facts.clone(), token: stored.token.clone() })
    }
}

/// Returns the facts in the claims of a token of ours; the requested lifetime is not among them.
pub(crate) fn facts_of(claims: &Claims) -> Option<CredentialFacts> {
    let anchor = claims.anchor_name.clone()?;
    let generation = generation_of_anchor(&anchor).filter(|number| *number <= LARGEST_GENERATION)?;
    Some(CredentialFacts {
        kind: KIND_TOKEN.to_owned(),
        generation,
        anchor,
        anchor_uid: claims.anchor_uid.clone()?,
        issued: claims.issued,
        requested_seconds: u64::try_from(claims.expires.duration_since(claims.issued).as_secs()).unwrap_or(0),
        expires: claims.expires,
    })
}

fn by_name<L, const UNMARKED: bool>(
    list: &'static str,
    entries: Option<Vec<Parsed<L, UNMARKED>>>,
) -> Result<HashMap<String, Entry>, DocumentError> {
    let mut named = HashMap::new();
    for Parsed(name, entry, _) in entries.into_iter().flatten() {
        // Neither we nor kubectl can refer to an entry without a name.
        let Some(name) = name else { continue };
        match named.entry(name) {
            Named::Vacant(place) => drop(place.insert(entry)),
            Named::Occupied(place) => return Err(DocumentError::Duplicate { list, name: place.key().clone() }),
        }
    }
    Ok(named)
}

impl Entry {
    fn is_ours(&self, mark: &Mark) -> bool {
        self.belongs_to(&mark.inventory)
    }

    fn belongs_to(&self, inventory: &InventoryName) -> bool {
        self.extension.as_ref().is_some_and(|extension| extension.is_of(inventory))
    }

    /// Returns the holder and validity of a credential of the same grant and another holder.
    fn other_holder(&self, mark: &Mark) -> Option<OtherHolder> {
        let extension = self.extension.as_ref()?;
        let holder = extension.holder().filter(|holder| *holder != mark.holder.as_str())?;
        let has_plugin = self.held.as_ref().is_some_and(|held| held.has("exec"));
        let token = match extension.facts() {
            Some(facts) => Some((facts.generation, facts.expires)),
            None if has_plugin => None,
            None => return None,
        };
        extension.is_of_grant(mark).then(|| OtherHolder { holder: holder.to_owned(), token })
    }

    /// Reads the credential, if the entry belongs to this grant and holder, or has no mark and may belong to them.
    fn credential(&self, mark: &Mark) -> Option<(StoredCredential, CredentialFacts)> {
        let Some(extension) = self.extension.as_ref() else {
            let token = self.token.clone()?;
            let claims = Claims::of(&token).ok()?;
            let facts = facts_of(&claims)?;
            return Some((StoredCredential { generation: facts.generation, token, claims }, facts));
        };
        if !extension.is_of_grant(mark) || extension.holder() != Some(mark.holder.as_str()) {
            return None;
        }
        let facts = extension.facts().filter(|facts| facts.generation <= LARGEST_GENERATION)?.clone();
        let token = self.token.clone()?;
        let claims = Claims::of(&token).ok()?;
        Some((StoredCredential { generation: facts.generation, token, claims }, facts))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credential::tests_support::token;
    use crate::kubeconfig::edit::{Unranked, edit};
    use crate::kubeconfig::{Endpoint, UserForm};

    fn names() -> EntryNames {
        EntryNames {
            context: "c".into(),
            cluster: "c".into(),
            user: "c".into(),
            namespace: None,
            form: UserForm::Token,
            shares_cluster: false,
        }
    }

    fn mark(inventory: &str, cluster: &str) -> Mark {
        Mark {
            inventory: inventory.into(),
            holder: "default".into(),
            cluster: cluster.into(),
            profile: "deployer".into(),
        }
    }

    fn written() -> (String, OurEntries) {
        let token = token(&json!({"sub": "s", "exp": 2, "iat": 1}));
        let facts = CredentialFacts {
            kind: "token".into(),
            generation: 3,
            anchor: "a".into(),
            anchor_uid: "u".into(),
            issued: Timestamp::UNIX_EPOCH,
            requested_seconds: 3600,
            expires: Timestamp::UNIX_EPOCH,
        };
        let endpoint = Endpoint { server: "https://a:1".into(), ..Endpoint::default() };
        let entries =
            OurEntries::render(&names(), &mark("acme", "prod"), &endpoint, Some(&Credential { facts, token }));
        let bytes =
            edit(b"", &entries.clone().into_lists().map(|(list, entry)| Edit::Upsert { list, entry }), &Unranked)
                .unwrap();
        (String::from_utf8(bytes).unwrap(), entries)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (text, entries) = written();
        let document = Document::parse(&text).unwrap();
        let EntryState::Ours(held) = document.state(&names(), &mark("acme", "prod")) else { panic!("not ours") };
        assert!(held.differences(&entries).is_empty());
        assert_eq!(held.credential.as_ref().unwrap().1.generation, 3);
    }

    #[test]
    fn an_entry_of_another_inventory_is_foreign() {
        let document = Document::parse(&written().0).unwrap();
        let state = document.state(&names(), &mark("other", "prod"));
        assert!(
            matches!(&state, EntryState::Foreign { list: "cluster", inventory: Some(inventory), .. } if inventory == "acme"),
            "{state:?}"
        );
    }

    /// With a wrong indentation, our mark may end up in the body of another list; then the entry is not ours.
    #[test]
    fn a_mark_in_the_body_of_another_list_marks_nothing() {
        let (text, _) = written();
        let check = |list, key: &str, other: &str| {
            let slipped = text.replacen(&format!("- {key}:\n"), &format!("- {key}: null\n  {other}:\n"), 1);
            assert_ne!(slipped, text);
            let state = Document::parse(&slipped).unwrap().state(&names(), &mark("acme", "prod"));
            assert!(matches!(&state, EntryState::Foreign { list: found, .. } if *found == list), "{list}: {state:?}");
        };
        check("cluster", "cluster", "user");
        check("context", "context", "user");
        // With two bodies, the other list's one would be found first.
        let twice = text.replacen("- name: c\n  user:\n", "- name: c\n  cluster: {server: x}\n  user:\n", 1);
        assert_ne!(twice, text);
        let state = Document::parse(&twice).unwrap().state(&names(), &mark("acme", "prod"));
        assert!(matches!(&state, EntryState::Ours(held) if held.credential.is_some()), "{state:?}");
    }

    #[test]
    fn an_entry_of_another_cluster_of_ours_may_be_replaced_but_lends_no_credential() {
        let document = Document::parse(&written().0).unwrap();
        let EntryState::Ours(held) = document.state(&names(), &mark("acme", "other")) else { panic!("not ours") };
        assert!(held.credential.is_none());
    }

    #[test]
    fn nothing_that_is_read_can_be_formatted_with_its_token() {
        let document = Document::parse(&written().0).unwrap();
        let state = document.state(&names(), &mark("acme", "prod"));
        let shown = format!("{document:?} {state:?}");
        assert!(!shown.contains("e30."), "{shown}");
    }

    #[test]
    fn a_malformed_file_is_not_quoted() {
        let error = Document::parse("users:\n- name: a\n  user: {token: s3cret\n").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
