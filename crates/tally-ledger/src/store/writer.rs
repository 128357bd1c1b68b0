//! The one thread that writes: takes what is queued, writes it in one piece, syncs once, and then
//! tells all who wait.
//!
//! Invariant: nobody is told before the sync that covers them returned. After a write or a sync that
//! failed nothing more is written: what the disk then holds is not known, and a second sync may
//! succeed although the first one's bytes are gone.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use super::closed::Closed;
use super::view::{View, Written};
use super::{Fatal, FatalHook, Shared, StoredEntry};
use crate::disk::{Disk, File};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, LogId, Vote, Vouched, frame_bytes};
use crate::marks::{Marks, Position, Record};
use crate::scan::End;
use crate::segment::{self, Owner, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Called once, when what it stands for is durable or never will be.
pub(super) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What the thread is asked to do, in order.
pub(super) enum Job {
    Append {
        number: u64,
        entries: Vec<StoredEntry>,
        done: Done,
    },
    Vote(Vote, Done),
    Truncate(Option<LogId>, Done),
    Floor(LogId, Done),
    /// What Raft has committed is to be noted, if nothing else is written meanwhile.
    Committed,
    Flush(Done),
    Trust(Done),
    Vouch(Vouched, Done),
    Close(Done),
}

/// The end of the log, and what is needed to go on from there.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) fatal: FatalHook,
    /// Keeps other processes out.
    pub(super) lock: Option<Box<dyn Any + Send>>,
    pub(super) trusted: bool,
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn File>,
    pub(super) marks_file: Arc<dyn File>,
    /// Where the next write goes; everything before is durable but for what `buffer` holds.
    pub(super) synced: u64,
    /// The checksum of the last header.
    pub(super) checksum: u32,
    /// The next segment, if it is prepared.
    pub(super) next: Option<(SegmentHeader, Arc<dyn File>)>,
    /// The last entry in the frames so far.
    pub(super) last: Option<LogId>,
    /// The checksum with which this segment began.
    pub(super) before: u32,
    /// How the log stands after all frames so far, with the places of this segment's entries alone;
    /// none if that is not known: then the segment gets no mark when it is closed.
    pub(super) course: Option<View>,
    /// Closed segments whose marks are still to be written.
    pub(super) unmarked: Vec<Closed>,
    /// Frames of this segment that are not written yet.
    pub(super) buffer: Vec<u8>,
    /// What those frames change, and what those of the segment before did.
    pub(super) written: Vec<Written>,
}

