//! The cluster as a node sees it.

use std::collections::BTreeMap;

use openraft::async_runtime::watch::WatchReceiver;
use serde_json::{Value, json};
use tally_core::id::{MemberId, NodeId};

use super::{Cluster, made_by, rules};
use crate::frame::LogId;

/// The cluster as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// The node that looks.
    pub node: NodeId,
    /// Who leads, if it is known.
    pub leader: Option<NodeId>,
    /// The entry that made the cluster so; none before it was founded.
    pub made_by: Option<LogId>,
    /// Whether that is decided, and not on its way from one set of voters to another.
    pub settled: bool,
    /// All nodes, ascending.
    pub nodes: Vec<ClusterNode>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its number.
    pub node: NodeId,
    /// The member whose register names it; none if none does.
    pub member: Option<MemberId>,
    /// Whether it votes; a learner only replicates.
    pub votes: bool,
    /// Where its peers reach it, as the node that looks does.
    pub address: Option<String>,
    /// How far it has the log; only the leader knows.
    pub matched: Option<u64>,
    /// Entries that it lacks; only the leader knows.
    pub behind: Option<u64>,
}

impl Cluster {
    /// The cluster as this node sees it.
    #[must_use]
    pub fn view(&self) -> ClusterView {
        let metrics = self.consensus.metrics().borrow_watched().clone();
        let own = *self.consensus.node_id();
        let stored = &metrics.membership_config;
        let membership = stored.membership();
        let last = metrics.last_log_index;
        let voters: Vec<u64> = membership.voter_ids().collect();
        let mut matched: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        for (node, id) in metrics.replication.iter().flatten() {
            matched.insert(*node, id.as_ref().map(|id| id.index));
        }
        if metrics.replication.is_some() {
            matched.insert(own, last);
        }
        let numbers: Vec<(u64, Option<String>)> = membership
            .nodes()
            .map(|(node, at)| {
                let said = at.address.as_ref().map(ToString::to_string);
                (*node, self.links.address_of(*node).or(said))
            })
            .collect();
        let members = self.ledger.with_state(|state| {
            let owner = |node: u64| rules::owner(state.registers(), NodeId(node));
            let owners = numbers.iter().map(|(node, _)| owner(*node).map(|it| it.id.clone()));
            owners.collect::<Vec<_>>()
        });
        let nodes = numbers.into_iter().zip(members).map(|((node, address), member)| {
            let matched_at = matched.get(&node).copied();
            let behind = |at: Option<u64>| {
                let count = |index: Option<u64>| index.map_or(0, |index| index.saturating_add(1));
                count(last).saturating_sub(count(at))
            };
            ClusterNode {
                node: NodeId(node),
                member,
                votes: voters.contains(&node),
                address,
                matched: matched_at.flatten(),
                behind: matched_at.map(behind),
            }
        });
        let decided = metrics.committed_membership_config.log_id() == stored.log_id();
        ClusterView {
            node: NodeId(own),
            leader: crate::sequencer::leader_of(&self.consensus, &self.standing),
            made_by: made_by(stored),
            settled: decided && membership.get_joint_config().len() == 1,
            nodes: nodes.collect(),
        }
    }
}

impl ClusterView {
    /// The answer over HTTPS.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let nodes = self.nodes.iter().map(|node| {
            json!({
                "node": node.node.0,
                "member": node.member.as_ref().map(ToString::to_string),
                "votes": node.votes,
                "raft_address": node.address,
                "matched": node.matched,
                "behind": node.behind,
            })
        });
        json!({
            "node": self.node.0,
            "leader": self.leader.map(|leader| leader.0),
            "membership_log_id": self.made_by.map(log_id_json),
            "settled": self.settled,
            "nodes": nodes.collect::<Vec<_>>(),
        })
    }
}

/// The name of an entry, as requests repeat it.
#[must_use]
pub fn log_id_json(id: LogId) -> Value {
    json!({ "term": id.term, "leader": id.leader, "index": id.index })
}
