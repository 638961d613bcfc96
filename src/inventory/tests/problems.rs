//! Every problem that an inventory can have, each with its place and hint.

use super::{BASE, check, check_added, check_replaced, load, load_with, summarise};
use crate::inventory::{Environment, Loading, SourceFile, resolve};

#[test]
fn the_base_has_no_problem() {
    check(BASE, &[]);
}

#[test]
fn syntax_errors_are_all_reported_and_nothing_else() {
    check("version = \nname = 'a\n[[grants]]\nprofile = 'x'\n", &["?"]);
}