impl Writer {
    /// Works until the store is closed or gone, or the disk fails.
    pub(super) fn run(mut self, mut jobs: Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let batch = self.gather(job, &mut jobs);
            let closes = batch.iter().any(|job| matches!(job, Job::Close(_)));
            let result = self.perform(&batch);
            if let Err(fatal) = &result {
                (self.fatal)(fatal);
            }
            let ends = closes || result.is_err();
            if ends {
                self.lock = None;
                jobs.close();
            }
            batch.into_iter().for_each(|job| job.done(result.as_ref().map(|_| ())));
            if ends {
                while let Ok(job) = jobs.try_recv() {
                    job.done(Err(&Fatal::Stopped));
                }
                return;
            }
            self.prepare_ahead();
            self.mark_closed();
        }
    }

    /// Everything that is queued, up to a limit: it shares one sync.
    fn gather(&self, first: Job, jobs: &mut Receiver<Job>) -> Vec<Job> {
        let mut bytes = first.payload_bytes();
        let mut batch = vec![first];
        while bytes < self.shared.settings.batch_bytes_max
            && let Ok(job) = jobs.try_recv()
        {
            bytes = bytes.saturating_add(job.payload_bytes());
            batch.push(job);
        }
        batch
    }

    fn perform(&mut self, batch: &[Job]) -> Result<(), Fatal> {
        let mut append = 0;
        for job in batch {
            match job {
                Job::Append { number, entries, .. } => {
                    append = *number;
                    entries.iter().try_for_each(|entry| self.push_entry(entry))?;
                }
                Job::Vote(vote, _) => {
                    self.push(FrameKind::Vote, None, &vote.encode())?;
                    self.written.push(Written::Vote(*vote));
                }
                Job::Truncate(last, _) => {
                    self.push(FrameKind::Truncate, *last, &[])?;
                    self.written.push(Written::Truncate(*last));
                    self.last = *last;
                }
                Job::Floor(floor, _) => {
                    self.push(FrameKind::Floor, Some(*floor), &[])?;
                    self.last = self.last.max(Some(*floor));
                }
                Job::Trust(_) => self.trust()?,
                Job::Vouch(vouched, _) => {
                    self.push(FrameKind::Vouch, None, &vouched.encode())?;
                    self.written.push(Written::Vouched(*vouched));
                    // It is on record before it counts.
                    self.flush()?;
                    self.trust()?;
                }
                Job::Close(_) if self.trusted => {
                    self.push(FrameKind::Close, None, &[])?;
                }
                // Whatever the batch holds is flushed below.
                Job::Close(_) | Job::Flush(_) | Job::Committed => {}
            }
        }
        self.flush()?;
        self.note_marks()?;
        let mut view = self.shared.view();
        self.written.drain(..).for_each(|written| view.written(&written));
        view.durable(append, self.shared.settings.cache_bytes_max);
        Ok(())
    }

    fn push_entry(&mut self, entry: &StoredEntry) -> Result<(), Fatal> {
        let kind = FrameKind::Entry(entry.kind);
        let position = self.push(kind, Some(entry.log_id), &entry.payload)?;
        let bytes = self.offset() - position.offset;
        let index = entry.log_id.index;
        self.written.push(Written::Entry { index, position, bytes });
        self.last = Some(entry.log_id);
        Ok(())
    }

    /// Appends a frame to the buffer, in the next segment if it does not fit into this one.
    fn push(
        &mut self,
        kind: FrameKind,
        log_id: Option<LogId>,
        payload: &[u8],
    ) -> Result<Position, Fatal> {
        // Room is kept for the frame that says that the segment is full.
        let needed = frame_bytes(bytes(payload.len())) + FRAME_HEADER_BYTES;
        if self.offset().saturating_add(needed) > self.header.size {
            self.roll()?;
        }
        Ok(self.encode(kind, log_id, payload))
    }

    fn encode(&mut self, kind: FrameKind, log_id: Option<LogId>, payload: &[u8]) -> Position {
        let offset = self.offset();
        let header = FrameHeader {
            kind,
            log_id,
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_checksum: crc32c::crc32c(payload),
            previous: self.checksum,
            segment: self.header.number,
            offset,
            synced_to: self.synced,
        };
        self.checksum = header.encode(self.header.marker, payload, &mut self.buffer);
        if let Some(course) = &mut self.course
            && course.replay(&header, payload).is_err()
        {
            self.course = None;
        }
        Position { segment: self.header.number, offset }
    }

    /// Ends this segment, durably, and goes on in the next.
    fn roll(&mut self) -> Result<(), Fatal> {
        // The frame that sends readers on is written only when there is something to go on to.
        let (header, file) = match self.next.take() {
            Some(next) => next,
            None => self.prepare().map_err(|source| Fatal::NoSegment { source })?,
        };
        self.encode(FrameKind::Roll, None, &[]);
        self.flush()?;
        let last = Some(FrameKind::Roll);
        let end = End { offset: self.synced, checksum: self.checksum, last };
        let course = self.course.as_ref();
        let closed = course.map(|view| Closed::of(&self.header, self.before, &end, view));
        self.unmarked.extend(closed);
        self.course = self.course.as_ref().map(View::at_next_segment);
        self.before = self.checksum;
        self.written.push(Written::Segment(header));
        (self.header, self.file, self.synced) = (header, file, SEGMENT_HEADER_BYTES);
        Ok(())
    }

    /// Writes and syncs what the buffer holds, if anything.
    fn flush(&mut self) -> Result<(), Fatal> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let segment = self.header.number;
        let written = self.file.write_at(&self.buffer, self.synced);
        written.map_err(|source| Fatal::Write { segment, source })?;
        let began = self.shared.syncs.get().map(|seconds| (seconds, Instant::now()));
        self.file.sync().map_err(|source| Fatal::Sync { segment, source })?;
        if let Some((seconds, began)) = began {
            seconds.observe(began.elapsed().as_secs_f64());
        }
        self.synced = self.offset();
        self.shared.segment_bytes.store(self.synced, Ordering::Relaxed);
        self.buffer.clear();
        Ok(())
    }

    fn note_marks(&mut self) -> Result<(), Fatal> {
        let synced = Position { segment: self.header.number, offset: self.synced };
        // Raft may commit what is durable on the others only. Such a mark could outlive a power cut
        // that its entry does not, and would then look like a damaged log.
        let reached = |id: &LogId| self.last.is_some_and(|last| id.index <= last.index);
        let committed = self.shared.view().committed;
        let committed = committed.map(|id| if reached(&id) { Some(id) } else { self.last });
        let marks = Marks { synced, committed: committed.flatten() };
        let segment = self.header.number;
        marks.write(&*self.marks_file).map_err(|source| Fatal::Write { segment, source })
    }

    fn trust(&mut self) -> Result<(), Fatal> {
        let disk = &*self.shared.disk;
        let place = disk.place(&segment::segment_name(0));
        let recorded = place.and_then(|place| Record::At(place).write(disk));
        recorded.map_err(|source| Fatal::Write { segment: 0, source })?;
        self.trusted = true;
        Ok(())
    }

    /// Makes the next segment once this one is half full, after everybody was answered. If that
    /// fails there is time to make room: it is tried again after each batch.
    fn prepare_ahead(&mut self) {
        if self.next.is_none() && self.offset() > self.header.size / 2 {
            self.next = self.prepare().ok();
        }
    }

    /// Writes the marks of segments that were closed, after everybody was answered. Without one a
    /// start takes longer, and nothing else: so that it failed is no reason to end.
    fn mark_closed(&mut self) {
        for closed in self.unmarked.drain(..) {
            drop(closed.write(&*self.shared.disk));
        }
    }

    fn prepare(&self) -> io::Result<(SegmentHeader, Arc<dyn File>)> {
        let owner: Owner = self.header.owner;
        let number = self.header.number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        let disk: &dyn Disk = &*self.shared.disk;
        segment::prepare(disk, owner, number, self.shared.settings.segment_bytes)
    }

    fn offset(&self) -> u64 {
        self.synced + bytes(self.buffer.len())
    }
}

impl Job {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|entry| entry.payload.len()).sum(),
            _ => 0,
        }
    }

    fn done(self, result: Result<(), &Fatal>) {
        match self {
            Self::Append { done, .. }
            | Self::Vote(_, done)
            | Self::Truncate(_, done)
            | Self::Floor(_, done)
            | Self::Flush(done)
            | Self::Trust(done)
            | Self::Vouch(_, done)
            | Self::Close(done) => {
                done(result.map_err(|fatal| io::Error::other(fatal.to_string())))
            }
            Self::Committed => {}
        }
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
