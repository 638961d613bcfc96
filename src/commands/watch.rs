//! `kubemint refresh --watch`: sleeps until something is due, renews it, and repeats this until it is stopped.
//!
//! Each cluster has a time for the next look: when a credential is due or a superseded one can be retired, after a
//! backoff if something failed, and at least once an hour.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::environment::wall_clock;
use super::load::{Answers, Loaded};
use super::refresh::{Pass, check_metrics_file, refresh, show, write_metrics};
use super::session::{block_on, interruptible};
use super::turn::{Place, Turn, take_turns};
use super::{CommandContext, load};
use crate::calendar::later;
use crate::cli::{RefreshArgs, SelectionArgs};
use crate::cluster::Insecure;
use crate::cluster::lease::Lease;
use crate::error::Error;
use crate::executor::Cancellation;
use crate::exit_code::ExitCode;
use crate::fleet::{Visits, select};
use crate::foreign::shown;
use crate::inventory::AdminAccess;
use crate::monitor::{Health, Metrics, serve};
use crate::names::{ClusterName, LeaseName, short_hash};
use crate::outcome::NotStarted;
use crate::output::{ProgressStyle, render_error};
use crate::report::{ClusterReport, State};

/// A cluster is looked at this often even if nothing is due: somebody may have deleted an anchor.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// The shortest wait, so that a cluster that always needs something does not cause a busy loop.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_secs(5);
/// The wait after a failure, which doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(15);
/// Work that falls due within this time is done in one run, because each run reads the output files.
const TOGETHER: SignedDuration = SignedDuration::from_secs(5);
/// How often the sources of clusters are asked.
const DISCOVER_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// How often the inventory's files are checked for changes.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

/// Refreshes until it is stopped.
pub(super) fn run(context: &CommandContext<'_>, args: &RefreshArgs) -> Result<ExitCode, Error> {
    // The steps of each cluster are not shown: one line for each in every run would hide what matters.
    // A source that once did not answer says nothing about the end.
    let is_undiscovered = &AtomicBool::new(false);
    let context = CommandContext { progress: ProgressStyle::Silent, is_undiscovered, ..*context };
    block_on(async {
        let cannot =
            |error: std::io::Error| Error::new(ExitCode::Internal, "cannot handle SIGHUP").because(error.to_string());
        // This comes before reading the inventory, so that a signal after a later change is not missed.
        let hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        let mut answers = Answers::default();
        let loaded = load::load_again(&context, args.holder.as_deref(), &mut answers).await?;
        check_metrics_file(&context, args, &loaded)?;
        let cancellation = Cancellation::default();
        let work = Box::pin(watch(&context, args, (loaded, answers), hangup, &cancellation));
        interruptible(&context, &cancellation, work).await
    })??;
    Ok(ExitCode::Done)
}

