//! Whether a secret may go through a directory or a link, or into a file: who owns it, and who could
//! put something else in its place.
//!
//! The rule is that of OpenSSH for the files that it trusts. This module does no I/O: it judges what the caller found.

use std::fmt;
use std::path::Path;

use rustix::fs::Mode;

/// Whether others may own or change the directories and files that secrets go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// They may not.
    Refused,
    /// They may: the user said so. Their links are refused all the same.
    Allowed,
}

/// What kind of thing is found on the way to a file, and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Link,
    File,
}

/// What is found on the way to a file, and at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) owner: u32,
    pub(super) mode: Mode,
    /// Whether nobody but trusted users is in its group.
    pub(super) is_group_private: bool,
}

/// Who may own what a secret goes through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted {
    /// The user that this process runs as.
    pub(super) user: u32,
    /// The owner of `/`, who can replace everything: root, except in user namespaces without root.
    pub(super) system: u32,
}

impl Trusted {
    pub(super) fn is(self, user: u32) -> bool {
        user == 0 || user == self.user || user == self.system
    }
}

/// What a path is followed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// To read a file that holds no secret of ours, or to compare paths.
    Nothing,
    /// To write a file that everybody may read.
    Public,
    /// To write or to read secrets.
    Secret(Sharing),
}

/// Why a path is not safe to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// A directory or file belongs to somebody else.
    Owner(u32),
    /// A link belongs to somebody else, and may lead anywhere.
    Link(u32),
    /// A directory's group can replace what is in it.
    Group,
    /// Everybody can replace what is in a directory.
    Everybody,
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => write!(f, "belongs to user {user}, who could read or replace what is written there"),
            Self::Link(user) => write!(f, "is a symbolic link of user {user}, who could let it lead anywhere"),
            Self::Group => f.write_str("can be written by its group, who could replace what is in it"),
            Self::Everybody => f.write_str("can be written by everybody, who could replace what is in it"),
        }
    }
}

impl Danger {
    /// Returns what to do about it.
    pub(super) fn hint(self, place: &Path) -> String {
        let command = |mode: &str| crate::wording::command(&["chmod", mode, &place.display().to_string()]);
        let shared = "pass `--allow-shared-directories` if others are meant to have a hand in it";
        match self {
            Self::Owner(user) => format!("run this as user {user}, write the file elsewhere, or {shared}"),
            Self::Link(_) => format!("remove `{}`, or make it anew as this user", place.display()),
            Self::Group => format!("run `{}`, write the file elsewhere, or {shared}", command("g-w")),
            Self::Everybody => format!("run `{}`, write the file elsewhere, or {shared}", command("go-w")),
        }
    }
}

/// Judges one thing that a path leads through, or to.
pub(super) fn judge(found: Found, trusted: Trusted, guard: Guard) -> Option<Danger> {
    if guard == Guard::Nothing {
        return None;
    }
    let is_foreign = !trusted.is(found.owner);
    if found.kind == Kind::Link {
        return is_foreign.then_some(Danger::Link(found.owner));
    }
    if guard != Guard::Secret(Sharing::Refused) {
        return None;
    }
    if is_foreign {
        return Some(Danger::Owner(found.owner));
    }
    // In a sticky directory, everybody can replace only their own files. A file that others can write is replaced by
    // one that they cannot write.
    if found.kind == Kind::File || found.mode.contains(Mode::SVTX) {
        return None;
    }
    if found.mode.contains(Mode::WOTH) {
        return Some(Danger::Everybody);
    }
    (found.mode.contains(Mode::WGRP) && !found.is_group_private).then_some(Danger::Group)
}

