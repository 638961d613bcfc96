//! A part whose instructions are counted: see `crate::instructions`.

use super::{BASE, load, summarise};
use crate::instructions::size;

#[test]
#[ignore = "`instructions` runs it"]
fn an_inventory_is_loaded() {
    let cluster = |number: usize| {
        format!(
            "[[clusters]]\nname = 'c{number:05}'\nlabels = {{ env = 'prod' }}\nconsumer.server = 'https://c{number}.example'\n"
        )
    };
    let clusters: String = (0..size()).map(cluster).collect();
    let resolution = load(&format!("{BASE}{clusters}[[outputs]]\npath = 'out/{{cluster}}'\n"));
    assert_eq!(summarise(&resolution), Vec::<String>::new());
    assert_eq!(resolution.inventory.unwrap().clusters.len(), size() + 2);
}
