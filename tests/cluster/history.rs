//! What callers were told, and whether the ledger keeps it.
//!
//! Every append is recorded with when it was asked for, when it was answered and what was said.
//! [`check`] is a pure function of that and of the leaves of an export, so that it can be shown bad
//! histories: a checker that has never said no has not been heard.

mod check;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tally_core::entry::Entry;
use tally_core::id::Salt16;
use tally_log::{Hash, SignedCheckpoint};
use tally_net::ledger::{AppendError, Recorded};

pub(crate) use check::{Fault, check};

/// One append, from its caller's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Append {
    /// Which caller.
    pub(crate) caller: usize,
    /// What makes the entry unlike any other: its counter is set on the way.
    pub(crate) salt: Salt16,
    /// When it was asked for, since the start of the history.
    pub(crate) invoked: Duration,
    /// When it was answered, and what. An append that is not answered is [`Answer::Unknown`] for
    /// ever.
    pub(crate) answered: Duration,
    /// What its caller was told.
    pub(crate) answer: Answer,
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is on the ledger.
    Acknowledged(Acknowledged),
    /// It is not, and won't be.
    Rejected,
    /// That is open.
    Unknown,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// At this index.
    pub(crate) leaf: u64,
    /// As these bytes.
    pub(crate) bytes: Vec<u8>,
    /// In a log that had this root at this size.
    pub(crate) head: (u64, Hash),
}

/// Records appends of many callers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    start: Instant,
    appends: Arc<Mutex<Vec<Append>>>,
}

/// An append that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    caller: usize,
    salt: Salt16,
    invoked: Duration,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), appends: Arc::default() }
    }

    /// Before the append is given to anybody.
    pub(crate) fn ask(&self, caller: usize, entry: &Entry) -> Asked {
        let salt = salt_of(entry).unwrap();
        Asked { caller, salt, invoked: self.start.elapsed() }
    }

    /// After the caller was told.
    pub(crate) fn told(&self, asked: Asked, outcome: &Result<Recorded, AppendError>) {
        let Asked { caller, salt, invoked } = asked;
        let answered = self.start.elapsed();
        let answer = match outcome {
            Ok(recorded) => Answer::Acknowledged(Acknowledged::from(recorded)),
            Err(AppendError::Unanswered(_) | AppendError::SessionEnded { sent: Some(_) }) => {
                Answer::Unknown
            }
            Err(
                AppendError::Rejected { .. }
                | AppendError::TooBusy
                | AppendError::Unfit(_)
                | AppendError::NotNoted(_)
                | AppendError::SessionEnded { sent: None },
            ) => Answer::Rejected,
        };
        let append = Append { caller, salt, invoked, answered, answer };
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).push(append);
    }

    /// All that was recorded so far.
    pub(crate) fn appends(&self) -> Vec<Append> {
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<&Recorded> for Acknowledged {
    fn from(recorded: &Recorded) -> Self {
        let receipt = recorded.receipt().unwrap();
        let signed = SignedCheckpoint::parse(&receipt.checkpoint).unwrap();
        let checkpoint = signed.checkpoint();
        Self {
            leaf: receipt.leaf.0,
            bytes: receipt.entry.bytes().to_vec(),
            head: (checkpoint.size, checkpoint.root),
        }
    }
}

/// The salt of what callers append; none for what the ledger or a session writes.
pub(crate) fn salt_of(entry: &Entry) -> Option<Salt16> {
    match entry {
        Entry::ProviderHalf(half) => Some(half.salt),
        Entry::RequesterHalf(half) => Some(half.salt),
        Entry::Close(close) => Some(close.salt),
        Entry::RefusalCount(refusals) => Some(refusals.salt),
        Entry::Review(review) => Some(review.salt),
        Entry::Disposal(disposal) => Some(disposal.salt),
        Entry::Register(write) => Some(write.salt),
        Entry::Genesis(_) | Entry::Recovery(_) | Entry::SessionStart(_) | Entry::Seal(_) => None,
    }
}
