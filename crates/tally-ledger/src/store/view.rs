//! What the store knows without reading: the ends of the log, the vote, the marks, the latest
//! entries, and where the others stand.
//!
//! Invariant: an entry that is not durable yet is in the tail. So whoever reads finds each entry of
//! the log either there or, through the index, on disk.

use std::collections::VecDeque;
use std::ops::Range;

use super::closed::Closed;
use super::index::{Index, Mark, Stretch};
use super::{StoreError, StoredEntry};
use crate::frame::{FrameHeader, FrameKind, LogId, Vote, Vouched, frame_bytes};
use crate::marks::Position;
use crate::segment::SegmentHeader;

#[derive(Debug, Default)]
pub(super) struct View {
    /// The index of the first entry; `None` if there is none.
    pub(super) first: Option<u64>,
    /// The last entry, durable or not; the floor if there is none.
    pub(super) last: Option<LogId>,
    pub(super) floor: Option<LogId>,
    pub(super) vote: Option<Vote>,
    /// Who vouched for the directory last.
    pub(super) vouched: Option<Vouched>,
    /// What Raft said last, which may be more than is durable.
    pub(super) committed: Option<LogId>,
    /// By number.
    pub(super) segments: Vec<SegmentHeader>,
    index: Index,
    tail: VecDeque<Latest>,
    tail_bytes: usize,
    /// Appends so far.
    appends: u64,
}

/// An entry in memory, and the append that brought it.
#[derive(Debug)]
struct Latest {
    append: u64,
    entry: StoredEntry,
}

/// What a frame, once written, changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written {
    Entry { index: u64, position: Position, bytes: u64 },
    Truncate(Option<LogId>),
    Vote(Vote),
    Vouched(Vouched),
    Segment(SegmentHeader),
}

/// Where the entries at the front of a range are.
#[derive(Debug)]
pub(super) enum Found {
    /// There are none.
    Nowhere,
    /// All of the range's entries, or as many as the limit allows.
    InMemory(Vec<StoredEntry>),
    /// These, and then others.
    OnDisk { segment: SegmentHeader, stretch: Stretch, wanted: Range<u64> },
}

/// A frame that cannot follow on those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disorder;

impl View {
    /// Takes in a frame that is on disk.
    pub(super) fn replay(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<(), Disorder> {
        match (header.kind, header.log_id) {
            (FrameKind::Entry(_), Some(id)) => {
                if self.next_index().is_some_and(|expected| expected != id.index) {
                    return Err(Disorder);
                }
                self.follow(id);
                let position = Position { segment: header.segment, offset: header.offset };
                let bytes = frame_bytes(header.length.into());
                self.written(&Written::Entry { index: id.index, position, bytes });
            }
            (FrameKind::Truncate, last) => {
                self.truncate_after(last);
                self.written(&Written::Truncate(last));
            }
            (FrameKind::Floor, Some(id)) => self.raise_floor(id),
            (FrameKind::Vote, None) => {
                self.vote = Some(Vote::decode(payload).ok_or(Disorder)?);
            }
            (FrameKind::Vouch, None) => {
                self.vouched = Some(Vouched::decode(payload).ok_or(Disorder)?);
            }
            (FrameKind::Roll | FrameKind::Close, None) => {}
            _ => return Err(Disorder),
        }
        Ok(())
    }

    /// Takes in a whole segment that was closed.
    pub(super) fn replay_closed(&mut self, closed: &Closed) {
        self.index.extend(&closed.marks, closed.last.map(|last| last.index));
        self.first = closed.first;
        self.last = closed.last;
        self.floor = closed.floor;
        self.vote = closed.vote;
        self.vouched = closed.vouched;
    }

    /// How the log stands here, with no places: what the next segment's frames are added to.
    pub(super) fn at_next_segment(&self) -> Self {
        let Self { first, last, floor, vote, vouched, .. } = *self;
        Self { first, last, floor, vote, vouched, ..Self::default() }
    }

    /// Where its entries stand.
    pub(super) fn marks(&self) -> &[Mark] {
        self.index.marks()
    }

    /// Takes new entries in, readable at once, and answers the number of the append.
    pub(super) fn append(
        &mut self,
        entries: &[StoredEntry],
        payload_bytes_max: u64,
    ) -> Result<u64, StoreError> {
        let size = |entry: &StoredEntry| u64::try_from(entry.payload.len()).unwrap_or(u64::MAX);
        if let Some(bytes) = entries.iter().map(size).find(|bytes| *bytes > payload_bytes_max) {
            return Err(StoreError::TooLarge { bytes, bytes_max: payload_bytes_max });
        }
        let mut expected = self.next_index();
        for entry in entries {
            let found = entry.log_id.index;
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(StoreError::Gap { expected, found });
            }
            expected = found.checked_add(1);
        }
        self.appends += 1;
        for entry in entries {
            self.follow(entry.log_id);
            self.tail_bytes += entry.cost();
            self.tail.push_back(Latest { append: self.appends, entry: entry.clone() });
        }
        Ok(self.appends)
    }

