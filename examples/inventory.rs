//! Lists the grants of an inventory, or all its problems: `cargo run --example inventory clusters.toml`.

use std::path::Path;

use kubemint::inventory::{Color, SourceFile, render};
use kubemint::resolution::{Loading, Setting};

/// Returns a line for each grant.
pub fn grants(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    // Includes would be read here: `Loading::includes` has their patterns.
    let resolution = Loading::start(SourceFile::new(path, text), Setting::default()).finish();
    let inventory =
        resolution.inventory.ok_or_else(|| render(&resolution.problems, &resolution.sources, Color::Never))?;
    let line = |grant: &kubemint::inventory::Grant| format!("{} on {}", grant.profile.name, grant.cluster.name);
    Ok(inventory.grants.iter().map(|grant| line(grant)).collect())
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), String> {
    let path = std::env::args_os().nth(1).unwrap_or_else(|| "clusters.toml".into());
    grants(&std::path::absolute(path).map_err(|error| error.to_string())?)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
