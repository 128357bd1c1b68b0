//! The decision: may these records go to this requester for this purpose, today?
//!
//! Invariant: [`decide`] is total, and only it can make a [`Permit`]. A permit never keeps more
//! than the allow-list of one agreement that both sides have signed, and names every register that
//! it rests on.
//!
//! The order of the gates: identity and membership → agreement → role and relationship → national
//! data opt-out → consent → the provider's own policy. All reasons are kept; the first decides.
//! Breaking the glass goes the same way: see `glass`.

mod deciding;
mod decision;
mod facts;
mod glass;
mod offered;
mod people;
mod reason;
mod replica;
mod visible;
mod whole;

pub use deciding::{Deciding, Progress};
pub use decision::{Decision, Keep, Permit, Refused, Verdict, Warning};
pub use facts::{
    AgreementFact, Facts, MemberFact, OptOutAnswers, PersonFact, Registers, Snapshot,
    SnapshotAgreement,
};
pub use glass::{is_reason, is_reason_enough};
pub use offered::{Offered, offered};
pub use reason::{About, Reason};
pub use visible::{Looking, Visible, visible};

use crate::entry::{Action, UserKnown};
use crate::id::{AgreementId, CheckDigit, MemberId, Purpose, SourceId};
use crate::record::Item;

/// What is asked, once the caller's certificate and the headers are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks: the member of the caller's certificate.
    pub requester: MemberId,
    /// Who keeps the records.
    pub provider: MemberId,
    /// Which source of the provider.
    pub source: SourceId,
    /// What is asked of it.
    pub action: Action,
    /// Why.
    pub purpose: Purpose,
    /// Resource types that the request itself names: `Observation` of `/Observation/o1`. Empty for
    /// a dataset.
    pub kinds: Vec<String>,
    /// What it searches, sorts or includes by.
    pub queried: Vec<Queried>,
    /// How far the user is known.
    pub user_known: UserKnown,
    /// How the user is related to the person, if the request says so.
    pub relationship: Option<Relationship>,
    /// Whether the request names a user.
    pub user_is_named: bool,
    /// Whether a reason in words was given: see [`is_reason`].
    pub has_reason: bool,
    /// Whether it has as many characters as breaking the glass takes: see [`is_reason_enough`].
    pub reason_is_enough: bool,
    /// The one agreement to be used, if the request names one.
    pub agreement: Option<AgreementId>,
    /// How strictly the source's NHS numbers are read. In a live mesh they always are.
    pub check_digit: CheckDigit,
}

/// An element, or a column, by which a request searches, sorts or includes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queried {
    /// The resource type that has it; `row` for a dataset.
    pub kind: String,
    /// The element's path, or the column. `id` and some of `meta` are always released.
    pub element: String,
}

/// How the user is related to the person: the kind that `Tally-Relationship` begins with, before a
/// `|` and what the application adds. What it adds is for the opening: nothing is decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relationship {
    /// The person was referred to them.
    Referral,
    /// The person is on their caseload.
    Caseload,
    /// The person is with them now.
    Encounter,
    /// They say so themselves: alerts.
    SelfClaimed,
}

impl Relationship {
    /// The kind, as `Tally-Relationship` begins with it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Referral => "referral",
            Self::Caseload => "caseload",
            Self::Encounter => "encounter",
            Self::SelfClaimed => "self-claimed",
        }
    }
}

impl std::str::FromStr for Relationship {
    type Err = crate::id::BadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = text.split_once('|').map_or(text, |(kind, _)| kind);
        match kind {
            "referral" => Ok(Self::Referral),
            "caseload" => Ok(Self::Caseload),
            "encounter" => Ok(Self::Encounter),
            "self-claimed" => Ok(Self::SelfClaimed),
            _ => Err(crate::id::BadId {
                what: "a relationship",
                shape: "referral, caseload, encounter or self-claimed",
            }),
        }
    }
}

/// Decides about a request and the records that answer it, at one go: see [`Deciding`].
pub fn decide<R: Registers>(request: &Request, items: &[Item], facts: &Facts<'_, R>) -> Decision {
    let mut deciding = Deciding::new(request, items, facts);
    loop {
        match deciding.go_on(usize::MAX) {
            Progress::Decided(decision) => return decision,
            Progress::More(rest) => deciding = rest,
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod purposes;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
