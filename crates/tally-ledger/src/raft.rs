//! The types with which openraft is used, and the log as openraft wants it.
//!
//! Invariant: what openraft is told is durable is durable: the writing thread says so, after its
//! sync. And a proposal's bytes are the same in every node's log, in every frame and on every wire.

mod ask;
mod codec;
mod machine;
mod membership;
mod network;
mod server;
mod standing;
mod storage;
mod support;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::impls::leader_id_adv::LeaderId;

use crate::frame::{EntryKind, LogId, Vote};
use crate::store::StoredEntry;

pub use machine::{Machine, MachineParts, Outcome, Prepared};
pub use membership::{
    Membership, RaftNode, StoredMembership, decode_membership, encode_membership,
};
pub(crate) use network::CONNECTION;
pub use network::{AskError, Links, Peers, Stand};
pub use server::{Server as RaftServer, serve};
pub use standing::Standing;
pub use storage::{LogReader, LogStorage};
pub use support::{Backing, Support};

/// Consensus, running: openraft over our log, our machine and our network.
pub type Consensus = openraft::Raft<TypeConfig, Machine>;

openraft::declare_raft_types!(
    /// How the ledger uses openraft. A node is its number, and where its peers reach it: keys are in
    /// the member registers.
    pub TypeConfig:
        D = Payload,
        R = Response,
        NodeId = u64,
        Node = RaftNode,
);

/// An entry as openraft has it.
pub type RaftEntry = EntryOf<TypeConfig>;

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
