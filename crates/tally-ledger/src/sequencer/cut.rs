//! A member's register that would cut ledger nodes off, before it is proposed: only if what is left of
//! the voters is a majority that is there. A voter that no register names is let in by nobody, and is
//! missing in every majority.
//!
//! Who votes is no fact of the log's leaves, so it is no part of `apply`; and this is the one way by
//! which a write comes to be proposed.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::Instant;
use openraft::alias::SerdeInstantOf;
use openraft::async_runtime::watch::WatchReceiver;
use tally_core::ledger::{Registers, Rejection, Submission, member_written};
use tally_core::register::{MemberRecord, MemberStatus};
use tally_log::VerifyingKey;
use tally_wire::message::ledger::SubmitAnswer;

use super::{Job, Worker, rejected};
use crate::metrics::TurnedAway;
use crate::raft::TypeConfig;

/// A voter that has answered within this time is there: several heartbeats.
const SILENT_MAX: Duration = Duration::from_secs(1);

/// What a member's record does to the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// All that were named stay so.
    Nobody,
    /// A majority stays, and is there.
    Some,
    /// Too few are left.
    TooMany,
}

impl Worker {
    /// The answer to a job that can't be proposed because of the voters that it takes away. `taken`
    /// says whether one before it, which is not applied yet, takes some: they are judged one by one.
    pub(super) fn refuse_cut(&self, job: &Job, taken: &mut bool) -> Option<SubmitAnswer> {
        let Submission::Batch(batch) = &job.submission else { return None };
        match self.cut(member_written(batch)?) {
            Cut::Nobody => None,
            Cut::Some if *taken => Some(self.decider.busy()(job.number)),
            Cut::Some => {
                *taken = true;
                None
            }
            Cut::TooMany => {
                self.metrics.turned_away(TurnedAway::VotersCutOff);
                Some(rejected(job.number, Rejection::VotersCutOff))
            }
        }
    }

    fn cut(&self, record: &MemberRecord) -> Cut {
        let voters = {
            let metrics = self.consensus.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().get_joint_config().clone()
        };
        let there = self.there();
        self.ledger.with_state(|state| {
            let cuts = voters.iter().map(|voters| cut(state.registers(), record, voters, &there));
            cuts.max().unwrap_or(Cut::Nobody)
        })
    }

    /// This node, and those that have answered it of late.
    fn there(&self) -> BTreeSet<u64> {
        let metrics = self.consensus.data_metrics();
        let heard = metrics.borrow_watched().heartbeat.clone().unwrap_or_default();
        let is_there = |at: SerdeInstantOf<TypeConfig>| at.into_inner().elapsed() <= SILENT_MAX;
        let there = heard.into_iter().filter(|(_, at)| at.is_some_and(is_there));
        there.map(|(node, _)| node).chain([*self.consensus.node_id()]).collect()
    }
}

/// What becomes of these voters if this comes to be the member's record. Taking none away is never
/// refused, however few there are.
fn cut(
    registers: &Registers,
    record: &MemberRecord,
    voters: &BTreeSet<u64>,
    there: &BTreeSet<u64>,
) -> Cut {
    let named = |voter: u64| registers.members().find_map(|member| key_in(member, voter));
    let stays = |voter: u64| {
        let others = registers.members().filter(|member| member.id != record.id);
        let after = others.chain([record]).find_map(|member| key_in(member, voter));
        // A node does not start with a key that is not its own.
        after.is_some() && after == named(voter)
    };
    if voters.iter().all(|voter| named(*voter).is_none() || stays(*voter)) {
        return Cut::Nobody;
    }
    let left = voters.iter().filter(|voter| stays(**voter) && there.contains(voter)).count();
    if left > voters.len() / 2 { Cut::Some } else { Cut::TooMany }
}

/// What a node of this number signs with, if the member has it and is let in.
fn key_in(member: &MemberRecord, node: u64) -> Option<VerifyingKey> {
    let let_in = member.status != MemberStatus::Removed;
    let mut nodes = member.nodes.iter().filter(|_| let_in);
    nodes.find(|it| it.id.0 == node).map(|it| it.log_key)
}
