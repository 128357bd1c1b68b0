//! NHS numbers, and the numbers of Scotland and Northern Ireland that share their space (ISB 0149).
//!
//! Invariant: a number is printed nowhere. Its `Debug` redacts, it has no `Display`, and no error
//! repeats it.

use std::fmt;

use crate::entry::Environment;

/// Ten digits as text: leading zeros count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NhsNumber([u8; 10]);

/// How strictly a number is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CheckDigit {
    /// It must be right.
    #[default]
    Checked,
    /// It is not looked at: `identifiers = "synthetic"`, for published test data, of which many
    /// numbers have a wrong one.
    Skipped,
}

/// Who was given the numbers of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NhsRange {
    /// Scotland's CHI: a date of birth comes first.
    Scotland,
    /// Northern Ireland's Health and Care numbers.
    NorthernIreland,
    /// England, Wales and the Isle of Man.
    EnglandWalesIsleOfMan,
    /// Never given to a person: internal testing.
    InternalTesting,
    /// Ireland's Individual Health Identifier.
    Ireland,
    /// Kept for later, or between two ranges.
    Unassigned,
    /// Never given to a person: made-up people.
    Synthetic,
}

/// The text is no NHS number. Says why, never which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BadNhsNumber {
    /// Not ten digits.
    #[error("not an NHS number: expected ten digits")]
    Length,
    /// Something else than digits, or separators elsewhere than in 3-3-4.
    #[error("not an NHS number: expected digits, all in one or as 3 3 4 or 3-3-4")]
    Character,
    /// The tenth digit does not belong to the other nine (Modulus 11).
    #[error("not an NHS number: its check digit is wrong")]
    CheckDigit,
    /// The first nine digits have no check digit, so the number was never given to anyone.
    #[error("not an NHS number: no check digit belongs to its first nine digits")]
    NeverIssued,
}

impl BadNhsNumber {
    /// The code: `bad-length`, `bad-char`, `bad-check`, `never-issued`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Length => "bad-length",
            Self::Character => "bad-char",
            Self::CheckDigit => "bad-check",
            Self::NeverIssued => "never-issued",
        }
    }
}

impl NhsNumber {
    /// Reads a number: ten digits, or written as 3-3-4 with single spaces or with hyphens.
    ///
    /// # Errors
    /// [`BadNhsNumber`] says what is wrong with it.
    pub fn parse(text: &str, check: CheckDigit) -> Result<Self, BadNhsNumber> {
        let digits = without_separators(text)?;
        let digits: [u8; 10] = digits.try_into().map_err(|_| BadNhsNumber::Length)?;
        if check == CheckDigit::Checked {
            let (first, last) = digits.split_at(9);
            let expected = check_digit(first).ok_or(BadNhsNumber::NeverIssued)?;
            if last != [b'0' + expected] {
                return Err(BadNhsNumber::CheckDigit);
            }
        }
        Ok(Self(digits))
    }

    /// The ten digits: for stores, openings and sources only, never for a log, a metric, an error,
    /// a URL or the ledger.
    #[must_use]
    pub fn reveal(&self) -> &str {
        // Only digits are ever stored, so this is always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whose range it lies in.
    #[must_use]
    pub fn range(&self) -> NhsRange {
        match self.0.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0')) {
            10_000_000..=3_112_999_999 => NhsRange::Scotland,
            3_200_000_000..=3_999_999_999 => NhsRange::NorthernIreland,
            4_000_000_000..=4_999_999_999 | 6_000_000_000..=7_999_999_999 => {
                NhsRange::EnglandWalesIsleOfMan
            }
            5_000_000_000..=5_999_999_999 => NhsRange::InternalTesting,
            8_000_000_000..=8_599_999_999 => NhsRange::Ireland,
            9_000_000_000.. => NhsRange::Synthetic,
            _ => NhsRange::Unassigned,
        }
    }

    /// Whether a mesh of this kind may hold the number: a test mesh only what was never given to
    /// a person, a live mesh none of these.
    #[must_use]
    pub fn belongs_in(&self, environment: Environment) -> bool {
        let made_up = matches!(self.range(), NhsRange::InternalTesting | NhsRange::Synthetic);
        made_up == (environment == Environment::Test)
    }
}

impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(…)")
    }
}

/// The digits of `dddddddddd`, `ddd ddd dddd` or `ddd-ddd-dddd`.
fn without_separators(text: &str) -> Result<Vec<u8>, BadNhsNumber> {
    let separator = [' ', '-'].into_iter().find(|known| text.contains(*known));
    let digits: Vec<u8> = match separator {
        None => text.bytes().collect(),
        Some(separator) => {
            let groups: Vec<_> = text.split(separator).collect();
            let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
            let digits_only = groups.concat();
            if digits_only.len() == 10 && lengths != [3, 3, 4] {
                return Err(BadNhsNumber::Character);
            }
            digits_only.into_bytes()
        }
    };
    if digits.iter().all(u8::is_ascii_digit) { Ok(digits) } else { Err(BadNhsNumber::Character) }
}

