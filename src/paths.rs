//! Paths as text: `.` and `..` taken out without looking at the disk.
//!
//! kubectl does the same to the paths in a kubeconfig (Go's `filepath.Join` cleans). Pure: no I/O.

use std::path::{Component, Path, PathBuf};

/// Takes `.` and `..` out of a path without looking at the disk.
pub(crate) fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match normal.components().next_back() {
                Some(Component::Normal(_)) => {
                    normal.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                Some(Component::CurDir | Component::ParentDir) | None => normal.push(".."),
            },
            component => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_out() {
        let check = |path: &str, expect: &str| assert_eq!(normalise(Path::new(path)), Path::new(expect), "{path}");
        check("/a/./b//c", "/a/b/c");
        check("/a/../b", "/b");
        check("/../b", "/b");
        check("../a/..", "..");
        check("a/../../b", "../b");
    }
}
