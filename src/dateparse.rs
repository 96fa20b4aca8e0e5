//! Parsing times as Django does outside of forms (`django/utils/dateparse.py`).

use std::sync::LazyLock;

use chrono::{
    DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use regex::{Captures, Regex};

static DATETIME: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?x)^(?<year>[0-9]{4})-(?<month>[0-9]{1,2})-(?<day>[0-9]{1,2})
        (?:[T\ ](?<hour>[0-9]{1,2}):(?<minute>[0-9]{1,2})
            (?::(?<second>[0-9]{1,2})(?:[.,](?<fraction>[0-9]{1,6})[0-9]{0,6})?)?
            \s*(?<zone>[zZ]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Parses a date and time in ISO 8601, or a date, which means midnight. Without an offset it is a time in `zone`; the earlier one
/// if there are two, that before the gap if there is none.
pub fn parse_datetime(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let captures = DATETIME.captures(text)?;
    let number = |name: &str| number(&captures, name);
    let year = i32::try_from(number("year")?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number("month")?, number("day")?)?;
    let local = date.and_time(time(&captures)?);
    match captures.name("zone") {
        Some(offset) => {
            let local = local.and_local_timezone(parse_offset(offset.as_str())?);
            local.single().map(|time| time.to_utc())
        }
        None => in_zone(local, zone),
    }
}

fn number(captures: &Captures<'_>, name: &str) -> Option<u32> {
    captures.name(name)?.as_str().parse().ok()
}

fn time(captures: &Captures<'_>) -> Option<NaiveTime> {
    let number = |name: &str| number(captures, name).unwrap_or(0);
    let fraction = captures
        .name("fraction")
        .map_or("", |fraction| fraction.as_str());
    let micros = format!("{fraction:0<6}").parse().ok()?;
    let (hour, minute, second) = (number("hour"), number("minute"), number("second"));
    // The last second of a minute may be a leap second in chrono, not in Python.
    NaiveTime::from_hms_micro_opt(hour, minute, second, micros)
}

fn parse_offset(text: &str) -> Option<FixedOffset> {
    let Some(digits) = text.get(1..).filter(|digits| !digits.is_empty()) else {
        return FixedOffset::east_opt(0);
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at(2);
    let minutes = if minutes.is_empty() { "0" } else { minutes };
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    FixedOffset::east_opt(if text.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

fn in_zone(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let gap = || {
        let before = zone
            .from_local_datetime(&(local - TimeDelta::hours(3)))
            .earliest()?;
        Some(before + TimeDelta::hours(3))
    };
    let time = zone.from_local_datetime(&local).earliest().or_else(gap)?;
    Some(time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_as_django_does() {
        let cases = [
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20 07:30", "2026-11-20T07:30:00Z"),
            ("2026-1-2T3:04:05", "2026-01-02T03:04:05Z"),
            ("2026-11-20 07:30:00.5", "2026-11-20T07:30:00.5Z"),
            (
                "2026-11-20 07:30:00,123456789",
                "2026-11-20T07:30:00.123456Z",
            ),
            ("2026-11-20T07:30:00Z", "2026-11-20T07:30:00Z"),
            ("2026-11-20 07:30:00 +02:00", "2026-11-20T05:30:00Z"),
            ("2026-11-20T07:30:00-0330", "2026-11-20T11:00:00Z"),
            ("2026-11-20T07:30+05", "2026-11-20T02:30:00Z"),
        ];
        for (text, expected) in cases {
            let expected: DateTime<Utc> = expected.parse().unwrap();
            assert_eq!(parse_datetime(text, Tz::UTC), Some(expected), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-30",
            "2026-11-20 24:00",
            "2026-11-20 07:30:60",
            "2026-11-20T07:30+99",
            "20261120",
        ] {
            assert_eq!(parse_datetime(text, Tz::UTC), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_in_the_zone() {
        let zone = Tz::Europe__Berlin;
        let utc = |text: &str| parse_datetime(text, zone).unwrap().to_rfc3339();
        assert_eq!(utc("2026-07-01 12:00"), "2026-07-01T10:00:00+00:00");
        assert_eq!(utc("2026-10-25 02:30"), "2026-10-25T00:30:00+00:00");
        assert_eq!(utc("2026-03-29 02:30"), "2026-03-29T01:30:00+00:00");
    }
}
