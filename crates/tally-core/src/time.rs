//! Instants as arguments: milliseconds since the Unix epoch, as some clock outside saw them.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This instant and a wait, or the last instant there is.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This instant less a wait, or the first instant there is.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The civil day in Europe/London. Before 2000 it is the first day that a [`Date`] can name,
    /// after 2199 the last one.
    ///
    /// Summer time runs from 01:00 UTC on the last Sunday of March to 01:00 UTC on the last Sunday
    /// of October: Summer Time Act 1972 s.1 and 2, as the Summer Time Order 2002 (SI 2002/262) left
    /// them. The rule is code, and not the host's time zones: all ledger nodes must agree on it.
    #[must_use]
    pub fn london_date(self) -> Date {
        let at_ms = self.0.clamp(FIRST_DATE_MS, LAST_DATE_MS);
        let local_ms = if is_summer(at_ms) { at_ms + HOUR_MS } else { at_ms };
        let civil = Civil::of_day(local_ms.min(LAST_DATE_MS) / DAY_MS);
        let year = u16::try_from(civil.year).unwrap_or(LAST_YEAR);
        Date { year, month: civil.month, day: civil.day }
    }

    /// The hour of that day in Europe/London, 0 to 23, by the same rule.
    #[must_use]
    pub fn london_hour(self) -> u8 {
        let at_ms = self.0.clamp(FIRST_DATE_MS, LAST_DATE_MS);
        let local_ms = if is_summer(at_ms) { at_ms + HOUR_MS } else { at_ms };
        u8::try_from(local_ms % DAY_MS / HOUR_MS).unwrap_or(0)
    }

    /// RFC 3339 in UTC to the millisecond: `2026-11-23T10:15:02.113Z`. From the year 10000 on,
    /// which RFC 3339 can't write, it is the last instant of 9999.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let at_ms = self.0.min(LAST_RFC3339_MS);
        let civil = Civil::of_day(at_ms / DAY_MS);
        let of_day_ms = at_ms % DAY_MS;
        let (of_day_s, ms) = (of_day_ms / 1_000, of_day_ms % 1_000);
        let (hour, minute, second) = (of_day_s / 3_600, of_day_s / 60 % 60, of_day_s % 60);
        let Civil { year, month, day, .. } = civil;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const LAST_YEAR: u16 = 2199;
/// 2000-01-01T00:00:00.000Z, the first instant of the first [`Date`].
const FIRST_DATE_MS: u64 = 946_684_800_000;
/// 2199-12-31T23:59:59.999Z, the last instant of the last [`Date`].
const LAST_DATE_MS: u64 = 7_258_118_399_999;
/// 9999-12-31T23:59:59.999Z.
const LAST_RFC3339_MS: u64 = 253_402_300_799_999;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A civil day in Europe/London, as agreements have it. Orders as days do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// There is no such day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day: expected YYYY-MM-DD, from 2000-01-01 to 2199-12-31")]
pub struct BadDate;

impl Date {
    /// The day of the Gregorian calendar.
    ///
    /// # Errors
    /// [`BadDate`] if there is none, or outside the years 2000 to 2199.
    pub const fn new(year: u16, month: u8, day: u8) -> Result<Self, BadDate> {
        if year < 2000 || year > 2199 || day < 1 || day > days_in_month(year, month) {
            return Err(BadDate);
        }
        Ok(Self { year, month, day })
    }

    /// The day of the week: 1 is Monday, 7 is Sunday (ISO 8601). By Sakamoto's method.
    #[must_use]
    pub fn weekday(self) -> u8 {
        const SHIFTS: [u16; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = usize::from(self.month).saturating_sub(1);
        let shift = SHIFTS.get(month).copied().unwrap_or_default();
        let year = if self.month < 3 { self.year.saturating_sub(1) } else { self.year };
        let since_sunday =
            (year + year / 4 - year / 100 + year / 400 + shift + u16::from(self.day)) % 7;
        u8::try_from(if since_sunday == 0 { 7 } else { since_sunday }).unwrap_or(7)
    }

    /// Year, month from 1, day from 1.
    #[must_use]
    pub const fn parts(self) -> (u16, u8, u8) {
        (self.year, self.month, self.day)
    }
}

impl std::str::FromStr for Date {
    type Err = BadDate;

