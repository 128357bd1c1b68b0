//! Who is in the cluster of ledger nodes, and how that is changed.
//!
//! Invariant: a node is added or promoted only if its member's register names it, which a majority of
//! the members has approved; what is asked here carries that out and decides nothing. Each change is a
//! compare-and-set on the set of nodes that whoever asked has seen, and what is done already is
//! answered as done: every request may be repeated, after a crash between any two steps too.
//!
//! A voter leaves in two steps: first it goes on as a learner, so that it hears that it has no vote
//! any more and never campaigns, then nothing is sent to it.

mod change;
mod rules;
#[cfg(test)]
mod tests;
mod view;

mod refused;

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use tally_core::id::{MemberId, NodeId};
use tally_core::register::Address;
use tokio::time::timeout;

use crate::applied::Ledger;
use crate::frame::LogId;
use crate::raft::{Consensus, Links, Standing, StoredMembership, to_log_id};

pub use refused::{ClusterRefusal, Fault, Refused};
pub use view::{ClusterNode, ClusterView, log_id_json};

/// How long a leader may take to hear from a majority, and to apply what was decided.
const KNOW_WAIT_MAX: Duration = Duration::from_secs(3);

/// What changes the cluster, and looks at it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    consensus: Consensus,
    ledger: Ledger,
    standing: Arc<Standing>,
    links: Links,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Let a node replicate, without a vote.
    Add {
        /// Which.
        node: NodeId,
        /// Where its peers reach it.
        address: Address,
    },
    /// Let a learner vote.
    Promote {
        /// Which.
        node: NodeId,
    },
    /// Let a node go.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// Let a learner vote in the place of a voter, as one change.
    Replace {
        /// The voter, which goes.
        old: NodeId,
        /// The learner.
        new: NodeId,
    },
}

/// A request with what it was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is asked.
    pub request: Request,
    /// The entry that made the cluster what whoever asks has seen.
    pub expected: LogId,
    /// Whether to make it although a majority may be lost.
    pub force: bool,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The cluster afterwards.
    pub view: ClusterView,
    /// What whoever asked should know.
    pub warnings: Vec<String>,
}

impl Cluster {
    pub(crate) const fn new(
        consensus: Consensus,
        ledger: Ledger,
        standing: Arc<Standing>,
        links: Links,
    ) -> Self {
        Self { consensus, ledger, standing, links }
    }

    /// Makes a change that an operator of this member asks for.
    ///
    /// # Errors
    /// [`Refused`], and nothing was changed unless it says that this is open.
    pub async fn change(&self, by: &MemberId, change: &Change) -> Result<Changed, Refused> {
        self.must_know_all().await?;
        self.ledger.with_state(|state| {
            rules::may_ask(state.registers(), by, &change.request).map_err(Refused::from)
        })?;
        match &change.request {
            Request::Add { node, address } => self.add(*node, address, change).await?,
            Request::Promote { node } => self.promote(*node, change).await?,
            Request::Remove { node } => self.remove(*node, change).await?,
            Request::Replace { old, new } => self.replace(*old, *new, change).await?,
        }
        let view = self.view();
        let warnings = rules::warnings(&change.request, &view);
        Ok(Changed { view, warnings })
    }

    /// Lets another voter lead. Any operator of a member that runs a node may ask.
    ///
    /// # Errors
    /// [`Refused`], and this node may still lead.
    pub async fn transfer(&self, by: &MemberId, to: NodeId) -> Result<Changed, Refused> {
        self.must_know_all().await?;
        self.ledger.with_state(|state| {
            rules::may_transfer(state.registers(), by).map_err(Refused::from)
        })?;
        let voters = self.effective();
        if !voters.voter_ids().any(|voter| voter == to.0) {
            return Err(ClusterRefusal::NodeNotAdded.into());
        }
        if to.0 != *self.consensus.node_id() {
            self.hand_over_to(to.0).await?;
        }
        Ok(Changed { view: self.view(), warnings: Vec::new() })
    }

    /// Who may ask for what is judged by the leader, once it has applied all that was decided before it
    /// was asked: by older registers a member that was removed could still ask.
    async fn must_know_all(&self) -> Result<(), Refused> {
        if !self.consensus.is_leader() {
            return Err(self.not_leader());
        }
        let known = self.consensus.ensure_linearizable(ReadPolicy::ReadIndex);
        match timeout(KNOW_WAIT_MAX, known).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.not_leader()),
        }
    }

    fn not_leader(&self) -> Refused {
        let leader = crate::sequencer::leader_of(&self.consensus, &self.standing);
        let other = leader.filter(|leader| leader.0 != *self.consensus.node_id());
        Refused { why: ClusterRefusal::NotLeader, leader: other }
    }

    /// The set of nodes that is in force, decided or not.
    fn effective(&self) -> StoredMembership {
        let metrics = self.consensus.metrics();
        let metrics = metrics.borrow_watched();
        StoredMembership::clone(&metrics.membership_config)
    }
}

/// The entry that made a set of nodes.
fn made_by(membership: &StoredMembership) -> Option<LogId> {
    membership.log_id().as_ref().map(to_log_id)
}
