//! Edits of files in the styles that people and tools write.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kubeconfig::Document;

struct Order(&'static [&'static str]);

impl Ranking for Order {
    fn rank(&self, _: List, name: &str) -> Option<usize> {
        self.0.iter().position(|known| *known == name)
    }
}

fn user(name: &str) -> Edit {
    Edit::Upsert { list: List::Users, entry: json!({"name": name, "user": {"token": "t"}}) }
}

fn check(before: &str, edits: &[Edit], expected: &str) {
    let after = edit(before.as_bytes(), edits, &Unranked).unwrap();
    assert_eq!(String::from_utf8(after).unwrap(), expected);
}

fn refuses(before: &str) {
    let error = edit(before.as_bytes(), &[user("b")], &Unranked).unwrap_err();
    assert!(matches!(error, EditError::Refused(_)), "{error}");
    assert!(check_editable(before.as_bytes()).is_err() || !before.contains("users"), "{before:?}");
}

/// A large text is compared in parts; what is inserted right before a list belongs to the one above it.
#[test]
fn a_large_text_is_cut_where_its_lists_begin() {
    let before = "kind: Config\nclusters:\n- name: a\ncontexts: []\nusers:\n- {name: a}\ncurrent-context: a\n";
    let edits = [
        Edit::Remove { list: List::Clusters, name: "a".to_owned() },
        Edit::Upsert { list: List::Clusters, entry: json!({"name": "b", "cluster": {"server": "https://b"}}) },
        Edit::Upsert { list: List::Contexts, entry: json!({"name": "b", "context": {"cluster": "b", "user": "b"}}) },
        user("a"),
        user("b"),
        Edit::CurrentContext("b".to_owned()),
    ];
    let edits: Vec<&Edit> = edits.iter().collect();
    let remaining = remove(before, &edits).unwrap().unwrap();
    let index = index::index(&remaining).unwrap();
    let splices = splice::splices(&remaining, &index, &edits, &Unranked).unwrap();
    let (edited, cuts) = splice::apply_within(&remaining, splices, index.cuts(&remaining)).unwrap();
    let at: Vec<&str> = cuts.iter().map(|cut| edited[*cut..].lines().next().unwrap()).collect();
    assert_eq!(at, ["clusters:", "contexts:", "users:"], "{edited}");
    check::check(check::read(before).unwrap(), (&edited, &cuts), &edits).unwrap();
}

/// Whatever is wrong with a large text is noticed as in a small one.
#[test]
fn a_large_text_that_says_something_else_is_refused() {
    let large = format!("kind: Config\nmine: {}\nclusters: []\nusers: []\n", "x".repeat(1 << 20));
    let cuts = index::index(&large).unwrap().cuts(&large);
    assert_eq!(cuts.len(), 2);
    let said = || check::read(&large).unwrap();
    check::check(said(), (&large, &cuts), &[]).unwrap();
    // Where it is cut does not decide.
    check::check(said(), (&large, &[3, 9]), &[]).unwrap();
    for (from, to, what) in [
        ("kind: Config", "kind: Other", "a root key differs"),
        ("users: []", "users: [{name: a}]", "the entries of `users` differ"),
        ("users: []", "users: [{user: a}]", "entries without a name differ"),
        ("users: []", "users: [", "it cannot be read"),
    ] {
        let other = large.replace(from, to);
        let error = check::check(said(), (&other, &cuts), &[]).unwrap_err();
        assert_eq!(error, EditError::Check(what.to_owned()), "{to}");
    }
}

#[test]
fn what_cannot_be_read_again_is_refused_before_anything_is_minted_for_it() {
    let deep = format!("users:\n- name: a\n  user: {}{}\n", "[".repeat(70), "]".repeat(70));
    refuses(&deep);
    refuses("users:\n- name: a\n  user:\n    x: |+\n      ");
    // A file whose last line belongs to a scalar cannot be continued either.
    refuses("users:\n- name: a\n  user:\r\n    x: |+\n      t\n      u");
}

