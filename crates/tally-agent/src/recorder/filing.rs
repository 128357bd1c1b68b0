//! The outbox on its way to the ledger.
//!
//! Invariant: an entry leaves the outbox only when the ledger has it, or has said that it will never
//! take it; and then that is logged.

use std::time::Duration;

use futures_util::future::join_all;
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{LeafIndex, Salt16, SessionId};
use tally_core::ledger::Rejection;
use tally_net::ledger::{AppendError, Recorded, Travel};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::permits::proof;
use super::{Filed, PullError, RETRY_WAIT, Recorder, session_after};
use crate::random;

/// Entries that are filed together: as many as a batch holds.
const WAVE_MAX: usize = 512;
/// How long halves that nobody waits for gather, so that many share a batch: its signature, its round
/// through the ledger and its place in two transactions. A half is missing after a minute; a crash loses
/// none, as they are durable when this begins.
const GATHER: Duration = Duration::from_millis(50);
/// How often the outbox is looked at when nobody has put anything into it: a count of refusals is
/// filed once its window has ended.
const LOOK: Duration = Duration::from_secs(5);

/// What became of an entry.
enum Outcome {
    /// The outbox need not hold it any more.
    Settled(Option<LeafIndex>),
    /// It has to be filed again.
    Again,
}

pub(super) async fn run(recorder: Recorder, filed: mpsc::Sender<Filed>) {
    let mut open = recorder.0.open.subscribe();
    tokio::select! {
        opened = open.wait_for(|open| *open) => if opened.is_err() { return },
        () = filed.closed() => return,
    }
    loop {
        tokio::select! {
            () = file(&recorder, &filed) => {}
            () = filed.closed() => return,
        }
    }
}

/// Files what there is, or waits for something.
async fn file(recorder: &Recorder, filed: &mpsc::Sender<Filed>) {
    let shared = &recorder.0;
    if shared.store.late_len() > 0 {
        return file_late(recorder, filed).await;
    }
    // A half that is owed late from now on closes it again.
    shared.late.send_if_modified(|late| {
        let over = *late && shared.store.late_len() == 0;
        *late = *late && !over;
        over
    });
    match shared.store.outbox_next(shared.clock.now(), WAVE_MAX).await {
        Ok(entries) => {
            let is_full = entries.len() >= WAVE_MAX;
            file_all(recorder, filed, entries).await;
            if !is_full {
                something_to_file(&shared.owed, &shared.halves).await;
            }
        }
        Err(error) => {
            tracing::error!(%error, "the outbox can't be filed");
            sleep(LOOK).await;
        }
    }
}

/// Late halves first: as long as one waits, or it is not known yet whether it has to be filed, nothing
/// else is.
async fn file_late(recorder: &Recorder, filed: &mpsc::Sender<Filed>) {
    let shared = &recorder.0;
    match shared.store.outbox_late(shared.clock.now(), WAVE_MAX).await {
        Ok(entries) if entries.is_empty() => tokio::select! {
            () = shared.owed.notified() => {}
            () = sleep(LOOK) => {}
        },
        Ok(entries) => file_all(recorder, filed, entries).await,
        Err(error) => {
            tracing::error!(%error, "late halves can't be filed");
            sleep(RETRY_WAIT).await;
        }
    }
}

/// Waits until something is to be filed at once, or halves that nobody waits for have gathered for as long
/// as they may.
async fn something_to_file(owed: &Notify, halves: &Notify) {
    tokio::select! {
        () = owed.notified() => {}
        () = halves.notified() => tokio::select! {
            () = owed.notified() => {}
            () = sleep(GATHER) => {}
        },
        () = sleep(LOOK) => {}
    }
}

/// Files entries together, and takes those out of the outbox that it need not hold any more.
async fn file_all(recorder: &Recorder, filed: &mpsc::Sender<Filed>, entries: Vec<(OwedId, Draft)>) {
    let store = &recorder.0.store;
    let each = entries.into_iter().map(|(id, draft)| async move {
        let outcome = append(recorder, filed, &id, draft).await;
        (id, outcome)
    });
    let (mut settled, mut again) = (Vec::new(), false);
    for (id, outcome) in join_all(each).await {
        match outcome {
            Outcome::Settled(leaf) => settled.push((id, leaf)),
            Outcome::Again => {
                again = true;
                store.outbox_return(&id);
            }
        }
    }
    if let Err(error) = store.outbox_done(settled).await {
        tracing::error!(%error, "the outbox can't be written");
    }
    if again {
        recorder.wake();
        sleep(RETRY_WAIT).await;
    }
}

