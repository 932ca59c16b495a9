//! Times: text to microseconds since 1970-01-01 00:00:00 UTC, and their UTC year.
//!
//! Accepted: `2020-08-28` or `08/28/2020`, alone (its midnight) or followed by a time of day: after a space or `T`
//! for the first form, after a comma and a space for the second. The time of day is `03:52:47`, then perhaps a
//! fraction (`.123456789`: cut to microseconds, not rounded), then perhaps `Z` or an offset (`+02:00`, `+0200`,
//! `+02`; a space may stand before it). Without a zone it is UTC. Anything else, `:60` and `24:00` included, is
//! unreadable, and so is a time outside the years 1 to 9999 once it is in UTC.

const DAY: i64 = 86_400;
const MICROS: i64 = 1_000_000;
/// 0001-01-01 and 10000-01-01 in days since 1970-01-01.
const YEARS: std::ops::Range<i64> = -719_162..2_932_897;

/// The microseconds of a time written as text, or `None` when it is unreadable.
pub fn micros(text: &str) -> Option<i64> {
    let text = text.as_bytes();
    if let Ok(text) = text.try_into()
        && let Some(micros) = usual(text)
    {
        return Some(micros);
    }
    any_form(text)
}

/// The microseconds of a time in any of the forms.
fn any_form(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month, day, rest) = match date {
        [y @ .., b'-', m1, m2, b'-', d1, d2] => {
            let clock = match rest {
                [b' ' | b'T' | b't', clock @ ..] if !clock.is_empty() => clock,
                [] => rest,
                _ => return None,
            };
            (number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?, clock)
        }
        [m1, m2, b'/', d1, d2, b'/', y @ ..] => {
            let clock = match rest {
                [b',', b' ', clock @ ..] if !clock.is_empty() => clock,
                [] => rest,
                _ => return None,
            };
            (number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?, clock)
        }
        _ => return None,
    };
    let days = days(year, month, day)?;
    let (seconds, micros) = if rest.is_empty() { (0, 0) } else { clock(rest)? };
    let seconds = days * DAY + seconds;
    YEARS
        .contains(&seconds.div_euclid(DAY))
        .then_some(seconds * MICROS + micros)
}

/// The microseconds of `2020-08-28 03:52:47`, as nearly all times are written; whatever else it is, is `None`.
fn usual(text: &[u8; 19]) -> Option<i64> {
    let mut odd = 0;
    let mut two = |at: usize| {
        let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
        odd |= u8::from(tens > 9) | u8::from(ones > 9);
        i64::from(tens) * 10 + i64::from(ones)
    };
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    let marks = [text[4], text[7], text[10], text[13], text[16]];
    if odd != 0 || marks != *b"-- ::" || year == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((days(year, month, day)? * DAY + hour * 3_600 + minute * 60 + second) * MICROS)
}

/// 0000-03-01 in days before 1970-01-01: a year that begins in March ends with the day that not every year has.
const MARCH_0: i64 = 719_468;

/// The UTC year of a time that [`micros`] gave.
#[inline]
pub fn year(micros: i64) -> i16 {
    // Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms",
    // <https://doi.org/10.1002/spe.3172>: a product with 2_939_745 is a quotient by 1,461 (the days of four years) in its
    // high half, and in its low half the rest, 2_939_745 times
    let days = (micros.wrapping_add(MARCH_0 * DAY * MICROS) as u64 / (DAY * MICROS) as u64) as u32;
    let (century, of_century) = ((4 * days + 3) / 146_097, (4 * days + 3) % 146_097);
    let scaled = 2_939_745 * u64::from(of_century | 3);
    let day_of_year = scaled as u32 / 2_939_745 / 4;
    // January and February belong to the next one
    (100 * century + (scaled >> 32) as u32 + u32::from(day_of_year >= 306)) as i16
}

