//! One body on disk: chunks, each sealed by AES-256-GCM under the body's own key.
//!
//! Invariant: the nonce is the chunk's number and the key is used for one body, so that no nonce is used
//! twice (NIST SP 800-38D §8.2.1), and no chunk opens in the place of another.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tally_core::opening::CHUNK_LEN;

use super::{Share, SpoolError};
use crate::random;

/// Bytes of a chunk's seal.
const TAG_LEN: usize = 16;

/// A body that is being written.
pub(super) struct Writer {
    file: File,
    key: LessSafeKey,
    /// The chunk that is not full yet.
    chunk: Vec<u8>,
    chunks: u64,
    share: Share,
}

/// A body that is there, to be read as often as need be. Cheap to clone; the last one gives its room
/// back.
#[derive(Clone)]
pub struct Spooled(Arc<Sealed>);

struct Sealed {
    file: File,
    key: LessSafeKey,
    share: Share,
}

impl Writer {
    pub(super) fn new(file: File, share: Share) -> Result<Self, SpoolError> {
        let key = random::bytes::<32>().ok_or(SpoolError::Cipher)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SpoolError::Cipher)?;
        let chunk = Vec::with_capacity(CHUNK_LEN + TAG_LEN);
        Ok(Self { file, key: LessSafeKey::new(key), chunk, chunks: 0, share })
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        self.share.grow(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let room = CHUNK_LEN.saturating_sub(self.chunk.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_LEN {
                self.seal()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Spooled, SpoolError> {
        if !self.chunk.is_empty() {
            self.seal()?;
        }
        let Self { file, key, share, .. } = self;
        Ok(Spooled(Arc::new(Sealed { file, key, share })))
    }

    #[cfg(test)]
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    fn seal(&mut self) -> Result<(), SpoolError> {
        let sealed =
            self.key.seal_in_place_append_tag(nonce(self.chunks), Aad::empty(), &mut self.chunk);
        sealed.map_err(|_| SpoolError::Cipher)?;
        self.file.write_all_at(&self.chunk, place_of(self.chunks))?;
        self.chunks += 1;
        self.chunk.clear();
        Ok(())
    }
}

impl Spooled {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.share.bytes
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it lies.
    pub(super) fn spool(&self) -> &super::Spool {
        &self.0.share.spool
    }

    /// Its bytes in chunks of [`CHUNK_LEN`]; the last one may be shorter. Each blocks for as long as a
    /// disk takes.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Vec<u8>, SpoolError>> + Send + 'static {
        let spooled = self.clone();
        let chunks = self.len().div_ceil(CHUNK_LEN as u64);
        (0..chunks).map(move |number| spooled.chunk(number))
    }

    #[cfg(test)]
    pub(super) fn on_disk(&self) -> Vec<u8> {
        let len = self.0.file.metadata().map_or(0, |it| it.len());
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.0.file.read_exact_at(&mut bytes, 0).unwrap_or_default();
        bytes
    }

    fn chunk(&self, number: u64) -> Result<Vec<u8>, SpoolError> {
        let left = self.len().saturating_sub(number.saturating_mul(CHUNK_LEN as u64));
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_LEN);
        let mut sealed = vec![0; len + TAG_LEN];
        self.0.file.read_exact_at(&mut sealed, place_of(number))?;
        let opened = self.0.key.open_in_place(nonce(number), Aad::empty(), &mut sealed);
        opened.map_err(|_| SpoolError::Cipher)?;
        sealed.truncate(len);
        Ok(sealed)
    }
}

fn place_of(chunk: u64) -> u64 {
    chunk.saturating_mul((CHUNK_LEN + TAG_LEN) as u64)
}

fn nonce(chunk: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for (byte, of_number) in nonce.iter_mut().rev().zip(chunk.to_le_bytes()) {
        *byte = of_number;
    }
    Nonce::assume_unique_for_key(nonce)
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled").field("bytes", &self.len()).finish_non_exhaustive()
    }
}