async fn watch(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    (loaded, answers): (Loaded, Answers),
    hangup: Signal,
    cancellation: &Cancellation,
) -> Result<(), Error> {
    let health = Arc::new(Health { metrics: Metrics::new(), is_ready: AtomicBool::new(false), now: wall_clock });
    let stop = CancellationToken::new();
    let server = match args.listen {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Error::new(ExitCode::Usage, format!("cannot listen on `{address}`")).because(error.to_string())
            })?;
            let bound = listener.local_addr().map_or(address, |bound| bound);
            context.printer.remark(&format!("listening on http://{bound}\n"));
            if !bound.ip().is_loopback() {
                context.printer.problem(&format!(
                    "warning: whoever reaches `{bound}` can read the metrics, which name clusters and profiles: nobody \
                     is asked who they are\n"
                ));
            }
            Some(serve(listener, Arc::clone(&health), stop.clone()))
        }
    };
    health.metrics.reload_failed(!loaded.inventory.undiscovered.is_empty());
    // It is a separate task, so that it responds while files are read or waited for here.
    let mut serving = JoinSet::new();
    if let Some(server) = server {
        serving.spawn(server);
    }
    // Without a Lease it is always this watcher's turn.
    let (said, turn) = channel(if args.lease.is_some() { Turn::Unasked } else { Turn::Mine });
    if let Some(name) = &args.lease {
        let (lease, place) = shared(context, args, name, &loaded)?;
        serving.spawn(take_turns(lease, place, said, stop.clone()));
    }
    for path in loaded.files.iter().filter(|path| is_mounted_alone(path)) {
        context.printer.problem(&format!(
            "warning: `{}` is mounted by itself (`subPath`), so a later version of it is not seen here; mount the \
             directory that holds it\n",
            path.display()
        ));
    }
    let watch = Watch {
        context,
        args,
        health: &health,
        files: Files::of(&loaded),
        loaded,
        answers,
        wake: BTreeMap::new(),
        failures: HashMap::new(),
        not_before: wall_clock(),
        discovered: wall_clock(),
        turn,
        told: Turn::Unasked,
    };
    let result = watch.run(hangup, cancellation).await;
    stop.cancel();
    // Requests that are being answered are finished.
    while serving.join_next().await.is_some() {}
    result
}

/// Returns the Lease that several watchers share, and where it is.
///
/// # Errors
///
/// If the cluster that it is in is not in the inventory.
fn shared(
    context: &CommandContext<'_>,
    args: &RefreshArgs,
    name: &LeaseName,
    loaded: &Loaded,
) -> Result<(Lease, Place), Error> {
    let (access, allow_insecure) = match &args.lease_cluster {
        None => (AdminAccess::InCluster, false),
        Some(wanted) => {
            let found = loaded.inventory.clusters.iter().find(|cluster| cluster.name.as_str() == wanted);
            let cluster = found.ok_or_else(|| Error::usage(format!("unknown cluster `{}`", shown(wanted))))?;
            (cluster.admin.clone(), cluster.allow_insecure)
        }
    };
    // A pod's name is that of its host. Two watchers may run on one machine.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("{host}_{}", context.environment.run);
    let insecure = if allow_insecure { Insecure::Allowed } else { Insecure::Refused };
    let place = Place { access, insecure, environment: context.environment.admin.clone() };
    Ok((Lease::new(name.clone(), holder), place))
}

/// When the clusters of a reloaded inventory are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// All at once.
    Now,
    /// As before, if nothing changed.
    AsBefore,
}

struct Watch<'a> {
    context: &'a CommandContext<'a>,
    args: &'a RefreshArgs,
    health: &'a Health,
    loaded: Loaded,
    answers: Answers,
    files: Files,
    /// When each selected cluster is next looked at, by this machine's clock.
    wake: BTreeMap<ClusterName, Timestamp>,
    /// How often in a row each cluster failed.
    failures: HashMap<ClusterName, u32>,
    /// The next run starts no earlier than this, however often a signal asks for one.
    not_before: Timestamp,
    /// When the sources of clusters were asked last.
    discovered: Timestamp,
    /// Whether this watcher works, or another one.
    turn: Receiver<Turn>,
    /// What was said of that last.
    told: Turn,
}

