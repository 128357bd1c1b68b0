//! What a leader finds out about its proposal while disks and peers are at work: whoever waits for the
//! answer would wait for it once more otherwise.
//!
//! Invariant: nothing here decides. A signature that was verified ahead counts for the same key, bytes
//! and signature alone; anything else is verified when it is applied, as on every other node.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tally_core::entry::{Seal, batch_preimage};
use tally_core::ledger::{Batch, Proposal, Submission, Surroundings};
use tally_log::{Signature, VerifyingKey, root_of};
use tokio::task::yield_now;

use crate::applied::{Codec, Ledger};

/// Signatures that were verified ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    found: Mutex<HashMap<[u8; Signature::LEN], Verified>>,
    /// It is being applied: whatever is not found out yet is not worth it any more.
    late: AtomicBool,
}

#[derive(Debug)]
struct Verified {
    key: VerifyingKey,
    message: Vec<u8>,
    good: bool,
}

impl Ahead {
    /// Hashes the entries and verifies the signature of each batch whose session is open, until the
    /// proposal is applied.
    pub(crate) async fn work(&self, ledger: &Ledger, proposal: &Proposal) {
        for submission in &proposal.submissions {
            if self.late.load(Ordering::Relaxed) {
                return;
            }
            if let Submission::Batch(batch) = submission
                && let Some(verified) = verify(ledger, batch)
            {
                self.found().insert(*batch.signature.as_bytes(), verified);
                // Other submissions come in meanwhile.
                yield_now().await;
            }
        }
    }

    /// It is about to be applied.
    pub(crate) fn end(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    fn found(&self) -> MutexGuard<'_, HashMap<[u8; Signature::LEN], Verified>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verify(ledger: &Ledger, batch: &Batch) -> Option<Verified> {
    let (key, mesh_id, epoch) = ledger.with_state(|state| {
        let session = state.sessions().open(batch.session)?;
        Some((session.key, *state.mesh_id(), state.epoch()))
    })?;
    let Batch { session, number, lane, entries, signature, .. } = batch;
    let count = u16::try_from(entries.len()).ok()?;
    let hashes = entries.iter().map(tally_core::Encoded::leaf_hash).collect::<Vec<_>>();
    let root = root_of(&hashes);
    let message = batch_preimage(&mesh_id, epoch, *session, *number, *lane, count, &root);
    let good = key.verify(&message, signature).is_ok();
    Some(Verified { key, message, good })
}

impl Surroundings for Ahead {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        Codec.encode_seal(seal)
    }

    fn verify_batch(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        let good = self.found().get(signature.as_bytes()).and_then(|found| {
            (found.key == *key && found.message == message).then_some(found.good)
        });
        good.unwrap_or_else(|| Codec.verify_batch(key, message, signature))
    }

    fn protocol_max(&self) -> u64 {
        Codec.protocol_max()
    }
}

#[cfg(test)]
mod tests {
    use tally_log::SigningKey;

    use super::*;

    #[test]
    fn what_was_found_ahead_counts_for_the_same_key_and_bytes_alone() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let (key, other) = (key.verifying_key(), other.verifying_key());
        // Nobody's signature: only what was found ahead can call it good.
        let signature = Signature::from_bytes([7; Signature::LEN]);
        let ahead = Ahead::default();
        let verified = Verified { key, message: b"batch".to_vec(), good: true };
        ahead.found().insert(*signature.as_bytes(), verified);
        assert!(ahead.verify_batch(&key, b"batch", &signature));
        assert!(!ahead.verify_batch(&other, b"batch", &signature));
        assert!(!ahead.verify_batch(&key, b"another", &signature));
        assert!(!Ahead::default().verify_batch(&key, b"batch", &signature));
    }

    #[test]
    fn what_was_not_found_ahead_is_verified_when_it_is_applied() {
        let key = SigningKey::from_seed(&[1; 32]);
        let signature = key.sign(b"batch");
        assert!(Ahead::default().verify_batch(&key.verifying_key(), b"batch", &signature));
    }
}
