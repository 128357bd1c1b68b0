//! The changes themselves, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition};
use tally_core::id::NodeId;
use tally_core::register::Address;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Change, Cluster, ClusterRefusal, Refused, made_by, rules};
use crate::frame::LogId;
use crate::raft::{Membership, RaftNode, Stand, StoredMembership, TypeConfig, from_log_id};

/// A change that was not decided within this time may never be: then its outcome is open.
const DECIDE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long another change may take before this one is told to come again.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a node that leaves is given to hear of it.
const HEAR_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long another node may take to lead.
const HAND_OVER_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a node may take to say how it stands.
const STAND_WAIT_MAX: Duration = Duration::from_secs(2);

type Members = ChangeMembers<u64, RaftNode>;

impl Cluster {
    pub(super) async fn add(
        &self,
        node: NodeId,
        address: &Address,
        change: &Change,
    ) -> Result<(), Refused> {
        let raft_node = RaftNode { address: Some(address.clone()) };
        let is_there = |membership: &Membership| membership.get_node(&node.0) == Some(&raft_node);
        let nodes = BTreeMap::from([(node.0, raft_node.clone())]);
        // A node that moved is there with another address: who answers at an address is known from
        // its certificate, so that to set it can't let two nodes pass for one.
        let members = ChangeMembers::SetNodes(nodes);
        self.links.learn(node.0, Some(address));
        self.settle(change.expected, is_there, members).await
    }

    pub(super) async fn promote(&self, node: NodeId, change: &Change) -> Result<(), Refused> {
        let votes = |membership: &Membership| has_vote(membership, node);
        if !self.is_settled_as(votes).await? {
            let membership = self.expect(change.expected)?;
            self.must_be_near(&membership, node).await?;
            let mut voters = voters_of(&membership);
            voters.insert(node.0);
            self.must_be_safe(&voters, change.force).await?;
        }
        let members = ChangeMembers::AddVoterIds(BTreeSet::from([node.0]));
        self.settle(change.expected, votes, members).await
    }

    pub(super) async fn remove(&self, node: NodeId, change: &Change) -> Result<(), Refused> {
        let is_no_voter = |membership: &Membership| !has_vote(membership, node);
        if !self.is_settled_as(is_no_voter).await? {
            let membership = self.expect(change.expected)?;
            let mut voters = voters_of(&membership);
            voters.remove(&node.0);
            if voters.is_empty() {
                return Err(ClusterRefusal::LastVoter.into());
            }
            self.must_be_safe(&voters, change.force).await?;
            self.must_not_be_self(node).await?;
        }
        let members = ChangeMembers::RemoveVoters(BTreeSet::from([node.0]));
        self.settle(change.expected, is_no_voter, members).await?;
        self.let_go(node).await
    }

    pub(super) async fn replace(
        &self,
        old: NodeId,
        new: NodeId,
        change: &Change,
    ) -> Result<(), Refused> {
        let is_replaced =
            |membership: &Membership| has_vote(membership, new) && !has_vote(membership, old);
        let mut voters = voters_of(&self.effective());
        if !self.is_settled_as(is_replaced).await? {
            let membership = self.expect(change.expected)?;
            self.must_be_near(&membership, new).await?;
            voters = voters_of(&membership);
            voters.insert(new.0);
            if !voters.remove(&old.0) || old == new {
                return Err(ClusterRefusal::NodeNotAdded.into());
            }
            self.must_be_safe(&voters, change.force).await?;
            self.must_not_be_self(old).await?;
        }
        let members = ChangeMembers::ReplaceAllVoters(voters);
        self.settle(change.expected, is_replaced, members).await?;
        self.let_go(old).await
    }

    /// Finishes a change that a leader left half made.
    pub(crate) async fn finish(&self) -> Result<(), Refused> {
        let membership = self.decided().await?;
        if membership.membership().get_joint_config().len() < 2 {
            return Ok(());
        }
        let Some(present) = made_by(&membership) else { return Ok(()) };
        match self.write(ChangeMembers::AddVoterIds(BTreeSet::new()), present).await {
            // Whoever began it has finished it meanwhile.
            Err(Refused { why: ClusterRefusal::MembershipMoved, .. }) => Ok(()),
            other => other,
        }
    }

