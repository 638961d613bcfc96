//! Reasons why replacing a file would do harm or fail, found before anything is minted for it.
//!
//! Such a file could be written in place, but a kill would leave half of it; so it is refused.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::fs::Stat;

use super::reach::Entry;

/// Why a file cannot be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It has other names, which would keep the old content.
    HardLinks(u64),
    /// It is mounted there by itself, as in containers; the kernel does not replace a mount point.
    MountPoint,
    /// It has the attribute `i` or `a` of `chattr`.
    Frozen,
    /// It belongs to somebody to whom this process may not give a file.
    Owner {
        /// The user's number.
        user: u32,
        /// The group's number.
        group: u32,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HardLinks(links) => write!(f, "it has {links} hard links, of which only one would be replaced"),
            Self::MountPoint => f.write_str("it is mounted by itself"),
            Self::Frozen => f.write_str("its attributes make it immutable or append-only"),
            Self::Owner { user, group } => {
                write!(f, "it belongs to user {user} and group {group}, to whom this process may not give a file")
            }
        }
    }
}

impl Obstacle {
    pub(super) fn owner(stat: &Stat) -> Self {
        Self::Owner { user: stat.st_uid, group: stat.st_gid }
    }

    /// Returns what to do about it.
    pub(super) fn hint(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::HardLinks(_) => format!("make `{path}` a symbolic link, or a file of its own: `cp` it and `mv` that"),
            Self::MountPoint => format!("mount the directory of `{path}` instead of the file"),
            Self::Frozen => {
                format!("run `{}`", crate::wording::command(&["chattr", "-i", "-a", &path.to_string()]))
            }
            Self::Owner { user, group } => {
                format!("run this as user {user} with group {group}, or give `{path}` to this user with `chown`")
            }
        }
    }

    /// Finds what the file itself tells; a file that does not exist has no obstacle.
    pub(super) fn find(target: &Entry) -> io::Result<Option<Self>> {
        let Some(stat) = target.stat()? else { return Ok(None) };
        // The type of the field differs between platforms.
        let links = u64::try_from(i128::from(stat.st_nlink)).unwrap_or(u64::MAX);
        let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
        let by_attributes = Self::by_attributes(target)?;
        Ok(by_attributes.or_else(|| (links > 1 && !is_directory).then_some(Self::HardLinks(links))))
    }

    #[cfg(target_os = "linux")]
    fn by_attributes(target: &Entry) -> io::Result<Option<Self>> {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        match statx(&target.directory, &target.name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(found) => Ok(Self::of_attributes(found.stx_attributes)),
            // A sandbox that does not know the call returns one of these. A mount point then shows when the file is
            // renamed.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn of_attributes(attributes: rustix::fs::StatxAttributes) -> Option<Self> {
        use rustix::fs::StatxAttributes;
        if attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Some(Self::MountPoint);
        }
        attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND).then_some(Self::Frozen)
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
    fn by_attributes(_: &Entry) -> io::Result<Option<Self>> {
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::fs::StatxAttributes;

    use super::*;

    /// Setting these attributes takes a capability that few containers have.
    #[test]
    fn what_chattr_froze_is_an_obstacle() {
        let of = Obstacle::of_attributes;
        assert_eq!(of(StatxAttributes::IMMUTABLE), Some(Obstacle::Frozen));
        assert_eq!(of(StatxAttributes::APPEND), Some(Obstacle::Frozen));
        assert_eq!(of(StatxAttributes::ENCRYPTED | StatxAttributes::COMPRESSED), None);
    }
}
