//! Files as they are found in practice: linked, owned by others, left behind, changed by others.

mod failing;
mod mounts;
mod others;
mod remains;

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

/// What a run may do without any flag.
const PLAIN: Manner = Manner { break_lock: BreakLock::Never, sharing: Sharing::Refused };

fn put(path: &Path, content: &str) -> Written {
    update(path, PLAIN, |_| Ok::<_, Infallible>(content.as_bytes().to_vec())).unwrap()
}

/// Makes a file without the store, as another program would.
#[expect(clippy::disallowed_methods, reason = "the tests make the files of others")]
fn plant(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

fn entry(path: &Path) -> Entry {
    reach_or_make(path, Guard::Nothing).unwrap().0
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Checks that a file is refused before and while it is written, and that nothing changed.
#[track_caller]
fn is_refused(path: &Path, message: &str, hint: &str) {
    let before = (fs::read(path).ok(), names(path.parent().unwrap()));
    let mut edited = false;
    let write = |_: Option<&[u8]>| {
        edited = true;
        Ok::<_, Infallible>(b"new".to_vec())
    };
    let refusals = [check_replaceable(path, PLAIN, Instant::now()), update(path, PLAIN, write).map(drop)];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        let causes = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let shown = format!("{error}{causes}");
        assert!(shown.contains(&path.display().to_string()) && shown.contains(message), "{shown}");
        assert!(error.hint().is_some_and(|shown| shown.contains(hint)), "{:?}", error.hint());
    }
    assert_eq!((fs::read(path).ok(), names(path.parent().unwrap())), before);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn new_files_and_directories_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/config");
    assert_eq!(put(&path, "x"), Written::Changed);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_file_that_is_right_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    let stamp = entry(&path).stamp().unwrap();
    assert_eq!(put(&path, "x"), Written::Unchanged);
    assert_eq!(entry(&path).stamp().unwrap(), stamp);
}

#[test]
fn a_symlink_stays_and_its_target_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (link, target) = (directory.path().join("link"), directory.path().join("dotfiles/config"));
    fs::create_dir(target.parent().unwrap()).unwrap();
    symlink("dotfiles/config", &link).unwrap();
    put(&link, "x");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "x");
}

#[test]
fn an_existing_file_becomes_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    put(&path, "y");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_read_only_file_stays_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    for before in [0o400, 0o444] {
        fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        put(&path, &format!("after {before:o}"));
        assert_eq!(mode(&path), 0o400);
    }
}

#[test]
fn a_failed_edit_leaves_the_file_and_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    let error = update(&path, PLAIN, |_| Err("no")).unwrap_err();
    assert!(matches!(error, StoreError::Edit { .. }));
    assert_eq!(names(directory.path()), ["config"]);
}

#[test]
fn a_change_by_somebody_without_the_lock_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    let error = update(&path, PLAIN, |_| {
        fs::remove_file(&path).unwrap();
        symlink("/dev/null", &path).unwrap();
        Ok::<_, Infallible>(b"y".to_vec())
    });
    assert!(matches!(error, Err(StoreError::Changed { .. })), "{error:?}");
}

/// Files whose names have a common beginning are written at the same time, as outputs of one run are.
#[test]
fn files_with_similar_names_are_written_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for name in ["prod", "prod.yaml", "prod.yaml.old"] {
            let path = directory.path().join(name);
            scope.spawn(move || {
                for round in 0..200 {
                    put(&path, &format!("{name} {round}"));
                }
            });
        }
    });
    assert_eq!(names(directory.path()), ["prod", "prod.yaml", "prod.yaml.old"]);
}

#[test]
fn both_names_of_a_file_are_locked() {
    let directory = tempfile::tempdir().unwrap();
    let (link, target) = (directory.path().join("link"), directory.path().join("target"));
    symlink("target", &link).unwrap();
    update(&link, PLAIN, |_| {
        assert!(directory.path().join("target.lock").exists() && directory.path().join("link.lock").exists());
        Ok::<_, Infallible>(b"x".to_vec())
    })
    .unwrap();
    assert_eq!(names(directory.path()), ["link", "target"]);
    let _other = Lock::take(&entry(&target), BreakLock::Never).unwrap();
    assert!(!directory.path().join("link.lock").exists());
}

#[test]
fn a_file_with_several_names_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("config"), directory.path().join("other"));
    put(&path, "x");
    fs::hard_link(&path, &other).unwrap();
    is_refused(&path, "it has 2 hard links", "`cp` it");
    // Through a symlink, too.
    let link = directory.path().join("link");
    symlink("config", &link).unwrap();
    is_refused(&link, "it has 2 hard links", "`cp` it");
    fs::remove_file(&other).unwrap();
    check_replaceable(&path, PLAIN, Instant::now()).unwrap();
    put(&path, "y");
}

#[test]
fn a_file_below_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    put(&file, "x");
    for path in [file.join("config"), file.join("deeper/config")] {
        check_replaceable(&path, PLAIN, Instant::now()).unwrap_err();
        update(&path, PLAIN, |_| Ok::<_, Infallible>(vec![])).unwrap_err();
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}
