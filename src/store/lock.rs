//! kubectl's lock: `<file>.lock`, which exists while somebody writes the file.
//!
//! client-go creates it with `O_EXCL`, mode 0 and no content, never waits and leaves it behind when
//! it dies (`tools/clientcmd/config.go`, `lockFile`). Ours is a link to a file that names its owner,
//! so that a lock of our own that a dead process left can be told from a living one and broken.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::{Deserialize, Serialize};

/// How long a lock is waited for: kubectl holds it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a lock that is not known to be dead may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakLock {
    /// It may not.
    Never,
    /// It may, once the usual patience is over: the user said so.
    AfterWaiting,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it, or left it behind.
    #[error("`{path}` has been locked for {age} s by `{lock}`{owner}")]
    Held {
        /// The file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// Its age in seconds.
        age: u64,
        /// Who holds it, as far as the lock tells.
        owner: String,
    },
    /// It cannot be created.
    #[error("cannot create the lock `{lock}`")]
    Create {
        /// The lock file.
        lock: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Who holds a lock. A pid alone could belong to a later process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    program: String,
    host: String,
    machine: String,
    boot: String,
    pid_namespace: String,
    pid: u32,
    started: String,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Device and inode of the file that the lock is a link to.
    identity: (u64, u64),
    /// Open, so that its inode is not given to the next lock while this one lives.
    _file: File,
}

impl Lock {
    /// Takes the lock of a file, waiting up to 10 s for it.
    ///
    /// # Errors
    ///
    /// If it is still held then, or cannot be created.
    pub fn take(file: &Path, break_lock: BreakLock) -> Result<Self, LockError> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let create_error = |source| LockError::Create { lock: lock.clone(), source };
        let content = serde_json::to_vec(&Owner::this_process()).expect("an owner consists of text and a number");
        let directory = lock.parent().unwrap_or(Path::new("/"));
        let mut candidate = tempfile::Builder::new()
            .prefix(".kubemint-lock-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(create_error)?;
        candidate.write_all(&content).map_err(create_error)?;
        let metadata = candidate.as_file().metadata().map_err(create_error)?;
        let identity = (metadata.dev(), metadata.ino());
        let mut patience = Patience::since(Instant::now());
        loop {
            match fs::hard_link(candidate.path(), &lock) {
                Ok(()) => return Ok(Self { path: lock, identity, _file: candidate.into_file() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(create_error(source)),
            }
            patience.wait_or_break(file, &lock, break_lock)?;
        }
    }

    /// Waits until nobody holds the lock of a file, as long as taking it would since `since`.
    ///
    /// # Errors
    ///
    /// If it is still held then.
    pub fn wait_until_free(file: &Path, break_lock: BreakLock, since: Instant) -> Result<(), LockError> {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let mut patience = Patience::since(since);
        while fs::symlink_metadata(&lock).is_ok() {
            patience.wait_or_break(file, &lock, break_lock)?;
        }
        Ok(())
    }

    /// Returns whether the lock is still the one that was taken: somebody may have broken it.
    pub fn is_held(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

/// Waiting for a lock that somebody else holds.
struct Patience {
    start: Instant,
    waits: backon::ExponentialBackoff,
}

impl Patience {
    fn since(start: Instant) -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(2))
            .with_max_delay(Duration::from_millis(200))
            .without_max_times()
            .with_jitter()
            .build();
        Self { start, waits }
    }

    /// Waits a little, or removes a lock that is dead or may be broken.
    fn wait_or_break(&mut self, file: &Path, lock: &Path, break_lock: BreakLock) -> Result<(), LockError> {
        let found = fs::read(lock).unwrap_or_default();
        let owner: Option<Owner> = serde_json::from_slice(&found).ok();
        let is_over = self.start.elapsed() >= PATIENCE;
        let is_dead = owner.as_ref().is_some_and(Owner::is_dead);
        if is_dead || (is_over && break_lock == BreakLock::AfterWaiting) {
            return remove_if_still(lock, &found).map_err(|source| LockError::Create { lock: lock.to_owned(), source });
        }
        if is_over {
            return Err(held(file, lock.to_owned(), owner));
        }
        // A lock file cannot be waited for otherwise: kubectl's has no owner to ask.
        std::thread::sleep(self.waits.next().unwrap_or(PATIENCE));
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Somebody may have broken it, and a third may hold the lock of that name now.
        if !self.is_held() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(lock = %self.path.display(), %error, "cannot remove a lock");
        }
    }
}

/// Removes a lock if it still is the one that was read.
///
/// It is renamed first: two processes that break the same dead lock at once must not remove the
/// lock that one of them took in between.
fn remove_if_still(lock: &Path, content: &[u8]) -> io::Result<()> {
    let mut aside = lock.as_os_str().to_owned();
    aside.push(format!(".broken-{}", std::process::id()));
    let aside = PathBuf::from(aside);
    match fs::rename(lock, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // kubectl's lock has mode 0: who is not root cannot read it, and then it is empty to both reads.
    if fs::read(&aside).unwrap_or_default() != content {
        match fs::hard_link(&aside, lock) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    fs::remove_file(&aside)
}

fn held(file: &Path, lock: PathBuf, owner: Option<Owner>) -> LockError {
    let modified = File::open(&lock)
        .and_then(|file| file.metadata())
        .or_else(|_| fs::symlink_metadata(&lock))
        .and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok()).map_or(0, |age| age.as_secs());
    let owner =
        owner.map(|owner| format!(" ({}, pid {} on {})", owner.program, owner.pid, owner.host)).unwrap_or_default();
    LockError::Held { path: file.to_owned(), lock, age, owner }
}

impl Owner {
    fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            program: "kubemint".to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine: read_line("/etc/machine-id"),
            boot: read_line("/proc/sys/kernel/random/boot_id"),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.display().to_string())
                .unwrap_or_default(),
            pid,
            started: start_time(pid).unwrap_or_default(),
        }
    }

    /// Whether the process that took the lock is certainly gone.
    fn is_dead(&self) -> bool {
        let this = Self::this_process();
        if self.program != this.program || self.host != this.host || self.boot.is_empty() {
            return false;
        }
        if self.boot != this.boot {
            // After a reboot no process of before is left; but two machines may have one host name.
            return !self.machine.is_empty() && self.machine == this.machine;
        }
        // A pid means nothing in another namespace, such as another container's.
        if self.pid_namespace.is_empty() || self.pid_namespace != this.pid_namespace {
            return false;
        }
        let is_gone = rustix::process::Pid::from_raw(self.pid.cast_signed())
            .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
        // The pid may have been given out again.
        is_gone || start_time(self.pid).is_some_and(|started| started != self.started)
    }
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Returns what tells a process from every other on this machine, if it still runs.
pub fn process_identity(pid: u32) -> Option<String> {
    Some(format!("{}:{pid}:{}", read_line("/proc/sys/kernel/random/boot_id"), start_time(pid)?))
}

