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

    /// How long ago `earlier` was; nothing if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

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
}
