//! kubectl's lock: `<file>.lock`, which exists while somebody writes the file.
//!
//! client-go creates it with `O_EXCL`, mode 0 and no content, never waits and leaves it behind when
//! it dies (`tools/clientcmd/config.go`, `lockFile`). Ours is a link to a file that names its owner,
//! so that a lock of our own that a dead process left can be told from a living one and broken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use rustix::fs::{FlockOperation, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::faults::before;
use super::reach::{Entry, Impassable, Missing, Reached, Stamp, reach};
use super::safety::Guard;
use super::temporary::{Temporary, name_aside};
use crate::delivery::LOCK_SUFFIX;

/// An owner takes some hundred bytes; a larger file is not our lock.
const LARGEST_OWNER: u64 = 64 * 1024;
/// How long the lock of one holder is waited for who may be gone: kubectl holds it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a lock is waited for whose holder lives, or that goes from one holder to the next, such as the shards of one fleet
/// with a file that all of them write.
const LONGEST: Duration = Duration::from_secs(120);

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
pub(crate) struct Lock {
    entry: Entry,
    stamp: Stamp,
    /// Kept open, so that its inode is not reused for the next lock while this one lives.
    candidate: Temporary,
}

impl Lock {
    /// Takes the lock of a file. Each holder is waited for up to 10 s, one that is known to live and several in turn up to 120 s.
    ///
    /// # Errors
    ///
    /// If it is still held then, or cannot be created.
    pub(super) fn take(file: &Entry, break_lock: BreakLock) -> Result<Self, LockError> {
        let path = lock_path(&file.path);
        let create_error = |source| LockError::Create { lock: path.clone(), source };
        let entry = lock_entry(file).map_err(create_error)?;
        let content = serde_json::to_vec(Owner::this_process()).expect("an owner consists of text and a number");
        let mut candidate = Temporary::beside(&entry).map_err(create_error)?;
        before().and_then(|()| candidate.file.write_all(&content)).map_err(create_error)?;
        let mut patience = Patience::since(Instant::now());
        let mut has_waited = false;
        loop {
            match candidate.entry.link_to(&entry) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => has_waited = true,
                Err(source) => return Err(create_error(source)),
            }
            patience.wait_or_break(&file.path, &entry, break_lock)?;
        }
        let stat = rustix::fs::fstat(&candidate.file).map_err(|error| create_error(error.into()))?;
        let lock = Self { entry, stamp: Stamp::of(&stat), candidate };
        if has_waited {
            // The age of a lock is how long it has been held, without what its holder waited before.
            let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
            let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
            rustix::fs::futimens(&lock.candidate.file, &times).map_err(|error| create_error(error.into()))?;
        }
        // The lock has its own name now. If this removal fails, `drop` of the candidate tries again.
        lock.candidate.entry.remove().map_err(create_error)?;
        Ok(lock)
    }

    /// Waits until nobody holds the lock of a file, up to the usual patience, counted from `since`.
    ///
    /// # Errors
    ///
    /// If it is still held then.
    pub(super) fn wait_while_held(file: &Entry, break_lock: BreakLock, since: Instant) -> Result<(), LockError> {
        let create_error = |source| LockError::Create { lock: lock_path(&file.path), source };
        let entry = lock_entry(file).map_err(create_error)?;
        let mut patience = Patience::since(since);
        while entry.stat().map_err(create_error)?.is_some() {
            patience.wait_or_break(&file.path, &entry, break_lock)?;
        }
        Ok(())
    }

    /// Waits until nobody writes a file, up to the usual patience. A lock that is left behind is not broken.
    ///
    /// # Errors
    ///
    /// If it is still held then.
    pub(crate) fn wait_until_free(file: &Path) -> Result<(), LockError> {
        match reach(file, Guard::Nothing, Missing::Leave) {
            Ok(Reached::Name { target, link }) => {
                let since = Instant::now();
                let names = link.iter().chain([&target]);
                names.into_iter().try_for_each(|name| Self::wait_while_held(name, BreakLock::Never, since))
            }
            Ok(Reached::Short { .. }) | Err(Impassable::Dangerous(..)) => Ok(()),
            Err(Impassable::Io(source)) => Err(LockError::Create { lock: lock_path(file), source }),
        }
    }

    /// Returns whether the lock is still the one that was taken: somebody may have broken it.
    pub(crate) fn is_held(&self) -> bool {
        self.entry.stamp().is_ok_and(|stands| stands.is_some_and(|stands| stands.is_same_file(&self.stamp)))
    }
}

