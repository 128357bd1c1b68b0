//! What a permit rests on where the national data opt-out is asked: which checks, or why none.
//!
//! Invariant: nothing here is about one person. A check is named, counted and digested as a whole, and
//! what is told of it to those who may not count people hides them in tens.

use tally_log::Hash;

use crate::id::OptOutReference;

/// Checks that one permit rests on at most.
pub const OPT_OUT_CHECKS_MAX: usize = 16;

/// What a permit rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptOut {
    /// Answers of the service.
    Checked(OptOutChecks),
    /// The data is none that the service is about: the provider's attributable claim.
    Exempt(OptOutExemption),
}

/// Why the opt-out does not reach a provider's data, whatever the purpose. What the agreement itself
/// says (explicit consent, a statute, a court's order …) needs no mark: everybody can read it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptOutExemption {
    /// It was collected in another nation than England.
    OtherNation,
    /// It is from neither health care nor adult social care.
    NotCare,
}

/// One to 16 checks, ascending by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutChecks(Vec<OptOutCheck>);

/// A check: a request to the service and its reply, each as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutCheck {
    /// What it is called.
    pub reference: OptOutReference,
    /// People who were asked about.
    pub asked: u64,
    /// Those of them whom the reply names: they may be used.
    pub answered: u64,
    /// HMAC-SHA256 of the reply, keyed with a random key that the provider keeps: a plain hash of a
    /// few numbers would be found by trying them all.
    pub reply: Hash,
    /// How old the check was at the decision, in seconds since the request was made: nobody can say
    /// how long a reply has lain about.
    pub age_s: u64,
}

impl OptOutChecks {
    /// The checks, in any order.
    ///
    /// None if there are none or more than 16, one stands twice, or more people came back than were
    /// asked about.
    #[must_use]
    pub fn new(mut checks: Vec<OptOutCheck>) -> Option<Self> {
        checks.sort_by(|one, next| one.reference.cmp(&next.reference));
        let counted = (1..=OPT_OUT_CHECKS_MAX).contains(&checks.len());
        let once = checks.is_sorted_by(|one, next| one.reference < next.reference);
        let sound = checks.iter().all(|check| check.answered <= check.asked);
        (counted && once && sound).then_some(Self(checks))
    }

    /// The checks, ascending by reference.
    #[must_use]
    pub fn as_slice(&self) -> &[OptOutCheck] {
        &self.0
    }

    /// With people counted in tens, rounded down. Two checks that differ by one person would
    /// otherwise tell whoever reads both what that person has said.
    #[must_use]
    pub fn in_tens(&self) -> Self {
        let tens = |count: u64| count - count % 10;
        let checks = self.0.iter().map(|check| OptOutCheck {
            asked: tens(check.asked),
            answered: tens(check.answered),
            ..check.clone()
        });
        Self(checks.collect())
    }
}

impl OptOutExemption {
    /// The code: on the command line and in exports.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OtherNation => "other-nation",
            Self::NotCare => "not-care",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reference: &str, asked: u64, answered: u64) -> OptOutCheck {
        let reference = reference.parse().unwrap();
        OptOutCheck { reference, asked, answered, reply: Hash::default(), age_s: 60 }
    }

    #[test]
    fn checks_are_few_each_once_and_never_answer_more_than_was_asked() {
        let two = vec![check("AB1-251126-2", 20, 19), check("AB1-251126-1", 9, 9)];
        let known = OptOutChecks::new(two.clone()).unwrap();
        assert_eq!(known.as_slice(), [two[1].clone(), two[0].clone()]);
        assert_eq!(OptOutChecks::new(vec![]), None);
        assert_eq!(OptOutChecks::new(vec![two[0].clone(), two[0].clone()]), None);
        assert_eq!(OptOutChecks::new(vec![check("AB1-251126-1", 1, 2)]), None);
        let many = (1..18).map(|number| check(&format!("AB1-251126-{number}"), 1, 1));
        assert_eq!(OptOutChecks::new(many.collect()), None);
    }

    #[test]
    fn a_check_of_one_person_more_counts_as_many_in_tens() {
        let counts = |asked, answered| {
            let checks = OptOutChecks::new(vec![check("AB1-251126-1", asked, answered)]).unwrap();
            let tens = checks.in_tens();
            (tens.as_slice()[0].asked, tens.as_slice()[0].answered)
        };
        assert_eq!(counts(101, 98), counts(102, 98));
        assert_eq!(counts(101, 98), counts(102, 99));
        assert_eq!(counts(1, 0), counts(1, 1));
        assert_eq!(counts(9, 9), (0, 0));
    }
}
