//! Progress on stderr: one bar with counts and the slowest clusters on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle as BarStyle};

use crate::event::{End, Event};
use crate::foreign::shown;
use crate::names::{ClusterName, WaveName};

/// The display of this process: what else prints makes it step aside.
static DISPLAY: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Without a terminal: a line this often, one at the end, and one for each cluster that did not make it.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The clusters that have taken longest so far, below the bar.
const SLOWEST: usize = 3;
/// A cluster that has taken this long is worth a line: most take less.
const SLOW: Duration = Duration::from_secs(2);
/// How often the times of the slowest clusters move on.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// Below this width a bar has no room beside the counts.
const NARROW: u16 = 70;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressStyle {
    /// A bar on a terminal.
    Bar,
    /// Plain lines.
    Plain,
    /// Nothing.
    Silent,
}

impl ProgressStyle {
    /// Whether it is shown what is being done on a cluster.
    pub(crate) fn shows_steps(self) -> bool {
        self == Self::Bar
    }
}

/// Shows the events of one phase.
#[derive(Debug)]
pub(crate) struct Progress {
    style: ProgressStyle,
    bar: ProgressBar,
    slow_bars: Vec<ProgressBar>,
    /// What is being worked on, since when, and the step.
    running: HashMap<ClusterName, (Instant, String)>,
    started: Instant,
    phase: Phase,
    /// What is being done, for the user.
    title: String,
    total: usize,
    done: usize,
    changed: usize,
    bad: usize,
    last_line: Instant,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It finds out what to do.
    Planning,
    /// It does it.
    Applying,
    /// It finds out what is due, and does it.
    Refreshing,
    /// It looks whether what was done works, and does no more.
    Verifying,
}

impl Phase {
    fn title(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Applying => "applying",
            Self::Refreshing => "refreshing",
            Self::Verifying => "verifying",
        }
    }

    fn changed(self) -> &'static str {
        match self {
            Self::Planning => "to change",
            Self::Applying | Self::Refreshing => "changed",
            Self::Verifying => "with findings",
        }
    }
}

impl Progress {
    /// Starts showing a phase with `total` clusters, of a wave if there are waves.
    pub(crate) fn start(style: ProgressStyle, phase: Phase, wave: Option<&WaveName>, total: usize) -> Self {
        let title = match wave {
            None => phase.title().to_owned(),
            Some(wave) => format!("{} wave `{wave}`", phase.title()),
        };
        let mut slow_bars = vec![];
        let bar = if style == ProgressStyle::Bar {
            let display = MultiProgress::new();
            let bar = display.add(ProgressBar::new(total as u64));
            // One aggregate bar: a bar for each cluster is useless at ten thousand.
            let template = match width() {
                Some(width) if width < NARROW => "{prefix} {pos}/{len}, ETA {eta}, {wide_msg}",
                _ => "{prefix} {pos}/{len} [{wide_bar}] {msg} {elapsed}, ETA {eta}",
            };
            if let Ok(template) = BarStyle::with_template(template) {
                bar.set_style(template.progress_chars("=> "));
            }
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
            for _ in 0..SLOWEST {
                let line = display.add(ProgressBar::new_spinner());
                if let Ok(template) = BarStyle::with_template("{wide_msg}") {
                    line.set_style(template);
                }
                slow_bars.push(line);
            }
            *DISPLAY.lock().unwrap_or_else(PoisonError::into_inner) = Some(display);
            bar
        } else {
            ProgressBar::hidden()
        };
        let now = Instant::now();
        let running = HashMap::new();
        Self {
            style,
            bar,
            slow_bars,
            running,
            started: now,
            phase,
            title,
            total,
            done: 0,
            changed: 0,
            bad: 0,
            last_line: now,
        }
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &Event) {
        let (cluster, end) = match event {
            Event::Started(cluster) => {
                self.running.insert(cluster.clone(), (Instant::now(), self.title.clone()));
                return;
            }
            Event::Step { cluster, step } => {
                if let Some(running) = self.running.get_mut(cluster) {
                    running.1.clone_from(step);
                }
                return;
            }
            Event::StepEnded(_) => return,
            Event::Finished { cluster, end } => (cluster, end),
        };
        self.running.remove(cluster);
        self.done += 1;
        let bad = match end {
            End::Unchanged => None,
            End::Changed => {
                self.changed += 1;
                None
            }
            End::Blocked => Some("blocked".to_owned()),
            End::Failed(cause) => Some(format!("failed: {cause}")),
            End::NotStarted => Some("not started".to_owned()),
        };
        if let Some(bad) = &bad {
            self.bad += 1;
            self.line(&format!("{}: {}: {}", self.title, shown(cluster.as_str()), shown(bad)));
        }
        self.bar.set_position(self.done as u64);
        self.bar.set_message(self.counts());
        if self.done == self.total {
            self.plain_line();
        }
    }

