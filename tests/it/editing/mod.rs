//! Edits of files in many styles: every byte outside of the edited entry stays, and kubectl reads the intended content.
//!
//! `generator` makes files and records the role of their bytes; `follow` makes one edit and checks it against that
//! record; finally, the real kubectl reads the result.

mod alphabet;
mod follow;
mod generator;
mod removal;
mod scale;
mod together;

use std::sync::atomic::{AtomicUsize, Ordering};

use kubemint::kubeconfig::edit::{Edit, EditError, List, Unranked, edit};
use kubemint_testkit::control_plane;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use follow::follow;
use generator::{Dice, File, body_key, entry, file, name_of, position};

/// How many files are made and edited, each up to five times; `PROPTEST_CASES` sets another number.
const CASES: u32 = 2_000;
/// How many of these kubectl reads, at 50 ms for each call.
const JUDGED: usize = 200;

/// Makes up to four edits: of entries that exist, of new ones, and of the current context.
fn edits(file: &File, choices: &[u16]) -> Vec<Edit> {
    let mut dice = Dice::new(choices);
    let edits: Vec<Edit> = (0..=dice.roll(4))
        .map(|_| {
            let list = List::ALL[dice.roll(3)];
            let entries = &file.entries[position(list)];
            let existing = if entries.is_empty() { None } else { Some(name_of(&entries[dice.roll(entries.len())])) };
            match (dice.roll(5), existing) {
                (0, _) => Edit::CurrentContext(dice.name()),
                (1 | 2, Some(name)) => Edit::Upsert { list, entry: sorted(entry(&mut dice, list, &name)) },
                _ => {
                    let name = format!("{} new", dice.name());
                    Edit::Upsert { list, entry: sorted(entry(&mut dice, list, &name)) }
                }
            }
        })
        .collect();
    // Each thing once, and in the order in which the editor adds missing keys: then it does not
    // matter whether edits are made one by one or at once.
    let key = |edit: &Edit| match edit {
        Edit::Upsert { list, entry } => (Some(*list), name_of(entry)),
        Edit::CurrentContext(_) | Edit::Remove { .. } => (None, String::new()),
    };
    let mut kept: Vec<Edit> = vec![];
    for edit in edits {
        if !kept.iter().any(|known| key(known) == key(&edit)) {
            kept.push(edit);
        }
    }
    kept.sort_by_key(|edit| (key(edit).0.is_none(), key(edit).0));
    kept
}

/// Makes an entry like kubemint's: a name and a body, in alphabetical order. With another order, a neighbour would be
/// written in that order too.
fn sorted(mut entry: Value) -> Value {
    let fields = entry.as_object_mut().unwrap();
    fields.retain(|key, _| key != "x-item");
    fields.sort_keys();
    entry
}

