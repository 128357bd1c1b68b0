//! The review of a break-glass access, as the ledger has it: who has come to which conclusion, and
//! nothing of why. What an officer found stays in the officer's own organisation.

use crate::id::{LeafIndex, MemberId, OfficerRole, Salt16};

/// A privacy officer's step in the review of a break-glass access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The entry's number in its session, ascending.
    pub counter: u64,
    /// Whose officer it is: the member of the session, provider or requester of the access.
    pub member: MemberId,
    /// In which role: an office, never a person's name.
    pub role: OfficerRole,
    /// The provider's half that is reviewed: the first of its episode.
    pub provider_leaf: LeafIndex,
    /// What the review has come to.
    pub state: ReviewState,
}

/// How far a member has come with its review of a break-glass access. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReviewState {
    /// Nobody has looked at it. No entry says so: the break-glass half itself opens its review.
    Open,
    /// An officer looks at it.
    UnderReview,
    /// It was right to break the glass.
    Justified,
    /// It was not.
    Inappropriate,
}

impl ReviewState {
    /// All of them, in the order in which a review goes through them.
    pub const ALL: [Self; 4] =
        [Self::Open, Self::UnderReview, Self::Justified, Self::Inappropriate];

    /// Whether the review may go on to `next`: from open to under review, from there to either
    /// conclusion, and nowhere else.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Open, Self::UnderReview)
                | (Self::UnderReview, Self::Justified | Self::Inappropriate)
        )
    }

    /// Whether the review is over.
    #[must_use]
    pub const fn is_concluded(self) -> bool {
        matches!(self, Self::Justified | Self::Inappropriate)
    }

    /// The word for it: on the command line, in answers and tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::UnderReview => "under-review",
            Self::Justified => "justified",
            Self::Inappropriate => "inappropriate",
        }
    }
}

impl std::fmt::Display for ReviewState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for ReviewState {
    type Err = crate::id::BadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.word() == text).ok_or(crate::id::BadId {
            what: "the state of a review",
            shape: "open, under-review, justified or inappropriate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ReviewState::{Inappropriate, Justified, Open, UnderReview};
    use super::*;

    #[test]
    fn a_review_only_goes_forward() {
        let forward = [(Open, UnderReview), (UnderReview, Justified), (UnderReview, Inappropriate)];
        for from in ReviewState::ALL {
            assert_eq!(from.word().parse(), Ok(from));
            for to in ReviewState::ALL {
                assert_eq!(from.may_become(to), forward.contains(&(from, to)), "{from} {to}");
            }
        }
    }
}