/// Whether a group is a trusted user's own, by `/etc/passwd` and `/etc/group`: many systems give each user
/// such a group, with the user's name, and let it write what the user makes.
///
/// Other groups may have members that these files do not list, from a directory service for example.
pub(super) fn is_group_private(group: u32, trusted: Trusted, users: &str, groups: &str) -> bool {
    let user = |line: &str| -> Option<(String, u32, u32)> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let user = fields.nth(1)?.parse().ok()?;
        Some((name, user, fields.next()?.parse().ok()?))
    };
    let users: Vec<(String, u32, u32)> = users.lines().filter_map(user).collect();
    let is_trusted = |name: &str| users.iter().any(|(known, user, _)| known == name && trusted.is(*user));
    if users.iter().any(|(_, user, primary)| *primary == group && !trusted.is(*user)) {
        return false;
    }
    let number = group.to_string();
    let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let Some(fields) = lines.find(|fields| fields.get(2) == Some(&number.as_str())) else { return false };
    let is_own = |(name, user, primary): &(String, u32, u32)| {
        *primary == group && trusted.is(*user) && fields.first() == Some(&name.as_str())
    };
    users.iter().any(is_own)
        && fields.get(3).is_some_and(|members| {
            let mut members = members.split(',').map(str::trim).filter(|name| !name.is_empty());
            members.all(is_trusted)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Trusted = Trusted { user: 1000, system: 0 };
    const STRICT: Guard = Guard::Secret(Sharing::Refused);

    fn found(kind: Kind, owner: u32, mode: u32) -> Found {
        Found { kind, owner, mode: Mode::from_raw_mode(mode), is_group_private: false }
    }

    #[test]
    fn a_secret_goes_only_through_what_nobody_else_can_replace() {
        let directory = |owner, mode| judge(found(Kind::Directory, owner, mode), ME, STRICT);
        assert_eq!(directory(1000, 0o755), None);
        assert_eq!(directory(0, 0o755), None);
        assert_eq!(directory(1001, 0o700), Some(Danger::Owner(1001)));
        assert_eq!(directory(1000, 0o775), Some(Danger::Group));
        assert_eq!(directory(0, 0o757), Some(Danger::Everybody));
        assert_eq!(directory(0, 0o777), Some(Danger::Everybody));
        assert_eq!(directory(0, 0o1777), None, "/tmp");
        assert_eq!(directory(1001, 0o1777), Some(Danger::Owner(1001)), "the owner of a sticky directory replaces all");
        let private = Found { is_group_private: true, ..found(Kind::Directory, 1000, 0o775) };
        assert_eq!(judge(private, ME, STRICT), None);
        let open = Found { is_group_private: true, ..found(Kind::Directory, 1000, 0o777) };
        assert_eq!(judge(open, ME, STRICT), Some(Danger::Everybody));
    }

    #[test]
    fn a_file_of_somebody_else_gets_no_secret() {
        let file = |owner, mode| judge(found(Kind::File, owner, mode), ME, STRICT);
        assert_eq!(file(1000, 0o666), None, "it is replaced");
        assert_eq!(file(0, 0o600), None);
        assert_eq!(file(1001, 0o600), Some(Danger::Owner(1001)));
        let root = Trusted { user: 0, system: 0 };
        assert_eq!(judge(found(Kind::File, 1000, 0o600), root, STRICT), Some(Danger::Owner(1000)));
    }

    #[test]
    fn a_link_of_somebody_else_is_never_followed_to_write() {
        for guard in [STRICT, Guard::Secret(Sharing::Allowed), Guard::Public] {
            let link = |owner| judge(found(Kind::Link, owner, 0o777), ME, guard);
            assert_eq!((link(1000), link(0), link(1001)), (None, None, Some(Danger::Link(1001))));
        }
        assert_eq!(judge(found(Kind::Link, 1001, 0o777), ME, Guard::Nothing), None);
    }

    #[test]
    fn who_shares_on_purpose_may() {
        let shared = Guard::Secret(Sharing::Allowed);
        assert_eq!(judge(found(Kind::Directory, 1001, 0o777), ME, shared), None);
        assert_eq!(judge(found(Kind::File, 1001, 0o666), ME, shared), None);
        assert_eq!(judge(found(Kind::Directory, 1001, 0o777), ME, Guard::Public), None);
    }

    #[test]
    fn a_group_is_private_with_nobody_else_in_it() {
        let users = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nshe:x:1001:100::/:/bin/sh\n";
        let is_private = |group: u32, groups: &str| is_group_private(group, ME, users, groups);
        assert!(is_private(1000, "me:x:1000:\n"));
        assert!(is_private(1000, "other:x:5:she\nme:x:1000:me,root\n"));
        assert!(!is_private(1000, "me:x:1000:she\n"), "a member");
        assert!(!is_private(1000, "staff:x:1000:\n"), "who else is in it a directory service may know");
        assert!(!is_private(50, "staff:x:50:\n"));
        assert!(!is_private(100, "users:x:100:\n"), "it is her first group");
        assert!(!is_private(1000, "me:x:1000:gone\n"), "nobody knows who that is");
        assert!(!is_private(7777, "me:x:1000:\n"), "a group that is not listed");
        assert!(!is_private(1000, ""));
    }
}
