//! How long tables are once their columns are cut: known to whoever has read one to its end, and to
//! nobody else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A table of more bytes is not read only to be counted: a decision does not wait that long.
pub(super) const COUNTED_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Versions that are remembered at most; then all are forgotten.
const VERSIONS_MAX: usize = 1024;

/// Lengths by the tag of the version.
#[derive(Debug, Default)]
pub(in crate::source) struct Lengths(Mutex<BTreeMap<String, u64>>);

impl Lengths {
    pub(super) fn of(&self, etag: &str) -> Option<u64> {
        self.lock().get(etag).copied()
    }

    pub(super) fn learn(&self, etag: &str, length: u64) {
        let mut known = self.lock();
        if known.len() >= VERSIONS_MAX {
            known.clear();
        }
        known.insert(etag.to_owned(), length);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
