//! Collects issued credentials into files: per-cluster files at once, combined ones in batches.
//!
//! An actor that ends when the last sender is gone and everything is written. Each file is written
//! by one task at a time; what arrives meanwhile goes into the next write, and a write that took
//! long makes the next one wait longer, so that a file of 10,000 contexts is not written 10,000 times.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::StepFailure;
use crate::kubeconfig::{FileOrder, Incoming, MergeError, merge};
use crate::store::{self, BreakLock, StoreError};

/// The shortest pause after a write, as a multiple of what the write took.
const PAUSE_FACTOR: u32 = 10;
/// The longest pause: combined files are current within a few seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A file that credentials go to.
#[derive(Debug, Clone)]
pub struct TargetFile {
    /// Its path.
    pub path: PathBuf,
    /// The order of our entries in it.
    pub order: Arc<FileOrder>,
    /// The context that becomes current, if the inventory says so.
    pub current_context: Option<String>,
}

/// A credential for some files, and where to say that they are written.
struct Publication {
    incoming: Vec<(usize, Incoming)>,
    reply: oneshot::Sender<Result<(), StepFailure>>,
}

/// Where credentials are handed in.
#[derive(Debug, Clone)]
pub struct Publisher(mpsc::UnboundedSender<Publication>);

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publication({} files)", self.incoming.len())
    }
}

impl Publisher {
    /// Returns when every file holds the credential; `incoming` is by index of the target file.
    ///
    /// # Errors
    ///
    /// If a file could not take it.
    pub async fn publish(&self, incoming: Vec<(usize, Incoming)>) -> Result<(), StepFailure> {
        let (reply, written) = oneshot::channel();
        let gone = || StepFailure::new("the files are no longer written; this is a bug in kubemint");
        self.0.send(Publication { incoming, reply }).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

/// What the actor knows of one file.
#[derive(Default)]
struct FileState {
    pending: Vec<(u64, Incoming)>,
    writing: bool,
    ready_at: Option<Instant>,
}

struct Waiting {
    files_left: usize,
    failure: Option<StepFailure>,
    reply: oneshot::Sender<Result<(), StepFailure>>,
}

/// The outcome of writing one file.
struct FileWritten {
    file: usize,
    took: Duration,
    /// Per publication: nothing, or why it was not taken.
    results: Vec<(u64, Option<StepFailure>)>,
}

/// Makes a publisher and the actor behind it; the actor must be polled until it ends.
pub fn publisher(files: Vec<TargetFile>, break_lock: BreakLock) -> (Publisher, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Publisher(sender), run(files, break_lock, receiver))
}

async fn run(files: Vec<TargetFile>, break_lock: BreakLock, mut receiver: mpsc::UnboundedReceiver<Publication>) {
    let mut states: Vec<FileState> = files.iter().map(|_| FileState::default()).collect();
    let mut waiting: HashMap<u64, Waiting> = HashMap::new();
    let mut writes: JoinSet<FileWritten> = JoinSet::new();
    let mut next_id = 0_u64;
    let mut open = true;
    loop {
        start_writes(&files, break_lock, &mut states, &mut writes);
        let idle = writes.is_empty() && states.iter().all(|state| state.pending.is_empty());
        if !open && idle {
            return;
        }
        let next_ready = states
            .iter()
            .filter(|state| !state.writing && !state.pending.is_empty())
            .filter_map(|state| state.ready_at)
            .min();
        tokio::select! {
            publication = receiver.recv(), if open => match publication {
                None => open = false,
                Some(publication) => {
                    next_id += 1;
                    let files_left = publication.incoming.len();
                    if files_left == 0 {
                        drop(publication.reply.send(Ok(())));
                        continue;
                    }
                    for (file, incoming) in publication.incoming {
                        states[file].pending.push((next_id, incoming));
                    }
                    waiting.insert(next_id, Waiting { files_left, failure: None, reply: publication.reply });
                }
            },
            Some(written) = writes.join_next() => match written {
                Ok(written) => finish(written, &mut states, &mut waiting),
                // A write panicked: everybody who waits, now or later, learns that files are not written.
                Err(_) => return,
            },
            () = tokio::time::sleep_until(next_ready.unwrap_or_else(Instant::now)), if next_ready.is_some() => {}
        }
    }
}

fn start_writes(
    files: &[TargetFile],
    break_lock: BreakLock,
    states: &mut [FileState],
    writes: &mut JoinSet<FileWritten>,
) {
    let now = Instant::now();
    for (file, state) in states.iter_mut().enumerate() {
        let ready = state.ready_at.is_none_or(|ready_at| ready_at <= now);
        if state.writing || state.pending.is_empty() || !ready {
            continue;
        }
        state.writing = true;
        let batch = std::mem::take(&mut state.pending);
        let target = files[file].clone();
        writes.spawn_blocking(move || write_file(file, &target, &batch, break_lock));
    }
}

fn finish(written: FileWritten, states: &mut [FileState], waiting: &mut HashMap<u64, Waiting>) {
    let state = &mut states[written.file];
    state.writing = false;
    state.ready_at = Some(Instant::now() + (written.took * PAUSE_FACTOR).min(LONGEST_PAUSE));
    for (id, failure) in written.results {
        let Some(entry) = waiting.get_mut(&id) else {
            continue;
        };
        entry.files_left -= 1;
        if entry.failure.is_none() {
            entry.failure = failure;
        }
        if entry.files_left == 0
            && let Some(done) = waiting.remove(&id)
        {
            // Whoever waited may have run out of time; the file is written all the same.
            drop(done.reply.send(done.failure.map_or(Ok(()), Err)));
        }
    }
}

fn write_file(file: usize, target: &TargetFile, batch: &[(u64, Incoming)], break_lock: BreakLock) -> FileWritten {
    let start = std::time::Instant::now();
    let incoming: Vec<Incoming> = batch.iter().map(|(_, incoming)| incoming.clone()).collect();
    let mut refused: HashMap<usize, StepFailure> = HashMap::new();
    let result = store::update(&target.path, break_lock, |before| {
        let merged = merge(before, &incoming, &target.order, target.current_context.as_deref())?;
        for (position, reason) in merged.refused {
            refused.insert(position, StepFailure::new(format!("`{}`: {reason}", target.path.display())));
        }
        Ok::<_, MergeError>(merged.content)
    });
    let whole = result.err().map(|error| describe(&error));
    let results = batch
        .iter()
        .enumerate()
        .map(|(position, (id, _))| (*id, whole.clone().or_else(|| refused.remove(&position))))
        .collect();
    FileWritten { file, took: start.elapsed(), results }
}

/// Describes why a file was not written, with the causes.
pub fn describe(error: &StoreError) -> StepFailure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let failure = StepFailure::new(text);
    match error {
        StoreError::Lock(store::LockError::Held { lock, .. }) => {
            failure.hint(format!("if nobody is writing the file, remove `{}` or pass `--break-lock`", lock.display()))
        }
        _ => failure,
    }
}
