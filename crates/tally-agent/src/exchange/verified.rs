//! The signatures that were found good lately: receipts that come at the same time are mostly of the
//! same batch, and have both in common.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tally_core::receipt::{Known, Memory};

/// Of so many providers at once. All are compared, which takes less than verifying one.
const KEPT_MAX: usize = 64;

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<VecDeque<Known>>);

impl Verified {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory for Verified {
    fn has(&self, known: &Known) -> bool {
        self.lock().iter().rev().any(|kept| kept == known)
    }

    fn keep(&self, known: Known) {
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(known);
    }
}
