//! What the policy hands to the provider's machine.

use tally_log::Hash;

use crate::encoded::Encoded;
use crate::entry::AgreementRef;
use crate::opening::Opening;
use crate::refusal::Refusal;
use crate::register::RegisterRef;

/// Yes or no, and the opening of the entry that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something may leave.
    Permit(Box<Permitted>),
    /// Nothing may.
    Refuse(Box<Refused>),
}

/// Something may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// What the policy granted.
    pub permit: Permit,
    /// The opening of this attempt: a new salt, and new tags, each time.
    pub opening: Encoded<Opening>,
    /// What will leave.
    pub body: Body,
}

/// What the policy granted, and on which facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The agreement that permits.
    pub agreement: AgreementRef,
    /// The facts that it was decided on, ascending by name.
    pub read_set: Vec<RegisterRef>,
    /// People whose data leaves.
    pub people: u64,
    /// People whose data stays.
    pub people_withheld: u64,
    /// Records that leave.
    pub records: u64,
    /// Whether break-glass lifted a refusal.
    pub break_glass: bool,
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
    /// Whether the requester may see a reason that is about a person.
    pub show_reason: bool,
    /// The agreement that came nearest, if there is one.
    pub agreement: Option<AgreementRef>,
    /// The facts that it was decided on, ascending by name.
    pub read_set: Vec<RegisterRef>,
    /// The opening of this attempt. It stays here.
    pub opening: Encoded<Opening>,
}
