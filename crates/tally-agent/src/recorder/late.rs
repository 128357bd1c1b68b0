//! Emergencies without the ledger: promises, and what goes before anything else when it is back.
//!
//! Invariant: while a half is owed late, nothing else of this agent is filed. What had been handed in
//! before is taken back: a session that ends is final, so what it left on the ledger can be known.

use std::sync::atomic::{AtomicBool, Ordering};

use tally_core::Encoded;
use tally_core::entry::{Entry, ProviderHalf};
use tally_core::exchange::{Draft, Promise, PromisedHalf};
use tally_core::id::{LeafIndex, Salt16};
use tally_core::receipt::Trust;
use tally_core::time::Timestamp;
use tally_net::ledger::{AppendError, Recorded, Travel};
use tally_wire::{decode, decode_entry, encode, encode_checked};

use super::permits::half_of;
use super::{PullError, Recorder};
use crate::random;
use crate::store::{Awaited, Received};

/// Whether an entry on its way to the ledger was given to the client, which may have sent it then.
#[derive(Default)]
pub(super) struct HandedIn(AtomicBool);

impl HandedIn {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Recorder {
    /// The word of this agent that a half will be on the ledger.
    pub(crate) fn promise(
        &self,
        half: &Draft,
        at: Timestamp,
    ) -> Option<(Encoded<Promise>, PromisedHalf)> {
        let salt = random::bytes().map(Salt16)?;
        let entry = encode_checked(half.clone().numbered(salt, 0)).ok()?;
        let config = &self.0.config;
        let promise = self.0.key.promise(&config.mesh_id, config.epoch, entry, at);
        let promised = PromisedHalf::owed(&promise)?;
        Some((encode_checked(promise).ok()?, promised))
    }

    /// A half is owed late, durably: nothing else is filed before it.
    pub(crate) fn late_is_owed(&self) {
        self.0.late.send_replace(true);
        self.0.alerts.notify_one();
    }

    /// Officers are to hear of an emergency.
    pub(crate) fn alert(&self) {
        self.0.alerts.notify_one();
    }

    /// Appends an entry, once nothing is owed late.
    pub(super) async fn append(
        &self,
        entry: Entry,
        travel: Travel,
        handed_in: &HandedIn,
    ) -> Result<Recorded, AppendError> {
        let mut late = self.0.late.subscribe();
        // The recorder itself holds the other end.
        drop(late.wait_for(|late| !late).await);
        handed_in.0.store(true, Ordering::Relaxed);
        self.hand_in(entry, travel).await
    }

    /// Fetches the receipts of the promised halves that are on the ledger, and lets the own halves go.
    ///
    /// # Errors
    /// [`PullError`]: the next time may go better.
    pub(crate) async fn take_kept_promises(&self) -> Result<(), PullError> {
        // One that can't be had must not keep the others from being taken.
        let mut all = Ok(());
        for awaited in self.0.store.awaited().await? {
            all = all.and(self.take_kept_promise(awaited).await);
        }
        self.wake();
        all
    }

    async fn take_kept_promise(&self, awaited: Awaited) -> Result<(), PullError> {
        let Awaited { exchange, promise, leaf, entry } = awaited;
        let promised = decode::<Promise>(&promise).ok();
        let promised = promised.and_then(|promise| PromisedHalf::owed(promise.value()));
        let entry = decode_entry(&entry).ok();
        let (Some(promised), Some(entry)) = (promised, entry) else { return Ok(()) };
        let kept = half_of(entry.value()).is_some_and(|half| promised.is_kept_by(half));
        if !kept {
            // Requesters draw the ids of exchanges, but not their providers: this is another half.
            tracing::warn!(%exchange, leaf = leaf.0, "a half is not the one that was promised");
            return Ok(());
        }
        let receipt = self.receipt_of(leaf, &entry, promised.half()).await?;
        let received = Received {
            exchange,
            leaf,
            receipt,
            commitment: promised.half().commitment,
            opening: None,
            retention_year: 0,
        };
        Ok(self.0.store.promise_kept(received).await?)
    }

    /// The receipt of another member's half, checked against the keys that the registers have.
    async fn receipt_of(
        &self,
        leaf: LeafIndex,
        entry: &Encoded<Entry>,
        half: &ProviderHalf,
    ) -> Result<Vec<u8>, PullError> {
        let known = self.0.replica.known();
        let member = known.registers.member(&half.provider).ok_or(PullError::NotAnswered)?;
        let trust = Trust {
            mesh_id: &self.0.config.mesh_id,
            epoch: self.0.config.epoch,
            log_keys: &known.log_keys,
            member: &half.provider,
            agent_keys: std::slice::from_ref(&member.agent_key),
        };
        let receipt = self.0.asker.receipt_of(leaf, entry, &trust).await;
        receipt.map(|receipt| encode(&receipt)).ok_or(PullError::NotAnswered)
    }
}
