//! The threads that own the database's connections, and how requests reach them.
//!
//! Invariant: a request is answered only once the transaction that it was part of is durable. All
//! requests that wait when a transaction begins become part of it: one fsync for many. A request
//! that fails fails alone: by its savepoint, or because it had changed nothing yet. If the transaction
//! fails, all of it fails and the store closes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Params, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::StoreError;
use super::lazy::Lazy;
use super::open::Home;

/// Requests that wait at most; further ones wait for a place.
const REQUESTS_MAX: usize = 4096;
/// How long updates that nobody waits for may stay in memory.
const LAZY_WAIT_MAX: Duration = Duration::from_millis(500);

/// So many requests in one transaction mean that more are on their way.
const BUSY_REQUESTS: usize = 4;
/// Then the next transaction waits for them this long: a transaction writes pages that all of its requests
/// change, and syncs once.
const GATHER: Duration = Duration::from_millis(1);

/// What a request works with: the database, inside a transaction.
pub(super) struct Desk<'a> {
    db: &'a Connection,
    pub(super) home: &'a Home,
    /// By how much the outbox grew.
    pub(super) outbox_growth: isize,
    /// By how much the late halves in it did.
    pub(super) late_growth: isize,
    /// Whether the write-ahead log must be emptied once this is durable: what was destroyed still
    /// stands there.
    pub(super) empty_log: bool,
}

impl Desk<'_> {
    /// Runs a statement and says how many rows it changed.
    pub(super) fn change(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.db.prepare_cached(sql)?.execute(values)?)
    }

    /// The first row, if there is one.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        Ok(rows.next()?.map(read).transpose()?)
    }

    /// All rows.
    pub(super) fn list<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of the row that was inserted last.
    pub(super) fn last_row(&self) -> i64 {
        self.db.last_insert_rowid()
    }
}

/// Whether a thread writes, or reads beside the one that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Writes, each transaction durable.
    Write,
    /// Reads what is durable.
    Read,
}

/// What becomes of what a request has changed before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    /// It is undone, by a savepoint: other requests go on.
    Alone,
    /// Only a broken database or system makes it fail after its first change, and that fails the
    /// transaction. Each exchange makes some such requests, and a savepoint copies every page that is
    /// changed after it.
    Whole,
}

/// What everybody may know of the store without asking a thread.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) outbox_len: AtomicUsize,
    pub(super) late_len: AtomicUsize,
    pub(super) commits: AtomicU64,
}

/// Requests on their way to a thread.
pub(super) struct Queue {
    gathers: bool,
    waiting: Mutex<Waiting>,
    wake: Condvar,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Box<dyn Request>>,
    lazy: Lazy,
    lazy_since: Option<Instant>,
    /// How many requests the last transaction had.
    last: usize,
    /// The next one waits for more of them: the thread need not be woken for each.
    is_gathering: bool,
    /// Nothing more is taken.
    closed: bool,
}

/// What one transaction takes.
struct Round {
    requests: Vec<Box<dyn Request>>,
    lazy: Lazy,
}

impl Queue {
    /// Of the thread with this access. Who reads waits for nobody.
    pub(super) fn new(access: Access) -> Self {
        Self {
            gathers: access == Access::Write,
            waiting: Mutex::default(),
            wake: Condvar::new(),
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
        }
    }

    /// Hands in a request and waits until it is durable.
    pub(super) async fn ask<T, F>(&self, failing: Failing, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (reply, answer) = oneshot::channel();
        let place = place.map_err(|_| StoreError::Closed)?;
        let request = Pending { failing, work: Some(work), outcome: None, reply, _place: place };
        let is_gathering = {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(StoreError::Closed);
            }
            waiting.requests.push(Box::new(request));
            waiting.is_gathering
        };
        if !is_gathering {
            self.wake.notify_one();
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes note of something that nobody waits for.
    pub(super) fn note(&self, note: impl FnOnce(&mut Lazy)) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        note(&mut waiting.lazy);
        let first = waiting.lazy_since.is_none();
        waiting.lazy_since.get_or_insert_with(Instant::now);
        if first || waiting.lazy.is_full() {
            self.wake.notify_one();
        }
    }

