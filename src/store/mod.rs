//! The only code that writes files.
//!
//! [`update`] replaces a file atomically under kubectl's lock: whenever it is killed, the file is the old one or the
//! new one. Symlinks are followed: their target is replaced and they stay. A file that cannot be replaced like that
//! ([`Obstacle`]) is refused rather than written in place, and so is one that somebody else could replace ([`Danger`]).

mod append;
mod bounded;
mod faults;
mod lock;
mod obstacle;
mod private;
mod public;
mod reach;
mod safety;
mod temporary;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, Stat};

pub(crate) use append::Appender;
pub(crate) use bounded::{read_regular, read_to_limit};
pub use lock::{BreakLock, LockError};
pub(crate) use lock::{Lock, process_identity};
pub use obstacle::Obstacle;
pub(crate) use private::{Awaited, forget, lock_private, read_private, remember};
pub(crate) use public::{check_public, write_public};
use reach::{Entry, Impassable, Missing, Reached, Stamp, reach, reach_or_make};
use safety::Guard;
pub use safety::{Danger, Sharing};
use temporary::{Temporary, remove_dead};

/// How a run may write files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Whether locks may be broken.
    pub break_lock: BreakLock,
    /// Whether others may have a hand in the directories.
    pub sharing: Sharing,
}

/// Why a file was not written. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file changed while it was being edited, by somebody who does not take the lock.
    #[error("`{path}` was changed by somebody else at the same time")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be replaced without harm.
    #[error("`{path}` cannot be replaced: {obstacle}")]
    Irreplaceable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        obstacle: Obstacle,
    },
    /// Somebody else could read or replace what is written.
    #[error("`{path}` is not safe: `{place}` {danger}")]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What the way to it leads through, or the file itself.
        place: PathBuf,
        /// What is wrong with it.
        danger: Danger,
    },
    /// The existing file was not made by this program.
    #[error("`{path}` is not overwritten: {cause}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        cause: String,
    },
    /// The new content could not be made.
    #[error("cannot edit `{path}`")]
    Edit {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Returns what to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(LockError::Held { lock, .. }) => {
                Some(format!("if nobody is writing the file, remove `{}` or pass `--break-lock`", lock.display()))
            }
            Self::Lock(LockError::Create { lock: path, source }) | Self::Write { path, source } => {
                hint_for(path.parent().unwrap_or(path), source)
            }
            Self::Irreplaceable { path, obstacle } => Some(obstacle.hint(path)),
            Self::Unsafe { place, danger, .. } => Some(danger.hint(place)),
            Self::Foreign { .. } => Some("name another file, or remove this one if nobody needs it".to_owned()),
            Self::Changed { .. } => {
                Some("run it again; stop whatever else writes the file if it comes back".to_owned())
            }
            Self::Read { .. } | Self::Edit { .. } => None,
        }
    }
}

fn hint_for(directory: &Path, error: &io::Error) -> Option<String> {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(format!("make room on the file system of `{directory}`"))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some(format!("mount the file system of `{directory}` with write access, or write the file elsewhere"))
        }
        io::ErrorKind::PermissionDenied => {
            Some(format!("let this user create and replace files in `{directory}`, or write the file elsewhere"))
        }
        _ => None,
    }
}

/// The largest file that is read: kubeconfigs of 10,000 clusters have 25 MB.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

/// Reads a regular file; nothing if it does not exist.
///
/// # Errors
///
/// If it exists and cannot be read, or is something else, such as a pipe that would never end.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match read_regular(path, LARGEST_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path: path.to_owned(), source }),
    }
}

/// Whether a file had to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It has new content.
    Changed,
    /// It was right already and was not touched.
    Unchanged,
}

