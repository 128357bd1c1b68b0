//! Emergencies without the ledger, as the provider's desk carries them out.

use std::sync::Arc;

use tally_core::entry::How;
use tally_core::exchange::provider::Event;
use tally_core::exchange::{Draft, PromisedHalf};
use tally_core::id::{ExchangeId, LeafIndex};
use tally_log::Hash;
use tokio::task::JoinHandle;

use super::deciding::Prepared;
use super::desk::Desk;
use super::owing::patiently;
use super::releasing::{Proof, Release};
use super::{Input, Say};
use crate::clock::wall;
use crate::store::{LateHalf, Store, StoreError};

/// An emergency whose half is on its way into the store, or there.
pub(super) struct Owing {
    commitment: Hash,
    /// Ends when it is there, or is known not to be.
    filing: JoinHandle<()>,
}

/// Takes note of what became of the submission before, but not before the half that is owed is filed: a
/// fate that came first would find nothing to let go, and the half would be held back for ever, and with
/// it all that goes after it.
async fn settle_fate(
    store: &Store,
    exchange: ExchangeId,
    Owing { commitment, filing }: Owing,
    submitted: Option<LeafIndex>,
) {
    // If the task is gone the agent is.
    drop(filing.await);
    patiently(|| {
        let store = store.clone();
        async move { store.late_fate(commitment, exchange, submitted).await }
    })
    .await;
}

impl Desk {
    /// Makes durable that the half is owed, and then takes back what was submitted: in this order, as
    /// what is known of that submission later is held against what is owed.
    pub(super) fn file_late(&mut self, exchange: ExchangeId, attempt: u32, half: Draft) {
        let Some(serving) = self.serving.get(&exchange) else { return };
        let Some(commitment) = serving.submitted else { return };
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        let (mailbox, withdraw) = (self.mailbox.clone(), Arc::clone(&serving.withdraw));
        let requester = serving.requester.clone();
        let heard = serving.prepared.as_ref().map(|it| it.consents.clone()).unwrap_or_default();
        let filing = tokio::spawn(async move {
            let at = wall();
            // Without randomness nothing can be promised.
            let promise = recorder.promise(&half, at);
            let late = LateHalf { commitment, exchange, requester, at, half, heard };
            let durable = match &promise {
                Some(_) => store.file_late(late).await,
                None => Err(StoreError::Closed),
            };
            let input = match (durable, promise) {
                (Ok(true), Some((promise, half))) => {
                    recorder.late_is_owed();
                    let (promise, half) = (Box::new(promise), Box::new(half));
                    Input::Promised { exchange, attempt, promise, half }
                }
                (Ok(false), _) => {
                    Input::Event(Event::Stale { exchange, attempt, registers: Vec::new() })
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
        self.late.insert(exchange, Owing { commitment, filing });
    }

    /// Whether an exchange went on without the ledger. Then what became of the submission before says
    /// whether the half that is owed has to be filed.
    pub(super) fn is_late(&mut self, exchange: ExchangeId, submitted: Option<LeafIndex>) -> bool {
        let Some(owing) = self.late.remove(&exchange) else { return false };
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        tokio::spawn(async move {
            if let Some(leaf) = submitted {
                recorder.hear_of_access(leaf);
            }
            settle_fate(&store, exchange, owing, submitted).await;
            recorder.wake();
        });
        true
    }

    pub(super) fn release_late(&mut self, exchange: ExchangeId, promised: &PromisedHalf) {
        let parts = self.serving.get_mut(&exchange).and_then(|serving| {
            let prepared = serving.prepared.take();
            let prepared = prepared.filter(|it| it.commitment == promised.half().commitment)?;
            serving.reading = None;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tally_core::entry::{Close, Entry};
    use tally_core::id::{MeshId, Salt16};
    use tally_core::time::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::StoreSettings;

    /// The ledger may answer in the moment in which it is given up.
    #[tokio::test]
    async fn the_fate_of_a_permit_that_is_known_before_the_half_is_filed_is_not_forgotten() {
        for submitted in [None, Some(LeafIndex(7))] {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(StoreSettings {
                directory: directory.path().to_owned(),
                member: "RZ9".parse().unwrap(),
                mesh_id: MeshId(Hash::from_bytes([3; 32])),
                consent_registers: 1,
            })
            .unwrap();
            let (salt, provider_leaf, how) = (Salt16([0; 16]), LeafIndex(1), How::Sent);
            let close = Close { salt, counter: 0, provider_leaf, how, bytes: 0, root: None };
            let commitment = Hash::from_bytes([8; 32]);
            let late = LateHalf {
                commitment,
                exchange: ExchangeId([1; 16]),
                requester: "LZ9".parse().unwrap(),
                at: Timestamp(9),
                half: Draft::stored(Entry::Close(close)),
                heard: BTreeMap::new(),
            };
            let (go, gone) = oneshot::channel::<()>();
            let (told, filed) = oneshot::channel();
            let filing = store.clone();
            let filing = tokio::spawn(async move {
                gone.await.unwrap();
                told.send(filing.file_late(late).await).unwrap();
            });
            let fated = store.clone();
            let fate = tokio::spawn(async move {
                let exchange = ExchangeId([1; 16]);
                settle_fate(&fated, exchange, Owing { commitment, filing }, submitted).await;
            });
            // Either the fate is there before the half, or it waits for it.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            go.send(()).unwrap();
            fate.await.unwrap();
            assert!(filed.await.unwrap().unwrap());
            let free = store.outbox_late(Timestamp(9), 9).await.unwrap().len();
            assert_eq!((free, store.late_len()), (usize::from(submitted.is_none()), free));
        }
    }
}