    /// Takes nothing more. What waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Drops what waits: nobody is there to do it.
    fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.requests);
        drop(waiting);
        left.into_iter().for_each(|request| request.answer(Some(&StoreError::Closed)));
    }

    /// Everything that waits, as soon as something does; none once the queue is closed and empty.
    fn next(&self) -> Option<Round> {
        let mut waiting = self.lock();
        loop {
            let due = waiting.lazy_since.map(|since| LAZY_WAIT_MAX.saturating_sub(since.elapsed()));
            let ripe = waiting.lazy.is_full() || due == Some(Duration::ZERO);
            let lazy_only = waiting.requests.is_empty();
            if !lazy_only || ripe || (waiting.closed && due.is_some()) {
                if self.gathers && waiting.last >= BUSY_REQUESTS {
                    waiting = self.gather(waiting);
                }
                let requests = std::mem::take(&mut waiting.requests);
                waiting.last = requests.len();
                waiting.lazy_since = None;
                return Some(Round { requests, lazy: std::mem::take(&mut waiting.lazy) });
            }
            if waiting.closed {
                return None;
            }
            waiting = match due {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let woken = self.wake.wait_timeout(waiting, due);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for more requests, but not for long.
    fn gather<'w>(&self, mut waiting: MutexGuard<'w, Waiting>) -> MutexGuard<'w, Waiting> {
        waiting.is_gathering = true;
        let until = Instant::now() + GATHER;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if waiting.closed || left.is_zero() {
                waiting.is_gathering = false;
                return waiting;
            }
            let woken = self.wake.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, whatever it gives back.
trait Request: Send {
    /// What becomes of its changes if it fails.
    fn failing(&self) -> Failing;
    /// Does the work and keeps its outcome; the error again if it failed.
    fn run(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError>;
    /// Tells the outcome, or that the transaction has failed.
    fn answer(self: Box<Self>, failed: Option<&StoreError>);
}

struct Pending<T, F> {
    failing: Failing,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    _place: OwnedSemaphorePermit,
}

impl<T, F> Request for Pending<T, F>
where
    T: Send,
    F: FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send,
{
    fn failing(&self) -> Failing {
        self.failing
    }

    fn run(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let outcome = work(desk);
        let failed = outcome.as_ref().err().cloned();
        self.outcome = Some(outcome);
        failed.map_or(Ok(()), Err)
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        let outcome = match (failed, self.outcome) {
            // Its own error says more than that of the transaction.
            (_, Some(Err(own))) => Err(own),
            (Some(failed), _) => Err(failed.clone()),
            (None, outcome) => outcome.unwrap_or(Err(StoreError::Closed)),
        };
        // Who asked may have gone away; the work is done all the same.
        let _ = self.reply.send(outcome);
    }
}

/// One thread's work, until its queue is closed.
pub(super) struct Worker {
    pub(super) access: Access,
    pub(super) db: Connection,
    pub(super) home: Arc<Home>,
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
}

impl Worker {
    /// Does what the queue brings. Returns once it is closed and empty, or a transaction failed.
    pub(super) fn run(self) {
        while let Some(round) = self.queue.next() {
            let Round { mut requests, lazy } = round;
            let failed = self.transact(&mut requests, &lazy).err();
            if let Some(error) = &failed {
                tracing::error!(code = error.code(), %error, "the store is closed");
                // From here on nobody may come in: their answer would be a promise.
                self.queue.close();
            }
            requests.into_iter().for_each(|request| request.answer(failed.as_ref()));
            if failed.is_some() {
                break;
            }
        }
    }

    /// One transaction.
    fn transact(&self, requests: &mut [Box<dyn Request>], lazy: &Lazy) -> Result<(), StoreError> {
        let mut desk = Desk {
            db: &self.db,
            home: &self.home,
            outbox_growth: 0,
            late_growth: 0,
            empty_log: false,
        };
        let begin = match self.access {
            Access::Write => "BEGIN IMMEDIATE",
            Access::Read => "BEGIN",
        };
        desk.change(begin, []).map_err(not_durable)?;
        for request in requests {
            match request.failing() {
                Failing::Alone => self.step(&mut desk, |desk| request.run(desk))?,
                Failing::Whole => self.step_on(&mut desk, |desk| request.run(desk))?,
            }
        }
        if !lazy.is_empty() {
            self.step(&mut desk, |desk| {
                let written = lazy.write(desk);
                written.inspect_err(|error| {
                    tracing::warn!(code = error.code(), %error, "progress was not noted");
                })
            })?;
        }
        if let Err(error) = desk.change("COMMIT", []) {
            // The connection goes with the thread; what is in its log beyond the last commit counts
            // for nothing.
            return Err(not_durable(error));
        }
        if self.access == Access::Write {
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
            grow(&self.counts.outbox_len, desk.outbox_growth);
            grow(&self.counts.late_len, desk.late_growth);
        }
        if desk.empty_log {
            // It waits for the reader's look at the database to end, within SQLite's busy timeout.
            let emptied = "PRAGMA wal_checkpoint(TRUNCATE)";
            let emptied = self.db.query_row(emptied, [], |row| Ok(row.get::<_, i64>(0)? == 0));
            // What was destroyed is gone from the database; SQLite overwrites the rest of the log later.
            if !matches!(emptied, Ok(true)) {
                tracing::warn!(?emptied, "the store's log could not be emptied at once");
            }
        }
        Ok(())
    }

    /// One request that changes nothing if it fails, or fails the transaction.
    fn step_on(
        &self,
        desk: &mut Desk<'_>,
        work: impl FnOnce(&mut Desk<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let before = self.db.total_changes();
        match work(desk) {
            // Some errors undo the whole transaction.
            Err(error)
                if error.is_damage()
                    || self.db.is_autocommit()
                    || self.db.total_changes() != before =>
            {
                Err(not_durable(error))
            }
            // Its own answer says why it failed.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// One request, which leaves nothing behind if it fails.
    fn step(
        &self,
        desk: &mut Desk<'_>,
        work: impl FnOnce(&mut Desk<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let growth = (desk.outbox_growth, desk.late_growth);
        desk.change("SAVEPOINT request", []).map_err(not_durable)?;
        let failed = work(desk).err();
        if let Some(error) = failed {
            // Some errors undo the whole transaction (a full disk, for one), and with damaged pages
            // nothing that was read can be believed.
            if self.db.is_autocommit() || error.is_damage() {
                return Err(not_durable(error));
            }
            (desk.outbox_growth, desk.late_growth) = growth;
            desk.change("ROLLBACK TO request", []).map_err(not_durable)?;
        }
        desk.change("RELEASE request", []).map_err(not_durable)?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

fn grow(len: &AtomicUsize, growth: isize) {
    let by = growth.unsigned_abs();
    if growth >= 0 {
        len.fetch_add(by, Ordering::Relaxed);
    } else {
        len.fetch_sub(by, Ordering::Relaxed);
    }
}

fn not_durable(error: StoreError) -> StoreError {
    match error {
        StoreError::Database(error) => StoreError::NotDurable(error),
        other => other,
    }
}
