//! Points and spans of time as people write them, absolute or as long ago.
//!
//! What now is comes from the caller, so a query means the same text whenever it is read again.

use std::fmt;

use jiff::{Timestamp, civil, tz::Offset};

/// How many microseconds a second has.
const SECOND_MICROS: i64 = 1_000_000;
/// The units of a relative time, largest first, and how many seconds each has.
const UNITS: [(char, u32); 5] =
    [('w', 7 * 24 * 60 * 60), ('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// A moment, or the span of time that a less exact one covers.
///
/// `Display` prints UTC, and a relative time in its largest whole unit; both can be parsed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The span that starts this many microseconds after 1970-01-01T00:00:00Z and is one
    /// [`Precision`] long. The start is a whole multiple of that length.
    At(i64, Precision),
    /// This many seconds before now; 0 is `now` itself.
    Ago(u32),
}

/// How exactly a moment was given, which is how long a span it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// A UTC day.
    Day,
    /// A minute.
    Minute,
    /// A second.
    Second,
    /// A microsecond, which stands for an instant.
    Micro,
}

impl Precision {
    /// Returns the length of the span in microseconds.
    pub const fn micros(self) -> i64 {
        match self {
            Precision::Day => 24 * 60 * 60 * SECOND_MICROS,
            Precision::Minute => 60 * SECOND_MICROS,
            Precision::Second => SECOND_MICROS,
            Precision::Micro => 1,
        }
    }
}

impl Moment {
    /// Returns the span from its first microsecond up to, and without, its last bound, both in
    /// microseconds since 1970-01-01T00:00:00Z.
    ///
    /// `now_micros` is counted alike. A relative time is an instant: one microsecond long.
    pub fn resolve(&self, now_micros: i64) -> (i64, i64) {
        let (start, precision) = match *self {
            Moment::At(start, precision) => (start, precision),
            Moment::Ago(seconds) => {
                (now_micros.saturating_sub(i64::from(seconds) * SECOND_MICROS), Precision::Micro)
            }
        };
        (start, start.saturating_add(precision.micros()))
    }

    /// Reads `2026-11-22`, `2026-11-22T17:25`, RFC 3339, `-2h` or `now`.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        if text == "now" {
            return Some(Moment::Ago(0));
        }
        match text.strip_prefix('-') {
            Some(ago) => parse_ago(ago),
            None => parse_absolute(text),
        }
    }
}

fn parse_ago(text: &str) -> Option<Moment> {
    seconds(text).map(Moment::Ago)
}

/// Reads a length of time, `90s`, `15m`, `2h`, `7d` or `4w`, in seconds.
pub fn seconds(text: &str) -> Option<u32> {
    UNITS.into_iter().find_map(|(unit, seconds)| {
        let count: u32 = digits(text.strip_suffix(unit)?)?;
        count.checked_mul(seconds)
    })
}

fn parse_absolute(text: &str) -> Option<Moment> {
    let (date, clock) = match text.split_once(['T', 't']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let date = civil::Date::new(
        fixed(parts.next()?, 4)?,
        i8::try_from(fixed(parts.next()?, 2)?).ok()?,
        i8::try_from(fixed(parts.next()?, 2)?).ok()?,
    )
    .ok()?;
    if parts.next().is_some() {
        return None;
    }
    let (time, offset, precision) = match clock {
        Some(clock) => parse_clock(clock)?,
        None => (civil::Time::midnight(), Offset::UTC, Precision::Day),
    };
    let timestamp = offset.to_timestamp(date.to_datetime(time)).ok()?;
    // An offset can push a time out of the years that four digits can print.
    let is_printable = Offset::UTC.to_datetime(timestamp).year() >= 0;
    is_printable.then_some(Moment::At(timestamp.as_microsecond(), precision))
}

/// Reads `HH:MM`, then `:SS` with a fraction or without, then `Z`, an offset or nothing.
fn parse_clock(text: &str) -> Option<(civil::Time, Offset, Precision)> {
    let (clock, offset) = if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        (clock, Offset::UTC)
    } else if let Some((clock, east)) = text.rsplit_once('+') {
        (clock, parse_offset(east, 1)?)
    } else if let Some((clock, west)) = text.rsplit_once('-') {
        (clock, parse_offset(west, -1)?)
    } else {
        (text, Offset::UTC)
    };
    let mut parts = clock.split(':');
    let hour = i8::try_from(fixed(parts.next()?, 2)?).ok()?;
    let minute = i8::try_from(fixed(parts.next()?, 2)?).ok()?;
    let second = parts.next();
    if parts.next().is_some() {
        return None;
    }
    let (second, micros, precision) = match second {
        None => (0, 0, Precision::Minute),
        Some(second) => match second.split_once('.') {
            None => (fixed(second, 2)?, 0, Precision::Second),
            Some((second, fraction)) => (fixed(second, 2)?, micros(fraction)?, Precision::Micro),
        },
    };
    let time = civil::Time::new(hour, minute, i8::try_from(second).ok()?, micros * 1000).ok()?;
    Some((time, offset, precision))
}

