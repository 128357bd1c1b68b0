//! Opening a directory: whose it is, what its frames say, whether their end is torn or damaged, and
//! whether the node may trust it.
//!
//! Invariant: nothing that was durable is cut silently. A bad place is cut only if no later frame,
//! no committed entry and no mark says that it had been written whole; all else refuses to start,
//! but for a lost last frame, which takes the node's vote until it has caught up.
//!
//! A log is in the epoch of its last segment. A segment of a later epoch than the one before was put
//! there whole by a forced recovery: its first frame follows on the last good one before it, which
//! need not be one that closes its segment.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::closed::Closed;
use super::view::View;
use super::{Corruption, Cut, OpenError, Opened, Settings};
use crate::disk::{Disk, File, Place};
use crate::frame::{FrameKind, LogId};
use crate::marks::{Doubt, Marks, Position, Record, Start};
use crate::scan::{Beyond, End, FrameReader};
use crate::segment::{
    self, BadHeader, Owner, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, segment_number,
};

/// What a directory without an entry or a vote is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// That of a node which may have lost its disk, until the others have said what they have.
    Doubted,
    /// That of a node which nobody has heard from: there is no other.
    Trusted,
}

/// All that a writer needs to go on.
pub(super) struct Recovered {
    pub(super) lock: Box<dyn Any + Send>,
    pub(super) view: View,
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn File>,
    pub(super) next: Option<(SegmentHeader, Arc<dyn File>)>,
    pub(super) end: End,
    /// The checksum with which the last segment began.
    pub(super) before: u32,
    /// How the log stands, with the places of the last segment's entries alone.
    pub(super) course: View,
    pub(super) marks_file: Arc<dyn File>,
    pub(super) opened: Opened,
}

pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn File>,
}

/// What the frames say, and where they end.
pub(super) struct Replayed {
    /// Which segment is the last.
    pub(super) tail: usize,
    pub(super) end: End,
    before: u32,
    course: View,
    /// Segments that are closed, and whose marks were not believed.
    pub(super) unmarked: Vec<Closed>,
}

/// Reads what the directory holds, and mends a torn end.
pub(super) fn recover(disk: &dyn Disk, settings: &Settings) -> Result<Recovered, OpenError> {
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse,
        _ => OpenError::Io(error),
    })?;
    let mut segments = open_segments(disk, settings)?;
    let marks = Marks::read(disk)?;
    let mut view = View::default();
    view.committed = marks.committed;
    let replayed = replay(disk, &segments, &mut view, Belief::Marks, &mut |_, _| {})?;
    let Replayed { tail, end, before, course, unmarked } = replayed;
    let Segment { header, file } = segments.swap_remove(tail);
    let at = Position { segment: header.number, offset: end.offset };
    let beyond = reader(&header, &file).look_beyond(end.offset)?;
    judge(at, &beyond, &marks, view.last)?;

    let lost = marks.synced > at;
    let marks_file = Marks::open(disk)?;
    if lost {
        Record::Doubted(Doubt::LostTail).write(disk)?;
    }
    let cut = cut(&header, &*file, end.offset, &beyond)?;
    if lost || cut.is_some() {
        Marks { synced: at, ..marks }.write(&*marks_file)?;
        marks_file.sync()?;
    }
    let closed = end.last == Some(FrameKind::Close) && cut.is_none();
    for closed in unmarked {
        // Without its mark the next start takes as long as this one.
        drop(closed.write(disk));
    }
    let fresh = view.segments.len() == 1 && end.last.is_none();
    let start = judge_start(disk, closed, fresh.then_some(settings.empty))?;
    // Another segment can only be the empty one behind the tail: swap_remove put it there.
    let next = segments.into_iter().nth(tail).map(|it| (it.header, it.file));
    let opened = Opened { start, cut, epoch: header.owner.epoch };
    Ok(Recovered { lock, view, header, file, next, end, before, course, marks_file, opened })
}

fn open_segments(disk: &dyn Disk, settings: &Settings) -> Result<Vec<Segment>, OpenError> {
    let names = disk.list()?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    if numbers.is_empty() {
        // Where a node has run there is a segment: to start afresh under its id would be to forget
        // its votes.
        if Record::read(disk)?.is_some() {
            return Err(OpenError::Missing { segment: segment_name(0) });
        }
        let (header, file) = segment::prepare(disk, settings.owner, 0, settings.segment_bytes)?;
        return Ok(vec![Segment { header, file }]);
    }
    let mut segments = Vec::with_capacity(numbers.len());
    for (expected, number) in (0..).zip(numbers) {
        if number != expected {
            return Err(OpenError::Missing { segment: segment_name(expected) });
        }
        segments.push(open_segment(disk, Some(settings.owner), number)?);
    }
    check_epochs(&segments, Some(settings.owner))?;
    Ok(segments)
}