/// Modulus 11 with the weights 10 to 2. None where it would be 10.
fn check_digit(first: &[u8]) -> Option<u8> {
    let weights = (2..=10_u32).rev();
    let sum: u32 = weights.zip(first).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => u8::try_from(digit).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Result<NhsNumber, BadNhsNumber> {
        NhsNumber::parse(text, CheckDigit::Checked)
    }

    #[test]
    fn numbers_with_a_right_check_digit_are_read() {
        let cases = [
            ("4010232137", NhsRange::EnglandWalesIsleOfMan),
            ("9876543210", NhsRange::Synthetic),
            ("9990000018", NhsRange::Synthetic),
            ("9000000009", NhsRange::Synthetic),
            ("4000000632", NhsRange::EnglandWalesIsleOfMan),
            ("0607230002", NhsRange::Scotland),
            ("6700028191", NhsRange::EnglandWalesIsleOfMan),
            ("943 476 5919", NhsRange::Synthetic),
            ("943-476-5919", NhsRange::Synthetic),
        ];
        for (text, range) in cases {
            let number = strict(text).unwrap();
            assert_eq!(number.range(), range, "{text}");
            assert_eq!(number.reveal(), text.replace([' ', '-'], ""));
        }
    }

    #[test]
    fn each_fault_has_its_own_name() {
        let cases = [
            ("1234567890", BadNhsNumber::NeverIssued),
            ("9000000015", BadNhsNumber::CheckDigit),
            ("9912003890", BadNhsNumber::CheckDigit),
            ("99900000180", BadNhsNumber::Length),
            ("999000001", BadNhsNumber::Length),
            ("", BadNhsNumber::Length),
            ("99900000l8", BadNhsNumber::Character),
            ("999000001٨", BadNhsNumber::Character),
            ("+990000018", BadNhsNumber::Character),
            ("999 000-0018", BadNhsNumber::Character),
            ("999  000 0018", BadNhsNumber::Character),
            ("9990 000 018", BadNhsNumber::Character),
            (" 9990000018", BadNhsNumber::Character),
            ("999 000 001", BadNhsNumber::Length),
        ];
        for (text, fault) in cases {
            assert_eq!(strict(text), Err(fault), "{text}");
        }
        for last in 0..10 {
            assert_eq!(strict(&format!("999000000{last}")), Err(BadNhsNumber::NeverIssued));
        }
    }

    #[test]
    fn ranges_meet_without_a_gap() {
        let cases = [
            ("0009999999", NhsRange::Unassigned),
            ("0010000000", NhsRange::Scotland),
            ("3112999999", NhsRange::Scotland),
            ("3113000000", NhsRange::Unassigned),
            ("3200000000", NhsRange::NorthernIreland),
            ("3999999999", NhsRange::NorthernIreland),
            ("4999999999", NhsRange::EnglandWalesIsleOfMan),
            ("5000000000", NhsRange::InternalTesting),
            ("5999999999", NhsRange::InternalTesting),
            ("7999999999", NhsRange::EnglandWalesIsleOfMan),
            ("8000000000", NhsRange::Ireland),
            ("8599999999", NhsRange::Ireland),
            ("8600000000", NhsRange::Unassigned),
            ("8999999999", NhsRange::Unassigned),
            ("9000000000", NhsRange::Synthetic),
            ("9999999999", NhsRange::Synthetic),
        ];
        for (text, range) in cases {
            let number = NhsNumber::parse(text, CheckDigit::Skipped).unwrap();
            assert_eq!(number.range(), range, "{text}");
        }
    }

    #[test]
    fn a_test_mesh_holds_made_up_people_and_a_live_mesh_none() {
        for (text, test) in [("9990000018", true), ("5990000003", true), ("4010232137", false)] {
            let number = NhsNumber::parse(text, CheckDigit::Skipped).unwrap();
            assert_eq!(number.belongs_in(Environment::Test), test);
            assert_eq!(number.belongs_in(Environment::Live), !test);
        }
    }

    #[test]
    fn synthetic_data_may_have_wrong_check_digits() {
        assert!(NhsNumber::parse("9000000015", CheckDigit::Skipped).is_ok());
        assert_eq!(NhsNumber::parse("900000001", CheckDigit::Skipped), Err(BadNhsNumber::Length));
    }

    #[test]
    fn a_number_does_not_print() {
        let printed = format!("{:?}", strict("9990000018").unwrap());
        assert!(!printed.contains("999"));
    }
}
