//! What can happen to a requester.

use tally_log::Hash;

use crate::encoded::Encoded;
use crate::exchange::{PromisedHalf, Question, RecordedHalf};
use crate::id::ExchangeId;
use crate::opening::Opening;
use crate::refusal::Refusal;

/// Everything that can happen to a requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The application asks, and the ingress knows whom, why and who.
    Asked {
        /// An id that was never used, drawn outside.
        exchange: ExchangeId,
        /// What it asks.
        question: Box<Question>,
    },
    /// The intent is durable.
    IntentStored {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The store did not take the intent, and never will.
    IntentNotStored {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The provider releases: its receipt verified, its opening was read.
    Permitted {
        /// Which exchange.
        exchange: ExchangeId,
        /// Proof of the provider's half.
        receipt: Box<RecordedHalf>,
        /// What the half commits to.
        opening: Box<Encoded<Opening>>,
    },
    /// The provider releases although the ledger does not answer: its agent's promise verified, its
    /// opening was read. Whether that is an answer depends on the question and on the agreement.
    Promised {
        /// Which exchange.
        exchange: ExchangeId,
        /// The promise of the provider's half.
        promise: Box<PromisedHalf>,
        /// What the half commits to.
        opening: Box<Encoded<Opening>>,
    },
    /// The promise is durable.
    PromiseKept {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The store did not take the promise, and never will.
    PromiseNotKept {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The provider refuses.
    Refused {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why, as far as it says.
        refusal: Refusal,
        /// Proof of the provider's half, if it sent one.
        receipt: Option<Box<RecordedHalf>>,
        /// Whether the refusal is one of a count: then no half is owed.
        counted: bool,
    },
    /// More of the body has arrived.
    Arrived {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes in all.
        bytes: u64,
    },
    /// The whole body and its trailer have arrived.
    Complete {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes that arrived in all.
        bytes: u64,
        /// The keyed digest or root of what arrived, as computed here.
        digest: Hash,
        /// What the trailer says: bytes; and of a stream, what its signed end does, once that was checked.
        trailer: Trailer,
    },
    /// Nothing more will come of the exchange.
    Lost {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why: the peer can't be reached, broke off, or sent what can't be read or verified.
        refusal: Refusal,
    },
    /// The application went away.
    ApplicationGone {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Take nothing new, and say when the rest is done.
    Drain,
    /// A deadline has come.
    Tick,
}

/// What the provider says at the end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Bytes that it sent.
    pub bytes: u64,
    /// The keyed root over them, if it was a stream.
    pub root: Option<Hash>,
}