/// Whether a file can be edited does not depend on whether it was read before.
#[test]
fn what_was_read_whole_need_not_be_read_again() {
    for (text, is_plain) in [
        ("kind: Config\nusers:\n- name: a\n  user: {}\n", true),
        ("apiVersion: v1\nkind: Config\npreferences: {}\nclusters: []\n", true),
        ("apiVersion: v1\nkind: Config\npreferences: {colors: true}\nclusters: []\n", false),
        // It cannot be edited without loss, which has to be known before anything is minted for it.
        ("kind: Config\npreferences: {3600: true}\nusers: []\n", false),
        ("!!bo", false),
        ("kind: Config\nmine: {a: 1}\nusers: []\n", false),
        ("kind: Config\n? [a, b]\n: c\nusers: []\n", false),
        ("kind: Config\npreferences: {[a, b]: c}\nusers: []\n", false),
        ("kind: Config\nx: &x {a: 1}\npreferences: *x\nusers: []\n", false),
        // Not all that can be read as text is text.
        ("kind: Config\ncurrent-context: .inf # the usual one\n", false),
        ("apiVersion: .nan\nkind: Config\nusers: []\n", false),
        ("kind: Config\ncurrent-context: 12\n", false),
    ] {
        let Ok(document) = Document::parse(text) else { continue };
        assert_eq!(document.is_plain(), is_plain, "{text}");
        if is_plain {
            assert_eq!(check_editable(text.as_bytes()), check_editable_once_read(text.as_bytes()), "{text}");
        }
    }
    // Whether these count as read whole is not what matters.
    for text in [
        "kind: Config\nusers:\n- name: .inf\n  user: {}\n",
        "kind: Config\nusers:\n- name: a\n  user: {token: .inf}\n",
        "kind: Config\nusers:\n- name: a\n  user: {username: .nan}\n",
        "kind: Config\ncontexts:\n- name: a\n  context: {cluster: -.inf, user: 0x1}\n",
        "kind: Config\nclusters:\n- name: a\n  cluster: {server: .Inf}\n",
        "kind: Config\nclusters:\n- name: a\n  cluster: {extensions: [{name: .nan, extension: .nan}]}\n",
        "kind: Config\nusers:\n- name: a\n  user: {exec: {env: [{name: .inf, value: .inf}]}}\n",
    ] {
        let Ok(document) = Document::parse(text) else { continue };
        if document.is_plain() {
            assert_eq!(check_editable(text.as_bytes()), check_editable_once_read(text.as_bytes()), "{text}");
        }
    }
}

/// A file without content is an empty kubeconfig for kubectl: comments are kept, and the keys of a new file are added.
#[test]
fn a_file_that_says_nothing_becomes_a_new_one() {
    let new = String::from_utf8(edit(b"", &[user("b")], &Unranked).unwrap()).unwrap();
    for (before, comments) in [
        ("null\n", ""),
        ("~", ""),
        ("---\n", ""),
        ("--- null # mine\n", "# mine\n"),
        ("# a\n\n  # b", "# a\n\n  # b\n"),
        ("---\n# nothing yet\n...\n", "# nothing yet\n"),
    ] {
        check_editable(before.as_bytes()).unwrap();
        check(before, &[user("b")], &format!("{comments}{new}"));
    }
    let windows = String::from_utf8(edit(b"# a\r\n", &[user("b")], &Unranked).unwrap()).unwrap();
    assert_eq!(windows, format!("# a\n{new}").replace('\n', "\r\n"));
    refuses("nul\n");
    refuses("null#\n");
}

/// The parser takes `#` right after a colon for a comment; text that is inserted between the two must not change that.
#[test]
fn a_comment_right_after_a_colon_stays_one() {
    check(
        "{\n  \"a\":#c\n}\n",
        &[user("b")],
        "{\n  \"a\":,\n  \"users\": [{\"name\":\"b\",\"user\":{\"token\":\"t\"}}] #c\n}\n",
    );
}

