//! Puts submissions in order: while one Raft entry is on its way, others gather for the next, and each
//! member has its turn.
//!
//! Invariant: an answer that decides is given only after the entry was applied here. Everything else
//! says that nothing was decided, and the same bytes may be sent again, to any node.

mod clocks;
mod queue;
mod raise;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use tally_core::id::{MemberId, NodeId};
use tally_core::ledger::{Proposal, Rejection, Submission, Verdict};
use tally_core::receipt::{BatchAnswer, hashes_after};
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::encode;
use tally_wire::message::ledger::{
    BatchAccepted, BatchRepeated, Busy, NotLeader, SessionStarted, SubmissionRejected, SubmitAnswer,
};
use tokio::sync::mpsc;

use clocks::Clocks;

use crate::applied::Ledger;
use crate::clock::{LeaderClock, Leap};
use crate::metrics::{Metrics, TurnedAway};
use crate::raft::{Consensus, Links, Outcome, Payload, Prepared, Standing, Support};
use crate::signer::LogSigner;
use queue::{Measured, Queues};

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
    signer: Arc<LogSigner>,
    support: Support,
    metrics: Metrics,
    retry_ms: u64,
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
        let worker = Worker {
            queues,
            consensus,
            standing,
            prepared,
            signer,
            support: links.support(),
            metrics,
            retry_ms: limits.retry_ms(),
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
        let job = Job { submission, length, number, answers };
        queues.push(member.cloned(), job).map_err(|job| {
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

impl Measured for Job {
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
        while self.queues.wait().await {
            // Callers that were just answered get to submit what comes next.
            tokio::task::yield_now().await;
            let jobs = self.sift(self.queues.take()).await;
            if jobs.is_empty() {
                continue;
            }
            if let Err((jobs, answer)) = self.propose(jobs).await {
                for job in jobs {
                    tell(job.answers.as_ref(), answer(job.number));
                }
            }
        }
    }

    /// Has the jobs decided and answers them, or says what to answer because they were not.
    async fn propose(&mut self, jobs: Vec<Job>) -> Result<(), (Vec<Job>, Undecided)> {
        let leader = self.leader();
        let not_leader = move |number| SubmitAnswer::NotLeader(NotLeader { number, leader });
        if !self.consensus.is_leader() {
            return Err((jobs, Box::new(not_leader)));
        }
        let Ok(time) = self.read_clock().await else {
            self.hand_over().await;
            return Err((jobs, nobody()));
        };
        let (submissions, waiting): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.submission, (job.number, job.answers))).unzip();
        let proposal = Arc::new(Proposal { time, submissions });
        let payload = Payload { bytes: encode(&*proposal).into() };
        self.prepared.put(payload.bytes.clone(), proposal);
        let proposed = Instant::now();
        let written = self.consensus.client_write(payload).await;
        if written.is_ok() {
            self.metrics.committed(proposed.elapsed());
        }
        let answer: Undecided = match written {
            Ok(written) => {
                if let Some(outcome) = written.data.0
                    && let Some(answers) = self.answer(&outcome, &waiting)
                {
                    for (answer, (_, to)) in answers.into_iter().zip(&waiting) {
                        tell(to.as_ref(), answer);
                    }
                    return Ok(());
                }
                self.busy()
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                match to.leader_id.map(NodeId) {
                    // The leader that is meant is this node, while it waits for its quorum.
                    leader if leader.is_none_or(|id| id.0 == *self.consensus.node_id()) => {
                        self.busy()
                    }
                    leader => Box::new(move |number| {
                        SubmitAnswer::NotLeader(NotLeader { number, leader })
                    }),
                }
            }
            // Whether it was committed is not known here; whoever leads now can say.
            Err(_) => nobody(),
        };
        for (number, to) in waiting {
            tell(to.as_ref(), answer(number));
        }
        Ok(())
    }

    /// One answer per verdict. None if the checkpoint can't be signed.
    fn answer(
        &self,
        outcome: &Outcome,
        waiting: &[(Option<u64>, Option<Answers>)],
    ) -> Option<Vec<SubmitAnswer>> {
        let after = hashes_after(&outcome.applied).ok()?;
        let checkpoint = self.signer.sign(outcome.size, outcome.root).ok()?;
        let verdicts = outcome.applied.verdicts.iter().zip(after).zip(waiting);
        let answers = verdicts.map(|((verdict, after), (number, _))| {
            to_answer(verdict, *number, after, &checkpoint, self.retry_ms)
        });
        Some(answers.collect())
    }

    fn busy(&self) -> Undecided {
        let retry_ms = self.retry_ms;
        Box::new(move |number| SubmitAnswer::Busy(Busy { number, retry_ms }))
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

/// No node is known to lead.
fn nobody() -> Undecided {
    Box::new(|number| SubmitAnswer::NotLeader(NotLeader { number, leader: None }))
}

/// What to answer to a submission of this number.
type Undecided = Box<dyn Fn(Option<u64>) -> SubmitAnswer + Send>;

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

fn to_answer(
    verdict: &Verdict,
    number: Option<u64>,
    after: Vec<Hash>,
    checkpoint: &[u8],
    retry_ms: u64,
) -> SubmitAnswer {
    match verdict {
        Verdict::Accepted(accepted) => {
            let number = number.unwrap_or_default();
            let (first_leaf, seal) = (accepted.first_leaf, accepted.seal.clone());
            match accepted.edge_before.clone() {
                Some(edge_before) => {
                    let checkpoint = checkpoint.to_vec();
                    let answer = BatchAnswer { first_leaf, seal, edge_before, after, checkpoint };
                    SubmitAnswer::Accepted(Box::new(BatchAccepted { number, answer }))
                }
                None => {
                    SubmitAnswer::Repeated(Box::new(BatchRepeated { number, first_leaf, seal }))
                }
            }
        }
        Verdict::SessionStarted(session) => {
            SubmitAnswer::SessionStarted(SessionStarted { session: *session })
        }
        Verdict::Rejected(rejection) => rejected(number, rejection.clone()),
        // Nobody but the node itself submits a genesis or a recovery, and a node that halts answers
        // nothing.
        Verdict::Founded => rejected(number, Rejection::AlreadyFounded),
        Verdict::Recovered(_) => rejected(number, Rejection::RecoveryNotSubmitted),
        Verdict::Halted => SubmitAnswer::Busy(Busy { number, retry_ms }),
    }
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
