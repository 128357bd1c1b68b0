//! What reaches the ledger, and what it needs around it.

use tally_log::{Hash, Signature, VerifyingKey, node_hash};

use crate::encoded::Encoded;
use crate::entry::{Algorithm, Entry, Genesis, Lane, Recovery, Seal, SessionStart};
use crate::id::SessionId;
use crate::time::Timestamp;

/// What one Raft entry carries: submissions in order, and the leader's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The leader's clock when it proposed. Ledger time is this, but never goes back.
    pub time: Timestamp,
    /// In the order in which they are judged.
    pub submissions: Vec<Submission>,
}

/// One thing that somebody wants to have on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// Leaf 0, proposed by the first leader.
    Genesis(Encoded<Genesis>),
    /// The first leaf of the next epoch, written by the node that continues the ledger.
    Recovery(Encoded<Recovery>),
    /// An agent opens a session.
    SessionStart(Encoded<SessionStart>),
    /// A batch of a session.
    Batch(Batch),
}

/// A numbered batch of entries, signed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The session that it belongs to.
    pub session: SessionId,
    /// Its number in the session, from 0, without gaps.
    pub number: u64,
    /// Under which rule it asks to be accepted.
    pub lane: Lane,
    /// The entries, 1 to 512: each becomes a leaf, as its bytes are.
    pub entries: Vec<Encoded<Entry>>,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// By the session's key, over [`batch_preimage`](crate::entry::batch_preimage).
    pub signature: Signature,
}

/// What `apply` asks of those around it. All must answer the same on every replica, for ever.
pub trait Surroundings {
    /// The canonical bytes of a seal: CBOR is not this crate's business.
    fn encode_seal(&self, seal: &Seal) -> Vec<u8>;

    /// Whether the signature is by this key over this message.
    ///
    /// Batches can be verified before they are applied, so this may be a look at what was found
    /// then. The default verifies on the spot.
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        key.verify(message, signature).is_ok()
    }

    /// The same for the one signature of a batch. Whoever replays a ledger may say yes here, keep
    /// what was asked, and verify it on another thread: nothing but the batch's acceptance depends
    /// on it, and a batch that stands on the ledger was accepted.
    fn verify_batch(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        self.verify(key, message, signature)
    }

    /// The [`node_hash`] of two nodes of the tree. Whoever replays a ledger may have hashed them on
    /// another thread.
    fn join(&self, left: &Hash, right: &Hash) -> Hash {
        node_hash(left, right)
    }

    /// The newest version of the rules that this code knows. When the protocol register goes
    /// beyond it, `apply` stops: see [`State::halted`](super::State::halted).
    fn protocol_max(&self) -> u64 {
        super::PROTOCOL_MAX
    }
}