/// A dash with nothing after it can be the end of an entry, at any depth.
#[test]
fn an_empty_element_at_the_end_of_an_entry_stays_in_it() {
    for rest in ["user:\n  -\n", "user:\n    x:\n      -\n", "user:\n  - - a\n    -\n", "user:\n  -\n  # deeper\n"] {
        let before = format!("users:\n- name: a\n  {rest}");
        check(&before, &[user("b")], &format!("{before}- name: b\n  user:\n    token: t\n"));
        let edits = [user("b"), Edit::Remove { list: List::Users, name: "a".to_owned() }];
        let after = String::from_utf8(edit(before.as_bytes(), &edits, &Unranked).unwrap()).unwrap();
        assert!(!after.contains("deeper") && !after.contains("name: a"), "{after}");
    }
}

/// An anchor on an empty value is the end of the entry that has it.
#[test]
fn an_anchor_on_nothing_stays_where_it_is() {
    check("{a: &x}", &[user("b")], "{a: &x, \"users\": [{\"name\":\"b\",\"user\":{\"token\":\"t\"}}]}");
    let user_b = "- name: b\n  user:\n    token: t\n";
    for before in ["users:\n- name: a\n  user: &x\n", "users:\n- name: a\n  user:\n  - &x\n", "users:\n- &x\n"] {
        check(before, &[user("b")], &format!("{before}{user_b}"));
    }
    refuses("users: &x\n");
    refuses("{users: &x}\n");
    let context = Edit::CurrentContext("b".to_owned());
    assert!(edit(b"current-context: &x\n", &[context], &Unranked).is_err());
}

/// YAML limits the length of keys, and JSON does not.
#[test]
fn an_entry_with_a_key_that_yaml_could_not_read_is_refused() {
    for (length, is_refused) in [(900, false), (1100, true)] {
        let entry = json!({"name": "b", "user": {"token": "t", "x": [{"k".repeat(length): {"a": 1}}]}});
        for before in ["", "users:\n- name: a\n  user: {}\n", "{users: []}\n"] {
            let edits = [Edit::Upsert { list: List::Users, entry: entry.clone() }];
            match edit(before.as_bytes(), &edits, &Unranked) {
                Ok(_) => assert!(!is_refused, "{before}"),
                Err(error) => assert!(is_refused && matches!(error, EditError::Refused(_)), "{before}: {error}"),
            }
        }
    }
}

/// A file counts as empty only if YAML reads nothing in it; other content is not replaced.
#[test]
fn blanks_that_yaml_does_not_know_are_not_an_empty_file() {
    for before in ["\u{b}\n", "\u{a0}\n", "\u{2003}"] {
        let error = edit(before.as_bytes(), &[user("b")], &Unranked).unwrap_err();
        assert!(matches!(error, EditError::Refused(_)), "{before:?}: {error}");
        assert!(check_editable(before.as_bytes()).is_err(), "{before:?}");
    }
}

/// Blank lines can be the text of a scalar, so nothing is inserted between the scalar and them.
#[test]
fn blank_lines_that_a_scalar_keeps_stay_its_text() {
    let before = "users:\n- name: a\n  user:\n    x: |+\n\n\n# end\n";
    let after = "users:\n- name: a\n  user:\n    x: |+\n\n\n- name: b\n  user:\n    token: t\n# end\n";
    check(before, &[user("b")], after);
}

/// JSON allows these characters unescaped; YAML does not, or takes them for line ends.
#[test]
fn characters_that_only_json_allows_are_escaped() {
    let name = "a\u{7f}\u{9b}\u{85}\u{2028}\u{feff}\u{ffff}\u{1}😀";
    for before in ["", "users: [ {name: x} ]\n", "{\"users\":[]}", "users:\n- name: x\n"] {
        let after =
            edit(before.as_bytes(), &[user(name)], &Unranked).unwrap_or_else(|error| panic!("{before}: {error}"));
        let again = edit(&after, &[user(name)], &Unranked).unwrap();
        assert_eq!(again, after, "it is there, and can be edited again");
    }
}

#[test]
fn a_new_file_has_the_keys_that_kubectl_writes() {
    let context = Edit::CurrentContext("a".to_owned());
    check(
        "",
        &[user("a"), context],
        "apiVersion: v1\nclusters: []\ncontexts: []\ncurrent-context: a\nkind: Config\nusers:\n- name: a\n  user:\n    \
         token: t\n",
    );
}