    /// Entries behind `last` are dead from now on; without it, all are. Answers whether there are any.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) -> bool {
        if self.last.map(|last| last.index) <= last.map(|last| last.index) {
            return false;
        }
        while let Some(latest) = self.tail.back()
            && last.is_none_or(|last| latest.entry.log_id.index > last.index)
        {
            self.tail_bytes -= latest.entry.cost();
            self.tail.pop_back();
        }
        self.last = last.max(self.floor);
        if last.is_none_or(|last| self.first.is_some_and(|first| last.index < first)) {
            self.first = None;
        }
        true
    }

    /// Entries up to `floor` are not read any more.
    pub(super) fn raise_floor(&mut self, floor: LogId) {
        self.floor = self.floor.max(Some(floor));
        if self.last.is_none_or(|last| last.index <= floor.index) {
            self.last = self.floor;
            self.first = None;
            self.tail.clear();
            self.tail_bytes = 0;
        }
    }

    /// A frame is on disk, if not yet durable.
    pub(super) fn written(&mut self, written: &Written) {
        match *written {
            Written::Entry { index, position, bytes } => self.index.add(index, position, bytes),
            Written::Truncate(last) => self.index.truncate_after(last.map(|last| last.index)),
            Written::Vote(vote) => self.vote = Some(vote),
            Written::Vouched(vouched) => self.vouched = Some(vouched),
            Written::Segment(header) => self.segments.push(header),
        }
    }

    /// All appends up to this one are durable: of them, only `bytes_max` stay in memory.
    pub(super) fn durable(&mut self, append: u64, bytes_max: usize) {
        while self.tail_bytes > bytes_max
            && let Some(latest) = self.tail.front()
            && latest.append <= append
        {
            self.tail_bytes -= latest.entry.cost();
            self.tail.pop_front();
        }
    }

    /// Where the first entries of a range are. `bytes_max` limits what is answered from memory, but
    /// for the first entry.
    pub(super) fn find(&self, range: Range<u64>, bytes_max: usize) -> Found {
        let Some((first, last)) = self.first.zip(self.last) else { return Found::Nowhere };
        let above_floor = self.floor.map_or(0, |floor| floor.index.saturating_add(1));
        let start = range.start.max(first).max(above_floor);
        let end = range.end.min(last.index.saturating_add(1));
        if start >= end {
            return Found::Nowhere;
        }
        let tail_first = self.tail.front().map(|latest| latest.entry.log_id.index);
        if let Some(skip) = tail_first.and_then(|first| start.checked_sub(first)) {
            return Found::InMemory(self.latest(skip, end, bytes_max));
        }
        let Some(stretch) = self.index.find(start) else { return Found::Nowhere };
        let ends = [Some(end), stretch.end, tail_first].into_iter().flatten();
        let wanted = start..ends.min().unwrap_or(end);
        let segment = usize::try_from(stretch.start.position.segment).unwrap_or(usize::MAX);
        match self.segments.get(segment) {
            Some(segment) => Found::OnDisk { segment: *segment, stretch, wanted },
            None => Found::Nowhere,
        }
    }

    /// What Raft said is committed, as far as the log reaches. After a power cut the log may be
    /// shorter: what is left of it is then all committed.
    pub(super) fn committed_in_log(&self) -> Option<LogId> {
        let (committed, last) = self.committed.zip(self.last)?;
        Some(if committed.index > last.index { last } else { committed })
    }

    /// `None` where any entry may come: in an empty log.
    fn next_index(&self) -> Option<u64> {
        self.last.map(|last| last.index.saturating_add(1))
    }

    fn follow(&mut self, id: LogId) {
        self.first = self.first.or(Some(id.index));
        self.last = Some(id);
    }

    fn latest(&self, skip: u64, end: u64, bytes_max: usize) -> Vec<StoredEntry> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for latest in self.tail.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            bytes = bytes.saturating_add(latest.entry.cost());
            let full = bytes > bytes_max && !found.is_empty();
            if full || latest.entry.log_id.index >= end {
                break;
            }
            found.push(latest.entry.clone());
        }
        found
    }
}
