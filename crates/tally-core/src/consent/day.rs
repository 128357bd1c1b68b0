//! Days of any year, as FHIR writes them: a consent may be about records that are older than any
//! agreement.

use crate::time::Date;

/// A day of the Gregorian calendar, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// The days that a text may mean: `2022` is any day of that year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Days {
    /// The first.
    pub first: Day,
    /// The last.
    pub last: Day,
    /// Whether it is an instant somewhere in the day, and not the day as a whole.
    pub is_instant: bool,
}

impl Day {
    /// None if there is no such day in the years 1 to 9999.
    fn new(year: i32, month: i32, day: i32) -> Option<Self> {
        let known = (1..=9999).contains(&year) && (1..=12).contains(&month);
        (known && (1..=days_in(year, month)).contains(&day)).then(|| Self::of(year, month, day))
    }

    /// Counted from 1 March of the year 0, so that a leap day is the last of its year.
    const fn of(year: i32, month: i32, day: i32) -> Self {
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Self(days + (153 * month + 2) / 5 + day - 1 - 719_468)
    }

    /// The day after, or before.
    #[must_use]
    pub const fn after(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl From<Date> for Day {
    fn from(date: Date) -> Self {
        let (year, month, day) = date.parts();
        Self::of(i32::from(year), i32::from(month), i32::from(day))
    }
}

impl Days {
    /// Reads a FHIR `date`, `dateTime` or `instant`: a year, a month, a day, or a time with its zone.
    /// None if it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.splitn(3, '-');
        let year = digits(parts.next()?, 4)?;
        let month = parts.next().map(|text| digits(text, 2).ok_or(())).transpose().ok()?;
        let day = parts.next().map(|text| digits(text, 2).ok_or(())).transpose().ok()?;
        let (first, last) = match (month, day) {
            (None, _) => (Day::new(year, 1, 1)?, Day::new(year, 12, 31)?),
            (Some(month), None) => {
                (Day::new(year, month, 1)?, Day::new(year, month, days_in(year, month))?)
            }
            (Some(month), Some(day)) => {
                let day = Day::new(year, month, day)?;
                (day, day)
            }
        };
        let Some(time) = time else { return Some(Self { first, last, is_instant: false }) };
        day?;
        let minutes = minutes_in_utc(time)?;
        // London's clocks show UTC, or an hour more.
        let (first, last) = (
            first.after(minutes.div_euclid(24 * 60)),
            first.after((minutes + 60).div_euclid(24 * 60)),
        );
        Some(Self { first, last, is_instant: true })
    }
}

/// Minutes after midnight UTC of the day that is written, which may be of another day in UTC.
fn minutes_in_utc(time: &str) -> Option<i32> {
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (clock, zone) = time.split_at_checked(at)?;
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let offset = digits(hours, 2).filter(|hours| *hours <= 14)? * 60
                + digits(minutes, 2).filter(|minutes| *minutes < 60)?;
            (clock, if zone.starts_with('-') { -offset } else { offset })
        }
    };
    let mut parts = clock.splitn(3, ':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = parts.next()?;
    let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
    digits(whole, 2).filter(|second| *second <= 60)?;
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_fraction.then_some(hour * 60 + minute - offset)
}

fn digits(text: &str, count: usize) -> Option<i32> {
    let are = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    are.then(|| text.parse().ok()).flatten()
}

const fn days_in(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> Option<(i32, i32)> {
        Days::parse(text).map(|days| (days.first.0, days.last.0))
    }

    #[test]
    fn a_text_means_all_days_that_it_may() {
        assert_eq!(days("1970-01-01"), Some((0, 0)));
        assert_eq!(days("1970"), Some((0, 364)));
        assert_eq!(days("1972-02"), Some((761, 789)));
        assert_eq!(days("1969-12-31"), Some((-1, -1)));
        assert_eq!(
            Days::parse("2026-06-01").unwrap().first,
            Day::from("2026-06-01".parse::<Date>().unwrap())
        );
    }

    #[test]
    fn an_instant_is_of_the_day_that_london_has() {
        assert_eq!(days("1970-01-01T12:00:00Z"), Some((0, 0)));
        assert_eq!(days("1970-01-01T23:30:00.000Z"), Some((0, 1)), "summer or not");
        assert_eq!(days("1970-01-01T00:30:00+02:00"), Some((-1, -1)));
        assert_eq!(days("1970-01-01T23:00:00-05:00"), Some((1, 1)));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for bad in [
            "",
            "70",
            "1970-13",
            "1970-02-29",
            "1970-1-1",
            "1970-01-01T12:00:00",
            "1970T12:00:00Z",
            "1970-01-01T25:00:00Z",
            "1970-01-01T12:00Z",
            "today",
            "1970-01-01T",
            "0000-01-01",
            "1970-01-01T12:00:00.Z",
            "1970-01-01-01",
            "1970-01-01T12:00:00+aa:00",
        ] {
            assert_eq!(days(bad), None, "{bad:?}");
        }
    }
}
