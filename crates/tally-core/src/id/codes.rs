//! Codes of organisations and places: ODS, GSS, UPRN. Codes die and names change, so a member's id
//! is none of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::BadId;

/// An organisation's code from the Organisation Data Service: 1 to 12 of A-Z and 0-9, read in
/// either case. Its shape says nothing about the organisation's type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OdsCode(Arc<str>);

impl OdsCode {
    /// The code, in capitals.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longer than the nine characters of ODS's own guidance: worth a warning, no error.
    #[must_use]
    pub fn is_unusually_long(&self) -> bool {
        self.0.len() > 9
    }

    /// Letter, digit, letter, digit, letter: the shape of new codes since October 2020.
    #[must_use]
    pub fn is_anana(&self) -> bool {
        self.0.len() == 5
            && self.0.bytes().enumerate().all(|(place, byte)| {
                if place % 2 == 0 { byte.is_ascii_uppercase() } else { byte.is_ascii_digit() }
            })
    }
}

impl FromStr for OdsCode {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let fits =
            (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if fits {
            Ok(Self(Arc::from(text.to_ascii_uppercase())))
        } else {
            Err(BadId { what: "an ODS code", shape: "1 to 12 letters and digits" })
        }
    }
}

impl fmt::Display for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place's code from the Government Statistical Service: one of E, N, S, W and eight digits. It
/// names an area, and changes when the area does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GssCode(Arc<str>);

impl GssCode {
    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GssCode {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let digits = text.strip_prefix(['E', 'N', 'S', 'W']).unwrap_or_default();
        if digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadId { what: "a GSS code", shape: "one of E, N, S, W and eight digits" })
        }
    }
}

impl fmt::Display for GssCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address: a Unique Property Reference Number of 1 to 12 digits. Written with and without
/// leading zeros, which say nothing. Its `Debug` redacts: with a fact about health it is personal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uprn(u64);

impl Uprn {
    /// The number, to be written without leading zeros.
    #[must_use]
    pub const fn reveal(self) -> u64 {
        self.0
    }
}

impl FromStr for Uprn {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { what: "a UPRN", shape: "1 to 12 digits" };
        let fits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { text.parse().map(Self).map_err(|_| bad) } else { Err(bad) }
    }
}

impl fmt::Debug for Uprn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uprn(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ods_code_has_up_to_twelve_letters_and_digits_in_either_case() {
        for (text, code, anana) in [
            ("RZ9", "RZ9", false),
            ("g6v2s", "G6V2S", true),
            ("00T", "00T", false),
            ("A81001", "A81001", false),
            ("886", "886", false),
            ("ABCDE", "ABCDE", false),
        ] {
            let parsed: OdsCode = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.is_anana()), (code, anana));
            assert!(!parsed.is_unusually_long());
        }
        assert!("ABCDEFGHI1".parse::<OdsCode>().unwrap().is_unusually_long());
        for bad in ["", "R Z9", "RZ-9", "ABCDEFGHIJ123", "RÉ9"] {
            assert!(bad.parse::<OdsCode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_gss_code_has_its_nation_and_eight_digits() {
        for good in ["E08000037", "S12000033", "W06000015", "N09000003"] {
            assert_eq!(good.parse::<GssCode>().unwrap().as_str(), good);
        }
        for bad in
            ["", "E0800003", "E080000377", "X08000037", "e08000037", "E0800003A", "EE8000037"]
        {
            assert!(bad.parse::<GssCode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn leading_zeros_of_a_uprn_say_nothing() {
        let uprn = |text: &str| text.parse::<Uprn>();
        assert_eq!(uprn("010003597041"), uprn("10003597041"));
        assert_eq!(uprn("000000199356").unwrap().reveal(), 199_356);
        assert_eq!(uprn("100023336956").unwrap().reveal(), 100_023_336_956);
        for bad in ["", "1000233369561", "+1", "1 2", "12a"] {
            assert!(uprn(bad).is_err(), "{bad:?}");
        }
    }
}
