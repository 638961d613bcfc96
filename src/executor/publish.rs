//! Collects what comes into files and what leaves them: per-cluster files at once, combined ones in batches.
//!
//! It is an actor, which ends when the last sender is gone and everything is written. One task at a time writes a file;
//! credentials that arrive meanwhile go into the next write. After a long write the next one waits longer, so that a
//! file of 10,000 contexts is not written 10,000 times.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::one_thread::OneThread;
use crate::credential::Credential;
use crate::delivery::{EntriesRemoval, Removal, TokenOwner};
use crate::failure::{FailureKind, StepFailure};
use crate::inventory::GrantKey;
use crate::kubeconfig::{Document, FileOrder, Incoming, Leaving, MergeError, UserForm, merge, remove, token_file};
use crate::paths::normalise;
use crate::step::Remove;
use crate::store::{self, Manner, StoreError};

/// The shortest pause after a write, as a multiple of the time that the write took.
const PAUSE_FACTOR: u32 = 2;
/// The most files that are written at the same time: they share one disk, and each write takes a thread.
const MOST_WRITES: usize = 8;
/// How many entries make a file large, three for each context. Writing one takes many times its size in memory.
const LARGE: usize = 300;
/// The longest pause, so that combined files are current within a few seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A file that credentials go to.
#[derive(Debug, Clone)]
pub(crate) struct TargetFile {
    /// Its path.
    pub path: PathBuf,
    /// The order of our entries in it.
    pub order: Arc<FileOrder>,
    /// The context that becomes current, if the inventory says so.
    pub current_context: Option<String>,
    /// How many entries of others it had when it was read first.
    pub others: usize,
}

/// What happens to a file.
#[derive(Debug, Clone)]
pub(crate) enum FileChange {
    /// Entries of a grant are written.
    Write(Box<Incoming>),
    /// Entries of a grant are removed, after the file with its token.
    Remove {
        /// The entries.
        leaving: Leaving,
        /// The file with the token, if there is one.
        token_file: Option<PathBuf>,
    },
    /// The whole file is a token.
    Token(Box<Credential>),
    /// The file is removed if it holds a token of this owner, whichever holder's.
    RemoveToken(TokenOwner),
}

/// Returns the changes of files that a step is; `known` are the files that other steps write too.
pub(crate) fn removals(step: &Remove, known: &TargetFiles) -> Vec<(Arc<TargetFile>, FileChange)> {
    let target = |path: &PathBuf| known.get(path).cloned().unwrap_or_else(|| Arc::new(TargetFile::of_nothing(path)));
    let change = |removal: &EntriesRemoval| {
        let GrantKey { cluster, profile } = step.grant.clone();
        let leaving = Leaving { inventory: step.inventory.clone(), cluster, profile, entries: removal.entries.clone() };
        let change = FileChange::Remove { leaving, token_file: removal.token_file.clone() };
        (target(&removal.file), change)
    };
    let of_files = step.removals.iter().filter_map(|removal| match removal {
        Removal::Entries(removal) => Some(change(removal)),
        Removal::TokenFile(removal) => {
            Some((target(&removal.token_file), FileChange::RemoveToken(removal.owner.clone())))
        }
        Removal::Secret(_) => None,
    });
    of_files.collect()
}

/// The files that the steps of one cluster change, in the order of their paths. Most clusters have one.
#[derive(Debug, Default)]
pub(crate) struct TargetFiles(Vec<Arc<TargetFile>>);

impl TargetFiles {
    /// Adds a file, unless it is there.
    pub(crate) fn add(&mut self, file: &Arc<TargetFile>) {
        if let Err(place) = self.place(&file.path) {
            self.0.insert(place, Arc::clone(file));
        }
    }

    /// Returns the file with a path.
    pub(crate) fn get(&self, path: &Path) -> Option<&Arc<TargetFile>> {
        self.place(path).ok().map(|place| &self.0[place])
    }

