//! Whole runs of kubemint on a simulated fleet, beside the least that the same requests cost, a program on client-go and
//! scripts of kubectl: `cargo bench --bench fleet`.
//!
//! Each process has a role of its own: one serves the fleet, one is kubemint, one sends the requests that kubemint sent
//! and does nothing else (the *floor*), and one in between measures what a process used. Runs of kubemint and of the floor
//! alternate, so that what else the machine does hits both. See `docs/performance.md`.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and the environment, and writes plain files")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a bench talks to whoever runs it")]

mod fleet;
mod floor;
mod measure;
mod rivals;
mod workload;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use self::rivals::Rivals;
use self::workload::{Figures, run_all};

/// What a process of this bench does.
const ROLE: &str = "KUBEMINT_BENCH_ROLE";

/// Measures kubemint on a simulated fleet
#[derive(Debug, Parser)]
struct Arguments {
    /// How many clusters, for each size of the fleet
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    clusters: Vec<usize>,
    /// How often each workload runs; figures are medians
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long each simulated server takes to answer, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// How the admins authenticate
    #[arg(long, value_enum, default_value = "p256")]
    admin: Admin,
    /// Where credentials go
    #[arg(long, value_enum, default_value = "per-cluster")]
    outputs: Outputs,
    /// Leave out client-go and kubectl
    #[arg(long)]
    no_rivals: bool,
    /// Another build of kubemint to measure instead
    #[arg(long, default_value = env!("CARGO_BIN_EXE_kubemint"))]
    program: String,
    /// Write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// How the admins authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Admin {
    /// With a token
    Token,
    /// With a certificate whose key is on the curve P-256
    P256,
    /// With a certificate whose key is RSA with 2048 bits; `openssl` makes it
    Rsa,
}

/// Where credentials go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outputs {
    /// Into a file for each cluster
    PerCluster,
    /// Into one file
    Combined,
}

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("fleet") => fleet::serve(),
        Ok("floor") => floor::replay(),
        Ok("measure") => measure::run(),
        _ => bench(&Arguments::parse()),
    }
}

fn bench(arguments: &Arguments) {
    let rivals = (!arguments.no_rivals).then(Rivals::build);
    let mut all: Vec<Figures> = vec![];
    for clusters in &arguments.clusters {
        all.extend(run_all(arguments, *clusters, rivals.as_ref()));
    }
    println!(
        "\n| workload | clusters | CPU ms/cluster | floor | ratio | rival | ratio | requests, connections | rival's | \
         wall s | to rival's | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for figures in &all {
        let optional = |of: Option<f64>| of.map_or_else(|| "-".to_owned(), |of| format!("{of:.2}"));
        let counts = |(requests, connections): (f64, f64)| format!("{requests:.1}, {connections:.1}");
        println!(
            "| {} | {} | {:.2} | {} | {} | {} | {} | {} | {} | {:.3} | {} | {:.0} |",
            figures.workload,
            figures.clusters,
            figures.cpu,
            optional(figures.floor),
            optional(figures.ratio_to_floor),
            optional(figures.rival),
            optional(figures.ratio_to_rival),
            counts((figures.requests, figures.connections)),
            figures.of_rival.map_or_else(|| "-".to_owned(), counts),
            figures.wall,
            optional(figures.wall_to_rival),
            figures.memory,
        );
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    }
}
