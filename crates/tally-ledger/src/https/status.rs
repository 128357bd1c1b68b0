//! What a node says of itself at `/admin/status`.

use std::sync::Arc;

use serde_json::{Value, json};
use tally_core::id::{MemberId, MeshId, MeshName, NodeId};
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::published::{Checkpoints, Published, WitnessSeen};

/// Looks at the node and says how it is. It must not wait.
pub type StatusSource = Arc<dyn Fn() -> NodeStatus + Send + Sync>;

/// A node's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// The member that runs it.
    pub member: MemberId,
    /// The mesh, by name.
    pub mesh: MeshName,
    /// The mesh, by the hash of its genesis.
    pub mesh_id: MeshId,
    /// The ledger's epoch.
    pub epoch: u64,
    /// The version of the rules in force.
    pub protocol: u64,
    /// What it does in the cluster.
    pub role: NodeRole,
    /// Raft's term.
    pub term: u64,
    /// Who leads, if it is known.
    pub leader: Option<NodeId>,
    /// Who votes, ascending.
    pub voters: Vec<NodeId>,
    /// Who replicates without a vote, ascending.
    pub learners: Vec<Learner>,
    /// Entries that each other node lacks; only the leader knows.
    pub peer_lags: Vec<(NodeId, u64)>,
    /// Where the node stands in the cluster.
    pub place: Place,
    /// The last entry in its Raft log.
    pub last_log_index: Option<u64>,
    /// The last entry that it applied.
    pub applied_index: Option<u64>,
    /// Ledger time of what it applied.
    pub time: Timestamp,
    /// Leaves that it applied.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Registers that there are.
    pub registers: u64,
    /// Sessions that are open.
    pub sessions: u64,
    /// Whether it votes.
    pub trust: NodeTrust,
    /// What it uses of its disk.
    pub disk: DiskUse,
    /// Which rules it and its peers know.
    pub rules: RulesKnown,
}

/// Which versions of the rules are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulesKnown {
    /// The newest that this node knows.
    pub known: u64,
    /// The one that it met and does not know: it applies nothing more.
    pub halted_at: Option<u64>,
    /// The newest that each node, this one too, has said it knows.
    pub said: Vec<(NodeId, u64)>,
}

/// What a node does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// Takes what agents submit.
    Leader,
    /// Votes and replicates.
    Follower,
    /// Wants to lead.
    Candidate,
    /// Replicates without a vote.
    Learner,
    /// Has stopped for good.
    Stopped,
}

/// A node that replicates without a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learner {
    /// Its number.
    pub node: NodeId,
    /// The last entry that it has; only the leader knows.
    pub matched: Option<u64>,
    /// Entries that it lacks; only the leader knows.
    pub behind: Option<u64>,
}

/// Where a node stands in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has a vote.
    Voter,
    /// It replicates without one.
    Learner,
    /// It waits to be added.
    Outside,
    /// It was removed, and is sent nothing any more.
    Removed,
}

/// Whether a node's disk is known to hold all that it promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeTrust {
    /// It is.
    Trusted,
    /// It is not: the node replicates, and does not vote before it has caught up.
    Untrusted,
}

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// Of the Raft log.
    pub log_bytes: u64,
    /// Free on the file system.
    pub free_bytes: u64,
    /// Segments of the log.
    pub segments: u64,
    /// In the segment that is written.
    pub segment_bytes: u64,
    /// Read back from the log, and still held by somebody.
    pub held_bytes: u64,
}

impl NodeStatus {
    /// The answer of `/admin/status`.
    pub(super) fn to_json(&self, checkpoints: &Checkpoints) -> Value {
        let size = |published: Arc<Published>| published.head.size;
        let witnesses = checkpoints.witnesses();
        json!({
            "node": self.node.0,
            "member": self.member.to_string(),
            "mesh": self.mesh.to_string(),
            "mesh_id": self.mesh_id.to_string(),
            "epoch": self.epoch,
            "protocol": self.protocol,
            "role": self.role.as_str(),
            "term": self.term,
            "leader": self.leader.map(|node| node.0),
            "voters": self.voters.iter().map(|node| node.0).collect::<Vec<u64>>(),
            "learners": self.learners.iter().map(|it| json!({
                "node": it.node.0,
                "matched": it.matched,
                "behind": it.behind,
            })).collect::<Vec<_>>(),
            "place": self.place.as_str(),
            "last_log_index": self.last_log_index,
            "applied_index": self.applied_index,
            "time_ms": self.time.0,
            "size": self.size,
            "root": self.root.to_string(),
            "published_size": checkpoints.last().map(size),
            "witnessed_size": checkpoints.witnessed().map(size),
            "witnesses": witnesses.iter().map(witness).collect::<Vec<Value>>(),
            "registers": self.registers,
            "sessions": self.sessions,
            "trust": self.trust.as_str(),
            "disk": {
                "log_bytes": self.disk.log_bytes,
                "free_bytes": self.disk.free_bytes,
                "segments": self.disk.segments,
                "segment_bytes": self.disk.segment_bytes,
                "held_bytes": self.disk.held_bytes,
            },
            "rules": {
                "known": self.rules.known,
                "halted_at": self.rules.halted_at,
                "said": self.rules.said.iter().map(|(node, version)| {
                    json!({ "node": node.0, "known": version })
                }).collect::<Vec<_>>(),
            },
        })
    }
}

fn witness(seen: &WitnessSeen) -> Value {
    json!({
        "name": seen.name,
        "member": seen.member.as_ref().map(ToString::to_string),
        "size": seen.cosigned.map(|(size, _)| size),
        "age_ms": seen.age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "state": seen.state,
    })
}

impl NodeRole {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Leader, Self::Follower, Self::Candidate, Self::Learner, Self::Stopped];

    /// The word in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

impl Place {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Outside => "outside",
            Self::Removed => "removed",
        }
    }
}

impl NodeTrust {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
}
