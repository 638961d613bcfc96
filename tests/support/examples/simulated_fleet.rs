//! Runs a simulated fleet until stdin ends, and writes its admin kubeconfig.
//!
//! `cargo run --release --example simulated_fleet -- 1000 admin.yaml`
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example of the test kit prints and writes plain files"
)]

use kubemint_testkit::sim::{Fleet, FleetOptions};
use kubemint_testkit::{User, kubeconfig_yaml};
use std::io::Read;
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok());
    let path = arguments.next().unwrap_or_else(|| "admin.yaml".to_owned());
    let start = Instant::now();
    let fleet = Fleet::start(FleetOptions::numbered("sim", count.unwrap_or(3)))?;
    println!("{} clusters after {:?}", fleet.clusters().len(), start.elapsed());
    std::fs::write(&path, kubeconfig_yaml(&fleet.test_clusters(), User::Admin))?;
    println!("{path}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