/// Seconds (less the offset) and microseconds of a time of day with its fraction and zone.
fn clock(text: &[u8]) -> Option<(i64, i64)> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else {
        return None;
    };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second;
    let (micros, rest) = match rest {
        [b'.', fraction @ ..] => {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let kept = length.min(6);
            let micros = number(&fraction[..kept])? * 10i64.pow(6 - kept as u32);
            (micros, &fraction[length..])
        }
        _ => (0, rest),
    };
    Some((seconds - offset(rest)?, micros))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let text = match text {
        [] => return Some(0),
        [b' ', zone @ ..] => zone,
        _ => text,
    };
    let (sign, text) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match text {
        [h1, h2] => (number(&[*h1, *h2])?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (number(&[*h1, *h2])?, number(&[*m1, *m2])?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar; `None` when there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // the year begins in March, and the calendar repeats itself after 400 of them: none of what is divided is negative
    let (year, month) = if month > 2 {
        (year as u32 + 400, month as u32 - 3)
    } else {
        (year as u32 + 399, month as u32 + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day as u32 - 1;
    Some(i64::from(days) - 146_097 - MARCH_0)
}

/// A number of one or more digits.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + (byte - b'0') as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, civil};
    use proptest::prelude::*;

    const EPOCH: civil::DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);

    /// jiff's civil calendar reaches 9999-12-31, its time stamps do not.
    fn at(text: &str) -> i64 {
        let time: civil::DateTime = text.strip_suffix('Z').unwrap().parse().unwrap();
        time.duration_since(EPOCH).as_micros() as i64
    }

    #[test]
    fn accepted_forms() {
        let cases = [
            ("2020-08-28 03:52:47", "2020-08-28T03:52:47Z"),
            ("2020-08-28T03:52:47", "2020-08-28T03:52:47Z"),
            ("2020-08-28T03:52:47Z", "2020-08-28T03:52:47Z"),
            ("08/28/2020, 03:52:47", "2020-08-28T03:52:47Z"),
            ("08/28/2020", "2020-08-28T00:00:00Z"),
            ("2020-08-28", "2020-08-28T00:00:00Z"),
            ("2020-08-28 03:52:47.1", "2020-08-28T03:52:47.1Z"),
            ("2020-08-28 03:52:47.123456999", "2020-08-28T03:52:47.123456Z"),
            ("1969-12-31 23:59:59.9999999", "1969-12-31T23:59:59.999999Z"),
            ("2020-08-28T03:52:47.000+0000", "2020-08-28T03:52:47Z"),
            ("2020-08-28T03:52:47+02:00", "2020-08-28T01:52:47Z"),
            ("2020-08-28T03:52:47-0530", "2020-08-28T09:22:47Z"),
            ("2020-08-28 03:52:47 +02", "2020-08-28T01:52:47Z"),
            ("2019-12-31T23:30:00-01:00", "2020-01-01T00:30:00Z"),
            ("2020-02-29", "2020-02-29T00:00:00Z"),
            ("0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
            ("0000-12-31T23:30:00-01:00", "0001-01-01T00:30:00Z"),
            ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
        ];
        for (text, same) in cases {
            assert_eq!(micros(text), Some(at(same)), "{text}");
        }
    }

    #[test]
    fn refused_forms() {
        let cases = [
            "",
            "0",
            "2020",
            "2020-08",
            "2020-8-28",
            "20200828",
            "2020-08-28 ",
            "2020-08-28T",
            "2020-08-28 03:52",
            "2020-08-28 24:00:00",
            "2020-08-28 23:59:60",
            "2020-08-28 23:60:00",
            "2020-01-32",
            "2020-02-30",
            "2020-04-31",
            "2020-06-31",
            "2020-09-31",
            "2020-11-31",
            "2021-02-29",
            "1900-02-29",
            "2020-13-01",
            "2020-00-01",
            "2020-01-00",
            "0000-01-01",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:30:00-01:00",
            "10000-01-01",
            "-001-01-01",
            "2020-08-28 03:52:47.",
            "2020-08-28 03:52:47,5",
            "2020-08-28 03:52:47 ",
            "2020-08-28 03:52:47 UTC",
            "2020-08-28 03:52:47+",
            "2020-08-28 03:52:47+2",
            "2020-08-28 03:52:47+24:00",
            "2020-08-28 03:52:47+02:60",
            "2020-08-28Z",
            " 2020-08-28",
            "28/08/2020",
            "08/28/2020 03:52:47",
            "08/28/2020, ",
            "2020-08-28, 03:52:47",
            "2020/08/28",
            "1598586767",
            "٢٠٢٠-٠٨-٢٨",
            "date_joined",
            "2020-08-28  03:52:47",
            "2020-08-28 03:52:47  Z",
            "+020-08-28",
            "2020-08-28 +3:52:47",
        ];
        for text in cases {
            assert_eq!(micros(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_day_of_the_calendar() {
        let mut date = civil::date(1, 1, 1);
        let mut expected = at("0001-01-01T00:00:00Z");
        loop {
            let text = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
            assert_eq!(micros(&text), Some(expected), "{text}");
            assert_eq!(
                (year(expected), year(expected + DAY * MICROS - 1)),
                (date.year(), date.year()),
                "{text}"
            );
            // every day of some eras, then strides, so that the test stays quick
            let stride = if (1890..2110).contains(&date.year()) { 1 } else { 13 };
            let Ok(next) = date.checked_add(jiff::Span::new().days(stride)) else {
                break;
            };
            date = next;
            expected += stride * DAY * MICROS;
        }
    }

    #[test]
    fn the_first_and_the_last_day_of_every_year_and_of_every_february() {
        for of in 1..=9999 {
            let of_day = |day: i64| i64::from(year(day * DAY * MICROS));
            let (first, march) = (days(of, 1, 1).unwrap(), days(of, 3, 1).unwrap());
            assert_eq!([first - 1, first].map(of_day), [of - 1, of]);
            assert_eq!([march - 2, march - 1, march].map(of_day), [of; 3]);
        }
    }

    /// Each byte of some usual times, and each pair of them, replaced with every other one.
    #[test]
    fn usual_times_are_read_as_in_any_form() {
        for usual_time in [
            b"2020-08-28 03:52:47",
            b"0001-01-01 00:00:00",
            b"9999-12-31 23:59:59",
            b"2000-02-29 19:09:50",
        ] {
            for (at, byte) in (0..usual_time.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                for end in [at + 1, (at + 2).min(usual_time.len())] {
                    let mut text = *usual_time;
                    text[at..end].fill(byte);
                    let expected = any_form(&text).filter(|_| text[10] == b' ');
                    assert_eq!(usual(&text), expected, "{}", text.escape_ascii());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn agrees_with_jiff(
            seconds in -62_135_596_800i64..253_402_300_800, nanos in 0u32..1_000_000_000, offset_minutes in -1_439i32..1_440
        ) {
            let instant = EPOCH + SignedDuration::from_secs(seconds);
            let local = instant.checked_add(SignedDuration::from_mins(offset_minutes.into()));
            prop_assume!(local.as_ref().is_ok_and(|local| local.year() >= 0));
            let local = local.unwrap();
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{nanos:09}{sign}{:02}:{:02}",
                local.year(), local.month(), local.day(), local.hour(), local.minute(), local.second(),
                offset_minutes.abs() / 60, offset_minutes.abs() % 60,
            );
            prop_assert_eq!(micros(&text), Some(seconds * MICROS + (nanos / 1_000) as i64), "{}", text);
            prop_assert_eq!(year(seconds * MICROS), instant.year());
        }

        #[test]
        fn never_panics(text in "[-0-9/,: TZ.+]{0,40}|\\PC{0,30}") {
            if let Some(micros) = micros(&text) {
                prop_assert!((1..=9999).contains(&year(micros)));
            }
        }
    }
}