impl Watch<'_> {
    async fn run(mut self, mut hangup: Signal, cancellation: &Cancellation) -> Result<(), Error> {
        let mut look = tokio::time::interval(LOOK_AT_FILES);
        self.select(Due::Now)?;
        while !cancellation.no_new.is_cancelled() {
            let is_to_work = self.is_to_work();
            if is_to_work {
                self.pass(cancellation).await;
            }
            loop {
                let now = wall_clock();
                let due = self.wake.values().min().copied().filter(|_| is_to_work);
                let next = due.unwrap_or(later(now, LONGEST_WAIT)).max(self.not_before);
                if next <= now || is_beyond(next, now) {
                    break;
                }
                // Timers stand still while the machine is suspended. So the time is read again at each check of the
                // files, every few seconds.
                let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    Ok(()) = self.turn.changed() => break,
                    _ = hangup.recv() => self.reload(Due::Now, cancellation).await,
                    _ = look.tick() => if self.files.have_changed() {
                        self.reload(Due::Now, cancellation).await;
                    } else if self.is_to_discover() {
                        self.reload(Due::AsBefore, cancellation).await;
                    },
                    () = cancellation.no_new.cancelled() => return Ok(()),
                }
                if cancellation.no_new.is_cancelled() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether it is this watcher's turn. What changed about that is said.
    fn is_to_work(&mut self) -> bool {
        let turn = self.turn.borrow_and_update().clone();
        let is_news = std::mem::replace(&mut self.told, turn.clone()) != turn;
        let Some(name) = self.args.lease.as_ref().filter(|_| is_news) else { return turn.is_to_work() };
        let printer = self.context.printer;
        match &turn {
            Turn::Unasked => {}
            Turn::Mine => printer.remark(&format!("{name} is held here: this watcher works\n")),
            Turn::Of(holder) => {
                let holder = if holder.is_empty() { "another watcher" } else { holder };
                printer.remark(&format!("{name} is held by {}: this watcher waits\n", shown(holder)));
                self.health.is_ready.store(true, Ordering::Release);
            }
            Turn::Unknown(why) => printer
                .problem(&format!("warning: who holds {name} is not known, so this watcher works: {}\n", shown(why))),
        }
        self.health.metrics.waits_for_lease(matches!(turn, Turn::Of(_)));
        turn.is_to_work()
    }

    /// Finds the clusters of the inventory; those that are new are due at once.
    fn select(&mut self, due: Due) -> Result<(), Error> {
        let now = wall_clock();
        let selected = select(&self.loaded.inventory, &(&self.args.selection).into(), Visits::Granted)?;
        let before = match due {
            Due::Now => BTreeMap::new(),
            Due::AsBefore => std::mem::take(&mut self.wake),
        };
        let wake = |name: &ClusterName| before.get(name).copied().unwrap_or(now);
        self.wake = selected
            .into_iter()
            .map(|selected| (selected.cluster.name.clone(), wake(&selected.cluster.name)))
            .collect();
        self.failures.retain(|cluster, _| self.wake.contains_key(cluster));
        let grants = &self.loaded.inventory.grants;
        let live: HashSet<(&str, &str)> =
            grants.iter().map(|grant| (grant.cluster.name.as_str(), grant.profile.name.as_str())).collect();
        self.health.metrics.keep(|cluster, profile| live.contains(&(cluster.as_str(), profile.as_str())));
        Ok(())
    }

    /// Whether the sources of clusters are to be asked again.
    fn is_to_discover(&self) -> bool {
        let is_live = self.loaded.inventory.discoveries.iter().any(|discovery| !discovery.is_frozen);
        let now = wall_clock();
        is_live && (later(self.discovered, DISCOVER_AGAIN) <= now || is_beyond(self.discovered, now))
    }

    /// Loads the inventory again. If it is broken, this is reported, and the previous one stays in use. An interruption ends
    /// it: a source may take long to answer.
    async fn reload(&mut self, due: Due, cancellation: &Cancellation) {
        let before = self.loaded.clone();
        let loading = load::load_again(self.context, self.args.holder.as_deref(), &mut self.answers);
        let Some(loaded) = cancellation.no_new.run_until_cancelled(loading).await else { return };
        self.discovered = wall_clock();
        let is_changed = loaded.as_ref().is_ok_and(|loaded| loaded.digest != before.digest);
        let result = loaded.and_then(|loaded| {
            self.loaded = loaded;
            self.select(if is_changed { Due::Now } else { due })
        });
        let is_incomplete = !self.loaded.inventory.undiscovered.is_empty();
        self.health.metrics.reload_failed(result.is_err() || is_incomplete);
        match result {
            // Sources are asked every few minutes, which is no news.
            Ok(()) if due == Due::AsBefore && !is_changed => {}
            Ok(()) => self.context.printer.remark("the inventory was reloaded\n"),
            Err(error) => {
                self.loaded = before;
                self.context.printer.problem(&render_error(&error));
                self.context.printer.problem("the inventory that was loaded before stays in use\n");
            }
        }
        // This is done for a broken inventory too, so that it is reported once, and again only when it changes.
        self.files = Files::of(&self.loaded);
    }

    /// Goes through the clusters that are due.
    async fn pass(&mut self, cancellation: &Cancellation) {
        let now = wall_clock();
        let is_due = |at: &Timestamp| *at <= later(now, TOGETHER) || is_beyond(*at, now);
        let due: Vec<ClusterName> =
            self.wake.iter().filter(|(_, at)| is_due(at)).map(|(cluster, _)| cluster.clone()).collect();
        if due.is_empty() {
            return;
        }
        let cluster = if due.len() == self.wake.len() {
            self.args.selection.cluster.clone()
        } else {
            due.iter().map(ToString::to_string).collect()
        };
        let selection = SelectionArgs { cluster, ..self.args.selection.clone() };
        let environment = self.context.environment.another_run();
        let context = CommandContext { environment: &environment, ..*self.context };
        let metrics = &self.health.metrics;
        // Clusters that failed last time come last, because they are likely to fail again.
        let last: HashSet<ClusterName> = self.failures.keys().cloned().collect();
        match refresh(&context, self.args, self.loaded.clone(), &selection, &last, metrics, cancellation).await {
            Ok(pass) => {
                if let Some(error) = &pass.trail {
                    self.context.printer.problem(&render_error(error));
                }
                self.reschedule(&pass);
                if !cancellation.no_new.is_cancelled() {
                    self.health.is_ready.store(true, Ordering::Release);
                }
                if has_news(&pass) {
                    // The output is only a log, so a failure to write it does not stop the watcher.
                    if let Err(error) = show(&context, self.args, &pass) {
                        context.printer.problem(&render_error(&error));
                    }
                }
            }
            Err(error) => {
                context.printer.problem(&render_error(&error));
                for cluster in &due {
                    self.back_off(cluster, None);
                }
            }
        }
        if let Err(error) = write_metrics(&context, self.args, metrics) {
            context.printer.problem(&render_error(&error));
        }
        self.not_before = later(wall_clock(), SHORTEST_WAIT);
    }

    fn reschedule(&mut self, pass: &Pass) {
        let now = wall_clock();
        for report in &pass.changes.clusters {
            match report.state {
                State::Failed | State::Blocked => self.back_off(&report.name, Some(pass)),
                // Of a wave that ended a rollout, the next run would not start them either.
                State::NotStarted if report.not_started != Some(NotStarted::Interrupted) => {
                    self.back_off(&report.name, Some(pass));
                }
                State::NotStarted => {}
                State::Unchanged | State::Pending | State::Changed => {
                    self.failures.remove(&report.name);
                    let wanted = pass.wake.get(&report.name).copied().unwrap_or(later(now, LONGEST_WAIT));
                    let at = wanted.clamp(later(now, SHORTEST_WAIT), later(now, LONGEST_WAIT));
                    self.wake.insert(report.name.clone(), at);
                }
            }
        }
    }

    /// Tries a cluster again after a while: earlier if something else is due there, and more often the less life is
    /// left in a credential that could not be renewed.
    fn back_off(&mut self, cluster: &ClusterName, pass: Option<&Pass>) {
        let now = wall_clock();
        let failures = self.failures.entry(cluster.clone()).or_default();
        let wait = backoff(*failures, cluster);
        *failures = failures.saturating_add(1);
        let of = |times: fn(&Pass) -> &HashMap<ClusterName, Timestamp>| pass.and_then(|pass| times(pass).get(cluster));
        let quarter = of(|pass| &pass.expiry).map(|expires| expires.duration_since(now) / 4);
        let other = of(|pass| &pass.wake).map(|at| at.duration_since(now));
        let wait = [quarter, other].into_iter().flatten().fold(wait, SignedDuration::min).max(SHORTEST_WAIT);
        self.wake.insert(cluster.clone(), later(now, wait));
    }
}

/// Whether a time is further ahead than anything is ever planned, because the machine's clock was set back.
fn is_beyond(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > LONGEST_WAIT + TOGETHER
}

/// Whether a run did or found something that is worth a line in a log.
fn has_news(pass: &Pass) -> bool {
    let is_quiet = |cluster: &ClusterReport| cluster.state == State::Unchanged;
    !pass.changes.clusters.iter().all(is_quiet)
}

/// Returns the wait after a number of failures in a row: doubled each time, and up to a quarter shorter,
/// so that a thousand clusters that failed together are not tried together.
fn backoff(failures: u32, cluster: &ClusterName) -> SignedDuration {
    let doubled = FIRST_BACKOFF.as_secs().saturating_mul(1_i64.checked_shl(failures.min(16)).unwrap_or(i64::MAX));
    let wait = doubled.min(LONGEST_BACKOFF.as_secs());
    let hash = i64::from_str_radix(&short_hash(&[cluster.as_str()])[..8], 16).expect("a short hash is hexadecimal");
    SignedDuration::from_secs(wait - (wait / 4) * (hash % 1000) / 1000)
}

/// The files of an inventory, as they were when it was loaded.
#[derive(Debug)]
struct Files {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// The patterns in `include`, and the files that they match.
    patterns: Vec<(String, Vec<PathBuf>)>,
}

impl Files {
    fn of(loaded: &Loaded) -> Self {
        Self {
            stamps: loaded.files.iter().map(|path| (path.clone(), stamp(path))).collect(),
            patterns: loaded.patterns.iter().map(|pattern| (pattern.clone(), load::matching(pattern))).collect(),
        }
    }

    fn have_changed(&self) -> bool {
        self.stamps.iter().any(|(path, before)| stamp(path) != *before)
            || self.patterns.iter().any(|(pattern, before)| load::matching(pattern) != *before)
    }
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds of the last change of its content, which a program may set.
    modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of anything, which no program can set.
    changed: (i64, i64),
}

/// Follows links: a mounted `ConfigMap` changes by making one of its links point to another directory.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Whether a file is mounted by itself, as a volume's `subPath` does. It is then the same file until the mount ends,
/// whatever replaces it where it came from.
fn is_mounted_alone(path: &Path) -> bool {
    let flags = AtFlags::NO_AUTOMOUNT;
    // A kernel that cannot say it sets no bit in the mask.
    statx(CWD, path, flags, StatxFlags::TYPE).is_ok_and(|found| {
        found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
            && found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_end_of_the_calendar_everything_is_still_due() {
        let (now, hour) = (Timestamp::MAX, SignedDuration::from_hours(1));
        assert!(!is_beyond(later(now, LONGEST_WAIT), now));
        assert!(is_beyond(now, later(now, -(hour * 2))));
    }

    #[test]
    fn failures_are_tried_again_later_and_later_and_not_together() {
        let at = |failures, name: &str| backoff(failures, &name.into()).as_secs();
        assert!((23..=30).contains(&at(0, "a")), "{}", at(0, "a"));
        assert!((45..=60).contains(&at(1, "a")));
        assert!((675..=900).contains(&at(40, "a")), "{}", at(40, "a"));
        assert_ne!(at(5, "a"), at(5, "b"));
    }

    #[test]
    fn a_file_that_is_mounted_by_itself_is_known() {
        assert!(is_mounted_alone(Path::new("/proc")));
        assert!(!is_mounted_alone(Path::new("/proc/self/mounts")));
        assert!(!is_mounted_alone(Path::new("/no/such/file")));
    }
}
