//! The role that runs one process and tells what it used.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::ROLE;

/// What a process used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Used {
    /// CPU time in seconds, of the program and of the kernel for it.
    pub(crate) cpu: f64,
    /// Time in seconds.
    pub(crate) wall: f64,
    /// The most memory, in MiB.
    pub(crate) memory: f64,
}

/// Runs the command in the arguments, and prints what it used.
pub(crate) fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).env_remove(ROLE).stdin(Stdio::null()).stdout(Stdio::null());
    if let Ok(role) = std::env::var(OF_CHILD) {
        command.env(ROLE, role);
    }
    let output = command.output().unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| f64::from(u32::try_from(time.num_microseconds()).unwrap()) / 1e6;
    // Linux counts in KiB.
    let memory = f64::from(u32::try_from(usage.max_rss()).unwrap()) / 1024.0;
    let used = Used { cpu: seconds(usage.user_time()) + seconds(usage.system_time()), wall, memory };
    println!("{}", serde_json::to_string(&used).unwrap());
}

/// The role of the process that is measured.
const OF_CHILD: &str = "KUBEMINT_BENCH_ROLE_OF_CHILD";

/// Runs a command in a directory, and returns what it used; `role` is its role if it is this program.
pub(crate) fn measured(directory: &Path, command: &[&str], role: Option<&str>) -> Used {
    let role = role.map(|role| (OF_CHILD, role));
    measured_in(directory, command, role.as_slice())
}

/// Runs a command in a directory and with more in its environment, and returns what it used.
pub(crate) fn measured_in(directory: &Path, command: &[&str], environment: &[(&str, &str)]) -> Used {
    let mut measure = Command::new(std::env::current_exe().unwrap());
    measure.args(command).env(ROLE, "measure").envs(environment.iter().copied());
    let output = measure.current_dir(directory).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
