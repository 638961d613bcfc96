//! Which superseded generations can go, and when.
//!
//! An older generation goes only when *all* outputs have held the current one for the overlap, because until then
//! somebody may still be using the older one. Pure: no I/O, no clock.

use jiff::{SignedDuration, Timestamp};

use super::{DecisionInput, Generation, LEEWAY, Spent, is_anchored, places_of};

/// The living generations that are older than the current one.
#[derive(Debug, Default)]
pub(super) struct Superseded {
    /// Those that can go.
    pub(super) ripe: Vec<Spent>,
    /// Those that cannot go yet.
    pub(super) green: Vec<u64>,
    /// When the others can go, if all outputs hold the current one.
    pub(super) ripe_at: Option<Timestamp>,
}

/// Finds the living generations that `current` supersedes; `holding` outputs hold it.
pub(super) fn superseded(
    input: &DecisionInput<'_>,
    current: &Generation,
    holding: usize,
    overlap: SignedDuration,
) -> Superseded {
    let is_alive = |generation: &&Generation| {
        let is_published = generation.is_recorded() || !places_of(input, generation).is_empty();
        let is_expired = generation.expires.is_some_and(|expires| input.now.duration_since(expires) > LEEWAY);
        generation.n < current.n && is_published && !is_expired && is_anchored(input, generation)
    };
    let generations = input.chain.map_or(&[][..], |chain| &chain.generations);
    let living: Vec<u64> = generations.iter().filter(is_alive).map(|generation| generation.n).collect();
    // Older versions of kubemint did not record the time of publication; the time of issue is earlier.
    let since = current.published.or(current.issued).filter(|_| current.is_recorded());
    let ripe_at = since.filter(|_| holding == input.outputs.len()).and_then(|since| since.checked_add(overlap).ok());
    match ripe_at {
        _ if living.is_empty() => Superseded::default(),
        Some(ripe_at) if ripe_at <= input.now => {
            let ripe = living.into_iter().map(|n| Spent { n, since: ripe_at }).collect();
            Superseded { ripe, ..Superseded::default() }
        }
        ripe_at => Superseded { green: living, ripe_at, ..Superseded::default() },
    }
}
