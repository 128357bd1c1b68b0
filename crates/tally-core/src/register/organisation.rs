//! What an organisation is called and judged by, with the days on which that holds: codes die, names
//! change, areas get new codes while the council stays.

use crate::file::Words;
use crate::id::{BadId, GssCode, MemberId, OdsCode};
use crate::time::Date;

/// Codes of the Organisation Data Service.
pub const ODS: &str = "ods";
/// Codes of the Government Statistical Service.
pub const GSS: &str = "gss";

/// A code of the organisation in some system: `ods` `RZ9`, `gss` `E08000037`; and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrganisationCode {
    /// Which system, 1 to 16 bytes.
    pub system: String,
    /// The code, 1 to 32 bytes.
    pub value: String,
    /// Its first day; none if that was before the organisation came here.
    pub from: Option<Date>,
    /// Its last day; none while it is open. A code that was closed is never given to anybody else.
    pub until: Option<Date>,
}

/// A code without a place in its system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// System or code are too long, or empty.
    #[error("a code has 1 to 32 bytes, its system 1 to 16")]
    Length,
    /// The system has codes of another shape.
    #[error("{0}")]
    Shape(#[from] BadId),
}

impl OrganisationCode {
    /// A code that always holds. ODS codes are read in either case.
    ///
    /// # Errors
    /// [`BadCode`] if the system has no such codes; systems that are not known here take any.
    pub fn new(system: &str, value: &str) -> Result<Self, BadCode> {
        if !(1..=16).contains(&system.len()) || !(1..=32).contains(&value.len()) {
            return Err(BadCode::Length);
        }
        let value = match system {
            ODS => value.parse::<OdsCode>()?.to_string(),
            GSS => value.parse::<GssCode>()?.to_string(),
            _ => value.to_owned(),
        };
        Ok(Self { system: system.to_owned(), value, from: None, until: None })
    }

    /// Whether it holds on a day; its last day is one of its days.
    #[must_use]
    pub fn is_current(&self, today: Date) -> bool {
        self.from.is_none_or(|from| from <= today) && self.until.is_none_or(|until| today <= until)
    }

    /// Whether a text is this code, written as its system lets it be written.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        if self.system == ODS { self.value.eq_ignore_ascii_case(text) } else { self.value == text }
    }
}

/// How an organisation's data security was assessed: NHS England's Data Security and Protection
/// Toolkit, yearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assessment {
    /// With what result.
    pub status: AssessmentStatus,
    /// When it was published.
    pub published_on: Date,
}

/// The Toolkit's results, from the worst on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssessmentStatus {
    /// "Not Published".
    NotPublished,
    /// "Standards Not Met".
    NotMet,
    /// "Approaching Standards".
    Approaching,
    /// "Standards Met".
    Met,
    /// "Standards Exceeded".
    Exceeded,
}

impl AssessmentStatus {
    /// All of them with their words in files and metrics, from the worst on.
    pub const WORDS: Words<Self> = &[
        ("not-published", Self::NotPublished),
        ("not-met", Self::NotMet),
        ("approaching", Self::Approaching),
        ("met", Self::Met),
        ("exceeded", Self::Exceeded),
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, status)| *status == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Whether a list of members that one takes the place of can be one: ascending, each once, not itself.
#[must_use]
pub fn may_supersede(member: &MemberId, supersedes: &[MemberId]) -> bool {
    supersedes.is_sorted_by(|one, next| one < next) && !supersedes.contains(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_code_has_the_shape_of_its_system() {
        assert_eq!(OrganisationCode::new(ODS, "g6v2s").unwrap().value, "G6V2S");
        assert_eq!(OrganisationCode::new(ODS, "00T").unwrap().value, "00T");
        assert_eq!(OrganisationCode::new(GSS, "E08000037").unwrap().value, "E08000037");
        assert!(OrganisationCode::new("la", "NIR-A").is_ok());
        for (system, value) in
            [(ODS, "R Z9"), (GSS, "e08000037"), (GSS, "RZ9"), ("la", ""), ("", "x")]
        {
            assert!(OrganisationCode::new(system, value).is_err(), "{system} {value}");
        }
    }

    #[test]
    fn a_closed_code_holds_to_its_last_day_and_a_new_one_from_its_first() {
        let mut code = OrganisationCode::new(ODS, "RZ7").unwrap();
        assert!(code.is_current(day("2000-01-01")) && code.is_current(day("2199-12-31")));
        code.from = Some(day("2020-04-01"));
        code.until = Some(day("2024-09-30"));
        let on = |text: &str| code.is_current(day(text));
        assert_eq!(
            ["2020-03-31", "2020-04-01", "2024-09-30", "2024-10-01"].map(on),
            [false, true, true, false]
        );
    }

    #[test]
    fn an_assessment_orders_from_the_worst_on_and_has_a_word() {
        assert!(AssessmentStatus::WORDS.is_sorted_by_key(|(_, status)| *status));
        assert_eq!(AssessmentStatus::Approaching.word(), "approaching");
        assert!(AssessmentStatus::NotMet < AssessmentStatus::Approaching);
    }

    #[test]
    fn nobody_takes_its_own_place() {
        let id = |text: &str| text.parse::<MemberId>().unwrap();
        assert!(may_supersede(&id("LZ1"), &[id("LZ7"), id("LZ8")]));
        for list in [["LZ8", "LZ7"], ["LZ7", "LZ7"], ["LZ1", "LZ7"]] {
            assert!(!may_supersede(&id("LZ1"), &list.map(id)), "{list:?}");
        }
    }
}
