//! What follows a run: the display, and the note of when each cluster was worked on.

use std::collections::HashMap;

use tokio::sync::mpsc;

use crate::event::Event;
use crate::executor::{Clock, Events};
use crate::names::{ClusterName, WaveName};
use crate::outcome::Span;
use crate::output::{Phase, Progress, ProgressStyle, TICK};

/// When each cluster of a run was worked on.
pub(crate) type Timeline = HashMap<ClusterName, Span>;

/// Makes a channel for events, and what follows it: the display, which ends with the channel and returns the timeline.
pub(crate) fn events(
    style: ProgressStyle,
    phase: Phase,
    wave: Option<&WaveName>,
    total: usize,
    clock: Clock,
) -> (Events, impl Future<Output = Timeline> + use<>) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Event>();
    let mut progress = Progress::start(style, phase, wave, total);
    let display = async move {
        let mut timeline = Timeline::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => {
                        note(&mut timeline, &event, clock);
                        progress.show(&event);
                    }
                    None => break,
                },
                _ = tick.tick() => progress.tick(),
            }
        }
        progress.finish();
        timeline
    };
    (Events::new(sender), display)
}

fn note(timeline: &mut Timeline, event: &Event, clock: Clock) {
    let now = Some(clock.now());
    match event {
        // Where a renewal goes from planning to its steps, the work goes on.
        Event::Started(cluster) => {
            timeline.entry(cluster.clone()).or_insert(Span { began: now, ended: None });
        }
        Event::Finished { cluster, .. } => timeline.entry(cluster.clone()).or_default().ended = now,
        Event::Step { .. } => {}
    }
}
