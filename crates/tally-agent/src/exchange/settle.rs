//! After a start, and now and then: what the ledger holds of this member, held against the store.
//!
//! Invariant: nothing new begins before what an earlier life has left is settled. Its session is over
//! by then, so what the ledger holds of it is final.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tally_core::exchange::requester::Intent;
use tally_core::exchange::{Draft, Promise, PromisedHalf, provider, requester};
use tally_core::id::{ExchangeId, MemberId, SessionId};
use tally_core::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::provider::Handle;
use super::{Requester, Shared};
use crate::recorder::{ConsentError, PullError};
use crate::store::StoreError;

/// The pause before something that failed is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// How often the mirror is brought up to date, unless halves are missing sooner than that.
const SWEEP_WAIT: Duration = Duration::from_secs(20);

/// Why what an earlier life has left is not settled yet.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The ledger does not say what it holds.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The own store's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Settles, then keeps the mirror up to date, for as long as the agent runs.
pub(super) fn start(
    shared: Arc<Shared>,
    requester: Requester,
    providing: Handle,
) -> watch::Receiver<bool> {
    let (told, settled) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            () = shared.ended() => {}
            () = settle_and_sweep(&shared, &requester, providing, &told) => {}
        }
    });
    settled
}

async fn settle_and_sweep(
    shared: &Arc<Shared>,
    requester: &Requester,
    providing: Handle,
    told: &watch::Sender<bool>,
) {
    while let Err(error) = settle(shared, &providing).await {
        tracing::warn!(%error, "what the last run has left is not settled yet");
        sleep(RETRY_WAIT).await;
    }
    shared.standing.settled.store(true, Ordering::Relaxed);
    shared.recorder.open();
    let consents = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::select! {
            () = consents.ended() => {}
            () = watch_consents(&consents) => {}
        }
    });
    told.send_replace(true);
    let promises = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::select! {
            () = promises.ended() => {}
            () = watch_promises(&promises) => {}
        }
    });
    let mut seen = BTreeMap::new();
    loop {
        sleep(SWEEP_WAIT.min(shared.limits.half_wait_max)).await;
        if let Err(error) = sweep(shared, requester, &mut seen).await {
            tracing::warn!(%error, "the mirror is not up to date");
        }
    }
}

async fn settle(shared: &Shared, providing: &Handle) -> Result<(), SettleError> {
    let journal = shared.store.journal_last().await?;
    let mut sessions = shared.recorder.session();
    let Ok(session) = sessions.wait_for(Option::is_some).await.map(|session| *session) else {
        return Ok(());
    };
    let SessionId(leaf) = session.unwrap_or(SessionId(tally_core::id::LeafIndex(0)));
    shared.recorder.pull_after(journal, leaf.0).await?;
    // Decisions need the registers at least as they were when the session began.
    shared.replica.reach(leaf.0).await;
    // A disposal that was cut short is finished first: what it gave up must not be read again.
    shared.store.finish_disposals().await?;
    let behind = shared.store.behind().await?;
    if behind {
        tracing::error!("the store is older than the ledger: openings are lost, directives may be");
    }
    shared.standing.copied.store(behind, Ordering::Relaxed);
    let known = shared.replica.known();
    if shared.epoch > 0 {
        shared.store.consent_lost(shared.ledger_consents(&known).collect()).await?;
    }
    shared.check_consents(&known, &shared.store.consent_intended().await?);
    shared.store.outbox_settle().await?;
    shared.store.end_late_of_old().await?;
    // Who asks for one of them again, under the id that it had, would have it recorded twice.
    let had = shared.store.exchanges_had(shared.limits.exchange_ids_kept_max).await?;
    providing.known_before(had).await;
    settle_permits(shared, behind).await?;
    settle_intents(shared).await
}

/// Closes what was permitted and not finished.
async fn settle_permits(shared: &Shared, behind: bool) -> Result<(), SettleError> {
    let permits = shared.store.unsettled_permits().await?;
    let commitments: Vec<_> = permits.iter().map(|half| half.commitment).collect();
    let openings = shared.store.openings_of(&commitments).await?;
    let commitment_of: BTreeMap<_, _> =
        permits.iter().map(|half| (half.leaf, half.commitment)).collect();
    for unsettled in provider::settle(&permits, &openings, behind) {
        let finished = match &unsettled.id {
            tally_core::exchange::OwedId::Close(leaf) => commitment_of.get(leaf).copied(),
            _ => None,
        };
        shared.store.owe(unsettled.id, unsettled.close, finished).await?;
    }
    Ok(())
}