    fn place(&self, path: &Path) -> Result<usize, usize> {
        self.0.binary_search_by(|file| file.path.as_path().cmp(path))
    }
}

impl TargetFile {
    /// Whether writing it takes much memory.
    fn is_large(&self) -> bool {
        self.order.entries() + self.others >= LARGE
    }

    /// Names a file of which nothing else is known.
    pub(crate) fn of_nothing(path: &Path) -> Self {
        Self { path: path.to_owned(), order: Arc::default(), current_context: None, others: 0 }
    }
}

/// Why a credential is not in all of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotWritten {
    /// The first reason.
    pub failure: StepFailure,
    /// How many of the files hold it nevertheless.
    pub written: usize,
}

/// Changes of some files, and the channel that reports when they are written.
struct Publication {
    changes: Vec<(Arc<TargetFile>, FileChange)>,
    reply: oneshot::Sender<Result<(), NotWritten>>,
}

/// The handle for handing credentials to the actor.
#[derive(Debug, Clone)]
pub(crate) struct Publisher(mpsc::UnboundedSender<Publication>);

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publication({} files)", self.changes.len())
    }
}

impl Publisher {
    /// Returns when every file is changed.
    ///
    /// # Errors
    ///
    /// If a file could not be.
    pub(crate) async fn publish(&self, changes: Vec<(Arc<TargetFile>, FileChange)>) -> Result<(), NotWritten> {
        let (reply, written) = oneshot::channel();
        // Some files may have been written before the writer ended.
        let gone = || NotWritten {
            failure: StepFailure::new("the files are no longer written; this is a bug in kubemint"),
            written: 1,
        };
        self.0.send(Publication { changes, reply }).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

/// What the actor knows of one file.
struct FileState {
    target: Arc<TargetFile>,
    pending: Vec<(u64, FileChange)>,
    /// Whether it is being written, or is in a queue for it.
    busy: bool,
    ready_at: Option<Instant>,
}

/// The files by their paths, and the queues of those to be written.
struct Files {
    states: HashMap<PathBuf, FileState>,
    manner: Manner,
    ready: VecDeque<PathBuf>,
    delayed: BTreeSet<(Instant, PathBuf)>,
    writes: JoinSet<(FileWritten, Option<OneThread>)>,
    /// The threads that have written large files and are idle. The last one is taken first, so that there are no more than large
    /// files are written at the same time.
    idle: Vec<OneThread>,
}

struct Waiting {
    files_left: usize,
    written: usize,
    failure: Option<StepFailure>,
    reply: oneshot::Sender<Result<(), NotWritten>>,
}

/// The outcome of writing one file.
struct FileWritten {
    file: PathBuf,
    took: Duration,
    /// For each publication, why its credential was refused, if it was.
    results: Vec<(u64, Option<StepFailure>)>,
}

/// Makes a publisher and the actor behind it; the actor must be polled until it ends.
pub(crate) fn publisher(manner: Manner) -> (Publisher, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Publisher(sender), run(manner, receiver))
}

async fn run(manner: Manner, mut receiver: mpsc::UnboundedReceiver<Publication>) {
    let mut files = Files::new(manner);
    let mut waiting: HashMap<u64, Waiting> = HashMap::new();
    let mut next_id = 0_u64;
    let mut open = true;
    loop {
        files.start_writes();
        if !open && files.are_idle() {
            return;
        }
        let next_ready = files.delayed.first().map(|(at, _)| *at);
        tokio::select! {
            publication = receiver.recv(), if open => match publication {
                None => open = false,
                Some(publication) if publication.changes.is_empty() => {
                    // The caller may be gone; without files there is nothing to do anyway.
                    drop(publication.reply.send(Ok(())));
                }
                Some(publication) => {
                    next_id += 1;
                    let files_left = publication.changes.len();
                    waiting.insert(next_id, Waiting { files_left, written: 0, failure: None, reply: publication.reply });
                    for (target, change) in publication.changes {
                        files.add(&target, next_id, change);
                    }
                }
            },
            Some(written) = files.writes.join_next() => match written {
                Ok((written, thread)) => {
                    files.idle.extend(thread);
                    files.finish(written, &mut waiting);
                }
                // A write panicked. Ending the actor tells all callers, now and later, that files are not written.
                Err(_) => return,
            },
            () = tokio::time::sleep_until(next_ready.unwrap_or_else(Instant::now)), if next_ready.is_some() => {}
        }
    }
}

impl Files {
    fn new(manner: Manner) -> Self {
        let (states, ready, delayed) = (HashMap::new(), VecDeque::new(), BTreeSet::new());
        Self { states, manner, ready, delayed, writes: JoinSet::new(), idle: vec![] }
    }

