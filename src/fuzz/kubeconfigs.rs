//! Kubeconfigs: read, edited, merged into, combined.
//!
//! What is written is read back as it was meant, and an edit leaves every other byte alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::assert_quotes_nothing;
use crate::credential::{Credential, CredentialFacts, KIND_TOKEN, Reissue};
use crate::kubeconfig::combine::{CombineOptions, Input, InputError, OnCollision, combine};
use crate::kubeconfig::edit::{
    Edit, EditError, List, Unranked, check_editable, check_editable_once_read, edit, says_the_same_in_parts,
};
use crate::kubeconfig::{
    Document, DocumentError, Endpoint, EntryName, EntryNames, EntryState, ExecPlugin, FileOrder, Incoming, Leaving,
    Mark, Marked, MergeError, OurEntries, UserForm, is_refusal, merge, remove,
};
use crate::secret::SecretToken;

/// What a file may be refused with beside the reasons that the reader of YAML has, apart from numbers.
const SENTENCES: [&str; 4] = [
    "its `kind` is not `Config`",
    "it has no key of a kubeconfig",
    "its values are too many or too deep; at most 0 keys and values are read",
    "an entry of `contexts` has no name or no content",
];

fn assert_quotes_nothing_of_file(cause: &str) {
    if !is_refusal(cause) {
        assert_quotes_nothing(cause, &SENTENCES);
    }
}

/// A file is read, or refused without quoting it.
pub(super) fn read(data: &[u8]) -> bool {
    match Input::parse("a", Path::new("/in/a.yaml"), data) {
        Err(InputError::Malformed(cause)) => {
            let cause = cause.replace("`clusters`", "`contexts`").replace("`users`", "`contexts`");
            assert_quotes_nothing_of_file(&cause);
        }
        Err(InputError::NotText | InputError::Duplicate { .. }) | Ok(_) => {}
    }
    assert!(says_the_same_in_parts(data), "its parts say something else");
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(DocumentError::Malformed(cause)) => {
            assert_quotes_nothing_of_file(&cause);
            return false;
        }
        Err(DocumentError::Duplicate { .. }) => return false,
    };
    if document.is_plain() {
        let is_editable = check_editable(data).is_ok();
        assert_eq!(is_editable, check_editable_once_read(data).is_ok(), "everything in it was read");
    }
    for incoming in incoming() {
        let Incoming { names, mark, .. } = &incoming;
        let state = document.state(names, mark);
        let is_named = |marked: &Marked| {
            let of = |list, name: &String| marked.entry == EntryName { list, name: name.clone() };
            of(List::Clusters, &names.cluster) || of(List::Users, &names.user) || of(List::Contexts, &names.context)
        };
        let mut entries = document.marked(&mark.inventory);
        entries.retain(is_named);
        assert!(!matches!(state, EntryState::Absent) || entries.is_empty());
        assert!(
            format!("{state:?}{document:?}").len() < 4096 + text.len(),
            "nothing is shown that was not meant to be"
        );
    }
    assert!(
        document.entries_of_others(&"other".into(), &FileOrder::default())
            >= document.entries_of_others(&"acme".into(), &FileOrder::default())
            || text.contains("other")
    );
    true
}

/// The first line says what is edited (`+users:new -contexts:old =current`), the rest is the file.
pub(super) fn edit_one(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (orders, before) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let edits = edits(&String::from_utf8_lossy(orders));
    let after = match edit(before, &edits, &Unranked) {
        Ok(after) => after,
        Err(EditError::Refused(reason)) => {
            assert!(!reason.is_empty());
            return false;
        }
        Err(EditError::Check(what)) => panic!("what was edited does not say what was meant: {what}"),
    };
    assert!(says_the_same_in_parts(&after), "the parts of what was edited say something else");
    match edit(&after, &edits, &Unranked) {
        Ok(again) => assert_eq!(
            String::from_utf8_lossy(&again),
            String::from_utf8_lossy(&after),
            "the same edits again change nothing"
        ),
        Err(EditError::Refused(_)) => {}
        Err(EditError::Check(what)) => panic!("edited again, it does not say what was meant: {what}"),
    }
    // A byte order mark is no content: alone, it is an empty file, which becomes a new one.
    let content = before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before);
    if edits.is_empty() && !content.trim_ascii().is_empty() {
        assert_eq!(after, before, "no edit, no change");
    }
    if let [Edit::Upsert { list, entry }] = edits.as_slice()
        && entries(before, *list).is_some_and(|names| !names.iter().any(|name| *name == entry["name"]))
    {
        // A document that says nothing loses its marks, and none of its comments.
        let text = String::from_utf8_lossy(content);
        let marks =
            |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with(['#', '-', '.', '~', 'n']);
        if text.lines().all(marks) {
            let after = String::from_utf8_lossy(&after);
            let comments = text.lines().filter_map(|line| line.find('#').map(|at| line[at..].trim_end()));
            comments.for_each(|comment| assert!(after.contains(comment), "{comment:?} went"));
            return true;
        }
        let gone = gone(before, &after);
        // An empty list is written in many ways, and gives way to its first entry.
        let is_list = |c: char| c.is_whitespace() || "[]{}~,nulNUL".contains(c);
        assert!(gone.chars().all(is_list), "{gone:?} went, where an entry came");
    }
    true
}

