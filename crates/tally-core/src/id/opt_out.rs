//! What a check of the national data opt-out is called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::BadId;
use crate::time::Date;

/// Digits in a row that a mailbox may have: fewer than make an NHS number.
const MAILBOX_DIGITS_MAX: usize = 8;
/// The last sequence number of a day.
const SEQUENCE_MAX: u32 = 999_999;

/// A check of the national data opt-out, as its file is named without `.dat`: mailbox, day of the
/// request and the day's sequence number, `X26OT001-251126-1`.
///
/// Invariant: no person's number can stand in it, for it goes onto the ledger: the mailbox has fewer
/// digits in a row than a number has, the day is one, and the sequence is short.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptOutReference(Arc<str>);

impl OptOutReference {
    /// The day's check with this number, from 1, of this mailbox.
    ///
    /// # Errors
    /// [`BadId`] if the mailbox is none, or the number is 0 or has more than six digits.
    pub fn new(mailbox: &str, day: Date, sequence: u32) -> Result<Self, BadId> {
        if sequence == 0 || sequence > SEQUENCE_MAX {
            return Err(BAD);
        }
        let (year, month, of_month) = day.parts();
        format!("{mailbox}-{of_month:02}{month:02}{:02}-{sequence}", year % 100).parse()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const BAD: BadId = BadId {
    what: "a reference of an opt-out check",
    shape: "MAILBOX-DDMMYY-SEQUENCE: a mailbox of 3 to 16 of A-Z and 0-9 with a letter and at most 8 digits in a row, a day, and 1 to 6 digits",
};

impl FromStr for OptOutReference {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut parts = text.split('-');
        let whole = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(mailbox), Some(day), Some(sequence), None) = whole else { return Err(BAD) };
        let short = (1..=6).contains(&sequence.len());
        let is_sequence = short && sequence.bytes().all(|it| it.is_ascii_digit());
        if is_mailbox(mailbox) && is_day(day) && is_sequence {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BAD)
        }
    }
}

fn is_mailbox(text: &str) -> bool {
    let known = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit();
    let digits = text.split(|it: char| !it.is_ascii_digit());
    (3..=16).contains(&text.len())
        && text.bytes().all(known)
        && text.bytes().any(|it| it.is_ascii_uppercase())
        && digits.into_iter().all(|run| run.len() <= MAILBOX_DIGITS_MAX)
}

/// `ddmmyy`, of this century.
fn is_day(text: &str) -> bool {
    let digits = text.len() == 6 && text.bytes().all(|it| it.is_ascii_digit());
    let part = |from: usize| text.get(from..from + 2).and_then(|it| it.parse::<u16>().ok());
    let (Some(day), Some(month), Some(year)) = (part(0), part(2), part(4)) else { return false };
    let small = |number: u16| u8::try_from(number).unwrap_or(0);
    digits && Date::new(2000 + year, small(month), small(day)).is_ok()
}

impl fmt::Display for OptOutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OptOutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_mailbox_day_and_sequence() {
        let day = Date::new(2026, 11, 25).unwrap();
        let made = OptOutReference::new("X26OT001", day, 7).unwrap();
        assert_eq!(made.as_str(), "X26OT001-251126-7");
        assert_eq!("X26OT001-251126-7".parse::<OptOutReference>().unwrap(), made);
        // A council's own code is digits only; its mailbox goes on with letters.
        assert!("886OT002-290228-000001".parse::<OptOutReference>().is_ok());
        assert!(OptOutReference::new("X26OT001", day, 0).is_err());
        assert!(OptOutReference::new("X26OT001", day, 1_000_000).is_err());
    }

    #[test]
    fn no_persons_number_fits_into_a_reference() {
        for bad in [
            "9990000018-251126-1",
            "X9990000018-251126-1",
            "X999000001-251126-1",
            "X26OT001-9990000018-1",
            "X26OT001-251126-9990000018",
            "X26OT001-310226-1",
            "X26OT001-290227-1",
            "x26ot001-251126-1",
            "X26 OT001-251126-1",
            "X2-251126-1",
            "X26OT001X26OT001X-251126-1",
            "X26OT001-251126",
            "X26OT001-251126-",
            "X26OT001-251126-1-1",
            "X26OT001-251126-+1",
            "",
        ] {
            let refused = bad.parse::<OptOutReference>().unwrap_err();
            assert!(!refused.to_string().contains("0018"), "{bad}");
        }
    }
}
