//! Runs real clusters until stdin ends, and writes their admin kubeconfig.
//!
//! `cargo run -p kubemint-testkit --example control_plane -- 3 admin.yaml`; a second number is how many more there are of
//! the oldest Kubernetes.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example of the test kit prints and writes plain files"
)]

use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane, Kubernetes, kubectl_path};
use kubemint_testkit::{User, kubeconfig_yaml};
use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let path = arguments.next().unwrap_or_else(|| "admin.yaml".to_owned());
    let oldest: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let clusters = (1..=count)
        .map(|number| ClusterOptions::named(format!("real-{number}")))
        .chain((1..=oldest).map(|number| ClusterOptions {
            kubernetes: Kubernetes::Oldest,
            ..ClusterOptions::named(format!("oldest-{number}"))
        }))
        .collect();
    let Some(plane) = ControlPlane::start(clusters) else { return Ok(()) };
    std::fs::write(&path, kubeconfig_yaml(&plane.test_clusters(), User::Admin))?;
    println!("{} clusters; admin kubeconfig {path}; kubectl {}", count + oldest, kubectl_path()?.display());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