fn lock_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(LOCK_SUFFIX);
    PathBuf::from(name)
}

fn lock_entry(file: &Entry) -> io::Result<Entry> {
    let mut name = file.name.clone();
    name.push(LOCK_SUFFIX);
    file.beside(name)
}

/// Waiting for a lock that somebody else holds.
struct Patience {
    start: Instant,
    /// The lock that was found last, and when it was found first.
    found: Option<(Stamp, Instant)>,
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
        Self { start, found: None, waits }
    }

    /// Returns since when the same holder has been waited for. The first one counts from the start, which several files may
    /// share.
    fn held_since(&mut self, lock: &Stamp, now: Instant) -> Instant {
        let since = match &self.found {
            None => self.start,
            Some((before, since)) if before == lock => return *since,
            Some(_) => now,
        };
        self.found = Some((*lock, since));
        since
    }

    /// Waits a little, or removes a lock that is dead or may be broken.
    fn wait_or_break(&mut self, file: &Path, lock: &Entry, break_lock: BreakLock) -> Result<(), LockError> {
        let failed = |source| LockError::Create { lock: lock.path.clone(), source };
        let Some(found) = FoundLock::read(lock).map_err(failed)? else { return Ok(()) };
        let now = Instant::now();
        let held_since = self.held_since(&found.stamp, now);
        let held_for = now - held_since;
        let is_stuck = held_for >= LONGEST || (held_for >= PATIENCE && !found.is_living());
        let is_dead = found.is_abandoned();
        if is_dead || (is_stuck && break_lock == BreakLock::AfterWaiting) {
            return found.remove(lock).map_err(failed);
        }
        // A lock that goes from one holder to the next is broken by nobody, and not waited for without end.
        if is_stuck || now - self.start >= LONGEST {
            return Err(held(file, lock, found.owner));
        }
        // There is nothing to wait on but time: kubectl's lock names no owner.
        std::thread::sleep(self.waits.next().unwrap_or(PATIENCE));
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If somebody broke this lock, the lock file of that name may be another process's.
        if !self.is_held() {
            return;
        }
        if let Err(error) = self.entry.remove() {
            tracing::warn!(lock = %self.entry.path.display(), %error, "cannot remove a lock");
        }
    }
}

/// A lock as it was found.
#[derive(Debug)]
struct FoundLock {
    stamp: Stamp,
    owner: Option<Owner>,
    /// Kept open, so that its inode is not reused for the next lock. Only root can open kubectl's, which has mode 0.
    file: Option<File>,
}

impl FoundLock {
    fn read(lock: &Entry) -> io::Result<Option<Self>> {
        let file = lock.open(OFlags::RDONLY).ok();
        let stamp = match &file {
            Some(file) => Some(Stamp::of(&rustix::fs::fstat(file)?)),
            None => lock.stamp()?,
        };
        let Some(stamp) = stamp else { return Ok(None) };
        let content =
            file.as_ref().and_then(|file| super::bounded::read_opened(file.try_clone().ok()?, LARGEST_OWNER).ok());
        let owner = content.and_then(|content| serde_json::from_slice(&content).ok());
        Ok(Some(Self { stamp, owner, file }))
    }

    /// Whether it is ours, and the process that took it is certainly gone.
    fn is_abandoned(&self) -> bool {
        let Some(owner) = &self.owner else { return false };
        let is_here = || owner.is_of_this_boot() && !owner.boot.is_empty();
        // While its process lives, the kernel holds a lock on the file as well. This says nothing of a lock that
        // another machine took on a shared file system.
        let has_kernels_lock = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
        owner.is_dead() || (is_here() && self.file.as_ref().is_some_and(has_kernels_lock))
    }

