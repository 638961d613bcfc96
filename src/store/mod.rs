//! The only code that writes files.
//!
//! [`update`] replaces a file atomically under kubectl's lock: at any kill it is the old one or the
//! new one. Symlinks are followed, so that what they point at is replaced and they stay; what cannot
//! be replaced like that ([`Obstacle`]) is refused rather than written in place.

mod lock;
mod obstacle;
mod private;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use lock::{BreakLock, Lock, LockError, process_identity};
pub use obstacle::Obstacle;
pub use private::{PrivateLock, forget, lock_private, read_private, remember, write_public};

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
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let is_usable = |metadata: &fs::Metadata| metadata.is_file() && metadata.len() <= LARGEST_FILE;
    if fs::metadata(path).is_ok_and(|metadata| !is_usable(&metadata)) {
        let source = io::Error::other("it is not a regular file of at most 256 MiB");
        return Err(StoreError::Read { path: path.to_owned(), source });
    }
    match fs::read(path) {
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
/// now holds tokens; an existing one keeps its owner.
///
/// # Errors
///
/// If the lock is held, or reading, editing or writing fails, or the file cannot be replaced without
/// harm; the file is then as it was.
pub fn update<E>(
    path: &Path,
    break_lock: BreakLock,
    edit: impl FnOnce(Option<&[u8]>) -> Result<Vec<u8>, E>,
) -> Result<Written, StoreError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let target = resolve(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    let write_error = |source| StoreError::Write { path: target.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(write_error)?;
    // Who writes through a symlink locks its name, who writes the file itself locks that one's. They
    // are taken in sorted order, as client-go does with several files.
    let mut names = vec![path.to_owned(), target.clone()];
    names.sort();
    names.dedup();
    let locks = names.iter().map(|name| Lock::take(name, break_lock)).collect::<Result<Vec<_>, _>>()?;
    refuse_obstacle(path, &target)?;
    // The stamp comes first: a writer without the lock, who is done after it was taken, is noticed.
    let replaced = fs::metadata(&target).ok();
    let stamp = Stamp::of(&target);
    let before = read(&target)?;
    let after =
        edit(before.as_deref()).map_err(|source| StoreError::Edit { path: path.to_owned(), source: source.into() })?;
    if before.as_deref() == Some(after.as_slice()) {
        return Ok(Written::Unchanged);
    }
    // Opened before anything is replaced: what cannot be synced must not be found out afterwards.
    let opened = File::open(directory).map_err(write_error)?;
    let temporary = begin_temporary(directory, &target).map_err(write_error)?;
    if let Some(replaced) = replaced {
        give_owner(temporary.as_file(), &replaced).map_err(|_| irreplaceable(path, Obstacle::owner(&replaced)))?;
    }
    temporary.as_file().write_all(&after).and_then(|()| temporary.as_file().sync_all()).map_err(write_error)?;
    if Stamp::of(&target) != stamp || !locks.iter().all(Lock::is_held) {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    temporary.persist(&target).map_err(|error| match error.error.kind() {
        // Not every kernel tells that a file is a mount point before it is replaced.
        io::ErrorKind::ResourceBusy => irreplaceable(path, Obstacle::MountPoint),
        _ => write_error(error.error),
    })?;
    if let Err(error) = opened.sync_all() {
        // The file is replaced; only a crash of the machine could still bring the old one back.
        tracing::warn!(path = %target.display(), %error, "cannot sync the directory");
    }
    Ok(Written::Changed)
}

/// Removes a file of ours; one that is gone already is as wanted.
///
/// # Errors
///
/// If its lock is held, or it cannot be removed.
pub fn remove(path: &Path, break_lock: BreakLock) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let _lock = Lock::take(path, break_lock)?;
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn irreplaceable(path: &Path, obstacle: Obstacle) -> StoreError {
    StoreError::Irreplaceable { path: path.to_owned(), obstacle }
}

fn refuse_obstacle(path: &Path, target: &Path) -> Result<(), StoreError> {
    let found = Obstacle::find(target).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    found.map_or(Ok(()), |obstacle| Err(irreplaceable(path, obstacle)))
}

/// How many random letters and digits end the name of a temporary file.
const RANDOM_LENGTH: usize = 6;

/// Makes an empty private file beside the one that it will replace.
fn begin_temporary(directory: &Path, target: &Path) -> io::Result<tempfile::NamedTempFile> {
    // The caller holds the lock of the target, so a temporary file of that name is a dead process's.
    let mut prefix = OsString::from(".kubemint-");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    remove_left_behind(directory, &prefix)?;
    tempfile::Builder::new()
        .prefix(&prefix)
        .rand_bytes(RANDOM_LENGTH)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
}

/// Gives a file the owner and group that the file it replaces has.
fn give_owner(file: &File, replaced: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (replaced.uid(), replaced.gid()) == (own.uid(), own.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(replaced.uid()), Some(replaced.gid()))
}

/// Removes the temporary files that killed processes left: they hold tokens.
fn remove_left_behind(directory: &Path, prefix: &OsStr) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        // Of `config` and `config.old`, the prefix of the one begins the other's temporary files, which
        // are somebody else's to remove.
        let random = name.as_bytes().strip_prefix(prefix.as_bytes());
        if random.is_some_and(|end| end.len() == RANDOM_LENGTH && end.iter().all(u8::is_ascii_alphanumeric)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        Self(metadata.map(|metadata| (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())))
    }
}

/// Checks, without leaving anything behind, that a file could be replaced: nobody has left its lock
/// there, nothing stands in the way, and a file with its owner can be made beside it.
///
/// A lock is waited for as long as taking it would, counted from `since`.
///
/// # Errors
///
/// If not.
pub fn check_replaceable(path: &Path, break_lock: BreakLock, since: Instant) -> Result<(), StoreError> {
    use rustix::fs::{Access, access};
    let target = resolve(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    for name in [path, &target] {
        Lock::wait_until_free(name, break_lock, since)?;
    }
    refuse_obstacle(path, &target)?;
    let existing = target.ancestors().skip(1).find(|directory| directory.exists()).unwrap_or(Path::new("/"));
    let write_error = |source| StoreError::Write { path: path.to_owned(), source };
    if !existing.is_dir() {
        return Err(write_error(io::ErrorKind::NotADirectory.into()));
    }
    access(existing, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| write_error(error.into()))?;
    if let Ok(replaced) = fs::metadata(&target) {
        // Only an attempt tells who may give files away. The file has no name, so no kill leaves it.
        let nameless = tempfile::tempfile_in(existing).map_err(write_error)?;
        give_owner(&nameless, &replaced).map_err(|_| irreplaceable(path, Obstacle::owner(&replaced)))?;
    }
    Ok(())
}

/// Returns what identifies the file behind a path, so that two paths to one file are noticed.
///
/// # Errors
///
/// If its links cannot be followed.
pub fn identity(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let target = resolve(path).map_err(failed)?;
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else { return Ok(target) };
    // A directory that does not exist yet is no link to another.
    Ok(directory.canonicalize().unwrap_or_else(|_| directory.to_owned()).join(name))
}

/// Follows symlinks, also to a target that does not exist yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(target);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

#[cfg(test)]
mod tests;
