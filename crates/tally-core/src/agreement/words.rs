//! The words that agreement files use for closed lists.

use std::fmt;

use super::{Article6, Article9, CommonLaw, DataKind};
use crate::entry::UserKnown;
use crate::file::Words;
use crate::record::Confidentiality;
use crate::register::AssessmentStatus;

pub(super) const DATA_KINDS: Words<DataKind> =
    &[("none", DataKind::None), ("personal", DataKind::Personal), ("special", DataKind::Special)];

pub(super) const USERS_KNOWN: Words<UserKnown> = &[
    ("service", UserKnown::Service),
    ("asserted", UserKnown::Asserted),
    ("verified", UserKnown::Verified),
];

pub(super) const CONFIDENTIALITIES: Words<Confidentiality> = &[
    ("U", Confidentiality::Unrestricted),
    ("L", Confidentiality::Low),
    ("M", Confidentiality::Moderate),
    ("N", Confidentiality::Normal),
    ("R", Confidentiality::Restricted),
    ("V", Confidentiality::VeryRestricted),
];

/// What may be asked for at least: a result that anybody has is nothing to ask for.
pub(super) const ASSESSMENTS_MIN: Words<AssessmentStatus> = &[
    ("approaching", AssessmentStatus::Approaching),
    ("met", AssessmentStatus::Met),
    ("exceeded", AssessmentStatus::Exceeded),
];

pub(super) const RELATIONSHIPS: Words<bool> = &[("none", false), ("required", true)];

pub(super) const ARTICLES_6: Words<Article6> = &[
    ("6(1)(a)", Article6::Consent),
    ("6(1)(b)", Article6::Contract),
    ("6(1)(c)", Article6::LegalObligation),
    ("6(1)(d)", Article6::VitalInterests),
    ("6(1)(e)", Article6::PublicTask),
    ("6(1)(f)", Article6::LegitimateInterests),
];

pub(super) const ARTICLES_9: Words<Article9> = &[
    ("9(2)(a)", Article9::ExplicitConsent),
    ("9(2)(b)", Article9::EmploymentAndSocialProtection),
    ("9(2)(c)", Article9::VitalInterests),
    ("9(2)(d)", Article9::NotForProfitBodies),
    ("9(2)(e)", Article9::MadePublic),
    ("9(2)(f)", Article9::LegalClaims),
    ("9(2)(g)", Article9::SubstantialPublicInterest),
    ("9(2)(h)", Article9::HealthOrSocialCare),
    ("9(2)(i)", Article9::PublicHealth),
    ("9(2)(j)", Article9::ArchivingResearchStatistics),
];

pub(super) const COMMON_LAWS: Words<CommonLaw> = &[
    ("implied-consent", CommonLaw::ImpliedConsent),
    ("explicit-consent", CommonLaw::ExplicitConsent),
    ("statute", CommonLaw::Statute),
    ("court-order", CommonLaw::CourtOrder),
    ("section-251", CommonLaw::Section251),
    ("copi-regulation-3", CommonLaw::CopiRegulation3),
    ("public-interest", CommonLaw::PublicInterest),
    ("vital-interests", CommonLaw::VitalInterests),
];

/// The word of agreement files for how far a user is known.
#[must_use]
pub fn user_known_word(known: UserKnown) -> &'static str {
    word_of(USERS_KNOWN, known)
}

impl fmt::Display for CommonLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(COMMON_LAWS, *self))
    }
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(DATA_KINDS, *self))
    }
}

impl fmt::Display for Article6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(ARTICLES_6, *self))
    }
}

impl fmt::Display for Article9 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(ARTICLES_9, *self))
    }
}

pub(super) fn word_of<T: PartialEq>(words: Words<T>, value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("?", |(word, _)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_word_of_its_own() {
        for (word, value) in COMMON_LAWS {
            assert_eq!(value.to_string(), *word);
        }
        for (word, value) in ARTICLES_6 {
            assert_eq!(value.to_string(), *word);
        }
        for (word, value) in ARTICLES_9 {
            assert_eq!(value.to_string(), *word);
        }
        for (word, value) in DATA_KINDS {
            assert_eq!(value.to_string(), *word);
        }
    }
}
