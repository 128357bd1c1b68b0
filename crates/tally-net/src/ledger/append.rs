//! What callers see: append an entry, wait for its receipt.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::id::{LeafIndex, SessionId};
use tally_core::ledger::Rejection;
use tally_core::receipt::{Expanded, Receipt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::driver::Driver;
use super::{AgentKey, LedgerConfig};

/// Appends entries. Cheap to clone; when all clones are gone the session rests.
#[derive(Debug, Clone)]
pub struct Client {
    jobs: mpsc::Sender<Job>,
    session: watch::Receiver<Option<SessionId>>,
    /// Sessions that are to end before their time.
    abandons: mpsc::Sender<Abandon>,
}

/// Where an agent notes how far it has numbered its batches, so that after a crash it can tell
/// whether its store is older than the ledger.
pub trait Journal: Send + Sync + 'static {
    /// Makes durable that the batch of this number is about to be sent for the first time.
    fn note(&self, session: SessionId, number: u64) -> Noting<'_>;
}

/// What [`Journal::note`] gives.
pub type Noting<'a> = Pin<Box<dyn Future<Output = Result<(), NotNoted>> + Send + 'a>>;

/// The journal could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch's number could not be made durable")]
pub struct NotNoted;

/// An entry is on the ledger, as was checked.
#[derive(Debug, Clone)]
pub struct Recorded(Form);

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
enum Form {
    /// Of a batch that was answered as a whole.
    InBatch { batch: Arc<Expanded>, position: u16, entry: Encoded<Entry> },
    /// Asked for by itself.
    Alone(Box<Receipt>),
}

/// Whether an entry may share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travel {
    /// With others of its lane.
    Together,
    /// By itself: a bulk permit, whose staleness must not cost others theirs.
    Alone,
}

/// Why an entry is not known to be on the ledger.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The ledger said no. It is not there, and won't be.
    #[error("the ledger rejected the entry ({rejection}): {meaning}", meaning = .rejection.meaning())]
    Rejected {
        /// Why.
        rejection: Rejection,
    },
    /// No answer in time. It may be there, or come to be: the late answer says.
    #[error("the ledger did not answer within the time limit; the entry may still be recorded")]
    Unanswered(LateAnswer),
    /// Too much is waiting already. Nothing was sent.
    #[error("too many entries are waiting for the ledger")]
    TooBusy,
    /// Our own store's fault: the batch's number could not be made durable. Nothing was sent.
    #[error(transparent)]
    NotNoted(#[from] NotNoted),
    /// The caller's fault: the entry can't be a leaf. Nothing was sent.
    #[error("the entry can't be a leaf of the ledger ({0})")]
    Unfit(&'static str),
    /// The session ended without an answer: if the entry was sent, the ledger itself must be asked.
    #[error("the session ended before the ledger answered")]
    SessionEnded {
        /// In which session it was sent, which need not be the one that was open when it was handed in:
        /// once there is a later one, what the ledger has is final. None if it was never sent: it is not
        /// there, and won't be.
        sent: Option<SessionId>,
    },
}

/// The definite answer to an entry that its caller no longer waits for.
#[derive(Debug)]
pub struct LateAnswer {
    answer: oneshot::Receiver<Result<Recorded, AppendError>>,
    session: watch::Receiver<Option<SessionId>>,
}

/// Where it is told which session has ended.
pub(super) type Abandon = oneshot::Sender<Option<SessionId>>;

/// Calls to end a session that wait at once; further ones wait for a place.
const ABANDONS_MAX: usize = 16;

pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) travel: Travel,
    pub(super) reply: oneshot::Sender<Result<Recorded, AppendError>>,
}

impl Client {
    /// Starts a client: it opens a session as soon as it finds the leader. Must be called in a tokio
    /// runtime.
    #[must_use]
    pub fn start(config: LedgerConfig, key: AgentKey) -> Self {
        Self::run(config, key, None)
    }

    /// As [`start`](Self::start), but each batch's number is noted before the batch is first sent.
    #[must_use]
    pub fn start_with_journal(
        config: LedgerConfig,
        key: AgentKey,
        journal: Arc<dyn Journal>,
    ) -> Self {
        Self::run(config, key, Some(journal))
    }

