//! The Raft log on disk: entries, votes and truncations as frames in segments, never overwritten and
//! never purged.
//!
//! Invariants: an entry is readable as soon as [`Store::append`] took it, and counts as stored once
//! its callback was called without an error. All writing is done by one thread, in the order in
//! which it was asked for.
//!
//! Drive it from one task: `append`, `save_vote`, `truncate_after` and the others take effect in the
//! order of the calls. Read from anywhere with a [`Reader`]. End with [`Store::close`], or the next
//! start after a restart of the machine is not trusted.

mod begin;
mod closed;
mod committed;
mod error;
mod held;
mod index;
mod inspect;
mod mend;
mod recover;
#[cfg(test)]
mod tests;
mod view;
mod writer;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use prometheus::Histogram;
use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;
use crate::frame::{EntryKind, FrameKind, LogId, Vote, Vouched};
use crate::marks::Start;
use crate::scan::FrameReader;
use crate::segment::{self, Owner, SEGMENT_BYTES, SegmentHeader, payload_bytes_max};
use held::Held;
use view::{Found, View};
use writer::{Done, Job, Writer};

pub(crate) use begin::{Beginning, begin_epoch};
pub use error::{Corruption, Fatal, OpenError, StoreError};
pub use inspect::{Inspected, inspect};
pub use mend::NotMended;
pub(crate) use mend::{Patch, mend};
pub use recover::Empty;
pub(crate) use recover::epoch_of;

/// What a store needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whose log it is. One that is in a later epoch goes on in that.
    pub owner: Owner,
    /// Bytes in each segment made from now on; 256 MiB by default.
    pub segment_bytes: u64,
    /// Bytes of durable payload kept in memory for readers; 16 MiB by default.
    pub cache_bytes_max: usize,
    /// Bytes of payload that share a sync, but for the last append taken; 8 MiB by default.
    pub batch_bytes_max: usize,
    /// Jobs that wait for the writing thread before callers wait too; 1,024 by default.
    pub jobs_max: usize,
    /// What a directory without an entry or a vote is taken for; doubted by default.
    pub empty: Empty,
}

/// An entry of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its name.
    pub log_id: LogId,
    /// What it carries.
    pub kind: EntryKind,
    /// What it carries, verbatim; empty for a blank.
    pub payload: Bytes,
}

/// What was found when a directory was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whether the node may vote.
    pub start: Start,
    /// The torn end that was cut, if there was one.
    pub cut: Option<Cut>,
    /// The epoch in which the log is.
    pub epoch: u64,
}

/// The remains of a write that never finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file's name.
    pub segment: String,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes were zeroed.
    pub bytes: u64,
}

/// The log's ends and marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The last entry, or the floor if there is none behind it.
    pub last: Option<LogId>,
    /// Entries up to here are not read any more; they stay on disk.
    pub floor: Option<LogId>,
    /// The last durable vote.
    pub vote: Option<Vote>,
    /// Who vouched for the directory last.
    pub vouched: Option<Vouched>,
    /// What Raft committed, never more than there is.
    pub committed: Option<LogId>,
    /// How many segments hold entries.
    pub segments: usize,
    /// Durable bytes in the last of them.
    pub segment_bytes: u64,
}

/// Ends the process. In a test it only notes that it was called.
pub type FatalHook = Box<dyn Fn(&Fatal) + Send>;

/// The log, to be written by one task. A clone is the same log: one closes it for all.
#[derive(Debug, Clone)]
pub struct Store {
    reader: Reader,
    jobs: mpsc::Sender<Job>,
}

/// The log, to be read from anywhere.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    settings: Settings,
    view: Mutex<View>,
    /// What was read from the disk and is still in use.
    held: Arc<Held>,
    /// Durable bytes in the segment that is written.
    segment_bytes: AtomicU64,
    /// Whether what was committed last is about to be noted.
    unnoted: AtomicBool,
    /// What measures how long syncs take, once somebody does.
    syncs: OnceLock<Histogram>,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub const fn new(owner: Owner) -> Self {
        Self {
            owner,
            segment_bytes: SEGMENT_BYTES,
            cache_bytes_max: 16 << 20,
            batch_bytes_max: 8 << 20,
            jobs_max: 1024,
            empty: Empty::Doubted,
        }
    }
}