/// Epochs only rise, and the last one is at least the one that is wanted.
pub(super) fn check_epochs(segments: &[Segment], wanted: Option<Owner>) -> Result<(), OpenError> {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    let mut falls = pairs.filter(|(before, after)| epoch_in(after) < epoch_in(before));
    if let Some((_, after)) = falls.next() {
        let segment = segment_name(after.header.number);
        return Err(OpenError::Corrupt { segment, offset: 0, why: Corruption::EarlierEpoch });
    }
    let found = segments.last().map_or(0, epoch_in);
    match wanted {
        Some(Owner { epoch, .. }) if epoch > found => {
            Err(OpenError::OtherEpoch { found, wanted: epoch })
        }
        _ => Ok(()),
    }
}

const fn epoch_in(segment: &Segment) -> u64 {
    segment.header.owner.epoch
}

/// The epoch of a log that may be damaged otherwise, or what its node was told if it has no segment.
pub(crate) fn epoch_of(disk: &dyn Disk, configured: u64) -> Result<u64, OpenError> {
    let last = disk.list()?.iter().filter_map(|name| segment_number(name)).max();
    let found = last.map(|number| open_segment(disk, None, number)).transpose()?;
    Ok(found.as_ref().map_or(configured, epoch_in))
}

/// Whether a segment was put behind this end by a forced recovery.
pub(super) fn begins_epoch(
    before: &Segment,
    end: &End,
    segment: &Segment,
) -> Result<bool, OpenError> {
    if epoch_in(segment) <= epoch_in(before) {
        return Ok(false);
    }
    let first = reader(&segment.header, &segment.file).frame_at(SEGMENT_HEADER_BYTES)?;
    Ok(first.is_some_and(|frame| frame.header.previous == end.checksum))
}

pub(super) fn open_segment(
    disk: &dyn Disk,
    owner: Option<Owner>,
    number: u32,
) -> Result<Segment, OpenError> {
    let segment = segment_name(number);
    let file = disk.open(&segment)?;
    let mut bytes = vec![0; usize::try_from(SEGMENT_HEADER_BYTES).unwrap_or_default()];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let header = match SegmentHeader::decode(&bytes) {
        Ok(header) if header.number == number => header,
        Err(BadHeader::Format(format)) => return Err(OpenError::Format { segment, format }),
        _ => return Err(OpenError::Corrupt { segment, offset: 0, why: Corruption::Header }),
    };
    let (found, wanted) = (header.owner, owner.unwrap_or(header.owner));
    if found.mesh_id != wanted.mesh_id {
        return Err(OpenError::OtherMesh { found: found.mesh_id, wanted: wanted.mesh_id });
    }
    if found.node_id != wanted.node_id {
        return Err(OpenError::OtherNode { found: found.node_id, wanted: wanted.node_id });
    }
    Ok(Segment { header, file })
}

/// What is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// The marks of closed segments, and frames.
    Marks,
    /// Frames alone.
    Frames,
}

