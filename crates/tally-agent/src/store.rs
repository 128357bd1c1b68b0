//! The agent's store: openings, outbox, intents, receipts, consents, the mirror of what the ledger
//! holds of this member, and the journal of its batches. One SQLite database in one directory, and a
//! key for each retention year beside it.
//!
//! Invariant: what an awaited function has returned is durable, and what it returned an error for
//! counts for nothing. Nothing in the directory names a person.
//!
//! Two named threads own the database: one writes, and makes one transaction (one fsync) of all
//! requests that wait; the other reads what is durable, beside it.

mod alerts;
mod consents;
mod disposal;
mod emergencies;
mod endpoint;
mod epochs;
mod error;
mod glass;
mod intents;
mod journal;
mod lazy;
mod mirror;
mod open;
mod openings;
mod opt_out;
mod outbox;
mod people;
mod promises;
mod receipts;
mod schema;
mod secrets;
mod streams;
#[cfg(test)]
mod tests;
mod thread;
mod years;

pub use alerts::{AlertKind, OwedAlert, Way};
pub use consents::{
    Consent, ConsentWrite, DirectiveId, IMPORT_MAX, NewDirective, RecordedDirective,
};
pub use disposal::{DisposalOrder, DisposalPlan, YearPlan};
pub use emergencies::{Emergency, EmergencySide, LateHalf};
pub use epochs::GivenUp;
pub use error::StoreError;
pub use glass::{BreakGlass, GlassCounts, Reader, ReviewNote};
pub use journal::is_behind;
pub use mirror::OwnProviderHalf;
pub use openings::{KeptOpening, PersonOpening, StoreOpening};
pub use opt_out::{OptOutKnown, OptOutRow, OptOutTaken};
pub use people::{KnownAs, People};
pub use promises::{Awaited, KeptPromise};
pub use receipts::Received;
pub use streams::Begun;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tally_core::id::{MemberId, MeshId};

use open::Home;
use thread::{Access, Counts, Desk, Failing, Queue, Worker};

/// Which store to open.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Where it is. Made at the first start, readable by its owner alone.
    pub directory: PathBuf,
    /// Whose it is.
    pub member: MemberId,
    /// Of which mesh.
    pub mesh_id: MeshId,
    /// How many consent registers new people are spread over, 1 to 256. Usually 1.
    pub consent_registers: u16,
}

/// An open store. Clones share it; when the last one goes, what waits is still written.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    home: Arc<Home>,
    writer: Arc<Queue>,
    reader: Arc<Queue>,
    counts: Arc<Counts>,
    /// Held while a reply about opt-outs is taken.
    answering: tokio::sync::Mutex<()>,
    /// The reader's before the writer's: whoever closes the database last leaves one file behind.
    threads: Mutex<Vec<(Arc<Queue>, JoinHandle<()>)>>,
}

impl Store {
    /// Opens the store, or makes it if the directory has none. Blocks: it reads the whole database
    /// once, to see that it is sound.
    ///
    /// # Errors
    /// [`StoreError`] if it is another's, damaged, of a later version, open elsewhere, or its key
    /// or database is missing. A store that was there once is never made anew.
    pub fn open(settings: StoreSettings) -> Result<Self, StoreError> {
        let mut opened = open::open(settings)?;
        let home = Arc::new(opened.home);
        consents::make_registers(&mut opened.writer, home.consent_registers)?;
        let counts = Arc::new(Counts::default());
        let (outbox_len, late_len) = outbox::len(&opened.writer)?;
        counts.outbox_len.store(outbox_len, Ordering::Relaxed);
        counts.late_len.store(late_len, Ordering::Relaxed);
        let start = |name: &str, access, db: Connection| {
            let queue = Arc::new(Queue::new(access));
            let worker = Worker {
                access,
                db,
                home: Arc::clone(&home),
                queue: Arc::clone(&queue),
                counts: Arc::clone(&counts),
            };
            let thread = Builder::new().name(name.to_owned()).spawn(move || worker.run());
            let thread = thread.map_err(|error| StoreError::Io {
                path: home.database.clone(),
                source: Arc::new(error),
            })?;
            Ok::<_, StoreError>((queue, thread))
        };
        let (writer, writing) = start("store-write", Access::Write, opened.writer)?;
        // Should the second thread fail to start, the first one's queue must not keep it waiting.
        let started = start("store-read", Access::Read, opened.reader);
        let (reader, reading) = started.inspect_err(|_| writer.close())?;
        let threads = [(Arc::clone(&reader), reading), (Arc::clone(&writer), writing)];
        let threads = Mutex::new(Vec::from(threads));
        Ok(Self {
            shared: Arc::new(Shared {
                home,
                writer,
                reader,
                counts,
                answering: tokio::sync::Mutex::default(),
                threads,
            }),
        })
    }

    /// Writes what waits, and lets go of the directory. Blocks until that is done. Other clones get
    /// [`StoreError::Closed`] from here on.
    pub fn close(self) {
        let mut threads = self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for (queue, thread) in threads.drain(..) {
            queue.close();
            // A thread that panicked has closed its queue on the way.
            let _ = thread.join();
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.shared.home.member
    }

    /// Whether it still takes anything. Once a transaction has failed it does not, and only opening
    /// the store again can tell what is on the disk.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.writer.is_open() && self.shared.reader.is_open()
    }

    /// Transactions that were made durable since the store was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.counts.commits.load(Ordering::Relaxed)
    }

    /// Does something in the next transaction; returns when that is durable.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.shared.writer.ask(Failing::Alone, work).await
    }

    /// As [`write`](Self::write), for what each exchange writes. Whatever may be wrong with it is found
    /// before its first change: if it fails after that, the transaction does.
    async fn write_on<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.shared.writer.ask(Failing::Whole, work).await
    }

    /// Looks at what is durable, all of it of one moment.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.shared.reader.ask(Failing::Whole, work).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.writer.close();
        self.reader.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("member", &self.shared.home.member)
            .field("outbox_len", &self.outbox_len())
            .finish_non_exhaustive()
    }
}
