//! Adds a cluster to a kubeconfig and leaves the rest of it alone: `cargo run --example edit_kubeconfig config`.

use std::path::Path;

use kubemint::kubeconfig::edit::{Edit, List, Unranked, edit};
use kubemint::store::{BreakLock, Manner, Sharing, StoreError, Written, update};
use serde_json::json;

/// Adds the cluster `example`. The file is replaced whole or not at all, under kubectl's lock.
pub fn add_cluster(kubeconfig: &Path) -> Result<Written, StoreError> {
    let entry = json!({ "name": "example", "cluster": { "server": "https://example.com:6443" } });
    let edits = [Edit::Upsert { list: List::Clusters, entry }];
    let manner = Manner { break_lock: BreakLock::Never, sharing: Sharing::Refused };
    update(kubeconfig, manner, |before| edit(before.unwrap_or_default(), &edits, &Unranked))
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), StoreError> {
    let path = std::env::args_os().nth(1).unwrap_or_else(|| "config".into());
    let written = add_cluster(Path::new(&path))?;
    println!("{written:?}");
    Ok(())
}
