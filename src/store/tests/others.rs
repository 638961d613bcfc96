//! Directories, files and links of other users. Without root no such files can be made; there, only the unit tests of
//! `safety` test the rule.

use super::*;
use crate::store::private::lock_only;
use crate::store::public::IsOurs;

const SOMEBODY: u32 = 12_345;
const SHARED: Manner = Manner { break_lock: BreakLock::Never, sharing: Sharing::Allowed };

/// Gives a file to somebody else; without root there is nobody to give it to, which is checked too.
#[track_caller]
fn give(path: &Path) -> bool {
    let given = std::os::unix::fs::lchown(path, Some(SOMEBODY), Some(SOMEBODY));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(given.is_ok(), is_root, "only root gives files away");
    is_root
}

fn open_to(directory: &Path, mode: u32) {
    fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
}

fn refused(path: &Path, place: &Path, what: &str) {
    is_refused(path, &format!("`{}` {what}", place.display()), "");
}

#[test]
fn a_directory_that_everybody_may_write_gets_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let shared = directory.path().join("shared");
    let path = shared.join("below/config");
    put(&path, "x");
    open_to(&shared, 0o777);
    refused(&path, &shared, "can be written by everybody");
    refused(&shared.join("config"), &shared, "can be written by everybody");
    // In a sticky directory, only the owner of a file can replace it.
    open_to(&shared, 0o1777);
    put(&path, "y");
    put(&shared.join("config"), "y");
    open_to(&shared, 0o777);
    update(&path, SHARED, |_| Ok::<_, Infallible>(b"z".to_vec())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"z");
}

#[test]
fn what_is_somebody_elses_gets_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("theirs");
    let path = theirs.join("config");
    put(&path, "x");
    if !give(&path) {
        return;
    }
    refused(&path, &path, "belongs to user 12345");
    give(&theirs);
    refused(&path, &theirs, "belongs to user 12345");
    refused(&theirs.join("new"), &theirs, "belongs to user 12345");
    // If sharing is allowed, the file keeps its owner.
    check_replaceable(&path, SHARED, Instant::now()).unwrap();
    update(&path, SHARED, |_| Ok::<_, Infallible>(b"y".to_vec())).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (SOMEBODY, SOMEBODY, 0o600));
}

#[test]
fn a_link_of_somebody_else_is_followed_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (link, victim) = (directory.path().join("link"), directory.path().join("authorized_keys"));
    plant(&victim, "key");
    symlink(&victim, &link).unwrap();
    put(&link, "mine");
    let of_directory = directory.path().join("directory");
    symlink(directory.path(), &of_directory).unwrap();
    put(&of_directory.join("authorized_keys"), "key");
    if !(give(&link) && give(&of_directory)) {
        return;
    }
    refused(&link, &link, "is a symbolic link of user 12345");
    refused(&of_directory.join("authorized_keys"), &of_directory, "is a symbolic link of user 12345");
    for path in [&link, &of_directory.join("authorized_keys")] {
        let error = update(path, SHARED, |_| Ok::<_, Infallible>(b"token".to_vec())).unwrap_err();
        assert!(matches!(error, StoreError::Unsafe { danger: Danger::Link(SOMEBODY), .. }), "{error:?}");
        write_public(path, b"metrics", |_| true).unwrap_err();
    }
    assert_eq!(fs::read(&victim).unwrap(), b"key");
    // A link of ours to such a directory makes no difference.
    remove(&of_directory.join("authorized_keys"), PLAIN).unwrap_err();
    assert!(victim.exists());
}

#[test]
fn private_files_are_not_kept_where_others_may_write() {
    use std::time::Duration;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache/token.json");
    lock_only(&path, Duration::ZERO, Sharing::Refused).unwrap().write(&path, b"t").unwrap();
    open_to(directory.path(), 0o777);
    read_private(&path, Sharing::Refused).unwrap_err();
    lock_only(&path, Duration::ZERO, Sharing::Refused).unwrap_err();
    remember(&path, "a", Sharing::Refused).unwrap_err();
    assert_eq!(read_private(&path, Sharing::Allowed).unwrap().unwrap(), b"t");
}

#[test]
fn a_public_file_replaces_only_what_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.prom");
    let is_ours: IsOurs = |content| content.starts_with(b"# ours");
    let write = |path: &Path| {
        assert_eq!(check_public(path, is_ours).is_ok(), write_public(path, b"# ours", is_ours).is_ok());
        fs::read(path).is_ok_and(|content| content == b"# ours")
    };
    assert!(write(&path) && write(&path));
    assert_eq!(mode(&path), 0o644);
    for content in ["apiVersion: v1", ""] {
        plant(&path, content);
        assert!(!write(&path), "{content}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    let (pipe, link) = (directory.path().join("pipe"), directory.path().join("link"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for special in [pipe.as_path(), Path::new("/dev/null"), directory.path()] {
        check_public(special, is_ours).unwrap_err();
        write_public(special, b"# ours", is_ours).unwrap_err();
    }
    plant(&path, "# ours, too");
    symlink(&path, &link).unwrap();
    assert!(write(&link) && fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(directory.path()), ["link", "metrics.prom", "pipe"]);
}

#[test]
fn files_are_the_same_by_any_name() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    plant(&at("file"), "");
    plant(&at("other"), "");
    fs::hard_link(at("file"), at("hard")).unwrap();
    symlink("file", at("soft")).unwrap();
    symlink(".", at("here")).unwrap();
    symlink("new", at("dangling")).unwrap();
    for (one, other) in
        [("file", "hard"), ("file", "soft"), ("here/file", "soft"), ("here/../file", "new"), ("dangling", "here/new")]
    {
        let is_same = one != "here/../file";
        assert_eq!(is_same_file(&at(one), &at(other)), is_same, "{one} {other}");
    }
    assert!(is_same_file(&at("none/../x/f"), &at("here/x/f")) && !is_same_file(&at("none/x"), &at("x")));
    assert!(!is_same_file(&at("file"), &at("other")) && !is_same_file(&at("new"), &at("newer")));
}
