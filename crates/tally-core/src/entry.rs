//! The leaves of the ledger, as values. Their bytes are `tally-wire`'s business.
//!
//! Invariant: no leaf holds a person: organisations, agreement, purpose, outcome and sizes, a
//! one-time tag's root and a salted commitment, nothing that can be guessed and checked.

mod disposal;
mod genesis;
mod half;
mod opt_out;
mod recovery;
mod review;
mod seal;

pub use disposal::{DISPOSAL_ROLES, Disposal, DisposalBasis, Disposed, disposal_preimage};
pub use genesis::{Environment, Genesis};
pub use half::{
    Action, AgreementRef, Close, Flags, How, Outcome, ProviderHalf, RefusalCount, RequesterHalf,
    UserKnown,
};
pub use opt_out::{OPT_OUT_CHECKS_MAX, OptOut, OptOutCheck, OptOutChecks, OptOutExemption};
pub use recovery::{Recovery, recovery_preimage};
pub use review::{Review, ReviewState};
pub use seal::{Algorithm, Lane, Seal, SessionStart, batch_preimage, session_preimage};

use crate::register::RegisterWrite;

/// Bytes in an entry leaf at most: 16 KiB.
pub const ENTRY_LEN_MAX: usize = 16 * 1024;
/// Bytes in a register leaf, the genesis or a recovery at most: 48 KiB.
pub const REGISTER_LEN_MAX: usize = 48 * 1024;
/// Entries in a batch at most.
pub const BATCH_ENTRIES_MAX: usize = 512;
/// Bytes of leaves in a batch at most: 256 KiB.
pub const BATCH_LEN_MAX: usize = 256 * 1024;

/// One leaf of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Leaf 0 of epoch 0: the founders.
    Genesis(Box<Genesis>),
    /// The first leaf of any later epoch.
    Recovery(Box<Recovery>),
    /// An agent opens a session.
    SessionStart(SessionStart),
    /// The ledger closes a batch.
    Seal(Seal),
    /// A register moves to its next version.
    Register(Box<RegisterWrite>),
    /// The provider's half of an exchange.
    ProviderHalf(Box<ProviderHalf>),
    /// The requester's half of an exchange.
    RequesterHalf(Box<RequesterHalf>),
    /// How a release ended.
    Close(Close),
    /// Refusals above the rate limit, as one entry with their number.
    RefusalCount(RefusalCount),
    /// A privacy officer's step in the review of a break-glass access.
    Review(Review),
    /// Keys of openings were destroyed.
    Disposal(Box<Disposal>),
}

impl Entry {
    /// Whether it is told to all who follow the registers: the genesis and each register write, and a
    /// recovery, as what they believe from there on is signed in another epoch.
    #[must_use]
    pub const fn is_for_followers(&self) -> bool {
        matches!(self, Self::Genesis(_) | Self::Recovery(_) | Self::Register(_))
    }
}
