//! Signing checkpoints as this node.
//!
//! Invariant: a size is signed under the origin of its own epoch and no other, so that nobody gets a
//! checkpoint of an epoch that covers no leaf of it.

use tally_core::id::MeshName;
use tally_log::checkpoint::BadCheckpoint;
use tally_log::note::KeyName;
use tally_log::{Checkpoint, Hash, NoteSigner, Origin, SignedCheckpoint, SigningKey};

use crate::applied::Ledger;

/// This node's log key, named like the log.
#[derive(Debug)]
pub struct LogSigner {
    origin: Origin,
    epoch: u64,
    signer: NoteSigner,
    /// What says which sizes are the epoch's; without it all are.
    ledger: Option<Ledger>,
}

/// Why a checkpoint is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// No log has this size and root.
    #[error(transparent)]
    Checkpoint(#[from] BadCheckpoint),
    /// The size is another epoch's; after a forced recovery, until its leaf is applied, all are.
    #[error("size {0} is not one of this node's epoch")]
    OtherEpoch(u64),
}

impl LogSigner {
    /// The signer of a mesh's ledger in an epoch.
    ///
    /// # Errors
    /// [`BadCheckpoint::BadOrigin`] if no log can be named so.
    pub fn new(mesh: &MeshName, epoch: u64, key: SigningKey) -> Result<Self, BadCheckpoint> {
        let name = mesh.log(epoch);
        let origin = Origin::new(&name)?;
        let key_name = KeyName::new(&name).map_err(|_| BadCheckpoint::BadOrigin)?;
        Ok(Self { origin, epoch, signer: NoteSigner::new(key_name, key), ledger: None })
    }

    /// Signs only what belongs to the signer's epoch in this ledger.
    #[must_use]
    pub fn within(self, ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// Whether a tree of this size is of the signer's epoch.
    pub(crate) fn may_sign(&self, size: u64) -> bool {
        let ledger = self.ledger.as_ref();
        ledger.is_none_or(|it| it.with_state(|state| state.epochs().of_size(size)) == self.epoch)
    }

    /// The name of the log.
    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A checkpoint as a signed note. Only of what this node has applied.
    ///
    /// # Errors
    /// [`NotSigned`] if no log has this size and root, or the size is another epoch's.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Result<Vec<u8>, NotSigned> {
        Ok(self.sign_checkpoint(size, root)?.to_string().into_bytes())
    }

    /// The same, not written yet.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub(crate) fn sign_checkpoint(
        &self,
        size: u64,
        root: Hash,
    ) -> Result<SignedCheckpoint, NotSigned> {
        if !self.may_sign(size) {
            return Err(NotSigned::OtherEpoch(size));
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root };
        Ok(SignedCheckpoint::sign(checkpoint, &self.signer)?)
    }
}
