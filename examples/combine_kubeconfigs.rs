//! Combines kubeconfigs, and says what collides: `cargo run --example combine_kubeconfigs one.yaml two.yaml`.

use std::error::Error;
use std::path::PathBuf;

use kubemint::kubeconfig::combine::{CombineOptions, Input, OnCollision, combine};
use kubemint::kubeconfig::edit::{Unranked, edit};

/// Returns one kubeconfig with the entries of all; `now` tells which credentials have expired.
pub fn combined(paths: &[PathBuf], now: jiff::Timestamp) -> Result<Vec<u8>, Box<dyn Error>> {
    let read = |path: &PathBuf| -> Result<Input, Box<dyn Error>> {
        Ok(Input::parse(path.display().to_string(), path, &std::fs::read(path)?)?)
    };
    let inputs: Vec<Input> = paths.iter().map(read).collect::<Result<_, _>>()?;
    let options = CombineOptions::new(OnCollision::Error);
    let combined = combine(&inputs, None, &options, now, &|path| std::fs::read(path).ok());
    match combined.collisions.first() {
        Some(collision) => Err(format!("{} `{}` comes twice", collision.list.key(), collision.name).into()),
        None => Ok(edit(b"", &combined.edits, &Unranked)?),
    }
}

#[expect(clippy::disallowed_methods, reason = "an example reads the clock where it needs it")]
fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    std::io::Write::write_all(&mut std::io::stdout(), &combined(&paths, jiff::Timestamp::now())?)?;
    Ok(())
}
