//! Files that everybody may read: metrics and man pages. An existing file is replaced only if it is recognisably ours.

use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, fchmod};

use super::reach::{Entry, Impassable, Missing, Reached, reach};
use super::safety::Guard;
use super::temporary::{Temporary, remove_dead};
use super::{LARGEST_FILE, StoreError};

/// Recognises a file that this program wrote for the same purpose.
pub(super) type IsOurs = fn(&[u8]) -> bool;

/// Checks that a public file could be written: it does not exist, or is a regular file that is
/// recognisably ours.
///
/// # Errors
///
/// If it is something else.
pub(crate) fn check_public(path: &Path, is_ours: IsOurs) -> Result<(), StoreError> {
    match reach(path, Guard::Public, Missing::Leave).map_err(|error| unpassed(path, error))? {
        Reached::Name { target, .. } => check(&target, path, is_ours),
        // Writing reports that the directory does not exist.
        Reached::Short { .. } => Ok(()),
    }
}

/// Replaces a file that everybody may read, atomically, if it is absent or recognisably ours.
///
/// # Errors
///
/// If it cannot be written; it is then as it was.
pub(crate) fn write_public(path: &Path, content: &[u8], is_ours: IsOurs) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    let target = match reach(path, Guard::Public, Missing::Leave).map_err(|error| unpassed(path, error))? {
        Reached::Name { target, .. } => target,
        Reached::Short { .. } => return Err(failed(io::ErrorKind::NotFound.into())),
    };
    check(&target, path, is_ours)?;
    remove_dead(&target).map_err(failed)?;
    let mut temporary = Temporary::beside(&target).map_err(failed)?;
    // Set explicitly, because of the umask: node_exporter runs as another user.
    let readable = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    fchmod(&temporary.file, readable).map_err(|error| failed(error.into()))?;
    temporary.fill(content).map_err(failed)?;
    temporary.replace(&target).map_err(failed)
}

fn unpassed(path: &Path, error: Impassable) -> StoreError {
    error.of(path, |source| StoreError::Write { path: path.to_owned(), source })
}

fn check(target: &Entry, path: &Path, is_ours: IsOurs) -> Result<(), StoreError> {
    let refused = |cause: &str| StoreError::Foreign { path: path.to_owned(), cause: cause.to_owned() };
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    let Some(stat) = target.stat().map_err(failed)? else { return Ok(()) };
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(refused("it is not a regular file"));
    }
    match target.read(Guard::Public, LARGEST_FILE) {
        Ok(Some(bytes)) if !is_ours(&bytes) => Err(refused("it is something else")),
        Ok(_) => Ok(()),
        Err(Impassable::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(refused("it is something else"))
        }
        Err(error) => Err(unpassed(path, error)),
    }
}
