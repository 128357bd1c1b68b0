//! Why not, and about what: only places in lists, never a person.

use crate::refusal::Refusal;

/// One reason for a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Which.
    pub refusal: Refusal,
    /// About what.
    pub about: About,
}

/// What a reason is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The request as a whole.
    Whole,
    /// The item of this place, from 0.
    Item(usize),
    /// A person of an item, both by their places from 0.
    Person {
        /// The item's place in the list of items.
        item: usize,
        /// The person's place in the item's list of people.
        person: usize,
    },
}

impl Reason {
    pub(super) const fn whole(refusal: Refusal) -> Self {
        Self { refusal, about: About::Whole }
    }
}

/// The first stage at which people are looked at.
pub(super) const PEOPLE_STAGE: u8 = 50;

/// How far a request came before this reason: which gate says it, in the order of the gates.
pub(super) const fn stage(refusal: Refusal) -> u8 {
    match refusal {
        // identity and membership
        Refusal::NotAMember => 0,
        Refusal::MemberSuspended => 1,
        Refusal::AssuranceTooLow => 2,
        // agreement: parties, law, purpose, types and fields, dates, condition
        Refusal::NoAgreement => 10,
        Refusal::AgreementNotSigned => 11,
        Refusal::AgreementSuspended => 12,
        Refusal::Article6Missing => 13,
        Refusal::Article9Missing => 14,
        Refusal::PowerMissing => 15,
        Refusal::PurposeUnclassified => 17,
        Refusal::PurposeForbidden => 18,
        Refusal::PurposeNotInAgreement => 19,
        // Whether a basis allows the purpose matters once the agreement covers the purpose.
        Refusal::CommonLawMissing => 20,
        Refusal::TypeNotInAgreement => 21,
        Refusal::QueryNotPermitted => 22,
        Refusal::AgreementNotStarted => 23,
        Refusal::AgreementEnded => 24,
        Refusal::ConditionNotMet => 25,
        // role and relationship
        Refusal::UserNotNamed => 29,
        Refusal::UserNotKnownEnough => 30,
        Refusal::RelationshipMissing => 31,
        Refusal::ReasonMissing => 32,
        Refusal::ReasonTooShort => 33,
        // opt-out, as far as it is about all
        Refusal::OptOutUnavailable => 40,
        // people
        Refusal::IdentifierNotForMesh => 50,
        Refusal::OptedOut => 51,
        Refusal::ConsentUnreadable => 52,
        Refusal::ConsentDenied => 53,
        Refusal::ConsentAbsent => 54,
        Refusal::PolicyForbids => 55,
        Refusal::NotOnePerson => 56,
        Refusal::LabelNotReleased => 57,
        // nothing was there, or no gate of this module says it
        _ => 60,
    }
}
