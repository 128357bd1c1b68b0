//! The ledger goes on in a later epoch: the agent ends, and another begins in it, in the same process.
//!
//! Keys, sessions, promises and decisions are all of one epoch for as long as an agent lives, so that no
//! answer of one is ever taken for one of another.

use tally_net::ledger::Recovered;
use tokio::task::spawn_blocking;

use super::Agent;
use crate::store::{GivenUp, StoreError};

impl Agent {
    /// Waits until the ledger has gone on in a later epoch without this agent's: then it can only
    /// [`move_on`](Self::move_on).
    pub async fn recovered(&self) -> Recovered {
        self.exchange.replica().recovered().await
    }

    /// Ends, as [`stop`](Self::stop) does, and has the store go on in a later epoch of the ledger, for
    /// the next start: what was lost is set aside, and what of it is owed still, is owed again.
    ///
    /// # Errors
    /// [`StoreError`]: the store is as it was.
    pub async fn move_on(self, recovered: Recovered) -> Result<(), StoreError> {
        let known = self.exchange.replica().known().size;
        let (store, before) = (self.store.clone(), self.epoch);
        let Recovered { epoch, size } = recovered;
        if known > size {
            let lost = known - size;
            tracing::error!(
                before,
                epoch,
                size,
                lost,
                "the ledger was recovered: leaves that this agent knew of are lost"
            );
        } else {
            tracing::warn!(before, epoch, size, "the ledger was recovered: nothing known is lost");
        }
        self.end().await;
        let given_up = store.begin_epoch(epoch, size).await;
        if let Ok(GivenUp { leaves, owed_again, permits, receipts }) = given_up
            && leaves > 0
        {
            tracing::error!(
                leaves,
                owed_again,
                permits,
                receipts,
                "leaves about this member are not on the ledger any more: the store keeps them"
            );
        }
        drop(spawn_blocking(move || store.close()).await);
        given_up.map(drop)
    }
}
