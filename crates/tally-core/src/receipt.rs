//! Receipts: that an entry is on the ledger, in a form that anyone can check offline.
//!
//! Invariant: a receipt that checks shows an entry in a batch that its member's agent signed,
//! closed by the seal that stands where it must, both in the tree of a checkpoint that the log
//! signed. It needs no TLS certificate, no clock and no further question to anybody.

mod answer;
mod memory;

pub use answer::{BadAnswer, BatchAnswer, Expanded, hashes_after};
pub use memory::{Known, Memory};

use tally_log::proof::{root_of_inclusion, verify_inclusion};
use tally_log::{
    BadCheckpoint, BadProof, Checkpoint, Hash, NotVerified, NoteKey, SignedCheckpoint, VerifyingKey,
};

use crate::encoded::Encoded;
use crate::entry::{Entry, Lane, Seal, batch_preimage};
use crate::id::{LeafIndex, MemberId, MeshId, SessionId};
use crate::ledger::lane_of;
use crate::register::RegisterName;
use crate::time::Timestamp;

/// An entry with all that shows it to be on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Where the entry is, i.
    pub leaf: LeafIndex,
    /// The entry.
    pub entry: Encoded<Entry>,
    /// Its path in the ledger, from its sibling upwards (RFC 6962 §2.1.1): at most 63 hashes.
    pub path: Vec<Hash>,
    /// Where the seal of its batch of n entries is: i − k + n, if k is the entry's position.
    pub seal_leaf: LeafIndex,
    /// The seal.
    pub seal: Encoded<Seal>,
    /// The seal's path in the ledger: at most 63 hashes.
    pub seal_path: Vec<Hash>,
    /// The entry's path in the tree over the batch's entries: at most 9 hashes.
    pub batch_path: Vec<Hash>,
    /// The checkpoint that both paths in the ledger lead to, as a signed note.
    pub checkpoint: Vec<u8>,
}

/// Whom to believe.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The mesh.
    pub mesh_id: &'a MeshId,
    /// The epoch that the batch must have been signed for.
    pub epoch: u64,
    /// The keys of its ledger nodes, each named like the origin, `<mesh>/ledger/<epoch>`. Of a later
    /// epoch than the batch's if the ledger was recovered since.
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
    /// It has no checkpoint.
    #[error("no checkpoint: {0}")]
    NoCheckpoint(#[from] BadCheckpoint),
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
    /// The seal, which says how many entries it is for, is too near or too far.
    #[error("the seal does not stand after the batch of the entry")]
    SealMisplaced,
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
        self.check_with(trust, &())
    }

    /// Checks everything as [`check`](Self::check) does, but no signature that was found good before:
    /// all entries of a batch have two in common.
    ///
    /// # Errors
    /// [`ReceiptError`] for the first thing that is wrong.
    pub fn check_with(
        &self,
        trust: &Trust<'_>,
        memory: &impl Memory,
    ) -> Result<Checked, ReceiptError> {
        let seal = self.seal.value();
        let position = self.position().ok_or(ReceiptError::SealMisplaced)?;
        if lane_of(self.entry.value()) != Some(seal.lane) {
            return Err(ReceiptError::Lane);
        }
        if author(self.entry.value()).is_some_and(|author| author != trust.member) {
            return Err(ReceiptError::OtherMember);
        }
        self.check_batch(position, seal, trust, memory)?;
        let signed = SignedCheckpoint::parse(&self.checkpoint)?;
        self.check_inclusion(signed.checkpoint())?;
        let known = Known::checkpoint(trust.log_keys, &self.checkpoint);
        if !memory.has(&known) {
            signed.verify_log(trust.log_keys)?;
            memory.keep(known);
        }
        Ok(Checked {
            leaf: self.leaf,
            lane: seal.lane,
            session: seal.session,
            time: seal.time,
            last_register_leaf: seal.last_register_leaf,
            size: signed.checkpoint().size,
        })
    }

    /// The entry's position in its batch, from 0; none if the seal stands elsewhere.
    #[must_use]
    pub fn position(&self) -> Option<u16> {
        let count = self.seal.value().count;
        let first_leaf = self.seal_leaf.0.checked_sub(u64::from(count))?;
        let position = self.leaf.0.checked_sub(first_leaf)?;
        u16::try_from(position).ok().filter(|position| *position < count)
    }

    /// The member's agent signed a batch that has this entry at this position.
    fn check_batch(
        &self,
        position: u16,
        seal: &Seal,
        trust: &Trust<'_>,
        memory: &impl Memory,
    ) -> Result<(), ReceiptError> {
        let Seal { session, number, lane, count, root, signature, .. } = seal;
        let (place, size) = (u64::from(position), u64::from(*count));
        let leaf_hash = self.entry.leaf_hash();
        if root_of_inclusion(&leaf_hash, place, size, &self.batch_path) != Ok(*root) {
            return Err(ReceiptError::NotInBatch);
        }
        let Trust { mesh_id, epoch, .. } = trust;
        let preimage = batch_preimage(mesh_id, *epoch, *session, *number, *lane, *count, root);
        let known = Known::batch(trust.agent_keys, &preimage, signature);
        if memory.has(&known) {
            return Ok(());
        }
        let mut keys = trust.agent_keys.iter();
        if keys.any(|key| key.verify(&preimage, signature).is_ok()) {
            memory.keep(known);
            Ok(())
        } else {
            Err(ReceiptError::BatchSignature)
        }
    }

    /// Entry and seal are in the tree of the checkpoint.
    fn check_inclusion(&self, checkpoint: &Checkpoint) -> Result<(), ReceiptError> {
        let Checkpoint { size, root, .. } = checkpoint;
        let verify =
            |hash: &Hash, leaf: LeafIndex, path| verify_inclusion(hash, leaf.0, *size, path, root);
        verify(&self.entry.leaf_hash(), self.leaf, &self.path).map_err(ReceiptError::Entry)?;
        let seal_hash = self.seal.leaf_hash();
        verify(&seal_hash, self.seal_leaf, &self.seal_path).map_err(ReceiptError::Seal)
    }
}

/// The member that an entry speaks for, where it says so itself.
#[must_use]
pub fn author(entry: &Entry) -> Option<&MemberId> {
    match entry {
        Entry::ProviderHalf(half) => Some(&half.provider),
        Entry::RequesterHalf(half) => Some(&half.requester),
        Entry::RefusalCount(refusals) => Some(&refusals.provider),
        Entry::Review(review) => Some(&review.member),
        Entry::Disposal(disposal) => Some(&disposal.member),
        Entry::SessionStart(start) => Some(&start.member),
        Entry::Register(write) => match &write.name {
            RegisterName::Consent(custodian, _) => Some(custodian),
            _ => None,
        },
        Entry::Close(_) | Entry::Genesis(_) | Entry::Recovery(_) | Entry::Seal(_) => None,
    }
}

#[cfg(test)]
mod tests;
