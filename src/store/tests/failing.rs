//! Updates in which one system call fails, or all from one on, or the process is killed before one: the file is the old
//! one or the new one, and the next run leaves nothing behind.

use std::process::Command;
use std::time::Duration;

use super::super::faults::testing::{Fault, set};
use super::*;

/// More calls than an update makes.
const MANY: usize = 200;

/// How long another test may take to start a program.
const PATIENCE: Duration = Duration::from_secs(30);

/// Updates a file through a link and in a directory that has to be made, so that every kind of call happens.
fn attempt(directory: &Path) -> Result<Written, StoreError> {
    update(&directory.join("made/too/config"), PLAIN, |_| Ok::<_, Infallible>(b"token".to_vec()))?;
    update(&directory.join("link"), PLAIN, |_| Ok::<_, Infallible>(b"new".to_vec()))
}

fn prepare(directory: &Path) {
    put(&directory.join("config"), "old");
    symlink("config", directory.join("link")).unwrap();
}

/// Checks the state after an attempt, and that the next run cleans up.
#[track_caller]
fn check(directory: &Path, fault: Fault) {
    let config = directory.join("config");
    let content = fs::read_to_string(&config).unwrap();
    assert!(content == "old" || content == "new", "{fault:?}: {content}");
    assert_eq!(mode(&config), 0o600, "{fault:?}");
    for (path, _) in all(directory).into_iter().filter(|(_, is_directory)| !is_directory) {
        assert_eq!(mode(&path) & 0o077, 0, "{fault:?}: {}", path.display());
    }
    attempt(directory).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
    assert_eq!(fs::read(&config).unwrap(), b"new", "{fault:?}");
    let left = || {
        let mut left: Vec<_> = all(directory).into_iter().map(|(path, _)| path).collect();
        left.sort();
        left
    };
    let expected = ["config", "link", "made", "made/too", "made/too/config"].map(|name| directory.join(name));
    // A child that another test has just forked holds a copy of the lock, until it runs its program.
    let start = Instant::now();
    while left() != expected && start.elapsed() < PATIENCE {
        std::thread::yield_now();
        // Only a write cleans up.
        update(&directory.join("made/too/config"), PLAIN, |_| Ok::<_, Infallible>(b"before".to_vec())).unwrap();
        attempt(directory).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
    }
    assert_eq!(left(), expected, "{fault:?}");
}

/// Returns everything below a directory, and whether it is one.
fn all(directory: &Path) -> Vec<(PathBuf, bool)> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let is_directory = entry.file_type().unwrap().is_dir();
        found.push((entry.path(), is_directory));
        if is_directory {
            found.extend(all(&entry.path()));
        }
    }
    found
}

#[test]
fn whatever_call_fails_the_file_is_the_old_one_or_the_new_one() {
    for kind in [Fault::Once, Fault::Always] {
        let mut happened = 0;
        for calls in 0..MANY {
            let directory = tempfile::tempdir().unwrap();
            prepare(directory.path());
            set(Some(kind(calls)));
            let result = attempt(directory.path());
            let has_happened = !matches!(set(None), Some(Fault::Once(_) | Fault::Always(1..)));
            if !has_happened {
                result.unwrap();
                break;
            }
            happened += 1;
            if let Err(error) = result {
                let text = error.to_string();
                assert!(text.contains(directory.path().to_str().unwrap()), "the file is named: {text}");
            }
            check(directory.path(), kind(calls));
        }
        assert!((40..MANY).contains(&happened), "{happened} calls");
    }
}

/// The variable that tells a test which call to die before, and where.
const KILLED: &str = "KUBEMINT_TEST_KILLED_AT";

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is how a test tells itself what to do")]
fn whenever_it_is_killed_the_file_is_the_old_one_or_the_new_one() {
    if let Some(told) = std::env::var_os(KILLED) {
        let told = told.into_string().unwrap();
        let (calls, directory) = told.split_once(':').unwrap();
        set(Some(Fault::Kill(calls.parse().unwrap())));
        attempt(Path::new(directory)).unwrap();
        return;
    }
    let mut killed = 0;
    for calls in 0..MANY {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::failing::whenever_it_is_killed_the_file_is_the_old_one_or_the_new_one"])
            .env(KILLED, format!("{calls}:{}", directory.path().display()))
            .output()
            .unwrap()
            .status;
        if status.success() {
            break;
        }
        killed += 1;
        check(directory.path(), Fault::Kill(calls));
    }
    assert!((40..MANY).contains(&killed), "{killed} calls");
}
