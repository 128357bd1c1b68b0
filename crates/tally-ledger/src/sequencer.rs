//! Puts submissions in order: while one Raft entry is on its way, others gather for the next, and each
//! member has its turn.
//!
//! Invariant: an answer that decides is given only after the entry was applied here. Everything else
//! says that nothing was decided, and the same bytes may be sent again, to any node.

mod clocks;
mod cut;
mod decide;
mod queue;
mod raise;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use openraft::async_runtime::watch::WatchReceiver;
use tally_core::id::{MemberId, NodeId};
use tally_core::ledger::{Proposal, Rejection, Submission};
use tally_core::time::Timestamp;
use tally_wire::encode;
use tally_wire::message::ledger::{Busy, NotLeader, SubmissionRejected, SubmitAnswer};
use tokio::sync::mpsc;

use clocks::Clocks;

use crate::applied::Ledger;
use crate::clock::{LeaderClock, Leap};
use crate::metrics::{Metrics, TurnedAway};
use crate::raft::{Consensus, Links, Payload, Prepared, Standing, Support};
use crate::signer::LogSigner;
use decide::{Decider, Proposed, Undecided, Waits, nobody};
use queue::{Owner, Queued, Queues, Turn};

/// Limits of what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequencerLimits {
    /// Submissions. Default 16,384.
    pub submissions_max: usize,
    /// Bytes of submissions. Default 64 MiB.
    pub bytes_max: usize,
    /// Submissions of one member. Default 2,048.
    pub member_submissions_max: usize,
    /// Bytes of one member's submissions. Default 16 MiB.
    pub member_bytes_max: usize,
    /// When to ask again if too much waits. Default 50 ms.
    pub retry: Duration,
}

impl Default for SequencerLimits {
    fn default() -> Self {
        Self {
            submissions_max: 16 * 1024,
            bytes_max: 64 << 20,
            member_submissions_max: 2048,
            member_bytes_max: 16 << 20,
            retry: Duration::from_millis(50),
        }
    }
}

/// Takes submissions. Cheap to clone; when all clones are gone the work ends.
#[derive(Debug, Clone)]
pub struct Sequencer(Arc<Entrance>);

/// The way in. With the last clone of it the work ends.
#[derive(Debug)]
struct Entrance {
    queues: Arc<Queues<Job>>,
    metrics: Metrics,
    retry: Duration,
}

/// Where the answer to a submission goes. Bounded by what its owner lets be in flight.
pub(crate) type Answers = mpsc::UnboundedSender<SubmitAnswer>;

#[derive(Debug)]
struct Job {
    /// Whose it is.
    owner: Owner,
    submission: Submission,
    length: usize,
    number: Option<u64>,
    answers: Option<Answers>,
}

/// What a sequencer is made of.
pub(crate) struct SequencerParts {
    /// Consensus.
    pub(crate) consensus: Consensus,
    /// When a leader was last heard.
    pub(crate) standing: Arc<Standing>,
    /// Where proposals are kept until they are applied.
    pub(crate) prepared: Prepared,
    /// Signs checkpoints in receipts.
    pub(crate) signer: Arc<LogSigner>,
    /// The way to the other nodes.
    pub(crate) links: Links,
    /// The applied state.
    pub(crate) ledger: Ledger,
    /// Counts.
    pub(crate) metrics: Metrics,
}

/// Gathers, proposes, answers.
struct Worker {
    queues: Arc<Queues<Job>>,
    consensus: Consensus,
    standing: Arc<Standing>,
    prepared: Prepared,
    decider: Arc<Decider>,
    support: Support,
    metrics: Metrics,
    clock: LeaderClock,
    /// The term that the clock was set in.
    term: u64,
    /// How often it was tried to hand over in this term.
    hand_overs: usize,
    links: Links,
    ledger: Ledger,
    /// How the other nodes' clocks stood when this term began.
    clocks: Clocks,
}

/// A leader that was not heard for four heartbeats is not named to others any more.
const LEADER_SILENT_MAX: Duration = Duration::from_millis(400);