    fn from_str(text: &str) -> Result<Self, BadDate> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(BadDate);
        let (year, month, day) = (part()?, part()?, part()?);
        let date = Self::new(
            year.parse().map_err(|_| BadDate)?,
            month.parse().map_err(|_| BadDate)?,
            day.parse().map_err(|_| BadDate)?,
        )?;
        // One day has one text: no sign, no missing zero.
        if date.to_string() == text { Ok(date) } else { Err(BadDate) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A day of the Gregorian calendar, of any year.
struct Civil {
    year: u64,
    month: u8,
    day: u8,
    /// 0 is Sunday.
    weekday: u8,
}

impl Civil {
    /// The day of a number of days since 1970-01-01. Counted from 1 March of the year 0, so that a
    /// leap day is the last of its year (the idea of Hinnant's `civil_from_days`).
    fn of_day(days: u64) -> Self {
        let since_march_0 = days + 719_468;
        let (cycle, of_cycle) = (since_march_0 / 146_097, since_march_0 % 146_097);
        let leap_days_before = of_cycle / 1_460 + of_cycle / 146_096 - of_cycle / 36_524;
        let year_of_cycle = (of_cycle - leap_days_before) / 365;
        let year_start = 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100;
        let of_year = of_cycle - year_start;
        // From March on, months of 31 and 30 days alternate so that five of them are 153 days.
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let (month, years) =
            if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
        // 1970-01-01 was a Thursday.
        let weekday = (days + 4) % 7;
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Self {
            year: 400 * cycle + year_of_cycle + years,
            month: small(month),
            day: small(day),
            weekday: small(weekday),
        }
    }

    /// The last Sunday of a month of 31 days that this day is in.
    const fn last_sunday_of_31(&self) -> u8 {
        let weekday_of_31st = (self.weekday + 31 - self.day) % 7;
        31 - weekday_of_31st
    }
}

/// Whether clocks in the UK are an hour ahead of UTC.
fn is_summer(at_ms: u64) -> bool {
    let civil = Civil::of_day(at_ms / DAY_MS);
    let change = (civil.last_sunday_of_31(), HOUR_MS);
    let now = (civil.day, at_ms % DAY_MS);
    match civil.month {
        3 => now >= change,
        4..=9 => true,
        10 => now < change,
        _ => false,
    }
}

/// 0 for a month that there is not.
const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_prints_as_it_was_written_or_is_none() {
        for text in ["2026-01-01", "2028-02-29", "2199-12-31"] {
            assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
        }
        for bad in
            ["2026-02-29", "2026-13-01", "2026-1-01", "2026-01-00", "+026-01-01", "1999-12-31"]
        {
            assert_eq!(bad.parse::<Date>(), Err(BadDate), "{bad:?}");
        }
    }

    #[test]
    fn the_clocks_change_at_one_on_the_last_sundays_of_march_and_october() {
        // Milliseconds of the two changes, from the tables of gov.uk/when-do-the-clocks-change.
        let changes = [
            (1_774_746_000_000, 1_792_890_000_000), // 2026: 29 March, 25 October
            (1_806_195_600_000, 1_824_944_400_000), // 2027: 28 March, 31 October
            (1_837_645_200_000, 1_856_394_000_000), // 2028: 26 March, 29 October
        ];
        for (to_summer, to_winter) in changes {
            assert!(!is_summer(to_summer - 1) && is_summer(to_summer));
            assert!(is_summer(to_winter - 1) && !is_summer(to_winter));
        }
    }

    #[test]
    fn a_day_begins_an_hour_earlier_in_summer() {
        let cases = [
            (1_767_225_599_999, "2025-12-31"), // 2025-12-31T23:59:59.999Z
            (1_767_225_600_000, "2026-01-01"), // 2026-01-01T00:00:00.000Z
            (1_774_742_399_999, "2026-03-28"), // winter, an hour and a bit before the change
            (1_774_742_400_000, "2026-03-29"), // winter's midnight
            (1_774_825_199_999, "2026-03-29"), // 2026-03-29T22:59:59.999Z
            (1_774_825_200_000, "2026-03-30"), // 2026-03-29T23:00:00.000Z
            (1_792_882_799_999, "2026-10-24"), // 2026-10-24T22:59:59.999Z
            (1_792_882_800_000, "2026-10-25"), // 2026-10-24T23:00:00.000Z
            (1_792_972_799_999, "2026-10-25"), // 2026-10-25T23:59:59.999Z
            (1_792_972_800_000, "2026-10-26"), // winter again
            (1_835_395_200_000, "2028-02-29"), // a leap day
            (1_835_481_600_000, "2028-03-01"), // the day after it
            (4_107_542_400_000, "2100-03-01"), // 2100 is no leap year
            (4_107_542_399_999, "2100-02-28"), // so this is the day before
            (951_782_400_000, "2000-02-29"),   // 2000 is one
            (0, "2000-01-01"),                 // before all dates
            (7_258_118_399_999, "2199-12-31"), // the last instant
            (u64::MAX, "2199-12-31"),          // after all dates
        ];
        for (at_ms, day) in cases {
            assert_eq!(Timestamp(at_ms).london_date(), day.parse().unwrap(), "{at_ms}");
        }
    }

    #[test]
    fn hours_are_those_of_the_clocks_on_the_wall() {
        let cases = [
            (1_774_745_999_999, 0), // 2026-03-29T00:59:59.999Z, winter
            (1_774_746_000_000, 2), // one o'clock there is not
            (1_792_889_999_999, 1), // 2026-10-25T00:59:59.999Z, summer
            (1_792_890_000_000, 1), // and one o'clock again
            (0, 0),
            (u64::MAX, 23),
        ];
        for (at_ms, hour) in cases {
            assert_eq!(Timestamp(at_ms).london_hour(), hour, "{at_ms}");
        }
    }

    #[test]
    fn a_week_begins_on_monday() {
        let cases = [
            ("2026-11-23", 1),
            ("2026-11-29", 7),
            ("2000-02-29", 2),
            ("2100-03-01", 1),
            ("2199-12-31", 2),
        ];
        for (day, weekday) in cases {
            assert_eq!(day.parse::<Date>().unwrap().weekday(), weekday, "{day}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before_it() {
        let mut expected = Date::new(2000, 1, 1).unwrap();
        let mut at_ms = FIRST_DATE_MS + DAY_MS / 2;
        while at_ms < LAST_DATE_MS {
            assert_eq!(Timestamp(at_ms).london_date(), expected);
            let (year, month, day) = expected.parts();
            let next = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            let next = next.into_iter().find_map(|(y, m, d)| Date::new(y, m, d).ok());
            let Some(next) = next else { break };
            expected = next;
            at_ms += DAY_MS;
        }
        assert_eq!(expected.to_string(), "2199-12-31");
    }

    #[test]
    fn an_instant_prints_in_utc_to_the_millisecond() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_428_902_113, "2026-11-23T10:15:02.113Z"),
            (1_792_890_000_000, "2026-10-25T01:00:00.000Z"),
            (1_835_395_200_001, "2028-02-29T00:00:00.001Z"),
            (LAST_RFC3339_MS, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (at_ms, text) in cases {
            assert_eq!(Timestamp(at_ms).rfc3339(), text);
        }
    }
}
