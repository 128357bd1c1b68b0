//! Leaf 0 of epoch 0: all founders at once, so that there is no bootstrap order.

use crate::id::{MeshName, NodeId, Salt16};
use crate::register::MemberRecord;

/// The first leaf. Its hash is the mesh id, so its preimages are the only ones without a mesh id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// 128 bits from outside: two meshes of the same founders differ.
    pub salt: Salt16,
    /// The mesh's name.
    pub mesh: MeshName,
    /// Whether real people's data may cross here. Fixed for ever.
    pub environment: Environment,
    /// The version of the rules that the ledger starts with.
    pub protocol: u64,
    /// The founding members, all active, in order of their ids.
    pub members: Vec<MemberRecord>,
    /// The first voters among the founders' ledger nodes, ascending.
    pub voters: Vec<NodeId>,
}

/// What a mesh is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Environment {
    /// Made-up people only: NHS numbers from the test ranges.
    Test,
    /// Real people: no NHS number from a test range.
    Live,
}
