//! What Raft has committed, noted for the next start without costing an entry anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::writer::Job;
use super::{Store, StoreError};
use crate::frame::LogId;

/// How soon it is noted what was committed, if nothing is written meanwhile.
const NOTED_AFTER: Duration = Duration::from_millis(20);

impl Store {
    /// Notes what Raft committed, without waiting and without a sync: it is on disk with what is written
    /// next, or a moment later. The thread that writes is not woken for it, as that would happen once more
    /// for each entry.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if the log is closed.
    pub async fn save_committed(&self, committed: Option<LogId>) -> Result<(), StoreError> {
        if self.jobs.is_closed() {
            return Err(StoreError::Stopped);
        }
        let shared = &self.reader.0;
        shared.view().committed = committed;
        if !shared.unnoted.swap(true, Ordering::AcqRel) {
            let (shared, jobs) = (Arc::clone(shared), self.jobs.downgrade());
            let at = Instant::now() + NOTED_AFTER;
            tokio::spawn(async move {
                sleep_until(at).await;
                shared.unnoted.store(false, Ordering::Release);
                // A log that was closed has noted it.
                if let Some(jobs) = jobs.upgrade() {
                    drop(jobs.send(Job::Committed).await);
                }
            });
        }
        Ok(())
    }
}