    /// Takes a change of a file.
    fn add(&mut self, target: &Arc<TargetFile>, id: u64, change: FileChange) {
        let new = || FileState { target: Arc::clone(target), pending: vec![], busy: false, ready_at: None };
        let state = self.states.entry(target.path.clone()).or_insert_with(new);
        // Two readings of a file may have seen more or fewer entries of others: none may be lost.
        if target.others > state.target.others {
            state.target = Arc::clone(target);
        }
        state.pending.push((id, change));
        self.enqueue(&target.path);
    }

    fn are_idle(&self) -> bool {
        self.writes.is_empty() && self.ready.is_empty() && self.delayed.is_empty()
    }

    /// Puts a file that has to be written into the right queue.
    fn enqueue(&mut self, file: &Path) {
        let Some(state) = self.states.get_mut(file).filter(|state| !state.busy && !state.pending.is_empty()) else {
            return;
        };
        state.busy = true;
        match state.ready_at {
            Some(at) if at > Instant::now() => drop(self.delayed.insert((at, file.to_owned()))),
            _ => self.ready.push_back(file.to_owned()),
        }
    }

    fn start_writes(&mut self) {
        let now = Instant::now();
        while self.delayed.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, file)) = self.delayed.pop_first()
        {
            self.ready.push_back(file);
        }
        while self.writes.len() < MOST_WRITES
            && let Some(file) = self.ready.pop_front()
        {
            let Some(state) = self.states.get_mut(&file) else { continue };
            let batch = std::mem::take(&mut state.pending);
            let (target, manner) = (Arc::clone(&state.target), self.manner);
            if target.is_large() {
                let thread = self.idle.pop().unwrap_or_else(OneThread::start);
                let written = thread.run(move || write_file(&target, &batch, manner));
                self.writes.spawn(async move { (written.await, Some(thread)) });
            } else {
                self.writes.spawn_blocking(move || (write_file(&target, &batch, manner), None));
            }
        }
    }

    fn finish(&mut self, written: FileWritten, waiting: &mut HashMap<u64, Waiting>) {
        if let Some(state) = self.states.get_mut(&written.file) {
            state.busy = false;
            state.ready_at = Some(Instant::now() + (written.took * PAUSE_FACTOR).min(LONGEST_PAUSE));
        }
        self.enqueue(&written.file);
        for (id, failure) in written.results {
            let Some(entry) = waiting.get_mut(&id) else { continue };
            entry.files_left -= 1;
            match failure {
                None => entry.written += 1,
                Some(failure) => {
                    entry.failure.get_or_insert(failure);
                }
            }
            if entry.files_left == 0
                && let Some(done) = waiting.remove(&id)
            {
                // The caller may have run out of time; the file is written all the same.
                let written = done.written;
                let result = done.failure.map_or(Ok(()), |failure| Err(NotWritten { failure, written }));
                drop(done.reply.send(result));
            }
        }
    }
}