/// Reads the orders of [`edit_one`].
fn edits(orders: &str) -> Vec<Edit> {
    let read = |word: &str| {
        let name = |rest: &str| {
            let (list, name) = rest.split_once(':')?;
            let list = List::ALL.into_iter().find(|known| known.key() == list)?;
            Some((list, name.to_owned()))
        };
        if let Some(name) = word.strip_prefix('=') {
            return Some(Edit::CurrentContext(name.to_owned()));
        }
        if let Some((list, name)) = word.strip_prefix('-').and_then(name) {
            return Some(Edit::Remove { list, name });
        }
        let (list, name) = word.strip_prefix('+').and_then(name)?;
        let entry = match list {
            List::Clusters => json!({ "cluster": { "server": "https://new:6443" }, "name": name }),
            List::Users => json!({ "name": name, "user": { "token": "new: '#1'" } }),
            List::Contexts => json!({ "context": { "cluster": "a", "user": name }, "name": name }),
        };
        Some(Edit::Upsert { list, entry })
    };
    let mut edits: Vec<Edit> = orders.split_whitespace().filter_map(read).collect();
    // Each thing once, as the callers do.
    let mut seen = std::collections::HashSet::new();
    edits.retain(|edit| {
        seen.insert(match edit {
            Edit::Upsert { list, entry } => (Some(*list), entry["name"].as_str().unwrap_or_default().to_owned()),
            Edit::Remove { list, name } => (Some(*list), name.clone()),
            Edit::CurrentContext(_) => (None, String::new()),
        })
    });
    edits
}

/// Returns the names in a list of a file; nothing if it cannot be read.
fn entries(text: &[u8], list: List) -> Option<Vec<Value>> {
    let text = std::str::from_utf8(text).ok()?;
    let file: Value = serde_saphyr::from_str_with_options(
        text.trim_start_matches('\u{feff}'),
        crate::kubeconfig::yaml_options(text.len()),
    )
    .ok()?;
    Some(file[list.key()].as_array().into_iter().flatten().map(|entry| entry["name"].clone()).collect())
}

/// Returns what of a text is not in another that begins and ends like it.
fn gone(before: &[u8], after: &[u8]) -> String {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    let (before, after) = (&before[same..], &after[same..]);
    let same = before.iter().rev().zip(after.iter().rev()).take_while(|(before, after)| before == after).count();
    String::from_utf8_lossy(&before[..before.len() - same]).into_owned()
}

/// Grants go into a file: each is in it as it was meant, or refused; and they can be removed again.
pub(super) fn merge_grants(data: &[u8]) -> bool {
    let incoming = incoming();
    let order = FileOrder::new(incoming.iter().map(|incoming| &incoming.names));
    let merged = match merge(Some(data), &incoming.iter().collect::<Vec<_>>(), &order, 0, None) {
        Ok(merged) => merged,
        Err(MergeError::Edit(EditError::Check(what))) => panic!("what was merged does not say what was meant: {what}"),
        Err(MergeError::Document(DocumentError::Malformed(cause))) => {
            assert_quotes_nothing_of_file(&cause);
            return false;
        }
        Err(_) => return false,
    };
    let text = std::str::from_utf8(&merged.content).expect("what is written is text");
    let document = Document::parse(text).expect("what was written can be read");
    for (position, incoming) in incoming.iter().enumerate() {
        if merged.refused.iter().any(|(refused, _)| *refused == position) {
            continue;
        }
        let Incoming { names, mark, endpoint, credential, .. } = incoming;
        let EntryState::Ours(held) = document.state(names, mark) else { panic!("{} is not there", names.context) };
        assert!(held.differences(&OurEntries::render(names, mark, endpoint, credential.as_ref())).is_empty());
        if let (UserForm::Token, Some(credential)) = (&names.form, credential) {
            assert!(held.holds(&credential.token));
        }
    }
    let again = merge(Some(&merged.content), &incoming.iter().collect::<Vec<_>>(), &order, 0, None)
        .expect("it was merged a moment ago");
    assert_eq!(again.content, merged.content, "the same once more changes nothing");
    let leaving: Vec<Leaving> = incoming
        .iter()
        .map(|Incoming { names, mark, .. }| {
            let entry = |list, name: &String| EntryName { list, name: name.clone() };
            Leaving {
                inventory: mark.inventory.clone(),
                cluster: mark.cluster.clone(),
                profile: mark.profile.clone(),
                entries: vec![
                    entry(List::Clusters, &names.cluster),
                    entry(List::Users, &names.user),
                    entry(List::Contexts, &names.context),
                ],
            }
        })
        .collect();
    match remove(&merged.content, &leaving) {
        Ok(removed) => {
            let document = Document::parse(&String::from_utf8_lossy(&removed)).expect("what is left can be read");
            let named = |marked: &Marked| leaving.iter().any(|leaving| leaving.includes(marked));
            let left = document.removable(&"acme".into(), named, &BTreeSet::new()).going;
            assert!(left.is_empty(), "{left:?}");
        }
        Err(MergeError::Edit(EditError::Check(what))) => panic!("what was left does not say what was meant: {what}"),
        Err(_) => {}
    }
    true
}

