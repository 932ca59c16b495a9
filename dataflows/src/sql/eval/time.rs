//! Dates and timestamps: their parts and their text, in the proleptic Gregorian calendar.

use super::{Computed, Failure};
use crate::sql::plan::TimeUnit;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, date};

const DAY_MICROS: i64 = 86_400_000_000;

/// The moment that lies so many microseconds behind 1970-01-01 00:00:00.
fn moment(micros: i64) -> Computed<DateTime> {
    let epoch = date(1970, 1, 1).at(0, 0, 0, 0);
    let moment = epoch.checked_add(SignedDuration::from_micros(micros));
    moment.map_err(|_| Failure::OutOfRange)
}

/// The microseconds from 1970-01-01 00:00:00 to this moment.
fn micros(moment: DateTime) -> Computed<i64> {
    let since = moment.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since.as_micros()).map_err(|_| Failure::OutOfRange)
}

/// The midnight of a date, which is given in days since 1970-01-01.
pub fn midnight(days: i32) -> i64 {
    i64::from(days) * DAY_MICROS
}

/// The date of a timestamp: cut towards the past.
pub fn day(micros: i64) -> Computed<i32> {
    i32::try_from(micros.div_euclid(DAY_MICROS)).map_err(|_| Failure::OutOfRange)
}

/// `extract(unit FROM timestamp)`.
pub fn extract(unit: TimeUnit, micros: i64) -> Computed<i64> {
    let moment = moment(micros)?;
    let date = moment.date();
    Ok(match unit {
        TimeUnit::Year => date.year().into(),
        TimeUnit::Quarter => quarter(date).into(),
        TimeUnit::Month => date.month().into(),
        TimeUnit::Week => date.iso_week_date().week().into(),
        TimeUnit::Day => date.day().into(),
        TimeUnit::Dow => date.weekday().to_sunday_zero_offset().into(),
        TimeUnit::IsoDow => date.weekday().to_monday_one_offset().into(),
        TimeUnit::Doy => date.day_of_year().into(),
        TimeUnit::IsoYear => date.iso_week_date().year().into(),
        TimeUnit::Hour => moment.hour().into(),
        TimeUnit::Minute => moment.minute().into(),
    })
}

/// `date_trunc(unit, timestamp)`.
pub fn truncate(unit: TimeUnit, timestamp: i64) -> Computed<i64> {
    let moment = moment(timestamp)?;
    let day = moment.date();
    let first = match unit {
        TimeUnit::Year => day.first_of_year(),
        TimeUnit::Quarter => date(day.year(), 3 * quarter(day) - 2, 1),
        TimeUnit::Month => day.first_of_month(),
        TimeUnit::Week => {
            let monday =
                midnight(self::day(timestamp)?) - DAY_MICROS * i64::from(day.weekday().to_monday_zero_offset());
            return Ok(monday);
        }
        TimeUnit::Day => day,
        TimeUnit::Hour => return micros(day.at(moment.hour(), 0, 0, 0)),
        TimeUnit::Minute => return micros(day.at(moment.hour(), moment.minute(), 0, 0)),
        TimeUnit::Dow | TimeUnit::IsoDow | TimeUnit::Doy | TimeUnit::IsoYear => return Err(Failure::WrongType),
    };
    micros(first.at(0, 0, 0, 0))
}

fn quarter(date: Date) -> i8 {
    (date.month() + 2) / 3
}

/// `2020-08-28`.
pub fn date_text(days: i32) -> Computed<String> {
    Ok(moment(midnight(days))?.date().to_string())
}

/// `2020-08-28 03:52:47`, with a fraction when there is one, without the zeros that end it.
pub fn timestamp_text(micros: i64) -> Computed<String> {
    let moment = moment(micros)?;
    let seconds = moment.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = format!(".{:06}", micros.rem_euclid(1_000_000));
    Ok(seconds + fraction.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        crate::cleaning::micros(text).unwrap()
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        use TimeUnit::{Dow, IsoDow, IsoYear, Week};
        for (text, week, year) in [
            ("0001-01-01", 1, 1),
            ("2020-12-31", 53, 2020),
            ("2021-01-03", 53, 2020),
            ("2021-01-04", 1, 2021),
            ("2019-12-30", 1, 2020),
            ("9999-12-31", 52, 9999),
        ] {
            assert_eq!(extract(Week, at(text)), Ok(week), "{text}");
            assert_eq!(extract(IsoYear, at(text)), Ok(year), "{text}");
        }
        assert_eq!(extract(Dow, at("2021-01-03")), Ok(0));
        assert_eq!(extract(IsoDow, at("2021-01-03")), Ok(7));
    }

    #[test]
    fn every_unit_begins_before_and_ends_behind() {
        let units = [
            (TimeUnit::Year, "1969-01-01 00:00:00"),
            (TimeUnit::Quarter, "1969-10-01 00:00:00"),
            (TimeUnit::Month, "1969-12-01 00:00:00"),
            (TimeUnit::Week, "1969-12-29 00:00:00"),
            (TimeUnit::Day, "1969-12-31 00:00:00"),
            (TimeUnit::Hour, "1969-12-31 23:00:00"),
            (TimeUnit::Minute, "1969-12-31 23:59:00"),
        ];
        for (unit, first) in units {
            let found = truncate(unit, at("1969-12-31 23:59:59.999999")).and_then(timestamp_text);
            assert_eq!(found.as_deref(), Ok(first));
            for edge in ["0001-01-01", "9999-12-31 23:59:59.999999"] {
                assert!(truncate(unit, at(edge)).is_ok_and(|first| first <= at(edge)));
            }
        }
        assert_eq!(truncate(TimeUnit::Doy, 0), Err(Failure::WrongType));
    }

    #[test]
    fn text_is_postgresqls() {
        for text in [
            "0001-01-01 00:00:00",
            "2020-08-28 03:52:47.5",
            "1969-12-31 23:59:59.999999",
        ] {
            assert_eq!(timestamp_text(at(text)).as_deref(), Ok(text));
        }
        assert_eq!(date_text(-719_162).as_deref(), Ok("0001-01-01"));
        assert_eq!(day(-1), Ok(-1));
    }
}
