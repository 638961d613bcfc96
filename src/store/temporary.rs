//! Temporary files, which get their final name by a rename or a link, and the cleanup of those that a kill left.
//!
//! Each is locked (flock) while its process lives; the kernel releases the lock with the process. So a process that
//! gets the lock knows that the owner is dead, on whichever machine or in whichever container it lived. All names are
//! equally long, so that they fit every directory, however long the name of the target is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{Dir, FlockOperation, Mode, OFlags, fchmod, flock, fstat};

use super::faults::before;
use super::reach::{Entry, Stamp};

/// What the names of all temporary files begin with.
const PREFIX: &str = ".kubemint-tmp-";
/// How many hexadecimal digits follow.
const DIGITS: usize = 16;

/// A temporary file, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) entry: Entry,
    pub(super) file: File,
    is_kept: bool,
}

impl Temporary {
    /// Makes an empty private file beside another.
    pub(super) fn beside(target: &Entry) -> io::Result<Self> {
        loop {
            let entry = target.beside(random_name())?;
            let file = match entry.open(OFlags::RDWR | OFlags::CREATE | OFlags::EXCL) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            let temporary = Self { entry, file, is_kept: false };
            before()?;
            // Set explicitly, because of the umask.
            fchmod(&temporary.file, Mode::RUSR | Mode::WUSR)?;
            // On a file system without such locks, nobody else can take one to clean up either.
            if let Err(error) = flock(&temporary.file, FlockOperation::LockExclusive) {
                tracing::debug!(%error, "a temporary file cannot be locked");
            }
            // A cleanup may have removed the file before it was locked.
            let stands = temporary.entry.stamp()?;
            let own = Stamp::of(&fstat(&temporary.file)?);
            if stands.is_some_and(|stands| stands.is_same_file(&own)) {
                return Ok(temporary);
            }
        }
    }

    /// Writes the content and syncs it to the disk.
    pub(super) fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        let half = content.len() / 2;
        for part in [&content[..half], &content[half..]] {
            before()?;
            self.file.write_all(part)?;
        }
        before()?;
        self.file.sync_all()
    }

    /// Renames it to its target, which is replaced.
    pub(super) fn replace(mut self, target: &Entry) -> io::Result<()> {
        self.entry.rename_to(target)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = self.entry.remove() {
            tracing::warn!(file = %self.entry.path.display(), %error, "cannot remove a temporary file");
        }
    }
}

fn random_name() -> String {
    let mut bytes = [0_u8; DIGITS / 2];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Returns a name for renaming a file aside: if this process dies then, the file is removed like a temporary one.
pub(super) fn name_aside() -> String {
    random_name()
}

fn is_temporary(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX.as_bytes());
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// How many entries of a directory one write looks at, on average: a directory of 10,000 files is not read 10,000 times
/// while each of them is written.
const ENTRIES_FOR_EACH_WRITE: usize = 16;

/// In how many writes to a directory nothing is looked for any more, because it was not long ago.
static REMEMBERED: LazyLock<Mutex<HashMap<PathBuf, usize>>> = LazyLock::new(Mutex::default);

/// Removes the temporary files of dead processes from a directory: they may hold tokens. Where there are many files, this
/// happens at one of many writes.
///
/// Those of living processes and of other users stay.
pub(super) fn remove_dead(beside: &Entry) -> io::Result<()> {
    let directory = beside.path.parent().unwrap_or(Path::new("/"));
    let remembered = || REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(left) = remembered().get_mut(directory).filter(|left| **left > 0) {
        *left -= 1;
        return Ok(());
    }
    let quiet = remove_dead_in(beside.open_directory()?, beside)? / ENTRIES_FOR_EACH_WRITE;
    if quiet > 0 {
        remembered().insert(directory.to_owned(), quiet);
    }
    Ok(())
}

/// Removes the temporary files of dead processes from a directory, and returns how many entries it has.
fn remove_dead_in(directory: OwnedFd, beside: &Entry) -> io::Result<usize> {
    let user = rustix::process::geteuid().as_raw();
    let mut entries = 0;
    for found in Dir::new(directory)? {
        before()?;
        let found = found?;
        entries += 1;
        let name = found.file_name().to_bytes();
        if !is_temporary(name) {
            continue;
        }
        let entry = beside.beside(OsStr::from_bytes(name))?;
        // A file that cannot be opened belongs to somebody else, or is gone.
        let Ok(file) = entry.open(OFlags::RDONLY) else { continue };
        let stat = fstat(&file)?;
        if stat.st_uid != user || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // If it was renamed meanwhile, it is no longer temporary, and its old name may belong to another file.
        if entry.stamp()?.is_some_and(|stands| stands.is_same_file(&Stamp::of(&stat))) {
            entry.remove()?;
        }
    }
    Ok(entries)
}
