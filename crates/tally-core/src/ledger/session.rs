//! Sessions: an agent's numbered run of batches, and what was answered to the last of them.
//!
//! Invariant: a number is used once. What is sent again under it gets the answer that it got the
//! first time, as long as it is the same content and among the last 4,096.

use std::collections::{BTreeMap, VecDeque};

use tally_log::{Hash, VerifyingKey};

use super::rejection::Rejection;
use crate::entry::Lane;
use crate::id::{LeafIndex, MemberId, SessionId};
use crate::time::Timestamp;

/// Batches of a session whose answers are kept.
pub const RING_LEN_MAX: usize = 4_096;

/// The last session of each member, and those that are open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    last: BTreeMap<MemberId, LastSession>,
    open: BTreeMap<SessionId, Session>,
}

/// A member's last session, open or not: the next one must name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSession {
    /// The session.
    pub id: SessionId,
    /// The hash of the leaf that opened it, by which a resend is known.
    pub leaf_hash: Hash,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose agent's it is.
    pub member: MemberId,
    /// The key that signs its batches.
    pub key: VerifyingKey,
    /// The number that its next batch has.
    pub next: u64,
    /// The counter of the last entry that was accepted.
    pub counter: Option<u64>,
    /// What was answered to the batches before `next`, oldest first, at most [`RING_LEN_MAX`].
    pub ring: VecDeque<Answer>,
}

/// What was answered to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The root over the batch's entries.
    pub root: Hash,
    /// The lane that it asked for.
    pub lane: Lane,
    /// Ledger time when it was judged.
    pub time: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a batch, as far as is needed to say it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted. The seal is made again from the resent batch, and must have the same hash.
    Accepted {
        /// The leaf of its first entry.
        first_leaf: LeafIndex,
        /// As its seal says.
        last_register_leaf: LeafIndex,
        /// The leaf hash of its seal.
        seal_hash: Hash,
    },
    /// Not.
    Rejected(Rejection),
}

/// What a session knows of a number.
pub(super) enum Known<'a> {
    /// It is the next one.
    Next,
    /// It was judged.
    Judged(&'a Answer),
    /// It was judged, too long ago.
    Forgotten,
    /// Numbers before it were not judged.
    Ahead,
}

impl Session {
    /// A session that has just been opened.
    pub(super) const fn new(member: MemberId, key: VerifyingKey) -> Self {
        Self { member, key, next: 0, counter: None, ring: VecDeque::new() }
    }

    pub(super) fn know(&self, number: u64) -> Known<'_> {
        let Some(age) = self.next.checked_sub(number) else { return Known::Ahead };
        if age == 0 {
            return Known::Next;
        }
        let from_the_end = usize::try_from(age).unwrap_or(usize::MAX);
        let place = self.ring.len().checked_sub(from_the_end);
        place.and_then(|place| self.ring.get(place)).map_or(Known::Forgotten, Known::Judged)
    }

    /// The next number is used up, and this is what was answered.
    pub(super) fn answer(&mut self, answer: Answer) {
        if self.ring.len() >= RING_LEN_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(answer);
        // No session gets to 2^64 batches.
        self.next = self.next.saturating_add(1);
    }
}

impl Sessions {
    /// The member's last session, open or not.
    #[must_use]
    pub fn last(&self, member: &MemberId) -> Option<&LastSession> {
        self.last.get(member)
    }

    /// The session, if it is open.
    #[must_use]
    pub fn open(&self, id: SessionId) -> Option<&Session> {
        self.open.get(&id)
    }

    /// The last session of each member, ascending.
    pub fn iter_last(&self) -> impl Iterator<Item = (&MemberId, &LastSession)> {
        self.last.iter()
    }

    /// All open sessions, ascending.
    pub fn iter_open(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.open.iter().map(|(id, session)| (*id, session))
    }

    /// How many are open.
    #[must_use]
    pub fn count_open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.open.get_mut(&id)
    }

    /// Opens a session and closes the member's last one, with all it remembers.
    pub(super) fn start(&mut self, last: LastSession, session: Session) {
        self.close(&session.member);
        self.last.insert(session.member.clone(), last);
        self.open.insert(last.id, session);
    }

    /// Closes the member's open session, if there is one.
    pub(super) fn close(&mut self, member: &MemberId) {
        if let Some(last) = self.last.get(member) {
            self.open.remove(&last.id);
        }
    }

    /// Closes all of them. Which was whose last is still known: the next one names it.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// Puts stored sessions together again; `ledger::Parts` checks them.
    pub(super) const fn from_maps(
        last: BTreeMap<MemberId, LastSession>,
        open: BTreeMap<SessionId, Session>,
    ) -> Self {
        Self { last, open }
    }
}
