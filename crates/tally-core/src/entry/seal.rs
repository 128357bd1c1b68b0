//! What binds entries to the member that wrote them: a session's start, and the seal of each batch.
//!
//! TLS certificates play no part in what is verified later: a seal, its session's start and the
//! member's register are enough.

use tally_log::{Hash, Signature};

use crate::id::{KeyId, LeafIndex, MemberId, MeshId, Salt16, SessionId};
use crate::time::Timestamp;

/// A signature algorithm by its COSE number (RFC 9053 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519, as EdDSA (−8).
    EdDsa,
}

/// An agent opens a session: the leaf that its batches refer to by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStart {
    /// 128 bits from outside.
    pub salt: Salt16,
    /// The mesh that the session is for.
    pub mesh_id: MeshId,
    /// The epoch that the session is for: a forced recovery ends all sessions.
    pub epoch: u64,
    /// Whose agent it is.
    pub member: MemberId,
    /// Which key signs this session's batches.
    pub key: KeyId,
    /// The agent's session before this one, which ends now. A compare-and-set.
    pub previous: Option<SessionId>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// By the agent's key, over [`session_preimage`].
    pub signature: Signature,
}

/// The ledger closes a batch. The seal of the entry at position k of n, whose leaf is i, is leaf
/// i − k + n: one entry with its path and its seal can be verified alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The session that the batch belongs to.
    pub session: SessionId,
    /// The batch's number in its session, from 0, without gaps.
    pub number: u64,
    /// Under which rule it was accepted.
    pub lane: Lane,
    /// Entries in the batch, 1 to 512.
    pub count: u16,
    /// RFC 6962 root over the entries' leaf hashes.
    pub root: Hash,
    /// How the batch is signed.
    pub algorithm: Algorithm,
    /// By the agent's key, over [`batch_preimage`].
    pub signature: Signature,
    /// Ledger time: never decreases along the ledger.
    pub time: Timestamp,
    /// The last register leaf before this batch: how far behind its author may have been.
    pub last_register_leaf: LeafIndex,
}

/// The rule under which a batch is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Permits: whole or not at all, only if all registers that they name are current.
    Conditional,
    /// Refusals, requesters' halves, closes, late entries: never stale.
    Unconditional,
    /// One register write: compare-and-set on its previous leaf.
    Register,
}

impl Lane {
    /// The number that is signed and stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Conditional => 1,
            Self::Unconditional => 2,
            Self::Register => 3,
        }
    }

    /// The lane of a stored number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Conditional),
            2 => Some(Self::Unconditional),
            3 => Some(Self::Register),
            _ => None,
        }
    }
}

/// What an agent signs for a batch: fixed lengths, big-endian.
#[must_use]
pub fn batch_preimage(
    mesh_id: &MeshId,
    epoch: u64,
    session: SessionId,
    number: u64,
    lane: Lane,
    count: u16,
    root: &Hash,
) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(112);
    preimage.extend_from_slice(b"tally/batch/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&epoch.to_be_bytes());
    preimage.extend_from_slice(&session.0.0.to_be_bytes());
    preimage.extend_from_slice(&number.to_be_bytes());
    preimage.push(lane.number());
    preimage.extend_from_slice(&count.to_be_bytes());
    preimage.extend_from_slice(root.as_bytes());
    preimage
}

/// What an agent signs to open a session: fixed lengths but for the member's id, which ends it.
#[must_use]
pub fn session_preimage(
    salt: &Salt16,
    mesh_id: &MeshId,
    epoch: u64,
    member: &MemberId,
    key: &KeyId,
    previous: Option<SessionId>,
) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(128);
    preimage.extend_from_slice(b"tally/session/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&salt.0);
    preimage.extend_from_slice(&epoch.to_be_bytes());
    preimage.extend_from_slice(&key.0);
    preimage.push(u8::from(previous.is_some()));
    preimage.extend_from_slice(&previous.map_or(0, |session| session.0.0).to_be_bytes());
    preimage.extend_from_slice(member.as_str().as_bytes());
    preimage
}