impl Store {
    /// Opens a directory, or makes a new log in an empty one, and starts the writing thread. Reads
    /// the last segment whole, and of those that are closed what their marks say. `fatal` is called on
    /// that thread when a write or a sync failed.
    ///
    /// # Errors
    /// [`OpenError`], which says what is wrong with the directory.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: Settings,
        fatal: FatalHook,
    ) -> Result<(Self, Opened), OpenError> {
        let found = recover::recover(&*disk, &settings)?;
        let last = found.view.last;
        let shared = Arc::new(Shared {
            disk,
            settings,
            view: Mutex::new(found.view),
            held: Arc::default(),
            segment_bytes: AtomicU64::new(found.end.offset),
            unnoted: AtomicBool::new(false),
            syncs: OnceLock::new(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            fatal,
            lock: Some(found.lock),
            trusted: found.opened.start == Start::Trusted,
            header: found.header,
            file: found.file,
            marks_file: found.marks_file,
            synced: found.end.offset,
            checksum: found.end.checksum,
            next: found.next,
            before: found.before,
            course: Some(found.course),
            unmarked: Vec::new(),
            last,
            buffer: Vec::new(),
            written: Vec::new(),
        };
        let (jobs, queue) = mpsc::channel(settings.jobs_max.max(1));
        let thread = std::thread::Builder::new().name("tally-log-io".to_owned());
        thread.spawn(move || writer.run(queue))?;
        Ok((Self { reader: Reader(shared), jobs }, found.opened))
    }

    /// Has the time that each sync takes measured from now on.
    pub(crate) fn measure_syncs(&self, seconds: Histogram) {
        // Whoever measures already goes on.
        drop(self.reader.0.syncs.set(seconds));
    }

    /// Takes entries in: readable when this returns, durable when `done` is called without an error,
    /// on the writing thread.
    ///
    /// # Errors
    /// [`StoreError`] if they do not follow on the last entry, are too large, or the log is closed;
    /// `done` is then dropped.
    pub async fn append(
        &self,
        entries: Vec<StoredEntry>,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let permit = self.jobs.reserve().await.map_err(|_| StoreError::Stopped)?;
        let bytes_max = payload_bytes_max(self.reader.0.settings.segment_bytes);
        let number = self.reader.0.view().append(&entries, bytes_max)?;
        permit.send(Job::Append { number, entries, done: Box::new(done) });
        Ok(())
    }

    /// Stores a vote, durable on return.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        self.ask(|done| Job::Vote(vote, done)).await
    }

    /// Declares entries behind `last` dead, or all of them; durable on return.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn truncate_after(&self, last: Option<LogId>) -> Result<(), StoreError> {
        let permit = self.jobs.reserve().await.map_err(|_| StoreError::Stopped)?;
        if !self.reader.0.view().truncate_after(last) {
            return Ok(());
        }
        send(permit, |done| Job::Truncate(last, done)).await
    }

    /// Hides entries up to `floor`, which stay on disk; durable on return. If the log ends before,
    /// it goes on behind the floor.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn raise_floor(&self, floor: LogId) -> Result<(), StoreError> {
        let permit = self.jobs.reserve().await.map_err(|_| StoreError::Stopped)?;
        self.reader.0.view().raise_floor(floor);
        send(permit, |done| Job::Floor(floor, done)).await
    }

    /// Waits until all that was appended before is durable.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn flushed(&self) -> Result<(), StoreError> {
        self.ask(Job::Flush).await
    }

    /// Trusts the directory from now on: the node has caught up with a leader that was elected
    /// without it. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn trust(&self) -> Result<(), StoreError> {
        self.ask(Job::Trust).await
    }

    /// Trusts the directory because somebody vouches for it, and keeps that in the log; durable on
    /// return.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed.
    pub async fn vouch(&self, vouched: Vouched) -> Result<(), StoreError> {
        self.ask(|done| Job::Vouch(vouched, done)).await
    }

    /// Finishes what is queued, notes that the node stopped in good order, and lets the directory
    /// go. A directory that is not trusted gets no such note.
    ///
    /// # Errors
    /// [`StoreError`] if that failed or the log is closed already.
    pub async fn close(self) -> Result<(), StoreError> {
        self.ask(Job::Close).await
    }

    /// Reads the same log.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    async fn ask(&self, job: impl FnOnce(Done) -> Job) -> Result<(), StoreError> {
        let permit = self.jobs.reserve().await.map_err(|_| StoreError::Stopped)?;
        send(permit, job).await
    }
}

