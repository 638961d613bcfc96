//! Leftovers of killed processes, and the effect of umasks and long names.

use super::*;
use crate::store::private::lock_only;

fn remains(directory: &Path) -> usize {
    names(directory).iter().filter(|name| name.starts_with(".kubemint-")).count()
}

/// Leaves a temporary file as a kill does: it is unlocked, but its name is still there.
fn left_behind(beside: &Path) -> PathBuf {
    let temporary = Temporary::beside(&entry(beside)).unwrap();
    let path = temporary.entry.path.clone();
    let aside = path.with_file_name("aside");
    fs::rename(&path, &aside).unwrap();
    drop(temporary);
    fs::rename(&aside, &path).unwrap();
    path
}

#[test]
fn what_killed_processes_left_goes_with_the_next_write_of_any_file_there() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("config"), directory.path().join("other"));
    let left = left_behind(&other);
    let living = Temporary::beside(&entry(&other)).unwrap();
    let similar = directory.path().join(".kubemint-tmp-notes");
    plant(&similar, "mine");
    put(&path, "x");
    assert!(!left.exists(), "its owner is dead, whatever it was for");
    assert!(living.entry.path.exists(), "its owner lives");
    assert!(similar.exists(), "it is not ours");
    // Leftovers are removed even if the content is unchanged, and by the other ways to write.
    let left = left_behind(&other);
    assert_eq!(put(&path, "x"), Written::Unchanged);
    assert!(!left.exists());
    let left = left_behind(&other);
    write_public(&directory.path().join("metrics"), b"m", |_| true).unwrap();
    assert!(!left.exists());
    drop(living);
    assert!(left.file_name().unwrap().to_str().unwrap().starts_with(crate::delivery::OWN_PREFIX), "no output has it");
    assert_eq!(remains(directory.path()), 1, "the notes");
}

/// A directory of many files is not searched at each write, and is searched again after some.
#[test]
fn many_files_are_written_without_as_many_searches() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..64 {
        plant(&directory.path().join(format!("file-{number}")), "x");
    }
    let path = directory.path().join("config");
    put(&path, "0");
    let left = left_behind(&path);
    let writes = (1..).take_while(|write| {
        put(&path, &write.to_string());
        left.exists()
    });
    let writes = writes.count();
    assert!((2..8).contains(&writes), "{writes}");
}

#[test]
fn a_lock_that_is_waited_for_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let held = Lock::take(&entry(&path), BreakLock::Never).unwrap();
    assert_eq!(names(directory.path()), ["config.lock"]);
    drop(held);
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

/// The name of the lock is five bytes longer; temporary names do not depend on the file's.
#[test]
fn the_longest_name_that_has_room_for_its_lock_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let longest = directory.path().join("n".repeat(250));
    assert_eq!(put(&longest, "x"), Written::Changed);
    check_replaceable(&longest, PLAIN, Instant::now()).unwrap();
    let longer = directory.path().join("n".repeat(251));
    update(&longer, PLAIN, |_| Ok::<_, Infallible>(vec![])).unwrap_err();
    assert_eq!(names(directory.path())[0].len(), 250);
}

/// The umask is one for the whole process, so the test runs itself again in a shell that sets it.
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is how a test tells itself where it runs")]
fn modes_do_not_depend_on_the_umask() {
    const PLACE: &str = "KUBEMINT_TEST_UNDER_UMASK";
    if let Some(place) = std::env::var_os(PLACE) {
        let place = PathBuf::from(place);
        let path = place.join("a/b/config");
        put(&path, "x");
        put(&path, "y");
        assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&place.join("a"))), (0o600, 0o700, 0o700));
        let metrics = place.join("a/metrics");
        write_public(&metrics, b"m", |_| true).unwrap();
        assert_eq!(mode(&metrics), 0o644);
        let cache = place.join("cache/token.json");
        lock_only(&cache, std::time::Duration::ZERO, Sharing::Refused).unwrap().write(&cache, b"t").unwrap();
        remember(&cache.with_extension("callers"), "a", Sharing::Refused).unwrap();
        for name in ["token.json", "token.lock", "token.callers"] {
            assert_eq!(mode(&cache.with_file_name(name)), 0o600, "{name}");
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "umask 0777; exec \"$0\" --exact store::tests::remains::modes_do_not_depend_on_the_umask --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(PLACE, directory.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
