//! A name in an opened directory: what a path led to, resolved once.
//!
//! The path is walked one component at a time; each is opened relative to the one before, and judged once it is open.
//! Everything after that is relative to the last directory, so that what was checked is what is used, even if names
//! change meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::StoreError;
use super::faults::before;
use super::safety::{Danger, Found, Guard, Kind, Trusted, is_group_private, judge};

/// Linux follows as many links.
const MOST_LINKS: usize = 40;
/// Large enough for `/etc/passwd` and `/etc/group` of the largest machines.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// What happens if a directory on the way does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made, with mode 0700.
    Make,
    /// The path ends there.
    Leave,
}

/// A name in an opened directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) directory: OwnedFd,
    pub(super) name: OsString,
    /// The path without links, for messages.
    pub(super) path: PathBuf,
}

/// Where a path led to.
#[derive(Debug)]
pub(super) enum Reached {
    /// To a name, of a file that may not exist.
    Name {
        target: Entry,
        /// The symbolic link that was named, if one was.
        link: Option<Entry>,
    },
    /// A directory on the way does not exist: the last one that does, and the path that the file would have.
    Short { directory: OwnedFd, path: PathBuf },
}

/// Why a path cannot be followed.
#[derive(Debug)]
pub(super) enum Impassable {
    Io(io::Error),
    Dangerous(PathBuf, Danger),
}