    /// Lets a voter lead, if this node leads without a vote: it has finished a change that took its own.
    pub(crate) async fn yield_to_voters(&self) -> Result<(), Refused> {
        let membership = self.decided().await?;
        let own = NodeId(*self.consensus.node_id());
        if self.consensus.is_leader() && !has_vote(membership.membership(), own) {
            self.must_not_be_self(own).await?;
        }
        Ok(())
    }

    /// Nothing is sent any more to a node that has no vote, once it had time to hear that.
    async fn let_go(&self, node: NodeId) -> Result<(), Refused> {
        let membership = self.decided().await?;
        if membership.membership().get_node(&node.0).is_none() {
            return Ok(());
        }
        // A change that was left half made may have been finished by the one that goes.
        self.must_not_be_self(node).await?;
        let heard = async {
            let mut metrics = self.consensus.metrics();
            let at = made_by(&membership).map(|id| id.index);
            loop {
                let has = {
                    let metrics = metrics.borrow_watched();
                    let matched = metrics.replication.as_ref().and_then(|it| it.get(&node.0));
                    let matched = matched.cloned().flatten().map(|id| id.index);
                    metrics.replication.is_none() || matched >= at
                };
                if has || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // One that does not hear it learns later that nobody knows it any more.
        drop(timeout(HEAR_WAIT_MAX, heard).await);
        let gone = |membership: &Membership| membership.get_node(&node.0).is_none();
        let present = made_by(&membership).ok_or(ClusterRefusal::ChangeUnderWay)?;
        let members = ChangeMembers::RemoveNodes(BTreeSet::from([node.0]));
        self.settle(present, gone, members).await
    }

    /// Makes the cluster so that `is_done` of it, if it is still what was expected.
    async fn settle(
        &self,
        expected: LogId,
        is_done: impl Fn(&Membership) -> bool,
        members: Members,
    ) -> Result<(), Refused> {
        if self.is_settled_as(&is_done).await? {
            return Ok(());
        }
        let written = self.write(members, expected).await;
        if written.is_ok() || self.is_settled_as(&is_done).await? { Ok(()) } else { written }
    }

    /// Whether it is done already. A change that was left half made is finished first.
    async fn is_settled_as(&self, is_done: impl Fn(&Membership) -> bool) -> Result<bool, Refused> {
        self.finish().await?;
        Ok(is_done(self.decided().await?.membership()))
    }

    /// The set of nodes that is in force, if it is the one that was expected.
    fn expect(&self, expected: LogId) -> Result<StoredMembership, Refused> {
        let membership = self.effective();
        if made_by(&membership) == Some(expected) {
            Ok(membership)
        } else {
            Err(ClusterRefusal::MembershipMoved.into())
        }
    }

    /// The set of nodes that is in force, once it is decided.
    async fn decided(&self) -> Result<StoredMembership, Refused> {
        let mut metrics = self.consensus.metrics();
        let decided = async {
            loop {
                let found = {
                    let metrics = metrics.borrow_watched();
                    let present = &metrics.membership_config;
                    let decided = metrics.committed_membership_config.log_id() == present.log_id();
                    decided.then(|| StoredMembership::clone(present))
                };
                if let Some(found) = found {
                    return Ok(found);
                }
                metrics.changed().await.map_err(|_| self.not_leader())?;
            }
        };
        let decided = timeout(SETTLE_WAIT_MAX, decided).await;
        decided.unwrap_or_else(|_| Err(ClusterRefusal::ChangeUnderWay.into()))
    }

    async fn write(&self, members: Members, expected: LogId) -> Result<(), Refused> {
        let last_membership_log_id = Some(from_log_id(expected));
        let precondition = Precondition::LastMembershipLogId { last_membership_log_id };
        // Those who lose their vote go on as learners, and hear of it.
        let written = self.consensus.change_membership_if(members, true, [precondition]);
        match timeout(DECIDE_WAIT_MAX, written).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(ClusterRefusal::NotDecided.into()),
        }
    }

    fn refused(&self, error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Refused {
        let why = match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => return self.not_leader(),
            RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => {
                ClusterRefusal::MembershipMoved
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
                ChangeMembershipError::EmptyMembership(_) => ClusterRefusal::LastVoter,
                ChangeMembershipError::LearnerNotFound(_) => ClusterRefusal::NodeNotAdded,
                _ => ClusterRefusal::ChangeUnderWay,
            },
            RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
                ClusterRefusal::NotDecided
            }
        };
        why.into()
    }

