//! Everything that the agent has the ledger record: permits while their exchange waits, what is owed
//! from the outbox, register writes; and the mirror, which tells what the ledger holds of this member.
//!
//! Invariant: a caller hears a definite outcome, however long it takes: an entry is on the ledger, or
//! it is not and never will be. If a session ends with a batch unanswered, the ledger itself is asked.

mod asker;
mod consents;
mod ending;
mod filing;
mod late;
mod mirror;
mod permits;
mod reading;
mod registers;
mod reviews;
mod rules;

pub use consents::ConsentError;
pub use mirror::PullError;
pub use permits::{Filed, PermitOutcome, Proof};
pub use registers::{WriteError, Written};
pub use reviews::ReviewError;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tally_core::entry::Entry;
use tally_core::id::SessionId;
use tally_core::ledger::Rejection;
use tally_core::refusal::Refusal;
use tally_net::ledger::{
    AgentKey, AppendError, Client, Journal, LedgerConfig, NotNoted, Noting, Recorded, Travel,
};
use tokio::sync::{Mutex, Notify, mpsc, watch};

use crate::clock::Clock;
use crate::replica::Replica;
use crate::store::Store;
use asker::Asker;

/// Has the ledger record things. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    client: Client,
    store: Store,
    replica: Replica,
    clock: Clock,
    config: LedgerConfig,
    key: AgentKey,
    asker: Asker,
    /// The checkpoint of the last receipt, as a signed note that was checked.
    heads: watch::Sender<Vec<u8>>,
    /// The size of the ledger with the last entry that it has recorded for us.
    recorded: AtomicU64,
    /// Something was put into the outbox that is to be filed at once.
    owed: Notify,
    /// A half was put into it for which nobody waits.
    halves: Notify,
    /// The mirror has something about break-glass that it had not.
    alerts: Arc<Notify>,
    /// A half is owed late: nothing else is filed.
    late: watch::Sender<bool>,
    /// The outbox is filed from here on: not before an earlier life is settled.
    open: watch::Sender<bool>,
    /// One pull of the mirror at a time.
    pulling: Mutex<()>,
    /// One writer of consent registers at a time.
    consenting: Mutex<()>,
}

/// How long a caller waits for an answer: until there is one.
const UNTIL_ANSWERED: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The pause before something is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(200);