/// Three grants, one in each form.
fn incoming() -> Vec<Incoming> {
    let forms = [
        UserForm::Token,
        UserForm::TokenFile("c.tokens/reader@us.token".to_owned()),
        UserForm::Exec(Arc::new(ExecPlugin {
            mints: true,
            command: "/usr/bin/kubemint".to_owned(),
            args: vec!["credential".to_owned()],
        })),
    ];
    forms.into_iter().zip(["eu", "us", "ap"]).map(|(form, cluster)| of_grant(form, cluster)).collect()
}

/// Returns the credential of the grant of `reader` on a cluster, for an entry with a token.
#[cfg(test)]
pub(crate) fn incoming_of(cluster: &str) -> Incoming {
    of_grant(UserForm::Token, cluster)
}

fn of_grant(form: UserForm, cluster: &str) -> Incoming {
    let context = format!("reader@{cluster}");
    let issued = Timestamp::UNIX_EPOCH;
    let facts = CredentialFacts {
        kind: KIND_TOKEN.to_owned(),
        generation: 3,
        anchor: "reader-default-3-0123456789".to_owned(),
        anchor_uid: "8d7e".to_owned(),
        issued,
        requested_seconds: 3600,
        expires: issued + jiff::SignedDuration::from_hours(1),
    };
    Incoming {
        names: EntryNames {
            cluster: context.clone(),
            user: context.clone(),
            context,
            namespace: Some("ci".to_owned()),
            form,
            shares_cluster: false,
        },
        mark: Mark {
            inventory: "acme".into(),
            holder: "default".into(),
            cluster: cluster.into(),
            profile: "reader".into(),
        },
        endpoint: Endpoint { server: format!("https://{cluster}:6443"), ..Endpoint::default() },
        credential: Some(Credential { facts, token: SecretToken::new(format!("e30.{TOKEN_PAYLOAD}.c2ln")) }),
        reissue: Reissue::Refused,
        adopts: false,
    }
}

/// What separates two kubeconfigs; no line of a file begins like this.
const NEXT_FILE: &[u8] = b"#--- next\n";

/// The claims of a token of generation 3 in base64.
const TOKEN_PAYLOAD: &str = "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6cmVhZGVyIiwiZXhwIjozNjAwLCJpYXQiOjAsImt1YmVybmV0ZXMuaW8iOns\
     ic2VjcmV0Ijp7Im5hbWUiOiJyZWFkZXItZGVmYXVsdC0zLTAxMjM0NTY3ODkiLCJ1aWQiOiI4ZDdlIn19fQ";

/// Two files are combined into a third, if there is one: once that is done there is nothing left to do.
pub(super) fn combine_two(data: &[u8]) -> bool {
    let mut files = parts(data).into_iter();
    let (first, second, before) = (files.next().unwrap_or_default(), files.next(), files.next().unwrap_or_default());
    let parse = |name: &str, text: &[u8]| Input::parse(name, &Path::new("/in").join(name), text);
    let Ok(first) = parse("first.yaml", first) else { return false };
    let mut inputs = vec![first];
    if let Some(text) = second {
        let Ok(second) = parse("second.yaml", text) else { return false };
        inputs.push(second);
    }
    let Ok(out) = parse("out", before) else { return false };
    for on_collision in [OnCollision::Error, OnCollision::KeepFirst, OnCollision::PrefixFile, OnCollision::Replace] {
        let options = CombineOptions {
            select: vec![],
            context: None,
            prefix: None,
            on_collision,
            prune: false,
            directory: Some("/in".into()),
        };
        let combined = combine(&inputs, Some(&out), &options, Timestamp::UNIX_EPOCH, &|_| None);
        assert!(!format!("{combined:?}").is_empty());
        if !combined.collisions.is_empty() {
            continue;
        }
        let after = match edit(before, &combined.edits, &Unranked) {
            Ok(after) => after,
            Err(EditError::Refused(_)) => continue,
            Err(EditError::Check(what)) => panic!("{on_collision:?}: it does not say what was meant: {what}"),
        };
        let out = parse("out", &after).expect("what was written can be read");
        let again = combine(&inputs, Some(&out), &options, Timestamp::UNIX_EPOCH, &|_| None);
        assert!(again.changes.is_empty() && again.collisions.is_empty(), "{on_collision:?}: {again:?}");
    }
    true
}

fn parts(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = vec![];
    let mut rest = data;
    while let Some(at) = memchr::memmem::find(rest, NEXT_FILE) {
        parts.push(&rest[..at]);
        rest = &rest[at + NEXT_FILE.len()..];
    }
    parts.push(rest);
    parts
}
