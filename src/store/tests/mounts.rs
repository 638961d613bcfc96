//! Files on mounts that refuse something: full, read-only, mounted by themselves.
//!
//! Each test runs itself again in a mount namespace of its own, in which it may mount what it needs; without root, in a
//! user namespace too. It fails if it gets neither.

use std::process::Command;

use super::*;

/// The variable that tells a test in its own namespace where its files are.
const PLACE: &str = "KUBEMINT_TEST_IN_NAMESPACE";

/// Returns where the files of a test are, in the namespace that it is in.
#[expect(clippy::disallowed_methods, reason = "the variable is how a test tells itself where it runs")]
fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// Runs a test of this file again, in namespaces of its own.
#[track_caller]
fn run_inside(namespaces: &[&str], test: &str, place: &Path) {
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::tests::mounts::{test}"), "--nocapture"])
        .env(PLACE, place)
        .output()
        .expect("`unshare` of util-linux is needed");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "it failed in namespaces of its own; if `unshare {}` is what failed, run the tests as root or allow \
         unprivileged user namespaces:\n{text}",
        namespaces.join(" ")
    );
}

/// Returns the test's directory if this is the run in its own namespace; otherwise makes that run.
#[track_caller]
fn mountable(test: &str) -> Option<PathBuf> {
    if let Some(place) = place() {
        return Some(place);
    }
    let directory = tempfile::tempdir().unwrap();
    run_inside(mounts(), test, directory.path());
    None
}

/// The arguments for a mount namespace. Without root, it needs a user namespace too.
fn mounts() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] }
}

#[track_caller]
fn mount(arguments: &[&str], place: &Path) {
    let output = Command::new("mount").args(arguments).arg(place).output().unwrap();
    assert!(output.status.success(), "mount {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_that_is_mounted_by_itself_is_refused() {
    let Some(directory) = mountable("a_file_that_is_mounted_by_itself_is_refused") else { return };
    let (path, source) = (directory.join("config"), directory.join("source"));
    put(&path, "x");
    put(&source, "y");
    mount(&["--bind", source.to_str().unwrap()], &path);
    is_refused(&path, "it is mounted by itself", "mount the directory of");
    // The attribute only predicts this error; here the kernel itself gives it.
    let temporary = tempfile::NamedTempFile::new_in(&directory).unwrap();
    assert_eq!(temporary.persist(&path).unwrap_err().error.kind(), io::ErrorKind::ResourceBusy);
    // Its directory may be a mount point.
    let mounted = directory.join("mounted");
    fs::create_dir(&mounted).unwrap();
    mount(&["-t", "tmpfs", "none"], &mounted);
    put(&mounted.join("config"), "x");
    check_replaceable(&mounted.join("config"), PLAIN, Instant::now()).unwrap();
}

#[test]
fn a_read_only_file_system_is_refused() {
    let Some(directory) = mountable("a_read_only_file_system_is_refused") else { return };
    mount(&["-t", "tmpfs", "none"], &directory);
    let path = directory.join("config");
    put(&path, "x");
    mount(&["-o", "remount,bind,ro"], &directory);
    is_refused(&path, "Read-only file system", "with write access");
    is_refused(&directory.join("new"), "Read-only file system", "with write access");
}

#[test]
fn a_full_file_system_leaves_the_old_file() {
    let Some(directory) = mountable("a_full_file_system_leaves_the_old_file") else { return };
    mount(&["-t", "tmpfs", "-o", "size=64k", "none"], &directory);
    let path = directory.join("config");
    put(&path, "x");
    let too_much = |_: Option<&[u8]>| Ok::<_, Infallible>(vec![b'y'; 100_000]);
    let error = update(&path, PLAIN, too_much).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("make room")), "{error:?}");
    assert_eq!((fs::read(&path).unwrap().as_slice(), names(&directory)), (&b"x"[..], vec!["config".to_owned()]));
    // So full that not even a lock fits.
    put(&directory.join("filler"), &"z".repeat(56 * 1024));
    let error = update(&path, PLAIN, |_| Ok::<_, Infallible>(b"y".to_vec())).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("make room")), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert_eq!(names(&directory), ["config", "filler"]);
    // With room, the same edit is made.
    fs::remove_file(directory.join("filler")).unwrap();
    put(&path, "y");
}

/// Root of a user namespace may not touch what belongs to users outside of it.
#[test]
fn a_file_of_somebody_else_is_refused() {
    if let Some(path) = place() {
        return is_refused(&path, "who could read or replace what is written there", "run this as user");
    }
    let directory = tempfile::tempdir().unwrap();
    // Anybody may create files there, but only replace their own, as in /tmp.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    let path = directory.path().join("config");
    put(&path, "x");
    if !rustix::process::geteuid().is_root() {
        // Without root, no file can be given to somebody else.
        std::os::unix::fs::chown(&path, Some(12_345), None).expect_err("only root gives files away");
        return;
    }
    std::os::unix::fs::chown(&path, Some(12_345), Some(12_345)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    run_inside(&["--user", "--map-root-user"], "a_file_of_somebody_else_is_refused", &path);
}