    /// Shows what has changed with time alone.
    pub(crate) fn tick(&mut self) {
        if self.style == ProgressStyle::Plain && self.last_line.elapsed() >= PLAIN_INTERVAL {
            self.plain_line();
            let running = self.running.iter().map(|(cluster, (since, _))| (cluster, since.elapsed())).collect();
            if let Some(line) = waiting_for(running) {
                self.line(&format!("{}: {line}", self.title));
            }
        }
        if self.slow_bars.is_empty() {
            return;
        }
        let running = self.running.iter().map(|(cluster, (since, step))| (cluster, since.elapsed(), step.as_str()));
        let lines = slowest(running.collect());
        for (bar, line) in
            self.slow_bars.iter().zip(lines.into_iter().chain(std::iter::repeat_n(String::new(), SLOWEST)))
        {
            bar.set_message(shown(&line).into_owned());
        }
    }

    fn plain_line(&mut self) {
        if self.style != ProgressStyle::Plain {
            return;
        }
        self.last_line = Instant::now();
        let (done, total) = (self.done, self.total);
        let rest = remaining(self.started.elapsed(), done, total);
        let rest = rest.map(|rest| format!(", ETA {}", crate::wording::duration(rest))).unwrap_or_default();
        self.line(&format!("{}: {done}/{total}, {}{rest}", self.title, self.counts()));
    }

    fn counts(&self) -> String {
        let bad = if self.bad > 0 { format!(", {} failed or blocked", self.bad) } else { String::new() };
        format!("{} {}{bad}", self.changed, self.phase.changed())
    }

    #[expect(clippy::print_stderr, reason = "this module is part of the only code that prints")]
    fn line(&self, text: &str) {
        match self.style {
            ProgressStyle::Bar | ProgressStyle::Plain => Self::suspend(|| eprintln!("{text}")),
            ProgressStyle::Silent => {}
        }
    }

    /// Stops showing the phase.
    pub(crate) fn finish(self) {
        for bar in &self.slow_bars {
            bar.finish_and_clear();
        }
        self.bar.finish_and_clear();
        *DISPLAY.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Prints something else while the display steps aside.
    pub(crate) fn suspend<T>(print: impl FnOnce() -> T) -> T {
        let display = DISPLAY.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match display {
            Some(display) => display.suspend(print),
            None => print(),
        }
    }
}

/// Returns the columns of the terminal that stderr is.
fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stderr()).ok().map(|size| size.ws_col).filter(|width| *width > 0)
}

/// Describes the clusters that have taken longest, the slowest first.
fn slowest(mut running: Vec<(&ClusterName, Duration, &str)>) -> Vec<String> {
    running.retain(|(_, took, _)| *took >= SLOW);
    running.sort_by_key(|(cluster, took, _)| (std::cmp::Reverse(took.as_secs()), (*cluster).clone()));
    let line =
        |(cluster, took, step): (&ClusterName, Duration, &str)| format!("  {cluster}  {}s  {step}", took.as_secs());
    running.into_iter().take(SLOWEST).map(line).collect()
}

/// Says which clusters a run waits for, those that have taken longest first.
fn waiting_for(mut running: Vec<(&ClusterName, Duration)>) -> Option<String> {
    running.retain(|(_, took)| *took >= SLOW);
    running.sort_by_key(|(cluster, took)| (std::cmp::Reverse(took.as_secs()), (*cluster).clone()));
    let named: Vec<_> = running.iter().take(SLOWEST).map(|(cluster, _)| shown(cluster.as_str())).collect();
    let more = running.len().saturating_sub(SLOWEST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = crate::wording::count(running.len(), "cluster");
    let have = if running.len() == 1 { "has" } else { "have" };
    (!running.is_empty())
        .then(|| format!("waiting for {count} that {have} not answered yet: {}{more}", named.join(", ")))
}

/// Guesses how long the rest takes, in whole seconds, if it goes on as before.
fn remaining(elapsed: Duration, done: usize, total: usize) -> Option<Duration> {
    let per_cluster = elapsed.checked_div(u32::try_from(done).ok()?)?;
    let rest = per_cluster.checked_mul(u32::try_from(total.checked_sub(done)?).ok()?)?;
    Some(Duration::from_secs(rest.as_secs())).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_clusters_are_named_with_their_step() {
        let clusters: Vec<ClusterName> = ["a", "b", "c", "d", "e"].into_iter().map(Into::into).collect();
        let times = [1, 5, 9, 5, 3].map(Duration::from_secs);
        let running = clusters.iter().zip(times).map(|(cluster, took)| (cluster, took, "connect")).collect();
        assert_eq!(slowest(running), ["  c  9s  connect", "  b  5s  connect", "  d  5s  connect"]);
    }

    #[test]
    fn those_that_a_run_waits_for_are_named() {
        let clusters: Vec<ClusterName> = ["a", "b", "c", "d", "e"].into_iter().map(Into::into).collect();
        let running = |times: [u64; 5]| clusters.iter().zip(times.map(Duration::from_secs)).collect();
        assert_eq!(
            waiting_for(running([1, 5, 9, 5, 3])).unwrap(),
            "waiting for 4 clusters that have not answered yet: c, b, d and 1 more"
        );
        assert_eq!(
            waiting_for(running([0, 0, 2, 0, 0])).unwrap(),
            "waiting for 1 cluster that has not answered yet: c"
        );
        assert_eq!(waiting_for(running([0; 5])), None);
    }

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        let after = |seconds, done| remaining(Duration::from_secs(seconds), done, 300).map(|rest| rest.as_secs());
        assert_eq!((after(10, 100), after(10, 300), after(10, 0)), (Some(20), None, None));
    }
}