    /// Whether it is ours, and the process that took it certainly lives: the kernel holds a lock on the file for it, on
    /// whichever machine or in whichever container it is. A shared lock is tried, which needs no right to write on file
    /// systems of other machines, and which several that wait may have at once.
    fn is_living(&self) -> bool {
        let is_locked = |file: &File| flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
        self.owner.is_some() && self.file.as_ref().is_some_and(is_locked)
    }

    /// Removes the lock if it still is the one that was found.
    ///
    /// It is renamed first: two processes that break the same dead lock at once must not remove the
    /// lock that one of them took in between.
    fn remove(&self, lock: &Entry) -> io::Result<()> {
        // Under its new name it counts as a temporary file: the kernel's lock keeps others from cleaning it up while
        // this process lives.
        if let Some(file) = &self.file {
            flock(file, FlockOperation::NonBlockingLockExclusive).unwrap_or_default();
        }
        let aside = lock.beside(name_aside())?;
        match lock.rename_to(&aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        if aside.stamp()?.is_some_and(|stands| stands != self.stamp) {
            match aside.link_to(lock) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        aside.remove()
    }
}

fn held(file: &Path, lock: &Entry, owner: Option<Owner>) -> LockError {
    let modified = fs::symlink_metadata(&lock.path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok()).map_or(0, |age| age.as_secs());
    let owner =
        owner.map(|owner| format!(" ({}, pid {} on {})", owner.program, owner.pid, owner.host)).unwrap_or_default();
    LockError::Held { path: file.to_owned(), lock: lock.path.clone(), age, owner }
}

impl Owner {
    /// The owner of the locks of this process.
    fn this_process() -> &'static Self {
        static THIS: LazyLock<Owner> = LazyLock::new(Owner::read);
        &THIS
    }

    fn read() -> Self {
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

    /// Whether it was taken on this machine since it was started.
    fn is_of_this_boot(&self) -> bool {
        let this = Self::this_process();
        self.program == this.program && self.host == this.host && self.boot == this.boot
    }

    /// Whether the process that took the lock is certainly gone.
    fn is_dead(&self) -> bool {
        let this = Self::this_process();
        if self.program != this.program || self.host != this.host || self.boot.is_empty() {
            return false;
        }
        if self.boot != this.boot {
            // A reboot ends all processes; but two machines may have the same host name.
            return !self.machine.is_empty() && self.machine == this.machine;
        }
        // A pid means nothing in another namespace, such as another container's.
        if self.pid_namespace.is_empty() || self.pid_namespace != this.pid_namespace {
            return false;
        }
        let is_gone = rustix::process::Pid::from_raw(self.pid.cast_signed())
            .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH));
        // The pid may have been given out again.
        is_gone || start_time(self.pid).is_some_and(|started| started != self.started)
    }
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Returns a text that identifies a process among all that ever ran on this machine; nothing if it no longer runs.
pub(crate) fn process_identity(pid: u32) -> Option<String> {
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

    fn entry(file: &Path) -> Entry {
        match reach(file, Guard::Nothing, Missing::Leave) {
            Ok(Reached::Name { target, .. }) => target,
            other => panic!("{other:?}"),
        }
    }

    fn lock_of(file: &Path) -> PathBuf {
        file.with_extension("lock")
    }

    #[test]
    fn it_is_there_while_it_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let lock = Lock::take(&entry(&file), BreakLock::Never).unwrap();
        assert!(lock_of(&file).exists());
        drop(lock);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn who_lost_the_lock_leaves_the_next_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let lost = Lock::take(&entry(&file), BreakLock::Never).unwrap();
        fs::remove_file(lock_of(&file)).unwrap();
        let next = Lock::take(&entry(&file), BreakLock::Never).unwrap();
        assert!(!lost.is_held() && next.is_held());
        drop(lost);
        assert!(next.is_held());
    }

