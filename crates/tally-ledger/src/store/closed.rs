//! The mark of a closed segment: where its log ended, and what had been said by then.
//!
//! Invariant: a mark is made after the segment's last frame was durable, and is believed only by the
//! segment that it was made of: it repeats the marker, and the checksum of the frame in which the
//! segment ends. So a start reads the frames of the last segment alone, and what is wrong in those
//! before shows when they are read, or to `tally ledger fsck`. A mark that is missing or damaged
//! costs time: the frames are read, and it is made again.
//!
//! The file beside the segment, `segment-NNNNNNNNNN.closed`, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tallycl1` |
//! | 8 | the segment's marker |
//! | 4 | the checksum of the last header before this segment |
//! | 4 | the checksum of the segment's last header |
//! | 8 | where its frames end |
//! | 9 | 1 and the index of the log's first entry, or zeros |
//! | 25 + 25 | 1 and the log id of the last entry, or zeros; the same of the floor |
//! | 18 | 1 and the last vote, or zeros |
//! | 13 | 1 and who vouched last: number of the doubt, milliseconds; or zeros |
//! | 4 | how many places follow |
//! | 16 each | index of an entry, offset of its frame |
//! | 4 | CRC32C of all before |

use std::io;
use std::sync::Arc;

use super::index::Mark;
use super::view::View;
use crate::disk::{Disk, File};
use crate::frame::{FRAME_HEADER_BYTES, Fields, FrameKind, LogId, Marker, Vote, Vouched};
use crate::marks::{Position, read_file, sealed, unsealed};
use crate::scan::{End, FrameReader};
use crate::segment::{SegmentHeader, segment_name};

/// What a closed segment adds to the log, and how the log stood at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(super) segment: u32,
    pub(super) marker: Marker,
    /// The checksum of the header before the segment's first.
    pub(super) before: u32,
    pub(super) checksum: u32,
    pub(super) end: u64,
    pub(super) first: Option<u64>,
    pub(super) last: Option<LogId>,
    pub(super) floor: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) vouched: Option<Vouched>,
    /// Those of this segment that no truncation killed.
    pub(super) marks: Vec<Mark>,
}

const MAGIC: [u8; 8] = *b"tallycl1";
const UNFINISHED: &str = "closed.new";
/// Without places, and without the checksum.
const FIXED_BYTES: usize = 126;
const VOUCHED_BYTES: usize = 12;
const MARK_BYTES: usize = 16;
/// Places in a mark at most: one for each frame of the largest segment would be fewer.
const MARKS_MAX: u64 = 4 << 20;

impl Closed {
    /// Of a segment whose frames `view` took in, alone, after how the log stood before them.
    pub(super) fn of(header: &SegmentHeader, before: u32, end: &End, view: &View) -> Self {
        Self {
            segment: header.number,
            marker: header.marker,
            before,
            checksum: end.checksum,
            end: end.offset,
            first: view.first,
            last: view.last,
            floor: view.floor,
            vote: view.vote,
            vouched: view.vouched,
            marks: view.marks().to_vec(),
        }
    }

    /// What is said of this segment, if it is said of just these frames; none if they must be read.
    pub(crate) fn read(
        disk: &dyn Disk,
        header: &SegmentHeader,
        file: &Arc<dyn File>,
        before: u32,
    ) -> io::Result<Option<Self>> {
        let Some(Some(closed)) = Self::stored(disk, header.number)? else { return Ok(None) };
        let same = closed.marker == header.marker && closed.before == before;
        if !same || file.size()? != header.size {
            return Ok(None);
        }
        let last = closed.end.saturating_sub(FRAME_HEADER_BYTES);
        let mut frames = FrameReader::new(Arc::clone(file), *header, LAST_FRAME_BYTES);
        let is_its_end = frames.header_at(last)?.is_some_and(|(frame, checksum)| {
            frame.kind == FrameKind::Roll && frame.length == 0 && checksum == closed.checksum
        });
        Ok(is_its_end.then_some(closed))
    }

    /// Replaces what is said of the segment, durably.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = self.encode();
        let file = disk.create(UNFINISHED, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(UNFINISHED, &closed_name(self.segment))?;
        disk.sync_directory()
    }

    const fn empty(segment: u32) -> Self {
        Self {
            segment,
            marker: [0; 8],
            before: 0,
            checksum: 0,
            end: 0,
            first: None,
            last: None,
            floor: None,
            vote: None,
            vouched: None,
            marks: Vec::new(),
        }
    }

