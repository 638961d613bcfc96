//! How many instructions the pure parts need, for many clusters and for ten times as many, compared with what is recorded: more
//! than the recorded number, or more than ten times as many for ten times as many clusters, is a failure.
//!
//! Callgrind counts the instructions of tests that are ignored otherwise; each is a part, and takes its size from
//! [`SIZE`]. `.ci/run` runs this in a step of its own, with optimisation: without, it takes a quarter of an hour.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// How many clusters a part has to do with.
pub(crate) const SIZE: &str = "KUBEMINT_SIZE";
/// Records what is counted, instead of comparing it.
const RECORD: &str = "KUBEMINT_RECORD_INSTRUCTIONS";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/instructions/recorded.json");

/// The parts, by the paths of their tests, and for how many clusters they are counted. Reading YAML takes minutes under
/// callgrind.
const PARTS: [(&str, [usize; 2]); 6] = [
    ("resolution::tests::large::an_inventory_is_loaded", [1_000, 10_000]),
    ("plan::tests::large::a_fleet_is_planned", [1_000, 10_000]),
    ("kubeconfig::large::credentials_are_merged_into_a_file", [200, 2_000]),
    ("kubeconfig::large::files_are_combined", [200, 2_000]),
    ("report::tests::large::a_plan_is_rendered", [1_000, 10_000]),
    ("report::tests::large::a_status_is_rendered", [1_000, 10_000]),
];

/// Other processors, compilers and libraries change the numbers, and hash maps are seeded anew each time.
const TOLERANCE: f64 = 1.25;
/// Sorting and trees of ten times the size need a little more than ten times as much.
const MOST_GROWTH: f64 = 11.5;

/// Returns the size that a part is run with.
#[expect(clippy::disallowed_methods, reason = "tests are told in the environment")]
pub(crate) fn size() -> usize {
    let size = std::env::var(SIZE).unwrap_or_else(|_| panic!("`{SIZE}` says how large it is"));
    size.parse().unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are smaller than 2^52")]
#[expect(clippy::disallowed_methods, reason = "tests read and write plain files, and are told in the environment")]
#[test]
#[ignore = "it needs valgrind and some minutes; `.ci/run` runs it"]
fn no_part_needs_more_instructions_than_recorded() {
    let counted: BTreeMap<&str, Vec<u64>> = PARTS.map(|(part, sizes)| (part, count(part, sizes))).into();
    if std::env::var_os(RECORD).is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&counted).unwrap() + "\n").unwrap();
    }
    let recorded = std::fs::read_to_string(FILE).unwrap();
    let recorded: BTreeMap<String, Vec<u64>> = serde_json::from_str(&recorded).unwrap();
    let mut problems = vec![];
    for (part, sizes) in PARTS {
        let counts = &counted[part];
        println!("{part}: {counts:?}, recorded {:?}", recorded.get(part));
        let growth = counts[1] as f64 / counts[0] as f64;
        if growth > MOST_GROWTH {
            problems.push(format!("{part}: ten times as many clusters need {growth:.1} times as much"));
        }
        for ((size, count), recorded) in sizes.iter().zip(counts).zip(&recorded[part]) {
            let ratio = *count as f64 / *recorded as f64;
            if ratio > TOLERANCE {
                problems.push(format!("{part} of {size}: {ratio:.2} times the recorded instructions"));
            }
        }
    }
    assert!(problems.is_empty(), "{}\n`{RECORD}=1` records what is meant to be", problems.join("\n"));
}

/// Counts the instructions of a part, for each size.
fn count(part: &str, sizes: [usize; 2]) -> Vec<u64> {
    let start = |size: usize| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", part, "--test-threads", "1"]);
        valgrind.env(SIZE, size.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
        valgrind.spawn().expect("valgrind counts instructions")
    };
    let began = std::time::Instant::now();
    let counts = sizes.map(start).map(|running| {
        let output = running.wait_with_output().unwrap();
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{part}: {said}{log}");
        let collected = log.lines().find_map(|line| line.split_once("Collected : "));
        collected.unwrap_or_else(|| panic!("{log}")).1.trim().parse().unwrap()
    });
    println!("{part}: counted in {:.0} s", began.elapsed().as_secs_f64());
    counts.to_vec()
}
