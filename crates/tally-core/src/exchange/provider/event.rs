//! What can happen to a provider.

use tally_log::Hash;

use crate::exchange::provider::Decision;
use crate::exchange::{PromisedHalf, Question, RecordedHalf};
use crate::id::ExchangeId;
use crate::refusal::Refusal;
use crate::register::RegisterName;

/// Everything that can happen to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member asks. Who it is was checked against its certificate.
    Requested {
        /// The id that the requester drew.
        exchange: ExchangeId,
        /// What it asks.
        question: Box<Question>,
    },
    /// The source was read and its items were described: they can be decided about.
    Described {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The source could not be read, or not be asked this.
    NotDescribed {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why.
        refusal: Refusal,
    },
    /// The policy has spoken.
    Decided {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt of [`Effect::Decide`](super::Effect::Decide).
        attempt: u32,
        /// Yes or no, with the opening of the entry.
        decision: Decision,
    },
    /// The opening (and for [`Effect::File`](super::Effect::File) and
    /// [`Effect::Count`](super::Effect::Count) the entry) is durable.
    Stored {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
    },
    /// The store did not take it, and never will.
    NotStored {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
    },
    /// The ledger holds the half.
    Recorded {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// The proof.
        receipt: Box<RecordedHalf>,
    },
    /// The ledger does not hold the half and never will: registers moved.
    Stale {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// What moved.
        registers: Vec<RegisterName>,
    },
    /// The ledger does not hold the half and never will.
    NotRecorded {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The late half is owed, durably, and a promise of it is signed.
    Promised {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// The promise.
        promise: Box<PromisedHalf>,
    },
    /// More of the body has left.
    Progress {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes in all.
        bytes: u64,
    },
    /// All of the body and its trailer have left.
    Delivered {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes in all.
        bytes: u64,
        /// The keyed root, if it was a stream.
        root: Option<Hash>,
    },
    /// The release ended before the body did: it broke off, or [`Effect::Stop`](super::Effect::Stop)
    /// was obeyed.
    Broken {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes in all.
        bytes: u64,
        /// The keyed root over what left, if it was a stream.
        root: Option<Hash>,
    },
    /// Who asked went away.
    Gone {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Registers moved, or the feed was silent for long: look at everything again.
    RegistersMoved,
    /// An earlier life had these exchanges, the oldest first: none of them is had again.
    KnownBefore {
        /// Which exchanges.
        exchanges: Vec<ExchangeId>,
    },
    /// Take nothing new, and say when the rest is done.
    Drain,
    /// A deadline has come.
    Tick,
}
