//! Signing checkpoints as this node.

use tally_core::id::MeshName;
use tally_log::checkpoint::BadCheckpoint;
use tally_log::note::KeyName;
use tally_log::{Checkpoint, Hash, NoteSigner, Origin, SignedCheckpoint, SigningKey};

/// This node's log key, named like the log.
#[derive(Debug)]
pub struct LogSigner {
    origin: Origin,
    signer: NoteSigner,
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
        Ok(Self { origin, signer: NoteSigner::new(key_name, key) })
    }

    /// The name of the log.
    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A checkpoint as a signed note. Only of what this node has applied.
    ///
    /// # Errors
    /// [`BadCheckpoint`] if no log has this size and root.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Result<Vec<u8>, BadCheckpoint> {
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
    ) -> Result<SignedCheckpoint, BadCheckpoint> {
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root };
        SignedCheckpoint::sign(checkpoint, &self.signer)
    }
}