async fn append(
    recorder: &Recorder,
    filed: &mpsc::Sender<Filed>,
    id: &OwedId,
    draft: Draft,
) -> Outcome {
    let answer = match send(recorder, &draft, Travel::Together).await {
        // One entry that the ledger will not have costs its whole batch: this one may be good.
        Err(AppendError::Rejected { .. }) => send(recorder, &draft, Travel::Alone).await,
        other => other,
    };
    match answer {
        Ok(recorded) => {
            let leaf = recorded.leaf();
            let told = Filed { id: id.clone(), leaf, proof: proof(&recorded) };
            // Whoever waited may be gone.
            drop(filed.send(told).await);
            Outcome::Settled(Some(leaf))
        }
        Err(AppendError::Rejected { rejection }) if !may_pass(&rejection) => {
            tracing::error!(rejection = %rejection, "the ledger will not have an entry that is owed");
            Outcome::Settled(None)
        }
        Err(AppendError::Unfit(code)) => {
            tracing::error!(code, "an entry that is owed can't be a leaf");
            Outcome::Settled(None)
        }
        Err(AppendError::SessionEnded { sent: sent @ Some(_) }) => {
            look_for(recorder, sent, id, draft).await
        }
        Err(error) => {
            tracing::warn!(%error, "an entry that is owed has to wait");
            Outcome::Again
        }
    }
}

async fn send(recorder: &Recorder, draft: &Draft, travel: Travel) -> Result<Recorded, AppendError> {
    // Without randomness nothing can be recorded; the outbox tries again.
    let salt = random::bytes().map(Salt16).ok_or(AppendError::TooBusy)?;
    let entry = draft.clone().numbered(salt, 0);
    recorder.hand_in(entry, travel).await
}

/// The session in which it was sent ended: the ledger has it, or never will.
async fn look_for(
    recorder: &Recorder,
    sent: Option<SessionId>,
    id: &OwedId,
    draft: Draft,
) -> Outcome {
    let next = session_after(&mut recorder.session(), sent).await;
    let Some(next) = next else { return Outcome::Again };
    // Nodes that lag are waited for: what is sent again may be there already.
    let pulled = loop {
        match recorder.pull(next.0.0).await {
            Err(PullError::NotSoFar) => {}
            pulled => break pulled,
        }
    };
    if let Err(error) = pulled {
        tracing::warn!(%error, "what the ledger has of the last session is not known yet");
        return Outcome::Again;
    }
    match recorder.0.store.holds(id.clone(), draft).await {
        Ok(true) => Outcome::Settled(None),
        Ok(false) | Err(_) => Outcome::Again,
    }
}

/// Whether the ledger may take it another time.
const fn may_pass(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::MemberSuspended | Rejection::MemberRemoved | Rejection::LeafAhead
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// How long it was waited, with what happens meanwhile.
    async fn waited(
        owed: &Notify,
        halves: &Notify,
        meanwhile: impl Future<Output = ()>,
    ) -> Duration {
        let began = Instant::now();
        let waits = async {
            something_to_file(owed, halves).await;
            began.elapsed()
        };
        tokio::join!(waits, meanwhile).0
    }

    async fn passes(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_that_nobody_waits_for_waits_for_others_but_not_for_long() {
        let (owed, halves) = (Notify::new(), Notify::new());
        let others = async {
            halves.notify_one();
            // Others that come meanwhile do not put it off.
            for _ in 0..4 {
                passes(GATHER / 5).await;
                halves.notify_one();
            }
        };
        let waited_for = waited(&owed, &halves, others).await;
        assert!((GATHER..GATHER * 2).contains(&waited_for), "{waited_for:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_filed_at_once_is_and_takes_along_what_has_gathered() {
        let (owed, halves) = (Notify::new(), Notify::new());
        owed.notify_one();
        assert_eq!(waited(&owed, &halves, async {}).await, Duration::ZERO);
        halves.notify_one();
        let soon = async {
            passes(GATHER / 5).await;
            owed.notify_one();
        };
        let waited_for = waited(&owed, &halves, soon).await;
        assert!(waited_for < GATHER / 2, "{waited_for:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_outbox_is_looked_at_now_and_then_though_nobody_says_anything() {
        let (owed, halves) = (Notify::new(), Notify::new());
        let waited_for = waited(&owed, &halves, async {}).await;
        assert!((LOOK..LOOK * 2).contains(&waited_for), "{waited_for:?}");
    }
}