impl Reader {
    /// The entries of a range that there are, in order. Stops before the entry with which payloads
    /// and frame headers would exceed `bytes_max`, but never before the first.
    ///
    /// # Errors
    /// [`StoreError`] if the disk does not give back what it was given.
    pub fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found: Vec<StoredEntry> = Vec::new();
        let mut bytes = 0_usize;
        let mut start = range.start;
        loop {
            let left = bytes_max.saturating_sub(bytes);
            let (more, end) = match self.0.view().find(start..range.end, left) {
                Found::Nowhere => return Ok(found),
                Found::InMemory(entries) => (entries, None),
                Found::OnDisk { segment, stretch, wanted } => {
                    (self.read_stretch(&segment, &stretch, &wanted, left)?, Some(wanted.end))
                }
            };
            for entry in more {
                bytes = bytes.saturating_add(entry.cost());
                if bytes > bytes_max && !found.is_empty() {
                    return Ok(found);
                }
                start = entry.log_id.index.saturating_add(1);
                found.push(entry);
            }
            if end != Some(start) {
                return Ok(found);
            }
        }
    }

    /// As [`read`](Self::read), for a task: what is not in memory is read on a thread that may wait.
    ///
    /// # Errors
    /// [`StoreError`] as for [`read`](Self::read).
    pub async fn fetch(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        match self.0.view().find(range.clone(), bytes_max) {
            Found::Nowhere => return Ok(Vec::new()),
            Found::InMemory(entries) => return Ok(entries),
            Found::OnDisk { .. } => {}
        }
        let reader = self.clone();
        let read = tokio::task::spawn_blocking(move || reader.read(range, bytes_max));
        // It can only fail to finish while the runtime shuts down.
        read.await.map_err(|_| StoreError::Stopped)?
    }

    /// The log's ends and marks as they are now.
    #[must_use]
    pub fn status(&self) -> Status {
        let view = self.0.view();
        Status {
            last: view.last,
            floor: view.floor,
            vote: view.vote,
            vouched: view.vouched,
            committed: view.committed_in_log(),
            segments: view.segments.len(),
            segment_bytes: self.0.segment_bytes.load(Ordering::Relaxed),
        }
    }

    /// Bytes of payload that were read from the disk and that somebody still has: a peer that is being
    /// sent them, or whoever applies them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.0.held.now()
    }

    /// The most that was held at once.
    #[cfg(test)]
    pub(crate) fn held_bytes_max(&self) -> u64 {
        self.0.held.max()
    }

    /// Where an entry stands: its segment's file and the offset of its frame. None if it is not on
    /// disk, or what is before it can't be read.
    #[must_use]
    pub fn place_of(&self, index: u64) -> Option<(String, u64)> {
        let found = self.0.view().find(index..index.saturating_add(1), 0);
        let Found::OnDisk { segment, stretch, .. } = found else { return None };
        let name = segment::segment_name(segment.number);
        let mut reader = FrameReader::new(self.0.disk.open(&name).ok()?, segment, READ_BYTES);
        let mut offset = stretch.start.position.offset;
        loop {
            let (header, _) = reader.header_at(offset).ok()??;
            let is_entry = matches!(header.kind, FrameKind::Entry(_));
            if is_entry && header.log_id.is_some_and(|id| id.index == index) {
                return Some((name, offset));
            }
            offset = header.end();
        }
    }

    /// Reads `wanted`, or as much of it as `bytes_max` allows and at least one.
    fn read_stretch(
        &self,
        segment: &SegmentHeader,
        stretch: &index::Stretch,
        wanted: &Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let name = segment::segment_name(segment.number);
        let file = self.0.disk.open(&name)?;
        let mut reader = FrameReader::new(file, *segment, READ_BYTES);
        let mut offset = stretch.start.position.offset;
        let (mut next, mut bytes) = (stretch.start.index, 0_usize);
        let mut found = Vec::new();
        while next < wanted.end && (bytes <= bytes_max || found.is_empty()) {
            let damaged = || StoreError::Damaged { segment: name.clone(), offset };
            let (header, _) = reader.header_at(offset)?.ok_or_else(damaged)?;
            if let (FrameKind::Entry(kind), Some(log_id)) = (header.kind, header.log_id) {
                if log_id.index != next {
                    return Err(damaged());
                }
                if wanted.contains(&next) {
                    let payload = reader.frame_at(offset)?.ok_or_else(damaged)?.payload;
                    let payload = held::hold(&self.0.held, payload);
                    let entry = StoredEntry { log_id, kind, payload };
                    bytes = bytes.saturating_add(entry.cost());
                    found.push(entry);
                }
                next = next.saturating_add(1);
            }
            offset = header.end();
        }
        Ok(found)
    }
}

impl StoredEntry {
    /// Bytes that count against limits: a log of blanks has an end too.
    fn cost(&self) -> usize {
        self.payload.len().saturating_add(HEADER_COST)
    }
}

impl Shared {
    /// No code that holds the lock leaves the view half changed, so a panic elsewhere spoils nothing.
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_id, kind, payload } = self;
        write!(f, "{log_id} {kind:?} ({} bytes)", payload.len())
    }
}

async fn send(
    permit: mpsc::Permit<'_, Job>,
    job: impl FnOnce(Done) -> Job,
) -> Result<(), StoreError> {
    let (sender, receiver) = oneshot::channel();
    permit.send(job(Box::new(move |result| {
        // Whoever asked may have gone away.
        let _ = sender.send(result);
    })));
    Ok(receiver.await.map_err(|_| StoreError::Stopped)??)
}

/// About what a frame adds to its payload.
const HEADER_COST: usize = 72;

/// What a read from disk fetches at once.
const READ_BYTES: usize = 64 << 10;
