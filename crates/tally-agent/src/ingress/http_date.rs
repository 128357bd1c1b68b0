//! Instants of FHIR as dates of HTTP, and back: whole seconds since 1970, as both can say them.

/// A FHIR `instant` (R4 §2.24.0.1): `2026-03-01T00:30:00.250+01:00`. Fractions are left out: HTTP has
/// none.
pub(super) fn of_instant(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    let mut day = day.split('-').map(number);
    let (year, month, date) = (day.next()??, day.next()??, day.next()??);
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    number(fraction)?;
    let ahead_s = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let ahead_s = number(hours)? * 3_600 + number(minutes)? * 60;
            if sign == "-" { -ahead_s } else { ahead_s }
        }
    };
    Some(since_1970(year, month, date, of_clock(clock)?)? - ahead_s)
}

/// An IMF-fixdate (RFC 9110 §5.6.7): `Sat, 28 Feb 2026 23:30:00 GMT`. None for the two older spellings
/// too: what is not understood is as if it were not there.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (_, text) = text.trim().split_once(", ")?;
    let mut words = text.split(' ');
    let date = number(words.next()?)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|it| *it == month)?;
    let (year, clock) = (number(words.next()?)?, words.next()?);
    let is_utc = words.next() == Some("GMT") && words.next().is_none();
    since_1970(year, i64::try_from(month).ok()? + 1, date, of_clock(clock)?).filter(|_| is_utc)
}

/// As HTTP writes it; none outside the years that have four digits.
pub(super) fn shown(seconds: i64) -> Option<String> {
    let (days, of_day) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, date) = civil(days);
    let month = MONTHS.get(usize::try_from(month - 1).ok()?)?;
    // 1970-01-01 was a Thursday.
    let weekday = WEEKDAYS.get(usize::try_from((days + 3).rem_euclid(7)).ok()?)?;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    (1..=9_999).contains(&year).then(|| {
        format!("{weekday}, {date:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    })
}

const DAY_S: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Digits, and no more than fit.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Seconds of the day of `00:30:00`.
fn of_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // 60 is a leap second.
    let fits = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    fits.then_some(hour * 3_600 + minute * 60 + second)
}

fn since_1970(year: i64, month: i64, date: i64, of_day: i64) -> Option<i64> {
    let days = days(year, month, date);
    let fits = (1..=9_999).contains(&year) && civil(days) == (year, month, date);
    fits.then_some(days * DAY_S + of_day)
}

/// Days since 1970 of a day of the Gregorian calendar, counted from 1 March of the year 0, so that a
/// leap day is the last of its year.
const fn days(year: i64, month: i64, date: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let from_march = (month + 9).rem_euclid(12);
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + date - 1;
    cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

/// The day of a number of days since 1970: year, month, day.
const fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0 = days + 719_468;
    let (cycle, of_cycle) = (since_march_0.div_euclid(146_097), since_march_0.rem_euclid(146_097));
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let (month, years) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    (400 * cycle + year + years, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_the_date_that_http_writes() {
        for (instant, date) in [
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2026-03-01T00:30:00.250+01:00", "Sat, 28 Feb 2026 23:30:00 GMT"),
            ("2024-02-29T23:59:59-05:30", "Fri, 01 Mar 2024 05:29:59 GMT"),
            ("1994-11-06T08:49:37.000000+00:00", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1960-12-31T12:00:00Z", "Sat, 31 Dec 1960 12:00:00 GMT"),
        ] {
            let seconds = of_instant(instant).unwrap();
            assert_eq!(shown(seconds).as_deref(), Some(date), "{instant}");
            assert_eq!(parse(date), Some(seconds), "{date}");
        }
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T00:30:00",
            "2026-02-30T00:30:00Z",
            "2026-13-01T00:30:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T00:30Z",
            "2026-03-01T00:30:00.Z",
            "2026-03-01T00:30:00+1",
            "2026-03-01T00:30:00Zx",
            "99999-03-01T00:30:00Z",
        ] {
            assert_eq!(of_instant(text), None, "{text}");
        }
        for text in [
            "",
            "Sat, 28 Feb 2026 23:30:00",
            "Sat, 28 Feb 2026 23:30:00 CET",
            "Saturday, 28-Feb-26 23:30:00 GMT",
            "Sat, 31 Feb 2026 23:30:00 GMT",
            "2026-02-28",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_dates_lead_to_each_other() {
        for day in (-800_000..3_000_000).step_by(61) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }
}
