//! Receipts: that an entry is on the ledger, in a form that anyone can check offline.
//!
//! Invariant: a receipt that checks shows an entry in a batch that its member's agent signed,
//! closed by the seal that stands where it must, both in the tree of a checkpoint that the log
//! signed. It needs no TLS certificate, no clock and no further question to anybody.

mod answer;

pub use answer::{BadAnswer, BatchAnswer, Expanded, hashes_after};

use tally_log::proof::{root_of_inclusion, verify_inclusion};
use tally_log::{BadProof, Hash, NotVerified, NoteKey, SignedCheckpoint, VerifyingKey};

use crate::encoded::Encoded;
use crate::entry::{Entry, Lane, Seal, batch_preimage};
use crate::id::{LeafIndex, MemberId, MeshId, SessionId};
use crate::ledger::lane_of;
use crate::register::RegisterName;
use crate::time::Timestamp;

/// An entry with all that shows it to be on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The entry.
    pub entry: Encoded<Entry>,
    /// Its leaf, i.
    pub leaf: LeafIndex,
    /// Its place in its batch, k, from 0.
    pub position: u16,
    /// Its path in the tree over the batch's entries: at most 9 hashes.
    pub batch_path: Vec<Hash>,
    /// Its path in the ledger: at most 63 hashes.
    pub entry_path: Vec<Hash>,
    /// The seal of its batch of n entries, which is leaf i − k + n.
    pub seal: Encoded<Seal>,
    /// The seal's path in the ledger: at most 63 hashes.
    pub seal_path: Vec<Hash>,
    /// The checkpoint that both paths lead to.
    pub checkpoint: SignedCheckpoint,
}

/// Whom to believe.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The mesh.
    pub mesh_id: &'a MeshId,
    /// The epoch of its ledger.
    pub epoch: u64,
    /// The keys of its ledger nodes, each named like the origin, `<mesh>/ledger/<epoch>`.
    pub log_keys: &'a [NoteKey],
    /// Whose entry it must be.
    pub member: &'a MemberId,
    /// The agent keys that this member has, or had when the receipt was made.
    pub agent_keys: &'a [VerifyingKey],
}

/// What a receipt has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Where the entry is.
    pub leaf: LeafIndex,
    /// Under which rule it was accepted.
    pub lane: Lane,
    /// The session that it was filed in.
    pub session: SessionId,
    /// Ledger time when it was accepted.
    pub time: Timestamp,
    /// The last register leaf before its batch.
    pub last_register_leaf: LeafIndex,
    /// Leaves on the ledger at the checkpoint.
    pub size: u64,
}

/// Why a receipt shows nothing: whoever made it is at fault, or it is checked with other keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// No known ledger node has signed the checkpoint.
    #[error("the checkpoint is not the ledger's: {0}")]
    Checkpoint(#[from] NotVerified),
    /// The entry is not where the receipt says.
    #[error("the entry is not on the ledger: {0}")]
    Entry(BadProof),
    /// The seal is not where it must be.
    #[error("the seal is not on the ledger: {0}")]
    Seal(BadProof),
    /// The batch that was sealed is another one.
    #[error("the entry is not in the batch that was sealed")]
    NotInBatch,
    /// Leaf, position and count contradict each other.
    #[error("no batch has an entry at this position")]
    Position,
    /// The seal says another lane than the entry belongs in.
    #[error("the entry does not belong in the lane that the seal says")]
    Lane,
    /// The entry speaks for another member.
    #[error("the entry is another member's")]
    OtherMember,
    /// The member's agent did not sign the batch.
    #[error("the batch is not signed by the member's agent")]
    BatchSignature,
}

impl Receipt {
    /// Checks everything that a receipt shows.
    ///
    /// What the entry says is another question: whether it is about what was asked, and whether
    /// its opening fits.
    ///
    /// # Errors
    /// [`ReceiptError`] for the first thing that is wrong.
    pub fn check(&self, trust: &Trust<'_>) -> Result<Checked, ReceiptError> {
        let seal = self.seal.value();
        let seal_leaf = self.check_position(seal)?;
        if lane_of(self.entry.value()) != Some(seal.lane) {
            return Err(ReceiptError::Lane);
        }
        if author(self.entry.value()).is_some_and(|author| author != trust.member) {
            return Err(ReceiptError::OtherMember);
        }
        self.check_batch(seal, trust)?;
        self.check_inclusion(seal_leaf)?;
        self.checkpoint.verify_log(trust.log_keys)?;
        Ok(Checked {
            leaf: self.leaf,
            lane: seal.lane,
            session: seal.session,
            time: seal.time,
            last_register_leaf: seal.last_register_leaf,
            size: self.checkpoint.checkpoint().size,
        })
    }

    /// The seal's leaf, i − k + n.
    fn check_position(&self, seal: &Seal) -> Result<LeafIndex, ReceiptError> {
        let first_leaf = self.leaf.0.checked_sub(u64::from(self.position));
        let seal_leaf = first_leaf.and_then(|first| first.checked_add(u64::from(seal.count)));
        let seal_leaf = seal_leaf.filter(|_| self.position < seal.count);
        seal_leaf.map(LeafIndex).ok_or(ReceiptError::Position)
    }

    /// The member's agent signed a batch that has this entry at this position.
    fn check_batch(&self, seal: &Seal, trust: &Trust<'_>) -> Result<(), ReceiptError> {
        let (position, count) = (u64::from(self.position), u64::from(seal.count));
        let leaf_hash = self.entry.leaf_hash();
        let root = root_of_inclusion(&leaf_hash, position, count, &self.batch_path);
        if root != Ok(seal.root) {
            return Err(ReceiptError::NotInBatch);
        }
        let Seal { session, number, lane, count, root, signature, .. } = seal;
        let Trust { mesh_id, epoch, .. } = trust;
        let preimage = batch_preimage(mesh_id, *epoch, *session, *number, *lane, *count, root);
        let mut keys = trust.agent_keys.iter();
        if keys.any(|key| key.verify(&preimage, signature).is_ok()) {
            Ok(())
        } else {
            Err(ReceiptError::BatchSignature)
        }
    }

    /// Entry and seal are in the tree of the checkpoint.
    fn check_inclusion(&self, seal_leaf: LeafIndex) -> Result<(), ReceiptError> {
        let checkpoint = self.checkpoint.checkpoint();
        let verify = |hash: &Hash, leaf: LeafIndex, path: &[Hash]| {
            verify_inclusion(hash, leaf.0, checkpoint.size, path, &checkpoint.root)
        };
        verify(&self.entry.leaf_hash(), self.leaf, &self.entry_path)
            .map_err(ReceiptError::Entry)?;
        verify(&self.seal.leaf_hash(), seal_leaf, &self.seal_path).map_err(ReceiptError::Seal)
    }
}

/// The member that an entry speaks for, where it says so itself.
#[must_use]
pub fn author(entry: &Entry) -> Option<&MemberId> {
    match entry {
        Entry::ProviderHalf(half) => Some(&half.provider),
        Entry::RequesterHalf(half) => Some(&half.requester),
        Entry::RefusalCount(refusals) => Some(&refusals.provider),
        Entry::SessionStart(start) => Some(&start.member),
        Entry::Register(write) => match &write.name {
            RegisterName::Consent(custodian, _) => Some(custodian),
            _ => None,
        },
        Entry::Close(_) | Entry::Genesis(_) | Entry::Seal(_) => None,
    }
}

#[cfg(test)]
mod tests;
