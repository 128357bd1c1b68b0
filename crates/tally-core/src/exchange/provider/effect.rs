//! What a provider can ask of the world.

use crate::encoded::Encoded;
use crate::entry::How;
use crate::exchange::{Draft, Ended, OwedId, PromisedHalf, RecordedHalf};
use crate::id::ExchangeId;
use crate::opening::Opening;
use crate::refusal::Refusal;
use crate::register::RegisterName;
use crate::time::Timestamp;

/// Everything that a provider can ask of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer the request that was just handed in with a no. It has no state here, and no entry.
    TurnAway {
        /// The id that it came with: perhaps that of another exchange, which goes on.
        exchange: ExchangeId,
        /// Why.
        refusal: Refusal,
    },
    /// Read the source and describe what it gives.
    Read {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Let the policy decide, on fresh registers.
    Decide {
        /// Which exchange.
        exchange: ExchangeId,
        /// From 1.
        attempt: u32,
        /// What moved since the last attempt: only whom it concerns need be decided again.
        moved: Vec<RegisterName>,
    },
    /// Put the permit into a conditional batch. Goes on while the opening is stored.
    Submit {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// The provider's half.
        half: Draft,
    },
    /// Make the permit's opening durable, under its commitment. No other opening may go for it, not
    /// even one of the same exchange: a requester chooses the exchange's id, and would otherwise
    /// unmake the opening of an earlier release by naming it again.
    StoreOpening {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// What to store.
        opening: Encoded<Opening>,
    },
    /// Put a refusal's half into the outbox and its opening beside it, in one transaction. The
    /// outbox files it; its receipt comes back as [`Event::Recorded`](super::Event::Recorded).
    File {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// The provider's half.
        half: Draft,
        /// What to store.
        opening: Encoded<Opening>,
    },
    /// Put a count of refusals into the outbox, in place of the same count so far. It may be filed
    /// from `not_before` on. [`Event::Stored`](super::Event::Stored) says when it is durable.
    Count {
        /// The exchange that waits for it.
        exchange: ExchangeId,
        /// Its attempt.
        attempt: u32,
        /// Which count.
        id: OwedId,
        /// The count, this exchange included.
        count: Draft,
        /// When the window ends.
        not_before: Timestamp,
    },
    /// The ledger is silent, and somebody's life may hang on the answer. Take back what was submitted
    /// as far as that is possible, sign a promise of this half and make durable that the half is owed,
    /// before anything else. [`Event::Promised`](super::Event::Promised) says when.
    FileLate {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt that it is of.
        attempt: u32,
        /// The provider's half, marked late.
        half: Draft,
    },
    /// Let the record go before the ledger has its entry: the promise first, then as
    /// [`Release`](Self::Release).
    ReleaseLate {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt whose body it is.
        attempt: u32,
        /// The promise of the half.
        promise: Box<PromisedHalf>,
    },
    /// Make durable how a release ended whose half is owed: a close follows if there is something to
    /// say, once it is known where the half is.
    EndLate {
        /// Which exchange.
        exchange: ExchangeId,
        /// How it ended.
        how: How,
        /// Bytes that left.
        bytes: u64,
    },
    /// Let the record go: the receipt first, then opening, body and trailer.
    Release {
        /// Which exchange.
        exchange: ExchangeId,
        /// The attempt whose body it is.
        attempt: u32,
        /// Proof of the half.
        receipt: Box<RecordedHalf>,
    },
    /// Let nothing more go, and say with [`Event::Broken`](super::Event::Broken) how much went.
    Stop {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why, as the requester may know it.
        refusal: Refusal,
    },
    /// Answer with a no.
    Refuse {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why, as the requester may know it.
        refusal: Refusal,
        /// What the ledger holds of it.
        proof: Proof,
    },
    /// Put an entry into the outbox, and in the same transaction mark the exchange's opening as
    /// finished.
    Owe {
        /// What it is for.
        id: OwedId,
        /// Which exchange.
        exchange: ExchangeId,
        /// The entry.
        entry: Draft,
    },
    /// Mark the exchange's opening as finished. Need not be durable: a crash before it costs a
    /// close that says less than is true.
    Finish {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The exchange is over: the one metric and log line of it.
    Ended(Ended),
    /// Nothing is in flight any more, and nothing new was taken since
    /// [`Event::Drain`](super::Event::Drain).
    Drained,
}

/// What the ledger holds of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The provider's half, so the requester owes one too.
    Recorded(Box<RecordedHalf>),
    /// Nothing, or nobody knows yet. The requester's half will be the one that tells.
    NotRecorded,
    /// One of a count: no half of the requester's is owed.
    Counted,
}
