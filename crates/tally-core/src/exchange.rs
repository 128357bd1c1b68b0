//! One exchange from end to end, as two machines: [`provider`] decides, records and releases;
//! [`requester`] asks, checks and records what arrived. Events go in, effects come out; neither
//! reads a clock, draws a number or sees a byte of a record.
//!
//! Invariant: an exchange ends exactly once, with one [`Ended`], and whatever entry it still owes
//! is handed to the outbox in the same breath.

mod drain;
mod promise;
pub mod provider;
mod recent;
mod recorded;
pub mod requester;
mod stream_end;

pub use promise::{NotPromised, Promise, PromisedHalf, promise_preimage};
pub use recorded::{NotAHalf, RecordedHalf};
pub use stream_end::{NotEnded, StreamEnd, StreamSum, stream_end_preimage};

use crate::entry::{Action, Entry, UserKnown};
use crate::id::{AgreementId, ExchangeId, LeafIndex, MemberId, Purpose, Salt16, SourceId};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// What a requester asks of a provider, as far as entries say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who is asked.
    pub provider: MemberId,
    /// Who asks.
    pub requester: MemberId,
    /// Which source of the provider.
    pub source: SourceId,
    /// What of it.
    pub action: Action,
    /// Why.
    pub purpose: Purpose,
    /// Under which agreement, if the application insists on one.
    pub agreement: Option<AgreementId>,
    /// How far the user is known.
    pub user_known: UserKnown,
    /// The exchange that this one resumes.
    pub resumes: Option<ExchangeId>,
}

/// An entry but for its salt and its counter, which it gets when it is put into a batch.
///
/// A draft waits in the outbox across sessions; only the batch that holds it fixes its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft(Entry);

/// What an entry of the outbox is for. Owing the same twice is owing it once: the later draft
/// replaces the earlier, as long as that is in no batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwedId {
    /// The provider's half of a refusal.
    ProviderHalf(ExchangeId),
    /// The requester's half.
    RequesterHalf(ExchangeId),
    /// The close of the provider's half at this leaf.
    Close(LeafIndex),
    /// Refusals of one requester by one code, counted from here on.
    RefusalCount {
        /// Who asked.
        requester: MemberId,
        /// Why not, as the ledger may know it.
        refusal: Refusal,
        /// The first of them.
        from: Timestamp,
    },
    /// The provider's half of a permit that was released before the ledger had it, by its commitment:
    /// requesters draw the ids of exchanges, and this one must not be lost for another's sake.
    LateHalf(tally_log::Hash),
    /// The disposal that has this certificate.
    Disposal(tally_log::Hash),
}

/// The one outcome of an exchange at one side: its metric, its log line and its last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which exchange.
    pub exchange: ExchangeId,
    /// The organisation at the other side.
    pub peer: MemberId,
    /// Why it was asked.
    pub purpose: Purpose,
    /// When it began.
    pub began: Timestamp,
    /// How it ended.
    pub conclusion: Conclusion,
}

/// How an exchange ended, seen from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// All of it crossed.
    Released {
        /// Bytes of the body.
        bytes: u64,
    },
    /// Some of it crossed, then it stopped.
    Stopped {
        /// Why.
        refusal: Refusal,
        /// Bytes that crossed.
        bytes: u64,
    },
    /// None of it crossed.
    Refused(Refusal),
    /// Who asked went away before there was an answer.
    Gone,
}

impl Draft {
    /// Takes a draft back out of a store, where it lay as the entry that [`entry`](Self::entry)
    /// gave.
    #[must_use]
    pub const fn stored(entry: Entry) -> Self {
        Self(entry)
    }

    /// The entry so far: its salt and its counter are zero.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.0
    }

    /// A requester's half that names the provider's at this leaf. Any other entry stays as it is.
    #[must_use]
    pub fn answering(mut self, leaf: LeafIndex) -> Self {
        if let Entry::RequesterHalf(half) = &mut self.0 {
            half.provider_leaf = Some(leaf);
        }
        self
    }

    /// The entry, with 128 bits from outside and its number in its session.
    #[must_use]
    pub fn numbered(mut self, salt: Salt16, counter: u64) -> Entry {
        let places = match &mut self.0 {
            Entry::ProviderHalf(half) => Some((&mut half.salt, &mut half.counter)),
            Entry::RequesterHalf(half) => Some((&mut half.salt, &mut half.counter)),
            Entry::Close(close) => Some((&mut close.salt, &mut close.counter)),
            Entry::RefusalCount(count) => Some((&mut count.salt, &mut count.counter)),
            Entry::Review(review) => Some((&mut review.salt, &mut review.counter)),
            Entry::Disposal(disposal) => Some((&mut disposal.salt, &mut disposal.counter)),
            Entry::Genesis(_)
            | Entry::Recovery(_)
            | Entry::SessionStart(_)
            | Entry::Seal(_)
            | Entry::Register(_) => None,
        };
        if let Some(places) = places {
            (*places.0, *places.1) = (salt, counter);
        }
        self.0
    }
}

/// What a draft has where its salt will be.
const NO_SALT: Salt16 = Salt16([0; 16]);