/// Replaces the content of a file by what `edit` makes of it.
///
/// Missing directories are made with mode 0700. The file gets mode 0600, whatever it had, because it
/// now holds tokens, or 0400 if its owner had no right to write it; an existing one keeps its owner.
///
/// # Errors
///
/// If the lock is held, or reading, editing or writing fails, or the file cannot be replaced without
/// harm, or somebody else could replace it; the file is then as it was.
pub fn update<E>(
    path: &Path,
    manner: Manner,
    edit: impl FnOnce(Option<&[u8]>) -> Result<Vec<u8>, E>,
) -> Result<Written, StoreError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let guard = Guard::Secret(manner.sharing);
    let write_error = |source| StoreError::Write { path: path.to_owned(), source };
    let (target, link) = reach_or_make(path, guard).map_err(|error| error.of(path, write_error))?;
    // This comes before any write: the files that dead processes left may be what fills the disk.
    remove_dead(&target).map_err(write_error)?;
    let locks = take_locks(&target, link.as_ref(), manner.break_lock)?;
    refuse_obstacle(path, &target)?;
    // The stamp is taken before the file is read, so that a writer without the lock is noticed.
    let replaced = target.stat().map_err(write_error)?;
    let stamp = replaced.as_ref().map(Stamp::of);
    let read_error = |source| StoreError::Read { path: path.to_owned(), source };
    let before = target.read(guard, LARGEST_FILE).map_err(|error| error.of(path, read_error))?;
    // The file disappeared after its owner was read, so that owner must not be given to a new one.
    if before.is_none() && replaced.is_some() {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    let after =
        edit(before.as_deref()).map_err(|source| StoreError::Edit { path: path.to_owned(), source: source.into() })?;
    if before.as_deref() == Some(after.as_slice()) {
        return Ok(Written::Unchanged);
    }
    // Opened early: that the directory cannot be synced has to be known before the file is replaced.
    let opened = File::from(target.open_directory().map_err(write_error)?);
    let mut temporary = Temporary::beside(&target).map_err(write_error)?;
    temporary.fill(&after).map_err(write_error)?;
    if target.stamp().map_err(write_error)? != stamp || !locks.iter().all(Lock::is_held) {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    // The owner is changed last: until here nobody else could open the file.
    if let Some(replaced) = replaced {
        keep_read_only(&temporary.file, &replaced).map_err(write_error)?;
        give_owner(&temporary.file, &replaced).map_err(|_| irreplaceable(path, Obstacle::owner(&replaced)))?;
    }
    temporary.replace(&target).map_err(|error| match error.kind() {
        // Some kernels tell only here that a file is a mount point.
        io::ErrorKind::ResourceBusy => irreplaceable(path, Obstacle::MountPoint),
        _ => write_error(error),
    })?;
    if let Err(error) = opened.sync_all() {
        // The file is replaced; only a crash of the machine could still bring the old one back.
        tracing::warn!(path = %target.path.display(), %error, "cannot sync the directory");
    }
    Ok(Written::Changed)
}

/// Takes the locks of a file: its own, and that of the symlink it was named by, because other writers may use either.
/// They are taken in sorted order, as client-go does with several files.
fn take_locks(target: &Entry, link: Option<&Entry>, break_lock: BreakLock) -> Result<Vec<Lock>, LockError> {
    let mut names: Vec<&Entry> = link.into_iter().chain([target]).collect();
    names.sort_by_key(|name| &name.path);
    names.into_iter().map(|name| Lock::take(name, break_lock)).collect()
}

/// Removes a file of ours. A file that does not exist is no error.
///
/// # Errors
///
/// If its lock is held, or it cannot be removed, or somebody else could replace it.
pub(crate) fn remove(path: &Path, manner: Manner) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    let reached = reach(path, Guard::Secret(manner.sharing), Missing::Leave);
    let Reached::Name { target, link } = reached.map_err(|error| error.of(path, failed))? else { return Ok(()) };
    // A link itself is removed, not its target.
    let named = link.as_ref().unwrap_or(&target);
    if named.stat().map_err(failed)?.is_none() {
        return Ok(());
    }
    let _lock = Lock::take(named, manner.break_lock)?;
    named.remove().map_err(failed)
}

fn irreplaceable(path: &Path, obstacle: Obstacle) -> StoreError {
    StoreError::Irreplaceable { path: path.to_owned(), obstacle }
}

fn refuse_obstacle(path: &Path, target: &Entry) -> Result<(), StoreError> {
    let found = Obstacle::find(target).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    found.map_or(Ok(()), |obstacle| Err(irreplaceable(path, obstacle)))
}

