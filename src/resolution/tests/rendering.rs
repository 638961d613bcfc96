//! How problems are shown.

use super::{BASE, load, load_with};
use crate::inventory::{Color, render, summary};

fn rendered(text: &str) -> String {
    let resolution = load(text);
    render(&resolution.problems, &resolution.sources, Color::Never)
}

fn summarised(text: &str) -> String {
    let resolution = load(text);
    summary(&resolution.problems, &resolution.sources)
}

#[test]
fn a_problem_shows_place_line_and_hint() {
    insta::assert_snapshot!(rendered(&BASE.replacen("'viewer']", "'veiwer']", 1)), @r"
    error: unknown profile `veiwer`
      --> clusters.toml:16:25
       |
    16 | profiles = ['deployer', 'veiwer']
       |                         ^^^^^^^^
       |
       = hint: did you mean `viewer`?
    ");
}

#[test]
fn a_second_place_is_shown_too() {
    insta::assert_snapshot!(rendered(&BASE.replacen("'us'", "'eu'", 1)), @r"
    error: cluster `eu` is defined twice
      --> clusters.toml:13:8
       |
    13 | name = 'eu'
       |        ^^^^
       |
      ::: clusters.toml:10:8
       |
    10 | name = 'eu'
       |        ---- it is defined here first
    ");
}

#[test]
fn places_in_other_files_are_shown_with_their_file() {
    let resolution = load_with(BASE, "[[clusters]]\nname = 'eu'\n");
    insta::assert_snapshot!(render(&resolution.problems, &resolution.sources, Color::Never), @r"
    error: cluster `eu` is defined twice
      --> clusters.d/a.toml:2:8
       |
     2 | name = 'eu'
       |        ^^^^
       |
      ::: clusters.toml:10:8
       |
    10 | name = 'eu'
       |        ---- it is defined here first
    ");
}

/// Otherwise somebody who may choose the inventory of another user's run could read that user's files.
#[test]
fn lines_of_what_is_no_inventory_are_not_shown() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.c2lnbmF0dXJl";
    for text in [
        token.to_owned(),
        format!("{{\"kind\":\"Config\",\"users\":[{{\"user\":{{\"token\":\"{token}\"}}}}]}}"),
        "root:$6$s3cret:19000:0:99999:7:::\nme:$6$s3cret:19000::::::\n".to_owned(),
        "[default]\naws_secret_access_key = s3cret\n".to_owned(),
        "key = \"s3cret\"\n".to_owned(),
        "clusters = \"s3cret\"\n".to_owned(),
        "name = \"s3cret!\"\n".to_owned(),
        "[outputs]\npath = \"s3cret\"\n".to_owned(),
    ] {
        let included = load_with(BASE, &text);
        let included = render(&included.problems, &included.sources, Color::Never);
        for (shown, file) in [(rendered(&text), "clusters.toml:"), (included, "clusters.d/a.toml:")] {
            assert!(!shown.contains("s3cret") && !shown.contains("eyJ"), "{shown}");
            assert!(shown.contains(file) && shown.contains("does not look like an inventory"), "{shown}");
        }
    }
}

#[test]
fn secrets_in_an_inventory_are_not_shown() {
    insta::assert_snapshot!(rendered(&BASE.replacen("name = 'us'", "name = 'us'\npassword = 'hunter2'", 1)), @r"
    error: unknown key `password` in a cluster
      --> clusters.toml:14:1
       |
    14 | password = '*******'
       | ^^^^^^^^
       |
       = hint: known keys: `name`, `labels`, `namespace`, `create-namespaces`, `admin`, `allow-insecure`, `consumer`
    ");
}

#[test]
fn a_message_that_repeats_is_shown_once() {
    let text = BASE.replace("labels = {", "colour = 1\nlabels = {");
    let more = "[[clusters]]\nname = 'c'\ncolour = 1\n[[clusters]]\nname = 'd'\ncolour = 1\n[[clusters]]\nname = 'e'\ncolour = 1\n";
    insta::assert_snapshot!(rendered(&format!("{text}{more}")), @r"
    error: unknown key `colour` in a cluster
      --> clusters.toml:11:1
       |
    11 | colour = 1
       | ^^^^^^
       |
       = note: also at clusters.toml:15:1, clusters.toml:24:1, clusters.toml:27:1 and 1 more place
       = hint: known keys: `name`, `labels`, `namespace`, `create-namespaces`, `admin`, `allow-insecure`, `consumer`
    ");
}

#[test]
fn long_lines_are_cut_and_columns_stay_true() {
    let names: Vec<String> = (0..40).map(|index| format!("'role-{index}'")).collect();
    let long = format!("[{}, 'a/b', {}]", names.join(", "), names.join(", "));
    insta::assert_snapshot!(rendered(&BASE.replacen("['edit']", &long, 1)), @r"
    error: ClusterRole name `a/b` is not valid: it must not contain `/` or `%`
     --> clusters.toml:6:448
      |
    6 | ...le-35', 'role-36', 'role-37', 'role-38', 'role-39', 'a/b', 'role-0', 'role-1', 'role-2', 'role-3', 'role-4', '...
      |                                                        ^^^^^
    ");
    let endless = format!("['a/b', '{}', 'c/d']", "x".repeat(100_000));
    assert!(rendered(&BASE.replacen("['edit']", &endless, 1)).len() < 1_000);
}

#[test]
fn passwords_in_urls_are_masked() {
    let text =
        BASE.replacen("name = 'us'", "name = 'us'\nconsumer = { server = 'https://jo:secret@api.example.com' }", 1);
    insta::assert_snapshot!(rendered(&text), @r"
    error: `server` is not valid: it must not contain a user or password
      --> clusters.toml:14:23
       |
    14 | consumer = { server = 'https://*********@api.example.com' }
       |                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn odd_bytes_do_not_break_the_picture() {
    for text in ["", "\u{feff}version = 2\r\n", "\r\n\r\nversion = 2\tx\u{7f}\r\n", "a = '\u{202e}é\u{1f600}' x", "é"]
    {
        let resolution = load(text);
        for color in [Color::Always, Color::Never] {
            assert!(!render(&resolution.problems, &resolution.sources, color).is_empty());
        }
    }
}

#[test]
fn the_summary_has_one_line_for_each_problem() {
    insta::assert_snapshot!(summarised(&BASE.replacen("'viewer']", "'veiwer']", 1)), @r"
    error: invalid inventory `clusters.toml`: 1 problem
      clusters.toml:16:25: unknown profile `veiwer`

    hint: did you mean `viewer`?
    ");
    let text = BASE.replacen("'viewer']", "'veiwer']", 1).replacen("[defaults]", "[defaults]\nconcurency = 0", 1);
    insta::assert_snapshot!(summarised(&text.replacen("'us'", "'eu'", 1)), @r"
    error: invalid inventory `clusters.toml`: 4 problems
      clusters.toml:4:1: unknown key `concurency` in `defaults` (did you mean `concurrency`?)
      clusters.toml:4:14: `concurrency` must be between 1 and 4096, not 0
      clusters.toml:14:8: cluster `eu` is defined twice
      clusters.toml:17:25: unknown profile `veiwer` (did you mean `viewer`?)
    ");
    insta::assert_snapshot!(summarised(&BASE.replacen("['deployer', 'viewer']", "['deployer']", 1)), @r"
    warning: inventory `clusters.toml`: 1 warning
      clusters.toml:7:11: no grant uses profile `viewer`
    ");
    assert_eq!(summarised(BASE), "");
}

#[test]
fn colours_are_escape_sequences_around_the_same_text() {
    let resolution = load(&BASE.replacen("'us'", "'eu'", 1));
    let colored = render(&resolution.problems, &resolution.sources, Color::Always);
    assert!(colored.contains("\u{1b}["));
}
