//! The end of something: a date, or a time with an offset.
//!
//! Pure: no I/O, no clock.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::problem::{Location, Problem};
use super::read::{Read, Reader, Subject, text_of_time};

/// When something ends. A date ends with its last moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until(pub(crate) Timestamp);

/// Parses an end.
///
/// # Errors
///
/// If it is neither a date nor a time with an offset; the error says why.
fn parse(text: &str) -> Result<Until, String> {
    // jiff would take the date out of a time too.
    let is_date = text.len() == "2026-12-31".len();
    if is_date && let Ok(date) = text.parse::<Date>() {
        let next = date.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
        return next.map(|next| Until(next.timestamp())).map_err(|_| "it is too late".to_owned());
    }
    text.parse().map(Until).map_err(|_| {
        if text.contains(['T', 't', ' ']) {
            "it is no time with an offset, as in `2026-12-31T18:00:00Z`".to_owned()
        } else {
            "it is no date, as in `2026-12-31`".to_owned()
        }
    })
}

impl Read for Until {
    fn wanted() -> String {
        "a date such as `2026-12-31`, or a time such as `2026-12-31T18:00:00Z`".to_owned()
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}", "examples": ["2026-12-31", "2026-12-31T18:00:00Z"] })
    }

    fn read(value: &DeValue<'_>, location: Location, subject: Subject<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = text_of_time(value) else {
            reader.refuse::<Self>(value, location, subject);
            return None;
        };
        let parsed = parse(&text).map_err(|reason| {
            reader.misread = true;
            let message = format!("{subject} must be {}: {reason}", Self::wanted());
            reader.problems.push(Problem::error(location, message));
        });
        parsed.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day_and_a_time_needs_an_offset() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = parse(text).map(|until| until.0.to_string());
            assert_eq!(parsed.as_ref().map(String::as_str).map_err(String::as_str), expected, "{text}");
        };
        check("2026-12-31", Ok("2027-01-01T00:00:00Z"));
        check("2026-12-31T18:00:00Z", Ok("2026-12-31T18:00:00Z"));
        check("2026-12-31T18:00:00+02:00", Ok("2026-12-31T16:00:00Z"));
        check("2026-12-31T18:00:00", Err("it is no time with an offset, as in `2026-12-31T18:00:00Z`"));
        check("2026-13-01", Err("it is no date, as in `2026-12-31`"));
        check("soon", Err("it is no date, as in `2026-12-31`"));
    }
}