/// Makes a file read-only for its owner if the replaced file was: editors and `kubectl config` are meant to leave it
/// alone.
fn keep_read_only(file: &File, replaced: &Stat) -> io::Result<()> {
    if Mode::from_raw_mode(replaced.st_mode).contains(Mode::WUSR) {
        return Ok(());
    }
    Ok(rustix::fs::fchmod(file, Mode::RUSR)?)
}

/// Gives a file the owner and group that the file it replaces has.
fn give_owner(file: &File, replaced: &Stat) -> io::Result<()> {
    let own = rustix::fs::fstat(file)?;
    if (replaced.st_uid, replaced.st_gid) == (own.st_uid, own.st_gid) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(replaced.st_uid), Some(replaced.st_gid))
}

/// Checks, without leaving anything behind, that a file could be replaced: nobody has left its lock
/// there, nothing stands in the way, nobody else could replace it, this process may write to the directory, and a file of
/// somebody else can be given to its owner.
///
/// It waits for a lock as long as `update` would, counted from `since`.
///
/// # Errors
///
/// If not.
pub(crate) fn check_replaceable(path: &Path, manner: Manner, since: Instant) -> Result<(), StoreError> {
    use rustix::fs::{Access, AtFlags, accessat};
    let write_error = |source| StoreError::Write { path: path.to_owned(), source };
    let reached = reach(path, Guard::Secret(manner.sharing), Missing::Leave);
    let reached = reached.map_err(|error| error.of(path, write_error))?;
    if let Reached::Name { target, link } = &reached {
        for name in link.iter().chain([target]) {
            Lock::wait_while_held(name, manner.break_lock, since)?;
        }
        refuse_obstacle(path, target)?;
    }
    let existing = match &reached {
        Reached::Name { target, .. } => &target.directory,
        Reached::Short { directory, .. } => directory,
    };
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    accessat(existing, ".", needed, AtFlags::empty()).map_err(|error| write_error(error.into()))?;
    if let Reached::Name { target, .. } = &reached
        && let Some(replaced) = target.stat().map_err(write_error)?
    {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // Whoever owns a file may give it the group of the process, whatever group its directory gives it.
        if (replaced.st_uid, replaced.st_gid) == own {
            return Ok(());
        }
        // Whether this process may give files away shows only when it tries.
        let attempt = Temporary::beside(target).map_err(write_error)?;
        give_owner(&attempt.file, &replaced).map_err(|_| irreplaceable(path, Obstacle::owner(&replaced)))?;
    }
    Ok(())
}

/// Returns what identifies the file behind a path, so that two paths to one file are noticed: the path
/// without links.
///
/// # Errors
///
/// If its links cannot be followed.
pub(crate) fn identity(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    match reach(path, Guard::Nothing, Missing::Leave) {
        Ok(Reached::Name { target: Entry { path, .. }, .. } | Reached::Short { path, .. }) => Ok(path),
        Err(Impassable::Io(error)) if error.kind() == io::ErrorKind::IsADirectory => Ok(path.to_owned()),
        Err(error) => Err(error.of(path, failed)),
    }
}

/// Drops each path that leads to the same file as an earlier one, through a link for example.
pub(crate) fn distinct(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = HashSet::new();
    let is_new = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(metadata) => seen.insert((metadata.dev(), metadata.ino())),
        // A path that cannot be followed is kept; reading it will report the error.
        Err(_) => true,
    };
    let mut paths = paths;
    paths.retain(is_new);
    paths
}

/// Returns whether two paths lead to one file, under whatever names. Two files of which one does not exist are
/// different.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| match reach(path, Guard::Nothing, Missing::Leave) {
        Ok(Reached::Name { target, .. }) => (target.stamp().ok().flatten(), target.path),
        Ok(Reached::Short { path, .. }) => (None, path),
        Err(_) => (None, path.to_owned()),
    };
    match (place(one), place(other)) {
        ((Some(one), _), (Some(other), _)) => one.is_same_file(&other),
        ((_, one), (_, other)) => one == other,
    }
}

#[cfg(test)]
mod tests;