fn write_file(target: &TargetFile, batch: &[(u64, FileChange)], manner: Manner) -> FileWritten {
    let start = std::time::Instant::now();
    if batch.iter().all(|(_, change)| matches!(change, FileChange::Token(_) | FileChange::RemoveToken(_))) {
        let results = batch.iter().map(|(id, change)| (*id, write_token(&target.path, change, manner).err()));
        return FileWritten { file: target.path.clone(), results: results.collect(), took: start.elapsed() };
    }
    let mut incoming: Vec<&Incoming> = vec![];
    let mut departures: Vec<Departure<'_>> = vec![];
    for (id, change) in batch {
        match change {
            FileChange::Write(write) => incoming.push(write),
            FileChange::Remove { leaving, token_file } => {
                departures.push(Departure { id: *id, leaving, token_file: token_file.as_deref(), failure: None });
            }
            // A file that holds a token is no kubeconfig, which resolving an inventory makes sure of.
            FileChange::Token(_) | FileChange::RemoveToken(_) => {}
        }
    }
    let mut refused: HashMap<usize, StepFailure> = HashMap::new();
    let change = |before: Option<&[u8]>| {
        let mut content = None;
        if !incoming.is_empty() {
            let merged = merge(before, &incoming, &target.order, target.others, target.current_context.as_deref())?;
            for (position, reason) in merged.refused {
                let is_overtaken = matches!(reason, MergeError::Superseded(_));
                let failure = StepFailure::new(format!("`{}`: {reason}", target.path.display()));
                refused.insert(position, StepFailure { is_overtaken, ..failure });
            }
            content = Some(merged.content);
        }
        let content = content.unwrap_or_else(|| before.unwrap_or_default().to_vec());
        // What comes is written first, so that an entry that a new grant took over does not leave.
        if departures.is_empty() { Ok(content) } else { leave(&content, &mut departures, &target.path, manner) }
    };
    // Nothing leaves a file that does not exist.
    let whole = if incoming.is_empty() && !target.path.exists() {
        None
    } else {
        store::update(&target.path, manner, change).err().map(|error| describe(&error))
    };
    // The kubeconfig is written before the token file, because a token file is complete only if a kubeconfig names it,
    // and it is the token file that is replaced at each renewal.
    let mut writes = 0..;
    let mut failed: HashMap<u64, StepFailure> =
        departures.into_iter().filter_map(|departure| Some((departure.id, departure.failure?))).collect();
    let results = batch.iter().map(|(id, change)| {
        let failure = match change {
            FileChange::Write(incoming) => {
                let refused = writes.next().and_then(|position| refused.remove(&position));
                let written = || write_token_file(target, incoming, manner).and_then(Result::err);
                whole.clone().or(refused).or_else(written)
            }
            FileChange::Remove { .. } => whole.clone().or_else(|| failed.remove(id)),
            FileChange::Token(_) | FileChange::RemoveToken(_) => {
                Some(StepFailure::new(format!("`{}` is a kubeconfig and a token file", target.path.display())))
            }
        };
        (*id, failure)
    });
    FileWritten { file: target.path.clone(), results: results.collect(), took: start.elapsed() }
}

/// Writes a file that holds a token and nothing else, or removes it.
fn write_token(path: &Path, change: &FileChange, manner: Manner) -> Result<(), StepFailure> {
    let written = match change {
        FileChange::Token(credential) => store::update(path, manner, |before| token_file(before, credential)).map(drop),
        FileChange::RemoveToken(owner) => {
            let held = store::read(path).map_err(|error| describe(&error))?;
            // One that somebody else wrote meanwhile stays.
            if held.is_none_or(|held| !matches!(owner.read(&held), Ok(Some(_)))) {
                return Ok(());
            }
            store::remove(path, manner)
        }
        FileChange::Write(_) | FileChange::Remove { .. } => return Ok(()),
    };
    written.map_err(|error| StepFailure { is_overtaken: is_overtaken(&error), ..describe(&error) })
}

/// Whether a file was not written because another run was faster.
fn is_overtaken(error: &StoreError) -> bool {
    matches!(error, StoreError::Edit { source, .. }
        if matches!(source.downcast_ref(), Some(MergeError::Superseded(_))))
}

/// Entries on their way out of a file.
struct Departure<'a> {
    /// The publication that it belongs to.
    id: u64,
    leaving: &'a Leaving,
    token_file: Option<&'a Path>,
    /// Why they stay.
    failure: Option<StepFailure>,
}

