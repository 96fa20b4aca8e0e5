//! Parsing of dates and times in Django's input formats for `en-us`.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

const DATES: [&str; 11] = [
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%m/%d/%y",
    "%b %d %Y",
    "%b %d, %Y",
    "%d %b %Y",
    "%d %b, %Y",
    "%B %d %Y",
    "%B %d, %Y",
    "%d %B %Y",
    "%d %B, %Y",
];
const TIMES: [&str; 3] = ["%H:%M:%S", "%H:%M:%S%.f", "%H:%M"];

/// Parses a date in one of [`DATES`]; surrounding whitespace is ignored.
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    // In Python `%Y` has exactly four digits and `%y` two; chrono accepts any number.
    let years = text.split(|c: char| !c.is_ascii_digit()).map(str::len);
    if years.max() > Some(4) || text.contains(['+']) || text.starts_with('-') {
        return None;
    }
    DATES.iter().find_map(|format| {
        let date = NaiveDate::parse_from_str(text, format).ok()?;
        let is_short = format.ends_with("%y");
        let digits = text
            .split(|c: char| !c.is_ascii_digit())
            .map(str::len)
            .max()?;
        if is_short == (digits == 4) || date.year() < 1 {
            return None;
        }
        // POSIX and Python read 69 as 1969; chrono as 2069.
        if is_short && date.year() == 2069 {
            date.with_year(1969)
        } else {
            Some(date)
        }
    })
}

/// Parses a time of day in one of [`TIMES`]; surrounding whitespace is ignored.
pub fn parse_time(text: &str) -> Option<NaiveTime> {
    let parse = |format| NaiveTime::parse_from_str(text.trim(), format).ok();
    // chrono accepts a leap second, Python does not.
    TIMES
        .iter()
        .find_map(|format| parse(format))
        .filter(|time| time.nanosecond() < 1_000_000_000)
}

/// Converts a local time in a time zone to UTC.
///
/// # Errors
/// Django's message when the local time does not exist or is ambiguous.
pub fn moment(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, String> {
    zone.from_local_datetime(&local).single().map(|time| time.to_utc()).ok_or_else(|| {
        format!(
            "{local} couldn’t be interpreted in time zone {zone}; it may be ambiguous or it may not exist."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_parsed_as_in_django() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 5).unwrap();
        for text in [
            "2026-11-05",
            " 2026-11-5 ",
            "11/05/2026",
            "11/5/26",
            "Nov 5 2026",
            "nov 05, 2026",
            "5 Nov 2026",
            "5 NOV, 2026",
            "November 5 2026",
            "november 5, 2026",
            "5 November 2026",
            "5 November, 2026",
        ] {
            assert_eq!(parse_date(text), Some(day), "{text}");
        }
        for text in [
            "",
            "x",
            "2026-13-01",
            "2026-02-30",
            "26-11-05",
            "20261-11-05",
            "+2026-11-05",
            "0000-01-01",
            "5.11.2026",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_date("1/2/69").map(|date| date.year()), Some(1969));
        assert_eq!(parse_date("1/2/68").map(|date| date.year()), Some(2068));
    }

    #[test]
    fn times_are_parsed_as_in_django() {
        for (text, expected) in [
            ("7:05", (7, 5, 0)),
            ("07:05:09", (7, 5, 9)),
            (" 23:59:59.5 ", (23, 59, 59)),
        ] {
            let time = parse_time(text).unwrap();
            assert_eq!((time.hour(), time.minute(), time.second()), expected);
        }
        for text in ["", "x", "24:00", "7", "7:60", "7:05:60", "7:05 pm"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn nonexistent_and_ambiguous_local_times_are_errors() {
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        let zone: Tz = "Europe/Berlin".parse().unwrap();
        assert_eq!(
            moment(at("2026-07-01T12:00:00"), zone)
                .unwrap()
                .to_rfc3339(),
            "2026-07-01T10:00:00+00:00"
        );
        for text in ["2026-03-29T02:30:00", "2026-10-25T02:30:00"] {
            assert!(
                moment(at(text), zone)
                    .unwrap_err()
                    .contains("couldn’t be interpreted in time zone Europe/Berlin")
            );
        }
    }
}
