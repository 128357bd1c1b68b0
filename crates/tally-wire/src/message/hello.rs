//! The first frame in each direction of a connection's first stream: who speaks which versions, in
//! which mesh. Until it was answered nothing else is read.

use tally_core::id::{MemberId, MeshId, NodeId};

use super::AGENT_FRAME_LEN_MAX;
use crate::codec::{choice, numbers, object};

/// Whoever dials says this first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of these messages that it speaks, from 1.
    pub version_min: u64,
    /// The newest one.
    pub version_max: u64,
    /// The mesh that it means.
    pub mesh_id: MeshId,
    /// The epoch of the ledger that it knows.
    pub epoch: u64,
    /// Whose agent or node it is: the certificate must say the same.
    pub member: MemberId,
    /// Its number, if it is a ledger node.
    pub node: Option<NodeId>,
    /// The newest version of the ledger's rules that it knows.
    pub protocol: u64,
    /// Bytes that it takes in one frame.
    pub frame_len_max: u64,
}

/// Whoever was dialled answers this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloAnswer {
    /// Go on.
    Welcome(Welcome),
    /// The connection ends.
    Unwelcome(Unwelcome),
}

/// Go on, in this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak from here on: the newest that both know.
    pub version: u64,
    /// The epoch of the ledger that it knows.
    pub epoch: u64,
    /// Whose agent or node it is: the certificate must say the same.
    pub member: MemberId,
    /// Its number, if it is a ledger node.
    pub node: Option<NodeId>,
    /// The newest version of the ledger's rules that it knows.
    pub protocol: u64,
    /// Bytes that it takes in one frame.
    pub frame_len_max: u64,
}

/// The connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwelcome {
    /// Why.
    pub why: NotWelcome,
}

/// Why a connection ends before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotWelcome {
    /// No version is known to both.
    VersionUnknown,
    /// It is for another mesh.
    WrongMesh,
    /// It knows a later epoch of the ledger than the one that it was greeted with.
    EpochPassed,
    /// The member or node is not the one of the certificate, or takes no part.
    NotAMember,
    /// No new connection is taken now.
    Draining,
    /// It knows no epoch as late as the one that it was greeted with.
    EpochUnknown,
}

object! { Hello = 60, 1, AGENT_FRAME_LEN_MAX => {
    version_min, version_max, mesh_id, epoch, member, node, protocol, frame_len_max,
} }
object! { Welcome = 61, 1, AGENT_FRAME_LEN_MAX => {
    version, epoch, member, node, protocol, frame_len_max,
} }
object! { Unwelcome = 62, 1, AGENT_FRAME_LEN_MAX => { why } }

choice! { HelloAnswer, AGENT_FRAME_LEN_MAX => { Welcome(Welcome), Unwelcome(Unwelcome) } }

numbers! { NotWelcome, "reason to be unwelcome" => {
    VersionUnknown = 1, WrongMesh = 2, EpochPassed = 3, NotAMember = 4, Draining = 5,
    EpochUnknown = 6,
} }