/// Returns the text of a file.
fn text(file: &File) -> String {
    file.pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// Makes edits one by one, and checks each; returns nothing if the file was rightly refused.
fn edited(file: &File, edits: &[Edit]) -> Result<Option<File>, String> {
    let mut current = file.clone();
    for edit in edits {
        match follow(&current, edit) {
            Ok(next) => current = next,
            Err(follow::Failure::Refused(_)) if current.open => return Ok(None),
            Err(failure) => return Err(format!("{edit:?}: {failure}\nbefore:\n{}", text(&current))),
        }
    }
    Ok(Some(current))
}

/// Runs a check on many files, in the generator's order.
#[expect(clippy::disallowed_methods, reason = "proptest reads its variable, and tells not whether it was set")]
fn on_many(cases: u32, check: impl Fn(&[u16], &[u16]) -> Result<(), String>) {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let choices = || proptest::collection::vec(any::<u16>(), 0..300);
    let config = ProptestConfig { failure_persistence: None, cases, ..default };
    TestRunner::new(config)
        .run(&(choices(), proptest::collection::vec(any::<u16>(), 0..40)), |(file, edits)| {
            check(&file, &edits).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A YAML reader reads the content that the generator recorded.
#[test]
fn the_generator_knows_its_files() {
    on_many(1_000, |choices, _| {
        let file = file(choices);
        follow::says(&text(&file), &file).map_err(|error| format!("{error}:\n{}", text(&file)))
    });
}

/// `kubectl config view -o json | jq -c` writes no blank after a colon.
#[test]
fn the_current_context_of_compact_json_is_replaced() {
    for value in ["null", "\"\"", "\"old\""] {
        let before = format!("{{\"current-context\":{value},\"users\":null}}");
        let after = edit(before.as_bytes(), &[Edit::CurrentContext("new".to_owned())], &Unranked).unwrap();
        assert_eq!(String::from_utf8(after).unwrap(), "{\"current-context\":\"new\",\"users\":null}");
    }
}

#[test]
fn nothing_but_the_edited_entries_changes() {
    let refused = AtomicUsize::new(0);
    on_many(CASES, |choices, more| {
        let file = file(choices);
        let edits = edits(&file, more);
        let Some(record) = edited(&file, &edits)? else {
            refused.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let after = text(&record);
        let failed = |what: &str, found: &str| {
            Err(format!("{what}; before:\n{}\none by one:\n{after}\nfound:\n{found}", text(&file)))
        };
        // All at once, in any run: the same bytes. Where a comment came to belong to the first of two new
        // entries, or the entry whose style new ones follow was replaced, the same content.
        let replaces = edits.iter().any(|edit| match edit {
            Edit::Upsert { list, entry } => {
                file.entries[position(*list)].iter().any(|known| known["name"] == entry["name"])
            }
            Edit::CurrentContext(_) | Edit::Remove { .. } => false,
        });
        let runs = [(); 2].map(|()| edit(text(&file).as_bytes(), &edits, &Unranked));
        match runs.map(|bytes| bytes.map(|bytes| String::from_utf8(bytes).unwrap())) {
            [Ok(first), Ok(second)] if first != second => return failed("two runs differ", &first),
            [Ok(found), _] if file.comments || replaces => {
                if let Err(error) = follow::says(&found, &record) {
                    return failed(&format!("all at once: {error}"), &found);
                }
            }
            [Ok(found), _] if found != after => return failed("all at once, it is not the same", &found),
            [Err(error), _] => return failed("all at once, it failed", &error.to_string()),
            _ => {}
        }
        // Again: nothing.
        match edit(after.as_bytes(), &edits, &Unranked) {
            Ok(bytes) if bytes == after.as_bytes() => Ok(()),
            Ok(bytes) => failed("the same edits change it again", &String::from_utf8_lossy(&bytes)),
            Err(EditError::Refused(_)) if file.open => Ok(()),
            Err(error) => failed("the same edits fail", &error.to_string()),
        }
    });
    let refused = refused.into_inner();
    assert!(refused < 20 + CASES as usize / 50, "{refused} files were refused");
}

/// kubectl reads several files in one call.
#[test]
fn kubectl_reads_what_was_meant() {
    let choices = std::sync::Mutex::new(vec![]);
    on_many(u32::try_from(JUDGED).unwrap() * 2, |file, edits| {
        choices.lock().unwrap().push((file.to_vec(), edits.to_vec()));
        Ok(())
    });
    let choices = choices.into_inner().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let judged = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while judged.load(Ordering::Relaxed) < JUDGED {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((choices, more)) = choices.get(number) else { return };
                    let before = file(choices);
                    let Some(after) = edited(&before, &edits(&before, more)).unwrap() else { continue };
                    let path = directory.path().join(number.to_string());
                    write(&path, &text(&after));
                    let output = control_plane::kubectl(&path, ["config", "view", "--raw", "-o", "json"]).unwrap();
                    assert!(output.success(), "{}\n{}", output.stderr, text(&after));
                    let view: Value = serde_json::from_str(&output.stdout).unwrap();
                    assert_eq!(view, expected(&after), "{}", text(&after));
                    judged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(judged.into_inner() >= JUDGED);
}

#[expect(clippy::disallowed_methods, reason = "tests write what users write")]
fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Returns what `kubectl config view` prints: sorted by name, without what it does not know.
fn expected(file: &File) -> Value {
    let list = |list: List, known: &[&str]| {
        let entries = &file.entries[position(list)];
        let mut shown: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let mut body = entry[body_key(list)].as_object().unwrap().clone();
                body.retain(|key, _| known.contains(&key.as_str()));
                if let Some(data) = body.get_mut("certificate-authority-data") {
                    *data = data.as_str().unwrap().replace('\n', "").into();
                }
                json!({"name": entry["name"], body_key(list): body})
            })
            .collect();
        shown.sort_by_key(name_of);
        if shown.is_empty() { Value::Null } else { shown.into() }
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": list(List::Clusters, &["certificate-authority-data", "server"]),
        "contexts": list(List::Contexts, &["cluster", "namespace", "user"]),
        "users": list(List::Users, &["token"]),
        "current-context": file.rest.get("current-context").filter(|value| !value.is_null()).unwrap_or(&json!("")),
    })
}
