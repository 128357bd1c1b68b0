//! What waits to be proposed: a queue for each member, and one turn after the other.
//!
//! Invariant: what one member submits stays in its order, and how much of it waits changes nothing for
//! the others: a proposal takes one submission of each member that waits before it takes a second of
//! any, and no more of one member than its share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tally_core::id::MemberId;
use tally_wire::ledger::{PROPOSAL_LEN_MAX, SUBMISSIONS_MAX};
use tokio::sync::Notify;

use super::SequencerLimits;

/// What a proposal takes besides its submissions.
const PROPOSAL_HEAD_LEN: usize = 64;

/// Submissions of one member in a proposal at most. All that is in one is verified before anybody is
/// answered, so this is what others wait for; an agent that behaves has one batch under way.
const SHARE_SUBMISSIONS_MAX: usize = 2;
/// Bytes of one member's submissions in a proposal, from which on it gets no more: a whole batch.
const SHARE_LEN_MAX: usize = 256 * 1024;

/// Whose submission it is; none for the node's own.
pub(super) type Owner = Option<MemberId>;

/// Something with a length that waits.
pub(super) trait Measured {
    fn length(&self) -> usize;
}

/// The queues, bounded.
#[derive(Debug)]
pub(super) struct Queues<J> {
    waiting: Mutex<Waiting<J>>,
    arrived: Notify,
    limits: SequencerLimits,
}

#[derive(Debug)]
struct Waiting<J> {
    owners: BTreeMap<Owner, OwnQueue<J>>,
    /// Each of the owners once, the next one first.
    turns: VecDeque<Owner>,
    submissions: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
struct OwnQueue<J> {
    jobs: VecDeque<J>,
    bytes: usize,
}

/// What of one owner a proposal has.
#[derive(Debug, Default)]
struct Share {
    submissions: usize,
    bytes: usize,
}

impl<J: Measured> Queues<J> {
    pub(super) fn new(limits: SequencerLimits) -> Self {
        let waiting = Waiting {
            owners: BTreeMap::new(),
            turns: VecDeque::new(),
            submissions: 0,
            bytes: 0,
            closed: false,
        };
        Self { waiting: Mutex::new(waiting), arrived: Notify::new(), limits }
    }

    /// Puts a job behind its owner's others, or gives it back because too much waits.
    pub(super) fn push(&self, owner: Owner, job: J) -> Result<(), J> {
        let pushed = self.lock().push(owner, job, &self.limits);
        if pushed.is_ok() {
            self.arrived.notify_one();
        }
        pushed
    }

    /// Nothing will be pushed any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits until there is something to propose; false once there is nothing and won't be.
    pub(super) async fn wait(&self) -> bool {
        loop {
            {
                let waiting = self.lock();
                if waiting.submissions > 0 || waiting.closed {
                    return waiting.submissions > 0;
                }
            }
            // Whoever pushes meanwhile leaves a note here.
            self.arrived.notified().await;
        }
    }

    /// What goes into the next proposal.
    pub(super) fn take(&self) -> Vec<J> {
        self.lock().take()
    }

