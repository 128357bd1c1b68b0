//! The types with which openraft is used, and the log as openraft wants it.
//!
//! Invariant: what openraft is told is durable is durable: the writing thread says so, after its
//! sync. And a proposal's bytes are the same in every node's log, in every frame and on every wire.

mod ask;
mod codec;
mod machine;
mod network;
mod server;
mod standing;
mod storage;
mod support;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::{EmptyNode, EntryPayload};

use crate::frame::{EntryKind, Fields, LogId, Vote};
use crate::store::StoredEntry;

pub use machine::{Machine, MachineParts, Outcome, Prepared};
pub(crate) use network::CONNECTION;
pub use network::{AskError, Links, Peers};
pub use server::{Server as RaftServer, serve};
pub use standing::Standing;
pub use storage::{LogReader, LogStorage};
pub use support::{Backing, Support};

/// Consensus, running: openraft over our log, our machine and our network.
pub type Consensus = openraft::Raft<TypeConfig, Machine>;

openraft::declare_raft_types!(
    /// How the ledger uses openraft. A node is only its number: addresses and keys are in the member
    /// registers.
    pub TypeConfig:
        D = Payload,
        R = Response,
        NodeId = u64,
        Node = EmptyNode,
);

/// An entry as openraft has it.
pub type RaftEntry = EntryOf<TypeConfig>;

/// The set of nodes as openraft has it.
pub type Membership = openraft::Membership<u64, EmptyNode>;

/// A proposal, encoded once by its leader and never again.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The encoded proposal, at most 1 MiB.
    pub bytes: Bytes,
}

/// What the proposer is told once its entry is applied: nothing for an entry without a proposal.
#[derive(Debug, Clone, Default)]
pub struct Response(pub Option<Arc<Outcome>>);

/// An entry as it is stored. Uncopied, but for the few that carry a membership.
#[must_use]
pub fn to_stored(entry: RaftEntry) -> StoredEntry {
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(payload) => (EntryKind::Proposal, payload.bytes),
        EntryPayload::Membership(membership) => {
            (EntryKind::Membership, encode_membership(&membership).into())
        }
    };
    StoredEntry { log_id: to_log_id(&entry.log_id), kind, payload }
}

/// The entry that was stored; `None` if its payload is not what its kind says.
#[must_use]
pub fn from_stored(entry: StoredEntry) -> Option<RaftEntry> {
    let payload = match entry.kind {
        EntryKind::Blank if entry.payload.is_empty() => EntryPayload::Blank,
        EntryKind::Blank => return None,
        EntryKind::Proposal => EntryPayload::Normal(Payload { bytes: entry.payload }),
        EntryKind::Membership => EntryPayload::Membership(decode_membership(&entry.payload)?),
    };
    Some(RaftEntry { log_id: from_log_id(entry.log_id), payload })
}

/// Our name of an entry.
#[must_use]
pub fn to_log_id(id: &LogIdOf<TypeConfig>) -> LogId {
    LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

/// openraft's name of an entry.
#[must_use]
pub fn from_log_id(id: LogId) -> LogIdOf<TypeConfig> {
    openraft::LogId { leader_id: LeaderId { term: id.term, node_id: id.leader }, index: id.index }
}

fn to_vote(vote: &VoteOf<TypeConfig>) -> Vote {
    let leader = vote.leader_id;
    Vote { term: leader.term, leader: leader.node_id, committed: vote.committed }
}

fn from_vote(vote: Vote) -> VoteOf<TypeConfig> {
    let leader_id = LeaderId { term: vote.term, node_id: vote.leader };
    openraft::Vote { leader_id, committed: vote.committed }
}

/// Each configuration of the voters, then all nodes: a u32 that says how many, then each as a u64.
#[must_use]
pub fn encode_membership(membership: &Membership) -> Vec<u8> {
    let configurations = membership.get_joint_config();
    let mut bytes = Vec::new();
    put_count(&mut bytes, configurations.len());
    for voters in configurations {
        put_count(&mut bytes, voters.len());
        voters.iter().for_each(|id| bytes.extend_from_slice(&id.to_be_bytes()));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    put_count(&mut bytes, nodes.len());
    nodes.iter().for_each(|(id, _)| bytes.extend_from_slice(&id.to_be_bytes()));
    bytes
}

/// Reads [`encode_membership`]; `None` if the bytes are not exactly what it writes.
#[must_use]
pub fn decode_membership(bytes: &[u8]) -> Option<Membership> {
    let mut fields = Fields(bytes);
    let mut configurations = Vec::new();
    for _ in 0..fields.u32()? {
        configurations.push(take_ids(&mut fields)?);
    }
    let nodes = take_ids(&mut fields)?;
    let nodes: BTreeMap<_, _> = nodes.into_iter().map(|id| (id, EmptyNode {})).collect();
    let membership = Membership::new(configurations, nodes).ok()?;
    (encode_membership(&membership) == bytes).then_some(membership)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn take_ids(fields: &mut Fields<'_>) -> Option<BTreeSet<u64>> {
    let mut ids = BTreeSet::new();
    for _ in 0..fields.u32()? {
        ids.insert(fields.u64()?);
    }
    Some(ids)
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal of {} bytes", self.bytes.len())
    }
}
