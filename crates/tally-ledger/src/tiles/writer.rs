//! A thread that writes tiles, so that whoever applies entries does not wait for files.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::TileError;
use super::{Head, Leaf, TileReader, TileStore};

/// Leaves that share one write at most, but for those of the last append taken.
const GATHER_LEAVES_MAX: usize = 4096;
/// How long leaves wait for others to be written with: a tile that is full at once is one file written
/// once, and the thread is not woken for each batch. Nothing waits where followers of the registers do.
pub(crate) const GATHER_WAIT_MAX: Duration = Duration::from_millis(10);

/// Gives a [`TileStore`] its work from an async task. When it is dropped, the thread writes what it
/// was given, syncs and ends.
#[derive(Debug)]
pub struct TileWriterHandle {
    jobs: mpsc::Sender<Job>,
    hurry: Hurry,
    thread: Thread,
    reader: TileReader,
    failure: Arc<OnceLock<Arc<TileError>>>,
    ended: watch::Receiver<()>,
}

/// The thread has ended; tiles are not written any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TilesStopped {
    /// Because of this.
    #[error("tiles are not written any more: {0}")]
    Failed(Arc<TileError>),
    /// Because it was asked to.
    #[error("tiles are not written any more: the node is stopping")]
    Closed,
}

/// Whether something came that others wait for.
type Hurry = Arc<AtomicBool>;

enum Job {
    Append(Vec<Leaf>, Head),
    Sync(oneshot::Sender<Head>),
}

impl TileWriterHandle {
    /// Starts the thread. While `jobs_max` appends wait, the next caller waits too. Leaves wait for
    /// others for so long at most; not before a register's, a sync, or a caller that would wait.
    ///
    /// # Errors
    /// [`io::Error`] if the system gives no thread.
    pub fn start(store: TileStore, jobs_max: usize, gather_wait_max: Duration) -> io::Result<Self> {
        let (jobs, work) = mpsc::channel(jobs_max.max(1));
        let (end, ended) = watch::channel(());
        let reader = store.reader();
        let failure = Arc::new(OnceLock::new());
        let slot = Arc::clone(&failure);
        let hurry = Hurry::default();
        let hurried = Arc::clone(&hurry);
        let thread = thread::Builder::new().name("tally-tiles".to_owned()).spawn(move || {
            if let Err(error) = run(store, work, gather_wait_max, &hurried) {
                drop(slot.set(Arc::new(error)));
            }
            drop(end);
        })?;
        let thread = thread.thread().clone();
        Ok(Self { jobs, hurry, thread, reader, failure, ended })
    }

    /// Reads the tiles. [`TileReader::heads`] tells what is readable.
    #[must_use]
    pub fn reader(&self) -> TileReader {
        self.reader.clone()
    }

    /// Takes the leaves that lead to this head, to be written soon. Call it in the order of the
    /// leaves.
    ///
    /// # Errors
    /// [`TilesStopped`].
    pub async fn append(&self, leaves: Vec<Leaf>, head: Head) -> Result<(), TilesStopped> {
        let register = leaves.iter().any(|leaf| leaf.register);
        self.jobs.send(Job::Append(leaves, head)).await.map_err(|_| self.why())?;
        if register || self.jobs.capacity() == 0 {
            self.hurry();
        }
        Ok(())
    }

    /// Waits until all that was given before is durable, and says how far that is.
    ///
    /// # Errors
    /// [`TilesStopped`].
    pub async fn sync(&self) -> Result<Head, TilesStopped> {
        let (done, synced) = oneshot::channel();
        self.jobs.send(Job::Sync(done)).await.map_err(|_| self.why())?;
        self.hurry();
        synced.await.map_err(|_| self.why())
    }

    /// Waits until the thread has ended: only if it failed, while this handle is there.
    pub async fn stopped(&self) -> TilesStopped {
        // Nothing is ever sent: only the end shows.
        while self.ended.clone().changed().await.is_ok() {}
        self.why()
    }

    /// Lets the thread finish what it was given, sync, and end.
    ///
    /// # Errors
    /// [`TilesStopped::Failed`] if it could not.
    pub async fn close(self) -> Result<(), TilesStopped> {
        self.hurry();
        let Self { jobs, failure, mut ended, .. } = self;
        drop(jobs);
        while ended.changed().await.is_ok() {}
        failure.get().map_or(Ok(()), |error| Err(TilesStopped::Failed(Arc::clone(error))))
    }

    /// Whatever was given before is to be written now.
    fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn why(&self) -> TilesStopped {
        match self.failure.get() {
            Some(error) => TilesStopped::Failed(Arc::clone(error)),
            None => TilesStopped::Closed,
        }
    }
}

fn run(
    mut store: TileStore,
    mut work: mpsc::Receiver<Job>,
    gather_wait_max: Duration,
    hurry: &AtomicBool,
) -> Result<(), TileError> {
    let mut next = work.blocking_recv();
    while let Some(job) = next.take() {
        match job {
            Job::Append(mut leaves, mut head) => {
                let until = Instant::now() + gather_wait_max;
                while leaves.len() < GATHER_LEAVES_MAX && next.is_none() {
                    match another(&mut work, until, hurry) {
                        Some(Job::Append(more, further)) => {
                            leaves.extend(more);
                            head = further;
                        }
                        Some(other) => next = Some(other),
                        None => break,
                    }
                }
                store.append(&leaves, head)?;
            }
            Job::Sync(done) => {
                let head = store.sync()?;
                // Whoever asked may have gone.
                let _ = done.send(head);
            }
        }
        if next.is_none() {
            next = work.blocking_recv();
        }
    }
    store.sync().map(|_| ())
}

/// The next job, if it comes before `until` and nobody is in a hurry.
fn another(work: &mut mpsc::Receiver<Job>, until: Instant, hurry: &AtomicBool) -> Option<Job> {
    loop {
        match work.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        if hurry.swap(false, Ordering::AcqRel) {
            // Whatever is meant was given before: all of it is taken first, and then nothing is waited
            // for any more.
            let job = work.try_recv().ok();
            hurry.fetch_or(job.is_some(), Ordering::AcqRel);
            return job;
        }
        thread::park_timeout(left);
    }
}