/// Says what is known of what was asked, and of what others have recorded as asked.
async fn settle_intents(shared: &Shared) -> Result<(), SettleError> {
    let mut intents = shared.store.intents().await?;
    for (exchange, promise) in shared.store.unfinished_promises().await? {
        // What came before the crash is what a promise was for.
        let intent = intents.remove(&exchange);
        match broken_off(&shared.member, exchange, intent.as_ref(), &promise) {
            Some(half) => shared.store.owe_late(exchange, half).await?,
            None => tracing::error!(%exchange, "a promise in the store can't be read"),
        }
    }
    let peers = shared.store.unanswered_peers().await?;
    let answered = shared.store.answered().await?;
    for exchange in intents.keys().filter(|exchange| answered.contains(exchange)) {
        shared.store.forget(*exchange).await?;
    }
    for unsettled in requester::settle(&shared.member, &intents, &peers, &answered) {
        shared.store.owe_half(unsettled.id, unsettled.exchange, unsettled.half, None).await?;
    }
    Ok(())
}

/// The own half of an exchange whose half is promised; its intent may not have become durable.
fn broken_off(
    member: &MemberId,
    exchange: ExchangeId,
    intent: Option<&Intent>,
    promise: &[u8],
) -> Option<Draft> {
    let promise = tally_wire::decode::<Promise>(promise).ok()?;
    let promised = PromisedHalf::owed(promise.value())?;
    Some(requester::broken_off_late(member, exchange, intent, promised.half()))
}

/// A provider's half may come after a start, in answer to a question that a crash made us forget.
async fn sweep(
    shared: &Shared,
    requester: &Requester,
    seen: &mut BTreeMap<tally_core::id::LeafIndex, Timestamp>,
) -> Result<(), SettleError> {
    let now = shared.clock.now();
    // In the order in which an exchange leaves them, and before what is on the ledger: one that ends
    // meanwhile is in the next.
    let mut answered: BTreeSet<_> = requester.in_flight().await.into_iter().collect();
    answered.extend(shared.store.intents().await?.into_keys());
    answered.extend(shared.store.answered().await?);
    // Up to the own halves that have left the outbox already: one that is on the ledger is else owed again.
    let until = shared.replica.known().size.max(shared.recorder.recorded());
    shared.recorder.pull(until).await?;
    let mut peers = shared.store.unanswered_peers().await?;
    let open: BTreeSet<_> = peers.iter().map(|peer| peer.leaf).collect();
    seen.retain(|leaf, _| open.contains(leaf));
    let wait = shared.limits.half_wait_max;
    peers.retain(|peer| seen.entry(peer.leaf).or_insert(now).after(wait) <= now);
    if peers.is_empty() {
        return Ok(());
    }
    let none = BTreeMap::new();
    for unsettled in requester::settle(&shared.member, &none, &peers, &answered) {
        shared.store.owe_half(unsettled.id, unsettled.exchange, unsettled.half, None).await?;
    }
    shared.recorder.wake();
    Ok(())
}

/// Looks for what was promised, as soon as the ledger goes on.
async fn watch_promises(shared: &Shared) {
    let mut changes = shared.replica.changes();
    let mut seen = None;
    loop {
        let size = changes.borrow_and_update().size;
        if seen != Some(size) {
            match take_promised(shared, size).await {
                Ok(()) => seen = Some(size),
                Err(error) => tracing::warn!(%error, "it is not known whether promises are kept"),
            }
        }
        let again = seen != Some(size);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(RETRY_WAIT), if again => {}
        }
    }
}

async fn take_promised(shared: &Shared, size: u64) -> Result<(), SettleError> {
    if !shared.store.owes_promises().await? {
        return Ok(());
    }
    shared.recorder.pull(size).await?;
    Ok(shared.recorder.take_kept_promises().await?)
}

/// Writes what the consent registers lack, and notices when they are ahead of the store.
async fn watch_consents(shared: &Shared) {
    let mut changes = shared.replica.changes();
    let mut moves = None;
    loop {
        let known = changes.borrow_and_update().clone();
        if moves != Some(known.moves) {
            moves = Some(known.moves);
            match shared.store.consent_intended().await {
                Ok(intended) => drop(shared.check_consents(&known, &intended)),
                Err(error) => tracing::error!(%error, "the consent registers can't be checked"),
            }
        }
        let copied = shared.standing.copied.load(Ordering::Relaxed);
        let retry = if copied { None } else { shared.write_consents().await };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = wait_until(retry) => {}
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// When to try again, if something is left to be written.
    async fn write_consents(&self) -> Option<Instant> {
        match self.recorder.write_consents().await {
            Ok(()) => None,
            Err(error) => {
                let behind = matches!(error, ConsentError::Behind);
                tracing::warn!(%error, "a consent register is not written");
                (!behind).then(|| Instant::now() + RETRY_WAIT)
            }
        }
    }

    pub(super) async fn caught_up(&self) -> Result<(), StoreError> {
        let known = self.replica.known();
        let ledger = self.ledger_consents(&known).collect();
        self.store.consent_catch_up(ledger).await?;
        self.store.set_behind(false).await?;
        self.standing.copied.store(false, Ordering::Relaxed);
        self.check_consents(&known, &self.store.consent_intended().await?);
        Ok(())
    }
}
