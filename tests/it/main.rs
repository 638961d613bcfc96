//! The integration tests, in one binary, because linking costs more than compiling.
//!
//! `scenarios` holds what must hold on any cluster; `simulated` runs it on the simulated fleet and
//! `real` on a real control plane. Start with `scenarios`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod ailing;
mod alone;
mod apart;
mod api;
mod browser;
mod cli;
mod clients;
mod consumers;
mod damaged;
mod dead;
mod delivering;
mod discovering;
mod doctor;
mod editing;
mod errors;
mod examples;
mod faults;
mod hostile;
mod hubs;
mod jobs;
mod judged;
mod leaks;
mod leasing;
mod life;
mod merging;
mod parity;
mod plugin;
mod policing;
mod pruning;
mod races;
mod readme;
mod real;
mod registering;
mod reports;
mod requests;
mod reviewed;
mod revoking;
mod rollouts;
mod rotation;
mod scenarios;
mod sharding;
mod simulated;
mod storing;
mod support;
mod tidy;
mod timeboxed;
mod trail;
mod trusting;
mod verifying;
mod warned;
mod watching;
