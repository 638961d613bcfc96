//! Numbers and durations in words, the same way everywhere.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanPrinter;

/// Returns a duration as people write it: `24h`, `1m 30s`.
pub fn duration(duration: Duration) -> String {
    /// Nobody reads nanoseconds of a token's life.
    const EXACT_BELOW: Duration = Duration::from_secs(1);
    let rounded = if duration < EXACT_BELOW { duration } else { Duration::from_secs(duration.as_secs()) };
    let signed = SignedDuration::try_from(rounded).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().duration_to_string(&signed)
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
    }
}
