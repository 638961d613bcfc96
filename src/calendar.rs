//! Arithmetic on times that ends where the calendar does. Pure: no I/O, no clock.
//!
//! A clock may be anywhere: a machine without a battery, or a server that is wrong. The operators of the
//! time library panic at the end of the year 9999.

use jiff::{SignedDuration, Timestamp};

/// Returns the time that is later by a duration, or the last one that there is.
pub(crate) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    time.checked_add(by).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_end_with_the_calendar() {
        let hour = SignedDuration::from_hours(1);
        assert_eq!(later(Timestamp::UNIX_EPOCH, hour).as_second(), 3600);
        assert_eq!(later(Timestamp::MAX, hour), Timestamp::MAX);
        assert_eq!(later(Timestamp::MIN, -hour), Timestamp::MIN);
        assert_eq!(later(Timestamp::MAX, SignedDuration::MAX), Timestamp::MAX);
    }
}
