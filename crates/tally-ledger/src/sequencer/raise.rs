//! What of the jobs can be proposed. A raise of the rules: only once a majority of the voters have said that they
//! know the new version. Whoever does not know it stops when it is applied; were that a majority, the
//! ledger would stop.
//!
//! That they have said so is no fact of the log, so it is no part of `apply`: a leader that lies about
//! it could stop the ledger, as it can by not leading.

use openraft::async_runtime::watch::WatchReceiver;
use tally_core::id::NodeId;
use tally_core::ledger::{Rejection, Submission, raises_to};
use tally_wire::message::ledger::{NotLeader, SubmitAnswer};
use tracing::warn;

use super::queue::Turn;
use super::{Job, Worker, rejected, tell};
use crate::metrics::TurnedAway;
use crate::raft::Backing;

impl Worker {
    /// What of the jobs a leader can propose. A raise that too few know is answered, and a write that
    /// leaves no majority of voters: it is not on the ledger, and its number was not used.
    pub(super) async fn sift(&self, turn: Turn, jobs: Vec<Job>) -> Vec<Job> {
        let mut fit = Vec::with_capacity(jobs.len());
        // What is proposed apart is not waited for: one write there and one here, both judged by the same
        // registers, could together leave no majority. So none is proposed apart.
        let mut cut = turn == Turn::Apart;
        for job in jobs {
            let version = match &job.submission {
                Submission::Batch(batch) => raises_to(batch),
                Submission::Genesis(_) | Submission::Recovery(_) | Submission::SessionStart(_) => {
                    None
                }
            };
            if let Some(answer) = self.refuse_cut(&job, &mut cut) {
                tell(job.answers.as_ref(), answer);
                continue;
            }
            // What is in force already is judged as any batch is: sent again, it may be the very raise.
            let backing = version
                .filter(|version| !self.is_in_force(*version))
                .map(|version| self.backing(version));
            match backing {
                None | Some(Backing::Majority) => fit.push(job),
                Some(Backing::Others(node)) => {
                    // This node would stop at it. One that knows the rules has to lead first.
                    warn!(term = self.term, to = node.0, "hands over: the rules are to be raised");
                    drop(self.consensus.trigger().transfer_leader(node.0).await);
                    let not = NotLeader { number: job.number, leader: Some(node) };
                    tell(job.answers.as_ref(), SubmitAnswer::NotLeader(not));
                }
                Some(Backing::Minority) => {
                    self.metrics.turned_away(TurnedAway::ProtocolUnsupported);
                    let answer = rejected(job.number, Rejection::ProtocolUnsupported);
                    tell(job.answers.as_ref(), answer);
                }
            }
        }
        fit
    }

    fn is_in_force(&self, version: u64) -> bool {
        let present = self.ledger.with_state(|state| state.registers().protocol());
        present.is_some_and(|present| version <= present)
    }

    fn backing(&self, version: u64) -> Backing {
        let metrics = self.consensus.server_metrics();
        let membership = metrics.borrow_watched().membership_config.membership().clone();
        self.support.backing(
            version,
            NodeId(*self.consensus.node_id()),
            membership.get_joint_config(),
        )
    }
}