/// Returns when a process started, in ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)).
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files of others")]
mod tests {
    use super::*;

    fn lock_of(file: &Path) -> PathBuf {
        file.with_extension("lock")
    }

    #[test]
    fn it_is_there_while_it_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let lock = Lock::take(&file, BreakLock::Never).unwrap();
        assert!(lock_of(&file).exists());
        drop(lock);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn who_lost_the_lock_leaves_the_next_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let lost = Lock::take(&file, BreakLock::Never).unwrap();
        fs::remove_file(lock_of(&file)).unwrap();
        let next = Lock::take(&file, BreakLock::Never).unwrap();
        assert!(!lost.is_held() && next.is_held());
        drop(lost);
        assert!(next.is_held());
    }

    #[test]
    fn a_dead_lock_of_ours_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let dead = Owner { started: "1".to_owned(), ..Owner::this_process() };
        fs::write(lock_of(&file), serde_json::to_vec(&dead).unwrap()).unwrap();
        let _lock = Lock::take(&file, BreakLock::Never).unwrap();
    }

    #[test]
    fn the_lock_of_somebody_who_lives_elsewhere_is_not_broken() {
        let this = Owner::this_process();
        assert!(!this.is_dead());
        assert!(!Owner { host: "elsewhere".into(), started: "1".into(), ..this.clone() }.is_dead());
        assert!(!Owner { pid_namespace: "other".into(), pid: 1, started: "1".into(), ..this.clone() }.is_dead());
        let machine = "the same".to_owned();
        let rebooted = Owner { boot: "earlier".into(), machine: this.machine.clone(), ..this.clone() };
        assert_eq!(rebooted.is_dead(), !this.machine.is_empty());
        assert!(!Owner { boot: "earlier".into(), machine, ..this }.is_dead(), "another machine of that name");
    }

    #[test]
    fn who_breaks_a_lock_never_removes_a_newer_one() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("config.lock");
        fs::write(&lock, "newer").unwrap();
        remove_if_still(&lock, b"older").unwrap();
        assert_eq!(fs::read_to_string(&lock).unwrap(), "newer");
        remove_if_still(&lock, b"newer").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