    #[test]
    fn a_dead_lock_of_ours_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let dead = Owner { started: "1".to_owned(), ..Owner::this_process().clone() };
        fs::write(lock_of(&file), serde_json::to_vec(&dead).unwrap()).unwrap();
        let _lock = Lock::take(&entry(&file), BreakLock::Never).unwrap();
    }

    #[test]
    fn the_lock_of_somebody_who_lives_elsewhere_is_not_broken() {
        let this = Owner::this_process().clone();
        assert!(!this.is_dead());
        assert!(!Owner { host: "elsewhere".into(), started: "1".into(), ..this.clone() }.is_dead());
        assert!(!Owner { pid_namespace: "other".into(), pid: 1, started: "1".into(), ..this.clone() }.is_dead());
        let machine = "the same".to_owned();
        let rebooted = Owner { boot: "earlier".into(), machine: this.machine.clone(), ..this.clone() };
        assert_eq!(rebooted.is_dead(), !this.machine.is_empty());
        assert!(!Owner { boot: "earlier".into(), machine, ..this }.is_dead(), "another machine of that name");
    }

    /// Somebody who writes and goes is no reason to give up.
    #[test]
    fn each_holder_is_waited_for_anew() {
        let directory = tempfile::tempdir().unwrap();
        let lock = |name: &str| {
            fs::write(directory.path().join(name), "").unwrap();
            entry(&directory.path().join(name)).stamp().unwrap().unwrap()
        };
        let (one, other) = (lock("one.lock"), lock("other.lock"));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::since(start);
        assert_eq!(patience.held_since(&one, after(3)), start);
        assert_eq!(patience.held_since(&one, after(9)), start);
        assert_eq!(patience.held_since(&other, after(12)), after(12));
        assert_eq!(patience.held_since(&other, after(20)), after(12));
        assert_eq!(patience.held_since(&one, after(21)), after(21));
    }

    /// A large file on a slow disk takes longer than kubectl's patience.
    #[test]
    fn a_holder_that_lives_is_waited_for_longer() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let lock = entry(&lock_of(&file));
        let wait_or_break = |seconds, break_lock| {
            let mut patience = Patience::since(Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap());
            patience.wait_or_break(&file, &lock, break_lock)
        };
        let wait = |seconds| wait_or_break(seconds, BreakLock::Never);
        let living = Lock::take(&entry(&file), BreakLock::Never).unwrap();
        wait(60).unwrap();
        wait(121).unwrap_err();
        wait_or_break(60, BreakLock::AfterWaiting).unwrap();
        assert!(living.is_held(), "who lives keeps it");
        drop(living);
        let elsewhere = Owner { host: "elsewhere".to_owned(), ..Owner::this_process().clone() };
        for unknown in [serde_json::to_vec(&elsewhere).unwrap(), vec![]] {
            fs::write(lock_of(&file), unknown).unwrap();
            wait(9).unwrap();
            wait(11).unwrap_err();
        }
    }

    #[test]
    fn its_age_is_how_long_it_has_been_held() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let first = Lock::take(&entry(&file), BreakLock::Never).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::take(&entry(&file), BreakLock::Never).unwrap());
            let waiting = loop {
                let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
                let is_whole = |name: &PathBuf| {
                    *name != lock_of(&file) && fs::metadata(name).is_ok_and(|metadata| metadata.len() > 0)
                };
                if let Some(waiting) = names.into_iter().find(is_whole) {
                    break waiting;
                }
                std::thread::yield_now();
            };
            File::open(waiting).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            drop(first);
            let _second = second.join().unwrap();
            let since = fs::metadata(lock_of(&file)).unwrap().modified().unwrap();
            assert!(since.elapsed().unwrap() < Duration::from_secs(3600), "{since:?}");
        });
    }

    #[test]
    fn who_breaks_a_lock_never_removes_a_newer_one() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("config.lock");
        fs::write(&lock, "older").unwrap();
        let older = FoundLock::read(&entry(&lock)).unwrap().unwrap();
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, "newer").unwrap();
        older.remove(&entry(&lock)).unwrap();
        assert_eq!(fs::read_to_string(&lock).unwrap(), "newer");
        FoundLock::read(&entry(&lock)).unwrap().unwrap().remove(&entry(&lock)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
