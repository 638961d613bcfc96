//! Files that become others by a rename or a link, and what is left of them after a kill.
//!
//! Each is locked (flock) as long as its process lives, which the kernel ends with the process: who gets
//! the lock knows that the owner is dead, on whichever machine or in whichever container it lived. All
//! have one length of name, so that any name that fits a directory can be written there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

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
            // Whatever the umask is.
            fchmod(&temporary.file, Mode::RUSR | Mode::WUSR)?;
            // A file system without such locks has nobody who could take it either.
            if let Err(error) = flock(&temporary.file, FlockOperation::LockExclusive) {
                tracing::debug!(%error, "a temporary file cannot be locked");
            }
            // Somebody who cleans up may have found it before it was locked.
            let stands = temporary.entry.stamp()?;
            let own = Stamp::of(&fstat(&temporary.file)?);
            if stands.is_some_and(|stands| stands.is_same_file(&own)) {
                return Ok(temporary);
            }
        }
    }

    /// Writes its content, down to the disk.
    pub(super) fn fill(&mut self, content: &[u8]) -> io::Result<()> {
        let half = content.len() / 2;
        for part in [&content[..half], &content[half..]] {
            before()?;
            self.file.write_all(part)?;
        }
        before()?;
        self.file.sync_all()
    }

    /// Lets it replace another.
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

/// Returns a name that is removed like a temporary file's if this process dies now.
pub(super) fn name_aside() -> String {
    random_name()
}

fn is_temporary(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX.as_bytes());
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Removes the temporary files of dead processes from a directory: they may hold tokens.
///
/// Those of living ones stay, and those of other users, whatever they are for.
pub(super) fn remove_dead(beside: &Entry) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    for found in Dir::new(beside.open_directory()?)? {
        before()?;
        let found = found?;
        let name = found.file_name().to_bytes();
        if !is_temporary(name) {
            continue;
        }
        let entry = beside.beside(OsStr::from_bytes(name))?;
        // What cannot be opened is somebody else's, or gone.
        let Ok(file) = entry.open(OFlags::RDONLY) else { continue };
        let stat = fstat(&file)?;
        if stat.st_uid != user || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // Renamed meanwhile, it is what it became; the name may be another's, though names are random.
        if entry.stamp()?.is_some_and(|stands| stands.is_same_file(&Stamp::of(&stat))) {
            entry.remove()?;
        }
    }
    Ok(())
}