impl Sequencer {
    /// Starts the work, in a task of the present runtime.
    #[must_use]
    pub(crate) fn start(parts: SequencerParts, limits: SequencerLimits) -> Self {
        let queues = Arc::new(Queues::new(limits));
        let SequencerParts { consensus, standing, prepared, signer, links, ledger, metrics } =
            parts;
        let entrance =
            Entrance { queues: Arc::clone(&queues), metrics: metrics.clone(), retry: limits.retry };
        let decider = Arc::new(Decider {
            queues: Arc::clone(&queues),
            consensus: consensus.clone(),
            signer,
            metrics: metrics.clone(),
            ledger: ledger.clone(),
            retry_ms: limits.retry_ms(),
        });
        let worker = Worker {
            queues,
            consensus,
            standing,
            prepared,
            decider,
            support: links.support(),
            metrics,
            clock: LeaderClock::new(SystemTime::now(), Instant::now()),
            term: 0,
            hand_overs: 0,
            links,
            ledger,
            clocks: Clocks::default(),
        };
        tokio::spawn(worker.run());
        Self(Arc::new(entrance))
    }

    /// Takes a member's submission, or the node's own, whose encoding has this length. Its answer goes
    /// to `answers`, if anybody wants it. If too much waits, that is the answer, and after how long to
    /// go on is told here.
    pub(crate) fn submit(
        &self,
        member: Option<&MemberId>,
        submission: Submission,
        length: usize,
        answers: Option<Answers>,
    ) -> Result<(), Duration> {
        let Entrance { queues, metrics, retry } = &*self.0;
        let number = number_of(&submission);
        let job = Job { owner: member.cloned(), submission, length, number, answers };
        queues.push(job).map_err(|job| {
            metrics.turned_away(TurnedAway::TooBusy);
            let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
            tell(job.answers.as_ref(), SubmitAnswer::Busy(Busy { number, retry_ms }));
            *retry
        })
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.queues.close();
    }
}

impl Queued for Job {
    fn owner(&self) -> Owner {
        self.owner.clone()
    }

    fn length(&self) -> usize {
        self.length
    }
}