/// Removes entries from the content of a kubeconfig, and deletes the token files that no entry names any more. A token
/// file goes before the entry that names it: whatever is killed, an entry tells where a token may be. If it cannot be
/// deleted, the entry stays.
fn leave(
    content: &[u8],
    departures: &mut [Departure<'_>],
    kubeconfig: &Path,
    manner: Manner,
) -> Result<Vec<u8>, MergeError> {
    let entries = |departures: &[Departure<'_>]| -> Vec<Leaving> {
        departures.iter().filter(|it| it.failure.is_none()).map(|it| it.leaving.clone()).collect()
    };
    let after = remove(content, &entries(departures))?;
    if departures.iter().all(|departure| departure.token_file.is_none()) {
        return Ok(after);
    }
    let text = std::str::from_utf8(&after).map_err(|_| MergeError::NotText)?;
    let document = Document::parse(text)?;
    let named: HashSet<PathBuf> =
        document.token_files().map(|named| normalise(&token_file_path(kubeconfig, named))).collect();
    for departure in departures.iter_mut() {
        let Some(file) = departure.token_file.filter(|file| !named.contains(&normalise(file))) else { continue };
        departure.failure = store::remove(file, manner).err().map(|error| describe(&error));
    }
    remove(content, &entries(departures))
}

/// Writes the token file of an entry that names one, unless it holds a newer generation.
fn write_token_file(target: &TargetFile, incoming: &Incoming, manner: Manner) -> Option<Result<(), StepFailure>> {
    let UserForm::TokenFile(relative) = &incoming.names.form else { return None };
    let credential = incoming.credential.as_ref()?;
    let path = token_file_path(&target.path, relative);
    let written = store::update(&path, manner, |before| token_file(before, credential));
    Some(written.map(drop).map_err(|error| StepFailure { is_overtaken: is_overtaken(&error), ..describe(&error) }))
}

/// Returns the path of an entry's token file, which is relative to its kubeconfig.
pub(crate) fn token_file_path(kubeconfig: &Path, relative: &str) -> PathBuf {
    kubeconfig.parent().unwrap_or(Path::new("/")).join(relative)
}

/// Describes why a file was not written, with the causes.
pub(crate) fn describe(error: &StoreError) -> StepFailure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let failure = StepFailure { kind: FailureKind::Output, ..StepFailure::new(text) };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::store::{BreakLock, Sharing};

    /// A change that takes the lock of a file and removes nothing from it.
    fn change() -> FileChange {
        let (inventory, cluster, profile) = ("acme".into(), "a".into(), "reader".into());
        let leaving = Leaving { inventory, cluster, profile, entries: vec![] };
        FileChange::Remove { leaving, token_file: None }
    }

    #[tokio::test]
    async fn a_large_file_that_waits_for_its_lock_holds_up_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let large = |name: &str| {
            let path = directory.path().join(name);
            std::fs::File::create(&path).unwrap().write_all(b"apiVersion: v1\nkind: Config\nusers: []\n").unwrap();
            Arc::new(TargetFile { others: LARGE, ..TargetFile::of_nothing(&path) })
        };
        let (eu, us) = (large("eu"), large("us"));
        let lock = directory.path().join("eu.lock");
        std::fs::File::create(&lock).unwrap();
        let (publisher, writing) = publisher(Manner { break_lock: BreakLock::Never, sharing: Sharing::Refused });
        let work = async move {
            let waiting = publisher.publish(vec![(eu, change())]);
            let free = publisher.publish(vec![(us, change())]);
            tokio::pin!(waiting);
            tokio::select! {
                biased;
                ended = &mut waiting => panic!("its lock is held: {ended:?}"),
                written = free => written.unwrap(),
            }
            std::fs::remove_file(lock).unwrap();
            waiting.await.unwrap();
        };
        tokio::join!(writing, work);
    }
}
