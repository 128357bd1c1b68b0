//! Looking at a log without changing it: every frame of every segment, whatever the marks say.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use super::closed::{Closed, closed_name};
use super::recover::{
    Belief, Replayed, Segment, check_epochs, doubt_of, judge, open_segment, reader, replay,
};
use super::view::View;
use super::{Corruption, Cut, Empty, OpenError, Reader, Settings, Shared};
use crate::disk::Disk;
use crate::frame::{FrameKind, LogId};
use crate::marks::{Doubt, Marks, Position, Record};
use crate::scan::End;
use crate::segment::{Owner, SegmentHeader, segment_name, segment_number};

/// A log whose frames were all read and are good.
#[derive(Debug)]
pub struct Inspected {
    /// Whose log it is.
    pub owner: Owner,
    /// Its entries.
    pub reader: Reader,
    /// What Raft had committed when that was last noted.
    pub committed: Option<LogId>,
    /// The torn end that the next start will cut, if there is one.
    pub torn: Option<Cut>,
    /// What speaks against trusting it.
    pub doubt: Option<Doubt>,
    /// Where its frames end.
    pub(super) end: End,
    /// The segment in which they do.
    pub(super) header: SegmentHeader,
    pub(super) disk: Arc<dyn Disk>,
    /// Keeps nodes out while it is looked at.
    _lock: Box<dyn Any + Send>,
}

/// Reads every frame. `owner` is whose log it must be, if that is known; `progress` is told how many
/// segments of how many are done.
///
/// # Errors
/// [`OpenError`] names the segment and the offset of the first that is wrong.
pub fn inspect(
    disk: Arc<dyn Disk>,
    owner: Option<Owner>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Inspected, OpenError> {
    let lock = disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse,
        _ => OpenError::Io(error),
    })?;
    let segments = open_all(&*disk, owner)?;
    let marks = Marks::read(&*disk)?;
    let mut view = View::default();
    view.committed = marks.committed;
    let replayed = replay(&*disk, &segments, &mut view, Belief::Frames, progress)?;
    let Replayed { tail, end, unmarked, .. } = replayed;
    let missing = || OpenError::Missing { segment: segment_name(0) };
    let Segment { header, file } = segments.get(tail).ok_or_else(missing)?;
    let beyond = reader(header, file).look_beyond(end.offset)?;
    judge(Position { segment: header.number, offset: end.offset }, &beyond, &marks, view.last)?;
    check_marks(&*disk, &unmarked)?;
    let torn = (beyond.data_end > 0).then(|| Cut {
        segment: segment_name(header.number),
        offset: end.offset,
        bytes: beyond.data_end.saturating_sub(end.offset),
    });
    let closed = end.last == Some(FrameKind::Close) && torn.is_none();
    let place = disk.place(&segment_name(0))?;
    let empty = end.last.is_none().then_some(Empty::Doubted);
    let doubt = doubt_of(Record::read(&*disk)?, &place, closed, empty);
    let (owner, committed) = (header.owner, view.committed_in_log());
    let settings = Settings { cache_bytes_max: 0, ..Settings::new(owner) };
    let header = *header;
    let shared = Shared {
        disk: Arc::clone(&disk),
        settings,
        view: Mutex::new(view),
        held: Arc::default(),
        segment_bytes: AtomicU64::new(0),
        unnoted: AtomicBool::new(false),
        syncs: OnceLock::new(),
    };
    let reader = Reader(Arc::new(shared));
    Ok(Inspected { owner, reader, committed, torn, doubt, end, header, disk, _lock: lock })
}

fn open_all(disk: &dyn Disk, owner: Option<Owner>) -> Result<Vec<Segment>, OpenError> {
    let names = disk.list()?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut segments: Vec<Segment> = Vec::with_capacity(numbers.len());
    for (expected, number) in (0..).zip(&numbers) {
        if *number != expected {
            return Err(OpenError::Missing { segment: segment_name(expected) });
        }
        let owner = owner.or_else(|| segments.first().map(|first| first.header.owner));
        segments.push(open_segment(disk, owner, *number)?);
    }
    if segments.is_empty() {
        return Err(OpenError::Missing { segment: segment_name(0) });
    }
    check_epochs(&segments, owner)?;
    Ok(segments)
}

/// A mark that is missing is made again at the next start; one that is wrong would be believed.
fn check_marks(disk: &dyn Disk, closed: &[Closed]) -> Result<(), OpenError> {
    for closed in closed {
        let stored = Closed::stored(disk, closed.segment)?;
        if stored.is_some_and(|stored| stored.as_ref() != Some(closed)) {
            let (segment, why) = (closed_name(closed.segment), Corruption::Mark);
            return Err(OpenError::Corrupt { segment, offset: 0, why });
        }
    }
    Ok(())
}
