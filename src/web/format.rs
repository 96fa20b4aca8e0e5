//! Human-readable numbers and times.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde::Serialize;

/// A time in the formats of the pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormattedTime {
    /// ISO 8601, in UTC: `2026-11-20T06:55:00Z`.
    pub iso: String,
    /// The date: `Nov. 20, 2026`.
    pub date: String,
    /// The date and the time with the time zone, as in Django's admin: `Nov. 20, 2026, 6:55 a.m. UTC`.
    pub full: String,
    /// The date and the time with the time zone: `Nov. 20, 2026, 06:55 UTC`.
    pub exact: String,
    /// The time since then, in the largest unit: `2 hours ago`.
    pub ago: String,
}

impl FormattedTime {
    /// Formats `time` in a time zone, relative to `now`.
    pub fn new(time: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> Self {
        let local = time.with_timezone(&zone);
        let full = format!("{} {}", date_time(time, zone), local.format("%Z"));
        let date = date(local);
        Self {
            exact: format!("{date}, {}", local.format("%H:%M %Z")),
            iso: iso(time),
            date,
            full,
            ago: ago(now - time),
        }
    }
}

/// When [`FormattedTime::ago`] of a time that has passed will change, after `now`.
pub fn next_change(time: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let elapsed = now - time;
    let unit = if elapsed < TimeDelta::hours(1) {
        TimeDelta::minutes(1)
    } else if elapsed < TimeDelta::days(1) {
        TimeDelta::hours(1)
    } else {
        TimeDelta::days(1)
    };
    let units = elapsed.num_seconds() / unit.num_seconds() + 1;
    i32::try_from(units).map_or(DateTime::<Utc>::MAX_UTC, |units| time + unit * units)
}

/// A number with thousands separators: `12,480`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun, whose plural ends in `s`: `1 vote`, `1,204 votes`.
pub fn with_noun(number: i64, singular: &str) -> String {
    format!(
        "{} {singular}{}",
        grouped(number),
        if number == 1 { "" } else { "s" }
    )
}

/// A number with its noun and the given plural: `2 entries`.
pub fn with_plural(number: u64, singular: &str, plural: &str) -> String {
    let name = if number == 1 { singular } else { plural };
    format!(
        "{} {name}",
        grouped(i64::try_from(number).unwrap_or(i64::MAX))
    )
}

/// The date and the time in a time zone, as in Django's admin: `Nov. 20, 2026, 6:55 a.m.`
pub fn date_time(time: DateTime<Utc>, zone: Tz) -> String {
    let local = time.with_timezone(&zone);
    format!("{}, {}", date(local), time_of_day(local))
}

/// ISO 8601, in UTC: `2026-11-20T06:55:00Z`.
pub fn iso(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The date of HTTP (RFC 9110, 5.6.7): `Fri, 20 Nov 2026 06:55:00 GMT`.
pub fn http_date(time: DateTime<Utc>) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        time.weekday(),
        time.day(),
        MONTHS[time.month0() as usize],
        time.year(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The date with the month abbreviated in Associated Press style, which is Django's format `N j, Y`.
fn date(time: DateTime<Tz>) -> String {
    const MONTHS: [&str; 12] = [
        "Jan.", "Feb.", "March", "April", "May", "June", "July", "Aug.", "Sept.", "Oct.", "Nov.",
        "Dec.",
    ];
    format!(
        "{} {}, {}",
        MONTHS[time.month0() as usize],
        time.day(),
        time.year()
    )
}

/// The day that is that many days after 1970, with its year unless it is this one: `Nov. 20`.
pub fn day(days: i32, now: DateTime<Utc>) -> String {
    // A row that was written by hand may have any number.
    let time = DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::days(days.into()));
    let time = time.unwrap_or(DateTime::UNIX_EPOCH);
    let text = date(time.with_timezone(&Tz::UTC));
    let this_year = format!(", {}", now.year());
    text.strip_suffix(&this_year).unwrap_or(&text).to_owned()
}

/// The time of day in Django's format `P`: `6:55 a.m.`, `noon`.
fn time_of_day(time: DateTime<Tz>) -> String {
    let (is_pm, hour) = time.hour12();
    match (time.hour(), time.minute()) {
        (0, 0) => "midnight".to_owned(),
        (12, 0) => "noon".to_owned(),
        (_, minute) => {
            let minutes = if minute == 0 {
                String::new()
            } else {
                format!(":{minute:02}")
            };
            format!("{hour}{minutes} {}", if is_pm { "p.m." } else { "a.m." })
        }
    }
}

fn ago(elapsed: TimeDelta) -> String {
    let (minutes, hours, days) = (
        elapsed.num_minutes(),
        elapsed.num_hours(),
        elapsed.num_days(),
    );
    match (minutes, hours, days) {
        (..0, ..) => "not yet published".to_owned(),
        (0, ..) => "just now".to_owned(),
        (..60, ..) => format!("{} ago", with_noun(minutes, "minute")),
        (_, ..24, _) => format!("{} ago", with_noun(hours, "hour")),
        (_, _, 1) => "yesterday".to_owned(),
        (_, _, ..14) => format!("{} ago", with_noun(days, "day")),
        (_, _, ..60) => format!("{} ago", with_noun(days / 7, "week")),
        (_, _, ..730) => format!("{} ago", with_noun(days / 30, "month")),
        _ => format!("{} ago", with_noun(days / 365, "year")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1000, 12_480, 1_234_567, -1000].map(grouped);
        assert_eq!(
            texts,
            ["0", "999", "1,000", "12,480", "1,234,567", "-1,000"]
        );
        assert_eq!(
            [0, 1, 1204].map(|votes| with_noun(votes, "vote")),
            ["0 votes", "1 vote", "1,204 votes"]
        );
    }

    #[test]
    fn times_are_formatted() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let moment = FormattedTime::new("2026-11-20T06:55:00Z".parse().unwrap(), now, Tz::UTC);
        assert_eq!(moment.full, "Nov. 20, 2026, 6:55 a.m. UTC");
        assert_eq!(moment.iso, "2026-11-20T06:55:00Z");
        assert_eq!(moment.exact, "Nov. 20, 2026, 06:55 UTC");
        assert_eq!(day(20_777, now), "Nov. 20");
        assert_eq!(day(20_400, now), "Nov. 8, 2025");
        assert_eq!(day(i32::MAX, now), "Jan. 1, 1970");
        let expected = [
            (0, "just now"),
            (60, "1 minute ago"),
            (59 * 60, "59 minutes ago"),
            (3600, "1 hour ago"),
            (86_400, "yesterday"),
            (86_400 * 13, "13 days ago"),
            (86_400 * 14, "2 weeks ago"),
            (86_400 * 60, "2 months ago"),
            (86_400 * 729, "24 months ago"),
            (86_400 * 730, "2 years ago"),
            (-5 * 60, "not yet published"),
        ];
        for (seconds, text) in expected {
            assert_eq!(ago(TimeDelta::seconds(seconds)), text);
        }
        // A text is shown until it changes.
        for seconds in [
            0, 1, 59, 60, 3599, 3600, 86_399, 86_400, 1_300_000, 63_200_000,
        ] {
            let (time, one) = (
                now - TimeDelta::seconds(seconds),
                TimeDelta::milliseconds(1),
            );
            let change = next_change(time, now);
            assert!(change > now, "{seconds}");
            assert_eq!(ago(change - one - time), ago(now - time), "{seconds}");
        }
        assert_eq!(
            FormattedTime::new(now, now, Tz::UTC).full,
            "Nov. 20, 2026, noon UTC"
        );
    }
}
