//! What waits to be proposed: a queue for each member, and one turn after the other.
//!
//! Invariant: what one member submits stays in its order, and how much of it waits changes nothing for
//! the others: a proposal takes one submission of each member that waits before it takes a second of
//! any, and no more of one member than its share. Members whose submissions are refused one after the
//! other are proposed apart, now and then, and nobody else waits for that.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally_core::id::MemberId;
use tally_wire::ledger::{PROPOSAL_LEN_MAX, SUBMISSIONS_MAX};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::SequencerLimits;

/// What a proposal takes besides its submissions.
const PROPOSAL_HEAD_LEN: usize = 64;

/// Submissions of one member in a proposal at most. All that is in one is verified before anybody is
/// answered, so this is what others wait for; an agent that behaves has one batch under way.
const SHARE_SUBMISSIONS_MAX: usize = 2;
/// Bytes of one member's submissions in a proposal, from which on it gets no more: a whole batch.
const SHARE_LEN_MAX: usize = 256 * 1024;

/// What a refusal counts, while what is accepted halves the sum: from here on its member is proposed
/// apart. A register that moves makes the few batches stale that an agent has under way.
const REFUSALS_APART: u32 = 8;
/// No more is counted: with two batches that are accepted a member is among the others again.
const REFUSALS_MAX: u32 = 16;
/// Between two proposals that are apart. What is refused has to be on the log as well, for it uses up
/// its number; but each proposal takes the disks and processors of all nodes.
const APART_PAUSE: Duration = Duration::from_millis(20);
/// Submissions of one member in a proposal that is apart.
const APART_SHARE_SUBMISSIONS_MAX: usize = 4;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// All but those below.
    Regular,
    /// Members whose submissions were refused one after the other.
    Apart,
}

/// Whose submission it is; none for the node's own.
pub(super) type Owner = Option<MemberId>;

/// Something that waits.
pub(super) trait Queued {
    fn owner(&self) -> Owner;
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
    /// What was refused of each that had something refused lately.
    refusals: BTreeMap<Owner, u32>,
    apart: Apart,
}

/// The proposals that are apart.
#[derive(Debug)]
struct Apart {
    is_under_way: bool,
    /// When the next one may begin.
    next: Instant,
}

/// What can be done.
enum Due {
    Now(Turn),
    /// Nothing before something arrives or, if that is said, before it is so late.
    Later(Option<Instant>),
    /// Nothing any more.
    Never,
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

impl<J: Queued> Queues<J> {
    pub(super) fn new(limits: SequencerLimits) -> Self {
        let waiting = Waiting {
            owners: BTreeMap::new(),
            turns: VecDeque::new(),
            submissions: 0,
            bytes: 0,
            closed: false,
            refusals: BTreeMap::new(),
            apart: Apart { is_under_way: false, next: Instant::now() },
        };
        Self { waiting: Mutex::new(waiting), arrived: Notify::new(), limits }
    }

    /// Puts a job behind its owner's others, or gives it back because too much waits.
    pub(super) fn push(&self, job: J) -> Result<(), J> {
        let pushed = self.lock().push(job, &self.limits);
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

    /// Waits until there is something to propose, and says whose; none once there is nothing and won't
    /// be.
    pub(super) async fn wait(&self) -> Option<Turn> {
        loop {
            let due = self.lock().due(Instant::now());
            // Whoever pushes meanwhile leaves a note here.
            match due {
                Due::Now(turn) => return Some(turn),
                Due::Never => return None,
                Due::Later(None) => self.arrived.notified().await,
                Due::Later(Some(at)) => drop(timeout_at(at, self.arrived.notified()).await),
            }
        }
    }

    /// What goes into the next proposal. Nothing more is to be taken apart before
    /// [`apart_ended`](Self::apart_ended).
    pub(super) fn take(&self, turn: Turn) -> Vec<J> {
        self.lock().take(turn)
    }

    /// What was taken apart is answered.
    pub(super) fn apart_ended(&self) {
        self.lock().apart = Apart { is_under_way: false, next: Instant::now() + APART_PAUSE };
        self.arrived.notify_one();
    }

    /// A submission of this owner was judged.
    pub(super) fn judged(&self, owner: &Owner, is_refused: bool) {
        self.lock().judged(owner, is_refused);
    }

    /// No code that holds the lock leaves the queues half changed.
    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Queued> Waiting<J> {
    fn push(&mut self, job: J, limits: &SequencerLimits) -> Result<(), J> {
        let (owner, length) = (job.owner(), job.length());
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

    fn turn_of(&self, owner: &Owner) -> Turn {
        let refusals = self.refusals.get(owner).copied().unwrap_or_default();
        if refusals < REFUSALS_APART { Turn::Regular } else { Turn::Apart }
    }

    fn due(&self, now: Instant) -> Due {
        let Apart { is_under_way, next } = self.apart;
        if self.turns.iter().any(|owner| self.turn_of(owner) == Turn::Regular) {
            Due::Now(Turn::Regular)
        } else if self.submissions == 0 {
            if self.closed { Due::Never } else { Due::Later(None) }
        } else if is_under_way {
            // Its end is told.
            Due::Later(None)
        } else if self.closed || next <= now {
            Due::Now(Turn::Apart)
        } else {
            Due::Later(Some(next))
        }
    }

    fn judged(&mut self, owner: &Owner, is_refused: bool) {
        let before = self.refusals.remove(owner).unwrap_or_default();
        let after = if is_refused { before.saturating_add(1) } else { before / 2 };
        if after > 0 {
            self.refusals.insert(owner.clone(), after.min(REFUSALS_MAX));
        }
    }

    /// One of each owner after the other, as long as the proposal and their shares have room.
    fn take(&mut self, turn: Turn) -> Vec<J> {
        let share_submissions_max = match turn {
            Turn::Regular => SHARE_SUBMISSIONS_MAX,
            Turn::Apart => APART_SHARE_SUBMISSIONS_MAX,
        };
        self.apart.is_under_way |= turn == Turn::Apart;
        let mut taken = Vec::new();
        let mut shares: BTreeMap<Owner, Share> = BTreeMap::new();
        let mut length = PROPOSAL_HEAD_LEN;
        let mut later = Vec::new();
        while taken.len() < SUBMISSIONS_MAX
            && let Some(owner) = self.turns.pop_front()
        {
            let share = shares.entry(owner.clone()).or_default();
            let has_its_share =
                share.submissions >= share_submissions_max || share.bytes >= SHARE_LEN_MAX;
            if has_its_share || self.turn_of(&owner) != turn {
                later.push(owner);
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
        self.turns.extend(later);
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
