//! What follows a run: the display, the audit trail, and the note of when each cluster was worked on.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::trail::Trail;
use crate::event::Event;
use crate::executor::{Clock, Events, WantedEvents};
use crate::names::{ClusterName, WaveName};
use crate::outcome::Span;
use crate::output::{Phase, Progress, ProgressStyle, TICK};

/// When each cluster of a run was worked on.
pub(crate) type Timeline = HashMap<ClusterName, Span>;

/// Follows the phases of a run.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    /// How progress is shown.
    pub(crate) style: ProgressStyle,
    /// Tells the time.
    pub(crate) clock: Clock,
    /// Where the audit trail goes, if somewhere.
    pub(crate) trail: Option<Trail>,
}

impl Follower {
    /// Makes a channel for the events of a phase, and what follows it, which ends with the channel and returns the
    /// timeline.
    pub(crate) fn events(
        &self,
        phase: Phase,
        wave: Option<&WaveName>,
        total: usize,
    ) -> (Events, impl Future<Output = Timeline> + use<>) {
        let (sender, receiver) = mpsc::unbounded_channel::<Event>();
        let progress = Progress::start(self.style, phase, wave, total);
        let wanted = WantedEvents { steps: self.style.shows_steps(), ends: self.trail.is_some() };
        (Events::new(sender, wanted), self.clone().follow(phase, progress, receiver))
    }

    async fn follow(self, phase: Phase, mut progress: Progress, mut receiver: UnboundedReceiver<Event>) -> Timeline {
        let mut timeline = Timeline::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => {
                        let now = self.clock.now();
                        note(&mut timeline, &event, now);
                        if let Some(trail) = &self.trail {
                            trail.add(phase, now, &event);
                        }
                        progress.show(&event);
                    }
                    None => break,
                },
                _ = tick.tick() => progress.tick(),
            }
        }
        progress.finish();
        timeline
    }
}

fn note(timeline: &mut Timeline, event: &Event, now: Timestamp) {
    let now = Some(now);
    match event {
        // Where a renewal goes from planning to its steps, the work goes on.
        Event::Started(cluster) => {
            timeline.entry(cluster.clone()).or_insert(Span { began: now, ended: None });
        }
        Event::Finished { cluster, .. } => timeline.entry(cluster.clone()).or_default().ended = now,
        Event::Step { .. } | Event::StepEnded(_) => {}
    }
}
