//! Progress on stderr: one bar with counts on a terminal, plain lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle as BarStyle};

use crate::event::{End, Event};

/// The display of this process: what else prints makes it step aside.
static DISPLAY: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Without a terminal: a line this often, one at the end, and one for each cluster that did not make it.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressStyle {
    /// A bar on a terminal.
    Bar,
    /// Plain lines.
    Plain,
    /// Nothing.
    Silent,
}

/// Shows the events of one phase.
#[derive(Debug)]
pub struct Progress {
    style: ProgressStyle,
    bar: ProgressBar,
    phase: Phase,
    total: usize,
    done: usize,
    changed: usize,
    bad: usize,
    last_line: Instant,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It finds out what to do.
    Planning,
    /// It does it.
    Applying,
}

impl Phase {
    fn title(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Applying => "applying",
        }
    }

    fn changed(self) -> &'static str {
        match self {
            Self::Planning => "to change",
            Self::Applying => "changed",
        }
    }
}

impl Progress {
    /// Starts showing a phase with `total` clusters.
    pub fn start(style: ProgressStyle, phase: Phase, total: usize) -> Self {
        let bar = if style == ProgressStyle::Bar {
            let display = MultiProgress::new();
            let bar = display.add(ProgressBar::new(total as u64));
            // One aggregate bar: a bar for each cluster is useless at ten thousand.
            let template = "{prefix} {pos}/{len} [{wide_bar}] {msg} {elapsed}, ETA {eta}";
            if let Ok(template) = BarStyle::with_template(template) {
                bar.set_style(template.progress_chars("=> "));
            }
            bar.set_prefix(phase.title());
            bar.enable_steady_tick(Duration::from_millis(200));
            *DISPLAY.lock().unwrap_or_else(PoisonError::into_inner) = Some(display);
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { style, bar, phase, total, done: 0, changed: 0, bad: 0, last_line: Instant::now() }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) {
        let Event::Finished { cluster, end } = event else {
            return;
        };
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
            self.line(&format!("{}: {cluster}: {bad}", self.phase.title()));
        }
        self.bar.set_position(self.done as u64);
        self.bar.set_message(self.counts());
        let is_time = self.last_line.elapsed() >= PLAIN_INTERVAL || self.done == self.total;
        if self.style == ProgressStyle::Plain && is_time {
            self.last_line = Instant::now();
            self.line(&format!("{}: {}/{}, {}", self.phase.title(), self.done, self.total, self.counts()));
        }
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
    pub fn finish(self) {
        self.bar.finish_and_clear();
        *DISPLAY.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Prints something else while the display steps aside.
    pub fn suspend<T>(print: impl FnOnce() -> T) -> T {
        let display = DISPLAY.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match display {
            Some(display) => display.suspend(print),
            None => print(),
        }
    }
}
