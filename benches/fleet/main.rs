//! Whole runs of kubemint on a simulated fleet, beside the least that the same requests cost: `cargo bench --bench fleet`.
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
mod workload;

use std::path::PathBuf;

use clap::Parser;

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
    /// Write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
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
    let mut all: Vec<Figures> = vec![];
    for clusters in &arguments.clusters {
        all.extend(run_all(*clusters, arguments.runs, arguments.latency));
    }
    println!("\n| workload | clusters | CPU ms/cluster | floor | ratio | requests | connections | wall s | MiB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for Figures { workload, clusters, cpu, floor, ratio, requests, connections, wall, memory } in &all {
        let [floor, ratio] = [floor, ratio].map(|of| of.map_or_else(|| "-".to_owned(), |of| format!("{of:.2}")));
        println!(
            "| {workload} | {clusters} | {cpu:.2} | {floor} | {ratio} | {requests:.1} | {connections:.1} | {wall:.2} | \
             {memory:.0} |"
        );
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    }
}
