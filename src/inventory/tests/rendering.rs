//! How problems look.

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
    insta::assert_snapshot!(rendered(&BASE.replacen("'viewer']", "'veiwer']", 1)), @"");
}

#[test]
fn a_second_place_is_shown_too() {
    insta::assert_snapshot!(rendered(&BASE.replacen("'us'", "'eu'", 1)), @"");
}

#[test]
fn places_in_other_files_are_shown_with_their_file() {
    let resolution = load_with(BASE, "[[clusters]]\nname = 'eu'\n");
    insta::assert_snapshot!(render(&resolution.problems, &resolution.sources, Color::Never), @"");
}

#[test]
fn a_message_that_repeats_is_shown_once() {
    let text = BASE.replace("labels = {", "colour = 1\nlabels = {");
    let more = "[[clusters]]\nname = 'c'\ncolour = 1\n[[clusters]]\nname = 'd'\ncolour = 1\n[[clusters]]\nname = 'e'\ncolour = 1\n";
    insta::assert_snapshot!(rendered(&format!("{text}{more}")), @"");
}

#[test]
fn long_lines_are_cut_and_columns_stay_true() {
    let names: Vec<String> = (0..40).map(|index| format!("'role-{index}'")).collect();
    let long = format!("['{}', 'a/b', {}]", names.join("', '").replace("''", "'"), names.join(", "));
    insta::assert_snapshot!(rendered(&BASE.replacen("['edit']", &long.replace("''", "'"), 1)), @"");
    let endless = format!("['a/b', '{}', 'c/d']", "x".repeat(100_000));
    assert!(rendered(&BASE.replacen("['edit']", &endless, 1)).len() < 1_000);
}

#[test]
fn passwords_in_urls_are_masked() {
    let text =
        BASE.replacen("name = 'us'", "name = 'us'\nconsumer = { server = 'https://jo:secret@api.example.com' }", 1);
    insta::assert_snapshot!(rendered(&text), @"");
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
    insta::assert_snapshot!(summarised(&BASE.replacen("'viewer']", "'veiwer']", 1)), @"");
    let text = BASE.replacen("'viewer']", "'veiwer']", 1).replacen("[defaults]", "[defaults]\nconcurency = 0", 1);
    insta::assert_snapshot!(summarised(&text.replacen("'us'", "'eu'", 1)), @"");
    insta::assert_snapshot!(summarised(&BASE.replacen("['deployer', 'viewer']", "['deployer']", 1)), @"");
    assert_eq!(summarised(BASE), "");
}

#[test]
fn colours_are_escape_sequences_around_the_same_text() {
    let resolution = load(&BASE.replacen("'us'", "'eu'", 1));
    let colored = render(&resolution.problems, &resolution.sources, Color::Always);
    assert!(colored.contains("\u{1b}["));
}