    fn run(config: LedgerConfig, key: AgentKey, journal: Option<Arc<dyn Journal>>) -> Self {
        let (jobs, queue) = mpsc::channel(config.limits.queue_entries_max.max(1));
        let (told, session) = watch::channel(None);
        let (abandons, abandoned) = mpsc::channel(ABANDONS_MAX);
        tokio::spawn(Driver::new(config, key, journal, told, queue, abandoned).run());
        Self { jobs, session, abandons }
    }

    /// Ends the session: nothing that was handed in so far is sent from here on, not even again, and
    /// whoever waits is told that the session has ended. Gives the last session in which anything of it
    /// can have been sent: once there is another, as soon as there is a leader, its outcomes are final.
    pub async fn abandon(&self) -> Option<SessionId> {
        let (reply, ended) = oneshot::channel();
        // The driver is gone only when all is.
        drop(self.abandons.send(reply).await);
        ended.await.ok().flatten()
    }

    /// The session that is open; none before the first one. When it changes, the outcomes of the
    /// one before are final.
    #[must_use]
    pub fn session(&self) -> watch::Receiver<Option<SessionId>> {
        self.session.clone()
    }

    /// Appends an entry and waits for its receipt, at most so long. The entry's counter is set on
    /// the way: only the session knows which comes next.
    ///
    /// # Errors
    /// [`AppendError`] says whether the entry is not on the ledger, or whether that is open.
    pub async fn append(
        &self,
        entry: Entry,
        travel: Travel,
        wait_max: Duration,
    ) -> Result<Recorded, AppendError> {
        let (reply, mut answer) = oneshot::channel();
        let job = Job { entry, travel, reply };
        self.jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => AppendError::TooBusy,
            mpsc::error::TrySendError::Closed(_) => AppendError::SessionEnded { sent: None },
        })?;
        match timeout(wait_max, &mut answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(stopped(&self.session)),
            Err(_) => {
                let session = self.session.clone();
                Err(AppendError::Unanswered(LateAnswer { answer, session }))
            }
        }
    }
}

impl LateAnswer {
    /// Waits for the definite answer.
    ///
    /// # Errors
    /// [`AppendError`] if the entry is not on the ledger, or its session ended.
    pub async fn wait(self) -> Result<Recorded, AppendError> {
        self.answer.await.unwrap_or_else(|_| Err(stopped(&self.session)))
    }
}

/// The client's task ended without an answer: the entry was sent in its last session at the latest.
fn stopped(session: &watch::Receiver<Option<SessionId>>) -> AppendError {
    AppendError::SessionEnded { sent: *session.borrow() }
}

impl Recorded {
    pub(super) const fn in_batch(
        batch: Arc<Expanded>,
        position: u16,
        entry: Encoded<Entry>,
    ) -> Self {
        Self(Form::InBatch { batch, position, entry })
    }

    pub(super) fn alone(receipt: Receipt) -> Self {
        Self(Form::Alone(Box::new(receipt)))
    }

    /// Where the entry is.
    #[must_use]
    pub fn leaf(&self) -> LeafIndex {
        match &self.0 {
            Form::InBatch { batch, position, .. } => batch.leaf(*position),
            Form::Alone(receipt) => receipt.leaf,
        }
    }

    /// The checkpoint that shows it, as a signed note that was checked.
    #[must_use]
    pub fn checkpoint(&self) -> &[u8] {
        match &self.0 {
            Form::InBatch { batch, .. } => batch.checkpoint(),
            Form::Alone(receipt) => &receipt.checkpoint,
        }
    }

    /// The seal of its batch.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        match &self.0 {
            Form::InBatch { batch, .. } => batch.seal().value(),
            Form::Alone(receipt) => receipt.seal.value(),
        }
    }

    /// The entry as it is on the ledger, with its counter.
    #[must_use]
    pub fn entry(&self) -> &Encoded<Entry> {
        match &self.0 {
            Form::InBatch { entry, .. } => entry,
            Form::Alone(receipt) => &receipt.entry,
        }
    }

    /// The receipt: made when somebody asks for it, from what was checked for the whole batch.
    ///
    /// # Errors
    /// [`tally_log::NoProof`] never, for what this client made; the type says what could be.
    pub fn receipt(&self) -> Result<Receipt, tally_log::NoProof> {
        match &self.0 {
            Form::InBatch { batch, position, entry } => batch.receipt(*position, entry.clone()),
            Form::Alone(receipt) => Ok(Receipt::clone(receipt)),
        }
    }
}