#[test]
fn an_entry_is_replaced_where_it_stands() {
    check(
        "users:\n# first\n- name: a # mine\n  user:\n    token: old # trailing\n# second\n- name: z\n  user: {}\n",
        &[user("a")],
        "users:\n# first\n- name: a\n  user:\n    token: t # trailing\n# second\n- name: z\n  user: {}\n",
    );
}

#[test]
fn the_style_of_the_neighbours_is_followed() {
    check(
        "users:\n  -   user:\n          token: x\n      name: a\nkind: Config\n",
        &[user("b")],
        "users:\n  -   user:\n          token: x\n      name: a\n  -   user:\n          token: t\n      name: b\nkind: Config\n",
    );
}

#[test]
fn line_ends_byte_order_marks_and_a_missing_final_line_end_stay() {
    check(
        "\u{feff}users:\r\n- name: a\r\n  user: {}",
        &[user("b")],
        "\u{feff}users:\r\n- name: a\r\n  user: {}\r\n- name: b\r\n  user:\r\n    token: t",
    );
}

#[test]
fn json_stays_json() {
    check(
        "{\"kind\": \"Config\", \"users\": [{\"name\": \"a\", \"user\": {}}]}",
        &[user("b"), Edit::CurrentContext("c".to_owned())],
        "{\"kind\": \"Config\", \"users\": [{\"name\": \"a\", \"user\": {}}, {\"name\":\"b\",\"user\":{\"token\":\"t\"}}], \
         \"current-context\": \"c\"}",
    );
    check("{}", &[user("b")], "{\"users\": [{\"name\":\"b\",\"user\":{\"token\":\"t\"}}]}");
}

#[test]
fn flow_lists_in_a_block_file_are_edited() {
    check(
        "users: [{name: a, user: {}}] # all\n",
        &[user("b")],
        "users: [{name: a, user: {}}, {\"name\":\"b\",\"user\":{\"token\":\"t\"}}] # all\n",
    );
    check("users: []\nkind: Config\n", &[user("b")], "users:\n- name: b\n  user:\n    token: t\nkind: Config\n");
    check("users:\nkind: Config\n", &[user("b")], "users:\n- name: b\n  user:\n    token: t\nkind: Config\n");
}

#[test]
fn a_missing_key_goes_to_the_end_or_before_the_document_end() {
    check("kind: Config\n", &[user("b")], "kind: Config\nusers:\n- name: b\n  user:\n    token: t\n");
    check("kind: Config\n...\n", &[user("b")], "kind: Config\nusers:\n- name: b\n  user:\n    token: t\n...\n");
}

#[test]
fn nasty_names_are_quoted() {
    let after = edit(b"", &["y", "1e3", "a: b", "#x", "null", "ä"].map(user), &Unranked).unwrap();
    let text = String::from_utf8(after).unwrap();
    for quoted in ["\"y\"", "\"1e3\"", "\"a: b\"", "\"#x\"", "\"null\"", "\"ä\""] {
        assert!(text.contains(&format!("- name: {quoted}\n")), "{text}");
    }
}

#[test]
fn new_entries_take_the_place_of_their_rank() {
    let order = Order(&["a", "b", "c", "d"]);
    let before = "users:\n# other\n- name: x\n  user: {}\n# of b\n- name: b\n  user: {}\n- name: y\n  user: {}\n";
    let after = edit(before.as_bytes(), &[user("d"), user("a"), user("c")], &order).unwrap();
    let text = String::from_utf8(after).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(['-', '#'])).collect();
    assert_eq!(
        lines,
        ["# other", "- name: x", "- name: a", "# of b", "- name: b", "- name: c", "- name: d", "- name: y"]
    );
}

#[test]
fn the_order_of_arrival_does_not_show() {
    let order = Order(&["a", "b", "c", "d"]);
    let write = |batches: &[&[&str]]| {
        batches.iter().fold(vec![], |before, batch| {
            let edits: Vec<Edit> = batch.iter().map(|name| user(name)).collect();
            edit(&before, &edits, &order).unwrap()
        })
    };
    let all = write(&[&["a", "b", "c", "d"]]);
    assert_eq!(write(&[&["c"], &["a", "d"], &["b"]]), all);
    assert_eq!(write(&[&["d"], &["c"], &["b"], &["a"]]), all);
}

