//! Instants as microseconds since the Unix epoch, and the one text form kube-apiserver gives them
//! (`MicroTime`: RFC 3339, UTC, six fractional digits). Calendars and zones are `jiff`'s.

use jiff::Timestamp;

/// An instant: microseconds since 1970-01-01T00:00:00Z, within the years −9999 to 9999.
pub type Micros = i64;

/// Parses an RFC 3339 instant; digits beyond the microsecond are cut. Anything else is `None`.
pub fn parse(text: &str) -> Option<Micros> {
    parse_micro_time(text.as_bytes())
        .or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond))
}

/// Writes an instant as `2026-01-02T03:04:05.678900Z`.
///
/// Instants beyond the calendar's range are written as its nearest end.
pub fn format(micros: Micros) -> String {
    let instant = Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    format!("{instant:.6}")
}

/// Returns the UTC date of an instant as days since 1970-01-01.
pub fn day(micros: Micros) -> i32 {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX)
}

/// One day, without leap seconds, as Unix time counts.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The exact form kube-apiserver writes, without a calendar library: this runs twice per event.
fn parse_micro_time(text: &[u8]) -> Option<Micros> {
    const SHAPE: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
    let text: &[u8; 27] = text.try_into().ok()?;
    let fits = text.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        fixed => byte == fixed,
    });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| -> i64 {
        text.iter().take(to).skip(from).fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let (year, month, date) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if !(1..=12).contains(&month) || date < 1 || date > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_from_civil(year, month, date) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + number(20, 26))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, years counted from March
/// so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, date: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cases() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", Some(0)),
            ("2026-01-02T03:04:05.678900Z", Some(1_767_323_045_678_900)),
            ("2000-02-29T23:59:59.999999Z", Some(951_868_799_999_999)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045_000_000)),
            ("2026-01-02T04:04:05.6789+01:00", Some(1_767_323_045_678_900)),
            ("2026-01-02T03:04:05.678900123Z", Some(1_767_323_045_678_900)),
            ("2026-02-29T00:00:00.000000Z", None),
            ("2026-13-01T00:00:00.000000Z", None),
            ("2026-01-02T24:00:00.000000Z", None),
            ("2026-01-02", None),
            ("", None),
        ] {
            assert_eq!(parse(text), micros, "{text}");
        }
        assert_eq!((day(-1), day(0), day(MICROS_PER_DAY)), (-1, 0, 1));
    }

    proptest! {
        #[test]
        fn format_then_parse_is_the_identity(
            micros in -62_135_596_800_000_000_i64..253_370_764_800_000_000,
        ) {
            let text = format(micros);
            prop_assert_eq!(parse(&text), Some(micros), "{}", text);
            prop_assert_eq!(parse_micro_time(text.as_bytes()), Some(micros));
        }
    }
}