impl From<Errno> for Impassable {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Impassable {
    /// Turns it into the error about a file.
    pub(super) fn of(self, path: &Path, io_error: impl FnOnce(io::Error) -> StoreError) -> StoreError {
        match self {
            Self::Io(source) => io_error(source),
            Self::Dangerous(place, danger) => StoreError::Unsafe { path: path.to_owned(), place, danger },
        }
    }
}

/// Follows a path.
pub(super) fn reach(path: &Path, guard: Guard, missing: Missing) -> Result<Reached, Impassable> {
    let mut walk = Walk::start(path, guard)?;
    while let Some(step) = walk.pending.pop() {
        before().map_err(Impassable::Io)?;
        let name = match step {
            Step::Root => {
                (walk.directory, walk.path) = (open_directory(CWD, OsStr::new("/"))?, PathBuf::from("/"));
                walk.judge_directory()?;
                continue;
            }
            Step::Up => {
                walk.path.pop();
                walk.directory = open_directory(&walk.directory, OsStr::new(".."))?;
                walk.judge_directory()?;
                continue;
            }
            Step::Name(name) => name,
        };
        let is_last = walk.pending.is_empty();
        let found = walk.path.join(&name);
        let stat = match statat(&walk.directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if is_last => return Ok(walk.arrive(name, found)),
            Err(Errno::NOENT) if missing == Missing::Leave => {
                return Ok(walk.stop_short(found));
            }
            Err(Errno::NOENT) => {
                walk.make_directory(&name, found)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => walk.follow(name, found, &stat, is_last)?,
            FileType::Directory if !is_last => {
                (walk.directory, walk.path) = (open_directory(&walk.directory, &name)?, found);
                walk.judge_directory()?;
            }
            _ if is_last => {
                walk.judge(Kind::File, &stat, &found)?;
                return Ok(walk.arrive(name, found));
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

/// Follows a path to a name, and makes the directories on the way.
pub(super) fn reach_or_make(path: &Path, guard: Guard) -> Result<(Entry, Option<Entry>), Impassable> {
    match reach(path, guard, Missing::Make)? {
        Reached::Name { target, link } => Ok((target, link)),
        Reached::Short { .. } => unreachable!("directories that are missing are made"),
    }
}

enum Step {
    Root,
    Up,
    Name(OsString),
}

fn steps(path: &Path) -> impl Iterator<Item = Step> + use<> {
    let step = |component: Component<'_>| match component {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
    };
    let steps: Vec<Step> = path.components().filter_map(step).collect();
    steps.into_iter().rev()
}

struct Walk {
    guard: Guard,
    trusted: Trusted,
    directory: OwnedFd,
    path: PathBuf,
    /// The remaining steps of the path; the next one is the last of the list.
    pending: Vec<Step>,
    link: Option<Entry>,
    links: usize,
}

impl Walk {
    fn start(path: &Path, guard: Guard) -> Result<Self, Impassable> {
        let system = statat(CWD, "/", AtFlags::empty())?.st_uid;
        let trusted = Trusted { user: rustix::process::geteuid().as_raw(), system };
        // An absolute path does not need the current directory, which may be gone or closed to this user.
        let start = if path.is_absolute() { "/" } else { "." };
        let directory = open_directory(CWD, OsStr::new(start))?;
        let pending = steps(path).collect();
        Ok(Self { guard, trusted, directory, path: PathBuf::new(), pending, link: None, links: 0 })
    }

    fn arrive(self, name: OsString, path: PathBuf) -> Reached {
        Reached::Name { target: Entry { directory: self.directory, name, path }, link: self.link }
    }

    /// Ends at the last directory that exists; the rest of the path is only appended as text.
    fn stop_short(self, mut path: PathBuf) -> Reached {
        for step in self.pending.into_iter().rev() {
            match step {
                Step::Root => path = PathBuf::from("/"),
                Step::Up => drop(path.pop()),
                Step::Name(name) => path.push(name),
            }
        }
        Reached::Short { directory: self.directory, path }
    }

    fn judge_directory(&self) -> Result<(), Impassable> {
        if self.guard == Guard::Nothing {
            return Ok(());
        }
        self.judge(Kind::Directory, &fstat(&self.directory)?, &self.path)
    }

    fn judge(&self, kind: Kind, stat: &Stat, path: &Path) -> Result<(), Impassable> {
        judge_found(kind, stat, self.trusted, self.guard, &self.directory)
            .map_or(Ok(()), |danger| Err(Impassable::Dangerous(path.to_owned(), danger)))
    }

    fn make_directory(&mut self, name: &OsStr, path: PathBuf) -> Result<(), Impassable> {
        before().map_err(Impassable::Io)?;
        match mkdirat(&self.directory, name, Mode::RWXU) {
            // Set explicitly, because of the umask.
            Ok(()) => rustix::fs::chmodat(&self.directory, name, Mode::RWXU, AtFlags::empty())?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        (self.directory, self.path) = (open_directory(&self.directory, name)?, path);
        self.judge_directory()
    }

    fn follow(&mut self, name: OsString, path: PathBuf, stat: &Stat, is_last: bool) -> Result<(), Impassable> {
        self.judge(Kind::Link, stat, &path)?;
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        let leads_to = readlinkat(&self.directory, &name, vec![])?;
        if is_last && self.link.is_none() {
            let directory = rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?;
            self.link = Some(Entry { directory, name, path });
        }
        self.pending.extend(steps(Path::new(&OsString::from_vec(leads_to.into_bytes()))));
        Ok(())
    }
}

/// Judges a file, link or directory that was found; `directory` is the one it is in, or itself.
fn judge_found(kind: Kind, stat: &Stat, trusted: Trusted, guard: Guard, directory: &impl AsFd) -> Option<Danger> {
    let found = Found { kind, owner: stat.st_uid, mode: Mode::from_raw_mode(stat.st_mode), is_group_private: false };
    match judge(found, trusted, guard) {
        // The group matters only if it can write.
        Some(Danger::Group) if is_private(stat.st_gid, trusted) && !has_access_list(directory) => None,
        verdict => verdict,
    }
}

fn is_private(group: u32, trusted: Trusted) -> bool {
    static LISTS: OnceLock<(String, String)> = OnceLock::new();
    let read = |path: &str| {
        let bytes = super::bounded::read_regular(Path::new(path), LARGEST_LIST);
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    let (users, groups) = LISTS.get_or_init(|| (read("/etc/passwd"), read("/etc/group")));
    is_group_private(group, trusted, users, groups)
}

/// Whether an access control list gives others the right to write. With one, the group's bits are only its mask.
fn has_access_list(directory: &impl AsFd) -> bool {
    let Ok(opened) = openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return true;
    };
    let mut none: [u8; 0] = [];
    match rustix::fs::fgetxattr(opened, "system.posix_acl_access", &mut none) {
        Ok(_) | Err(Errno::RANGE) => true,
        Err(_) => false,
    }
}

#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

fn open_directory(directory: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(directory, name, SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: i128,
    inode: i128,
    size: i128,
    modified: (i128, i128),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: i128::from(stat.st_dev),
            inode: i128::from(stat.st_ino),
            size: i128::from(stat.st_size),
            modified: (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
        }
    }

    /// Whether both are of one file, whatever is in it.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Entry {
    /// Returns the entry of another name in the same directory.
    pub(super) fn beside(&self, name: impl Into<OsString>) -> io::Result<Self> {
        let name = name.into();
        let directory = rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?;
        Ok(Self { path: self.path.with_file_name(&name), directory, name })
    }

    /// Returns what stands there, without following a link.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        before()?;
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn stamp(&self) -> io::Result<Option<Stamp>> {
        Ok(self.stat()?.map(|stat| Stamp::of(&stat)))
    }

    /// Opens what stands there, unless it is a link.
    pub(super) fn open(&self, flags: OFlags) -> io::Result<File> {
        before()?;
        // Without this flag, opening a pipe would wait.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(openat(&self.directory, &self.name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Reads the regular file that stands there; nothing if there is none.
    pub(super) fn read(&self, guard: Guard, largest: u64) -> Result<Option<Vec<u8>>, Impassable> {
        let file = match self.open(OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Impassable::Io(error)),
        };
        // In a sticky directory somebody may have put it there since the path was followed.
        let trusted =
            Trusted { user: rustix::process::geteuid().as_raw(), system: statat(CWD, "/", AtFlags::empty())?.st_uid };
        if let Some(danger) = judge_found(Kind::File, &fstat(&file)?, trusted, guard, &self.directory) {
            return Err(Impassable::Dangerous(self.path.clone(), danger));
        }
        super::bounded::read_opened(file, largest).map(Some).map_err(Impassable::Io)
    }

    /// Opens its directory for listing and syncing, which the descriptor of a mere path does not allow.
    pub(super) fn open_directory(&self) -> io::Result<OwnedFd> {
        before()?;
        Ok(openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(super) fn rename_to(&self, other: &Self) -> io::Result<()> {
        before()?;
        Ok(renameat(&self.directory, &self.name, &other.directory, &other.name)?)
    }

    pub(super) fn link_to(&self, other: &Self) -> io::Result<()> {
        before()?;
        Ok(rustix::fs::linkat(&self.directory, &self.name, &other.directory, &other.name, AtFlags::empty())?)
    }

    /// Removes it. A file that does not exist is no error.
    pub(super) fn remove(&self) -> io::Result<()> {
        before()?;
        match unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