    async fn must_be_near(
        &self,
        membership: &StoredMembership,
        node: NodeId,
    ) -> Result<(), Refused> {
        if membership.membership().get_node(&node.0).is_none() {
            return Err(ClusterRefusal::NodeNotAdded.into());
        }
        let metrics = self.consensus.metrics().borrow_watched().clone();
        let matched = metrics.replication.as_ref().and_then(|it| it.get(&node.0).cloned());
        let matched = matched.flatten().map(|id| id.index);
        if has_vote(membership.membership(), node) {
            return Ok(());
        }
        // It has what it needs a moment before it trusts itself.
        let near = rules::is_near(matched, metrics.last_log_index);
        let doubts = |stand: Stand| !stand.trusted;
        if near && !self.stand_of(node.0).await.is_some_and(doubts) {
            Ok(())
        } else {
            Err(ClusterRefusal::NotCaughtUp.into())
        }
    }

    /// Whether the voters would be few enough, and a majority of them there.
    async fn must_be_safe(&self, voters: &BTreeSet<u64>, force: bool) -> Result<(), Refused> {
        let witnesses = self.ledger.with_state(|state| rules::witnesses(state.registers()));
        rules::fit(voters.len(), witnesses)?;
        if force || rules::have_quorum(voters, &self.ask_around(voters).await) {
            Ok(())
        } else {
            Err(ClusterRefusal::QuorumAtRisk.into())
        }
    }

    /// What a node says of itself, if it answers.
    async fn stand_of(&self, node: u64) -> Option<Stand> {
        timeout(STAND_WAIT_MAX, self.links.stand_of(node)).await.ok()?.ok()
    }

    /// Who of these answers, and is trusted.
    async fn ask_around(&self, nodes: &BTreeSet<u64>) -> BTreeMap<u64, bool> {
        let own = *self.consensus.node_id();
        let mut asked = JoinSet::new();
        for node in nodes.iter().copied().filter(|node| *node != own) {
            let cluster = self.clone();
            asked.spawn(async move {
                (node, cluster.stand_of(node).await.is_some_and(|stand| stand.trusted))
            });
        }
        let mut trusted = BTreeMap::from([(own, self.standing.is_trusted())]);
        while let Some(answered) = asked.join_next().await {
            trusted.extend(answered.ok());
        }
        trusted
    }

    /// A leader that leaves hands over first; who leads then makes the change.
    async fn must_not_be_self(&self, node: NodeId) -> Result<(), Refused> {
        if node.0 != *self.consensus.node_id() {
            return Ok(());
        }
        let next = crate::sequencer::successors(&self.consensus).first().copied();
        self.hand_over_to(next.ok_or(ClusterRefusal::LastVoter)?).await?;
        Err(self.not_leader())
    }

    pub(super) async fn hand_over_to(&self, to: u64) -> Result<(), Refused> {
        let handed = async {
            let mut metrics = self.consensus.server_metrics();
            let ended = ClusterRefusal::NotHandedOver;
            self.consensus.trigger().transfer_leader(to).await.map_err(|_| ended)?;
            while metrics.borrow_watched().current_leader != Some(to) {
                metrics.changed().await.map_err(|_| ended)?;
            }
            Ok::<(), ClusterRefusal>(())
        };
        let handed = timeout(HAND_OVER_WAIT_MAX, handed).await;
        Ok(handed.unwrap_or(Err(ClusterRefusal::NotHandedOver))?)
    }
}

fn voters_of(membership: &StoredMembership) -> BTreeSet<u64> {
    membership.membership().voter_ids().collect()
}

fn has_vote(membership: &Membership, node: NodeId) -> bool {
    membership.voter_ids().any(|voter| voter == node.0)
}
