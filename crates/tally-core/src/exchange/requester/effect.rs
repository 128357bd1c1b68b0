//! What a requester can ask of the world.

use crate::exchange::{Draft, Ended, OwedId, Question};
use crate::id::ExchangeId;
use crate::refusal::Refusal;

/// Everything that a requester can ask of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer the request that was just handed in with a no. It has no state here, and no entry.
    TurnAway {
        /// The id that was drawn for it.
        exchange: ExchangeId,
        /// Why.
        refusal: Refusal,
    },
    /// Make durable that an exchange begins. Goes on while the question is sent.
    StoreIntent {
        /// Which exchange.
        exchange: ExchangeId,
        /// What is asked.
        question: Box<Question>,
    },
    /// Send the question to the provider.
    Send {
        /// Which exchange.
        exchange: ExchangeId,
        /// What is asked.
        question: Box<Question>,
    },
    /// Make the promise of the provider's half durable: it is all that there is to show for the answer
    /// until the half is on the ledger.
    KeepPromise {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Keep the half until the promised one is on the ledger, and forget the intent, in one transaction.
    /// Then it goes into the outbox, with the leaf that it answers.
    OweLate {
        /// Which exchange.
        exchange: ExchangeId,
        /// The entry, without the provider's leaf.
        entry: Draft,
    },
    /// Let the application have the body up to here.
    HandOn {
        /// Which exchange.
        exchange: ExchangeId,
        /// Bytes from the start.
        up_to: u64,
    },
    /// The application has all of it: end the answer.
    Finish {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Answer with a no; or, where some of the body was handed on, break the answer off.
    Fail {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why.
        refusal: Refusal,
    },
    /// Tell the provider that nothing more is wanted.
    HangUp {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// Put the half into the outbox and forget the intent, in one transaction.
    Owe {
        /// What it is for.
        id: OwedId,
        /// Which exchange.
        exchange: ExchangeId,
        /// The entry.
        entry: Draft,
    },
    /// Forget the intent: the provider counts this refusal, and no half is owed.
    Forget {
        /// Which exchange.
        exchange: ExchangeId,
    },
    /// The exchange is over: the one metric and log line of it.
    Ended(Ended),
    /// Nothing is in flight any more, and nothing new was taken since
    /// [`Event::Drain`](super::Event::Drain).
    Drained,
}
