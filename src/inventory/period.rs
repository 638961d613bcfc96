//! The time for which a grant holds.
//!
//! Pure: no I/O, no clock.

use jiff::{SignedDuration, Timestamp};

/// The time for which a grant holds; without both ends, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// When it begins.
    pub starts: Option<Timestamp>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// Where a time is in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before it.
    Before,
    /// Within it.
    During,
    /// After it.
    After,
}

impl Period {
    /// Returns where a time is in the period. Its end does not belong to it.
    pub(crate) fn phase(self, now: Timestamp) -> Phase {
        if self.expires.is_some_and(|expires| expires <= now) {
            Phase::After
        } else if self.starts.is_some_and(|starts| now < starts) {
            Phase::Before
        } else {
            Phase::During
        }
    }

    /// Returns the longest life, in seconds, of a token that must not outlive the period; nothing if that is shorter
    /// than `shortest`.
    pub(crate) fn life(self, wanted: u64, shortest: u64, now: Timestamp) -> Option<u64> {
        let Some(expires) = self.expires else { return Some(wanted) };
        let left = expires.duration_since(now);
        // Rounded down: a token of one second more would outlive it.
        let left = if left > SignedDuration::ZERO { left.as_secs() } else { 0 };
        let left = u64::try_from(left).unwrap_or(0);
        (left >= shortest || wanted <= left).then_some(wanted.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_period_has_two_ends_and_the_last_does_not_belong_to_it() {
        let period = Period { starts: Some(at(10)), expires: Some(at(20)) };
        assert_eq!(
            [9, 10, 19, 20].map(|second| period.phase(at(second))),
            [Phase::Before, Phase::During, Phase::During, Phase::After]
        );
        assert_eq!(Period::default().phase(Timestamp::MAX), Phase::During);
    }

    #[test]
    fn no_token_outlives_it() {
        let period = Period { starts: None, expires: Some(at(10_000)) };
        let life = |now| period.life(3_600, 600, at(now));
        assert_eq!(
            [0, 6_400, 6_401, 9_400, 9_401, 10_000, 20_000].map(life),
            [Some(3_600), Some(3_600), Some(3_599), Some(600), None, None, None]
        );
        assert_eq!(Period::default().life(3_600, 600, at(0)), Some(3_600));
    }
}
