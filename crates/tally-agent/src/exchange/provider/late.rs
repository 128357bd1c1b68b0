//! Emergencies without the ledger, as the provider's desk carries them out.

use std::sync::Arc;

use tally_core::entry::How;
use tally_core::exchange::provider::Event;
use tally_core::exchange::{Draft, PromisedHalf};
use tally_core::id::{ExchangeId, LeafIndex};

use super::deciding::Prepared;
use super::desk::Desk;
use super::owing::patiently;
use super::releasing::{Proof, Release};
use super::{Input, Say};
use crate::clock::wall;
use crate::store::{LateHalf, StoreError};

impl Desk {
    /// Makes durable that the half is owed, and then takes back what was submitted: in this order, as
    /// what is known of that submission later is held against what is owed.
    pub(super) fn file_late(&mut self, exchange: ExchangeId, attempt: u32, half: Draft) {
        let Some(serving) = self.serving.get(&exchange) else { return };
        let Some(commitment) = serving.submitted else { return };
        self.late.insert(exchange, commitment);
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        let (mailbox, withdraw) = (self.mailbox.clone(), Arc::clone(&serving.withdraw));
        let requester = serving.requester.clone();
        tokio::spawn(async move {
            let at = wall();
            // Without randomness nothing can be promised.
            let promise = recorder.promise(&half, at);
            let late = LateHalf { commitment, exchange, requester, at, half };
            let durable = match &promise {
                Some(_) => store.file_late(late).await,
                None => Err(StoreError::Closed),
            };
            let input = match (durable, promise) {
                (Ok(()), Some((promise, half))) => {
                    recorder.late_is_owed();
                    let (promise, half) = (Box::new(promise), Box::new(half));
                    Input::Promised { exchange, attempt, promise, half }
                }
                (error, _) => {
                    tracing::error!(?error, "a late half is not stored");
                    Input::Event(Event::NotStored { exchange, attempt })
                }
            };
            withdraw.notify_one();
            // The desk is gone only when the agent is.
            drop(mailbox.send(input).await);
        });
    }

    /// Whether an exchange went on without the ledger. Then what became of the submission before says
    /// whether the half that is owed has to be filed.
    pub(super) fn is_late(&mut self, exchange: ExchangeId, submitted: Option<LeafIndex>) -> bool {
        let Some(commitment) = self.late.remove(&exchange) else { return false };
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        tokio::spawn(async move {
            if let Some(leaf) = submitted {
                recorder.hear_of_access(leaf);
            }
            patiently(|| {
                let store = store.clone();
                async move { store.late_fate(commitment, submitted).await }
            })
            .await;
            recorder.wake();
        });
        true
    }

    pub(super) fn release_late(&mut self, exchange: ExchangeId, promised: &PromisedHalf) {
        let parts = self.serving.get_mut(&exchange).and_then(|serving| {
            let prepared = serving.prepared.take();
            let prepared = prepared.filter(|it| it.commitment == promised.half().commitment)?;
            Some((serving.says.clone(), serving.promise.take()?, prepared))
        });
        let Some((says, promise, prepared)) = parts else {
            // Nothing is there that this half is about, so nothing leaves.
            return self.broken_later(exchange);
        };
        tracing::warn!(%exchange, "an emergency goes on without the ledger");
        let Prepared { opening, commitment, description, body, .. } = prepared;
        let proof = Proof::Promise(Box::new(promise));
        let release = Release { proof, opening, commitment, description, body };
        if says.try_send(Say::Release(Box::new(release))).is_err() {
            self.broken_later(exchange);
        }
    }

    pub(super) fn end_late(&mut self, exchange: ExchangeId, how: How, bytes: u64) {
        let submitted = self.serving.get(&exchange).and_then(|serving| serving.submitted);
        let Some(commitment) = submitted else { return };
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        tokio::spawn(async move {
            patiently(|| {
                let store = store.clone();
                async move { store.end_late(commitment, exchange, how, bytes).await }
            })
            .await;
            recorder.wake();
        });
    }
}