#[test]
fn what_kubectl_would_read_differently_is_refused() {
    for before in [
        "users: []\n---\nusers: []\n",
        "users: []\nusers: []\n",
        "- a\n",
        "users: text\n",
        "<<: {}\nusers: []\n",
        "users:\n- &x {name: a}\nother: &y [1]\nclusters: *y\n",
        "users:\n- {name: a, name: c}\n- name: b\n  name: d\n",
        "users:\n- name: b\n- name: b\n",
        "users: []\n# x\u{2028}current-context: z\n",
        "users: []\r",
        "users:\n- name: a\n  user: {token: |\n",
    ] {
        refuses(before);
    }
}

#[test]
fn an_anchor_that_is_used_elsewhere_protects_its_entry() {
    let before = "users:\n- name: b\n  user: &u {token: x}\n- name: c\n  user: *u\n";
    let error = edit(before.as_bytes(), &[user("b")], &Unranked).unwrap_err();
    assert!(error.to_string().contains("anchor"), "{error}");
}

/// One entry, in one of several styles.
fn entry_text(name: &str, style: u8, dash: usize, eol: &str) -> String {
    let indent = " ".repeat(dash);
    let lines = match style % 6 {
        0 => format!("- name: {name}\n  user:\n    token: x\n"),
        1 => format!("- user:\n    token: \"x\" # why\n  name: '{name}'\n"),
        2 => format!("- {{name: {name}, user: {{token: x}}}}\n"),
        3 => format!("# about {name}\n-   name: {name}\n    user:\n        token: >-\n          x\n          y\n"),
        4 => format!("- name: {name}\n\n  user:\n    # inside\n    token: x\n    # after\n"),
        _ => format!("- name: {name}\n  user: {{}}\n  unknown: [1, {{a: b}}]\n"),
    };
    lines.lines().map(|line| if line.is_empty() { eol.to_owned() } else { format!("{indent}{line}{eol}") }).collect()
}

