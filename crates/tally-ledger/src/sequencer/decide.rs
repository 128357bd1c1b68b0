//! Has a proposal decided, and answers those who wait for it.

use std::sync::Arc;
use std::time::Instant;

use openraft::errors::{ClientWriteError, RaftError};
use tally_core::id::NodeId;
use tally_core::ledger::{Proposal, Rejection, Verdict};
use tally_core::receipt::{BatchAnswer, hashes_after};
use tally_log::Hash;
use tally_wire::message::ledger::{
    BatchAccepted, BatchRepeated, Busy, NotLeader, SessionStarted, SubmitAnswer,
};

use super::queue::{Owner, Queues};
use super::{Answers, Job, rejected, tell};
use crate::ahead::Ahead;
use crate::applied::Ledger;
use crate::metrics::Metrics;
use crate::raft::{Consensus, Outcome, Payload};
use crate::signer::LogSigner;

/// What it takes to have something decided.
pub(super) struct Decider {
    pub(super) queues: Arc<Queues<Job>>,
    pub(super) consensus: Consensus,
    pub(super) signer: Arc<LogSigner>,
    pub(super) metrics: Metrics,
    /// By whose sessions batches are signed.
    pub(super) ledger: Ledger,
    pub(super) retry_ms: u64,
}

/// A proposal, and who waits for what comes of each of its submissions.
pub(super) struct Proposed {
    pub(super) payload: Payload,
    pub(super) waiting: Vec<Waits>,
    pub(super) proposal: Arc<Proposal>,
    /// Where it goes what is found out about it ahead.
    pub(super) ahead: Arc<Ahead>,
}

/// Who waits for an answer to a submission.
pub(super) struct Waits {
    pub(super) owner: Owner,
    pub(super) number: Option<u64>,
    pub(super) answers: Option<Answers>,
}

/// What to answer to a submission of this number.
pub(super) type Undecided = Box<dyn Fn(Option<u64>) -> SubmitAnswer + Send>;

/// No node is known to lead.
pub(super) fn nobody() -> Undecided {
    Box::new(|number| SubmitAnswer::NotLeader(NotLeader { number, leader: None }))
}

impl Decider {
    /// Has it decided, and answers; or says that it was not.
    pub(super) async fn decide(&self, proposed: Proposed) {
        let Proposed { payload, waiting, proposal, ahead } = proposed;
        let proposed = Instant::now();
        // It is on its way before anything is worked out, and this thread has nothing else to do for
        // those who wait. What is applied in the meantime does without.
        let working = ahead.work(&self.ledger, &proposal);
        let (written, ()) = tokio::join!(biased; self.consensus.client_write(payload), working);
        if written.is_ok() {
            self.metrics.committed(proposed.elapsed());
        }
        let undecided = match written {
            Ok(written) => {
                if let Some(outcome) = written.data.0
                    && let Some(answers) = self.answer(&outcome, &waiting)
                {
                    for (answer, waits) in answers.into_iter().zip(&waiting) {
                        tell(waits.answers.as_ref(), answer);
                    }
                    return;
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
        for waits in waiting {
            tell(waits.answers.as_ref(), undecided(waits.number));
        }
    }

    /// One answer per verdict. None if the checkpoint can't be signed.
    fn answer(&self, outcome: &Outcome, waiting: &[Waits]) -> Option<Vec<SubmitAnswer>> {
        let after = hashes_after(&outcome.applied).ok()?;
        let checkpoint = self.signer.sign(outcome.size, outcome.root).ok()?;
        let verdicts = outcome.applied.verdicts.iter().zip(after).zip(waiting);
        let answers = verdicts.map(|((verdict, after), waits)| {
            if let Some(is_refused) = is_refused(verdict) {
                self.queues.judged(&waits.owner, is_refused);
            }
            to_answer(verdict, waits.number, after, &checkpoint, self.retry_ms)
        });
        Some(answers.collect())
    }

    /// To be sent again a little later.
    pub(super) fn busy(&self) -> Undecided {
        let retry_ms = self.retry_ms;
        Box::new(move |number| SubmitAnswer::Busy(Busy { number, retry_ms }))
    }
}

/// Whether it was refused now; none if nothing was judged that was not judged before.
fn is_refused(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Rejected(_) => Some(true),
        Verdict::Accepted(accepted) => accepted.edge_before.is_some().then_some(false),
        Verdict::SessionStarted(_) | Verdict::Founded | Verdict::Recovered(_) | Verdict::Halted => {
            None
        }
    }
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
