//! Private files that only processes of ours share: the cache of the exec plugin.
//!
//! They are locked with flock, which the kernel releases when a process dies. No other program's locks matter here, and
//! a hundred waiting processes are woken one after the other.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat};

use super::reach::{Entry, Missing, Reached, reach, reach_or_make};
use super::safety::{Guard, Sharing};
use super::temporary::{Temporary, remove_dead};
use super::{StoreError, read_to_limit};

/// The file holds tokens and times; a larger one is not ours.
const LARGEST: u64 = 1024 * 1024;
/// The pause between two tries to take a lock, which is held while a token is minted.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// A longer list is emptied first.
const LONGEST_LIST: usize = 64 * 1024;

/// The exclusive right to write a private file, until it is dropped.
#[derive(Debug)]
pub(crate) struct PrivateLock {
    file: File,
    sharing: Sharing,
}

/// Reads a private file; nothing if it does not exist.
///
/// # Errors
///
/// If it cannot be read, or somebody else could have written or read it.
pub(crate) fn read_private(path: &Path, sharing: Sharing) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let entry = match reach(path, Guard::Secret(sharing), Missing::Leave).map_err(|error| error.of(path, failed))? {
        Reached::Name { target, link: None } => target,
        Reached::Name { link: Some(_), .. } => return Err(failed(is_link())),
        Reached::Short { .. } => return Ok(None),
    };
    let file = match entry.open(OFlags::RDONLY) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(failed(io::Error::other("it is not a file that only this user can read")));
    }
    read_to_limit(file, LARGEST).map(Some).map_err(failed)
}

/// The exclusive right to write a private file, or what came while it was waited for.
#[derive(Debug)]
pub(crate) enum Awaited<T> {
    /// The right to write.
    Lock(PrivateLock),
    /// What the holder of the lock left.
    Left(T),
}

/// Waits for the exclusive right to write a private file, or until `left` finds what the holder of the lock has written.
/// Makes the file's directory.
///
/// # Errors
///
/// If the directory is not this user's alone, the lock file cannot be made, or somebody still holds it
/// after `patience`.
pub(crate) fn lock_private<T>(
    path: &Path,
    patience: Duration,
    sharing: Sharing,
    mut left: impl FnMut() -> Option<T>,
) -> Result<Awaited<T>, StoreError> {
    let lock = lock_path(path);
    let failed = |source| StoreError::Write { path: lock.clone(), source };
    let entry = own_entry(&lock, sharing)?;
    let directory = fstat(&entry.directory).map_err(|error| failed(error.into()))?;
    let is_open = Mode::from_raw_mode(directory.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if directory.st_uid != rustix::process::geteuid().as_raw() || is_open {
        return Err(failed(io::Error::other("its directory is one that others can write")));
    }
    let file = open_private(&entry, OFlags::WRONLY).map_err(failed)?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Awaited::Lock(PrivateLock { file, sharing })),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                if let Some(left) = left() {
                    return Ok(Awaited::Left(left));
                }
                if error != rustix::io::Errno::WOULDBLOCK || start.elapsed() >= patience {
                    return Err(failed(error.into()));
                }
                std::thread::sleep(LOCK_PAUSE);
            }
        }
    }
}

/// Adds a line to a private list, and returns whether it was there already.
///
/// Lines that are added at the same time are all kept, because a short line is appended in one write.
///
/// # Errors
///
/// If the list cannot be read or written.
pub(crate) fn remember(list: &Path, line: &str, sharing: Sharing) -> Result<bool, StoreError> {
    let failed = |source| StoreError::Write { path: list.to_owned(), source };
    let mut file = open_private(&own_entry(list, sharing)?, OFlags::RDWR | OFlags::APPEND).map_err(failed)?;
    let known = read_to_limit(Read::by_ref(&mut file), LARGEST).map_err(failed)?;
    let known = String::from_utf8_lossy(&known);
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
pub(crate) fn forget(list: &Path, sharing: Sharing) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: list.to_owned(), source };
    own_entry(list, sharing)?.remove().map_err(failed)
}

impl PrivateLock {
    /// Replaces the private file that this is the lock of.
    ///
    /// # Errors
    ///
    /// If it cannot be written; it is then as it was.
    pub(crate) fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        debug_assert!(self.file.metadata().is_ok());
        let failed = |source| StoreError::Write { path: path.to_owned(), source };
        let target = own_entry(path, self.sharing)?;
        remove_dead(&target).map_err(failed)?;
        let mut temporary = Temporary::beside(&target).map_err(failed)?;
        temporary.fill(content).map_err(failed)?;
        temporary.replace(&target).map_err(failed)
    }
}

/// Follows the path of a private file; a link is refused.
fn own_entry(path: &Path, sharing: Sharing) -> Result<Entry, StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    match reach_or_make(path, Guard::Secret(sharing)).map_err(|error| error.of(path, failed))? {
        (target, None) => Ok(target),
        (_, Some(_)) => Err(failed(is_link())),
    }
}

/// Opens a private file, and makes it if there is none.
fn open_private(entry: &Entry, flags: OFlags) -> io::Result<File> {
    let file = entry.open(flags | OFlags::CREATE)?;
    if !file.metadata()?.is_file() {
        return Err(super::bounded::not_regular());
    }
    // The umask may have been different when the file was made.
    if file.metadata()?.mode() & 0o777 != 0o600 {
        fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    }
    Ok(file)
}

/// A link where a private file should be may lead anywhere.
fn is_link() -> io::Error {
    io::Error::other("it is a symbolic link")
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Waits for the right to write only.
#[cfg(test)]
pub(super) fn lock_only(path: &Path, patience: Duration, sharing: Sharing) -> Result<PrivateLock, StoreError> {
    lock_private(path, patience, sharing, || None::<()>).map(|awaited| match awaited {
        Awaited::Lock(lock) => lock,
        Awaited::Left(()) => unreachable!("nothing is looked for"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const STRICT: Sharing = Sharing::Refused;

    #[test]
    fn a_list_remembers_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        assert!(!remember(&list, "a", STRICT).unwrap());
        assert!(!remember(&list, "b", STRICT).unwrap());
        assert!(remember(&list, "a", STRICT).unwrap());
        forget(&list, STRICT).unwrap();
        forget(&list, STRICT).unwrap();
        assert!(!remember(&list, "a", STRICT).unwrap());
    }

    fn lock(path: &Path, patience: Duration) -> Result<PrivateLock, StoreError> {
        lock_only(path, patience, STRICT)
    }

    #[test]
    fn what_others_could_read_or_replace_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/token.json");
        assert!(read_private(&path, STRICT).unwrap().is_none());
        lock(&path, Duration::ZERO).unwrap().write(&path, b"t").unwrap();
        assert_eq!(read_private(&path, STRICT).unwrap().unwrap(), b"t");
        let held = lock(&path, Duration::ZERO).unwrap();
        let left = lock_private(&path, Duration::ZERO, STRICT, || read_private(&path, STRICT).unwrap());
        assert!(matches!(left, Ok(Awaited::Left(left)) if left == b"t"), "what is there needs no lock");
        assert!(lock(&path, Duration::from_millis(30)).is_err(), "patience ends");
        drop(held);
        assert!(lock(&path, Duration::ZERO).is_ok());
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(lock(&path, Duration::ZERO).is_err(), "others could put files there");
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&path, STRICT).is_err());
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        assert!(
            read_private(&pipe, STRICT).is_err() && remember(&pipe, "a", STRICT).is_err(),
            "nobody waits for a pipe"
        );
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_private(&link, STRICT).is_err(), "a link may lead anywhere");
    }
}
