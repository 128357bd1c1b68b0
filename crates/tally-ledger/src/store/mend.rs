//! Making bad frames again from the entries that other nodes have.
//!
//! What a node's own frames add to an entry is its place, the chain, and how far the log was durable
//! when it was written. All of that but the last follows from the frames around; and the last is the
//! place where its write began: that of the frame before, or its own. So there are few candidates,
//! and the good frame behind the gap repeats the checksum of the last header in it: who fits is the
//! very frame that was there.
//!
//! Votes, truncations and the ends of segments are on no other node: a gap that held one can't be
//! made again, and neither can one without a good frame behind it in the same segment.

use std::io;
use std::sync::Arc;

use super::recover::{Segment, begins_epoch, open_segment, reader};
use super::{OpenError, StoredEntry};
use crate::disk::Disk;
use crate::frame::{FrameHeader, FrameKind, frame_bytes};
use crate::scan::{End, FrameReader};
use crate::segment::{Owner, SEGMENT_HEADER_BYTES, segment_name, segment_number};

/// Bytes that belong at a place of a segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) segment: String,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why a gap can't be made again.
#[derive(Debug, thiserror::Error)]
pub enum NotMended {
    /// The log itself.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system's.
    #[error("the log can't be read: {0}")]
    Io(#[from] io::Error),
    /// Whoever was asked for entries.
    #[error("{0}")]
    Peers(String),
    /// There is no gap that this could mend.
    #[error("{segment} at offset {offset}: {why}")]
    Gap {
        /// The segment's file.
        segment: String,
        /// Where the bad frames begin.
        offset: u64,
        /// Why they can't be made again.
        why: &'static str,
    },
}

/// Gives the committed entry of an index, if any node has it.
pub(crate) type Fetch<'a> = dyn FnMut(u64) -> Result<StoredEntry, String> + 'a;

const NOTHING_BEHIND: &str =
    "no good frame follows in this segment, which would prove what was there";
const NOT_ENTRIES: &str =
    "entries alone do not fill the gap: a vote or a truncation is lost, which no other node has";
const OTHER_ENTRIES: &str = "the entries that other nodes have are not those that were here";
/// Frames with unknown headers side by side at most: each doubles the candidates.
const RUN_FRAMES_MAX: usize = 16;

/// The frame before a gap, and the entry.
#[derive(Debug, Clone, Copy)]
struct Before {
    end: End,
    synced_to: u64,
    /// The index of the entry that comes next.
    next: u64,
}

/// The first gap of the log, made whole. The frames before it are good.
///
/// # Errors
/// [`NotMended`] says why it can't be.
pub(crate) fn mend(
    disk: &dyn Disk,
    owner: Option<Owner>,
    fetch: &mut Fetch<'_>,
) -> Result<Patch, NotMended> {
    let mut checksum = 0;
    let mut before = None;
    let mut number = 0;
    loop {
        let segment = open_segment(disk, owner, number)?;
        let (end, at) = scan(&segment, checksum, before)?;
        before = Some(at);
        let goes_on = end.last == Some(FrameKind::Roll);
        if !goes_on && !is_recovered(disk, owner, &segment, &end)? {
            let at = Before { end, ..at };
            return fill(&segment, at, fetch);
        }
        let numbers = disk.list()?;
        let last = numbers.iter().filter_map(|name| segment_number(name)).max();
        if last <= Some(number) {
            return Err(gap(&segment, end.offset, NOTHING_BEHIND));
        }
        (checksum, number) = (end.checksum, number.saturating_add(1));
    }
}

/// Whether a forced recovery put the next segment behind this end.
fn is_recovered(
    disk: &dyn Disk,
    owner: Option<Owner>,
    segment: &Segment,
    end: &End,
) -> Result<bool, NotMended> {
    let number = segment.header.number.saturating_add(1);
    match open_segment(disk, owner, number) {
        Ok(next) => Ok(begins_epoch(segment, end, &next)?),
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads the good frames of a segment.
fn scan(
    Segment { header, file }: &Segment,
    checksum: u32,
    before: Option<Before>,
) -> io::Result<(End, Before)> {
    let start = End { offset: SEGMENT_HEADER_BYTES, checksum, last: None };
    let mut at = Before {
        end: start,
        synced_to: SEGMENT_HEADER_BYTES,
        next: before.map_or(0, |before| before.next),
    };
    let end = reader(header, file).scan(checksum, |frame| {
        at.synced_to = frame.header.synced_to;
        at.next = next_after(&frame.header, at.next);
        Ok::<(), io::Error>(())
    })?;
    Ok((end, Before { end, ..at }))
}

/// The index of the entry that comes after this frame.
fn next_after(header: &FrameHeader, next: u64) -> u64 {
    match (header.kind, header.log_id) {
        (FrameKind::Entry(_), Some(id)) => id.index.saturating_add(1),
        (FrameKind::Truncate, last) => last.map_or(0, |last| last.index.saturating_add(1)),
        _ => next,
    }
}

/// Makes the frames again from a place on up to the next that is whole and follows on them.
fn fill(segment: &Segment, from: Before, fetch: &mut Fetch<'_>) -> Result<Patch, NotMended> {
    let Segment { header, file } = segment;
    let mut frames = FrameReader::new(Arc::clone(file), *header, 64 << 10);
    let start = from.end.offset;
    let mut bytes = Vec::new();
    let mut at = from;
    loop {
        let offset = at.end.offset;
        let whole =
            frames.frame_at(offset)?.filter(|frame| frame.header.previous == at.end.checksum);
        if whole.is_some() && !bytes.is_empty() {
            return Ok(Patch { segment: segment_name(header.number), offset: start, bytes });
        }
        let known = frames.header_at(offset)?;
        match known.filter(|(it, _)| it.previous == at.end.checksum) {
            Some((it, _)) => {
                let payload = payload_of(segment, &it, fetch)?;
                let checksum = it.encode(header.marker, &payload, &mut bytes);
                at = after(&it, checksum, at.next);
            }
            None => at = fill_run(segment, &mut frames, at, fetch, &mut bytes)?,
        }
    }
}

fn after(header: &FrameHeader, checksum: u32, next: u64) -> Before {
    let end = End { offset: header.end(), checksum, last: Some(header.kind) };
    Before { end, synced_to: header.synced_to, next: next_after(header, next) }
}

/// The payload of a frame whose header is good.
fn payload_of(
    segment: &Segment,
    header: &FrameHeader,
    fetch: &mut Fetch<'_>,
) -> Result<Vec<u8>, NotMended> {
    let payload = match (header.kind, header.log_id) {
        (FrameKind::Entry(kind), Some(id)) => {
            let entry = fetch(id.index).map_err(NotMended::Peers)?;
            let same = entry.log_id == id && entry.kind == kind;
            same.then(|| entry.payload.to_vec())
                .ok_or_else(|| gap(segment, header.offset, OTHER_ENTRIES))?
        }
        (FrameKind::Vote | FrameKind::Vouch, _) => {
            return Err(gap(segment, header.offset, NOT_ENTRIES));
        }
        _ => Vec::new(),
    };
    let fits = crc32c::crc32c(&payload) == header.payload_checksum;
    let fits = fits && u64::try_from(payload.len()).ok() == Some(header.length.into());
    if fits { Ok(payload) } else { Err(gap(segment, header.offset, OTHER_ENTRIES)) }
}

/// Makes frames whose headers are bad, up to the next header that is good.
fn fill_run(
    segment: &Segment,
    frames: &mut FrameReader,
    at: Before,
    fetch: &mut Fetch<'_>,
    bytes: &mut Vec<u8>,
) -> Result<Before, NotMended> {
    let offset = at.end.offset;
    let behind = frames.next_header(offset)?;
    let behind = behind.ok_or_else(|| gap(segment, offset, NOTHING_BEHIND))?;
    let mut entries = Vec::new();
    let mut end = offset;
    while end < behind.offset {
        let next = at.next.saturating_add(entries.len() as u64);
        if entries.len() >= RUN_FRAMES_MAX {
            return Err(gap(segment, offset, "more frames side by side are bad than can be tried"));
        }
        let entry = fetch(next).map_err(NotMended::Peers)?;
        end = end.saturating_add(frame_bytes(entry.payload.len() as u64));
        entries.push(entry);
    }
    if end != behind.offset || entries.is_empty() {
        return Err(gap(segment, offset, NOT_ENTRIES));
    }
    for choice in 0..1_u32 << entries.len() {
        let (made, last) = make(segment, at, &entries, choice);
        if last.end.checksum == behind.previous {
            bytes.extend_from_slice(&made);
            return Ok(last);
        }
    }
    Err(gap(segment, offset, OTHER_ENTRIES))
}

/// The frames of these entries. Each bit of `choice` says whether a write began with that frame.
fn make(segment: &Segment, at: Before, entries: &[StoredEntry], choice: u32) -> (Vec<u8>, Before) {
    let mut bytes = Vec::new();
    let mut at = at;
    for (place, entry) in entries.iter().enumerate() {
        let offset = at.end.offset;
        let begins = choice >> place & 1 == 1;
        let header = FrameHeader {
            kind: FrameKind::Entry(entry.kind),
            log_id: Some(entry.log_id),
            length: u32::try_from(entry.payload.len()).unwrap_or(u32::MAX),
            payload_checksum: crc32c::crc32c(&entry.payload),
            previous: at.end.checksum,
            segment: segment.header.number,
            offset,
            synced_to: if begins { offset } else { at.synced_to },
        };
        let checksum = header.encode(segment.header.marker, &entry.payload, &mut bytes);
        at = after(&header, checksum, at.next);
    }
    (bytes, at)
}

fn gap(segment: &Segment, offset: u64, why: &'static str) -> NotMended {
    NotMended::Gap { segment: segment_name(segment.header.number), offset, why }
}
