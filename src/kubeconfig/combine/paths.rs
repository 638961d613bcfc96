//! Relative paths in entries that move to another directory.
//!
//! client-go resolves them against the directory of their kubeconfig, and writes them without going
//! up (`tools/clientcmd/loader.go`, `RelativizePathWithNoBacksteps`). Pure: no I/O, no clock.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kubeconfig::edit::List;
use crate::paths::normalise;

/// Rewrites the paths of an entry of a file in `from` for a file in `to`; without `to`, makes them absolute.
pub(super) fn rebase(list: List, body: &mut Value, from: &Path, to: Option<&Path>) {
    if to.is_some_and(|to| normalise(to) == normalise(from)) {
        return;
    }
    for pointer in pointers(list) {
        if let Some(Value::String(text)) = body.pointer_mut(pointer)
            && is_relative(pointer, text)
        {
            let path = normalise(&from.join(&*text));
            let below = to.and_then(|to| path.strip_prefix(normalise(to)).ok().map(Path::to_owned));
            *text = below.map_or_else(|| path.clone(), |below| keep_separator(pointer, below)).display().to_string();
        }
    }
}

/// Returns the fields of an entry that hold paths, and the paths resolved.
pub(super) fn files<'a>(list: List, body: &'a Value, from: &Path) -> Vec<(&'static str, PathBuf, &'a str)> {
    let files = pointers(list).iter().filter(|pointer| **pointer != "/exec/command");
    let named = files.filter_map(|pointer| Some((*pointer, body.pointer(pointer)?.as_str()?)));
    let set = named.filter(|(_, text)| !text.is_empty());
    set.map(|(pointer, text)| (pointer.trim_start_matches('/'), from.join(text), text)).collect()
}

fn pointers(list: List) -> &'static [&'static str] {
    match list {
        List::Clusters => &["/certificate-authority"],
        List::Users => &["/client-certificate", "/client-key", "/tokenFile", "/exec/command"],
        List::Contexts => &[],
    }
}

/// A command without a slash is searched for in `PATH`.
fn is_relative(pointer: &str, text: &str) -> bool {
    let is_path = pointer != "/exec/command" || text.contains('/');
    is_path && !text.is_empty() && !text.starts_with('/')
}

fn keep_separator(pointer: &str, below: PathBuf) -> PathBuf {
    let lost = pointer == "/exec/command" && below.components().count() == 1;
    if lost { Path::new(".").join(below) } else { below }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_the_same_files_from_elsewhere() {
        let check = |from: &str, to: Option<&str>, expected: Value| {
            let mut user = json!({
                "client-certificate": "pki/a.pem", "client-key": "/abs/key", "tokenFile": "../t",
                "exec": {"command": "./bin/login"},
            });
            rebase(List::Users, &mut user, Path::new(from), to.map(Path::new));
            let exec = user["exec"]["command"].clone();
            assert_eq!(json!([user["client-certificate"], user["client-key"], user["tokenFile"], exec]), expected);
        };
        check("/a/b", Some("/a/b/."), json!(["pki/a.pem", "/abs/key", "../t", "./bin/login"]));
        check("/a/b", Some("/a"), json!(["b/pki/a.pem", "/abs/key", "t", "b/bin/login"]));
        check("/a/b", Some("/a/b/bin"), json!(["/a/b/pki/a.pem", "/abs/key", "/a/t", "./login"]));
        check("/a/b", None, json!(["/a/b/pki/a.pem", "/abs/key", "/a/t", "/a/b/bin/login"]));
        let mut user = json!({"exec": {"command": "aws"}});
        rebase(List::Users, &mut user, Path::new("/a"), Some(Path::new("/b")));
        assert_eq!(user["exec"]["command"], "aws", "it is looked for in PATH");
    }
}
