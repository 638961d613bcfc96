//! Durations as the inventory writes them: `24h`, `90s`, `1h30m`, `30d`.
//!
//! A day is 24 hours. A number without a unit is refused: for the lifetime of a credential, the unit of `90` must not
//! be guessed. Pure: no I/O, no clock.

use std::time::Duration;

/// The units, longest first; they must follow each other in this order.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// The JSON Schema pattern of a duration.
pub(crate) const PATTERN: &str = "^([0-9]+[dhms])+$";

/// Parses a duration.
///
/// # Errors
///
/// If the text is no duration; the error says why.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let Some(unit) = after.chars().next() else {
            return Err(format!("`{number}` has no unit"));
        };
        if number.is_empty() {
            return Err(format!("expected a number before `{after}`"));
        }
        let Some((_, factor)) = units.find(|(name, _)| *name == unit) else {
            let known = UNITS.iter().any(|(name, _)| *name == unit);
            return Err(if known {
                "units go from long to short, each once: `1d2h3m4s`".to_owned()
            } else {
                format!("unknown unit `{unit}`; the units are `d`, `h`, `m` and `s`")
            });
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or("it is too long")?;
        rest = &after[unit.len_utf8()..];
    }
    Ok(Duration::from_secs(seconds))
}

/// Writes a duration as the inventory does.
pub(crate) fn show(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Days are not used here, because people write `24h` and expect to read it.
    for (unit, factor) in &UNITS[1..] {
        if seconds >= *factor {
            text.push_str(&format!("{}{unit}", seconds / factor));
            seconds %= factor;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_units_from_long_to_short() {
        let check = |text: &str, expect: Result<u64, &str>| {
            let parsed = parse(text).map(|duration| duration.as_secs());
            assert_eq!(parsed.as_ref().map_err(String::as_str), expect.as_ref().map_err(|error| *error), "{text}");
        };
        check("24h", Ok(86_400));
        check("90s", Ok(90));
        check("15m", Ok(900));
        check("1h30m", Ok(5_400));
        check("30d", Ok(2_592_000));
        check("1d1h1m1s", Ok(90_061));
        check("0s", Ok(0));
        check("", Err("it is empty"));
        check("90", Err("`90` has no unit"));
        check("1h30", Err("`30` has no unit"));
        check("h", Err("expected a number before `h`"));
        check("-1h", Err("expected a number before `-1h`"));
        check("1.5h", Err("unknown unit `.`; the units are `d`, `h`, `m` and `s`"));
        check("1w", Err("unknown unit `w`; the units are `d`, `h`, `m` and `s`"));
        check("1h 30m", Err("expected a number before ` 30m`"));
        check("30m1h", Err("units go from long to short, each once: `1d2h3m4s`"));
        check("1h1h", Err("units go from long to short, each once: `1d2h3m4s`"));
        check("99999999999999999999s", Err("it is too long"));
        check("999999999999999999d", Err("it is too long"));
        check("1é", Err("unknown unit `é`; the units are `d`, `h`, `m` and `s`"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0..10_000_000_u64) {
            prop_assert_eq!(parse(&show(Duration::from_secs(seconds))), Ok(Duration::from_secs(seconds)));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,12}") {
            drop(parse(&text));
        }
    }
}
