//! The agent's certificate, followed while it runs: what of that is told, and where.

use std::sync::Arc;

use tally_core::time::Timestamp;
use tally_net::{Identity, Rotation, Turn};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;

/// Follows the certificate's files until dropped.
pub(super) struct Certificate {
    again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Certificate {
    pub(super) fn follow(rotation: Rotation, metrics: Metrics) -> Self {
        let again = Arc::new(Notify::new());
        let told = move |identity: &Identity, turn: &Turn| {
            metrics.certificate_turned(turn);
            match turn {
                Turn::Same => {}
                Turn::Replaced => {
                    let until = until(identity).map(Timestamp::rfc3339).unwrap_or_default();
                    tracing::info!(%until, "another certificate is presented from here on");
                }
                Turn::Kept(why) => {
                    tracing::warn!(%why, "the new certificate is not used: the old one goes on");
                }
            }
        };
        let task = tokio::spawn(rotation.follow(Arc::clone(&again), told));
        Self { again, task }
    }

    /// Reads the files now, whether they look new or not.
    pub(super) fn read_again(&self) {
        self.again.notify_one();
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When the certificate ends; none if it does not say.
pub(super) fn until(identity: &Identity) -> Option<Timestamp> {
    let until_s = u64::try_from(identity.validity()?.until_s).ok()?;
    Some(Timestamp(until_s.saturating_mul(1000)))
}
