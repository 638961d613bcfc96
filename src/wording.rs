//! Numbers and durations in words, the same way everywhere.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

/// Returns a duration as people write it: `24h`, `1m 30s`.
pub fn duration(duration: Duration) -> String {
    /// Nobody reads nanoseconds of a token's life.
    const EXACT_BELOW: Duration = Duration::from_secs(1);
    let rounded = if duration < EXACT_BELOW { duration } else { Duration::from_secs(duration.as_secs()) };
    let signed = SignedDuration::try_from(rounded).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().duration_to_string(&signed)
}

/// Returns a duration in its two largest units without blanks: `3h12m`, `45s`.
pub fn compact(duration: Duration) -> String {
    /// Beyond an hour nobody needs the seconds, beyond a minute not the fractions.
    const HOUR: u64 = 3600;
    let seconds = duration.as_secs();
    let rounded = if seconds >= HOUR { seconds - seconds % 60 } else { seconds };
    let signed = SignedDuration::try_from(Duration::from_secs(rounded)).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().spacing(Spacing::None).duration_to_string(&signed)
}

/// Returns a number with its noun: `1 cluster`, `3 clusters`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let check = |seconds, expected| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(10, "10s");
        check(90, "1m 30s");
        check(86_400, "24h");
        assert_eq!(duration(Duration::from_millis(200)), "200ms");
        assert_eq!(compact(Duration::from_secs(3 * 3600 + 12 * 60 + 5)), "3h12m");
        assert_eq!(compact(Duration::from_secs(45)), "45s");
    }
}
