//! Signatures that were found good before.
//!
//! Invariant: what is remembered is a hash of the keys that were believed, of what was signed and of
//! the signature: with another key, or a byte that differs, it is another thing and is verified.

use tally_log::{Hash, NoteKey, Signature, VerifyingKey, sha256};

/// Remembers what was verified. It may forget, and must not invent.
pub trait Memory {
    /// Whether it was found good before.
    fn has(&self, known: &Known) -> bool;
    /// It was found good.
    fn keep(&self, known: Known);
}

/// One that remembers nothing.
impl Memory for () {
    fn has(&self, _: &Known) -> bool {
        false
    }

    fn keep(&self, _: Known) {}
}

/// Something that was signed, with its signature and those who may have signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known(Hash);

impl Known {
    /// A batch by its preimage.
    pub(super) fn batch(keys: &[VerifyingKey], preimage: &[u8], signature: &Signature) -> Self {
        let keys = sha256(&keys.iter().map(|key| &key.as_bytes()[..]).collect::<Vec<_>>());
        Self(sha256(&[b"batch", keys.as_bytes(), signature.as_bytes(), preimage]))
    }

    /// A checkpoint as a signed note. Names are hashed as well: a key signs for its log alone.
    pub(super) fn checkpoint(keys: &[NoteKey], note: &[u8]) -> Self {
        let keys = keys.iter().map(|key| {
            let name = sha256(&[key.name().as_str().as_bytes()]);
            sha256(&[name.as_bytes(), &key.id().to_bytes(), key.material()])
        });
        let keys = keys.collect::<Vec<_>>();
        let keys = sha256(&keys.iter().map(|key| &key.as_bytes()[..]).collect::<Vec<_>>());
        Self(sha256(&[b"checkpoint", keys.as_bytes(), note]))
    }
}
