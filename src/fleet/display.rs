//! The display that follows a run.

use tokio::sync::mpsc;

use crate::event::Event;
use crate::executor::Events;
use crate::output::{Phase, Progress, ProgressStyle, TICK};

/// Makes a channel for events and the display that follows it; the display ends with the channel.
pub(crate) fn events(style: ProgressStyle, phase: Phase, total: usize) -> (Events, impl Future<Output = ()> + use<>) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Event>();
    let mut progress = Progress::start(style, phase, total);
    let display = async move {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => progress.show(&event),
                    None => break,
                },
                _ = tick.tick() => progress.tick(),
            }
        }
        progress.finish();
    };
    (Events::new(sender), display)
}
