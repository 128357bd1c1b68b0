//! What was read from the disk for somebody who still has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Counts bytes.
#[derive(Debug, Default)]
pub(super) struct Held {
    now: AtomicU64,
    max: AtomicU64,
}

/// A payload that is counted for as long as it is there.
struct Counted {
    payload: Bytes,
    held: Arc<Held>,
}

/// Counts a payload until the last of its clones is gone.
pub(super) fn hold(held: &Arc<Held>, payload: Bytes) -> Bytes {
    let length = payload.len() as u64;
    let before = held.now.fetch_add(length, Ordering::Relaxed);
    held.max.fetch_max(before.saturating_add(length), Ordering::Relaxed);
    Bytes::from_owner(Counted { payload, held: Arc::clone(held) })
}

impl Held {
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.now.fetch_sub(self.payload.len() as u64, Ordering::Relaxed);
    }
}