impl SequencerLimits {
    fn retry_ms(&self) -> u64 {
        u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Worker {
    async fn run(mut self) {
        while let Some(turn) = self.queues.wait().await {
            // Callers that were just answered get to submit what comes next.
            tokio::task::yield_now().await;
            let proposed = self.propose(turn, self.queues.take(turn)).await;
            let decider = Arc::clone(&self.decider);
            match (turn, proposed) {
                (Turn::Regular, None) => {}
                (Turn::Regular, Some(proposed)) => decider.decide(proposed).await,
                (Turn::Apart, None) => self.queues.apart_ended(),
                // Nobody else waits until it is decided.
                (Turn::Apart, Some(proposed)) => {
                    tokio::spawn(async move {
                        decider.decide(proposed).await;
                        decider.queues.apart_ended();
                    });
                }
            }
        }
    }

    /// The jobs as a proposal; none if all were answered, because they can't be decided here.
    async fn propose(&mut self, turn: Turn, jobs: Vec<Job>) -> Option<Proposed> {
        let (jobs, undecided): (_, Undecided) = if self.consensus.is_leader() {
            let jobs = self.sift(turn, jobs).await;
            if jobs.is_empty() {
                return None;
            }
            match self.read_clock().await {
                Ok(time) => return Some(self.prepare(time, jobs)),
                Err(_) => self.hand_over().await,
            }
            (jobs, nobody())
        } else {
            let leader = self.leader();
            let not_leader = move |number| SubmitAnswer::NotLeader(NotLeader { number, leader });
            (jobs, Box::new(not_leader))
        };
        for job in jobs {
            tell(job.answers.as_ref(), undecided(job.number));
        }
        None
    }

    fn prepare(&self, time: Timestamp, jobs: Vec<Job>) -> Proposed {
        let wait = |Job { owner, submission, number, answers, .. }| {
            (submission, Waits { owner, number, answers })
        };
        let (submissions, waiting): (Vec<_>, Vec<_>) = jobs.into_iter().map(wait).unzip();
        let proposal = Arc::new(Proposal { time, submissions });
        let payload = Payload { bytes: encode(&*proposal).into() };
        let ahead = self.prepared.put(payload.bytes.clone(), Arc::clone(&proposal));
        Proposed { payload, waiting, proposal, ahead }
    }

    fn leader(&self) -> Option<NodeId> {
        leader_of(&self.consensus, &self.standing)
    }

    /// The clock is set anew by each leader, held against those of the others, and must then run on.
    async fn read_clock(&mut self) -> Result<Timestamp, Leap> {
        let term = term_of(&self.consensus);
        if term != self.term {
            let others = successors(&self.consensus);
            self.clocks = Clocks::hear(&self.links, others, self.ledger.head().time).await;
            (self.term, self.hand_overs) = (term, 0);
            self.clock = LeaderClock::new(SystemTime::now(), Instant::now());
        }
        let time = self.clock.read(SystemTime::now(), Instant::now())?;
        self.clocks.check()?;
        Ok(time)
    }

    /// Lets another node lead, whose clock was not moved. Where there is none, time goes on from
    /// the clock as it is: ledger time never goes back.
    async fn hand_over(&mut self) {
        let successors = self.clocks.prefer(successors(&self.consensus));
        let next = in_turn(&successors, self.hand_overs);
        self.hand_overs = self.hand_overs.wrapping_add(1);
        match next {
            // If that fails, the next submission finds the clock as it is and tries the next one:
            // a node that is down must not keep the others from leading.
            Some(next) => drop(self.consensus.trigger().transfer_leader(next).await),
            None => {
                self.clock = LeaderClock::new(SystemTime::now(), Instant::now());
                self.clocks = Clocks::default();
            }
        }
    }
}

/// The other voters, the one with the most of the log first.
pub(crate) fn successors(consensus: &Consensus) -> Vec<u64> {
    let metrics = consensus.data_metrics();
    let replication = metrics.borrow_watched().replication.clone().unwrap_or_default();
    let own = *consensus.node_id();
    let mut others: Vec<u64> = consensus.voter_ids().filter(|id| *id != own).collect();
    others.sort_by_key(|id| Reverse(replication.get(id).cloned().flatten()));
    others
}

/// One after the other, and then the first again.
fn in_turn(nodes: &[u64], turn: usize) -> Option<u64> {
    nodes.get(turn.checked_rem(nodes.len())?).copied()
}

/// Which node leads, as far as this one knows: one that has been silent may be gone, and whoever is
/// sent there only loses time.
pub(crate) fn leader_of(consensus: &Consensus, standing: &Standing) -> Option<NodeId> {
    let leader = consensus.server_metrics().borrow_watched().current_leader?;
    // A leader that was removed is none any more, and hears of no other.
    let leads = consensus.is_leader();
    let is_own = leader == *consensus.node_id();
    let known = if is_own { leads } else { standing.heard_within(LEADER_SILENT_MAX) };
    known.then_some(NodeId(leader))
}

fn term_of(consensus: &Consensus) -> u64 {
    consensus.server_metrics().borrow_watched().vote.leader_id.term
}

/// The submission is not on the ledger, and won't be.
pub(crate) fn rejected(number: Option<u64>, rejection: Rejection) -> SubmitAnswer {
    SubmitAnswer::Rejected(SubmissionRejected { number, rejection })
}

/// The number that answers to a submission name.
pub(crate) const fn number_of(submission: &Submission) -> Option<u64> {
    match submission {
        Submission::Batch(batch) => Some(batch.number),
        Submission::Genesis(_) | Submission::Recovery(_) | Submission::SessionStart(_) => None,
    }
}

/// Whoever asked may have gone.
fn tell(answers: Option<&Answers>, answer: SubmitAnswer) {
    if let Some(answers) = answers {
        drop(answers.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_that_does_not_take_over_is_not_asked_twice_in_a_row() {
        let asked = (0..5).map(|turn| in_turn(&[3, 2], turn)).collect::<Vec<_>>();
        assert_eq!(asked, [Some(3), Some(2), Some(3), Some(2), Some(3)]);
        assert_eq!(in_turn(&[], 0), None);
    }
}
