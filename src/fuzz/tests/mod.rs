//! Feeds the targets: with their seeds as they are, then with what a mutator makes of them, for a while.
//!
//! `cargo test` spends a second on each target, `KUBEMINT_FUZZ_SECONDS` another time; `KUBEMINT_FUZZ_SEED` makes other
//! inputs. There is no guidance by coverage; what a target reads is kept and mutated further, so that inputs move away
//! from the seeds without losing their form. Start with [`drive`].

mod mutation;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{TARGETS, Target};
use mutation::Mutator;

/// What a target may take for one input; it is measured again before it counts, because machines are busy. Code that is
/// not optimised takes several times as long.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 4 } else { 1 });
/// What takes that long never ends: it would keep the tests from ending too.
const HANGS: Duration = Duration::from_secs(60);
/// The most memory that the process may ever use in a run that only fuzzes, in kB.
const LARGEST_PEAK: u64 = 1024 * 1024;
/// How many inputs are kept to be mutated further, beside the seeds.
const MOST_KEPT: usize = 500;

/// One test for each target, so that they run side by side and one can be chosen.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let target = TARGETS.iter().find(|target| target.name == stringify!($name)).unwrap();
            drive(target);
        })*

        #[test]
        fn every_target_is_driven_and_has_seeds() {
            let driven = BTreeSet::from([$(stringify!($name)),*]);
            assert_eq!(driven, TARGETS.iter().map(|target| target.name).collect());
            let seeds = std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name());
            let seeds: BTreeSet<String> = seeds.map(|name| name.into_string().unwrap()).collect();
            assert_eq!(driven, seeds.iter().map(String::as_str).collect());
        }
    };
}
targets!(
    admin_kubeconfig,
    api_answer,
    api_error,
    claims,
    doctor,
    exec_cache,
    exec_credential,
    foreign,
    index,
    inventory,
    kubeconfig_combine,
    kubeconfig_edit,
    kubeconfig_merge,
    kubeconfig_read,
    selector,
    template,
);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Replays the seeds of a target, then mutates them until the time is over.
///
/// # Panics
///
/// If an input fails; it is then among the seeds, and every run replays it.
fn drive(target: &Target) {
    let directory = corpus().join(target.name);
    let seeds = seeds(&directory);
    let seconds = variable("KUBEMINT_FUZZ_SECONDS");
    let time = Duration::from_secs(seconds.unwrap_or(1));
    let runs = Runs::start(target, directory, seconds.is_some());
    let (mut kept, mut refused) = (vec![], 0);
    for seed in &seeds {
        if runs.check(seed) { kept.push(seed.clone()) } else { refused += 1 }
    }
    assert!(!kept.is_empty() && refused > 0, "{}: some seeds are what it reads, and some are not", target.name);
    let first = kept.len();
    let mut mutator = Mutator::new(variable("KUBEMINT_FUZZ_SEED").unwrap_or(0), &seeds);
    let start = Instant::now();
    let mut read = 0_u64;
    while start.elapsed() < time {
        let input = mutator.mutate(&seeds, &kept);
        if runs.check(&input) {
            read += 1;
            if kept.len() < MOST_KEPT {
                kept.push(input);
            } else {
                let place = mutator.below(MOST_KEPT - first) + first;
                kept[place] = input;
            }
        }
    }
    let count = runs.count.load(Ordering::Relaxed);
    println!("{}: {count} inputs in {:?}, {read} of them read", target.name, start.elapsed());
}

/// Reads a number of the environment.
#[expect(clippy::disallowed_methods, reason = "only tests read it")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Returns the seeds in the order of their names, so that a run is like the last.
fn seeds(directory: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The runs of one target, with what is needed to tell which input failed.
struct Runs<'a> {
    target: &'a Target,
    /// Where an input that fails is kept.
    directory: PathBuf,
    /// Holds the input that is being run: a stack that overflows, or a hang, ends the process.
    last: File,
    count: std::sync::Arc<AtomicU64>,
    /// Ends the watcher when it is dropped.
    _watched: mpsc::Sender<()>,
    is_alone: bool,
}

impl<'a> Runs<'a> {
    fn start(target: &'a Target, directory: PathBuf, is_alone: bool) -> Self {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join(format!("{}.last", target.name));
        let last = File::create(&path).unwrap();
        let count = std::sync::Arc::new(AtomicU64::new(0));
        let (watched, ended) = mpsc::channel::<()>();
        let counted = std::sync::Arc::clone(&count);
        std::thread::spawn(move || {
            let mut before = None;
            while ended.recv_timeout(HANGS) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = counted.load(Ordering::Relaxed);
                if before.replace(now) == Some(now) {
                    eprintln!("an input takes longer than {HANGS:?}: {}", path.display());
                    std::process::abort();
                }
            }
        });
        Self { target, directory, last, count, _watched: watched, is_alone }
    }

    /// Runs one input, and returns whether it was read.
    #[track_caller]
    fn check(&self, input: &[u8]) -> bool {
        self.last.set_len(0).unwrap();
        self.last.write_all_at(input, 0).unwrap();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        let Ok(read) = outcome else { self.fail(input, "it panics") };
        if start.elapsed() > LONGEST {
            let again = (0..3).map(|_| {
                let start = Instant::now();
                (self.target.run)(input);
                start.elapsed()
            });
            let shortest = again.min().unwrap();
            if shortest > LONGEST {
                self.fail(input, &format!("it takes {shortest:?}"));
            }
        }
        if self.is_alone && number.is_multiple_of(256) && peak_memory() > LARGEST_PEAK {
            self.fail(input, &format!("the process used {} MiB, perhaps for this input", peak_memory() / 1024));
        }
        read
    }

    /// Keeps an input that fails where the next run finds it.
    #[expect(clippy::disallowed_methods, reason = "a test keeps what it found")]
    fn fail(&self, input: &[u8], what: &str) -> ! {
        let path = self.directory.join(format!("found-{:08x}", super::choice(input)));
        std::fs::write(&path, input).unwrap();
        panic!("{}: {what}; the input is kept in {}, and every run replays it", self.target.name, path.display());
    }
}

/// Returns the most memory that the process has used, in kB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.unwrap_or(0)
}

/// The driver finds a fault that no seed has, keeps the input, and would replay it.
#[test]
fn a_fault_is_found_and_its_input_is_kept() {
    fn faulty(data: &[u8]) -> bool {
        let depth = String::from_utf8_lossy(data).matches('[').count();
        assert!(depth < 4, "too deep");
        depth > 0
    }
    let target = Target { name: "faulty", run: faulty };
    let directory = tempfile::tempdir().unwrap();
    let seeds = [b"x: [a]\n".to_vec(), b"y: b\n".to_vec()];
    let runs = Runs::start(&target, directory.path().to_owned(), false);
    let failed = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut mutator = Mutator::new(0, &seeds);
        for _ in 0..100_000 {
            runs.check(&mutator.mutate(&seeds, &[]));
        }
    }));
    let failed = failed.unwrap_err();
    assert!(failed.downcast_ref::<String>().unwrap().contains("it panics"));
    let kept = self::seeds(directory.path());
    assert!(std::panic::catch_unwind(|| faulty(&kept[0])).is_err(), "it can be replayed");
}
