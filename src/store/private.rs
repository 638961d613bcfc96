//! Private files that only processes of ours share: the cache of the exec plugin.
//!
//! They are locked with flock, which the kernel releases when a process dies: nobody else's locks have
//! to be understood here, and a hundred who wait are woken one after the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// Tokens and times; what is larger is not ours.
const LARGEST: u64 = 1024 * 1024;
/// A lock is tried this often: it is held while a token is minted, which takes longer.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// A list that is longer starts anew.
const LONGEST_LIST: usize = 64 * 1024;

/// The exclusive right to write a private file, until it is dropped.
#[derive(Debug)]
pub struct PrivateLock(File);

/// Reads a private file; nothing if it does not exist.
///
/// # Errors
///
/// If it cannot be read, or somebody else could have written or read it.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let file = match OpenOptions::new().read(true).custom_flags(flags()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(failed(io::Error::other("it is not a file that only this user can read")));
    }
    let mut bytes = vec![];
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Waits for the exclusive right to write a private file, and makes its directory.
///
/// # Errors
///
/// If the directory is not this user's alone, the lock file cannot be made, or somebody still holds it
/// after `patience`.
pub fn lock_private(path: &Path, patience: Duration) -> Result<PrivateLock, StoreError> {
    let lock = lock_path(path);
    let failed = |source| StoreError::Write { path: lock.clone(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let metadata = fs::metadata(directory).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(failed(io::Error::other("its directory is one that others can write")));
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(flags())
        .open(&lock)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(PrivateLock(file)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < patience => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Adds a line to a private list, and returns whether it was there already.
///
/// Lines that are added at the same time are all kept: what is this short is appended whole.
///
/// # Errors
///
/// If the list cannot be read or written.
pub fn remember(list: &Path, line: &str) -> Result<bool, StoreError> {
    let failed = |source| StoreError::Write { path: list.to_owned(), source };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(flags())
        .open(list)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let mut known = String::new();
    Read::by_ref(&mut file).take(LARGEST).read_to_string(&mut known).map_err(failed)?;
    if known.lines().any(|other| other == line) {
        return Ok(true);
    }
    if known.len() > LONGEST_LIST {
        file.set_len(0).map_err(failed)?;
    }
    file.write_all(format!("{line}\n").as_bytes()).map_err(failed)?;
    Ok(false)
}

/// Empties a private list.
///
/// # Errors
///
/// If it exists and cannot be removed.
pub fn forget(list: &Path) -> Result<(), StoreError> {
    match fs::remove_file(list) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Write { path: list.to_owned(), source })
        }
        _ => Ok(()),
    }
}

impl PrivateLock {
    /// Replaces the private file that this is the lock of.
    ///
    /// # Errors
    ///
    /// If it cannot be written; it is then as it was.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        debug_assert!(self.0.metadata().is_ok());
        let failed = |source| StoreError::Write { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut temporary = super::begin_temporary(directory, path).map_err(failed)?;
        temporary.write_all(content).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
        temporary.persist(path).map(drop).map_err(|error| failed(error.error))
    }
}

/// Replaces a file that everybody may read, such as metrics, atomically.
///
/// # Errors
///
/// If it cannot be written; it is then as it was.
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut temporary = tempfile::Builder::new().prefix(".kubemint-").tempfile_in(directory).map_err(failed)?;
    // Whatever the umask is: node_exporter runs as somebody else.
    temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    temporary.write_all(content).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    temporary.persist(path).map(drop).map_err(|error| failed(error.error))
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// A link in a file's place may lead anywhere, and a pipe would be waited for.
fn flags() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_remembers_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        assert!(!remember(&list, "a").unwrap());
        assert!(!remember(&list, "b").unwrap());
        assert!(remember(&list, "a").unwrap());
        forget(&list).unwrap();
        forget(&list).unwrap();
        assert!(!remember(&list, "a").unwrap());
    }

    #[test]
    fn what_others_could_read_or_replace_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/token.json");
        assert!(read_private(&path).unwrap().is_none());
        lock_private(&path, Duration::ZERO).unwrap().write(&path, b"t").unwrap();
        assert_eq!(read_private(&path).unwrap().unwrap(), b"t");
        let held = lock_private(&path, Duration::ZERO).unwrap();
        assert!(lock_private(&path, Duration::from_millis(30)).is_err(), "patience ends");
        drop(held);
        assert!(lock_private(&path, Duration::ZERO).is_ok());
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(lock_private(&path, Duration::ZERO).is_err(), "others could put files there");
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&path).is_err());
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        assert!(read_private(&pipe).is_err() && remember(&pipe, "a").is_err(), "nobody waits for a pipe");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_private(&link).is_err(), "a link may lead anywhere");
    }
}