/// Takes in all frames. `progress` is told how many segments of how many are done.
pub(super) fn replay(
    disk: &dyn Disk,
    segments: &[Segment],
    view: &mut View,
    belief: Belief,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Replayed, OpenError> {
    let end = End { offset: SEGMENT_HEADER_BYTES, checksum: 0, last: None };
    let course = View::default();
    let mut log = Replayed { tail: 0, end, before: 0, course, unmarked: Vec::new() };
    let mut goes_on = true;
    for (number, segment) in segments.iter().enumerate() {
        let Segment { header, file } = segment;
        let offset = log.end.offset;
        progress(number, segments.len());
        let before = segments.get(log.tail).filter(|_| !goes_on);
        if let Some(before) = before
            && number == log.tail + 1
            && begins_epoch(before, &log.end, segment)?
        {
            goes_on = true;
        }
        if !goes_on {
            // It was prepared ahead. Had it been used, the log would have said so; and what a forced
            // recovery puts there is never empty.
            let used = reader(header, file).frame_at(SEGMENT_HEADER_BYTES)?.is_some()
                || before.is_some_and(|before| epoch_in(segment) > epoch_in(before));
            if used || number > log.tail + 1 {
                let segment = segment_name(header.number.saturating_sub(1));
                let why = Corruption::LaterSegment;
                return Err(OpenError::Corrupt { segment, offset, why });
            }
            continue;
        }
        view.segments.push(*header);
        (log.tail, log.before) = (number, log.end.checksum);
        log.course = view.at_next_segment();
        if belief == Belief::Marks
            && let Some(closed) = Closed::read(disk, header, file, log.before)?
        {
            view.replay_closed(&closed);
            log.end = closed.end();
            continue;
        }
        log.end = replay_segment(segment, log.before, view, &mut log.course)?;
        goes_on = log.end.last == Some(FrameKind::Roll);
        if goes_on {
            log.unmarked.push(Closed::of(header, log.before, &log.end, &log.course));
        }
    }
    if goes_on {
        let next = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        return Err(OpenError::Missing { segment: segment_name(next) });
    }
    Ok(log)
}

/// Takes in the frames of one segment, into the view of the log and into that of the segment.
fn replay_segment(
    Segment { header, file }: &Segment,
    checksum: u32,
    view: &mut View,
    course: &mut View,
) -> Result<End, OpenError> {
    reader(header, file).scan(checksum, |frame| {
        let taken = view.replay(&frame.header, &frame.payload);
        let taken = taken.and_then(|()| course.replay(&frame.header, &frame.payload));
        taken.map_err(|_| OpenError::Corrupt {
            segment: segment_name(header.number),
            offset: frame.header.offset,
            why: Corruption::Disorder,
        })
    })
}

/// Whether what stands at the end may be cut.
pub(super) fn judge(
    at: Position,
    beyond: &Beyond,
    marks: &Marks,
    last: Option<LogId>,
) -> Result<(), OpenError> {
    let committed = marks.committed.map(|id| id.index);
    let why = if beyond.frames && beyond.synced_to > at.offset {
        Corruption::LaterFrame
    } else if let Some(index) = committed.filter(|it| last.is_none_or(|last| *it > last.index)) {
        Corruption::Committed { index }
    } else if beyond.frames && marks.synced > at {
        Corruption::Marked
    } else {
        return Ok(());
    };
    Err(OpenError::Corrupt { segment: segment_name(at.segment), offset: at.offset, why })
}

/// Zeroes what a torn write left, so that a later look beyond the end finds only what came later.
fn cut(
    header: &SegmentHeader,
    file: &dyn File,
    offset: u64,
    beyond: &Beyond,
) -> Result<Option<Cut>, OpenError> {
    let size = file.size()?;
    let mut at = offset;
    while at < beyond.data_end {
        let zeros = vec![0; usize::try_from((beyond.data_end - at).min(1 << 20)).unwrap_or(0)];
        file.write_at(&zeros, at)?;
        at = at.saturating_add(1 << 20);
    }
    if size < header.size {
        file.write_at(&[0], header.size.saturating_sub(1))?;
    }
    if beyond.data_end == 0 && size >= header.size {
        return Ok(None);
    }
    file.sync()?;
    let bytes = beyond.data_end.saturating_sub(offset);
    Ok(Some(Cut { segment: segment_name(header.number), offset, bytes }))
}

/// Whether the node may vote; what is found is recorded, so that a second start says the same.
fn judge_start(disk: &dyn Disk, closed: bool, empty: Option<Empty>) -> Result<Start, OpenError> {
    let place = disk.place(&segment_name(0))?;
    let doubt = doubt_of(Record::read(disk)?, &place, closed, empty);
    let record = doubt.map_or(Record::At(place), Record::Doubted);
    record.write(disk)?;
    Ok(doubt.map_or(Start::Trusted, |why| Start::Untrusted { why }))
}

/// What speaks against trusting a directory whose segments are at this place now. A log that was
/// closed in good order outlives a restart of the machine, and not being copied: a backup of it was
/// closed in good order too. One that is empty says nothing of what its node has promised: that its
/// machine restarted, or that it was copied, is no other doubt than that it is empty.
pub(super) fn doubt_of(
    record: Option<Record>,
    place: &Place,
    closed: bool,
    empty: Option<Empty>,
) -> Option<Doubt> {
    let doubt = match record {
        Some(Record::Doubted(doubt)) => return Some(doubt),
        None => Doubt::NoRecord,
        Some(Record::At(before)) if !is_same_file(&before, place) => Doubt::Moved,
        Some(Record::At(before)) if before.boot_id == place.boot_id || closed => return None,
        Some(Record::At(_)) => Doubt::MachineRestarted,
    };
    match empty {
        None => Some(doubt),
        Some(Empty::Doubted) => Some(Doubt::Empty),
        Some(Empty::Trusted) => None,
    }
}

/// Device numbers are dealt out anew when the machine starts or a volume is attached again; then the
/// time at which the file was made tells it from a copy with the same number.
fn is_same_file(before: &Place, now: &Place) -> bool {
    let restarted = before.boot_id != now.boot_id;
    let same_device = before.device == now.device || (restarted && before.born_nanos != 0);
    before.inode == now.inode && before.born_nanos == now.born_nanos && same_device
}

pub(super) fn reader(header: &SegmentHeader, file: &Arc<dyn File>) -> FrameReader {
    FrameReader::new(Arc::clone(file), *header, 256 << 10)
}