/// Reads the `HH:MM` of an offset.
fn parse_offset(text: &str, sign: i32) -> Option<Offset> {
    let (hours, minutes) = text.split_once(':')?;
    let hours = fixed(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = fixed(minutes, 2).filter(|minutes| *minutes < 60)?;
    Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)).ok()
}

/// Reads one to six digits of a second's fraction.
fn micros(text: &str) -> Option<i32> {
    let missing = u32::try_from(6_usize.checked_sub(text.len())?).ok()?;
    let count: i32 = digits(text)?;
    count.checked_mul(10_i32.pow(missing))
}

/// Reads a number of exactly `len` digits.
fn fixed(text: &str, len: usize) -> Option<i16> {
    if text.len() == len { digits(text) } else { None }
}

/// Reads a number that has digits only; the standard library would take a sign too.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Moment::Ago(0) => f.write_str("now"),
            Moment::Ago(seconds) => {
                let (unit, length) = UNITS
                    .into_iter()
                    .find(|(_, length)| seconds.is_multiple_of(*length))
                    .unwrap_or(('s', 1));
                write!(f, "-{}{unit}", seconds / length)
            }
            Moment::At(start, precision) => {
                let end = if start < 0 { Timestamp::MIN } else { Timestamp::MAX };
                let timestamp = Timestamp::from_microsecond(start).unwrap_or(end);
                let format = match precision {
                    Precision::Day => "%Y-%m-%d",
                    Precision::Minute => "%Y-%m-%dT%H:%MZ",
                    Precision::Second => "%Y-%m-%dT%H:%M:%SZ",
                    Precision::Micro => "%Y-%m-%dT%H:%M:%S%.6fZ",
                };
                write!(f, "{}", timestamp.strftime(format))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        for (text, printed) in [
            ("2026-11-22", "2026-11-22"),
            ("2026-11-22T17:25", "2026-11-22T17:25Z"),
            ("2026-11-22t17:25z", "2026-11-22T17:25Z"),
            ("2026-11-22T17:25:03", "2026-11-22T17:25:03Z"),
            ("2026-11-22T17:25:03.5Z", "2026-11-22T17:25:03.500000Z"),
            ("2026-11-22T17:25:03.000001Z", "2026-11-22T17:25:03.000001Z"),
            ("2026-11-22T00:25+01:30", "2026-11-21T22:55Z"),
            ("2026-11-22T17:25:03-08:00", "2026-11-23T01:25:03Z"),
            ("0000-01-01", "0000-01-01"),
            ("9999-12-30", "9999-12-30"),
            ("now", "now"),
            ("-0s", "now"),
            ("-90s", "-90s"),
            ("-120s", "-2m"),
            ("-48h", "-2d"),
            ("-14d", "-2w"),
        ] {
            let moment = Moment::parse(text).unwrap_or_else(|| panic!("{text} must be read"));
            assert_eq!(moment.to_string(), printed);
            assert_eq!(Moment::parse(printed), Some(moment), "{printed}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "-",
            "-h",
            "2h",
            "+2h",
            "-+2h",
            "-2y",
            "-4294967296s",
            "-99999w",
            "2026",
            "2026-11",
            "2026-11-31",
            "2026-11-22-",
            "2026-11-22T",
            "2026-11-22T17",
            "2026-11-22T24:00",
            "2026-11-22T17:25:60",
            "2026-11-22T17:25:03.",
            "2026-11-22T17:25:03.1234567Z",
            "2026-11-22T17:25+1:00",
            "2026-11-22T17:25+24:00",
            "2026-11-22T17:25:03Z+01:00",
            "0000-01-01T00:00+01:00",
            "12026-11-22",
            "２026-11-22",
            "Now",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn resolves_to_half_open_spans() {
        let now = 1_000_000_000_000;
        for (text, span) in [
            ("1970-01-02", (86_400_000_000, 172_800_000_000)),
            ("1970-01-01T00:01", (60_000_000, 120_000_000)),
            ("1970-01-01T00:00:02", (2_000_000, 3_000_000)),
            ("1970-01-01T00:00:02.5Z", (2_500_000, 2_500_001)),
            ("now", (now, now + 1)),
            ("-2h", (now - 7_200_000_000, now - 7_200_000_000 + 1)),
        ] {
            assert_eq!(Moment::parse(text).unwrap().resolve(now), span, "{text}");
        }
        assert_eq!(Moment::Ago(u32::MAX).resolve(i64::MIN), (i64::MIN, i64::MIN + 1));
        assert_eq!(Moment::Ago(0).resolve(i64::MAX), (i64::MAX, i64::MAX));
        assert_eq!(Moment::At(i64::MAX, Precision::Day).resolve(0).1, i64::MAX);
    }
}