proptest! {
    /// In every style, other entries keep their bytes and their order, and our entries are added and stay.
    #[test]
    fn other_entries_are_never_touched(
        styles in proptest::collection::vec(0_u8..6, 0..6),
        dash in 0_usize..3,
        crlf: bool,
        replaced in proptest::option::of(0_usize..6),
        final_line_end: bool,
    ) {
        let eol = if crlf { "\r\n" } else { "\n" };
        let others: Vec<String> =
            styles.iter().enumerate().map(|(at, style)| entry_text(&format!("e{at}"), *style, dash, eol)).collect();
        let head = format!("# head{eol}kind: Config{eol}users:{eol}");
        let mut before = format!("{head}{}", others.concat());
        if !final_line_end {
            before.truncate(before.trim_end().len());
        }
        let replaced = replaced.filter(|at| *at < others.len());
        let name = replaced.map_or_else(|| "new".to_owned(), |at| format!("e{at}"));
        let edits = [user(&name), Edit::CurrentContext("c".to_owned())];
        let after = match edit(before.as_bytes(), &edits, &Unranked) {
            Ok(after) => String::from_utf8(after).unwrap(),
            // Appending to a block scalar without a final line end would change its value, so it is refused.
            Err(EditError::Refused(_)) if !final_line_end => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let mut rest = after.as_str();
        for (at, other) in others.iter().enumerate() {
            if Some(at) == replaced {
                continue;
            }
            let other = other.trim_end();
            let found = rest.find(other);
            prop_assert!(found.is_some(), "entry {at} changed:\n{before}\n=>\n{after}");
            rest = &rest[found.unwrap() + other.len()..];
        }
        prop_assert!(after.starts_with(&head));
        // Making the same edits again changes nothing.
        let again = edit(after.as_bytes(), &edits, &Unranked).unwrap();
        prop_assert_eq!(String::from_utf8(again).unwrap(), after);
    }
}

fn gone(name: &str) -> Edit {
    Edit::Remove { list: List::Users, name: name.to_owned() }
}

#[test]
fn a_removed_entry_takes_its_own_comments_and_leaves_the_others() {
    let before = "users:\n# first\n- name: a\n  user: {}\n  # of a\n# of b\n- name: b # keep\n  user: {}\n";
    check(before, &[gone("a")], "users:\n# first\n# of b\n- name: b # keep\n  user: {}\n");
    check(before, &[gone("b")], "users:\n# first\n- name: a\n  user: {}\n  # of a\n# of b\n");
    check(before, &[gone("c")], before);
    check("users: # all\n- name: a\nkind: Config\n", &[gone("a")], "users: [] # all\nkind: Config\n");
    check("users:\r\n  - name: a\r\n  - name: b", &[gone("b")], "users:\r\n  - name: a\r\n");
}

#[test]
fn entries_of_flow_lists_go_with_one_comma() {
    let all = "{\"users\": [{\"name\": \"a\"}, {\"name\": \"b\"}, {\"name\": \"c\"}]}";
    check(all, &[gone("a")], "{\"users\": [{\"name\": \"b\"}, {\"name\": \"c\"}]}");
    check(all, &[gone("b")], "{\"users\": [{\"name\": \"a\"}, {\"name\": \"c\"}]}");
    check(all, &[gone("b"), gone("c")], "{\"users\": [{\"name\": \"a\"}]}");
    check(all, &[gone("a"), gone("b"), gone("c")], "{\"users\": []}");
    check("users: [{name: a}, {name: b},]\n", &[gone("a"), gone("b")], "users: []\n");
    let error = edit(b"users: [{name: a}, # of a\n {name: b}]\n", &[gone("b")], &Unranked).unwrap_err();
    assert!(matches!(error, EditError::Refused(_)), "{error}");
}

#[test]
fn a_removal_comes_before_an_addition() {
    check("users:\n- name: a\n  user: {}\n", &[user("b"), gone("a")], "users:\n- name: b\n  user:\n    token: t\n");
    check(
        "{\"users\": [{\"name\": \"a\"}]}",
        &[user("b"), gone("a")],
        "{\"users\": [{\"name\":\"b\",\"user\":{\"token\":\"t\"}}]}",
    );
}

#[test]
fn what_others_refer_to_is_not_removed() {
    let error =
        edit(b"users:\n- name: a\n  user: &u {}\n- name: b\n  user: *u\n", &[gone("a")], &Unranked).unwrap_err();
    assert_eq!(error.to_string(), "it cannot be edited without loss: an anchor in the entry `a` is used elsewhere");
}

#[test]
fn a_value_right_after_its_colon_is_replaced() {
    let context = Edit::CurrentContext("b".to_owned());
    check("{\"current-context\":\"a\"}", std::slice::from_ref(&context), "{\"current-context\":\"b\"}");
    check("current-context:\nkind: Config\n", &[context], "current-context: b\nkind: Config\n");
}

/// Two outputs of one grant in a file, or two profiles of one cluster, bring the same entry at once.
#[test]
fn an_entry_that_comes_twice_is_written_once() {
    let user = |token: &str| Edit::Upsert { list: List::Users, entry: json!({"name": "a", "user": {"token": token}}) };
    for before in ["", "users: []\n", "users:\n- name: a\n  user: {token: old}\n", "{\"users\": []}\n"] {
        let after = edit(before.as_bytes(), &[user("first"), user("last")], &Unranked).unwrap();
        let text = String::from_utf8(after).unwrap();
        assert_eq!(text.matches("last").count(), 1, "{text}");
        assert!(!text.contains("first") && !text.contains("old"), "{text}");
        assert_eq!(Document::parse(&text).unwrap().context_names().count(), 0);
    }
    let remove = || Edit::Remove { list: List::Users, name: "a".to_owned() };
    let after = edit(b"users:\n- name: a\n  user: {}\n", &[remove(), remove()], &Unranked).unwrap();
    assert!(!String::from_utf8(after).unwrap().contains("name"));
}
