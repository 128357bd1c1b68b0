//! What the policy's decision becomes, once the records are minimised and the opening is written.

use tally_log::Hash;

use crate::encoded::Encoded;
use crate::entry::AgreementRef;
use crate::opening::Opening;
use crate::policy::{self, Permit};
use crate::refusal::Refusal;

/// Yes or no, and the opening of the entry that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something may leave.
    Permit(Box<Permitted>),
    /// Nothing may.
    Refuse(Box<Refused>),
}

/// Something may leave: only the policy can make its [`Permit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// What the policy granted, and on which facts.
    pub permit: Permit,
    /// The opening of this attempt, with a new salt each time. Its people are those whose data
    /// leaves.
    pub opening: Encoded<Opening>,
    /// Records that leave.
    pub records: u64,
    /// What will leave.
    pub body: Body,
    /// Whether it goes on with a break-glass episode whose first half is on the ledger.
    pub same_episode: bool,
}

/// What will leave, after minimisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It was read as a whole before the decision.
    Whole {
        /// Its size.
        bytes: u64,
        /// Its keyed digest, from [`digest`](crate::opening::digest).
        digest: Hash,
    },
    /// It is read while it leaves: a close will say what left.
    Stream,
}

/// Nothing may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason that decides.
    pub refusal: Refusal,
    /// What the requester is told.
    pub told: Refusal,
    /// The agreement that came nearest, if there is one.
    pub agreement: Option<AgreementRef>,
    /// The opening of this attempt. It stays here.
    pub opening: Encoded<Opening>,
}

impl Refused {
    /// What the policy refused.
    #[must_use]
    pub fn by_policy(refused: &policy::Refused, opening: Encoded<Opening>) -> Self {
        Self {
            refusal: refused.refusal(),
            told: refused.outwards(),
            agreement: refused.agreement().cloned(),
            opening,
        }
    }

    /// What was refused after the policy had spoken: a record that can't be cut down, a body that
    /// is too large.
    #[must_use]
    pub fn after_policy(refusal: Refusal, permit: &Permit, opening: Encoded<Opening>) -> Self {
        let agreement = Some(permit.agreement().clone());
        let told = if permit.shows_reasons() { refusal } else { refusal.outwards() };
        Self { refusal, told, agreement, opening }
    }
}
