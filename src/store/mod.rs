//! The only code that writes files.
//!
//! [`update`] replaces a file atomically under kubectl's lock: at any kill it is the old one or the
//! new one. Symlinks are followed, so that what they point at is replaced and they stay.

mod lock;

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use lock::{BreakLock, Lock, LockError};

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
    /// The new content could not be made.
    #[error("cannot edit `{path}`")]
    Edit {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
/// If the lock is held, or reading, editing or writing fails; the file is then as it was.
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
    // The stamp comes first: a writer without the lock, who is done after it was taken, is noticed.
    let stamp = Stamp::of(&target);
    let before = read(&target)?;
    let after =
        edit(before.as_deref()).map_err(|source| StoreError::Edit { path: path.to_owned(), source: source.into() })?;
    if before.as_deref() == Some(after.as_slice()) {
        return Ok(Written::Unchanged);
    }
    // Opened before anything is replaced: what cannot be synced must not be found out afterwards.
    let opened = File::open(directory).map_err(write_error)?;
    let temporary = write_temporary(directory, &target, &after).map_err(write_error)?;
    if Stamp::of(&target) != stamp || !locks.iter().all(Lock::is_held) {
        return Err(StoreError::Changed { path: path.to_owned() });
    }
    temporary.persist(&target).map_err(|error| write_error(error.error))?;
    if let Err(error) = opened.sync_all() {
        // The file is replaced; only a crash of the machine could still bring the old one back.
        tracing::warn!(path = %target.display(), %error, "cannot sync the directory");
    }
    Ok(Written::Changed)
}

fn write_temporary(directory: &Path, target: &Path, content: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // The caller holds the lock of the target, so a temporary file of that name is a dead process's.
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".kubemint-{name}.");
    remove_left_behind(directory, &prefix)?;
    let mut temporary =
        tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o600)).tempfile_in(directory)?;
    temporary.write_all(content)?;
    if let Ok(metadata) = fs::metadata(target) {
        let own = temporary.as_file().metadata()?;
        if (metadata.uid(), metadata.gid()) != (own.uid(), own.gid()) {
            std::os::unix::fs::fchown(temporary.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
        }
    }
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

/// Removes the temporary files that killed processes left: they hold tokens.
fn remove_left_behind(directory: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
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

/// Checks, without writing anything, that a file could be replaced: nobody has left its lock behind,
/// and its directory can be written.
///
/// # Errors
///
/// If not.
pub fn check_replaceable(path: &Path, break_lock: BreakLock) -> Result<(), StoreError> {
    use rustix::fs::{Access, access};
    let target = resolve(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    for name in [path, &target] {
        Lock::wait_until_free(name, break_lock)?;
    }
    let existing = target.ancestors().skip(1).find(|directory| directory.exists()).unwrap_or(Path::new("/"));
    access(existing, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| StoreError::Write { path: path.to_owned(), source: error.into() })
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
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, content: &str) -> Written {
        update(path, BreakLock::Never, |_| Ok::<_, Infallible>(content.as_bytes().to_vec())).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn new_files_and_directories_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/config");
        assert_eq!(put(&path, "x"), Written::Changed);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_file_that_is_right_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        put(&path, "x");
        let stamp = Stamp::of(&path);
        assert_eq!(put(&path, "x"), Written::Unchanged);
        assert_eq!(Stamp::of(&path), stamp);
    }

    #[test]
    fn a_symlink_stays_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link"), directory.path().join("dotfiles/config"));
        fs::create_dir(target.parent().unwrap()).unwrap();
        symlink("dotfiles/config", &link).unwrap();
        put(&link, "x");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "x");
    }

    #[test]
    fn an_existing_file_becomes_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        put(&path, "x");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        put(&path, "y");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_failed_edit_leaves_the_file_and_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        put(&path, "x");
        let error = update(&path, BreakLock::Never, |_| Err("no")).unwrap_err();
        assert!(matches!(error, StoreError::Edit { .. }));
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["config"]);
    }

    #[test]
    fn a_change_by_somebody_without_the_lock_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        put(&path, "x");
        let error = update(&path, BreakLock::Never, |_| {
            fs::remove_file(&path).unwrap();
            symlink("/dev/null", &path).unwrap();
            Ok::<_, Infallible>(b"y".to_vec())
        });
        assert!(matches!(error, Err(StoreError::Changed { .. })), "{error:?}");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        for name in [".kubemint-config.dead", ".kubemint-other.alive"] {
            put(&directory.path().join(name), "token");
        }
        put(&path, "x");
        assert!(!directory.path().join(".kubemint-config.dead").exists());
        assert!(directory.path().join(".kubemint-other.alive").exists(), "another file's may be alive");
    }

    #[test]
    fn both_names_of_a_file_are_locked() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        symlink("target", &link).unwrap();
        update(&link, BreakLock::Never, |_| {
            assert!(directory.path().join("target.lock").exists() && directory.path().join("link.lock").exists());
            Ok::<_, Infallible>(b"x".to_vec())
        })
        .unwrap();
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["link", "target"]);
        let _other = Lock::take(&target, BreakLock::Never).unwrap();
        assert!(!directory.path().join("link.lock").exists());
    }
}