impl Recorder {
    /// Starts to talk to the ledger: opens a session as soon as it finds a leader. What the outbox
    /// holds waits for [`open`](Self::open). Each entry of it that is on the ledger is told to
    /// `filed`. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(
        config: LedgerConfig,
        key: AgentKey,
        store: Store,
        replica: Replica,
        clock: Clock,
        filed: mpsc::Sender<Filed>,
    ) -> Self {
        let journal = Arc::new(StoreJournal(store.clone()));
        let asker = Asker::new(config.clone(), &key);
        let client = Client::start_with_journal(config.clone(), key.clone(), journal);
        let late = watch::Sender::new(store.late_len() > 0);
        let recorder = Self(Arc::new(Shared {
            client,
            store,
            replica,
            clock,
            config,
            key,
            asker,
            heads: watch::Sender::new(Vec::new()),
            recorded: AtomicU64::new(0),
            owed: Notify::new(),
            halves: Notify::new(),
            alerts: Arc::default(),
            late,
            open: watch::Sender::new(false),
            pulling: Mutex::new(()),
            consenting: Mutex::new(()),
        }));
        tokio::spawn(filing::run(recorder.clone(), filed));
        recorder
    }

    /// The session that is open; none before the first.
    #[must_use]
    pub fn session(&self) -> watch::Receiver<Option<SessionId>> {
        self.0.client.session()
    }

    /// The checkpoints of the receipts as they come, as signed notes that were checked; of many that
    /// come at once, the last.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Vec<u8>> {
        self.0.heads.subscribe()
    }

    /// The size that the ledger has at least: with all that it has recorded for us, though the registers
    /// need not be heard that far.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.0.recorded.load(Ordering::Relaxed)
    }

    /// How the ledger is reached.
    #[must_use]
    pub fn ledger(&self) -> &LedgerConfig {
        &self.0.config
    }

    /// Has the client send an entry, and waits for its answer however long it takes: it is never
    /// [`Unanswered`](AppendError::Unanswered).
    async fn hand_in(&self, entry: Entry, travel: Travel) -> Result<Recorded, AppendError> {
        let answered = match self.0.client.append(entry, travel, UNTIL_ANSWERED).await {
            Err(AppendError::Unanswered(late)) => late.wait().await,
            other => other,
        };
        if let Ok(recorded) = &answered {
            let size = recorded.leaf().0.saturating_add(1);
            self.0.recorded.fetch_max(size, Ordering::Relaxed);
            // Entries of one batch share a checkpoint.
            self.0.heads.send_if_modified(|head| {
                let differs = head.as_slice() != recorded.checkpoint();
                if differs {
                    *head = recorded.checkpoint().to_vec();
                }
                differs
            });
        }
        answered
    }

    /// Lets the outbox be filed: what an earlier life left in it is settled.
    pub fn open(&self) {
        self.0.open.send_replace(true);
        self.wake();
    }

    /// Something was put into the outbox, and is to be filed at once.
    pub fn wake(&self) {
        self.0.owed.notify_one();
    }

    /// A half was put into the outbox for which nobody waits: it is filed once others have gathered.
    pub(crate) fn wake_soon(&self) {
        self.0.halves.notify_one();
    }

    /// Waits until the outbox is empty, or so long.
    pub async fn flush(&self, wait_max: Duration) {
        let empty = async {
            while self.0.store.outbox_len() > 0 {
                self.wake();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // What is left lies in the store, and is filed at the next start.
        drop(tokio::time::timeout(wait_max, empty).await);
    }
}

/// The session that is open once what was sent in that one is final; none when the client has ended.
/// Sessions are named by leaves, so a later one has a greater name.
async fn session_after(
    sessions: &mut watch::Receiver<Option<SessionId>>,
    sent: Option<SessionId>,
) -> Option<SessionId> {
    sessions.wait_for(|now| *now > sent).await.ok().and_then(|session| *session)
}

/// What a permit that the ledger rejects for another reason than staleness is refused with; none if
/// it is worth deciding again, as the facts are others than those that the decision had.
fn refusal_of(rejection: &Rejection) -> Option<Refusal> {
    match rejection {
        Rejection::MemberNotActive
        | Rejection::AgreementUnknown
        | Rejection::AgreementNotSigned
        | Rejection::AgreementSuspended
        | Rejection::AgreementNotStarted
        | Rejection::AgreementEnded
        | Rejection::NotShared
        | Rejection::Stale(_) => None,
        Rejection::TooLarge => Some(Refusal::TooLarge),
        Rejection::ReviewsFull => Some(Refusal::ReviewsFull),
        _ => Some(Refusal::LedgerUnavailable),
    }
}

/// The agent's store keeps its journal.
struct StoreJournal(Store);

impl Journal for StoreJournal {
    fn note(&self, session: SessionId, number: u64) -> Noting<'_> {
        Box::pin(async move { self.0.journal(session, number).await.map_err(|_| NotNoted) })
    }
}

#[cfg(test)]
mod tests {
    use tally_core::id::LeafIndex;

    use super::*;

    #[tokio::test]
    async fn what_was_sent_in_the_session_that_is_open_is_not_final_before_the_next() {
        let [first, second, third] = [3, 9, 14].map(|leaf| SessionId(LeafIndex(leaf)));
        let (told, mut sessions) = watch::channel(Some(second));
        assert_eq!(session_after(&mut sessions, Some(first)).await, Some(second));
        let mut others = told.subscribe();
        let mut waits = Box::pin(session_after(&mut others, Some(second)));
        assert!(futures_util::poll!(&mut waits).is_pending());
        told.send_replace(Some(third));
        assert_eq!(waits.await, Some(third));
        drop(told);
        assert_eq!(session_after(&mut sessions, Some(third)).await, None);
    }
}