    /// No code that holds the lock leaves the queues half changed.
    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Measured> Waiting<J> {
    fn push(&mut self, owner: Owner, job: J, limits: &SequencerLimits) -> Result<(), J> {
        let length = job.length();
        let (own, own_bytes) =
            self.owners.get(&owner).map_or((0, 0), |queue| (queue.jobs.len(), queue.bytes));
        let has_room = self.submissions < limits.submissions_max
            && self.bytes.saturating_add(length) <= limits.bytes_max;
        // Who has nothing waiting always finds room for one: a few members that fill all of it must not
        // keep the others out. There are no more such places than members.
        let fits = (own == 0 || has_room)
            && own < limits.member_submissions_max
            && own_bytes.saturating_add(length) <= limits.member_bytes_max;
        if !fits {
            return Err(job);
        }
        self.submissions = self.submissions.saturating_add(1);
        self.bytes = self.bytes.saturating_add(length);
        if own == 0 {
            self.turns.push_back(owner.clone());
        }
        let empty = || OwnQueue { jobs: VecDeque::new(), bytes: 0 };
        let queue = self.owners.entry(owner).or_insert_with(empty);
        queue.jobs.push_back(job);
        queue.bytes = queue.bytes.saturating_add(length);
        Ok(())
    }

    /// One of each owner after the other, as long as the proposal and their shares have room.
    fn take(&mut self) -> Vec<J> {
        let mut taken = Vec::new();
        let mut shares: BTreeMap<Owner, Share> = BTreeMap::new();
        let mut length = PROPOSAL_HEAD_LEN;
        let mut full = Vec::new();
        while taken.len() < SUBMISSIONS_MAX
            && let Some(owner) = self.turns.pop_front()
        {
            let share = shares.entry(owner.clone()).or_default();
            if share.submissions >= SHARE_SUBMISSIONS_MAX || share.bytes >= SHARE_LEN_MAX {
                full.push(owner);
                continue;
            }
            let room = if taken.is_empty() { usize::MAX } else { PROPOSAL_LEN_MAX - length };
            let Some(job) = self.pop(&owner, room) else {
                // It is the next one's first.
                self.turns.push_front(owner);
                break;
            };
            share.submissions = share.submissions.saturating_add(1);
            share.bytes = share.bytes.saturating_add(job.length());
            length = length.saturating_add(job.length());
            taken.push(job);
            if self.owners.contains_key(&owner) {
                self.turns.push_back(owner);
            }
        }
        self.turns.extend(full);
        taken
    }

    /// The owner's first, if it is no longer than this.
    fn pop(&mut self, owner: &Owner, length_max: usize) -> Option<J> {
        let queue = self.owners.get_mut(owner)?;
        queue.jobs.front().filter(|job| job.length() <= length_max)?;
        let job = queue.jobs.pop_front()?;
        let length = job.length();
        queue.bytes = queue.bytes.saturating_sub(length);
        if queue.jobs.is_empty() {
            self.owners.remove(owner);
        }
        self.submissions = self.submissions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(length);
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose it is, which it is, and how long.
    #[derive(Debug, PartialEq, Eq)]
    struct Piece(&'static str, usize, usize);

    impl Measured for Piece {
        fn length(&self) -> usize {
            self.2
        }
    }

    fn owner(text: &str) -> Owner {
        Some(text.parse().unwrap())
    }

    fn queues(limits: SequencerLimits) -> Queues<Piece> {
        Queues::new(limits)
    }

    fn push(queues: &Queues<Piece>, whose: &'static str, numbers: std::ops::Range<usize>) {
        for number in numbers {
            queues.push(owner(whose), Piece(whose, number, 100)).unwrap();
        }
    }

    #[test]
    fn whoever_submits_little_waits_behind_nobody_who_submits_much() {
        let queues = queues(SequencerLimits::default());
        push(&queues, "RZ9", 0..2000);
        push(&queues, "LZ9", 0..2);
        let first = queues.take();
        let polite = first.iter().position(|piece| piece.0 == "LZ9");
        assert_eq!(polite, Some(1), "its turn is the second");
        let of = |pieces: &[Piece], whose| pieces.iter().filter(|it| it.0 == whose).count();
        assert_eq!((of(&first, "LZ9"), of(&first, "RZ9")), (2, SHARE_SUBMISSIONS_MAX));
        // A newcomer is in the very next proposal, too.
        push(&queues, "QX1", 0..1);
        assert_eq!(of(&queues.take(), "QX1"), 1);
    }

    #[test]
    fn what_one_member_submits_stays_in_its_order_and_none_is_lost() {
        let queues = queues(SequencerLimits::default());
        push(&queues, "RZ9", 0..500);
        push(&queues, "LZ9", 0..70);
        let mut seen = BTreeMap::from([("RZ9", Vec::new()), ("LZ9", Vec::new())]);
        loop {
            let taken = queues.take();
            if taken.is_empty() {
                break;
            }
            for Piece(whose, number, _) in taken {
                seen.get_mut(whose).unwrap().push(number);
            }
        }
        assert_eq!(seen["RZ9"], (0..500).collect::<Vec<_>>());
        assert_eq!(seen["LZ9"], (0..70).collect::<Vec<_>>());
    }

    #[test]
    fn one_member_can_not_take_the_room_of_all() {
        let limits = SequencerLimits { member_submissions_max: 3, ..SequencerLimits::default() };
        let queues = queues(limits);
        push(&queues, "RZ9", 0..3);
        let more = Piece("RZ9", 3, 100);
        assert_eq!(queues.push(owner("RZ9"), more), Err(Piece("RZ9", 3, 100)));
        push(&queues, "LZ9", 0..3);
        assert_eq!(queues.take().len(), 2 * SHARE_SUBMISSIONS_MAX);
        push(&queues, "RZ9", 3..5);
    }

    #[test]
    fn bytes_are_counted_for_each_member_and_for_all() {
        let limits = SequencerLimits {
            bytes_max: 1000,
            member_bytes_max: 600,
            ..SequencerLimits::default()
        };
        let queues = queues(limits);
        queues.push(owner("RZ9"), Piece("RZ9", 0, 600)).unwrap();
        assert!(queues.push(owner("RZ9"), Piece("RZ9", 1, 1)).is_err());
        queues.push(owner("LZ9"), Piece("LZ9", 0, 1)).unwrap();
        assert!(queues.push(owner("LZ9"), Piece("LZ9", 1, 400)).is_err());
        queues.push(owner("LZ9"), Piece("LZ9", 1, 399)).unwrap();
        assert_eq!(queues.take().len(), 3);
        queues.push(owner("RZ9"), Piece("RZ9", 1, 600)).unwrap();
    }

    #[test]
    fn members_that_take_all_the_room_keep_nobody_else_out() {
        let limits = SequencerLimits { submissions_max: 4, ..SequencerLimits::default() };
        let queues = queues(limits);
        push(&queues, "RZ9", 0..4);
        queues.push(owner("LZ9"), Piece("LZ9", 0, 100)).unwrap();
        assert!(queues.push(owner("LZ9"), Piece("LZ9", 1, 100)).is_err());
        assert!(queues.push(owner("RZ9"), Piece("RZ9", 4, 100)).is_err());
    }

    #[test]
    fn what_does_not_fit_any_more_is_the_next_proposals_first() {
        let queues = queues(SequencerLimits::default());
        let large = PROPOSAL_LEN_MAX / 2;
        for whose in ["RZ9", "LZ9", "QX1"] {
            queues.push(owner(whose), Piece(whose, 0, large)).unwrap();
        }
        assert_eq!(queues.take(), [Piece("RZ9", 0, large)]);
        assert_eq!(queues.take(), [Piece("LZ9", 0, large)]);
        assert_eq!(queues.take(), [Piece("QX1", 0, large)]);
        assert_eq!(queues.take(), []);
    }

    #[tokio::test]
    async fn the_work_ends_once_nobody_submits_and_nothing_waits() {
        let queues = queues(SequencerLimits::default());
        push(&queues, "RZ9", 0..1);
        queues.close();
        assert!(queues.wait().await);
        queues.take();
        assert!(!queues.wait().await);
    }
}
