//! Where a node stands: when it last heard a leader, and whether it may vote.
//!
//! A node whose directory may have forgotten something gives nobody its vote, and takes entries from
//! no leader before it knows that there is none in a later term. For it may have voted in such a
//! term: to take entries of an earlier one would then let two leaders commit at the same index. It
//! asks the others for the last votes on their disks. Whoever was elected with a forgotten vote was
//! so by a majority; without this node that is one less, and any majority of the others, or all of
//! them, has a member of it, which knows the term. A vote that was given just before the start may
//! still decide an election: so nobody is asked until that is over.
//!
//! Then it replicates, and may vote again once it has all that the leader had committed when it was
//! last heard, in the leader's own term: an entry that the node promised to keep before was committed
//! with it, and is in that leader's log, or in no quorum.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::frame::{LogId, Vote};

/// Where a node stands.
#[derive(Debug)]
pub struct Standing {
    started: Instant,
    trusted: AtomicBool,
    /// The others have gone on without it.
    removed: AtomicBool,
    /// 1 more than the latest term that the others know of; 0 while that is not known.
    latest: AtomicU64,
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
        let (trusted, latest) = (AtomicBool::new(trusted), AtomicU64::new(0));
        let removed = AtomicBool::new(false);
        Self { started: Instant::now(), trusted, removed, latest, heard: Mutex::new(None) }
    }

    /// Whether the node may vote and campaign.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// Whether the others may be asked by now.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        self.started.elapsed() >= DOUBT_MIN
    }

    /// Whether the others have said which term is the latest.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.latest.load(Ordering::Acquire) != 0
    }

    /// The others know of no later term than this one.
    pub fn learn(&self, latest: u64) {
        self.latest.store(latest.saturating_add(1), Ordering::Release);
    }

    /// Whether entries may be taken from the leader of a term.
    #[must_use]
    pub fn follows(&self, term: u64) -> bool {
        let latest = self.latest.load(Ordering::Acquire);
        self.is_trusted() || latest.checked_sub(1).is_some_and(|latest| term >= latest)
    }

    /// From now on it may.
    pub fn trust(&self) {
        self.trusted.store(true, Ordering::Release);
    }

    /// Whether the others have gone on without it.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// They have, or have taken it in again.
    pub(crate) fn remove(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
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
        self.follows(vote.term) && commit.term == vote.term && Some(commit) <= last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: Vote = Vote { term: 5, leader: 2, committed: true };

    fn id(term: u64, index: u64) -> Option<LogId> {
        Some(LogId { term, leader: 2, index })
    }

    /// The others know of this term at most.
    fn knowing(latest: u64) -> Standing {
        let standing = Standing::new(false);
        standing.learn(latest);
        standing
    }

    #[test]
    fn who_has_heard_no_leader_has_not_caught_up() {
        let standing = knowing(5);
        assert!(!standing.has_caught_up(id(9, 99)));
        assert!(!standing.heard_within(Duration::MAX));
    }

    #[test]
    fn a_node_has_caught_up_with_what_its_leader_committed_in_its_own_term() {
        let standing = knowing(5);
        standing.hear(VOTE, id(4, 7));
        assert!(!standing.has_caught_up(id(5, 9)), "the leader's commit is of an earlier term");
        standing.hear(VOTE, id(5, 8));
        standing.hear(VOTE, None);
        assert!(!standing.has_caught_up(id(5, 7)));
        assert!(standing.has_caught_up(id(5, 8)));
        assert!(standing.heard_within(Duration::from_secs(60)));
    }

    #[test]
    fn no_leader_is_followed_before_the_others_say_that_there_is_none_in_a_later_term() {
        let standing = Standing::new(false);
        assert!(!standing.may_ask(), "a vote that was given before may be on its way");
        standing.hear(VOTE, id(5, 8));
        assert!(!standing.follows(5) && !standing.has_caught_up(id(5, 8)));
        standing.learn(6);
        assert!(!standing.follows(5) && !standing.has_caught_up(id(5, 8)));
        assert!(standing.follows(6) && standing.follows(7));
        standing.learn(5);
        assert!(standing.has_caught_up(id(5, 8)));
        assert!(Standing::new(true).follows(0));
    }
}