    /// What the file beside a segment holds, whether it is true or not; none if there is no file.
    #[allow(clippy::option_option, reason = "no file, and a file that says nothing")]
    pub(super) fn stored(disk: &dyn Disk, segment: u32) -> io::Result<Option<Option<Self>>> {
        let name = closed_name(segment);
        let length = match disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?.size()?,
        };
        let mark_bytes = u64::try_from(MARK_BYTES).unwrap_or_default();
        if length > MARKS_MAX * mark_bytes {
            return Ok(Some(None));
        }
        let bytes = read_file(disk, &name, length)?;
        Ok(Some(Self::decode(segment, &bytes)))
    }

    /// Where the frames of the segment end.
    pub(super) const fn end(&self) -> End {
        End { offset: self.end, checksum: self.checksum, last: Some(FrameKind::Roll) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.marker);
        bytes.extend_from_slice(&self.before.to_be_bytes());
        bytes.extend_from_slice(&self.checksum.to_be_bytes());
        bytes.extend_from_slice(&self.end.to_be_bytes());
        bytes.push(self.first.is_some().into());
        bytes.extend_from_slice(&self.first.unwrap_or_default().to_be_bytes());
        for id in [self.last, self.floor] {
            bytes.push(id.is_some().into());
            let id = id.unwrap_or(LogId { term: 0, leader: 0, index: 0 });
            for number in [id.term, id.leader, id.index] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        bytes.push(self.vote.is_some().into());
        let none = Vote { term: 0, leader: 0, committed: false };
        bytes.extend_from_slice(&self.vote.unwrap_or(none).encode());
        bytes.push(self.vouched.is_some().into());
        bytes.extend_from_slice(
            &self.vouched.map_or_else(|| vec![0; VOUCHED_BYTES], |it| it.encode()),
        );
        let count = u32::try_from(self.marks.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for mark in &self.marks {
            bytes.extend_from_slice(&mark.index.to_be_bytes());
            bytes.extend_from_slice(&mark.position.offset.to_be_bytes());
        }
        sealed(bytes)
    }

    fn decode(segment: u32, bytes: &[u8]) -> Option<Self> {
        let length = bytes.len().checked_sub(4)?;
        let body = unsealed(&mut Fields(bytes), length)?;
        let mut fields = Fields(body.strip_prefix(&MAGIC)?);
        let marker = fields.take()?;
        let (before, checksum, end) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let first = present(&mut fields, Fields::u64)?;
        let last = present(&mut fields, take_id)?;
        let floor = present(&mut fields, take_id)?;
        let vote = present(&mut fields, |fields| Vote::decode(&fields.take::<17>()?))?;
        let [vouches] = fields.take()?;
        let vouched: [u8; VOUCHED_BYTES] = fields.take()?;
        let vouched = match vouches {
            0 => None,
            _ => Some(Vouched::decode(&vouched)?),
        };
        let count = usize::try_from(fields.u32()?).ok()?;
        (body.len() == FIXED_BYTES.checked_add(count.checked_mul(MARK_BYTES)?)?).then_some(())?;
        let mut marks = Vec::with_capacity(count);
        for _ in 0..count {
            let (index, offset) = (fields.u64()?, fields.u64()?);
            marks.push(Mark { index, position: Position { segment, offset } });
        }
        let stands = Self { first, last, floor, vote, vouched, marks, ..Self::empty(segment) };
        Some(Self { marker, before, checksum, end, ..stands })
    }
}

/// The file beside a closed segment.
pub(super) fn closed_name(segment: u32) -> String {
    format!("{}.closed", segment_name(segment))
}

#[allow(clippy::option_option, reason = "no field, and a field that says that there is nothing")]
fn present<'a, T>(
    fields: &mut Fields<'a>,
    take: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Option<Option<T>> {
    let [there] = fields.take()?;
    let value = take(fields)?;
    match there {
        0 => Some(None),
        1 => Some(Some(value)),
        _ => None,
    }
}

fn take_id(fields: &mut Fields<'_>) -> Option<LogId> {
    Some(LogId { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? })
}

/// A frame's header and no more.
const LAST_FRAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Doubt;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_no_flip_goes_unseen() {
        let id = LogId { term: 3, leader: 2, index: 900 };
        let at = |index, offset| Mark { index, position: Position { segment: 7, offset } };
        let full = Closed {
            segment: 7,
            marker: *b"a marker",
            before: 5,
            checksum: 6,
            end: 4096,
            first: Some(0),
            last: Some(id),
            floor: None,
            vote: Some(Vote { term: 4, leader: 1, committed: true }),
            vouched: Some(Vouched { against: Doubt::Moved, at_ms: 77 }),
            marks: vec![at(880, 96), at(891, 2000)],
        };
        let empty = Closed {
            first: None,
            last: None,
            floor: Some(id),
            vote: None,
            vouched: None,
            marks: Vec::new(),
            ..full.clone()
        };
        for closed in [full, empty] {
            let bytes = closed.encode();
            assert_eq!(bytes.len(), FIXED_BYTES + closed.marks.len() * MARK_BYTES + 4);
            assert_eq!(Closed::decode(7, &bytes).as_ref(), Some(&closed));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Closed::decode(7, &flipped), None, "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert_eq!(Closed::decode(7, &bytes[..length]), None, "{length} bytes");
            }
        }
    }
}
