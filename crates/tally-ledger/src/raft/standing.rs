//! Where a node stands: when it last heard a leader, and whether it may vote.
//!
//! A node whose directory may have forgotten something gives nobody its vote. It may vote again once
//! it has caught up with a leader: that leader cannot have needed a vote that was given since the
//! start, and an entry that the node promised to keep before is in the leader's log, or in no
//! quorum.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::frame::{LogId, Vote};

/// Where a node stands.
#[derive(Debug)]
pub struct Standing {
    started: Instant,
    trusted: AtomicBool,
    heard: Mutex<Option<Heard>>,
}

/// The last that was heard of a leader.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    vote: Vote,
    commit: Option<LogId>,
}

/// A vote that was given just before the start may still be on its way: longer than any election
/// goes on.
const DOUBT_MIN: Duration = Duration::from_secs(2);

impl Standing {
    /// That of a node which has just started.
    #[must_use]
    pub fn new(trusted: bool) -> Self {
        Self { started: Instant::now(), trusted: AtomicBool::new(trusted), heard: Mutex::new(None) }
    }

    /// Whether the node may vote and campaign.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// From now on it may.
    pub fn trust(&self) {
        self.trusted.store(true, Ordering::Release);
    }

    /// A leader's entries or its heartbeat were taken.
    pub(super) fn hear(&self, vote: Vote, commit: Option<LogId>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let commit = match *heard {
            Some(before) if before.vote == vote => before.commit.max(commit),
            _ => commit,
        };
        *heard = Some(Heard { at: Instant::now(), vote, commit });
    }

    /// Whether a leader was heard within this time.
    #[must_use]
    pub fn heard_within(&self, wait_max: Duration) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.at.elapsed() <= wait_max)
    }

    /// Whether a log that ends here has everything that the present leader knew to be committed when
    /// it was last heard. It knows so once an entry of its own term is committed.
    #[must_use]
    pub fn has_caught_up(&self, last: Option<LogId>) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Heard { vote, commit: Some(commit), .. }) = *heard else { return false };
        self.started.elapsed() >= DOUBT_MIN && commit.term == vote.term && Some(commit) <= last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: Vote = Vote { term: 5, leader: 2, committed: true };

    fn id(term: u64, index: u64) -> Option<LogId> {
        Some(LogId { term, leader: 2, index })
    }

    fn long_started() -> Standing {
        let started = Instant::now().checked_sub(DOUBT_MIN).unwrap();
        Standing { started, ..Standing::new(false) }
    }

    #[test]
    fn who_has_heard_no_leader_has_not_caught_up() {
        let standing = long_started();
        assert!(!standing.has_caught_up(id(9, 99)));
        assert!(!standing.heard_within(Duration::MAX));
    }

    #[test]
    fn a_node_has_caught_up_with_what_its_leader_committed_in_its_own_term() {
        let standing = long_started();
        standing.hear(VOTE, id(4, 7));
        assert!(!standing.has_caught_up(id(5, 9)), "the leader's commit is of an earlier term");
        standing.hear(VOTE, id(5, 8));
        standing.hear(VOTE, None);
        assert!(!standing.has_caught_up(id(5, 7)));
        assert!(standing.has_caught_up(id(5, 8)));
        assert!(standing.heard_within(Duration::from_secs(60)));
    }

    #[test]
    fn a_vote_that_may_be_on_its_way_is_waited_for() {
        let standing = Standing::new(false);
        standing.hear(VOTE, id(5, 8));
        assert!(!standing.has_caught_up(id(5, 8)));
    }
}
